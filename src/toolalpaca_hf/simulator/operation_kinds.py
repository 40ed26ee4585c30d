"""Determines what an operation does to which collection: `DELETE /deletePet?petId=` deletes from `pet`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..openapi import merged_schema
from .generate import Place
from .operations import SimulatedOperation
from .rng import NAMES, is_id, plain, singular, words_of

CREATE, UPDATE, DELETE, READ = (set(NAMES[action]) for action in ("create", "update", "delete", "read"))
WRAPPERS = NAMES["wrappers"]
VERBS = CREATE | UPDATE | DELETE | READ


@lru_cache(maxsize=65536)
def noun_of(segment: str) -> str:
    """The noun of a path segment, singular and without its verb: `listRoles` gives `role`."""
    words = words_of(segment)
    while len(words) > 1 and words[0] in VERBS:
        words = words[1:]
    if len(words) == 1 and words[0] in (READ | DELETE | UPDATE):
        return ""
    return "".join([*words[:-1], singular(words[-1])]) if words else segment


def parts_of(segments: Iterable[str]) -> tuple[str, ...]:
    """The nouns of path segments, and parameters in braces."""
    parts = (part if "{" in part else noun_of(part) for part in segments)
    return tuple(part for part in parts if part)


def is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}") and segment.count("{") == 1


@dataclass(frozen=True)
class OperationKind:
    action: str  # `create`, `read`, `list`, `update`, `delete`, or `call` where it is none of these
    collection: tuple[str, ...]  # nouns, and path parameters in braces
    item: str | None  # the argument that says which item
    in_path: bool  # whether that argument ends the path
    list_place: Place | None  # where the response has its list of objects
    about: Place  # where the response has the object it is about
    id_field: str | None  # the field that identifies the item, or a list's items


def operation_kind(operation: SimulatedOperation) -> OperationKind:
    parts = list(parts_of(operation.segments))
    last_is_item = bool(operation.segments) and is_parameter(operation.segments[-1])
    if len(parts) >= 2 and parts[-1] in NAMES["whole"]:
        parts.pop()
        last_is_item = is_parameter(parts[-1])
    list_place, about, fields = _layout(operation)
    action = _action(operation, list_place is not None, last_is_item)

    item, in_path = None, False
    if last_is_item and not (action == "list" and not is_id(parts[-1][1:-1])):
        item, in_path = parts.pop()[1:-1], True
    while parts and action == "list" and is_parameter(parts[-1]):
        parts.pop()
    if item is None and action in ("read", "update", "delete", "call"):
        item, parts = _item_argument(operation, parts)
        if item is None and action in ("read", "update"):
            action = "call"
    if action == "list" and in_path:  # a list of what belongs to an item: /trains/{id} answered by stops
        action = "call"
    collection = tuple(parts)
    id_field = _id_field(fields, collection, item)
    if action in ("list", "create") and len(collection) <= 1 and id_field is not None and is_id(id_field):
        noun = "".join(words_of(id_field)[:-1])  # a `reportId` is a report's, however the path is called
        collection = (noun,) if noun else collection
    return OperationKind(action, collection, item, in_path, list_place, about, id_field)


def _action(operation: SimulatedOperation, lists: bool, last_is_item: bool) -> str:
    verbs = {word for part in operation.segments[-1:] for word in words_of(part)[:1]}
    verbs |= set(words_of(operation.name)[:1]) if not verbs & VERBS else set()
    method = operation.method
    if method == "delete" or (method in ("post", "put") and verbs & DELETE):
        return "delete"
    if lists and method in ("get", "post"):
        return "list"
    if method in ("put", "patch") or (method == "post" and (last_is_item or verbs & UPDATE)):
        return "update"
    if method == "post":
        return "create" if not verbs & READ else "read"
    return "read" if method == "get" else "call"


def _item_argument(operation: SimulatedOperation, parts: list[str]) -> tuple[str | None, list[str]]:
    """The argument outside the path that identifies the item, and the collection it names."""
    own = parts[-1] if parts else ""
    names = [(parameter.name, parameter.required) for parameter in operation.parameters if parameter.place == "query"]
    if (body := operation.declared.body) is not None:
        names += [(name, True) for name in merged_schema(body.schema).get("properties", {})]
    for name, _ in names:
        noun = "".join(words_of(name)[:-1])
        if is_id(name) and noun and (own.startswith(noun) or own.endswith(noun) or not own):
            return name, [*parts[:-1], noun]
    return next((name for name, required in names if plain(name) == "id" and required), None), parts


def _layout(operation: SimulatedOperation) -> tuple[Place | None, Place, Mapping[str, Any]]:
    """Where the response has its list, where its main object, and the fields of whichever it is."""
    make = operation.success.make
    if make is None:
        return None, (), {}
    node_of = make.merger.node

    def item_fields(schema: dict[str, Any]) -> dict[str, Any] | None:
        return node_of(schema.get("items", {})).get("properties") if schema.get("type") == "array" else None

    top = node_of(make.root)
    if (found := item_fields(top)) is not None:
        return (), (), found
    properties = top.get("properties", {})
    nodes = {name: node_of(schema) for name, schema in properties.items()}
    lists = {name: found for name, node in nodes.items() if (found := item_fields(node)) is not None}
    own = noun_of(operation.segments[-1]) if operation.segments else ""
    for name, node in nodes.items():
        if node.get("type") == "object" and (name.lower() in WRAPPERS or plain(name) in (own, own + "profile")):
            inner = node.get("properties", {})
            for key in inner:
                if key.lower() in NAMES["lists"] and (found := item_fields(node_of(inner[key]))) is not None:
                    return (name, key), (name,), found
            return None, (name,), inner
    # A single list among facts about an item belongs to that item.
    has_facts = any(name not in lists and plain(name) not in NAMES["paging"] for name in properties)
    for name in lists:
        if name.lower() in NAMES["lists"] or singular(plain(name)) == own or not has_facts:
            return (name,), (), lists[name]
    return None, (), properties


def _id_field(fields: Mapping[str, Any], collection: tuple[str, ...], item: str | None) -> str | None:
    """The field that identifies an item: named as the argument, `id`, after the collection, or as any other id."""
    by_name = {plain(name): name for name in fields}
    own = collection[-1] if collection else ""
    for wanted in (plain(item) if item else "", "id", f"{own}id", "uuid"):
        if wanted in by_name:
            return by_name[wanted]
    return next((name for name in fields if is_id(name)), None)
