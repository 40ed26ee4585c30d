"""What the report shows: rows of tables, the paper's figures beside them, plots, and results for a model card."""

from collections import namedtuple
from typing import TYPE_CHECKING, Any

from ...report import BLUE, NONE, ORANGE, bar_plot, finite, label_rows, plot, rate_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What the paper prints; nothing of it was measured by this package.
SOURCE, ADDRESS = "arXiv 2306.05301, Table 3", "https://arxiv.org/abs/2306.05301"

INSTRUCTIONS = {"simulated": 100, "real": 114}  # how many instructions each published suite has

# By model and suite, in percent of the instructions: process, response and overall (both at once).
PUBLISHED: dict[str, dict[str, tuple[float, float, float]]] = {
    "GPT-3.5": {"simulated": (77.0, 85.0, 75.0), "real": (75.4, 80.7, 72.8)},
    "Vicuna-7B": {"simulated": (19.0, 21.0, 17.0), "real": (7.9, 11.4, 7.9)},
    "ToolAlpaca-7B": {"simulated": (63.0, 69.0, 60.0), "real": (63.2, 57.9, 55.3)},
    "Vicuna-13B": {"simulated": (17.0, 31.0, 16.0), "real": (13.2, 16.7, 12.3)},
    "ToolAlpaca-13B": {"simulated": (70.0, 73.0, 70.0), "real": (66.7, 67.5, 61.4)},
}

SPLITS = {"simulated": "eval_simulated", "real": "eval_real", "sample": "eval_simulated"}  # of the dataset repo

LABELS = {  # what a metric is called in tables; another one is called by its key
    "process_verdict": "Process correct, by rule",
    "solved": "Process correct, share of trials",
    "ast": "Calls as BFCL's answers have them",
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
    "json_object": "JSON object",
}

BETWEEN = {  # what `statistics.detectable_between` says, in words
    "difference": "Smallest difference of the first rate that is shown, 4 times in 5",
    "trials": "Trials of each for a difference of 3 points",
    "instructions": "Instructions for a difference of 3 points",
}

ONE_RUN = {  # what `statistics.detectable` says, in words
    "same_instructions": "Smallest difference shown to a run on the same instructions, 4 times in 5",
    "trials": "Trials for a difference of 3 points there",
    "other_instructions": "Smallest difference shown to a run on other instructions",
    "instructions": "Instructions for a difference of 3 points there",
}

SOURCES = {  # of variance
    "instruction": "between instructions",
    "sampling": "the model's sampling",
    "simulator": "the simulator's seed",
    "user": "who plays the user",
    "judge": "the judge's verdicts on one attempt",
}

BREAKDOWNS = {"api": "By API", "category": "By category", "golden_calls": "By number of golden calls"}


def label(key: str) -> str:
    """A metric's display name."""
    return LABELS.get(key) or key.replace("_", " ").capitalize()


# A model, its judge, and its rates in percent; `published` rows are the paper's, not measured here.
HeadlineRow = namedtuple("HeadlineRow", "model judge n process response overall published")


def headline(metrics: dict[str, Any]) -> list[HeadlineRow]:
    """The run's verdicts, by rules and by judge, and the paper's rows for the same suite."""
    suite, model, n = metrics["suite"], metrics["model"], str(metrics["n"])
    rows = [HeadlineRow(model, "rule, no judge", n, rate_text(metrics["process_verdict"]), NONE, NONE, False)]
    if "judge_rates" in metrics:
        judge = metrics.get("judge_settings", {}).get("model", "judge")
        shares = [rate_text(metrics["judge_rates"][key]) for key in ("process", "response", "both")]
        rows.append(HeadlineRow._make([model, judge, n, *shares, False]))
    for name, published in PUBLISHED.items() if suite in INSTRUCTIONS else ():
        shares = [f"{share:.1f}" for share in published[suite]]
        rows.append(HeadlineRow._make([name, "GPT-4", str(INSTRUCTIONS[suite]), *shares, True]))
    return rows


def figures(metrics: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Every rate of the run by section: name, value with interval, and n."""
    sections = {
        "Verdicts": {"process_verdict": metrics["process_verdict"]} | metrics.get("judge_rates", {}),
        "Calls against the golden ones": metrics["calls"],
        "Validity of what was called": metrics["validity"],
    }
    if left := metrics.get("without_flagged"):
        known = {"process_verdict": left["process_verdict"]} | left["calls"] if left["n"] else {}
        chosen = [key for key in ("process_verdict", "ast", "all_functions", "arguments") if key in known]
        title = f"Without the {len(left['flagged'])} instructions that the linter flags"
        sections[title] = {key: known[key] for key in chosen}
    shown = [
        (title, [(label(key), rate_text(rate), str(rate["n"])) for key, rate in rates.items()])
        for title, rates in sections.items()
    ]
    return shown + _trials(metrics)


def detectable_text(found: dict[str, Any], key: str) -> str:
    """A figure of [`statistics.detectable`] or [`statistics.detectable_between`]: points, or a number."""
    if key not in found:
        return NONE
    if found[key] is None:
        return "no number of them" if found.get("within") else "cannot be estimated: no instruction's trials differ"
    return f"{100 * found[key]:.1f} points" if isinstance(found[key], float) else f"{found[key]:,}"


def _trials(metrics: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Sections on repeated trials, and on the differences that can be shown."""
    sections, trials = [], metrics.get("trials")
    if trials:
        n = str(metrics["n"])
        rows = [(f"pass@{k}: solved in one of {k}", rate_text(rate), n) for k, rate in trials["pass_at"].items()]
        rows += [(f"pass^{k}: solved in all of {k}", rate_text(rate), n) for k, rate in trials["pass_all"].items()]
        sections.append((f"Over {trials['n']} trials", rows))
        known = {key: value for key, value in trials["variance"].items() if value is not None}
        whole = sum(value for key, value in known.items() if key != "judge") or 1.0
        rows = [
            (words, f"{known[key]:.4f} ({100 * known[key] / whole:.0f}%)" if key in known else "inseparable", "")
            for key, words in SOURCES.items()
        ]
        sections.append(("Variance of one trial's verdict, and its share", rows))
    if found := metrics.get("detectable"):
        rows = [(words, detectable_text(found, key), "") for key, words in ONE_RUN.items() if key in found]
        sections.append(("What a comparison can show", rows))
    return sections


def trial_lines(metrics: dict[str, Any]) -> list[str]:
    """The sections on trials as lines of text."""
    return [f"{name}: {text}" for _, rows in _trials(metrics) for name, text, _ in rows]


def groups(metrics: dict[str, Any], by: str) -> list[tuple[str, dict[str, Any]]]:
    """The groups of a breakdown: numbers of golden calls in order, others by ascending rate."""
    found = list(metrics["by"][by].items())
    if by != "golden_calls":
        found.sort(key=lambda group: (group[1]["process_verdict"]["value"], group[0]))
    return found


def breakdowns(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The breakdowns as tables: `key`, `title`, and rows of a group's name, n, failed and rates."""
    rates = ("process_verdict", "all_functions", "arguments")
    tables = []
    for by, title in BREAKDOWNS.items():
        rows = [
            [name, str(of["n"]), str(of["failed"]), *(rate_text(of[rate]) for rate in rates)]
            for name, of in groups(metrics, by)
        ]
        tables.append({"key": by, "title": title, "rows": rows})
    return tables


def template_values(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the templates of both reports show of an evaluation."""
    if counts := metrics.get("judge"):
        rows = [(part, *map(str, counts[part].values())) for part in ("process", "response")]
        rows += [("both", str(counts["both"]), "", "")]
        counts = {"n": counts["num"], "unjudged": counts["error_num"], "rows": rows}
    return {
        "metrics": metrics,
        "headline": headline(metrics),
        "figures": figures(metrics),
        "judge": counts,
        "breakdowns": breakdowns(metrics),
        "errors": list(metrics["errors"].items()),
        "source": SOURCE,
        "address": ADDRESS,
    }


def model_index(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Keyword arguments of `huggingface_hub.EvalResult` for each figure that has a value, in percent.

    Example:

    ```python
    >>> from huggingface_hub import EvalResult
    >>> rate = {"value": 0.63, "low": 0.531, "high": 0.722, "n": 100}
    >>> result = EvalResult(**model_index({"suite": "simulated", "n": 100, "process_verdict": rate})[0])
    >>> result.metric_value, result.metric_name
    (63.0, 'Process correct, by rule (%; 95% interval 53.1 to 72.2, n = 100)')
    ```
    """
    suite = metrics["suite"]
    about: dict[str, Any] = {"task_type": "text-generation", "task_name": "Tool use"}
    if suite in SPLITS:
        about["dataset_type"] = "toolalpaca-sample" if suite == "sample" else "toolalpaca"
        about |= {"dataset_name": f"ToolAlpaca, {suite} suite", "dataset_config": "instructions"}
        about["dataset_split"] = SPLITS[suite]
    else:
        about |= {"dataset_type": suite, "dataset_name": "BFCL" if suite == "bfcl" else suite}
    # What is published is read from a file, and may have only verdicts.
    rates = [("process_verdict", "process_verdict", metrics.get("process_verdict"))]
    rates += [("llm_judge", *found) for found in (metrics.get("judge_rates") or {}).items()]
    rates += [("tool_call_match", *found) for found in (metrics.get("calls") or {}).items()]
    results = []
    for metric, key, rate in rates:
        value, low, high = (finite((rate or {}).get(name)) for name in ("value", "low", "high"))
        if rate is None or value is None:
            continue
        n = f"n = {rate.get('n', metrics.get('n'))}"
        spread = n if low is None or high is None else f"95% interval {100 * low:.1f} to {100 * high:.1f}, {n}"
        measured = {"metric_name": f"{label(key)} (%; {spread})", "metric_value": round(100 * value, 1)}
        results.append(about | {"metric_type": metric, "metric_config": key} | measured)
    return results


# The marker says what the colour does.
_SERIES = {
    "process_verdict": ("process correct, by rule", BLUE, "o"),
    "all_functions": ("every golden function called", ORANGE, "s"),
}


def plots(metrics: dict[str, Any]) -> dict[str, str]:
    """Plots of failures by error kind, by API, and by number of golden calls; none without matplotlib."""
    kinds = list(metrics["errors"].items())
    title = f"Errors by kind (n = {sum(count for _, count in kinds)} errors)"
    try:
        drawn = {"errors": bar_plot("errors", title, kinds, ORANGE)} if kinds else {}
        return drawn | {by: _rates(groups(metrics, by), by) for by in ("api", "golden_calls")}
    except ImportError:
        return {}


def _rates(found: list[tuple[str, dict[str, Any]]], by: str) -> str:
    """Two rates of each group with their intervals."""

    def draw(axes: "Axes", narrow: bool) -> None:
        for offset, (key, (name, colour, marker)) in zip((-0.14, 0.14), _SERIES.items(), strict=True):
            value, low, high = ([100 * of[key][part] for _, of in found] for part in ("value", "low", "high"))
            places = [place + offset for place in range(len(found))]
            axes.hlines(places, low, high, color=colour, linewidth=2, alpha=0.8)
            axes.plot(value, places, marker, color=colour, markersize=7, label=name, clip_on=False)
        rows = []
        for name, group in found:
            name += f" golden call{'s' * (name != '1')}" if by == "golden_calls" else ""
            rows.append(f"{name if len(name) <= 40 else f'{name[:39]}…'} (n = {group['n']})")
        label_rows(axes, rows, narrow, limit=60)
        axes.set_xlim(0, 100)
        axes.set_xlabel("percent, with 95% interval" if narrow else "percent of instructions, with 95% interval")
        columns = 1 if narrow else 2
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.3)

    total = sum(group["n"] for _, group in found)
    title = f"Instructions done right, {BREAKDOWNS[by].lower().replace('api', 'API')} (n = {total})"
    return plot(by, title, draw, len(found) + 1)
