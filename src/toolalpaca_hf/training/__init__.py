"""Segments to ids and labels, collators, packing, the SFT entry."""

from toolalpaca_hf.training.collate import CompletionOnlyCollator
from toolalpaca_hf.training.lengths import LengthReport, tokenize_dataset
from toolalpaca_hf.training.prefixes import PrefixCollator, share_prefixes
from toolalpaca_hf.training.tokenize import IGNORE, Encoded, SegmentTokenizer, merge

__all__ = [
    "IGNORE",
    "CompletionOnlyCollator",
    "Encoded",
    "LengthReport",
    "PrefixCollator",
    "SegmentTokenizer",
    "merge",
    "share_prefixes",
    "tokenize_dataset",
]
