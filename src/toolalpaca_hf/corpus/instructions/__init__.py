"""What users ask of an API: demands that vary, instructions written to them, cleaned and screened."""
