"""JSON as models write it: found, read in part, continued."""

import json
import time
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolalpaca_hf.corpus.config import prompt, prompt_values, schema
from toolalpaca_hf.llm import join_continuation, parse_items, parse_json, unfence

DOCUMENT = json.dumps(prompt_values("example")["document"])
LINES = json.dumps(prompt_values("example")["document"], indent=2)


@pytest.mark.parametrize(
    "written",
    [
        '{"a": [1]}',
        '```json\n{"a": [1]}\n```',
        'Of course!\n\n```\n{"a": [1]}\n```\nAnything else? {"b": 2}',
        'Here: {"a": [1]} and {"b": 2}',
        'Here [as you asked] it is: {"a": [1]}',
        '```json\n{"a": [1]}',
        '{"a": [1]}\n```',
    ],
)
def test_json_is_found_in_what_is_around_it(written: str) -> None:
    assert parse_json(written) == {"a": [1]}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("I cannot do that.", "no JSON"),
        ('{"a": 1,}', "line 1, column"),
        ('{"a": [1, 2', "Expecting ',' delimiter"),
        ("[" * 100_000, "not valid|too deep"),
    ],
)
def test_what_is_wrong_is_told(written: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_json(written)


def test_whole_items_of_a_cut_list() -> None:
    items = [{"n": 1, "of": {"x": [2]}}, {"n": 2}, {"n": 3}]
    text = json.dumps({"items": items})
    assert parse_items(text, "items") == items == parse_items(json.dumps(items), "items")
    for end in range(len(text) - 1):
        found = parse_items(text[:end], "items")
        assert found == items[: len(found)] or found == [{"x": [2]}], text[:end]
    assert parse_items(text[:-1], "items") == items
    assert parse_items('{"n": 1}', "items") == [{"n": 1}] and parse_items("none", "items") == []
    assert parse_items('{"items": "none"}', "items") == parse_items('{"items": {}}', "items") == []
    assert parse_items('{"items": {"a": {"n": 1}, "b": {"name": "c"}}}', "items") == [
        {"name": "a", "n": 1},
        {"name": "c"},
    ]
    assert parse_items('{"items": {"n": 1, "m": {}}}', "items") == [{"n": 1, "m": {}}]
    assert parse_items('{"n": 1} {"n": ' + "9" * 5000 + "}", "items") == [{"n": 1}]
    assert parse_items('{"items": [{"n": 1}, {"n": ' + "9" * 5000 + "}]}", "items") == [{"n": 1}]


@settings(deadline=None)
@given(st.sampled_from([DOCUMENT, LINES]), st.data())
def test_a_cut_document_is_whole_again(whole: str, data: st.DataObject) -> None:
    """Whatever the cut, and whether the continuation repeats a part of the end, everything, or nothing."""
    at = data.draw(st.integers(45, len(whole) - 1))
    repeated = data.draw(st.sampled_from([0, 20, 60, at]))
    head, tail = whole[:at], whole[max(at - repeated, 0) :]
    # A document that itself says the same twice at the cut cannot be told from a repetition.
    assume(repeated or not any(head.endswith(tail[:size]) for size in range(12, 200)))
    fenced = data.draw(st.sampled_from(["{}", "```json\n{}\n```", "{}\n```"]))
    made = join_continuation(head, fenced.replace("{}", tail))
    # A fence swallows the line break before it.
    assert made == whole or (tail[0] == "\n" and "".join(made.split()) == "".join(whole.split()))


def test_a_document_begun_anew_takes_the_place_of_its_beginning() -> None:
    assert (
        join_continuation(LINES[:300], DOCUMENT) == DOCUMENT
        and join_continuation(DOCUMENT[:300], LINES[:700]) == LINES[:700]
    )


def test_a_document_may_be_cut_more_than_once() -> None:
    text = ""
    for start in range(0, len(DOCUMENT), 300):
        text = join_continuation(text, DOCUMENT[max(start - 25, 0) : start + 300]) if text else DOCUMENT[:300]
    assert text == DOCUMENT


def test_the_examples_are_what_the_schemas_ask_for() -> None:
    example = prompt_values("example")
    jsonschema.validate(example["document"], schema("document"))
    jsonschema.validate({"functions": example["functions"]}, schema("functions"))
    folder = Path(__file__).parents[2] / "src" / "toolalpaca_hf" / "corpus" / "prompts"
    for style in json.loads((folder / "example_instructions.json").read_text(encoding="utf-8")).values():
        jsonschema.validate({"instructions": style}, schema("instructions"))


def test_a_schema_holds_for_valid_documents_alone() -> None:
    """What follows the schema passes OpenAPI's validator, but for what a schema cannot say."""
    from toolalpaca_hf.openapi import violations

    document = prompt_values("example")["document"]
    assert violations(document) == []
    for spoil in (
        lambda d: d.pop("info"),
        lambda d: d["paths"]["/lighthouses"]["get"].pop("responses"),
        lambda d: d["paths"]["/lighthouses"]["get"]["parameters"][0].update({"in": "somewhere"}),
        lambda d: d["paths"].update({"components": {}}),
    ):
        spoilt = json.loads(json.dumps(document))
        spoil(spoilt)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, schema("document"))
        assert violations(spoilt)


def test_prompts_have_no_gaps() -> None:
    assert "{name}" in prompt("introduction") and unfence(prompt("continue")) == prompt("continue")


@pytest.mark.parametrize("text", ['{"a": "b\nc"}', '{"a": "\\x"}', '{"a": 1,}', '{"a" 1}', '{"a": tru}'])
def test_what_is_wrong_with_json_is_told_without_doubled_words(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_json(text)
    words = str(raised.value).lower().split()
    assert "line" in words and not [word for word, after in pairwise(words) if word == after]


@pytest.mark.parametrize("text", ['{"a":' * 100_000, "[{" * 500_000, '{"a": {"b": ' * 50_000 + '"'])
def test_what_is_nested_without_end_is_given_up(text: str) -> None:
    """Each brace was read to the end of the text again: minutes for half a megabyte."""
    start = time.process_time()
    assert parse_items(text, "a") == []
    assert time.process_time() - start < 5


def test_an_answer_of_line_ends_is_read_at_once() -> None:
    start = time.process_time()
    assert unfence("\n" * 200_000) == "" and unfence("\n\n```json\n\n1\n \n```\n").strip() == "1"
    assert time.process_time() - start < 1
