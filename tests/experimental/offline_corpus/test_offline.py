"""The corpus that no model made, checked by other means than its own gates."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from corpus.roles_double import HUTS, huts

from toolalpaca_hf.agent import simulated_calls
from toolalpaca_hf.corpus import Decontaminator
from toolalpaca_hf.corpus.simulation.simulate import SimulatedInstance
from toolalpaca_hf.errors import NotFoundError, ToolAlpacaError
from toolalpaca_hf.experimental.offline_corpus.build import OfflineSettings, offline_apis, offline_instances
from toolalpaca_hf.formats import GET_DETAILS
from toolalpaca_hf.schema import Api, Function
from toolalpaca_hf.simulator import SESSION_HEADER, running


@pytest.fixture(scope="module")
def apis(real_data: Path) -> list[Api]:
    return offline_apis(real_data / "train_sample.json")


@pytest.fixture(scope="module")
def corpus(apis: list[Api]) -> list[SimulatedInstance]:
    return built(apis)


def built(apis: list[Api], settings: OfflineSettings | None = None) -> list[SimulatedInstance]:
    return [instance for api in apis for instance in offline_instances(api, settings)]


def kind(one: SimulatedInstance) -> str:
    return one.provenance["instruction"]["mood"]


def scalars(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in scalars(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in scalars(part)]
    return [value]


def stands_in(value: Any, text: str) -> bool:
    """Whether a text has a value as it is, not as part of a longer word or number."""
    word = re.escape(json.dumps(value) if not isinstance(value, str) else value)
    return re.search(rf"(?<![\w.]){word}(?!\w|\.\d)", text) is not None


def test_every_argument_was_said_or_observed_before(corpus: list[SimulatedInstance]) -> None:
    calls = 0
    for one in corpus:
        before = one.trajectory.instruction
        for step in one.trajectory.steps:
            if step.action != GET_DETAILS:
                calls += 1
                for value in scalars(json.loads(step.action_input)):
                    assert stands_in(value, before), (one.trajectory.id, step.action, value)
            before += "\n" + step.observation
    assert calls > 300


def test_every_observation_is_the_simulators(apis: list[Api], corpus: list[SimulatedInstance]) -> None:
    """Each trajectory's calls once more, over HTTP, against a simulator that knows nothing of this corpus."""
    with running(apis) as url:
        calls = simulated_calls(apis, url, SESSION_HEADER)
        for one in corpus[::4]:
            for step in one.trajectory.steps:
                if step.action != GET_DETAILS:
                    again = calls[one.trajectory.api].call(step.action, step.action_input, one.trajectory.id)
                    assert again == step.observation, one.trajectory.id
        for made in calls.values():
            made.close()
        assert httpx.get(f"{url}/health").json()["responder"] == "schema/0"


def test_responses_say_what_was_observed(corpus: list[SimulatedInstance]) -> None:
    for one in corpus:
        seen = "\n".join(step.observation for step in one.trajectory.steps)
        told = one.trajectory.response
        for figure in re.findall(r"(?<![\w.-])\d+\.\d+(?!\w)|\d{4,}", told):
            assert figure in seen, (one.trajectory.id, figure)
        for quoted in re.findall(r'(?<=[a-z] )"([^"]+)"', told):
            assert quoted in seen, (one.trajectory.id, quoted)
        last = one.trajectory.steps[-1].observation
        words = set(re.findall(r"\w+", last.casefold()))
        shared = words & set(re.findall(r"\w+", told.casefold()))
        assert shared or last.endswith(("{}", "[]")), (one.trajectory.id, told)


def test_all_gates_pass_but_for_length(corpus: list[SimulatedInstance]) -> None:
    failed = Counter(name for one in corpus for name, reason in one.gates.items() if reason)
    assert set(failed) <= {"length"} and failed["length"] <= 0.02 * len(corpus), failed


def test_it_has_instances_of_every_kind(corpus: list[SimulatedInstance]) -> None:
    kinds = Counter(map(kind, corpus))
    assert len(corpus) > 250 and min(kinds[one] for one in ("chain", "details", "mistaken", "twice", "pair")) >= 15, (
        kinds
    )
    assert kinds["single"] < 0.5 * len(corpus) and 0 < kinds["unmended"] < 0.1 * len(corpus)


def test_chains_pass_a_value_on_that_nobody_said(corpus: list[SimulatedInstance]) -> None:
    for one in (one for one in corpus if kind(one) == "chain"):
        first, second = one.trajectory.steps
        passed = [
            value
            for value in scalars(json.loads(second.action_input))
            if not stands_in(value, one.trajectory.instruction) and stands_in(value, first.observation)
        ]
        assert passed, one.trajectory.id
        assert second.observation.startswith("Status Code: 20")


def test_hidden_details_are_asked_for_before_they_are_used(corpus: list[SimulatedInstance]) -> None:
    for one in (one for one in corpus if kind(one) == "details"):
        question, call = one.trajectory.steps[-2:]
        assert question.action == GET_DETAILS and call.observation.startswith("Status Code: 20")
        (words, _, value) = one.trajectory.hint.partition(": ")
        assert words in json.loads(question.action_input)["Question"]
        values = [
            str(part) if not isinstance(part, bool) else str(part).lower()
            for part in scalars(json.loads(call.action_input))
        ]
        new = [part for part in values if not stands_in(part, one.trajectory.instruction)]
        assert new and all(stands_in(part, question.observation) for part in new), (one.trajectory.id, value)


def test_errors_are_mended_by_what_the_user_says_then(corpus: list[SimulatedInstance]) -> None:
    for one in (one for one in corpus if kind(one) == "mistaken"):
        wrong, question, right = one.trajectory.steps
        assert wrong.action == right.action and question.action == GET_DETAILS
        assert not wrong.observation.startswith("Status Code: 2") and right.observation.startswith("Status Code: 2")
        assert wrong.action_input != right.action_input


def test_what_can_not_be_mended_is_told(corpus: list[SimulatedInstance]) -> None:
    for one in (one for one in corpus if kind(one) == "unmended"):
        (step,) = one.trajectory.steps
        assert not step.observation.startswith("Status Code: 2")
        assert re.search("sorry|Unfortunately", one.trajectory.response)


def test_instructions_name_no_api_and_no_function(apis: list[Api], corpus: list[SimulatedInstance]) -> None:
    functions = {api.id: {function.name for function in api.functions} for api in apis}
    for one in corpus:
        words = set(re.findall(r"\w+", one.trajectory.instruction))
        camel = {name for name in functions[one.trajectory.api] if re.search("[a-z][A-Z]", name)}
        assert not words & camel, one.trajectory.instruction
    asked = [one.trajectory.instruction for one in corpus]
    assert len(set(asked)) > 0.98 * len(asked)  # two of the published APIs are there twice


def test_its_label_says_that_no_model_made_it(corpus: list[SimulatedInstance]) -> None:
    for one in corpus:
        assert one.provenance["source"] == "offline"
        assert one.provenance["models"] == {"user": "rule", "assistant": "rule", "executor": "schema responder"}


def test_the_same_seed_gives_the_same_corpus_whatever_else_is_built(
    apis: list[Api], corpus: list[SimulatedInstance]
) -> None:
    again = built(apis[7:9])
    assert again == [one for one in corpus if one.trajectory.api in {apis[7].id, apis[8].id}]
    other = built(apis[7:9], OfflineSettings(seed=1))
    assert not {one.trajectory.instruction for one in other} & {one.trajectory.instruction for one in again}


def test_fewer_are_made_where_fewer_are_wanted(apis: list[Api]) -> None:
    assert [len(built(apis[:1], OfflineSettings(per_api=n))) for n in (0, 1, 3)] == [0, 1, 3]


def test_single_calls_are_asked_for_again_where_more_are_wanted() -> None:
    """Kinds of tasks end at some five a function; the instructions that are common to both sizes stay as they are."""
    [api] = offline_apis(Path(__file__).parents[3] / "examples" / "petstore.yaml")
    few, many = (offline_instances(api, OfflineSettings(per_api=n), Decontaminator([])) for n in (10, 90))
    assert many[:10] == few and len(many) == 90
    assert len({one.trajectory.instruction for one in many}) == 90 and all(one.kept for one in many)
    assert sum(kind(one) == "single" for one in many) > 2 * len(api.functions)


def test_items_of_an_item_are_asked_for_by_ids_that_exist(tmp_path: Path) -> None:
    def read(name: str, field: str, *path: str, several: bool = False) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "object", "properties": {field: {"type": "string"}}}
        schema = {"type": "array", "items": item} if several else item
        places = [{"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in path]
        answer = {"200": {"description": "Found.", "content": {"application/json": {"schema": schema}}}}
        summary = f"Show {name} of the fleet"
        return {"get": {"operationId": name, "summary": summary, "parameters": places, "responses": answer}}

    paths = {
        "/ships": read("ships", "shipId", several=True),
        "/ships/{shipId}": read("ship", "shipId", "shipId"),
        "/ships/{shipId}/sailors": read("sailors", "sailorId", "shipId", several=True),
        "/ships/{shipId}/sailors/{sailorId}": read("sailor", "sailorId", "shipId", "sailorId"),
    }
    document = {"openapi": "3.0.0", "info": {"title": "Fleet", "version": "1"}, "paths": paths}
    (tmp_path / "fleet.json").write_text(json.dumps(document), encoding="utf-8")
    made = built(offline_apis(tmp_path / "fleet.json"), OfflineSettings(per_api=16))
    found = {step.action for one in made for step in one.trajectory.steps if "Status Code: 200" in step.observation}
    assert found == {"ships", "ship", "sailors", "sailor"}


def test_openapi_documents_do_as_well(tmp_path: Path) -> None:
    (tmp_path / "huts.yaml").write_text(yaml.safe_dump(HUTS), encoding="utf-8")
    (tmp_path / "more.json").write_text(
        json.dumps(HUTS | {"info": {"title": "Huts", "version": "2"}}), encoding="utf-8"
    )
    (tmp_path / "notes.txt").write_text("not an API", encoding="utf-8")
    found = offline_apis(tmp_path)
    assert [api.id for api in found] == ["train/huts", "train/huts-2"]
    made = built(found)
    assert {one.trajectory.api for one in made} == {"train/huts", "train/huts-2"} and all(one.kept for one in made)
    assert "chain" in set(map(kind, made))


def test_the_embedded_apis_do_as_well() -> None:
    made = built(offline_apis("sample"), OfflineSettings(per_api=4))
    assert len(made) == 16 and all(one.kept for one in made)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {
            "paths": {
                "/a": {
                    "get": {"operationId": "a", "parameters": [{"name": "apiKey", "in": "query", "required": True}]}
                }
            }
        },
        {
            "paths": {
                "/a": {"post": {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}}
            }
        },
        {
            "paths": {
                "/a": {"get": {"parameters": [{"name": "n", "in": "query", "required": True, "schema": {"enum": []}}]}}
            }
        },
        {
            "paths": {
                "/a": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/no"}}}}}}}
            }
        },
    ],
)
def test_an_api_that_can_not_be_asked_for_in_words_has_no_instance_or_good_ones(document: dict[str, Any]) -> None:
    functions = huts().functions
    for path, item in document.get("paths", {}).items():
        functions = [Function("a", path, next(iter(item)), "Do something.")]
    made = built([Api("train/a", "A", documentation=document, functions=functions)])
    assert all(one.kept for one in made)


@pytest.mark.parametrize("text", ["", "[]", "{", "paths: 7", '[{"Name": "x"}]'])
def test_a_file_that_is_neither_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "apis.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ToolAlpacaError) as caught:
        offline_apis(path)
    assert "apis.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(NotFoundError):
        offline_apis("nowhere.json")
