"""Schemas that are put together from others (`$ref`, `allOf`, `anyOf`, `oneOf`, `if`) as one."""

from typing import Any

Refs = tuple[str, ...]

LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def target(root: dict[str, Any], ref: str) -> Any:
    """What a reference of a closed schema points at."""
    return root.get("$defs", {}).get(ref.rsplit("/", 1)[-1], {})


def repeats(schema: Any, open_refs: Refs, root: dict[str, Any]) -> bool:
    """Whether a schema leads straight back into one that is being made."""
    if not isinstance(schema, dict) or not open_refs:
        return False
    if "$ref" in schema:
        ref = schema["$ref"]
        return ref in open_refs or (
            isinstance(target(root, ref), dict)
            and "$ref" in target(root, ref)
            and target(root, ref)["$ref"] in open_refs
        )
    if "items" in schema and repeats(schema["items"], open_refs, root):
        return True
    if any(repeats(member, open_refs, root) for member in schema.get("allOf", ())):
        return True
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return bool(choices) and all(repeats(member, open_refs, root) for member in choices)


class Merger:
    """Follows references and merges what a schema is put together from.

    Args:
        root (`dict`): A schema from [`closed`].
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root

    def merged(self, schema: Any, open_refs: Refs, attempt: int, short: bool) -> tuple[dict[str, Any], Refs]:
        """A schema without `$ref`, `allOf`, `anyOf` and `oneOf`, and the references that were followed for it.

        Args:
            schema (`dict` or `bool`): The schema.
            open_refs (`tuple[str, ...]`): References that are being followed already.
            attempt (`int`): Which of several alternatives to take.
            short (`bool`): Take an alternative that ends, where there is one.
        """
        if not isinstance(schema, dict):
            return {}, open_refs
        followed: Refs = ()
        while "$ref" in schema and schema["$ref"] not in followed:
            followed += (schema["$ref"],)
            beside = {key: value for key, value in schema.items() if key not in ("$ref", "$defs")}
            inner = target(self.root, schema["$ref"])
            schema = inner if isinstance(inner, dict) else {}
            if beside:
                schema = {"allOf": [beside, schema]}
        open_refs += followed
        if not any(key in schema for key in ("allOf", "anyOf", "oneOf", "if", "$ref")):
            return schema, open_refs
        node = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "oneOf", "if", "$ref")}
        parts = list(schema.get("allOf", ()))
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                parts.append(self._choice(schema[key], open_refs, attempt, short))
        if isinstance(schema.get("if"), dict):
            # Both ways can be right; which is, the validation of the whole tells.
            if attempt % 2 == 0:
                parts += [schema["if"], schema.get("then", {})]
            else:
                parts.append(schema.get("else", {}))
        if len(open_refs) < 60:
            for part in parts:
                flat, open_refs = self.merged(part, open_refs, attempt, short)
                node = both(node, flat)
        return node, open_refs

    def _choice(self, choices: list[Any], open_refs: Refs, attempt: int, short: bool) -> Any:
        real = [choice for choice in choices if isinstance(choice, dict) and choice.get("type") != "null"] or choices
        ending = [choice for choice in real if not repeats(choice, open_refs, self.root)]
        if not ending:
            ending = [choice for choice in choices if not repeats(choice, open_refs, self.root)] or choices
        if short:
            ending = [choice for choice in choices if isinstance(choice, dict) and "$ref" not in choice] or ending
        return ending[attempt % len(ending)]


def both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A schema of what two schemas allow, as far as one can be written down."""
    merged = dict(one)
    for key, value in other.items():
        if key not in merged:
            merged[key] = value
        elif key in ("properties", "patternProperties"):
            names = dict.fromkeys([*merged[key], *value])
            merged[key] = {name: _and(merged[key].get(name, True), value.get(name, True)) for name in names}
        elif key == "required":
            merged[key] = list(dict.fromkeys([*merged[key], *value]))
        elif key == "enum":
            merged[key] = [item for item in merged[key] if item in value] or merged[key]
        elif key == "type":
            merged[key] = _common(merged[key], value)
        elif key in LEAST:
            merged[key] = max(merged[key], value)
        elif key in MOST:
            merged[key] = min(merged[key], value)
        elif key in ("items", "additionalProperties"):
            merged[key] = _and(merged[key], value)
        elif key == "dependentRequired":
            merged[key] = merged[key] | value
    return merged


def _and(one: Any, other: Any) -> Any:
    if one is True or one == other:
        return other
    if other is True:
        return one
    if one is False or other is False:
        return False
    return {"allOf": [one, other]}


def _common(one: Any, other: Any) -> Any:
    first, second = ([kinds] if isinstance(kinds, str) else kinds for kinds in (one, other))
    found = [kind for kind in first if kind in second]
    if ("integer" in second and "number" in first) or ("integer" in first and "number" in second):
        found.append("integer")
    return found or one
