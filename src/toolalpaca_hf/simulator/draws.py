"""Seeded draws that are the same in every process and every version of Python."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any


class Draws:
    """A tree of random numbers: what is drawn depends on the way from the root and on the order of draws at that node.

    `random.Random` will not do: what it draws has changed between versions of Python, and a new one for each field
    of an answer is the slower way.

    Args:
        *parts (`str` or `int`): What the draws depend on, such as a seed and an API's name.
        topic (`Sequence[str]`, *optional*): Nouns that made sentences are about, such as the words of an API's title.

    Example:

    ```python
    >>> Draws("cats", 0).child("name").pick(["Felix", "Tom", "Kitty"])
    'Tom'
    ```
    """

    __slots__ = ("_drawn", "_key", "topic")

    def __init__(self, *parts: str | int, topic: Sequence[str] = ()) -> None:
        self.topic = topic
        words = "\x1f".join(str(part) for part in parts)
        self._key = blake2b(words.encode("utf-8", "replace"), digest_size=16).digest()
        self._drawn = 0

    def child(self, name: str | int) -> "Draws":
        """The draws of a field or an item; asking for it changes nothing here."""
        draws = Draws.__new__(Draws)
        draws._key = blake2b(str(name).encode("utf-8", "replace"), digest_size=16, key=self._key).digest()
        draws._drawn = 0
        draws.topic = self.topic
        return draws

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        self._drawn += 1
        number = blake2b(self._key, digest_size=16, salt=self._drawn.to_bytes(8, "big")).digest()
        return low + int.from_bytes(number, "big") % (high - low + 1)

    def number(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + (high - low) * (self.integer(0, 2**53) / 2**53)

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def text(self, letters: str, length: int) -> str:
        """So many of the letters."""
        number = self.integer(0, len(letters) ** length - 1)
        found = []
        for _ in range(length):
            number, place = divmod(number, len(letters))
            found.append(letters[place])
        return "".join(found)
