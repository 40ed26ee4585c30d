"""Verdicts read from a judge's text: what is read, what is not, and the recorded texts of three published runs."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf import metrics
from toolalpaca_hf.metrics import VERDICTS, judge_statistics, parse_verdict

RUNS = (
    "eval_7b_cleaned_train_simulated",
    "eval_7b_train_on_train_part_correctons_val_simulated",
    "eval_7b_train_part_of_train_real",
)
PAIRS = list(itertools.product(VERDICTS, VERDICTS))


@pytest.mark.parametrize(
    "layout",
    [
        "Process Correctness: {}\nFinal Response Correctness: {}",
        "## Results \nProcess Correctness: {} \nFinal Response Correctness: {}\n",
        "Process Correctness: Yes\nFinal Response Correctness: No\n"
        "## Results\r\nProcess Correctness: {}\r\nFinal Response Correctness: {}",
        "## Results\nProcess Correctness: No\n\n**Results:**\nProcess Correctness: {}\nFinal Response Correctness: {}",
        "**Process Correctness:** {}\n**Final Response Correctness:** {}",
        "- **Process Correctness**: **{}**\n- **Final Response Correctness**: **{}**",
        "1. process correctness: `{}`.\n2. FINAL RESPONSE CORRECTNESS: `{}`.",
        "> * Process Correctness : [{}]\n> * Final Response Correctness : ({})",
        "Process Correctness：{}\nFinal Response Correctness：【{}】",
        "### Process Correctness\n\n{}\n\n### Final Response Correctness:\n{}",
        "| Process Correctness | {} |\n| --- | --- |\n| Final Response Correctness | {} |",
        "Process Correctness: {}, no call is missing\nFinal Response Correctness: {} (it is said plainly)",
        "Process Correctness: {} because it retried\nFinal Response Correctness: {} - nothing is made up",
        "Final Response Correctness: {1}\nProcess Correctness: {0}",
        "Process Correctness: {0}\nFinal Response Correctness: {1}\nProcess Correctness: {0}",
        "Process Correctness: {}, Final Response Correctness: {}",
        "**Process Correctness:** {}; **Final Response Correctness:** {}.",
        "Process Correctness: {} / Final Response Correctness: {}",
        "Final Response Correctness (Yes/No): {1} and Process Correctness (Yes/No): {0}",
        "I weigh the calls, final response correctness: is it made up?\n"
        "Process Correctness: {}\nFinal Response Correctness: {}",
        "Process Correctness (Yes/No/Uncertain): {}\nFinal Response Correctness (Yes/No/Uncertain): {}",
        "Process Correctness: “{}”\nFinal Response Correctness: ❌ {}",
        '{{"Process Correctness": "{}", "Final Response Correctness": "{}"}}',
        "(a) Process Correctness → {}\n(b) Final Response Correctness → {}",
        "- [x] Process Correctness: {}\n- [x] Final Response Correctness: {}",
        "<think>\nFinal Response Correctness: No?\n</think>\nProcess Correctness: {}\nFinal Response Correctness: {}",
    ],
)
@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_what_is_read(layout: str, case: Any) -> None:
    for process, response in PAIRS:
        assert parse_verdict(layout.format(case(process), case(response))) == (process, response)


@pytest.mark.parametrize(
    "value",
    [
        "\nA) Yes\nB) No",
        "",
        "one of [Yes, No, Uncertain]",
        "[Yes, No, Uncertain]",
        "Yes/No",
        "Yes or No",
        "No, or Uncertain",
        "yes (or no)",
        "[Yes] [No]",
        "[ ] Yes [x] No",
        "( ) Yes (x) No",
        "[x] Yes [ ] No",
        "☐ Yes\n☑ No",
        "Yes | No",
        "Yes, No",
        "Not Yes",
        "No issues found",
        "Noted",
        "No-one can tell",
        "Yesterday",
        "Partially",
        "Correct",
        "The calls are right, so yes",
        "Oui",
        "Ja",
        "Nein",
        "是",
        "N/A",
        "<word>",
        "Yes\nProcess Correctness: No",
        "No\n## Results\n",
    ],
)
def test_what_is_not_read(value: str) -> None:
    assert parse_verdict(f"Final Response Correctness: Yes\nProcess Correctness: {value}").process is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes",
        "Yes\nNo",
        "The Process Correctness: Yes\nand the Final Response Correctness: No",
        "过程正确性：是\n最终回答正确性：否",
        "Process Correctness\nFinal Response Correctness",
        "Response Correctness: No",
    ],
)
def test_texts_without_a_verdict(text: str) -> None:
    verdict = parse_verdict(text)
    assert verdict == (None, None) and verdict.malformed


def test_half_a_verdict_is_malformed() -> None:
    verdict = parse_verdict("Process Correctness: No\nFinal Response Correctness: maybe")
    assert verdict == ("No", None) and verdict.malformed


@given(st.text(), st.sampled_from(PAIRS))
def test_no_analysis_before_the_results_changes_them(analysis: str, pair: tuple[str, str]) -> None:
    results = "## Results\nProcess Correctness: {}\nFinal Response Correctness: {}".format(*pair)
    assert parse_verdict(f"{analysis}\n{results}") == pair


@given(st.text(alphabet=st.sampled_from("Process Correctness:Final Response YesNoUncertain#*[]/|,\n ")))
def test_any_text_gives_a_verdict_that_it_spells_or_none(text: str) -> None:
    for word in parse_verdict(text):
        assert word is None or (word in VERDICTS and word.lower() in text.lower())


@pytest.mark.parametrize("run", RUNS)
def test_the_recorded_verdicts_are_read_again(real_data: Path, run: str) -> None:
    recorded = json.loads((real_data / "judged" / f"{run}.verdicts.json").read_text(encoding="utf-8"))
    statistics = recorded.pop("statistics")
    entries = [entry for one in recorded.values() for entry in one]
    judged = [entry for entry in entries if entry["input"]]
    verdicts = [parse_verdict(entry["output"]) for entry in entries]
    assert len(judged) > 90
    for entry, verdict in zip(entries, verdicts, strict=True):
        assert verdict == (entry.get("process_correctness"), entry.get("final_response_correctness"))
    assert judge_statistics([verdict._asdict() for verdict in verdicts], len(entries)) == statistics


@given(st.lists(st.tuples(st.sampled_from([*VERDICTS, None]), st.sampled_from([*VERDICTS, None]))), st.integers(0, 5))
def test_statistics_against_counting_by_hand(pairs: list[tuple[str | None, str | None]], missing: int) -> None:
    counted = judge_statistics([{"process": a, "response": b} for a, b in pairs], len(pairs) + missing)
    errors, both = missing, 0
    process, response = dict.fromkeys(VERDICTS, 0), dict.fromkeys(VERDICTS, 0)
    for a, b in pairs:
        if a is None or b is None:
            errors += 1
            continue
        process[a] += 1
        response[b] += 1
        both += a == b == "Yes"
    assert counted == {
        "num": len(pairs) + missing,
        "error_num": errors,
        "process": process,
        "response": response,
        "both": both,
    }


def test_it_loads_with_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    metric = metrics.load("llm_judge", cache_dir=str(tmp_path))
    assert "tang2023toolalpaca" in metric.citation and set(metric.features) == {"predictions"}
    texts = [f"Process Correctness: {a}\nFinal Response Correctness: {b}" for a, b in PAIRS]
    scores = metric.compute(predictions=[*texts, "unreadable"])
    assert (scores["process"], scores["response"], scores["both"]) == (0.3, 0.3, 0.1)
    assert scores["statistics"]["error_num"] == 1 and scores["statistics"]["num"] == 10
    asked = metric.compute(predictions=["first", "second"], judge={"first": texts[0], "second": ""}.__getitem__)
    assert asked["both"] == 0.5 and asked["texts"] == [texts[0], ""]
