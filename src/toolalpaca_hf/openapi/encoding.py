"""Writes and reads what HTTP carries: parameters by `style` and `explode`, bodies by media type."""

import csv
import html
import io
import json
import mimetypes
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any
from urllib.parse import quote, unquote, unquote_plus
from xml.etree import ElementTree

from ..errors import ToolAlpacaError
from .coercion import SchemaMerger, fields_of, part_of, to_text, types_of
from .document import mapping, text
from .operations import ApiRequest, RequestBody
from .tools import body_fields

STYLES = {"path": ("simple", "label", "matrix"), "header": ("simple",), "cookie": ("form",)}
STYLES |= {"query": ("form", "spaceDelimited", "pipeDelimited", "deepObject")}
JOINTS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}
FORM = "application/x-www-form-urlencoded"
IN_RANGE = {"*/*": "text/plain", "text/*": "text/plain", "multipart/*": "multipart/form-data"}
IN_RANGE |= {"image/*": "image/png", "audio/*": "audio/mpeg", "video/*": "video/mp4"}
TEXTUAL = re.compile(r"text/|.*(json|xml|javascript|x-www-form-urlencoded|yaml|csv|graphql)")
UNKNOWN = ("", "application/octet-stream", "binary/octet-stream", "unknown/unknown")
# What a page does not show: comments, some elements, and tags. html.parser takes hours for some pages of a megabyte.
_INSIDE = r"""(?:[^<>"']++|"[^"]{0,2000}"|'[^']{0,2000}'|["'])*+"""
_UNSEEN = re.compile(
    rf"<!--.*?(?:-->|\Z)|<(script|style|noscript|template|svg)(?=[\s>]){_INSIDE}(?<!/)>.*?(?:</\1\s*>|\Z)"
    rf"|<[a-z/!?]{_INSIDE}>?",
    re.DOTALL | re.IGNORECASE,
)


class CallError(ToolAlpacaError):
    """A call that cannot be made; the message tells the model what to change."""


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
    """The percent-encoded `k=v` pieces of a query or form; an object with a field that is `taken` gets brackets."""
    style, explode = style_of(holder, "query")
    if isinstance(value, dict) and "json" in text(holder.get("contentType")):  # the encoding of a form's field
        value = to_text(value)
    encoded, spread = _escape(name), isinstance(value, dict) and explode and style == "form"
    clashes = spread and any(key in taken for key in value)
    if clashes or (style == "deepObject" and isinstance(value, dict | list)):
        return [f"{encoded}{place}={_escape(to_text(item))}" for place, item in _deep(value, "")]
    parts = _parts(value, spread, _escape)
    # A pipe in a value differs from those between values only if these are plain, as OpenAPI 3.0.3 has them.
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
    # Other clients encode what is between values too: it differs from what is in them where it is plain.
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


def encode_body(request: ApiRequest) -> tuple[bytes | None, dict[str, str]]:
    """A request's body as bytes, `None` for no body, with its `Content-Type` header."""
    kind, body, media = request.body_type.partition(";")[0].strip().lower(), request.body, request.media
    if body is None:
        return None, {}
    if "*" in kind:  # a request has one type, which a range holds
        is_json = kind in ("*/*", "application/*") and isinstance(body, dict | list)
        kind = "application/json" if is_json else IN_RANGE.get(f"{kind.split('/')[0]}/*", "application/octet-stream")
    if kind == FORM and isinstance(body, dict):
        encoding, schemas = media.encoding, {key: {} for key in body} | fields_of(media.schema)
        taken = taken_names((n, mapping(encoding.get(n)), part_of(media.schema, part)) for n, part in schemas.items())
        fields = [write_query(name, value, mapping(encoding.get(name)), taken) for name, value in body.items()]
        return "&".join(chain.from_iterable(fields)).encode(), {"Content-Type": kind}
    if kind.startswith("multipart/") and isinstance(body, dict):
        files = [part for name, value in body.items() for part in _multipart(name, value, media)]
        if not files:
            return b"--none--\r\n", {"Content-Type": f"{kind}; boundary=none"}
        import httpx

        made = httpx.Request("POST", "https://multipart.invalid", files=files)
        sent_as = made.headers.get("Content-Type", "").replace("multipart/form-data", kind)
        return made.read(), {"Content-Type": sent_as}
    if kind.startswith("multipart/") or (kind == FORM and not isinstance(body, str)):
        raise CallError(f"A body of type {kind} has named fields; give an object.")
    if is_xml(kind) and not isinstance(body, str):
        return to_xml(body, "body", media.schema), {"Content-Type": kind}
    if kind == "text/csv" and isinstance(body, list):
        return to_csv(body).encode(), {"Content-Type": kind}
    if is_json_lines(kind) and isinstance(body, list):
        return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in body).encode(), {"Content-Type": kind}
    if "json" not in kind and (isinstance(body, str) or kind.startswith("text/")):
        return to_text(body).encode(), {"Content-Type": kind or "text/plain"}
    kind = kind if "json" in kind or "yaml" in kind else "application/json"  # JSON is YAML, too
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode(), {"Content-Type": kind}


def _multipart(name: str, value: Any, media: RequestBody) -> list[tuple[str, Any]]:
    """The multipart parts for one field: a file has a name, an object is JSON, a list is repeated, one in it JSON."""
    if isinstance(value, list):
        items = [to_text(item) if isinstance(item, list) else item for item in value]
        return [part for item in items for part in _multipart(name, item, media)]
    kind = text(mapping(media.encoding.get(name)).get("contentType"))
    kind = "" if "*" in kind else kind.split(",")[0].strip()
    merger, part = SchemaMerger(media.schema), body_fields(media)[0].get(name)
    if {"binary", "file"} & {merger.node(at).get("x-format") for at in (part, merger.node(part).get("items"))}:
        kind = kind or "application/octet-stream"
        ending = mimetypes.guess_extension(kind) or ".bin"
        return [(name, (re.sub(r"\W+", "_", name) + ending, to_text(value).encode(), kind))]
    if isinstance(value, dict):
        return [(name, (None, to_text(value), kind or "application/json"))]
    return [(name, (None, to_text(value), kind) if kind else (None, to_text(value)))]


def is_json_lines(kind: str) -> bool:
    return re.search("ndjson|jsonl", kind.lower()) is not None


def is_xml(kind: str) -> bool:
    return kind.endswith(("/xml", "+xml")) and "svg" not in kind and "html" not in kind


class _Xml(SchemaMerger):
    """The XML names of a schema's values: elements, attributes, and wrappers around lists."""

    def said(self, part: Any) -> dict[str, Any]:
        return mapping(self.node(part).get("xml"))

    def named(self, part: Any, otherwise: str) -> str:
        name = re.sub(r"[^\w.-]+", "_", text(self.said(part).get("name")) or otherwise)
        return name if re.match(r"[^\W\d]", name) else f"_{name}"

    def field(self, key: str, part: Any) -> tuple[str, str, bool]:
        """The element of a field, that of its items if it is a list, and whether the former wraps the latter."""
        own, wrapped = self.named(part, key), self.said(part).get("wrapped") is True
        return own, self.named(self.node(part).get("items"), own if wrapped else key), wrapped


def to_xml(value: Any, name: str, schema: dict[str, Any] | None = None) -> bytes:
    """Write a JSON value as XML, as its schema's `xml` says: an element per field, repeated for a list's items."""
    names = _Xml(schema or {})

    def element(name: str, value: Any, part: Any) -> ElementTree.Element:
        node, made, said = names.node(part), ElementTree.Element(name), names.said(part)
        if namespace := text(said.get("namespace")):
            prefix = re.sub(r"[^\w.-]+", "_", text(said.get("prefix")))
            made.tag = f"{prefix}:{name}" if prefix else name
            made.set(f"xmlns:{prefix}" if prefix else "xmlns", namespace)
        if isinstance(value, dict):
            for key, item in value.items():
                declared = node.get("properties", {}).get(key)
                own, each, wrapped = names.field(key, declared)
                if isinstance(item, list):
                    inside = ElementTree.SubElement(made, own) if wrapped else made
                    inside.extend(element(each, one, names.node(declared).get("items")) for one in item)
                elif names.said(declared).get("attribute") is True and not isinstance(item, dict):
                    made.set(own, printable(item))
                else:
                    made.append(element(own, item, declared))
        elif isinstance(value, list):
            each = names.named(node.get("items"), "item")
            made.extend(element(each, one, node.get("items")) for one in value)
        elif value is not None:
            made.text = printable(value)
        return made

    def printable(value: Any) -> str:
        return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", to_text(value))

    # As ASCII, names with other letters would hold references to characters, which no name can.
    return ElementTree.tostring(element(names.named(names.root, name), value, names.root), "unicode").encode()


def from_xml(words: str, schema: dict[str, Any]) -> Any:
    """Parse what [`to_xml`] wrote, leaving the leaves as texts; a required list with no elements is empty.

    A document type is a `ValueError`, since its entities may grow without end or read files.
    """
    if "<!" in words.replace("<!--", "").replace("<![CDATA[", ""):
        raise ValueError("it has a document type, which is not read")
    try:
        root = ElementTree.fromstring(words)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None
    names = _Xml(schema)

    def read(element: ElementTree.Element, part: Any, depth: int) -> Any:
        if depth > 60:
            raise ValueError("it is nested too deep")
        node = names.node(part)
        properties, kinds = node.get("properties", {}), types_of(node)
        if "array" in kinds:
            return [read(child, node.get("items"), depth + 1) for child in element]
        if not len(element) and not element.attrib and not properties and "object" not in kinds:
            return element.text or ""
        fields = {key: names.field(key, declared) for key, declared in properties.items()}
        lists = {key for key, declared in properties.items() if "array" in types_of(names.node(declared))}
        flat = {key for key in lists if not fields[key][2]}
        keys = {(each if key in flat else own): key for key, (own, each, _) in fields.items()}
        found: dict[str, Any] = {key: [] for key in node.get("required", ()) if key in lists}
        for name, value in element.attrib.items():
            key = keys.get(bare := name.rpartition("}")[2], bare)
            found[key] = [value] if key in flat else value
        for child in element:
            key = keys.get(bare := child.tag.rpartition("}")[2], bare)
            declared = names.node(properties.get(key))
            if key in flat:
                found.setdefault(key, []).append(read(child, declared.get("items"), depth + 1))
            elif key in lists:
                found[key] = read(child, declared, depth + 1)
            else:
                add_value(found, key, read(child, declared, depth + 1))
        return found

    return read(root, schema, 0)


def to_csv(rows: list[Any]) -> str:
    """Rows as CSV; a list of objects starts with a header line."""
    out = io.StringIO()
    if rows and all(isinstance(row, dict) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        rows = [names, *[["" if row.get(name) is None else row[name] for name in names] for row in rows]]
    csv.writer(out).writerows([to_text(cell) for cell in row] if isinstance(row, list) else [row] for row in rows)
    return out.getvalue()


def body_text(body: bytes, content_type: str) -> str | None:
    """A body as text, or `None` for a binary one; JSON is compacted, HTML loses its tags."""
    kind, _, options = content_type.lower().partition(";")
    kind, textual = kind.strip(), TEXTUAL.match(kind.strip())
    named = re.search(r"charset=[\s\"']*([\w.-]+)", options, re.ASCII)
    charset = named[1] if named and textual and named[1] not in ("utf-8", "utf8", "punycode") else "utf-8-sig"
    if (b"\0" in body and not re.match("utf-?(16|32)", charset)) or not (textual or kind in UNKNOWN):
        return None  # whatever it calls itself
    try:
        words = body.decode(charset, "replace" if textual else "strict")
    except (LookupError, ValueError):  # `zip`, `rot13` and such are no text encodings
        if not textual:
            return None
        words = body.decode("utf-8-sig", "replace")
    words = words.strip()
    if words[:1] in ("{", "[", '"') or "json" in kind:
        with suppress(ValueError, RecursionError):
            words = json.dumps(json.loads(words), ensure_ascii=False, separators=(",", ":"))
    elif kind in ("text/html", "application/xhtml+xml") or words[:200].lower().startswith(("<!doctype html", "<html")):
        words = " ".join(html.unescape(_UNSEEN.sub(" ", words)).split())
    return words.encode("utf-8", "replace").decode("utf-8")
