"""A run under faults: what was met is kept, and recovery is a rate of its own."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "environments"))
from scripted_golden import GoldenBackend

from toolalpaca_hf.agent import Completion, Context
from toolalpaca_hf.environments import openapi_environments
from toolalpaca_hf.evaluation import evaluate_model, read_suite
from toolalpaca_hf.formats import parse_turn


class Stubborn(GoldenBackend):
    """Makes each golden call again while it is answered with an error."""

    def _one(self, context: Context) -> Completion:
        text = context.text  # type: ignore[union-attr]  # only ReAct here
        asked = text.split("\nUSER: ", 1)[1].split("\n", 1)[0]
        seen = text.split("\nObservation: Status Code: ")[1:]
        done = sum(observation[:3] not in ("401", "429", "500", "504") for observation in seen)
        calls, said = self.calls[asked], " Done.\nResponse: Done."
        if done < len(calls):
            said = f" I call it.\nAction: {calls[done].action}\nAction Input: {calls[done].action_input}\nObservation:"
        return Completion(said, parse_turn(said), 10, False)


@pytest.fixture(scope="module")
def environments() -> dict:
    return openapi_environments("sample", split="eval_simulated")


@pytest.mark.parametrize(("backend", "recovers"), [(GoldenBackend, False), (Stubborn, True)])
def test_who_tries_again_recovers(backend: type, recovers: bool, environments: dict, tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    plan.write_text("rate: 0.4\nkinds: [rate_limit, server_error, timeout, unauthorized]\n")
    out = tmp_path / "out"
    metrics = evaluate_model(read_suite("sample"), backend(environments), out, faults=str(plan), progress=False)
    lines = (out / "rollouts" / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    met = {row["id"]: row["faults"] for row in map(json.loads, lines) if "faults" in row}
    records = json.loads((out / "instructions.json").read_text(encoding="utf-8"))
    assert {record["id"]: record["faults"] for record in records if "faults" in record} == met
    assert 5 < len(met) < 35
    recovery = metrics["recovery"]
    assert set(recovery) == {"any", *(kind for kinds in met.values() for kind in kinds)}
    right = [record["recovered"] for record in records if record["id"] in met]
    assert recovery["any"]["value"] == sum(right) / len(met) and recovery["any"]["n"] == len(met)
    # The verdict lets a golden call pass that the API rejects; recovery does not.
    assert metrics["process_verdict"]["value"] > 0.9 and metrics["settings"]["faults"]["rate"] == 0.4
    assert (recovery["any"]["value"] > 0.8) if recovers else (recovery["any"]["value"] < 0.1)
    rewards = [record["reward"] for record in records if record["id"] in met]
    assert (sum(rewards) / len(rewards) > 0.8) is recovers


def test_without_faults_nothing_is_added(environments: dict, tmp_path: Path) -> None:
    metrics = evaluate_model(read_suite("sample"), GoldenBackend(environments), tmp_path, limit=2, progress=False)
    assert "recovery" not in metrics and "faults" not in metrics["settings"]
