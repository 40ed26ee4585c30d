"""Compares evaluations: their rates, and differences to the first one on common instructions.

Logs of Inspect (`.eval`, a zip of JSON, or `.json`) are read as evaluations; Inspect itself is not needed.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from ..data import LeftOut, left_out
from ..errors import InputError, NotFoundError, OptionError
from ..openapi import mapping
from ..report import NONE, finite, markdown_table, markdown_text, rate_text
from ..storage import read_json
from .report.figures import BETWEEN, LABELS, detectable_text
from .scores import judged_right
from .statistics import detectable_between, paired, rates, solved

if TYPE_CHECKING:
    from rich.console import Group

_CALLS = ("ast", "all_functions", "exact_set", "arguments", "f1")
# Rates that are compared, and what they are called; a log of Inspect has others, which are called by their names.
_RATES = ("ast", "process_verdict", "judge_process", "judge_response", "judge_both", *_CALLS)
HEADLINE = {name: LABELS[name.removeprefix("judge_")] for name in _RATES}

# In logs of Inspect: grades, words in any case, how one is packed (`zipfile` knows it from Python 3.14 on), and what
# reading one raises that is damaged, or no log.
GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
ZSTANDARD = 93
_DAMAGED = (OSError, EOFError, BadZipFile, zlib.error)
_NO_LOG = (LookupError, TypeError, AttributeError, ValueError, RuntimeError)


@dataclass(frozen=True)
class _Run:
    name: str
    folder: Path
    metrics: dict[str, Any]
    records: dict[tuple[str, int], dict[str, Any]]

    def rates(self) -> dict[str, dict[str, Any]]:
        found = {name: rate for name, rate in mapping(self.metrics.get("calls")).items() if name in _CALLS}
        found |= {f"judge_{name}": rate for name, rate in mapping(self.metrics.get("judge_rates")).items()}
        found["process_verdict"] = self.metrics.get("process_verdict")
        found |= mapping(self.metrics.get("scores"))
        return {name: found[name] for name in dict.fromkeys((*HEADLINE, *found)) if _is_rate(found.get(name))}


def compare(folders: Sequence[str | Path]) -> dict[str, Any]:
    """Compare evaluations with the first of them.

    Differences are over the instructions that both have, by API and index, with the same golden calls; failed or
    missing instructions count as not solved. See [`statistics.paired`] for intervals and p-values.

    The folders are those of `toolalpaca evaluate`, or logs of Inspect (`.eval`, `.json`, or a folder with an `.eval`).

    Returns:
        `dict`:

        - `runs`: for each folder its `name`, `folder`, `suite`, `model`, `n`, `failed`, `missing` and `rates`;
        - `differences`: for each folder but the first its `name`, `to` (the first's name), `n` (compared), `only_this`
          and `only_first` (instructions that the other lacks), `other_golden` (left out because their golden calls
          differ), `rates`, each from [`statistics.paired`], positive if this one is better, and `detectable`, what
          difference of the first of these rates the two can show, see [`detectable_between`];
        - `by_api`: for each API and run, `n` and the rates of its group in `metrics.json`;
        - `notes`: sentences on what was left out or cannot be compared.

    Raises [`OptionError`] without two folders that have instructions in common, [`InputError`] if one is none.

    Example:

    ```python
    >>> compare(["runs/before", "runs/after"])["differences"][0]["rates"]["all_functions"]  # doctest: +SKIP
    {'difference': 0.12, 'low': 0.03, 'high': 0.2, 'p_value': 0.02, 'n': 100, 'wins': 15, 'losses': 3, ...}
    ```
    """
    if len(folders) < 2:
        raise OptionError("one evaluation cannot be compared", fix="name at least two folders of toolalpaca evaluate")
    paths, notes = [Path(folder) for folder in folders], []
    runs = [_read(path, name, notes) for path, name in zip(paths, _names(paths), strict=True)]
    by_api: dict[str, dict[str, Any]] = {}
    for run in runs:
        for api, group in mapping(mapping(run.metrics.get("by")).get("api")).items():
            rates = {name: rate for name, rate in mapping(group).items() if name in HEADLINE and _is_rate(rate)}
            by_api.setdefault(api, {})[run.name] = {"n": mapping(group).get("n")} | rates
    about = ("suite", "model", "n", "failed", "missing")
    return {
        "runs": [
            {"name": run.name, "folder": str(run.folder), **{key: run.metrics.get(key) for key in about}}
            | {"rates": run.rates()}
            for run in runs
        ],
        "differences": [_difference(run, runs[0], notes) for run in runs[1:]],
        "by_api": dict(sorted(by_api.items())),
        "notes": [*filter(None, [left_out(notes)]), *notes],
    }


def _names(paths: Sequence[Path]) -> list[str]:
    """Folder names if they are distinct, else paths, numbered if one is given twice."""
    for names in ([path.resolve().name for path in paths], [str(path) for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(paths, start=1)]


def _read(folder: Path, name: str, notes: list[str]) -> _Run:
    if not folder.exists():
        raise NotFoundError("no such folder", file=folder, fix="pass one that evaluate wrote")
    if log := find_log(folder):
        metrics, rows = read_inspect_log(log, notes)
    else:
        metrics = read_json(folder / "metrics.json", "evaluate again", dict)
        rows = read_json(folder / "instructions.json", "evaluate again", list)
    if not isinstance(metrics.get("n"), int) or "suite" not in metrics:
        raise InputError("no suite and n", file=folder / "metrics.json", fix="evaluate again")
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for number, row in enumerate(rows):
        if problem := _problem(row, records):
            notes.append(LeftOut(f"{folder / 'instructions.json'}, record {number}", f"{problem}; it is left out"))
        else:
            records[row["api"], row["index"]] = row
    return _Run(name, folder, metrics, records)


def _problem(row: Any, before: Mapping[tuple[str, int], Any]) -> str:
    """Why a record cannot be compared; empty if it can."""
    if not isinstance(row, dict) or not isinstance(row.get("api"), str) or type(row.get("index")) is not int:
        return "has no api and index"
    for name in (*_CALLS, "solved"):
        value = row.get(name, 0)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            return f"has a {name} that is not between 0 and 1"
    if not isinstance(row.get("judge") or {}, dict):
        return "has a judge that is not an object"
    return f"is {row['api']} {row['index']} a second time" if (row["api"], row["index"]) in before else ""


def find_log(path: Path) -> Path | None:
    """The log that a path names: a file, or the only one in a folder, as `inspect eval --log-dir` leaves it."""
    evaluated = (path / "metrics.json").is_file()  # whatever logs stand beside it
    logs = [path] if path.is_file() else [] if evaluated else sorted(path.glob("*.eval"))
    if len(logs) > 1:
        raise OptionError(f"holds {len(logs)} logs", file=path, fix=f"name one of them, such as {logs[-1]}")
    return logs[0] if logs else None


def read_inspect_log(path: Path, notes: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and records of a log: a record a sample, with `SCORER (Inspect)` the mean of its scores over epochs."""
    scored: dict[str, list[dict[str, float]]] = defaultdict(list)
    try:
        head, samples = _content(path)
        last = {(str(sample["id"]), sample["epoch"]): sample for sample in samples}  # a retried one is there twice
        for (name, _), sample in last.items():
            scored[name].append({} if sample.get("error") else _scores(sample.get("scores") or {}))
        metrics = {"suite": head["eval"]["task"], "model": head["eval"]["model"], "n": len(scored)}
    except (*_DAMAGED, *_NO_LOG) as error:
        problem = f"is no log of Inspect ({type(error).__name__}: {error})"
        raise InputError(problem, file=path, fix="pass a log of `inspect eval`") from None
    if not scored:
        raise InputError("no sample in this log is finished", file=path, fix="go on with `inspect eval-retry`")
    if head.get("status") != "success":
        notes.append(f"{path} ended as {head.get('status', 'started')}: only its finished samples are compared")
    means: dict[str, list[float]] = {}
    for name in {name: 0 for epochs in scored.values() for scores in epochs for name in scores}:
        values = [[scores.get(name, 0.0) for scores in epochs] for epochs in scored.values()]
        if all(0 <= value <= 1 for epochs in values for value in epochs):
            means[name] = [*map(fmean, values)]
        else:
            notes.append(f"{path}: {name} is no share between 0 and 1, and is left out")
    targets = {name: sample.get("target") for (name, _), sample in last.items()}
    records = [
        {"api": name, "index": 0, "golden_calls": target} | {score: column[place] for score, column in means.items()}
        for place, (name, target) in enumerate(targets.items())
    ]
    failed = len({name for (name, _), sample in last.items() if sample.get("error")})
    return metrics | {"failed": failed, "scores": rates(means, list(scored))}, records


def _content(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    if not is_zipfile(path):
        head = json.loads(path.read_bytes())
        return head, head.get("samples") or []
    with ZipFile(path) as file:
        names = dict.fromkeys(file.namelist())
        # A run that was cut off has only its journal.
        head = json.loads(_unpacked(path, file, "header.json" if "header.json" in names else "_journal/start.json"))
        journal = [name for name in names if name.startswith("_journal/summaries/")]
        parts = ["summaries.json"] if "summaries.json" in names else journal
        return head, [sample for part in parts for sample in json.loads(_unpacked(path, file, part))]


def _unpacked(path: Path, file: ZipFile, name: str) -> bytes:
    about = file.getinfo(name)
    if about.compress_type != ZSTANDARD:
        return file.read(name)
    from zstandard import ZstdDecompressor, ZstdError

    with path.open("rb") as raw:
        raw.seek(about.header_offset + 26)
        raw.seek(sum(int.from_bytes(raw.read(2), "little") for _ in range(2)), 1)
        packed = raw.read(about.compress_size)
    try:
        return ZstdDecompressor().stream_reader(packed, read_across_frames=True).read(about.file_size)
    except ZstdError as error:
        raise BadZipFile(str(error)) from None


def _scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a sample that are numbers, grades or words; each field of one that is an object."""
    found = {}
    for scorer, score in scores.items():
        value = score["value"]
        fields = {f"{scorer}, {k}": v for k, v in value.items()} if isinstance(value, dict) else {scorer: value}
        for name, given in fields.items():
            if isinstance(given, str):
                given = GRADES.get(given, WORDS.get(given.lower(), given))
            with suppress(ValueError, TypeError, OverflowError):
                if (number := float(given)) == number:  # NaN is Inspect's "not scored"
                    found[f"{name} (Inspect)"] = number
    return found


def _difference(run: _Run, first: _Run, notes: list[str]) -> dict[str, Any]:
    sides = (run, first)
    if run.metrics["suite"] != first.metrics["suite"]:
        notes.append(f"{run.name} is of the suite {run.metrics['suite']}, {first.name} of {first.metrics['suite']}")
    if mapping(run.metrics.get("judge_settings")) != mapping(first.metrics.get("judge_settings")):
        notes.append(f"{run.name} and {first.name} have different judge settings, by which verdicts may differ")
    common = sorted(run.records.keys() & first.records.keys())
    pairs = [[side.records[place] for side in sides] for place in common]
    pairs = [(this, that) for this, that in pairs if this.get("golden_calls") == that.get("golden_calls")]
    if not pairs:
        why = f"the golden calls of all {len(common)} differ" if common else "they share no API and index"
        problem = f"{run.folder} and {first.folder} have no instruction in common ({why})"
        raise OptionError(problem, fix="compare runs of one suite")
    here, there = (len(side.records) - len(common) for side in sides)
    if here or there:
        missing = f"{there} are missing in {run.name}, {here} in {first.name}"
        notes.append(f"{len(common)} instructions are in both {run.name} and {first.name}; {missing}")
    if other := len(common) - len(pairs):
        which = f"{other} instructions have different golden calls in {run.name} than in {first.name}"
        notes.append(f"{which}; they are left out of the differences")
    these, those = zip(*pairs, strict=True)
    rates = {
        name: paired(_column(these, name), _column(those, name), [row["api"] for row in these])
        for name in (*HEADLINE, *mapping(run.metrics.get("scores")))
        if _has(run, name) and _has(first, name)
    }
    if not rates:
        notes.append(f"{run.name} and {first.name} have no rate in common")
    made = [(each.get("within"), each.get("n", 1)) for each in (mapping(side.metrics.get("trials")) for side in sides)]
    counts = {"n": len(pairs), "only_this": here, "only_first": there, "other_golden": other}
    shown = next((detectable_between(found, made) for found in rates.values()), {})
    return {"name": run.name, "to": first.name, **counts, "rates": rates, "detectable": shown}


def _has(run: _Run, name: str) -> bool:
    return any(row.get("judge" if name.startswith("judge_") else name) is not None for row in run.records.values())


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Sequence[float]:
    """Records' values of a rate; a missing one counts as not solved, as in the rate itself."""
    if name.startswith("judge_"):
        return judged_right(rows)[name.removeprefix("judge_")]
    return [solved(row) if name == "process_verdict" else row.get(name, 0) for row in rows]


def _is_rate(rate: Any) -> bool:
    return all(finite(mapping(rate).get(key)) is not None for key in ("value", "low", "high"))


def comparison_table(comparison: Mapping[str, Any]) -> "Group":
    """Render [`compare`]'s result for the terminal: tables of rates, differences and APIs, and the notes."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for title, columns, rows in _tables(comparison):
        # `Text`: a name with square brackets is a name, not markup.
        shown = Table(title=Text(title), title_justify="left")
        for i, column in enumerate(columns):
            shown.add_column(Text(column), justify="right" if i else "left", overflow="fold")
        for row in rows:
            shown.add_row(*map(Text, row))
        parts.append(shown)
    return Group(*parts, *(Text(f"Note: {note}.") for note in comparison["notes"]))


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """Render [`compare`]'s result as Markdown."""
    tables = ((title, markdown_table(head, rows, 1, markdown_text)) for title, head, rows in _tables(comparison))
    parts = [f"### {markdown_text(title)}\n\n{table}" for title, table in tables]
    return "\n\n".join([*parts, *(f"Note: {markdown_text(note)}." for note in comparison["notes"])]) + "\n"


def _tables(comparison: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, heading and rows of each table."""
    runs, differences, groups = comparison["runs"], comparison["differences"], comparison["by_api"]
    names = [run["name"] for run in runs]
    there = {key: 0 for run in runs for key in run["rates"]}
    shown = [key for key in dict.fromkeys((*HEADLINE, *there)) if key in there]
    about = {"Model": "model", "Suite": "suite", "Instructions": "n", "Failed": "failed", "Missing": "missing"}
    rows = [
        [heading, *(str(NONE if run.get(key) is None else run[key]) for run in runs)] for heading, key in about.items()
    ]
    rows += [[HEADLINE.get(key, key), *(rate_text(run["rates"].get(key)) for run in runs)] for key in shown]
    tables = [("Rates, in percent, with 95% intervals", ["", *names], rows)]
    rows = [
        [HEADLINE.get(key, key), *(_points(found["rates"].get(key)) for found in differences)]
        for key in shown
        if any(key in found["rates"] for found in differences)
    ]
    rows += [
        [words, *(detectable_text(found["detectable"], key) for found in differences)]
        for key, words in BETWEEN.items()
        if any(key in found["detectable"] for found in differences)
    ]
    title = f"Difference to {names[0]}, in points, on the instructions that both have"
    tables.append((title, ["", *(f"{found['name']} (n = {found['n']})" for found in differences)], rows))
    # One rate an API: the first that some run has. BFCL's rows are an API each, of which there is nothing to say.
    by_runs = [group for by_run in groups.values() for group in by_run.values()]
    had = {key for group in by_runs for key in group} if any(group["n"] != 1 for group in by_runs) else set()
    if of_api := next((key for key in HEADLINE if key in had), ""):
        rows = [[api, *(_of_api(by_run.get(name), of_api) for name in names)] for api, by_run in groups.items()]
        tables.append((f"{HEADLINE[of_api]}, by API, in percent", ["", *names], rows))
    return tables


def _points(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NONE
    p = "p < 0.001" if found["p_value"] < 0.001 else f"p = {found['p_value']:.3f}"
    return f"{rate_text(found, sign='+', key='difference')}, {p}, {found['wins']} won, {found['losses']} lost"


def _of_api(group: Mapping[str, Any] | None, key: str) -> str:
    return f"{100 * group[key]['value']:.1f} (n = {group['n']})" if group and key in group else NONE
