"""Who answers `getDetails`: a script, or a model behind a server on loopback."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from agent.scripted import ScriptedBackend
from openai_double import KEY, Answer, error, message, openai_double
from openapi.loopback import Site

from toolalpaca_hf.agent import run
from toolalpaca_hf.agent.task import AWAY, NOTHING_TO_ADD, ModelUser, ScriptedUser, User
from toolalpaca_hf.errors import ToolAlpacaError


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)


def user(site: Site, **options: Any) -> ModelUser:
    return ModelUser.at_endpoint(f"{site.url}/v1", "gpt-9", timeout=5.0, retries=0, **options)


def test_a_script() -> None:
    silent: User = ScriptedUser()
    assert silent.answer("High tide?", "Which port?") == NOTHING_TO_ADD
    assert ScriptedUser("Brest.").answer("High tide?", "Which day?") == "Brest."


def test_the_model_reads_what_the_user_knows() -> None:
    with openai_double(message("<think>The port...</think>\nBrest,\n please.")) as site:
        given = user(site).answer("High tide {today}?", "Which {port}?", "The port is Brest.")
    assert given == "Brest, please."
    sent = json.loads(site.seen[0].body)
    [asked] = sent["messages"]
    assert asked["role"] == "user" and sent["max_tokens"] == 128
    places = [asked["content"].index(words) for words in ("High tide {today}?", "The port is Brest.", "Which {port}?")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (error(401, f"wrong key {KEY}"), "TOOLALPACA_API_KEY"),
        ((200, {}, b"<html>hello</html>"), "no JSON"),
        (message(None), "wrote no answer"),
        (message(["x"]), "wrote no answer"),
        (message("<think>for ever"), "wrote no answer"),
        (message("  "), "wrote no answer"),
        ((500, {}, b"oops"), "status 500"),
    ],
)
def test_a_user_who_fails_is_away_and_it_is_recorded(answer: Answer, problem: str) -> None:
    with Site([answer]) as site:
        one = user(site)
        said = one.answer("High tide?", "Which port?")
    assert said == AWAY and one.failures == 1
    assert problem in one.problem and KEY not in one.problem


def test_a_run_says_that_its_user_was_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asking = ' I ask.\nAction: getDetails\nAction Input: {"Question": "Which?"}'
    backend = ScriptedBackend(lambda instruction, turn: " So.\nResponse: It is." if turn else asking)
    with Site([(500, {}, b"oops")]) as site:
        run("sample", backend, tmp_path, user=user(site), limit=3, progress=False)
    assert "left 3 questions open" in caplog.text and "status 500" in caplog.text


def test_failures_of_many_rollouts_are_all_counted() -> None:
    with Site([(500, {}, b"")]) as site, ThreadPoolExecutor(8) as pool:
        one = user(site)
        assert set(pool.map(lambda i: one.answer("", str(i)), range(40))) == {AWAY}
    assert one.failures == 40


def test_who_it_is_for_the_record() -> None:
    assert ScriptedUser().describe() == "scripted"
    assert ModelUser.at_endpoint("http://127.0.0.1:8000/v1", "gpt-9").describe() == "model gpt-9"


def test_an_answer_is_short() -> None:
    with openai_double(message("word " * 10_000)) as site:
        assert len(user(site).answer("x", "y")) <= 1000


def test_a_url_that_is_none() -> None:
    with pytest.raises(ToolAlpacaError, match="no server's URL"):
        ModelUser.at_endpoint("127.0.0.1", "m")
