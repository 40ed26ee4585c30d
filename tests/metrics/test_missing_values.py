"""What is missing in a metric's rows: a missing prediction is wrong, a missing reference is refused."""

from typing import Any

import numpy as np
import pytest

from toolalpaca_hf import metrics
from toolalpaca_hf.errors import InputError
from toolalpaca_hf.formats import parse_arguments
from toolalpaca_hf.schema import Api

GOLDEN = [{"action": "findTide", "action_input": '{"port": "Brest"}'}]
MADE = [GOLDEN[0] | {"observation": "Status Code: 200. Response: {}"}]
API = Api("eval_real/tides", "Tides")


def test_a_prediction_of_none_is_an_attempt_that_is_missing() -> None:
    found = metrics.load("tool_call_match").compute(predictions=[GOLDEN, None], references=[GOLDEN, GOLDEN])
    assert (found["arguments"], found["all_functions"], found["n"]) == (0.5, 0.5, 2)
    found = metrics.load("tool_call_match").compute(predictions=[None], references=[[]])
    assert found["all_functions"] == 0.0


@pytest.mark.parametrize("golden", [GOLDEN, []])
def test_none_is_never_a_yes(golden: list[dict[str, str]]) -> None:
    found = metrics.load("process_verdict").compute(predictions=[None], references=[golden])
    assert (found["verdicts"], found["process_verdict"]) == (["No"], 0.0) and found["reasons"][0]


@pytest.mark.parametrize("field", ["action", "action_input", "observation"])
def test_a_step_of_which_a_part_is_missing(field: str) -> None:
    broken = [MADE[0] | {field: None}]
    verdict = metrics.load("process_verdict").compute(predictions=[broken, MADE], references=[GOLDEN, GOLDEN])
    assert verdict["verdicts"] == ["Yes" if field == "observation" else "No", "Yes"]
    validity = metrics.load("tool_call_validity").compute(predictions=[broken, None], apis=[API, API])
    assert (validity["n"], validity["steps"]) == (2, 1)
    if field != "observation":
        calls = [{name: broken[0][name] for name in ("action", "action_input")}]
        match = metrics.load("tool_call_match").compute(predictions=[calls, GOLDEN], references=[GOLDEN, GOLDEN])
        assert match["arguments"] == 0.5


@pytest.mark.parametrize("name", ["lama", "math_answer", "question_answering"])
def test_an_answer_that_is_missing_is_wrong(name: str) -> None:
    for made in (["12", None], [None, "12"]):
        assert metrics.load(name).compute(predictions=made, references=["12", "12"])["accuracy"] == 0.5


def test_a_verdict_that_is_missing_is_none() -> None:
    text = "Process Correctness: Yes\nFinal Response Correctness: Yes"
    for said in ([text, None], [None, text]):
        found = metrics.load("llm_judge").compute(predictions=said)
        assert (found["process"], found["statistics"]["error_num"]) == (0.5, 1)
    assert metrics.load("llm_judge").compute(predictions=[None, "x"], judge=str.upper)["texts"] == ["", "X"]


def test_a_text_without_probabilities_has_no_tokens() -> None:
    found = metrics.load("token_perplexity").compute(predictions=[None, [None, -1.0]])
    assert (found["nll"], found["tokens"], found["n"]) == (1.0, 1, 2)


def test_rows_are_added_one_by_one_as_together() -> None:
    metric = metrics.load("tool_call_match", keep_in_memory=True)
    for made in (None, GOLDEN):
        metric.add(prediction=made, reference=GOLDEN)
    assert metric.compute()["arguments"] == 0.5
    with pytest.raises(InputError):
        metric.add(prediction=GOLDEN, reference=None)


@pytest.mark.parametrize("name", ["tool_call_match", "process_verdict"])
def test_nothing_to_score_is_said(name: str) -> None:
    with pytest.raises(InputError):
        metrics.load(name).compute(predictions=[], references=[])


@pytest.mark.parametrize("name", ["tool_call_match", "process_verdict"])
def test_a_reference_that_is_missing_is_refused(name: str) -> None:
    made: Any = MADE if name == "process_verdict" else GOLDEN
    with pytest.raises(InputError) as raised:
        metrics.load(name).compute(predictions=[made, made], references=[GOLDEN, None])
    assert raised.value.row == 1
    if name == "tool_call_match":
        with pytest.raises(InputError):
            metrics.load("question_answering").compute(predictions=["12"], references=[["12", None]])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"port": "Brest", "port": "Nantes"}', None),
        ('{"at": {"port": "Brest", "port": "Nantes"}}', None),
        ('{"port": "Brest", "port": "Brest"}', {"port": "Brest"}),
        ('{"port": 1, "port": "1"}', None),
        ('[{"port": 1}]', None),
    ],
)
def test_a_name_with_two_values_says_nothing(text: str, value: Any) -> None:
    assert parse_arguments(text) == value
    made = [{"action": "findTide", "action_input": text}]
    references = [[{"action": "findTide", "action_input": '{"port": "Nantes"}'}]]
    assert metrics.load("tool_call_match").compute(predictions=[made], references=references)["arguments"] == 0.0


def test_a_row_is_added_by_either_name() -> None:
    for names in (("prediction", "reference"), ("predictions", "references")):
        metric = metrics.load("tool_call_match")
        metric.add(**dict(zip(names, (GOLDEN, GOLDEN), strict=True)))
        assert metric.compute()["n"] == 1
    assert metrics.perplexity([np.array([-1.0, -3.0])])["nll"] == 2.0
