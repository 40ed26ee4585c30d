"""A client of OpenAI-compatible servers, whose answers may be streamed; errors say what to do."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from ..errors import OptionError, needing
from ..openapi import Credentials, mapping
from .asking import Answer, ContextFull, LLMError, NotAsked, RequestRejected, Unanswered, estimate_tokens
from .structured import without_thinking

with needing("an endpoint", "agent"):
    from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAI, OpenAIError, Timeout

KEY_VARIABLES = ("TOOLALPACA_API_KEY", "OPENAI_API_KEY")
# Of an answer: a turn of 10,000 tokens has some 50,000.
MAX_BYTES = 5_000_000
# Threads that share one of the library's clients: each request looks at all of its idle connections, under a lock.
CONNECTIONS = 8
# A shorter key is a word that servers without keys are given, such as EMPTY, and models write such words.
SHORTEST_SECRET = 12

# How OpenAI, vLLM, SGLang, TGI, llama.cpp and others say that a conversation is too long for the model.
_FULL = re.compile(
    r"context.?(length|size|window|limit)|maximum model length|max_model_len|(prompt|input) is too long"
    r"|inputs` (must have less than|tokens \+)|too large to process|reduce the length",
    re.IGNORECASE,
)


# Fields of a streamed answer that come in pieces; of others the last one counts.
_GROWING = ("text", "content", "reasoning_content", "reasoning", "refusal", "arguments")


class StreamedAnswer:
    """Joins server-sent events; `tell` gets the text so far, of a message the reasoning until there is content."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._rest, self._shown, self._done = tell, b"", "", False
        self._choice: dict[str, Any] = {}
        self._others: dict[str, Any] = {}

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the answer; raises `ValueError` if an event is no JSON."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            field, _, data = line.partition(b":")
            self._done |= field == b"data" and data.strip() == b"[DONE]"
            if field == b"data" and data.strip() not in (b"", b"[DONE]"):
                self._take(json.loads(data))

    def _take(self, event: dict[str, Any]) -> None:
        first = dict(next(iter(event.get("choices") or ()), {}))
        # Some servers send the message so far beside what is new of it.
        message = first.pop("delta", first.pop("message", None))
        _join(self._choice, first | {"message": message})
        self._others |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        message = self._choice.get("message") or {}
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        text = self._choice.get("text") or message.get("content") or reasoning
        if isinstance(text, str) and text != self._shown:
            self._shown = text
            self._tell(text)

    def whole(self) -> bytes:
        """The whole answer as JSON; empty if the server sent no events, an `EOFError` if they break off."""
        if not (self._choice or self._others):
            return b""
        if not (self._done or self._choice.get("finish_reason") or self._others.get("error")):
            raise EOFError
        return json.dumps(self._others | ({"choices": [self._choice]} if self._choice else {})).encode()


def _join(made: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        value = text_of(value) if name == "content" else value
        if isinstance(value, dict) and name != "arguments":
            _join(made.setdefault(name, {}), value)
        elif isinstance(value, list) and name == "tool_calls":
            for part in value:
                _join(_call_of(part, made.setdefault(name, [])), part)
        elif isinstance(value, str) and name in _GROWING:
            made[name] = (made.get(name) or "") + value
        elif value not in (None, ""):
            made[name] = value


def _call_of(part: dict[str, Any], calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The call that a piece belongs to: the newest of its index, or a new one."""
    place, known_as, named = part.get("index", 0), part.get("id"), mapping(part.get("function")).get("name")
    call = next((call for call in reversed(calls) if call["index"] == place), None)
    # Some servers give all calls the index 0, with ids or without; others give each piece of a call an id of its own.
    so_far = str(mapping(mapping(call).get("function")).get("arguments"))
    if call is None or (named and (known_as != call.get("id") if known_as else so_far.rstrip().endswith("}"))):
        calls.append(call := {"index": place})
    return call


def text_of(content: Any) -> Any:
    """A message's content, which may be a list of parts, as text."""
    if not isinstance(content, list):
        return content
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))


@dataclass(frozen=True)
class Choice:
    """The first of a response's `choices`."""

    fields: dict[str, Any]  # as the server sent it
    tokens: int | None  # generated; `None` if the server does not say
    cut: bool  # whether the token limit ended it
    prompt_tokens: int | None = None


class ModelClient:
    """One model of a server; thread-safe.

    The key appears in no error or `repr`; if the server repeats it, it is replaced by `***`.

    Args:
        base_url, model (`str`): The server, such as `http://127.0.0.1:8000/v1`, and the model's name there.
        api_key (`str`, *optional*): Defaults to the first of the environment variables `key_variables` that is set.
        timeout (`float`, *optional*, defaults to 120.0): Seconds to wait for one answer.
        retries (`int`, *optional*, defaults to 2): On 429, 5xx, timeouts and broken connections, with back-off;
            `Retry-After` is respected.
        concurrency (`int`, *optional*, defaults to 8): How many threads will ask at once.
        give_up (`int`, *optional*): Consecutive unanswered questions after which [`answer`] sends no more.

    Raises:
        [`OptionError`]: The URL is invalid, or the key cannot be sent.

    Example:

    ```python
    >>> client = ModelClient("http://127.0.0.1:8000/v1", "SmolLM2")
    >>> client.answer([{"role": "user", "content": "Hello"}], max_tokens=8).text  # doctest: +SKIP
    'Hello! How can I help'
    ```
    """

    enforces = None  # whether it follows JSON schemas has to be found out

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: int = 2,
        *,
        key_variables: Sequence[str] = KEY_VARIABLES,
        concurrency: int = CONNECTIONS,
        give_up: int | None = None,
    ) -> None:
        _check_url(base_url, key_variables[0])
        found = [] if api_key else [name for name in key_variables if os.environ.get(name, "").strip()]
        self._key_variable = (*found, key_variables[0])[0]
        key = (api_key or (os.environ[found[0]] if found else "")).strip()
        if not key.isascii() or not key.isprintable():
            raise OptionError(f"the key for {base_url} has characters that cannot be sent", option=self._key_variable)
        self.base_url, self.model, self.timeout = base_url.rstrip("/"), model, timeout
        self.give_up, self.failures = give_up, 0
        self._secret = Credentials({"key": key} if key else {})
        self._secret_in_answers = self._secret if len(key) >= SHORTEST_SECRET else Credentials()
        # Local servers want no key, the library's client does.
        waits = Timeout(timeout, connect=min(timeout, 10.0))
        make = partial(OpenAI, base_url=self.base_url, api_key=key or "none", timeout=waits, max_retries=retries)
        self._clients = cycle([make() for _ in range(max(1, -(-concurrency // CONNECTIONS)))])
        self._lock, self._limit = threading.Lock(), "max_tokens"

    def complete(self, prompt: str | list[int], max_tokens: int, **options: Any) -> Choice:
        """Continue a text, or its ids in the model's own vocabulary; the [`Choice`] has the field `text`.

        `options` are other fields of the request; `None` is left out. `tell`, a function, streams the answer, and gets
        its text so far. Raises as [`answer`].
        """
        return self._request("text", str, prompt=prompt, max_tokens=max_tokens, **options)

    def chat(self, messages: list[dict[str, Any]], max_tokens: int | None, **options: Any) -> Choice:
        """Write the next message of a conversation; like [`complete`], with the field `message`, an object."""
        limit = self._limit
        try:
            return self._request("message", dict, messages=messages, **{limit: max_tokens}, **options)
        except LLMError as error:
            # OpenAI's newer models know the limit by another name only, which some servers do not know.
            if isinstance(error, ContextFull) or limit != "max_tokens" or "max_completion_tokens" not in error.said:
                raise
            self._limit = "max_completion_tokens"
            return self.chat(messages, max_tokens, **options)

    def answer(
        self,
        messages: list[dict[str, Any]],
        *,
        max_tokens: int | None = 1024,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        attempts: int = 2,
    ) -> Answer:
        """Answer the last message of a conversation in text.

        Args:
            max_tokens, temperature, seed (*optional*): `None` leaves them to the server.
            stop (`Sequence[str]`, *optional*): Texts that end the answer, four at most.
            schema (`dict`, *optional*): A JSON schema to follow; left out if the server rejects it.
            attempts (`int`, *optional*, defaults to 2): Attempts to get a usable answer.

        Raises:
            [`RequestRejected`], [`ContextFull`], [`Unanswered`]: There is no answer.
            [`NotAsked`]: The last `give_up` questions got none.
        """
        if self.give_up is not None and self.failures >= self.give_up:
            problem = f"not asked: {self.base_url} had failed {self.give_up} questions in a row"
            raise NotAsked(problem, endpoint=self.base_url, fix="see whether it still runs")
        options: dict[str, Any] = {"temperature": temperature, "seed": seed, "stop": list(stop) or None}
        while True:
            attempts -= 1
            try:
                wanted = {"name": "answer", "schema": schema, "strict": True}
                form = None if schema is None else {"type": "json_schema", "json_schema": wanted}
                choice = self.chat(messages, max_tokens, response_format=form, **options)
                break
            except RequestRejected:
                if attempts < 1 or schema is None:
                    self.failures = 0
                    raise
                schema = None  # not every server knows all of JSON schema
            except Unanswered:
                if attempts < 1:
                    with self._lock:
                        self.failures += 1
                    raise
        self.failures = 0
        return self._answered(choice, messages, stop, schema is not None)

    def _answered(self, choice: Choice, messages: list[dict[str, Any]], stop: Sequence[str], enforced: bool) -> Answer:
        message, reason = choice.fields["message"], choice.fields.get("finish_reason")
        # JSON can spell halves of surrogate pairs.
        text = without_thinking(str(text_of(message.get("content")) or "")).encode("utf-8", "replace").decode("utf-8")
        end = min((at for words in stop if (at := text.find(words)) >= 0), default=None)
        if message.get("refusal") or reason == "content_filter":
            text, reason = "", "refusal"
        elif end is not None:
            text, reason = text[:end], "stop"
        asked = "".join(str(one["content"]) for one in messages)
        given = estimate_tokens(asked) if choice.prompt_tokens is None else choice.prompt_tokens
        made = estimate_tokens(text) if choice.tokens is None else choice.tokens
        return Answer(text, reason if isinstance(reason, str) else "stop", given, made, self.model, enforced)

    def check(self, tools: list[dict[str, Any]] | None = None) -> None:
        """Request one token, of a chat with `tools` or else of a text, to fail early with an [`LLMError`]."""
        if tools:
            self.chat([{"role": "user", "content": "Hello"}], 16, tools=tools)
        else:
            self.complete("Hello", 1)

    def context_length(self) -> int | None:
        """The model's context length; `None` if the server's list of models does not say."""
        try:
            with next(self._clients).models.with_streaming_response.list() as response:
                answer = json.loads(self._read(response.iter_bytes()))
            found = next((model for model in answer["data"] if model["id"] == self.model), {}).get("max_model_len")
        except Exception:  # whatever the server or the HTTP library makes of it: it does not say
            return None
        return found if type(found) is int and found > 0 else None

    def _request(self, made: str, kind: type, tell: Callable[[str], None] | None = None, **fields: Any) -> Choice:
        """The first choice, which has to have the field `made` of this type."""
        chat = made == "message"
        fields = {name: value for name, value in fields.items() if value is not None}
        # Half a surrogate pair, which an API's answer may hold, has no UTF-8.
        fields = json.loads(json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace"))
        streamed = None
        if tell is not None:
            streamed = StreamedAnswer(lambda text: tell(self._secret_in_answers.redact(text)))
            fields["stream"] = True
        with self._lock:
            client = next(self._clients)
        route = client.chat.completions if chat else client.completions
        try:
            with route.with_streaming_response.create(model=self.model, **fields) as response:
                body = self._read(response.iter_bytes(), streamed)
        except OpenAIError as error:
            raise self._failure(error, chat) from None
        except LLMError:
            raise
        except Exception as error:  # the HTTP library's, where the body of an error breaks off
            raise self._broken_off(error) from None
        try:
            answer = json.loads(self._secret_in_answers.redact_bytes(body))
        except (ValueError, RecursionError):
            raise self._malformed(f"no JSON: {self._words(body.decode('utf-8', 'replace'), 60)!r}") from None
        if streamed and mapping(answer).get("error"):  # what came before it is not all
            raise self._unanswered(f"broke its answer off ({self._words(answer['error'])})", "its own log says why")
        choices = mapping(answer).get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise self._malformed(f"no choice: {self._words(answer, 60)!r}")
        if not isinstance(choices[0].get(made), kind):
            raise self._malformed(f"a choice without {'a message' if chat else 'text'}")
        usage = mapping(answer.get("usage"))
        counts = [usage.get(f"{name}_tokens") for name in ("completion", "prompt")]
        tokens, prompt_tokens = (n if type(n) is int and n >= 0 else None for n in counts)
        return Choice(choices[0], tokens, choices[0].get("finish_reason") == "length", prompt_tokens)

    def _read(self, pieces: Iterable[bytes], streamed: StreamedAnswer | None = None) -> bytes:
        """The body, read only up to a size and time limit."""
        body, deadline = bytearray(), time.monotonic() + self.timeout
        try:
            for piece in pieces:
                body += piece
                if streamed:
                    streamed.feed(piece)
                if len(body) > MAX_BYTES:
                    raise self._malformed(f"more than {MAX_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise self._unanswered(f"did not finish its answer within {self.timeout:g} s")
            if streamed:
                streamed.feed(b"\n")  # the last line may have no end
            return (streamed and streamed.whole()) or bytes(body)
        except LLMError:
            raise
        # Here the library passes on the errors of the HTTP library it is built with, whichever that is.
        except Exception as error:
            raise self._broken_off(error) from None

    def _broken_off(self, error: Exception) -> LLMError:
        return self._unanswered(f"broke its answer off ({type(error).__name__})", "see whether it still runs")

    def _failure(self, error: OpenAIError, chat: bool) -> LLMError:
        if isinstance(error, APITimeoutError):
            words = f"did not answer within {self.timeout:g} s"
            return self._unanswered(words, "give it more time, or ask it less at once")
        if isinstance(error, APIConnectionError):
            words = f"cannot be reached, or hangs up ({self._words(str(error.__cause__ or error), 100)})"
            return self._unanswered(words, "start the server, or check its address")
        if not isinstance(error, APIStatusError):
            return self._malformed(self._words(str(error), 200))
        status, said = error.status_code, self._words(error.body)
        if _FULL.search(said):
            problem = f"the conversation is too long for {self.model}: {said}"
            return ContextFull(problem, endpoint=self.base_url, status=status, said=said)
        absent = f"it has no {'chat' if chat else 'raw'} completions at this address: check it, often it ends in /v1"
        absent += "" if chat else "; or use --style chat"
        if "model" in said.lower() and "chat" not in said.lower():
            absent = f"does it serve {self.model}? {self.base_url}/models lists what it does"
        key = f"set {self._key_variable} to a key it takes"
        fixes = {401: key, 403: key, 404: absent, 405: absent, 429: "ask it less at once, or later"}
        fix = fixes.get(status, "its own log says why" if status >= 500 else "check the request's settings")
        kind = RequestRejected if status in (400, 413, 422) else Unanswered
        problem = f"{self.base_url} answers with status {status} ({said})"
        return kind(problem, endpoint=self.base_url, status=status, said=said, fix=fix)

    def _unanswered(self, words: str, fix: str | None = None) -> Unanswered:
        return Unanswered(f"{self.base_url} {words}", endpoint=self.base_url, fix=fix)

    def _malformed(self, what: str) -> Unanswered:
        fix = f"check that it serves {self.model} by OpenAI's API at this address"
        return self._unanswered(f"answers with {what}", fix)

    def _words(self, body: Any, longest: int = 300) -> str:
        """A server's message in one line, without the key."""
        while isinstance(body, dict):
            body = next((body[name] for name in ("error", "message", "detail") if body.get(name)), json.dumps(body))
        words = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)
        # Cut once more behind the redaction: the first cut may have left half a key.
        words = self._secret.redact(words[:20_000])[:19_000]
        # An HTML page says something only between its tags.
        words = re.sub(r"(?s)<(style|script).*?</\1>|<[^<>]*>", " ", words)
        return " ".join(words.split())[:longest] or "nothing"


def _check_url(url: str, key_variable: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")  # as a name to be looked up has to be
        if parts.scheme not in ("http", "https") or not host or parts.port == 0 or " " in url:
            raise ValueError
    except ValueError:
        shown = re.sub(r"//.*@|\?.*", "***", url)  # where people put keys
        raise OptionError(f"{shown!r} is no server's URL", fix="pass one such as http://127.0.0.1:8000/v1") from None
    if parts.username or parts.password or parts.query:
        fix = f"put the key in {key_variable} instead"
        raise OptionError(f"the URL of {host} holds more than an address", fix=fix)
