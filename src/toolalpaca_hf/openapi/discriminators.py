"""Which alternative of a schema a value is: the tags that a `discriminator` gives them."""

from collections.abc import Iterator
from typing import Any

from .document import listed, lookup, mapping, text


def parts_of_schema(document: dict[str, Any], schema: Any, seen: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """A schema, what it refers to and the members of its `allOf`; not what is behind references `seen` before."""
    left, followed = [schema], set(seen)
    while left:
        if isinstance(part := left.pop(), dict):
            yield part
            left += reversed(listed(part.get("allOf")))
            if (ref := text(part.get("$ref"))) and ref not in followed:
                followed.add(ref)
                left.append(lookup(document, ref))


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
    tags = tags or [ref.rsplit("/", 1)[-1]]
    # Keep what the alternative itself says; of several values of its own, those that map to it.
    parts = (mapping(part.get("properties")).get(name) for part in parts_of_schema(document, member))
    own = sorted(filter(None, map(mapping, parts)), key=lambda schema: not {"enum", "const"} & schema.keys())
    values = _values(document, own[0], 0) if own else None
    return tags if values is None else [tag for tag in tags if tag in values] or values


def inherited_tag(document: dict[str, Any], target: dict[str, Any], ref: str) -> dict[str, Any]:
    """The property that a discriminator in one of a schema's `allOf` parts reads, with this schema's own tag.

    The tag is no constraint, but what is shown and made: the name may be that of a schema which inherits from this.
    """
    for part in parts_of_schema(document, target, (ref,)):
        discriminator = mapping(part.get("discriminator"))
        name, tags_to = discriminator.get("propertyName"), mapping(discriminator.get("mapping"))
        if isinstance(name, str) and not (part.get("oneOf") or part.get("anyOf")):
            abstract = part is target and bool(tags_to)  # its tags are all shown
            tags = [] if abstract else _tags(document, target, ref, name, tags_to)
            return {name: {"x-tag": tags[0]}} if tags else {}
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
