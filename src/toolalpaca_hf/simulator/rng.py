"""What made values depend on: seeded random numbers, the same everywhere, and the words in the names of fields."""

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any

TABLES: dict[str, Any] = tomllib.loads((files("toolalpaca_hf.simulator") / "fake_values.toml").read_text("utf-8"))
NAMES: dict[str, tuple[str, ...]] = {kind: tuple(words.split()) for kind, words in TABLES["names"].items()}


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
        number = self.integer(0, len(letters) ** length - 1)
        found = []
        for _ in range(length):
            number, place = divmod(number, len(letters))
            found.append(letters[place])
        return "".join(found)


@lru_cache(maxsize=65536)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a field's name, lower case: `steamAPIKey` gives `("steam", "api", "key")`."""
    name = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name)
    return tuple(re.findall(r"[^\W_]+", name.lower()))


@lru_cache(maxsize=65536)
def plain(name: str) -> str:
    """A name without case and separators: `zip_code` and `zipCode` mean the same."""
    return "".join(words_of(name)) or name


@lru_cache(maxsize=65536)
def is_id(name: str) -> bool:
    """Whether a field's name is that of an identifier: `id`, `petId`, `order_id`, `uuid`."""
    words = words_of(name)
    return bool(words) and words[-1] in ("id", "uuid", "guid")


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    if word.endswith(("series", "species")):
        return word
    if word.endswith("ies") and len(word) > 4 and not word.endswith(("movies", "cookies", "calories", "selfies")):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "news")) and len(word) > 3:
        return word[:-1]
    return word


def topic_words(title: str) -> tuple[str, ...]:
    """What an API is about, by its title: `Axolotl Facts API v2` gives `("axolotl", "facts")`."""
    words = (word for word in words_of(title) if len(word) > 2 and not word.isdigit())
    return tuple(dict.fromkeys(word for word in words if word not in NAMES["no_topic"]))
