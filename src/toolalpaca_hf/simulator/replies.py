"""Makes responses from the schema, the arguments, and the session's state."""

import json
import re
from typing import Any

from ..openapi import mapping
from .entities import Entities
from .fake_values import fake_text
from .generate import Generator, Given
from .operation_kinds import CREATE
from .requests import Arguments
from .responses import SimulatedCall, SimulatedResponse, encode_response
from .rng import NAMES, Rng, is_id, plain, singular, words_of

SECRET = re.compile(r"key$|token|passw|secret|^auth|credential|signature", re.IGNORECASE)

CONFIRMATIONS, LIMITS, PAGES = NAMES["confirmations"], NAMES["limits"], NAMES["pages"]
DEFAULT_COUNT, MAX_COUNT, MAX_INVENTED = 3, 100, 50


def make_reply(entities: Entities, call: SimulatedCall, arguments: Arguments) -> SimulatedResponse:
    """Answer a call, and remember what it made, changed or removed."""
    reply = ListReply if entities.kinds(call.operation).action == "list" else Reply
    declared = call.operation.success
    return encode_response(declared, reply(entities, call, arguments).value(declared.make))


class Reply:
    """The answer to a call about a single item, or about none."""

    def __init__(self, entities: Entities, call: SimulatedCall, arguments: Arguments) -> None:
        self.entities, self.call, self.session, self.arguments = entities, call, call.session, arguments
        self.kind, self.body = entities.kinds(call.operation), mapping(arguments.body)
        self.collection = entities.concrete(self.kind.collection, arguments)
        self.noun = "".join(part for part in self.kind.collection[-1:] if "{" not in part)
        self.deep = {name: value for name, value in arguments.flat.items() if name not in NAMES["generic"]}
        self.public = {name: value for name, value in arguments.flat.items() if not SECRET.search(name)}
        self.fingerprint = json.dumps([call.operation.name, self.public], sort_keys=True, ensure_ascii=False)
        self.call_rng = entities.rng.child("call").child(self.fingerprint)

    def value(self, make: Generator | None) -> Any:
        if self.kind.action == "create":
            return self._create(make)
        if self.kind.action in ("read", "update", "delete") and (item := self._item_id()) is not None:
            return self._item(make, item)
        return self._make(make, self.call_rng, {})

    def _make(self, make: Generator | None, rng: Rng, record: dict[str, Any]) -> Any:
        message = self._message()
        if make is None:
            return {"message": message} | {name: value for name, value in record.items() if name == "id"}
        if (example := self._example(make, record)) is not None:
            return example
        known = dict.fromkeys(CONFIRMATIONS[:3], message) | self.arguments.flat | record
        given = Given(arguments=self.deep, record=known, about=self.kind.about, free=self._free(rng, record))
        return make(rng, given, name=self.noun)

    def _example(self, make: Generator, record: dict[str, Any]) -> Any:
        """The document's own example, with this call's values filled in."""
        declared = self.call.operation.success
        if not declared.examples or make is not declared.make:
            return None
        known = self.deep | record

        def alike(shown: Any) -> int:
            return sum(plain(key) in known and known[plain(key)] == part for key, part in self._about(shown).items())

        value = json.loads(json.dumps(max(declared.examples, key=alike)))
        for holder in (mapping(value), self._about(value)):
            for key, part in holder.items():
                if plain(key) in known and type(known[plain(key)]) is type(part):
                    holder[key] = known[plain(key)]
                    holder[key] = holder[key] if make.is_valid(value) else part
        return value

    def _about(self, value: Any) -> dict[str, Any]:
        """The fields of the object that an answer is about."""
        for name in self.kind.about:
            value = mapping(value).get(name)
        return mapping(value)

    def _free(self, rng: Rng, record: dict[str, Any]) -> dict[str, Any]:
        """Fields for an object whose schema names none: the arguments, and what the session knows of it."""
        found: dict[str, Any] = {}
        if any(word in "".join(self.kind.collection) for word in NAMES["owners"]):
            found = {key: fake_text(name, rng.child(key)) for key, name in (("name", "userName"), ("email", "email"))}
        found |= {name: value for name, value in self.arguments.named.items() if not SECRET.search(name)}
        for name, value in record.items():
            if isinstance(value, dict):
                found |= value
            elif name not in {plain(key) for key in found} and name not in CONFIRMATIONS and not SECRET.search(name):
                found[name] = value
        return found

    def _message(self) -> str:
        action = self.kind.action
        segment = next(reversed(self.call.operation.segments), "")
        # `POST /generateAvatar` makes something, too, but not a generateavatar.
        other = action == "create" and not CREATE & set(words_of(segment)[:1]) and singular(segment) == segment
        if action not in ("create", "update", "delete") or other or not self.noun:
            return "The request was completed successfully."
        return f"The {self.noun} was {action}d successfully."

    def _create(self, make: Generator | None) -> Any:
        # The field that holds a new item's id, and its schema; else that of the path that reads it.
        field, node = self.kind.id_field or "id", self.entities.closed(self.kind.collection) or {}
        if make is not None and self.kind.id_field is not None:
            node = make.merger.node(make.root, *self.kind.about, field)
        own = {plain(name): value for name, value in self.body.items()}
        item = own.get(plain(field), own.get("id"))
        if item is None or isinstance(item, dict | list | bool):
            item = self.entities.made_id(node, self.session, self.fingerprint)
        record = dict(self.arguments.flat) | {plain(field): item, "id": item}
        value = self._make(make, self.entities.entity(self.collection, item), record)
        self._keep_new(value, field, record)
        return value

    def _keep_new(self, value: Any, field: str, record: dict[str, Any]) -> None:
        """Remember a new item with its id as the response has it, since a schema may restrict the values."""
        fields = self._about(value)
        record = record | {plain(name): part for name, part in fields.items() if plain(name) not in CONFIRMATIONS}
        item = fields.get(field, record.get("id"))
        if item is not None:
            self.session.remember(self.collection, str(item), {**record, "id": item})

    def learn(self, value: Any) -> None:
        """Remember what an LLM's answer to this call made, changed or removed."""
        item, action = self._item_id(), self.kind.action
        if action == "create":
            self._keep_new(value, self.kind.id_field or "id", dict(self.arguments.flat))
        elif item is not None and action == "delete":
            self.session.remember(self.collection, str(item), None)
        elif item is not None and action == "update":
            self._change(item)

    def _known(self, item: Any) -> tuple[str, dict[str, Any]]:
        key, record = self.entities.record(self.session, self.collection, item, self.kind.item or "id") or (item, {})
        return str(key), dict(record or {})

    def _change(self, item: Any) -> tuple[str, dict[str, Any]]:
        """Remember a change of an item; returns its key and all that is known of it."""
        key, record = self._known(item)
        record |= {plain(field): value for field, value in self.body.items()} or self.public
        self.session.remember(self.collection, key, record)
        return key, record

    def _item(self, make: Generator | None, item: Any) -> Any:
        name, action, id_field = self.kind.item or "id", self.kind.action, self.kind.id_field
        key, record = self._change(item) if action == "update" else self._known(item)
        if action == "delete":
            self.session.remember(self.collection, key, None)
        identity = {plain(name): item}
        if id_field is not None and (plain(id_field) == "id" or is_id(name)):
            identity[plain(id_field)] = record.get(plain(id_field), item)
        rng = self.entities.entity(self.collection, key)
        return self._make(make, rng.child(action) if action != "read" and not record else rng, record | identity)

    def _item_id(self) -> Any:
        name = self.kind.item or ""
        value = self.body.get(name)
        return self.arguments.named.get(name, None if isinstance(value, dict | list | bool) else value)


class ListReply(Reply):
    """The answer to a call for a list: the session's items, then seeded or invented ones."""

    def value(self, make: Generator | None) -> Any:
        flat = self.arguments.flat
        if make is None:
            return self._make(make, self.call_rng, {})
        kept = any(collection == self.collection for collection, _ in self.session.records)
        if not kept and not flat and (example := self._example(make, {})) is not None:
            return example
        place = self.kind.list_place or ()
        node = make.merger.node(make.root, *place)
        schema, most = node.get("items", {}), self._limit(node)
        start = self._start(most)
        items = self._items(make, schema, make.merger.node(schema).get("properties", {}), start)
        closed = self.entities.closed(self.kind.collection) is not None
        # Invented items are the requested page itself.
        total = len(items) if closed else min(len(items), most)
        items = items[start : start + most] if closed else items[:most]
        facts: dict[str, Any] = dict.fromkeys(("total", "totalresults", "totalcount", "totalitems"), total)
        facts |= dict.fromkeys(("count", "size"), len(items))
        facts |= dict.fromkeys(("totalpages", "pages"), max(1, -(-total // most)) if most else 1)
        facts |= dict.fromkeys(("currentpage", "page"), flat.get("page", 1)) | {"success": True}
        if closed:
            more = start + most < total
            facts |= dict.fromkeys(("hasmore", "hasnext", "hasnextpage"), more)
            facts |= {} if more else dict.fromkeys(("next", "nextpage", "nextcursor", "nextpagetoken"))
        deep = self.deep | {name: facts[name] for name in facts if name.startswith(("total", "current"))}
        preset = {place: items} if len(items) >= node.get("minItems", 0) else {}
        return make(self.call_rng, Given(arguments=deep, record=facts | flat, about=self.kind.about, preset=preset))

    def _limit(self, node: dict[str, Any]) -> int:
        asked = [self.arguments.flat[name] for name in LIMITS if name in self.arguments.flat]
        counts = [value for value in asked if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
        return min([node.get("maxItems", MAX_COUNT), MAX_COUNT, *counts])

    def _start(self, most: int) -> int:
        flat = self.arguments.flat
        for name in ("offset", "skip", "start"):
            if type(flat.get(name)) is int:
                return max(0, flat[name])
        page = flat.get("page", flat.get("pagenumber", 1))
        return (page - 1) * most if type(page) is int and page > 1 else 0

    def _items(self, make: Generator, schema: Any, fields: dict[str, Any], start: int) -> list[Any]:
        """The session's items, then seeded ones, or invented ones in an open collection."""
        names = {plain(field) for field in fields}
        filters = {name: value for name, value in self.public.items() if name in names and name not in LIMITS + PAGES}
        records = self.session.records
        found = [
            self._list_item(make, schema, key, record)
            for (collection, key), record in reversed(records.items())
            if collection == self.collection and record is not None and _matches(record, filters)
        ]
        seen = {key for collection, key in records if collection == self.collection}
        if self.entities.closed(self.kind.collection) is None:
            return (found if start == 0 else []) + self._invented(make, schema, fields, filters, seen)
        for item in self.entities.seeded_ids(self.kind.collection, self.collection):
            if str(item) not in seen:
                value = self._list_item(make, schema, item, {})
                matching = _matches({plain(key): part for key, part in mapping(value).items()}, filters)
                found += [value] if matching else []
        return found

    def _list_item(self, make: Generator, schema: Any, key: Any, record: dict[str, Any]) -> Any:
        field = self.kind.id_field
        # The kept id has its type; the key is always text.
        identity = {plain(field): record.get(plain(field), record.get("id", key))} if field else {}
        rng = self.entities.entity(self.collection, key)
        return make(rng, Given(record=record | identity), schema=schema, name=self.noun)

    def _invented(
        self, make: Generator, schema: Any, fields: dict[str, Any], filters: dict[str, Any], seen: set[str]
    ) -> list[Any]:
        """Items of an open collection that match the request exactly."""
        flat = self.arguments.flat
        several = {
            plain(field): values
            for field in fields
            for name, value in flat.items()
            if singular(name) == plain(field) and name not in filters and (values := _values(value))
        }
        count = max([len(values) for values in several.values() if len(values) > 1] or [DEFAULT_COUNT])
        wanted = next((flat[name] for name in NAMES["searches"] if name in flat), None)
        names = {plain(field) for field in fields}
        title = next((name for name in NAMES["titles"] if name in names), None)
        field = self.kind.id_field
        found: list[Any] = []
        for place in range(min(count, MAX_INVENTED)):
            record = filters | {name: values[place % len(values)] for name, values in several.items()}
            if place == 0 and isinstance(wanted, str) and wanted and title is not None and title not in record:
                record[title] = wanted
            rng = self.call_rng.child(place)
            key: Any = None
            if field is not None and fields.get(field) is not None:
                key = filters.get(plain(field)) or make(rng.child("id"), schema=fields[field], name=field)
                rng = self.entities.entity(self.collection, key)
                record[plain(field)] = key
            if key is not None and str(key) in seen:
                continue
            value = make(rng, Given(arguments=self.deep, record=record), schema=schema, name=self.noun)
            found.append(value)
            # Reading this item by its id must return the same one.
            if key is not None and isinstance(value, dict) and len(record) > 1:
                self.session.remember(self.collection, str(key), record)
        return found


def _values(value: Any) -> list[Any]:
    """Split a list-like argument: `["a", "b"]`, or `"a,b"`."""
    if isinstance(value, list):
        return value
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else []


def _matches(record: dict[str, Any], filters: dict[str, Any]) -> bool:
    """Whether an item matches a request's filters; unknown fields match."""

    def folded(value: Any) -> set[str]:
        return {str(part).casefold() for part in (value if isinstance(value, list) else [value])}

    return all(folded(wanted) & folded(record.get(name, wanted)) for name, wanted in filters.items())
