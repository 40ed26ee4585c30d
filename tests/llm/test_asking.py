"""Asking models: what is sent, what is kept, and what becomes of servers that do not do as they should."""

import itertools
import json
import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from corpus.role_server import JSON, KEY, ChatServer, Play, refused, said
from openapi.loopback import Rude

from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.llm import (
    Answer,
    Budget,
    BudgetExceeded,
    CachedAsk,
    ContextFull,
    ModelSettings,
    NotAsked,
    Price,
    RequestCache,
    RequestRejected,
    Unanswered,
    request_hash,
)
from toolalpaca_hf.llm.asking import GIVE_UP
from toolalpaca_hf.storage import StorageError

ROLES = ("author", "user", "assistant", "executor")
HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"tide": {"type": "string"}}, "required": ["tide"]}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLALPACA_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDES_KEY", KEY)


def roles(url: str, **settings: Any) -> dict[str, ModelSettings]:
    settings = {"key_variable": "TIDES_KEY", "retries": 0, **settings}
    return dict.fromkeys(ROLES, ModelSettings(f"{url}/v1", "gpt-9", **settings))


@contextmanager
def asking(path: Path, play: Play, budget: Budget | None = None, **settings: Any) -> Iterator[Any]:
    with ChatServer(play) as server:
        cache = RequestCache(path / "requests.sqlite")
        yield server, CachedAsk(roles(server.url, **settings), cache, budget)
        cache.close()


def in_turn(*answers: Any) -> Play:
    """The answers one after the other, the last again and again."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda body: next(left)


def echo(body: dict[str, Any]) -> str:
    return f"heard {body['messages'][-1]['content']}"


def test_a_question_is_asked_once_and_a_retry_anew(tmp_path: Path) -> None:
    with asking(tmp_path, echo) as (server, ask):
        first = ask("user", HELLO, key="tides", max_tokens=50, stop=["\n"])
        assert first == Answer("heard Hello", "stop", 11, 7, "gpt-9", enforced=False)
        assert ask("user", HELLO, key="tides", max_tokens=50, stop=["\n"]) == first
        (body,) = server.bodies
        assert body == {
            "model": "gpt-9", "messages": HELLO, "max_tokens": 50, "temperature": 0.7, "stop": ["\n"],
            "seed": body["seed"],
        }  # fmt: skip
        others: list[dict[str, Any]] = [{"attempt": 1}, {"key": "moon"}, {"max_tokens": 60}, {"temperature": 0.1}]
        for other in others:
            ask("user", HELLO, **{"key": "tides", "max_tokens": 50, "stop": ["\n"], **other})
        ask("author", HELLO, key="tides", max_tokens=50, stop=["\n"])
        assert len(server.bodies) == 6
        assert len({body["seed"] for body in server.bodies}) == 6, "an identical retry would get an identical answer"


def test_what_was_answered_is_there_for_the_next_process(tmp_path: Path) -> None:
    with asking(tmp_path, echo) as (_, ask):
        first = ask("user", HELLO)
    with asking(tmp_path, in_turn("something else")) as (server, ask):
        assert ask("user", HELLO) == first
        assert server.bodies == []


def test_the_same_question_at_the_same_time_is_asked_once(tmp_path: Path) -> None:
    def slowly(body: dict[str, Any]) -> str:
        time.sleep(0.2)
        return echo(body)

    with asking(tmp_path, slowly) as (server, ask), ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask("user", HELLO), range(16)))
        assert len(server.bodies) == 1 and len(set(answers)) == 1


def test_too_many_requests_and_errors_are_waited_out(tmp_path: Path) -> None:
    answers = (refused(429, "slow down", **{"Retry-After": "1"}), refused(503, "busy"), "at last")
    with asking(tmp_path, in_turn(*answers), retries=3) as (server, ask):
        begun = time.monotonic()
        assert ask("user", HELLO).text == "at last"
        assert time.monotonic() - begun >= 1.0, "Retry-After says 1 second"
        assert len(server.bodies) == 3
        assert ask.cache.spent()["user"].calls == 1


def test_a_server_that_fails_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    with asking(tmp_path, in_turn(refused(500, "no memory"))) as (_, ask):
        with pytest.raises(Unanswered) as caught:
            ask("user", HELLO)
        assert caught.value.status == 500
        assert ask.cache.spent() == {}
    with asking(tmp_path, echo) as (_, ask):
        assert ask("user", HELLO).text == "heard Hello"


def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    def hang(connection: Any, over: threading.Event) -> None:
        over.wait(20)

    with Rude(hang) as server:
        ask = CachedAsk(roles(server.url, timeout=0.5), RequestCache(tmp_path / "requests.sqlite"))
        begun = time.monotonic()
        with pytest.raises(Unanswered):
            ask("user", HELLO)
        assert time.monotonic() - begun < 5


def test_a_server_that_is_down_is_left_alone(tmp_path: Path) -> None:
    with asking(tmp_path, in_turn(refused(500, "no memory"))) as (server, ask):
        for number in range(GIVE_UP + 5):
            with pytest.raises(Unanswered if number < GIVE_UP else NotAsked):
                ask("user", HELLO, attempt=number)
        assert len(server.bodies) == 2 * GIVE_UP
        with pytest.raises(NotAsked):  # the same settings are the same model
            ask("author", HELLO)
        apart = {"user": roles(server.url)["user"], "author": roles(server.url, timeout=9.0)["author"]}
        ask = CachedAsk(apart, ask.cache)
        for number in range(GIVE_UP + 1):
            with pytest.raises(Unanswered if number < GIVE_UP else NotAsked):
                ask("user", HELLO, attempt=number)
        with pytest.raises(Unanswered):  # which may be well while another is not
            ask("author", HELLO)


NONSENSE = [
    (200, {"Content-Type": "text/html"}, b"<html>sign in</html>"),
    (200, JSON, b'{"choices": []}'),
    (200, JSON, b'{"choices": [{"index": 0, "finish_reason": "stop"}]}'),
    (200, JSON, b'{"choices": [{"mess'),
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=["page", "no choice", "no message", "broken off"])
def test_nonsense_is_asked_for_again_and_never_kept(tmp_path: Path, nonsense: Any) -> None:
    with asking(tmp_path, in_turn(nonsense, "sense")) as (_, ask):
        assert ask("user", HELLO).text == "sense"
    with asking(tmp_path, in_turn(nonsense)) as (_, ask):
        with pytest.raises(Unanswered):
            ask("user", HELLO, attempt=1)
        assert ask.cache.spent()["user"].calls == 1


def test_refusals_are_answers(tmp_path: Path) -> None:
    answers = (
        said(None, refusal="I cannot help with that."),
        said("I can", finish="content_filter"),
        refused(400, "flagged by our content policy", "content_policy_violation"),
    )
    with asking(tmp_path, in_turn(*answers)) as (_, ask):
        assert ask("user", HELLO, attempt=0) == Answer("", "refusal", 11, 7, "gpt-9")
        assert ask("user", HELLO, attempt=1) == Answer("", "refusal", 11, 7, "gpt-9")
        with pytest.raises(RequestRejected) as caught:
            ask("user", HELLO, attempt=2)
        assert caught.value.status == 400 and "content policy" in caught.value.said


def test_a_conversation_that_is_too_long_is_one_s_own_fault(tmp_path: Path) -> None:
    with asking(tmp_path, echo) as (server, ask):
        with pytest.raises(ContextFull):
            ask("user", [{"role": "user", "content": "x" * 100_000}])
        assert len(server.problems) == 1


def test_what_is_cut_what_is_stopped_and_what_is_thought(tmp_path: Path) -> None:
    answers = (
        said(" half a sen", finish="length"),
        said("Action: find\nObservation: made up"),
        said("<think>Hm.</think>\n\nYes.", usage=None),
        said("half \ud800 a pair"),
    )
    with asking(tmp_path, in_turn(*answers)) as (_, ask):
        cut = ask("user", HELLO, attempt=0)
        assert (cut.text, cut.finish_reason) == (" half a sen", "length"), "a space may be what was cut"
        stopped = ask("user", HELLO, stop=["\nObservation"], attempt=1)
        assert (stopped.text, stopped.finish_reason) == ("Action: find", "stop"), "not every server knows stop texts"
        thought = ask("user", HELLO, attempt=2)
        assert (thought.text, thought.prompt_tokens, thought.completion_tokens) == ("Yes.", 2, 1)
        assert ask("user", HELLO, attempt=3).text == "half ? a pair"


def enforcing(body: dict[str, Any]) -> str:
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return "Good morning!"
    return json.dumps({name: one.get("enum", ["noon"])[0] for name, one in schema["properties"].items()})


def ignoring(body: dict[str, Any]) -> str:
    return "Good morning!"


def refusing(body: dict[str, Any]) -> Any:
    return refused(400, "response_format is not supported") if "response_format" in body else "Good morning!"


@pytest.mark.parametrize(("play", "enforced"), [(enforcing, True), (ignoring, False), (refusing, False)])
def test_whether_schemas_are_enforced_is_found_out(tmp_path: Path, play: Play, enforced: bool) -> None:
    with asking(tmp_path, play) as (server, ask):
        assert ask.check() == dict.fromkeys(ROLES, enforced)
        probes = len(server.bodies)
        answer = ask("executor", HELLO, schema=SCHEMA)
        assert answer.enforced == enforced
        assert answer.text == ('{"tide": "noon"}' if enforced else "Good morning!")
        assert ("response_format" in server.bodies[-1]) == enforced, "none is sent where it does nothing"
        assert len(server.bodies) == probes + 1
        assert ask.check() == dict.fromkeys(ROLES, enforced) and len(server.bodies) == probes + 1
    with asking(tmp_path, play) as (server, ask):
        assert ask.check() == dict.fromkeys(ROLES, enforced) and server.bodies == []


def test_a_schema_that_a_server_does_not_know_is_left_out(tmp_path: Path) -> None:
    def picky(body: dict[str, Any]) -> Any:
        odd = '"tide"' in json.dumps(body.get("response_format"))
        return refused(400, "Invalid schema for response_format") if odd else enforcing(body)

    with asking(tmp_path, picky) as (_, ask):
        assert ask("executor", HELLO, schema=SCHEMA).enforced is False


def test_the_key_is_sent_and_stands_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, in_turn(f"your key is {KEY}", refused(400, f"bad key {KEY}"))) as (_, ask):
        assert ask("user", HELLO).text == "your key is ***"
        with pytest.raises(RequestRejected) as caught:
            ask("user", HELLO, attempt=1)
        assert KEY not in f"{caught.value}{vars(caught.value)}{ask.roles}{ask!r}{vars(ask)}"
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    monkeypatch.setenv("TIDES_KEY", "sk-another")
    with asking(tmp_path, echo) as (_, ask), pytest.raises(Unanswered) as caught:
        ask("user", HELLO, attempt=2)
    assert caught.value.status == 401 and "TIDES_KEY" in (caught.value.fix or "")
    monkeypatch.delenv("TIDES_KEY")
    with pytest.raises(OptionError) as unset, asking(tmp_path, echo):
        pass
    assert unset.value.option == "TIDES_KEY"


def test_a_budget_of_calls_is_kept_to_by_many_threads(tmp_path: Path) -> None:
    def ask_or_none(number: int) -> str | None:
        try:
            return ask("user", HELLO, attempt=number).text
        except BudgetExceeded as error:
            assert "the budget of 10 calls is spent" in str(error)
            return None

    with asking(tmp_path, echo, Budget(calls=10)) as (server, ask), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask_or_none, range(30)))
        assert len(server.bodies) == 10 == len([one for one in answers if one])
        assert ask("user", HELLO, attempt=answers.index("heard Hello")).text, "what is answered costs nothing"
    with asking(tmp_path, echo, Budget(calls=12)) as (server, ask):
        assert [ask("user", HELLO, attempt=n).text for n in (100, 101)] == ["heard Hello"] * 2
        with pytest.raises(BudgetExceeded):
            ask("user", HELLO, attempt=102)
        assert len(server.bodies) == 2


def test_a_budget_of_tokens_and_of_money(tmp_path: Path) -> None:
    # An answer is 11 tokens of a question and 7 of text.
    for name, budget, calls in (("a", Budget(tokens=40), 3), ("b", Budget(money=0.001), 4)):
        (tmp_path / name).mkdir()
        with asking(tmp_path / name, echo, budget, price=Price(prompt=10.0, completion=20.0)) as (server, ask):
            with pytest.raises(BudgetExceeded):
                for number in range(20):
                    ask("user", HELLO, attempt=number)
            assert len(server.bodies) == calls


def put_many(path: str, begin: int) -> None:
    cache = RequestCache(path)
    for number in range(begin, begin + 200):
        cache.put(request_hash(n=number), "user", "tides", 0, Answer(f"{number}", "stop", 1, 1, "gpt-9"))


def test_several_processes_keep_answers_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "requests.sqlite"
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=put_many, args=(str(path), begin)) for begin in (0, 100, 200)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    cache = RequestCache(path)
    assert [cache.get(request_hash(n=n)).text for n in range(400)] == [str(n) for n in range(400)]  # type: ignore[union-attr]  # all are there
    assert cache.spent()["user"].calls == 400, "an answer that two give counts once"


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "requests.sqlite").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(StorageError):
        RequestCache(tmp_path / "requests.sqlite")


def test_a_cache_on_a_shared_disk_needs_no_memory_of_one_machine(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "requests.sqlite", shared_disk=True)
    cache.put(request_hash(n=1), "user", "", 0, Answer("1", "stop", 1, 1, "gpt-9"))
    assert sqlite3.connect(cache.path).execute("PRAGMA journal_mode").fetchone() != ("wal",)
    assert {path.name for path in tmp_path.iterdir()} <= {"requests.sqlite", "requests.sqlite-journal"}


def test_nobody_plays_a_role(tmp_path: Path) -> None:
    ask = CachedAsk({"user": ModelSettings("http://127.0.0.1:1/v1", "gpt-9")}, RequestCache(tmp_path / "x.sqlite"))
    with pytest.raises(OptionError, match="author"):
        ask("author", HELLO)
