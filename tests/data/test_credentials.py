"""No credential survives: invented keys are planted in every corner and looked for in every byte that is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from raw_layout import raw_api, raw_instance

from toolalpaca_hf.data import Redactor, make_prompt, read_corpus, resolve_sources, write_repo
from toolalpaca_hf.data import raw_api as to_raw
from toolalpaca_hf.data.credentials import authentication_names
from toolalpaca_hf.schema import Api

LISTED = "inv3nted/Key+0001"  # has characters that JSON and URLs escape
FOUND = "f0und-beside-its-name-77"
SHORT = "k9z"


def api_with_keys(**fields: Any) -> dict[str, Any]:
    """An API that gives its keys away in every field it has."""
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Tides", "version": "1", "description": f"curl -H 'access_key: {FOUND}' or key {LISTED}"},
        "paths": {
            f"/tides?access_key={FOUND}": {
                "get": {
                    "operationId": "findTide",
                    "parameters": [
                        {
                            "name": "access_key",
                            "in": "query",
                            "description": "Your access key",
                            "example": "0ther-example-1",
                            "schema": {"type": "string", "default": "an0ther-default-2", "enum": ["en0m-3"]},
                            "examples": {"one": {"value": "ex4mple-value-4"}},
                        }
                    ],
                    "responses": {"200": {"content": {"application/json": {"example": {"access_key": "resp0nse-5"}}}}},
                }
            }
        },
    }
    call = f'{{"access_key": "{FOUND}", "day": "today"}}'
    text = f" I use {LISTED}.\nAction: findTide\nAction Input: {call}"
    return raw_api(
        Authentication={"access_key": LISTED, "pin": SHORT, "number": 73319842},
        Documentation=json.dumps(document),
        NLDocumentation=f'findTide: {{"access_key": "Required. string. Your access key."}} {FOUND}',
        Function_Description={
            "findTide": 'Parameters: {"access_key": "Required. string. Your access key."}',
            "components": f"GET https://tides.example/tides?access_key={FOUND}&day=1",
        },
        Instructions=[f"High tide? My key is {LISTED}, my pin {SHORT}.", f"Use {FOUND}"],
        Golden_Answers=[
            [{"Action": "findTide", "Action_Input": call}],
            [{"Action": "findTide", "Action_Input": f'{{"access_key": "{FOUND}", "symbols": "symbols": ["EUR"]}}'}],
        ],
        Instances=[
            raw_instance(
                f"High tide? {FOUND}",
                output=f"Asked https://tides.example/?access_key={LISTED.replace('/', '%2F').replace('+', '%2B')}&x=1",
                intermediate_steps=[
                    [
                        ["findTide", call, text],
                        {"url": f"https://x/?access_key={FOUND}", "pin": SHORT, "number": 73319842},
                    ],
                    [["findTide", json.dumps(call), ""], json.dumps({"asked": json.dumps({"key": LISTED})})],
                    [["findTide", {"access_key": "0nly-here-6"}, ""], "{'access_key': 'single-qu0tes-7'}"],
                ],
                **{"Final Thought": f"The pin is {SHORT}"},
            ),
            {"error": f"HTTPSConnectionPool: /tides?access_key={FOUND}"},
        ],
        **fields,
    )


PLANTED = [
    LISTED, FOUND, SHORT, "73319842", "0ther-example-1", "an0ther-default-2", "en0m-3", "ex4mple-value-4",
    "resp0nse-5", "0nly-here-6", "single-qu0tes-7", "inv3nted\\/Key", "inv3nted%2FKey", "inv3nted",
]  # fmt: skip


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [str(value)]


def test_no_byte_that_is_written_holds_a_credential(write: Callable[[str, Any], Path], tmp_path: Path) -> None:
    api = api_with_keys()
    train = write("train.json", [api])
    real = write("eval_real.json", [{**api, "Instances": []}])
    # Another API, and rows of no API, that quote the keys.
    other = raw_api("Moons", Golden_Answers=[[]], Instructions=[f"{LISTED} and {FOUND}"])
    simulated = write("eval_simulated.json", [other])
    processed = write("more.json", [[[f"key {LISTED}", f"{FOUND} and {SHORT}."], [False, True]]])
    planted = json.dumps([api, other]) + processed.read_text()
    assert all(key in planted.replace("\\", "") for key in PLANTED if "\\" not in key)

    sources = resolve_sources(train=train, eval_simulated=simulated, eval_real=real, processed=processed)
    build = write_repo(sources, tmp_path / "out", make_prompt("react"))
    searched = 0
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            written = path.read_bytes()
            if path.suffix == ".parquet":  # compressed: search what it holds as well
                written += json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False).encode()
            for key in PLANTED:
                assert key.encode() not in written, f"{key} is in {path.name}"
            searched += 1
    assert searched == 8 + 2 and build.report.rows

    rows = load_dataset(str(tmp_path / "out"), "instructions", split="eval_real", cache_dir=str(tmp_path / "cache"))
    assert rows["instruction"][:] == ["High tide? My key is ***, my pin ***.", "Use ***"]
    first, second = (row[0]["action_input"] for row in rows["golden_calls"])
    assert json.loads(first) == {"access_key": "***", "day": "today"}
    assert second == '{"access_key": "***", "symbols": "symbols": ["EUR"]}'


def test_documentation_keeps_its_descriptions() -> None:
    api = api_with_keys()
    clean = Redactor([api]).api(api)
    assert clean["Function_Description"]["findTide"] == api["Function_Description"]["findTide"]
    assert "Required. string. Your access key." in clean["NLDocumentation"]
    parameter = clean["Documentation"]["paths"]["/tides?access_key=***"]["get"]["parameters"][0]
    assert parameter["description"] == "Your access key" and parameter["schema"]["type"] == "string"
    assert parameter["schema"]["default"] == parameter["example"] == "***"


def test_ordinary_texts_stay(write: Callable[[str, Any], Path]) -> None:
    words = 'A pink k9zebra pins "access": "key" at access_keys=3, my_access_key=4.'
    call = '{"access_key": "demo", "key": "demo", "note": "${access_key from getDetails}"}'
    api = raw_api(
        Authentication={"access_key": "", "pin": SHORT},
        Instructions=[words, "demo the tide", "Give access_key: the key"],
        Golden_Answers=[[{"Action": "findTide", "Action_Input": call}], [], []],
    )
    clean = Redactor([api]).api(api)
    assert clean["Instructions"][0] == words and clean["Instructions"][2] == api["Instructions"][2]
    # Beside its name even a plain word goes, and with it that word in this API; other APIs keep theirs.
    assert json.loads(clean["Golden_Answers"][0][0]["Action_Input"])["access_key"] == "***"
    other = raw_api("Moons", Instructions=["demo the moon"])
    assert Redactor([api, other]).api(other)["Instructions"] == ["demo the moon"]


@pytest.mark.parametrize(
    "authentication",
    [
        {"header": {"Authorization": "Bearer s3cret-of-nine"}},
        {"Authorization": ["Bearer s3cret-of-nine"]},
        [{"Authorization": "Bearer s3cret-of-nine"}],
        ["Authorization"],
    ],
)
def test_other_shapes_of_authentication(authentication: Any) -> None:
    api = raw_api(
        Authentication=authentication,
        Instances=[
            raw_instance("token s3cret-of-nine", output='{"Authorization": "Bearer s3cret-of-nine"}'),
            raw_instance("Authorization: Bearer s3cret-of-nine"),
        ],
    )
    clean = Redactor([api]).api(api)
    assert "s3cret" not in json.dumps(clean) and "Authorization" in clean["Authentication"]


@pytest.mark.parametrize(
    ("authentication", "names"),
    [
        ("apiKey", []),
        ("No", []),
        ({"access_key": "string", "needed": True, "n": 1}, ["access_key", "needed", "n"]),
        ({"type": "apiKey", "name": "X-Key", "in": "header"}, ["X-Key"]),
        ({"key": {"type": "apiKey", "name": "X-Key", "in": "query"}}, ["X-Key"]),
        ({"type": "http", "scheme": "bearer"}, ["Authorization"]),
    ],
)
def test_a_kind_of_authentication_is_no_secret(authentication: Any, names: list[str]) -> None:
    said = "No name, 1 string, True: the header X-Key of type apiKey, in a query or a bearer."
    api = raw_api(Authentication=authentication, Instances=[raw_instance(said)])
    clean = Redactor([api]).api(api)
    assert clean["Instances"][0]["input"] == said and authentication_names(authentication) == names


@pytest.mark.parametrize(
    ("authentication", "text"),
    [
        ({"type": "apiKey", "name": "X-Key", "value": "s3cret-of-nine"}, "s3cret-of-nine"),
        ({"type": "apiKey", "in": "query", "api_key": "***"}, "api_key=s3cret-of-nine"),
        ({"Authorization": ["Bearer s3cret-of-nine"]}, "none"),
        (["X-Key"], {"X-Key": ["s3cret-of-nine", 7]}),
        (["X-Key"], '{\\"X-Key\\": [\\"s3cret-of-nine\\"]}'),
        ({"key": "s3cret\ud800of-nine"}, "s3cret\ud800of-nine"),
    ],
)
def test_a_secret_in_a_list_in_a_scheme_or_without_utf8(authentication: Any, text: Any) -> None:
    api = raw_api(Authentication=authentication, Instances=[raw_instance(output=text)])
    clean = json.dumps(Redactor([api]).api(api))
    assert "s3cret" not in clean and clean.encode()


def test_names_and_scopes_in_a_list_are_no_secrets() -> None:
    for authentication, said in (({"header": ["X-Api-Key"]}, "X-Api-Key"), ({"auth": ["read:pets"]}, "read:pets")):
        api = raw_api(Authentication=authentication, Instances=[raw_instance(output=f"It needs {said}.")])
        assert Redactor([api]).api(api)["Instances"][0]["output"] == f"It needs {said}."


@given(
    st.text(st.characters(codec="ascii", exclude_characters="*", exclude_categories=["Cc", "Zs"]), min_size=6),
    st.sampled_from(["{0}", "x{0}y", "https://t.example/?access_key={0}&a=1", '{{"a": "{0}"}}', "a {0}\n{0}."]),
)
def test_a_listed_value_never_survives(value: str, template: str) -> None:
    plain, nested = template.format(value), json.dumps({"inner": json.dumps({"key": value})})
    api = raw_api(Authentication={"access_key": value}, Instances=[raw_instance(plain, output=nested)])
    instance = Redactor([api]).api(api)["Instances"][0]
    assert value not in instance["input"]
    assert value not in texts(json.loads(json.loads(instance["output"])["inner"]))


def test_the_published_files_carry_no_other_value(real_data: Path) -> None:
    raw = json.loads((real_data / "eval_real.json").read_text(encoding="utf-8"))
    corpus = read_corpus(resolve_sources(eval_real=real_data / "eval_real.json"))
    golden = {one.id: one for one in corpus.instructions["eval_real"]}
    named = 0
    for api, clean in zip(raw, corpus.apis["eval_real"], strict=True):
        assert clean.authentication == list(api["Authentication"])
        for index, calls in enumerate(api["Golden_Answers"]):
            for call, kept in zip(calls, golden[f"{clean.id}/{index}"].golden_calls, strict=True):
                # The copy at hand is redacted already, so redacting again changes no byte.
                assert kept.action_input == call["Action_Input"]
                named += sum(name in kept.action_input for name in clean.authentication)
        assert clean.nl_documentation == api["NLDocumentation"]
        assert [one.description for one in clean.functions] == [
            api["Function_Description"][name] for name in api["Function_Projection"]
        ]
    assert named > 30


@pytest.mark.parametrize("listed", [True, False])
def test_planted_keys_leave_the_published_rows_as_they_are(
    real_data: Path, write: Callable[[str, Any], Path], listed: bool
) -> None:
    # The redacted copy is the twin: with invented keys put back in, the same rows have to come out.
    text = (real_data / "eval_real.json").read_text(encoding="utf-8")
    raw = json.loads(text)
    for number, api in enumerate(raw):
        key = f"1nvented{number}0123456789abcdef"
        for name in api["Authentication"]:
            api["Authentication"][name] = key if listed else "***"
        for calls in api["Golden_Answers"]:
            for call in calls:
                call["Action_Input"] = call["Action_Input"].replace("***", key)
    planted = write("eval_real.json", raw)
    assert planted.read_text().count("1nvented") > 30
    clean = read_corpus(resolve_sources(eval_real=planted))
    twin = read_corpus(resolve_sources(eval_real=real_data / "eval_real.json"))
    assert (clean.apis, clean.instructions) == (twin.apis, twin.instructions)


def test_an_example_of_a_documents_credential_is_written_nowhere() -> None:
    scheme = {"type": "apiKey", "name": "place_key", "in": "query"}
    key = {"name": "place_key", "in": "query", "example": "d0cUm3nT-1", "schema": {"type": "string", "default": "x-2"}}
    port = {"name": "port", "in": "query", "example": "Brest", "schema": {"type": "string"}}
    document = {
        "components": {"securitySchemes": {"key": scheme}},
        "paths": {"/kelp": {"get": {"parameters": [key, port]}}},
    }
    written = json.loads(to_raw(Api("train/kelp", "Kelp", documentation=document))["Documentation"])
    first, second = written["paths"]["/kelp"]["get"]["parameters"]
    assert first == key | {"example": "***", "schema": {"type": "string", "default": "***"}} and second == port
    assert document["paths"]["/kelp"]["get"]["parameters"][0] is key, "the document itself stays what it is"
    # A property may bear a key's name by chance: its choices stay, its examples may be keys.
    choices, only = {"type": "string", "enum": ["major", "minor"]}, {"enum": ["d0cUm3nT-1"]}
    document["components"]["schemas"] = {
        "Scale": {"properties": {"place_key": choices | {"example": "d0cUm3nT-1"}}},
        "Key": {"properties": {"place_key": only}},
    }
    written = json.loads(to_raw(Api("train/kelp", "Kelp", documentation=document))["Documentation"])
    document["components"]["securitySchemes"]["default"] = {"type": "oauth2"}
    default = {"default": {"headers": {"N": {"schema": {"example": "d0cUm3nT-1"}}}}}
    document["paths"]["/kelp"]["get"]["responses"] = default
    again = json.loads(to_raw(Api("train/kelp", "Kelp", documentation=document))["Documentation"])
    assert again["paths"]["/kelp"]["get"]["responses"] == default
    scale, key = (written["components"]["schemas"][name]["properties"]["place_key"] for name in ("Scale", "Key"))
    assert scale == choices | {"example": "***"} and key == {"enum": ["***"]}
