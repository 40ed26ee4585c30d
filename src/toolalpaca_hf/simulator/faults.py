"""Lets the simulator fail on purpose, seeded and by rate, so that recovering can be trained and measured."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from ..errors import InputError, OptionError, nearest
from ..openapi import is_json_lines, mapping
from .responses import SimulatedCall, SimulatedResponse, dump_json, refuse
from .rng import Rng

FAULT_HEADER = "X-Toolalpaca-Fault"  # names the fault, for whoever measures; no model is shown it
# Faults in place of an answer, which leave the state as it is: status and reason.
REFUSALS: dict[str, tuple[int, str]] = {
    "rate_limit": (429, "Too many requests; try again in 1 second."),
    "server_error": (500, "Internal server error; nothing was changed."),
    "timeout": (504, "The server did not answer in time; nothing was changed."),
    "unauthorized": (401, "The access token has expired and is being renewed; try again."),
}
# And in an answer: nothing in it, a field under another name, half a list, what was true before the session.
FAULTS = (*REFUSALS, "empty", "renamed", "short_page", "stale")


@dataclass(frozen=True)
class FaultPlan:
    """When and how a simulator fails.

    Whether a request fails depends on the seed, the API, the request and how many the session made before it: the same
    rollout meets the same faults, and a request that is repeated is drawn anew.

    A kind of fault that does not fit the answer, as half a list without a list, gives way to another.
    """

    rate: float  # the probability that a request fails
    kinds: tuple[str, ...] = FAULTS
    apis: dict[str, float] | None = None  # rates of single APIs, by slug
    seed: int = 0

    def __post_init__(self) -> None:
        for rate in (self.rate, *(self.apis or {}).values()):
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise OptionError(f"{rate!r} is no probability", option="--faults", fix="pass one from 0 to 1")
        unknown = [kind for kind in self.kinds if kind not in FAULTS]
        if unknown or not self.kinds:
            problem = f"there is no fault {unknown[0]!r}" if unknown else "names no kind of fault"
            raise OptionError(problem, option="--faults", fix=f"choose among {', '.join(FAULTS)}")

    def check(self, slugs: Iterable[str]) -> None:
        """Raise an [`OptionError`] if the plan names an API that is not there."""
        known = list(slugs)
        for slug in self.apis or ():
            if slug not in known:
                fix = f"{nearest(slug, known)}name APIs by the last part of their address, as /health lists them"
                raise OptionError(f"there is no API {slug!r}", option="--faults", fix=fix)

    def draw(self, call: SimulatedCall, place: int) -> tuple[list[str], Rng]:
        """The faults to try at a session's `place`-th request, in order; none if it does not fail."""
        rng = Rng("faults", self.seed, call.api.slug, place, call.key())
        if rng.number(0, 1) >= (self.apis or {}).get(call.api.slug, self.rate):
            return [], rng
        left = list(self.kinds)
        return [left.pop(rng.integer(0, len(left) - 1)) for _ in self.kinds], rng


def read_faults(text: str | float | FaultPlan | None, seed: int = 0) -> FaultPlan | None:
    """Read a plan: a rate, or a YAML or JSON file with the fields of [`FaultPlan`].

    Example:

    ```python
    >>> read_faults("0.2").rate
    0.2
    ```
    """
    if text is None or isinstance(text, FaultPlan):
        return text
    try:
        return FaultPlan(float(text), seed=seed)
    except ValueError:
        path, known = Path(str(text)), get_type_hints(FaultPlan)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8").replace("\t", " "))  # JSON may hold tabs
        if not isinstance(given, dict) or "rate" not in given or set(given) - set(known):
            raise InputError(f"needs `rate`, and has only {', '.join(known)}", file=path, option="--faults")
        return TypeAdapter(FaultPlan).validate_json(json.dumps({"seed": seed} | given, default=str), strict=True)
    except ValidationError as error:
        where = [*error.errors()[0]["loc"], "JSON in it"][0]
        raise InputError(f"has no usable {where}", file=path, option="--faults") from None
    # JSON takes fewer keys than YAML.
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        problem = f"neither a rate nor a file that can be read ({str(error).splitlines()[0]})"
        raise InputError(problem, file=path, option="--faults", fix="pass 0.2") from None


def refused(call: SimulatedCall, kind: str) -> SimulatedResponse:
    """The response to a request that fails before it is looked at."""
    response = refuse(call.operation, *REFUSALS[kind])
    return replace(response, headers={"Retry-After": "1"} if kind == "rate_limit" else {})


def altered(response: SimulatedResponse, kind: str, rng: Rng) -> SimulatedResponse | None:
    """An answer with a fault in it; `None` if the fault does not fit it."""
    media = response.media.lower()
    if response.status // 100 != 2 or "json" not in media or is_json_lines(media):
        return None
    value = json.loads(response.body)
    # The list in an answer, or the answer itself.
    place = next((key for key, part in mapping(value).items() if isinstance(part, list)), None)
    items = value if place is None else value[place]
    if kind == "renamed":
        changed = _renamed(value, rng)
    elif isinstance(items, list):
        part = [] if kind == "empty" else items[: max(1, len(items) // 2)]
        changed = part if place is None else value | {place: part}
    else:
        changed = {} if kind == "empty" and isinstance(value, dict) else value
    return None if changed == value else replace(response, body=dump_json(changed))


def _renamed(value: Any, rng: Rng) -> Any:
    items = [mapping(item) for item in (value if isinstance(value, list) else [value])]
    names = sorted({name for item in items for name in item})
    if not names:
        return value
    old = rng.pick(names)
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", old).lower()
    new = snake if snake != old else f"x_{old}"
    renamed = [{new if name == old else name: part for name, part in item.items()} for item in items]
    if not isinstance(value, list):
        return renamed[0]
    return [found if isinstance(item, dict) else item for found, item in zip(renamed, value, strict=True)]
