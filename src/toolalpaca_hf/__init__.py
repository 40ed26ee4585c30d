"""ToolAlpaca and Toolformer on the Hugging Face stack.

Importing this package loads neither torch nor transformers; enter a room (`toolalpaca_hf.data`, `.formats`,
`.training`, ...) for what you need.
"""

from importlib.metadata import version

__version__ = version("toolalpaca-hf")
