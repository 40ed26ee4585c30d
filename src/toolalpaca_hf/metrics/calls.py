"""The callable functions of an API, golden calls, and whether calls were valid and answered."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import ToolAlpacaError
from ..formats import GET_DETAILS, NO_CALL, parse_arguments
from ..openapi import (
    ApiRequest,
    CallError,
    Lazily,
    Operations,
    build_request,
    credential_names,
    document_of,
    tool_schema,
)
from ..schema import REDACTED, Api, Step, turn_starts

BUILT_IN = (GET_DETAILS, "datetime", "getDatetime", "retrieval", "retrievalDataFromFile")
"""Tools that are not the API's, by our names and by those of recorded runs."""

NO_API = (*BUILT_IN, NO_CALL)  # actions that call no function of an API

OPTIONAL = "[Optional]"  # what the published files put before the name of a golden call that may be left out

PARSED_APIS = 512  # that are kept; the published corpora have fewer


@dataclass(frozen=True, eq=False)
class Functions:
    """The functions of an API."""

    document: dict[str, Any]  # OpenAPI; empty if unreadable
    operations: Operations  # by name, as shown to a model; one that the document lacks is not `found`
    parameters: Mapping[str, dict[str, Any]]  # of each operation found, the JSON schema of its arguments
    credentials: frozenset[str]  # names of the parameters that carry them

    def parameters_of(self, name: str) -> dict[str, Any] | None:
        """The schema of a function's arguments, ignoring punctuation in its name; `None` if there is none."""
        own = name if name in self.parameters else next((n for n in self.parameters if same_function(name, n)), None)
        return None if own is None else self.parameters[own]


# An `Api` holds dicts and has no hash; two that share an id are told apart by identity.
_PARSED: dict[str, tuple[Api, Functions]] = {}


def functions_in(api: Api) -> Functions:
    """The functions of an API; cached, so an `Api` must not be changed afterwards."""
    if (parsed := _PARSED.get(api.id)) and parsed[0] is api:
        return parsed[1]
    document = document_of(api)
    operations = Operations(document, {function.name: [function.path, function.method] for function in api.functions})
    found = [name for name in operations if name not in operations.missing]
    parameters = Lazily(found, lambda name: tool_schema(operations[name])["function"]["parameters"])
    credentials = frozenset([*api.authentication, *credential_names(document)])
    functions = Functions(document, operations, parameters, credentials)
    if len(_PARSED) >= PARSED_APIS:
        _PARSED.clear()
    _PARSED[api.id] = (api, functions)
    return functions


def is_call(action: str, functions: Functions | None = None) -> bool:
    """Whether an action calls an API function, even one that does not exist, and not a built-in tool.

    `functions`, if given, are the API's, which may be named like a built-in tool.
    """
    own = functions is not None and action in functions.operations
    return own or (bool(action.strip()) and action not in NO_API)


def same_function(golden: str, made: str) -> bool:
    """Whether two names mean the same function: published golden names differ from the documents' in punctuation."""
    return bare_name(golden) == bare_name(made)


@lru_cache(maxsize=65536)
def bare_name(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.removeprefix(OPTIONAL)).casefold()


def golden_arguments(text: str) -> dict[str, Any] | None:
    """Arguments of a golden call, not always valid JSON; `None` if unreadable, which no call matches.

    Placeholders such as `${start date}` become `***`, which matches anything.

    Example:

    ```python
    >>> golden_arguments('{"animeId": ${animeId from searchAnime}}')
    {'animeId': '***'}
    ```
    """
    arguments = parse_arguments(text)
    if arguments is None:
        arguments = parse_arguments(re.sub(r'"?\$?\{[^{}":]*\}"?', json.dumps(REDACTED), text))
    try:
        return _opened(arguments)
    except RecursionError:
        return None


def _opened(value: Any) -> Any:
    """Replace every string that is entirely a placeholder, `${start date}` or `{start date}`, by `***`."""
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return REDACTED if isinstance(value, str) and re.fullmatch(r"\$?\{[^{}\":]*\}", value) else value


OF_STEPS = ("well_formed", "known_function", "json_object", "valid_arguments")
WHOLES = {**dict.fromkeys(OF_STEPS, "steps"), "answered_2xx": "calls", "recovered_errors": "errors"}
"""Counts that have a share, and the count that each is a share of."""

_STATUS = re.compile(r"\s*Status Code:\s*(\d{3})\b", re.ASCII)


def call_validity(api: Api, steps: Sequence[Step]) -> dict[str, Any]:
    """Count valid and invalid steps of one attempt.

    `getDetails` and the built-in tools are known functions, and any JSON object is valid input for them. Credentials
    are ignored, since they are added on sending. A function that the document lacks has no valid arguments.

    - Of `steps`, how many were `well_formed` (an action was parsed), named a `known_function`, had a `json_object` as
      input (an empty one is `{}`), and `valid_arguments`, and how many repeat an earlier one (`repeated_identical`).
    - Of `calls`, the steps that call a function of an API, real or invented, how many were `answered_2xx`.
    - Of `errors`, steps not answered with 2xx or, for built-in tools, whose input is not a JSON object, those followed
      by a success of the same function, or any success if no action was parsed (`recovered_errors`), and counts by
      kind (`error_kinds`): `no action`, `unknown function`, `not JSON`, `arguments: ...` with the first words of the
      validation error, `HTTP 404` and the like, `no answer`.
    - The names of functions that do not exist, sorted (`hallucinated`), and the counts as `shares` of their wholes.

    Example:

    ```python
    >>> steps = [Step("", "findTide", "{}", "There is no tool 'findTide'."), Step("", "getDetails", "{}", "Brest.")]
    >>> found = call_validity(Api("eval_real/tides", "Tides"), steps)
    >>> found["well_formed"], found["known_function"], found["hallucinated"], found["error_kinds"]
    (2, 1, ['findTide'], {'unknown function': 1})
    ```
    """
    functions = functions_in(api)
    counts, kinds = Counter(steps=len(steps)), Counter[str]()
    hallucinated, seen = set[str](), set[tuple[str, str]]()
    failed: list[tuple[str, int]] = []
    for step, start in zip(steps, turn_starts(steps), strict=True):
        named = bool(step.action.strip()) and step.action != NO_CALL
        known = step.action in functions.operations or step.action in BUILT_IN
        arguments = parse_arguments(step.action_input) if named else None
        call, failure = is_call(step.action, functions), failure_of(step.observation)
        unread = "no action" if not named else "unknown function" if not known else "not JSON"
        problem = _problem(functions, step) if known and arguments is not None else unread
        counts.update(well_formed=named, known_function=known, json_object=arguments is not None)
        counts.update(valid_arguments=not problem, calls=call, answered_2xx=call and not failure)
        if named and not known:
            hallucinated.add(step.action)
        if (call and failure) or (problem and not call):
            kinds[problem or failure] += 1
            failed.append((step.action if named else "", start))
        else:
            before = len(failed)
            # A call beside the one that failed is no answer to the error.
            failed = [(f, at) for f, at in failed if at == start or (f and not same_function(f, step.action))]
            counts["recovered_errors"] += before - len(failed)
        if named:
            written = step.action, _written(step.action_input, arguments)
            counts["repeated_identical"] += written in seen
            seen.add(written)
    counts["errors"] = kinds.total()
    return {
        **{name: counts[name] for name in ("steps", *OF_STEPS, "calls", "answered_2xx", "errors", "recovered_errors")},
        "hallucinated": sorted(hallucinated),
        "repeated_identical": counts["repeated_identical"],
        "error_kinds": dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))),
        "shares": shares_of(counts),
    }


def shares_of(counts: Mapping[str, int]) -> dict[str, float | None]:
    """The counts as shares of their totals; `None` if a total is 0."""
    return {name: counts[name] / counts[whole] if counts[whole] else None for name, whole in WHOLES.items()}


def _problem(functions: Functions, step: Step) -> str:
    """The kind of error in the arguments of a known function; empty if there is none."""
    operation = functions.operations.get(step.action)
    if operation is None:  # a built-in tool
        return ""
    if not operation.found:
        return "arguments: not in the document"
    reason = refusal(functions, step.action, step.action_input)
    # Without names and values: similar reasons are counted together.
    plain = re.sub(r"`[^`]*`|\([^)]*\)|\"[^\"]*\"", " ", reason)
    words = re.split(r"[.,;:]", plain.strip(), maxsplit=1)[0].split()[:6]
    return f"arguments: {' '.join(words).lower()}" if reason else ""


def refusal(functions: Functions, action: str, action_input: str) -> str:
    """Why the document does not take the arguments of a function; empty if it does."""
    # The call is only checked, so any server will do: a document may name none.
    made = request_or_refusal(functions, action, action_input, "http://api.invalid", functions.credentials)
    return made if isinstance(made, str) else ""


# The rollouts of a group, and the trials of an instruction, make the same calls.
@lru_cache(maxsize=4096)
def request_or_refusal(
    functions: Functions, action: str, action_input: str, server: str, credentials: frozenset[str]
) -> ApiRequest | str:
    """The request of a call, or what to change about it."""
    try:
        return build_request(functions.document, functions.operations[action], action_input, server, credentials)
    except CallError as error:
        return str(error)
    except ToolAlpacaError as error:
        return f"The call was not made: {error}."


def _written(action_input: str, arguments: dict[str, Any] | None) -> str:
    """Normalized input, so that repeats are detected despite different spacing."""
    try:
        return action_input.strip() if arguments is None else json.dumps(arguments, sort_keys=True)
    except RecursionError:
        return action_input.strip()


def failure_of(observation: str) -> str:
    """How a call failed; empty where it was answered, also into a file, as recorded runs say it."""
    if (found := _STATUS.match(observation)) is None:
        return "" if observation.startswith("The output is too long") else "no answer"
    return "" if found[1].startswith("2") else f"HTTP {found[1]}"
