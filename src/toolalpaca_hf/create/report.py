"""What came out: a page, a section of the model's card, and how to use the model."""

from pathlib import Path
from typing import Any

from ..evaluation import as_table
from ..report import markdown_table, rate_text, render, write_texts
from .config import CheckedDocuments, CreateConfig

RATES = {
    "all_functions": "all golden functions called",
    "arguments": "all golden calls made",
    "process_verdict": "process right, by rule",
}
HEADING = "\n## On held-out instructions\n"


def first_calls_table(metrics: dict[str, Any]) -> str:
    """First calls by baselines, before and after, as text for a terminal."""
    names = {"chance": "chance", "word_overlap": "overlap", "bm25": "BM25"}
    columns = {words: {"first_function": metrics["baselines"][name]} for name, words in names.items()}
    return as_table({**columns, "before": metrics["before"], "after": metrics["after"]})


def rollout_rows(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rates of whole rollouts in percent with 95% intervals: what is counted, before, after."""
    columns = [metrics[name]["rollout"] for name in ("before", "after")]
    before, after = ({name: rate_text((c["calls"] | c)[name]) for name in RATES} for c in columns)
    return [(words, before[name], after[name]) for name, words in RATES.items()]


def before_after(metrics: dict[str, Any]) -> str:
    """[`first_calls_table`] and the rates of whole rollouts below it."""
    rows = [f"{words:<30}{before:>22}{after:>22}" for words, before, after in rollout_rows(metrics)]
    heading = "whole rollouts against the simulator, percent (95% interval)"
    return "\n".join([first_calls_table(metrics), "", heading, *rows])


def usage_lines(config: CreateConfig) -> list[str]:
    """Three lines of Python that ask the model something."""
    document = config.example_document
    asked = f'"{document}", backend, "{config.out}/asked", instructions=["..."]'
    if document is None:
        asked = f'"{config.out}/data/held_out.json", backend, "{config.out}/asked"'
    return [
        "from toolalpaca_hf.agent import load_backend, run",
        f'backend = load_backend("{config.out}/model", constrained=True)',
        f'print(run({asked})["ended"])',
    ]


def write_create_report(out: Path, config: CreateConfig, checked: CheckedDocuments, metrics: dict[str, Any]) -> None:
    """Write `report.html`, and a section behind the card that training wrote."""
    rows, table = rollout_rows(metrics), first_calls_table(metrics)
    names = [(api.name, [function.name for function in api.functions]) for api in checked.apis]
    usage = "\n".join(usage_lines(config))
    shown = {"metrics": metrics, "table": table, "rows": rows, "apis": names, "notes": checked.notes, "usage": usage}
    page = render(__name__.rpartition(".")[0], "report.html.jinja", **shown, base=metrics["weights"])
    write_texts(out, {"report.html": page})
    card = out / "model" / "README.md"
    text = card.read_text(encoding="utf-8").partition(HEADING)[0]
    counted = markdown_table(("whole rollouts, percent (95% interval)", "before", "after"), rows, 1)
    about = f"{metrics['n']} instructions made as the training ones were, none of them trained on; greedy first calls."
    section = f"{HEADING}\n{about}\n\n```text\n{table}\n```\n\n{counted}\n\n```python\n{usage}\n```\n"
    card.write_text(text + section, encoding="utf-8")
