"""Markers that are tokens of a model's own: found in a text that is ours, and in no other."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .markers import Markers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def marker_tokens(tokenizer: "PreTrainedTokenizerBase", markers: Markers) -> dict[str, int]:
    """The markers that a tokenizer has as added tokens, special or not, with their ids.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
        markers ([`Markers`]): The markers.

    Example:

    ```python
    >>> marker_tokens(tokenizer, Markers())
    {}
    ```
    """
    added = tokenizer.get_added_vocab()
    return {one: added[one] for one in (markers.start, markers.end, markers.arrow) if one in added}


def parts(text: str, tokens: Mapping[str, int]) -> list[str]:
    """A text cut around markers that are tokens; one part, perhaps an empty one, where there are none.

    Args:
        text (`str`): A text whose markers are meant: a prompt, or a call as written.
        tokens (`Mapping[str, int]`): From [`marker_tokens`].

    Example:

    ```python
    >>> parts("It is <API>Calendar()", {"<API>": 50000})
    ['It is ', '<API>', 'Calendar()']
    ```
    """
    if not tokens:
        return [text]
    # The longest first, where one marker begins with another.
    pattern = "|".join(re.escape(one) for one in sorted(tokens, key=len, reverse=True))
    return [part for part in re.split(f"({pattern})", text) if part] or [""]
