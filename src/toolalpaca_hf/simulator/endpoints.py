"""One operation of a document, with all that is needed to check its requests and to write its answers."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from ..openapi.document import resolve
from ..openapi.operations import mapping, parameters_of, text
from .generate import Generator
from ..openapi.schemas import closed, validator

# What a request says to the server itself; OpenAPI has parameters of these names ignored.
IGNORED_HEADERS = ("accept", "content-type", "authorization")


@dataclass(frozen=True)
class Argument:
    """A parameter of an operation.

    Args:
        name (`str`): Its name.
        place (`str`): `path`, `query`, `header` or `cookie`.
        required (`bool`): Whether a request without it is refused.
        schema (`dict`): Its schema, as [`closed`] returns it.
        exploded (`bool`): Whether a list is written as repeated names, an object as a name for each of its fields.
    """

    name: str
    place: str
    required: bool
    schema: dict[str, Any]
    check: jsonschema_rs.Draft202012Validator
    exploded: bool = True


@dataclass(frozen=True)
class Body:
    """What an operation takes as body; `schema` is that of the first JSON media type, or else of the first one."""

    required: bool
    schema: dict[str, Any]
    check: jsonschema_rs.Draft202012Validator


@dataclass(frozen=True)
class Reply:
    """A declared response: its status, its media type (empty for no body), and what makes values for it."""

    status: int
    media: str
    make: Generator | None


class Endpoint:
    """An operation of an API.

    Args:
        document (`dict`): The document it is from.
        name, path, method (`str`): As [`openapi.functions_of`] has them.
        item (`dict`): The path item.
        operation (`dict`): The operation object.
    """

    def __init__(
        self,
        document: dict[str, Any],
        name: str,
        path: str,
        method: str,
        item: dict[str, Any],
        operation: dict[str, Any],
    ) -> None:
        self.name = name
        self.path = path
        self.method = method
        self.summary = text(operation.get("summary")) or text(operation.get("description"))
        self.operation = operation
        self._document = document
        self._item = item
        bare = re.split(r"[?#]", path)[0]
        self.segments = tuple(unquote(part) for part in bare.strip("/").split("/")) if bare.strip("/") else ()

    @cached_property
    def arguments(self) -> list[Argument]:
        """The parameters, those of the path template even where the document forgets to declare them."""
        found = []
        declared = parameters_of(self._document, self._item, self.operation)
        in_path = [name for part in self.segments for name in re.findall(r"\{([^{}]+)\}", part)]
        known = {parameter["name"] for parameter in declared if parameter.get("in") == "path"}
        declared += [{"name": name, "in": "path"} for name in dict.fromkeys(in_path) if name not in known]
        for parameter in declared:
            name, place = parameter["name"], parameter.get("in")
            if place == "path" and name not in in_path:
                continue
            if place == "header" and name.lower() in IGNORED_HEADERS:
                continue
            if place in ("path", "query", "header", "cookie"):
                content = next(iter(mapping(parameter.get("content")).values()), {})
                # Swagger 2, which some documents mix in, has the type beside the name.
                given = parameter.get("schema") or mapping(content).get("schema") or _without_flags(parameter)
                schema = closed(self._document, given, request=True)
                required = place == "path" or parameter.get("required") is True
                exploded = parameter.get("explode") is not False
                found.append(Argument(name, place, required, schema, validator(schema), exploded))
        return found

    @cached_property
    def body(self) -> Body | None:
        """The declared body."""
        declared = self.operation.get("requestBody")
        declared = mapping(resolve(self._document, declared) if "$ref" in mapping(declared) else declared)
        content = mapping(declared.get("content"))
        if not declared:
            return None
        media = sorted(content, key=lambda kind: "json" not in kind.lower())
        schema = closed(self._document, mapping(content[media[0]]).get("schema") if media else {}, request=True)
        return Body(declared.get("required") is True, schema, validator(schema))

    @cached_property
    def _responses(self) -> dict[str, Any]:
        return mapping(self.operation.get("responses"))

    @cached_property
    def success(self) -> Reply:
        """The response of a request that is in order: the lowest declared 2xx, else `default`, else any 200."""
        good = sorted(code for code in self._responses if re.fullmatch(r"2(\d\d|XX|xx)", code))
        if good:
            status = int(good[0]) if good[0].isdecimal() else 200
            return self._reply(status, self._responses[good[0]])
        others = [code for code in self._responses if code != "default"]
        if "default" in self._responses and not others:
            return self._reply(200, self._responses["default"])
        return Reply(200, "application/json", None)

    def failure(self, status: int) -> Reply:
        """The response of a request that is refused, as the document has it."""
        if status not in self._failures:
            declared = self._responses.get(str(status), self._responses.get("4XX", self._responses.get("default")))
            reply = self._reply(status, declared)
            # A text is a message; a picture is none.
            plain = reply.media in ("", "application/json") or reply.media.startswith("text/")
            self._failures[status] = reply if plain else Reply(status, "application/json", None)
        return self._failures[status]

    @cached_property
    def _failures(self) -> dict[int, Reply]:
        return {}

    def _reply(self, status: int, declared: Any) -> Reply:
        declared = mapping(declared)
        if "$ref" in declared:
            declared = mapping(resolve(self._document, declared))
        content = mapping(declared.get("content"))
        if status in (204, 205, 304):
            return Reply(status, "", None)
        if "schema" in declared and not content:  # Swagger 2
            content = {"application/json": {"schema": declared["schema"]}}
        media = sorted(content, key=lambda kind: ("json" not in kind.lower(), not kind.startswith("text/")))
        if not media:
            return Reply(status, "application/json", None)
        kind = media[0] if re.fullmatch(r"[\w.+-]+/[\w.+-]+(;[ -~]*)?", media[0]) else "application/json"
        chosen = mapping(content[media[0]])
        if not isinstance(chosen.get("schema"), dict | bool) and "example" not in chosen:
            return Reply(status, kind, None)
        schema = closed(self._document, chosen.get("schema"))
        if "example" in chosen and "$ref" not in schema:
            schema = {"example": chosen["example"]} | schema
        return Reply(status, kind, Generator(schema))


def _without_flags(parameter: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameter.items() if key not in ("required", "in", "name")}
