"""A model's text to a turn, whatever the model wrote."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolalpaca_hf.formats import Turn, parse_arguments, parse_turn

LABELS = ("Action:", "Action Input:", "Observation:", "Thought:", "Response:", "Final Answer:", "ASSISTANT Action:")
pieces = st.sampled_from([*LABELS, "\n", " ", "{", "}", '"', "{}", '{"a": 1}', "[", "NaN", "1e999"]) | st.text(
    max_size=6
)
model_texts = st.lists(pieces, max_size=25).map("".join)
words = st.text("abcdefg XYZ,.é天{}\"':", max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), json_values, max_size=4)


@given(model_texts | st.text())
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example('{"a": ' + "9" * 5000 + "}")
@example("Action: f\nAction Input: " + '{"a":' * 100_000)
@example("\ud800")
def test_nothing_raises(text: str) -> None:
    turn = parse_turn(text)
    assert turn.response is None or turn.action is None
    assert turn.arguments is None or turn.action_input is not None
    assert turn.well_formed == (bool(turn.action) and isinstance(turn.arguments, dict))
    assert parse_arguments(text) is None or isinstance(parse_arguments(text), dict)


@given(words, st.sampled_from(["find", "get-it.now", "天気"]), objects, words, st.sampled_from(["", "ASSISTANT "]))
def test_a_turn_that_acts(thought: str, action: str, arguments: dict, observation: str, prefix: str) -> None:
    action_input = json.dumps(arguments)
    text = f" {thought}\n{prefix}Action: {action}\n{prefix}Action Input: {action_input}"
    wanted = Turn(thought.strip(), action, action_input, arguments)
    assert parse_turn(text) == wanted and wanted.well_formed
    # What a model makes up after the label of the observation is no part of the turn.
    more = f"\n{prefix}Observation: {observation}\n{prefix}Thought: so\n{prefix}Action: other\n{prefix}Response: no"
    assert parse_turn(text + more) == wanted


@given(words, words, st.sampled_from(["Response:", "ASSISTANT Response:", "Final Answer:"]))
def test_a_turn_that_answers(thought: str, response: str, label: str) -> None:
    # A response is free text; labels inside it belong to it.
    response += "\nAction: none\nAction Input: {}\nResponse: none\nObservation: none"
    assert parse_turn(f" {thought}\n{label} {response}") == Turn(thought.strip(), response=response.strip())


@given(objects, st.sampled_from([" and so on", "\n\nThat is it.", "}", "{}", ", {}", "```"]))
def test_text_after_the_json_is_ignored(arguments: dict, more: str) -> None:
    assert parse_arguments(json.dumps(arguments) + more) == arguments
    assert parse_turn(f"Action: f\nAction Input:\n{json.dumps(arguments, indent=1)}{more}").arguments == arguments


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("", Turn("")),
        ("I do not know.", Turn("I do not know.")),
        ("Action: f", Turn("", "f")),
        ("So.\nAction: f\nAction Input:", Turn("So.", "f", "", {})),
        ("So.\nAction: f\nAction Input: Paris", Turn("So.", "f", "Paris")),
        ("So.\nAction: f\nAction Input: [1]", Turn("So.", "f", "[1]")),
        ("So.\nAction:\nAction Input: {}", Turn("So.", "", "{}", {})),
        ("So.\nAction Input: {}", Turn("So.")),
        ("So.\n action : f\nACTION INPUT: {}", Turn("So.", "f", "{}", {})),
        ("So.\nAction: f\nAction: g\nAction Input: {}", Turn("So.", "f", "{}", {})),
        ("So.\nAction: f\nAction Input: {}\nResponse: done", Turn("So.", "f", "{}", {})),
        ("The Action: f is not at a line's start", Turn("The Action: f is not at a line's start")),
        # The label that the prompt ends in, written again.
        ("Thought: So.\nAction: f\nAction Input: {}", Turn("So.", "f", "{}", {})),
        ("So.\nThought: Or not.\nResponse: Yes", Turn("So.", response="Yes")),
        # Nothing was done before the observation, so what follows it was not done either.
        ("So.\nObservation: 3\nAction: f\nAction Input: {}", Turn("So.")),
    ],
)
def test_turns_by_hand(text: str, turn: Turn) -> None:
    assert parse_turn(text) == turn


@pytest.mark.parametrize(
    "turn", [Turn("So.", "f"), Turn("", "", "{}", {}), Turn("", "f", "x"), Turn("", response="x")]
)
def test_turns_that_are_not_well_formed(turn: Turn) -> None:
    assert not turn.well_formed


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("", {}), (" \n", {}), ("{}", {}), ("null", None), ("[]", None), ('"a"', None), ("{'a': 1}", None), ("{", None)],
)
def test_arguments_by_hand(text: str, arguments: dict | None) -> None:
    assert parse_arguments(text) == arguments
