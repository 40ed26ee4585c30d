"""API names to the slugs that ids are made of."""

import hashlib
import re
import unicodedata


def slug(name: str) -> str:
    """ASCII, lower case, words joined by `-`; a name without any ASCII letter or digit is named by its hash.

    Args:
        name (`str`): An API's name, in any script.

    Returns:
        `str`: The slug, the same on every machine.

    Example:

    ```python
    >>> slug("Transport for Vancouver, Canada"), slug("Améthyste"), slug("天気")
    ('transport-for-vancouver-canada', 'amethyste', 'api-77f5c581')
    ```
    """
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    words = "-".join(re.findall(r"[a-z0-9]+", folded))
    return words or f"api-{hashlib.sha1(unicodedata.normalize('NFC', name).encode()).hexdigest()[:8]}"


class Slugs:
    """Hands out each slug of a split once: the second `steam` is `steam-2`.

    Example:

    ```python
    >>> slugs = Slugs()
    >>> slugs.take("Steam"), slugs.take("STEAM")
    ('steam', 'steam-2')
    ```
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """The slug of `name`, with a number where it is taken already."""
        base = candidate = slug(name)
        number = 2
        while candidate in self._taken:
            candidate = f"{base}-{number}"
            number += 1
        self._taken.add(candidate)
        return candidate
