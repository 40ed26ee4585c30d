"""Agreement of two judges, people included: raw, and Cohen's kappa, which corrects for chance."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics import VERDICTS
from .statistics import cluster_sums, rate, resampled, tails

# Verdicts on an instruction, `{"process": ..., "response": ...}`, by the API's name and the place in it.
Verdicts = Mapping[tuple[str, int], Mapping[str, Any]]


def agreement(
    a: Sequence[str | None], b: Sequence[str | None], clusters: Sequence[str] | None = None
) -> dict[str, Any]:
    """Agreement of two judges on the same instructions.

    Intervals are those of [`statistics.rate`], over APIs if given. Kappa's interval is at least as wide as the kappas
    at the ends of the raw agreement's interval, so that judges who never differ have a width.

    Args:
        a, b (`Sequence[str | None]`): Verdicts of each, `"Yes"`, `"No"` or `"Uncertain"` (else there is an
            [`InputError`]); pairs with a `None` are left out and counted.
        clusters (`Sequence[str]`, *optional*): The API of each instruction; by default instructions are independent.

    Returns:
        `dict`: `n` pairs, `left_out`, `agreement` with `agreement_low` and `agreement_high`, `kappa` with `low` and
            `high` (`None` if undefined), and `table`, counts by the verdict of `a`, then that of `b`.

    Example:

    ```python
    >>> found = agreement(["Yes", "Yes", "No", "No", None], ["Yes", "Yes", "No", "Yes", "Yes"])
    >>> found["n"], found["left_out"], found["agreement"], found["kappa"], found["table"]["No"]
    (4, 1, 0.75, 0.5, {'Yes': 1, 'No': 1, 'Uncertain': 0})
    ```
    """
    if len(a) != len(b) or (clusters is not None and len(clusters) != len(a)):
        raise InputError(f"{len(a)} and {len(b)} verdicts cannot be paired")
    if unknown := {*a, *b} - {*VERDICTS, None}:
        raise InputError(f"{unknown.pop()!r} is no verdict", fix="write Yes, No or Uncertain")
    rows = [row for row in zip(a, b, clusters or [""] * len(a), strict=True) if None not in row]
    groups = [cluster for _, _, cluster in rows]
    places = [3 * VERDICTS.index(str(first)) + VERDICTS.index(str(second)) for first, second, _ in rows]
    cells = np.eye(9)[np.array(places, dtype=int)]
    counts = cells.sum(axis=0).reshape(3, 3)
    raw = rate([first == second for first, second, _ in rows], groups)
    kappa = low = high = None
    if rows and (chance := float(_chance(counts))) < 1:
        sums = cluster_sums(cells, groups)
        drawn = resampled(sums).reshape(-1, 3, 3)
        observed, expected = np.trace(drawn, axis1=1, axis2=2) / drawn.sum(axis=(1, 2)), _chance(drawn)
        with np.errstate(divide="ignore", invalid="ignore"):
            kappas = (observed - expected) / (1 - expected)
        kappas = kappas[np.isfinite(kappas)]  # a resample in which both say one word throughout has none
        kappa, *floor = [(float(raw[end] or 0) - chance) / (1 - chance) for end in ("value", "low", "high")]
        ends = np.quantile(kappas, tails(len(sums))).tolist() if len(kappas) else floor
        low, high = max(-1.0, min(ends[0], floor[0])), min(1.0, max(ends[1], floor[1]))
    table = [dict(zip(VERDICTS, map(int, row), strict=True)) for row in counts]
    return {
        "n": len(rows),
        "left_out": len(a) - len(rows),
        "agreement": raw["value"],
        "agreement_low": raw["low"],
        "agreement_high": raw["high"],
        "kappa": kappa,
        "low": low,
        "high": high,
        "table": dict(zip(VERDICTS, table, strict=True)),
    }


def _chance(tables: np.ndarray) -> np.ndarray:
    """Expected agreement of two independent judges with the marginal frequencies of tables `(..., 3, 3)`."""
    return (tables.sum(axis=-2) * tables.sum(axis=-1)).sum(axis=-1) / tables.sum(axis=(-2, -1)) ** 2


def agreement_of(a: Verdicts, b: Verdicts) -> dict[str, Any]:
    """[`agreement`] of two sets of verdicts on `process` and `response`; `only_a` and `only_b` have no other side."""
    both = sorted(a.keys() & b.keys())
    apis = [api for api, _ in both]
    found: dict[str, Any] = {
        part: agreement([a[place].get(part) for place in both], [b[place].get(part) for place in both], apis)
        for part in ("process", "response")
    }
    return found | {"only_a": len(a) - len(both), "only_b": len(b) - len(both)}


def read_labels(path: str | Path) -> tuple[dict[tuple[str, int], dict[str, str | None]], list[str]]:
    """Read human labels, CSV with the columns `api`, `index`, `process` and optionally `response` (empty: no verdict).

    Returns `{"process": ..., "response": ...}` by API and index, and a sentence, with its line, for each rejected row.
    """
    labels: dict[tuple[str, int], dict[str, str | None]] = {}
    problems = []
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if missing := [name for name in ("api", "index", "process") if name not in (reader.fieldnames or ())]:
                fix = "pass CSV that names api, index and process in its first line"
                raise InputError(f"no column {missing[0]}", file=path, fix=fix)
            for row in reader:
                try:
                    place, verdicts = _label(row)
                    if place in labels:
                        raise ValueError(f"{place[0]} {place[1]} is labelled a second time; the first label counts")
                    labels[place] = verdicts
                except ValueError as problem:
                    problems.append(f"{path}, line {reader.line_num}: {problem}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        row = len(labels) + len(problems) + 1 if isinstance(error, csv.Error) else None
        raise InputError(f"cannot be read ({error})", file=path, row=row, fix="pass CSV in UTF-8") from None
    if not labels:
        raise InputError("no label can be taken", file=path, fix=problems[0] if problems else "it is empty")
    return labels, problems


def _label(row: Mapping[Any, Any]) -> tuple[tuple[str, int], dict[str, str | None]]:
    """A row's place and verdicts; raises `ValueError` with what is wrong."""
    if None in row:  # what csv keeps of cells beyond the header
        raise ValueError("has more cells than the header; put quotes around a name with a comma")
    api, index, process, response = ((row.get(name) or "").strip() for name in ("api", "index", "process", "response"))
    if not api:
        raise ValueError("has no api; write the API's name as published")
    if not index.isdecimal():
        raise ValueError(f"index {index!r} is not a whole number from 0; write the instruction's place under its API")
    verdicts = {"process": process.capitalize() or None, "response": response.capitalize() or None}
    for part, word in verdicts.items():
        if word not in (*VERDICTS, None):
            raise ValueError(f"{part} {word!r} is no verdict; write Yes, No or Uncertain")
    return (api, int(index)), verdicts
