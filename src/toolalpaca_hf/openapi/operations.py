"""The operations of an OpenAPI document, each under the name a model calls it by."""

import re
from collections import UserDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from .coercion import COMPOSED, kinds_of
from .document import deref, listed, load_document, mapping, text
from .schema import MEANT, Check, to_json_schema, validator

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
# Headers that belong to the client: a document that declares them as parameters does not get them.
FRAMING = {"host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade"}
FRAMING |= {"expect", "keep-alive", "cookie", "accept-encoding", "range"}
IN_PATH = re.compile(r"\{([^{}/?#]+)\}")

Value = TypeVar("Value")


class Lazily(UserDict[str, Value]):
    """A mapping that makes each value on first access: a document may hold 10,000 operations."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Value]) -> None:
        self.data, self._make = dict.fromkeys(names), make  # type: ignore[assignment]  # None until it is made

    def __getitem__(self, name: str) -> Value:
        if self.data[name] is None:
            self.data[name] = self._make(name)
        return self.data[name]


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operation; its `schema` is JSON Schema from [`to_json_schema`], made when it is needed."""

    name: str
    place: str
    required: bool
    declared: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def schema(self) -> dict[str, Any]:
        return to_json_schema(self.document, _schema_of(self.declared), request=True)

    @cached_property
    def check(self) -> Check:
        return validator(self.schema)

    @cached_property
    def kinds(self) -> list[str]:
        """Its types, as the document has them where nothing has to be merged."""
        declared = mapping(_schema_of(self.declared))
        kind = MEANT.get(str(declared.get("type")).lower())
        composed = {*COMPOSED, "nullable", "discriminator"} & declared.keys()
        return [kind] if kind and not composed else kinds_of(self.schema)


@dataclass(frozen=True)
class RequestBody:
    """The body that an operation takes in one `media` type (empty for any)."""

    required: bool
    media: str = ""
    description: str = ""
    declared: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def described(self) -> bool:
        return isinstance(self.declared.get("schema"), dict)

    @property
    def encoding(self) -> dict[str, Any]:
        return mapping(self.declared.get("encoding"))

    @cached_property
    def schema(self) -> dict[str, Any]:
        # A file, in OpenAPI 3.1.
        if not self.described and re.fullmatch(r"(?!.*(json|xml|form|multipart)).*/[^*]+", self.media):
            return {"type": "string"} | ({} if self.media.startswith("text/") else {"x-format": "binary"})
        return to_json_schema(self.document, self.declared.get("schema"), request=True)

    @cached_property
    def check(self) -> Check:
        return validator(self.schema)


@dataclass(frozen=True)
class ApiRequest:
    """An HTTP request that fits its operation. It names credentials and their places, never their values."""

    method: str
    url: str  # in full, percent-encoded; a credential in the path is still `{name}`
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None  # JSON values; None for no body
    body_type: str = ""  # media type to write the body in
    credentials: tuple[tuple[str, str], ...] = ()  # places (those of parameters, body, bearer or basic) and names
    media: RequestBody = field(default=RequestBody(False), repr=False, compare=False)  # says how the body is written


@dataclass(frozen=True)
class Operation:
    """One operation, as tools, client and simulator read it. Schemas are kept by reference and never cut."""

    name: str  # what a model calls it by
    path: str  # template as in the document, possibly without a leading slash
    method: str  # lower case
    found: bool = True  # False for a projected function that the document does not have
    tool_name: str = ""  # `name` in the characters that LLM providers accept; unique in the document
    document: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    item: dict[str, Any] = field(default_factory=dict, repr=False)  # of the path
    declared: dict[str, Any] = field(default_factory=dict, repr=False)  # the operation object
    made: list[Any] = field(default_factory=list, repr=False, compare=False)  # the names of its tool's arguments

    @property
    def description(self) -> str:
        return text(self.declared.get("summary")) or text(self.declared.get("description"))

    @cached_property
    def template(self) -> str:
        """The path, with its parameters spelled as they are declared (`{petId}`, or `:pet_id`, as `{pet_id}`)."""
        every = parameters_of(self.document, self.item, self.declared)
        names = [one["name"] for one in every if one.get("in") == "path"]
        path = re.sub(r"(?<=/):(\w+)(?=/|$)", lambda at: f"{{{at[1]}}}" if at[1] in names else at[0], self.path)
        meant = {_folded(name): f"{{{name}}}" for name in names if f"{{{name}}}" not in path}
        return IN_PATH.sub(lambda at: at[0] if at[1] in names else meant.get(_folded(at[1]), at[0]), path)

    @cached_property
    def in_path(self) -> list[str]:
        return list(dict.fromkeys(IN_PATH.findall(self.template)))

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The path's parameters unless overridden, the operation's own, and undeclared ones of the path template."""
        found = parameters_of(self.document, self.item, self.declared)
        known = {parameter["name"] for parameter in found if parameter.get("in") == "path"}
        missing = [name for name in self.in_path if name not in known]
        found += [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in missing]
        found = [one for one in found if one.get("in") != "header" or one["name"].lower() not in FRAMING]
        needed = [(one, one.get("in") == "path" or one.get("required") is True) for one in found]
        return [Parameter(one["name"], text(one.get("in")), must, one, self.document) for one, must in needed]

    @cached_property
    def bodies(self) -> dict[str, RequestBody]:
        declared = deref(self.document, self.declared.get("requestBody"))
        content, found = mapping(declared.get("content")), dict[str, RequestBody]()
        required, description = declared.get("required") is True, text(declared.get("description"))
        for kind in sorted(content, key=media_rank):
            bare = re.split("[;,]", kind)[0].strip().lower()  # some documents write several as one
            found.setdefault(bare, RequestBody(required, bare, description, mapping(content[kind]), self.document))
        return found or ({"": RequestBody(required)} if declared else {})

    @property
    def described_bodies(self) -> list[RequestBody]:
        return [body for body in self.bodies.values() if body.described] or list(self.bodies.values())

    @property
    def body(self) -> RequestBody | None:
        return next(iter(self.described_bodies), None)

    @cached_property
    def responses(self) -> dict[str, dict[str, Any]]:
        return {code: deref(self.document, made) for code, made in mapping(self.declared.get("responses")).items()}

    @property
    def security(self) -> list[dict[str, Any]]:
        """Security requirements (scheme name to scopes); the document's if the operation has none."""
        return [mapping(entry) for entry in listed(self.declared.get("security", self.document.get("security")))]

    @property
    def servers(self) -> list[dict[str, Any]]:
        return servers_beside(self.item, self.declared)


def each_operation(document: dict[str, Any]) -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    """Every operation's name, path, method, path item and object, in document order, unresolved.

    Without an `operationId` the name is path and method (`jokes_random_category_get`); a taken one gets a number.
    White space in it is a single space, since an action's name is read without what is around it.
    """
    found, numbers = [], {"components": 1}  # which names the shared schemas among descriptions
    for path, item in mapping(document.get("paths")).items():
        # From OpenAPI 3.1 on more may be beside a reference.
        item = deref(document, item) | {key: value for key, value in mapping(item).items() if key != "$ref"}
        for method, operation in item.items():
            if method.lower() not in METHODS or not isinstance(operation, dict):
                continue
            operation = deref(document, operation)
            derived = "_".join([*re.sub(r"[{}]", "", path).strip("/").split("/"), method.lower()])
            unique = name = " ".join(text(operation.get("operationId")).split()) or derived
            while unique in numbers:
                numbers[name] += 1
                unique = f"{name}_{numbers[name]}"
            numbers[unique] = 1
            found.append((unique, path, method.lower(), item, operation))
    return found


def functions_of(document: dict[str, Any], projection: dict[str, list[str]] | None = None) -> list[Operation]:
    """List the operations of a document, valid or not.

    With a `projection` (path and method by name, as the published `Function_Projection`), its names and order are
    kept, also for functions missing from the document.

    Example:

    ```python
    >>> document = {"paths": {"/cats/{id}": {"get": {"summary": "Get a cat"}}}}
    >>> [(operation.name, operation.description) for operation in functions_of(document)]
    [('cats_id_get', 'Get a cat')]
    ```
    """
    return list(Operations(document, projection).values())


class Operations(Lazily[Operation]):
    """The operations of a document by name, each read on first access; `missing` ones are not in the document."""

    def __init__(self, document: dict[str, Any], projection: dict[str, list[str]] | None = None) -> None:
        document = load_document(document)
        entries: dict[str, tuple[str, str, tuple[Any, ...]]] = {
            name: (path, method, (document, *declared)) for name, path, method, *declared in each_operation(document)
        }
        if projection is not None:
            found = {(path, method): declared for path, method, declared in entries.values()}
            # A projection may write the leading slash that the document leaves out.
            bare = {(path.strip("/"), method): declared for (path, method), declared in found.items()}
            entries = {}
            for name, place in projection.items():
                path, method = (str(part) for part in [*place, "", ""][:2])
                at = path, method.lower()
                entries[name] = *at, found.get(at) or bare.get((path.strip("/"), at[1]), ())
        safe = safe_names(list(entries), 64, "_-")
        self.missing = {name for name, (_, _, declared) in entries.items() if not declared}
        self.tool_names = {tool: name for name, tool in safe.items() if tool != name}

        def make(name: str) -> Operation:
            path, method, declared = entries[name]
            return Operation(name, path, method, bool(declared), safe[name] if safe[name] != name else "", *declared)

        super().__init__(entries, make)


def safe_names(names: list[str], longest: int, others: str) -> dict[str, str]:
    """Make names unique, at most `longest` characters long, and of ASCII letters, digits and `others` only."""
    bad = re.compile(f"[^A-Za-z0-9{re.escape(others)}]+")
    made = {name: name for name in names if name and len(name) <= longest and not bad.search(name)}
    numbers = dict.fromkeys(made, 1)
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


def _folded(name: str) -> str:
    return re.sub(r":.*|[\W_]+", "", name).lower()  # also of `{id:int}`


def security_schemes(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    schemes = mapping(mapping(document.get("components")).get("securitySchemes"))
    return {name: deref(document, scheme) for name, scheme in schemes.items()}


def servers_beside(item: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Servers of the operation, else of its path; empty if the document's apply."""
    for holder in (operation, item):
        servers = [mapping(server) for server in listed(holder.get("servers"))]
        if any(text(server.get("url")) for server in servers):
            return servers
    return []


def map_holders(document: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A document whose path items and operations, which may have servers of their own, are changed."""
    paths = {}
    for path, item in mapping(document.get("paths")).items():
        item = change(item)
        inner = item.items() if isinstance(item, dict) else ()
        paths[path] = {key: change(part) if key.lower() in METHODS else part for key, part in inner} or item
    return document | {"paths": paths}


def parameters_of(document: dict[str, Any], item: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameter objects of an operation, after those of its path that it does not override."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for holder in (item, operation):
        for parameter in listed(holder.get("parameters")):
            parameter = deref(document, parameter)
            if text(parameter.get("name")):
                found[parameter["name"], text(parameter.get("in"))] = parameter
    return list(found.values())


def _schema_of(parameter: dict[str, Any]) -> Any:
    """The schema of a parameter; in Swagger 2, which some documents mix in, the type is in the parameter itself."""
    beside = {key: value for key, value in parameter.items() if key not in ("required", "name", "in", "style")}
    content = mapping(parameter.get("content"))
    schemas = (mapping(content[kind]).get("schema") for kind in sorted(content, key=media_rank))
    return parameter.get("schema") or next((schema for schema in schemas if isinstance(schema, dict)), beside)


def media_rank(kind: str) -> bool:
    return "json" not in kind.lower()  # JSON comes first
