"""Writes `corpus_report.html` and `.md`: statistics, filter results and a few instances to read."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from ...errors import InputError
from ...formats import GET_DETAILS, NO_CALL
from ...metrics import BUILT_IN
from ...openapi import mapping
from ...report import BLUE, ORANGE, bar_plot, clip, plot, render, write_texts
from ...schema import Api, Trajectory
from ...storage import read_json
from ..config import FilterSettings
from ..engine.collect import api_from_dict, trajectory_from_dict
from ..simulation.filters import FILTERS, SimulatedInstance, row_tokens, status_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PACKAGE = "toolalpaca_hf.corpus.report"
SHOWN = 8  # instances that were kept, and as many that were not
LONGEST = 1500  # characters of a text
MOST_CATEGORIES, MOST_CALLS = 20, 10  # bars of their own

# The counts of `corpus.json`, in words and in the order in which they come about.
STAGES = {
    "entries": "APIs of the list",
    "copies": "- set aside as a copy of another",
    "set_aside": "- set aside in all",
    "apis": "APIs",
    "written": "Instructions written",
    "instructions": "- fit to be used",
    "taken": "- neither seen before nor in an evaluation set",
    "instances": "Instances played",
    "kept": "- that passed every gate",
}
NOTED = TypeAdapter(tuple[float | None, int, dict[str, int], dict[str, dict[str, int]]])  # of `corpus.json`
ASKED = ("calls", "retries", "enforced", "prompt_tokens", "completion_tokens")


def rows_of_folder(folder: Path) -> Iterator[tuple[Api, list[SimulatedInstance]]]:
    """The APIs of a corpus folder with their instances; both files share one order, so they are read line by line."""
    apis, instances = folder / "apis.jsonl", folder / "instances.jsonl"
    if not apis.is_file() or not instances.is_file():
        raise InputError("holds no apis.jsonl and instances.jsonl", file=folder, fix="pass a folder of corpus build")
    groups = groupby(json_lines(instances, lambda line: (line["api"], _row(line))), key=lambda pair: pair[0])
    key, group = next(groups, (None, iter(())))
    for api in json_lines(apis, lambda line: api_from_dict(line["api"]) if isinstance(line["api"], dict) else None):
        if api is None:
            continue
        rows: list[SimulatedInstance] = []
        if key == api.id:
            rows = [row for _, row in group]
            key, group = next(groups, (None, iter(())))
        yield api, rows
    if key is not None:
        problem = f"has instances of {key}, which {apis} lacks at that place"
        raise InputError(problem, file=instances, fix="build the corpus again")


def json_lines(path: Path, read: Callable[[dict[str, Any]], Any]) -> Iterator[Any]:
    """What `read` makes of the rows of a JSONL file; an [`InputError`] has the number of a malformed line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    made = read(json.loads(line))
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    problem = "is no row of a corpus"
                    raise InputError(problem, file=path, row=number, fix="build the corpus again") from None
                yield made
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def _row(line: dict[str, Any]) -> SimulatedInstance:
    provenance, recorded = line.get("provenance") or {}, line.get("trajectory")
    if recorded is None:
        trajectory = Trajectory(line["id"], line["api"], line.get("instruction", ""), "", [], None, "")
    else:
        trajectory = trajectory_from_dict(recorded)
    gates = line.get("gates") or {"finished": provenance.get("failure") or "it was not played"}
    return SimulatedInstance(trajectory, gates, provenance)


# The table of figures, like the paper's (arXiv 2306.05301): counts, and mean, median, least and most of something.
FIGURES = {
    "apis": "APIs",
    "apis_with_instances": "- with instances",
    "categories": "Categories",
    "functions": "Functions",
    "functions_per_api": "Functions per API",
    "instances": "Instances",
    "instances_per_api": "Instances per API",
    "single_function": "- that call one function",
    "multi_function": "- that call several functions",
    "no_function": "- that call none",
    "asks_user": "- that ask the user (getDetails)",
    "instances_with_error": "- with an error",
    "recovered": "- with an error, then an answer",
    "calls": "Calls",
    "calls_per_instance": "Calls per instance",
    "error_share_of_steps": "Steps that are errors",
    "instruction_words": "Words of an instruction",
    "response_words": "Words of a response",
    "row_tokens": "Tokens of a training row",
}
OF_INSTANCES = ("single_function", "multi_function", "no_function", "asks_user", "instances_with_error", "recovered")
DIGITS = {"instruction_words": 1, "response_words": 1, "row_tokens": 0}


class Statistics:
    """Counts what a corpus holds; rejected instances count only towards the filters."""

    def __init__(self, settings: FilterSettings) -> None:
        self.settings = settings
        self.values: dict[str, list[int]] = {name: [] for name in FIGURES if "_per_" in name or name in DIGITS}
        counted = ("made", "passed_all_gates", "stood_in", "steps", "error_steps", *FIGURES)
        self.counts = Counter({name: 0 for name in counted if name not in self.values})
        self.categories, self.sources = Counter[str](), Counter[str]()
        self.failed, self.first_failed = Counter(dict.fromkeys(FILTERS, 0)), Counter(dict.fromkeys(FILTERS, 0))

    def add(self, api: Api, rows: Iterable[SimulatedInstance]) -> None:
        kept = 0
        for row in rows:
            failed = [name for name in FILTERS if row.gates.get(name)]
            self.failed.update(failed)
            self.first_failed.update(failed[:1])
            stood_in = len(row.provenance.get("stood_in") or ())
            self.counts.update(made=1, passed_all_gates=int(not failed), stood_in=stood_in)
            self.sources[str(row.provenance.get("source", "recorded"))] += 1
            if row.kept:
                kept += 1
                self._add_kept(api, row.trajectory)
        self.counts.update(apis=1, apis_with_instances=kept > 0, functions=len(api.functions), instances=kept)
        self.values["functions_per_api"].append(len(api.functions))
        self.values["instances_per_api"].append(kept)
        self.categories[api.category.strip() or "none"] += kept

    def _add_kept(self, api: Api, trajectory: Trajectory) -> None:
        steps = trajectory.steps
        called = [step.action for step in steps if step.action not in (*BUILT_IN, NO_CALL)]
        statuses = [0 if step.action in BUILT_IN else status_of(step.observation) or 999 for step in steps]
        errors = [place for place, status in enumerate(statuses) if status >= 300]
        answered = [place for place, step in enumerate(steps) if step.action in called and place not in errors]
        self.values["calls_per_instance"].append(len(called))
        self.values["instruction_words"].append(len(trajectory.instruction.split()))
        self.values["response_words"].append(len(trajectory.response.split()))
        self.values["row_tokens"].append(row_tokens(api, trajectory, self.settings))
        distinct = len(set(called))
        self.counts.update(
            single_function=distinct == 1,
            multi_function=distinct > 1,
            no_function=not distinct,
            calls=len(called),
            steps=len(steps),
            error_steps=len(errors),
            instances_with_error=bool(errors),
            recovered=bool(errors and answered and answered[-1] > errors[0]),
            asks_user=any(step.action == GET_DETAILS for step in steps),
        )

    def figures(self) -> dict[str, Any]:
        """All figures, JSON-serializable."""
        counts = dict(self.counts)
        steps, errors, instances = counts.pop("steps"), counts.pop("error_steps"), counts["instances"]
        return {
            **counts,
            **{name: _spread(values) for name, values in self.values.items()},
            "categories": len(self.categories),
            "error_share_of_steps": errors / steps if steps else None,
            "error_share_of_instances": counts["instances_with_error"] / instances if instances else None,
            "failed": dict(self.failed),
            "failed_first": dict(self.first_failed),
            "sources": dict(self.sources),
            "instances_by_category": dict(self.categories.most_common()),
        }


def _spread(values: list[int]) -> dict[str, float] | None:
    return {of.__name__: of(values) for of in (mean, median, min, max)} if values else None


def write_report(folder: str | Path) -> dict[str, Any]:
    """Write `corpus_report.html`, `.md` and `.json` into the folder of a corpus; returns the figures.

    Rows are measured as the corpus' gates measured them.

    Raises:
        [`InputError`]: The folder holds no corpus, or a file of it cannot be read.
        [`OptionError`]: The folder cannot be written.
        [`MissingDependencyError`]: jinja2 is not installed.
    """
    folder = Path(folder)
    path = folder / "corpus.json"
    note = mapping(read_json(path)) if path.is_file() else {}
    made = mapping(note.get("settings"))
    gates = mapping(mapping(made.get("simulation", made)).get("gates"))
    stages = {name: note[name] for name in STAGES if name in note}
    noted = {"cost": note.get("cost"), "set_aside_apis": note.get("set_aside", 0)}
    noted |= {"stages": stages, "asked": note.get("asked", {})}
    try:
        settings = TypeAdapter(FilterSettings).validate_python(gates)
        NOTED.validate_python(tuple(noted.values()), strict=True)
    except ValidationError:
        raise InputError("has gates or figures that no corpus has", file=path, fix="build the corpus again") from None
    statistics = Statistics(settings)
    shown: dict[str, list[tuple[int, dict[str, Any]]]] = {"kept": [], "left out": []}
    for api, instances in rows_of_folder(folder):
        statistics.add(api, instances)
        seen = Counter[str]()
        for row in instances:
            kind = "kept" if row.kept else "left out"
            seen[kind] += 1
            # One of each API before a second, so that the page shows many.
            reasons = [(name, reason) for name, reason in row.gates.items() if reason]
            instance = _clipped(asdict(row.trajectory)) | {"api": api.name, "reasons": reasons}
            found = [*shown[kind], (seen[kind], instance)]
            shown[kind] = sorted(found, key=itemgetter(0))[:SHOWN]
    figures = statistics.figures() | noted
    rows = [(label, _in_words(name, figures)) for name, label in FIGURES.items()]
    if figures["cost"] is not None:
        rows.append(("Cost, in the currency of the prices of --config", f"{figures['cost']:,.2f}"))
    values = {
        "title": folder.name or str(folder),
        "figures": figures,
        "rows": rows,
        "gates": [(name, FILTERS[name], figures["failed"][name], figures["failed_first"][name]) for name in FILTERS],
        "stages": [(STAGES[name], count) for name, count in figures["stages"].items()],
        "roles": [(role, *(f"{usage.get(kind, 0):,}" for kind in ASKED)) for role, usage in figures["asked"].items()],
        "set_aside": _set_aside(folder),
        "shown": {kind: [instance for _, instance in found] for kind, found in shown.items()},
        "limit": settings.max_tokens,
        "characters": settings.characters if settings.tokenizer is None else None,
    }
    texts = {
        "corpus_report.md": render(PACKAGE, "report.md.jinja", **values),
        "corpus_report.html": render(PACKAGE, "report.html.jinja", plots=_plots(statistics, settings), **values),
        "corpus_report.json": json.dumps(figures, indent=1, ensure_ascii=False) + "\n",
    }
    write_texts(folder, texts)
    return figures


def _in_words(name: str, figures: dict[str, Any]) -> str:
    value, instances = figures[name], figures["instances"]
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1%}"
    if isinstance(value, dict):
        mean, median = (f"{value[key]:,.{DIGITS.get(name, 2)}f}" for key in ("mean", "median"))
        return f"{mean} (median {median}, {value['min']:,} to {value['max']:,})"
    return f"{value:,} ({value / instances:.1%})" if name in OF_INSTANCES and instances else f"{value:,}"


def _set_aside(folder: Path) -> list[tuple[str, str]]:
    def reason_of(line: dict[str, Any]) -> tuple[str, str] | None:
        name = (line.get("entry") or {}).get("name", line.get("id"))
        return (str(name), clip(str(line["set_aside"]), LONGEST)) if line.get("set_aside") else None

    return list(islice(filter(None, json_lines(folder / "apis.jsonl", reason_of)), SHOWN))


def _clipped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clipped(part) for name, part in value.items()}
    if isinstance(value, list):
        return list(map(_clipped, value))
    return clip(value, LONGEST) if isinstance(value, str) else value


def _plots(statistics: Statistics, settings: FilterSettings) -> dict[str, str]:
    """Instances by category, calls per instance, what the filters kept, lengths; none without matplotlib."""
    lengths, made = statistics.values["row_tokens"], statistics.counts["made"]
    by_category = [(name, count) for name, count in statistics.categories.most_common() if count]
    if rest := by_category[MOST_CATEGORIES:]:
        more = (f"{len(rest)} more categories", sum(count for _, count in rest))
        by_category = [*by_category[:MOST_CATEGORIES], more]
    calls = Counter(min(count, MOST_CALLS + 1) for count in statistics.values["calls_per_instance"])
    names = [f"{n} call{'' if n == 1 else 's'}" for n in range(MOST_CALLS + 1)] + [f"more than {MOST_CALLS}"]
    by_calls = [(names[n], calls[n]) for n in range(max(calls, default=-1) + 1)]
    gates = [("passed every gate", statistics.counts["passed_all_gates"])]
    gates += [(f"failed: {name.replace('_', ' ')}", statistics.failed[name]) for name in FILTERS]
    bars = {
        "categories": (f"Instances by category (n = {statistics.categories.total():,})", by_category, BLUE),
        "calls": (f"Calls of an instance (n = {calls.total():,})", by_calls, BLUE),
        "gates": (f"Gates (n = {made:,} instances; one may fail several)", gates if made else [], ORANGE),
    }
    try:
        found = {name: bar_plot(name, *drawn) for name, drawn in bars.items() if drawn[1]}
        if lengths:
            title = f"Length of a training row (n = {len(lengths):,})"
            found["lengths"] = plot("lengths", title, lambda axes, _: _histogram(axes, lengths, settings), grid="y")
    except ImportError:
        return {}
    return found


def _histogram(axes: "Axes", lengths: list[int], settings: FilterSettings) -> None:
    limit = settings.max_tokens
    axes.hist(lengths, bins=min(40, max(5, len(set(lengths)))), color=BLUE)
    axes.axvline(limit, color=ORANGE, linewidth=2)
    side = "right" if limit > sum(axes.get_xlim()) / 2 else "left"
    axes.text(limit, axes.get_ylim()[1], f" limit {limit:,} ", va="top", ha=side)
    axes.set_xlabel("tokens of a training row")
    axes.set_ylabel("instances")
