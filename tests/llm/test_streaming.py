"""Streamed answers: joined, they are what would have come whole; what is shown grows to the text."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi.loopback import Site

from toolalpaca_hf.agent import ChatContext, EndpointBackend, ReactContext
from toolalpaca_hf.formats import react_prompt
from toolalpaca_hf.llm import Unanswered
from toolalpaca_hf.llm.client import StreamedAnswer
from toolalpaca_hf.schema import Api

KEY = "sk-not-a-real-key-0815"
EVENTS = {"Content-Type": "text/event-stream"}


def events(*choices: dict[str, Any], usage: dict[str, int] | None = None) -> bytes:
    """Server-sent events as OpenAI's servers write them, with the blank lines and comments between."""
    made = [{"id": "c1", "object": "chunk", "choices": [{"index": 0, **choice}]} for choice in choices]
    made += [{"id": "c1", "object": "chunk", "choices": [], "usage": usage}] if usage else []
    return b"".join(b": ping\n\ndata: " + json.dumps(one).encode() + b"\n\n" for one in made) + b"data: [DONE]\n\n"


CHAT = events(
    {"delta": {"role": "assistant", "content": ""}},
    {"delta": {"reasoning_content": "A port "}},
    {"delta": {"reasoning_content": "is named."}},
    {"delta": {"content": "I look."}},
    {"delta": {"tool_calls": [{"index": 0, "id": "x", "type": "function", "function": {"name": "findTide"}}]}},
    {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"port": '}}]}},
    {"delta": {"tool_calls": [{"index": 1, "id": "y", "function": {"name": "now", "arguments": "{}"}}]}},
    {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"Brest"}'}}]}},
    {"delta": {}, "finish_reason": "tool_calls"},
    usage={"completion_tokens": 9, "prompt_tokens": 5},
)


@given(st.lists(st.integers(0, len(CHAT)), max_size=8))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int]) -> None:
    shown: list[str] = []
    answer = StreamedAnswer(shown.append)
    places = [0, *sorted(cuts), len(CHAT)]
    for start, end in pairwise(places):
        answer.feed(CHAT[start:end])
    assert shown == ["A port ", "A port is named.", "I look."]
    whole = json.loads(answer.whole())
    message = whole["choices"][0]["message"]
    assert message["reasoning_content"] == "A port is named." and message["content"] == "I look."
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
    assert calls == [("findTide", '{"port": "Brest"}'), ("now", "{}")]
    assert whole["choices"][0]["finish_reason"] == "tool_calls" and whole["usage"]["completion_tokens"] == 9


X, Y = ("x", "findTide", '{"port": "Brest"}'), ("y", "now", "{}")
PIECES = {
    "an index for all": ([("x", "findTide", '{"port": '), ("", None, '"Brest"}'), Y, (None, None, "")], [X, Y]),
    "no ids either": ([(None, *X[1:]), ("", *X[1:]), ("", *Y[1:])], [(None, *X[1:]), (None, *X[1:]), (None, *Y[1:])]),
    "an id a piece": ([("x", "findTide", '{"port": '), ("z", None, '"Brest"}')], [("z", *X[1:])]),
}


@pytest.mark.parametrize("index", [{"index": 0}, {}])
@pytest.mark.parametrize("server", PIECES)
def test_calls_are_told_apart_whatever_their_indices_and_ids(server: str, index: dict[str, int]) -> None:
    answer, (pieces, wanted) = StreamedAnswer(lambda text: None), PIECES[server]
    for call_id, name, arguments in pieces:
        call = index | {"id": call_id, "function": {"name": name, "arguments": arguments}}
        answer.feed(events({"delta": {"tool_calls": [call]}}))
    made = json.loads(answer.whole())["choices"][0]["message"]["tool_calls"]
    assert [(call.get("id"), *call["function"].values()) for call in made] == wanted


@pytest.mark.parametrize(
    "pieces",
    [
        # Mistral's reasoning models send parts.
        [{"content": ""}, {"content": [{"type": "text", "text": "At "}]}, {"content": "noon."}],
        # Perplexity's send the message so far as well.
        [("At ", {"content": "At "}), ("At noon.", {"content": "noon."})],
        [{"content": "At "}, {"content": "noon.", "token_ids": [5, 6]}],
    ],
)
def test_pieces_of_odd_servers(pieces: list[Any]) -> None:
    shown: list[str] = []
    answer = StreamedAnswer(shown.append)
    for piece in pieces:
        so_far, delta = piece if isinstance(piece, tuple) else (None, piece)
        answer.feed(events({"delta": delta, **({"message": {"content": so_far}} if so_far else {})}))
    assert shown[-1] == json.loads(answer.whole())["choices"][0]["message"]["content"] == "At noon."


def backend(site: Site, style: Any) -> EndpointBackend:
    return EndpointBackend(f"{site.url}/v1", "m", style, api_key=KEY, retries=0)


def test_a_turn_of_tool_calls_is_streamed() -> None:
    shown: list[str] = []
    with Site([(200, EVENTS, CHAT)]) as site:
        context = ChatContext.begin(Api("train/tides", "Tides"), "High tide?")
        (made,) = backend(site, "chat").generate([context], 64, shown.append)
    assert json.loads(site.seen[0].body)["stream"] is True and shown[-1] == "I look."
    assert not isinstance(made, Exception) and (made.turn.action, made.tokens) == ("findTide", 9)
    assert made.turn.reasoning == "A port is named." and [call.action for call in made.turn.calls] == [
        "findTide",
        "now",
    ]


def test_a_turn_of_text_is_streamed_and_a_repeated_key_is_not_shown() -> None:
    shown: list[str] = []
    pieces = [" I look.", f" The key is {KEY}.", "\nAction: findTide\nAction Input: {}\nObservation: x"]
    body = events(*({"text": piece} for piece in pieces), {"text": "", "finish_reason": "stop"})
    with Site([(200, EVENTS, body)]) as site:
        context = ReactContext.begin(react_prompt(), Api("train/tides", "Tides"), "High tide?")
        (made,) = backend(site, "react").generate([context], 64, shown.append)
    assert not isinstance(made, Exception) and made.turn.action == "findTide"
    assert shown[0] == " I look." and len(shown) == 3 and KEY not in "".join(shown) + made.text


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices": [{"delta": "x"}]}\n\n',
        b"data: {half\n\n",
        b'data: {"error": {"message": "overloaded"}}\n\n',
        b'data: {"choices": [{"delta": {"content": "At"}}]}\n\ndata: {"error": {"message": "overloaded"}}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"tool_calls": ["x"]}}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"content": "At no"}}]}\n\n',  # neither a reason nor an end
    ],
)
def test_a_broken_stream_is_an_error_of_the_server(body: bytes) -> None:
    with Site([(200, EVENTS, body)]) as site:
        context = ChatContext.begin(Api("train/tides", "Tides"), "High tide?")
        (made,) = backend(site, "chat").generate([context], 64, lambda text: None)
    assert isinstance(made, Unanswered)


@pytest.mark.parametrize("begins", [b"", b"data: "])  # of one event, whose line has no end
def test_a_server_without_streams_answers_whole(begins: bytes) -> None:
    message = {"role": "assistant", "content": "At noon."}
    body = begins + json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    with Site([(200, {"Content-Type": "application/json"}, body)]) as site:
        context = ChatContext.begin(Api("train/tides", "Tides"), "High tide?")
        (made,) = backend(site, "chat").generate([context], 64, lambda text: None)
    assert not isinstance(made, Exception) and made.turn.response == "At noon."
