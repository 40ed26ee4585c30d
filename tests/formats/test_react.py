"""The package's own prompt."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.formats import DEFAULT_FINAL_THOUGHT, react_prompt, trajectory_segments
from toolalpaca_hf.schema import Api, Function, Segment, Step, Trajectory

FIND = Function(
    "findTide", "/tides", "get", "Tides.\nOutput: Times.\n - Format: application/json\n - Structure: #Tide"
)
TIDES = Api("train/tides", "Tides", functions=[FIND, Function("moon", "/moon", "get", "Its phase.")])

texts = st.text(st.characters(codec="utf-8"))
steps = st.lists(st.builds(Step, texts, texts, texts, texts), max_size=3)


def test_a_head_line_by_line() -> None:
    wording = files("toolalpaca_hf.formats").joinpath("prompts")
    details = wording.joinpath("get_details.txt").read_text(encoding="utf-8").removesuffix("\n")
    opening, form = wording.joinpath("react.txt").read_text(encoding="utf-8").split("{tools}")
    form = form.replace("{tool_names}", "getDetails, findTide, moon").replace("{instruction}", "High {tide}?")
    asks, rest = details.split("\n", 1)
    tools = f"getDetails: {asks}\nAction: getDetails\n{rest}"
    tools += "\n\nfindTide: Tides.\nAction: findTide\nOutput: Times. #Tide\n\nmoon: Its phase.\nAction: moon"
    assert react_prompt().head(TIDES, "High {tide}?") == opening + tools + form.removesuffix("\n")


def test_shared_schemas_come_after_the_last_function() -> None:
    api = Api("", "", functions=[FIND], components="\nShared:\n#Tide: Object{at}\n")
    assert " #Tide\nShared:\n#Tide: Object{at}\n\n" in react_prompt().head(api, "?")


def test_an_api_without_functions_offers_get_details() -> None:
    assert "[getDetails]" in react_prompt().head(Api("", ""), "?")


def test_values_are_never_read_as_places_of_the_template() -> None:
    api = Api("", "", functions=[Function("f", "", "", "{tool_names} {instruction} {tools}")])
    head = react_prompt().head(api, "{tools} {instruction}")
    assert "\n\nf: {tool_names} {instruction} {tools}\nAction: f\n" in head and "USER: {tools} {instruction}\n" in head


def test_a_trajectory_as_segments() -> None:
    trajectory = Trajectory(
        "train/tides/0", "train/tides", "When?", "", [Step("I look.", "findTide", "{}", "Noon")], "So.", "At noon."
    )
    assert trajectory_segments(TIDES, trajectory, react_prompt())[1:] == [
        Segment(" I look.\nAction: findTide\nAction Input: {}\nObservation:", True),
        Segment(" Noon\nThought:", False),
        Segment(" So.\nResponse: At noon.", True),
    ]


def test_a_missing_final_thought_is_made_up_and_an_empty_one_is_kept() -> None:
    def last(thought: str | None) -> str:
        return trajectory_segments(TIDES, Trajectory("", "", "?", "", [], thought, "Noon"), react_prompt())[-1].text

    assert last(None) == f" {DEFAULT_FINAL_THOUGHT}\nResponse: Noon"
    assert last("") == " \nResponse: Noon"


@given(steps, st.none() | texts, texts)
def test_what_the_model_writes_is_trained_and_what_it_reads_is_not(
    steps: list[Step], thought: str | None, response: str
) -> None:
    segments = trajectory_segments(TIDES, Trajectory("", "", "?", "", steps, thought, response), react_prompt())
    assert [segment.trainable for segment in segments] == [False] + [True, False] * len(steps) + [True]
    for step, observation in zip(steps, segments[2::2], strict=True):
        assert observation.text == f" {step.observation}\nThought:"
    # Vocabularies cut words before their space: no untrained text may end in the space that belongs to the next word.
    assert not any(segment.text.endswith(" ") for segment in segments if not segment.trainable)
    assert all(segment.text.startswith(" ") for segment in segments if segment.trainable)


@pytest.mark.parametrize("recorded", ["I look.\nASSISTANT Action: f\nASSISTANT Action Input: {}", "No label at all"])
def test_a_recorded_text_is_used_with_this_prompts_labels(recorded: str) -> None:
    text = react_prompt().action(Step("other", "other", "other", "", log=recorded))
    assert text == f" {recorded.replace('ASSISTANT ', '')}\nObservation:"
