"""Toolformer (arXiv 2302.04761): tools, calls found by a model itself in plain text, and a decoder that makes calls.

The decoder is imported by those who use it (`from toolalpaca_hf.toolformer.decoding import generate`): it needs torch.
"""

from .markers import Call, Markers
from .tools import Tool, prompt_for, tools_named
from .tools.execute import Executed, execute
from .tools.result_cache import ResultCache

__all__ = ["Call", "Executed", "Markers", "ResultCache", "Tool", "execute", "prompt_for", "tools_named"]
