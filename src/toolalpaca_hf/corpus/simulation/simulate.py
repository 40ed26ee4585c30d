"""Turns an instruction into an instance: an API with an in-process simulator, and roles with models of their own."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any, Literal

from ... import agent, simulator
from ...agent import ChatContext, Completion, Context, Result, Task
from ...errors import ToolAlpacaError
from ...formats import MAX_TOOLS, Turn, parse_arguments, parse_turn
from ...llm import Ask, LLMError, RequestRejected
from ...schema import Api
from ...simulator import FaultPlan, Responder, SchemaResponder, SimulatedCall, SimulatedResponse, Simulator
from ..config import SimulationSettings, prompt_hash, prompt_text
from ..instructions import WrittenInstruction
from .filters import SimulatedInstance, apply_filters


class AssistantBackend(agent.Backend):
    """The assistant: gets the tools as JSON schemas, and writes each turn as a JSON object, to a schema if it can."""

    name, continuous, width = "assistant", False, 1
    style: Literal["chat"] = "chat"  # type: ignore[assignment]  # a property there

    def __init__(self, ask: Ask, attempts: int = 2) -> None:
        self._ask, self._attempts = ask, attempts
        self.prompt = prompt_text("assistant.txt")

    def describe(self) -> dict[str, str | int | float | bool | None]:
        return {"backend": "ask", "style": self.style}

    def generate(self, contexts: Sequence[Context], max_new_tokens: int) -> list[Completion | ToolAlpacaError]:
        (context,) = contexts
        assert isinstance(context, ChatContext)
        messages = self._messages(context)
        schema = turn_schema([tool["function"]["name"] for tool in context.tools])
        attempt = 0
        while True:
            try:
                answer = self._ask("assistant", messages, attempt=attempt, max_tokens=max_new_tokens, schema=schema)
            except LLMError as error:
                return [error]
            turn, cut = read_turn(answer.text), answer.finish_reason == "length"
            attempt += 1
            if turn.action or (turn.response and not cut) or attempt >= self._attempts:
                break
        if answer.finish_reason == "refusal":
            return [RequestRejected(f"the assistant {answer.model} refused")]
        return [Completion(answer.text, turn, answer.completion_tokens, cut)]

    def _messages(self, context: ChatContext) -> list[dict[str, str]]:
        """Text-only messages: a turn as the JSON object the model wrote, an observation as a user message."""
        tools = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in context.tools)
        said = [{"role": "system", "content": self.prompt.replace("{tools}", tools)}]
        for message in context.messages:
            content = message["content"]
            if message["role"] == "tool":
                said.append({"role": "user", "content": f"Observation: {content}"})
            elif message.get("tool_calls"):
                call = message["tool_calls"][0]["function"]
                turn = {"thought": content, "action": call["name"], "action_input": call["arguments"]}
                said.append({"role": "assistant", "content": json.dumps(turn, ensure_ascii=False)})
            else:
                said.append({"role": message["role"], "content": content})
        return said


def turn_schema(names: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of a turn in style `chat`."""
    text = {"type": "string"}
    acts = {"thought": text, "action": text | {"enum": list(names)}, "action_input": {"type": "object"}}
    answers = {"thought": text, "response": text}
    return {
        "anyOf": [
            {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
            for fields in (acts, answers)
        ]
    }


def read_turn(text: str) -> Turn:
    """Parse a turn written as a JSON object or, failing that, under ReAct labels."""
    try:
        value = simulator.find_json(text)
    except ValueError:
        value = None
    value = next(iter(value), None) if isinstance(value, list) else value  # the first of the turns it wrote
    if not isinstance(value, dict) or not {"action", "response"} & set(value):
        return parse_turn(text)
    thought = str(value.get("thought") or "")
    action, response = value.get("action"), value.get("response")
    if response and str(action).strip().lower() in ("none", "null", "n/a"):  # how some say that they call nothing
        action = None
    if isinstance(action, str) and action.strip():
        given = value.get("action_input")
        given = given if isinstance(given, str) else json.dumps({} if given is None else given, ensure_ascii=False)
        return Turn(thought, action.strip(), given, parse_arguments(given))
    return Turn(thought, response=(response.strip() or None) if isinstance(response, str) else None)


class LLMExecutor(simulator.LLMResponder):
    """A chat model plays the API; where it fails, the schema responder answers, and `fallbacks` says why."""

    def __init__(self, ask: Ask, schema: SchemaResponder, attempts: int = 2, max_tokens: int = 1024) -> None:
        async def complete(messages: list[dict[str, str]], call: SimulatedCall, attempt: int) -> str:
            return ask("executor", messages, attempt=attempt, max_tokens=max_tokens, schema=_schema(call)).text

        super().__init__(complete, "executor", schema, attempts=attempts)
        self.fallbacks: list[str] = []

    async def __call__(self, call: SimulatedCall) -> SimulatedResponse:
        response = await super().__call__(call)
        if response.fallback:
            self.fallbacks.append(response.fallback)
        return response


def _schema(call: SimulatedCall) -> dict[str, Any]:
    """The JSON schema of `{"status": ..., "body": ...}`, with the document's schema for the body."""
    make = call.operation.success.make
    root = make.root if make is not None else {}
    refused = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    body = {"anyOf": [{key: part for key, part in root.items() if key != "$defs"}, refused]}
    properties = {"status": {"type": "integer"}, "body": body}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": ["status", "body"]}
    return schema | ({"$defs": root["$defs"]} if "$defs" in root else {})


# What the `datetime` tool says: a resumed run has to see the same.
NOW = datetime.fromisoformat("2024-05-15T10:00:00+00:00")


class SimulatedEnvironment:
    """One API and its simulator; safe to use from several threads."""

    def __init__(self, api: Api, seed: int = 0) -> None:
        self.api, self.schema, self._seed = api, SchemaResponder(seed), seed
        self._directory = Simulator([api], self.schema, None, seed).directory
        self.simulated = self._directory.apis[0]

    def calls(self, responder: Responder | None = None, faults: FaultPlan | None = None) -> agent.ApiCalls:
        """Calls with a state of their own, so that rollouts do not see each other's changes."""
        server = Simulator([], responder or self.schema, None, self._seed, faults)
        server.directory = self._directory  # its routes and validators take longest to make
        url = f"{simulator.IN_PROCESS}{self._directory.listing()[0]['path']}"
        return agent.ApiCalls.simulated(self.api, url, exchange=simulator.in_process(server))

    def roll_out(
        self,
        task: Task,
        backend: agent.Backend,
        user: agent.User,
        limits: agent.RolloutLimits,
        responder: Responder | None = None,
        max_tools: int | None = MAX_TOOLS,
        faults: FaultPlan | None = None,
    ) -> Result:
        context = ChatContext.begin(agent.shown_api(self.api, (), task.instruction, max_tools), task.instruction)
        with closing(self.calls(responder, faults)) as calls:
            toolbox = agent.Toolbox(task, calls, user, limits, task.id, now=lambda: NOW)
            rollout = agent.Rollout(task, context, toolbox, limits, clock=lambda: 0.0)
            try:
                rollout.run(backend)
            except ToolAlpacaError as error:
                rollout.fail(error)
            return rollout.result()


def simulate(
    api: Api, written: WrittenInstruction, ask: Ask, settings: SimulationSettings | None = None, index: int = 0
) -> SimulatedInstance:
    """Simulate the `index`-th instruction of an API and filter the result; where a model is not asked, it fails."""
    settings = settings or SimulationSettings()
    environment = SimulatedEnvironment(api, settings.seed)
    task = Task(f"{api.id}/{index}", api, written.instruction, written.details)
    own: Any = partial(ask, key=task.id)
    backend = AssistantBackend(own, settings.attempts)
    user = agent.ModelUser(partial(own, "user", max_tokens=128), "asked")
    prompts = {"assistant": prompt_hash(backend.prompt), "user": prompt_hash(user.prompt)}
    executor: Any = None
    if settings.executor == "llm":
        executor = LLMExecutor(own, environment.schema, settings.attempts, settings.answer_tokens)
        prompts["executor"] = prompt_hash(executor.prompt)
    result = environment.roll_out(task, backend, user, settings.limits, executor)
    provenance = {
        "source": "simulated",
        "api": {"id": api.id, "name": api.name, "link": api.link, "category": api.category},
        "instruction": {"style": written.style, "mood": written.mood},
        "executor": settings.executor,
        "seed": settings.seed,
        "prompts": prompts,
        "ended": result.ended,
        **({"error": result.error} if result.error else {}),
        "stood_in": list(executor.fallbacks) if executor is not None else [],
    }
    gates = apply_filters(api, written.instruction, result.trajectory, settings.gates, result.ended)
    return SimulatedInstance(result.trajectory, gates, provenance)
