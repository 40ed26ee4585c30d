"""Each gate on cases made by hand, on both sides of its line."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from corpus.roles_double import huts
from hypothesis import given, settings
from hypothesis import strategies as st

from toolalpaca_hf.corpus.config import FilterSettings
from toolalpaca_hf.corpus.simulation.filters import FILTERS, apply_filters, count_tokens, said_in, unsupported
from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.formats import GET_DETAILS, NO_CALL, react_prompt, trajectory_segments
from toolalpaca_hf.schema import Step, Trajectory

ASKED = "Is there a hut near Alvdal with beds on 2025-07-04?"
FOUND = 'Status Code: 200. Response: [{"hutId":12,"name":"Eagle Hut"}]'
FREE = 'Status Code: 200. Response: {"hutId":12,"free":7}'


def step(action: str, arguments: Any, observation: str) -> Step:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Step("I look it up.", action, text, observation)


SEARCH = step("findHuts", {"near": "Alvdal"}, FOUND)
BEDS = step("getFreeBeds", {"hutId": 12, "night": "2025-07-04"}, FREE)


def reasons(
    *steps: Step,
    response: str = "Eagle Hut has 7 beds.",
    asked: str = ASKED,
    thought: str = "So.",
    ended: str = "answered",
    strict: FilterSettings | None = None,
) -> dict[str, str]:
    """The gates that fail, with their reasons."""
    trajectory = Trajectory("train/huts/0", "train/huts", asked, "", list(steps or (SEARCH, BEDS)), thought, response)
    found = apply_filters(huts(), asked, trajectory, strict, ended)
    assert list(found) == list(FILTERS)
    return {name: reason for name, reason in found.items() if reason is not None}


def test_a_good_instance_passes() -> None:
    assert reasons() == {}


@pytest.mark.parametrize("ended", ["steps", "tokens", "time", "unread", "failed"])
def test_unfinished(ended: str) -> None:
    found = reasons(response="", ended=ended)
    assert set(found) == {"finished", "supported"} and found["finished"].endswith("without a response")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([], "it calls nothing"),
        ([step(NO_CALL, "", "?")], "turn 1 holds neither an action nor a response"),
        ([step(GET_DETAILS, {"Question": "?"}, "Near Alvdal.")], "it calls no function of the API"),
        ([SEARCH, step("findTrains", {}, "?")], 'turn 2 calls "findTrains", which is no function of the API'),
        ([SEARCH, step("findHuts", "near Alvdal", "?")], "the input of findHuts in turn 2 is no JSON object"),
        ([step("findHuts", "[1]", FREE)], "the input of findHuts in turn 1 is no JSON object"),
        ([step(GET_DETAILS, {"Question": "?"}, "Near Alvdal."), SEARCH, BEDS], None),
        ([step("findHuts", "", "Missing required `near`."), SEARCH, BEDS], None),
    ],
)
def test_well_formed(steps: list[Step], reason: str | None) -> None:
    trajectory = Trajectory("", "", ASKED, "", steps, "So.", "Eagle Hut has 7 beds.")
    assert apply_filters(huts(), ASKED, trajectory)["well_formed"] == reason


@pytest.mark.parametrize(
    ("arguments", "asked", "grounded"),
    [
        ({"hutId": 12, "night": "2025-07-04"}, ASKED, True),
        ({"hutId": "12", "night": "2025-07-04"}, ASKED, True),
        ({"hutId": 12, "night": "2025-07-04"}, "Beds near Alvdal on the 4th of July?", True),
        ({"hutId": 12, "night": "2025-07-05"}, ASKED, False),
        ({"hutId": 1, "night": "2025-07-04"}, ASKED, False),
        ({"hutId": 13, "night": "2025-07-04"}, ASKED + " I mean hut thirteen.", True),
        ({"hutId": 12, "night": "2025-07-04", "beds": 2}, ASKED, False),
        ({"hutId": 12, "night": "2025-07-04", "beds": 2}, ASKED + " For two.", True),
        ({"hutId": 12, "night": "2025-07-04", "note": ""}, ASKED, True),
        ({"hutId": 12, "night": "2025-07-04", "who": {"name": "Ida"}}, ASKED + " I am Ida.", True),
        ({"hutId": 12, "night": "2025-07-04", "who": {"name": "Sigrid"}}, ASKED + " I am Ida.", False),
    ],
)
def test_grounded(arguments: dict[str, Any], asked: str, grounded: bool) -> None:
    found = reasons(SEARCH, replace(BEDS, action_input=json.dumps(arguments)), asked=asked)
    assert ("grounded" not in found) == grounded, found
    assert set(found) <= {"grounded"}


def test_what_comes_later_grounds_nothing() -> None:
    assert "hutId" in reasons(BEDS, SEARCH)["grounded"]
    assert "grounded" not in reasons(SEARCH, BEDS)
    assert "hutId" in reasons(SEARCH, replace(BEDS, parallel=True))["grounded"]


def test_what_the_document_lists_may_be_said_in_other_words() -> None:
    call = step("findHuts", {"near": "Alvdal", "kind": "self-service"}, FOUND)
    asked = "A hut near Alvdal where we cook for ourselves?"
    response = "There is Eagle Hut."
    assert reasons(call, asked=asked, response=response) == {}
    assert set(reasons(call, asked=asked, response=response, strict=FilterSettings(codes=False))) == {"grounded"}


def test_what_the_document_lists_is_no_placeholder() -> None:
    api = replace(huts(), documentation=deepcopy(huts().documentation))
    kinds = {"type": "string", "enum": ["text", "none"]}
    place = {"name": "kinds", "in": "query", "schema": {"type": "array", "items": kinds}}
    api.documentation["paths"]["/huts"]["get"]["parameters"].append(place)
    call = step("findHuts", {"near": "Alvdal", "kinds": ["text", "none"]}, FOUND)
    trajectory = Trajectory("", "", "Huts near Alvdal?", "", [call], "So.", "Eagle Hut.")
    assert not any(apply_filters(api, "Huts near Alvdal?", trajectory).values())
    place["schema"] = {"type": "array", "items": {"type": "string"}, "enum": [["east", "west"], ["north", "south"]]}
    sides = [replace(call, action_input='{"near": "Alvdal", "kinds": ["east", "west"]}')]
    assert not any(apply_filters(replace(api), "Huts near Alvdal?", replace(trajectory, steps=sides)).values())
    shouted = replace(trajectory, steps=[replace(call, action_input='{"near": "test"}')])
    assert apply_filters(api, "Huts near Test?", shouted)["no_placeholders"] is None


WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=10)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORD, min_size=3, max_size=12), st.one_of(WORD, st.integers(0, 10**6)), st.booleans())
def test_a_value_is_said_where_it_stands_among_the_words(words: list[str], value: str | int, put: bool) -> None:
    """The twin: a value is in a text of plain words just if it is one of them (a plural counts as its singular)."""
    text = [*words, str(value)] if put else words
    twin = {word.removesuffix("s") for word in text}
    wanted = str(value).removesuffix("s")
    inside = isinstance(value, str) and value in " ".join(text)
    assert said_in(value, "near", [" ".join(text)]) == (wanted in twin or inside)


@pytest.mark.parametrize(
    ("value", "copied"),
    [
        ("<hut_id>", True), ("{hutId}", True), ("${hutId from findHuts}", True), ("YOUR_API_KEY", True),
        ("string", True), ("[insert town]", True), ("placeholder", True), ("a name", True), ("N/A", True),
        ("Alvdal", False), ("St. Johann (Tyrol)", False), ("a < b", False), ("Stringdal", False),
    ],
)  # fmt: skip
def test_placeholders_in_arguments(value: str, copied: bool) -> None:
    found = reasons(replace(SEARCH, action_input=json.dumps({"near": value})))
    assert ("no_placeholders" in found) == copied, found


def test_what_the_user_wrote_is_no_placeholder() -> None:
    call = replace(SEARCH, action_input=json.dumps({"near": "<b>"}))
    assert "no_placeholders" not in reasons(call, asked="Search near <b>, please.", response="There is Eagle Hut.")


@pytest.mark.parametrize("response", ["Eagle Hut has {free} beds.", "Dear [name of the user], 7.", "Call <number>."])
def test_placeholders_in_responses(response: str) -> None:
    assert "no_placeholders" in reasons(response=response)


def test_the_prompts_own_words_are_no_thought() -> None:
    line = next(line for line in react_prompt().head(huts(), "").splitlines() if line.startswith("Response: "))
    assert "copied from the prompt" in reasons(response=line.removeprefix("Response: "))["no_placeholders"]


@pytest.mark.parametrize(
    ("response", "claimed"),
    [
        ("Eagle Hut has seven beds.", None),
        ("Eagle Hut has 9 beds.", "9"),
        ("There is 1 hut, with 7 beds on 4 July 2025.", None),
        ("Falcon Hut has 7 beds, says Eagle.", None),  # the first word of a sentence is no claim
        ("I found the hut Falcon.", "Falcon"),
        ('It is called "Falcon Hut".', "Falcon Hut"),
        ("Book at https://eagle.example.com/book.", "https://eagle.example.com/book."),
        ("Write to hut@example.com.", "hut@example.com"),
        ("Your booking is B5512.", "B5512"),
        ("On Friday, July 4, Eagle Hut has 7 beds.", None),
        ("It is free on Saturday, in August.", "Saturday"),
        ("Eagle Hut, a 7-bed hut, is free on the 4th.", None),
        ("Eagle Hut, a 12-bed hut 15km away.", "15"),
    ],
)
def test_supported(response: str, claimed: str | None) -> None:
    found = reasons(response=response).get("supported")
    assert found == (None if claimed is None else f'the response says "{claimed}", which no observation does')


def test_figures_may_be_rounded_and_lists_counted() -> None:
    texts = ['Status Code: 200. Response: {"trails":[{"km":4.537},{"km":5.812},{"km":9}]}']
    assert unsupported("There are 3, of 4.5 km, 5.81 km and 9 km.", texts) is None
    assert unsupported("There are 3, of 4.6 km.", texts) == "4.6"
    assert unsupported("There are 4.", texts) == "4"


def test_times_may_be_told_by_twelve_hours() -> None:
    texts = ['Status Code: 200. Response: {"leaves":"15:30"}']
    assert unsupported("It leaves at 3:30 PM.", texts) is None
    assert unsupported("It leaves at 4:30 PM.", texts) == "4"


def test_an_answer_may_be_nested_deeply() -> None:
    assert unsupported("There are 3.", ["Status Code: 200. Response: " + "[" * 900 + "1, 2, 3" + "]" * 900]) is None


def test_a_failure_has_to_be_told() -> None:
    refused = replace(SEARCH, observation='Status Code: 404. Response: {"error":"no such place"}')
    assert reasons(refused, response="Unfortunately there is no such place.") == {}
    assert "does not say so" in reasons(refused, response="All is well with the place.")["supported"]


@pytest.mark.parametrize(
    ("response", "honest"),
    [
        ("No problem, your berth is booked and paid.", False),
        ("No worries! It went through without any errors.", False),
        ("Don't worry, your berth is booked.", False),
        ("Your berth is booked, and there is no need to pay.", False),
        ("I could not find it.", True),
        ("There are no trails.", True),
        ("None of the huts was found.", True),
        ("The place isn't known there.", True),
        ("Don't worry, but the service failed.", True),
    ],
)
def test_words_that_admit_nothing_are_no_admission(response: str, honest: bool) -> None:
    broken = replace(SEARCH, observation="Status Code: 500. Response: internal error")
    assert ("supported" not in reasons(broken, response=response)) == honest


def test_what_was_found_to_be_empty_may_be_told_in_any_words() -> None:
    empty = replace(SEARCH, observation="Status Code: 200. Response: []")
    assert reasons(empty, response="There are no huts.") == reasons(empty, response="Nothing was found.") == {}


def test_length_by_a_tokenizer_of_a_name(tmp_path: Path) -> None:
    """Its tokens are words here, whatever a token is estimated to be."""
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(tmp_path)
    strict = FilterSettings(tokenizer=str(tmp_path))
    assert count_tokens("one two  three, four", strict) == 4
    assert reasons(strict=replace(strict, max_tokens=9))["length"].startswith("it has ")
    assert "about" not in reasons(strict=replace(strict, max_tokens=9))["length"]
    with pytest.raises(OptionError):
        count_tokens("one", FilterSettings(tokenizer=str(tmp_path / "nowhere")))


def test_estimates_of_rows_that_are_half_json(real_data: Path) -> None:
    """Published rows against SmolLM2's tokenizer, which counts 17 of the 51 as too long."""
    corpus = read_corpus(resolve_sources(train=real_data / "train_sample.json"))
    apis = {api.id: api for api in corpus.apis["train"]}
    found = [apply_filters(apis[one.api], one.instruction, one)["length"] for one in corpus.trajectories["train"]]
    assert len(found) == 51 and sum(reason is not None for reason in found) == 16  # 13 of the 17, and 3 that are not


def test_length() -> None:
    trajectory = Trajectory("", "", ASKED, "", [SEARCH, BEDS], "So.", "Eagle Hut has 7 beds.")
    text = "".join(segment.text for segment in trajectory_segments(huts(), trajectory, react_prompt()))
    tokens = len(text) // 2
    assert reasons(strict=FilterSettings(tokens + 1, characters=2)) == {}
    assert reasons(strict=FilterSettings(tokens - 1, characters=2)) == {
        "length": f"it has about {round(len(text) / 2)} tokens, and {tokens - 1} is the limit of training"
    }


def test_the_embedded_corpus_passes() -> None:
    """All but one: it says "Fahrenheit" where the call's unit is `f`."""
    corpus = read_corpus(resolve_sources("sample"))
    apis = {api.id: api for api in corpus.apis["train"]}
    found = {
        (one.id, name)
        for one in corpus.trajectories["train"]
        for name, reason in apply_filters(apis[one.api], one.instruction, one).items()
        if reason
    }
    assert found == {("train/skygauge/6", "supported")}


def test_published_trajectories_fail_where_they_should(real_data: Path) -> None:
    corpus = read_corpus(resolve_sources(train=real_data / "train_sample.json"))
    apis = {api.id: api for api in corpus.apis["train"]}
    found = {one.id: apply_filters(apis[one.api], one.instruction, one) for one in corpus.trajectories["train"]}
    # The recorded steps that call nothing, counted in the file.
    empty = {one.id for one in corpus.trajectories["train"] if any(s.action == NO_CALL for s in one.steps)}
    said = {i for i, one in found.items() if (one["well_formed"] or "").endswith("neither an action nor a response")}
    assert said == empty and len(empty) > 10
    assert 'appID "570"' in str(found["train/steam/1"]["grounded"])
    assert 'apiKey "12345"' in str(found["train/apilayer-mailboxlayer/0"]["grounded"])
