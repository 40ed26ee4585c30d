"""`python -m toolalpaca_hf.cli`."""

from . import main

main()
