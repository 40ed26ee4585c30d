"""An OpenAPI document as plain JSON values, however it was written; what is wrong with it; its references followed."""

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import yaml
from jsonschema_path import SchemaPath
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from ..errors import ToolAlpacaError
from ..schema import Api

MAX_DEPTH = 64
"""How deep a document, or a schema with its references followed, may be nested; real ones stay below 30."""

MAX_NODES = 20_000
"""How many values one resolved node may hold: references that fan out grow a small document exponentially."""


class _Loader(yaml.SafeLoader):
    """YAML without aliases, which let a few lines grow without end."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it uses aliases")
        return super().compose_node(parent, index)


# Only what JSON has: a bare `NO` stays text, as do a date and `12:30`.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(null|~|)$", ["n", "~", ""]),
    ("bool", r"^(true|false)$", ["t", "f"]),
    ("int", r"^-?(0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def document_of(api: Api) -> dict[str, Any]:
    """The OpenAPI document of an API, to call it by.

    Args:
        api ([`Api`]):
            The API. A document that is not JSON is kept there as its text, and may be YAML.

    Returns:
        `dict`: The document; empty where it can not be loaded.

    Example:

    ```python
    >>> document_of(Api("train/cats", "Cats", documentation={"text": "paths: {}"}))
    {'paths': {}}
    ```
    """
    source = api.documentation
    try:
        return load_document(source["text"] if set(source) == {"text"} else source)
    except ToolAlpacaError:
        return {}


def load_document(source: str | dict[str, Any]) -> dict[str, Any]:
    """Load an OpenAPI document. A document that is not valid OpenAPI still loads: see [`violations`].

    Args:
        source (`str` or `dict`):
            JSON or YAML text, or the parsed document.

    Returns:
        `dict`: A copy made of JSON values only, with string keys.

    Raises:
        [`ToolAlpacaError`]: The text is neither JSON nor YAML, is not a mapping, or is nested too deep.

    Example:

    ```python
    >>> load_document("openapi: 3.0.0\\npaths: {}")
    {'openapi': '3.0.0', 'paths': {}}
    ```
    """
    if isinstance(source, str):
        source = _parse(source)
    if not isinstance(source, dict):
        raise ToolAlpacaError(
            f"the OpenAPI document is a {type(source).__name__}, not a mapping; pass an object with `paths`"
        )
    return _plain(source, 0)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ToolAlpacaError("the OpenAPI document is nested too deep; flatten it") from None
    except ValueError:
        pass
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader: it builds no Python objects
    # ValueError and its like come from scalars with an explicit tag, such as `!!int x`.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolAlpacaError(f"the OpenAPI document is neither JSON nor YAML ({reason}); correct its text") from None


def _plain(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ToolAlpacaError(f"the OpenAPI document is nested more than {MAX_DEPTH} levels deep; flatten it")
    if isinstance(value, dict):
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    # Integers beyond 64 bits, infinity and NaN do not survive Parquet's and other languages' JSON.
    if (isinstance(value, int) and -(2**63) <= value < 2**63) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(value)


def _text(value: Any) -> str:
    # Python refuses to write integers of thousands of digits in decimal.
    words = hex(value) if isinstance(value, int) and abs(value) >= 2**63 else str(value)
    return words.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no UTF-8


class _NothingOutside(dict):
    """A handler for every URL scheme that fetches nothing: a document must not make its reader open files or sites."""

    def __contains__(self, scheme: object) -> bool:
        return True

    def __getitem__(self, scheme: str) -> Callable[[str], Any]:
        def refuse(url: str) -> Any:
            raise LookupError(f"{url} is outside the document, and is not fetched")

        return refuse


def violations(document: dict[str, Any]) -> list[str]:
    """Say what keeps a document from being valid OpenAPI. References that lead out of it are not followed.

    Args:
        document (`dict`):
            A document, as [`load_document`] returns it.

    Returns:
        `list[str]`: One sentence a violation, with the place it was found at; empty for a valid document.

    Example:

    ```python
    >>> violations({"openapi": "3.0.0", "info": {"title": "Cats", "version": "1"}, "paths": {}})
    []
    >>> [sentence] = violations({"openapi": "3.0.0", "paths": {}})
    >>> sentence.replace('"', "'")
    "At the top: 'info' is a required property."
    ```
    """
    if "swagger" in document:
        validator = OpenAPIV2SpecValidator
    elif str(document.get("openapi", "")).startswith("3.1"):
        validator = OpenAPIV31SpecValidator
    else:
        validator = OpenAPIV30SpecValidator
    found = []
    try:
        # Left to itself, the validator opens whatever file or site a reference names.
        for error in validator(SchemaPath.from_dict(document, handlers=_NothingOutside())).iter_errors():
            place = " > ".join(str(part) for part in error.absolute_path)
            # The validator has two backends: one's message is a line, the other's goes on to quote the document.
            message = error.message.partition("\n")[0].strip()[:300].rstrip(".")
            found.append(f"{f'At {place}' if place else 'At the top'}: {message}.")
    # The validator assumes much of its input (strings, mappings, references that lead somewhere) and lets whatever
    # follows from a broken assumption escape; to its caller that is one more violation.
    except Exception as error:
        # A reference that leads nowhere is told with the whole document behind it.
        said = re.split(r" within \{", " ".join(str(error).split()))[0][:300].rstrip(".")
        found.append(f"The document can not be checked to its end: {said}.")
    finally:
        # It keeps every document that it has ever seen, in a cache without a limit.
        with suppress(AttributeError):  # a detail of its making
            validator.iter_errors.__wrapped__.cache_clear()
    return found


def lookup(document: dict[str, Any], ref: Any) -> Any:
    """The value that a local reference (`#/components/schemas/Cat`) points at, or `None` where it leads nowhere."""
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    value: Any = document
    for part in ref[2:].split("/"):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and len(key) < 9 and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def resolve(document: dict[str, Any], node: Any) -> Any:
    """Replace every `$ref` below a node by what it refers to.

    A reference that leads back into itself is cut where it would repeat, with a description that names it; so is
    everything beyond `MAX_DEPTH` levels or `MAX_NODES` values. A reference that leads nowhere, or out of the document,
    becomes a description, too. Descriptions beside a `$ref` are kept.

    Args:
        document (`dict`):
            The document that references are looked up in.
        node (`Any`):
            A part of it.

    Returns:
        `Any`: A copy of `node` without references.

    Example:

    ```python
    >>> document = {"components": {"schemas": {"Cat": {"type": "object", "properties": {"name": {"type": "string"}}}}}}
    >>> resolve(document, {"$ref": "#/components/schemas/Cat"})
    {'type': 'object', 'properties': {'name': {'type': 'string'}}}
    ```
    """
    left = MAX_NODES

    def follow(value: Any, open_refs: tuple[str, ...], depth: int) -> Any:
        nonlocal left
        left -= 1
        if isinstance(value, dict):
            if depth > MAX_DEPTH or left < 0:
                return {}
            ref = value.get("$ref")
            if isinstance(ref, str):
                target = lookup(document, ref)
                beside = {"description": value["description"]} if isinstance(value.get("description"), str) else {}
                if ref in open_refs or target is None:
                    name = ref.rsplit("/", 1)[-1]
                    return {"description": f"Another {name}." if target is not None else f"{name}."} | beside
                target = follow(target, (*open_refs, ref), depth + 1)
                return target | beside if isinstance(target, dict) else target
            return {key: follow(item, open_refs, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [] if depth > MAX_DEPTH or left < 0 else [follow(item, open_refs, depth + 1) for item in value]
        return value

    return follow(node, (), 0)
