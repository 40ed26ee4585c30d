"""Faults: seeded, by rate, of every kind, and measured as recovery."""

import json
from pathlib import Path

import pytest

from toolalpaca_hf.agent import ApiCalls
from toolalpaca_hf.environments import openapi_environments
from toolalpaca_hf.environments.sources import calls_in_process
from toolalpaca_hf.errors import InputError, OptionError
from toolalpaca_hf.schema import Api, Function
from toolalpaca_hf.simulator import FAULTS, FaultPlan, Simulator, read_faults

TIDE = {
    "type": "object",
    "properties": {"tideId": {"type": "integer"}, "portName": {"type": "string"}, "height": {"type": "number"}},
    "required": ["tideId", "portName", "height"],
}


def answer(schema: object) -> dict[str, object]:
    return {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}


DOCUMENT = {
    "openapi": "3.0.0",
    "info": {"title": "Tides", "version": "1"},
    "paths": {
        "/tides": {
            "get": {"operationId": "listTides", "responses": answer({"type": "array", "items": TIDE})},
            "post": {
                "operationId": "addTide",
                "requestBody": {"content": {"application/json": {"schema": TIDE}}},
                "responses": answer(TIDE),
            },
        },
        "/tides/{tideId}": {
            "parameters": [{"name": "tideId", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"operationId": "getTide", "responses": answer(TIDE)},
        },
    },
}
NAMES = {"listTides": "/tides", "addTide": "/tides", "getTide": "/tides/{tideId}"}
API = Api(
    "train/tides",
    "Tides",
    documentation=DOCUMENT,
    functions=[Function(name, path, "post" if name == "addTide" else "get", "") for name, path in NAMES.items()],
)


def calls_of(plan: FaultPlan | None) -> ApiCalls:
    (calls,) = calls_in_process(Simulator([API], faults=plan))
    return calls


def listed(calls: ApiCalls, session: str = "s") -> str:
    return calls.call("listTides", "{}", session)


@pytest.mark.parametrize(("kind", "status"), [("rate_limit", 429), ("server_error", 500), ("timeout", 504)])
def test_a_refusal_changes_nothing(kind: str, status: int) -> None:
    calls = calls_of(FaultPlan(1.0, (kind,)))
    made = calls.call("addTide", '{"tideId": 7, "portName": "Brest", "height": 1.5}', "s")
    assert made.startswith(f"Status Code: {status}. Response: ") and calls.faults == {"s": [kind]}


def test_an_expired_token_is_said() -> None:
    assert listed(calls_of(FaultPlan(1.0, ("unauthorized",)))).startswith("Status Code: 401. ")


def test_answers_with_faults() -> None:
    whole = json.loads(listed(calls_of(None)).partition("Response: ")[2])
    empty, short, renamed = (
        json.loads(listed(calls_of(FaultPlan(1.0, (kind,)))).partition("Response: ")[2])
        for kind in ("empty", "short_page", "renamed")
    )
    assert len(whole) > 1 and empty == [] and short == whole[: len(whole) // 2]
    assert [list(item.values()) for item in renamed] == [list(item.values()) for item in whole]
    assert len({*renamed[0]} - {*whole[0]}) == 1 and len({*whole[0]} - {*renamed[0]}) == 1


def test_a_kind_that_does_not_fit_json_lines_gives_way() -> None:
    lines = {"application/x-ndjson": {"schema": {"type": "array", "items": TIDE}}}
    reply = {"200": {"description": "ok", "content": lines}}
    api = Api(
        "train/lines",
        "Lines",
        documentation=DOCUMENT | {"paths": {"/tides": {"get": {"operationId": "listTides", "responses": reply}}}},
        functions=[Function("listTides", "/tides", "get", "")],
    )
    kinds = ("empty", "renamed", "short_page")
    (calls,) = calls_in_process(Simulator([api], faults=FaultPlan(1.0, kinds)))
    assert listed(calls).startswith("Status Code: 200") and calls.faults == {}


def test_a_value_out_of_date_is_what_it_was_before_the_session() -> None:
    calls = calls_of(FaultPlan(1.0, ("stale",)))
    made = '{"tideId": 7, "portName": "Brest", "height": 1.5}'
    assert calls.call("addTide", made, "s").startswith("Status Code: 200") and calls.faults == {}
    (fresh,) = calls_in_process(Simulator([API]))
    fresh.call("addTide", made, "s")
    assert '"portName":"Brest"' in fresh.call("getTide", '{"tideId": 7}', "s")
    assert '"portName":"Brest"' not in calls.call("getTide", '{"tideId": 7}', "s")
    assert calls.faults == {"s": ["stale"]}


def test_the_same_rollout_meets_the_same_faults_at_the_rate() -> None:
    def run_of(seed: int, session: str) -> list[str]:
        calls = calls_of(FaultPlan(0.3, seed=seed))
        return [listed(calls, session) for _ in range(300)]

    assert run_of(1, "a") == run_of(1, "b") != run_of(2, "a")
    calls = calls_of(FaultPlan(0.3))
    for _ in range(1000):
        listed(calls)
    met = calls.faults["s"]
    # 1,000 draws: four standard deviations are 0.058. A stale value needs a session that has changed something.
    assert abs(len(met) / 1000 - 0.3) < 0.06 and set(met) == set(FAULTS) - {"stale"}
    apart = calls_of(FaultPlan(0.3, apis={"tides": 0.0}))
    assert len({listed(apart) for _ in range(50)}) == 1


def test_plans_from_text_and_files(tmp_path: Path) -> None:
    assert read_faults("0.2", 5) == FaultPlan(0.2, seed=5) and read_faults(None) is None
    file = tmp_path / "faults.yaml"
    file.write_text("rate: 0.5\nkinds: [empty, stale]\napis: {tides: 1.0}\nseed: 3\n")
    assert read_faults(str(file)) == FaultPlan(0.5, ("empty", "stale"), {"tides": 1.0}, 3)
    file.write_text('{\n\t"rate": 0.5\n}')
    assert read_faults(str(file)) == FaultPlan(0.5)
    for wrong in ("2", "nan", "-0.1"):
        with pytest.raises(OptionError):
            read_faults(wrong)
    for words in (
        "rate: 0.5\nkind: x\n",
        "[",
        "kinds: [empty]\n",
        "rate: 0.5\nkinds: [fire]\n",
        "rate: 0.5\nseed: x\n",
        "rate: 0.5\napis: {2024-01-01: 0.5}\n",
        "rate: 0.5\napis: &a {tides: *a}\n",
        f"rate: 0.5\nseed: {'9' * 5000}\n",
        f"rate: 0.5\napis: {'[' * 5000}\n",
        f"rate: 0.5\napis: {'[' * 210}{']' * 210}\n",
        'rate: 0.5\nkinds: ["\\ud800"]\n',
    ):
        file.write_text(words)
        with pytest.raises((InputError, OptionError)):
            read_faults(str(file))
    with pytest.raises(InputError):
        read_faults(str(tmp_path / "absent"))


def test_a_plan_names_apis_that_there_are() -> None:
    for simulated in (calls_of, lambda plan: openapi_environments("sample", split="eval_simulated", faults=plan)):
        with pytest.raises(OptionError) as raised:
            simulated(FaultPlan(0.1, apis={"tidse": 0.5, "bauhoff": 0.5}))
        assert raised.value.option == "--faults" and "tidse" in raised.value.problem
    with pytest.raises(OptionError) as raised:
        openapi_environments("sample", split="eval_simulated", faults=FaultPlan(0.1, apis={"bauhoff": 0.5}))
    assert "bauhof?" in str(raised.value.fix)


def test_an_environment_fails_and_says_nothing_of_it() -> None:
    kind = openapi_environments("sample", split="eval_simulated", faults=1.0)["eval_simulated/bauhof"]
    environment = kind()
    environment.reset(id="eval_simulated/bauhof/0")
    call = kind.tasks["eval_simulated/bauhof/0"].golden_calls[0]
    observation = environment._call(call.action, json.loads(call.action_input))
    assert len(kind._calls.faults[environment._session]) == 1 and "Toolalpaca" not in observation
