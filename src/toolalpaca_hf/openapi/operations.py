"""The operations of an OpenAPI document, each under the name a model calls it by."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .document import deref, load_document, resolve

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

Value = TypeVar("Value")


class Lazily(Mapping[str, Value]):
    """A mapping of known names, each value made when it is first asked for: a document may hold 10,000 operations.

    Args:
        names (`Iterable[str]`): The names, in their order.
        make (`Callable[[str], Value]`): Makes the value of a name.

    Example:

    ```python
    >>> squares = Lazily(["2", "3"], lambda name: int(name) ** 2)
    >>> squares["3"], list(squares), squares.get("4")
    (9, ['2', '3'], None)
    ```
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], Value]) -> None:
        self._names, self._make = dict.fromkeys(names), make
        self.made: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self.made:
            if name not in self._names:
                raise KeyError(name)
            self.made[name] = self._make(name)
        return self.made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class Operation:
    """One operation, with every reference resolved.

    Args:
        name (`str`):
            What a model calls it by.
        path (`str`):
            Path template, as written in the document: a leading slash may be missing.
        method (`str`):
            HTTP method, lower case.
        description (`str`, *optional*, defaults to `""`):
            The operation's summary, or its description where it has none.
        parameters (`list[dict]`, *optional*):
            Parameter objects: those of the operation, and those of its path that it does not override.
        request_body_schema (`dict`, *optional*):
            JSON schema of the request body, which bears the body's description unless it has its own; `None` where
            there is none.
        responses (`dict`, *optional*):
            Response objects by status code.
        found (`bool`, *optional*, defaults to `True`):
            Whether the document has the operation; a projection may name one that it has not.
        request_body_type (`str`, *optional*, defaults to `""`):
            Media type that `request_body_schema` belongs to.
        request_body_required (`bool`, *optional*, defaults to `False`):
            Whether the document says that there has to be a body.
        security (`list[dict]`, *optional*):
            Security requirements, each a mapping from names of security schemes; the document's own where the operation
            has none.
        bodies (`dict[str, dict]`, *optional*):
            Media type objects of the request body by media type, JSON's first, their schemas resolved.
        servers (`list[dict]`, *optional*):
            Server objects of the operation, or else of its path; empty where the document's are meant.
        tool_name (`str`, *optional*, defaults to `""`):
            The name providers of models take, where `name` is none; unique in the document.

    Example:

    ```python
    >>> Operation("getCat", "/cats/{id}", "get").responses
    {}
    ```
    """

    name: str
    path: str
    method: str
    description: str = ""
    parameters: list[dict[str, Any]] = field(default_factory=list)
    request_body_schema: dict[str, Any] | None = None
    responses: dict[str, Any] = field(default_factory=dict)
    found: bool = True
    request_body_type: str = ""
    request_body_required: bool = False
    security: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    servers: list[dict[str, Any]] = field(default_factory=list)
    tool_name: str = ""


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is a mapping, else an empty one: published documents hold anything anywhere."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """The value where it is text, else the empty one."""
    return value if isinstance(value, str) else ""


def each_operation(document: dict[str, Any]) -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    """Name, path, method, path item and operation object of every operation, in the document's order, unresolved.

    The name is the `operationId`; without one it is the path with underscores for slashes and no braces, then the
    method (`/jokes/random/{category}`, get: `jokes_random_category_get`), as the published function names are. A name
    that is taken already gets a number.
    """
    found, numbers = [], {}
    for path, item in mapping(document.get("paths")).items():
        item = deref(document, item)
        for method, operation in item.items():
            if method.lower() not in METHODS or not isinstance(operation, dict):
                continue
            operation = deref(document, operation)
            name = text(operation.get("operationId"))
            if not name:
                name = "_".join([*re.sub(r"[{}]", "", path).strip("/").split("/"), method.lower()])
            unique = name
            while unique in numbers:
                numbers[name] = numbers[name] + 1
                unique = f"{name}_{numbers[name]}"
            numbers[unique] = 1
            found.append((unique, path, method.lower(), item, operation))
    return found


def functions_of(document: dict[str, Any], projection: dict[str, list[str]] | None = None) -> list[Operation]:
    """List the operations of a document.

    Args:
        document (`dict`):
            An OpenAPI document, valid or not, as [`load_document`] returns it.
        projection (`dict[str, list[str]]`, *optional*):
            Path and method by function name, as the published `Function_Projection`. Its names and its order are
            kept; a function whose path and method are not in the document is kept, too, without parameters. Without
            a projection, every operation is listed in the document's order.

    Returns:
        `list[Operation]`: The operations, with every reference resolved.

    Raises:
        [`ToolAlpacaError`]: The document is not a mapping, or is nested too deep.

    Example:

    ```python
    >>> document = {"paths": {"/cats/{id}": {"get": {"summary": "Get a cat"}}}}
    >>> [(operation.name, operation.description) for operation in functions_of(document)]
    [('cats_id_get', 'Get a cat')]
    >>> functions_of(document, {"cat": ["/cats/{id}", "get"]})[0].name
    'cat'
    ```
    """
    return list(Operations(document, projection).values())


class Operations(Lazily[Operation]):
    """The operations of a document by name, each read when it is first asked for; see [`functions_of`].

    Args:
        document (`dict`): The document.
        projection (`dict[str, list[str]]`, *optional*): Path and method by function name.

    Attributes:
        missing (`set[str]`): Names of a projection whose path and method are not in the document.
        tool_names (`dict[str, str]`): By the name that providers take, the function whose own name they do not.

    Example:

    ```python
    >>> operations = Operations({"paths": {"/cats": {"get": {}}}}, {"cats": ["/cats", "get"], "dogs": ["/dogs", "get"]})
    >>> operations["cats"].path, operations.missing
    ('/cats', {'dogs'})
    ```
    """

    def __init__(self, document: dict[str, Any], projection: dict[str, list[str]] | None = None) -> None:
        document = load_document(document)
        listed = each_operation(document)
        entries: dict[str, tuple[str, str, tuple[dict[str, Any], dict[str, Any]] | None]] = {}
        if projection is None:
            entries = {name: (path, method, (item, operation)) for name, path, method, item, operation in listed}
        else:
            # A projection may write the leading slash that the document leaves out.
            by_place = {(path.strip("/"), method): (item, operation) for _, path, method, item, operation in listed}
            for name, place in projection.items():
                path, method = (str(part) for part in [*place, "", ""][:2])
                entries[name] = path, method.lower(), by_place.get((path.strip("/"), method.lower()))
        made = safe_names(list(entries), 64, "_-")
        self.missing = {name for name, (_, _, entry) in entries.items() if entry is None}
        self.tool_names = {tool: name for name, tool in made.items() if tool != name}

        def read(name: str) -> Operation:
            path, method, entry = entries[name]
            if entry is None:
                found = Operation(name, path, method, found=False)
            else:
                found = _operation(document, name, path, method, *entry)
            return found if made[name] == name else replace(found, tool_name=made[name])

        super().__init__(entries, read)


def safe_names(names: list[str], longest: int, others: str) -> dict[str, str]:
    """Each name with what is no ASCII letter, digit or one of `others` as `_`, at most so long, and unique.

    Example:

    ```python
    >>> safe_names(["filter[name]", "page"], 64, "_.-")
    {'filter[name]': 'filter_name', 'page': 'page'}
    ```
    """
    bad = re.compile(f"[^A-Za-z0-9{re.escape(others)}]+")
    good = {name for name in names if name and len(name) <= longest and not bad.search(name)}
    made = {name: name for name in good}
    numbers = dict.fromkeys(good, 1)
    for name in names:
        if name in made:
            continue
        base = unique = bad.sub("_", name).strip("_")[:longest] or "unnamed"
        while unique in numbers:
            numbers[base] = number = numbers.get(base, 1) + 1
            unique = f"{base[: longest - len(str(number)) - 1]}_{number}"
        numbers[unique] = 1
        made[name] = unique
    return {name: made[name] for name in names}


def _operation(
    document: dict[str, Any], name: str, path: str, method: str, item: dict[str, Any], operation: dict[str, Any]
) -> Operation:
    body = mapping(resolve(document, operation.get("requestBody"), "readOnly"))
    body_schema = media_schema(body)
    if body_schema is not None and text(body.get("description")):
        body_schema = {"description": body["description"]} | body_schema
    security = operation.get("security", document.get("security"))
    content = mapping(body.get("content"))
    return Operation(
        name=name,
        path=path,
        method=method,
        description=text(operation.get("summary")) or text(operation.get("description")),
        parameters=parameters_of(document, item, operation),
        request_body_schema=body_schema,
        responses={code: deref(document, response) for code, response in mapping(operation.get("responses")).items()},
        request_body_type=next(iter(_media(body)), ""),
        request_body_required=body.get("required") is True,
        security=[mapping(entry) for entry in security] if isinstance(security, list) else [],
        bodies={kind: mapping(content[kind]) for kind in sorted(content, key=media_rank)},
        servers=servers_beside(item, operation),
    )


def servers_beside(item: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The servers of an operation, or else of its path; those of the document stand where this is empty."""
    for holder in (operation, item):
        declared = holder.get("servers")
        if isinstance(declared, list) and any(text(mapping(server).get("url")) for server in declared):
            return [mapping(server) for server in declared]
    return []


def parameters_of(document: dict[str, Any], item: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameter objects of an operation, references resolved, those of its path first unless it overrides them.

    Parameters declared anywhere else (one published document has a `parameters` at its top) are definitions: they
    apply where something refers to them, as OpenAPI and the published descriptions have it.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for holder in (item, operation):
        declared = holder.get("parameters")
        for parameter in declared if isinstance(declared, list) else []:
            parameter = mapping(resolve(document, parameter))
            if text(parameter.get("name")):
                found[(parameter["name"], text(parameter.get("in")))] = parameter
    return list(found.values())


def media_schema(holder: Any) -> dict[str, Any] | None:
    """The schema under `content`: JSON's where there are several media types, `None` where there is none."""
    return next(iter(_media(holder).values()), None)


def media_rank(kind: str) -> bool:
    """Sorts JSON's media types first, and leaves all others in their order."""
    return "json" not in kind.lower()


def _media(holder: Any) -> dict[str, dict[str, Any]]:
    """Schemas by media type, JSON's first."""
    content = mapping(mapping(holder).get("content"))
    kinds = sorted(content, key=media_rank)
    return {kind: content[kind]["schema"] for kind in kinds if isinstance(mapping(content[kind]).get("schema"), dict)}
