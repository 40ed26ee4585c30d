"""Merges schemas, and coerces values to fit a schema if no meaning is lost."""

import json
import math
import re
from collections.abc import Callable, Set
from contextlib import suppress
from functools import lru_cache
from operator import or_
from typing import Any

from ..storage import strict_json
from .document import mapping
from .schema import Check, validator

MAX_ALTERNATIVES, MAX_NESTED = 64, 12  # of a value; tried for an object, whose fields may have as many again
MAX_PROBLEMS = 5  # of one value that are named: a model fixes a few at a time
Refs = tuple[str, ...]
COMPOSED = ("allOf", "anyOf", "oneOf", "if", "$ref")
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")


def merge_schemas(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """A schema for what both schemas allow, as far as one can be expressed; annotations come from the first."""
    joined = {key: MERGED[key](first[key], second[key]) for key in first.keys() & second.keys() & MERGED.keys()}
    return first | second | first | joined


def _by_name(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {name: _both(first.get(name, True), second.get(name, True)) for name in first | second}


def _both(first: Any, second: Any) -> Any:
    if first is True or first == second:
        return second
    if second is True:
        return first
    return False if first is False or second is False else {"allOf": [first, second]}


def _common_types(first: Any, second: Any) -> Any:
    firsts, seconds = ([kinds] if isinstance(kinds, str) else kinds for kinds in (first, second))
    # Every integer is a number.
    wide = [[*kinds, *(["integer"] if "number" in kinds else [])] for kinds in (firsts, seconds)]
    found = [kind for kind in dict.fromkeys(wide[0]) if kind in wide[1] and kind in (*firsts, *seconds)]
    return found[0] if len(found) == 1 else found or first


MERGED: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("properties", "patternProperties"), _by_name),
    **dict.fromkeys(("items", "additionalProperties"), _both),
    "required": lambda first, second: list(dict.fromkeys([*first, *second])),
    "enum": lambda first, second: [value for value in first if value in second] or first,
    "type": _common_types,
    "dependentRequired": or_,
}


def target_of(root: dict[str, Any], ref: str) -> Any:
    return root.get("$defs", {}).get(ref.rsplit("/", 1)[-1], {})


def repeats(schema: Any, open_refs: Refs, root: dict[str, Any]) -> bool:
    """Whether a schema leads straight back into one that is being made."""
    if not isinstance(schema, dict) or not open_refs:
        return False
    if "$ref" in schema:
        return schema["$ref"] in open_refs or mapping(target_of(root, schema["$ref"])).get("$ref") in open_refs
    if any(repeats(member, open_refs, root) for member in (schema.get("items"), *schema.get("allOf", ()))):
        return True
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return bool(choices) and all(repeats(member, open_refs, root) for member in choices)


class SchemaMerger:
    """Follows the references of a schema from [`to_json_schema`], and merges its `allOf`, `anyOf` and `oneOf`."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root

    def merged(
        self, schema: Any, open_refs: Refs = (), attempt: int = 0, short: bool = False
    ) -> tuple[dict[str, Any], Refs]:
        """A schema without `$ref`, `allOf`, `anyOf` and `oneOf`, and the references that were followed for it."""
        schema, followed = mapping(schema), ()
        while "$ref" in schema and schema["$ref"] not in followed:
            followed += (schema["$ref"],)
            beside = {key: value for key, value in schema.items() if key not in ("$ref", "$defs")}
            target = mapping(target_of(self.root, schema["$ref"]))
            schema = {"allOf": [beside, target]} if beside else target
        open_refs += followed
        if schema.keys().isdisjoint(COMPOSED):
            return schema, open_refs
        node = {key: value for key, value in schema.items() if key not in COMPOSED}
        parts = list(schema.get("allOf", ()))
        either = [schema[key] for key in ("anyOf", "oneOf") if schema.get(key)]
        parts += [self._choice(choices, open_refs, attempt, short) for choices in either]
        if isinstance(schema.get("if"), dict):  # both readings can be right; validation of the whole decides
            parts += [schema.get("else", {})] if attempt % 2 else [schema["if"], schema.get("then", {})]
        for part in parts if len(open_refs) < 60 else ():
            flat, open_refs = self.merged(part, open_refs, attempt, short)
            node = merge_schemas(node, flat)
        return node, open_refs

    def node(self, schema: Any, *path: str) -> dict[str, Any]:
        """A merged schema, or that of the field to which the names of a path lead."""
        node = self.merged(schema)[0]
        for name in path:
            node = self.merged(node.get("properties", {}).get(name, {}))[0]
        return node

    def _choice(self, choices: list[Any], open_refs: Refs, attempt: int, short: bool) -> Any:
        kept = [choice for choice in choices if not repeats(choice, open_refs, self.root)] or choices
        kept = [choice for choice in kept if isinstance(choice, dict) and choice.get("type") != "null"] or kept
        if short:
            kept = [choice for choice in choices if isinstance(choice, dict) and "$ref" not in choice] or kept
        return kept[attempt % len(kept)]


def merged_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The top level of a schema with what it refers to, its `allOf` and the first of its alternatives."""
    return SchemaMerger(schema).node(schema)


def alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema once for each alternative at its top level, references followed."""
    if schema.keys().isdisjoint(COMPOSED):
        return [schema]
    found, merger = list[dict[str, Any]](), SchemaMerger(schema)
    for attempt in range(MAX_ALTERNATIVES):
        node, _ = merger.merged(schema, (), attempt)
        if node in found:
            break
        found.append(node)
    return found


def types_of(node: dict[str, Any]) -> list[str]:
    kinds = node.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def kinds_of(schema: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(kind for node in alternatives(schema) for kind in types_of(node)))


def fields_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: part for node in alternatives(schema) for name, part in node.get("properties", {}).items()}


def part_of(root: dict[str, Any], schema: Any) -> dict[str, Any]:
    return mapping(schema) | {"$defs": root.get("$defs", {})}


def coerce(value: Any, schema: dict[str, Any], wire: bool = False) -> Any:
    """Coerce a value to a schema if no meaning is lost; what does not fit stays unchanged, for validation to report.

    On the `wire` (a query, header, form, XML or CSV) leaves are untyped texts: `"1"` may be True, `""` null, `"a,b"` a
    list; where one value is wanted, the last of a list counts.

    Example:

    ```python
    >>> coerce({"ids": ["1", 2]}, {"properties": {"ids": {"type": "array", "items": {"type": "integer"}}}})
    {'ids': [1, 2]}
    ```
    """
    nodes = alternatives(schema)
    if isinstance(value, str) and wire:
        nodes = [one for node in nodes for one in _by_type(node)]
    elif isinstance(value, dict):
        nodes = [node for node in nodes if not _tagged_otherwise(value, node)] or nodes
        nodes.sort(key=lambda node: len(value.keys() - node.get("properties", {}).keys()))
        nodes = nodes[:MAX_NESTED]
    elif isinstance(value, list) and wire:  # several can only be a list
        nodes.sort(key=lambda node: "array" not in types_of(node))
    made = [(_coerced(value, node, schema, wire), node) for node in nodes]
    if wire and value in ("", "null") and {*COMPOSED} & schema.keys():  # `null` is none of the alternatives
        made.append((None, {}))
    if len(made) == 1:
        return made[0][0]
    check = validator(schema)
    valid = [(option, node) for option, node in [*made, (value, {})] if is_valid(check, option)]
    for option, node in valid if not wire else ():  # what fits as it is, unless another knows more of its fields
        known = not isinstance(value, dict) or value.keys() <= node.get("properties", {}).keys()
        if known and option == value and type(option) is type(value):
            return option
    return (valid or made)[0][0]


def _by_type(node: dict[str, Any]) -> list[dict[str, Any]]:
    """A schema of a list or a text once for each type: what a text is written of, only validation can tell."""
    kinds = types_of(node)
    return [node | {"type": kind} for kind in sorted(kinds)] if {"array", "string"} <= {*kinds} else [node]


def _tagged_otherwise(value: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether an object has a text that is none of those which a schema enumerates for it."""
    words = ((word, mapping(node.get("properties", {}).get(key))) for key, word in value.items())
    choices = ((word, part.get("enum", [part.get("const", word)])) for word, part in words if isinstance(word, str))
    return any(word not in map(to_text, allowed) for word, allowed in choices)


def is_valid(check: Check, value: Any) -> bool:
    """Whether a value passes a check; one that cannot be checked does not."""
    with suppress(ValueError, RecursionError):
        return check.is_valid(value)
    return False


def _coerced(value: Any, node: dict[str, Any], root: dict[str, Any], wire: bool) -> Any:
    kinds = types_of(node)
    if wire and isinstance(value, list) and value and "array" not in kinds:
        return coerce(value[-1], part_of(root, node), wire)
    items = part_of(root, node.get("items", {}))
    # How often one value would have to be wrapped is unknown where lists hold lists only.
    if "array" in kinds and not isinstance(value, list) and {*kinds_of(items)} - {"null"} == {"array"}:
        if isinstance(parsed := json_value(value), list):
            value = parsed if all(isinstance(part, list) for part in parsed) else [parsed]
        kinds = [kind for kind in kinds if kind != "array"]
    if wire and isinstance(value, dict) and ("array" in kinds or not (kinds or "properties" in node)):
        value = _items_of(value)
    if isinstance(value, str) and wire and "array" in kinds:
        value = _list_of(value, items, root)
    fits = not isinstance(value, str) if wire else not kinds or is_valid(_of_types(*kinds), value)
    if value is not None and not fits:
        made = [one for kind in kinds for one in _converted(value, kind, wire)]
        value = next((one for one in made if one in node.get("enum", made)), made[0] if made else value)
    if type(value) is float and value.is_integer() and "integer" in kinds and "number" not in kinds:
        value = int(value)
    if isinstance(value, list) and {"items", "prefixItems"} & node.keys():
        first = [part_of(root, part) for part in node.get("prefixItems", [])[: len(value)]]
        return [coerce(item, first[n] if n < len(first) else items, wire) for n, item in enumerate(value)]
    if isinstance(value, dict):
        properties = node.get("properties", {})  # other names may be those of a pattern
        extra = {} if "patternProperties" in node else node.get("additionalProperties", {})
        return {key: coerce(item, part_of(root, properties.get(key, extra)), wire) for key, item in value.items()}
    allowed = node.get("enum", [node["const"]] if "const" in node else [])
    if isinstance(value, str | int | float) and not kinds and value not in allowed:
        return next((member for member in allowed if to_text(member) == to_text(value)), value)
    return value


def _items_of(value: dict[str, Any]) -> Any:
    """The list that `name[0]=a&name[1]=b` or `name[]=a` spells out; anything else unchanged."""
    if list(value) == [""]:
        return value[""] if isinstance(value[""], list) else [value[""]]
    if value and all(key.isdecimal() and len(key) < 5 for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return value


def _list_of(text: str, items: dict[str, Any], root: dict[str, Any]) -> list[Any]:
    """Parse an untyped text as a list: JSON, a single item, or comma-separated items."""
    as_json, whole, check = json_value(text), [coerce(text, items, wire=True)], validator(root)
    if isinstance(as_json, list) and (is_valid(check, as_json) or not is_valid(check, whole)):
        return as_json
    if "," not in text or is_valid(check, whole):
        return whole if text or is_valid(validator(items), whole[0]) else []
    return text.split(",")


@lru_cache
def _of_types(*kinds: str) -> Check:
    return Check({"type": list(kinds)})


def _converted(value: Any, kind: str, wire: bool) -> list[Any]:
    """The value as another type; empty if something would be guessed or lost."""
    if kind == "array":
        parsed = json_value(value)
        return [parsed if isinstance(parsed, list) else [value]]
    if kind == "object":
        parsed = {} if wire and value == "" else json_value(value)
        return [parsed] if isinstance(parsed, dict) else []
    if kind == "string":
        return [to_text(value)] if isinstance(value, str | bool | int | float) else []
    word = value.strip().lower() if isinstance(value, str) else ""
    if kind == "null":
        return [None] if wire and value in ("", "null") else []
    if kind == "boolean":
        known = {"true": True, "false": False} | ({"1": True, "0": False} if wire else {})
        return [known[word]] if word in known else []
    if kind not in ("integer", "number") or not _NUMBER.fullmatch(word):
        return []
    if re.fullmatch(r"[+-]?[0-9]+", word):
        return [int(word)]
    number = float(word)
    right = number.is_integer() if kind == "integer" else math.isfinite(number)  # infinity is no integer
    return [int(number) if kind == "integer" else number] if right else []


def json_value(text: Any) -> Any:
    """The value of JSON text; `None` for anything else."""
    with suppress(ValueError, TypeError, RecursionError):
        return sendable_json(text)


def sendable_json(text: Any) -> Any:
    """Parse JSON text; an error too for half a surrogate pair, which cannot be sent."""
    value = strict_json(text)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def to_text(value: Any) -> str:
    """A value as written in a URL or a header: text unchanged, `true` for `True`, nested values as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def problems(value: Any, check: Check, name: str = "", to_come: Set[str] = frozenset()) -> list[str]:
    """Validation errors as sentences that tell a model what to change; `to_come` properties are filled in later."""
    try:
        errors = sorted(check.iter_errors(value), key=lambda error: [str(part) for part in error.instance_path])
    except (ValueError, RecursionError):
        return [f"{f'`{name}`' if name else 'The input'} cannot be read."]
    missing: dict[str, dict[str, None]] = {}
    found: dict[str, str] = {}
    for error in map(_nearest, errors):
        place, required = name, error.kind.name == "required"
        for part in [*error.instance_path, *([error.kind.value] if required else ())]:
            place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
        if not required:
            sentence = _sentence(error, f"`{place}`" if place else "The input")
            found.setdefault(sentence, sentence)
        elif error.instance_path or error.kind.value not in to_come:
            names = missing.setdefault(str(error.instance_path), {})
            names[f"`{place}`"] = None
            found[f"required {error.instance_path}"] = f"Missing required {', '.join(names)}."
    return list(found.values())[:MAX_PROBLEMS]


def _nearest(error: Any) -> Any:
    """The error inside the alternative that the value comes closest to."""
    while error.kind.name in ("anyOf", "oneOf") and (inner := [errors for errors in error.kind.value if errors]):

        def distance(errors: list[Any], here: int = len(error.instance_path)) -> tuple[bool, bool, int]:
            kinds = {(each.kind.name, len(each.instance_path) - here) for each in errors}
            return ("type", 0) in kinds, ("enum", 1) in kinds, len(errors)  # of another type, or with another tag

        error = min(inner, key=distance)[0]
    return error


def _sentence(error: Any, called: str) -> str:
    kind, said = error.kind.name, error.kind.value
    if kind == "type":
        words = " or ".join(f"an {one}" if one[0] in "aio" else f"a {one}" for one in said if one != "null")
        return f"{called} must be {words or 'null'}, not {_shown(error.instance)}."
    if kind == "enum":
        choices = ", ".join(_shown(choice) for choice in said[:30])
        more = ", ..." if len(said) > 30 else ""
        return f"{called} must be one of {choices}{more}, not {_shown(error.instance)}."
    return f"{called} is not accepted: {cut(' '.join(error.message.split()), 200)}."


def _shown(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), 120)


def cut(words: str, longest: int) -> str:
    return words if len(words) <= longest else f"{words[: longest - 3]}..."
