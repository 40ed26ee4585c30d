"""Seeded random numbers that are the same in every process and every version of Python."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any


class Rng:
    """A tree of random numbers: a node's numbers depend on its path from the root and on how many were drawn there.

    Not `random.Random`: its draws have changed between versions of Python, and creating one per field is slower.
    The root's are those of its `parts`; `topic` has nouns for made-up sentences, such as the words of an API's title.
    """

    __slots__ = ("_drawn", "_key", "topic")

    def __init__(self, *parts: str | int, topic: Sequence[str] = ()) -> None:
        words = "\x1f".join(str(part) for part in parts)
        self._key = blake2b(words.encode("utf-8", "replace"), digest_size=16).digest()
        self._drawn, self.topic = 0, topic

    def child(self, name: str | int) -> "Rng":
        """The node of a field or an item; this does not advance the parent."""
        rng = Rng.__new__(Rng)
        rng._key = blake2b(str(name).encode("utf-8", "replace"), digest_size=16, key=self._key).digest()
        rng._drawn, rng.topic = 0, self.topic
        return rng

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        self._drawn += 1
        number = blake2b(self._key, digest_size=16, salt=self._drawn.to_bytes(8, "big")).digest()
        return low + int.from_bytes(number, "big") % (high - low + 1)

    def number(self, low: float, high: float) -> float:
        return low + (high - low) * (self.integer(0, 2**53) / 2**53)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def text(self, letters: str, length: int) -> str:
        """A text of `length` of the letters."""
        number = self.integer(0, len(letters) ** length - 1)
        found = []
        for _ in range(length):
            number, place = divmod(number, len(letters))
            found.append(letters[place])
        return "".join(found)
