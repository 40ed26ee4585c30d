"""Schema objects back to the raw layout, so that tools made for the published files read what this package makes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..formats import step_log
from ..schema import HINT_MARK, REDACTED, Api, Instruction, Step, Trajectory


def raw_step(step: Step) -> list[Any]:
    """A step as the published files have it: `[[action, action input, text], observation]`.

    Example:

    ```python
    >>> raw_step(Step("I look.", "find", "{}", "ok"))
    [['find', '{}', ' I look.\\nASSISTANT Action: find\\nASSISTANT Action Input: {}'], 'ok']
    ```
    """
    return [[step.action, step.action_input, f" {step_log(step)}"], step.observation]


def raw_instance(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as an entry of `Instances`.

    Example:

    ```python
    >>> raw_instance(Trajectory("train/tides/0", "train/tides", "High tide?", "", [], "So.", "At noon."))["output"]
    'At noon.'
    ```
    """
    hint = f"{HINT_MARK}{trajectory.hint}" if trajectory.hint else ""
    return {
        "input": trajectory.instruction + hint,
        "output": trajectory.response,
        "Final Thought": trajectory.final_thought or "",
        "intermediate_steps": [raw_step(step) for step in trajectory.steps],
    }


def raw_api(
    api: Api,
    instances: Sequence[Mapping[str, Any]] | None = None,
    instructions: Sequence[Instruction] | None = None,
) -> dict[str, Any]:
    """An API in the raw layout.

    Args:
        api ([`Api`]):
            The API. The values of its credentials are not in it: `Authentication` holds `***` for each.
        instances (`Sequence[Mapping]`, *optional*):
            Entries of `Instances`, see [`raw_instance`].
        instructions (`Sequence[Instruction]`, *optional*):
            Its instructions and golden calls.

    Returns:
        `dict`: One entry of a file such as `train_data.json` or `eval_simulated.json`.

    Example:

    ```python
    >>> list(raw_api(Api("train/tides", "Tides"), instances=[]))[-2:]
    ['Function_Projection', 'Instances']
    ```
    """
    document = api.documentation
    raw: dict[str, Any] = {
        "Name": api.name,
        "Description": api.description,
        "Link": api.link,
        "Category": api.category,
        "Introduction": api.introduction,
        "Functions": api.function_list,
        "Documentation": document["text"] if set(document) == {"text"} else json.dumps(document, ensure_ascii=False),
        "NLDocumentation": api.nl_documentation,
        "Function_Description": {function.name: function.description for function in api.functions}
        | {"components": api.components},
        "Function_Projection": {function.name: [function.path, function.method] for function in api.functions},
    }
    if api.authentication:
        raw["Authentication"] = dict.fromkeys(api.authentication, REDACTED)
    if api.external_tools:
        raw["external_tools"] = list(api.external_tools)
    if instructions is not None:
        raw["Instructions"] = [one.instruction for one in instructions]
        raw["Golden_Answers"] = [
            [{"Action": call.action, "Action_Input": call.action_input} for call in one.golden_calls]
            for one in instructions
        ]
    if instances is not None:
        raw["Instances"] = list(instances)
    return raw
