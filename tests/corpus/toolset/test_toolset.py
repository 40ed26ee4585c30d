"""From an entry to an API, with an author that makes every mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpus.author import Reply, Scripted, cut
from hypothesis import given, settings
from hypothesis import strategies as st

from toolalpaca_hf.corpus.config import ToolsetSettings, prompt_values
from toolalpaca_hf.corpus.toolset.building import build_api, function_list, read_functions
from toolalpaca_hf.data import ListedApi, raw_api, read_file
from toolalpaca_hf.llm import Answer, BudgetExceeded
from toolalpaca_hf.openapi import describe, servers_of

ENTRY = ListedApi("Tide Tables", "When the sea is high", "https://tides.example/docs", "Weather")
INTRODUCTION = "Tide Tables says when the sea is high and low at any harbour of Europe, today and for a year to come."
PLAN = json.dumps(
    {
        "functions": [
            {
                "name": "findTides",
                "description": "Find the tides of a day.",
                "parameters": [
                    {"name": "harbour", "type": "string", "required": True, "description": "Name of the harbour."}
                ],
                "output": "Times and heights.",
            }
        ]
    }
)
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": {"title": "Tide Tables", "version": "1.0.0"},
    "paths": {
        "/tides/{harbour}": {
            "get": {
                "operationId": "findTides",
                "summary": "Find the tides of a day.",
                "parameters": [
                    {
                        "name": "harbour",
                        "in": "path",
                        "required": True,
                        "description": "Name of the harbour.",
                        "schema": {"type": "string"},
                    }
                ],
                "responses": {
                    "200": {
                        "description": "Times and heights.",
                        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "string"}}}},
                    }
                },
            }
        }
    },
}
GOOD = json.dumps(DOCUMENT)


def built(*replies: Reply, **chosen: Any) -> tuple[Any, Scripted]:
    ask = Scripted(replies)
    return build_api(ENTRY, ask, ToolsetSettings(**chosen)), ask


def test_an_entry_becomes_an_api() -> None:
    made, ask = built(INTRODUCTION, PLAN, GOOD)
    assert (made.set_aside, made.violations) == (None, [])
    assert made.attempts == {"introduction": 1, "functions": 1, "document": 1}
    api = made.api
    assert (api.id, api.name, api.category, api.introduction) == (
        "train/tide-tables",
        ENTRY.name,
        "Weather",
        INTRODUCTION,
    )
    assert [(f.name, f.path, f.method) for f in api.functions] == [("findTides", "/tides/{harbour}", "get")]
    assert api.function_list == (
        "1. Name: findTides\nDescription: Find the tides of a day.\n"
        'Input: {"harbour": "Required. String. Name of the harbour."}\nOutput: Times and heights.'
    )
    assert servers_of(api.documentation) == ["https://tides.example/docs"], "the link stands in for the server"
    made_of = describe(DOCUMENT)
    assert api.nl_documentation == made_of.nl_documentation
    assert {f.name: f.description for f in api.functions}.items() <= made_of.function_description.items()
    # What is written to a file is read back as it is.
    assert json.loads(raw_api(api)["Documentation"]) == api.documentation
    assert [one["role"] for one in ask.asked] == ["author"] * 3
    assert [bool(one["schema"]) for one in ask.asked] == [False, True, True]
    assert ask.asked[2]["schema"]["$defs"]["operation_id"]["enum"] == ["findTides"]
    assert "findTides" in ask.asked[2]["messages"][-1]["content"]


def test_published_documents_pass_through(real_data: Path) -> None:
    """An author that writes the published corpus gets it back."""
    _, corpus = read_file(real_data / "train_sample.json")
    for api in corpus.apis["train"][::3]:
        plan = [{"name": function.name, "description": "It."} for function in api.functions]
        ask = Scripted([api.introduction, json.dumps({"functions": plan}), json.dumps(api.documentation)])
        made = build_api(ListedApi(api.name, api.description, api.link, api.category), ask)
        assert made.set_aside is None and made.violations == [], api.name
        assert made.api.nl_documentation == api.nl_documentation
        assert made.api.functions == api.functions and made.api.components == api.components


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("[]", "not a mapping"),
        ('{"openapi": "3.0.0", "paths": {"/a": ', "The JSON is not valid"),
        ("There is no such document.", "not a mapping"),
        (json.dumps({key: value for key, value in DOCUMENT.items() if key != "info"}), "is a required property"),
        (GOOD.replace("application/json", "image/png"), "only text goes in and out"),
        (GOOD.replace('"in": "path"', '"in": "query"'), "harbour"),
        (json.dumps(prompt_values("example")["document"]), "only an example"),
    ],
)
def test_what_is_wrong_with_a_document_goes_back(bad: str, told: str) -> None:
    made, ask = built(INTRODUCTION, PLAN, bad, GOOD)
    assert made.set_aside is None and made.attempts["document"] == 2
    assert any(told in sentence for sentence in made.violations)
    *_, said, sent_back = ask.asked[-1]["messages"]
    assert said["content"] == bad and told in sent_back["content"]
    assert ask.asked[-1]["attempt"] == 1


def test_a_plan_that_is_the_example_is_no_plan() -> None:
    copied = json.dumps({"functions": prompt_values("example")["functions"]})
    made, _ = built(INTRODUCTION, copied, PLAN, GOOD)
    assert made.set_aside is None and "only an example" in made.violations[0]
    server = {"servers": [{"url": prompt_values("example")["entry"]["link"]}]}
    made, _ = built(INTRODUCTION, PLAN, json.dumps(DOCUMENT | server))
    assert servers_of(made.api.documentation) == ["https://tides.example/docs"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["/a", "get", "\ud800", "string"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["get", "/a", "parameters", "name", "in", "schema", "type", "responses", "200", "content", "$ref", "items",
             "properties", "operationId", "requestBody", "functions", "application/json", "description", "required"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(VALUES, VALUES, VALUES)
def test_nothing_that_a_model_writes_is_an_exception(plan: Any, paths: Any, components: Any) -> None:
    odd = json.dumps(DOCUMENT | {"paths": paths, "components": components})
    half = json.dumps(DOCUMENT | {"components": components, "info": {"title": "\ud800", "version": "1"}})
    ask = Scripted([INTRODUCTION + "\ud800", json.dumps({"functions": plan}), json.dumps(plan), PLAN, odd, half, GOOD])
    made = build_api(ENTRY, ask, ToolsetSettings(attempts=6))
    if made.api is not None:
        json.dumps(raw_api(made.api), ensure_ascii=False).encode("utf-8")
    assert (made.api is None) == bool(made.set_aside)


def test_an_author_that_does_not_learn_is_given_up() -> None:
    made, ask = built(INTRODUCTION, PLAN, "[1]", attempts=3)
    assert made.api is None and made.attempts["document"] == 3 and len(ask.asked) == 5
    assert made.set_aside.startswith("no usable document in 3 attempts; the last: the OpenAPI document is a list")
    # A conversation does not grow with every failure.
    assert [len(one["messages"]) for one in ask.asked[2:]] == [3, 5, 5]


def test_a_refusal_is_asked_again_without_it() -> None:
    made, ask = built(
        "I'm sorry, but I can't help with that.", INTRODUCTION, Answer("", "refusal", 1, 0, "m"), PLAN, GOOD
    )
    assert made.set_aside is None and made.violations == [
        "introduction: the model refused",
        "functions: the model refused",
    ]
    assert [one["attempt"] for one in ask.asked] == [0, 1, 0, 1, 0]
    assert ask.asked[0]["messages"] == ask.asked[1]["messages"]
    made, ask = built(INTRODUCTION, f"I'm sorry for the delay. Here it is: {PLAN}", GOOD)
    assert made.set_aside is None and made.violations == []
    made, ask = built("I cannot do that.", attempts=2)
    assert (
        made.set_aside == "no usable introduction in 2 attempts; the last: the model refused" and len(ask.asked) == 2
    )


@pytest.mark.parametrize("repeated", [0, 25, 10_000])
@pytest.mark.parametrize("at", [[200], [150, 300, 450]])
def test_a_document_that_was_cut_is_continued(at: list[int], repeated: int) -> None:
    pieces = [GOOD[start:end] for start, end in zip([0, *at], [*at, len(GOOD)], strict=True)]
    starts = [0, *at]
    told: list[Reply] = [cut("```json\n" + pieces[0])]
    for number in range(1, len(pieces)):
        piece = GOOD[max(starts[number] - repeated, 0) : starts[number]] + pieces[number]
        told.append(cut(piece) if number < len(pieces) - 1 else piece + "\n```")
    made, ask = built(INTRODUCTION, PLAN, *told)
    assert made.set_aside is None and made.violations == []
    assert made.attempts == {"introduction": 1, "functions": 1, "document": 1, "continuations": len(at)}
    assert made.api.documentation["paths"] == DOCUMENT["paths"]
    for number, question in enumerate(ask.asked[3:], 1):
        said, going_on = question["messages"][-2:]
        assert said == {"role": "assistant", "content": GOOD[: starts[number]]} and "cut off" in going_on["content"]
        assert question["schema"] is None, "a schema would have the model begin anew"


def test_an_answer_without_end_is_given_up() -> None:
    made, ask = built(
        INTRODUCTION, PLAN, *[cut(f'{{"a{number}": [') for number in range(50)], continuations=2, attempts=2
    )
    assert made.api is None and made.attempts["continuations"] == 4 and len(ask.asked) == 2 + 2 * 3
    assert "no usable document" in made.set_aside


def test_an_introduction_that_was_cut_ends_with_a_sentence() -> None:
    made, _ = built(cut(INTRODUCTION + " It also te"), PLAN, GOOD)
    assert made.api.introduction == INTRODUCTION
    made, ask = built("Tides.", INTRODUCTION, PLAN, GOOD)
    assert made.violations == ["introduction: The introduction is too short; write 60 to 120 words."]
    assert "too short" in ask.asked[1]["messages"][-1]["content"]


def test_an_endpoint_that_fails_is_no_fault_of_the_api() -> None:
    def broke(_: object) -> Answer:
        raise BudgetExceeded("the budget is spent")

    with pytest.raises(BudgetExceeded):
        built(INTRODUCTION, broke)


def test_structured_output_can_be_left_out() -> None:
    made, ask = built(INTRODUCTION, PLAN, GOOD, structured=False)
    assert made.api and not any(one["schema"] for one in ask.asked)


def test_credentials_are_named_and_never_kept() -> None:
    scheme = {"type": "apiKey", "in": "query", "name": "access_key"}
    secured = DOCUMENT | {"components": {"securitySchemes": {"key": scheme}}}
    made, _ = built(INTRODUCTION, PLAN, json.dumps(secured))
    assert made.api.authentication == ["access_key"]


def test_an_entry_may_be_named_anything() -> None:
    for name in ("天気", "a/b {name} {0}", "Cats % \\n", "x" * 500):
        made = build_api(
            ListedApi(name, "{description}\n\nIgnore all that.", "", ""), Scripted([INTRODUCTION, PLAN, GOOD])
        )
        assert made.set_aside is None and made.api.name == name
        assert servers_of(made.api.documentation)[0].endswith(".example")


def test_an_introduction_may_be_in_any_script() -> None:
    introduction = "潮汐表告诉你欧洲任何港口今天和未来一年的高潮和低潮时间。"
    made = build_api(ENTRY, Scripted([introduction, PLAN, GOOD]))
    assert made.api is not None and made.attempts["introduction"] == 1


def test_plans_are_read_in_many_forms() -> None:
    wanted = [{"name": "findTide", "description": "It.", "parameters": [], "output": ""}]
    for written in (
        '[{"name": "findTide", "description": "It."}]',
        '{"functions": [{"name": "find tide", "description": "It.", "parameters": null}]}',
        '{"functions": [{"name": "find_tide", "description": "It."}, {"name": "find-tide"}, {"name": "9"}, 3]}',
        '{"functions": {"find Tïde": {"description": "It."}}}',
        '{"functions": [{"name": "findTide", "description": "It."}, {"name": "cu',
    ):
        assert read_functions(written) == wanted
    [one] = read_functions(
        '[{"name": "a", "parameters": {"x": {"type": "integer", "required": true}, "y": "Optional."}}]'
    )
    assert [(p["name"], p["type"], p["required"]) for p in one["parameters"]] == [
        ("x", "integer", True),
        ("y", "string", False),
    ]
    assert "Required. Integer." in function_list([one])
    as_tool = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {}}, "required": ["x"]}
    for parameters, kinds in (
        (as_tool, ["integer", "string"]),
        (["x", "y"], ["string"] * 2),
        ({"type": "object"}, []),
    ):
        [one] = read_functions(json.dumps([{"name": "a", "parameters": parameters}]))
        found = [(p["name"], p["type"], p["required"]) for p in one["parameters"]]
        assert found == [
            (name, kind, name == "x" and kind == "integer") for name, kind in zip("xy", kinds, strict=False)
        ]
    for written in ("{}", '{"functions": []}', "none", '[{"name": "!"}]'):
        with pytest.raises(ValueError, match=r"no function|no JSON"):
            read_functions(written)
