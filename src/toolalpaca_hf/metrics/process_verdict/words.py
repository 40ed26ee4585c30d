"""When two arguments say the same in other words, and when an instruction determines one."""

import json
import re
from collections import Counter
from functools import lru_cache
from typing import Any

from toolalpaca_hf.metrics.values import arguments_equal
from toolalpaca_hf.schema import REDACTED

SHARED = 0.75
"""Of the words of a golden text, the share that a made text must have to mean the same."""

OWN = 0.5
"""Of the words of a made text, the share that must be the golden one's."""

DETERMINED = 0.6
"""Of the words of a golden value, the share in the instruction from which the instruction determines it."""

# A hyphen after a letter or a digit, as in a date, is no sign.
_WORD = re.compile(r"(?:(?<!\w)-)?\d+(?:\.\d+)?|[^\W\d_]+")
_CODE = re.compile(r"[A-Z]{2,5}|[A-Za-z]")
# What a question can be asked with or without.
_EMPTY = frozenset(
    "a an and are at be by can could did do does for from has have how i in is it its many me much my of on or please "
    "number s such tell that the their there this to us was were what which will with you your".split()
)
# Not "one", which is more often a pronoun.
_NUMBERS = {word: str(n) for n, word in enumerate("two three four five six seven eight nine ten".split(), start=2)}


def _plain(word: str) -> str:
    """A word without what inflection adds, a number without leading zeros."""
    if _is_number(word):
        return str(int(word)) if "." not in word and len(word) < 20 else word
    word = _NUMBERS.get(word, word)
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _is_number(word: str) -> bool:
    return word.removeprefix("-")[:1].isdecimal()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=256)  # a call is compared with several, and an observation can be long
def words(text: str) -> tuple[str, ...]:
    """The words and numbers of a text, without case, plural and punctuation.

    Args:
        text (`str`): Any text.

    Example:

    ```python
    >>> words("3 Dogs, USD/CAD"), words("2020-04-01")
    (('3', 'dog', 'usd', 'cad'), ('2020', '4', '1'))
    ```
    """
    return tuple(map(_plain, _WORD.findall(text.casefold())))


def same_value(golden: Any, made: Any) -> bool:
    """Whether two values of an argument say the same.

    They do where they are equal but for case, punctuation, the order of their words or the way a list is written, and
    a golden text also where another says it in nearly the same words; numbers and codes such as `EUR` never bend.

    Args:
        golden (`Any`): The golden value; `***` matches anything.
        made (`Any`): The made value, likewise.

    Example:

    ```python
    >>> same_value("USD,EUR", ["EUR", "USD"]), same_value("USD", "USD,EUR")
    (True, False)
    >>> same_value("how many moons Jupiter has", "What is the number of moons of Jupiter?")
    True
    ```
    """
    if REDACTED in (golden, made) or arguments_equal({"": golden}, {"": made}):
        return True
    ours, theirs = _text(golden), _text(made)
    ours_words, theirs_words = words(ours), words(theirs)
    # In their order, which tells April 5 from May 4.
    if list(filter(_is_number, ours_words)) != list(filter(_is_number, theirs_words)):
        return False
    if ours_words and Counter(ours_words) == Counter(theirs_words):
        return True
    together = "".join(ours_words)
    if together and together == "".join(theirs_words) and not any(map(_is_number, ours_words)):
        return True
    return isinstance(golden, str) and isinstance(made, str) and _means(ours, theirs)


def _means(golden: str, made: str) -> bool:
    ours, theirs = set(words(golden)) - _EMPTY, set(words(made)) - _EMPTY
    if not ours or not theirs or _is_code(golden):
        return False
    shared = len(ours & theirs)
    return shared >= SHARED * len(ours) and shared >= OWN * len(theirs)


def _is_code(text: str) -> bool:
    """Whether it is a code or a list of them: `AU`, `USD,EUR`, `BTC/USD`, a unit `f`."""
    return all(_CODE.fullmatch(part) for part in re.split(r"[\s,;/]+", text.strip()))


def determined(value: Any, instruction: str) -> bool:
    """Whether an instruction says what the value of an argument is.

    It does where most words of the value are in it, as they are or begun (`ETH` in Ethereum), or where the value is
    a code, since what a code stands for is said in another word (`AU`, Australia). Without an instruction, all is.

    Args:
        value (`Any`): The golden value.
        instruction (`str`): What the user asked.

    Example:

    ```python
    >>> determined("Nantes", "High tide in Nantes?"), determined(20, "High tide in Nantes?")
    (True, False)
    ```
    """
    text = _text(value)
    if not instruction.strip() or (isinstance(value, str) and _is_code(text)):
        return True
    said = words(instruction)
    wanted = set(words(text))
    wanted = wanted - _EMPTY or wanted
    found = sum(any(word == wanted_word or _begins(wanted_word, word) for word in said) for wanted_word in wanted)
    return bool(wanted) and found >= DETERMINED * len(wanted)


def _begins(start: str, word: str) -> bool:
    return len(start) >= 3 and start.isalpha() and word.startswith(start)


def says(text: str, value: str | int) -> bool:
    """Whether a text holds a value, whatever stands between its words.

    Args:
        text (`str`): An observation.
        value (`str` or `int`): What is looked for.

    Example:

    ```python
    >>> says('{"pair": "USD/CAD"}', "USDCAD"), says('{"id": 123}', 12)
    (True, False)
    ```
    """
    found, wanted = words(text), words(str(value))
    together = "".join(wanted)
    return set(wanted) <= set(found) or (not together.isdigit() and together in "".join(found))


def flat(arguments: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Arguments without nesting, nor empty ones: those of an object inside are named `OUTER.INNER`.

    Args:
        arguments (`dict`): Arguments of a call.
        name (`str`, *optional*, defaults to `""`): What their names begin with.

    Example:

    ```python
    >>> flat({"to": {"city": "Nantes", "zip": ""}, "days": 3})
    {'to.city': 'Nantes', 'days': 3}
    ```
    """
    found: dict[str, Any] = {}
    for key, value in arguments.items():
        if isinstance(value, dict):
            found |= flat(value, f"{name}{key}.")
        elif value not in ("", None, []):
            found[f"{name}{key}"] = value
    return found
