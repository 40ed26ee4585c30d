"""A checkpoint and its tokenizer, ready to write or to be measured."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import ToolAlpacaError


def load_model(path: str, device: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A checkpoint in bfloat16; an adapter's folder loads with its base model.

    Args:
        path (`str`): A folder or a Hub id; see [`checkpoints.resolve_model`].
        device (`str`, *optional*): Defaults to a GPU where there is one.

    Raises:
        ToolAlpacaError: There is no model at `path`.

    Example:

    ```python
    >>> model, tokenizer = load_model("outputs/quickstart")  # doctest: +SKIP
    ```
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="right")
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    except (OSError, ValueError) as error:
        raise ToolAlpacaError(
            f"no model at {path} ({str(error).splitlines()[0]}); pass a folder that training wrote, a Hub id or smollm2"
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    # Where a turn ends is for the prompt to say here; `generate` would want the tokenizer for a published config's own stops.
    model.generation_config.stop_strings = None
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer
