"""Random conversations with tool calls, from plain to hard, how to make one smaller, and what rows have of them."""

import json
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

FEATURES = {
    "calls": "tool calls",
    "turns": "a second question of the user",
    "parallel": "parallel calls, results in a row",
    "content": "content beside calls",
    "reasoning": "reasoning",
    "empty": "empty results",
    "unicode": "Unicode and spaces at the edges",
    "json": "JSON of every type",
    "turn_like": "a result that looks like a turn",
    "system": "a system message",
}
"""What a conversation may have beyond questions and answers."""

TYPES = {"text": "string", "count": "integer", "share": "number", "on": "boolean", "list": "array", "map": "object"}
_WORDS = ["Paris", "a tide", "7", "true", "noon", "It is sunny.", "the quay; two berths"]
_UNICODE = 'Zürich|日本語 😀|e\u0301|  two  |line\n\nline|a\tb|quote " and \\|{{ x }} {% y %}|👩‍👩‍👧'.split("|")
_VALUES: dict[str, list[Any]] = {
    "text": ["", "7", "true", "null", "{}", "]}'", "<a>&amp;</a>", "\\n"],
    "count": [0, -3, 2**40],
    "share": [2.5, -0.001, 1e-9],
    "on": [True, False],
    "list": [[], [1, "a", None, True], [[0.5], {"a": []}]],
    "map": [{}, {"a": {"b": [True]}}, {"a b": "c", "d": None}],
}

Conversation = dict[str, Any]
"""`system` (`str`, *optional*) and `turns`: `user`, `steps` of `calls` with their `result`, and the `answer`."""


def random_conversation(rng: random.Random, features: Collection[str], turn_text: str) -> Conversation:
    """A conversation that may have the features and no others; `turn_text` is what an assistant's turn looks like."""

    def words() -> str:
        return rng.choice(_UNICODE if "unicode" in features and rng.random() < 0.6 else _WORDS)

    def result() -> str:
        if "turn_like" in features and rng.random() < 0.5:
            return words() + turn_text
        return "" if "empty" in features and rng.random() < 0.5 else words()

    def call() -> dict[str, Any]:
        arguments: dict[str, Any] = {"text": words()}
        if "json" in features:
            arguments |= {name: rng.choice(_VALUES[name]) for name in rng.sample(list(TYPES), rng.randint(0, 4))}
        return {"name": rng.choice(["look_up", "add"]), "arguments": arguments, "result": result()}

    def maybe(feature: str) -> str | None:
        return words() if feature in features and rng.random() < 0.7 else None

    def step() -> dict[str, Any]:
        calls = [call() for _ in range(rng.randint(1, 3) if "parallel" in features else 1)]
        return {"reasoning": maybe("reasoning"), "content": maybe("content"), "calls": calls}

    def turn() -> dict[str, Any]:
        asked = words()
        steps = [step() for _ in range(rng.randint(1, 2) if "calls" in features else 0)]
        return {"user": asked, "steps": steps, "reasoning": maybe("reasoning"), "answer": words()}

    turns = [turn() for _ in range(rng.randint(1, 2) if "turns" in features else 1)]
    return {"system": maybe("system"), "turns": turns}


def smaller(value: Any, key: str = "") -> Iterator[Any]:
    """Each conversation that is one change smaller: a part left out, a text or value made plain."""
    if isinstance(value, str) and key != "name" and value != "a":
        yield from ("a", value[: len(value) // 2], value[len(value) // 2 :]) if len(value) > 2 else ("a",)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if len(value) > 1 or key == "steps":
                yield value[:i] + value[i + 1 :]
            yield from ([*value[:i], changed, *value[i + 1 :]] for changed in smaller(item, key))
    elif isinstance(value, dict):
        for name, item in value.items():
            if key == "arguments":
                yield {other: kept for other, kept in value.items() if other != name}
            if name in ("system", "reasoning", "content") and item is not None:
                yield value | {name: None}
            yield from (value | {name: changed} for changed in smaller(item, key if key == "arguments" else name))


def as_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """The conversation as messages; what the model is not to learn stands between numbered marks, see [`MARKED`]."""
    numbers = count(1)

    def marked(text: str) -> str:
        number = next(numbers)
        return f"[u{number} {text} u{number}]"

    def said(content: str | None, reasoning: str | None) -> dict[str, Any]:
        thought = {} if reasoning is None else {"reasoning_content": reasoning}
        return {"role": "assistant", "content": content or "", **thought}

    messages: list[dict[str, Any]] = []
    if conversation["system"] is not None:
        messages.append({"role": "system", "content": marked(conversation["system"])})
    for turn in conversation["turns"]:
        messages.append({"role": "user", "content": marked(turn["user"])})
        for step in turn["steps"]:
            message = said(step["content"], step["reasoning"])
            message["tool_calls"], results = [], []
            for call in step["calls"]:
                # Nine letters and digits: some templates insist.
                identifier = f"call{len(messages) + len(results):05}"
                function = {"name": call["name"], "arguments": call["arguments"]}
                message["tool_calls"].append({"id": identifier, "type": "function", "function": function})
                result = marked(call["result"]) if call["result"] else ""
                results.append({"role": "tool", "name": call["name"], "tool_call_id": identifier, "content": result})
            messages += [message, *results]
        messages.append(said(turn["answer"], turn["reasoning"]))
    return messages


def tools() -> list[dict[str, Any]]:
    """Two tools with parameters of every type; their descriptions are marked, too."""
    properties = {name: {"type": kind, "description": f"[d{name} a {name} d{name}]"} for name, kind in TYPES.items()}
    parameters = {"type": "object", "properties": properties, "required": ["text"]}
    described = [(name, f"[d{name} does it d{name}]") for name in ("look_up", "add")]
    functions = [{"name": name, "description": words, "parameters": parameters} for name, words in described]
    return [{"type": "function", "function": function} for function in functions]


MARKED = r"\[(?P<mark>[ud][a-z_0-9]+) .*? (?P=mark)\]"
"""Matches what stands between marks in a rendered text."""


def json_text(value: Any) -> str:
    """A value as text that differs where the value does: `1`, `1.0` and `true` are three."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def features_of(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """What of `FEATURES` the first 1,000 rows of messages have; texts of any kind are always taken to be there."""
    found = {"unicode", "json", "empty", "turn_like"}
    for row in islice(rows, 1_000):
        messages: Sequence[Mapping[str, Any]] = row["messages"]
        calls = [message.get("tool_calls") or () for message in messages]
        has = {
            "system": any(message["role"] == "system" for message in messages),
            "turns": sum(message["role"] == "user" for message in messages) > 1,
            "calls": any(calls),
            "parallel": any(len(some) > 1 for some in calls),
            "content": any(some and message.get("content") for message, some in zip(messages, calls, strict=True)),
            "reasoning": any(message.get("reasoning_content") for message in messages),
        }
        found |= {feature for feature, is_there in has.items() if is_there}
    return found
