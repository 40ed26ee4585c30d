"""Perplexity of plain text: windows and batches against one token at a time."""

import gzip
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny_models import save_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolalpaca_hf.errors import InputError, NotFoundError
from toolalpaca_hf.metrics import perplexity
from toolalpaca_hf.toolformer import ToolformerEvaluationConfig, evaluate
from toolalpaca_hf.toolformer.evaluation.evaluate import log_likelihoods, read_texts, summarize_texts
from toolalpaca_hf.toolformer.tasks import Item

TEXTS = ["The tide is high at noon.", "A", "", "High tide, low tide: " * 20, "Where is the nearest port?"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


def one_token_at_a_time(model: torch.nn.Module, ids: list[int], width: int) -> list[float]:
    """Each token after as many as the window before it has, in a forward of its own."""
    found = []
    with torch.inference_mode():
        for i in range(1, len(ids)):
            start = (i - 1) // (width - 1) * (width - 1)
            logits = model(torch.tensor([ids[start:i]])).logits[0, -1].double()
            found.append(float(torch.log_softmax(logits, -1)[ids[i]]))
    return found


@pytest.mark.parametrize("width", [16, 1024])
@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_windows_and_batches_change_nothing(llama: Path, width: int, batch_tokens: int) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(llama).eval(), AutoTokenizer.from_pretrained(llama)
    found = log_likelihoods(model, tokenizer, TEXTS, width, batch_tokens)
    each = [one_token_at_a_time(model, tokenizer(text)["input_ids"], width) for text in TEXTS]
    assert [tokens for _, tokens in found] == [len(one) for one in each]
    assert [nll for nll, _ in found] == pytest.approx([-sum(one) for one in each], abs=1e-3)
    summary = summarize_texts([{"nll": nll, "tokens": tokens} for nll, tokens in found])
    assert summary["value"] == pytest.approx(perplexity(each)["perplexity"], rel=1e-4)
    assert summary["low"] < summary["value"] < summary["high"]


def test_texts_of_files(tmp_path: Path) -> None:
    def shown(items: list[Item]) -> list[tuple[str, str]]:
        return [(item.id, item.prompt) for item in items]

    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n{\n{"text": " "}\n{"text": "Two."}\n')
    texts, origin, notes = read_texts(tmp_path / "a.jsonl")
    assert (shown(texts), origin) == ([("a/0", "One."), ("a/3", "Two.")], "a.jsonl")
    assert len(notes) == 1 and "1 rows" in notes[0]  # a blank text is one
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress(b'{"text": "One."}\n'))
    pq.write_table(pa.table({"text": ["One."]}), tmp_path / "p.parquet")
    (tmp_path / "l.json").write_text('["One."]')
    for name in ("g.jsonl.gz", "p.parquet", "l.json"):
        assert [text for _, text in shown(read_texts(tmp_path / name)[0])] == ["One."]
    assert shown(read_texts(tmp_path / "a.jsonl", limit=1)[0]) == [("a/0", "One.")]
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": "Left?", "answer": "3-1 = <<3-1=2>>2\n#### 2"}))
    assert shown(read_texts(tmp_path / "b.jsonl")[0]) == [("b/0", "Left?\n3-1 = 2\n#### 2")]
    (tmp_path / "c.txt").write_text("All of it.\n")
    assert shown(read_texts(tmp_path / "c.txt")[0]) == [("c/0", "All of it.\n")]
    (tmp_path / "d.jsonl").write_text("{}\n")
    with pytest.raises(InputError):
        read_texts(tmp_path / "d.jsonl")
    with pytest.raises(NotFoundError):
        read_texts(tmp_path / "e.txt")
    (tmp_path / "e.txt").write_bytes("Où est la gare ?".encode("latin-1"))
    with pytest.raises(InputError):
        read_texts(tmp_path / "e.txt")


def test_other_texts_of_the_same_name_are_measured(llama: Path, tmp_path: Path) -> None:
    def measured(folder: str, *texts: str) -> float:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        metrics = evaluate(
            ToolformerEvaluationConfig([str(llama)], {"perplexity": path}, tmp_path / f"out-{folder[0]}")
        )
        return metrics["results"][0]["perplexity"]["value"]

    first = measured("a1", "The tide is high.", "At noon.")
    assert measured("a2", "The tide is high.", "Where is the port?") == measured(
        "b", "The tide is high.", "Where is the port?"
    )
    assert measured("a1", "The tide is high.", "At noon.") == first
    lines = (tmp_path / "out-a" / "perplexity" / "tiny-llama" / "texts.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["texts/0", "texts/1", "texts/1", "texts/1"]


def test_as_a_task_of_an_evaluation(llama: Path, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (tmp_path / "texts.jsonl").write_text(rows)
    metrics = evaluate(
        ToolformerEvaluationConfig([str(llama)], {"perplexity": tmp_path / "texts.jsonl"}, tmp_path / "out")
    )
    found = metrics["results"][0]["perplexity"]
    lines = (tmp_path / "out" / "perplexity" / "tiny-llama" / "texts.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == found["n"] == 4  # the empty text is none
    mean = sum(one["nll"] for one in records) / sum(one["tokens"] for one in records)
    assert found["value"] == pytest.approx(math.exp(mean))
    report = (tmp_path / "out" / "report.md").read_text()
    assert f"| {found['value']:.2f} (" in report and "WikiText" in report
