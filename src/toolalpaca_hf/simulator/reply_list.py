"""Answers that list items: those of the session, and those of the seeded world or what was asked for."""

from typing import Any

from .generate import Generator, Given
from .names import plain, singular
from .reply import SECRET, Reply

LIMITS = ("limit", "perpage", "pagesize", "maxresults", "first", "top", "size", "number", "count", "amount", "take")
PAGES = ("page", "pagenumber", "offset", "skip", "start", "cursor", "after", "before", "sort", "order", "sortby")
SEARCHES = ("query", "q", "keyword", "keywords", "search", "searchquery", "searchterm", "term", "text")
TITLES = ("title", "name", "text", "headline", "username", "description")
DEFAULT_COUNT = 3


class ListReply(Reply):
    """The answer to a call for a list, in the making."""

    def _value(self, make: Generator | None) -> Any:
        if make is None:
            return super()._value(make)
        kept = any(collection == self.collection for collection, _ in self.session.records)
        if not kept and not self.arguments.flat and (shown := self._shown(make, {})) is not None:
            return shown
        place = self.role.list_place or ()
        node = make.merger.merged(make.root, (), 0, False)[0]
        for name in place:
            node = make.merger.merged(node.get("properties", {}).get(name, {}), (), 0, False)[0]
        schema = node.get("items", {})
        fields = make.merger.merged(schema, (), 0, False)[0].get("properties", {})
        most = self._limit(node)
        start = self._start(most)
        items = self._items(make, schema, fields, start)
        # What is invented for a page is that page.
        items = items[start : start + most] if self.world.closed[self.role.collection] is not None else items[:most]
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

    def _start(self, most: int) -> int:
        """How many items come before those that are asked for."""
        for name in ("offset", "skip", "start"):
            if type(self.arguments.flat.get(name)) is int:
                return max(0, self.arguments.flat[name])
        page = self.arguments.flat.get("page", self.arguments.flat.get("pagenumber", 1))
        return (page - 1) * most if type(page) is int and page > 1 else 0

    def _items(self, make: Generator, schema: Any, fields: dict[str, Any], start: int) -> list[Any]:
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
        closed = self.world.closed[self.role.collection] is not None
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
        return (found if start == 0 else []) + self._invented(make, schema, fields, filters, seen)

    def _item(self, make: Generator, schema: Any, key: Any, record: dict[str, Any]) -> Any:
        field = self.role.id_field
        # The kept id has its type; a key is text.
        identity = {plain(field): record.get(plain(field), record.get("id", key))} if field else {}
        return make(
            self.world.entity(self.collection, key), Given(record=record | identity), schema=schema, name=self.noun
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
            value = make(item, Given(arguments=self.deep, record=record), schema=schema, name=self.noun)
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
