"""The endpoint backend against servers on loopback: in order, and misbehaving in every way we know."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai_double import KEY, Answer, error, message, openai_double, problem_of_messages, reply, text
from openapi.loopback import Rude, Site

from toolalpaca_hf.agent import ChatContext, Completion, ReactContext
from toolalpaca_hf.agent.endpoint import EndpointBackend, openai_messages, read_message
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.formats import NO_CALL, react_prompt
from toolalpaca_hf.llm import ContextFull
from toolalpaca_hf.schema import Api, Call, Step

TIDES = Api("train/tides", "Tides")
STEP = Step("I look it up.", "findTide", '{"port": "Brest"}', "At noon")


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def backend(site: Site | Rude, style: Any = "react", **options: Any) -> EndpointBackend:
    return EndpointBackend(f"{site.url}/v1", "gpt-9", style, **{"timeout": 5.0, "retries": 0} | options)


def context(style: str = "react", instruction: str = "High tide?") -> ReactContext | ChatContext:
    if style == "chat":
        return ChatContext.begin(TIDES, instruction)
    return ReactContext.begin(react_prompt(), TIDES, instruction)


def one(model: EndpointBackend, max_new_tokens: int = 64) -> Completion | ToolAlpacaError:
    [written] = model.generate([context(model.style)], max_new_tokens)
    return written


def failure(model: EndpointBackend) -> str:
    """The sentence of a turn that could not be written."""
    written = one(model)
    assert isinstance(written, ToolAlpacaError), written
    sentence = str(written)
    assert "\n" not in sentence and len(sentence) < 700 and "Traceback" not in sentence
    assert KEY not in sentence + repr(written)
    return sentence


# ReAct, by raw completions


def test_a_react_turn_is_asked_for_as_text() -> None:
    with openai_double(text(" I look it up.\nAction: findTide\nAction Input: {}")) as site:
        grown = context()
        grown.add(STEP)
        [written] = backend(site, seed=3).generate([grown], 99)
    assert (written.turn.thought, written.turn.action, written.turn.arguments) == ("I look it up.", "findTide", {})
    assert (written.tokens, written.cut) == (7, False)
    assert json.loads(site.seen[0].body) == {
        "model": "gpt-9",
        "prompt": grown.text,
        "max_tokens": 99,
        "stop": ["\nObservation:", "\nASSISTANT Observation:"],
        "temperature": 0.0,
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("said", "finish", "kept", "cut"),
    [
        (" x\nAction: f\nAction Input: {}\nObservation:", "stop", " x\nAction: f\nAction Input: {}", False),
        (
            " x\nAction: f\nAction Input: {}\nObservation: 3\nThought: y",
            "length",
            " x\nAction: f\nAction Input: {}",
            False,
        ),
        (
            " x\nASSISTANT Action: f\nASSISTANT Observation: 3\nObservation: 4",
            "stop",
            " x\nASSISTANT Action: f",
            False,
        ),
        (" and so on", "length", " and so on", True),
        ("", "stop", "", False),
        ("   \n\n ", "stop", "   \n\n ", False),
    ],
)
def test_the_text_ends_at_a_stop_text_that_the_server_did_not_heed(
    said: str, finish: str, kept: str, cut: bool
) -> None:
    with openai_double(text(said, finish)) as site:
        written = one(backend(site))
    assert (written.text, written.cut) == (kept, cut)


def test_tokens_are_estimated_where_the_server_does_not_count() -> None:
    with openai_double(text("word " * 100, tokens=None)) as site:
        assert 50 < one(backend(site)).tokens < 250


def test_settings_that_are_none_are_left_out() -> None:
    with openai_double(text("x")) as site:
        one(backend(site, temperature=None, seed=None))
    assert not {"temperature", "seed"} & set(json.loads(site.seen[0].body))


def test_half_a_surrogate_pair_does_not_end_a_rollout() -> None:
    with openai_double(text("x")) as site:
        grown = context()
        grown.add(Step("t", "f", "{}", "broken \ud83d emoji, whole 🙂"))
        [written] = backend(site).generate([grown], 9)
    assert isinstance(written, Completion) and "broken ? emoji, whole 🙂" in json.loads(site.seen[0].body)["prompt"]


# Chat, with native calls


def test_a_chat_turn_is_asked_for_in_openais_form() -> None:
    with openai_double(message("I look.", ("findTide", '{"port": "Brest"}')), message("At noon.")) as site:
        grown = context("chat")
        model = backend(site, "chat")
        [first] = model.generate([grown], 50)
        grown.add(Step(first.turn.thought, first.turn.action, first.turn.action_input, "12:00"))
        grown.add(Step("hm", NO_CALL, "", "That was no call.", log="hm"))
        grown.add(STEP)
        [last] = model.generate([grown], 50)
    assert first.turn.arguments == {"port": "Brest"} and first.turn.thought == "I look."
    assert (
        first.text
        == 'I look.\n<tool_call>\n{"name": "findTide", "arguments": "{\\"port\\": \\"Brest\\"}"}\n</tool_call>'
    )
    assert (last.turn.response, last.turn.action, last.text) == ("At noon.", None, "At noon.")
    sent = json.loads(site.seen[1].body)
    assert [one["role"] for one in sent["messages"]] == [
        "user",
        *("assistant", "tool", "assistant", "user"),
        "assistant",
        "tool",
    ]
    calls = [call for one in sent["messages"] for call in one.get("tool_calls", [])]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"port": "Brest"}] * 2
    assert len({call["id"] for call in calls}) == 2 and sent["max_tokens"] == 50
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["getDetails"]


def test_the_double_refuses_what_the_service_refuses() -> None:
    chat = context("chat")
    chat.add(STEP)
    assert problem_of_messages(chat.messages) is not None  # arguments as objects, no ids
    good = openai_messages(chat.messages)
    assert problem_of_messages(good) is None
    assert problem_of_messages(good[:2] + good[:1]) is not None and problem_of_messages(good[2:]) is not None
    with openai_double(text("x")) as site:
        assert "status 400" in failure(EndpointBackend(f"{site.url}/v1", "gpt-8", retries=0))
        assert "status 401" in failure(backend(site, api_key="another-key"))


@pytest.mark.parametrize(
    ("content", "thought", "action", "arguments"),
    [
        ('Let me see.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', "Let me see.", "f", {"a": 1}),
        ('<tool_call>[{"name": "f", "arguments": {"a": 1}}, {"name": "g"}]</tool_call>', "", "f", {"a": 1}),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}', "", "f", {"a": 1}),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}]', "", "f", {"a": 1}),
        ('<|python_tag|>{"name": "f", "parameters": {"a": 1}}', "", "f", {"a": 1}),
        ('{"name": "f", "parameters": {"a": 1}}', "", "f", {"a": 1}),
        ('```json\n{"name": "f", "arguments": {"a": 1}}\n```', "", "f", {"a": 1}),
        ('{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}', "", "f", {"a": 1}),
        ('<think>{"name": "g", "arguments": {}}</think>\n<tool_call>{"name": "f"}</tool_call>', "", "f", {}),
        ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', "", "f", None),
        ('x <tool_call>{"name": "f", "argu', "x", None, None),
        ('<tool_call>{"name": ""}</tool_call>', "", None, None),
        ('<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}</tool_call>', "", None, None),
        ("<tool_call>", "", None, None),
    ],
)
def test_calls_that_a_server_leaves_in_the_text_are_read(
    content: str, thought: str, action: str | None, arguments: Any
) -> None:
    text, turn = read_message({"role": "assistant", "content": content})
    assert (turn.thought, turn.action, turn.arguments, turn.response) == (thought, action, arguments, None)
    assert text == content


@pytest.mark.parametrize(
    ("said", "response"),
    [
        ({"content": "At noon."}, "At noon."),
        ({"content": "<think>Hm</think>\n\nAt noon."}, "At noon."),
        ({"content": [{"type": "text", "text": "At "}, {"type": "text", "text": "noon."}]}, "At noon."),
        ({"content": [{"type": "text", "text": None}, {"type": "text", "text": "At noon."}]}, "At noon."),
        ({"content": None, "refusal": "I must not."}, "I must not."),
        (
            {"content": 'He wrote {"name": "f", "arguments": {}} there'},
            'He wrote {"name": "f", "arguments": {}} there',
        ),
        ({"content": '{"name": "Rex", "status": "sold"}'}, '{"name": "Rex", "status": "sold"}'),
        ({"content": '{"name": "f", "arguments": {}}; not so'}, '{"name": "f", "arguments": {}}; not so'),
    ],
)
def test_text_without_a_call_is_the_response(said: dict[str, Any], response: str) -> None:
    turn = read_message(said)[1]
    assert (turn.response, turn.action) == (response, None)


@pytest.mark.parametrize(
    ("arguments", "text", "read"),
    [
        ('{"a": 1}', '{"a": 1}', {"a": 1}),
        ('{"a": 1', '{"a": 1', None),
        ("[1]", "[1]", None),
        ("", "", {}),
        (None, "", {}),
        ({"a": 1}, '{"a": 1}', {"a": 1}),
        (5, "5", None),
    ],
)
def test_arguments_of_every_kind(arguments: Any, text: str, read: dict[str, Any] | None) -> None:
    with openai_double(message(None, ("f", arguments))) as site:
        turn = one(backend(site, "chat")).turn
    assert (turn.action, turn.action_input, turn.arguments) == ("f", text, read)


def test_a_call_in_an_older_layout_is_read() -> None:
    call = {"type": "function", "id": "x", "name": "f", "arguments": "{}"}
    assert read_message({"content": "", "tool_calls": [call]})[1].calls == (Call("f", "{}"),)
    assert read_message({"content": None, "function_call": call})[1].calls == (Call("f", "{}"),)
    for none in (None, "none", {"name": "", "arguments": ""}):
        assert read_message({"content": "At noon.", "function_call": none})[1].response == "At noon."


def test_several_calls_of_a_turn_are_read() -> None:
    with openai_double(message("Both.", ("f", "{}"), ("g", '{"a": 1}'))) as site:
        written = one(backend(site, "chat"))
    assert written.turn.thought == "Both." and written.turn.calls == (Call("f", "{}"), Call("g", '{"a": 1}'))
    assert written.text.count("<tool_call>") == 2


@pytest.mark.parametrize(
    ("content", "calls"),
    [
        (
            '<tool_call>[{"name": "f", "arguments": {"a": 1}}, {"name": "g"}]</tool_call>',
            [("f", '{"a": 1}'), ("g", "")],
        ),
        ('<tool_call>{"name": "f"}</tool_call>\n<tool_call>{"name": "g"}</tool_call>', [("f", ""), ("g", "")]),
        ('<tool_call>{"name": "f", "arguments": "<tool_call>"}</tool_call>', [("f", "<tool_call>")]),
        ('[{"name": "f", "arguments": {}}, {"name": "g", "parameters": {}}]', [("f", "{}"), ("g", "{}")]),
        ('{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}};', [("f", "{}"), ("g", "{}")]),
        # Half a turn is not carried out.
        ('<tool_call>{"name": "f"}</tool_call>\n<tool_call>{"name": "g", "argu', []),
        ('[TOOL_CALLS] [{"name": "f"}, {"name": 3}]', []),
    ],
)
def test_several_calls_that_a_server_leaves_in_the_text_are_read(content: str, calls: list[tuple[str, str]]) -> None:
    turn = read_message({"content": content})[1]
    assert [(call.action, call.action_input) for call in turn.calls] == calls and turn.response is None


def reasoned(field: str | None, words: str = "Hm.") -> dict[str, Any]:
    return {field: words, "content": "At noon."} if field else {"content": f"<think>{words}</think>At noon."}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", None])
def test_reasoning_is_apart_from_the_answer(field: str | None) -> None:
    turn = read_message(reasoned(field))[1]
    assert (turn.reasoning, turn.response, turn.thought) == ("Hm.", "At noon.", "")


@pytest.mark.parametrize("takes", [True, False])
def test_reasoning_goes_back_to_servers_that_take_it(takes: bool) -> None:
    def answer(seen: Any) -> Answer:
        sent = json.loads(seen.body)["messages"]
        if not takes and any("reasoning" in one for one in sent):
            return error(400, "messages.1: property 'reasoning' is unsupported")
        call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        return reply({"message": {"content": None, "reasoning": "Hm.", "tool_calls": [call]}})

    with Site([answer]) as site:
        model = backend(site, "chat")
        grown = context("chat")
        for _ in range(2):
            [written] = model.generate([grown], 50)
            grown.add(Step("", "f", "{}", "12:00", reasoning=written.turn.reasoning))
        [written] = model.generate([grown], 50)
    assert isinstance(written, Completion)
    sent = [[one.get("reasoning") for one in json.loads(seen.body)["messages"]] for seen in site.seen]
    hm = [None, "Hm.", None]
    assert sent == ([[None], hm, [*hm, *hm[1:]]] if takes else [[None], hm, [None] * 3, [None] * 5])


def test_an_empty_turn_is_sent_back_as_words() -> None:
    with openai_double(message("At noon.")) as site:
        grown = context("chat")
        grown.add(Step("", "hallucination", "", "Nothing was written.", ""))
        grown.add(Step("", "findTide", "{}", "12:00"))
        backend(site, "chat").generate([grown], 50)
    said = [one["content"] for one in json.loads(site.seen[0].body)["messages"] if one["role"] == "assistant"]
    assert said == ["(nothing)", ""] and grown.messages[1]["content"] == ""


@pytest.mark.parametrize("content", [None, "", "<think>It is a question of"])
def test_a_message_cut_before_its_first_word(content: str | None) -> None:
    with openai_double(message(content, finish="length")) as site:
        written = one(backend(site, "chat"))
    assert (written.text, written.cut) == (content or "", True)
    assert (written.turn.thought, written.turn.action, written.turn.response) == ("", None, None)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["function", "name", "arguments", "text", "parameters"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["content", "tool_calls", "refusal"]),
        st.one_of(JSON, JSON.map(json.dumps), JSON.map(lambda value: f"x<tool_call>{json.dumps(value)}")),
    )
)
@example({"content": 'x<tool_call>{"name": " "}'})
@settings(max_examples=300, deadline=None)
def test_whatever_a_message_is_it_is_read(said: dict[str, Any]) -> None:
    text, turn = read_message(said)
    assert isinstance(text, str) and (turn.action is None or turn.response is None)
    assert turn.action is None or (turn.action and isinstance(turn.action_input, str))


def test_the_limit_under_its_newer_name() -> None:
    def newer(body: dict[str, Any]) -> Answer:
        words = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        return message("At noon.") if "max_completion_tokens" in body else error(400, words, "unsupported_parameter")

    with Site([lambda seen: newer(json.loads(seen.body))]) as site:
        model = backend(site, "chat")
        assert [one(model).turn.response for _ in range(2)] == ["At noon."] * 2
    assert [("max_tokens" in json.loads(seen.body)) for seen in site.seen] == [True, False, False]


# Servers that refuse, break and lie


@pytest.mark.parametrize(
    ("style", "answer", "words"),
    [
        ("react", (200, {"Content-Type": "text/html"}, b"<html><h1>Welcome</h1></html>"), "no JSON: 'Welcome'"),
        ("react", (200, {"Content-Type": "application/json"}, b'{"choices": [{"te'), "no JSON"),
        ("react", (200, {"Content-Type": "application/json"}, b"\xff\xfe\x00"), "no JSON"),
        ("react", (200, {}, b"[" * 100_000), "no JSON"),
        ("react", (200, {}, b""), "no JSON: 'nothing'"),
        ("react", (200, {}, b"[]"), "no choice"),
        ("react", (200, {}, b'{"choices": []}'), "no choice"),
        ("react", (200, {}, b'{"choices": null, "error": {"message": "busy"}}'), "no choice: 'busy'"),
        ("react", (200, {}, b'{"choices": [null]}'), "no choice"),
        ("react", reply({"text": None}), "a choice without text"),
        ("react", message("a chat's answer"), "a choice without text"),
        ("chat", text("a completion"), "a choice without a message"),
        ("chat", reply({"message": "x"}), "a choice without a message"),
        ("chat", message(None), "neither content nor a call"),
        ("react", (200, {}, b'{"choices": [{"text": "' + b"x" * 20_000_000 + b'"}]}'), "more than 5,000,000 bytes"),
        ("react", error(401, f"Incorrect API key provided: {KEY}"), "TOOLALPACA_API_KEY"),
        ("react", error(403, "no"), "TOOLALPACA_API_KEY"),
        ("react", error(404, "The model `gpt-9` does not exist.", "model_not_found"), "/v1/models lists"),
        ("react", (404, {}, b'{"detail":"Not Found"}'), "--style chat"),
        (
            "react",
            error(404, "This is a chat model and not supported in the v1/completions endpoint."),
            "--style chat",
        ),
        ("chat", (405, {}, b"<html>Method Not Allowed</html>"), "no chat completions at this address"),
        ("react", error(429, "Rate limit reached"), "ask it less at once"),
        ("react", (500, {}, b"Internal Server Error"), "its own log says why"),
        ("react", (503, {}, b'{"error":"CB worker is dead"}'), "CB worker is dead"),
        ("react", (400, {}, b"Server is pinned to 'a'; requested 'gpt-9'."), "pinned to 'a'"),
        ("chat", error(400, '"auto" tool choice requires --enable-auto-tool-choice'), "--enable-auto-tool-choice"),
        ("react", (422, {}, b'{"detail":[{"loc":["body"],"msg":"Field required"}]}'), "Field required"),
        ("react", (302, {"Location": "http://127.0.0.1:9/"}, b""), "cannot be reached"),
    ],
)
def test_an_answer_that_is_none_is_an_error_of_its_turn(style: str, answer: Answer, words: str) -> None:
    with Site([answer]) as site:
        sentence = failure(backend(site, style))
    assert words in sentence and site.url in sentence


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens"),
        (
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context length is 2048",
        ),
        (400, "The decoder prompt (length 9000) is longer than the maximum model length of 8192."),
        (400, "The input (3000 tokens) is longer than the model's context length (2048 tokens)."),
        (400, "the request exceeds the available context size (2048 tokens), try increasing it"),
        (422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000"),
        (500, "input is too large to process. increase the physical batch size"),
    ],
)
@pytest.mark.parametrize("style", ["react", "chat"])
def test_a_conversation_that_is_too_long_is_a_full_context(status: int, words: str, style: str) -> None:
    with Site([error(status, words)]) as site:
        written = one(backend(site, style))
    assert isinstance(written, ContextFull) and words[:40] in str(written) and len(site.seen) == 1


@pytest.mark.parametrize(
    "answer", [error(429, "slow down"), (500, {}, b"oops"), (502, {}, b"<html>Bad Gateway</html>")]
)
def test_what_passes_is_tried_again(answer: Answer) -> None:
    status, headers, body = answer
    with Site([(status, headers | {"Retry-After": "0.05"}, body), text(" fine")]) as site:
        assert one(backend(site, retries=2)).text == " fine"
    assert len(site.seen) == 2
    with Site([(status, headers | {"Retry-After": "0.05"}, body)]) as site:
        assert f"status {status}" in failure(backend(site, retries=2))
    assert len(site.seen) == 3


def hang(connection: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def drop(connection: socket.socket, over: threading.Event) -> None:
    pass


def refused_and_cut_off(connection: socket.socket, over: threading.Event) -> None:
    head = b"HTTP/1.1 429 No\r\nRetry-After: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(head + b"4\r\nslow\r\n")


def cut_off(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")


def drip(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b" ")


def babble(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"220 mail.example.com ESMTP\r\n")


def no_gzip(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize(
    ("behave", "words", "tries"),
    [
        (hang, "did not answer within 0.4 s", 2),
        (drop, "cannot be reached, or hangs up", 2),
        (babble, "cannot be reached, or hangs up", 2),
        (cut_off, "broke its answer off", 1),
        (refused_and_cut_off, "broke its answer off", 2),
        (no_gzip, "broke its answer off", 1),
        (drip, "did not finish its answer within 0.4 s", 1),
    ],
)
def test_a_server_that_misbehaves_costs_its_turn(
    behave: Callable[[socket.socket, threading.Event], None], words: str, tries: int
) -> None:
    started = time.monotonic()
    with Rude(behave) as site:
        assert words in failure(backend(site, timeout=0.4, retries=1))
        assert site.connections == tries
    assert time.monotonic() - started < 5


def test_no_server_at_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = EndpointBackend(f"http://127.0.0.1:{port}/v1", "gpt-9", retries=0)
    assert "start the server" in failure(model)
    with pytest.raises(ToolAlpacaError, match="start the server"):
        model.check()


def test_a_check_before_a_run() -> None:
    with openai_double(text("x"), message("x")) as site:
        backend(site).check()
        backend(site, "chat").check()
        assert [seen.target for seen in site.seen] == ["/v1/completions", "/v1/chat/completions"]
        assert json.loads(site.seen[1].body)["tools"][0]["function"]["name"] == "getDetails"
        with pytest.raises(ToolAlpacaError, match="--style chat"):
            EndpointBackend(site.url, "gpt-9", retries=0).check()  # without /v1


def test_a_turn_that_fails_costs_itself_only() -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return error(400, "no") if "second" in body["prompt"] else text(f" {body['prompt'][-40:]}")

    with openai_double(answer) as site:
        contexts = [context(instruction=name) for name in ("first", "second", "third")]
        written = backend(site).generate(contexts, 9)
    assert [isinstance(one, Completion) for one in written] == [True, False, True]
    assert "first" in written[0].text and "third" in written[2].text


def test_many_rollouts_ask_at_once() -> None:
    together = threading.Barrier(8, timeout=10)

    def answer(body: dict[str, Any]) -> Answer:
        together.wait()  # nobody is answered before all have asked
        return text(body["prompt"].partition("USER: ")[2])

    with Site([lambda seen: answer(json.loads(seen.body))]) as site, ThreadPoolExecutor(8) as pool:
        model = backend(site, concurrency=8)
        assert (model.width, model.continuous) == (8, False)
        contexts = [context(instruction=f"number {i}") for i in range(8)]
        written = list(pool.map(lambda one: model.generate([one], 9)[0].text, contexts))
    assert [text.splitlines()[0] for text in written] == [f"number {i}" for i in range(8)]


# The key, and what is wrong from the start


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**options: Any) -> str:
        with Site([text("x")]) as site:
            one(backend(site, **options))
        return site.seen[0].headers["authorization"]

    assert asked() == f"Bearer {KEY}" and asked(api_key="given") == "Bearer given"
    monkeypatch.delenv("TOOLALPACA_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert asked() == "Bearer sk-other"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert asked() == "Bearer none"


def test_a_key_that_a_server_repeats_is_not_passed_on() -> None:
    echo = f"you sent Authorization: Bearer {KEY}"
    with Site(
        [text(echo), message(echo), error(400, echo), (500, {}, echo.encode()), (200, {}, echo.encode())]
    ) as site:
        model = backend(site)
        assert one(model).text == "you sent Authorization: Bearer ***"
        assert one(backend(site, "chat")).turn.response == "you sent Authorization: Bearer ***"
        assert all("Bearer ***" in failure(model) for _ in range(3))
    assert KEY not in repr(model) + repr(model.describe()) + repr(vars(model))


def test_a_placeholder_is_no_secret() -> None:
    with Site([text(" the list is EMPTY")]) as site:
        assert one(backend(site, api_key="EMPTY")).text == " the list is EMPTY"


def test_the_record_of_a_run() -> None:
    model = EndpointBackend("http://127.0.0.1:8000/v1/", "org/model", "chat", temperature=0.7, seed=4)
    assert model.name == "org/model" and model.describe() == {
        "backend": "endpoint",
        "endpoint": "http://127.0.0.1:8000/v1",
        "model": "org/model",
        "style": "chat",
        "temperature": 0.7,
        "seed": 4,
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://x/v1",
        "http://",
        "http://[::1",
        "http://x:99999/v1",
        "http://a b/v1",
        "file:///etc",
    ],
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ToolAlpacaError, match="no server's URL"):
        EndpointBackend(url, "m")


@pytest.mark.parametrize("url", ["http://-/v1", "http://xn--/v1"])
def test_a_host_that_can_not_be(url: str) -> None:
    written = one(EndpointBackend(url, "m", retries=0))
    assert isinstance(written, ToolAlpacaError) and "cannot be reached" in str(written)


def test_what_is_wrong_from_the_start() -> None:
    with pytest.raises(ToolAlpacaError, match="'react' or 'chat'"):
        EndpointBackend("http://127.0.0.1/v1", "m", "poem")
    held = (f"http://me:{KEY}@127.0.0.1", f"http://127.0.0.1/?key={KEY}", f"ftp://me:{KEY}@x", f"127.0.0.1?key={KEY}")
    for url in held:
        with pytest.raises(ToolAlpacaError, match=r"TOOLALPACA_API_KEY|no server's URL") as raised:
            EndpointBackend(url, "m")
        assert KEY not in str(raised.value)
    for key in ("schlüssel-0815", "two\nlines"):
        with pytest.raises(ToolAlpacaError, match="cannot be sent") as raised:
            EndpointBackend("http://127.0.0.1/v1", "m", api_key=key)
        assert key not in str(raised.value)


def test_a_scripted_user_needs_no_client() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import toolalpaca_hf.agent.task; "
    code += "print([name for name in ('torch', 'transformers', 'openai') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
