"""What real documents hold: the exported tool, the client and the simulator read each of it alike."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from toolalpaca_hf.agent import ApiCalls
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import (
    ApiClient,
    CallError,
    allowed_hosts,
    build_request,
    describe_raw,
    functions_of,
    load_api,
    load_document,
    tool_schema,
)
from toolalpaca_hf.openapi.encoding import encode_body
from toolalpaca_hf.schema import Api, Function
from toolalpaca_hf.simulator import create_app, read_apis

CASES = Path(__file__).parents[3] / "shared" / "cases" / "openapi"
OK = {"200": {"description": "ok"}}
# One has no Function_Projection: it is for `apis show` only.
KEPT = [file for file in sorted(CASES.glob("*.json")) if file.name != "long_name_show.json"]


def answers(schema: Any) -> dict[str, Any]:
    return {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}


def document(paths: dict[str, Any], version: str = "3.0.3", **rest: Any) -> dict[str, Any]:
    return {"openapi": version, "info": {"title": "T", "version": "1"}, "paths": paths} | rest


def operation_of(doc: dict[str, Any], name: str) -> Any:
    return next(one for one in functions_of(load_document(doc)) if one.name == name)


def tool_of(doc: dict[str, Any], name: str) -> dict[str, Any]:
    return tool_schema(operation_of(doc, name))["function"]


def client_of(doc: dict[str, Any]) -> TestClient:
    return TestClient(create_app([Api("train/t", "T", documentation=doc)]), follow_redirects=False)


def call(
    doc: dict[str, Any], name: str, arguments: dict[str, Any], client: TestClient | None = None
) -> httpx.Response:
    doc = load_document(doc)
    request = build_request(doc, operation_of(doc, name), json.dumps(arguments), "http://testserver/t")
    content, kind = encode_body(request)
    client = client or client_of(doc)
    return client.request(request.method, request.url, content=content, headers=request.headers | kind)


def parameter(name: str, where: str, schema: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"name": name, "in": where, "required": True, "schema": schema} | rest


LIST = {"type": "array", "items": {"type": "integer"}}
PAIR = {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
STYLES = [
    *[("path", style, explode) for style in ("simple", "label", "matrix") for explode in (False, True)],
    *[("query", "form", explode) for explode in (False, True)],
    *[("header", "simple", explode) for explode in (False, True)],
    ("cookie", "form", False),
]


@pytest.mark.parametrize(("where", "style", "explode"), STYLES)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_the_tool_allows_arrives_as_it_was_sent(where: str, style: str, explode: bool, data: st.DataObject):
    letters = st.text(st.characters(min_codepoint=48, max_codepoint=122, categories=("L", "N")), min_size=1)
    words = letters if where in ("header", "cookie") else st.text("ab,.;=/&%+ |é#", min_size=1).filter(str.strip)
    kinds = {
        "number": ({"type": "integer"}, st.integers(-1000, 1000)),
        "text": ({"type": "string"}, words.filter(lambda text: not set(text) <= set("./ "))),
        "list": (LIST | {"minItems": 1}, st.lists(st.integers(-99, 99), min_size=1, max_size=4)),
        "object": (PAIR, st.fixed_dictionaries({"a": st.integers(-99, 99), "b": letters})),
    }
    schema, values = kinds[data.draw(st.sampled_from(sorted(kinds)))]
    value = data.draw(values)
    path = "/x/{echoed}" if where == "path" else "/x"
    held = {"type": "object", "required": ["echoed"], "properties": {"echoed": schema}}
    declared = parameter("echoed", where, schema, style=style, explode=explode)
    doc = document({path: {"get": {"operationId": "x", "parameters": [declared], "responses": answers(held)}}})
    try:
        got = call(doc, "x", {"echoed": value})
    except CallError:
        assert isinstance(value, str)  # a step such as `..` in a path
        assert where == "path"
        return
    assert got.status_code == 200, got.text
    assert got.json() == {"echoed": value}
    Draft202012Validator(held).validate(got.json())


BODIES = st.fixed_dictionaries(
    {"n": st.integers(-1000, 1000), "word": st.text("abc é&=+", min_size=1).filter(lambda text: text == text.strip())},
    optional={"flag": st.booleans(), "many": st.lists(st.integers(0, 9), min_size=2, max_size=4)},
)


@pytest.mark.parametrize(
    "media", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml"]
)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=BODIES)
def test_a_body_arrives_in_each_media_type(media: str, value: dict[str, Any]):
    properties = {"n": {"type": "integer"}, "word": {"type": "string"}, "flag": {"type": "boolean"}, "many": LIST}
    schema = {"type": "object", "required": ["n", "word"], "properties": properties}
    body = {"required": True, "content": {media: {"schema": schema}}}
    described = {"type": "object", "required": list(value), "properties": {name: properties[name] for name in value}}
    doc = document({"/x": {"patch": {"operationId": "x", "requestBody": body, "responses": answers(described)}}})
    Draft202012Validator(tool_of(doc, "x")["parameters"]).validate(value)
    got = call(doc, "x", value)
    assert got.status_code == 200, got.text
    assert {name: got.json()[name] for name in value} == value


def test_swagger_2_is_read_as_openapi_3():
    pet = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    save = [{"name": "id", "in": "path", "required": True, "type": "integer"}]
    save += [{"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}]
    save += [
        {"name": "tags", "in": "query", "type": "array", "items": {"type": "string"}, "collectionFormat": "pipes"}
    ]
    old = {
        "swagger": "2.0",
        "info": {"title": "T", "version": "1"},
        "host": "old.example",
        "basePath": "/v2",
        "schemes": ["http", "ws"],
        "securityDefinitions": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        "security": [{"key": []}],
        "paths": {"/pet/{id}": {"post": {"operationId": "save", "parameters": save, "responses": {"200": {}}}}},
        "definitions": {"Pet": pet},
    }
    doc = load_document(old)
    request = build_request(
        doc, operation_of(doc, "save"), '{"id": 1, "name": "x", "tags": ["a", "b"]}', "http://o/v2", {"X-Key"}
    )
    assert (request.method, request.url) == ("POST", "http://o/v2/pet/1?tags=a%7Cb")
    assert (request.body, request.body_type) == ({"name": "x"}, "application/json")
    assert ("header", "X-Key") in request.credentials
    assert doc["servers"] == [{"url": "http://old.example/v2"}]
    assert any("ws" in sentence for sentence in doc["x-not-converted"])
    assert call(old, "save", {"id": 1, "name": "x"}).status_code == 200
    assert client_of(old).post("/t/pet/1", json={"name": 3}).status_code == 400


def test_a_shared_recursive_response_is_checked_whole():
    node = {
        "type": "object",
        "required": ["size"],
        "properties": {"size": {"type": "integer"}, "left": {"$ref": "#/components/schemas/Node"}},
    }
    shared = {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    doc = document(
        {
            "/read": {"get": {"operationId": "read", "responses": {"200": {"$ref": "#/components/responses/R"}}}},
            "/save": {
                "post": {
                    "operationId": "save",
                    "requestBody": {"$ref": "#/components/requestBodies/B"},
                    "responses": OK,
                }
            },
        },
        components={"schemas": {"Node": node}, "responses": {"R": shared}, "requestBodies": {"B": body}},
    )
    assert isinstance(call(doc, "read", {}).json()["size"], int)
    client = client_of(doc)
    assert client.post("/t/save", json={"size": 1, "left": {"size": 1, "left": {"size": 2}}}).status_code == 200
    assert client.post("/t/save", json={"size": 1, "left": {"size": 1, "left": {"size": "x"}}}).status_code == 400


def test_templates_are_matched_by_method_too():
    jobs = {
        "/jobs/{jobId}": {"get": {"operationId": "read", "responses": OK}},
        "/jobs/{action}": {"post": {"operationId": "act", "responses": OK}},
        "/jobs/latest": {"get": {"operationId": "latest", "responses": OK}},
    }
    client = client_of(document(jobs))
    assert client.get("/t/jobs/7").status_code == client.post("/t/jobs/stop").status_code == 200
    assert client.post("/t/jobs/latest").status_code == 200
    assert client.delete("/t/jobs/7").headers["allow"] == "GET, POST"


@pytest.mark.parametrize("mark", ["#", "?"])
def test_operations_that_differ_behind_the_path(mark: str):
    def operation(name: str, field: str) -> dict[str, Any]:
        schema = {"type": "object", "required": [field], "properties": {field: {"type": "boolean"}}}
        return {"get": {"operationId": name, "responses": answers(schema)}}

    doc = document(
        {f"/{mark}Action=List": operation("list", "listed"), f"/{mark}Action=Drop": operation("drop", "gone")}
    )
    assert list(call(doc, "list", {}).json()) == ["listed"]
    assert list(call(doc, "drop", {}).json()) == ["gone"]


@pytest.mark.parametrize("split", [False, True])
def test_read_only_is_not_asked_for_and_write_only_not_answered(split: bool):
    properties = {"id": {"type": "integer", "readOnly": True}, "name": {"type": "string"}}
    properties["secret"] = {"type": "string", "writeOnly": True}
    user: dict[str, Any] = {"type": "object", "required": ["id", "name", "secret"], "properties": properties}
    if split:  # the flag in one part, `required` in another
        user = {"allOf": [{"$ref": "#/components/schemas/Part"}, {"required": user.pop("required")}]}
    components = {"schemas": {"User": user, "Part": {"type": "object", "properties": properties}}}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}
    operation = {"operationId": "add", "requestBody": {"required": True, "content": content}}
    operation["responses"] = {"201": {"description": "ok", "content": content}}
    doc = document({"/users": {"post": operation}}, components=components)
    parameters = tool_of(doc, "add")["parameters"]
    assert set(parameters["properties"]) == {"name", "secret"} == set(parameters["required"])
    got = call(doc, "add", {"name": "Ann", "secret": "s"})
    assert got.status_code == 201
    assert set(got.json()) == {"id", "name"}


def test_two_arguments_of_one_name_have_values_of_their_own():
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["id"], "properties": {"id": LIST}}}
        },
    }
    places = [parameter("id", "path", {"type": "integer"}), parameter("id", "query", {"type": "string"})]
    doc = document(
        {"/x/{id}": {"put": {"operationId": "x", "parameters": places, "requestBody": body, "responses": OK}}}
    )
    properties = tool_of(doc, "x")["parameters"]["properties"]
    assert [schema["type"] for schema in properties.values()] == ["integer", "string", "array"]
    values = dict(zip(properties, (3, "q", [1, 2]), strict=True))
    request = build_request(doc, operation_of(doc, "x"), json.dumps(values), "http://o")
    assert (request.url, request.body) == ("http://o/x/3?id=q", {"id": [1, 2]})
    assert call(doc, "x", values).status_code == 200


def test_tools_are_what_providers_accept():
    places = [parameter("filter[name]", "query", {"type": "string", "pattern": "^[A-Z]+$"})]
    places += [parameter("tags", "query", {"type": "array"}), parameter("m", "query", {"const": "fast"})]
    places += [parameter("n", "query", {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 5})]
    inner = {"type": "object", "required": ["a b", "gone"], "properties": {"a b": {"type": "string"}}}
    body = {"required": True, "content": {"application/json": {"schema": {"type": "array", "items": inner}}}}
    operation = {
        "operationId": "save thing.v2",
        "description": "x" * 3000,
        "parameters": places,
        "requestBody": body,
        "responses": OK,
    }
    doc = document(
        {"/x": {"put": operation}, "/y": {"put": {"operationId": "save_thing_v2", "responses": OK}}}, "3.1.0"
    )
    names = [tool_schema(one)["function"]["name"] for one in functions_of(load_document(doc))]
    assert len(set(names)) == 2
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in names)
    tool = tool_of(doc, "save thing.v2")
    assert len(tool["description"]) <= 1024
    schema = tool["parameters"]
    Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) == set(schema["properties"]) == {"filter_name", "tags", "m", "n", "body"}
    assert schema["properties"]["tags"]["items"] == {}
    assert set(schema["properties"]["body"]["items"]["required"]) == {"a_b", "gone"}
    good = {"filter_name": "A", "tags": ["t"], "m": "fast", "n": 5, "body": [{"a_b": "x", "gone": 1}]}
    check = Draft202012Validator(schema)
    assert check.is_valid(good)
    assert not any(check.is_valid(good | bad) for bad in ({"filter_name": "a"}, {"m": "slow"}, {"n": 0}, {"n": 3}))
    request = build_request(doc, operation_of(doc, "save thing.v2"), json.dumps(good), "http://o")
    assert request.body == [{"a b": "x", "gone": 1}]
    assert request.url.startswith("http://o/x?filter%5Bname%5D=A&")
    assert call(doc, "save thing.v2", good).status_code == 200


def test_alternatives_by_a_tag():
    cat = {
        "type": "object",
        "required": ["kind", "lives"],
        "properties": {"kind": {"type": "string"}, "lives": {"type": "integer"}},
    }
    dog = {
        "type": "object",
        "required": ["kind", "barks"],
        "properties": {"kind": {"type": "string"}, "barks": {"type": "boolean"}},
    }
    refs = [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]
    tag = {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Cat", "dog": "Dog"}}
    pet = {"oneOf": refs, "discriminator": tag}
    content = {"application/json": {"schema": pet}}
    operation = {"operationId": "x", "requestBody": {"required": True, "content": content}, "responses": answers(pet)}
    doc = document({"/x": {"post": operation}}, components={"schemas": {"Cat": cat, "Dog": dog}})
    parameters = tool_of(doc, "x")["parameters"]
    assert parameters["required"] == ["kind"]
    assert parameters["properties"]["kind"]["enum"] == ["cat", "dog"]
    for value in ({"kind": "cat", "lives": 9}, {"kind": "dog", "barks": True}):
        got = call(doc, "x", value)
        assert got.status_code == 200
        assert "lives" in got.json() if got.json()["kind"] == "cat" else "barks" in got.json()
    assert client_of(doc).post("/t/x", json={"kind": "cat", "barks": True}).status_code == 400


def test_the_nearest_server_is_known():
    server = [{"url": "https://far.example/v1"}]
    doc = document(
        {
            "/a": {"servers": [{"url": "https://near.example"}], "get": {"operationId": "a", "responses": OK}},
            "/b": {"get": {"operationId": "b", "servers": [{"url": "https://own.example"}], "responses": OK}},
        },
        servers=server,
    )
    assert operation_of(doc, "a").servers == [{"url": "https://near.example"}]
    assert operation_of(doc, "b").servers == [{"url": "https://own.example"}]
    allowed_hosts(doc).check("https://near.example/a")
    allowed_hosts(doc).check("https://own.example/b")


def test_a_relative_server_is_beside_the_documents():
    doc = document({"/a": {"get": {"operationId": "a", "servers": [{"url": "/v2"}], "responses": OK}}})
    called = list[str]()

    def exchange(method: str, url: str, headers: Any, content: bytes) -> tuple[int, dict[str, str], bytes]:
        called.append(url)
        return 200, {}, b""

    client = ApiClient(allowed_hosts(doc), exchange=exchange)
    api = Api("train/t", "T", documentation=doc, functions=[Function("a", "/a", "get", "")])
    ApiCalls(api, "https://far.example/v1", client, own_servers=True).call("a", "{}")
    assert called == ["https://far.example/v2/a"]


def test_references_are_followed_within_the_folder_only(tmp_path: Path):
    folder = tmp_path / "api"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text("secret: {get: {responses: {}}}")
    (folder / "other.yaml").write_text(
        "getB: {operationId: b, responses: {'200': {description: ok, content: {application/json: "
        "{schema: {$ref: '#/S'}}}}}}\n"
        "S: {type: object, required: [deep], properties: {deep: {type: integer}}}\n"
    )
    base = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    beside = {"$ref": "#/components/schemas/Base", "required": ["extra"], "properties": {"extra": {"type": "integer"}}}
    doc = document(
        {
            "/a": {"$ref": "#/components/pathItems/A"},
            "/b": {"get": {"$ref": "./other.yaml#/getB"}},
            "/c": {"get": {"operationId": "c", "responses": answers(beside)}},
            "/d": {"$ref": "../outside.yaml#/secret"},
            "/e": {"$ref": "https://far.example/x.yaml#/e"},
        },
        "3.1.0",
        components={"pathItems": {"A": {"get": {"operationId": "a", "responses": OK}}}, "schemas": {"Base": base}},
    )
    (folder / "api.json").write_text(json.dumps(doc))
    api = load_api(folder / "api.json")
    assert [function.name for function in api.functions] == ["a", "b", "c"]
    lost = " ".join(api.documentation["x-not-followed"])
    assert "../outside.yaml" in lost
    assert "far.example" in lost
    assert set(call(api.documentation, "b", {}).json()) == {"deep"}
    assert set(call(api.documentation, "c", {}).json()) == {"id", "extra"}


def test_bodies_by_their_media_type():
    content = {
        "application/json": {
            "schema": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
        "text/csv": {"schema": {"type": "string"}},
    }
    doc = document(
        {"/x": {"post": {"operationId": "x", "requestBody": {"required": True, "content": content}, "responses": OK}}}
    )
    sent = {}
    for arguments in ({"url": "u"}, {"file": "F"}, {"body": "a,b"}):
        request = build_request(doc, operation_of(doc, "x"), json.dumps(arguments), "http://o")
        sent[request.body_type] = encode_body(request)[0]
        assert call(doc, "x", arguments).status_code == 200
    assert list(sent) == list(content)
    assert b'filename="file.bin"' in (sent["multipart/form-data"] or b"")
    client = client_of(doc)
    assert client.post("/t/x", content=b"<a/>", headers={"Content-Type": "application/xml"}).status_code == 415
    assert client.post("/t/x", data={"file": "F"}, files={"other": b"x"}).status_code == 200
    assert client.post("/t/x", files={"other": b"x"}).status_code == 400


def test_answers_as_declared():
    problem = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
    paths = {
        "/xml": {"200": {"content": {"application/xml": {"schema": PAIR}}}},
        "/jpeg": {"200": {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
        "/shown": {"200": {"content": {"application/json": {"example": {"shade": "teal", "n": 3}}}}},
        "/shown2": {
            "200": {
                "content": {
                    "application/json": {"schema": {"type": "object"}, "examples": {"one": {"value": {"a": 1}}}}
                }
            }
        },
        "/away": {"302": {"description": "elsewhere"}},
    }
    doc = document({path: {"get": {"operationId": path[1:], "responses": found}} for path, found in paths.items()})
    bad = {"400": {"content": {"application/problem+json": {"schema": problem}}}}
    needed = [parameter("q", "query", {"type": "integer"})]
    doc["paths"]["/bad"] = {"get": {"operationId": "bad", "parameters": needed, "responses": OK | bad}}
    client = client_of(doc)
    assert client.get("/t/xml").headers["content-type"] == "application/xml"
    assert "<a>" in client.get("/t/xml").text
    jpeg = client.get("/t/jpeg")
    assert (jpeg.headers["content-type"], jpeg.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert client.get("/t/shown").json() == {"shade": "teal", "n": 3}
    assert client.get("/t/shown2").json() == {"a": 1}
    assert client.get("/t/away").status_code == 302
    refused = client.get("/t/bad")
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    Draft202012Validator(problem).validate(refused.json())


def test_an_id_that_the_document_shows_exists():
    item = {"type": "object", "properties": {"id": {"type": "string"}}}
    one = {"parameters": [parameter("id", "path", {"type": "string", "example": "al77"})], "responses": answers(item)}
    client = client_of(
        document(
            {
                "/albums/{id}": {"get": one},
                "/albums": {"get": {"responses": answers({"type": "array", "items": item})}},
            }
        )
    )
    assert client.get("/t/albums/al77").json() == {"id": "al77"}
    assert client.get("/t/albums/al78").status_code == 404


def test_yaml_aliases_and_booleans_of_yaml_1_2(monkeypatch: pytest.MonkeyPatch):
    doc = load_document("openapi: 3.0.0\nx-a: &a {on: yes, no: off}\npaths: {/x: {get: {x-b: *a}}}")
    assert doc["paths"]["/x"]["get"]["x-b"] == {"on": "yes", "no": "off"}
    monkeypatch.setattr("toolalpaca_hf.openapi.document.MAX_VALUES", 50_000)  # to refuse five millions takes seconds
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ToolAlpacaError, match="50,000 values"):
        load_document("\n".join(lines))


def test_documents_are_served_as_they_are_and_as_docs_writes_them(tmp_path: Path):
    doc = document({"/x": {"get": {"operationId": "x", "responses": OK}}})
    plain, raw = tmp_path / "x.yaml", tmp_path / "raw.json"
    plain.write_text(json.dumps(doc))
    raw.write_text(json.dumps([describe_raw({"Name": "T", "Documentation": json.dumps(doc), "Instances": []})]))
    assert [[one.name for one in read_apis(path)[0].functions] for path in (plain, raw)] == [["x"], ["x"]]
    hooks = tmp_path / "hooks.json"
    hooks.write_text(json.dumps({"openapi": "3.1.0", "info": {"title": "H", "version": "1"}, "webhooks": {}}))
    with pytest.raises(ToolAlpacaError, match="paths"):
        read_apis(hooks)


@pytest.mark.parametrize("file", KEPT or [None], ids=lambda file: file.name if file else "none")
def test_every_kept_case_answers_its_own_requests(file: Path | None):
    if file is None:
        pytest.skip("shared/cases is not beside this checkout")
    for api in read_apis(file):
        client = TestClient(create_app([api]), follow_redirects=False)
        assert client.get("/health").json()["apis"]
        for operation in functions_of(load_document(api.documentation)):
            Draft202012Validator.check_schema(tool_schema(operation)["function"]["parameters"])
