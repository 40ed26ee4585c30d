import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_documents import documents

from toolalpaca_hf.errors import InputError, ToolAlpacaError
from toolalpaca_hf.openapi import functions_of, load_api, load_document, resolve, violations
from toolalpaca_hf.openapi.document import is_large

CATS = {"openapi": "3.0.0", "info": {"title": "Cats", "version": "1"}, "paths": {}}


@pytest.mark.parametrize("source", [CATS, json.dumps(CATS), yaml.safe_dump(CATS), "# cats\n" + json.dumps(CATS)])
def test_json_yaml_and_dict_load_alike(source: str | dict[str, Any]) -> None:
    assert load_document(source) == CATS


def test_yaml_is_read_as_json_values() -> None:
    text = "paths: {}\ncountry: NO\nsince: 2020-01-01\nat: 12:30\nfull: true\nnone:\nhalf: 0.5\nmany: 12\n200: ok\n"
    assert load_document(text) == {
        "paths": {},
        "country": "NO",
        "since": "2020-01-01",
        "at": "12:30",
        "full": True,
        "none": None,
        "half": 0.5,
        "many": 12,
        "200": "ok",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x: [True, FALSE, Null, 'True', NO]", {"x": [True, False, None, "True", "NO"]}),
        ("x: [.5, 5., +3, -.5e1, 010, 0x1F, ., -, +]", {"x": [0.5, 5.0, 3, -5.0, "010", "0x1F", ".", "-", "+"]}),
        ("a: &a {t: 1, u: 2}\nx: {<<: *a, u: 3}", {"a": {"t": 1, "u": 2}, "x": {"t": 1, "u": 3}}),
        ("a: &a {t: 1}\nb: &b {t: 2, <<: *a, v: 4}\nx: {<<: [*b, *a]}", {"x": {"t": 2, "v": 4}}),
        ("x: {<<: words}", {"x": {"<<": "words"}}),
    ],
)
def test_yaml_has_merge_keys_and_booleans_in_capitals(text: str, value: dict[str, Any]) -> None:
    assert load_document(text)["x"] == value["x"]


def test_what_merge_keys_copy_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolalpaca_hf.openapi.document.MAX_VALUES", 2_000)
    wide = ", ".join(f"k{n}: 1" for n in range(100))
    assert load_document(f"b: &b {{{wide}}}\nx: {{<<: [*b, *b]}}")["x"]["k99"] == 1
    with pytest.raises(InputError):
        load_document(f"b: &b {{{wide}}}\nx: {{<<: [{', '.join(['*b'] * 50)}]}}")


def test_merge_keys_that_fan_out_are_refused() -> None:
    lines = ["a0: &a0 {k0: 1}"]
    for n in range(1, 60):
        lines += [f"b{n}: &b{n} {{<<: *a{n - 1}, x{n}: 1}}", f"c{n}: &c{n} {{<<: *a{n - 1}, y{n}: 1}}"]
        lines.append(f"a{n}: &a{n} {{<<: [*b{n}, *c{n}]}}")
    with pytest.raises(ToolAlpacaError):
        load_document("\n".join(lines))


def test_loading_leaves_the_source_alone() -> None:
    source = {"paths": {"/a": {"get": {}}}}
    load_document(source)["paths"]["/a"]["get"]["operationId"] = "a"
    assert source == {"paths": {"/a": {"get": {}}}}


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("[1, 2]", "mapping"),
        ("just words", "mapping"),
        ("", "mapping"),
        ('{"paths": ', "neither JSON nor YAML"),
        ("a: !!python/object/apply:os.getcwd []", "neither JSON nor YAML"),
        ("a: !!int x", "neither JSON nor YAML"),
        ("[" * 100_000, "nested"),
        ('{"a":' * 500 + "1" + "}" * 500, "nested"),
    ],
)
def test_what_is_no_document_is_refused_in_one_sentence(source: str, word: str) -> None:
    with pytest.raises(ToolAlpacaError, match=word) as error:
        load_document(source)
    assert "\n" not in str(error.value)


def test_values_that_json_can_not_hold_become_text() -> None:
    document = load_document({"paths": {}, "x": float("nan"), "y": 10**5000, "z": "\ud800", 200: (1, 2)})
    assert document["x"] == "nan" and document["z"] == "?" and document["200"] == [1, 2]
    assert int(document["y"], 16) == 10**5000
    json.dumps(document, allow_nan=False).encode()


def test_violations_name_the_place() -> None:
    assert violations(CATS) == []
    slashless = CATS | {"paths": {"cats": {"get": {"responses": {"200": {"description": "ok"}}}}}}
    assert len(violations(slashless)) == 1 and "cats" in violations(slashless)[0]
    assert all(sentence.endswith(".") for sentence in violations({"openapi": "3.1.0", "paths": 3}))


def test_nothing_outside_the_document_is_fetched(tmp_path: Path) -> None:
    asked = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    outside = tmp_path / "schema.json"
    outside.write_text('{"type": "nonsense"}')
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}/schema.json"
        for url in (site, outside.as_uri(), "schema.json", "ftp://127.0.0.1/x"):
            content = {"application/json": {"schema": {"$ref": url}}}
            get = {"responses": {"200": {"description": "ok", "content": content}}}
            [sentence] = violations(CATS | {"paths": {"/cats": {"get": get}}})
            assert "schema.json" in sentence or "ftp" in sentence
            assert "nonsense" not in sentence
        server.shutdown()
    assert asked == []


def test_five_published_documents_are_not_valid(published_apis: list[dict[str, Any]]) -> None:
    invalid = [api["Name"] for api in published_apis if violations(load_document(api["Documentation"]))]
    assert invalid == ["AviationAPI", "chucknorris.io", "Random Useless Facts", "Fruityvice", "CurrencyBeacon"]


def test_a_reference_that_leads_nowhere_is_told_without_the_document() -> None:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Weather"}}}
    operation = {"operationId": "a", "responses": {"200": {"description": "x", "content": content}}}
    document = {"openapi": "3.0.0", "info": {"title": "A", "version": "1"}, "paths": {"/a": {"get": operation}}}
    told = "The document cannot be checked to its end: '/components/schemas/Weather' does not exist."
    assert violations(document) == [told]


def test_resolve_cuts_cycles_and_dangling_references() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}, "x": {"$ref": "#/no"}}}
    document = {"components": {"schemas": {"Node": node, "Self": {"$ref": "#/components/schemas/Self"}}}}
    resolved = resolve(document, {"$ref": "#/components/schemas/Node"})
    assert resolved["properties"]["next"] == {"description": "Another Node."}
    assert resolved["properties"]["x"] == {"description": "no."}
    assert resolve(document, {"$ref": "#/components/schemas/Self"}) == {"description": "Another Self."}
    assert resolve(document, {"$ref": "other.yaml#/Cat"}) == {"description": "Cat."}


def test_resolve_reads_escaped_pointers_list_places_and_descriptions_beside() -> None:
    document = {"paths": {"/a/{b}": {"get": {"parameters": [{"name": "b", "description": "old"}]}}}}
    ref = {"$ref": "#/paths/~1a~1%7Bb%7D/get/parameters/0", "description": "new"}
    assert resolve(document, ref) == {"name": "b", "description": "new"}


def test_anchors_are_found_wherever_they_are(tmp_path: Path) -> None:
    cat = {"$anchor": "cat", "type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    media = {"application/json": {"schema": {"$ref": "#cat"}}}
    paths = {"/x": {"post": {"requestBody": {"content": media}}}, "/y": {"post": {"responses": {"$ref": "#dog"}}}}
    document = {"openapi": "3.1.0", "paths": paths, "components": {"schemas": {"Cat": cat}}}
    file = tmp_path / "api.json"
    file.write_text(json.dumps(document))
    loaded = load_api(file).documentation
    assert loaded["x-not-followed"] == ["#dog leads nowhere"]
    cat["properties"]["b"] = {"$ref": "#/$defs/B"}
    cat["$defs"] = {"B": {"type": "string"}}
    inner = functions_of(document)[0].body
    assert (
        inner is not None and not inner.check.is_valid({"a": 1, "b": 1}) and inner.check.is_valid({"a": 1, "b": "x"})
    )
    first = functions_of(loaded)[0].body
    assert first is not None and not first.check.is_valid({}) and first.check.is_valid({"a": 1})


def test_references_that_fan_out_stay_small() -> None:
    schemas = {
        f"S{i}": {"type": "array", "items": {"anyOf": [{"$ref": f"#/components/schemas/S{i + 1}"}] * 9}}
        for i in range(30)
    }
    assert len(json.dumps(resolve({"components": {"schemas": schemas}}, schemas["S0"]))) < 2_000_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def load_or_refuse(value: Any) -> None:
    try:
        document = load_document(value if isinstance(value, dict | str) else json.dumps(value))
    except ToolAlpacaError:
        return
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert all(isinstance(sentence, str) for sentence in violations(document))


sources = json_values | documents | st.text() | st.binary().map(lambda raw: raw.decode("latin-1"))


@settings(deadline=None)
@given(sources)
def test_only_tool_alpaca_error_escapes_loading(value: Any) -> None:
    load_or_refuse(value)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(sources)
def test_only_tool_alpaca_error_escapes_loading_at_length(value: Any) -> None:
    load_or_refuse(value)


def test_a_large_document_is_held_to_the_schema() -> None:
    def document(count: int) -> dict:
        paths = {f"/{n}": {"get": {"responses": {"200": {"description": "A cat"}}}} for n in range(count)}
        return {"openapi": "3.0.0", "info": {"title": "Cats", "version": "1"}, "paths": paths}

    assert not is_large(document(100)) and is_large(document(20_000))
    assert violations(document(20_000)) == []
    broken = document(20_000)
    broken["paths"]["/7"]["get"]["responses"]["200"] = {"summary": 3}
    assert any("paths > /7 > get > responses > 200" in sentence for sentence in violations(broken))


@pytest.mark.parametrize(
    "text", ["- " * 100_000, "? " * 100_000, "- &a " * 100_000, "{a: " * 100_000, "[" * 100_000 + "x"]
)
def test_yaml_nested_too_deep_for_the_stack_of_libyaml(text: str) -> None:
    """Its loader calls itself for each level and does not look at the stack: the process was gone."""
    with pytest.raises(InputError):
        load_document(text)


def test_a_document_of_many_brackets_and_dashes_is_read() -> None:
    text = f"openapi: 3.0.0  # {'- ' * 2000}\nx-rows:\n" + "  - {a: [1, 2]}\n" * 600
    assert load_document(text)["x-rows"] == [{"a": [1, 2]}] * 600


def test_form_fields_of_a_swagger_path_add_to_those_of_its_operations() -> None:
    def field(name: str, place: str = "formData") -> dict[str, Any]:
        return {"name": name, "in": place} | ({"schema": {}} if place == "body" else {"type": "string"})

    item = {"parameters": [field("a"), field("b")], "post": {"parameters": [field("b"), field("c")]}}
    item["put"] = {"parameters": [field("d", "body")]}
    found = load_document({"swagger": "2.0", "paths": {"/x": item}})["paths"]["/x"]
    form = found["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert list(form["properties"]) == ["a", "b", "c"]
    assert list(found["put"]["requestBody"]["content"]) == ["application/json"]
    item["post"]["parameters"][0]["name"] = ["b"]  # published documents hold anything anywhere
    assert "post" in load_document({"swagger": "2.0", "paths": {"/x": item}})["paths"]["/x"]
