"""The raw layout of the published files, a list of APIs with their instances or instructions, to schema objects.

What has lost its meaning raises [`Unusable`] with the reason; the caller sets it aside.
"""

import json
import re
from pathlib import Path
from typing import Any

from ..errors import ToolAlpacaError
from ..formats import split_log
from ..schema import HINT_MARK, Api, Call, Function, Instruction, Step, Trajectory
from .credentials import authentication_names


class Unusable(Exception):
    """A row that can not be kept; the message is the reason."""


RAW_LAYOUT = (
    "the raw layout (a JSON list of APIs, each with its OpenAPI document and its instructions, such as train_data.json and "
    "eval_simulated.json)"
)
OPENAPI = (
    f"is an OpenAPI document, not {RAW_LAYOUT}; it holds no instruction: ask your own with `toolalpaca run --instruction`, "
    "or make some with `toolalpaca corpus build --offline`"
)


def is_openapi(text: str) -> bool:
    """Whether a text is an OpenAPI document by its looks, in YAML or JSON.

    Example:

    ```python
    >>> is_openapi("# Pets\\nopenapi: 3.0.1\\npaths: {}"), is_openapi('[{"Name": "Pets"}]')
    (True, False)
    ```
    """
    return re.search(r"^[\s{]*[\"']?(openapi|swagger)[\"']?\s*:", text[:100_000], re.MULTILINE) is not None


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Args:
        path (`Path`): The file.

    Returns:
        What it holds.

    Raises:
        ToolAlpacaError: It is missing, unreadable, not UTF-8, or not (or not wholly) JSON.
    """
    text = ""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text)
    except FileNotFoundError:
        raise ToolAlpacaError(f"{path} does not exist; check the path, or use --source sample or upstream") from None
    except OSError as error:
        raise ToolAlpacaError(f"{path} can not be read ({error.strerror}); pass a readable file") from None
    except json.JSONDecodeError as error:
        if is_openapi(text):
            raise ToolAlpacaError(f"{path} {OPENAPI}") from None
        # Of a string that does not end, the error's place is where it starts.
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise ToolAlpacaError(f"{path} is not complete JSON: it ends in the middle; get the file again") from None
        place = f"line {error.lineno}, " if "\n" in text.rstrip() else ""
        raise ToolAlpacaError(
            f"{path} is not JSON ({error.msg.removesuffix(' at')} at {place}column {error.colno}); correct it, or get the file again"
        ) from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ToolAlpacaError(f"{path} is not readable JSON ({type(error).__name__}); get the file again") from None


def read_raw(path: Path) -> list[Any]:
    """Read a file in the raw layout, without looking into its rows yet.

    Args:
        path (`Path`): `train_data.json`, `eval_simulated.json`, or another file of that layout.

    Returns:
        `list`: Its APIs, dicts for the most part.

    Raises:
        ToolAlpacaError: As [`read_json`], or the file has another layout.
    """
    rows = read_json(path)
    if isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
        raise ToolAlpacaError(f"{path} holds the processed layout, [[texts], [flags]]; pass it with --processed")
    if isinstance(rows, dict) and ("openapi" in rows or "swagger" in rows):
        raise ToolAlpacaError(f"{path} {OPENAPI}")
    apis = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not any("Function_Projection" in api for api in apis):
        kind = "a list of public APIs" if apis or (isinstance(rows, dict) and "entries" in rows) else "another layout"
        raise ToolAlpacaError(
            f"{path} holds {kind}, not {RAW_LAYOUT}; each API needs a Name and a Function_Projection"
        )
    return rows


def _text(value: Any) -> str:
    """A text as it is; anything else that JSON can hold as JSON text, `None` as nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _documentation(value: Any) -> dict[str, Any]:
    """The parsed OpenAPI document; what is not a JSON object stays under `text`."""
    if isinstance(value, dict):
        return value
    return {"text": _text(value)} if value else {}


def _functions(projection: Any, descriptions: Any) -> list[Function]:
    if not isinstance(projection, dict):
        raise Unusable("has no Function_Projection, so none of its functions can be named")
    functions = []
    for name, place in projection.items():
        if not (isinstance(place, list) and len(place) == 2 and all(isinstance(part, str) for part in place)):
            raise Unusable(f"Function_Projection of {name} is not [path, method]")
        functions.append(Function(name, place[0], place[1].lower(), _text(descriptions.get(name))))
    return functions


def read_api(raw: Any, api_id: str) -> Api:
    """One API of the raw layout.

    Args:
        raw (`dict`): The API, credentials taken out (see [`Redactor`]).
        api_id (`str`): Its id, `SPLIT/API-SLUG`.

    Returns:
        [`Api`]: The row.

    Raises:
        Unusable: It has no table of functions.
    """
    descriptions = raw.get("Function_Description")
    descriptions = descriptions if isinstance(descriptions, dict) else {}
    tools = raw.get("external_tools")
    return Api(
        id=api_id,
        name=raw["Name"],
        description=_text(raw.get("Description")),
        link=_text(raw.get("Link")),
        category=_text(raw.get("Category")),
        introduction=_text(raw.get("Introduction")),
        function_list=_text(raw.get("Functions")),
        documentation=_documentation(raw.get("Documentation")),
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
    action, action_input, text = head[0], _text(head[1]), _text(head[2]) if len(head) == 3 else ""
    if len(head) == 2:  # no text of the model: its thought is lost, its action is not
        return Step("", action, action_input, _text(raw[1]))
    thought, log = split_log(action, action_input, text)
    return Step(thought, action, action_input, _text(raw[1]), log)


def read_instance(raw: Any, api_id: str, index: int, instructions: Any = None) -> Trajectory:
    """One entry of `Instances`.

    Args:
        raw: The entry: a dict, an `{"error": ...}`, or a bare string.
        api_id (`str`): Id of its API.
        index (`int`): Its place under the API.
        instructions (`list`, *optional*): The API's `Instructions`, which give an instance without `input` its own.

    Returns:
        [`Trajectory`]: With steps as published, `final_thought` `None` and an empty response where they are absent.

    Raises:
        Unusable: It records an error, or has neither steps nor a response, or a step has another layout.
    """
    if isinstance(raw, str):
        raise Unusable(f"is a bare text: {raw[:80]!r}")
    if not isinstance(raw, dict):
        raise Unusable(f"is a {type(raw).__name__}, not an object")
    if "error" in raw and not (raw.get("intermediate_steps") and raw.get("output")):
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
    thought = raw.get("Final Thought")
    return Trajectory(
        id=f"{api_id}/{index}",
        api=api_id,
        instruction=instruction if mark else text,
        hint=hint if mark else "",
        steps=[_step(step, place) for place, step in enumerate(steps)],
        final_thought=None if thought is None else _text(thought),
        response=response,
    )


def read_instruction(text: Any, golden: Any, api_id: str, index: int) -> Instruction:
    """One entry of `Instructions` and its entry of `Golden_Answers`.

    Args:
        text: The instruction.
        golden: Its golden calls, a list of `{"Action", "Action_Input"}`; `None` where there is no entry.
        api_id (`str`): Id of its API.
        index (`int`): Its place under the API.

    Returns:
        [`Instruction`]: The row.

    Raises:
        Unusable: There is no instruction, or its golden calls are missing or have another layout.
    """
    if not isinstance(text, str) or not text.strip():
        raise Unusable("is not a text")
    if not isinstance(golden, list):
        raise Unusable("has no golden answer")
    calls = []
    for place, call in enumerate(golden):
        if not isinstance(call, dict) or not isinstance(call.get("Action"), str):
            raise Unusable(f"golden call {place} has no Action")
        calls.append(Call(call["Action"], _text(call.get("Action_Input"))))
    instruction, mark, _ = text.rpartition(HINT_MARK)
    return Instruction(f"{api_id}/{index}", api_id, instruction if mark else text, calls)
