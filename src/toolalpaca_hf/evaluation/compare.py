"""Evaluations side by side: their rates, and what differs from the first on the instructions that both have."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ToolAlpacaError
from .paired import paired

# Rates that are compared: what they are called, and where they stand in `metrics.json`.
HEADLINE = {
    "process_verdict": "Process correct, by rule",
    "judge_process": "Process correct, by judge",
    "judge_response": "Response correct, by judge",
    "judge_both": "Both correct, by judge",
    "all_functions": "Every golden function called",
    "exact_set": "Exactly the golden functions",
    "arguments": "Arguments equal",
    "f1": "F1 of calls",
}
_CALLS = ("all_functions", "exact_set", "arguments", "f1")


@dataclass(frozen=True)
class _Run:
    name: str
    folder: Path
    metrics: dict[str, Any]
    records: dict[tuple[str, int], dict[str, Any]]

    def rates(self) -> dict[str, dict[str, Any]]:
        found = {name: rate for name, rate in _dict(self.metrics, "calls").items() if name in _CALLS}
        found |= {f"judge_{name}": rate for name, rate in _dict(self.metrics, "judge_rates").items()}
        found["process_verdict"] = self.metrics.get("process_verdict")
        return {name: found[name] for name in HEADLINE if _is_rate(found.get(name))}


def compare(folders: Sequence[str | Path]) -> dict[str, Any]:
    """Compare evaluations with the first of them.

    Differences are over the instructions that both have, by API and index, with the same golden calls; a failed or
    missing instruction counts as not solved. See [`paired.paired`] for intervals and p-values.

    Args:
        folders (`Sequence[str | Path]`):
            Two or more folders of `toolalpaca evaluate`, each with `metrics.json` and `instructions.json`.

    Returns:
        `dict`:

        - `runs`: for each folder its `name`, `folder`, `suite`, `model`, `n`, `failed`, `missing` and `rates`;
        - `differences`: for each but the first its `name`, `to` (the first's name), `n` (compared), `only_this` and
          `only_first` (instructions that the other lacks), `other_golden` (left out, for their golden calls differ) and
          `rates`, each what [`paired.paired`] returns, positive where this one is better;
        - `by_api`: for each API, for each run that has it, `n` and the rates of its group in `metrics.json`;
        - `notes`: sentences on what was left out or can not be compared.

    Raises:
        [`ToolAlpacaError`]: There are fewer than two folders, a file is missing or is not an evaluation's, or two have no
            instruction in common.

    Example:

    ```python
    >>> compare(["runs/before", "runs/after"])["differences"][0]["rates"]["all_functions"]  # doctest: +SKIP
    {'difference': 0.12, 'low': 0.03, 'high': 0.2, 'p_value': 0.02, 'n': 100, 'wins': 15, 'losses': 3, ...}
    ```
    """
    if len(folders) < 2:
        raise ToolAlpacaError("one evaluation can not be compared; name at least two folders of toolalpaca evaluate")
    paths, notes = [Path(folder) for folder in folders], []
    runs = [_read(path, name, notes) for path, name in zip(paths, _names(paths), strict=True)]
    first = runs[0]
    differences = [_difference(run, first, notes) for run in runs[1:]]
    by_api: dict[str, dict[str, Any]] = {}
    for run in runs:
        groups = _dict(_dict(run.metrics, "by"), "api")
        for api in groups:
            group = _dict(groups, api)
            rates = {name: rate for name, rate in group.items() if name in HEADLINE and _is_rate(rate)}
            by_api.setdefault(api, {})[run.name] = {"n": group.get("n")} | rates
    return {
        "runs": [
            {"name": run.name, "folder": str(run.folder)}
            | {key: run.metrics.get(key) for key in ("suite", "model", "n", "failed", "missing")}
            | {"rates": run.rates()}
            for run in runs
        ],
        "differences": differences,
        "by_api": dict(sorted(by_api.items())),
        "notes": notes,
    }


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names where they tell them apart, else their paths, numbered where one is given twice."""
    for names in ([path.resolve().name for path in paths], [str(path) for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(paths, start=1)]


def _read(folder: Path, name: str, notes: list[str]) -> _Run:
    metrics, rows = _json(folder, "metrics.json"), _json(folder, "instructions.json")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("n"), int) or "suite" not in metrics:
        raise ToolAlpacaError(f"{folder / 'metrics.json'} is not an evaluation's (no suite and n); evaluate again")
    if not isinstance(rows, list):
        raise ToolAlpacaError(f"{folder / 'instructions.json'} is not a list of records; evaluate again")
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for number, row in enumerate(rows):
        problem = _problem(row)
        if not problem and (row["api"], row["index"]) in records:
            problem = f"is {row['api']} {row['index']} a second time"
        if problem:
            notes.append(
                f"{folder / 'instructions.json'}, record {number} {problem}; it is left out of the differences"
            )
        else:
            records[row["api"], row["index"]] = row
    return _Run(name, folder, metrics, records)


def _json(folder: Path, name: str) -> Any:
    path = folder / name
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ToolAlpacaError(f"{path} does not exist; name a folder that toolalpaca evaluate has written") from None
    except OSError as error:
        raise ToolAlpacaError(
            f"{path} can not be read ({error.strerror}); name a folder that toolalpaca evaluate has written"
        ) from None
    except (ValueError, RecursionError):
        raise ToolAlpacaError(f"{path} is not whole JSON; evaluate again with --out {folder}") from None


def _problem(row: Any) -> str:
    """What keeps a record from being compared; empty where nothing does."""
    if not isinstance(row, dict) or not isinstance(row.get("api"), str) or type(row.get("index")) is not int:
        return "has no api and index"
    for name in _CALLS:
        value = row.get(name, 0)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            return f"has a {name} that is not between 0 and 1"
    if not isinstance(row.get("judge") or {}, dict):
        return "has a judge that is not an object"
    return ""


def _difference(run: _Run, first: _Run, notes: list[str]) -> dict[str, Any]:
    if run.metrics["suite"] != first.metrics["suite"]:
        notes.append(f"{run.name} is of the suite {run.metrics['suite']}, {first.name} of {first.metrics['suite']}")
    settings = [_dict(one.metrics, "judge_settings") for one in (run, first)]
    if settings[0] != settings[1]:
        notes.append(f"{run.name} and {first.name} have other judge settings: the judges' verdicts may differ by them")
    common = sorted(run.records.keys() & first.records.keys())
    both = [
        place for place in common if run.records[place].get("golden_calls") == first.records[place].get("golden_calls")
    ]
    if not both:
        why = f"the golden calls of all {len(common)} differ" if common else "they share no API and index"
        raise ToolAlpacaError(
            f"{run.folder} and {first.folder} have no instruction in common ({why}); compare runs of one suite"
        )
    only_this, only_first = len(run.records) - len(common), len(first.records) - len(common)
    if only_this or only_first:
        notes.append(
            f"{len(common)} instructions are in both {run.name} and {first.name}; {only_first} are missing in {run.name}, "
            f"{only_this} in {first.name}"
        )
    if len(both) < len(common):
        notes.append(
            f"{len(common) - len(both)} instructions have other golden calls in {run.name} than in {first.name}; they are "
            "left out of the differences"
        )
    this, that = ([one.records[place] for place in both] for one in (run, first))
    apis = [api for api, _ in both]
    shared = [name for name in HEADLINE if _has(run, name) and _has(first, name)]
    return {
        "name": run.name,
        "to": first.name,
        "n": len(both),
        "only_this": only_this,
        "only_first": only_first,
        "other_golden": len(common) - len(both),
        "rates": {
            name: paired([_value(row, name) for row in this], [_value(row, name) for row in that], apis)
            for name in shared
        },
    }


def _has(run: _Run, name: str) -> bool:
    key = "judge" if name.startswith("judge_") else name
    return any(row.get(key) is not None for row in run.records.values())


def _value(row: Mapping[str, Any], name: str) -> float:
    """A record's value of a headline rate; whatever is not there is not solved, as in the rate itself."""
    if name == "process_verdict":
        return row.get(name) == "Yes"
    if not name.startswith("judge_"):
        return row.get(name, 0)
    judge = row.get("judge") or {}
    process, response = judge.get("process"), judge.get("response")
    if process is None or response is None:  # an error, even where half of a verdict was read
        return False
    return {
        "judge_process": process == "Yes",
        "judge_response": response == "Yes",
        "judge_both": process == response == "Yes",
    }[name]


def _dict(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _is_rate(rate: Any) -> bool:
    return isinstance(rate, dict) and all(
        isinstance(rate.get(key), int | float) and math.isfinite(rate[key]) for key in ("value", "low", "high")
    )
