"""Whatever is asked: no failure of the server's own, and every answer is valid for its document."""

import http.client
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from simulated import PETS, api_of, declared, json_body, json_reply, problems

from toolalpaca_hf.simulator import SESSION_HEADER, running

THINGS: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": {"title": "Things", "version": "1"},
    "paths": PETS["paths"]
    | {
        "/search": {
            "get": {
                "parameters": [
                    {"name": name, "in": "query", "schema": {"type": kind}}
                    for name, kind in (("query", "string"), ("limit", "integer"), ("tags", "array"), ("f", "object"))
                ],
                "responses": json_reply(
                    {
                        "type": "object",
                        "properties": {
                            "results": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
                            "total": {"type": "integer"},
                            "query": {"type": "string"},
                        },
                    }
                ),
            }
        },
        "/free": {
            "post": {
                "requestBody": json_body({}, required=False),
                "responses": json_reply({"type": "object", "additionalProperties": {"type": "string"}}),
            }
        },
    },
    "components": PETS["components"],
}

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["id", "name", "status", "query"]), st.text(max_size=4)), inner, max_size=4
        ),
    ),
    max_leaves=10,
)
BODIES = st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode()))
KINDS = (
    "application/json",
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "é",
)
PATHS = st.one_of(
    st.sampled_from(
        ["/pets", "/search", "/free", "/pets/3", "/pets/", "", "/", "/openapi.json", "//", "/pets/%2F%00"]
    ),
    st.text(max_size=12).map(lambda text: "/pets/" + quote(text, safe="")),
    st.binary(max_size=8).map(lambda raw: "/" + quote(raw)),
)
NAMES = st.one_of(
    st.sampled_from(["query", "limit", "tags", "f", "f[a]", "status", "petId", "page"]), st.text(max_size=5)
)
QUERIES = st.lists(st.tuples(NAMES, st.one_of(st.text(max_size=10), st.integers().map(str))), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])


@pytest.fixture(scope="module")
def client() -> Any:
    with running([api_of(THINGS)]) as url, httpx.Client(base_url=f"{url}/pets") as client:
        yield client


def ask_anything(
    client: httpx.Client, method: str, path: str, query: str, body: bytes, kind: str, session: str
) -> None:
    headers = {SESSION_HEADER.encode(): session.encode("utf-8", "replace")}
    if kind:
        headers[b"content-type"] = kind.encode("utf-8")
    target = (client.base_url.raw_path + path.lstrip("/").encode()) if path else b"/pets"
    url = client.base_url.copy_with(raw_path=target + (b"?" + query.encode() if query else b""))
    reply = client.request(method, url, content=body, headers=headers)
    assert reply.status_code < 500, reply.text
    template = "/pets/{petId}" if path.startswith("/pets/") and path != "/pets/" else path.rstrip("/")
    pointer = declared(THINGS, template, method.lower(), reply.status_code) if reply.content else None
    if pointer is not None:
        assert problems(THINGS, pointer, reply.json()) == []
    if not reply.is_success and reply.content:
        assert reply.json()["error"]


ANYTHING = given(
    method=METHODS,
    path=PATHS,
    query=QUERIES,
    body=BODIES,
    kind=st.sampled_from(KINDS),
    session=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6),
)
UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=400, phases=[Phase.generate, Phase.shrink], **UNHURRIED)
@ANYTHING
def test_no_request_breaks_the_server(
    client: httpx.Client, method: str, path: str, query: str, body: bytes, kind: str, session: str
) -> None:
    ask_anything(client, method, path, query, body, kind, session)


@pytest.mark.slow
def test_no_request_of_ten_thousand_breaks_the_server(client: httpx.Client) -> None:
    asked = 0

    @settings(max_examples=10_000, phases=[Phase.generate, Phase.shrink], **UNHURRIED)
    @ANYTHING
    def ask(method: str, path: str, query: str, body: bytes, kind: str, session: str) -> None:
        nonlocal asked
        asked += 1
        ask_anything(client, method, path, query, body, kind, session)

    ask()
    assert asked >= 10_000  # Hypothesis ends early where it sees nothing new


@pytest.mark.parametrize(
    "target",
    [b"/pets/pets/\xff\xfe", b"/pets/%ff%fe", b"/pets/pets/%zz", b"/%00", b"/pets?\xff=%", b"*", b"/..//../x"],
)
def test_targets_that_no_client_writes(client: httpx.Client, target: bytes) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=10)
    connection.sock = None
    connection.connect()
    connection.sock.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = connection.sock.recv(4096)
    connection.close()
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2")), answer[:100]
