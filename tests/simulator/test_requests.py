"""Requests that are in order, and the reasons why others are refused."""

import json
import time
from typing import Any

import httpx
import pytest
from simulated import api_of, json_body, json_reply, one_operation

from toolalpaca_hf.simulator import MAX_BODY, running
from toolalpaca_hf.simulator.operations import SimulatedApi

ECHO = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"type": "integer"}},
        "filters": {"type": "object", "properties": {"genre": {"type": "string"}, "year": {"type": "integer"}}},
        "day": {"type": "string", "format": "date"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "city": {"type": "string"},
        "maybe": {"type": "integer", "nullable": True},
    },
}


def parameter(name: str, schema: dict[str, Any], required: bool = False, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema}


@pytest.fixture(scope="module")
def thing() -> Any:
    properties = dict(ECHO["properties"])
    parameters = [parameter(name, schema, name == "city") for name, schema in properties.items()]
    parameters += [parameter("X-Trace", {"type": "integer"}, place="header")]
    document = one_operation(ECHO, parameters=parameters)
    document["paths"]["/thing"]["post"] = {"requestBody": json_body(ECHO), "responses": json_reply(ECHO)}
    document["paths"]["/free"] = {"post": {"responses": json_reply(ECHO)}}
    form = {"application/x-www-form-urlencoded": {"schema": ECHO}}
    document["paths"]["/form"] = {"post": {"requestBody": {"content": form}, "responses": json_reply(ECHO)}}
    document["paths"]["/maps/{z}-{x}.png/{name}"] = {"get": {"responses": json_reply({"type": "object"})}}
    with running([api_of(document)]) as url, httpx.Client(base_url=f"{url}/pets") as client:
        yield client


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("count=3", "count", 3),
        ("count=3.0", "count", 3),
        ("ratio=2.5", "ratio", 2.5),
        ("ratio=3", "ratio", 3),
        ("deep=true", "deep", True),
        ("deep=False", "deep", False),
        ("tags=x&tags=y", "tags", ["x", "y"]),
        ("tags=x,y", "tags", ["x", "y"]),
        ('tags=["x"]', "tags", ["x"]),
        ("sizes=1&sizes=2", "sizes", [1, 2]),
        ('filters={"genre":"Drama"}', "filters", {"genre": "Drama"}),
        ("filters[genre]=Drama&filters[year]=2020", "filters", {"genre": "Drama", "year": 2020}),
        ("genre=Drama&year=2020", "filters", {"genre": "Drama", "year": 2020}),
        ("day=2024-02-29", "day", "2024-02-29"),
        ("kind=b", "kind", "b"),
        ("city=S%C3%A3o+Paulo", "city", "São Paulo"),
    ],
)
def test_texts_become_what_the_schema_names(thing: httpx.Client, query: str, name: str, value: Any) -> None:
    reply = thing.get(f"/thing?{query}" + ("" if query.startswith("city") else "&city=Porto"))
    assert reply.status_code == 200, reply.text
    assert reply.json()[name] == value and type(reply.json()[name]) is type(value)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["city", "Missing"]),
        ("city=Porto&count=many", ["count", "integer"]),
        ("city=Porto&count=1.5", ["count"]),
        ("city=Porto&ratio=nan", ["ratio"]),
        ("city=Porto&deep=perhaps", ["deep"]),
        ("city=Porto&sizes=1&sizes=two", ["sizes"]),
        ("city=Porto&filters=Drama", ["filters"]),
        ("city=Porto&filters[year]=soon", ["filters", "year"]),
        ("city=Porto&day=2023-02-29", ["day", "date"]),
        ("city=Porto&kind=c", ["kind", '"a"']),
        ("count=many&ratio=much", ["city", "count", "ratio"]),
    ],
)
def test_a_refusal_names_the_parameter(thing: httpx.Client, query: str, names: list[str]) -> None:
    reply = thing.get(f"/thing?{query}")
    assert reply.status_code == 400
    assert all(name in reply.json()["error"] for name in names), reply.text


def test_an_empty_optional_argument_is_none(thing: httpx.Client) -> None:
    assert thing.get("/thing?city=Porto&kind=&count=").status_code == 200


def test_header_parameters(thing: httpx.Client) -> None:
    assert thing.get("/thing?city=Porto", headers={"x-trace": "12"}).status_code == 200
    reply = thing.get("/thing?city=Porto", headers={"x-trace": "abc"})
    assert reply.status_code == 400 and "X-Trace" in reply.json()["error"]


def test_bodies(thing: httpx.Client) -> None:
    body = {"count": 3, "tags": ["ü", "😀"], "filters": {"genre": "Drama", "year": 1999}, "city": "Kraków"}
    reply = thing.post("/thing", json=body).json()
    assert {name: reply[name] for name in body} == body


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Missing request body"),
        (b"{", "not valid JSON"),
        (b'{"count": NaN}', "NaN"),
        (b'{"city": "\\ud800"}', "not valid JSON"),
        (b'{"count": "3"}', "count"),
        (b'{"filters": {"year": "x"}}', "filters.year"),
        (b"[1]", "object"),
        (b"null", "object"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"count": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_bodies_that_are_refused(thing: httpx.Client, content: bytes, words: str) -> None:
    reply = thing.post("/thing", content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 400 and words in reply.json()["error"], reply.text


def test_forms(thing: httpx.Client) -> None:
    reply = thing.post("/form", data={"count": "3", "tags": ["x", "y"], "city": "Bergen"})
    assert (reply.json()["count"], reply.json()["tags"], reply.json()["city"]) == (3, ["x", "y"], "Bergen")
    reply = thing.post("/form", data={"count": "3", "city": "Bergen"}, files={"photo": ("a.png", b"\x89PNG")})
    assert (reply.json()["count"], reply.json()["city"]) == (3, "Bergen")
    assert thing.post("/form", data={"count": "x"}).status_code == 400
    broken = {"content-type": "multipart/form-data"}
    assert thing.post("/form", content=b"--x", headers=broken).status_code == 400


def test_what_is_written_as_nothing_is_a_body() -> None:
    form = {"type": "object", "required": ["tags"], "properties": {"tags": ECHO["properties"]["tags"]}}
    kinds = {"text/plain": {"schema": {"type": "string"}}, "application/x-www-form-urlencoded": {"schema": form}}
    document = one_operation(ECHO)
    for kind, media in kinds.items():
        body = {"required": True, "content": {kind: media}}
        document["paths"][f"/{kind[:4]}"] = {"post": {"requestBody": body, "responses": json_reply(ECHO)}}
    with running([api_of(document)]) as url, httpx.Client(base_url=f"{url}/pets") as client:
        for kind in kinds:
            path = f"/{kind[:4]}"
            assert client.post(path, headers={"Content-Type": kind}).status_code == 200
            assert client.post(path, headers={"Content-Type": "application/json"}).status_code in (400, 415)


def test_a_body_that_is_not_asked_for_is_ignored(thing: httpx.Client) -> None:
    assert thing.post("/free", json={"count": "anything"}).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_long_gives_413(thing: httpx.Client, announced: bool) -> None:
    long = b'{"city": "' + b"x" * MAX_BODY + b'"}'
    reply = thing.post("/thing", content=long if announced else iter([long[:1000], long[1000:]]))
    assert reply.status_code == 413 and str(MAX_BODY) in reply.json()["error"]
    fits = json.dumps({"city": "x" * (MAX_BODY - 20)})
    assert thing.post("/thing", content=fits).status_code == 200


def test_wrong_places(thing: httpx.Client) -> None:
    assert thing.get("/nothing").status_code == 404
    wrong = thing.delete("/thing")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET, POST"
    assert httpx.get(f"{thing.base_url}".replace("/pets", "/dogs")).status_code == 404
    assert thing.get("/thing?city=" + "x" * 60_000).status_code in (200, 414)
    assert thing.get("/thing", headers={"X-Long": "x" * 70_000}).status_code == 431


def test_parameters_inside_a_segment(thing: httpx.Client) -> None:
    assert thing.get("/maps/3-4.png/a%2Fb%20c").status_code == 200
    assert thing.get("/maps/3.png/x").status_code == 404


def test_paths_that_could_be_read_in_many_ways_take_no_time() -> None:
    document = one_operation(ECHO)
    document["paths"] = {"/a/{b}-{c}.x/{d}-{e}.x": {"get": {"responses": json_reply({"type": "object"})}}}
    api = SimulatedApi(api_of(document), "pets")
    began = time.process_time()
    for length in (2000, 60_000):
        assert api.find(("a", "-" * length + ".x", "-" * length), "get") is None
    assert time.process_time() - began < 2
    found = api.find(("a", "1-2.x", "3-4-5.x"), "get")
    assert found and found[1] == {"b": "1", "c": "2", "d": "3", "e": "4-5"}


def test_a_websocket_is_refused(thing: httpx.Client) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    reply = thing.get("/thing", headers=upgrade | {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert reply.status_code == 403


def test_head_is_get_without_a_body(thing: httpx.Client) -> None:
    reply = thing.head("/thing?city=Porto")
    assert (reply.status_code, reply.content) == (200, b"") and int(reply.headers["content-length"]) > 10


def test_credentials_do_not_change_the_answer() -> None:
    document = one_operation(
        {"type": "object", "properties": {"title": {"type": "string"}, "price": {"type": "number"}}},
        parameters=[parameter("apiKey", {"type": "string"}), parameter("year", {"type": "integer"})],
    )
    with running([api_of(document)]) as url, httpx.Client(base_url=f"{url}/pets") as client:
        answers = [client.get("/thing", params={"apiKey": key, "year": 2001}).content for key in ("a", "b")]
        assert answers[0] == answers[1] != client.get("/thing", params={"year": 2002}).content


def test_failures_are_written_as_the_document_has_them() -> None:
    problem = {
        "type": "object",
        "required": ["status", "detail", "code"],
        "additionalProperties": False,
        "properties": {
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "enum": ["E1", "E2"]},
        },
    }
    document = one_operation({"type": "object"}, parameters=[parameter("year", {"type": "integer"}, True)])
    document["paths"]["/thing"]["get"]["responses"] |= json_reply(problem, "400")
    with running([api_of(document)]) as url:
        reply = httpx.get(f"{url}/pets/thing?year=x")
    assert reply.status_code == 400 and "year" in reply.json()["detail"]
    assert set(reply.json()) == {"status", "detail", "code"} and reply.json()["status"] == 400
