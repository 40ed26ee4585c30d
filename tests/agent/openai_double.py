"""A server of OpenAI's API that refuses what the real one refuses, and says what it is told to say."""

import json
import re
from collections.abc import Callable
from typing import Any

from openapi.loopback import Seen, Site

Answer = tuple[int, dict[str, str], bytes]

KEY = "sk-not-a-real-key-0815"
NAME = re.compile("[A-Za-z0-9_-]{1,64}")
OPTIONS = {"model": str, "temperature": (int, float), "seed": int}
FIELDS: dict[str, dict[str, Any]] = {
    "/v1/completions": {**OPTIONS, "prompt": str, "max_tokens": int, "stop": list},
    "/v1/chat/completions": {**OPTIONS, "messages": list, "max_tokens": int, "tools": list},
}
MESSAGES = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}


def problem_of(seen: Seen, body: Any) -> str | None:
    """What is wrong with a request, or `None`."""
    fields = FIELDS.get(seen.target)
    if seen.method != "POST" or fields is None:
        return f"no route {seen.method} {seen.target}"
    if seen.headers.get("authorization") != f"Bearer {KEY}":
        return f"Incorrect API key provided: {seen.headers.get('Authorization')}"
    if (
        not isinstance(body, dict)
        or body.get("model") != "gpt-9"
        or not set(fields) & {"prompt", "messages"} <= set(body)
    ):
        return "model, and prompt or messages, are required"
    for name, value in body.items():
        if name not in fields or not isinstance(value, fields[name]) or value == []:
            return f"unknown or wrong field {name}"
    if len(body.get("stop", [])) > 4:
        return "at most 4 stop texts"
    return problem_of_messages(body.get("messages", [])) or problem_of_tools(body.get("tools", []))


def problem_of_messages(messages: list[Any]) -> str | None:
    """What is wrong with the messages, or `None`."""
    open_calls: list[str] = []
    for message in messages:
        if set(message) - MESSAGES.get(message.get("role"), set()) or not isinstance(message.get("content"), str):
            return f"wrong message {message}"
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return "a tool's answer must follow the call with its tool_call_id"
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            return f"no answer to the calls {open_calls}"
        for call in message.get("tool_calls", []):
            if set(call) != {"id", "type", "function"} or set(call["function"]) != {"name", "arguments"}:
                return f"wrong call {call}"
            if not isinstance(call["function"]["arguments"], str):
                return "arguments is not a string"
            if not NAME.fullmatch(call["function"]["name"]):
                return f"invalid name of a call {call['function']['name']!r}"
            json.loads(call["function"]["arguments"])
            open_calls.append(call["id"])
    return None


def problem_of_tools(tools: list[Any]) -> str | None:
    """What is wrong with the tools, or `None`."""
    for tool in tools:
        if set(tool) != {"type", "function"} or not {"name", "parameters"} <= set(tool["function"]):
            return f"wrong tool {tool}"
        if not NAME.fullmatch(tool["function"]["name"]):
            return f"invalid name of a tool {tool['function']['name']!r}"
    names = [tool["function"]["name"] for tool in tools]
    return None if len(set(names)) == len(names) else "tool names must be unique"


def error(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """A refusal in OpenAI's form."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


def reply(choice: dict[str, Any], tokens: int | None = 7) -> Answer:
    """An answer in OpenAI's form."""
    body: dict[str, Any] = {
        "id": "1",
        "object": "x",
        "created": 1,
        "model": "gpt-9",
        "choices": [{"index": 0} | choice],
    }
    if tokens is not None:
        body["usage"] = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def text(words: str, finish: str = "stop", tokens: int | None = 7) -> Answer:
    """An answer of raw completions."""
    return reply({"text": words, "finish_reason": finish, "logprobs": None}, tokens)


def message(content: Any, *calls: tuple[str, Any], finish: str = "stop", tokens: int | None = 7) -> Answer:
    """An answer of chat completions."""
    one: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        one["tool_calls"] = [
            {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(calls)
        ]
    return reply({"message": one, "finish_reason": finish}, tokens)


def openai_double(*answers: Answer | Callable[[dict[str, Any]], Answer]) -> Site:
    """A site whose base URL is `site.url + "/v1"`, and that gives these answers to requests that are in order.

    Args:
        *answers: Each an answer, or a function from the request's body to one; the last is given again and again.
    """
    given = 0

    def answer(seen: Seen) -> Answer:
        nonlocal given
        body = json.loads(seen.body)
        problem = problem_of(seen, body)
        if problem is not None:
            return error(401 if "API key" in problem else 404 if "no route" in problem else 400, problem)
        given += 1
        one = answers[min(given, len(answers)) - 1]
        return one(body) if callable(one) else one

    return Site([answer])
