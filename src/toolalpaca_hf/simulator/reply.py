"""Answers about one item, or about none: made from the schema, the arguments, and what the session knows."""

import json
import re
from typing import Any

from .answers import Answer, Call, encoded
from .arguments import Arguments
from .draws import Draws
from .formats import FORMATS
from .generate import Generator, Given
from .names import is_id, plain, singular, words_of
from .plausible import plausible_text
from .roles import CREATE, Role
from .world import World

SECRET = re.compile(r"key$|token|password|secret|^auth|credential", re.IGNORECASE)

# Names that say something else in every object: they are echoed in the object a request is about and nowhere below.
GENERIC = {"id", "name", "title", "type", "status", "description", "text", "value", "key", "code", "date", "format"}
SAID = ("message", "msg", "confirmation", "success")
PEOPLE = ("user", "profile", "person", "customer", "account", "member")


class Reply:
    """The answer to a call, in the making.

    Args:
        world ([`World`]): The world of the call's API.
        call ([`Call`]): The call.
        arguments ([`Arguments`]): What it says.
    """

    def __init__(self, world: World, call: Call, arguments: Arguments) -> None:
        self.world = world
        self.call = call
        self.session = call.session
        self.arguments = arguments
        self.role: Role = world.roles[call.endpoint]
        self.collection = world.concrete(self.role.collection, arguments)
        last = self.role.collection[-1] if self.role.collection else ""
        self.noun = "" if "{" in last else last
        self.deep = {name: value for name, value in arguments.flat.items() if name not in GENERIC}
        told = {name: value for name, value in arguments.flat.items() if not SECRET.search(name)}
        self.what = json.dumps([call.endpoint.name, told], sort_keys=True, ensure_ascii=False)

    def answer(self) -> Answer:
        """Make it, and remember what it made, changed or removed."""
        reply = self.call.endpoint.success
        value = self._value(reply.make)
        return encoded(reply.status, reply.media, value)

    def _value(self, make: Generator | None) -> Any:
        if self.role.action == "create":
            return self._create(make)
        if self.role.action in ("read", "update", "delete"):
            return self._one(make)
        return self._made(make, self.world.draws.child("call").child(self.what), {})

    def _made(self, make: Generator | None, draws: Draws, record: dict[str, Any]) -> Any:
        said = {name: self._message() for name in SAID[:3]}
        if make is None:
            return {"message": said["message"]} | {name: value for name, value in record.items() if name == "id"}
        known = said | self.arguments.flat | record
        shown = self._shown(make, record)
        if shown is not None:
            return shown
        about = self.role.about
        return make(
            draws,
            Given(arguments=self.deep, record=known, about=about, free=self._free(draws, record)),
            name=self.noun,
        )

    def _shown(self, make: Generator, record: dict[str, Any]) -> Any:
        """The document's own example of the answer, with the values of this call where it has fields for them."""
        reply = self.call.endpoint.success
        if not reply.shown or make is not reply.make:
            return None
        value = json.loads(json.dumps(reply.shown[0]))
        known = self.deep | record
        for key in value if isinstance(value, dict) else ():
            if plain(key) in known and type(known[plain(key)]) is type(value[key]):
                changed = value | {key: known[plain(key)]}
                value = changed if make.is_valid(changed) else value
        return value

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
        done = {"create": "created", "update": "updated", "delete": "deleted"}.get(self.role.action)
        segment = self.call.endpoint.segments[-1] if self.call.endpoint.segments else ""
        # `POST /generateAvatar` makes something, too, but not a generateavatar.
        named = (
            done != "created" or words_of(segment)[:1] in [(verb,) for verb in CREATE] or singular(segment) != segment
        )
        if done is None or not self.noun or not named:
            return "The request was completed successfully."
        return f"The {self.noun} was {done} successfully."

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
        return field or "id", self.world.closed[self.role.collection] or {}

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
