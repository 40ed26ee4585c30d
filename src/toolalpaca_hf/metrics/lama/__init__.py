"""Facts completed, by Toolformer's measure; `lama.py` is what `evaluate.load` takes."""

from .rules import lama_correct

__all__ = ["lama_correct"]
