"""Annotated texts to a dataset repo: which texts are trained on, and which are not."""

import json
from pathlib import Path
from typing import Any

from datasets import load_dataset

from toolalpaca_hf.toolformer import Markers, build_repo, open_source
from toolalpaca_hf.toolformer.annotation.annotator import annotated_row


def row(name: str, text: str, outcome: str) -> dict[str, Any]:
    return annotated_row(name, text, [], Markers()) | {"outcome": outcome}


def test_plain_text_is_text_that_was_read_and_no_other(tmp_path: Path) -> None:
    calls = [{"tool": "Calculator", "input": "1 + 1", "result": "2", "position": 0}]
    rows = [annotated_row(f"a{n}", f"{n} and more.", calls, Markers()) for n in range(4)]
    # What cannot be trained on comes first, so that it would take the share of the rest.
    rows += [row("list", "", "no JSON"), row("image", "PNG\x00\x01", "binary"), row("blank", " ", "no call kept")]
    rows += [row("long", "Word " * 9, "longer than 5 tokens"), row("broken", "Oh.", "failed: MemoryError: ")]
    rows += [row("kept", "No call.", "no call kept"), row("skipped", "No number.", "not preselected")]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    build_repo(open_source(tmp_path / "texts.jsonl"), tmp_path / "out", plain_fraction=0.5)
    for config in ("sft", "plain"):
        found = load_dataset(str(tmp_path / "out"), config, split="train", streaming=True)
        assert sorted(one["id"] for one in found) == ["a0", "a1", "a2", "a3", "kept", "skipped"]
    annotated = load_dataset(str(tmp_path / "out"), "annotated", split="train", streaming=True)
    assert len(list(annotated)) == len(rows)  # which has all, with what became of each
