"""The screen of any dataset against benchmarks' instructions."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from datatrove.data import Document
from typer.testing import CliRunner

from toolalpaca_hf.cli import app
from toolalpaca_hf.corpus import Screen, ScreenFilter
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError
from toolalpaca_hf.evaluation import read_suite

PLUMS = "Where can I get plums for no more than 4 a kilo?"
REWORDED = "Where could I get plums for no more than 4 a kilo, please?"
OTHER = "Where does the ferry to Bergen leave, and what does a bicycle cost?"
LONG = " ".join(f"word{i} and {i} more of it" for i in range(40))


@pytest.fixture(scope="module")
def screen() -> Screen:
    return Screen("sample")


@pytest.mark.parametrize(
    "row",
    [
        {"text": PLUMS},
        {"text": PLUMS.upper().replace("?", " !")},
        {"prompt": REWORDED},
        {"messages": [{"role": "user", "content": REWORDED}]},
        {"messages": json.dumps([{"role": "user", "content": PLUMS}])},
        {"segments": [{"text": f"You have tools.\nUSER: {PLUMS}\nThought:", "trainable": False}]},
        {"text": f"{LONG} {PLUMS} {LONG}"},
        {"text": f"{OTHER}\n{PLUMS[:25]}\n{PLUMS[25:]}\n{OTHER}"},
    ],
)
def test_an_instruction_is_found_wherever_it_stands(screen: Screen, row: dict) -> None:
    leak = screen.leak(row)
    assert leak is not None and leak[0] == "sample" and not screen(row)


@pytest.mark.parametrize("row", [{"text": OTHER}, {"text": LONG}, {"text": ""}, {"n": 3}, {"text": "get plums"}, {}])
def test_other_texts_are_kept(screen: Screen, row: dict) -> None:
    assert screen.leak(row) is None and screen(row)


def test_every_instruction_of_the_suite_is_found(screen: Screen) -> None:
    asked = [one.instruction for one in read_suite("sample").instructions]
    assert len(asked) == 40 and all(screen.leak({"text": text}) for text in asked)


def test_columns_and_copies_in_other_processes(screen: Screen) -> None:
    rows = Dataset.from_list([{"a": PLUMS, "b": OTHER}, {"a": OTHER, "b": PLUMS}])
    assert rows.filter(Screen("sample", ["a"]))["b"] == [PLUMS]
    assert len(pickle.dumps(screen)) < 1000 and pickle.loads(pickle.dumps(screen)).leak({"x": PLUMS})
    with pytest.raises(OptionError):
        Screen("sample", ["c"]).leak({"a": PLUMS})


def test_a_file_with_an_instruction_a_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(f"{OTHER}\n")
    assert Screen(str(path)).leak({"text": OTHER}) and not Screen(str(path)).leak({"text": PLUMS})
    before = pickle.dumps(Screen(str(path)))
    path.write_text(f"{PLUMS}\n")
    assert pickle.dumps(Screen(str(path))) != before, "or `datasets` would reuse what it filtered by the other file"
    with pytest.raises(NotFoundError):
        Screen("nowhere")
    with pytest.raises(InputError):
        Screen("no\0where")


API = {"Name": "a", "Function_Projection": {}}
RAW = [API | {"Instructions": [f"{PLUMS}\nHint: the cheapest ones of all there are"]}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", json.dumps({"id": 1, "instruction": PLUMS})),
        ("a.txt", f"\ufeff{PLUMS}\r\n\r\n[A] note, and nothing else\r\n"),
        ("a.JSON", json.dumps([*RAW, {"Instructions": 5}])),
    ],
)
def test_files_of_other_layouts(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = Screen(str(tmp_path / name)).leak({"text": np.array([OTHER, f"  {json.dumps([PLUMS])}"], dtype=object)})
    assert found is not None and found[1:] == ("is in the evaluation set", PLUMS)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", b""), ("a.txt", "Où est la gare?".encode("latin-1")), ("a.json", json.dumps([API]).encode())],
)
def test_a_file_without_instructions_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Screen(str(tmp_path / name))
    assert caught.value.file == tmp_path / name


def test_packaged_fingerprints_hold_no_text_and_know_no_sample_row(real_data: Path) -> None:
    screen = Screen("published")
    assert screen.sets == ["simulated", "real", "bfcl", "tau2"]
    assert [*screen.texts()] == screen.sets and all(screen.texts().values())
    assert not [one for one in read_suite("sample").instructions if screen.leak({"text": one.instruction})]
    asked = read_suite(real_data / "eval_real.json").instructions
    assert all((found := screen.leak({"x": one.instruction})) and found[0] == "real" for one in asked[:20])


def test_a_datatrove_step_says_why() -> None:
    step = ScreenFilter("sample")
    assert step.filter(Document(OTHER, id="0")) is True
    dropped = step.filter(Document(OTHER, id="1", metadata={"question": PLUMS}))
    assert dropped == (False, "sample: is in the evaluation set")


def test_the_command_lists_what_it_finds(tmp_path: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "found.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate([OTHER, PLUMS])))
    result = CliRunner().invoke(app, ["screen", str(path), "--against", "sample", "--out", str(out)])
    assert result.exit_code == 0 and "1 of 2 rows" in result.output, result.output
    (found,) = map(json.loads, out.read_text().splitlines())
    assert (found["row"], found["id"], found["set"]) == (1, 1, "sample")
