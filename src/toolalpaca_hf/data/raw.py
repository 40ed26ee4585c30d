"""Converts between the published layouts and this package's objects. Unusable rows raise [`Unusable`]."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..formats import split_log, step_log
from ..openapi import mapping, to_text
from ..schema import HINT_MARK, REDACTED, Api, Call, Function, Instruction, Step, Trajectory
from ..storage import read_text, too_deep
from .credentials import authentication_names, without_example_keys

RAW_LAYOUT = (
    "the raw layout (a JSON list of APIs, each with its OpenAPI document and its instructions, such as "
    "train_data.json and eval_simulated.json)"
)
_OPENAPI = f"an OpenAPI document, not {RAW_LAYOUT}"
_OPENAPI_FIX = "ask about it with `toolalpaca run --instruction`, or make some by `toolalpaca corpus build --offline`"
# Texts of an API that both have, by our names.
_TEXTS = {"description": "Description", "link": "Link", "category": "Category", "introduction": "Introduction"}
_TEXTS |= {"function_list": "Functions"}


class Unusable(Exception):
    """A row that cannot be used; the message is the reason."""


def read_json(path: Path) -> Any:
    """Parse a JSON file; [`NotFoundError`] if missing, [`InputError`] if unreadable, not UTF-8, or not only JSON."""
    text = read_text(path, "check the path")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if re.search(r"^[^\S\n{]*[\"']?(openapi|swagger)[\"']?\s*:", text[:100_000], re.MULTILINE):  # YAML, or JSON
            raise InputError(_OPENAPI, file=path, fix=_OPENAPI_FIX) from None
        # For an unterminated string, the error's position is where it starts.
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise InputError("JSON that ends in the middle", file=path, fix="get the file again") from None
        place = f"line {error.lineno}, " if "\n" in text.rstrip() else ""
        problem = f"not JSON ({error.msg.removesuffix(' at')} at {place}column {error.colno})"
        raise InputError(problem, file=path) from None
    except RecursionError:
        raise InputError("nested too deep", file=path) from None
    except ValueError as error:  # a number of too many digits
        raise InputError(f"not JSON that can be read ({error})", file=path) from None


def read_raw(path: Path) -> list[Any]:
    """The APIs of a file in the raw layout, such as `train_data.json`, not checked; else [`InputError`]."""
    rows: Any = read_json(path)
    if isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
        raise InputError("the processed layout, [[texts], [flags]]", file=path, fix="pass it with --processed")
    if isinstance(rows, dict) and ("openapi" in rows or "swagger" in rows):
        raise InputError(_OPENAPI, file=path, fix=_OPENAPI_FIX)
    apis = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not any("Function_Projection" in api for api in apis):
        documented = any("Documentation" in api for api in apis)
        is_list = (apis and not documented) or (isinstance(rows, dict) and "entries" in rows)
        kind = "a list of public APIs" if is_list else "another layout"
        fix = "give each API a Name and a Function_Projection"
        fix += "; `toolalpaca apis docs` makes it of the Documentation" if documented else ""
        raise InputError(f"{kind}, not {RAW_LAYOUT}", file=path, fix=fix)
    return [_without_deep_parts(row) if too_deep(row) else row for row in rows]


def _without_deep_parts(api: Any) -> Any:
    """An API whose rows that are nested too deeply are records of an error, so that the others can be read."""

    def checked(value: Any) -> Any:
        return {"error": "nested too deeply"} if too_deep(value) else value

    if not isinstance(api, dict):
        return checked(api)
    return {name: [*map(checked, value)] if isinstance(value, list) else checked(value) for name, value in api.items()}


def _text(value: Any) -> str:
    """Text unchanged, `None` as `""`, any other value as JSON."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _functions(projection: Any, descriptions: Mapping[str, Any]) -> list[Function]:
    if not isinstance(projection, dict):
        raise Unusable("has no Function_Projection, so none of its functions can be named")
    for name, place in projection.items():
        if not (isinstance(place, list) and len(place) == 2 and all(isinstance(part, str) for part in place)):
            raise Unusable(f"Function_Projection of {name} is not [path, method]")
    places = projection.items()
    return [Function(name, path, method.lower(), _text(descriptions.get(name))) for name, (path, method) in places]


def read_api(raw: Any, api_id: str) -> Api:
    """Convert an API of the raw layout, without credentials, to a row; [`Unusable`] without a function table."""
    descriptions, tools = mapping(raw.get("Function_Description")), raw.get("external_tools")
    document = raw.get("Documentation")
    if not isinstance(document, dict):  # not a JSON object
        document = {"text": _text(document)} if document else {}
    return Api(
        id=api_id,
        name=raw["Name"],
        **{field: _text(raw.get(name)) for field, name in _TEXTS.items()},
        documentation=document,
        nl_documentation=_text(raw.get("NLDocumentation")),
        functions=_functions(raw.get("Function_Projection"), descriptions),
        components=_text(descriptions.get("components")),
        authentication=authentication_names(raw.get("Authentication")),
        external_tools=[_text(tool) for tool in tools] if isinstance(tools, list) else [],
    )


def _step(raw: Any, place: int) -> Step:
    head = raw[0] if isinstance(raw, list) and len(raw) == 2 else None
    if not isinstance(head, list) or not 2 <= len(head) <= 3 or not isinstance(head[0], str):
        raise Unusable(f"step {place} is not [[action, action input, text], observation]")
    action, action_input = head[0], _text(head[1])
    # Without a text of the model its thought is lost, its action is not.
    thought, log = split_log(action, action_input, _text(head[2])) if len(head) == 3 else ("", None)
    return Step(thought, action, action_input, _text(raw[1]), log)


def read_instance(raw: Any, api_id: str, index: int, instructions: Any = None) -> Trajectory:
    """Convert an entry of `Instances`, with steps as published; one without `input` takes it from `instructions`.

    [`Unusable`] if it records an error, has neither steps nor a response, or a step has another layout.
    """
    if not isinstance(raw, dict):
        text = isinstance(raw, str)
        raise Unusable(f"is a bare text: {raw[:80]!r}" if text else f"is a {type(raw).__name__}, not an object")
    if raw.get("error") is not None and not (raw.get("intermediate_steps") and raw.get("output")):
        raise Unusable(f"records an error: {_text(raw['error'])[:80]!r}")
    text = raw.get("input")
    if text is None and isinstance(instructions, list) and index < len(instructions):
        text = instructions[index]
    if not isinstance(text, str) or not text.strip():
        raise Unusable("has no input")
    steps = raw.get("intermediate_steps") or []
    response = _text(raw.get("output"))
    if not isinstance(steps, list):
        raise Unusable("intermediate_steps is not a list")
    if not steps and not response:
        raise Unusable("has neither steps nor output")
    instruction, mark, hint = text.rpartition(HINT_MARK)
    thought, beside, reasoning = (raw.get(name) for name in ("Final Thought", "Parallel Steps", "Reasoning"))
    beside, reasoning = (value if isinstance(value, list) else [] for value in (beside, reasoning))
    steps = [
        replace(_step(step, place), parallel=place in beside, reasoning=_text(said))
        for place, (step, said) in enumerate(zip_longest(steps, reasoning[: len(steps)], fillvalue=""))
    ]
    return Trajectory(
        id=f"{api_id}/{index}",
        api=api_id,
        instruction=instruction if mark else text,
        hint=hint if mark else "",
        steps=steps,
        final_thought=None if thought is None else _text(thought),
        response=response,
    )


def read_instruction(text: Any, golden: Any, api_id: str, index: int) -> Instruction:
    """Convert an entry of `Instructions` and its golden calls; [`Unusable`] if missing, or of another layout."""
    if not isinstance(text, str) or not text.strip():
        raise Unusable("is not a text")
    if not isinstance(golden, list):
        raise Unusable("has no golden answer")
    calls = []
    for place, call in enumerate(golden):
        known = {re.sub(r"[\W_]+", "", name).lower(): value for name, value in mapping(call).items()}
        action = known.get("action")  # some files have `Action Input` or `action_input`
        if not isinstance(action, str) or not action.strip():
            raise Unusable(f"golden call {place} has no Action")
        calls.append(Call(action, _text(known.get("actioninput"))))
    instruction, mark, _ = text.rpartition(HINT_MARK)
    return Instruction(f"{api_id}/{index}", api_id, instruction if mark else text, calls)


def read_processed(path: Path) -> list[Any]:
    """The rows of a file in the processed layout, not checked; else [`InputError`]."""
    rows = read_json(path)
    if not isinstance(rows, list) or not any(isinstance(row, list) and len(row) == 2 for row in rows):
        raise InputError("no list of [[texts], [flags]]", file=path, fix="pass raw files with --train")
    return rows


def sft_row(raw: Any, row_id: str) -> dict[str, Any]:
    """Convert a row of the processed layout to one of the `sft` config; its `api` is `None`, being unknown."""
    if not (isinstance(raw, list) and len(raw) == 2 and all(isinstance(half, list) for half in raw)):
        raise Unusable("is not [[texts], [flags]]")
    texts, flags = raw
    if len(texts) != len(flags) or not texts:
        raise Unusable(f"has {len(texts)} texts and {len(flags)} flags")
    if not all(isinstance(text, str) for text in texts) or not all(flag in (0, 1) for flag in flags):
        raise Unusable("has a text that is not a string or a flag that is not true or false")
    segments = [{"text": text, "trainable": bool(flag)} for text, flag in zip(texts, flags, strict=True)]
    return {"id": row_id, "api": None, "segments": segments}


def trajectory_of(row: Mapping[str, Any]) -> Trajectory:
    """The trajectory in a row of `trajectories` or a run; `KeyError`, `TypeError` or `AttributeError` without one."""
    steps = []
    for raw in row["steps"]:
        said = {name: raw.get(name) for name in ("thought", "action_input", "observation", "reasoning")}
        texts = {name: "" if value is None else to_text(value) for name, value in said.items()}
        steps.append(Step(**texts, action=raw["action"], log=raw.get("log"), parallel=bool(raw.get("parallel"))))
    kept: dict[str, Any] = {name: row.get(name) for name in Trajectory.__dataclass_fields__}
    response = "" if row.get("response") is None else to_text(row["response"])
    trajectory = Trajectory(**kept | {"steps": steps, "response": response})
    if not all(isinstance(part, str) for part in (trajectory.instruction, *(step.action for step in steps))):
        raise TypeError("an instruction or an action is no text")
    return trajectory


def raw_instance(trajectory: Trajectory) -> dict[str, Any]:
    """Convert a trajectory to an entry of `Instances`.

    Steps are one call after the other; `Parallel Steps` (indices) and `Reasoning` are there where a turn had such.
    """
    hint = f"{HINT_MARK}{trajectory.hint}" if trajectory.hint else ""
    beside = [place for place, step in enumerate(trajectory.steps) if step.parallel]
    reasoning = [step.reasoning for step in trajectory.steps]
    apart = {"Parallel Steps": beside, "Reasoning": reasoning if any(reasoning) else []}
    return {
        "input": trajectory.instruction + hint,
        "output": trajectory.response,
        "Final Thought": trajectory.final_thought or "",
        "intermediate_steps": [
            [[step.action, step.action_input, f" {step_log(step)}"], step.observation] for step in trajectory.steps
        ],
    } | {name: value for name, value in apart.items() if value}


def raw_api(
    api: Api, instances: Sequence[Mapping[str, Any]] | None = None, instructions: Sequence[Instruction] | None = None
) -> dict[str, Any]:
    """Convert an API to the raw layout, so that tools for the published files can read it. Credentials are `***`."""
    document = without_example_keys(api).documentation
    described = {function.name: function.description for function in api.functions}
    raw: dict[str, Any] = {
        "Name": api.name,
        **{name: getattr(api, field) for field, name in _TEXTS.items()},
        "Documentation": document["text"] if set(document) == {"text"} else json.dumps(document, ensure_ascii=False),
        "NLDocumentation": api.nl_documentation,
        "Function_Description": described | {"components": api.components},
        "Function_Projection": {function.name: [function.path, function.method] for function in api.functions},
    }
    if api.authentication:
        raw["Authentication"] = dict.fromkeys(api.authentication, REDACTED)
    if api.external_tools:
        raw["external_tools"] = list(api.external_tools)
    if instructions is not None:
        golden = [row.golden_calls for row in instructions]
        calls = [[{"Action": call.action, "Action_Input": call.action_input} for call in row] for row in golden]
        raw |= {"Instructions": [row.instruction for row in instructions], "Golden_Answers": calls}
    if instances is not None:
        raw["Instances"] = list(instances)
    return raw


@dataclass(frozen=True)
class ListedApi:
    """An entry of a list of public APIs, with empty texts and `None` for what the list does not say."""

    name: str
    description: str
    link: str
    category: str
    auth: str = ""
    https: bool | None = None


def parse_api_list(data: Any, place: str) -> list[ListedApi]:
    """Read a list: `{"count", "entries": [{"API", ...}]}` or a plain list of `{"Name", ...}`; `place` is its name in
    errors. An entry without a name has an empty one."""
    entries: Any = data.get("entries") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise InputError('not a list of public APIs: neither {"entries": [...]} nor a plain list', file=place)
    found = []
    for entry in map(mapping, entries):
        name = entry.get("API") or entry.get("Name")
        *texts, auth = (str(entry.get(key) or "") for key in ("Description", "Link", "Category", "Auth"))
        auth = "" if auth.strip().casefold() in ("no", "none", "null") else auth
        https = {"yes": True, "true": True, "no": False, "false": False}.get(str(entry.get("HTTPS")).casefold())
        found.append(ListedApi(name if isinstance(name, str) and name.strip() else "", *texts, auth=auth, https=https))
    if not any(entry.name for entry in found):
        raise InputError("names no API", file=place, fix="pass upstream's public_apis.json or a list of that layout")
    return found
