"""Filters that an instance has to pass, each with the reason for a rejection, and where values of calls are from."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from ...checkpoints import load_tokenizer
from ...errors import OptionError, ToolAlpacaError
from ...formats import GET_DETAILS, NO_CALL, api_for_row, parse_arguments, react_prompt, trajectory_segments
from ...metrics import BUILT_IN, Functions, determined, functions_in, numbers_in
from ...openapi import listed, mapping
from ...schema import REDACTED, Api, Step, Trajectory, turn_starts
from ..config import FilterSettings

_ANSWER = re.compile(r"Status Code: (\d{3})\. Response: ", re.ASCII)


def status_of(observation: str) -> int | None:
    """The HTTP status of an observation; `None` if the API did not answer."""
    found = _ANSWER.match(observation)
    return int(found[1]) if found else None


def observed(observation: str) -> Any:
    """The JSON value of an observation, else its text."""
    words = _ANSWER.sub("", observation, count=1)
    try:
        return json.loads(words)
    except (ValueError, RecursionError):
        return words


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The scalars inside a value with their field names; empty strings and nulls are skipped."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, str(key))
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, name)
    elif value is not None and value != "":
        yield name, value


def surface(answer: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The scalars at the top level of an answer, or of the items of a list; objects nested deeper are skipped."""
    if isinstance(answer, list):
        for part in answer:
            yield from surface(part, depth)
    elif isinstance(answer, dict):
        for name, part in answer.items():
            if isinstance(part, list) and part and isinstance(part[0], dict):
                yield from surface(part, depth + 1)
            elif isinstance(part, dict):
                if depth == 0 and all(isinstance(other, dict | bool) for other in answer.values()):
                    yield from surface(part, depth + 1)
            elif isinstance(part, str | int | float) and part != "":
                yield str(name), part


def said_in(value: Any, name: str, texts: Sequence[str], codes: bool = False) -> bool:
    """Whether a text contains a scalar: verbatim, as a number in any spelling, or as a date in another form.

    A boolean is said by the parameter's `name`; with `codes`, values of up to three letters, such as `en`, pass.

    Example:

    ```python
    >>> said_in("2024-01-05", "date", ["Holidays on January 5th?"]), said_in(7, "id", ['{"id": "07"}'])
    (True, True)
    ```
    """
    if value == REDACTED or any(determined(value, text, name, codes) for text in texts):
        return True
    # An address or an id with signs inside is cut into words above; as it is, it may stand anywhere.
    written = str(value).strip().casefold()
    return len(written) > 3 and any(written in text.casefold() for text in texts)


_FIGURE = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w])", re.ASCII)
_URL_OR_MAIL = re.compile(r"https?://[^\s\"'<>)\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MIXED = re.compile(r"(?<!\w)(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{4,}(?!\w)", re.ASCII)

# A figure with its unit: `15th`, `20km`, `7-day`.
_UNIT = re.compile(r"(?<![\w.-])(\d+(?:\.\d+)?)(?:st|nd|rd|th|-[a-z]+|[a-z]{1,3})(?![\w-])")


def unsupported(response: str, texts: Sequence[str], about: str = "") -> str | None:
    """The first address, code, name or figure of a response that no text contains; `None` if there is none."""
    together = "\n".join(texts)
    folded = f"{together}\n{about}\n{_days(together)}".casefold()
    plain = _UNIT.sub(r"\1", _URL_OR_MAIL.sub(" ", response))
    for pattern, text in ((_URL_OR_MAIL, response), (_MIXED, plain)):
        for found in pattern.finditer(text):
            if found[0].rstrip(".,;:!?").casefold() not in folded:
                return found[0]
    # Numbers of the texts, also those inside dates, times and codes; the response may round them.
    known = {abs(number) for number in numbers_in(together)}
    known |= {Decimal(digits) for digits in re.findall(r"\d+(?:\.\d+)?", together, re.ASCII)}
    known |= {Decimal(int(hour) - 12) for hour in re.findall(r"(?<!\d)(1[3-9]|2[0-3]):[0-5]\d", together)}
    # It may count items, too.
    most = max((_longest(observed(text)) for text in texts), default=0)
    for found in _FIGURE.finditer(plain):
        number = abs(Decimal(found[0].replace(",", "").rstrip(".")))
        if number not in known and number > most and not any(_rounds(one, number) for one in known):
            return found[0]
    return next((name for name in _names(response) if name.casefold().removesuffix("s") not in folded), None)


def _days(text: str) -> str:
    """Weekday and month of the dates in a text, as a response may name them."""
    days = []
    for written in set(re.findall(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)", text, re.ASCII)):
        with suppress(ValueError):
            days.append(f"{date.fromisoformat(written):%A %B}")
    return " ".join(days)


def _rounds(exact: Decimal, rounded: Decimal) -> bool:
    places = -int(rounded.as_tuple().exponent)
    try:
        return round(exact, places) == rounded and places < -int(exact.as_tuple().exponent)
    except ArithmeticError:
        return False


def _longest(value: Any) -> int:
    longest, left = 0, [value]
    while left:  # not by recursion: an answer may be nested deeply
        part = left.pop()
        longest = max(longest, len(listed(part)))
        left += part.values() if isinstance(part, dict) else listed(part)
    return longest


def _names(response: str) -> Iterator[str]:
    """Words capitalized within a sentence, and quoted strings."""
    for quoted in re.finditer(r"\"([^\"\n]{2,80})\"|“([^”\n]{2,80})”", response):
        yield (quoted[1] or quoted[2]).strip(" .,;:!?")
    for found in re.finditer(r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b", response):
        yield found[0]


FILTERS = {
    "finished": "ended with a response",
    "well_formed": "every turn calls a function of the API, with a JSON object",
    "grounded": "every argument is in the instruction or in an earlier observation",
    "no_placeholders": "no placeholder was copied",
    "supported": "the response says nothing that no observation does",
    "length": "fits the training limit",
}
"""What an instance has to be, in the order of the filters: the first that fails is what a report counts."""

_PLACEHOLDER = re.compile(
    r"<[A-Za-z][\w -]{0,40}>|\$\{[^{}]{0,60}\}|\{\{?[A-Za-z][\w .-]{0,40}\}?\}"
    r"|\[(?:insert|your|enter|name|date|id|city)\b[^\]]{0,40}\]"
    r"|\b(?:your|my)[_-]?(?:api|access)?[_-]?(?:key|token|id)[_-]?(?:here)?\b(?=$|_|-)|\bx{4,}\b|\blorem ipsum\b",
    re.IGNORECASE,
)
_STAND_IN = re.compile(
    r"string|text|value|placeholder|example|sample|test|todo|tbd|n/?a|none|null|unknown|undefined|foo|bar|\.\.\.|"
    r"your[ _-].{1,40}|(?:some|an?|the)[ _-](?:id|name|value|string|key|token)",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"\b(?:sorry|unfortunately|unable|fail(?:ed|s|ure)?|error|not|no|none|cannot|could ?n.t|can.t|"
    r"(?:is|are|was|were|do|does|did|wo)n.t|invalid|refus\w+|problem|wrong|missing|without success)\b",
    re.IGNORECASE,
)
# Words of an admission that admit nothing.
_REASSURES = re.compile(
    r"\b(?:no|not an?|without(?: any| an?)?) (?:problems?|worr(?:y|ies)|trouble|issues?|errors?"
    r"|failures?|doubt|need|rush)\b"
    r"|\b(?:do not|don.t|need not|need ?n.t|not to) (?:worry|forget|hesitate|miss)\b|\bnot only\b",
    re.IGNORECASE,
)
_COUNTING = threading.Lock()


def count_tokens(text: str, settings: FilterSettings) -> int:
    """Number of tokens of a text, estimated without a tokenizer."""
    if settings.tokenizer is None:
        return round(len(text) / settings.characters)
    # Threads would load it at once, and some tokenizers cannot be called by two.
    with _COUNTING:
        return len(_loaded(settings.tokenizer)(text, verbose=False)["input_ids"])


@cache
def _loaded(name: str) -> Any:
    try:
        return load_tokenizer(name, "name a folder, a Hub id or smollm2")
    except ToolAlpacaError as error:
        option = "simulation.gates.tokenizer"
        raise OptionError(error.problem, file=error.file, option=option, fix=error.fix) from None


@dataclass(frozen=True)
class SimulatedInstance:
    """An instance with the results of [`apply_filters`] and its provenance."""

    trajectory: Trajectory
    gates: dict[str, str | None]
    provenance: dict[str, Any]

    @property
    def kept(self) -> bool:
        return not any(self.gates.values())


def row_tokens(api: Api, trajectory: Trajectory, settings: FilterSettings) -> int:
    """Number of tokens of a training row."""
    segments = trajectory_segments(api_for_row(api, trajectory), trajectory, react_prompt())
    return count_tokens("".join(segment.text for segment in segments), settings)


def apply_filters(
    api: Api, instruction: str, trajectory: Trajectory, settings: FilterSettings | None = None, ended: str = "answered"
) -> dict[str, str | None]:
    """Put an instance through every filter: by the names in `FILTERS`, why it failed, and `None` where it passed.

    The `instruction` is what the user asked, without hidden details; for `ended` see [`agent.Result`].

    Example:

    ```python
    >>> step = Step("I look it up.", "findTide", '{"port": "Nantes"}', 'Status Code: 200. Response: {"high":"12:30"}')
    >>> trajectory = Trajectory("", "", "", "", [step], "So.", "At 12:30.")
    >>> apply_filters(Api("train/tides", "Tides"), "High tide in Brest?", trajectory)["well_formed"]
    'turn 1 calls "findTide", which is no function of the API'
    ```
    """
    settings = settings or FilterSettings()
    functions = functions_in(api)
    return {
        "finished": _unfinished(trajectory, ended),
        "well_formed": _malformed(functions, trajectory.steps),
        "grounded": _ungrounded(functions, instruction, trajectory.steps, settings.codes),
        "no_placeholders": _placeholder(functions, instruction, trajectory),
        "supported": _unsupported(api, instruction, trajectory),
        "length": _too_long(api, trajectory, settings),
    }


def _unfinished(trajectory: Trajectory, ended: str) -> str | None:
    if ended != "answered":
        why = {name: f"at the limit on {name}" for name in ("steps", "tokens", "time")}
        why |= {"unread": "at a turn that could not be read", "failed": "because a model could not be asked"}
        return f"it ended {why.get(ended, ended)}, without a response"
    return None if trajectory.response.strip() else "it has no response"


def _malformed(functions: Functions, steps: Sequence[Step]) -> str | None:
    if not steps:
        return "it calls nothing"
    for number, step in enumerate(steps, 1):
        if not step.action.strip() or step.action == NO_CALL:
            return f"turn {number} holds neither an action nor a response"
        if step.action not in functions.operations and step.action not in BUILT_IN:
            return f"turn {number} calls {_quoted(step.action)}, which is no function of the API"
        if parse_arguments(step.action_input) is None:
            return f"the input of {step.action} in turn {number} is no JSON object"
    return "it calls no function of the API" if all(step.action in BUILT_IN for step in steps) else None


def _ungrounded(functions: Functions, instruction: str, steps: Sequence[Step], codes: bool) -> str | None:
    for step, start in zip(steps, turn_starts(steps), strict=True):
        texts = [instruction, *(earlier.observation for earlier in steps[:start])]
        properties = functions.parameters.get(step.action, {}).get("properties", {})
        arguments = (parse_arguments(step.action_input) or {}) if step.action in functions.operations else {}
        for top, given in arguments.items():
            schema = properties.get(top, {})
            # Credentials are filled in on sending, and a default needs no source.
            if top in functions.credentials or ("default" in schema and schema["default"] == given):
                continue
            # These may be the user's wish in other words.
            if codes and (isinstance(given, bool) or _are_listed(given, schema)):
                continue
            for name, value in leaves(given, top):
                if not said_in(value, name, texts, codes):
                    called = f"{step.action} was called with {name} {_quoted(value)}"
                    return f"{called}, which neither the user nor an observation had said"
    return None


def _are_listed(given: Any, schema: dict[str, Any]) -> bool:
    """Whether the document enumerates a value, or those of a list."""
    enumerated = schema.get("enum") or mapping(schema.get("items")).get("enum") or ()
    return given in enumerated or (isinstance(given, list) and all(value in enumerated for value in given))


def _placeholder(functions: Functions, instruction: str, trajectory: Trajectory) -> str | None:
    """A placeholder that the model invented: it occurs in its output but in no text it was given."""
    given = [instruction, *(step.observation for step in trajectory.steps)]
    for step, start in zip(trajectory.steps, turn_starts(trajectory.steps), strict=True):
        before = "\n".join(given[: 1 + start]).casefold()
        properties = functions.parameters.get(step.action, {}).get("properties", {})
        for name, value in leaves(parse_arguments(step.action_input) or {}):
            # What the document lists is a value, such as the format `text`.
            if not isinstance(value, str) or _are_listed(value, properties.get(name, {})):
                continue
            found = _PLACEHOLDER.search(value) if step.action != GET_DETAILS else None
            if (found or _STAND_IN.fullmatch(value.strip())) and value.casefold() not in before:
                return f"{step.action} was called with the placeholder {_quoted(value)} for {name}"
    together = "\n".join(given)
    # The prompt's own words for thoughts and responses, which small models copy.
    head = react_prompt().head(Api("", ""), "")
    stand_ins = {line.partition(": ")[2].strip() for line in head.splitlines() if ": " in line} - {""}
    for what, words in (("response", trajectory.response), ("final thought", trajectory.final_thought or "")):
        found = _PLACEHOLDER.search(words)
        if found and found[0] not in together:
            return f"the {what} holds the placeholder {_quoted(found[0])}"
        if words.strip() in stand_ins:
            return f"the {what} is copied from the prompt"
    return None


def _unsupported(api: Api, instruction: str, trajectory: Trajectory) -> str | None:
    response = trajectory.response.strip()
    if not response:
        return "there is no response to support"
    steps = trajectory.steps
    statuses = [status_of(step.observation) for step in steps if step.action != GET_DETAILS]
    answered = any(status is not None and status < 300 for status in statuses)
    if statuses and not answered and not _ADMITS.search(_REASSURES.sub(" ", response)):
        return "no call was answered with success, and the response does not say so"
    texts = [instruction, *(text for step in steps for text in (step.action_input, step.observation))]
    about = " ".join([api.name, api.description, *(function.description for function in api.functions)])
    found = unsupported(response, texts, about)
    return None if found is None else f"the response says {_quoted(found)}, which no observation does"


def _too_long(api: Api, trajectory: Trajectory, settings: FilterSettings) -> str | None:
    tokens = row_tokens(api, trajectory, settings)
    if tokens <= settings.max_tokens:
        return None
    about = "" if settings.tokenizer else "about "
    return f"it has {about}{tokens} tokens, and {settings.max_tokens} is the limit of training"


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if len(text) <= 80 else f'"{text[:77]}..."'
