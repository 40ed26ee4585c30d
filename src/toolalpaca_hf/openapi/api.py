"""Loads any documented API as a set of tools, from a document or a plugin manifest, and describes it in words."""

import json
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

from ..errors import InputError, ToolAlpacaError
from ..schema import Api, Function
from .document import MAX_DEPTH, Document, deref, kept, listed, load_document, lookup, mapping, original, refs_of, text
from .operations import Operation, functions_of, map_holders, media_schema
from .safety import Allowlist, allowed_hosts, credential_names, redact_url, servers_of
from .schema import heirs_of, hidden_names, parts_of_schema, references
from .tools import tool_names

MAX_FILES = 200  # that one document may be spread over
MAX_BYTES = 20_000_000
FILES = "x-files"  # where the files that a document refers to are kept in it, by their path below its folder
COMPONENTS = "components"  # the key of `Function_Description` that holds the shared output schemas
LONGEST = 8_000  # characters of the description of one function; the published ones have up to 1,107


def with_files(document: dict[str, Any], place: Path | None) -> dict[str, Any]:
    """Load the files in its folder that a document refers to under `x-files`; none for one from the net, at `None`."""
    start = Path("/") if place is None else place.resolve()
    folder = start.parent
    files: dict[str, Any] = {}
    waiting: list[tuple[str, Path]] = []  # for their own references: one file may lead to another without end
    lost: dict[str, None] = {}

    def target(ref: str, base: Path) -> str:
        name, _, pointer = ref.removesuffix("#/").partition("#")
        try:
            if (name and place is None) or "://" in name or name.startswith("//"):
                raise InputError("nothing is fetched over the net for a document")
            file = (base.parent / unquote(name)).resolve() if name else base
            if file == start:
                return f"#{pointer}" if ref else ref
            if not file.is_relative_to(folder):
                raise InputError("it leads out of the document's folder")
            key = file.relative_to(folder).as_posix()
            if key not in files:
                if len(files) >= MAX_FILES or file.stat().st_size > MAX_BYTES:
                    raise InputError("there are too many files, or it is too long")
                files[key] = original(file.read_bytes().decode("utf-8-sig"))
                waiting.append((key, file))
            inside = f"/{FILES}/{key.replace('~', '~0').replace('/', '~1').replace('%', '%25')}"
            return f"#{inside if pointer[:1] in ('', '/') else ''}{pointer}"  # an anchor is found in any file
        except (ToolAlpacaError, OSError, ValueError) as error:
            reason = error if isinstance(error, ToolAlpacaError) else getattr(error, "strerror", "it is no text")
            lost[f"{ref} is not followed: {reason}"] = None
            return ref

    def moved(value: Any, base: Path) -> Any:
        if isinstance(value, list):
            return [moved(item, base) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: moved(item, base) for key, item in value.items()}
        if isinstance(found.get("$ref"), str):
            found["$ref"] = target(found["$ref"], base)
        tags = mapping(mapping(found.get("discriminator")).get("mapping"))  # to references, or to names of schemas
        tags |= {tag: target(ref, base) for tag, ref in tags.items() if re.search(r"[#/]|\.(json|ya?ml)$", text(ref))}
        return found

    made = moved(document, start)
    while waiting:
        key, file = waiting.pop()
        files[key] = moved(files[key], file)
    made |= {FILES: files} if files else {}
    return _with_lost(made, refs_of(made), list(lost))


def _with_lost(document: dict[str, Any], refs: list[str], lost: list[str]) -> dict[str, Any]:
    local, known = (ref for ref in refs if ref.startswith("#") and ref != "#"), Document(document)
    lost = [*lost, *(f"{ref} leads nowhere" for ref in local if lookup(known, ref) is None)]
    return document | ({"x-not-followed": lost} if lost else {})


def load_api(source: str | Path, private: Iterable[str] = (), described: bool = True) -> Api:
    """Load an [`Api`] from its OpenAPI document, or from a plugin manifest (`ai-plugin.json`) that points to one.

    `source` is a file, or a URL of a public or a `private` host (`127.0.0.1:5678`); what cannot be read, or is
    neither, is an [`InputError`]. Without descriptions (`described`), thousands of functions load seconds sooner.
    """
    place = str(source)
    allowed = allowed_hosts({"servers": [{"url": place}]}, private=private)
    found = _load(place, allowed)
    manifest: dict[str, Any] = {}
    if "paths" not in found and isinstance(mapping(found.get("api")).get("url"), str):
        manifest, named = found, found["api"]["url"]
        if re.match(r"\w[\w+.-]+:", named) and not is_url(named):
            problem = f"the manifest names {named!r}, which is not an http or https URL"
            raise InputError(problem, file=_redacted(str(source)), fix="correct it")
        if is_url(named) and not is_url(place):
            allowed = allowed_hosts({"servers": [{"url": named}]}, private=private)
        place = named if is_url(named) else urljoin(place, named) if is_url(place) else str(Path(place).parent / named)
        found = _load(place, allowed)
    if not isinstance(found.get("paths"), dict):
        problem = "it is neither an OpenAPI document (it has no `paths`) nor a plugin manifest (no `api` with a `url`)"
        if isinstance(found.get("webhooks"), dict):
            problem = "it documents webhooks only, which the API calls itself; it holds no `paths` to call"
        raise InputError(problem, file=_redacted(place))
    return api_of(found, str(source), manifest, place if is_url(place) else "", described)


def document_in(path: str | Path, described: bool = True) -> Api | None:
    """Load a file with one OpenAPI document or manifest; `None` if it holds a list, as the raw layout does."""
    path, start = Path(path), "["
    with suppress(OSError), path.open("rb") as file:
        start = file.read(4096).decode("utf-8-sig", "replace").lstrip()
    if start[:1] == "[" or (start[:1] != "{" and path.suffix.lower() not in (".yaml", ".yml") and ":" not in start):
        return None
    return load_api(path, described=described)


def api_of(
    document: dict[str, Any],
    source: str,
    manifest: dict[str, Any] | None = None,
    base: str = "",
    described: bool = True,
) -> Api:
    """An [`Api`] of an OpenAPI document that is at hand; `source` says where it is from, `base` what URLs start at."""
    document, manifest = load_document(document), manifest or {}

    def absolute(holder: Any) -> Any:
        declared = isinstance(mapping(holder).get("servers"), list)
        return holder | {"servers": [{"url": url} for url in servers_of(holder, base)]} if declared else holder

    if base:  # OpenAPI's default is where the document lies
        whole = absolute(document if document.get("servers") else document | {"servers": [{"url": "/"}]})
        # It need not be copied again.
        document = Document(map_holders(whole, absolute), document.digest)
    info = mapping(document.get("info"))
    title = text(info.get("title")) or text(manifest.get("name_for_human")) or text(manifest.get("name_for_model"))
    title = title or _redacted(source)
    made = describe(document) if described else Documentation("", {COMPONENTS: ""}, {})
    places = made.function_projection.items()
    functions = [Function(name, path, method, made.function_description[name]) for name, (path, method) in places]
    return Api(
        id=f"loaded/{'-'.join(re.findall(r'[a-z0-9]+', title.lower())) or 'api'}",
        name=title,
        description=text(info.get("description")) or text(manifest.get("description_for_human")),
        link=source,
        documentation=document,
        nl_documentation=made.nl_documentation,
        functions=functions,
        components=made.function_description[COMPONENTS],
        authentication=credential_names(document),
    )


def is_url(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))


def _redacted(place: str) -> str:
    return redact_url(place) if is_url(place) else place


def _load(place: str, hosts: Allowlist) -> dict[str, Any]:
    try:
        if is_url(place):
            from .client import ApiClient, CallLimits  # httpx takes a tenth of a second to import

            with ApiClient(hosts, limits=CallLimits(size=20_000_000)) as client:
                content = client.fetch(place)
        else:
            content = Path(place).read_bytes()
        words = content.decode("utf-8-sig")
        found = load_document(words)
        refs = kept(found.digest, "references", list, lambda: refs_of(found))
        if all(ref.startswith("#") for ref in refs):  # as in most documents, and the largest ones
            return Document(_with_lost(found, refs, []), found.digest)
        # Swagger 2.0 is converted with its files, which may hold operations.
        whole = kept(found.digest, "original", dict, lambda: original(words))
        return load_document(with_files(whole, None if is_url(place) else Path(place)))
    except UnicodeDecodeError:
        problem, fix = "it is not UTF-8 text", "pass an OpenAPI document or a plugin manifest"
    except (OSError, ValueError) as error:  # a ValueError: the name has a null character
        reason = getattr(error, "strerror", "this is not the name of a file")
        problem, fix = f"it cannot be read ({reason})", "pass a file or an http URL"
    except InputError as error:
        if error.file is not None:
            raise
        problem, fix = error.problem, error.fix
    raise InputError(problem, file=_redacted(place), fix=fix)


@dataclass(frozen=True)
class Documentation:
    """The published descriptions of an API."""

    nl_documentation: str  # all functions and shared output schemas as one text
    function_description: dict[str, str]  # a text per function, and `components` for shared output schemas
    function_projection: dict[str, list[str]]  # path and method by function name


def describe(document: dict[str, Any]) -> Documentation:
    """Describe every operation of a document, valid or not, in words.

    Example:

    ```python
    >>> document = {"paths": {"/cats": {"get": {"operationId": "listCats", "summary": "All cats"}}}}
    >>> describe(document).nl_documentation.splitlines()[:2]
    ['listCats: All cats', 'Parameters: {}']
    ```
    """
    document = load_document(document)
    operations = functions_of(document)
    texts = {operation.name: _function(operation) for operation in operations}
    projection = {operation.name: [operation.path, operation.method] for operation in operations}
    schemas = mapping(mapping(document.get("components")).get("schemas"))
    # A shared schema that refers to no other is inlined where another uses it, unless it has no structure.
    plain = {name: _structure(schema, {}) for name, schema in schemas.items() if not references(schema)}
    shared = "".join(f"\n#{name}: {_structure(schema, plain)}" for name, schema in schemas.items())
    shared = f"The detailed output format for the tools is outlined below:{shared}" if shared else ""
    whole = "\n".join(f"{name}: {words}" for name, words in texts.items()) + (f"\n\n{shared}\n" if shared else "\n")
    descriptions = {name: words.strip() for name, words in texts.items()} | {COMPONENTS: shared}
    return Documentation(whole, descriptions, projection)


def describe_raw(raw: dict[str, Any]) -> dict[str, Any]:
    """Recreate a raw API's descriptions from its `Documentation`; an [`InputError`] if that is no OpenAPI document."""
    try:
        made = describe(load_document(raw.get("Documentation") or ""))
    except InputError as error:
        name = raw.get("Name") or "an API without a name"
        raise InputError(f"the Documentation of {name}: {error.problem}", fix=error.fix) from None
    words = {"NLDocumentation": made.nl_documentation, "Function_Description": made.function_description}
    return raw | words | {"Function_Projection": made.function_projection}


def _function(operation: Operation) -> str:
    """Describe a function; the most deeply nested parts are dropped first if it gets too long."""
    for depth in (MAX_DEPTH, 4, 2, 1):
        words = _SchemaWords(operation.document, LONGEST)
        described = _laid_out(words, operation, depth)
        if max(len(described), LONGEST - words.left) <= LONGEST:
            return described
    return _laid_out(_SchemaWords(operation.document, math.inf), operation, 0)


def _laid_out(words: "_SchemaWords", operation: Operation, depth: int) -> str:
    document, declared, parameters = operation.document, operation.declared, dict[str, str]()
    listing = [parameter.declared for parameter in operation.parameters]
    holder = deref(document, declared.get("requestBody"))
    schema = mapping(media_schema(holder))
    heirs = mapping(heirs_of(document, text(schema.get("$ref")))).get("oneOf", [])
    body, inside = words.follow(schema, ())
    fields, required = _body_fields(document, body, heirs)
    whole = not fields and (text(body.get("type")) not in ("", "object") or "items" in body)
    if whole:
        fields, required = {"body": body}, ["body"] if holder.get("required") is True else []
    names = [*(parameter["name"] for parameter in listing), *fields]
    # Names that clash are those that calls take.
    called = tool_names(operation) if len(set(names)) < len(names) else None
    for parameter in listing:
        schema, refs = words.follow(mapping(parameter.get("schema")), ())
        name, needed = parameter["name"], "Required. " if parameter.get("required") is True else ""
        name = called.parameters[text(parameter.get("in")), name] if called else name
        described = words.of(schema | {"description": ""}, depth, refs)
        parameters[name] = f"{needed}{described} {_sentence(parameter.get('description'))}"
    for field, schema in fields.items():
        name = (called.whole if whole else called.body.get(field, field)) if called else field
        parameters[name] = ("Required. " if field in required else "") + words.of(schema, depth, inside)
    responses = mapping(declared.get("responses"))
    status = min(responses, key=lambda code: (code != "200", not code.startswith("2")), default="")
    response = deref(document, responses.get(status))
    kind, media = next(iter(mapping(response.get("content")).items()), ("", {}))
    return (
        f"{operation.description}\n"
        f"Parameters: {json.dumps(parameters)}\n"
        f"Output: {_sentence(response.get('description'))}\n"
        f" - Format: {kind}\n"
        f" - Structure: {_structure(mapping(media).get('schema'), {}, depth + 1)}"
    )


def _body_fields(document: dict[str, Any], body: dict[str, Any], heirs: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The properties of a body, also of its `allOf` and its alternatives, and which are always required."""
    parts = list(parts_of_schema(document, body))
    either = heirs + [member for part in parts for key in ("anyOf", "oneOf") for member in listed(part.get(key))]
    every = parts + [part for member in either for part in parts_of_schema(document, member)]
    fields: dict[str, Any] = {}
    for name, schema in (field for part in every for field in mapping(part.get("properties")).items()):
        fields.setdefault(name, schema)
    hidden = {name for whole in (body, *either) for name in hidden_names(document, whole, "readOnly")}
    required = [name for part in parts for name in listed(part.get("required"))]
    return {name: schema for name, schema in fields.items() if name not in hidden}, required


def _sentence(value: Any) -> str:
    words = text(value)
    return words if not words or words.endswith(".") else f"{words}."


class _SchemaWords:
    """Describes types and values of parameters and body properties within a budget of characters."""

    def __init__(self, document: dict[str, Any], left: float) -> None:
        self.document, self.left = document, left

    def follow(self, node: Any, refs: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Follow a schema's reference; one that leads back, or on without end, is named and not followed."""
        node = mapping(node)
        while isinstance(ref := node.get("$ref"), str):
            target, name = lookup(self.document, ref), ref.rsplit("/", 1)[-1]
            beside = {"description": node["description"]} if isinstance(node.get("description"), str) else {}
            if target is None or ref in refs or len(refs) > MAX_DEPTH:
                return {"description": f"Another {name}." if target is not None else f"{name}."} | beside, refs
            node, refs = mapping(target) | beside, (*refs, ref)
        return node, refs

    def of(self, node: Any, depth: int, refs: tuple[str, ...]) -> str:
        if self.left < 0:  # it is described again, with less
            return ""
        node, refs = self.follow(node, refs)
        kind, description = text(node.get("type")), _sentence(node.get("description"))
        self.left -= len(kind) + len(description) + 2
        if kind == "object":
            fields = mapping(node.get("properties")).items() if depth else ()
            shown = ((name, value) for name, value in fields if mapping(value).get("readOnly") is not True)
            inner = ", ".join(f"{name}: {self.of(value, depth - 1, refs)}" for name, value in shown)
            return f"Object{f'{{{inner}}}' if inner else ''}. {description}"
        if kind == "array":
            items, inside = self.follow(node.get("items"), refs)
            item_kind = text(items.get("type"))
            nested = self.of(items, depth, inside) if item_kind in ("object", "array") else item_kind
            return f"Array[{nested}]. {description}"
        values = node.get("enum")
        choice = f"One of: [{', '.join(str(value) for value in values)}]." if isinstance(values, list) else ""
        return " ".join(part for part in (f"{kind}.", description, choice) if part)


def _structure(node: Any, plain: dict[str, str], depth: int = MAX_DEPTH) -> str:
    """An output's structure: `Array[Object{url, source}]`, or `#Name` for a shared schema, described at the end."""
    node = mapping(node)
    if isinstance(node.get("$ref"), str):
        name = node["$ref"].rsplit("/", 1)[-1]
        return plain.get(name) or f"#{name}"
    if node.get("type") == "array":
        items = mapping(node.get("items"))
        return f"Array[{_structure(items, plain, depth) or text(items.get('type'))}]"
    if node.get("type") == "object":
        fields = mapping(node.get("properties")).items() if depth else ()
        shown = [(name, value) for name, value in fields if mapping(value).get("writeOnly") is not True]
        parts = [f"{n}: {inner}" if (inner := _structure(value, plain, depth - 1)) else n for n, value in shown]
        return f"Object{{{', '.join(parts)}}}" if parts else "Object"
    return ""
