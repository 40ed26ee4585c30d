"""OpenAPI's `style` and `explode`: the client writes parameters with them, and the simulator reads them back."""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from .coercion import fields_of, to_text
from .document import mapping, text

STYLES = {"path": ("simple", "label", "matrix"), "header": ("simple",), "cookie": ("form",)}
STYLES |= {"query": ("form", "spaceDelimited", "pipeDelimited", "deepObject")}
JOINTS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}


def style_of(parameter: dict[str, Any], where: str) -> tuple[str, bool]:
    style = "" if "content" in parameter else text(parameter.get("style"))
    style = style if style in STYLES.get(where, ()) else STYLES.get(where, STYLES["query"])[0]
    explode = parameter.get("explode")
    return style, explode if isinstance(explode, bool) else style in ("form", "deepObject")


def holds_json(parameter: dict[str, Any]) -> bool:
    """Whether a parameter is written as JSON, because it has `content` instead of a `schema`."""
    return any("json" in kind.lower() for kind in mapping(parameter.get("content")))


_escape = partial(quote, safe="")


def _parts(value: Any, paired: bool, escape: Callable[[str], str]) -> list[str]:
    """The texts of a value: those of a list's items, and of an object's fields, as `k=v` if `paired`."""
    if isinstance(value, dict):
        pairs = [(escape(key), escape(to_text(item))) for key, item in value.items()]
        return [f"{key}={item}" for key, item in pairs] if paired else [part for pair in pairs for part in pair]
    return [escape(to_text(item)) for item in (value if isinstance(value, list) else [value])]


def write_simple(parameter: dict[str, Any], where: str, value: Any, encode: bool = True) -> str:
    """Write a `path`, `header` or `cookie` parameter as text; `encode` percent-encodes each part."""
    style, explode = style_of(parameter, where)
    escape = _escape if encode else str
    name, parts = escape(parameter["name"]), _parts(value, explode, escape)
    if style == "label":  # a dot in a value is none between two
        return "." + ("." if explode else ",").join(part.replace(".", "%2E") for part in parts)
    if style == "matrix":
        if explode and isinstance(value, list | dict):
            return "".join(f";{part}" if isinstance(value, dict) else f";{name}={part}" for part in parts)
        return f";{name}={','.join(parts)}"
    return ",".join(parts)


def taken_names(fields: Iterable[tuple[str, dict[str, Any], dict[str, Any]]]) -> set[str]:
    """Names that no object may be spread over, as another field has them; `fields` are names, styles and schemas."""
    fields = list(fields)
    spread = (schema for _, holder, schema in fields if style_of(holder, "query") == ("form", True))
    inner = Counter(key for schema in spread for key in fields_of(schema))
    return {name for name, *_ in fields} | {key for key, count in inner.items() if count > 1}


def write_query(name: str, value: Any, holder: dict[str, Any], taken: Container[str] = ()) -> list[str]:
    """The percent-encoded `k=v` pieces of a query or form for one name; `holder` has its `style` and `explode`.

    An object with a field of a name that is [`taken_names`] is written with brackets, or one value would be lost.
    """
    style, explode = style_of(holder, "query")
    encoded, spread = _escape(name), isinstance(value, dict) and explode and style == "form"
    clashes = spread and any(key in taken for key in value)
    if clashes or (style == "deepObject" and isinstance(value, dict | list)):
        return [f"{encoded}{place}={_escape(to_text(item))}" for place, item in _deep(value, "")]
    parts = _parts(value, spread, _escape)
    # A pipe in a value is only told from those between values if these are plain, as OpenAPI 3.0.3 has them.
    joint = "|" if style == "pipeDelimited" and "%7C" in "".join(parts) else JOINTS.get(style, ",")
    parts = parts if spread or (isinstance(value, list) and explode) else [joint.join(parts)]
    return parts if spread else [f"{encoded}={part}" for part in parts]


def _deep(value: Any, place: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, item in pairs for leaf in _deep(item, f"{place}%5B{_escape(str(key))}%5D")]
    return [(place, value)]


def read_simple(parameter: dict[str, Any], where: str, raw: str, kind: str, encoded: bool = True) -> Any:
    """Parse what [`write_simple`] wrote, as texts; `kind` is `array`, `object` or another type."""
    style, explode = style_of(parameter, where)
    plain = unquote if encoded else str
    name, joint, several = _escape(parameter["name"]), ",", kind in ("array", "object")
    if style == "label":
        raw = raw.removeprefix(".")
        # OpenAPI 3.0.0 to 3.0.3 show a dot where RFC 6570 has a comma.
        joint = "." if explode or "," not in raw else ","
    elif style == "matrix":
        joint = ";" if explode and several else ","
        raw = raw.removeprefix(";") if joint == ";" else raw.removeprefix(";").split(";")[0].removeprefix(f"{name}=")
    parts = raw.split(joint) if several else [raw]
    if joint == ";" and kind == "array":
        parts = [part.removeprefix(f"{name}=") for part in parts]
    if kind == "object":
        return read_pairs(parts, explode, plain)
    found = [plain(part.strip() if where == "header" else part) for part in parts]
    return found if kind == "array" else found[0]


def read_pairs(parts: list[str], explode: bool, plain: Any) -> dict[str, str]:
    """The fields of an object from `k=v` parts, or from alternating names and values."""
    alternating = zip(parts[::2], parts[1::2], strict=False)
    pairs = [part.partition("=")[::2] for part in parts if part] if explode else alternating
    return {plain(key.strip()): plain(value) for key, value in pairs}


def read_joined(raw: str, holder: dict[str, Any], kind: str) -> Any:
    style, _ = style_of(holder, "query")
    # Other clients encode what is between values too: it is told from what is in them where it is plain.
    commas, pipes = "," if "," in raw else "%2C", r"\|" if "|" in raw else "%7C"
    joint = {"spaceDelimited": r"%20|\+| ", "pipeDelimited": pipes}.get(style, commas)
    parts = re.split(joint, raw, flags=re.IGNORECASE)
    return read_pairs(parts, False, unquote_plus) if kind == "object" else [unquote_plus(part) for part in parts]


def read_deep(name: str, pairs: list[tuple[str, str]]) -> dict[str, Any] | None:
    """The object that `name[a][0]=...` pairs spell out, or `None`; [`coerce`] makes lists of its parts."""
    root: dict[str, Any] = {}
    for key, value in pairs:
        if not key.startswith(f"{name}[") or not key.endswith("]") or len(key) > 1000:
            continue
        *places, last = key[len(name) + 1 : -1].split("][")
        node = root
        for place in places:
            if not isinstance(node.get(place), dict):
                node[place] = {}
            node = node[place]
        add_value(node, last, value)
    return root or None


def add_value(found: dict[str, Any], name: str, value: Any) -> None:
    """Add a value to those of a name: several of them are a list."""
    held = found.get(name, [])
    found[name] = [*(held if isinstance(held, list) else [held]), value] if name in found else value
