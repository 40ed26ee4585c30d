"""Realistic texts and numbers by a field's format, name and description; the words are in `fake_values.toml`."""

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import jsonschema_rs
import rstr

from .rng import NAMES, TABLES, Rng, is_id, singular, words_of

TextMaker = Callable[[Rng], str]

HEX, DIGITS, CAPITALS = "0123456789abcdef", "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHABETS = {"hex": HEX, "digit": DIGITS, "nonzero": DIGITS[1:], "capital": CAPITALS, "password": CAPITALS + HEX}
MASK = {"#": DIGITS, "?": CAPITALS, "x": HEX}
_PART = re.compile(r"\{([A-Za-z]\w*(?: [^{}]+)?)\}")
WORDS: dict[str, list[Any]] = TABLES["words"]
QUALIFIERS = NAMES["qualifiers"]


def _uuid(rng: Rng) -> str:
    text = rng.text(HEX, 32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{rng.pick('89ab')}{text[17:20]}-{text[20:]}"


def _barcode(rng: Rng) -> str:
    digits = "978" + rng.text(DIGITS, 9)
    return digits + str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10)


def _picker(options: Sequence[str]) -> TextMaker:
    return lambda rng: rng.pick(options)


# Placeholders in the tables' texts.
_PARTS: dict[str, TextMaker] = {name: _picker(words) for name, words in WORDS.items()} | {
    "topic": lambda rng: rng.pick(rng.topic or WORDS["noun"]),
    "handle": lambda rng: (
        f"{rng.pick(WORDS['first_name']).lower()}.{rng.pick(WORDS['last_name']).lower()}{rng.integer(1, 99)}"
    ),
    "date": lambda rng: (date(2023, 1, 1) + timedelta(days=rng.integer(0, 729))).isoformat(),
    "moment": lambda rng: (datetime(2023, 1, 1) + timedelta(seconds=rng.integer(0, 730 * 86400))).isoformat() + "Z",
    "clock": lambda rng: f"{rng.integer(0, 23):02}:{rng.integer(0, 11) * 5:02}",
    "ipv6": lambda rng: "2001:db8::" + ":".join(rng.text(HEX, 4).lstrip("0") or "0" for _ in range(3)),
    "uuid": _uuid,
    "barcode": _barcode,
}


def _part(name: str) -> TextMaker:
    kind, _, given = name.partition(" ")
    if kind == "like":
        return lambda rng: "".join(rng.text(MASK[sign], 1) if sign in MASK else sign for sign in given)
    if kind in ALPHABETS:
        return lambda rng: rng.text(ALPHABETS[kind], int(given))
    if kind == "int":
        low, high, *width = given.split()
        return lambda rng: f"{rng.integer(int(low), int(high)):{''.join(width)}}"
    if kind == "number":
        low, high, digits = given.split()
        return lambda rng: f"{rng.number(float(low), float(high)):.{digits}f}"
    if kind not in _PARTS:  # {Noun}
        return lambda rng: _PARTS[kind.lower()](rng).title()
    return _PARTS[kind]


def _text_maker(make: str | list[str]) -> TextMaker:
    if isinstance(make, list):
        if not any(_PART.search(text) for text in make):
            return _picker(make)
        makers = [_text_maker(text) for text in make]
        return lambda rng: rng.pick([maker(rng) for maker in makers])
    literals, parts = _PART.split(make)[::2], [_part(name) for name in _PART.findall(make)]
    if literals == ["", ""]:
        return parts[0]
    return lambda rng: (
        literals[0] + "".join([part(rng) + rest for part, rest in zip(parts, literals[1:], strict=True)])
    )


_COLUMNS = {"cities": "city region", "countries": "country country_code", "languages": "language language_code"}
for _rows, _names in _COLUMNS.items():
    _PARTS |= {name: _picker([row[place] for row in WORDS[_rows]]) for place, name in enumerate(_names.split())}
for _name, _make in TABLES["texts"].items():
    _PARTS[_name] = _text_maker(_make)
FORMATS: dict[str, TextMaker] = {name: _text_maker(make) for name, make in TABLES["formats"].items()}


def _ends(listed: str) -> list[str]:
    return [" ".join(end.split()) for end in listed.split(";")]


TEXTS: dict[str, tuple[str, TextMaker]] = {}
for _row in TABLES["kinds"]:
    TEXTS |= dict.fromkeys(_ends(_row["names"]), (_row["kind"], _text_maker(_row["make"])))
NUMBERS: dict[str, Any] = {}  # kind, minimum, maximum, decimals
for _kind, (*_range, _names) in TABLES["numbers"].items():
    NUMBERS |= dict.fromkeys(_ends(_names), (_kind, *_range))
GLUED = {end.replace(" ", ""): end for end in TEXTS if " " in end}

_DESCRIBED = [(re.compile(said, re.IGNORECASE), end) for said, end in TABLES["described"]]
_EXAMPLE = re.compile(
    r"(?i)(?:\be\.g\.|\bfor example|\bsuch as|\bexamples?:|\bvalues(?: are| include)?:?)[,:]?\s*"
    r"[\"'`“]([^\"'`”{}]{1,60})[\"'`”]"
)
# A path with placeholders: `projects/{project}/locations/{location}`.
_TEMPLATE = re.compile(r"(?<![\w/])((?:[\w.*-]+/)*[\w.-]+/\{\w+\}(?:/[\w.{}-]+)*)")
_PREAMBLE = re.compile(r"(?i)^\W*(?:(?:output only|input only|optional|required|immutable|deprecated|identifier)\W+)+")
_HEAD_END = re.compile(r"[.,;:()]|\b(?:of|for|to|that|which|in|used|from|where|when|with|if|is|as|on|by|associated)\b")


def _ending(words: Sequence[str], table: Mapping[str, object]) -> str | None:
    """The longest suffix of a name that the table knows."""
    ends = (" ".join(words[start:]) for start in range(max(0, len(words) - 4), len(words)))
    return next((end for end in ends if end in table), None)


def _found(words: Sequence[str], table: Mapping[str, object]) -> str | None:
    """The suffix that tells a name's kind: of the whole, of its singular, without qualifiers, or before an `of`."""
    while words:
        end = _ending(words, table) or _ending((*words[:-1], singular(words[-1])), table)
        if end:
            return end
        if len(words) == 1 or not (words[-1] in QUALIFIERS or words[-1].isdigit()):
            break
        words = words[:-1]
    before_of = next((place for place in range(len(words) - 2, 0, -1) if words[place] in NAMES["of"]), None)
    return None if before_of is None else _found(words[:before_of], table)


@lru_cache(maxsize=65536)
def _text_end(name: str) -> str | None:
    # `city2` is a city, `md5` a kind of its own.
    words = tuple(word if word in TEXTS else re.sub(r"(?<=[a-z]{2})\d+$", "", word) for word in words_of(name))
    if not words or words[0] == "num" or words[:2] == ("number", "of"):
        return None
    if words[0] in ("is", "has", "can", "should"):
        return "enabled"
    whole, final = "".join(words), words[-1]
    if whole in GLUED:
        return GLUED[whole]
    # `time` alone is a time of day; with a qualifier it is a date and time.
    if final == "time" and len(words) > 1 and _ending(words, TEXTS) == "time":
        return "timestamp"
    if final == "date" and len(words) > 1 and words[-2] == "up":
        return None
    end = _found(words, TEXTS)
    # The name of somebody is a person's name; other names are titles.
    if end == "name" and set(words) & {*NAMES["people"]}:
        return "full name"
    if end is None and len(final) > 6:
        last = next((known for known in NAMES["glued_ends"] if final.endswith(known)), None)
        end = last and (GLUED.get(final) or last)
    return end


@lru_cache(maxsize=65536)
def _described_end(description: str) -> str | None:
    """The word that tells a description's kind: `The expiration date of the link` is a date."""
    head = _HEAD_END.split(_PREAMBLE.sub("", description).lower(), maxsplit=1)[0]
    end = _text_end(head) if len(head) < 60 else None
    return None if end in NAMES["vague"] else end


@lru_cache(maxsize=65536)
def _number_end(name: str) -> str | None:
    words = words_of(name)
    if not words:
        return None
    if (len(words) > 1 and words[0] in ("num", "count", "n")) or words[:2] == ("number", "of"):
        return "count"
    return _found(words, NUMBERS) or ("count" if set(words) & {*NAMES["counted"]} and len(words) > 1 else None)


def kind_of(name: str, numeric: bool = False) -> str | None:
    """The kind of value that a field's name suggests, or `None`: `created_at` is a `date and time`."""
    if not numeric and (end := _text_end(name)):
        return TEXTS[end][0]
    end = _number_end(name)
    return NUMBERS[end][0] if end else None


def example_in(description: str) -> str:
    """The value that a description quotes as an example, or an empty text."""
    found = _EXAMPLE.search(description)
    return found[1] if found else ""


def fake_text(name: str, rng: Rng, description: str = "", most: int = 10_000) -> str:
    """A plausible text for a field by its name or description, at most `most` characters long."""
    if (example := example_in(description)) and len(example) <= most:
        return example
    if (template := _TEMPLATE.search(description)) and len(template[1]) <= most // 2:
        return re.sub(r"\{\w+\}", lambda _: _PARTS["slug"](rng), template[1])
    number_end = _number_end(name)
    end = next((end for pattern, end in _DESCRIBED if pattern.search(description)), None) or _text_end(name)
    if end is None and number_end is None:
        end = _described_end(description)
    if end:
        text = TEXTS[end][1](rng)
        for _ in range(5):
            if len(text) <= most:
                break
            text = TEXTS[end][1](rng)
        if len(text) <= most or number_end is None:
            return text
    if number_end is not None:
        _, low, high, digits = NUMBERS[number_end]
        return f"{rng.number(low, high):0{most if digits == 0 and most == 2 else 1}.{digits}f}"
    words = [word for word in words_of(name) if len(word) > 2 and not word.isdigit() and word not in QUALIFIERS]
    text = f"{rng.pick(WORDS['adjective'])} {singular(words[-1]) if words else rng.pick(WORDS['noun'])}"
    return text if len(text) <= most else rng.pick(WORDS["noun"])


HIGH = {"min": "max", "minimum": "maximum", "from": "to", "low": "high", "since": "until"}
HIGH |= {"start": "end", "begin": "end"}
_COUNTRY_OF = {name: country for name, _, country in WORDS["cities"]}
_REGION_OF = {name: region for name, region, _ in WORDS["cities"]}
_NAME_OF = {code: name for name, code in WORDS["countries"]}


def make_consistent(made: dict[str, Any], own: Sequence[str], properties: Mapping[str, object]) -> None:
    """Make the values of one object agree: minimum before maximum, a city in its country. Only `own` may change."""
    kinds = {key: kind_of(key) for key in own if isinstance(made[key], str)}
    city = next((made[key] for key, kind in kinds.items() if kind == "city" and made[key] in _COUNTRY_OF), None)
    for key, kind in kinds.items() if city else ():
        if kind == "country":
            made[key] = _NAME_OF[_COUNTRY_OF[city]]
        elif kind == "country code" and made[key] in _NAME_OF:
            made[key] = _COUNTRY_OF[city]
        elif kind in ("region", "state"):
            made[key] = _REGION_OF[city]
    by_words = {words_of(key): key for key in own}
    for words, key in by_words.items():
        for place, word in enumerate(words):
            greatest = by_words.get((*words[:place], HIGH[word], *words[place + 1 :])) if word in HIGH else None
            if greatest and _rules(properties.get(key)) == _rules(properties.get(greatest)):
                made[key], made[greatest] = _ordered(made[key], made[greatest])


def _rules(schema: object) -> object:
    said = ("description", "title")
    return {key: value for key, value in schema.items() if key not in said} if isinstance(schema, Mapping) else schema


def _ordered(low: Any, high: Any) -> tuple[Any, Any]:
    for names in (WORDS["month"], WORDS["weekday"]):
        if low in names and high in names:
            return (low, high) if names.index(low) <= names.index(high) else (high, low)
    numbers = all(isinstance(value, int | float) for value in (low, high))
    texts = all(isinstance(value, str) for value in (low, high)) and len(low) == len(high)
    dates = texts and low[:1].isdigit() and high[:1].isdigit()
    return (high, low) if (numbers or dates) and high < low else (low, high)


MAX_INTEGER = {"int32": 2**31 - 1, "int64": 2**53}
MAX_LENGTH = 10_000
# Numbers that documents write as text, as JSON's own numbers lose digits.
NUMERIC = ("int32", "int64", "uint32", "uint64", "float", "double", "decimal")


def make_text(node: dict[str, Any], name: str, rng: Rng, bare: bool = False) -> str:
    """A text for a schema: by its pattern or format, else by the field's name unless `bare`."""
    least = min(node.get("minLength", 0), MAX_LENGTH)
    most = min(node.get("maxLength", MAX_LENGTH), MAX_LENGTH)
    kind = node.get("format")
    if "pattern" in node:
        return _matching(node["pattern"], least, most, rng)
    if kind in FORMATS:
        text = FORMATS[kind](rng)
    elif kind in NUMERIC and not bare:
        text = str(make_number({}, name, rng, "int" in kind))
    elif bare:
        text = rng.text(HEX, 8)
    elif is_id(name):
        text = _uuid(rng) if name.lower().endswith(("uuid", "guid")) else rng.text(HEX, 12)
    else:
        text = fake_text(name, rng, str(node.get("description", "")), most)
    if len(text) > most:
        # A word is better than half a sentence.
        text = text[:most] if most < 4 else text[:most].rsplit(" ", 1)[0].rstrip(" ,.") or text[:most]
    while len(text) < least:
        text += (" " if text and len(text) + 1 < least else "") + rng.text(HEX, min(8, max(1, least - len(text))))
    return text[:most]


_OPEN_GROUP = re.compile(r"\)(?:[*+]|\{[0-9]*,\})")


def _matching(pattern: str, least: int, most: int, rng: Rng) -> str:
    best = ""
    times = math.prod(max(int(number), 1) for number in re.findall(r"(?<=[{,])[0-9]{1,18}(?=[},])", pattern))
    if times > MAX_LENGTH or re.search(r"[0-9]{19}", pattern):
        return best  # a few letters can ask for more text than there is memory
    # JSON Schema's dialect writes some classes otherwise than Python's.
    written = re.sub(r"\\p\{[^}]*\}", "[A-Za-z]", pattern)
    # A group repeated a hundred times is too long for most fields, and one inside another is without end.
    shorter, nested = _OPEN_GROUP.sub("){1,3}", written), len(_OPEN_GROUP.findall(written)) > 1
    for attempt in range(40):
        try:
            text = rstr.Rstr(random.Random(rng.integer(0, 2**32))).xeger(shorter if attempt or nested else written)
        except (re.error, ValueError, KeyError, IndexError, RecursionError, OverflowError, MemoryError):
            return best
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        if not jsonschema_rs.is_valid({"pattern": pattern}, text):
            continue
        if len(text) < least and not re.search(r"(?<!\\)\$", pattern):
            text += rng.text(HEX, min(least - len(text), 64))
        if least <= len(text) <= most:
            return text
        best = text
    return best


def make_number(node: dict[str, Any], name: str, rng: Rng, whole: bool, bare: bool = False) -> int | float:
    """A number for a schema, in the usual range of the field's name as far as the bounds allow."""
    low, high, digits = (0, 1000, 2) if bare else NUMBERS.get(_number_end(name) or "", ("", 1, 100, 0))[1:]
    low, high, digits = (math.ceil(low), math.floor(high), 0) if whole and high - low >= 1 else (low, high, digits)
    below, above = node.get("minimum", -math.inf), node.get("maximum", math.inf)
    over, under = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if over is not None and over >= below:
        below = math.floor(over) + 1 if whole else math.nextafter(over, math.inf)
    if under is not None and under <= above:
        above = math.ceil(under) - 1 if whole else math.nextafter(under, -math.inf)
    if node.get("format") in MAX_INTEGER and whole:
        above = min(above, MAX_INTEGER[node["format"]])
    if below > low or above < high:
        span = max(high - low, 100)
        inside = max(below, low) <= min(above, high)
        low = max(below, low) if inside else below if below > -math.inf else above - span
        high = min(above, high) if low <= min(above, high) else min(above, low + span)
    high = max(high, low)
    if step := node.get("multipleOf"):
        first, last = math.ceil(low / step), math.floor(high / step)
        if first > last:
            first = last = round(low / step)
        exact = rng.integer(first, last) * step
        return int(exact) if whole or float(exact).is_integer() else float(f"{exact:.12g}")
    if whole:
        return rng.integer(math.ceil(low), max(math.ceil(low), math.floor(high)))
    number = rng.number(low, high)
    rounded = round(number, digits or 1)
    number = rounded if below <= rounded <= above else number
    return number if low <= number <= high or bare else min(max(number, low), high)
