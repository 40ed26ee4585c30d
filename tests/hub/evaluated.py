"""Folders as `toolalpaca evaluate` writes them."""

import json
from pathlib import Path
from typing import Any

from toolalpaca_hf.evaluation import model_index


def rate(value: float) -> dict[str, Any]:
    """A rate of 100 instructions, its interval made up."""
    return {"value": value, "low": max(value - 0.1, 0), "high": min(value + 0.1, 1), "n": 100}


def write_run(folder: Path, suite: str, verdict: float = 0.63, **calls: float) -> Path:
    """Write a folder and return it."""
    calls = calls or {"all_functions": 0.8, "exact_set": 0.5}
    metrics = {"suite": suite, "model": "m", "n": 100, "failed": 2, "process_verdict": rate(verdict)}
    metrics["calls"] = {name: rate(value) for name, value in calls.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "model_index.json").write_text(json.dumps(model_index(metrics)), encoding="utf-8")
    (folder / "report.md").write_text(f"# {suite}: {verdict}\n", encoding="utf-8")
    (folder / "report.html").write_text(f"<p>{suite}: {verdict} \N{GREEK SMALL LETTER KAPPA}</p>", encoding="utf-8")
    return folder
