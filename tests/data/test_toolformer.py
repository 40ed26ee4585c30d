"""The `toolformer` dataset repo: from a folder of annotated texts to what `load_dataset` opens."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset

from toolalpaca_hf.data import Build
from toolalpaca_hf.data import repo as writer
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError, ToolAlpacaError
from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.toolformer import Markers, build_repo, open_source
from toolalpaca_hf.toolformer.annotation.annotator import annotated_row

TOKENS = Markers("<API>", "</API>", "→")


UNUSABLE: list[dict[str, Any]] = [{"position": 2**70}, {"position": True}, {"gain": 10**400}, {"tool": None}]


def annotated_rows(count: int, markers: Markers = TOKENS) -> list[dict[str, Any]]:
    """Every third text has no call."""
    rows = []
    for i in range(count):
        text = f"Text {i} says [1] that {i} + 1 = {i + 1}."
        call = {"tool": "Calculator", "input": f"{i} + 1", "result": str(i + 1), "position": text.index("= ") + 2}
        known = {"l_minus": 2.5, "l_plus": 1.0, "gain": 1.5}
        rows.append(
            annotated_row(
                f"toolformer/0/{i}", text, [call | known] if i % 3 else [], markers, {"url": f"http://x/{i}"}
            )
        )
    return rows


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogatepass")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What annotating leaves: two shards and the markers they were written with."""
    rows = annotated_rows(12)
    write_lines(tmp_path / "annotated" / "annotated-00000.jsonl", rows[:5])
    write_lines(tmp_path / "annotated" / "annotated-00001.jsonl", rows[5:])
    config = {"markers": {"start": "<API>", "end": "</API>", "arrow": "→"}, "model": "smollm2"}
    (tmp_path / "annotated" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path / "annotated"


def built(folder: Path, limit: int | None = None, **options: Any) -> tuple[Build, dict[str, list[dict[str, Any]]]]:
    out = folder.parent / "built"
    build = build_repo(open_source(folder, limit=limit), out, **options)
    return build, {
        name: list(load_dataset(str(out), name, split="train", streaming=True))
        for name in ("annotated", "sft", "plain")
    }


def test_load_dataset_opens_every_config(folder: Path) -> None:
    build, rows = built(folder, plain_fraction=0.0)
    assert build.split_rows == {"annotated": {"train": 12}, "sft": {"train": 8}, "plain": {"train": 8}}
    assert rows["annotated"] == annotated_rows(12)  # text, calls, losses and meta, unchanged
    assert rows["sft"][0]["segments"] == [
        {"text": "Text 1 says [1] that 1 + 1 = <API>Calculator(1 + 1) → 2</API> 2.", "trainable": True}
    ]
    assert rows["plain"][0]["segments"] == [{"text": "Text 1 says [1] that 1 + 1 = 2.", "trainable": True}]
    assert [row["id"] for row in rows["sft"]] == [row["id"] for row in rows["plain"]]
    data = load_dataset(str(build.folder), split="train", cache_dir=str(folder.parent / "cache"))
    assert data.features == FEATURES["sft"]  # the default config, and the same Features as ToolAlpaca's


def test_plain_texts_are_the_sources_own_or_those_of_a_file(folder: Path) -> None:
    _, rows = built(folder, plain_fraction=0.2)
    without = [row for row in rows["sft"] if "API" not in row["segments"][0]["text"]]
    assert [row["id"] for row in without] == ["toolformer/0/0", "toolformer/0/3"] and len(rows["sft"]) == 10
    texts = write_lines(
        folder.parent / "texts.jsonl", [{"text": f"As [{i}]."} for i in range(9)] + ["{", {"text": ""}]
    )
    _, rows = built(folder, plain_fraction=0.5, plain=texts, overwrite=True)
    assert [row["segments"][0]["text"] for row in rows["sft"][1::2]] == [f"As [{i}]." for i in range(8)]
    assert [row["segments"] for row in rows["sft"][1::2]] == [row["segments"] for row in rows["plain"][1::2]]


def test_masked_results(folder: Path) -> None:
    _, rows = built(folder, mask_results=True, plain_fraction=0.0)
    assert [one["trainable"] for one in rows["sft"][0]["segments"]] == [True, False, True]
    assert rows["sft"][0]["segments"][1]["text"] == " 2"


def test_a_limit_counts_texts(folder: Path) -> None:
    build, rows = built(folder, limit=4, plain_fraction=0.0)
    assert [row["id"] for row in rows["sft"]] == ["toolformer/0/1", "toolformer/0/2"]
    assert build.report.counts()[0]["rows_in"] == 4


def test_bad_rows_are_set_aside_with_their_place(folder: Path) -> None:
    good = annotated_rows(2)[1]
    bad = [
        '{"id": "cut off',
        good | {"id": "toolformer/0/1"},  # in the first shard already
        good | {"id": "a", "calls": None},
        good | {"id": "b", "calls": [{"tool": "Calculator", "input": "1", "result": None, "position": 0}]},
        good | {"id": "c", "text": 7},
        good | {"id": "o", "outcome": 5},
        json.dumps(good | {"id": "d", "text": "half \ud800 a pair"}),
        json.dumps(good | {"id": "s", "text": "half HERE a pair"}).replace("HERE", "\ud800"),
        good | {"id": "g", "annotated": good["annotated"].replace("<API>", "[")},
        *(good | {"id": f"f{n}", "calls": [good["calls"][0] | changed]} for n, changed in enumerate(UNUSABLE)),
        [],
    ]
    write_lines(folder / "annotated-00002.jsonl", [*bad, good | {"id": "e", "outcome": None, "meta": None}])
    build, rows = built(folder)
    assert len(rows["annotated"]) == 13 and rows["annotated"][-1]["id"] == "e"
    assert rows["annotated"][-1]["outcome"] == "annotated"
    assert {one.file for one in build.report.rows} == {"annotated-00002.jsonl"}
    assert [one.row for one in build.report.rows] == [f"row {i}" for i in range(len(bad))]
    report = json.loads((build.folder / "report.json").read_text(encoding="utf-8"))
    assert len(report["set_aside"]) == len(bad) and report["markers"] == ["<API>", "</API>", "→"]


def test_shards_hold_all_rows_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SHARD_ROWS", 5)
    build, rows = built(folder, plain_fraction=0.0)
    assert sorted(path.name for path in (build.folder / "annotated").iterdir()) == [
        f"train-0000{i}.parquet" for i in range(3)
    ]
    assert [row["id"] for row in rows["annotated"]] == [f"toolformer/0/{i}" for i in range(12)]


def test_a_rebuild_has_the_same_bytes_and_takes_the_place_of_the_one_before(folder: Path) -> None:
    def digests() -> dict[str, str]:
        built(folder)
        out = folder.parent / "built"
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()}

    assert digests() == digests()


def test_nothing_is_written_over_files_of_others_nor_where_there_is_nothing_to_train_on(folder: Path) -> None:
    (folder.parent / "built").mkdir()
    (folder.parent / "built" / "thesis.txt").write_text("mine")
    with pytest.raises(ToolAlpacaError) as caught:
        built(folder)
    assert caught.value.option == "--out"
    (folder.parent / "built" / "thesis.txt").unlink()
    write_lines(folder / "annotated-00000.jsonl", annotated_rows(1))
    (folder / "annotated-00001.jsonl").unlink()
    with pytest.raises(InputError):
        built(folder)
    assert list((folder.parent / "built").iterdir()) == []


def test_one_file_has_the_markers_of_its_folder_and_a_list_rows_without_utf8(folder: Path) -> None:
    rows = annotated_rows(3)
    (folder / "list.json").write_text("\n " + json.dumps([*rows, rows[1] | {"id": "x", "text": "half \ud800"}]))
    source = open_source(folder / "list.json")
    build = build_repo(source, folder.parent / "built")
    assert source.markers == TOKENS and build.split_rows["annotated"] == {"train": 3}
    assert [row.row for row in build.report.rows] == ["row 3"]


def test_plain_texts_that_cannot_be_read_are_counted_and_a_missing_file_is_found(folder: Path) -> None:
    texts = write_lines(folder.parent / "texts.txt", ["As it is.", json.dumps({"text": "As is."})])
    build = build_repo(open_source(folder), folder.parent / "built", plain=texts, plain_fraction=0.5)
    (line,) = (line for line in build.report.counts() if line["config"] == "plain texts")
    assert (line["file"], line["rows_in"], line["kept"]) == ("texts.txt", 2, 1)
    with pytest.raises(NotFoundError):
        build_repo(open_source(folder), folder.parent / "new", plain=folder / "nowhere.jsonl", plain_fraction=0.0)
    with pytest.raises(OptionError):
        open_source(folder, limit=-1)


@pytest.mark.parametrize(
    ("name", "kind"), [("nowhere", NotFoundError), ("gsm8k=nowhere.jsonl", NotFoundError), ("gsm8k=", OptionError)]
)
def test_a_source_that_is_not_there(tmp_path: Path, name: str, kind: type[ToolAlpacaError]) -> None:
    with pytest.raises(kind):
        open_source(tmp_path / name if "=" not in name else name)


def test_a_fraction_of_one_is_refused(folder: Path) -> None:
    with pytest.raises(OptionError):
        built(folder, plain_fraction=1.0)
