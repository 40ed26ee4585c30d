"""A step's recorded text, taken apart and put together."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.formats import parse_turn, split_log, step_log
from toolalpaca_hf.formats.parse import relabel
from toolalpaca_hf.schema import Step

labelled = st.lists(
    st.sampled_from(
        ["\nAction:", "\nAction Input:", "\nASSISTANT Action:", "\nASSISTANT Action Input:", "\n", " f ", "{}"]
    )
    | st.text(max_size=8),
    max_size=10,
).map("".join)


def by_hand(log: str, prefix: str) -> str:
    """The data's documented rule with `str` methods: the last label of each kind gets the prefix."""
    for name in ("Action Input:", "Action:"):
        at = max(log.rfind(f"\n{name}"), log.rfind(f"\nASSISTANT {name}"))
        if at >= 0:
            end = log.index(name, at) + len(name)
            log = f"{log[:at]}\n{prefix}{name}{log[end:]}"
    return log


@given(labelled, st.sampled_from(["", "ASSISTANT "]))
def test_relabel_equals_the_rule_by_hand(log: str, prefix: str) -> None:
    assert relabel(log, prefix) == by_hand(log, prefix)


@given(labelled)
def test_relabel_changes_labels_alone_and_once(log: str) -> None:
    done = relabel(log, "ASSISTANT ")
    assert relabel(done, "ASSISTANT ") == done
    assert relabel(relabel(log, ""), "ASSISTANT ") == done
    assert done.replace("ASSISTANT ", "") == log.replace("ASSISTANT ", "")


def test_earlier_labels_are_the_models_own_words() -> None:
    log = "One\nAction: f\nAction Input: {}\nAction: g\nAction Input: {}"
    assert relabel(log, "ASSISTANT ") == (
        "One\nAction: f\nAction Input: {}\nASSISTANT Action: g\nASSISTANT Action Input: {}"
    )


@given(st.text(), st.text(), labelled)
def test_no_recorded_text_is_lost(action: str, action_input: str, log: str) -> None:
    thought, kept = split_log(action, action_input, " " + log)
    rebuilt = step_log(Step(thought, action, action_input, "", kept))
    assert rebuilt == by_hand(log, "ASSISTANT ")
    # The text is kept beside its parts only where they do not give it back.
    assert (kept is None) == (
        f"{thought}\nASSISTANT Action: {action}\nASSISTANT Action Input: {action_input}" == rebuilt
    )


@pytest.mark.parametrize("prefix", ["", "ASSISTANT "])
def test_every_published_step(real_data: Path, prefix: str) -> None:
    raw = json.loads((real_data / "train_sample.json").read_text(encoding="utf-8"))
    steps = [
        step
        for api in raw
        for instance in api["Instances"]
        if isinstance(instance, dict)
        for step in instance.get("intermediate_steps", [])
    ]
    assert len(steps) == 205
    kept_texts = called = 0
    for (action, action_input, text), observation in steps:
        thought, log = split_log(action, action_input, text)
        step = Step(thought, action, action_input, observation, log)
        kept_texts += log is not None
        made = step_log(step, prefix)
        assert made == by_hand(text[1:], prefix)
        try:
            arguments = json.loads(action_input or "{}")
        except ValueError:  # prose, or one object after another
            continue
        if not isinstance(arguments, dict):
            continue
        turn = parse_turn(f"{made}\n{prefix}Observation: {observation}\n{prefix}Thought:")
        assert (turn.action, turn.arguments) == (action, arguments) and turn.well_formed
        assert turn.thought == thought.strip()
        called += 1
    # 27 steps in which no call could be read have nothing but their text; 2 more hold several objects at once.
    assert (kept_texts, called) == (27, 176)
