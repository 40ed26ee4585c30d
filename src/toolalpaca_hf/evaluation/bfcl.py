"""BFCL's rows as a suite, and verdicts by its acceptable answers, as its AST checker has them.

The rows are read from the package `bfcl-eval` (Apache-2.0), of which nothing is imported or copied. Java and
JavaScript, whose answers are source text, and categories without such answers are left out.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zipfile import Path as ZipPath

from ..errors import InputError, MissingDependencyError, OptionError
from ..formats import parse_arguments
from ..metrics import is_call
from ..openapi import describe_raw, mapping
from ..schema import Step
from ..sources import cache_folder
from ..storage import write_json

CATEGORIES = (  # those whose answers are calls of Python-like functions
    *("simple_python", "multiple", "parallel", "parallel_multiple"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
)

TYPES = {"string": str, "integer": int, "float": float, "boolean": bool}
TYPES |= {"array": list, "tuple": list, "dict": dict, "any": str}
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
_FILE = "BFCL_v4_{}.json"
AGAIN = "install bfcl-eval again"
_PLAIN = str.maketrans("'", '"', " ,./-_*^")


def write_bfcl(categories: Sequence[str] = (), data_dir: str | Path | None = None) -> Path:
    """Write rows of `data_dir` (a folder or a wheel) or the package in the raw layout, for [`read_suite`]."""
    categories = list(categories) or CATEGORIES
    if unknown := set(categories) - {*CATEGORIES}:
        fix = f"choose from {', '.join(CATEGORIES)}"
        raise OptionError(f"there is no {', '.join(sorted(unknown))} with answers", option="--categories", fix=fix)
    rows = [[_raw(row, answer, category) for row, answer in bfcl_rows(category, data_dir)] for category in categories]
    path = cache_folder() / f"bfcl-{'-'.join(categories)}.json"
    # Categories alternate, so that a limit takes as many of each.
    write_json(path, [row for row in chain.from_iterable(zip_longest(*rows)) if row])
    return path


def bfcl_rows(category: str, data_dir: str | Path | None = None) -> list[tuple[dict[str, Any], list[Any]]]:
    """The rows of a category with their acceptable answers."""
    folder, name = _folder(data_dir), _FILE.format(category)
    rows, answers = _lines(folder / name), _lines(folder / "possible_answer" / name)
    try:
        found = {answer["id"]: answer["ground_truth"] for answer in answers}
        return [(row, found[row["id"]]) for row in rows]
    except (KeyError, TypeError) as error:
        raise InputError(f"a row and its answers do not fit ({error})", file=name, fix=AGAIN) from None


def _folder(data_dir: str | Path | None) -> Any:
    places: list[Any] = []
    if data_dir is not None:
        wheels = [Path(data_dir)] if Path(data_dir).is_file() else sorted(Path(data_dir).glob("bfcl_eval-*.whl"))
        try:
            places = [*(ZipPath(wheel, "bfcl_eval/data/") for wheel in wheels), Path(data_dir)]
        except BadZipFile:
            raise InputError("holds no whole wheel", file=data_dir, fix="download bfcl-eval's wheel again") from None
    elif (spec := find_spec("bfcl_eval")) and spec.submodule_search_locations:
        places = [Path(spec.submodule_search_locations[0]) / "data"]
    for place in places:
        if (place / _FILE.format(CATEGORIES[0])).is_file():
            return place
    fix = "run `pip install --no-deps bfcl-eval`, or name its wheel or data folder with --data-dir"
    raise MissingDependencyError("BFCL's rows are in the package bfcl-eval", fix=fix)


def _lines(path: Any) -> list[Any]:
    try:  # not splitlines: it also breaks at characters that JSON allows inside a text
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, KeyError, ValueError, BadZipFile, zlib.error) as error:
        raise InputError(f"cannot be read ({error})", file=str(path), fix=AGAIN) from None


def question_of(row: Mapping[str, Any]) -> str:
    """What is asked, after the system's message if there is one."""
    return "\n".join(message["content"] for message in row["question"][0])


def _raw(row: Mapping[str, Any], answer: list[Any], category: str) -> dict[str, Any]:
    paths = {}
    for function in row["function"]:
        content = {"application/json": {"schema": _schema(function["parameters"])}}
        operation = {"operationId": function["name"], "summary": function["description"]}
        operation["requestBody"] = {"required": bool(function["parameters"].get("required")), "content": content}
        operation["responses"] = {"200": {"description": "OK", "content": {"application/json": {"schema": {}}}}}
        paths[f"/{function['name']}"] = {"post": operation}
    document = {"openapi": "3.0.0", "info": {"title": row["id"], "version": "1"}, "paths": paths}
    golden = [
        {"Action": name, "Action_Input": json.dumps(first_values(arguments), ensure_ascii=False)}
        for call in answer
        for name, arguments in call.items()
    ]
    about = {"Name": row["id"], "Category": category, "Documentation": document, "Description": ""}
    asked = {"Instructions": [question_of(row)], "Golden_Answers": [golden]}
    return describe_raw(about) | asked | {"BFCL": {"answers": answer, "functions": row["function"]}}


def _schema(schema: Any) -> Any:
    """BFCL's schema as JSON Schema."""
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if key != "optional" and (key, value) != ("type", "any")}
    if isinstance(kind := found.get("type"), str):
        found["type"] = _JSON_TYPES.get(kind, kind)
    if "properties" in schema:
        found["properties"] = {name: _schema(part) for name, part in schema["properties"].items()}
    if "items" in schema:
        found["items"] = _schema(schema["items"])
    return found


def first_values(accepted: Mapping[str, Any]) -> dict[str, Any]:
    """The first acceptable value of each parameter that is not to be left out."""

    def plain(value: Any) -> Any:
        return first_values(value) if isinstance(value, dict) else value

    first = {name: next((o for o in _options(given) if o != ""), "") for name, given in accepted.items()}
    found = {name: [*map(plain, value)] if isinstance(value, list) else plain(value) for name, value in first.items()}
    return {name: value for name, value in found.items() if value != ""}


def _options(given: Any) -> list[Any]:
    """Acceptable values; some rows have a value of its own inside an object."""
    return given if isinstance(given, list) else [given]


def ast_verdict(steps: Sequence[Step], answers: Sequence[Mapping[str, Any]], functions: Sequence[Any]) -> str:
    """Why the calls of an attempt are not among the acceptable ones; empty if they are.

    Of a row with one answer the first call counts, of others all, in any order. Values have the type of the document
    (an integer may stand for a float) or that of the answers; texts are compared without case, spaces and `,./-_*^`.
    `answers` has for each call acceptable values by parameter, by function; `""` among them means that the parameter
    may be left out. `functions` are BFCL's documents.

    Example:

    ```python
    >>> properties = {"port": {"type": "string"}, "day": {"type": "integer"}}
    >>> function = {"name": "tide.get", "parameters": {"properties": properties, "required": ["port"]}}
    >>> answers = [{"tide.get": {"port": ["Brest"], "day": [1, ""]}}]
    >>> ast_verdict([Step("", "tide_get", '{"port": "brest"}', "")], answers, [function])
    ''
    >>> ast_verdict([Step("", "tide.get", '{"port": "Brest", "day": "1"}', "")], answers, [function])
    "day is '1', not one of [1, '']"
    ```
    """
    calls = [(step.action, parse_arguments(step.action_input)) for step in steps if is_call(step.action)]
    calls = calls[:1] if len(answers) == 1 else calls
    if len(calls) != len(answers):
        return f"{len(calls)} calls where {len(answers)} are right"
    for answer in answers:
        ((name, accepted),) = answer.items()
        schema = next((f["parameters"] for f in functions if f["name"] == name), {})
        problems = [_problem(call, name, accepted, schema) for call in calls]
        if "" not in problems:
            return problems[0]
        calls.pop(problems.index(""))
    return ""


def _problem(call: tuple[str, Any], name: str, accepted: Mapping[str, list[Any]], schema: Mapping[str, Any]) -> str:
    made, arguments = call
    if made.replace(".", "_") != name.replace(".", "_"):
        return f"{made} was called, not {name}"
    if arguments is None:
        return f"the arguments of {made} cannot be read"
    properties = schema.get("properties", {})
    if missing := [key for key in schema.get("required", []) if key not in arguments]:
        return f"{missing[0]} is missing"
    for key, value in arguments.items():
        if key not in properties or key not in accepted:
            return f"{key} is not to be given"
        if not _accepted(value, accepted[key], properties[key]):
            return f"{key} is {value!r}, not one of {accepted[key]}"
    missing = [key for key, options in accepted.items() if key not in arguments and "" not in options]
    return f"{missing[0]} is missing" if missing else ""


def _accepted(value: Any, options: Sequence[Any], schema: Mapping[str, Any]) -> bool:
    expected = TYPES[schema["type"]]
    value = float(value) if expected is float and type(value) is int else value
    # Answers of another type than the document's stand for names of variables, and are compared as they are.
    other = next((type(option) for option in options if option != ""), expected)
    if type(value) is not expected:
        return type(value) is other and value in options
    inner = TYPES.get(mapping(schema.get("items")).get("type", "")) if expected is list else None
    if inner and not any(_items_fit(value, option, inner) for option in options):
        return False
    if other is not expected:
        return value in options
    if expected is dict:
        return any(_same_object(value, option) for option in options if option != "")
    if inner is dict:
        return any(len(value) == len(option) and all(map(_same_object, value, option)) for option in options)
    if expected is list:
        return [*map(_plain, value)] in [[*map(_plain, option)] for option in options]
    return _plain(value) in [_plain(option) for option in options if isinstance(option, str) == (expected is str)]


def _items_fit(value: list[Any], option: Any, inner: type) -> bool:
    """Whether items have the type that the document or the first item of the answer has."""
    if not isinstance(option, list):
        return True
    other = next((type(item) for item in option if item != ""), inner)
    return all(type(item) in (inner, other) for item in value)


def _same_object(value: Any, option: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(option, dict):
        return False
    if any(key not in option or _plain(item) not in map(_plain, _options(option[key])) for key, item in value.items()):
        return False
    return all(key in value or "" in _options(given) for key, given in option.items())


def _plain(value: Any) -> Any:
    return value.translate(_PLAIN).lower() if isinstance(value, str) else value
