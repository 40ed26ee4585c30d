"""The tasks: layouts of published files, prompts, measures, and dates that a calendar would confirm."""

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from toolalpaca_hf.errors import InputError, NotFoundError, OptionError
from toolalpaca_hf.toolformer.tasks import MEASURES, TASKS, dateset, prompt_of, read_items, task_named


def items_of(tmp_path: Path, task: str, *rows: Any, suffix: str = "jsonl", **options: Any) -> list[tuple[str, list]]:
    path = tmp_path / f"data.{suffix}"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]", encoding="utf-8")
    items, _, _ = read_items(task_named(task, **options), path)
    return [(item.prompt, list(item.answers)) for item in items]


def test_a_problem_whose_answer_is_no_number_is_not_asked(tmp_path: Path) -> None:
    rows = [{"Body": "", "Question": "How many?", "Answer": right} for right in ("seven", float("nan"), "7 eggs")]
    assert items_of(tmp_path, "svamp", *rows, {"question": "Who?", "answers": ["he"]}) == [
        ("How many? The answer is", ["7 eggs"])
    ]


@pytest.mark.parametrize(
    ("task", "row", "prompt", "answers"),
    [
        (
            "svamp",
            {"Body": "He had 3 eggs.", "Question": "How many now?", "Answer": 2.0},
            "He had 3 eggs. How many now? The answer is",
            ["2"],
        ),
        (
            "asdiv",
            {"body": "Ed has 9 apples.", "question": "How many?", "answer": "9 (apples)"},
            "Ed has 9 apples. How many? The answer is",
            ["9 (apples)"],
        ),
        ("mawps", {"question": "2 and 2?", "result": "4"}, "2 and 2? The answer is", ["4"]),
        ("mawps", {"sQuestion": "2 and 2?", "lSolutions": [4.0]}, "2 and 2? The answer is", ["4"]),
        ("gsm8k", {"question": "Left?", "answer": "3-1 = <<3-1=2>>2\n#### 2"}, "Left?\n", ["2"]),
        ("webqs", {"question": "Who?", "answers": ["A", "B"]}, "Question: Who?\nAnswer:", ["A", "B"]),
        ("nq", {"question": "who?", "answer": ["A"]}, "Question: who?\nAnswer:", ["A"]),
        (
            "triviaqa",
            {"question": "Who?", "answer": {"value": "Bo", "aliases": ["Beau"]}},
            "Question: Who?\nAnswer:",
            ["Bo", "Beau"],
        ),
        (
            "mlqa-es",
            {"context": "It is {red}.", "question": "¿Color?", "answers": {"text": ["red"], "answer_start": [7]}},
            "It is {red}.\n\nQuestion: ¿Color?\nAnswer in English:",
            ["red"],
        ),
        ("lama-squad", {"masked_sentences": ["It is [MASK]."], "obj_label": "red"}, "It is", ["red"]),
        ("lama-google-re", {"masked_sentences": ["Born in [MASK] ."], "obj_label": "Ulm"}, "Born in", ["Ulm"]),
        (
            "lama-trex",
            {"template": "[X] is in [Y] .", "sub_label": "Ulm", "obj_label": "Germany"},
            "Ulm is in",
            ["Germany"],
        ),
        (
            "lama-trex",
            {"evidences": [{"masked_sentence": "Ulm is in [MASK]."}], "obj_label": "Germany"},
            "Ulm is in",
            ["Germany"],
        ),
        (
            "templama",
            {"query": "Ada plays for _X_.", "answer": [{"wikidata_id": "Q1", "name": "Ulm"}], "date": "2012"},
            "Ada plays for",
            ["Ulm"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value in TASKS else "",
)
def test_published_layouts(tmp_path: Path, task: str, row: dict, prompt: str, answers: list[str]) -> None:
    assert items_of(tmp_path, task, row) == [(prompt, answers)]
    assert items_of(tmp_path, task, row, suffix="json") == [(prompt, answers)]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_the_simple_layout(tmp_path: Path, task: str) -> None:
    row = {"question": "What {is} it", "answers": ["7", "8"], "context": "Here."}
    ((prompt, answers),) = items_of(tmp_path, task, row)
    assert "What {is} it" in prompt and "{text}" not in prompt
    assert answers[0] == "7"


def test_rows_that_cannot_be_asked_cost_no_other(tmp_path: Path) -> None:
    rows = [
        "{",
        {"masked_sentences": ["The [MASK] is red."], "obj_label": "sky"},
        {"question": "Who?", "answers": []},
        [],
        {"evidences": ["none"], "obj_label": "red"},
        {"masked_sentences": ["It is [MASK]."], "obj_label": "red"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    items, origin, notes = read_items(TASKS["lama-squad"], path)
    assert [item.id for item in items] == ["lama-squad/5"] and origin == "data.jsonl"
    why = "another layout, no mask at the end, no passage, or no number in the answer"
    assert notes == [f"LAMA, SQuAD: 5 rows cannot be asked ({why})"]


def test_a_damaged_list_is_no_lines(tmp_path: Path) -> None:
    row, path = json.dumps({"question": "Who?", "answers": ["A"]}), tmp_path / "data.json"
    path.write_text(f"[\n{row},\n{row}\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_items(TASKS["webqs"], path)
    path.write_text(f"[1, 2]\n{row}\n")
    assert [item.id for item in read_items(TASKS["webqs"], path)[0]] == ["webqs/1"]


def test_a_question_about_no_passage_is_not_asked(tmp_path: Path) -> None:
    row = {"question": "Who?", "answers": {"text": ["A"]}}
    assert len(items_of(tmp_path, "mlqa-es", row, row | {"context": "A."}, row | {"context": " "})) == 1
    listed = {"question": "Who?", "context": "A.", "answers": [{"text": "A", "answer_start": 0}]}
    assert items_of(tmp_path, "mlqa-es", listed) == items_of(tmp_path, "mlqa-es", row | {"context": "A."})


def test_a_table_has_dates(tmp_path: Path) -> None:
    table = {"question": ["What day is it?"], "answers": [["Monday"]], "date": [date(2015, 3, 2)]}
    Dataset.from_dict(table).to_parquet(tmp_path / "data.parquet")
    assert read_items(TASKS["dateset"], tmp_path / "data.parquet")[0][0].date == "2015-03-02"


def test_a_folder_of_relations_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "TREx").mkdir()
    for relation in ("P17", "P19"):
        row = {"masked_sentences": [f"{relation} is [MASK]"], "obj_label": "x"}
        (tmp_path / "TREx" / f"{relation}.jsonl").write_text(json.dumps(row))
    items, _, _ = read_items(TASKS["lama-trex"], tmp_path)
    assert [(item.id, item.prompt) for item in items] == [("lama-trex/0", "P17 is"), ("lama-trex/1", "P19 is")]


def test_what_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(OptionError) as wrong:
        task_named("sums")
    assert wrong.value.option == "--task"
    with pytest.raises(OptionError) as wrong:
        task_named("nq", solutions=True)
    assert wrong.value.option == "--solutions"
    for task, data in (("lama-squad", None), ("svamp", None), ("svamp", tmp_path / "none.json")):
        with pytest.raises(NotFoundError):
            read_items(TASKS[task], data)
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(InputError) as other:
        read_items(TASKS["svamp"], tmp_path / "other.jsonl")
    assert other.value.file == "other.jsonl"


def test_the_real_files(real_data: Path) -> None:
    folder = real_data.parent / "toolformer"
    items, _, notes = read_items(TASKS["svamp"], folder / "svamp.json")
    raw = json.loads((folder / "svamp.json").read_text())
    assert len(items) == 1000 and notes == []
    assert [float(item.answers[0]) for item in items] == [row["Answer"] for row in raw]
    items, _, notes = read_items(TASKS["gsm8k"], folder / "gsm8k_test.jsonl", limit=50)
    assert len(items) == 50 and notes == []
    lines = (folder / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()[:50]
    # The right solution is right, whatever its other numbers are.
    solutions = [json.loads(line)["answer"] for line in lines]
    right = [MEASURES["last_number"](text, item.answers) for text, item in zip(solutions, items, strict=True)]
    assert all(right) and not MEASURES["last_number"](solutions[0], items[1].answers)


@pytest.mark.parametrize(
    ("measure", "text", "answers", "right"),
    [
        ("first_number", " 51 dollars, not 52", ["51"], True),
        ("first_number", " 76 - 25 = 51", ["51"], False),
        ("last_number", "76 - 25 = 51\n#### 51", ["51"], True),
        ("last_number", "#### 51\nAnother 7 of 8", ["51"], True),
        ("last_number", "He pays 76 - 25 = $51.", ["51"], True),
        ("last_number", "He pays $51 for 3", ["51"], False),
        ("last_number", "That is -$1,200.50", ["-1200.5"], True),
        ("last_number", "That is $-3", ["-3"], True),
        ("last_number", "It lasted 2010-2012", ["2012"], True),
        ("last_number", "voters of Districts 1 - 3", ["3"], True),
        ("last_number", "It is .0000001", ["1"], False),
        ("last_number", "none", ["0"], False),
        ("five_words", "the city of Ulm", ["Ulm"], True),
        ("five_words", "a city that is called Ulm", ["Ulm"], False),
        ("ten_words", "a b c d e f g h i Ulm", ["Ulm"], True),
        ("ten_words", "a b c d e f g h i j Ulm", ["Ulm"], False),
        ("twenty_words", "a b c d e f g h i j Ulm", ["Bern", "Ulm"], True),
    ],
)
def test_measures(measure: str, text: str, answers: list[str], right: bool) -> None:
    assert MEASURES[measure](text, answers) == right


def test_the_table_of_tasks_hangs_together() -> None:
    assert sum(task.published is not None for task in TASKS.values()) == 11
    for name, task in TASKS.items():
        assert task.name == name and task.measure in MEASURES and "{text}" in prompt_of(task.prompt)
        assert ("{context}" in prompt_of(task.prompt)) == name.startswith("mlqa")


def spelt(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"


def test_dates_agree_with_each_other() -> None:
    """Worked out again from the question's words and the day it is asked on."""
    asked = list(dateset(days=40, seed=3))
    assert len(asked) == 40 * 12 and asked == list(dateset(days=40, seed=3)) != list(dateset(days=40, seed=4))
    seen = set()
    for one in asked:
        today = date.fromisoformat(one.date)
        days = re.search(r"(\d+) days(?: ago)?\?", one.text)
        sign = -1 if "was" in one.text else 1
        there = today + timedelta(days=sign * int(days[1])) if days else today
        kind = next(kind for kind in ("day of the week", "month", "year", "date", "How many days") if kind in one.text)
        if kind == "How many days":
            (month, day, year) = re.search(r"([A-Z][a-z]+) (\d+), (\d{4})", one.text).groups()
            distance = next(
                n for n in range(100) if spelt(today + sign * timedelta(days=n)) == f"{month} {day}, {year}"
            )
            assert one.answers == (str(distance),)
        else:
            forms = {"day of the week": f"{there:%A}", "month": f"{there:%B}", "year": str(there.year)}
            assert one.answers == (forms.get(kind, spelt(there)),)
        seen.add(re.sub(r"\d+|[A-Z][a-z]+ \d+, \d+", "", one.text))
    assert len(seen) >= 12
