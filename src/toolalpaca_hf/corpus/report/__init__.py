"""Statistics, plots and report of a corpus."""
