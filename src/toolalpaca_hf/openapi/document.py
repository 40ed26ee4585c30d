"""Loads OpenAPI documents as plain JSON values, and resolves their local references."""

import gc
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from ..errors import InputError, ToolAlpacaError
from ..schema import Api
from ..storage import atomic_path

MAX_DEPTH = 64  # of a document, or of a schema with its references followed; real ones stay below 30
MAX_VALUES = 5_000_000  # of a document once its YAML aliases are written out: a few lines of them grow without end
CACHED_FROM = 200_000  # characters from which on a document is kept parsed: YAML takes seconds a megabyte
MAX_KEPT = 160  # files, up to four a document; the oldest go first
CACHE_VERSION = 8  # part of the name of what is kept; another reading of documents needs another
LARGE = 60_000  # values from which on documents are checked against the schema of OpenAPI only; GitHub's has 500,000


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # only PyYAML with libyaml has it
    """YAML 1.2, with libyaml's C loader if there is one: it is ten times as fast."""


# Only what JSON has, and `True` as in YAML 1.2: a bare `NO` stays text, as do a date and `12:30`.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


class Document(dict[str, Any]):
    """A document from [`load_document`], with what was converted from it; a `digest` is that of a large one's text."""

    def __init__(self, values: dict[str, Any], digest: str = "") -> None:
        super().__init__(values)
        self.digest = digest
        self.converted: dict[bool, Any] = {}

    @cached_property
    def anchors(self) -> dict[str, Any]:
        """Schemas by what refers to them besides pointers from the root: anchors, and `$defs` inside others."""
        nodes = [node for node in every_value(self) if isinstance(node, dict)]
        inner = {f"/$defs/{name}": part for node in nodes for name, part in mapping(node.get("$defs")).items()}
        return inner | {str(node["$anchor"]): node for node in nodes if "$anchor" in node}


def document_of(api: Api) -> dict[str, Any]:
    """The OpenAPI document to call an API by; empty if it cannot be loaded."""
    source = api.documentation
    with suppress(ToolAlpacaError):
        return load_document(source["text"] if set(source) == {"text"} else source)  # what is not JSON is kept as text
    return {}


def load_document(source: str | dict[str, Any]) -> Document:
    """Load an OpenAPI document, valid or not; see [`violations`] to check it.

    The result is a copy of JSON values only. Swagger 2.0 is converted to OpenAPI 3.0; what cannot be converted is
    listed under `x-not-converted`. A text that is neither JSON nor YAML, is not a mapping, or is nested too deep, is
    an [`InputError`].

    Example:

    ```python
    >>> load_document("openapi: 3.0.0\\npaths: {}")
    {'openapi': '3.0.0', 'paths': {}}
    ```
    """
    from .swagger2 import to_openapi3  # which reads documents with what is defined here

    if isinstance(source, Document):
        return source
    large = isinstance(source, str) and len(source) > CACHED_FROM
    digest = hashlib.sha256(str(source).encode("utf-8", "replace")).hexdigest() if large else ""
    return Document(kept(digest, "document", dict, lambda: to_openapi3(original(source))), digest)


def original(source: str | dict[str, Any]) -> dict[str, Any]:
    """As [`load_document`], but Swagger 2.0 is not converted."""
    parsed = _parse(source) if isinstance(source, str) else source
    if not isinstance(parsed, dict):
        raise InputError(f"the OpenAPI document is a {type(parsed).__name__}, not a mapping", fix="pass an object")
    return _plain(parsed, 0, [MAX_VALUES])


@contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection: over the million values of a large document it takes two fifths of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def kept(digest: str, what: str, kind: type, make: Callable[[], Any]) -> Any:
    """What was made of a text, from the disk cache in `TOOLALPACA_CACHE` (empty: no cache) by the text's digest."""
    root = os.environ.get("TOOLALPACA_CACHE", str(Path("~/.cache/toolalpaca-hf").expanduser()))
    if not root or not digest:
        return make()
    file = Path(root) / "documents" / f"{digest}-{CACHE_VERSION}-{what}.json"
    with suppress(OSError, ValueError, RecursionError), gc_paused():
        found = json.loads(file.read_bytes())
        if isinstance(found, kind):
            return found
    with gc_paused():
        made = make()
    with suppress(OSError):  # where nothing can be kept, it is made each time
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_path(file) as part:
            part.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
        for old in sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-MAX_KEPT]:
            old.unlink(missing_ok=True)
    return made


def _parse(text: str) -> Any:
    try:
        with suppress(ValueError):
            return json.loads(text)
        if _too_deep(text):
            raise RecursionError
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader: it builds no Python objects
    except RecursionError:
        raise InputError("the OpenAPI document is nested too deep", fix="flatten it") from None
    # Scalars with an explicit tag, such as `!!int x`, raise ValueError and the like.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the OpenAPI document is neither JSON nor YAML ({reason})", fix="correct its text") from None


def _too_deep(text: str) -> bool:
    """Whether libyaml's loader, which calls itself for each level, would overflow the C stack."""
    # A level stands in a line as indentation or an indicator, or it is a bracket anywhere.
    long = (line for line in text.splitlines() if len(line) > 1000)
    most = max((line.count("-") + line.count("?") + len(line) - len(line.lstrip()) for line in long), default=0)
    if most + text.count("[") + text.count("{") <= 1000:
        return False
    kinds = (yaml.CollectionStartEvent, 1), (yaml.CollectionEndEvent, -1)
    steps = (step for event in yaml.parse(text, Loader=_Loader) for kind, step in kinds if isinstance(event, kind))
    return any(depth > 1000 for depth in accumulate(steps))


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise InputError(f"the OpenAPI document holds more than {MAX_VALUES:,} values", fix="cut down its aliases")
    if depth > MAX_DEPTH:
        raise InputError(f"the OpenAPI document is nested more than {MAX_DEPTH} levels deep", fix="flatten it")
    if isinstance(value, dict):
        return {_text(key): _plain(item, depth + 1, left) for key, item in _merged(value, depth, left).items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1, left) for item in value]
    # Integers beyond 64 bits, infinity and NaN do not survive Parquet's and other languages' JSON.
    small = isinstance(value, int) and -(2**63) <= value < 2**63
    finite = isinstance(value, float) and math.isfinite(value)
    return value if value is None or small or finite else _text(value)


def _merged(value: dict[Any, Any], depth: int, left: list[int]) -> dict[Any, Any]:
    """A mapping with those that its YAML merge key `<<` names; its own keys and earlier ones come first."""
    if "<<" not in value:
        return value
    below = value["<<"]
    sources = below if isinstance(below, list) else [below]
    if depth > MAX_DEPTH or left[0] < 0 or not sources or not all(isinstance(source, dict) for source in sources):
        return value
    found: dict[Any, Any] = {}
    for source in reversed(sources):
        more = _merged(mapping(source), depth + 1, left)
        left[0] -= 1 + len(more)
        if left[0] < 0:  # whatever is in it is refused next
            break
        found |= more
    return found | {key: item for key, item in value.items() if key != "<<"}


def _text(value: Any) -> str:
    # Python refuses to write integers of thousands of digits in decimal.
    words = hex(value) if isinstance(value, int) and abs(value) >= 2**63 else str(value)
    return words.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no UTF-8


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one: published documents hold anything anywhere."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def lookup(document: dict[str, Any], ref: Any) -> Any:
    """The value that a local reference (`#/components/schemas/Cat`, or `#cat` for an anchor) points at, or `None`."""
    ref = text(ref)
    value: Any = document if ref.startswith("#/") else None
    for part in ref[2:].split("/"):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        items = value if isinstance(value, dict) else {str(place): item for place, item in enumerate(listed(value))}
        if key not in items:
            return document.anchors.get(ref[1:]) if isinstance(document, Document) and ref[:1] == "#" else None
        value = items[key]
    return value


def is_modern(document: dict[str, Any]) -> bool:
    """Whether a document's schemas are JSON Schema 2020-12, as from OpenAPI 3.1 on."""
    return bool(re.match(r"3\.[1-9]", str(document.get("openapi", ""))))


def deref(document: dict[str, Any], node: Any) -> dict[str, Any]:
    """Follow a node's own reference, not those inside it; an empty mapping if the result is none."""
    for _ in range(MAX_DEPTH):
        if not isinstance(mapping(node).get("$ref"), str):
            return mapping(node)
        found = lookup(document, node["$ref"])
        beside = {key: node[key] for key in ("description", "summary") if key in node}
        node = found | beside if isinstance(found, dict) else {}
    return {}


class _NothingOutside(dict):
    """A handler of no URL scheme, asked for all: a document must not make its reader open files or sites."""

    def __contains__(self, scheme: object) -> bool:
        return True


def violations(document: dict[str, Any]) -> list[str]:
    """What keeps a document from being valid OpenAPI, a sentence per violation.

    References out of it are not followed. A large document, see [`is_large`], is only checked against the schema.
    """
    made = f"violations-{version('openapi-spec-validator')}"
    return kept(getattr(document, "digest", ""), made, list, lambda: _violations(document))


def _violations(document: dict[str, Any]) -> list[str]:
    # These take a third of a second to import, and few commands need them.
    import openapi_spec_validator as made
    from jsonschema_path import SchemaPath

    found = list[str]()
    version = "2" if "swagger" in document else str(document.get("openapi", ""))[:3].replace(".", "")
    validator = getattr(made, f"OpenAPIV{version}SpecValidator", made.OpenAPIV30SpecValidator)
    try:
        # By default, the validator opens whatever file or site a reference names.
        if is_large(document):  # what is not in the schema takes many seconds a megabyte
            errors = validator.schema_validator.iter_errors(document)
        else:
            errors = validator(SchemaPath.from_dict(document, handlers=_NothingOutside())).iter_errors()
        for error in errors:
            place = " > ".join(str(part) for part in error.absolute_path)
            # The validator has two backends: one's message is a line, the other's then quotes the document.
            message = error.message.partition("\n")[0].strip()[:300].rstrip(".")
            found.append(f"{f'At {place}' if place else 'At the top'}: {message}.")
    # The validator assumes much of its input (strings, mappings, valid references) and lets the errors that
    # follow from a broken assumption escape; count each as one more violation.
    except Exception as error:
        # The message for a dangling reference quotes the whole document.
        said = re.split(r" within \{", " ".join(str(error).split()))[0][:300].rstrip(".")
        found.append(f"The document cannot be checked to its end: {said}.")
    finally:
        # The validator caches every document it has seen, without limit.
        with suppress(AttributeError):  # a detail of its making
            validator.iter_errors.__wrapped__.cache_clear()  # type: ignore[attr-defined]  # of functools.cache
    return found


def is_large(document: dict[str, Any]) -> bool:
    """Whether a document holds more than `LARGE` values; [`violations`] then only checks the schema."""
    return any(count > LARGE for count, _ in enumerate(every_value(document), 1))


def every_value(value: Any) -> Iterator[Any]:
    left = [value]
    while left:
        yield (node := left.pop())
        left.extend(node.values() if isinstance(node, dict) else listed(node))


def refs_of(document: dict[str, Any]) -> list[str]:
    found = (node["$ref"] for node in every_value(document) if isinstance(node, dict) and "$ref" in node)
    return sorted({ref for ref in found if isinstance(ref, str)})
