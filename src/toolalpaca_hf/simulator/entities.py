"""Which items exist: seeded ones, and those that a session made, changed or removed.

A collection is *closed* if items can be read by an id at the end of the path, and the document either lists them with
their ids or creates them by `POST`: its seeded items are the few that the list shows, and every other id is unknown.
All other collections are *open*: they hold an item for every plausible id, see [`Entities.unknown`]."""

import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import Any

from ..openapi import mapping, merged_schema, types_of
from .fake_values import HEX, make_number, make_text
from .operation_kinds import OperationKind, is_parameter, operation_kind, parts_of
from .operations import SimulatedApi, SimulatedOperation, shown_values
from .requests import Arguments
from .rng import Rng, is_id, plain, topic_words, words_of
from .state import Session

SEEDED = 8
MAX_ID = 9_999_999
# Ids reserved for what sessions make, so that no other session knows them.
MADE_FROM, MADE_TO = 1_700_000_000, 1_799_999_999
MADE_MARK = "5e55"
MADE = re.compile(rf"(^|[^0-9a-f]){MADE_MARK}[0-9a-f]{{8}}$|^{MADE_MARK}[0-9a-f]{{4}}-[0-9a-f-]+$")
PLACEHOLDER = re.compile(
    r"(?i)[<>{}$]|^\s*$|^(unknown|invalid|missing|null|none|undefined|nan|string|test[-_ ]?id|your[-_ ]?.*)$"
    r"|(non|not)[-_ ]?exist|not[-_ ]?found|no[-_ ]?such|does[-_ ]?not"
)


class Entities:
    """The items of an API."""

    def __init__(self, api: SimulatedApi, seed: int) -> None:
        self.api = api
        self.rng = Rng(seed, api.slug, topic=topic_words(api.api.name))
        # A request needs few of a document's operations.
        self.kinds, self.closed, self.shown_ids = cache(operation_kind), cache(self._closed), cache(self._shown_ids)

    def _closed(self, collection: tuple[str, ...]) -> dict[str, Any] | None:
        """The schema of a closed collection's ids; `None` for an open one."""
        found = None
        for operation in self._near(collection):
            if operation.method != "get" or not operation.segments or "{" not in operation.segments[-1]:
                continue
            kind = self.kinds(operation)
            read = kind.action == "read" and kind.collection == collection
            if not read or operation.segments[-1] != f"{{{kind.item}}}":
                continue
            beside = [self.kinds(near) for near in self.api.by_path.get(operation.segments[:-1], ())]
            own = ("id", plain(str(kind.item)), f"{collection[-1] if collection else ''}id")
            listed = [near for near in beside if near.action == "list" and plain(near.id_field or "") in own]
            if listed or any(near.action == "create" for near in beside):
                ids = (each for each in operation.parameters if each.name == kind.item and each.place == "path")
                found = next(ids).schema
        return found

    @cached_property
    def _parts(self) -> list[tuple[SimulatedOperation, tuple[str, ...]]]:
        return [(operation, parts_of(operation.segments)) for operation in self.api.operations]

    def _near(self, collection: tuple[str, ...], by_field: bool = False) -> Iterator[SimulatedOperation]:
        """Operations whose path may be about a collection, or may be named after a response field."""
        *above, last = collection or ("",)
        for operation, parts in self._parts:
            own = parts[len(above)] if len(parts) > len(above) else last
            short = by_field and not above and sum("{" not in part for part in parts) <= 2
            if (own.startswith(last) or own.endswith(last) or short) and list(parts[: len(above)]) == above:
                yield operation

    def concrete(self, collection: tuple[str, ...], arguments: Arguments) -> str:
        """A collection's name with its path parameters filled in."""
        named = {f"{{{name}}}": str(value) for name, value in arguments.named.items()}
        return "/".join(named.get(part, part) for part in collection)

    def entity(self, collection: str, item: Any) -> Rng:
        """Seed for an item's fields, the same whichever operation returns them."""
        return self.rng.child("item").child(collection).child(str(item))

    def seeded_ids(self, template: tuple[str, ...], collection: str) -> list[Any]:
        schema = self.closed(template)
        found: list[Any] = self.shown_ids(template)[:SEEDED] if schema is not None else []
        node = merged_schema(schema or {})
        for place in range(len(found), SEEDED):
            rng = self.rng.child("ids").child(collection).child(place)
            if node.get("enum"):
                value = node["enum"][place % len(node["enum"])]
            elif node.get("type") in ("integer", "number"):
                least = max(1, int(node.get("minimum", 1)))
                value = place + least if "maximum" not in node else make_number(node, "id", rng, True)
            else:
                value = make_text(node, "id", rng)
            if value not in found:
                found.append(value)
        return found

    def _shown_ids(self, collection: tuple[str, ...]) -> list[Any]:
        found: list[Any] = []
        size = len(collection)
        near = {
            operation
            for operation, parts in self._parts
            if operation.method == "get" and parts[:size] == collection and all(map(is_parameter, parts[size:]))
        }
        for operation in self._near(collection, by_field=True):
            parts: tuple[str, ...] = ()
            for segment in operation.segments:
                if segment.startswith("{") and parts == collection:
                    found += operation.shown_ids.get(segment[1:-1], ())
                parts += parts_of((segment,))
            if operation.has_examples or operation in near:
                found += self._shown_by(self.kinds(operation), operation, collection)
            if operation.method == "post" and parts == collection:
                found += operation.shown_ids.get(self.kinds(operation).id_field or "id", ())
        return list(dict.fromkeys(found))

    def _shown_by(self, kind: OperationKind, operation: SimulatedOperation, collection: tuple[str, ...]) -> list[Any]:
        """The ids in the examples of an answer and of its schema."""
        field, make, found = kind.id_field, operation.success.make, list[Any]()
        acts = kind.action in ("read", "list", "create", "update")
        if kind.collection != collection or not acts or field is None or make is None:
            return []
        place = kind.list_place or kind.about
        node = make.merger.node(make.root, *place)
        node = make.merger.node(node["items"]) if "items" in node else node
        for value in operation.success.examples:
            for name in place:
                value = mapping(value).get(name)
            found += value if isinstance(value, list) else [value]
        found = [mapping(item).get(field) for item in found + shown_values(node)]
        found += shown_values(make.merger.node(node, field))
        return [value for value in found if isinstance(value, str | int) and not isinstance(value, bool)]

    def made_id(self, schema: Mapping[str, Any], session: Session, what: str) -> Any:
        """A new id, determined by the session's history and by what is made."""
        node = merged_schema(dict(schema))
        rng = self.rng.child("made").child(session.digest).child(what)
        kinds = types_of(node) if "type" in node else ["string"]
        if "enum" in node:
            return rng.pick(node["enum"])
        if "integer" in kinds or "number" in kinds:
            bounded = {"maximum", "exclusiveMaximum", "multipleOf"} & set(node)
            return make_number(node, "id", rng, True) if bounded else rng.integer(MADE_FROM, MADE_TO)
        if "pattern" in node or node.get("maxLength", 100) < 12:
            return make_text(node, "id", rng)
        if node.get("format") in ("uuid", "guid"):
            text = MADE_MARK + rng.text(HEX, 28)
            return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
        return MADE_MARK + rng.text(HEX, 8)

    def record(self, session: Session, collection: str, item: Any, name: str = "id") -> tuple[str, Any] | None:
        """The id and fields of an item that the session changed; fields of `None` if it was removed."""
        found = session.records.get((collection, str(item)), False)
        if found is not False:
            return str(item), found
        for (place, key), fields in session.records.items():  # identified by another field than an id, such as a name
            if place == collection and fields is not None and str(fields.get(plain(name), "\x00")) == str(item):
                return key, fields
        return None

    def unknown(self, operation: SimulatedOperation, arguments: Arguments, session: Session) -> str | None:
        """Why the request names something that does not exist, or `None`.

        An id is unknown if the session removed its item, or if its collection is closed and does not hold it; in an
        open collection, if it is of those reserved for what sessions make, beyond `MAX_ID`, or a placeholder.
        """
        for template, name, value, in_path in self._ids(operation, arguments):
            collection = self.concrete(template, arguments)
            kept = self.record(session, collection, value, name)
            if kept is not None:
                exists = kept[1] is not None
            elif in_path and self.closed(template) is not None:
                exists = str(value) in map(str, self.seeded_ids(template, collection) + self.shown_ids(template))
            else:
                shown = [*self.shown_ids(template), *operation.shown_ids.get(name, ())]
                exists = not _made_up(value) or str(value) in map(str, shown)
            if not exists:
                cut = str(value) if len(str(value)) <= 100 else f"{str(value)[:100]}..."
                return f"There is no {template[-1] if template else 'item'} with {name} {cut}."
        return None

    def _ids(
        self, operation: SimulatedOperation, arguments: Arguments
    ) -> Iterator[tuple[tuple[str, ...], str, Any, bool]]:
        """The ids in a request: collection, argument, value, and whether it is in the path."""
        parts: tuple[str, ...] = ()
        for segment in operation.segments:
            name = segment[1:-1]
            if is_parameter(segment) and name in arguments.named and (is_id(name) or self.closed(parts) is not None):
                yield parts, name, arguments.named[name], True
            parts += parts_of((segment,))
        kind = self.kinds(operation)
        own = "".join(words_of(kind.item or "")[:-1])
        in_query = {parameter.name for parameter in operation.parameters if parameter.place == "query"}
        found = {name: value for name, value in arguments.named.items() if name in in_query}
        found |= arguments.body if isinstance(arguments.body, dict) else {}
        for name, value in found.items():
            noun = "".join(words_of(name)[:-1])
            if not is_id(name) or isinstance(value, dict | list | bool) or value is None:
                continue
            if kind.action == "create" and (not noun or kind.collection[-1:] == (noun,)):
                continue  # the caller says what the new item is to be called
            if name == kind.item:
                yield kind.collection, name, value, False
            elif noun and noun != own:
                yield (noun,), name, value, False


def _made_up(value: Any) -> bool:
    if isinstance(value, int | float):
        return not 1 <= value <= MAX_ID
    text = str(value)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) == 10 else 0
    return bool(MADE.search(text) or PLACEHOLDER.search(text) or MADE_FROM <= number <= MADE_TO)
