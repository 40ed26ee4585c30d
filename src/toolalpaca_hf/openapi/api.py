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
from .coercion import kinds_of
from .document import MAX_DEPTH, Document, deref, kept, listed, load_document, lookup, mapping, original, refs_of, text
from .operations import Operation, functions_of, map_holders
from .safety import Allowlist, allowed_hosts, credential_names, redact_url, servers_of
from .schema import Definitions, parts_of_schema, references
from .tools import body_fields, flat_schema, tool_names

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
    inside = refs_of(document) if FILES in document else []
    schemas = {_name_of(ref): lookup(document, ref) for ref in inside if ref.startswith(f"#/{FILES}/")}
    schemas = {name: schema for name, schema in schemas.items() if _structure(schema, {})}
    schemas |= mapping(mapping(document.get("components")).get("schemas"))
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
        words = _SchemaWords(LONGEST)
        described = _laid_out(words, operation, depth)
        if max(len(described), LONGEST - words.left) <= LONGEST:
            return described
    return _laid_out(_SchemaWords(math.inf), operation, 0)


def _laid_out(words: "_SchemaWords", operation: Operation, depth: int) -> str:
    document, declared, parameters = operation.document, operation.declared, dict[str, str]()
    names, body = tool_names(operation), operation.body
    for parameter in operation.parameters:
        needed = "Required. " if parameter.declared.get("required") is True else ""
        described = words.of(parameter.schema, parameter.schema | {"description": ""}, depth)
        name = names.parameters[parameter.place, parameter.name]
        parameters[name] = f"{needed}{described} {_sentence(parameter.declared.get('description'))}"
    fields, required, _ = body_fields(body) if body is not None else ({}, [], False)
    if body is not None and not fields and {*kinds_of(body.schema)} - {"object", "null"}:
        fields, required = {names.whole: body.schema}, [names.whole] if body.required else []
    root = body.schema if body is not None else {}
    for field, schema in fields.items():
        name, needed = names.body.get(field, field), "Required. " if field in required else ""
        if schema or name not in parameters:  # else it is required in the body and described as a parameter
            parameters[name] = needed + words.of(root, schema, depth)
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


def _sentence(value: Any) -> str:
    words = text(value)
    return words if not words or words.endswith(".") else f"{words}."


class _SchemaWords:
    """Describes types and values of parameters and body properties within a budget of characters."""

    def __init__(self, left: float) -> None:
        self.left = left

    def _followed(
        self, root: dict[str, Any], node: Any, refs: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """A schema with what it refers to and all of its `allOf`; a reference that leads back is named."""
        node = mapping(node)
        while True:
            beside = {"description": node["description"]} if "description" in node else {}
            either = [member for member in node.get("anyOf", ()) if mapping(member).get("type") != "null"]
            ref = next((part["$ref"] for part in parts_of_schema({}, node) if "$ref" in part), None)
            if ref is not None:
                made: Definitions = root["$defs"]
                if (origin := made.origins[ref]) in refs or len(refs) > MAX_DEPTH:
                    return {"description": f"Another {_name_of(origin)}."} | beside, refs
                said = {key: part for key, part in node.items() if key not in ("description", "$defs")}
                is_bare, flat = said in ({"$ref": ref}, {"allOf": [{"$ref": ref}]}), made.flat.get(ref)
                if flat is None or not is_bare:
                    flat = flat_schema(root, said, frozenset(), either=False)
                    made.flat |= {ref: flat} if is_bare else {}
                node, refs = flat | beside, (*refs, origin)
            elif "allOf" in node:
                node = flat_schema(root, node, frozenset(), either=False)
            elif len(either) == 1 and not {"properties", "type"} & node.keys():  # what may be null
                node = mapping(either[0]) | beside
            else:
                return node | {"anyOf": either}, refs

    def of(self, root: dict[str, Any], node: Any, depth: int, refs: tuple[str, ...] = ()) -> str:
        if self.left < 0:  # it is described again, with less
            return ""
        node, refs = self._followed(root, node, refs)
        kind, description = _kind_of(node), _sentence(node.get("description"))
        self.left -= len(kind) + len(description) + 2
        if node.get("anyOf") and depth and "properties" not in node:
            said = (self.of(root, mapping(part) | {"description": ""}, depth - 1, refs) for part in node["anyOf"])
            kind = " or ".join(dict.fromkeys(filter(None, (words.strip(" .") for words in said)))) or kind
        elif kind == "object":
            fields = node.get("properties", {}).items() if depth else ()
            inner = ", ".join(f"{name}: {self.of(root, part, depth - 1, refs)}" for name, part in fields)
            return f"Object{f'{{{inner}}}' if inner else ''}. {description}"
        elif kind == "array":
            items, inside = self._followed(root, node.get("items"), refs)
            inner = _kind_of(items) in ("object", "array") or items.get("anyOf")
            nested = self.of(root, items, depth, inside) if inner else _kind_of(items)
            return f"Array[{nested}]. {description}"
        values = node.get("enum", [node["const"]] if "const" in node else ())
        choice = ", ".join(str(value) for value in values if value is not None)
        return " ".join(filter(None, (f"{kind}.", description, choice and f"One of: [{choice}].")))


def _kind_of(node: dict[str, Any]) -> str:
    kinds = node["type"] if isinstance(node.get("type"), list) else [node.get("type")]
    return " or ".join(kind for kind in map(text, kinds) if kind not in ("", "null"))


def _name_of(ref: str) -> str:
    return re.sub(r"\.(json|ya?ml)$", "", re.split("/|~1", ref)[-1])  # also of a file


def _structure(node: Any, plain: dict[str, str], depth: int = MAX_DEPTH) -> str:
    """An output's structure: `Array[Object{url, source}]`, or `#Name` for a shared schema, described at the end."""
    node = mapping(node)
    if isinstance(node.get("$ref"), str):
        name = _name_of(node["$ref"])
        return plain.get(name) or f"#{name}"
    kind, said = _kind_of(node), list[str]()
    if kind == "array":
        items = mapping(node.get("items"))
        return f"Array[{_structure(items, plain, depth) or _kind_of(items)}]"
    for key, joint in (("allOf", " and "), ("anyOf", " or "), ("oneOf", " or ")):
        members = (_structure(member, plain, depth) for member in listed(node.get(key)))
        said.append(joint.join(dict.fromkeys(filter(None, members))))
    if kind == "object" and ("properties" in node or not any(said)):
        fields = mapping(node.get("properties")).items() if depth else ()
        shown = [(name, value) for name, value in fields if mapping(value).get("writeOnly") is not True]
        parts = [f"{n}: {inner}" if (inner := _structure(value, plain, depth - 1)) else n for n, value in shown]
        said.insert(0, f"Object{{{', '.join(parts)}}}" if parts else "Object")
    return " and ".join(filter(None, said))
