"""Checkpoints on the paper's tasks (section 4 of arXiv 2302.04761), with calls and without, and perplexity of plain text."""

from .run import Settings, evaluate

__all__ = ["Settings", "evaluate"]
