"""Parses and validates a request's texts as typed arguments."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from ..openapi import (
    Check,
    Parameter,
    RequestBody,
    add_value,
    coerce,
    fields_of,
    from_xml,
    holds_json,
    is_json_lines,
    is_valid,
    is_xml,
    json_value,
    kinds_of,
    mapping,
    merged_schema,
    part_of,
    problems,
    read_deep,
    read_joined,
    read_simple,
    sendable_json,
    style_of,
    validator,
)
from .operations import SimulatedOperation
from .rng import plain

MAX_SHOWN = 200
FORM = "application/x-www-form-urlencoded"
ESCAPES = str.maketrans({mark: quote(mark) for mark in "%+,"})


class RequestRefused(Exception):
    """The request is invalid; the message says why, `status` is the response's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class IncomingRequest:
    """A request with raw values, not percent-decoded: an encoded comma is no separator."""

    method: str  # lower case
    path: str  # below the API, percent-decoded
    query: list[tuple[str, str]]
    headers: Mapping[str, str]  # names in lower case
    body: Any  # parsed
    has_body: bool  # `null` is a body, too
    media: str  # the body's type, lower case, without its options
    raw_values: Mapping[str, str]  # of the path, by parameter name
    raw_query: list[tuple[str, str]]
    raw_form: list[tuple[str, str]]  # the fields of a urlencoded body


@dataclass(frozen=True)
class Arguments:
    named: dict[str, Any]  # parameters by name; where two share it, that of the path, else the first
    body: Any
    flat: dict[str, Any]  # parameters and the fields of the body by their `plain` names
    placed: dict[tuple[str, str], Any]  # parameters by place and name


def raw_pairs(text: str) -> list[tuple[str, str]]:
    """The names, and the values as they were sent, of a query or a form."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [(unquote_plus(name, errors="replace"), value) for name, _, value in pairs]


def parse_body(raw: bytes, kind: str, operation: SimulatedOperation) -> Any:
    """Parse a body by its media type `kind`: JSON, a form, XML, CSV or text; raises [`RequestRefused`]."""
    words, found = raw.decode("utf-8", "replace"), dict[str, Any]()
    if kind == FORM:
        if len(pairs := raw_pairs(words)) > 1000:
            raise RequestRefused("The body has more than 1000 fields.")
        for name, value in pairs:
            add_value(found, name, unquote_plus(value))
        return found
    spec = _body_of(operation, kind)
    if spec is None and operation.declared.bodies:
        raise RequestRefused(f"The body can be {', '.join(operation.declared.bodies)}, not {kind[:MAX_SHOWN]}.", 415)
    schema = spec.schema if spec is not None else {}
    wanted = kinds_of(schema)
    if is_xml(kind) and wanted != ["string"]:
        try:
            return from_xml(words, schema)
        except ValueError as error:
            raise RequestRefused(f"The body is not valid XML: {str(error)[:MAX_SHOWN]}.") from None
    if kind == "text/csv" and "array" in wanted:
        rows = list(csv.reader(io.StringIO(words)))
        item = merged_schema(part_of(schema, merged_schema(schema).get("items", {})))
        if "object" not in kinds_of(item) or not rows:
            return rows
        needed = item.get("required", ())  # an empty cell is no value
        cells = (zip(rows[0], row, strict=False) for row in rows[1:])
        return [{name: cell for name, cell in row if cell or name in needed} for row in cells]
    if kind and wanted == ["string"] and "json" not in kind:
        return words
    try:
        if is_json_lines(kind) and "array" in wanted:
            return [sendable_json(line) for line in words.split("\n") if line.strip()]
        return sendable_json(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if kind and not kind.endswith("json"):
            return words
        deep = isinstance(error, RecursionError)
        reason = "it is nested too deep" if deep else str(error).split(" (char")[0][:MAX_SHOWN]
        raise RequestRefused(f"The body is not valid JSON: {reason}.") from None


def _container(schema: dict[str, Any]) -> str:
    """`object` or `array` if a schema allows one, else `""`."""
    return next((kind for kind in ("object", "array") if kind in kinds_of(schema)), "")


def _from_texts(texts: Any, schema: dict[str, Any]) -> Any:
    """Convert one or several texts, or an object of them, to the schema's types."""
    single = isinstance(texts, list) and len(texts) == 1 and isinstance(texts[0], str)
    return coerce(texts[0] if single else texts, schema, wire=True)


def _body_of(operation: SimulatedOperation, media: str) -> RequestBody | None:
    """The declared body of a media type or its range (`text/*`), else the preferred one for JSON, forms or no type."""
    bodies = operation.declared.bodies
    found = bodies.get(media) or bodies.get(f"{media.partition('/')[0]}/*") or bodies.get("*/*") or bodies.get("")
    known = media in ("", FORM) or media.startswith("multipart/") or "json" in media
    return operation.declared.body if found is None and known else found


def read_arguments(operation: SimulatedOperation, request: IncomingRequest) -> Arguments:
    """Validate a request against its operation and convert its texts; raises [`RequestRefused`] with the reason."""
    placed: dict[tuple[str, str], Any] = {}
    wrong: list[str] = []
    query = _by_name(request.raw_query)
    declared = {parameter.name for parameter in operation.parameters}
    for parameter in operation.parameters:
        texts = _texts(parameter, request, query, declared)
        if texts is None:
            # Of an object without fields a query shows nothing.
            nothing = _container(parameter.schema) == "object" and parameter.check.is_valid({})
            if parameter.required and not (nothing and parameter.place in ("query", "cookie")):
                wrong.append(f"Missing required parameter: {parameter.name} (in {parameter.place}).")
            continue
        alone = texts[0] if isinstance(texts, list) and len(texts) == 1 else None
        as_json = json_value(alone) if alone is not None and holds_json(parameter.declared) else None
        fits = as_json is not None and is_valid(parameter.check, as_json)  # else it is a text that looks like JSON
        value = as_json if fits else _from_texts(texts, parameter.schema)
        # Ignore an empty value, or fields that may belong to another parameter, if they would be invalid.
        fields = fields_of(parameter.schema) if isinstance(value, dict) and isinstance(texts, dict) else None
        unsure = texts == [""] or (fields is not None and not set(texts) & set(fields))
        if unsure and not parameter.required and not is_valid(parameter.check, value):
            continue
        wrong += _violations(parameter.check, value, f"Invalid parameter {parameter.name}", parameter.name)
        placed[parameter.place, parameter.name] = value
    body = _checked_body(operation, request, wrong)
    if wrong:
        raise RequestRefused(" ".join(wrong[:5]))
    named: dict[str, Any] = {}
    for place, name in sorted(placed, key=lambda key: key[0] != "path"):
        named.setdefault(name, placed[place, name])
    flat = {plain(name): value for holder in (mapping(body), named) for name, value in holder.items()}
    return Arguments(named, body, flat, placed)


def _checked_body(operation: SimulatedOperation, request: IncomingRequest, wrong: list[str]) -> Any:
    if not operation.declared.bodies:
        return None
    spec, body = _body_of(operation, request.media), request.body
    if not request.has_body:
        if not operation.declared.body or not operation.declared.body.required:
            return None
        plain_text = "json" not in request.media and spec is not None and kinds_of(spec.schema) == ["string"]
        if not request.media or not (plain_text or request.media == FORM):
            wrong.append("Missing request body.")
            return None
        body = "" if plain_text else {}  # a text and the fields of a form may be nothing
    if spec is None:  # parse_body has refused it
        return body
    if (request.media == FORM or request.media.startswith("multipart/")) and isinstance(body, dict):
        body = _form(body, spec, request)
    elif is_xml(request.media) or request.media == "text/csv":
        body = coerce(body, spec.schema, wire=True)
    wrong += _violations(spec.check, body, "Invalid request body")
    return body


def _form(body: dict[str, Any], spec: RequestBody, request: IncomingRequest) -> dict[str, Any]:
    """The fields of a form as its schema has them, decoded as its encoding says."""
    node = merged_schema(spec.schema)
    properties, needed = node.get("properties", {}), node.get("required", ())
    sent, declared, found = _by_name(request.raw_form), set(properties), dict[str, Any]()
    if request.media != FORM:  # a multipart form has neither escapes nor objects that are spread over their fields
        texts_of = {name: value if isinstance(value, list) else [value] for name, value in body.items()}
        sent = {name: [text.translate(ESCAPES) for text in texts] for name, texts in texts_of.items()}
        declared |= sent.keys()
    taken = set(properties)
    for name, schema in properties.items():
        schema = part_of(spec.schema, schema)
        texts = _fields(name, mapping(spec.encoding.get(name)), schema, sent, declared)
        if texts is not None:
            found[name] = _from_texts(texts, schema)
            taken |= texts.keys() if isinstance(texts, dict) else set()
        elif name in needed and (kind := _container(schema)):  # nothing is written of an empty list or object
            found[name] = [] if kind == "array" else {}
    left = (key for key in body if key not in taken and key.partition("[")[0] not in found)
    return found | {key: body[key] for key in left}


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _texts(
    parameter: Parameter, request: IncomingRequest, query: Mapping[str, list[str]], declared: Set[str]
) -> list[str] | dict[str, Any] | None:
    """The raw texts of one argument, an object as its fields; `None` if it is absent."""
    kind, place, name = _container(parameter.schema), parameter.place, parameter.name
    if place in ("path", "header"):
        encoded = place == "path"
        sent = request.raw_values.get(name) if encoded else request.headers.get(name.lower())
        if sent is None:
            return None
        decoded = unquote(sent) if encoded else sent
        if holds_json(parameter.declared) or (kind and isinstance(json_value(decoded), dict | list)):
            return [decoded]
        found = read_simple(parameter.declared | {"name": name}, place, sent, kind, encoded)
        return found if isinstance(found, dict | list) else [found]
    if place == "query":
        return _fields(name, parameter.declared, parameter.schema, query, declared)
    pairs = (pair.strip().partition("=") for pair in request.headers.get("cookie", "").split(";"))
    cookies = _by_name((unquote(key), value) for key, _, value in pairs)
    return _fields(name, parameter.declared, parameter.schema, cookies, declared, unquote)


def _fields(
    name: str,
    holder: dict[str, Any],
    schema: dict[str, Any],
    sent: Mapping[str, list[str]],
    declared: Set[str],
    decode: Callable[[str], str] = unquote_plus,
) -> list[str] | dict[str, Any] | None:
    """The texts of one field of a query, of a form or of cookies, as [`_texts`] has them."""
    kind, (style, explode) = _container(schema), style_of(holder, "query")
    texts = sent.get(name, sent.get(f"{name}[]"))
    if texts is not None:
        decoded = [decode(text) for text in texts]
        as_json = json_value(decoded[0]) if len(texts) == 1 else None
        if kind == "" or holds_json(holder) or len(texts) > 1 or isinstance(as_json, dict | list):
            return decoded
        if kind == "array" and explode and style == "form":
            # Other clients separate items by a literal comma.
            return [unquote_plus(part) for part in texts[0].split(",")]
        pairs = len(read_joined(texts[0], holder, "array")) % 2 == 0
        if kind == "object" and (not pairs or (explode and style in ("form", "deepObject"))):
            return decoded
        found = read_joined(texts[0], holder, kind)
        if kind == "array" and len(found) > 1:  # or an encoded comma that is no separator
            check = validator(schema)
            return next((each for each in (found, decoded) if is_valid(check, _from_texts(each, schema))), found)
        return found
    deep = read_deep(name, [(key, unquote_plus(text)) for key, texts in sent.items() for text in texts])
    if deep is not None:
        return deep
    if kind != "object" or holder.get("explode") is False or style != "form":
        return None
    properties, fields = fields_of(schema), dict[str, Any]()
    others = not properties or merged_schema(schema).get("additionalProperties", False) is not False
    for key, texts in sent.items():
        if key in properties or (others and key.partition("[")[0] not in declared):
            for text in texts if key not in declared else ():
                add_value(fields, key, unquote_plus(text))
    return fields or None


def _violations(check: Check, value: Any, where: str, name: str = "") -> list[str]:
    return [] if is_valid(check, value) else [f"{where}: {said}" for said in problems(value, check, name)]
