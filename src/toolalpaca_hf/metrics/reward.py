"""One number for a trajectory, from the process verdict and its parts: what reinforcement learning is given."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..schema import Api, Instruction, Step
from .calls import OPTIONAL, call_validity, functions_in, is_call, same_function
from .matching import match_calls
from .process import judge_process

WEIGHTS: dict[str, float] = {"process": 0.6, "calls": 0.15, "arguments": 0.15, "validity": 0.05, "answer": 0.05}
"""What each part of a reward counts; they add up to 1."""

VERDICT_ONLY: dict[str, float] = {"process": 1.0}
"""Weights without partial credit."""

# What a simulator that fails on purpose answers in place of the API; a 404 of its own is an answer.
_FAILED = re.compile(r"Status Code: (401|429|500|504)\b")


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
    """Reward a trajectory.

    Each part is a share that further calls lower, so that neither calling everything nor calling nothing pays:

    - `process`: 1 if [`judge_process`] says Yes;
    - `calls`: F1 of the called functions against the golden ones, each as often as it was called;
    - `arguments`: F1 of the arguments' names with their values (`argument_f1` of [`match_calls`]);
    - `validity`: the share of steps whose arguments fit the document, identical repetitions taken off;
    - `answer`: 1 if there is a response, and one of the golden functions was called or none is golden.

    Args:
        api, instruction, steps: As in [`judge_process`].
        response (`str`, *optional*, defaults to `""`): The answer to the user.
        weights (`Mapping[str, float]`, *optional*, defaults to [`WEIGHTS`]): [`VERDICT_ONLY`] gives no partial credit.
        faults (`Sequence[str]`, *optional*): The faults that a simulator made. If there are any, `process` leaves out
            the calls that were refused so: they have to be made again, though they were right.

    Example:

    ```python
    >>> from toolalpaca_hf.schema import Call
    >>> instruction = Instruction("t/0", "t", "High tide in Nantes?", [Call("getTide", '{"port": "Nantes"}')])
    >>> process_reward(Api("t", "Tides"), instruction, [], "I am sorry, I cannot help with that.").value
    0.0
    ```
    """
    functions = functions_in(api)
    made = [step.action for step in steps if is_call(step.action, functions)]
    golden = [call.action for call in instruction.golden_calls if not call.action.startswith(OPTIONAL)]
    named = Counter(next((own for own in golden if same_function(own, name)), name) for name in made)
    both = (Counter(golden) & named).total()
    calls = 2 * both / (len(golden) + len(made)) if both else float(not golden and not made)
    validity = call_validity(api, steps)
    fitting = validity["valid_arguments"] - validity["repeated_identical"]
    counted = [step for step in steps if not (faults and _FAILED.match(step.observation))]
    parts = {
        "process": float(judge_process(api, instruction, counted).verdict == "Yes"),
        "calls": calls,
        "arguments": match_calls(instruction.golden_calls, steps, api, instruction.instruction)["argument_f1"],
        "validity": max(0, fitting) / len(steps) if steps else 0.0,
        "answer": float(bool(response.strip()) and (calls > 0 or not golden)),
    }
    return Reward(sum(weight * parts[name] for name, weight in weights.items()), parts)
