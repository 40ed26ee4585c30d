"""ToolAlpaca and Toolformer on the Hugging Face stack.

Importing this package loads neither torch nor transformers; enter a room (`toolalpaca_hf.data`, `.formats`,
`.training`, ...) for what you need.
"""

import logging
from importlib.metadata import version

# peft imports bitsandbytes, which warns on some processors of a kernel for 4-bit weights that it did not find.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__version__ = version("toolalpaca-hf")
