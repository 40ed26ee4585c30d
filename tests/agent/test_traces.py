"""Rollouts as session traces: what the Hub's format asks for, and what was said in the rollout."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from agent.scripted import ScriptedBackend

from toolalpaca_hf.agent import run, trace_messages, write_traces
from toolalpaca_hf.errors import NotFoundError


def reply(instruction: str, turn: int) -> str:
    said = (" I look.\nAction: getDetails\nAction Input: {}", " Hm.", " I know it.\nResponse: It is so.")
    return said[turn]


def test_a_file_a_rollout_with_calls_and_their_answers(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(reply), tmp_path / "run", progress=False, limit=2)
    assert write_traces(tmp_path / "run", tmp_path / "out", "mine") == 2
    path = tmp_path / "out" / "eval_simulated-orchard-lane-0.jsonl"
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["type"] == "session" and head["harness"] == "toolalpaca-hf" and head["id"].endswith("orchard-lane/0")
    messages = [line["message"] for line in lines if line["type"] == "message"]
    assert len(messages) == len(lines)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    (call,) = messages[1]["toolCalls"]
    assert messages[1]["reasoningContent"] == "I look." and json.loads(call["function"]["arguments"]) == {}
    assert messages[2]["toolCallId"] == call["id"] and messages[2]["content"]
    assert messages[-1]["content"] == "It is so." and messages[-1]["model"] == "mine"
    write_traces(tmp_path / "run", tmp_path / "named")
    *_, last = (tmp_path / "named" / path.name).read_text().splitlines()
    assert json.loads(last)["message"]["model"] == "scripted"  # as run.json has it
    assert messages[-1]["reasoningContent"].strip() == "I know it."


def test_messages_are_openais() -> None:
    step = {"thought": " I look.", "action": "findTide", "action_input": '{"port": "Brest"}', "observation": "Noon"}
    row = {"instruction": "Tide?", "steps": [step], "final_thought": None, "response": ""}
    user, call, answer = trace_messages(row)
    assert user == {"role": "user", "content": "Tide?"} and answer["tool_call_id"] == call["tool_calls"][0]["id"]
    assert call["tool_calls"][0]["function"] == {"name": "findTide", "arguments": '{"port": "Brest"}'}


def test_calls_of_one_turn_are_one_message() -> None:
    first = {"thought": "Both.", "action": "a", "action_input": "{}", "observation": "1", "reasoning": "Hm."}
    second = first | {"thought": "", "action": "b", "observation": "2", "parallel": True, "reasoning": ""}
    row = {"instruction": "Do", "steps": [first, second, first], "final_thought": None, "response": "Done"}
    messages = trace_messages(row)
    assert "".join(message["role"][0] for message in messages) == "uattata"
    answered = [message["tool_call_id"] for message in messages[2:4]]
    assert [call["id"] for call in messages[1]["tool_calls"]] == answered
    assert messages[1]["content"] == "Hm.\nBoth." and len(messages[4]["tool_calls"]) == 1


def test_a_folder_without_rollouts(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        write_traces(tmp_path, tmp_path / "out")


def test_trackio_keeps_them_as_traces(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(reply), tmp_path / "run", progress=False, limit=2)
    command = [sys.executable, "-m", "toolalpaca_hf.cli", "publish", "traces", str(tmp_path / "run")]
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, "--trackio", "mine"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "mine: 2 traces" in done.stdout, done.stderr[-2000:]
    with sqlite3.connect(tmp_path / "trackio" / "mine.db") as database:
        rows = database.execute("SELECT messages, metadata FROM traces ORDER BY step").fetchall()
    (messages, about), other = [[json.loads(text) for text in row] for row in rows]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]
    assert about["session_id"].endswith("orchard-lane/0") != other[1]["session_id"]
