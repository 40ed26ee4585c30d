"""Loads any documented API as a set of tools, from an OpenAPI document or a plugin manifest."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

from ..errors import InputError, ToolAlpacaError
from ..schema import Api, Function
from .allowlist import Allowlist, allowed_hosts, redact_url, servers_of
from .client import ApiClient, CallLimits
from .credentials import credential_names
from .document import Document, every_value, kept, load_document, lookup, mapping, original, text
from .documentation import COMPONENTS, Documentation, describe
from .operations import map_holders

MAX_FILES = 200  # that one document may be spread over
MAX_BYTES = 20_000_000
FILES = "x-files"  # where the files that a document refers to are kept in it, by their path below its folder


def with_files(document: dict[str, Any], place: Path | None) -> dict[str, Any]:
    """Load the files that a document refers to under `x-files`, and redirect its references there.

    Only files inside the document's own folder are read, none for one from the net (`place` is `None`); other
    references are listed under `x-not-followed`.
    """
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
            return f"#/{FILES}/{key.replace('~', '~0').replace('/', '~1').replace('%', '%25')}{pointer}"
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
    return _with_lost(made, _refs(made), list(lost))


def _with_lost(document: dict[str, Any], refs: list[str], lost: list[str]) -> dict[str, Any]:
    local = (ref for ref in refs if ref.startswith("#") and ref != "#")
    lost = [*lost, *(f"{ref} leads nowhere" for ref in local if lookup(document, ref) is None)]
    return document | ({"x-not-followed": lost} if lost else {})


def _refs(document: dict[str, Any]) -> list[str]:
    found = (node["$ref"] for node in every_value(document) if isinstance(node, dict) and "$ref" in node)
    return sorted({ref for ref in found if isinstance(ref, str)})


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
    return _api(str(source), manifest, found, place if is_url(place) else "", described)


def document_in(path: str | Path, described: bool = True) -> Api | None:
    """Load a file with one OpenAPI document or manifest; `None` if it holds a list, as the raw layout does."""
    path, start = Path(path), "["
    with suppress(OSError), path.open("rb") as file:
        start = file.read(4096).decode("utf-8-sig", "replace").lstrip()
    if start[:1] == "[" or (start[:1] != "{" and path.suffix.lower() not in (".yaml", ".yml") and ":" not in start):
        return None
    return load_api(path, described=described)


def api_of(document: dict[str, Any], source: str) -> Api:
    """An [`Api`] of an OpenAPI document that is at hand, with descriptions; `source` says where it is from."""
    return _api(source, {}, load_document(document), "", True)


def _api(source: str, manifest: dict[str, Any], document: dict[str, Any], base: str, described: bool) -> Api:
    def absolute(holder: Any) -> Any:
        declared = isinstance(mapping(holder).get("servers"), list)
        return holder | {"servers": [{"url": url} for url in servers_of(holder, base)]} if declared else holder

    if base:  # OpenAPI's default is where the document lies
        whole = absolute(document if document.get("servers") else document | {"servers": [{"url": "/"}]})
        # It need not be copied again.
        document = Document(map_holders(whole, absolute), getattr(document, "digest", ""))
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
            with ApiClient(hosts, limits=CallLimits(size=20_000_000)) as client:
                content = client.fetch(place)
        else:
            content = Path(place).read_bytes()
        words = content.decode("utf-8-sig")
        found = load_document(words)
        digest = getattr(found, "digest", "")
        refs = kept(digest, "references", list, lambda: _refs(found))
        if all(ref.startswith("#") for ref in refs):  # as in most documents, and the largest ones
            return Document(_with_lost(found, refs, []), digest)
        # Swagger 2.0 is converted with its files, which may hold operations.
        whole = kept(digest, "original", dict, lambda: original(words))
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
