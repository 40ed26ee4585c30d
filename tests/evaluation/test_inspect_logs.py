"""
Logs of Inspect, written by Inspect itself, against what Inspect reads from them.

`inspect_logs/` was made once with inspect-ai 0.3.285 by `python tests/evaluation/inspect_logs/make.py`, which has the
answers of each sample in plain sight; `expected.json` there is what `inspect_ai.log.read_eval_log` says of the scores.
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import InputError, MissingDependencyError, OptionError
from toolalpaca_hf.evaluation import compare
from toolalpaca_hf.evaluation.comparison import ZSTANDARD, find_log, read_inspect_log

LOGS = Path(__file__).parent / "inspect_logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_scores_are_those_that_inspect_reads(name: str) -> None:
    notes: list[str] = []
    metrics, records = read_inspect_log(LOGS / name, notes)
    expected = EXPECTED[name]
    assert {record["api"]: {k: v for k, v in record.items() if k.endswith("(Inspect)")} for record in records} == {
        sample: {f"{scorer} (Inspect)": value for scorer, value in scores.items()}
        for sample, scores in expected["samples"].items()
    }
    for scorer, mean in expected["mean"].items():
        assert metrics["scores"][f"{scorer} (Inspect)"]["value"] == pytest.approx(mean)
    assert (metrics["suite"], metrics["model"], notes) == ("capitals", "mockllm/model", [])


def test_a_log_is_packed_as_inspect_packs_it_today() -> None:
    with zipfile.ZipFile(LOGS / "after.eval") as file:
        assert {member.compress_type for member in file.infolist()} == {ZSTANDARD}


def test_two_logs_are_paired_by_sample() -> None:
    (difference,) = compare([LOGS / "before.eval", LOGS / "after.eval"])["differences"]
    before, after = (EXPECTED[f"{name}.eval"]["samples"] for name in ("before", "after"))
    steps = [after[sample]["exact"] - before[sample]["exact"] for sample in before]
    found = difference["rates"]["exact (Inspect)"]
    assert found["n"] == len(steps) and found["difference"] == pytest.approx(sum(steps) / len(steps))
    assert (found["wins"], found["losses"]) == (sum(s > 0 for s in steps), sum(s < 0 for s in steps)) != (0, 0)
    assert difference["detectable"]["difference"] > 0


def test_the_command_reads_a_folder_a_packed_and_a_plain_log(tmp_path: Path) -> None:
    shutil.copy(LOGS / "before.eval", tmp_path)
    result = CliRunner().invoke(app, ["compare", str(tmp_path), str(LOGS / "after.json")], env={"COLUMNS": "200"})
    assert result.exit_code == 0 and "exact (Inspect)" in result.output and "won" in result.output, result.output


def rewritten(out: Path, change: dict[str, bytes | None]) -> Path:
    """The log again with other members, not packed."""
    with zipfile.ZipFile(out, "w") as file:
        for name, content in change.items():
            if content is not None:
                file.writestr(name, content)
    return out


def sample(name: str, value: object, epoch: int = 1, **more: object) -> dict:
    return {"id": name, "epoch": epoch, "target": "", "scores": {"exact": {"value": value}}} | more


def log(out: Path, samples: list[dict], status: str = "success") -> Path:
    head = {"status": status, "eval": {"task": "t", "model": "m"}}
    content = {"header.json": json.dumps(head).encode(), "summaries.json": json.dumps(samples).encode()}
    return rewritten(out, content)


def test_what_counts_as_not_solved(tmp_path: Path) -> None:
    samples = [sample("a", "C"), sample("b", "C", error="gone"), sample("c", None), sample("d", float("nan"))]
    metrics, records = read_inspect_log(log(tmp_path / "x.eval", [*samples, sample("e", "P")]), [])
    assert [record.get("exact (Inspect)") for record in records] == [1.0, 0.0, 0.0, 0.0, 0.5]
    words, _ = read_inspect_log(
        log(tmp_path / "y.eval", [sample(w, w) for w in ("True", "YES", "0.5", "no", "?")]), []
    )
    assert words["scores"]["exact (Inspect)"]["value"] == 0.5
    assert (metrics["n"], metrics["failed"]) == (5, 1) and metrics["scores"]["exact (Inspect)"]["value"] == 0.3


def test_epochs_are_averaged_and_a_retried_sample_counts_once(tmp_path: Path) -> None:
    samples = [sample("a", 0, 1, error="gone"), sample("a", 1, 1), sample("a", 0, 2)]
    _, records = read_inspect_log(log(tmp_path / "x.eval", samples), [])
    assert [record["exact (Inspect)"] for record in records] == [0.5]


def test_fields_of_a_score_and_scores_that_are_no_shares(tmp_path: Path) -> None:
    notes: list[str] = []
    path = log(tmp_path / "x.eval", [sample("a", {"right": True, "words": 312})])
    metrics, _ = read_inspect_log(path, notes)
    assert list(metrics["scores"]) == ["exact, right (Inspect)"] and "exact, words" in notes[0]


def test_logs_of_other_scorers_have_no_rate_in_common(tmp_path: Path) -> None:
    other = sample("a", 1) | {"scores": {"match": {"value": "C"}}}
    found = compare([log(tmp_path / "x.eval", [sample("a", 1)]), log(tmp_path / "y.eval", [other])])
    assert found["differences"][0]["rates"] == {} and found["notes"] == ["y.eval and x.eval have no rate in common"]


def test_a_run_that_was_cut_off_has_its_journal(tmp_path: Path) -> None:
    notes: list[str] = []
    head = json.dumps({"eval": {"task": "t", "model": "m"}}).encode()
    parts = {f"_journal/summaries/{n}.json": json.dumps([sample(str(n), 1)]).encode() for n in (1, 2)}
    metrics, _ = read_inspect_log(rewritten(tmp_path / "x.eval", {"_journal/start.json": head} | parts), notes)
    assert metrics["n"] == 2 and "only its finished samples" in notes[0]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"eval": 3, "samples": [{"id": 1, "epoch": 1}]}', b"PK\x03\x04", b"[" * 100_000],
)
def test_what_is_no_log(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_inspect_log(tmp_path / "x.json", [])
    assert raised.value.file == tmp_path / "x.json"


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, ZSTANDARD])
def test_a_damaged_log_is_told_as_one(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "x.eval"
    if kind == ZSTANDARD:
        shutil.copy(LOGS / "after.eval", path)
    else:
        with zipfile.ZipFile(path, "w", kind) as file:
            file.writestr("header.json", json.dumps({"eval": {"task": "t", "model": "m"}}))
            file.writestr("summaries.json", json.dumps([sample(str(n), "C") for n in range(99)]))
    with zipfile.ZipFile(path) as file:
        start = file.getinfo("summaries.json").header_offset + 60
    content = path.read_bytes()
    path.write_bytes(
        content[:start] + bytes(byte ^ 255 for byte in content[start : start + 20]) + content[start + 20 :]
    )
    with pytest.raises(InputError) as raised:
        read_inspect_log(path, [])
    assert raised.value.file == path


def test_a_log_with_nothing_finished_and_two_logs_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_inspect_log(log(tmp_path / "x.eval", []), [])
    log(tmp_path / "y.eval", [])
    assert find_log(tmp_path / "y.eval") == tmp_path / "y.eval"
    with pytest.raises(OptionError):
        find_log(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert find_log(tmp_path) is None  # an evaluation's folder
    with pytest.raises(OptionError):
        compare([LOGS / "after.eval", log(tmp_path / "z.eval", [sample("elsewhere", 1)])])


def test_without_zstandard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    result = CliRunner().invoke(app, ["compare", str(LOGS / "before.eval"), str(LOGS / "after.eval")])
    assert isinstance(result.exception, MissingDependencyError) and "zstandard" in str(result.exception)
