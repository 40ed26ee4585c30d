"""Encodes and decodes bodies by media type: JSON, forms, XML and CSV."""

import csv
import io
import json
import mimetypes
import re
from itertools import chain
from typing import Any
from xml.etree import ElementTree

import httpx

from .coercion import SchemaMerger, fields_of, part_of, to_text, types_of
from .document import mapping, text
from .operations import RequestBody
from .request import ApiRequest, CallError
from .styles import add_value, taken_names, write_query
from .tools import body_fields

FORM = "application/x-www-form-urlencoded"
IN_RANGE = {"*": "text/plain", "text": "text/plain", "image": "image/png", "audio": "audio/mpeg", "video": "video/mp4"}
IN_RANGE |= {"multipart": "multipart/form-data"}


def encode_body(request: ApiRequest) -> tuple[bytes | None, dict[str, str]]:
    """A request's body as bytes, `None` for no body, with its `Content-Type` header."""
    kind, body, media = request.body_type.partition(";")[0].strip().lower(), request.body, request.media
    if body is None:
        return None, {}
    if "*" in kind:  # a request has one type, which a range holds
        is_json = kind in ("*/*", "application/*") and isinstance(body, dict | list)
        kind = "application/json" if is_json else IN_RANGE.get(kind.partition("/")[0], "application/octet-stream")
    if kind == FORM and isinstance(body, dict):
        encoding, schemas = media.encoding, {key: {} for key in body} | fields_of(media.schema)
        taken = taken_names((n, mapping(encoding.get(n)), part_of(media.schema, part)) for n, part in schemas.items())
        fields = [write_query(name, value, mapping(encoding.get(name)), taken) for name, value in body.items()]
        return "&".join(chain.from_iterable(fields)).encode(), {"Content-Type": kind}
    if kind.startswith("multipart/") and isinstance(body, dict):
        files = [part for name, value in body.items() for part in _parts(name, value, media)]
        if not files:
            return b"--none--\r\n", {"Content-Type": f"{kind}; boundary=none"}
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


def _parts(name: str, value: Any, media: RequestBody) -> list[tuple[str, Any]]:
    """The multipart parts for one field: a file has a name, an object is JSON, a list is repeated, one in it JSON."""
    if isinstance(value, list):
        items = [to_text(item) if isinstance(item, list) else item for item in value]
        return [part for item in items for part in _parts(name, item, media)]
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
