"""Converts the schemas of an OpenAPI document, and the tags of their discriminators, to JSON Schema 2020-12."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import chain, count
from typing import Any

import jsonschema_rs

from .document import MAX_DEPTH, is_modern, listed, lookup, mapping, text

MAX_HEIRS = 20  # of one schema that are alternatives; of more, only the tags are
MAX_PARTS = 256  # references that one schema is spread over: each schema of a chain reads all behind it
MAX_DEFINITIONS = 1_000  # schemas in which names are looked for; what a tool shows leads to fewer

Check = jsonschema_rs.Draft202012Validator

# Types in lower case, with common mistakes of published documents, and what their authors meant.
MEANT = {
    **{kind: kind for kind in ("string", "number", "integer", "boolean", "array", "object", "null")},
    **dict.fromkeys(("int", "int32", "int64", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("str", "text", "date", "datetime", "date-time", "file"), "string"),
    **{"bool": "boolean", "list": "array", "dict": "object", "map": "object"},
}
BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains")
# Keywords that hold a schema, a list of schemas, or schemas by name.
ONE = ("items", "not", "additionalProperties", "propertyNames", "contains", "if", "then", "else")
SAME = ("allOf", "anyOf", "oneOf")
MANY = (*SAME, "prefixItems")
NAMED = ("properties", "patternProperties", "dependentSchemas")
OPEN = "\0open"  # among the hidden names of a schema: others say more of the same object, so it is not closed

# Not enforced on requests: callers write times without a zone and addresses with spaces.
CHECKED_IN_REQUESTS = ("date", "email", "ipv4", "ipv6", "uuid")


def to_json_schema(document: dict[str, Any], schema: Any, request: bool = False) -> dict[str, Any]:
    """Convert a schema of a document to self-contained, valid JSON Schema 2020-12, with references under `$defs`.

    Invalid parts are fixed if their meaning is plain (`"type": "int"`, `nullable`) and dropped otherwise. A dangling
    reference allows anything.

    For a `request`, `readOnly` rather than `writeOnly` properties are dropped, formats that callers often violate are
    not enforced (`x-format`), and alternatives may overlap (`anyOf` for `oneOf`).

    Example:

    ```python
    >>> to_json_schema({}, {"type": "int", "nullable": True, "pattern": "("})
    {'type': ['integer', 'null']}
    ```
    """
    definitions: Definitions = getattr(document, "converted", {}).setdefault(request, Definitions(document, request))
    root = definitions.convert(schema, 0)
    root = {"not": {}} if root is False else {} if root is True else root
    return root | {"$defs": definitions} if references(root) else root


def map_subschemas(node: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    def changed(key: str, value: Any) -> Any:
        if key in ONE:
            return change(value)
        if key in MANY and isinstance(value, list):
            return [change(part) for part in value]
        if key in NAMED and isinstance(value, dict):
            return {name: change(part) for name, part in value.items()}
        return value

    return {key: changed(key, value) for key, value in node.items()}


def subschemas(node: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    map_subschemas(node, found.append)
    return found


def walk(node: Any, follow: Callable[[str], Any] | None = None) -> Iterator[dict[str, Any]]:
    """A schema and all in it, depth first; with `follow`, which looks a reference up, what it refers to as well."""
    left, seen = [node], set[str]()
    while left:
        if isinstance(part := left.pop(), dict):
            yield part
            ref = part.get("$ref")
            if follow is not None and isinstance(ref, str) and ref not in seen and len(seen) < MAX_DEFINITIONS:
                seen.add(ref)
                left.append(follow(ref))
            left += reversed(subschemas(part))


def references(node: Any) -> set[str]:
    refs = [part.get("$ref") for part in walk(node)]
    return {ref.rsplit("/", 1)[-1] for ref in refs if isinstance(ref, str)}


class Definitions(dict[str, Any]):
    """The schemas that others refer to, each converted on first access."""

    def __init__(self, document: dict[str, Any], request: bool) -> None:
        super().__init__()
        self.document, self.request = document, request
        self.flag = "readOnly" if request else "writeOnly"
        self.modern = is_modern(document)
        self._names: dict[tuple[str, frozenset[str]], str] = {}
        self.origins: dict[str, str] = {}  # what each definition is made of, by the reference to it
        self.flat: dict[str, dict[str, Any]] = {}  # see `describe`
        self._waiting: dict[str, tuple[Any, str, frozenset[str]]] = {}
        self._references: dict[str, set[str]] = {}
        self.heirs = cache(partial(heirs_of, document))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._waiting

    def __missing__(self, name: str) -> Any:
        target, ref, hidden = self._waiting.pop(name)
        self[name] = {}  # or another could take the name meanwhile
        self[name] = made = self.convert(target, 0, hidden)
        tag = inherited_tag(self.document, target, ref)
        if tag and not tag.keys() & (hidden | hidden_names(self.document, target, self.flag)):
            self[name] = made = {"properties": tag, "allOf": [made]}
        return made

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def reachable(self, node: Any) -> dict[str, Any]:
        found, left = dict[str, Any](), list(references(node))
        while left:
            if (name := left.pop()) not in found:
                found[name] = self.get(name, {})
                if name not in self._references:
                    self._references[name] = references(found[name])
                left.extend(self._references[name])
        return found

    def refer(self, ref: str, hidden: frozenset[str]) -> dict[str, Any]:
        """A reference to a definition; a dangling one allows anything."""
        target = lookup(self.document, ref)
        last = ref.rsplit("/", 1)[-1]
        if not isinstance(target, dict):
            return {"description": f"{last}."} if self.request else {}
        if (ref, hidden) not in self._names:
            base = re.sub(r"[^A-Za-z0-9_.-]", "_", last) or "_"
            names = chain([base], (f"{base}_{number}" for number in count(2)))
            name = next(name for name in names if name not in self)
            self._names[ref, hidden], self.origins[f"#/$defs/{name}"] = name, ref
            self._waiting[name] = target, ref, hidden
        return {"$ref": f"#/$defs/{self._names[ref, hidden]}"}

    def convert(self, node: Any, depth: int, hidden: frozenset[str] = frozenset(), inherited: bool = False) -> Any:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict) or depth > MAX_DEPTH:
            return {}
        if isinstance(node.get("$ref"), str):
            heirs = self.heirs(node["$ref"]) if self.request and not inherited else None
            found = self.convert(heirs, depth + 1, hidden) if heirs else self.refer(node["$ref"], hidden)
            beside = {key: value for key, value in node.items() if key != "$ref"}
            # Keywords beside a reference count from OpenAPI 3.1 on.
            rest = self.convert(beside, depth + 1, hidden) if self.modern else {}
            if self.request and isinstance(node.get("description"), str):
                found = found | {"description": node["description"]}
                rest.pop("description", None)
            return {"allOf": [found, rest]} if rest else found
        if self.modern and not self.request and "nullable" in node:  # no keyword of OpenAPI 3.1
            node = {key: value for key, value in node.items() if key != "nullable"}
        node = tagged(self.document, node)
        hidden |= hidden_names(self.document, node, self.flag)
        parts = [(part, mapping(part.get("properties")).keys()) for part in parts_of_schema(self.document, node)]
        every = {name for _, names in parts for name in names}
        if any(part.get("additionalProperties") is False and every - names for part, names in parts):
            hidden |= {OPEN}  # some generators close each of them against the others
        found = _plain_keywords(node, self.request, hidden)
        for key in ("example", "examples", "default"):
            if isinstance(found.get(key), dict | list):
                shown = {"items": node} if key == "examples" else node
                found[key] = without_hidden(self.document, shown, found[key], self.flag)
        for key in ONE:
            if isinstance(node.get(key), dict | bool) and not (node[key] is False and OPEN in hidden):
                found[key] = self.convert(node[key], depth + 1)
        for key in MANY:
            if members := listed(node.get(key)):
                inner = hidden if key in SAME else frozenset()
                found[key] = [self.convert(member, depth + 1, inner, key == "allOf") for member in members]
        if self.request and "oneOf" in found:
            # Overlapping alternatives are a mistake of the document; tools cannot express that exactly one must fit.
            either = {"anyOf": found.pop("oneOf")}
            found |= {"allOf": [*found.get("allOf", ()), either]} if "anyOf" in found else either
        for key in NAMED:
            members = {name: self.convert(member, depth + 1) for name, member in mapping(node.get(key)).items()}
            if key == "properties":
                members = {name: member for name, member in members.items() if name not in hidden}
            if key == "patternProperties":
                members = {name: member for name, member in members.items() if is_pattern(name)}
            found |= {key: members} if members else {}
        if found.get("additionalProperties") is False and "required" in found and "patternProperties" not in found:
            # A required property is allowed even if the document does not describe it.
            properties = found.setdefault("properties", {})
            found["properties"] = properties | {name: True for name in found["required"] if name not in properties}
        composed, nullable = any(key in found for key in MANY), node.get("nullable") is True
        if "type" not in found and not composed and (mapping(node.get("properties")) or "items" in found):
            kind = "object" if mapping(node.get("properties")) else "array"
            found["type"] = [kind, "null"] if nullable else kind
        if self.request and nullable and "type" not in found:
            return {"anyOf": [found, {"type": "null"}]} if composed else found | {"nullable": True}
        return found


def _plain_keywords(node: dict[str, Any], request: bool, hidden: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    declared, nullable = node.get("type"), node.get("nullable") is True
    named = (MEANT.get(str(kind).lower()) for kind in (declared if isinstance(declared, list) else [declared]))
    kinds = list(filter(None, named))
    if kinds := list(dict.fromkeys([*kinds, "null"] if kinds and nullable else kinds)):
        found["type"] = kinds[0] if len(kinds) == 1 else kinds
    if isinstance(node.get("enum"), list) and node["enum"]:
        meant = [_of_type(value, kinds) for value in node["enum"]]
        values = list({json.dumps(value, sort_keys=True): value for value in meant}.values())
        found["enum"] = [*values, None] if nullable and None not in values else values
    found |= {key: node[key] for key, fits in PLAIN.items() if key in node and fits(node[key])}
    if "pattern" in found:  # some are written as in JavaScript, between slashes
        found["pattern"] = re.sub(r"^/(\^.*\$)/$", r"\1", found["pattern"], flags=re.DOTALL)
    for bound, exclusive in BOUNDS:  # OpenAPI 3.0 has `exclusiveMinimum: true` beside `minimum`
        if node.get(exclusive) is True and bound in found:
            found[exclusive] = found.pop(bound)
    if needed := [name for name in name_list(node.get("required")) if name not in hidden]:
        found["required"] = needed
    if dependents := mapping(node.get("dependentRequired")):
        needs = {name: [one for one in name_list(needed) if one not in hidden] for name, needed in dependents.items()}
        found["dependentRequired"] = needs
    if isinstance(node.get("format"), str):
        found["format" if not request or node["format"] in CHECKED_IN_REQUESTS else "x-format"] = node["format"]
    elif request and ("contentMediaType" in node or declared == "file"):
        found["x-format"] = "binary"
    if isinstance(node.get("description"), str):  # in answers it says what a made value is to be
        found["description"] = node["description"] if request else node["description"][:500]
    return found


def _of_type(value: Any, kinds: list[str]) -> Any:
    """A value of an enumeration as its type has it: YAML's `1` is `"1"` where texts are enumerated."""
    types = {*kinds} - {"null"}
    if types == {"string"} and isinstance(value, bool | int | float):
        return json.dumps(value)
    numeric = isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", value)
    return json.loads(value) if numeric and types and types <= {"integer", "number"} else value


def name_list(value: Any) -> list[str]:
    return list(dict.fromkeys(name for name in listed(value) if isinstance(name, str)))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


@lru_cache(maxsize=4096)
def is_pattern(text: str) -> bool:
    with suppress(jsonschema_rs.ValidationError, ValueError):
        return bool(Check({"pattern": text}))
    return False


# What the value of a plain keyword has to be.
PLAIN: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("const", "example", "default"), lambda value: True),
    **dict.fromkeys(SIZES, lambda value: type(value) is int and value >= 0),
    **dict.fromkeys(chain.from_iterable(BOUNDS), _is_number),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "uniqueItems": lambda value: value is True,
    "pattern": lambda value: isinstance(value, str) and is_pattern(value),
    "xml": lambda value: isinstance(value, dict),
    "examples": lambda value: isinstance(value, list) and bool(value),
}


def validator(root: dict[str, Any]) -> Check:
    """A validator for a schema from [`to_json_schema`]. It checks formats and fetches nothing."""
    if isinstance(definitions := root.get("$defs"), Definitions):
        root = {key: value for key, value in root.items() if key != "$defs"}
        root |= {"$defs": definitions.reachable(root)}
    try:
        return Check(root, validate_formats=True, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        # Still invalid after conversion: nothing in this schema can be checked.
        return Check({})


def without_hidden(document: dict[str, Any], schema: Any, value: Any, flag: str = "writeOnly") -> Any:
    """An example of a schema without the properties that have a flag, `readOnly` or `writeOnly`."""
    parts = list(parts_of_schema(document, schema))
    if isinstance(value, list):
        items = next((part["items"] for part in parts if "items" in part), None)
        return [without_hidden(document, items, item, flag) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {name: inner for part in parts for name, inner in mapping(part.get("properties")).items()}
    shown = value.keys() - hidden_names(document, schema, flag)
    return {key: without_hidden(document, fields.get(key), value[key], flag) for key in value if key in shown}


def hidden_names(document: dict[str, Any], schema: Any, flag: str) -> frozenset[str]:
    """Names of an object's properties that have a flag, `readOnly` or `writeOnly`, in any of its parts."""
    parts = (mapping(part.get("properties")) for part in parts_of_schema(document, schema))
    fields = ((name, parts_of_schema(document, inner)) for part in parts for name, inner in part.items())
    return frozenset(name for name, inner in fields if any(part.get(flag) is True for part in inner))


def parts_of_schema(document: dict[str, Any], schema: Any, seen: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """A schema, what it refers to and the members of its `allOf`; not what is behind references `seen` before."""
    left, followed = [schema], set(seen)
    while left and len(followed) < MAX_PARTS:
        if isinstance(part := left.pop(), dict):
            yield part
            left += reversed(listed(part.get("allOf")))
            if (ref := text(part.get("$ref"))) and ref not in followed:
                followed.add(ref)
                left.append(lookup(document, ref))


def heirs_of(document: dict[str, Any], ref: str) -> dict[str, Any] | None:
    """A schema that others inherit by `allOf` and its discriminator, as the alternatives that these are."""
    target = mapping(lookup(document, ref))
    discriminator = mapping(target.get("discriminator"))
    tags_to, found = mapping(discriminator.get("mapping")).values(), [ref]
    if not text(discriminator.get("propertyName")) or target.get("oneOf") or target.get("anyOf"):
        return None
    schemas = mapping(mapping(document.get("components")).get("schemas")).items()
    parts = {f"#/components/schemas/{name}": listed(mapping(each).get("allOf")) for name, each in schemas}
    for one in found:
        found += [heir for heir in parts if heir not in found and {"$ref": one} in parts[heir]]
        if max(len(found), len(tags_to)) > MAX_HEIRS:  # some documents have thousands
            return None
    named = dict.fromkeys(to if "/" in text(to) else f"#/components/schemas/{to}" for to in tags_to) or found
    if len(found) == 1 or not all(isinstance(lookup(document, heir), dict) for heir in named):
        return None
    return {"oneOf": [{"$ref": heir} for heir in named], "discriminator": discriminator}


def tagged(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A schema with a `discriminator`, each alternative bound to its tags."""
    discriminator = mapping(node.get("discriminator"))
    name, tags_to = discriminator.get("propertyName"), mapping(discriminator.get("mapping"))
    if not isinstance(name, str):
        return node
    found = {key: value for key, value in node.items() if key != "discriminator"}

    def bound(member: Any) -> Any:
        ref = mapping(member).get("$ref")
        if not isinstance(ref, str):
            return member
        tags = _tags(document, member, ref, name, tags_to)
        return {"allOf": [member, {"type": "object", "required": [name], "properties": {name: {"enum": tags}}}]}

    alternatives = [key for key in ("oneOf", "anyOf") if isinstance(node.get(key), list)]
    found |= {key: [bound(member) for member in node[key]] for key in alternatives}
    properties = mapping(found.get("properties"))
    own = mapping(properties.get(name))
    if not alternatives and tags_to and not {"$ref", "enum", "const"} & own.keys():
        found["properties"] = properties | {name: own | {"enum": list(tags_to)}}
    return found


def _tags(document: dict[str, Any], member: Any, ref: str, name: str, tags_to: dict[str, Any]) -> list[Any]:
    """The values of a discriminator's property that stand for one schema: those mapped to it, else its name."""
    tags = [tag for tag, to in tags_to.items() if ref in (to, f"#/components/schemas/{to}")]
    # Azure's documents name the tag in the schema itself.
    tags = tags or [text(mapping(lookup(document, ref)).get("x-ms-discriminator-value")) or ref.rsplit("/", 1)[-1]]
    # Keep what the alternative itself says; of several values of its own, those that map to it.
    parts = (mapping(part.get("properties")).get(name) for part in parts_of_schema(document, member))
    own = sorted(filter(None, map(mapping, parts)), key=lambda schema: not {"enum", "const"} & schema.keys())
    values = _values(document, own[0], 0) if own else None
    return tags if values is None else [tag for tag in tags if tag in values] or values


def inherited_tag(document: dict[str, Any], target: dict[str, Any], ref: str) -> dict[str, Any]:
    """The property that an `allOf` part's discriminator reads, with this schema's tag, to be shown and made."""
    for part in parts_of_schema(document, target, (ref,)):
        discriminator = mapping(part.get("discriminator"))
        name, tags_to = discriminator.get("propertyName"), mapping(discriminator.get("mapping"))
        if isinstance(name, str) and not (part.get("oneOf") or part.get("anyOf")):
            abstract = part is target and bool(tags_to)  # its tags are all shown
            tags = [] if abstract else _tags(document, target, ref, name, tags_to)
            return {name: {"x-tag": tags[0]} | ({} if part is target else {"x-heir": True})} if tags else {}
    return {}


def _values(document: dict[str, Any], schema: Any, depth: int) -> list[Any] | None:
    """The values that a schema enumerates, also through references and alternatives; `None` for any value."""
    parts = list(parts_of_schema(document, schema)) if depth < 8 else []
    for part in parts:
        if "const" in part or isinstance(part.get("enum"), list):
            return [part["const"]] if "const" in part else [value for value in part["enum"] if value is not None]
    for members in (listed(part.get(key)) for part in parts for key in ("anyOf", "oneOf")):
        named = [values for member in members if (values := _values(document, member, depth + 1)) is not None]
        if named:
            return [value for values in named for value in values]
    return None
