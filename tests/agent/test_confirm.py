"""Calls that change something, made only if the user says so."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from agent.scripted import ScriptedBackend
from openapi.loopback import Site

from toolalpaca_hf.agent import real_calls, run
from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.openapi import load_api

ANSWER = " I know it.\nResponse: It is so."


def document(url: str, folder: Path) -> Path:
    reply = {"responses": {"200": {"description": ""}}}
    identifier = {"name": "id", "in": "query", "required": True, "schema": {"type": "string"}}
    operations = {
        method: {"operationId": name, "parameters": [identifier], **reply}
        for method, name in (("get", "findCat"), ("delete", "deleteCat"), ("post", "addCat"))
    }
    made = {"openapi": "3.0.0", "info": {"title": "Cats", "version": "1"}, "servers": [{"url": url}]}
    path = folder / "cats.json"
    path.write_text(json.dumps({**made, "paths": {"/cats": operations}}))
    return path


@pytest.mark.parametrize(
    ("said", "made"),
    [("y\nYES\n", ["GET", "DELETE", "POST"]), ("n\ny\n", ["GET", "POST"]), ("\n\n", ["GET"]), ("", ["GET"])],
)
def test_only_what_is_confirmed_is_called(
    said: str, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    calls = ["findCat", "deleteCat", "addCat"]

    def reply(instruction: str, turn: int) -> str:
        given = json.dumps({"id": "\x1b[2J\u202e7"}, ensure_ascii=False)
        return ANSWER if turn == 3 else f" So.\nAction: {calls[turn]}\nAction Input: {given}"

    with Site([(200, {"Content-Type": "application/json"}, b"{}")]) as site:
        options: dict[str, Any] = {"real": True, "allow_private": [site.host], "progress": False}
        apis = document(site.url, tmp_path)
        run(apis, ScriptedBackend(reply), tmp_path / "out", instructions=["Go."], confirm_unsafe=True, **options)
    assert [seen.method for seen in site.seen] == made
    (row,) = map(json.loads, (tmp_path / "out" / "rollouts.jsonl").read_text(encoding="utf-8").splitlines())
    answered = [step["observation"].startswith("Status Code: 200") for step in row["steps"]]
    assert answered == [method in made for method in ("GET", "DELETE", "POST")]
    asked = capsys.readouterr().err
    assert asked.count("[y/N]") == 2 and f"DELETE {site.url}/cats?id=" in asked
    assert "\x1b" not in asked and "\u202e" not in asked  # what a model writes does not paint the question over


def test_a_host_does_not_paint_the_question_over(tmp_path: Path) -> None:
    api, asked = load_api(str(document("https://bank\u202e.example", tmp_path))), list[str]()
    calls = real_calls([api])[api.id]
    calls.confirm = lambda question: bool(asked.append(question))
    assert "not allow" in calls.call("deleteCat", '{"id": "7"}')
    assert asked[0].isascii() and "/cats?id=7" in asked[0]


def test_a_simulator_needs_no_confirmation(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        run("sample", ScriptedBackend(lambda *_: ANSWER), tmp_path, confirm_unsafe=True)
