"""The `toolformer` dataset repo, from annotated texts or from GSM8K's own marks, and its segments to train on."""

from .build import build_repo, open_source
from .segments import annotate, mixed, plain_row, sft_row, text_segments

__all__ = ["annotate", "build_repo", "mixed", "open_source", "plain_row", "sft_row", "text_segments"]
