"""The simulator without a server answers every operation as the served one does."""

import json

import pytest

from toolalpaca_hf.agent import ApiCalls, simulated_calls
from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.metrics import functions_in
from toolalpaca_hf.openapi import tool_schema
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import (
    IN_PROCESS,
    SESSION_HEADER,
    Generator,
    Rng,
    SimulatedCall,
    SimulatedResponse,
    Simulator,
    in_process,
    running,
)

CORPUS = read_corpus(resolve_sources("sample"))
APIS = [*CORPUS.apis["train"], *CORPUS.apis["eval_simulated"]]


def test_every_operation_is_answered_as_over_http() -> None:
    simulator = Simulator(APIS)
    exchange = in_process(simulator)
    seen = 0
    with running(APIS) as url:
        served = simulated_calls(APIS, url, SESSION_HEADER)
        for api, own in zip(APIS, simulator.directory.apis, strict=True):
            functions = functions_in(api)
            calls = ApiCalls.simulated(api, f"{IN_PROCESS}/{own.slug}", SESSION_HEADER, exchange)
            for name, operation in functions.operations.items():
                make = Generator(tool_schema(operation)["function"]["parameters"])
                for given in ("{}", json.dumps(make(Rng("a", name))), json.dumps(make(Rng("b", name)))):
                    answer = calls.call(name, given, "s")
                    assert answer == served[api.id].call(name, given, "s"), (api.id, name, given)
                    seen += answer.startswith("Status Code: 2")
            served[api.id].close()
    assert seen > 150


def test_a_responder_that_waits_is_refused() -> None:
    async def slow(call: SimulatedCall) -> SimulatedResponse:
        import asyncio

        await asyncio.sleep(0)
        return SimulatedResponse(200, b"{}")

    simulator = Simulator(APIS[:1], slow)
    path = f"{IN_PROCESS}/{simulator.directory.apis[0].slug}{APIS[0].functions[0].path}"
    with pytest.raises(OptionError):
        in_process(simulator)("GET", path, {}, b"")


def test_an_argument_that_is_nested_too_deep_is_refused() -> None:
    where = {"name": "where", "in": "query", "schema": {"type": "object", "additionalProperties": True}}
    operation = {"operationId": "find", "parameters": [where], "responses": {"200": {"description": "ok"}}}
    exchange = in_process(Simulator([Api("train/x", "X", documentation={"paths": {"/find": {"get": operation}}})]))
    for depth, status in ((5, 200), (500, 400)):
        deep = "%7B%22a%22:" * depth + "1" + "%7D" * depth
        assert exchange("GET", f"{IN_PROCESS}/x/find?where={deep}", {}, b"")[0] == status
