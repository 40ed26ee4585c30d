"""Generates realistic values from a JSON schema, the same for the same seed."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from ..openapi import SchemaMerger, is_valid, part_of, repeats, types_of, validator
from .fake_values import make_consistent, make_number, make_text
from .rng import NAMES, Rng, is_id, plain, singular, words_of

MISSING: Any = object()
UNIQUE = validator({"uniqueItems": True})
Place = tuple[str, ...]

ATTEMPTS, MAX_NODES, MAX_DEPTH, MAX_ITEMS, MAX_CHOICES = 8, 3000, 7, 1000, 100
# Keywords that say more about a value than its name.
FIXED = {"const", "enum", "example", "examples", "default", "pattern", "$ref", "allOf", "anyOf", "oneOf"}
# Types by the keywords that only they have, for schemas that name none.
TYPICAL = (
    ("object", ("properties", "required", "additionalProperties", "minProperties", "patternProperties")),
    ("array", ("items", "prefixItems", "minItems", "contains")),
    ("number", ("minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum")),
)


@dataclass(frozen=True)
class Given:
    """What an answer has to contain, as far as its schema has fields for it; keys are [`plain`] names."""

    arguments: Mapping[str, Any] = field(default_factory=dict)  # for fields at any depth, except a bare `id`
    record: Mapping[str, Any] = field(default_factory=dict)  # fields of the object that the answer is about
    about: Place = ()  # where that object is in the answer
    free: Mapping[str, Any] = field(default_factory=dict)  # its fields if its schema names none
    preset: Mapping[Place, Any] = field(default_factory=dict)  # whole parts of the answer by their place


NOTHING = Given()


class Generator:
    """Generates values that are valid for a schema from [`to_json_schema`], or the last attempt if none is found."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.merger = SchemaMerger(root)
        # Keep the schema alive, so that no later one gets the same `id()`.
        self._validators: dict[int, tuple[Any, jsonschema_rs.Draft202012Validator]] = {}

    def is_valid(self, value: Any, schema: dict[str, Any] | None = None) -> bool:
        schema = self.root if schema is None else schema
        kept = self._validators.get(id(schema))
        if kept is None:
            # Alternatives to a large object often need no reference: try them first.
            if schema is not self.root and list(schema) in (["anyOf"], ["anyOf", "description"]):
                simple = [choice for choice in schema["anyOf"] if isinstance(choice, dict) and "$ref" not in choice]
                if any(self.is_valid(value, choice) for choice in simple):
                    return True
            kept = schema, validator(schema if schema is self.root else part_of(self.root, schema))
            # Merging creates new schemas of this form for each value.
            if list(schema) != ["allOf"] or schema is self.root:
                self._validators[id(schema)] = kept
        return is_valid(kept[1], value)

    def violations(self, value: Any) -> list[str]:
        return [error.message for error in validator(self.root).iter_errors(value)]

    def __call__(self, rng: Rng, given: Given = NOTHING, schema: dict[str, Any] | None = None, name: str = "") -> Any:
        """Make a JSON value called `name`, for a part of the schema if one is passed."""
        schema = self.root if schema is None else schema
        value: Any = None
        for attempt in range(ATTEMPTS):
            # First with everything given; then without; then as little as the schema requires.
            run = _Attempt(self, given if attempt < 2 else Given(preset=given.preset), attempt)
            value = run.make(schema, rng if attempt == 0 else rng.child(f"attempt {attempt}"), name, (), 0, ())
            if self.is_valid(value, schema):
                return value
        return value


class _Attempt:
    """One attempt at a value; from the fifth on it is `bare`, with no realism beyond the schema."""

    def __init__(self, generator: Generator, given: Given, number: int) -> None:
        self.generator, self.given, self.number, self.bare = generator, given, number, number >= 4
        self.nodes_left = MAX_NODES

    def make(
        self, schema: Any, rng: Rng, name: str, place: Place | None, depth: int, open_refs: tuple[str, ...]
    ) -> Any:
        """Make a value; `place` is `None` below a list, where places have no names."""
        if place is not None and place in self.given.preset:
            return self.given.preset[place]
        self.nodes_left -= 1
        node, open_refs = self._merged(schema, place, depth, open_refs)
        if depth > 40:
            return {}
        if "const" in node:
            return node["const"]
        if "x-tag" in node and self.generator.is_valid(node["x-tag"], schema):
            return node["x-tag"]
        if "enum" in node:
            options = [value for value in node["enum"] if value is not None] or node["enum"]
            if self.number:
                options = [value for value in options if self.generator.is_valid(value, schema)] or options
            return rng.pick(options)
        example = self._example(node, schema, name, rng, place)
        if example is not MISSING:
            return example
        kinds = [kind for kind in types_of(node) if kind != "null"] or list(types_of(node))
        kinds = kinds or [next((kind for kind, keys in TYPICAL if any(key in node for key in keys)), "string")]
        match kind := kinds[self.number % len(kinds)]:
            case "object":
                return self._object(node, rng, name, place, depth, open_refs)
            case "array":
                return self._array(node, rng, name, depth, open_refs)
            case "string":
                return make_text(node, name, rng, self.bare)
            case "integer" | "number":
                return make_number(node, name, rng, kind == "integer", self.bare)
            case "boolean":
                return bool({*NAMES["affirmed"]} & set(words_of(name))) or rng.integer(0, 1) == 1

    def _merged(
        self, schema: Any, place: Place | None, depth: int, open_refs: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """A schema without alternatives: the one whose tags and other fixed values are those given."""
        merger, given = self.generator.merger, self.given.arguments.keys()
        given |= self.given.record.keys() if place is not None and place == self.given.about else set()
        found: list[tuple[int, dict[str, Any], tuple[str, ...]]] = []
        for number in range(self.number, self.number + MAX_CHOICES):
            node, refs = merger.merged(schema, open_refs, number, depth > MAX_DEPTH)
            fields = () if node is schema else node.get("properties", {}).items()
            fixed = [at for at in fields if plain(at[0]) in given and {"enum", "const"} & merger.node(at[1]).keys()]
            unlike = sum(self._given(key, part, place) is MISSING for key, part in fixed)
            if found and node == found[0][1]:  # all have been seen
                break
            found.append((unlike, node, refs))
            if not unlike:
                break
        return min(found, key=lambda one: one[0])[1:]

    def _example(self, node: dict[str, Any], schema: Any, name: str, rng: Rng, place: Place | None) -> Any:
        """The document's example; not for an id, or every item would have the same one."""
        if self.number > 1 or (is_id(name) and place is None):
            return MISSING
        examples = [node[key] for key in ("example", "default") if key in node] or node.get("examples", [])
        examples = [value for value in examples if value is not None and self.generator.is_valid(value, schema)]
        if not examples:
            return MISSING
        given = self.given.arguments or self.given.record or self.given.preset
        if place in (None, ()) and isinstance(examples[0], dict | list) and given:
            return MISSING
        return deepcopy(rng.pick(examples))

    def _object(
        self, node: dict[str, Any], rng: Rng, name: str, place: Place | None, depth: int, open_refs: tuple[str, ...]
    ) -> dict[str, Any]:
        properties, required = node.get("properties", {}), node.get("required", [])
        most = node.get("maxProperties", 10**6)
        made, own = dict[str, Any](), list[str]()
        # Required fields first, in case not all of them fit.
        names = list(properties) if most >= len(properties) else [*required]
        names += [key for key in required if key not in properties and key not in names]
        for key in names[:most] if most >= len(required) else names:
            schema = properties.get(key, self._schema_of_extra(node, key))
            exhausted = self.bare or depth > MAX_DEPTH or self.nodes_left < 0
            again = key not in required and (exhausted or repeats(schema, open_refs, self.generator.root))
            if again or schema is False:
                continue
            value = self._given(key, schema, place)
            if value is MISSING:
                called = key if plain(key) not in ("name", "code") else _whose(name, key, properties)
                inner = None if place is None else (*place, key)
                value = self.make(schema, rng.child(key), called, inner, depth + 1, open_refs)
                if isinstance(schema, dict) and not FIXED & set(schema):
                    own.append(key)
            made[key] = value
        make_consistent(made, own, properties)
        bare = self.bare or properties or made or place is None or place != self.given.about
        if not bare and node.get("additionalProperties", True) is True and most >= 100:
            made |= self.given.free
        extra = 0
        while len(made) < min(node.get("minProperties", 0), 200) and extra < 400:
            key = f"field{len(made) + extra + 1}"
            schema = self._schema_of_extra(node, key)
            extra += 1
            if schema is not False and key not in made:
                made[key] = self.make(schema, rng.child(key), key, None, depth + 1, open_refs)
        for key, dependents in node.get("dependentRequired", {}).items():
            for needed in [each for each in dependents if each not in made] if key in made else ():
                schema = properties.get(needed, {})
                made[needed] = self.make(schema, rng.child(needed), needed, None, depth + 1, open_refs)
        return made

    def _schema_of_extra(self, node: dict[str, Any], key: str) -> Any:
        patterns, extra = node.get("patternProperties", {}), node.get("additionalProperties", {})
        matching = (part for pattern, part in patterns.items() if jsonschema_rs.is_valid({"pattern": pattern}, key))
        return next(matching, {} if extra is True else extra)

    def _given(self, key: str, schema: Any, place: Place | None) -> Any:
        name, value = plain(key), MISSING
        if place is not None and place == self.given.about and name in self.given.record:
            value = self._fitted(self.given.record[name], schema)
        if value is MISSING and name in self.given.arguments and name != "id":
            value = self._fitted(self.given.arguments[name], schema)
        return value

    def _fitted(self, value: Any, schema: Any) -> Any:
        """The value converted between text and number as the schema requires."""
        if not isinstance(schema, dict):
            return value if schema is True else MISSING
        node = self.generator.merger.node(schema)
        if "x-heir" in node and node["x-tag"] != value:  # of another schema
            return MISSING
        options = [value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            options.append(str(value))
        elif isinstance(value, str) and len(value) < 20 and value.lstrip("-").isdecimal():
            options.append(int(value))
        elif isinstance(value, list) and len(value) == 1:
            options.append(value[0])
        return next((option for option in options if self.generator.is_valid(option, schema)), MISSING)

    def _array(self, node: dict[str, Any], rng: Rng, name: str, depth: int, open_refs: tuple[str, ...]) -> list[Any]:
        first, items = node.get("prefixItems", []), node.get("items", {})
        least, most = node.get("minItems", 0), node.get("maxItems", 10**6)
        if items is False:
            most = min(most, len(first))
        short = self.bare or depth > MAX_DEPTH or self.nodes_left < 0
        wanted = max(0 if self.bare else len(first), 0 if short else 3 - depth // 2)
        if not first and repeats(items, open_refs, self.generator.root):
            wanted = 0
        contained = node.get("minContains", 1) if "contains" in node else 0
        count = min(max(wanted, contained, least), most, MAX_ITEMS)
        made: list[Any] = []
        tries = 0
        while len(made) < count and tries < 4 * count + 20 and self.nodes_left > -MAX_NODES:
            tries += 1
            place = len(made)
            schema = first[place] if place < len(first) else items
            if 0 <= place - len(first) < contained:
                schema = {"allOf": [items, node["contains"]]}
            key = f"{place}" if tries == place + 1 else f"{place} again {tries}"
            value = self.make(schema, rng.child(key), name, None, depth + 1, open_refs)
            if not node.get("uniqueItems") or is_valid(UNIQUE, [*made, value]):
                made.append(value)
        return made


def _whose(owner: str, key: str, properties: Mapping[str, Any]) -> str:
    """A `name` or `code` with its owner, since a country's name is not a person's."""
    if {*NAMES["personal"]} & {plain(name) for name in properties}:
        return f"person {key}"
    words = words_of(owner)
    return " ".join([*words[:-1], singular(words[-1]), key]) if words else key
