"""Texts and numbers within the bounds of a schema."""

import math
import random
import re
from typing import Any

import jsonschema_rs
import rstr

from .draws import Draws
from .formats import FORMATS, HEX
from .names import is_id
from .plausible import plausible_range, plausible_text

INT_MAX = {"int32": 2**31 - 1, "int64": 2**53}
LONGEST = 10_000
# Numbers that documents write as text, as JSON's own numbers lose digits.
NUMERIC = ("int32", "int64", "uint32", "uint64", "float", "double", "decimal")


def make_text(node: dict[str, Any], name: str, draws: Draws, bare: bool = False) -> str:
    """A text: by pattern or format where the schema has one, else by the field's name."""
    least = min(node.get("minLength", 0), LONGEST)
    most = min(node.get("maxLength", LONGEST), LONGEST)
    if "pattern" in node:
        return _matching(node["pattern"], least, most, draws)
    if node.get("format") in FORMATS:
        text = FORMATS[node["format"]](draws)
    elif node.get("format") in NUMERIC and not bare:
        text = str(make_number({}, name, draws, "int" in node["format"]))
    elif bare:
        text = draws.text(HEX, 8)
    elif is_id(name):
        text = FORMATS["uuid"](draws) if name.lower().endswith(("uuid", "guid")) else draws.text(HEX, 12)
    else:
        text = plausible_text(name, draws, str(node.get("description", "")), most)
    if len(text) > most:
        # Half a sentence says less than a word.
        text = text[:most] if most < 4 else text[:most].rsplit(" ", 1)[0].rstrip(" ,.") or text[:most]
    while len(text) < least:
        text += (" " if text and len(text) + 1 < least else "") + draws.text(HEX, min(8, max(1, least - len(text))))
    return text[:most]


def _matching(pattern: str, least: int, most: int, draws: Draws) -> str:
    """A text that matches a pattern; an empty one where none is found."""
    best = ""
    times = math.prod(max(int(number), 1) for number in re.findall(r"(?<=[{,])[0-9]{1,18}(?=[},])", pattern))
    if times > LONGEST or re.search(r"[0-9]{19}", pattern):
        return best  # a few letters can ask for more text than there is memory
    # JSON Schema's dialect writes some classes otherwise than Python's.
    written = re.sub(r"\\p\{[^}]*\}", "[A-Za-z]", pattern)
    for _ in range(40):
        chance = random.Random(draws.integer(0, 2**32))
        try:
            text = rstr.Rstr(chance).xeger(written)
        except (re.error, ValueError, KeyError, IndexError, RecursionError, OverflowError, MemoryError):
            return best
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        if not jsonschema_rs.is_valid({"pattern": pattern}, text):
            continue
        if len(text) < least and not re.search(r"(?<!\\)\$", pattern):
            text += draws.text(HEX, min(least - len(text), 64))
        if least <= len(text) <= most:
            return text
        best = text
    return best


def make_number(node: dict[str, Any], name: str, draws: Draws, whole: bool, bare: bool = False) -> int | float:
    """A number: within the field's plausible range as far as the schema's bounds let it."""
    low, high, digits = (0, 1000, 2) if bare else plausible_range(name)
    low, high, digits = (math.ceil(low), math.floor(high), 0) if whole and high - low >= 1 else (low, high, digits)
    below, above = _bounds(node, whole)
    if node.get("format") in INT_MAX and whole:
        above = min(above, INT_MAX[node["format"]])
    if below > low or above < high:
        span = max(high - low, 100)
        low = (
            max(below, low) if max(below, low) <= min(above, high) else (below if below > -math.inf else above - span)
        )
        high = min(above, high) if low <= min(above, high) else min(above, low + span)
    if high < low:
        high = low
    step = node.get("multipleOf")
    if step:
        first, last = math.ceil(low / step), math.floor(high / step)
        if first > last:
            first = last = round(low / step)
        times = draws.integer(first, last)
        exact = times * step
        return int(exact) if whole or float(exact).is_integer() else float(f"{exact:.12g}")
    if whole:
        return draws.integer(math.ceil(low), max(math.ceil(low), math.floor(high)))
    number = draws.number(low, high)
    rounded = round(number, digits or 1)
    number = rounded if below <= rounded <= above else number
    return number if low <= number <= high or bare else min(max(number, low), high)


def _bounds(node: dict[str, Any], whole: bool) -> tuple[float, float]:
    """The least and the greatest value that a schema allows."""
    low, high = node.get("minimum", -math.inf), node.get("maximum", math.inf)
    over, under = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if over is not None and over >= low:
        low = math.floor(over) + 1 if whole else math.nextafter(over, math.inf)
    if under is not None and under <= high:
        high = math.ceil(under) - 1 if whole else math.nextafter(under, -math.inf)
    return low, high
