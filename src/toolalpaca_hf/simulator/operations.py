"""The operations of the APIs as the simulator answers them, and the paths that lead to them."""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from ..data import Slugs, slug
from ..openapi import (
    IN_RANGE,
    Operation,
    Parameter,
    SchemaMerger,
    coerce,
    deref,
    document_of,
    each_operation,
    is_valid,
    is_xml,
    json_value,
    listed,
    mapping,
    media_rank,
    merged_schema,
    to_json_schema,
    to_text,
    without_hidden,
)
from ..schema import Api
from .fake_values import example_in
from .generate import Generator

IGNORED_HEADERS = ("accept", "authorization")  # OpenAPI says so
RESERVED = ("health", "__simulator_cache__")  # paths of the simulator itself
MAX_PATH = 8192  # characters of a path, as servers have it; two values in a segment take its square in time
_PARAMETER = re.compile(r"\{([^{}]+)\}")
_JOINT = "\ud800"  # between the segments of a path: no URL is decoded to it


@dataclass(frozen=True)
class DeclaredResponse:
    status: int
    media: str  # empty if it has no body
    make: Generator | None
    examples: tuple[Any, ...] = ()


class SimulatedOperation:
    def __init__(self, declared: Operation) -> None:
        self.declared, self.name, self.path, self.method = declared, declared.name, declared.path, declared.method
        bare, *fixed = re.split(r"[?#]", declared.template)
        self.slash = bare.endswith("/")
        # What distinguishes operations of one path, as the client sends it.
        self.fixed = tuple(pair for part in fixed for pair in parse_qsl(part, keep_blank_values=True))
        self.segments = tuple(unquote(part) for part in bare.strip("/").split("/")) if bare.strip("/") else ()
        self.failure = cache(self._failure)

    @cached_property
    def parameters(self) -> list[Parameter]:
        in_path = self.declared.in_path
        return [
            parameter
            for parameter in self.declared.parameters
            if parameter.place in ("query", "cookie")
            or (parameter.place == "path" and parameter.name in in_path)
            or (parameter.place == "header" and parameter.name.lower() not in IGNORED_HEADERS)
        ]

    @cached_property
    def success(self) -> DeclaredResponse:
        """The response to a valid request: the lowest declared 2xx, 3xx or `default`, else 304, else any 200."""
        responses = self.declared.responses
        for pattern in (r"2(\d\d|XX|xx)", r"3(?!04)(\d\d|XX|xx)", "default", "304"):
            for code in sorted(code for code in responses if re.fullmatch(pattern, code)):
                any_of = 302 if code[0] == "3" else 200
                return self._response(int(code) if code.isdecimal() else any_of, responses[code])
        return DeclaredResponse(200, "application/json", None)

    @property
    def has_examples(self) -> bool:
        contents = (mapping(response.get("content")) for response in self.declared.responses.values())
        return any({"example", "examples"} & mapping(kind).keys() for content in contents for kind in content.values())

    def _failure(self, status: int) -> DeclaredResponse:
        """The declared response to an invalid request; 422 if the document has no 400."""
        codes = self.declared.responses
        if status == 400 and "400" not in codes and "422" in codes:
            status = 422
        code = next((key for key in (str(status), "4XX", "4xx", "default") if key in codes), "")
        found = self._response(status, codes.get(code, {}))
        # An error message fits a text, not a picture.
        readable = "json" in found.media or found.media.startswith("text/") or is_xml(found.media)
        return found if readable or not found.media else DeclaredResponse(status, "application/json", None)

    def _response(self, status: int, declared: dict[str, Any]) -> DeclaredResponse:
        content = mapping(declared.get("content"))
        if status in (204, 205, 304) or (not content and status // 100 == 3):
            return DeclaredResponse(status, "", None)
        if "schema" in declared and not content:  # Swagger 2, which some documents mix in
            content = {"application/json": {"schema": declared["schema"]}}
        # `application/json` before `text/json`, and text before other types.
        media = sorted(content, key=lambda kind: (media_rank(kind), kind.startswith("text/") != media_rank(kind)))
        if not media:
            return DeclaredResponse(status, "application/json", None)
        named = re.fullmatch(r"[\w.+-]+/[\w.+-]+(;[ -~]*)?", media[0])
        kind = media[0] if named else (IN_RANGE | {"*/*": "application/json"}).get(media[0], "application/json")
        chosen = mapping(content[media[0]])
        schema = chosen.get("schema")
        examples = self._example_values(chosen)
        if not isinstance(schema, dict | bool) and not examples:
            return DeclaredResponse(status, kind, None)
        make = Generator(to_json_schema(self.declared.document, schema))
        if "json" in kind.lower():  # some documents write it as a text
            read = [(value, json_value(value) if isinstance(value, str) else None) for value in examples]
            unfit = [isinstance(inner, dict | list) and not (schema and make.is_valid(value)) for value, inner in read]
            examples = [pair[bad] for pair, bad in zip(read, unfit, strict=True)]
        examples = [without_hidden(self.declared.document, schema, value) for value in examples]
        # XML, CSV and the like are shown as the text that is sent.
        sent = "json" not in kind.lower()
        shown = tuple(value for value in examples if make.is_valid(value) or (sent and isinstance(value, str)))
        return DeclaredResponse(status, kind, make, shown)

    def _example_values(self, holder: dict[str, Any]) -> list[Any]:
        own = [holder["example"]] if "example" in holder else []
        examples = (deref(self.declared.document, example) for example in mapping(holder.get("examples")).values())
        return own + [example["value"] for example in examples if "value" in example]

    def shown(self, parameter: Parameter) -> list[Any]:
        """The values that the document shows for a parameter, the best first."""
        node = merged_schema(parameter.schema)
        values = shown_values(parameter.declared) + self._example_values(parameter.declared) + shown_values(node)
        return [value for value in values + listed(node.get("enum")) if value is not None]

    @cached_property
    def shown_ids(self) -> dict[str, list[Any]]:
        """The values that the document shows for each parameter and each property of the body."""
        found = dict[str, list[Any]]()
        for each in self.parameters:
            values = [coerce(value, each.schema) for value in self.shown(each)]
            said = example_in(str(each.declared.get("description", "")))
            fit = coerce(said, each.schema) if said else None
            values += [fit] if fit is not None and is_valid(each.check, fit) else []
            found[each.name] = list({to_text(value): value for value in values}.values())
        if (body := self.declared.body) is not None:
            merger = SchemaMerger(body.schema)
            node = merger.node(body.schema)
            examples = shown_values(node) + self._example_values(body.declared)
            for name, schema in node.get("properties", {}).items():
                whole = [mapping(value).get(name) for value in examples]
                found.setdefault(name, []).extend(shown_values(merger.node(schema)) + whole)
        for name, values in found.items():
            found[name] = [value for value in values if isinstance(value, str | int) and value != ""]
        return found


def shown_values(holder: dict[str, Any]) -> list[Any]:
    """What a schema or a parameter shows as its value; `x-example` is that of Swagger 2."""
    shown = [holder[key] for key in ("example", "x-example", "default") if key in holder]
    return shown + listed(holder.get("examples"))


class SimulatedApi:
    """An API with its routes; its URLs start with `slug`."""

    def __init__(self, api: Api, slug: str) -> None:
        self.api, self.slug, self.document = api, slug, document_of(api)
        self.operations = [
            SimulatedOperation(Operation(name, path, method, True, "", self.document, item, declared))
            for name, path, method, item, declared in each_operation(self.document)
        ]
        self.by_path: dict[tuple[str, ...], list[SimulatedOperation]] = {}
        for operation in self.operations:
            self.by_path.setdefault(operation.segments, []).append(operation)
        self._templates: dict[int, list[tuple[re.Pattern[str], list[str], list[SimulatedOperation]]]] = {}
        templates = [path for path in self.by_path if "{" in "".join(path)]
        for path in sorted(templates, key=_open_parts):
            # A parameter may be inside a segment: `/maps/{z}-{x}.png`.
            pieces = [_PARAMETER.split(part) for part in path]
            # Atomic: what one segment could be otherwise is not tried again for each of the next.
            inner = (f"([^{_JOINT}]+?)".join(map(_fixed, part[::2])) for part in pieces)
            pattern = _JOINT.join(rf"(?>{part}(?={_JOINT}|\Z))" for part in inner)
            names = [name for part in pieces for name in part[1::2]]
            self._templates.setdefault(len(path), []).append((re.compile(pattern), names, self.by_path[path]))

    @cached_property
    def digest(self) -> str:
        return blake2b(json.dumps(self.document, sort_keys=True).encode(), digest_size=8).hexdigest()

    def find(
        self, sent: tuple[str, ...], method: str = "", query: Sequence[tuple[str, str]] = (), slash: bool = False
    ) -> tuple[SimulatedOperation | None, dict[str, str], list[str]] | None:
        """A request's operation, path values and the methods that the path allows; `None` for an unknown path.

        Segments and values are percent-encoded, as `sent`. `HEAD` falls back to `GET`. The query distinguishes
        operations whose paths differ only after `?` or `#`, and a final `slash` those that differ in it.
        """
        if len(joined := _JOINT.join(sent)) > MAX_PATH:
            return None
        decoded = unquote(joined, errors="replace")
        segments = tuple(decoded.split(_JOINT)) if sent else ()
        again = decoded.replace("%", "%25") if decoded != joined else ""  # as clients encode it that encode more
        fixed = self.by_path.get(segments, ()) if "{" not in "".join(segments) else ()
        matching: list[tuple[Sequence[SimulatedOperation], dict[str, str]]] = [(fixed, {})] if fixed else []
        for pattern, names, found in self._templates.get(len(segments), ()):
            if match := pattern.fullmatch(joined) or pattern.fullmatch(again):
                matching.append((found, dict(zip(names, match.groups(), strict=True))))
        allowed = list(dict.fromkeys(operation.method for found, _ in matching for operation in found))

        def fit(operation: SimulatedOperation) -> tuple[int, bool]:
            """The longest fixed query that was sent; without one the caller does not know of the distinction."""
            return -1 if _query_values(operation, query) is None else len(operation.fixed), operation.slash == slash

        for wanted in (method, "get") if method == "head" else (method,):
            for found, values in matching:
                if own := [operation for operation in found if operation.method == wanted]:
                    operation = max(own, key=fit)
                    return operation, values | (_query_values(operation, query) or {}), allowed
        return (None, {}, allowed) if matching else None


def _query_values(operation: SimulatedOperation, query: Sequence[tuple[str, str]]) -> dict[str, str] | None:
    """The path values in a query, or `None` if it belongs to another operation."""
    found = {}
    for name, value in operation.fixed:
        sent = [text for key, text in query if key == name]
        parameter = _PARAMETER.fullmatch(value)
        if not sent or (parameter is None and value not in sent):
            return None
        if parameter is not None:
            found[parameter[1]] = sent[0].replace("%", "%25")
    return found


def _fixed(text: str) -> str:
    """A pattern for what is fixed in a segment, encoded as far as clients do."""
    written = dict.fromkeys((text, quote(text, safe="/:@!$&'()*+,;=~")))
    return f"(?:{'|'.join(map(re.escape, written))})"


def _open_parts(path: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Sorts what is more fixed first, as OpenAPI has it: `{name}:stop` before `{name}`."""
    parts = [_PARAMETER.split(part) for part in path]
    return [(part[::2] == ["", ""], len(part), -len("".join(part[::2])) * (len(part) > 1)) for part in parts]


class Directory:
    """The APIs by their name in a URL: the slug (with a number if it is taken), the name, or the id."""

    def __init__(self, apis: Sequence[Api]) -> None:
        slugs = Slugs()
        for word in RESERVED:
            slugs.take(word)
        # Use the id's slug, which is unique and the same everywhere.
        self.apis = [SimulatedApi(api, slugs.take(api.id.rpartition("/")[2] or api.name)) for api in apis]
        self._by_name = {found.slug: found for found in self.apis}
        names = [(name, each) for each in self.apis for name in (each.api.name, each.api.id)]
        names += [(name, each) for each in self.apis for name in (slug(each.api.name), each.api.name.casefold())]
        for name, each in names:
            self._by_name.setdefault(unicodedata.normalize("NFC", name), each)

    def find(self, segments: Sequence[str]) -> tuple[SimulatedApi, tuple[str, ...]] | None:
        """The API that a decoded path starts with, and the rest; a name with slashes spans several segments."""
        for count in range(1, min(len(segments), 4) + 1):
            name = unicodedata.normalize("NFC", "/".join(segments[:count]))
            if found := self._by_name.get(name) or self._by_name.get(name.casefold()):
                return found, tuple(segments[count:])
        return None

    def listing(self) -> list[dict[str, Any]]:
        return [{"name": found.api.name, "path": f"/{found.slug}"} for found in self.apis]
