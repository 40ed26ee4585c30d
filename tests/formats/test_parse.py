"""A model's text to a turn, whatever the model wrote."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolalpaca_hf.formats import Turn, hopeless, parse_arguments, parse_turn

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
    # A response is free text; only a new thought or action ends it.
    response += "\nResponse: none\nObservation: none\nThe Thought: is within a line\naction: small, in a list"
    turn = Turn(thought.strip(), response=response.strip())
    assert parse_turn(f" {thought}\n{label} {response}") == turn
    for more in ("\nThought: And now?", "\nAction: f\nAction Input: {}", "\n ASSISTANT Thought: so", "\nAction:"):
        assert parse_turn(f" {thought}\n{label} {response}{more}") == replace(turn, ran_on=True)


@given(
    st.lists(
        st.sampled_from(
            [
                " So",
                "\nThought:",
                "\nAction:",
                "\nAction Input:",
                "\nResponse:",
                "\nObservation:",
                " {}",
                "\n",
                " Yes.",
            ]
        ),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_what_is_given_up_without_the_option_could_not_have_been_read_otherwise(parts: list[str], at: int) -> None:
    if hopeless("".join(parts[:at]), 10_000, None):
        assert parse_turn("".join(parts[:at])) == parse_turn("".join(parts))


@pytest.mark.parametrize(
    ("text", "tokens", "given_up"),
    [
        (" I think", 9, False),
        (" I think", 10, True),
        (" I think\nAction:", 15, False),
        (" I think\nAction: f\nAction Input: {", 15, False),
        (" I think\nThought: and think", 15, True),
        (" I think\nobservation: 3", 9, True),
        (" So.\nResponse: " + "It is open. " * 9, 40, True),
        (" So.\nResponse: It is open from nine to five, and closed on Mondays.", 40, False),
        (" So.\nAction: f\nAction Input: " + "[" * 40, 40, True),
    ],
)
def test_a_turn_is_given_up(text: str, tokens: int, given_up: bool) -> None:
    assert hopeless(text, tokens, 10) is given_up
    assert not hopeless(text, tokens, None)


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
    [
        *[("", {}), (" \n", {}), ("{}", {}), ("null", None), ("[]", None), ('"a"', None), ("{'a': 1}", None)],
        *[("{", None), ('{"a": NaN}', None), ('{"a": -Infinity}', None), ('{"a": 1e999}', None)],
        *[('{"a": 1, "a": 2}', None), ('{"a": 1, "a": true}', None), ('{"a": 2, "a": 2}', {"a": 2})],
    ],
)
def test_arguments_by_hand(text: str, arguments: dict | None) -> None:
    assert parse_arguments(text) == arguments


def test_a_turn_of_ten_megabytes_is_given_up_at_once() -> None:
    start = time.process_time()
    text = "Action: " + "".join(map(str, range(1_500_000)))
    assert not hopeless(text, 200, 20) and hopeless(text + "ab" * 9000, 200, 20)
    assert time.process_time() - start < 2
