"""Calls found by a model itself in plain text (section 2 of arXiv 2302.04761): sampled, executed, filtered, written in.

A run is `pipeline.py`; one batch of texts is `annotator.py`, and each step of the paper has a file: `heuristics.py` (which
texts), `sample.py` (where, and what), `filter.py` with `score.py` (which calls help), `interleave.py` (the text written).
"""

from .annotator import Annotated, Annotator, Text
from .defaults import AnnotationSettings, ToolSettings, settings_for
from .pipeline import annotate
from .run import AnnotationRun

__all__ = [
    "Annotated",
    "AnnotationRun",
    "AnnotationSettings",
    "Annotator",
    "Text",
    "ToolSettings",
    "annotate",
    "settings_for",
]
