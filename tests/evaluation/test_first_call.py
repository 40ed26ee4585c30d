"""Scores of first calls against a second implementation, against cases by hand, and on the published golden calls."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.evaluation.first_call import (
    arguments_equal,
    as_record,
    baselines,
    golden_arguments,
    same_function,
    score_first_call,
    scored_instructions,
    summarize,
)
from toolalpaca_hf.schema import Api, Call, Function, Instruction

scalars = st.sampled_from(
    [
        *(3, 3.0, "3", "3.0", " 3 ", "+3", "03", "3,0", 0, -0.0, "-0", "1e2", 100, "1_00", ".5", 0.5),
        *(True, False, "true", "TRUE", "False", 1, "1", "yes", None, "", " ", "***", "nan", "NaN", "inf", "Infinity"),
        *("Paris", "paris", "PARIS ", "straße", "STRASSE", 10**17, 10**17 + 1, str(10**17), 1e17, "٣"),
    ]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=6
)
arguments = st.dictionaries(st.sampled_from("abc"), values)


def normal(value: Any) -> Any:
    """The value as it is compared: numbers as fractions, text without case, objects without empty entries."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items() if item is not None and item != ""}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if value is None:
        return None
    text = str(value).strip()
    if text.isascii() and any(map(str.isdigit, text)) and "_" not in text and "/" not in text:
        try:
            return Fraction(text)
        except ValueError:
            pass
    return text.casefold()


def twin(golden: Any, made: Any) -> bool:
    if golden == "***":
        return True
    if isinstance(golden, dict) and isinstance(made, dict):
        return set(golden) == set(made) and all(twin(golden[key], made[key]) for key in golden)
    if isinstance(golden, list) and isinstance(made, list):
        return len(golden) == len(made) and all(twin(*pair) for pair in zip(golden, made, strict=True))
    return type(golden) is type(made) and golden == made


@given(arguments, arguments)
def test_arguments_equal_as_a_second_implementation_has_it(golden: dict, made: dict) -> None:
    assert arguments_equal(golden, made) == twin(normal(golden), normal(made))


@given(arguments, st.data())
def test_arguments_in_other_words_are_equal(golden: dict, data: st.DataObject) -> None:
    def reworded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reworded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [reworded(item) for item in value]
        if value in (None, ""):
            return value
        return data.draw(st.sampled_from([value, str(value), str(value).upper(), f" {value}\n"]))

    assert arguments_equal(golden, reworded(golden))


@pytest.mark.parametrize(
    ("golden", "made", "equal"),
    [
        ({}, {}, True),
        ({"days": 3}, {"days": "3"}, True),
        ({"days": 3}, {"days": 4}, False),
        ({"city": "Paris"}, {"city": " PARIS"}, True),
        ({"city": "Paris"}, {"city": "Paris", "units": ""}, True),
        ({"city": "Paris", "units": None}, {"city": "Paris"}, True),
        ({"city": "Paris"}, {"City": "Paris"}, False),
        ({"city": "Paris"}, {}, False),
        ({}, {"city": "Paris"}, False),
        ({"key": "***"}, {"key": "made up"}, True),
        ({"key": "***"}, {"key": {"deep": [1]}}, True),
        ({"key": "***"}, {}, False),
        ({"key": "made up"}, {"key": "***"}, False),
        ({"open": True}, {"open": "true"}, True),
        ({"open": True}, {"open": False}, False),
        ({"open": True}, {"open": 1}, False),
        ({"body": {"ids": [1, "***"], "note": ""}}, {"body": {"ids": ["1", 7]}}, True),
        ({"ids": [1, 2]}, {"ids": [2, 1]}, False),
        ({"ids": [1]}, {"ids": 1}, False),
        # As floats the first two would be one number, and the other pairs would be equal or unequal by accident.
        ({"id": 90071992547409931}, {"id": "90071992547409932"}, False),
        ({"city": "Nan"}, {"city": "Nan"}, True),
        ({"name": "Infinity"}, {"name": "inf"}, False),
        ({"code": "1_0"}, {"code": "10"}, False),
    ],
)
def test_arguments_by_hand(golden: dict, made: dict, equal: bool) -> None:
    assert arguments_equal(golden, made) is equal


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a": {}, "b": []}', {"a": {}, "b": []}),
        ('{"id": ${id from search}}', {"id": "***"}),
        ('{"start": ${start date}", "page": 1}', {"start": "***", "page": 1}),
        ('{"start": "{start date}", "end": ${end date}}', {"start": "***", "end": "***"}),
        ('{"ids": [${an id}, ${another}]}', {"ids": ["***", "***"]}),
        ('{"list": [{"name": "${string}"}]}', {"list": [{"name": "***"}]}),
        ('{"password": "Pa$$w0rd", "body": "{\\"a\\": 1}"}', {"password": "Pa$$w0rd", "body": '{"a": 1}'}),
        ('{"text": "about ${x}"}', {"text": "about ${x}"}),
        ('{"symbols": "symbols": ["EUR"]}', None),
        ("Paris", None),
    ],
)
def test_golden_arguments_by_hand(text: str, arguments: dict | None) -> None:
    assert golden_arguments(text) == arguments


@pytest.mark.parametrize(
    ("golden", "made", "same"),
    [
        ("find", "find", True),
        ("find", "Find", True),
        ("[Optional]find", "find", True),
        ("preferred-routes_search_get", "preferredroutes_search_get", True),
        ("find", "findAll", False),
        ("天気", "天", False),
    ],
)
def test_names_by_hand(golden: str, made: str, same: bool) -> None:
    assert same_function(golden, made) is same


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


def test_a_golden_call_that_can_not_be_read_matches_nothing() -> None:
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
    scores = [score_first_call(TIDES, golden, text) for text in texts]
    assert summarize(scores) == {"well_formed": 0.75, "known_function": 0.5, "first_function": 0.5, "arguments": 0.25}
    record = json.loads(as_record(Instruction("eval/tides/0", "eval/tides", "Tide?", [golden]), texts[0], scores[0]))
    assert record == {
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
    assert len(asked) == 214 and len(scored_instructions(asked)) == 214
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
