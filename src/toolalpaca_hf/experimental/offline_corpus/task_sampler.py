"""Samples tasks for an API: calls that the simulator answers, and the source of each of their values."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from ...corpus import SimulatedEnvironment, observed, status_of, surface
from ...metrics import functions_in
from ...openapi import Operation
from ...simulator import SECRET, WORDS, Entities, Generator, Rng, fake_text, is_id, kind_of, plain, singular, words_of

_EXAMPLE = re.compile(
    r"\b(?:e\.g\.|for example|such as|example:)[,:]?\s*['\"`]?([\w /:.+@-]{2,40}?)['\"`]?"
    r"(?:[,);]|\.?$|\s+(?:or|for|is|and|to)\s)",
    re.I,
)
_NO_KINDS = ("name", "type", "id", "format", "code", "key", "at", "in", "version")


def made_value(name: str, schema: dict[str, Any], draws: Rng, depth: int = 0) -> Any:
    """A value from the enum, the document's examples, or guessed from the parameter's name; `None` if it has none
    that can be said."""
    generator, kind, value = Generator(schema), schema.get("type"), None
    if schema.get("enum"):
        options = [option for option in schema["enum"] if option not in (None, "")]
        value = draws.pick(options) if options else None
    elif kind == "array" and not depth:
        items = [made_value(name, schema.get("items", {}), draws.child(place), 1) for place in range(2)]
        value = list({json.dumps(item): item for item in items if item is not None}.values()) or None
    elif kind == "object" and not depth:
        properties = schema.get("properties", {})
        wanted = [key for key in properties if key in schema.get("required", ())] or list(properties)[:2]
        made = {key: made_value(key, properties[key], draws.child(key), 1) for key in wanted}
        value = made if made and None not in made.values() else None
    elif kind in ("string", None) and not {"format", "pattern"} & set(schema):
        value = _text(name, schema, draws)
    elif kind not in ("array", "object"):
        value = generator(draws, name=name)
    return value if value is not None and generator.is_valid(value) and _can_be_said(value) else None


def _text(name: str, schema: dict[str, Any], draws: Rng) -> str:
    description = str(schema.get("description", ""))
    if is_id(name):
        return fake_text(name, draws)
    if re.search(r"YYYY-?MM-?DD", description):
        return fake_text("date", draws)
    for key in ("example", "default"):
        if isinstance(schema.get(key), str) and schema[key].strip() and draws.integer(0, 1):
            return schema[key]
    if (found := _EXAMPLE.search(description)) and draws.integer(0, 1):
        return found[1].strip()
    words = words_of(name)
    if {"sort", "order", "by"} & set(words):
        return draws.pick(("date", "title", "name", "popularity"))
    if kind_of(name):
        return fake_text(name, draws)
    said = words_of(description)
    for end in (said[start : start + size] for size in (2, 1) for start in range(len(said) - size + 1)):
        if kind_of(" ".join(end)) and end[-1] not in _NO_KINDS:
            return fake_text(" ".join(end), draws)
    return f"{draws.pick(WORDS['adjective'])} {draws.pick(WORDS['noun'])}"


def _can_be_said(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value.strip()) <= 120 and value.isprintable() and '"' not in value
    if isinstance(value, list):
        return bool(value) and all(map(_can_be_said, value))
    return all(map(_can_be_said, value.values())) if isinstance(value, dict) else True


def wrong_value(name: str, schema: dict[str, Any], draws: Rng) -> Any:
    """A plausible mistake that the API rejects, a value outside the enum or an unknown id; `None` if there is none."""
    if schema.get("enum") and schema.get("type", "string") == "string":
        for option in [fake_text(name, draws), *(draws.pick(WORDS["noun"]) for _ in range(5))]:
            if " " not in option and option.casefold() not in {str(one).casefold() for one in schema["enum"]}:
                return option
    if is_id(name) and schema.get("type") == "integer":
        value = draws.integer(10_000_001, 99_999_999)
        return value if Generator(schema).is_valid(value) else None
    if is_id(name) and schema.get("type") == "string" and not {"format", "pattern", "maxLength"} & set(schema):
        # As the ids of what another session made, see `Entities.unknown`.
        return "5e55" + draws.text("0123456789abcdef", 8)
    return None


OPTIONAL = 2  # most optional parameters that somebody names
_PAGING = {"page", "offset", "cursor", "pagetoken", "skip", "callback", "format", "perpage", "pagesize"}
# Names that say something else in every answer: no value under them is taken for a parameter of another function.
_GENERIC = {"id", "name", "title", "type", "status", "description", "text", "value", "key", "code", "date", "message"}


@dataclass(frozen=True)
class ValueLink:
    """A value taken from an earlier answer."""

    call: int
    field: str
    which: str = "first"

    def value(self, answer: Any) -> Any:
        found = [value for name, value in surface(answer) if name == self.field]
        return (found[-1] if self.which == "last" else found[0]) if found else None


@dataclass(frozen=True)
class PlannedCall:
    function: str
    arguments: dict[str, Any]
    links: dict[str, ValueLink] = field(default_factory=dict)
    hidden: str | None = None
    wrong: Any = None


@dataclass(frozen=True)
class SampledTask:
    kind: str
    calls: tuple[PlannedCall, ...]


class TaskSampler:
    """Finds tasks for one API by trying out its functions."""

    def __init__(self, environment: SimulatedEnvironment, seed: int, longest: int = 2000) -> None:
        self.environment, self._longest = environment, longest
        functions = functions_in(environment.api)
        self.parameters = functions.parameters
        self.operations: Mapping[str, Operation] = functions.operations
        self.tried = list(self.parameters)
        self._credentials = functions.credentials
        self._entities = Entities(environment.simulated, seed)
        operations = environment.simulated.operations
        self._endpoints = {(operation.path.strip("/"), operation.method): operation for operation in operations}

    def limit(self, most: int, draws: Rng) -> None:
        """Sample tasks from at most this many functions, in the document's order."""
        names = list(self.parameters)
        chosen = {name for _, name in sorted((draws.child(name).integer(0, 2**60), name) for name in names)[:most]}
        self.tried = [name for name in names if name in chosen]

    def singles(self, draws: Rng) -> Iterator[PlannedCall]:
        """Each function that can be called, with new values every time this is called."""
        for name in self.tried:
            planned = self._planned(name, draws.child(name))
            if planned is not None and self._answer(planned) is not None:
                yield planned

    def chains(self, singles: list[PlannedCall], draws: Rng) -> Iterator[SampledTask]:
        """Two calls, the second of which uses a value from the first one's answer."""
        for first in singles:
            answer = self._answer(first)
            names = {name for name, value in surface(answer) if _fit_to_pass_on(value)}
            for second in singles:
                if second.function == first.function:
                    continue
                for name in self._required(second.function):
                    linked = self._field_for(name, second.function, first, names)
                    if linked is None:
                        continue
                    several = sum(field_name == linked for field_name, _ in surface(answer)) > 1
                    later = draws.child(first.function + name).integer(0, 2) == 0
                    link = ValueLink(0, linked, ("last" if later else "first") if several else "only")
                    own = {key: value for key, value in second.arguments.items() if key != name}
                    value = link.value(answer)
                    whole = PlannedCall(second.function, own | {name: value})
                    if value is not None and self._answer(first, whole) is not None:
                        yield SampledTask("chain", (first, PlannedCall(second.function, own, {name: link})))
                    break

    def details(self, single: PlannedCall, draws: Rng) -> SampledTask | None:
        """A call for which the user forgets a required value."""
        needed = [name for name in self._required(single.function) if name in single.arguments]
        return SampledTask("details", (replace(single, hidden=draws.pick(needed)),)) if needed else None

    def mistaken(self, single: PlannedCall, draws: Rng, corrected: bool = True) -> SampledTask | None:
        """A call for which the user gives a value that the API rejects and, if `mended`, corrects it when asked."""
        for name in single.arguments:
            wrong = wrong_value(name, self._schema(single.function, name), draws.child(name))
            said = replace(single, arguments=single.arguments | {name: wrong})
            if wrong is not None and (status_of(self._observation(said)) or 500) >= 400:
                if corrected:
                    return SampledTask("mistaken", (replace(single, hidden=name, wrong=wrong),))
                return SampledTask("unmended", (said,))
        return None

    def _required(self, function: str) -> list[str]:
        return [name for name in self.parameters[function].get("required", ()) if name not in self._credentials]

    def _schema(self, function: str, name: str) -> dict[str, Any]:
        return self.parameters[function]["properties"].get(name, {})

    def _planned(self, function: str, draws: Rng) -> PlannedCall | None:
        """A call with its required and some optional parameters; `None` if one of them cannot be put into words."""
        properties = self.parameters[function].get("properties", {})
        required = self._required(function)
        others = [name for name in properties if name not in (*required, *self._credentials)]
        others = [name for name in others if plain(name) not in _PAGING and not SECRET.search(name)]
        most = draws.integer(0 if required else 1, OPTIONAL) if others else 0
        chosen = {draws.pick(others) for _ in range(most)}
        arguments: dict[str, Any] = {}
        for name in [*required, *(name for name in others if name in chosen)]:
            value = self._value(function, name, draws.child(name), arguments)
            if name in required and (value is None or SECRET.search(name)):
                return None
            if value is not None and str(value) not in map(str, arguments.values()):
                arguments[name] = value
            elif name in required:
                return None
        return PlannedCall(function, arguments)

    def _value(self, function: str, name: str, draws: Rng, chosen: Mapping[str, Any]) -> Any:
        """A value; ids are taken from the simulated data, those of an item's own items by what was `chosen` before."""
        operation = self.operations[function]
        endpoint = self._endpoints.get((operation.path.strip("/"), operation.method))
        if endpoint is not None:
            role = self._entities.kinds(endpoint)
            owner, marker = role.collection if role.item == name and role.in_path else None, f"{{{name}}}"
            if marker in role.collection:  # what belongs to an item, such as /pets/{petId}/vaccinations
                owner = role.collection[: role.collection.index(marker)]
            if owner is not None and self._entities.closed(owner) is not None:
                collection = "/".join(str(chosen.get(part.strip("{}"), part)) for part in owner)
                ids = self._entities.seeded_ids(owner, collection) if "{" not in collection else []
                return draws.pick(ids) if ids else None
        return made_value(name, self._schema(function, name), draws)

    def _observation(self, *calls: PlannedCall) -> str:
        """The observation after the last of several calls."""
        with closing(self.environment.calls()) as made:
            return [made.call(call.function, to_json(call.arguments)) for call in calls][-1]

    def _answer(self, *calls: PlannedCall) -> Any:
        """The simulator's answer to the last call; `None` if it is an error, empty or too long."""
        observation = self._observation(*calls)
        good = (status_of(observation) or 500) < 300 and len(observation) <= self._longest
        return answer if good and (answer := observed(observation)) != "" else None

    def _field_for(self, name: str, function: str, first: PlannedCall, names: set[str]) -> str | None:
        """The field of the first call's answer that another function's parameter refers to."""
        asked = {plain(argument) for argument in first.arguments}
        own = plain(name)
        if own in asked:
            return None
        of_whom = singular("".join(words_of(name)[:-1])) if is_id(name) else ""
        speaks_of = {singular(word) for word in words_of(first.function)}
        for field_name in sorted(names) if own not in _GENERIC else ():
            if plain(field_name) == own:
                return field_name
        shared = speaks_of & {singular(word) for word in words_of(function)}
        refers = of_whom in speaks_of if of_whom else own == "id" and bool(shared)
        return "id" if refers and "id" in names else None


def _fit_to_pass_on(value: Any) -> bool:
    kind = isinstance(value, str | int) and not isinstance(value, bool)
    return kind and 0 < len(str(value)) <= 60 and str(value).count(" ") <= 3


def to_json(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)
