"""What `openapi_conformance.py` judges by, and nothing of the package's rules in it: values for a tool's schema, and
the validator of a document's declared answers."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rstr
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from openapi_schema_validator import OAS30ReadValidator, OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4, DRAFT202012

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import Operation
from toolalpaca_hf.openapi.api import with_files
from toolalpaca_hf.openapi.document import lookup, original


def documents(folder: Path) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """The documents below a folder as they were written, each with a name; the error in place of one that cannot be
    read."""
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".yaml", ".yml"):
            continue
        name = path.name if path == folder else str(path.relative_to(folder))
        try:
            text = path.read_text(encoding="utf-8-sig")
            found = json.loads(text) if path.suffix == ".json" else original(text)
            if isinstance(found, list):
                for place, entry in enumerate(found):
                    inner = entry.get("Documentation") if isinstance(entry, dict) else None
                    if isinstance(inner, str):
                        yield f"{name}#{place}", original(inner)
            elif isinstance(found, dict) and isinstance(found.get("paths"), dict):
                yield name, with_files(original(found), path)
        except (ToolAlpacaError, ValueError, OSError, RecursionError) as error:
            yield name, error


LETTERS = "abcXYZ019 -_.~éß&=+%/?#,;|:[]@!$'()*\"<>"
FORMATS = {
    "date": "2024-02-03",
    "date-time": "2024-02-03T10:11:12Z",
    "email": "a.b@example.com",
    "uuid": "6f1f6f2e-3d1c-4f5a-9b0a-2d3c4e5f6a7b",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "uri": "https://example.com/a?b=c",
    "url": "https://example.com/a?b=c",
    "time": "10:11:12Z",
    "hostname": "example.com",
}
KINDS = ("string", "integer", "number", "boolean", "array", "object")


def draw(schema: dict[str, Any], chance: random.Random, depth: int = 0) -> Any:
    """A value that a tool's schema should allow; `valid` says whether it does."""
    if schema.get("nullable") and chance.random() < 0.05:
        return None
    for key, values in (("const", [schema.get("const")]), ("enum", schema.get("enum"))):
        if key in schema:
            return json.loads(json.dumps(chance.choice(values)))
    if schema.get("anyOf"):
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "nullable")}
        member = chance.choice(schema["anyOf"])
        for key in ("properties", "required"):
            if key in rest and key in member:
                both = rest[key] | member[key] if key == "properties" else [*rest[key], *member[key]]
                member = member | {key: both}
        return draw(rest | member, chance, depth)
    kinds = schema.get("type", "string" if depth else KINDS[:4])
    kind = kinds if isinstance(kinds, str) else chance.choice(list(kinds))
    if kind == "boolean":
        return chance.random() < 0.5
    if kind in ("integer", "number"):
        return _number(schema, chance, kind == "integer")
    if kind == "array":
        least = schema.get("minItems", 0)
        count = max(least, min(schema.get("maxItems", 99), chance.choice((1, 1, 2, 3)) if depth < 6 else 0))
        made: list[Any] = []
        for _ in range(count * 5):
            item = draw(schema.get("items") or {"type": "string"}, chance, depth + 1)
            if len(made) < count and not (schema.get("uniqueItems") and item in made):
                made.append(item)
        return made
    if kind == "object":
        named = schema.get("properties", {})
        often = 0.6 if depth < 3 else 0.1 if depth < 6 else 0.0
        wanted = [name for name in named if name in schema.get("required", ()) or chance.random() < often]
        found = {name: draw(named[name], chance, depth + 1) for name in wanted}
        extra = schema.get("additionalProperties")
        lacking = schema.get("minProperties", 0) - len(found)
        if extra not in (None, False) or lacking > 0:
            for place in range(max(lacking, 0 if named else chance.choice((0, 1, 2)))):
                found[f"extra{place}"] = draw(extra if isinstance(extra, dict) else {}, chance, depth + 1)
        return found
    return _text(schema, chance)


def _number(schema: dict[str, Any], chance: random.Random, whole: bool) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", min(1, schema.get("maximum", 1))))
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 1000))
    step = schema.get("multipleOf")
    if step:
        times = chance.randint(-int(-low // step), max(int(high // step), -int(-low // step)))
        return int(times * step) if float(step).is_integer() else float(f"{times * step:.12g}")
    if whole:
        return chance.randint(int(low), max(int(low), int(high)))
    return round(chance.uniform(low, high), 3)


def _text(schema: dict[str, Any], chance: random.Random) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    if "pattern" in schema:
        try:
            return rstr.Rstr(chance).xeger(schema["pattern"])[:most].replace("\n", " ")
        except (re.error, ValueError, KeyError, RecursionError, OverflowError):
            return ""
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    size = min(most, max(least, chance.choice((1, 3, 8, 20))))
    return "".join(chance.choice(LETTERS if chance.random() < 0.5 else "abcdefgh") for _ in range(size)).strip()[:most]


def _nullable(keyword: str) -> Any:
    own = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, wanted: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
        if value is not None or schema.get("nullable") is not True:
            yield from own(validator, wanted, value, schema)

    return check


ToolValidator = extend(Draft202012Validator, {key: _nullable(key) for key in ("type", "enum", "anyOf", "const")})


class Judge:
    """Finds the declared schema of an answer, and what is wrong with the answer; `raw` is the document,
    unconverted."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.modern = str(raw.get("openapi", "")).startswith(("3.1", "3.2"))
        resource = Resource(contents=raw, specification=DRAFT202012 if self.modern else DRAFT4)
        self.registry = Registry().with_resource("urn:document", resource)

    def pointer(self, operation: Operation, status: int, media: str) -> str | None:
        """Where the schema of an answer is declared; `None` where there is none for the media type."""
        start = f"#/paths/{operation.path.replace('~', '~0').replace('/', '~1').replace('%', '%25')}"
        holder = self._followed(start)
        for code in (operation.method, operation.method.upper()):
            if isinstance(lookup(self.raw, f"{holder}/{code}"), dict):
                holder = self._followed(f"{holder}/{code}")
                break
        for code in (str(status), f"{status // 100}XX", f"{status // 100}xx", "default"):
            found = self._followed(f"{holder}/responses/{code}")
            response = lookup(self.raw, found)
            if not isinstance(response, dict):
                continue
            if "content" not in response:
                return f"{found}/schema" if "schema" in response else None
            for kind in response["content"]:
                if kind.partition(";")[0].strip().lower() == media:
                    place = f"{found}/content/{kind.replace('~', '~0').replace('/', '~1')}/schema"
                    return place if isinstance(lookup(self.raw, place), dict) else None
            return None
        return None

    def _followed(self, pointer: str) -> str:
        for _ in range(20):
            node = lookup(self.raw, pointer)
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                break
            pointer = node["$ref"]
        return pointer

    def errors(self, pointer: str, value: Any) -> list[Any]:
        """What is wrong with a value."""
        cls = OAS31Validator if self.modern else OAS30ReadValidator
        check = cls({"$ref": f"urn:document{pointer}"}, registry=self.registry)
        return [error for error in check.iter_errors(value) if not self._not_told(error)]

    def _not_told(self, error: Any) -> bool:
        """Whether all that is wrong is that a required property is missing which is only written."""
        if not self.modern or error.validator != "required":
            return False
        missing = [name for name in error.validator_value if name not in error.instance]
        holders = [error.schema, *(part for part in error.schema.get("allOf", ()) if isinstance(part, dict))]
        named = {name: part for holder in holders for name, part in (holder.get("properties") or {}).items()}
        return all(isinstance(named.get(name), dict) and named[name].get("writeOnly") is True for name in missing)


def overlapping(error: Any) -> bool:
    """Whether all that is wrong is that more than one alternative of a `oneOf` fits, here or below."""
    if error.validator == "oneOf" and "valid under each" in error.message:
        return True
    return error.validator in ("oneOf", "anyOf") and any(overlapping(inner) for inner in error.context)
