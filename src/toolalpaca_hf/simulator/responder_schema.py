"""The responder that needs no model: answers generated from the schemas, about the items of a seeded world."""

import json
import re
from typing import Any

from .answers import Answer, Call, encoded, refusal
from .arguments import Arguments, Refused, read_arguments
from .draws import Draws
from .generate import Generator, Given
from .plausible import FORMATS, is_id, plain, plausible_text, words_of
from .roles import Role, singular
from .world import World

LIMITS = ("limit", "perpage", "pagesize", "maxresults", "first", "top", "size", "number", "count", "amount", "take")
PAGES = ("page", "pagenumber", "offset", "skip", "start", "cursor", "after", "before", "sort", "order", "sortby")
SEARCHES = ("query", "q", "keyword", "keywords", "search", "searchquery", "searchterm", "term", "text")
TITLES = ("title", "name", "text", "headline", "username", "description")
SECRET = re.compile(r"key$|token|password|secret|^auth|credential", re.IGNORECASE)

# Names that say something else in every object: they are echoed in the object a request is about and nowhere below.
GENERIC = {"id", "name", "title", "type", "status", "description", "text", "value", "key", "code", "date", "format"}
DEFAULT_COUNT = 3
SAID = ("message", "msg", "confirmation", "success")
PEOPLE = ("user", "profile", "person", "customer", "account", "member")


class SchemaResponder:
    """Answers from the document alone; the same API, request, session history and seed give the same bytes.

    Args:
        seed (`int`, *optional*, defaults to 0): Another seed, another world.
    """

    name = "schema"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.name = f"schema/{seed}"
        self._worlds: dict[str, World] = {}

    def world(self, call: Call) -> World:
        """The world of the call's API."""
        found = self._worlds.get(call.api.slug)
        if found is None:
            found = self._worlds[call.api.slug] = World(call.api, self.seed)
        return found

    async def __call__(self, call: Call) -> Answer:
        """Answer a call."""
        try:
            arguments = read_arguments(call.endpoint, call.request)
        except Refused as refused:
            return refusal(call.endpoint, refused.status, str(refused))
        world = self.world(call)
        missing = world.unknown(call.endpoint, arguments, call.session)
        if missing is not None:
            return refusal(call.endpoint, 404, missing)
        return Reply(world, call, arguments).answer()


class Reply:
    """One answer in the making."""

    def __init__(self, world: World, call: Call, arguments: Arguments) -> None:
        self.world = world
        self.call = call
        self.session = call.session
        self.arguments = arguments
        self.role: Role = world.roles[call.endpoint]
        self.collection = world.concrete(self.role.collection, arguments)
        self.deep = {name: value for name, value in arguments.flat.items() if name not in GENERIC}
        told = {name: value for name, value in arguments.flat.items() if not SECRET.search(name)}
        self.what = json.dumps([call.endpoint.name, told], sort_keys=True, ensure_ascii=False)

    def answer(self) -> Answer:
        reply = self.call.endpoint.success
        value = self._value(reply.make)
        return encoded(reply.status, reply.media, value)

    def _value(self, make: Generator | None) -> Any:
        action = self.role.action
        if action == "list" and make is not None and self.role.list_place is not None:
            return self._list(make)
        if action == "create":
            return self._create(make)
        if action in ("read", "update", "delete"):
            return self._one(make)
        return self._made(make, self.world.draws.child("call").child(self.what), {})

    def _made(self, make: Generator | None, draws: Draws, record: dict[str, Any]) -> Any:
        said = {name: self._message() for name in SAID[:3]}
        if make is None:
            return {"message": said["message"]} | {name: value for name, value in record.items() if name == "id"}
        known = said | self.arguments.flat | record
        about = self.role.about
        return make(draws, Given(arguments=self.deep, record=known, about=about, free=self._free(draws, record)))

    def _free(self, draws: Draws, record: dict[str, Any]) -> dict[str, Any]:
        """What an object holds whose schema names no fields: what was asked for, and what the session said of it."""
        found: dict[str, Any] = {}
        if any(word in "".join(self.role.collection) for word in PEOPLE):
            found = {
                "name": plausible_text("userName", draws.child("name")),
                "email": FORMATS["email"](draws.child("email")),
            }
        found |= {name: value for name, value in self.arguments.named.items() if not SECRET.search(name)}
        for name, value in record.items():
            if isinstance(value, dict):
                found |= value
            elif name not in {plain(key) for key in found} and name not in SAID and not SECRET.search(name):
                found[name] = value
        return found

    def _message(self) -> str:
        noun = " ".join(words_of(self.role.collection[-1])) if self.role.collection else "request"
        done = {"create": "created", "update": "updated", "delete": "deleted"}.get(self.role.action)
        if done is None or "{" in "".join(self.role.collection[-1:]):
            return "The request was completed successfully."
        return f"The {noun} was {done} successfully."

    def _create(self, make: Generator | None) -> Any:
        field, node = self._id_schema(make)
        body = self.arguments.body if isinstance(self.arguments.body, dict) else {}
        own = {plain(name): value for name, value in body.items()}
        item = own.get(plain(field), own.get("id"))
        if item is None or isinstance(item, dict | list | bool):
            item = self.world.made_id(node, self.session, self.what)
        record = dict(self.arguments.flat) | {plain(field): item, "id": item}
        value = self._made(make, self.world.entity(self.collection, item), record)
        self._keep_new(value, field, record)
        return value

    def _keep_new(self, value: Any, field: str, record: dict[str, Any]) -> None:
        """Remember a new item; what the answer says of it counts, its id too: a schema may hold it to other values."""
        told = value
        for name in self.role.about:
            told = told.get(name) if isinstance(told, dict) else None
        told = told if isinstance(told, dict) else {}
        record = record | {plain(name): part for name, part in told.items() if plain(name) not in SAID}
        item = told.get(field, record.get("id"))
        if item is not None:
            self.session.remember(self.collection, str(item), {**record, "id": item})

    def learn(self, value: Any) -> None:
        """Remember what somebody else's answer to this call made, changed or removed."""
        item = self._item_id()
        if self.role.action == "create":
            self._keep_new(value, self.role.id_field or "id", dict(self.arguments.flat))
        elif self.role.action == "delete" and item is not None:
            self.session.remember(self.collection, str(item), None)
        elif self.role.action == "update" and item is not None:
            self._change(item)

    def _change(self, item: Any) -> tuple[str, dict[str, Any]]:
        """Remember a change of an item; its key and all that is known of it."""
        kept = self.world.record(self.session, self.collection, item, self.role.item or "id")
        key, record = (kept[0], dict(kept[1] or {})) if kept is not None else (str(item), {})
        body = self.arguments.body if isinstance(self.arguments.body, dict) else {}
        changed = {plain(field): value for field, value in body.items()}
        record |= changed or {name: value for name, value in self.arguments.flat.items() if not SECRET.search(name)}
        self.session.remember(self.collection, key, record)
        return key, record

    def _id_schema(self, make: Generator | None) -> tuple[str, dict[str, Any]]:
        """The field that has a new item's id, and its schema; else that of the path which reads it."""
        field = self.role.id_field
        if make is not None and field is not None:
            node = make.merger.merged(make.root, (), 0, False)[0]
            for name in (*self.role.about, field):
                schema = node.get("properties", {}).get(name, {})
                node = make.merger.merged(schema, (), 0, False)[0]
            return field, node
        return field or "id", self.world.closed.get(self.role.collection, {})

    def _one(self, make: Generator | None) -> Any:
        name = self.role.item
        item = self._item_id()
        if item is None:
            draws = self.world.draws.child("call").child(self.what)
            return self._made(make, draws, {})
        kept = self.world.record(self.session, self.collection, item, name or "id")
        key, record = (kept[0], dict(kept[1] or {})) if kept is not None else (str(item), {})
        if self.role.action == "update":
            key, record = self._change(item)
        elif self.role.action == "delete":
            self.session.remember(self.collection, key, None)
        identity = {plain(name or "id"): item}
        if self.role.id_field is not None and (plain(self.role.id_field) == "id" or is_id(name or "")):
            identity[plain(self.role.id_field)] = record.get(plain(self.role.id_field), item)
        suffix = "" if self.role.action == "read" else self.role.action
        draws = self.world.entity(self.collection, key)
        return self._made(make, draws.child(suffix) if suffix and not record else draws, record | identity)

    def _item_id(self) -> Any:
        name = self.role.item
        if name is None:
            return None
        if name in self.arguments.named:
            return self.arguments.named[name]
        body = self.arguments.body
        value = body.get(name) if isinstance(body, dict) else None
        return None if isinstance(value, dict | list | bool) else value

    def _list(self, make: Generator) -> Any:
        place = self.role.list_place or ()
        node = make.merger.merged(make.root, (), 0, False)[0]
        for name in place:
            node = make.merger.merged(node.get("properties", {}).get(name, {}), (), 0, False)[0]
        schema = node.get("items", {})
        fields = make.merger.merged(schema, (), 0, False)[0].get("properties", {})
        items = self._items(make, schema, fields)
        most = self._limit(node)
        if self._paged_away():
            items = items[:0] if self.role.collection in self.world.closed else items
        items = items[:most]
        listed: Any = items if len(items) >= node.get("minItems", 0) else None
        preset = {} if listed is None else {place: listed}
        count = len(items)
        facts = dict.fromkeys(("total", "count", "totalresults", "totalcount", "totalitems", "size"), count)
        page = self.arguments.flat.get("page", 1)
        facts |= {"totalpages": 1, "pages": 1, "currentpage": page, "page": page, "success": True}
        deep = self.deep | {name: facts[name] for name in facts if name.startswith(("total", "current"))}
        draws = self.world.draws.child("call").child(self.what)
        given = Given(arguments=deep, record=facts | self.arguments.flat, about=self.role.about, preset=preset)
        return make(draws, given)

    def _limit(self, node: dict[str, Any]) -> int:
        asked = [self.arguments.flat.get(name) for name in LIMITS if name in self.arguments.flat]
        counts = [value for value in asked if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
        return min([node.get("maxItems", 100), 100, *counts])

    def _paged_away(self) -> bool:
        """Whether the request asks for what is beyond the first page."""
        page, offset = self.arguments.flat.get("page", 1), self.arguments.flat.get("offset", 0)
        return (isinstance(page, int) and page > 1) or (isinstance(offset, int) and offset >= 8)

    def _items(self, make: Generator, schema: Any, fields: dict[str, Any]) -> list[Any]:
        """The items of a list: those of the session first, then those of the seeded world."""
        names = {plain(field): field for field in fields}
        filters = {
            name: value
            for name, value in self.arguments.flat.items()
            if name in names and name not in LIMITS + PAGES and not SECRET.search(name)
        }
        made = [
            (key, record)
            for (collection, key), record in reversed(self.session.records.items())
            if collection == self.collection and record is not None and _matches(record, filters)
        ]
        closed = self.role.collection in self.world.closed
        found = [self._item(make, schema, key, record) for key, record in made]
        seen = {key for collection, key in self.session.records if collection == self.collection}
        if closed:
            for item in self.world.seeded_ids(self.role.collection, self.collection):
                if str(item) not in seen:
                    value = self._item(make, schema, item, {})
                    if _matches(
                        {plain(key): part for key, part in value.items()} if isinstance(value, dict) else {}, filters
                    ):
                        found.append(value)
            return found
        return found + self._invented(make, schema, fields, filters, seen)

    def _item(self, make: Generator, schema: Any, key: Any, record: dict[str, Any]) -> Any:
        field = self.role.id_field
        # The kept id has its type; a key is text.
        identity = {plain(field): record.get(plain(field), record.get("id", key))} if field else {}
        return make(
            self.world.entity(self.collection, key), Given(record=record | identity), schema=schema, name="item"
        )

    def _invented(
        self, make: Generator, schema: Any, fields: dict[str, Any], filters: dict[str, Any], seen: set[str]
    ) -> list[Any]:
        """Items of an open collection that are just what was asked for."""
        several = {
            plain(field): values
            for field in fields
            for name, value in self.arguments.flat.items()
            if singular(name) == plain(field) and name not in filters and (values := _values(value))
        }
        count = max([len(values) for values in several.values() if len(values) > 1] or [DEFAULT_COUNT])
        wanted = next((self.arguments.flat[name] for name in SEARCHES if name in self.arguments.flat), None)
        title = next((name for name in TITLES if name in {plain(field) for field in fields}), None)
        draws = self.world.draws.child("call").child(self.what)
        found = []
        for place in range(min(count, 50)):
            record = filters | {name: values[place % len(values)] for name, values in several.items()}
            if place == 0 and isinstance(wanted, str) and wanted and title is not None and title not in record:
                record[title] = wanted
            item = draws.child(place)
            key: Any = None
            field = self.role.id_field
            if field is not None and fields.get(field) is not None:
                key = filters.get(plain(field)) or make(item.child("id"), schema=fields[field], name=field)
                item = self.world.entity(self.collection, key)
                record[plain(field)] = key
            if key is not None and str(key) in seen:
                continue
            value = make(item, Given(arguments=self.deep, record=record), schema=schema, name="item")
            found.append(value)
            # Asked for by its id, the item is to be the one that was found here.
            if key is not None and isinstance(value, dict) and len(record) > 1:
                self.session.remember(self.collection, str(key), record)
        return found


def _values(value: Any) -> list[Any]:
    """What a list-like argument lists: `["a", "b"]`, or `"a,b"`."""
    if isinstance(value, list):
        return value
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else []


def _matches(record: dict[str, Any], filters: dict[str, Any]) -> bool:
    """Whether an item is as a request wants it; what is not known of it speaks not against it."""
    for name, wanted in filters.items():
        held = record.get(name, wanted)
        options = wanted if isinstance(wanted, list) else [wanted]
        held = held if isinstance(held, list) else [held]
        if not {str(option).casefold() for option in options} & {str(part).casefold() for part in held}:
            return False
    return True
