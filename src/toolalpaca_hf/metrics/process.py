"""The rules of the process verdict, after the guideline for ToolAlpaca's judges (arXiv 2306.05301), and a reward.

The reward is what reinforcement learning is given: one number for a trajectory, from the verdict and its parts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..formats import parse_arguments
from ..schema import REDACTED, Api, Call, Instruction, Step, turn_starts
from .calls import NO_API, OPTIONAL, call_validity, failure_of, golden_arguments, same_function
from .equality import determined, says, values_equal
from .matching import assign, functions_f1, match_calls

DETERMINED = 0.6
"""Of the words of a golden value, the share in the instruction from which the instruction determines it."""

FED = re.compile(r'"([^"]+)"\s*:\s*"?\$?\{[^{}]*\bfrom\s+([^\s{}]+)[^{}]*\}')
"""An argument whose value is another function's answer, and that function: `"petId": ${id from findPets}`."""

WEIGHTS: dict[str, float] = {"process": 0.6, "calls": 0.15, "arguments": 0.15, "validity": 0.05, "answer": 0.05}
"""What each part of a reward counts; they add up to 1."""

VERDICT_ONLY: dict[str, float] = {"process": 1.0}  # weights without partial credit

# What a simulator that fails on purpose answers in place of the API; a 404 of its own is an answer.
_FAILED = re.compile(r"Status Code: (401|429|500|504)\b")


@dataclass(frozen=True)
class ProcessVerdict:
    """A verdict on a trajectory's calls; for a No, the reason names the call and what is wrong."""

    verdict: Literal["Yes", "No"]
    reason: str


def judge_process(api: Api, instruction: Instruction, steps: Sequence[Step]) -> ProcessVerdict:
    """Judge the calls of a trajectory by rules that follow the paper's guideline.

    Every golden call needs a call of its own to the same function, answered with status 2xx, whose arguments are equal
    wherever the instruction determines them (see [`values_equal`] and [`determined`]), or where they distinguish it
    from another golden call. A golden call made exactly passes even if the API rejects it. What a golden call takes
    from an earlier answer must be in one, or in the instruction. Further calls of these functions, built-in tools and
    golden calls marked `[Optional]` are allowed; a call of any other function is unrelated, or, by `api`, invented.

    Example:

    ```python
    >>> instruction = Instruction("t/0", "t", "High tide in Nantes?", [Call("getTide", '{"port": "Nantes"}')])
    >>> step = Step("", "getTide", '{"port": "Brest"}', "Status Code: 200. Response: {}")
    >>> judge_process(Api("t", "Tides"), instruction, [step]).reason
    'getTide was called with port "Brest" where the golden call has "Nantes"'
    ```
    """
    seen = [[instruction.instruction, *(step.observation for step in steps[:start])] for start in turn_starts(steps)]
    try:
        golden = [_read(call, instruction.golden_calls) for call in instruction.golden_calls]
        needed = [call for call in golden if not call.optional]
        made = [_Made(*pair, parse_arguments(pair[0].action_input)) for pair in zip(steps, seen, strict=True)]
        # By golden call, what is wrong with each call of its function; `None` is nothing.
        faults = [
            {place: _fault(wanted, call) for place, call in enumerate(made) if wanted.is_called_by(call)}
            for wanted in needed
        ]
    except RecursionError:
        return ProcessVerdict("No", "a call has arguments that are nested too deep to be compared")
    for wanted, found in zip(needed, faults, strict=True):
        if not found:
            return ProcessVerdict("No", f"{wanted.action} was never called")
        if None not in found.values():
            return ProcessVerdict("No", min(filter(None, found.values()))[1])
    # Weights fall from golden call to golden call, so that of too many the last ones are left over.
    weights = [
        [(len(needed) - row) * (place in found and found[place] is None) for place in range(len(made))]
        for row, found in enumerate(faults)
    ]
    matched = {row for row, place in assign(weights) if weights[row][place]}
    if short := [wanted.action for row, wanted in enumerate(needed) if row not in matched]:
        return ProcessVerdict("No", f"{short[0]} was called fewer times than the golden calls have it")
    for call in made:
        if call.step.action not in NO_API and not any(wanted.is_called_by(call) for wanted in golden):
            known = any(same_function(function.name, call.step.action) for function in api.functions)
            what = "which no golden call asks for" if known or not api.functions else "which is no function of the API"
            return ProcessVerdict("No", f"{call.step.action} was called, {what}")
    return ProcessVerdict("Yes", "")


@dataclass(frozen=True)
class Reward:
    """A weighted sum, and its parts by name (see [`process_reward`]), each from 0 to 1."""

    value: float
    parts: dict[str, float]


def process_reward(
    api: Api,
    instruction: Instruction,
    steps: Sequence[Step],
    response: str = "",
    weights: Mapping[str, float] = WEIGHTS,
    faults: Sequence[str] = (),
) -> Reward:
    """Reward a trajectory. Further calls lower each part: neither calling everything nor calling nothing pays.

    - `process`: 1 if [`judge_process`] says Yes;
    - `calls`: F1 of the called functions against the golden ones, each as often as it was called ([`functions_f1`]);
    - `arguments`: F1 of the arguments' names with their values (`argument_f1` of [`match_calls`]);
    - `validity`: the share of steps whose arguments fit the document, identical repetitions taken off;
    - `answer`: 1 if there is a response, and one of the golden functions was called or none is golden.

    The weights [`VERDICT_ONLY`] give no partial credit. If a simulator made `faults`, `process` leaves out the calls
    that were refused so: they have to be made again, though they were right.

    Example:

    ```python
    >>> from toolalpaca_hf.schema import Call
    >>> instruction = Instruction("t/0", "t", "High tide in Nantes?", [Call("getTide", '{"port": "Nantes"}')])
    >>> process_reward(Api("t", "Tides"), instruction, [], "I am sorry, I cannot help with that.").value
    0.0
    ```
    """
    calls, needed = functions_f1(instruction.golden_calls, steps, api)
    validity = call_validity(api, steps)
    fitting = validity["valid_arguments"] - validity["repeated_identical"]
    counted = [step for step in steps if not (faults and _FAILED.match(step.observation))]
    parts = {
        "process": float(judge_process(api, instruction, counted).verdict == "Yes"),
        "calls": calls,
        "arguments": match_calls(instruction.golden_calls, steps, api, instruction.instruction)["argument_f1"],
        "validity": max(0, fitting) / len(steps) if steps else 0.0,
        "answer": float(bool(response.strip()) and (calls > 0 or not needed)),
    }
    return Reward(sum(weight * parts[name] for name, weight in weights.items()), parts)


class _Made(NamedTuple):
    step: Step
    seen: list[str]  # texts that the model had seen before
    arguments: dict[str, Any] | None  # `None`: unreadable


@dataclass(frozen=True)
class _Golden:
    action: str
    optional: bool
    arguments: dict[str, Any] | None  # `None`: unreadable
    fed: dict[str, str]  # arguments that an earlier answer provides, and the function that provides it
    telling: set[str]  # arguments that distinguish it from another golden call of its function

    def is_called_by(self, call: _Made) -> bool:
        return same_function(self.action, call.step.action)


def _read(call: Call, calls: Sequence[Call]) -> _Golden:
    arguments = golden_arguments(call.action_input)
    ours = None if arguments is None else flat(arguments)
    others = [flat(golden_arguments(c.action_input) or {}) for c in calls if same_function(c.action, call.action)]
    before = [other.action for other in calls[: calls.index(call)]]
    sources = FED.findall(call.action_input)
    fed = {name: source for name, source in sources if any(same_function(source, earlier) for earlier in before)}
    telling = {
        name
        for name, value in (ours or {}).items()
        if value != REDACTED and any(not values_equal(value, o.get(name, value), reworded=True) for o in others)
    }
    return _Golden(call.action.removeprefix(OPTIONAL), call.action.startswith(OPTIONAL), ours, fed, telling)


def _fault(wanted: _Golden, call: _Made) -> tuple[int, str] | None:
    """What is wrong with the call in place of the golden one, if anything; the fault of the least weight is named."""
    action, asked = call.step.action, call.seen[0]
    if action in NO_API:  # what is asked of the user is free text
        return None
    answered = not failure_of(call.step.observation)
    unanswered = 1, f"{action} was never answered with a status 2xx"
    if wanted.arguments is None:
        return None if answered else unanswered
    ours, theirs = wanted.arguments, flat(call.arguments or {})
    wrong, bent = [], call.arguments is None or theirs.keys() != ours.keys()
    for name, value in ours.items():
        given = theirs[name] if name in theirs else _renamed(name, value, theirs, ours)
        if given is not None and values_equal(value, given, reworded=True):
            continue
        bent = True
        if name in wanted.telling or determined(value, asked, share=DETERMINED):
            without = f"without {name}, which is {_quoted(value)} in the golden call"
            other = f"with {name} {_quoted(given)} where the golden call has {_quoted(value)}"
            wrong.append(f"{action} was called {without if given is None else other}")
    if wrong:
        return 1 + len(wrong), wrong[0]
    for name, source in wanted.fed.items():
        given = theirs.get(name)
        if isinstance(given, str | int) and not any(says(text, given) for text in call.seen):
            return 1, f"{action} was called with {name} {_quoted(given)}, which {source} had not answered"
    return unanswered if bent and not answered else None


def _renamed(name: str, value: Any, theirs: dict[str, Any], ours: dict[str, Any]) -> Any:
    """The value under a similar name that the golden call lacks (`name` for `sourceName`), else `None`."""
    for other, given in theirs.items():
        alike = other.casefold().endswith(name.casefold()) or name.casefold().endswith(other.casefold())
        if other not in ours and alike and values_equal(value, given, reworded=True):
            return given
    return None


def flat(arguments: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Flattened arguments without empty ones: nested ones are named `OUTER.INNER`."""
    found: dict[str, Any] = {}
    for key, value in arguments.items():
        if isinstance(value, dict):
            found |= flat(value, f"{name}{key}.")
        elif value not in ("", None, []):
            found[f"{name}{key}"] = value
    return found


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
