"""Metrics to the rows of the report's tables, the same for the page and for Markdown."""

import math
from dataclasses import dataclass
from typing import Any

from .published import INSTRUCTIONS, JUDGE, PUBLISHED

LABELS = {
    "process_verdict": "Process correct, by rule",
    "process": "Process correct, by judge",
    "response": "Response correct, by judge",
    "both": "Both correct, by judge",
    "all_functions": "Every golden function called",
    "all_functions_repeated": "Every golden function called as often",
    "exact_set": "Exactly the golden functions",
    "in_order": "Golden functions in order",
    "arguments": "Arguments equal",
    "precision": "Precision of calls",
    "recall": "Recall of calls",
    "f1": "F1 of calls",
    "argument_precision": "Precision of arguments",
    "argument_recall": "Recall of arguments",
    "argument_f1": "F1 of arguments",
}
"""What a metric is called in tables; another one is called by its key."""

BREAKDOWNS = {"api": "By API", "category": "By category", "golden_calls": "By number of golden calls"}
"""The groups of `metrics["by"]`, and the headings of their tables."""

NONE = "–"
"""Stands where there is no figure."""


def label(key: str) -> str:
    """What a metric is called.

    Example:

    ```python
    >>> label("well_formed_calls")
    'Well formed calls'
    ```
    """
    return LABELS.get(key) or key.replace("_", " ").capitalize()


def number(value: Any) -> float | None:
    """The value where it is a finite number, else `None`.

    Example:

    ```python
    >>> number(float("nan")) is None
    True
    ```
    """
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def rate_text(rate: dict[str, Any] | None) -> str:
    """A rate in percent with its interval.

    Args:
        rate (`dict`, *optional*): `value`, `low` and `high`, each a share between 0 and 1.

    Example:

    ```python
    >>> rate_text({"value": 0.63, "low": 0.531, "high": 0.722, "n": 100})
    '63.0 (53.1 to 72.2)'
    ```
    """
    value, low, high = (number((rate or {}).get(key)) for key in ("value", "low", "high"))
    if value is None:
        return NONE
    interval = "" if low is None or high is None else f" ({low:.1%} to {high:.1%})"
    return f"{value:.1%}{interval}".replace("%", "")


@dataclass(frozen=True)
class HeadlineRow:
    """One row of the headline table.

    Args:
        model (`str`): Whose figures they are.
        judge (`str`): Who gave the verdicts.
        n (`str`): Over how many instructions.
        process, response, overall (`str`): In percent, with their intervals where they are ours.
        published (`bool`): Whether they are the paper's, and not measured here.
    """

    model: str
    judge: str
    n: str
    process: str
    response: str
    overall: str
    published: bool


def headline(metrics: dict[str, Any]) -> list[HeadlineRow]:
    """The run's verdicts, by rule and by judge, and the paper's rows for the same suite.

    Args:
        metrics (`dict`): What `metrics.json` holds.

    Example:

    ```python
    >>> rows = headline({"suite": "real", "model": "m", "n": 2, "process_verdict": {"value": 0.5, "n": 2}})
    >>> rows[0].process, rows[1].model, rows[1].published
    ('50.0', 'GPT-3.5', True)
    ```
    """
    suite, model = str(metrics.get("suite") or ""), str(metrics.get("model") or "this run")
    verdict = metrics.get("process_verdict")
    n = str((verdict or {}).get("n", metrics.get("n", NONE)))
    rows = [HeadlineRow(model, "rule, no judge", n, rate_text(verdict), NONE, NONE, False)]
    if metrics.get("judge_rates"):
        rates = metrics["judge_rates"]
        judge = str((metrics.get("judge_settings") or {}).get("model") or "judge")
        n = str((rates.get("process") or {}).get("n", NONE))
        shares = [rate_text(rates.get(key)) for key in ("process", "response", "both")]
        rows.append(HeadlineRow(model, judge, n, *shares, False))
    for row in PUBLISHED.get(suite, ()):
        shares = [f"{share:.1f}" for share in (row.process, row.response, row.overall)]
        rows.append(HeadlineRow(row.model, JUDGE, str(INSTRUCTIONS[suite]), *shares, True))
    return rows


def figures(metrics: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Every rate of the run by section: what it is called, its value with the interval, and its n.

    Args:
        metrics (`dict`): What `metrics.json` holds.

    Example:

    ```python
    >>> figures({"calls": {"f1": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 9}}})
    [('Calls against the golden ones', [('F1 of calls', '50.0 (25.0 to 75.0)', '9')])]
    ```
    """
    verdict = metrics.get("process_verdict")
    sections = {
        "Verdicts": ({"process_verdict": verdict} if verdict else {}) | (metrics.get("judge_rates") or {}),
        "Calls against the golden ones": metrics.get("calls") or {},
        "Validity of what was called": metrics.get("validity") or {},
    }
    return [
        (title, [(label(key), rate_text(rate), str((rate or {}).get("n", NONE))) for key, rate in rates.items()])
        for title, rates in sections.items()
        if rates
    ]


def groups(metrics: dict[str, Any], by: str) -> list[tuple[str, dict[str, Any]]]:
    """The groups of a breakdown: numbers of golden calls in their order, others from the lowest rate up.

    Example:

    ```python
    >>> by = {"golden_calls": {"10": {"n": 1}, "2": {"n": 3}}}
    >>> [name for name, _ in groups({"by": by}, "golden_calls")]
    ['2', '10']
    ```
    """
    found = ((metrics.get("by") or {}).get(by) or {}).items()

    def place(item: tuple[Any, dict[str, Any]]) -> tuple[float, str]:
        name, group = item
        if by == "golden_calls":
            return (float(name) if str(name).isdecimal() else math.inf, str(name))
        value = number((group.get("process_verdict") or {}).get("value"))
        return (-1.0 if value is None else value, str(name))

    return [(str(name) or "(none)", group) for name, group in sorted(found, key=place)]


def breakdowns(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The breakdowns that have groups, as tables: `key`, `title`, and rows of a group's name, n, failed and rates.

    Example:

    ```python
    >>> breakdowns({"by": {"api": {}}})
    []
    ```
    """
    tables = []
    for by, title in BREAKDOWNS.items():
        rows = [
            [name, str(group.get("n", NONE)), str(group.get("failed", NONE))]
            + [rate_text(group.get(key)) for key in ("process_verdict", "all_functions", "arguments")]
            for name, group in groups(metrics, by)
        ]
        if rows:
            tables.append({"key": by, "title": title, "rows": rows})
    return tables


def judge_counts(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The judge's verdicts as counts: `n`, `unjudged`, and rows of what was judged with its Yes, No and Uncertain.

    Example:

    ```python
    >>> judge_counts({"judge": {"num": 3, "error_num": 1, "process": {"Yes": 2, "No": 0, "Uncertain": 0}}})["rows"]
    [('process', '2', '0', '0')]
    ```
    """
    judge = metrics.get("judge")
    if not judge:
        return None
    rows = [
        (key, *(str(judge[key].get(verdict, 0)) for verdict in ("Yes", "No", "Uncertain")))
        for key in ("process", "response")
        if key in judge
    ]
    if "both" in judge:
        rows.append(("both", str(judge["both"]), "", ""))
    return {"n": judge.get("num", NONE), "unjudged": judge.get("error_num", NONE), "rows": rows}


def error_kinds(metrics: dict[str, Any]) -> list[tuple[str, int]]:
    """What went wrong and how often, the most frequent first.

    Example:

    ```python
    >>> error_kinds({"errors": {"unknown function": 1, "wrong arguments": 4}})
    [('wrong arguments', 4), ('unknown function', 1)]
    ```
    """
    counts = [(str(kind), int(count)) for kind, count in (metrics.get("errors") or {}).items()]
    return sorted(counts, key=lambda item: (-item[1], item[0]))
