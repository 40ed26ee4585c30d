"""A request's texts as typed arguments, or the reason why it is refused."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs

from .endpoints import Argument, Endpoint
from .merge import Merger
from .names import plain

SHOWN = 200


class Refused(Exception):
    """A request that is not in order; the message names what is wrong, `status` is the answer's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """A request as it came in.

    Args:
        method (`str`): HTTP method, lower case.
        path (`str`): Path below the API, percent-decoded.
        values (`dict[str, str]`): Path values by parameter name.
        query (`list[tuple[str, str]]`): Query arguments in their order.
        headers (`dict[str, str]`): Header fields, lower case.
        body (`Any`): The parsed body; `None` where there is none.
        has_body (`bool`): Whether there is one: `null` is a body, too.
        form (`bool`): Whether it was a form, whose values are all texts.
    """

    method: str
    path: str
    values: Mapping[str, str]
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: Any = None
    has_body: bool = False
    form: bool = False


@dataclass(frozen=True)
class Arguments:
    """What a request says.

    Args:
        named (`dict[str, Any]`): Parameters by name.
        body (`Any`): The body.
        flat (`dict[str, Any]`): Parameters and the fields of the body by their [`plain`] names.
    """

    named: dict[str, Any]
    body: Any
    flat: dict[str, Any] = field(default_factory=dict)


def parse_body(raw: bytes, kind: str) -> tuple[Any, bool]:
    """A body as a JSON value, and whether it was a form.

    Raises:
        Refused: It is JSON by its kind, and is not JSON.
    """
    kind = kind.split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        found: dict[str, Any] = {}
        try:
            pairs = parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            raise Refused("The body has more than 1000 fields.") from None
        for name, value in pairs:
            found[name] = (
                [*(found[name] if isinstance(found[name], list) else [found[name]]), value] if name in found else value
            )
        return found, True
    as_json = kind.endswith("json") or kind == ""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a surrogate pair can not be answered with
        return value, False
    except (ValueError, RecursionError) as error:
        if not as_json:
            return raw.decode("utf-8", "replace"), False
        reason = (
            "it is nested too deep" if isinstance(error, RecursionError) else str(error).split(" (char")[0][:SHOWN]
        )
        raise Refused(f"The body is not valid JSON: {reason}.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_arguments(endpoint: Endpoint, request: Request) -> Arguments:
    """Check a request against its operation.

    Args:
        endpoint ([`Endpoint`]): The operation.
        request ([`Request`]): The request.

    Returns:
        [`Arguments`]: Texts turned into what the schemas name.

    Raises:
        Refused: A parameter or the body is missing or not valid; the message names it.
    """
    named: dict[str, Any] = {}
    problems: list[str] = []
    query: dict[str, list[str]] = {}
    for name, value in request.query:
        query.setdefault(name, []).append(value)
    declared = {argument.name for argument in endpoint.arguments}
    for argument in endpoint.arguments:
        texts = _texts(argument, request, query, declared)
        if texts is None or (texts == [""] and not argument.required and not argument.check.is_valid("")):
            if argument.required:
                problems.append(f"Missing required parameter: {argument.name} (in {argument.place}).")
            continue
        value = texts if isinstance(texts, dict) else _typed(argument, texts)
        problems += _violations(argument.check, value, f"Invalid parameter {argument.name}")
        named[argument.name] = value
    body = _checked_body(endpoint, request, problems)
    if problems:
        raise Refused(" ".join(problems[:5]))
    flat = {plain(name): value for name, value in body.items()} if isinstance(body, dict) else {}
    flat |= {plain(argument.name): named[argument.name] for argument in endpoint.arguments if argument.name in named}
    return Arguments(named, body, flat)


def _checked_body(endpoint: Endpoint, request: Request, problems: list[str]) -> Any:
    spec = endpoint.body
    if spec is None:
        return None
    if not request.has_body:
        if spec.required:
            problems.append("Missing request body.")
        return None
    body = request.body
    if request.form and isinstance(body, dict):
        node, _ = Merger(spec.schema).merged(spec.schema, (), 0, False)
        properties = node.get("properties", {})
        body = {
            name: _from_texts(
                value if isinstance(value, list) else [value], _part(spec.schema, properties[name]), True
            )
            if name in properties
            else value
            for name, value in body.items()
        }
    problems += _violations(spec.check, body, "Invalid request body")
    return body


def _part(root: dict[str, Any], schema: Any) -> dict[str, Any]:
    return {**(schema if isinstance(schema, dict) else {}), "$defs": root.get("$defs", {})}


def _texts(
    argument: Argument, request: Request, query: Mapping[str, list[str]], declared: Iterable[str]
) -> list[str] | dict[str, Any] | None:
    """The texts of one argument; an object that is spread over the query as its fields; `None` where it is absent."""
    if argument.place == "path":
        return [request.values[argument.name]] if argument.name in request.values else None
    if argument.place == "header":
        value = request.headers.get(argument.name.lower())
        return None if value is None else [value]
    if argument.place == "cookie":
        pairs = (pair.partition("=") for pair in request.headers.get("cookie", "").split(";"))
        found = [value.strip() for name, _, value in pairs if name.strip() == argument.name]
        return found[:1] or None
    if argument.name in query:
        return query[argument.name]
    if f"{argument.name}[]" in query:
        return query[f"{argument.name}[]"]
    node, _ = Merger(argument.schema).merged(argument.schema, (), 0, False)
    if node.get("type") != "object":
        return None
    mark = f"{argument.name}["  # filters[genre]=Drama
    fields = {
        name[len(mark) : -1]: texts for name, texts in query.items() if name.startswith(mark) and name[-1] == "]"
    }
    properties = node.get("properties", {})
    if not fields and argument.exploded:
        fields = {
            name: texts
            for name, texts in query.items()
            if name not in declared and (name in properties or (argument.required and not properties))
        }
    typed = {
        name: _from_texts(texts, _part(argument.schema, properties.get(name, {})), True)
        for name, texts in fields.items()
    }
    return typed or None


def _typed(argument: Argument, texts: list[str]) -> Any:
    return _from_texts(texts, argument.schema, argument.exploded)


def _from_texts(texts: list[str], schema: dict[str, Any], exploded: bool) -> Any:
    """Texts as the value that the schema wants; what can not be one stays text, for the check to name."""
    node, _ = Merger(schema).merged(schema, (), 0, False)
    kinds = node.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "array" in kinds:
        items = _part(schema, node.get("items", {}))
        if len(texts) == 1:
            listed = _json(texts[0])
            if isinstance(listed, list):
                return listed
            texts = texts[0].split(",") if "," in texts[0] else [text for text in texts if text]
        return [_from_texts([text], items, exploded) for text in texts]
    text = texts[-1]
    for kind in kinds:
        if kind == "integer" and len(text) < 40:
            number = _json(text.strip().lstrip("+"))
            if type(number) is int or (type(number) is float and number.is_integer()):
                return int(number)
        elif kind == "number" and len(text) < 400:
            number = _json(text.strip().lstrip("+"))
            if type(number) in (int, float) and math.isfinite(number):
                return number
        elif kind == "boolean" and text.strip().lower() in ("true", "false", "1", "0"):
            return text.strip().lower() in ("true", "1")
        elif kind == "null" and text in ("", "null"):
            return None
        elif kind == "object":
            value = _json(text)
            if isinstance(value, dict):
                return value
    if not kinds and any(type(option) in (int, float, bool) for option in node.get("enum", [])):
        value = _json(text)
        return text if value is None else value
    return text


def _json(text: str) -> Any:
    """The value of a JSON text; `None` where it is none."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError):
        return None


def _violations(check: jsonschema_rs.Draft202012Validator, value: Any, where: str) -> list[str]:
    """What is wrong with a value, each in a sentence that names the place."""
    found = []
    try:
        if check.is_valid(value):
            return []
        for error in check.iter_errors(value):
            place = ".".join(str(part) for part in error.instance_path)[:SHOWN]
            message = error.message if len(error.message) <= SHOWN else error.message[:SHOWN] + "..."
            found.append(f"{where}{f', field {place}' if place else ''}: {message.rstrip('.')}.")
            if len(found) == 3:
                break
    except (ValueError, RecursionError):
        return [f"{where}: it can not be read."]
    return found
