"""Checks a model's action input against the operation it calls, and makes an HTTP request of it."""

import json
import re
from collections.abc import Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..errors import InputError
from ..storage import STRICT_JSON
from .coercion import coerce, is_valid, kinds_of, merged_schema, part_of, problems, to_text
from .document import MAX_DEPTH, listed, mapping, text
from .encoding import CallError, holds_json, style_of, taken_names, write_query, write_simple
from .operations import IN_PATH, ApiRequest, Operation, Parameter, RequestBody, security_schemes
from .safety import AddressError, origin_of
from .schema import validator
from .tools import ToolNames, body_fields, tool_names

BODY_KEYS = ("body", "requestBody", "request_body")  # under which models put a whole request body


def read_arguments(action_input: str) -> dict[str, Any]:
    """Parse an action input, ignoring text after the JSON object; a [`CallError`] if it is not exactly one object."""
    action_input = action_input.strip()
    if not action_input:
        raise CallError("The Action Input is empty; write a JSON object, {} if the function needs no parameters.")
    try:
        value, end = STRICT_JSON.raw_decode(action_input)
    except (ValueError, RecursionError) as error:
        said = " ".join(_clean(str(error), 0).split())[:100]
        reason = "" if isinstance(error, json.JSONDecodeError | RecursionError) else f": {said}"
        fix = "write one JSON object with its keys and texts in double quotes"
        raise CallError(f"The Action Input is not valid JSON{reason}; {fix}.") from None
    if isinstance(value, list) or (isinstance(value, dict) and re.match(r"[\s,]*[\[{]", action_input[end:])):
        several = "a list" if isinstance(value, list) else "several objects"
        raise CallError(f"The Action Input is {several}; write one JSON object, and call one function at a time.")
    if not isinstance(value, dict):
        raise CallError('The Action Input is not a JSON object; write the parameters as {"name": value}.')
    return _clean(value, 0)


def _clean(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise CallError("The Action Input is nested too deep; write a flatter JSON object.")
    if isinstance(value, dict):
        return {_clean(key, depth): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    # A lone surrogate is legal in JSON but cannot be encoded as UTF-8.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def build_request(
    document: dict[str, Any], operation: Operation, action_input: str, server: str, credentials: Set[str] = frozenset()
) -> ApiRequest:
    """Check an action input, JSON text from a model, and make an HTTP request of it; see [`servers_of`] for `server`.

    Parameters and body properties share one JSON object, as in the published data; a body may also be whole under
    `body` or `requestBody`. Unknown names are ignored. `credentials` are the names of those there are, which replace
    what the model wrote for them. Input that does not fit is a [`CallError`], whose message is meant for the model.

    Example:

    ```python
    >>> from toolalpaca_hf.openapi import functions_of
    >>> limit = {"name": "limit", "in": "query", "schema": {"type": "integer"}}
    >>> [cat] = functions_of({"paths": {"/cats/{id}": {"get": {"parameters": [limit]}}}})
    >>> build_request({}, cat, '{"id": "a/b", "limit": "3"}', "https://cats.example/v1/").url
    'https://cats.example/v1/cats/a%2Fb?limit=3'
    ```
    """
    names = tool_names(operation)
    arguments = names.restored(read_arguments(action_input))
    parts = _Parts()
    # A key that has a place of its own is none of a path's or a body's values of that name.
    placed = _security(security_schemes(document), operation, credentials)
    fillable = credentials - {name for where, name in placed if where in ("query", "header", "cookie")}
    for parameter in operation.parameters:
        name, where = parameter.name, parameter.place
        if where not in ("path", "header", "cookie") or (where == "path" and name not in operation.in_path):
            where = "query"
        called = names.parameters[parameter.place, name]
        parts.known.add(called)
        if name in (fillable if where == "path" else credentials):
            parts.credentials.append((where, name))
            if where == "path":
                parts.path[name] = f"{{{name}}}"
        else:
            value = arguments.get(called)
            if value is None and parameter.required:  # one value for two, as published calls have it
                value = arguments.get(name)
            _place(parts, operation, parameter, where, value, called)
    parts.credentials += placed
    body, media, tried = None, RequestBody(False), _Parts()
    for number, offered in enumerate(operation.described_bodies):  # the first that the arguments fit, else the first
        attempt = _Parts(known=set(parts.known))
        made = _body(attempt, offered, arguments, fillable, names)
        fits = not attempt.problems and (number == 0 or made is not None)
        if fits or number == 0:
            body, media, tried = made, offered, attempt
        if fits:
            break
    parts.known |= tried.known
    parts.problems += tried.problems
    parts.credentials += tried.credentials
    if parts.problems:
        unknown = ", ".join([f"`{name[:60]}`" for name in arguments if name not in parts.known][:10])
        unknown = f" {operation.name} has no parameter {unknown}." if unknown else ""
        sentences = f"{' '.join(parts.problems)}{unknown} Change the Action Input and try again."
        raise CallError(" ".join(sentences.split()))  # names may hold line breaks
    if parts.cookies:
        parts.headers["Cookie"] = "; ".join(parts.cookies)
    url = _url(server, operation.template, parts.path, parts.query)
    kind = (media.media or "application/json") if body is not None else ""
    filled_in = tuple(dict.fromkeys(parts.credentials))
    return ApiRequest(operation.method.upper(), url, parts.headers, body, kind, filled_in, media)


@dataclass
class _Parts:
    path: dict[str, str] = field(default_factory=dict)
    query: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    credentials: list[tuple[str, str]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def _place(parts: _Parts, operation: Operation, parameter: Parameter, where: str, value: Any, called: str) -> None:
    name, kinds = parameter.name, kinds_of(parameter.schema)
    if value is None or _left_out(value, parameter.schema):
        if parameter.required or where == "path":
            parts.problems.append(f"Missing required `{called}`{_hint(kinds)}.")
        return
    value = coerce(value, parameter.schema)
    if wrong := problems(value, parameter.check, called):
        parts.problems += wrong
        return
    if holds_json(parameter.declared) and (isinstance(value, dict | list) or kinds not in ([], ["string"])):
        value = to_text(value)
    flat = write_simple(parameter.declared, where, value, encode=where != "header") if where != "query" else ""
    beside = [one for one in operation.parameters if one.place == where] if isinstance(value, dict) else []
    taken = taken_names((one.name, one.declared, one.schema) for one in beside)
    pieces = write_query(name, value, parameter.declared, taken) if where in ("query", "cookie") else []
    (style, explode), apart = style_of(parameter.declared, where), where == "query" and isinstance(value, list)
    leaves = [*value, *value.values()] if isinstance(value, dict) else listed(value)
    # Of several, those with a pipe are sent encoded between plain ones, see `write_query`.
    joints = {"spaceDelimited": " ", "pipeDelimited": "|" if len(leaves) == 1 else ""}
    separator = "," if where == "header" else "" if explode and apart else joints.get(style, "")
    if separator and separator in "".join(map(to_text, leaves)):
        parts.problems.append(f"`{called}` is sent with {separator!r} between its values, so that none can hold it.")
    if where == "query":
        if parameter.required and not pieces and isinstance(value, list):
            parts.problems.append(f"`{called}` is required, and a query cannot hold an empty one; give a value.")
        parts.query += pieces
    elif where == "path":
        if not flat or any(part in (".", "..") for part in re.split(r"[/\\]", unquote(unquote(unquote(flat))))):
            parts.problems.append(f"`{name}` is part of the path: it can be neither empty nor hold `.` or `..` steps.")
        parts.path[name] = flat
    elif re.search(r"[\x00-\x1f\x7f]", unquote(flat) if where == "cookie" else flat):
        parts.problems.append(f"`{name}` must be a single line without control characters.")
    elif where == "cookie":
        parts.cookies += pieces if isinstance(value, dict | list) and pieces else [f"{quote(name, safe='')}={flat}"]
    else:
        parts.headers[name] = flat.strip()


def _hint(kinds: list[str]) -> str:
    kinds = [kind for kind in kinds if kind != "null"]
    return f" ({kinds[0]})" if len(kinds) == 1 else ""


def _security(schemes: dict[str, Any], operation: Operation, credentials: Set[str]) -> list[tuple[str, str]]:
    """The credentials of the first requirement that can be met, else all that any of them has."""
    every = []
    for requirement in operation.security:
        places = []
        for scheme_name in requirement:
            scheme = schemes.get(scheme_name, {})
            kind, name = text(scheme.get("type")), scheme_name
            where = "basic" if text(scheme.get("scheme")).lower() == "basic" else "bearer"
            if kind == "apiKey":
                where, name = text(scheme.get("in")), text(scheme.get("name"))
            if kind and name in credentials and where in ("query", "header", "cookie", "bearer", "basic"):
                places.append((where, name))
        if requirement and len(places) == len(requirement):
            return places
        every += places
    return every


def _body(parts: _Parts, media: RequestBody, given: dict[str, Any], credentials: Set[str], names: ToolNames) -> Any:
    fields, needed, others = body_fields(media)
    required = [name for name in needed if name not in credentials]
    parts.known |= {names.body.get(name, name) for name in fields}
    arguments = names.body_arguments(given, required)
    whole = next((key for key in BODY_KEYS if key in arguments and key not in {*parts.known, *fields}), None)
    parts.credentials += [("body", name) for name in fields if name in credentials]
    kinds = kinds_of(media.schema)
    body = None if whole is None else arguments[whole]
    is_object = bool(fields) or not kinds or "object" in kinds
    if is_object:
        if whole is None or isinstance(body, dict):
            # If the body names no properties or allows others, it takes every argument that is no parameter.
            free = set(arguments) - {*parts.known, whole}
            if fields and not others:  # but for names of a pattern
                patterns = merged_schema(media.schema).get("patternProperties", ())
                free = {key for key in free if any(is_valid(validator({"pattern": one}), key) for one in patterns)}
            own = {*fields, *free}
            given = {key: value for key, value in arguments.items() if key in own} | mapping(body)
            optional = {name: part_of(media.schema, fields[name]) for name in fields if name not in required}
            left_out = {key for key in given if key in optional and _left_out(given[key], optional[key])}
            if re.search("form|multipart", media.media):  # `null` would be a text there
                left_out |= {key for key in optional if given.get(key, "") is None}
            body = {key: value for key, value in given.items() if key not in credentials and key not in left_out}
        if body == {} and not required and not media.required and whole is None:
            return None if not any(place == "body" for place, _ in parts.credentials) else {}
    elif whole is None:
        if media.required:
            parts.problems.append(f"Missing required `body`{_hint(kinds)}.")
        return None
    parts.known |= {*fields, whole or ""}
    body = coerce(body, media.schema)
    parts.problems += problems(body, media.check, "" if is_object else "body", credentials)
    return body


def _left_out(value: Any, schema: dict[str, Any]) -> bool:
    """Models, and published golden calls, write `null` or an empty text for arguments they do not give."""
    if value is not None and value != "":
        return False
    if value is None and not (kinds_of(schema) or "enum" in schema):
        return "nullable" not in schema
    return not is_valid(validator(schema), coerce(value, schema))


@lru_cache(maxsize=1024)
def _base_of(server: str) -> str:
    if unfilled := IN_PATH.findall(server):
        problem = f"the server {server!r} has no value for its variable {unfilled[0]}"
        raise InputError(problem, fix=f"give {unfilled[0]} a default in `servers` of the document")
    try:
        origin_of(server)
    except AddressError:
        problem = f"the server {server!r} is not an http or https URL"
        raise InputError(problem, fix="correct `servers` in the document") from None
    base = urlsplit(server)
    return f"{base.scheme}://{base.netloc}{quote(base.path, safe='/:@!$&()*+,;=~%').rstrip('/')}"


def _url(server: str, path: str, values: dict[str, str], query: list[str]) -> str:
    base = _base_of(server)

    def filled(template: str, safe: str) -> str:
        # Names and fixed parts alternate; values are encoded already.
        parts = IN_PATH.split(template)
        return "".join(values[part] if place % 2 else quote(part, safe=safe) for place, part in enumerate(parts))

    # A client never sends the part after `#`, which only distinguishes operations of one path.
    path, *fixed = re.split("[?#]", path)
    path = filled(path, "/:@!$&'()*+,;=~%").lstrip("/")
    if any(unquote(unquote(segment)) in (".", "..") for segment in path.split("/")):
        raise CallError("The parameters of the path must not make a `.` or `..` step; give other values.")
    query = [*(filled(part, "=&:@!$'()*+,;~%") for part in fixed if part), *query]
    return f"{base}/{path}?{'&'.join(query)}" if query else f"{base}/{path}"
