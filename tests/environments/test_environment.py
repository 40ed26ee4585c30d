"""Episodes: what TRL calls, what the reward is, and that it is the evaluation's for the same trajectory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolalpaca_hf.agent import run
from toolalpaca_hf.environments import (
    OpenApiEnvironment,
    environment_dataset,
    openapi_environments,
    reward_parts,
)
from toolalpaca_hf.errors import InputError, NotFoundError
from toolalpaca_hf.evaluation import evaluate_trajectories, read_suite
from toolalpaca_hf.formats import react_prompt
from toolalpaca_hf.metrics import request_or_refusal

EVAL = "eval_simulated"
Completion = list[dict[str, Any]]


@pytest.fixture(scope="module")
def environments() -> dict[str, type[OpenApiEnvironment]]:
    return openapi_environments("sample", split=EVAL)


def tools_of(environment: OpenApiEnvironment) -> dict[str, Callable[..., str]]:
    """The tools as `GRPOTrainer` finds them (trl 1.16): public methods of the class that are functions."""
    import inspect

    members = inspect.getmembers(type(environment), predicate=inspect.isfunction)
    names = [name for name, _ in members if not name.startswith("_") and name not in ("reset", "get_reward")]
    assert {"reset", "get_reward"} <= {name for name, _ in members}
    return {getattr(environment, name).__name__: getattr(environment, name) for name in names}


def played(environment: OpenApiEnvironment, id: str, calls: list[tuple[str, Any]], answer: str) -> Completion:
    """An episode as TRL plays it; returns the completion."""
    environment.reset(id=id, prompt=[{"role": "user", "content": environment.tasks[id].instruction}])
    tools, messages = tools_of(environment), []
    for name, arguments in calls:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        messages.append({"role": "assistant", "content": "I look it up.", "tool_calls": [call]})
        try:
            result = tools[name](**arguments)
        except (KeyError, TypeError) as error:
            result = str({"error": str(error)})
        messages.append({"role": "tool", "name": name, "content": result})
    return [*messages, {"role": "assistant", "content": answer}]


def golden(environment: OpenApiEnvironment, id: str) -> list[tuple[str, Any]]:
    return [(call.action, json.loads(call.action_input)) for call in environment.tasks[id].golden_calls]


def reward_of(environment: OpenApiEnvironment, completion: Completion) -> float:
    """What TRL computes: its reward functions run first, then the environment's own."""
    for part in reward_parts():
        part(completions=[completion], environments=[environment], prompts=[], trainer_state=None)
    return environment.get_reward()


def test_the_tools_are_the_apis_functions_in_its_order(environments: dict[str, type[OpenApiEnvironment]]) -> None:
    for kind in environments.values():
        assert list(tools_of(kind())) == [tool["function"]["name"] for tool in kind.tools]
        assert [tool["function"]["name"] for tool in kind.tools][1:] == [one.name for one in kind.api.functions]


def test_a_function_called_like_a_method_is_a_tool(tmp_path: Path) -> None:
    get = {"get": {"operationId": "reset", "responses": {"200": {"description": "ok"}}}}
    hidden = {"get": {"operationId": "_hidden", "responses": {"200": {"description": "ok"}}}}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({"openapi": "3.0.0", "info": {"title": "R"}, "paths": {"/r": get, "/h": hidden}}))
    (kind,) = openapi_environments(file).values()
    environment = kind()
    assert environment.reset(instruction="Reset it.", golden_calls=[{"action": "reset", "action_input": "{}"}])
    assert list(tools_of(environment)) == ["getDetails", "reset", "_hidden"]
    assert tools_of(environment)["reset"]().startswith("Status Code: 200")
    assert environment.reward.parts["process"] == 1.0
    environment.reset(instruction="Reset it.", golden_calls=[{"action": "reset", "action_input": {}}])
    tools_of(environment)["reset"]()
    assert environment.reward.parts["process"] == 1.0, "arguments may be an object"
    environment.reset(instruction="What now?")
    with pytest.raises(InputError):
        environment.get_reward()
    with pytest.raises(InputError):
        environment.reset(id="train/none/0")


def test_sessions_are_apart_and_an_episode_begins_anew(environments: dict[str, type[OpenApiEnvironment]]) -> None:
    """What one rollout makes, another does not find, nor itself in the next episode."""
    kind = environments[f"{EVAL}/orchard-lane"]
    operations = {one.name: one.method for one in kind.api.functions}
    made = next(name for name, method in operations.items() if method == "post")
    first, second = kind(), kind()
    id = next(iter(kind.tasks))
    for environment in (first, second):
        environment.reset(id=id)
    sessions = kind._simulator.sessions
    tools_of(first)[made](**arguments_for(first, made))
    state = {name: len(sessions.get(one._session, kind._slug).records) for name, one in (("a", first), ("b", second))}
    assert state == {"a": 1, "b": 0}
    before = len(sessions)
    first.reset(id=id)
    assert len(sessions) == before - 1 and first.trajectory.steps == []


def arguments_for(environment: OpenApiEnvironment, name: str) -> dict[str, Any]:
    for task in environment.tasks.values():
        for call in task.golden_calls:
            if call.action == name:
                return json.loads(call.action_input)
    raise AssertionError(name)


def test_the_reward_is_the_evaluations_to_the_last_digit(
    environments: dict[str, type[OpenApiEnvironment]], tmp_path: Path
) -> None:
    """Right, half right, wrong, invented and silent trajectories of all 40 instructions, through a run's file."""
    rewards: dict[str, float] = {}
    rows = []
    for kind in environments.values():
        environment = kind()
        for place, id in enumerate(kind.tasks):
            calls = golden(environment, id)
            name, arguments = calls[0]
            variants = [
                (calls, "Here it is."),
                ([*calls, *calls], "Here it is."),
                ([(name, {**arguments, next(iter(arguments), "x"): "nowhere"})], "Here."),
                ([("inventIt", {"a": 1}), *calls], ""),
                ([("getDetails", {"Question": "Which?"}), (name, {})], "Sorry."),
                ([], "Sorry."),
            ]
            made, answer = variants[place % len(variants)]
            rewards[id] = reward_of(environment, played(environment, id, made, answer))
            trajectory = environment.trajectory
            assert len(trajectory.steps) == len(made) and trajectory.response == answer
            steps = [vars(step) for step in trajectory.steps]
            rows.append({**vars(trajectory), "steps": steps, "ended": "answered", "error": "", "tokens": 0})
    file = tmp_path / "rollouts.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    metrics = evaluate_trajectories(read_suite("sample"), file, tmp_path / "out")
    records = json.loads((tmp_path / "out" / "instructions.json").read_text(encoding="utf-8"))
    assert {record["id"]: record["reward"] for record in records} == rewards
    assert len(set(rewards.values())) > 5
    assert metrics["reward"]["value"] == pytest.approx(sum(rewards.values()) / 40)


def test_a_rollout_over_http_sees_what_the_environment_gives(
    environments: dict[str, type[OpenApiEnvironment]], tmp_path: Path
) -> None:
    """The agent's own run of the golden calls, served, against the same calls in process."""
    from scripted_golden import GoldenBackend

    run("sample", GoldenBackend(environments), tmp_path / "run", progress=False)
    lines = (tmp_path / "run" / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    seen = {row["id"]: [step["observation"] for step in row["steps"]] for row in map(json.loads, lines)}
    for kind in environments.values():
        environment = kind()
        for id in kind.tasks:
            played(environment, id, golden(environment, id), "Done.")
            assert [step.observation for step in environment.trajectory.steps] == seen[id]


def test_what_games_a_reward_gets_what_it_deserves(environments: dict[str, type[OpenApiEnvironment]]) -> None:
    """Means over all instructions: nothing comes near to calling what was asked for, once."""

    def mean(policy: Callable[[OpenApiEnvironment, str], tuple[list[tuple[str, Any]], str]]) -> float:
        rewards = []
        for kind in environments.values():
            environment = kind()
            for id in kind.tasks:
                rewards.append(reward_of(environment, played(environment, id, *policy(environment, id))))
        return sum(rewards) / len(rewards)

    def examples(environment: OpenApiEnvironment, name: str) -> dict[str, Any]:
        """The first values that the documentation shows of each argument."""
        (tool,) = [tool["function"] for tool in environment.tools if tool["function"]["name"] == name]
        kinds = {"integer": 1, "number": 1.5, "boolean": True, "array": ["example"], "object": {}}
        shown = {}
        for argument, schema in tool["parameters"]["properties"].items():
            values = [schema[key] for key in ("example", "default") if key in schema] + schema.get("enum", [])
            shown[argument] = values[0] if values else kinds.get(schema.get("type"), "example")
        return shown

    def every(environment: OpenApiEnvironment, id: str) -> tuple[list[tuple[str, Any]], str]:
        own = dict(golden(environment, id))
        calls = [(one.name, own.get(one.name, examples(environment, one.name))) for one in environment.api.functions]
        return calls, "Here it is."

    honest = mean(lambda environment, id: (golden(environment, id), "Here it is."))
    silent = mean(lambda environment, id: (golden(environment, id), ""))
    once_wrong = mean(lambda environment, id: ([(golden(environment, id)[0][0], {})], "Here it is."))
    everything = mean(every)
    apology = mean(lambda environment, id: ([], "I am sorry, I cannot help with that."))
    asking = mean(lambda environment, id: ([("getDetails", {"Question": "What?"})] * 3, "Please tell me more."))
    repeated = mean(lambda environment, id: (golden(environment, id) * 5, "Here it is."))
    copied = mean(
        lambda environment, id: (
            [(name, examples(environment, name)) for name, _ in golden(environment, id)],
            "Here it is.",
        )
    )
    assert honest == pytest.approx(1.0)
    assert silent == pytest.approx(0.95)
    assert apology == 0.0, "nothing was done"
    assert asking <= 0.05, "asking is allowed, and worth next to nothing"
    assert everything < 0.3, "even with the right arguments among the others"
    assert copied < 0.5 < honest, "the right function by example values is no solution"
    assert once_wrong < 0.35
    assert repeated < honest - 0.1, "the same call again is not free"


def test_without_partial_credit_only_the_verdict_counts() -> None:
    kind = openapi_environments("sample", split=EVAL, partial_credit=False)[f"{EVAL}/orchard-lane"]
    environment = kind()
    id = next(iter(kind.tasks))
    calls = golden(environment, id)
    assert reward_of(environment, played(environment, id, calls, "")) == 1.0
    assert reward_of(environment, played(environment, id, [(calls[0][0], {})], "So.")) == 0.0


def test_rows_for_training_and_their_hints(environments: dict[str, type[OpenApiEnvironment]]) -> None:
    rows = environment_dataset(environments, react_prompt(1))
    assert len(rows) == 40 and set(rows["environment"]) == set(environments)
    kind = environments[rows[0]["environment"]]
    asked = rows[0]["prompt"][0]["content"]
    assert asked.startswith(kind.tasks[rows[0]["id"]].instruction) and "Nearest tools:" in asked
    assert kind().reset(**rows[0]) is None
    trained = openapi_environments("sample")
    assert len(trained) == 18 and not set(trained) & set(environments)
    assert len(environment_dataset(trained)) > 100


def test_every_source_is_read(tmp_path: Path) -> None:
    from toolalpaca_hf.data import SAMPLE, make_prompt, resolve_sources, write_repo

    write_repo(resolve_sources("sample"), tmp_path / "built", make_prompt("react"))
    built = openapi_environments(tmp_path / "built")
    raw = openapi_environments(SAMPLE / "train.json")
    sample = openapi_environments("sample")
    assert list(built) == list(raw) == list(sample)
    for id, kind in sample.items():
        assert kind.tasks == raw[id].tasks == built[id].tasks and kind.tools == built[id].tools
    held_out = openapi_environments(tmp_path / "built", split=EVAL)
    assert sum(len(kind.tasks) for kind in held_out.values()) == 40
    for wrong in (tmp_path / "nothing", tmp_path):
        with pytest.raises((InputError, NotFoundError)):
            openapi_environments(wrong)


def test_kept_answers_are_those_that_would_be_made(environments: dict[str, type[OpenApiEnvironment]]) -> None:
    """Second and third episodes, whose calls are kept, see what the first saw; so does one that forgets them."""

    def seen(environment: OpenApiEnvironment, id: str) -> list[str]:
        # Twice in a row: a call may meet what the one before it left.
        calls = [call for call in golden(environment, id) for _ in range(2)]
        return [message["content"] for message in played(environment, id, calls, "")[1::2]]

    for kind in environments.values():
        environment, responder = kind(), kind._simulator.responder
        for id in kind.tasks:
            first = [seen(environment, id) for _ in range(3)]
            responder._kept.clear()
            request_or_refusal.cache_clear()
            assert first == [seen(kind(), id)] * 3, id


@pytest.mark.slow
def test_memory_is_flat_over_episodes(environments: dict[str, type[OpenApiEnvironment]]) -> None:
    import re

    def resident() -> float:
        found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    plays = [(kind(), id) for kind in environments.values() for id in kind.tasks]
    sessions = plays[0][0]._simulator.sessions
    sizes = []
    for number in range(5000):
        environment, id = plays[number % len(plays)]
        environment.reset(id=id)
        for name, arguments in golden(environment, id):
            tools_of(environment)[name](**arguments)
        assert environment.get_reward() > 0
        if number % 500 == 499:
            sizes.append(resident())
    assert len(sessions) <= len(plays) and sizes[-1] - sizes[1] < 4.0, sizes
