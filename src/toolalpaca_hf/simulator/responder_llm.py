"""An LLM plays the API; its answers are checked against the document, and repaired if that is safe."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from ..errors import OptionError
from ..llm import LLMError
from ..openapi import coerce, part_of, resolve, types_of
from .generate import Generator
from .replies import Reply
from .requests import Arguments, RequestRefused, read_arguments
from .responders import AnswerStore, SchemaResponder
from .responses import SimulatedCall, SimulatedResponse, encode_response, refuse
from .rng import Rng

PROMPTS = files("toolalpaca_hf.simulator") / "prompts"
MODEL_VARIABLE = "TOOLALPACA_SIMULATOR_MODEL"
OPENAI = "https://api.openai.com/v1"
MAX_TURNS, MAX_CHARACTERS = 10, 6000

Complete = Callable[[list[dict[str, str]], SimulatedCall, int], Awaitable[str]]
"""What a model writes after messages, for a call, in the n-th attempt; raises [`LLMError`] or `ValueError`."""


class LLMResponder:
    """An LLM plays the API; see [`chat_responder`].

    Answers that do not fit the document are repaired if their meaning is plain, and asked for again otherwise. If the
    model or its server fails, the `schema` responder answers, with the reason in a header and in the store.
    """

    def __init__(
        self,
        complete: Complete,
        model: str,
        schema: SchemaResponder,
        store: AnswerStore | None = None,
        attempts: int = 2,
    ) -> None:
        self.model, self.name = model, f"llm/{model}"
        self._complete, self._schema, self._store, self._attempts = complete, schema, store, attempts
        self._play, self._again = ((PROMPTS / name).read_text(encoding="utf-8") for name in ("play.txt", "again.txt"))
        self.prompt = self._play + self._again  # what answers depend on

    async def __call__(self, call: SimulatedCall) -> SimulatedResponse:
        found = self._store.get(call, self.name) if self._store is not None else None
        if found is not None:
            self._keep(call, found[0])
            call.session.digest = found[1]
            return found[0]
        try:
            arguments = read_arguments(call.operation, call.request)
        except RequestRefused as refused:
            return refuse(call.operation, refused.status, str(refused))
        try:
            response = await self._ask(call, arguments)
        except (LLMError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            made = await self._schema(call)
            response = SimulatedResponse(made.status, made.body, made.media, f"{self.model}: {reason}")
        self._keep(call, response)
        return response

    def _keep(self, call: SimulatedCall, response: SimulatedResponse) -> None:
        readable = "json" in response.media or "text" in response.media
        words = response.body.decode("utf-8", "replace") if readable else ""
        written = f'{{"status": {response.status}, "body": {words[:MAX_CHARACTERS] or "null"}}}'
        call.session.add_turn(_request_text(call), written, MAX_TURNS)

    async def _ask(self, call: SimulatedCall, arguments: Arguments) -> SimulatedResponse:
        """The model's answer; a `ValueError` if no attempt gave one that can be sent."""
        messages = [{"role": "system", "content": self._instructions(call)}]
        for request, answer in call.session.turns:
            messages += [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": _request_text(call)})
        problem = ValueError("it was never asked")
        for attempt in range(self._attempts):
            text = await self._complete(messages, call, attempt)
            try:
                return self._read(call, arguments, text)
            except ValueError as error:
                problem = error
            messages = [*messages, {"role": "assistant", "content": text[:MAX_CHARACTERS]}]
            messages.append({"role": "user", "content": self._again.format(problem=problem)})
        raise problem

    def _instructions(self, call: SimulatedCall) -> str:
        named, operation, success = call.api.api, call.operation, call.operation.success
        described = resolve(call.api.document, operation.declared.declared)
        described = {f"{operation.method.upper()} {operation.path}": described}
        return self._play.format(
            name=named.name,
            description=(named.introduction or named.description)[:1000],
            operation=json.dumps(described, ensure_ascii=False)[:MAX_CHARACTERS],
            status=success.status,
            schema=json.dumps(success.make.root if success.make else {}, ensure_ascii=False)[:MAX_CHARACTERS],
        )

    def _read(self, call: SimulatedCall, arguments: Arguments, text: str) -> SimulatedResponse:
        """Parse a model's text as a response; a `ValueError` says what is wrong with it."""
        declared = call.operation.success
        value = find_json(text)
        status: Any = declared.status
        if isinstance(value, dict) and "body" in value and set(value) <= {"status", "body", "headers"}:
            status, value = value.get("status", status), value["body"]
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status < 600:
            raise ValueError(f"{str(status)[:50]!r} is no HTTP status code")
        if status >= 300 and status != declared.status:
            reason = value.get("error", value.get("message")) if isinstance(value, dict) else value
            words = reason if isinstance(reason, str) else json.dumps(reason or "Refused", ensure_ascii=False)
            return refuse(call.operation, status if status >= 400 else 400, words[:1000])
        if declared.make is not None:
            if _has_no_field(value, declared.make):
                raise ValueError("it has none of the fields that the schema describes")
            if not declared.make.is_valid(value):
                value = _repaired(value, declared.make.root, declared.make, Rng(text), 0)
            if not declared.make.is_valid(value):
                raise ValueError(next(iter(declared.make.violations(value)), "it is not valid for the schema")[:300])
        Reply(self._schema.entities(call.api), call, arguments).learn(value)
        return encode_response(declared, value)


def chat_responder(
    store: AnswerStore | None = None, seed: int = 0, max_tokens: int = 1024, timeout: float = 60.0
) -> LLMResponder:
    """Create an [`LLMResponder`] for an OpenAI-compatible server.

    `TOOLALPACA_SIMULATOR_MODEL` in the environment names the model, `OPENAI_BASE_URL` and `OPENAI_API_KEY` its server.
    What `store` has recorded is answered without it; `seed` is that of the `schema` responder, which stands in for it.
    An answer has at most `max_tokens` and comes within `timeout` seconds.
    """
    model, base_url, api_key = (os.environ.get(name) for name in (MODEL_VARIABLE, "OPENAI_BASE_URL", "OPENAI_API_KEY"))
    if not model:
        fix = "set it, and OPENAI_BASE_URL"
        raise OptionError("no model is named to play the APIs", option=MODEL_VARIABLE, fix=fix)
    if not base_url and not api_key:
        fix = "set it, or OPENAI_API_KEY for OpenAI's"
        raise OptionError("no server is named to play the APIs", option="OPENAI_BASE_URL", fix=fix)
    from ..llm import ModelClient  # openai takes half a second to import

    client = ModelClient(base_url or OPENAI, model, api_key, timeout, retries=1, key_variables=("OPENAI_API_KEY",))

    async def complete(messages: list[dict[str, str]], call: SimulatedCall, attempt: int) -> str:
        answer = await asyncio.to_thread(client.answer, messages, max_tokens=max_tokens, temperature=0.0, attempts=1)
        return answer.text

    return LLMResponder(complete, model, SchemaResponder(seed), store)


def _request_text(call: SimulatedCall) -> str:
    request = call.request
    query = "&".join(f"{name}={value}" for name, value in request.query)
    line = f"{request.method.upper()} {request.path}{'?' + query if query else ''}"
    if request.has_body:
        line += f"\n{json.dumps(request.body, ensure_ascii=False)}"
    return line[:MAX_CHARACTERS]


def find_json(text: str) -> Any:
    """Find the JSON object or list in a model's text, in a fence or between sentences; a `ValueError` if none."""
    text = text.rpartition("</think>")[2]
    starts = [found.start() for found in re.finditer(r"[{\[]", text)][:20]
    for attempt in (text, re.sub(r",(\s*[}\]])", r"\1", text)):
        for start in [0, *starts]:
            try:
                value, _ = json.JSONDecoder(parse_constant=lambda name: None).raw_decode(attempt[start:].lstrip())
                json.dumps(value, ensure_ascii=False).encode("utf-8")
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict | list):
                return value
    raise ValueError("it holds no JSON object")


def _has_no_field(value: Any, make: Generator) -> bool:
    """Whether a value has none of its schema's fields: few are required, so a copied schema would be valid."""
    node = make.merger.node(make.root)
    if isinstance(value, list) and value:
        node, value = make.merger.node(node.get("items", {})), value[0]
    fields = node.get("properties")
    return bool(fields) and isinstance(value, dict) and not set(fields) & set(value)


def _repaired(value: Any, schema: Any, make: Generator, rng: Rng, depth: int) -> Any:
    """Fit a value to its schema: digits become numbers, numbers become texts, and missing fields are added."""
    if not isinstance(schema, dict) or depth > 30 or make.is_valid(value, schema):
        return value
    node = make.merger.node(schema)
    kinds, properties = types_of(node), node.get("properties", {})
    if isinstance(value, dict) and ("object" in kinds or "properties" in node):
        required = node.get("required", ())
        fixed = {}
        for key, part in value.items():
            part = _repaired(part, properties.get(key, {}), make, rng.child(key), depth + 1)
            if key in required or make.is_valid(part, properties.get(key, {})):
                fixed[key] = part
        missing = [key for key in required if key not in fixed]
        fixed |= {key: make(rng.child(key), schema=properties.get(key, {}), name=key) for key in missing}
        closed = node.get("additionalProperties") is False
        return {key: part for key, part in fixed.items() if key in properties or not closed}
    if isinstance(value, list) and "array" in kinds:
        items = node.get("items", {})
        return [_repaired(part, items, make, rng.child(place), depth + 1) for place, part in enumerate(value)]
    if "array" in kinds and isinstance(value, dict):  # {"results": [...]} where the list was asked for
        lists = [part for part in value.values() if isinstance(part, list)]
        return _repaired(lists[0] if len(lists) == 1 else [value], schema, make, rng, depth + 1)
    if isinstance(value, str):
        same = next((option for option in node.get("enum", ()) if str(option).casefold() == value.casefold()), None)
        text = value if "string" in kinds else value.replace(",", "")
        return coerce(text, part_of(make.root, schema), wire=True) if same is None else same
    if "string" in kinds and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return coerce(value, part_of(make.root, schema))
