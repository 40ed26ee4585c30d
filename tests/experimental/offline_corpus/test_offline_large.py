"""The work of an offline corpus grows with the instances that are asked for, not with the operations of the
document."""

import pytest

from toolalpaca_hf.experimental.offline_corpus.build import OfflineSettings, offline_instances
from toolalpaca_hf.experimental.offline_corpus.task_sampler import PlannedCall, TaskSampler
from toolalpaca_hf.formats import api_for_row, nearest_functions
from toolalpaca_hf.openapi import Operations
from toolalpaca_hf.schema import Api, Function

WORDS = "tide port wind wave harbour lighthouse ferry pilot buoy chart depth salinity swell current anchor".split()


def large_api(operations: int) -> Api:
    """An API of so many searches, each for something else in one of many places."""
    paths, functions = {}, []
    for number in range(operations):
        name, what = f"find{number}", f"{WORDS[number % len(WORDS)]}s of station number {number}"
        city = {"name": "city", "in": "query", "required": True, "schema": {"type": "string"}}
        schema = {"type": "object", "properties": {"height": {"type": "number"}, "note": {"type": "string"}}}
        answer = {"200": {"description": "Found", "content": {"application/json": {"schema": schema}}}}
        summary = f"Finds the {what}"
        paths[f"/found{number}"] = {
            "get": {"operationId": name, "summary": summary, "parameters": [city], "responses": answer}
        }
        functions.append(Function(name, f"/found{number}", "get", f"{summary}\nParameters: {{}}"))
    document = {"openapi": "3.0.0", "info": {"title": "Sea", "version": "1"}, "paths": paths}
    return Api("train/sea", "Sea", documentation=document, functions=functions)


def work(operations: int, instances: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, list]:
    """How many calls are tried and how many operations are read for a corpus, and its instances."""
    counts = {"calls": 0, "read": 0}
    observed, kept = TaskSampler._observation, Operations.__getitem__

    def call(self: TaskSampler, *calls: PlannedCall) -> str:
        counts["calls"] += len(calls)
        return observed(self, *calls)

    def read(self: Operations, name: str) -> object:
        counts["read"] += name in self and self.data[name] is None
        return kept(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(TaskSampler, "_observation", call)
        patched.setattr(Operations, "__getitem__", read)
        made = offline_instances(large_api(operations), OfflineSettings(per_api=instances))
    return counts["calls"], counts["read"], made


def test_the_work_does_not_grow_with_the_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    few_calls, few_read, few = work(100, 2, monkeypatch)
    calls, read, made = work(400, 2, monkeypatch)
    assert len(few) == len(made) == 2
    assert calls <= 1.5 * few_calls and read <= 1.5 * few_read < 400


def test_instances_of_a_large_api_are_kept_and_call_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    api = large_api(100)
    made = offline_instances(api, OfflineSettings(per_api=3))
    assert [one.gates["length"] for one in made] == [None] * 3
    for one in made:
        called = {step.action for step in one.trajectory.steps} - {"getDetails"}
        assert called <= set(nearest_functions(api.functions, one.trajectory.instruction, 9))
        shown = [function.name for function in api_for_row(api, one.trajectory).functions]
        assert len(shown) == 9 and called <= set(shown)
