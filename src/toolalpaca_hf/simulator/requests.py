"""Parses and validates a request's texts as typed arguments."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

import jsonschema_rs

from ..openapi import (
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
    read_deep,
    read_joined,
    read_simple,
    sendable_json,
    style_of,
)
from .operations import SimulatedOperation
from .rng import plain

MAX_SHOWN = 200
FORM = "application/x-www-form-urlencoded"


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


@dataclass(frozen=True)
class Arguments:
    named: dict[str, Any]  # parameters by name; where two share it, that of the path, else the first
    body: Any
    flat: dict[str, Any]  # parameters and the fields of the body by their `plain` names
    placed: dict[tuple[str, str], Any]  # parameters by place and name


def parse_body(raw: bytes, kind: str, operation: SimulatedOperation) -> Any:
    """Parse a body by its media type `kind`: JSON, a form, XML, CSV or text; raises [`RequestRefused`]."""
    words = raw.decode("utf-8", "replace")
    if kind == FORM:
        try:
            fields = _by_name(parse_qsl(words, keep_blank_values=True, max_num_fields=1000))
        except ValueError:
            raise RequestRefused("The body has more than 1000 fields.") from None
        return {name: values if len(values) > 1 else values[0] for name, values in fields.items()}
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
    kinds = kinds_of(schema)
    return next((kind for kind in ("object", "array") if kind in kinds), "")


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
    problems: list[str] = []
    query = _by_name(request.raw_query)
    declared = {parameter.name for parameter in operation.parameters}
    for parameter in operation.parameters:
        texts = _texts(parameter, request, query, declared)
        if texts is None:
            # Of an object without fields a query shows nothing.
            nothing = _container(parameter.schema) == "object" and parameter.check.is_valid({})
            if parameter.required and not (nothing and parameter.place in ("query", "cookie")):
                problems.append(f"Missing required parameter: {parameter.name} (in {parameter.place}).")
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
        problems += _violations(parameter.check, value, f"Invalid parameter {parameter.name}")
        placed[parameter.place, parameter.name] = value
    body = _checked_body(operation, request, problems)
    if problems:
        raise RequestRefused(" ".join(problems[:5]))
    named: dict[str, Any] = {}
    for place, name in sorted(placed, key=lambda key: key[0] != "path"):
        named.setdefault(name, placed[place, name])
    flat = {plain(name): value for holder in (mapping(body), named) for name, value in holder.items()}
    return Arguments(named, body, flat, placed)


def _checked_body(operation: SimulatedOperation, request: IncomingRequest, problems: list[str]) -> Any:
    if not operation.declared.bodies:
        return None
    spec, body = _body_of(operation, request.media), request.body
    if not request.has_body:
        if not operation.declared.body or not operation.declared.body.required:
            return None
        plain_text = "json" not in request.media and spec is not None and kinds_of(spec.schema) == ["string"]
        if not request.media or not (plain_text or request.media == FORM):
            problems.append("Missing request body.")
            return None
        body = "" if plain_text else {}  # a text and the fields of a form may be nothing
    if spec is None:  # parse_body has refused it
        return body
    if (request.media == FORM or request.media.startswith("multipart/")) and isinstance(body, dict):
        body = _form(body, spec)
    elif is_xml(request.media) or request.media == "text/csv":
        body = coerce(body, spec.schema, wire=True)
    problems += _violations(spec.check, body, "Invalid request body")
    return body


def _form(body: dict[str, Any], spec: RequestBody) -> dict[str, Any]:
    """The fields of a form as its schema has them, decoded as its encoding says."""
    node = merged_schema(spec.schema)
    properties, needed = node.get("properties", {}), node.get("required", ())
    texts_of = {name: value if isinstance(value, list) else [value] for name, value in body.items()}
    pairs = [(name, text) for name, texts in texts_of.items() for text in texts if isinstance(text, str)]
    left, found = dict(body), {}
    for name, schema in properties.items():
        schema, encoding = part_of(spec.schema, schema), mapping(spec.encoding.get(name))
        kind, (style, explode) = _container(schema), style_of(encoding, "query")
        if name in left:
            texts: Any = texts_of[name]
            if kind and len(texts) == 1 and not explode and isinstance(texts[0], str) and json_value(texts[0]) is None:
                texts = read_joined(quote(texts[0], safe=","), encoding, kind)
            found[name] = _from_texts(texts, schema)
            del left[name]
        elif (deep := read_deep(name, pairs)) is not None:
            found[name] = _from_texts(deep, schema)
            left = {key: value for key, value in left.items() if not key.startswith(f"{name}[")}
        elif kind == "object" and explode and style == "form" and spec.media == FORM:
            # An object's fields are those of the form.
            inner = merged_schema(schema).get("properties", {})
            spread = {key: left.pop(key) for key in inner if key in left and key not in properties}
            found |= {name: _from_texts(spread, schema)} if spread else {}
        if name not in found and name in needed and kind:  # nothing is written of an empty list or object
            found[name] = [] if kind == "array" else {}
    return {**found, **left}


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _texts(
    parameter: Parameter, request: IncomingRequest, query: Mapping[str, list[str]], declared: Iterable[str]
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
    if place == "cookie":
        pairs = (pair.strip().partition("=") for pair in request.headers.get("cookie", "").split(";"))
        query = _by_name((unquote(key), value) for key, _, value in pairs)
    style, explode = style_of(parameter.declared, "query")
    texts = query.get(name, query.get(f"{name}[]"))
    if texts is not None:
        decoded = [unquote_plus(text) if place == "query" else unquote(text) for text in texts]
        as_json = json_value(decoded[0]) if len(texts) == 1 else None
        if kind == "" or holds_json(parameter.declared) or len(texts) > 1 or isinstance(as_json, dict | list):
            return decoded
        if kind == "array" and explode and style == "form":
            # Other clients separate items by a literal comma.
            return [unquote_plus(part) for part in texts[0].split(",")]
        pairs = len(read_joined(texts[0], parameter.declared, "array")) % 2 == 0
        if kind == "object" and (not pairs or (explode and style in ("form", "deepObject"))):
            return decoded
        found = read_joined(texts[0], parameter.declared, kind)
        if kind == "array" and len(found) > 1:  # or an encoded comma that is no separator
            read = (each for each in (found, decoded) if parameter.check.is_valid(_from_texts(each, parameter.schema)))
            return next(read, found)
        return found
    deep = read_deep(name, [(key, unquote_plus(text)) for key, texts in query.items() for text in texts])
    if deep is not None:
        return deep
    if kind != "object" or parameter.declared.get("explode") is False or style != "form":
        return None
    properties = fields_of(parameter.schema)
    fields: dict[str, Any] = {}
    for key, texts in query.items():
        if key not in declared and (key in properties or not properties):
            for text in texts:
                add_value(fields, key, unquote_plus(text))
    return fields or None


def _violations(check: jsonschema_rs.Draft202012Validator, value: Any, where: str) -> list[str]:
    """Validation errors as sentences that name the place."""
    try:
        errors = [] if check.is_valid(value) else list(islice(check.iter_errors(value), 3))
    except (ValueError, RecursionError):
        return [f"{where}: it cannot be read."]
    found = []
    for error in errors:
        place = ".".join(str(part) for part in error.instance_path)[:MAX_SHOWN]
        message = error.message if len(error.message) <= MAX_SHOWN else error.message[:MAX_SHOWN] + "..."
        found.append(f"{where}{f', field {place}' if place else ''}: {message.rstrip('.')}.")
    return found
