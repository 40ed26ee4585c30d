"""Writes `corpus_report.html` and `.md`: statistics, filter results and a few instances to read."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from ...data import read_file
from ...errors import InputError, NotFoundError
from ...formats import GET_DETAILS, NO_CALL, api_for_row, react_prompt, trajectory_segments
from ...metrics import BUILT_IN
from ...report import BLUE, ORANGE, bar_plot, clip, plot, render, write_texts
from ...schema import Api, Step, Trajectory
from ..config import FilterSettings
from ..engine.collect import api_from_dict, trajectory_from_dict
from ..simulation.filters import FILTERS, apply_filters, count_tokens, status_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PACKAGE = "toolalpaca_hf.corpus.report"
SHOWN = 8  # instances that were kept, and as many that were not
LONGEST = 1500  # characters of a text
MOST_CATEGORIES = 20

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

MEANING = {
    "finished": "ended with a response",
    "well_formed": "every turn calls a function of the API, with a JSON object",
    "grounded": "every argument is in the instruction or in an earlier observation",
    "no_placeholders": "no placeholder was copied",
    "supported": "the response says nothing that no observation does",
    "length": "fits the training limit",
}
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
    groups = groupby(json_lines(instances, lambda line: (line["api"], _row(line))), key=lambda pair: pair[0])
    key, group = next(groups, (None, iter(())))
    for api in json_lines(apis, lambda line: api_from_dict(line["api"]) if isinstance(line["api"], dict) else None):
        if api is None:
            continue
        rows: list[InstanceRow] = []
        if key == api.id:
            rows = [row for _, row in group]
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
        rows = by_api[api.id]
        yield api, [InstanceRow(row, apply_filters(api, row.instruction, row, settings), True) for row in rows]


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


def write_report(
    source: str | Path, out: str | Path | None = None, settings: FilterSettings | None = None
) -> dict[str, Any]:
    """Write `corpus_report.html`, `corpus_report.md` and `corpus_report.json`; returns the figures.

    Args:
        source (`str` or `Path`): The folder of a corpus, or a file in the raw layout, whose instances are filtered.
        out (`str` or `Path`, *optional*): The output folder; defaults to that of the corpus or file.
        settings ([`FilterSettings`], *optional*): How tokens are counted, the limit to draw, and how strict to be.

    Raises:
        [`NotFoundError`], [`InputError`]: The source is missing, or cannot be read.
        [`OptionError`]: The folder cannot be written.
        [`MissingDependencyError`]: jinja2 is not installed.
    """
    settings, source = settings or FilterSettings(), Path(source)
    if not source.exists() and str(source) != "sample":
        fix = "pass a folder that corpus build wrote, or a file in the raw layout"
        raise NotFoundError("no such file or folder", file=source, fix=fix)
    statistics = Statistics(lambda text: count_tokens(text, settings))
    shown: dict[str, list[dict[str, Any]]] = {"kept": [], "left out": []}
    spare: dict[str, list[dict[str, Any]]] = {"kept": [], "left out": []}
    for api, rows in rows_of_folder(source) if source.is_dir() else rows_of_file(source, settings):
        statistics.add(api, rows)
        for row in rows:
            kind = "kept" if row.kept else "left out"
            # One of each API before a second, so that the page shows many.
            new = not shown[kind] or shown[kind][-1]["id"].rpartition("/")[0] != api.id
            held = shown[kind] if new else spare[kind]
            if len(held) < SHOWN:
                held.append(_instance(api, row))
    for kind, held in shown.items():
        held += spare[kind][: SHOWN - len(held)]
    note = _note(source)
    figures = statistics.figures() | {"cost": note.get("cost"), "set_aside_apis": note.get("set_aside", 0)}
    figures |= {"stages": {name: note[name] for name in STAGES if name in note}, "asked": note.get("asked", {})}
    values = {
        "title": source.name or str(source),
        "figures": figures,
        "rows": table(figures),
        "gates": [(name, MEANING[name], figures["failed"][name], figures["failed_first"][name]) for name in FILTERS],
        "stages": [(STAGES[name], count) for name, count in figures["stages"].items()],
        "roles": [_role(role, usage) for role, usage in _usage(figures)],
        "set_aside": _set_aside(source) if source.is_dir() else [],
        "shown": shown,
        "limit": settings.max_tokens,
        "characters": settings.characters if settings.count is None and settings.tokenizer is None else None,
    }
    texts = {
        "corpus_report.md": render(PACKAGE, "report.md.jinja", **values),
        "corpus_report.html": render(PACKAGE, "report.html.jinja", plots=_plots(statistics, settings), **values),
        "corpus_report.json": json.dumps(figures, indent=1, ensure_ascii=False) + "\n",
    }
    write_texts(Path(out) if out is not None else source if source.is_dir() else source.parent, texts)
    return figures


def table(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as rows of text, like the paper's table (arXiv 2306.05301)."""

    def spread(name: str, digits: int = 2) -> str:
        if not (found := figures[name]):
            return "–"
        mean, median = (f"{found[key]:,.{digits}f}" for key in ("mean", "median"))
        return f"{mean} (median {median}, {found['min']:,} to {found['max']:,})"

    def of_instances(name: str) -> str:
        count, total = figures[name], figures["instances"]
        return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"

    error_steps = figures["error_share_of_steps"]
    rows = [
        ("APIs", f"{figures['apis']:,}"),
        ("- with instances", f"{figures['apis_with_instances']:,}"),
        ("Categories", f"{figures['categories']:,}"),
        ("Functions", f"{figures['functions']:,}"),
        ("Functions per API", spread("functions_per_api")),
        ("Instances", f"{figures['instances']:,}"),
        ("Instances per API", spread("instances_per_api")),
        ("- that call one function", of_instances("single_function")),
        ("- that call several functions", of_instances("multi_function")),
        ("- that call none", of_instances("no_function")),
        ("- that ask the user (getDetails)", of_instances("asks_user")),
        ("- with an error", of_instances("instances_with_error")),
        ("- with an error, then an answer", of_instances("recovered")),
        ("Calls", f"{figures['calls']:,}"),
        ("Calls per instance", spread("calls_per_instance")),
        ("Steps that are errors", "–" if error_steps is None else f"{error_steps:.1%}"),
        ("Words of an instruction", spread("instruction_words", 1)),
        ("Words of a response", spread("response_words", 1)),
        ("Tokens of a training row", spread("row_tokens", 0)),
    ]
    if figures.get("cost") is not None:
        rows.append(("Cost, in the currency of the prices of --config", f"{figures['cost']:,.2f}"))
    return rows


def _usage(figures: dict[str, Any]) -> Iterable[tuple[str, dict[str, int]]]:
    if figures["asked"]:
        return figures["asked"].items()
    names = {"prompt": "prompt_tokens", "completion": "completion_tokens", "retries": "retries"}
    by_role = figures["tokens_by_role"].items()  # of the instances only
    return [(role, {name: count.get(key, 0) for key, name in names.items()}) for role, count in by_role]


def _role(role: str, usage: dict[str, int]) -> tuple[Any, ...]:
    names = ("retries", "prompt_tokens", "completion_tokens")
    retries, asked, answered = (f"{usage.get(name, 0):,}" for name in names)
    return role, usage.get("calls", "–"), retries, usage.get("enforced", "–"), asked, answered


def _note(source: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        if isinstance(note := json.loads((source / "corpus.json").read_bytes()), dict):
            return note
    return {}


def _set_aside(folder: Path) -> list[tuple[str, str]]:
    def reason_of(line: dict[str, Any]) -> tuple[str, str] | None:
        name = (line.get("entry") or {}).get("name", line.get("id"))
        return (str(name), clip(str(line["set_aside"]), LONGEST)) if line.get("set_aside") else None

    return list(islice(filter(None, json_lines(folder / "apis.jsonl", reason_of)), SHOWN))


def _instance(api: Api, row: InstanceRow) -> dict[str, Any]:
    trajectory = row.trajectory
    texts = {"instruction": trajectory.instruction, "details": trajectory.hint, "response": trajectory.response}
    texts["final_thought"] = trajectory.final_thought or ""
    return {
        "api": api.name,
        "id": trajectory.id,
        "steps": [
            {name: clip(value, LONGEST) if isinstance(value, str) else value for name, value in asdict(step).items()}
            for step in trajectory.steps
        ],
        "reasons": [(name, reason) for name, reason in row.gates.items() if reason],
        **{name: clip(text or "", LONGEST) for name, text in texts.items()},
    }


def _plots(statistics: Statistics, settings: FilterSettings) -> dict[str, str]:
    """Instances by category, calls per instance, what the filters kept, lengths; none without matplotlib."""
    found: dict[str, str] = {}
    calls, lengths, made = statistics.values["calls"], statistics.values["lengths"], statistics.counts["made"]
    by_category = statistics.categories.most_common()
    try:
        if total := sum(statistics.categories.values()):
            rows = [(name, count) for name, count in by_category[:MOST_CATEGORIES] if count]
            if rest := sum(count for _, count in by_category[MOST_CATEGORIES:]):
                rows.append((f"{len(by_category) - MOST_CATEGORIES} more categories", rest))
            found["categories"] = bar_plot("categories", f"Instances by category (n = {total:,})", rows)
        if calls:
            highest, counts = min(max(calls), 10), Counter(calls)
            rows = [(f"{n} call{'' if n == 1 else 's'}", counts[n]) for n in range(highest + 1)]
            if more := sum(count > highest for count in calls):
                rows.append((f"more than {highest}", more))
            found["calls"] = bar_plot("calls", f"Calls of an instance (n = {len(calls):,})", rows)
        if made:
            rows = [("passed every gate", statistics.counts["passed"])]
            rows += [(f"failed: {name.replace('_', ' ')}", statistics.failed[name]) for name in FILTERS]
            title = f"Gates (n = {made:,} instances; one may fail several)"
            found["gates"] = bar_plot("gates", title, rows, ORANGE)
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
