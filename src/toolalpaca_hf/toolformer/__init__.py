"""Toolformer (arXiv 2302.04761): tools, calls found by a model itself in plain text, and a decoder that makes calls."""

from .markers import Call, Markers

__all__ = ["Call", "Markers"]
