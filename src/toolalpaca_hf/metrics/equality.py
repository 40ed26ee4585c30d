"""When two values of an argument are equal, in whatever notation or wording, and when an instruction sets one."""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from unicodedata import normalize

from ..openapi import to_text
from ..schema import REDACTED

MONTHS = "january february march april may june july august september october november december".split()
_NUMBERS = {name[:3]: number for number, name in enumerate(MONTHS, 1)}

_MONTH = rf"(?P<month>{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in MONTHS)}|sept)\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_WORDED = (
    re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}\b(?:,?\s+(?P<year>\d{{4}}))?", re.IGNORECASE),
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+(?P<year>\d{{4}}))?(?!\w)", re.IGNORECASE),
)
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", re.ASCII)
_NUMERIC = re.compile(r"(?<![\d./-])(\d{1,2})[-/.](\d{1,2})(?:[-/.](\d{4}|\d{2}))?(?![-/.]?\d)", re.ASCII)


def read_date(text: str) -> datetime | None:
    """The moment that a text denotes, in UTC if it names no zone; `None` if it is not a date, or ambiguous."""
    text = text.strip()
    parts = found.groups() if (found := _YEAR_FIRST.fullmatch(text)) else None
    for pattern in _WORDED:
        if not parts and (found := pattern.fullmatch(text)) and found["year"]:
            parts = found["year"], *_day_of(found)
    # Python reads much more as ISO 8601, `20230105` among it.
    if not parts and not re.match(r"\d{4}-\d\d-\d\d[T ]\d", text):
        return None
    try:
        moment = datetime(int(parts[0]), int(parts[1]), int(parts[2])) if parts else datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def mentions_date(text: str, date: datetime) -> bool:
    """Whether a text names a day, in words or figures; the year may be omitted."""
    day = (date.month, date.day)
    worded = [(found["year"], _day_of(found)) for pattern in _WORDED for found in pattern.finditer(text)]
    # Month first or day first: both are written, and here it is enough that one of them fits.
    numeric = [(f[3], (int(f[at]), int(f[3 - at]))) for f in _NUMERIC.finditer(text) for at in (1, 2)]
    whole = [(f[1], (int(f[2]), int(f[3]))) for f in _YEAR_FIRST.finditer(text)]
    return any(
        named == day and (not year or int(year) == (date.year if len(year) == 4 else date.year % 100))
        for year, named in (*worded, *numeric, *whole)
    )


def _day_of(found: re.Match[str]) -> tuple[int, int]:
    return _NUMBERS[found["month"].casefold()[:3]], int(found["day"])


SHARED = 0.75  # of the words of a golden text, the share that a made text must have to mean the same
OWN = 0.5  # of the words of a made text, the share that must be the golden one's

# As JSON writes numbers, with a sign or a bare point besides; `float` would also take `nan`, `infinity` and `1_000`.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
# A hyphen after a letter or a digit, as in a date, is no sign.
_WORD = re.compile(r"(?:(?<!\w)-)?\d+(?:\.\d+)?|[^\W\d_]+")
_CODE = re.compile(r"[A-Z]{2,5}|[A-Za-z]")
# What a question can be asked with or without.
EMPTY_WORDS = frozenset(
    "a an and are at be by can could did do does for from has have how i in is it its many me much my of on or please "
    "number s such tell that the their there this to us was were what which will with you your".split()
)
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_SMALL = _TENS | {"once": 1, "single": 1, "twice": 2, "couple": 2, "pair": 2, "dozen": 12}
_SMALL |= {word: number for start, words in enumerate((_UNITS, _ORDINALS)) for number, word in enumerate(words, start)}
_LARGE = {"hundred": 100, "thousand": 1000, "k": 1000, "million": 10**6}
# Not "one", which is more often a pronoun.
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_UNITS) if 2 <= number <= 10}


def arguments_equal(golden: dict[str, Any], made: dict[str, Any]) -> bool:
    """Whether two argument objects are equal: `"3"` is 3, case is ignored, empty and null values count as absent.

    The golden value `***` matches anything.

    Example:

    ```python
    >>> arguments_equal({"city": "Paris", "days": 3, "units": ""}, {"city": "paris", "days": "3"})
    True
    ```
    """
    golden, made = ({k: v for k, v in given.items() if v not in ("", None)} for given in (golden, made))
    return golden.keys() == made.keys() and all(_equal(v, made[k]) for k, v in golden.items())


def _equal(golden: Any, made: Any) -> bool:
    if golden == REDACTED:
        return True
    if isinstance(golden, dict) and isinstance(made, dict):
        return arguments_equal(golden, made)
    if isinstance(golden, list) and isinstance(made, list):
        return len(golden) == len(made) and all(map(_equal, golden, made))
    if isinstance(golden, int | float | str) and isinstance(made, int | float | str):
        return _scalar(golden) == _scalar(made)
    return golden == made


def _scalar(value: float | str) -> Decimal | str:
    """An exact number (ids of 17 digits may differ only in the last), or case-folded text."""
    text = str(value).strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else _folded(text)


def _folded(text: str) -> str:
    """Text without case, whichever way its accents are written."""
    return normalize("NFC", text.casefold())


def values_equal(golden: Any, made: Any, schema: dict[str, Any] | None = None, reworded: bool = False) -> bool:
    """Whether two values of an argument are equal, by the rules of [`arguments_equal`] or more lenient ones.

    With a schema, as [`openapi.tool_schema`] writes it, types are coerced (`a,b` is a list, `January 5, 2023` a date).
    With `reworded`, texts may differ in punctuation, order and a few words, and a made `***` matches anything.
    """
    if arguments_equal({"": golden}, {"": made}):
        return True
    if schema and arguments_equal({"": _as_typed(golden, schema)}, {"": _as_typed(made, schema)}):
        return True
    return reworded and (made == REDACTED or _same_words(golden, made))


def _as_typed(value: Any, schema: dict[str, Any]) -> Any:
    if value == REDACTED or value is None:
        return value
    kinds, schema = _kinds(value, schema)
    if kinds == ["array"] and isinstance(value, str):
        value = _parsed(value, list, [part for item in value.split(",") if (part := item.strip())])
    elif kinds == ["array"] and not isinstance(value, list | dict):
        value = [value]
    elif kinds == ["object"] and isinstance(value, str):
        value = _parsed(value, dict, value)
    if isinstance(value, list):
        if kinds == ["string"]:
            return ",".join(to_text(item).strip() for item in value)
        return [_as_typed(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        return {key: _as_typed(item, schema.get("properties", {}).get(key, {})) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    if schema.get("format") in ("date", "date-time", "datetime") and (moment := read_date(value)):
        return moment.date().isoformat() if schema["format"] == "date" else moment.isoformat()
    return re.sub(r"\s*,\s*", ",", value)


def _kinds(value: Any, schema: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The types a schema allows; of alternatives, the array schema if the value is a list."""
    choices = schema.get("anyOf", [])
    declared = schema.get("type", [])
    kinds = list(declared) if isinstance(declared, list) else [declared]
    kinds += [kind for choice in choices for kind in _kinds(value, choice)[0]]
    if isinstance(value, list):
        schema = next((choice for choice in choices if choice.get("type") == "array"), schema)
    return list(dict.fromkeys(kinds)), schema


def _parsed(text: str, kind: type, otherwise: Any) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return otherwise
    return value if isinstance(value, kind) else otherwise


@lru_cache(maxsize=256)  # a call is compared with several, and an observation can be long
def words(text: str) -> tuple[str, ...]:
    """Words and numbers of a text, without case, plural, punctuation and leading zeros."""
    return tuple(map(_plain, _WORD.findall(_folded(text))))


def _plain(word: str) -> str:
    if _is_number(word):
        return str(int(word)) if "." not in word and len(word) < 20 else word
    word = _NUMBER_WORDS.get(word, word)
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _is_number(word: str) -> bool:
    return word.removeprefix("-")[:1].isdecimal()


def is_code(text: str) -> bool:
    """Whether a text is a code or a list of them: `AU`, `USD,EUR`, `BTC/USD`, a unit `f`."""
    return all(_CODE.fullmatch(part) for part in re.split(r"[\s,;/]+", text.strip()))


def _same_words(golden: Any, made: Any) -> bool:
    ours, theirs = words(to_text(golden)), words(to_text(made))
    if isinstance(golden, str) and isinstance(made, str) and (day := read_date(golden)) and day == read_date(made):
        return True
    # In their order, which tells April 5 from May 4.
    if list(filter(_is_number, ours)) != list(filter(_is_number, theirs)):
        return False
    if ours and Counter(ours) == Counter(theirs):
        return True
    together = "".join(ours)
    if together and together == "".join(theirs) and not any(map(_is_number, ours)):
        return True
    if not isinstance(golden, str) or not isinstance(made, str) or is_code(golden):
        return False
    wanted, given = set(ours) - EMPTY_WORDS, set(theirs) - EMPTY_WORDS
    shared = len(wanted & given)
    return bool(wanted and given) and shared >= SHARED * len(wanted) and shared >= OWN * len(given)


_FIGURES = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", re.ASCII)
_TOKEN = re.compile(r"[^\W_]+")

_TRUE = {"yes", "true", "with", "include", "including", "only", "enable", "want"}
_FALSE = {"no", "not", "false", "without", "exclude", "excluding", "disable", "don", "never"}


@lru_cache(maxsize=256)  # an instruction is asked for each value
def _stems(text: str) -> tuple[str, ...]:
    return tuple(word.removesuffix("s") if len(word) > 3 else word for word in _TOKEN.findall(_folded(text)))


def numbers_in(text: str) -> set[Decimal]:
    """The numbers in a text, in figures or English words."""
    found = {Decimal(figures.replace(",", "")) for figures in _FIGURES.findall(text)}
    total, tens = None, False
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text.casefold())
    for word in [*re.findall(r"[a-z]+|[0-9]+(?:\.[0-9]+)?|[,;.]", plain), ""]:
        number = Decimal(word) if word[:1].isdecimal() else _SMALL.get(word)
        if total is not None and word in _LARGE:
            total, tens = total * _LARGE[word], False
        elif total is not None and number is not None and (total >= 100 or (tens and number < 10)):
            total, tens = total + number, word in _TENS
        elif not (word == "and" and total is not None and total >= 100):
            found |= set() if total is None else {total}
            total, tens = (None if number is None else Decimal(number)), word in _TENS
    return found


def determined(value: Any, instruction: str, name: str = "", codes: bool = True, share: float = 1.0) -> bool:
    """Whether an instruction determines the value of an argument, the one called `name`.

    By default, it does if it contains the value verbatim, as number words, as a date in another form, word by word,
    or, for a boolean, as yes or no or the parameter's name. With `codes`, words of up to three letters count as
    determined. It errs towards yes, because determined arguments are compared: of a list or object anything will do.

    With `share` below 1, that share of the value's words is enough, in full or abbreviated (`ETH` for Ethereum), and
    codes are always determined (`AU`, which is worded as Australia); so is everything without an instruction.

    Example:

    ```python
    >>> determined("2023-01-05", "Holidays on January 5th?"), determined(10, "some facts")
    (True, False)
    >>> determined("physical habits", "habits?"), determined("physical habits", "habits?", share=0.5)
    (False, True)
    ```
    """
    if share < 1:
        return _mostly_said(value, instruction, share)
    if isinstance(value, dict):
        return any(determined(item, instruction, key, codes) for key, item in value.items())
    if isinstance(value, list):
        return any(determined(item, instruction, name, codes) for item in value)
    text, said = str(value).strip(), set(_stems(instruction))
    if text.casefold() in ("true", "false"):
        asked = {stem for stem in _stems(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name)) if len(stem) > 2}
        return bool(said & (asked | (_TRUE if text.casefold() == "true" else _FALSE)))
    if re.fullmatch(r"[+-]?\d+(?:\.\d+)?", text, re.ASCII):
        return Decimal(text) in numbers_in(instruction)
    if moment := read_date(text):
        return mentions_date(instruction, moment)
    own = _stems(text)
    if len(own) == 1:
        return own[0] in said or (codes and re.fullmatch(r"[^\W\d_]{1,3}", text) is not None)
    if text and _folded(text) in _folded(instruction):
        return True
    return bool(own) and all(stem in said for stem in own if len(stem) > 2)


def _mostly_said(value: Any, instruction: str, share: float) -> bool:
    text = to_text(value)
    if not instruction.strip() or (isinstance(value, str) and is_code(text)):
        return True
    if isinstance(value, str) and (day := read_date(text)) and mentions_date(instruction, day):
        return True
    wanted, said = set(words(text)), words(instruction)
    wanted = wanted - EMPTY_WORDS or wanted
    # In full, or abbreviated.
    begun = {w for w in wanted if len(w) > 2 and w.isalpha() and any(word.startswith(w) for word in said)}
    return bool(wanted) and len(begun | (wanted & {*said})) >= share * len(wanted)


def says(text: str, value: str | int) -> bool:
    """Whether a text, such as an observation, contains a value, whatever stands between its words."""
    found, wanted = words(text), words(str(value))
    together = "".join(wanted)
    return set(wanted) <= set(found) or (not together.isdigit() and together in "".join(found))
