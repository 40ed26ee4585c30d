"""A chat model plays the API; what it writes is checked, and the schemas stand in where it fails."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_server import chat_server, problem_of
from fastapi.testclient import TestClient
from openapi.loopback import Site
from simulated import PETS, api_of, problems

from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import (
    FALLBACK_HEADER,
    RESPONDER_HEADER,
    SESSION_HEADER,
    UNRECORDED_HEADER,
    chat_responder,
    create_app,
    running,
)
from toolalpaca_hf.simulator.responder_llm import LLMResponder
from toolalpaca_hf.simulator.responders import SchemaResponder

REX = {"id": 12, "name": "Rex", "status": "sold", "weight": 7.5}


def written(body: Any, status: int = 200) -> str:
    return json.dumps({"status": status, "body": body})


def actor(
    base: str, monkeypatch: pytest.MonkeyPatch, model: str = "actor", key: str = "secret-key", **options: Any
) -> LLMResponder:
    monkeypatch.setenv("OPENAI_BASE_URL", base)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("TOOLALPACA_SIMULATOR_MODEL", model)
    return chat_responder(**options)


@contextmanager
def played(
    say: Callable[[list[dict[str, str]]], str], monkeypatch: pytest.MonkeyPatch, store: Path | None = None
) -> Iterator[tuple[httpx.Client, list[Any]]]:
    """A client of the pet shop that a model plays, and what the model was asked."""
    with chat_server(say) as (base, asked):
        monkeypatch.setenv("OPENAI_BASE_URL", base)
        monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
        monkeypatch.setenv("TOOLALPACA_SIMULATOR_MODEL", "actor")
        with (
            running([api_of(PETS)], responder="llm", store=store) as url,
            httpx.Client(base_url=f"{url}/pets") as client,
        ):
            yield client, asked


def test_the_model_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: written(REX), monkeypatch) as (client, asked):
        reply = client.get("/pets/12")
    assert reply.json() == REX and reply.headers[RESPONDER_HEADER] == "llm/actor"
    assert FALLBACK_HEADER not in reply.headers
    system, user = (message["content"] for message in asked[0])
    assert user == "GET /pets/12" and "GET /pets/{petId}" in system and '"weight"' in system


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(REX), REX),
        (f"Sure:\n```json\n{written(REX)}\n```\nAnything else?", REX),
        (f"<think>{{}} perhaps</think>{written(REX)}", REX),
        (written(REX)[:-2] + ",}}", REX),
        (written(REX | {"id": "12", "weight": "7.5"}), REX),
        (written(REX | {"status": "SOLD"}), REX),
        (written(REX | {"weight": 1000}), {"id": 12, "name": "Rex", "status": "sold"}),
        (written(REX | {"name": 5}), REX | {"name": "5"}),
    ],
)
def test_what_is_plain_is_repaired(text: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: text, monkeypatch) as (client, asked):
        reply = client.get("/pets/12")
    assert FALLBACK_HEADER not in reply.headers, reply.headers
    assert reply.json() == expected and len(asked) == 1


def test_what_is_missing_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: written({"name": "Rex"}), monkeypatch) as (client, _):
        reply = client.get("/pets/12").json()
    assert reply["name"] == "Rex" and problems(PETS, "/components/schemas/Pet", reply) == []


def test_what_is_wrong_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["I am only a language model.", written(REX)])
    with played(lambda messages: next(texts), monkeypatch) as (client, asked):
        assert client.get("/pets/12").json() == REX
    assert len(asked) == 2 and "no JSON" in asked[1][-1]["content"]
    assert asked[1][-2] == {"role": "assistant", "content": "I am only a language model."}


@pytest.mark.parametrize("text", ["", "no", written(17), written(REX, status=7), written([REX, REX])])
def test_the_schemas_stand_in_and_it_is_recorded(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = tmp_path / "answers.sqlite"
    with played(lambda messages: text or " ", monkeypatch, store) as (client, asked):
        reply = client.get("/pets/1")
    assert len(asked) == 2
    assert reply.is_success and problems(PETS, "/components/schemas/Pet", reply.json()) == []
    assert reply.headers[FALLBACK_HEADER].startswith("actor: ")
    rows = sqlite3.connect(store).execute("SELECT responder, fallback FROM answers").fetchall()
    assert len(rows) == 1 and rows[0][0] == "llm/actor" and rows[0][1].startswith("actor: ")


@pytest.mark.parametrize(("written_as", "status"), [(302, 302), (400, 400), (301, 400)])
def test_a_redirect_that_is_declared_is_an_answer(written_as: int, status: int) -> None:
    async def complete(*_: Any) -> str:
        return written(None, written_as)

    found = {"operationId": "away", "responses": {"302": {"description": "elsewhere"}}}
    api = Api("train/t", "T", documentation={"openapi": "3.0.3", "paths": {"/away": {"get": found}}})
    app = create_app([api], LLMResponder(complete, "actor", SchemaResponder()))
    assert TestClient(app, follow_redirects=False).get("/t/away").status_code == status


def test_a_copy_of_the_schema_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: written([{"type": "object"}]), monkeypatch) as (client, asked):
        reply = client.get("/pets", params={"limit": 2})
    assert len(asked) == 2 and FALLBACK_HEADER in reply.headers
    assert all(problems(PETS, "/components/schemas/Pet", pet) == [] for pet in reply.json())


def test_a_server_that_refuses_or_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(lambda messages: written(REX)) as (base, asked):
        wrong = actor(base, monkeypatch, "nobody")
        with running([api_of(PETS)], responder=wrong) as url:
            reply = httpx.get(f"{url}/pets/pets/1")
        assert reply.is_success and "there is no model nobody" in reply.headers[FALLBACK_HEADER] and not asked
    away = actor(base, monkeypatch)
    with running([api_of(PETS)], responder=away) as url:
        reply = httpx.get(f"{url}/pets/pets/1")
    assert reply.is_success and "onnection" in reply.headers[FALLBACK_HEADER]
    assert "secret-key" not in str(reply.headers) + reply.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Welcome</html>"),
        ("application/json", b"<html>Welcome</html>"),
        ("application/json", b"[" * 100_000),
        ("application/json", b"[]"),
        ("application/json", b"null"),
        ("application/json", b'{"choices": []}'),
        ("application/json", b'{"choices": [null]}'),
        ("application/json", b'{"choices": {"a": 1}}'),
        ("application/json", b'{"choices": [{"message": null}]}'),
        ("application/json", b'{"choices": [{"message": {"content": [{"type": "text"}]}}]}'),
        ("application/json", b'{"choices": [{"message": {"content": null}}]}'),
        ("application/json", b"\xff\xfe"),
    ],
)
def test_a_server_that_sends_something_else(kind: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with Site([(200, {"Content-Type": kind}, body)]) as site:
        responder = actor(f"{site.url}/v1", monkeypatch)
        with running([api_of(PETS)], responder=responder) as url:
            reply = httpx.get(f"{url}/pets/pets/1")
    assert reply.status_code == 200 and reply.headers[FALLBACK_HEADER].startswith("actor: ")
    assert problems(PETS, "/components/schemas/Pet", reply.json()) == []


def test_a_key_that_the_server_repeats_is_not_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with chat_server(lambda messages: written(REX)) as (base, asked):
        monkeypatch.setenv("OPENAI_BASE_URL", base)
        monkeypatch.setenv("OPENAI_API_KEY", "not-the-key-0815")
        monkeypatch.setenv("TOOLALPACA_SIMULATOR_MODEL", "actor")
        with running([api_of(PETS)], responder="llm", store=tmp_path / "store.sqlite") as url:
            reply = httpx.get(f"{url}/pets/pets/12")
    assert asked == [] and "wrong key: Bearer ***" in reply.headers[FALLBACK_HEADER]
    assert not any(b"0815" in path.read_bytes() for path in tmp_path.iterdir())


def test_the_model_sees_its_own_session_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: written(REX), monkeypatch) as (client, asked):

        def rollout(name: str) -> None:
            for turn in range(4):
                client.get("/pets/12", params={"x": f"{name}-{turn}"}, headers={SESSION_HEADER: name})

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(rollout, [f"rollout{number}" for number in range(6)]))
    assert len(asked) == 24
    for messages in asked:
        said = [message["content"] for message in messages if message["role"] == "user"]
        names = {text.partition("x=")[2].partition("-")[0] for text in said}
        assert len(names) == 1 and [text[-1] for text in said] == [str(turn) for turn in range(len(said))]


def test_a_model_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: written({"error": "no such pet"}, 404), monkeypatch) as (client, _):
        reply = client.get("/pets/99")
    assert (reply.status_code, reply.json()) == (404, {"error": "no such pet"})


def test_requests_that_are_not_in_order_never_reach_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(lambda messages: written(REX), monkeypatch) as (client, asked):
        assert client.get("/pets/first").status_code == 400
    assert not asked


def test_recorded_answers_come_before_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = tmp_path / "answers.sqlite"
    counter = iter(range(1, 100))

    def say(messages: list[dict[str, str]]) -> str:
        return written(REX | {"weight": next(counter)})

    def ask(client: httpx.Client, session: str) -> list[bytes]:
        headers = {SESSION_HEADER: session}
        return [client.get(f"/pets/{number}", headers=headers).content for number in (12, 12, 13)]

    with played(say, monkeypatch, store) as (client, asked):
        first = ask(client, "a")
        assert ask(client, "b") == first and len(set(first)) == 3 and len(asked) == 3
    with played(say, monkeypatch, store) as (client, asked):
        assert ask(client, "c") == first and not asked
    with running([api_of(PETS)], responder="replay", store=store) as url:
        with httpx.Client(base_url=f"{url}/pets") as client:
            assert ask(client, "d") == first
            assert client.get("/pets/14").headers[UNRECORDED_HEADER] == "1"


def test_what_the_model_made_the_schemas_know(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter([written(REX | {"id": 77})])
    with played(lambda messages: next(texts, "out of words"), monkeypatch) as (client, _):
        assert client.post("/pets", json={"name": "Rex", "status": "sold"}).json()["id"] == 77
        reply = client.get("/pets/77")
    assert FALLBACK_HEADER in reply.headers and reply.json() == REX | {"id": 77}


def test_without_a_model_or_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "TOOLALPACA_SIMULATOR_MODEL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError) as found:
        chat_responder()
    assert found.value.option == "TOOLALPACA_SIMULATOR_MODEL"
    monkeypatch.setenv("TOOLALPACA_SIMULATOR_MODEL", "actor")
    with pytest.raises(OptionError) as found:
        chat_responder()
    assert found.value.option == "OPENAI_BASE_URL"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"model": "actor", "messages": [{"role": "user", "content": "x"}], "prompt": "x"},
        {"model": "actor", "messages": [{"role": "user", "content": "x"}]},
        {"model": "actor", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": ""}]},
    ],
)
def test_the_double_refuses_what_the_service_refuses(body: dict[str, Any]) -> None:
    headers = {"authorization": "Bearer secret-key"}
    assert problem_of("/v1/chat/completions", headers, body) is not None
    good = {"model": "actor", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]}
    assert problem_of("/v1/chat/completions", headers, good) is None
