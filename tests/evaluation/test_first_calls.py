"""Scores of first calls against a second implementation, against cases by hand, and on the published golden calls."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.evaluation.measurement import baselines, measure, score_first_call
from toolalpaca_hf.formats import react_prompt
from toolalpaca_hf.metrics import golden_arguments
from toolalpaca_hf.schema import Api, Call, Function, Instruction

TIDES = Api(
    "eval/tides",
    "Tides",
    functions=[
        Function("findTide", "/tide", "get", "Tide at a port.\nParameters: {port}"),
        Function("listPorts", "/ports", "get", "All ports.\nwith tides"),
        Function("bookBerth", "/berths", "post", ""),
    ],
)


@pytest.mark.parametrize(
    ("text", "well_formed", "known", "right", "match"),
    [
        (' So.\nAction: findTide\nAction Input: {"port": "brest", "day": "3"}\nObservation:', True, True, True, True),
        (' So.\nAction: findTide\nAction Input: {"port": "Cork", "day": 3}', True, True, True, False),
        (' So.\nAction: listPorts\nAction Input: {"port": "Brest", "day": 3}', True, True, False, False),
        (' So.\nAction: getDetails\nAction Input: {"Question": "?"}', True, True, False, False),
        (' So.\nAction: find_tide\nAction Input: {"port": "Brest", "day": 3}', True, False, True, True),
        (' So.\nAction: sing\nAction Input: {"port": "Brest", "day": 3}', True, False, False, False),
        (" So.\nAction: findTide\nAction Input: Brest", False, False, False, False),
        (" So.\nAction: findTide", False, False, False, False),
        (" So.\nResponse: At noon.", False, False, False, False),
        ("", False, False, False, False),
    ],
)
def test_a_score_by_hand(text: str, well_formed: bool, known: bool, right: bool, match: bool) -> None:
    golden = Call("[Optional]findTide", '{"port": "Brest", "day": 3}')
    score = score_first_call(TIDES, golden, text)
    names = ("well_formed", "known_function", "first_function", "arguments")
    assert [score[name] for name in names] == [well_formed, known, right, match]


def test_a_golden_call_that_cannot_be_read_matches_nothing() -> None:
    score = score_first_call(TIDES, Call("findTide", "Brest"), " So.\nAction: findTide\nAction Input: {}")
    assert score["first_function"] and not score["arguments"]


def test_shares_and_records() -> None:
    golden = Call("findTide", '{"port": "Brest"}')
    texts = [
        ' So.\nAction: findTide\nAction Input: {"port": "Brest"}',
        " So.\nAction: findTide\nAction Input: {}",
        " So.\nAction: sing\nAction Input: {}",
        " So.",
    ]
    asked = [Instruction(f"eval/tides/{place}", "eval/tides", "Tide?", [golden]) for place in range(4)]
    asked.append(Instruction("eval/tides/4", "eval/tides", "Nothing golden", []))
    turns = {instruction.id: text for instruction, text in zip(asked, texts, strict=False)}
    metrics, records = measure(None, None, [TIDES], asked, prompt=react_prompt(), turns=turns)
    expected = {"n": 4, "well_formed": 0.75, "known_function": 0.5, "first_function": 0.5, "arguments": 0.25}
    assert metrics == expected | baselines({"eval/tides": TIDES}, asked[:4])
    assert len(records) == 4 and json.loads(records[0]) == {
        "id": "eval/tides/0",
        "instruction": "Tide?",
        "golden": [{"action": "findTide", "action_input": '{"port": "Brest"}'}],
        "text": texts[0],
        "well_formed": True,
        "known_function": True,
        "first_function": True,
        "arguments": True,
        "action": "findTide",
        "action_input": '{"port": "Brest"}',
    }


def test_baselines_by_hand() -> None:
    river = Api("eval/river", "River", functions=[Function("getLevel", "/level", "get", "Level of a river.")])
    asked = [
        # find|tide, tide, port: 2 of {find, tide, port}; list, port, all: 1 of 3; book, berth: 0.
        Instruction("eval/tides/0", "eval/tides", "The tide in my port?", [Call("findTide", "{}")]),
        # 1 of {find, tide, port}, 1 of {list, port, all}: a tie for the wrong and the right one.
        Instruction("eval/tides/1", "eval/tides", "Ports, please!", [Call("listPorts", "{}"), Call("findTide", "{}")]),
        # No word in common: all three tie.
        Instruction("eval/tides/2", "eval/tides", "Hello", [Call("bookBerth", "{}")]),
        Instruction("eval/river/0", "eval/river", "Hello", [Call("getDetails", "{}")]),
    ]
    found = baselines({"eval/tides": TIDES, "eval/river": river}, asked)
    assert math.isclose(found["chance"], (3 * 1 / 4 + 1 / 2) / 4)
    assert math.isclose(found["word_overlap"], (1 + 1 / 2 + 1 / 3 + 0) / 4)


def test_a_long_name_does_not_win_by_its_length() -> None:
    long = Function("x", "", "", "Tide of any port and also everything else under the sun")
    api = Api("eval/a", "A", functions=[long, Function("y", "", "", "Tide")])
    asked = [Instruction("eval/a/0", "eval/a", "tide", [Call("y", "{}")])]
    assert baselines({"eval/a": api}, asked)["word_overlap"] == 1


def filled(value: Any) -> Any:
    """A golden value as a model might make it: something for whatever is left open."""
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return "anything" if value == "***" else value


def test_the_golden_calls_score_full_marks(real_data: Path) -> None:
    corpus = read_corpus(
        resolve_sources(
            eval_simulated=[str(real_data / "eval_simulated.json")], eval_real=[str(real_data / "eval_real.json")]
        )
    )
    apis = {api.id: api for rows in corpus.apis.values() for api in rows}
    asked = [row for rows in corpus.instructions.values() for row in rows]
    assert len(asked) == 214 and all(row.golden_calls for row in asked)
    unreadable = []
    for row in asked:
        golden = row.golden_calls[0]
        made = golden_arguments(golden.action_input)
        if made is None:
            unreadable.append(row.api)
            continue
        text = f" So.\nAction: {golden.action}\nAction Input: {json.dumps(filled(made))}\nObservation:"
        score = score_first_call(apis[row.api], golden, text)
        assert score["first_function"] and score["arguments"], row.id
    # Four published calls hold a doubled key and are no JSON.
    assert unreadable == ["eval_real/currencybeacon"] * 4
