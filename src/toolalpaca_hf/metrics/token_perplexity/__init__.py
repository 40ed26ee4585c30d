"""Perplexity from the log-probabilities of tokens; `token_perplexity.py` is what `evaluate.load` takes."""

from .rules import perplexity

__all__ = ["perplexity"]
