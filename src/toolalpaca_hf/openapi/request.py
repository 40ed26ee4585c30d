"""What a model wrote as action input, checked against the operation it calls, as an HTTP request."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..errors import ToolAlpacaError
from .arguments import CallError, read_arguments
from .coerce import fit, written
from .document import resolve
from .operations import Operation, mapping, media_schema, text
from .tools import clean_schema, merged_schema, name_list

BODY_KEYS = ("body", "requestBody", "request_body")
"""Keys under which models put a whole request body."""

FRAMING = {"host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade"}
FRAMING |= {"expect", "keep-alive", "cookie", "accept-encoding", "range"}
"""Headers that belong to the client: a document that declares them as parameters does not get them."""

_TEMPLATE = re.compile(r"\{([^{}/?#]+)\}")


@dataclass(frozen=True)
class Request:
    """An HTTP request that fits its operation. It holds no credentials, only the places they go to.

    Args:
        method (`str`):
            HTTP method, upper case.
        url (`str`):
            The whole URL, percent-encoded. A credential in the path is still `{name}`.
        headers (`dict[str, str]`, *optional*):
            Header parameters, and `Cookie` where there are cookie parameters.
        body (`Any`, *optional*):
            The request body as JSON values; `None` for no body.
        body_type (`str`, *optional*, defaults to `""`):
            Media type to write the body in.
        credentials (`tuple[tuple[str, str], ...]`, *optional*):
            Where (`path`, `query`, `header`, `cookie`, `body`, `bearer` or `basic`) and name of each credential that
            the operation takes.

    Example:

    ```python
    >>> Request("GET", "https://cats.example/cats").body is None
    True
    ```
    """

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    body_type: str = ""
    credentials: tuple[tuple[str, str], ...] = ()


def build_request(
    document: dict[str, Any],
    operation: Operation,
    action_input: str,
    server: str,
    credentials: set[str] | frozenset[str] = frozenset(),
) -> Request:
    """Check an action input against an operation, and write it as an HTTP request.

    Parameters of every kind and the properties of the request body lie side by side in one JSON object, as in the
    published data; a body may also stand whole under `body` or `requestBody`. What no parameter is called is left out.

    Args:
        document (`dict`):
            The operation's document, for its security schemes.
        operation ([`Operation`]):
            The operation, as [`functions_of`] returns it.
        action_input (`str`):
            JSON text from a model.
        server (`str`):
            Base URL; see [`servers_of`].
        credentials (`set[str]`, *optional*):
            Names of the credentials at hand. What a model writes for them is dropped: they are put in on sending.

    Returns:
        [`Request`]: The request.

    Raises:
        [`CallError`]: The input is not a JSON object, or does not fit; the message is meant for the model.
        [`ToolAlpacaError`]: The server is not an HTTP URL.

    Example:

    ```python
    >>> limit = {"name": "limit", "in": "query", "schema": {"type": "integer"}}
    >>> cat = Operation("getCat", "/cats/{id}", "get", parameters=[limit])
    >>> build_request({}, cat, '{"id": "a/b", "limit": "3"}', "https://cats.example/v1/").url
    'https://cats.example/v1/cats/a%2Fb?limit=3'
    ```
    """
    arguments = read_arguments(action_input)
    parts = _Parts()
    in_path = _TEMPLATE.findall(operation.path)
    declared = {parameter["name"] for parameter in operation.parameters if parameter.get("in") == "path"}
    undeclared = [{"name": name, "in": "path"} for name in dict.fromkeys(in_path) if name not in declared]
    for parameter in [*operation.parameters, *undeclared]:
        name, where = parameter["name"], text(parameter.get("in"))
        if where not in ("path", "header", "cookie") or (where == "path" and name not in in_path):
            where = "query"
        if where == "header" and name.lower() in FRAMING:
            continue
        parts.known.add(name)
        if name in credentials:
            parts.credentials.append((where, name))
            if where == "path":
                parts.path[name] = f"{{{name}}}"
        else:
            _place(parts, parameter, where, arguments.get(name))
    parts.credentials += _security(document, operation, credentials)
    body = _body(parts, operation, arguments, credentials)
    if parts.problems:
        unknown = ", ".join(f"`{name[:60]}`" for name in [name for name in arguments if name not in parts.known][:10])
        unknown = f" {operation.name} has no parameter {unknown}." if unknown else ""
        sentences = f"{' '.join(parts.problems)}{unknown} Change the Action Input and try again."
        raise CallError(" ".join(sentences.split()))  # names may hold line breaks
    if parts.cookies:
        parts.headers["Cookie"] = "; ".join(parts.cookies)
    return Request(
        method=operation.method.upper(),
        url=_url(server, operation.path, parts.path, parts.query),
        headers=parts.headers,
        body=body,
        body_type=(operation.request_body_type or "application/json") if body is not None else "",
        credentials=tuple(dict.fromkeys(parts.credentials)),
    )


@dataclass
class _Parts:
    """What a request is put together from."""

    path: dict[str, str] = field(default_factory=dict)
    query: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    credentials: list[tuple[str, str]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def _place(parts: _Parts, parameter: dict[str, Any], where: str, value: Any) -> None:
    """Check one parameter and put it where it belongs."""
    name = parameter["name"]
    # Swagger 2, which some documents mix in, has the type beside the name.
    media = media_schema(parameter)
    schema = clean_schema(mapping(parameter.get("schema") or media or parameter))
    if value is None or _left_out(value, schema):
        if parameter.get("required") is True or where == "path":
            parts.problems.append(f"Missing required `{name}`{_hint(schema)}.")
        return
    value, problems = fit(value, schema, name)
    if problems:
        parts.problems += problems
        return
    if media is not None and isinstance(value, dict | list):
        value = written(value)
    if where == "query":
        parts.query += _query(name, value, parameter)
        return
    flat = ",".join(_flat(value))
    if where == "path":
        if not flat or any(part in (".", "..") for part in re.split(r"[/\\]", unquote(unquote(flat)))):
            parts.problems.append(f"`{name}` is part of the path: it can be neither empty nor hold `.` or `..` steps.")
        parts.path[name] = quote(flat, safe="")
    elif re.search(r"[\x00-\x1f\x7f]", flat):
        parts.problems.append(f"`{name}` must be a single line without control characters.")
    elif where == "cookie":
        parts.cookies.append(f"{quote(name, safe='')}={quote(flat, safe='')}")
    else:
        parts.headers[name] = flat.strip()


def _hint(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    return f" ({kind})" if isinstance(kind, str) else ""


def _flat(value: Any) -> list[str]:
    if isinstance(value, list):
        return [written(item) for item in value]
    if isinstance(value, dict):
        return [written(part) for item in value.items() for part in item]
    return [written(value)]


def _query(name: str, value: Any, parameter: dict[str, Any]) -> list[str]:
    """OpenAPI's `style` and `explode`; by default a list repeats its name and an object's keys are names."""
    style, explode = text(parameter.get("style")) or "form", parameter.get("explode")
    encoded = quote(name, safe="")
    if isinstance(value, dict) and style == "deepObject":
        return [f"{encoded}%5B{quote(key, safe='')}%5D={quote(written(item), safe='')}" for key, item in value.items()]
    if isinstance(value, dict) and explode is not False:
        return [f"{quote(key, safe='')}={quote(written(item), safe='')}" for key, item in value.items()]
    if isinstance(value, list) and (explode is True or (explode is None and style == "form")):
        return [f"{encoded}={quote(written(item), safe='')}" for item in value]
    joint = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}.get(style, ",")
    return [f"{encoded}={joint.join(quote(part, safe='') for part in _flat(value))}"]


def _security(document: dict[str, Any], operation: Operation, credentials: set[str] | frozenset[str]) -> list[Any]:
    """Places of the credentials that the operation's security schemes ask for."""
    schemes = mapping(mapping(document.get("components")).get("securitySchemes"))
    places = []
    for scheme_name in [name for requirement in operation.security for name in requirement]:
        scheme = mapping(resolve(document, schemes.get(scheme_name)))
        kind, name = text(scheme.get("type")), scheme_name
        where = "basic" if text(scheme.get("scheme")).lower() == "basic" else "bearer"
        if kind == "apiKey":
            where, name = text(scheme.get("in")), text(scheme.get("name"))
        if kind and name in credentials and where in ("query", "header", "cookie", "bearer", "basic"):
            places.append((where, name))
    return places


def _body(
    parts: _Parts, operation: Operation, arguments: dict[str, Any], credentials: set[str] | frozenset[str]
) -> Any:
    if operation.request_body_schema is None:
        return None
    schema = merged_schema(operation.request_body_schema, flat=True)
    properties = mapping(schema.get("properties"))
    required = [name for name in name_list(schema.get("required")) if name not in credentials]
    names = list(dict.fromkeys([*properties, *name_list(schema.get("required"))]))
    whole = next((key for key in BODY_KEYS if key in arguments and key not in {*parts.known, *names}), None)
    parts.credentials += [("body", name) for name in names if name in credentials]
    check = clean_schema(operation.request_body_schema)
    is_object = "object" in check.get("type", "object")

    if is_object:
        body = arguments.get(whole)
        if whole is None or isinstance(body, dict):
            # Without named properties, and where others may be added, whatever is no parameter belongs to the body.
            open_ended = not names or schema.get("additionalProperties") not in (None, False)
            taken = {*parts.known, whole} - set(names)
            flat = {
                key: value for key, value in arguments.items() if (key in names or open_ended) and key not in taken
            }
            body = {key: value for key, value in flat.items() if key not in credentials} | mapping(body)
        if isinstance(body, dict):
            body = {key: value for key, value in body.items() if key not in credentials}
            optional = {key: clean_schema(schema) for key, schema in properties.items() if key not in required}
            body = {
                key: value for key, value in body.items() if key not in optional or not _left_out(value, optional[key])
            }
        if names:
            check["required"] = required
        if body == {} and not required and not operation.request_body_required and whole is None:
            parts.known |= {*names}
            return None if not any(place == "body" for place, _ in parts.credentials) else {}
    else:
        body = arguments.get(whole)
        if whole is None:
            if operation.request_body_required:
                parts.problems.append(f"Missing required `body`{_hint(check)}.")
            return None
    parts.known |= {*names, whole or ""}
    body, problems = fit(body, check, "" if is_object else "body")
    parts.problems += problems
    return body


def _left_out(value: Any, schema: dict[str, Any]) -> bool:
    """Models, and published golden calls, write `null` or an empty text for what they do not give."""
    if value == "":
        return bool(fit(value, schema)[1])
    return value is None and not schema.get("nullable")


def _url(server: str, path: str, values: dict[str, str], query: list[str]) -> str:
    try:
        base = urlsplit(server)
        host = base.hostname
    except ValueError:
        host = None
    if (
        host is None
        or base.scheme not in ("http", "https")
        or "@" in base.netloc
        or re.search(r"[\s\\\x00-\x1f]", server)
    ):
        raise ToolAlpacaError(f"the server {server!r} is not an http or https URL; correct `servers` in the document")
    path, _, fixed_query = path.partition("?")
    pieces = [
        values[piece[1:-1]] if _TEMPLATE.fullmatch(piece) else quote(piece, safe="/:@!$&'()*+,;=~%")
        for piece in re.split(r"(\{[^{}/?#]+\})", path)
    ]
    path = "".join(pieces).lstrip("/")
    if any(unquote(unquote(segment)) in (".", "..") for segment in path.split("/")):
        raise CallError("The parameters of the path must not make a `.` or `..` step; give other values.")
    url = f"{base.scheme}://{base.netloc}{quote(base.path, safe='/:@!$&()*+,;=~%').rstrip('/')}/{path}"
    if fixed_query:
        fixed = [
            values[piece[1:-1]] if _TEMPLATE.fullmatch(piece) else piece
            for piece in re.split(r"(\{[^{}/?#]+\})", fixed_query)
        ]
        query = [quote("".join(fixed), safe="=&:@!$'()*+,;~%"), *query]
    return f"{url}?{'&'.join(query)}" if query else url
