"""What a corpus holds, in figures, plots and words."""
