"""Which items there are: those of the seeded world, and those that a session made, changed or removed.

A collection is *closed* where the document lets a caller read an item by an id at the end of the path, and either
lists the collection's items with their ids or makes new ones by `POST` to the collection: its seeded items are those
few that the list shows, and every other id is unknown. All other collections are *open*, since nothing in the document
says which items there are: the world holds an item for every id that is not plainly made up, see [`World.unknown`].
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from .arguments import Arguments
from .draws import Draws
from .endpoints import Argument, Endpoint
from .formats import HEX
from .merge import Merger
from .names import is_id, plain, topic_words, words_of
from .roles import Role, parts_of, role_of
from .routes import SimulatedApi
from .scalars import make_number, make_text
from .sessions import Session

SEEDED = 8
LARGEST = 9_999_999
# Numbers and texts that only sessions give to what they make, so that no other session knows them.
MADE_FROM, MADE_TO = 1_700_000_000, 1_799_999_999
MADE_MARK = "5e55"
MADE = re.compile(rf"(^|[^0-9a-f]){MADE_MARK}[0-9a-f]{{8}}$|^{MADE_MARK}[0-9a-f]{{4}}-[0-9a-f-]+$")
PLACEHOLDER = re.compile(
    r"[<>{}$]|^\s*$|^(unknown|invalid|missing|null|none|undefined|nan|string|test[-_ ]?id|your[-_ ]?.*)$"
    r"|(non|not)[-_ ]?exist|not[-_ ]?found|no[-_ ]?such|does[-_ ]?not",
    re.IGNORECASE,
)


Key = TypeVar("Key")
Value = TypeVar("Value")


class Found(dict[Key, Value]):
    """What is found out about each key when it is first asked for: a request needs few of a document's operations."""

    def __init__(self, find: Callable[[Key], Value]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: Key) -> Value:
        found = self[key] = self._find(key)
        return found


class World:
    """The items of an API.

    Args:
        api ([`SimulatedApi`]): The API.
        seed (`int`): Another seed, another world.
    """

    def __init__(self, api: SimulatedApi, seed: int) -> None:
        self.api = api
        self.draws = Draws(seed, api.slug, topic=topic_words(api.api.name))

    @cached_property
    def roles(self) -> Found[Endpoint, Role]:
        """What each operation does."""
        return Found(role_of)

    @cached_property
    def closed(self) -> Found[tuple[str, ...], dict[str, Any] | None]:
        """The schema of a closed collection's ids; `None` for one that is open."""
        return Found(self._closed)

    def _closed(self, collection: tuple[str, ...]) -> dict[str, Any] | None:
        found = None
        for endpoint in self._near(collection):
            if endpoint.method != "get" or not endpoint.segments or "{" not in endpoint.segments[-1]:
                continue
            role = self.roles[endpoint]
            ends = endpoint.segments[-1] == f"{{{role.item}}}"
            if role.action != "read" or role.collection != collection or not ends:
                continue
            for other in self._at.get(endpoint.segments[:-1], ()):
                its = self.roles[other]
                if its.action == "create" or (its.action == "list" and _names_the_same(its, role)):
                    argument = next(a for a in endpoint.arguments if a.name == role.item and a.place == "path")
                    found = argument.schema
        return found

    @cached_property
    def _at(self) -> dict[tuple[str, ...], list[Endpoint]]:
        """The operations of each path."""
        found: dict[tuple[str, ...], list[Endpoint]] = {}
        for endpoint in self.api.endpoints:
            found.setdefault(endpoint.segments, []).append(endpoint)
        return found

    @cached_property
    def _parts(self) -> list[tuple[Endpoint, tuple[str, ...]]]:
        """Each operation with the nouns and parameters of its path."""
        return [(endpoint, parts_of(endpoint.segments)) for endpoint in self.api.endpoints]

    def _near(self, collection: tuple[str, ...], by_field: bool = False) -> Iterator[Endpoint]:
        """The operations whose path may speak of a collection: only their roles have to be found out.

        With `by_field` also short paths, which may take the collection's name from a field of their answer; see `role_of`.
        """
        *above, last = collection or ("",)
        for endpoint, parts in self._parts:
            own = parts[len(above)] if len(parts) > len(above) else last
            short = by_field and not above and sum("{" not in part for part in parts) <= 2
            if (own.startswith(last) or own.endswith(last) or short) and list(parts[: len(above)]) == above:
                yield endpoint

    def concrete(self, collection: tuple[str, ...], arguments: Arguments) -> str:
        """A collection's name with the values of its path parameters."""
        return "/".join(
            str(arguments.named.get(part[1:-1], part)) if part.startswith("{") else part for part in collection
        )

    def entity(self, collection: str, item: Any) -> Draws:
        """What an item's fields are drawn from, whichever operation tells them."""
        return self.draws.child("item").child(collection).child(str(item))

    def seeded_ids(self, template: tuple[str, ...], collection: str) -> list[Any]:
        """The ids that a closed collection begins with."""
        schema = self.closed[template]
        found: list[Any] = self.shown_ids[template][:SEEDED] if schema is not None else []
        schema = schema or {}
        node, _ = Merger(schema).merged(schema, (), 0, False)
        for place in range(len(found), SEEDED):
            draws = self.draws.child("ids").child(collection).child(place)
            if node.get("enum"):
                value = node["enum"][place % len(node["enum"])]
            elif node.get("type") in ("integer", "number"):
                least = node.get("minimum", 1)
                value = place + max(1, int(least)) if "maximum" not in node else make_number(node, "id", draws, True)
            else:
                value = make_text(node, "id", draws)
            if value not in found:
                found.append(value)
        return found

    @cached_property
    def shown_ids(self) -> Found[tuple[str, ...], list[Any]]:
        """The ids that the document shows by the collection they belong to: in its parameters, and in examples of items."""
        return Found(self._shown_ids)

    def _shown_ids(self, collection: tuple[str, ...]) -> list[Any]:
        found: list[Any] = []
        for endpoint in self._near(collection, by_field=True):
            parts: list[str] = []
            for segment in endpoint.segments:
                if segment.startswith("{") and tuple(parts) == collection:
                    found += endpoint.shown_ids.get(segment[1:-1], ())
                parts += parts_of((segment,))
            role = self.roles[endpoint] if endpoint.shows else None
            if role is None or role.collection != collection:
                continue
            if role.id_field is not None and role.action in ("read", "list"):
                for value in endpoint.success.shown:
                    for name in role.list_place or role.about:
                        value = value.get(name) if isinstance(value, dict) else None
                    for item in value if isinstance(value, list) else [value]:
                        shown = item.get(role.id_field) if isinstance(item, dict) else None
                        if isinstance(shown, str | int) and not isinstance(shown, bool):
                            found.append(shown)
        return list(dict.fromkeys(found))

    def made_id(self, schema: Mapping[str, Any], session: Session, what: str) -> Any:
        """A new id, which depends on what led to the session's state and on what is made."""
        node, _ = Merger(dict(schema)).merged(schema, (), 0, False)
        draws = self.draws.child("made").child(session.digest).child(what)
        kinds = node.get("type", "string")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if "enum" in node:
            return draws.pick(node["enum"])
        if "integer" in kinds or "number" in kinds:
            bounded = "maximum" in node or "exclusiveMaximum" in node or "multipleOf" in node
            return make_number(node, "id", draws, True) if bounded else draws.integer(MADE_FROM, MADE_TO)
        if "pattern" in node or node.get("maxLength", 100) < 12:
            return make_text(node, "id", draws)
        if node.get("format") in ("uuid", "guid"):
            text = MADE_MARK + draws.text(HEX, 28)
            return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
        return MADE_MARK + draws.text(HEX, 8)

    def record(self, session: Session, collection: str, item: Any, name: str = "id") -> tuple[str, Any] | None:
        """The id and the fields of an item that the session changed; fields of `None` for one that it removed."""
        found = session.records.get((collection, str(item)), False)
        if found is not False:
            return str(item), found
        for (place, key), fields in session.records.items():  # told apart by another field than an id, such as a name
            if place == collection and fields is not None and str(fields.get(plain(name), "\x00")) == str(item):
                return key, fields
        return None

    def unknown(self, endpoint: Endpoint, arguments: Arguments, session: Session) -> str | None:
        """Why the request names something that does not exist, or `None`.

        An id is unknown where the session removed its item; where its collection is closed and holds no such item;
        and, in an open collection, where it belongs to what some other session made (the numbers from `MADE_FROM` to
        `MADE_TO`, the texts that end in `5e55` and eight hexadecimal digits, UUIDs that begin with it), where a number
        is not from 1 to 9,999,999, and where a text is no id but stands for one (`<id>`, `null`, `nonexistent`).
        """
        for template, name, value, in_path in self._ids(endpoint, arguments):
            collection = self.concrete(template, arguments)
            kept = self.record(session, collection, value, name)
            if kept is not None:
                if kept[1] is None:
                    return f"There is no {template[-1] if template else 'item'} with {name} {_short(value)}."
                continue
            if in_path and self.closed[template] is not None:
                exists = str(value) in map(str, self.seeded_ids(template, collection))
            else:
                exists = not _made_up(value)
            exists = exists or str(value) in map(str, self.shown_ids[template])
            if not exists:
                return f"There is no {template[-1] if template else 'item'} with {name} {_short(value)}."
        return None

    def _ids(self, endpoint: Endpoint, arguments: Arguments) -> Iterator[tuple[tuple[str, ...], str, Any, bool]]:
        """The ids that a request has: collection, argument, value, and whether it is in the path."""
        parts: list[str] = []
        for segment in endpoint.segments:
            name = segment[1:-1]
            whole = segment.startswith("{") and segment.endswith("}") and segment.count("{") == 1
            if whole and name in arguments.named and (is_id(name) or self.closed[tuple(parts)] is not None):
                yield tuple(parts), name, arguments.named[name], True
            parts += parts_of((segment,))
        role = self.roles[endpoint]
        own = "".join(words_of(role.item or "")[:-1])
        body = arguments.body if isinstance(arguments.body, dict) else {}
        query = {
            a.name: arguments.named[a.name] for a in endpoint.arguments if _in_query(a) and a.name in arguments.named
        }
        for name, value in (query | body).items():
            kind = "".join(words_of(name)[:-1])
            if not is_id(name) or isinstance(value, dict | list | bool) or value is None:
                continue
            if role.action == "create" and (not kind or role.collection[-1:] == (kind,)):
                continue  # the caller says what the new item is to be called
            if name == role.item:
                yield role.collection, name, value, False
            elif kind and kind != own:
                yield (kind,), name, value, False


def _names_the_same(lister: Role, reader: Role) -> bool:
    field = plain(lister.id_field or "")
    return field in ("id", plain(reader.item or ""), f"{reader.collection[-1] if reader.collection else ''}id")


def _in_query(argument: Argument) -> bool:
    return argument.place == "query"


def _made_up(value: Any) -> bool:
    if isinstance(value, int | float):
        return not 1 <= value <= LARGEST
    text = str(value)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) == 10 else 0
    return bool(MADE.search(text) or PLACEHOLDER.search(text) or MADE_FROM <= number <= MADE_TO)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else text[:100] + "..."
