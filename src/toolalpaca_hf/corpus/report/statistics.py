"""Statistics of a corpus, counted one API at a time."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import mean, median
from typing import Any

from ...data import read_file
from ...errors import InputError
from ...formats import GET_DETAILS, NO_CALL, api_for_row, react_prompt, trajectory_segments
from ...metrics import BUILT_IN
from ...schema import Api, Step, Trajectory
from ..config import FilterSettings
from ..engine.collect import api_from_dict, trajectory_from_dict
from ..simulation.filters import FILTERS, apply_filters, status_of

# What recorded runs say in place of an answer that was written to a file.
_TOO_LONG = "The output is too long"


@dataclass(frozen=True)
class InstanceRow:
    """An instance as a corpus records it, with the reasons of [`apply_filters`] and its provenance."""

    trajectory: Trajectory
    gates: dict[str, str | None]
    kept: bool
    provenance: dict[str, Any] = field(default_factory=dict)


def rows_of_folder(folder: Path) -> Iterator[tuple[Api, list[InstanceRow]]]:
    """The APIs of a corpus folder with their instances; both files share one order, so they are read line by line."""
    apis, instances = folder / "apis.jsonl", folder / "instances.jsonl"
    if not apis.is_file() or not instances.is_file():
        raise InputError("holds no apis.jsonl and instances.jsonl", file=folder, fix="pass a folder of corpus build")
    groups = groupby(json_lines(instances), key=lambda row: row.get("api"))
    key, group = next(groups, (None, iter(())))
    for line in json_lines(apis):
        if not isinstance(line.get("api"), dict):
            continue
        api, rows = api_from_dict(line["api"]), []
        if key == api.id:
            rows = list(map(_row, group))
            key, group = next(groups, (None, iter(())))
        yield api, rows
    if key is not None:
        problem = f"has instances of {key}, which {apis} lacks at that place"
        raise InputError(problem, file=instances, fix="build the corpus again")


def rows_of_file(path: Path, settings: FilterSettings) -> Iterator[tuple[Api, list[InstanceRow]]]:
    """The APIs of a raw file; nothing records which instances passed the filters, so all count as kept."""
    split, corpus = read_file(path)
    by_api = defaultdict(list)
    for trajectory in corpus.trajectories.get(split, []):
        by_api[trajectory.api].append(trajectory)
    for api in corpus.apis[split]:
        yield (
            api,
            [InstanceRow(one, apply_filters(api, one.instruction, one, settings), True) for one in by_api[api.id]],
        )


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSONL file; raises [`InputError`] with the number of a malformed line."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise InputError("is not JSON", file=path, row=number, fix="build the corpus again") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def _row(line: dict[str, Any]) -> InstanceRow:
    recorded = line.get("trajectory")
    if recorded is None:
        recorded = {"id": line["id"], "api": line["api"], "instruction": line.get("instruction", ""), "hint": ""}
        recorded |= {"steps": [], "final_thought": None, "response": ""}
    trajectory = trajectory_from_dict(recorded)
    provenance = line.get("provenance") or {}
    gates = line.get("gates") or {"finished": provenance.get("failure") or "it was not played"}
    return InstanceRow(trajectory, gates, bool(line.get("kept")), provenance)


class Statistics:
    """Counts what a corpus holds; rejected instances count only towards the filters."""

    def __init__(self, tokens: Callable[[str], int]) -> None:
        self.tokens = tokens
        self.values: dict[str, list[int]] = defaultdict(list)
        self.categories, self.counts, self.sources = Counter[str](), Counter[str](), Counter[str]()
        self.failed, self.first_failed = Counter[str](), Counter[str]()
        self.spent: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, api: Api, rows: Iterable[InstanceRow]) -> None:
        self.values["functions"].append(len(api.functions))
        kept = 0
        for row in rows:
            self._count_filters(row)
            if row.kept:
                kept += 1
                self._count_instance(api, row.trajectory)
        self.values["per_api"].append(kept)
        self.categories[api.category.strip() or "none"] += kept

    def _count_filters(self, row: InstanceRow) -> None:
        failed = [name for name in FILTERS if row.gates.get(name)]
        self.failed.update(failed)
        self.first_failed.update(failed[:1])
        self.counts.update(made=1, passed=int(not failed), stood_in=len(row.provenance.get("stood_in") or ()))
        self.sources[str(row.provenance.get("source", "recorded"))] += 1
        for role, count in (row.provenance.get("tokens") or {}).items():
            self.spent[role].update(count)
        for role, count in (row.provenance.get("retries") or {}).items():
            self.spent[role]["retries"] += count

    def _count_instance(self, api: Api, trajectory: Trajectory) -> None:
        steps = trajectory.steps
        called = [step for step in steps if step.action not in (*BUILT_IN, NO_CALL)]
        errors = [place for place, step in enumerate(steps) if _is_error(step)]
        answered = [place for place, step in enumerate(steps) if step in called and not _is_error(step)]
        segments = trajectory_segments(api_for_row(api, trajectory), trajectory, react_prompt())
        self.values["calls"].append(len(called))
        self.values["distinct"].append(len({step.action for step in called}))
        self.values["instructions"].append(len(trajectory.instruction.split()))
        self.values["responses"].append(len(trajectory.response.split()))
        self.values["lengths"].append(sum(self.tokens(segment.text) for segment in segments))
        self.counts.update(
            calls=len(called),
            steps=len(steps),
            error_steps=len(errors),
            with_error=bool(errors),
            recovered=bool(errors and answered and answered[-1] > errors[0]),
            asks_user=any(step.action == GET_DETAILS for step in steps),
        )

    def figures(self) -> dict[str, Any]:
        """All figures, JSON-serializable."""
        values, counts, distinct = self.values, self.counts, self.values["distinct"]
        instances = len(values["calls"])
        return {
            "apis": len(values["functions"]),
            "apis_with_instances": sum(count > 0 for count in values["per_api"]),
            "categories": len(self.categories),
            "functions": sum(values["functions"]),
            "functions_per_api": _spread(values["functions"]),
            "instances": instances,
            "instances_per_api": _spread(values["per_api"]),
            "single_function": sum(count == 1 for count in distinct),
            "multi_function": sum(count > 1 for count in distinct),
            "no_function": sum(count == 0 for count in distinct),
            "calls": counts["calls"],
            "calls_per_instance": _spread(values["calls"]),
            "error_share_of_steps": counts["error_steps"] / counts["steps"] if counts["steps"] else None,
            "instances_with_error": counts["with_error"],
            "error_share_of_instances": counts["with_error"] / instances if instances else None,
            "recovered": counts["recovered"],
            "asks_user": counts["asks_user"],
            "instruction_words": _spread(values["instructions"]),
            "response_words": _spread(values["responses"]),
            "row_tokens": _spread(values["lengths"]),
            "made": counts["made"],
            "passed_all_gates": counts["passed"],
            "failed": {name: self.failed[name] for name in FILTERS},
            "failed_first": {name: self.first_failed[name] for name in FILTERS},
            "sources": dict(self.sources),
            "stood_in": counts["stood_in"],
            "tokens_by_role": {role: dict(count) for role, count in sorted(self.spent.items())},
            "instances_by_category": dict(self.categories.most_common()),
        }


def _is_error(step: Step) -> bool:
    if step.action in BUILT_IN:
        return False
    status = status_of(step.observation)
    return not (status is not None and status < 300) and not step.observation.startswith(_TOO_LONG)


def _spread(values: list[int]) -> dict[str, float] | None:
    return {of.__name__: of(values) for of in (mean, median, min, max)} if values else None
