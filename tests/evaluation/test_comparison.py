"""Runs side by side: differences by hand, what does not match is said, and what cannot be read is named."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import binomtest

from toolalpaca_hf.errors import InputError, NotFoundError, OptionError, ToolAlpacaError
from toolalpaca_hf.evaluation.comparison import compare, comparison_markdown, comparison_table
from toolalpaca_hf.evaluation.scores import aggregate

GOLDEN = [{"action": "findTide", "action_input": "{}"}]


def record(api: str, index: int, solved: bool, **more: Any) -> dict[str, Any]:
    calls = dict.fromkeys(("all_functions", "exact_set", "arguments"), solved) | {"f1": float(solved)}
    verdict = "Yes" if solved else "No"
    return {"api": api, "index": index, "golden_calls": GOLDEN, **calls, "process_verdict": verdict} | more


def write(folder: Path, records: list[Any], suite: str = "simulated", **more: Any) -> Path:
    folder.mkdir()
    metrics = aggregate([row for row in records if isinstance(row, dict)], suite, folder.name) | more
    (folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    (folder / "instructions.json").write_text(json.dumps(records), "utf-8")
    return folder


def rows(solved: int, apis: int = 8, each: int = 5) -> list[dict[str, Any]]:
    """The first `solved` instructions of every API are solved."""
    return [record(f"api {a}", i, i < solved) for a in range(apis) for i in range(each)]


def shown(comparison: dict[str, Any], width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(comparison_table(comparison))
    return console.file.getvalue()


def test_differences_by_hand(tmp_path: Path) -> None:
    found = compare([write(tmp_path / "before", rows(1)), write(tmp_path / "after", rows(3))])
    assert [run["name"] for run in found["runs"]] == ["before", "after"]
    assert found["runs"][1]["rates"]["all_functions"]["value"] == 3 / 5
    (difference,) = found["differences"]
    assert (difference["name"], difference["to"], difference["n"]) == ("after", "before", 40)
    assert list(difference["rates"]) == ["process_verdict", "all_functions", "exact_set", "arguments", "f1"]
    for one in difference["rates"].values():
        assert one["difference"] == pytest.approx(2 / 5)
        assert (one["wins"], one["losses"], one["test"], one["p_value"]) == (16, 0, "APIs flipped", 2 / 2**8)
    assert list(found["by_api"]) == [f"api {a}" for a in range(8)]
    assert found["by_api"]["api 0"]["after"]["process_verdict"]["value"] == 3 / 5
    assert found["notes"] == []


def test_apis_of_one_instruction_each_make_no_table(tmp_path: Path) -> None:
    found = compare([write(tmp_path / "before", rows(0, 30, 1)), write(tmp_path / "after", rows(1, 30, 1))])
    assert "api 0" not in shown(found) and len(found["by_api"]) == 30
    assert "api 0" in shown(compare([write(tmp_path / "five", rows(0)), write(tmp_path / "more", rows(1))]))


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    this, that = rows(3), rows(3)
    this[0]["golden_calls"] = []
    found = compare([write(tmp_path / "a", that[:-2]), write(tmp_path / "b", this[5:] + this[:1])])
    (difference,) = found["differences"]
    assert (difference["n"], difference["only_this"], difference["only_first"]) == (33, 2, 4)
    assert difference["other_golden"] == 1
    assert "34 instructions are in both b and a; 4 are missing in b, 2 in a" in found["notes"]
    assert any("1 instructions have different golden calls in b than in a" in note for note in found["notes"])
    assert difference["rates"]["f1"]["difference"] == 0 and difference["rates"]["f1"]["wins"] == 0


def test_a_missing_judgement_is_not_a_yes(tmp_path: Path) -> None:
    judged = [
        [row | {"judge": {"process": word, "response": "Yes" if word else None}} for row in rows(1)]
        for word in ("Yes", None)
    ]
    judged[1][0]["judge"] = {"process": "Yes", "response": None}  # half a verdict is none
    found = compare([write(tmp_path / "a", judged[0]), write(tmp_path / "b", judged[1])])
    rates = found["differences"][0]["rates"]
    assert [rates[name]["difference"] for name in ("judge_process", "judge_response", "judge_both")] == [-1, -1, -1]
    assert found["runs"][1]["rates"]["judge_process"]["value"] == 0


def test_other_suites_and_other_judges_are_said(tmp_path: Path) -> None:
    a = write(tmp_path / "a", rows(1), judge_settings={"model": "x"})
    b = write(tmp_path / "b", rows(1), "real", judge_settings={"model": "y"})
    notes = compare([a, b])["notes"]
    assert "b is of the suite real, a of simulated" in notes
    assert any("different judge settings" in note for note in notes)


def test_nothing_in_common(tmp_path: Path) -> None:
    a = write(tmp_path / "a", rows(1))
    with pytest.raises(OptionError, match="they share no API and index"):
        compare([a, write(tmp_path / "b", [record("Tides", 0, True)])])
    with pytest.raises(OptionError, match="the golden calls of all 40 differ"):
        compare([a, write(tmp_path / "c", [row | {"golden_calls": []} for row in rows(1)])])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("half", "record 1 has no api and index"),
        ({"api": "api 0"}, "record 1 has no api and index"),
        ({"api": "api 0", "index": True}, "record 1 has no api and index"),
        (record("api 0", 1, True, f1=float("nan")), "record 1 has a f1 that is not between 0 and 1"),
        (record("api 0", 1, True, arguments="yes"), "record 1 has a arguments that is not"),
        (record("api 0", 1, True, judge="Yes"), "record 1 has a judge that is not an object"),
        (record("api 0", 1, True) | {"solved": [True]}, "record 1 has a solved that is not"),
        (record("api 0", 0, False), "record 1 is api 0 0 a second time"),
    ],
)
def test_a_bad_record_is_named_and_costs_no_other(tmp_path: Path, row: Any, words: str) -> None:
    folder = write(tmp_path / "a", rows(1))
    records = json.loads((folder / "instructions.json").read_text("utf-8"))
    records[1] = row
    (folder / "instructions.json").write_text(json.dumps(records), "utf-8")
    found = compare([folder, write(tmp_path / "b", rows(1))])
    assert found["differences"][0]["n"] == 39
    assert found["notes"][0].startswith("1 row is left out")
    assert any(words in note and "instructions.json" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("metrics.json", None, NotFoundError),
        ("instructions.json", None, NotFoundError),
        ("metrics.json", b'{"n": 4', InputError),
        ("metrics.json", b'{"n": "\xff"}', InputError),
        ("metrics.json", b"[]", InputError),
        ("metrics.json", b'{"accuracy": 1}', InputError),
        ("instructions.json", b"{}", InputError),
    ],
)
def test_a_folder_that_is_no_evaluation_s(
    tmp_path: Path, name: str, content: bytes | None, kind: type[ToolAlpacaError]
) -> None:
    good, bad = write(tmp_path / "good", rows(1)), write(tmp_path / "bad", rows(1))
    (bad / name).unlink()
    if content is not None:
        (bad / name).write_bytes(content)
    with pytest.raises(kind) as raised:
        compare([good, bad])
    assert raised.value.file == bad / name and "\n" not in str(raised.value)


def test_one_folder_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        compare([write(tmp_path / "a", rows(1))])


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    for parent in ("x", "y"):
        (tmp_path / parent).mkdir()
    a, b = write(tmp_path / "x" / "eval", rows(1)), write(tmp_path / "y" / "eval", rows(2))
    assert [run["name"] for run in compare([a, b])["runs"]] == [str(a), str(b)]
    same = compare([a, a])
    assert len({run["name"] for run in same["runs"]}) == 2
    assert all(rate["p_value"] == 1 for rate in same["differences"][0]["rates"].values())


def test_tables_say_what_the_comparison_says(tmp_path: Path) -> None:
    awkward = rows(3)
    for row in awkward[-5:]:
        row["api"] = "[red]Tides | & <b>"
    folders = [write(tmp_path / name, awkward) for name in ("a", "b")]
    folders.append(write(tmp_path / "c", rows(1)[:-5]))
    found = compare(folders)
    text, markdown = shown(found), comparison_markdown(found)
    rate = found["runs"][0]["rates"]["all_functions"]
    cell = f"60.0 ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
    assert cell in text and cell in markdown
    assert "p = 0.016, 0 won, 14 lost" in text and "p = 0.016, 0 won, 14 lost" in markdown  # 2 of 2 ** 7
    assert "-40.0 (" in text and "-40.0 (" in markdown
    assert "[red]Tides | & <b>" in text and "&#91;red&#93;Tides &#124; &#38; &#60;b&#62;" in markdown
    assert "Note: 35 instructions are in both c and a; 5 are missing in c, 0 in a." in markdown
    tables = [block for block in markdown.split("\n\n") if block.startswith("|")]
    assert [block.split("\n")[0].count("|") for block in tables] == [5, 4, 5]
    for block in tables:
        bars = {line.count("|") for line in block.split("\n")}
        assert len(bars) == 1, "a row has more or fewer cells than its heading"


def test_metrics_of_an_older_layout_show_what_they_have(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", rows(1)), write(tmp_path / "b", rows(1))
    (b / "metrics.json").write_text('{"suite": "simulated", "n": 40, "calls": {"f1": {"value": "much"}}, "by": 3}')
    found = compare([a, b])
    assert found["runs"][1]["rates"] == {} and found["differences"][0]["n"] == 40
    assert "–" in shown(found) and "–" in comparison_markdown(found)


def test_two_recorded_runs(real_data: Path, tmp_path: Path) -> None:
    """Two published runs on the same 100 instructions: the sign test of their verdicts, counted here again."""
    verdicts = []
    for file in sorted((real_data / "judged").glob("*_simulated.verdicts.json")):
        raw = json.loads(file.read_text("utf-8"))
        raw.pop("statistics")
        both = {(api, one["id"]): one for api, ones in raw.items() for one in ones}
        verdicts.append(both)
        records = [
            {
                "api": api,
                "index": index,
                "judge": {
                    "process": one.get("process_correctness"),
                    "response": one.get("final_response_correctness"),
                },
            }
            for (api, index), one in both.items()
        ]
        write(tmp_path / str(len(verdicts)), records)
    yes = [{place for place, one in run.items() if one.get("process_correctness") == "Yes"} for run in verdicts]
    wins, losses = len(yes[1] - yes[0]), len(yes[0] - yes[1])
    found = compare([tmp_path / "1", tmp_path / "2"])["differences"][0]
    one = found["rates"]["judge_process"]
    assert (found["n"], one["wins"], one["losses"]) == (100, wins, losses)
    assert one["difference"] == pytest.approx((53 - 49) / 100)
    assert one["p_sign_test"] == pytest.approx(binomtest(wins, wins + losses).pvalue)
    assert one["low"] < 0.04 < one["high"]


def test_folders_are_only_read(tmp_path: Path) -> None:
    folders = [write(tmp_path / "a", rows(1)), write(tmp_path / "b", rows(2))]
    copies = [shutil.copytree(folder, tmp_path / f"copy of {folder.name}") for folder in folders]
    compare(folders)
    for folder, copy in zip(folders, copies, strict=True):
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
            file.name: file.read_bytes() for file in copy.iterdir()
        }
