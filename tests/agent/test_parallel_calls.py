"""Several calls in one turn: a scripted server, the simulator, a run's files, their evaluation and training rows."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from agent.scripted import ScriptedBackend
from datasets import load_dataset
from openai_double import KEY, Answer, message, openai_double

from toolalpaca_hf.agent import ChatContext, Completion, Context, EndpointBackend, read_tasks, run
from toolalpaca_hf.data import make_prompt, raw_instance, read_instance, resolve_sources, write_repo
from toolalpaca_hf.evaluation import read_suite
from toolalpaca_hf.evaluation.evaluate import evaluate_trajectories
from toolalpaca_hf.formats import Turn, react_prompt, to_messages, trajectory_segments
from toolalpaca_hf.openapi import load_api
from toolalpaca_hf.schema import Api, Call, Step, Trajectory

BEDS = json.dumps({"train": "NR 72", "cabin": "deluxe", "date": "2025-08-30", "travellers": 2})
NAMES = ["reserveBerths", "cancelBerths", "cancelBerths"]


def native(words: str, calls: list[tuple[str, str]]) -> Answer:
    return message(words, *calls)


def in_text(words: str, calls: list[tuple[str, str]]) -> Answer:
    """The answer of a server that leaves calls in the text."""
    made = [json.dumps({"name": name, "arguments": json.loads(arguments)}) for name, arguments in calls]
    return message("\n".join([words, *(f"<tool_call>\n{call}\n</tool_call>" for call in made)]))


def script(answer: Any) -> Any:
    """Reserves beds, then cancels them twice in one turn."""

    def turn(body: dict[str, Any]) -> Answer:
        results = [one["content"] for one in body["messages"] if one["role"] == "tool"]
        if not results:
            return answer("I reserve them.", [("reserveBerths", BEDS)])
        if len(results) > 1:
            return message("They were reserved and cancelled.")
        number = json.loads(results[0].partition("Response: ")[2])["reservation_id"]
        return answer("Twice, to be sure.", [(name, json.dumps({"reservation_id": number})) for name in NAMES[1:]])

    return turn


@pytest.fixture(params=[native, in_text])
def ran(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Any]]:
    """The folder of a run of one API, and the bodies of its requests."""
    apis = json.loads(Path(resolve_sources("sample").eval_simulated[0].path).read_text(encoding="utf-8"))
    file = tmp_path / "eval_simulated.json"
    file.write_text(json.dumps([api for api in apis if api["Name"] == "Nightrail"]), encoding="utf-8")
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)
    with openai_double(script(request.param)) as site:
        backend = EndpointBackend(f"{site.url}/v1", "gpt-9", "chat", concurrency=1, retries=0)
        note = run(file, backend, tmp_path / "run", progress=False, limit=4)
    assert note["ended"] == {"answered": 4} and note["steps"] == 12
    return tmp_path / "run", [json.loads(seen.body) for seen in site.seen]


def test_calls_of_a_turn_are_made_in_order_and_told_together(ran: tuple[Path, list[Any]], tmp_path: Path) -> None:
    folder, bodies = ran
    assert len(bodies) == 13  # a check of the server, then three turns for each of four instructions
    asked = next(one for one in bodies if len(one["messages"]) > 4)["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "tool", "assistant", "tool", "tool"]
    calls, results = asked[3]["tool_calls"], asked[4:]
    assert asked[3]["content"] == "Twice, to be sure."
    assert [call["function"]["name"] for call in calls] == NAMES[1:]
    assert [call["id"] for call in calls] == [one["tool_call_id"] for one in results]
    ids = [call["id"] for one in asked for call in one.get("tool_calls", [])]
    assert len(set(ids)) == 3 and all(re.fullmatch("[A-Za-z0-9]{9}", one) for one in ids)
    # The session saw one after the other: what the first cancelled is gone for the second.
    statuses = [one["content"][len("Status Code: ") :][:3] for one in results]
    assert statuses == ["200", "404"]

    row = json.loads((folder / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert [step["action"] for step in row["steps"]] == NAMES
    assert [step["parallel"] for step in row["steps"]] == [False, False, True]
    assert [step["observation"] for step in row["steps"]] == [
        asked[2]["content"],
        *(one["content"] for one in results),
    ]
    parquet = pq.read_table(folder / "trajectories.parquet").to_pylist()
    assert parquet[0]["steps"] == row["steps"]

    # The raw layout has one call after the other, as upstream reads it.
    raw = json.loads((folder / "trajectories.json").read_text(encoding="utf-8"))[0]["Instances"][0]
    assert [head[0] for head, _ in raw["intermediate_steps"]] == NAMES and raw["Parallel Steps"] == [2]
    assert all(len(head) == 3 and isinstance(text, str) for head, text in raw["intermediate_steps"])

    suite = read_suite(tmp_path / "eval_simulated.json").first(4)
    records = []
    for name in ("", "rollouts.jsonl", "trajectories.parquet", "trajectories.json"):
        metrics = evaluate_trajectories(suite, folder / name, tmp_path / "eval")
        assert metrics["failed"] == 0 and metrics["calls"]["all_functions"]["value"] == 0.25
        records.append(json.loads((tmp_path / "eval" / "instructions.json").read_text(encoding="utf-8")))
        page = (tmp_path / "eval" / "report.html").read_text(encoding="utf-8")
        assert page.count("action, in the same turn") == 4
    assert records.count(records[0]) == 4

    # Built into a dataset, the chat rows have the turns and the segments one call after the other.
    sources = resolve_sources(train=folder / "trajectories.json")
    write_repo(sources, tmp_path / "repo", make_prompt("react"))
    chat = load_dataset(str(tmp_path / "repo"), "chat", split="train", cache_dir=str(tmp_path / "cache"))[0]
    made = [[call["function"]["name"] for call in one["tool_calls"] or []] for one in chat["messages"]]
    assert made == [[], NAMES[:1], [], NAMES[1:], [], [], []] and chat["environment"] == chat["api"]
    sft = load_dataset(str(tmp_path / "repo"), "sft", split="train", cache_dir=str(tmp_path / "cache"))[0]
    text = "".join(one["text"] for one in sft["segments"] if one["trainable"])
    assert re.findall(r"Action: (\w+)", text) == NAMES


def test_a_function_whose_name_providers_refuse_is_called_by_its_tools_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "things.json"
    names = {"get": "list things.v2", "post": "list_things_v2", "delete": "getDetails"}
    paths = {m: {"operationId": n, "summary": m, "responses": {"200": {"description": ""}}} for m, n in names.items()}
    document = {"openapi": "3.0.0", "info": {"title": "Things", "version": "1"}, "paths": {"/things": paths}}
    path.write_text(json.dumps(document), encoding="utf-8")
    shown = [tool["function"]["name"] for tool in ChatContext.begin(load_api(path), "").tools]
    assert shown == ["getDetails", "list_things_v2_2", "list_things_v2", "getDetails_2"]
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)
    calls = [(name, "{}") for name in shown[1:]]
    with openai_double(message("Hi"), message("I look.", *calls), message("Done.")) as site:
        backend = EndpointBackend(f"{site.url}/v1", "gpt-9", "chat", retries=0)
        note = run(path, backend, tmp_path / "run", instructions=["List all."], progress=False)
    assert note["ended"] == {"answered": 1}
    row = json.loads((tmp_path / "run" / "rollouts.jsonl").read_text(encoding="utf-8"))
    # The document's names are recorded, and those of the tools are sent.
    assert [step["action"] for step in row["steps"]] == list(names.values())
    assert all(step["observation"].startswith("Status Code: 200") for step in row["steps"])
    sent = json.loads(site.seen[-1].body)["messages"][1]["tool_calls"]
    assert [call["function"]["name"] for call in sent] == shown[1:]
    trajectory = Trajectory("a/b/0", "a/b", "List all.", "", [Step(**step) for step in row["steps"]], None, "Done.")
    trained = to_messages(load_api(path), trajectory)
    assert [call["function"]["name"] for call in trained["messages"][1]["tool_calls"]] == shown[1:]
    assert [tool["function"]["name"] for tool in trained["tools"]] == shown


class Chatty(ScriptedBackend):
    """Writes one turn of several calls again and again."""

    turn = Turn.of_calls(
        "So.", [Call("noSuchTool", "{}"), Call("datetime", "{}"), Call("datetime", '{"a": "\ud800"}')]
    )

    def _one(self, context: Context, max_new_tokens: int) -> Completion:
        assert isinstance(context, ChatContext)
        return Completion("Calls.", self.turn, 1)


@pytest.mark.parametrize(("steps", "turns"), [(1, 1), (3, 1), (4, 2)])
def test_the_limit_on_steps_counts_calls(tmp_path: Path, steps: int, turns: int) -> None:
    backend = Chatty(lambda instruction, turn: "", style="chat")
    note = run("sample", backend, tmp_path, progress=False, limit=1, max_steps=steps)
    assert note["ended"] == {"steps": 1} and note["steps"] == steps and note["tokens"] == turns
    row = json.loads((tmp_path / "rollouts.jsonl").read_text(encoding="utf-8"))
    assert [step["parallel"] for step in row["steps"]] == [False, True, True, False][:steps]


def test_reasoning_is_kept_and_shown(tmp_path: Path) -> None:
    task = read_tasks("sample").tasks[0]
    reply = iter(
        [
            Turn.of_calls("I look.", [Call("datetime", "{}")], reasoning="The time is asked for. \ud83d"),
            Turn.of_calls("", [Call("datetime", "{}")], reasoning="Once more."),
            Turn("", reasoning="Nothing comes."),
            Turn("", response="Now.", reasoning="I know it."),
        ]
    )

    seen: list[dict[str, Any]] = []

    class Reasoning(Chatty):
        def _one(self, context: Context, max_new_tokens: int) -> Completion:
            assert isinstance(context, ChatContext)
            seen[:] = context.messages
            return Completion("x", next(reply), 1)

    run("sample", Reasoning(lambda instruction, turn: "", style="chat"), tmp_path / "run", progress=False, limit=1)
    row = json.loads((tmp_path / "run" / "rollouts.jsonl").read_text(encoding="utf-8"))
    assert [step["reasoning"] for step in row["steps"]] == ["The time is asked for. ?", "Once more.", "Nothing comes."]
    # Where the message says nothing, the reasoning is the thought, and is shown once.
    assert [step["thought"] for step in row["steps"]] == ["I look.", "Once more.", ""]
    assert [message["content"] for message in seen if message["role"] == "assistant"] == ["I look.", "", "x"]
    assert [message.get("reasoning_content") for message in seen if message["role"] == "assistant"][1] == "Once more."
    assert row["final_thought"] == "I know it." and row["id"] == task.id
    evaluate_trajectories(read_suite("sample").first(1), tmp_path / "run", tmp_path / "eval")
    page = (tmp_path / "eval" / "report.html").read_text(encoding="utf-8")
    assert "The time is asked for." in page and page.count("Once more.") == 1


STEPS = [
    Step("Both.", "findTide", '{"port": "Brest"}', "At noon", reasoning="Hm."),
    Step("", "findTide", '{"port": "Nantes"}', "At one", parallel=True),
    Step("One more.", "findTide", "{}", "At two"),
]


def test_the_raw_layout_keeps_turns_beside_the_steps() -> None:
    trajectory = Trajectory("train/tides/0", "train/tides", "High tide?", "", STEPS, "I know.", "So.")
    raw = raw_instance(trajectory)
    assert read_instance(raw, "train/tides", 0) == trajectory
    alone = Trajectory("train/tides/0", "train/tides", "High tide?", "", STEPS[2:], "I know.", "So.")
    assert set(raw) - set(raw_instance(alone)) == {"Parallel Steps", "Reasoning"}
    # Segments are the same with and without the marks.
    plain = [Step(step.thought, step.action, step.action_input, step.observation) for step in STEPS]
    one_by_one = Trajectory("train/tides/0", "train/tides", "High tide?", "", plain, "I know.", "So.")
    api, prompt = Api("train/tides", "Tides"), react_prompt()
    assert trajectory_segments(api, trajectory, prompt) == trajectory_segments(api, one_by_one, prompt)


@pytest.mark.parametrize("junk", [None, 3, "x", {"0": 1}, [None, "1", 99, [0]]])
def test_marks_of_another_kind_are_ignored(junk: Any) -> None:
    raw = raw_instance(Trajectory("t/a/0", "t/a", "High tide?", "", STEPS[2:], "I know.", "So."))
    read = read_instance(raw | {"Parallel Steps": junk}, "t/a", 0)
    assert read.steps == STEPS[2:]
