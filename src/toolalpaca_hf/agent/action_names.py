"""Decoding under a constraint: an action's name is one of the functions that the model was shown."""

import re
from collections.abc import Callable, Iterable

from ..training import SegmentTokenizer

_LABEL = "\nAction:"
_OPENED = re.compile(r"(?:^|\n)(?:ASSISTANT )?Action:$")
# A token has at least one character: the label is within as many tokens as it has characters.
_WINDOW = 24


class NameConstraint:
    """The names of functions as a tree of ids, each up to the line's end.

    Args:
        tokenizer ([`SegmentTokenizer`]): Of the model.
        decode (`Callable[[list[int]], str]`): Its way back to text.
        names (`Iterable[str]`): The functions.

    Example:

    ```python
    >>> constraint = NameConstraint(tokenizer, decode, ["findTide", "findPort"])  # doctest: +SKIP
    >>> allowed = constraint.of_turn()  # doctest: +SKIP
    >>> allowed(tokenizer.continuation_ids(" I look it up.\\nAction:"))  # doctest: +SKIP
    [1042]
    ```
    """

    def __init__(self, tokenizer: SegmentTokenizer, decode: Callable[[list[int]], str], names: Iterable[str]) -> None:
        self.decode = decode
        label = tokenizer.continuation_ids(_LABEL)
        self.next: dict[tuple[int, ...], set[int]] = {}
        for name in names:
            ids = tokenizer.continuation_ids(f"{_LABEL} {name}\n")
            # A vocabulary that spells the label otherwise in front of a name cannot be held to it id by id.
            if ids[: len(label)] != label:
                self.next = {}
                break
            path = ids[len(label) :]
            for n, token in enumerate(path):
                self.next.setdefault(tuple(path[:n]), set()).add(token)

    def of_turn(self) -> Callable[[list[int]], list[int] | None]:
        """For one turn: what may follow the ids written so far, `None` for anything. To be asked before each id."""
        opened: int | None = None

        def allowed(written: list[int]) -> list[int] | None:
            nonlocal opened
            if opened is None:
                if not _OPENED.search(self.decode(written[-_WINDOW:])):
                    return None
                opened = len(written)
            ids = self.next.get(tuple(written[opened:]))
            return sorted(ids) if ids else None

        return allowed
