"""A server of raw completions on loopback that computes with a real model and refuses what real ones refuse."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from brute_force import logprobs

FIELDS = {
    "openai": {"model", "prompt", "max_tokens", "temperature", "seed", "stop", "echo", "logprobs"},
    "vllm": {"model", "prompt", "max_tokens", "temperature", "seed", "stop", "prompt_logprobs"},
    # Takes all of OpenAI's fields and says nothing of the prompt.
    "silent": {"model", "prompt", "max_tokens", "temperature", "seed", "stop", "echo", "logprobs"},
}


@contextmanager
def logprob_server(
    model: Any, tokenizer: Any, kind: str, context: int | None = None, lists: bool = True, cuts: int | None = None
) -> Iterator[str]:
    """The base URL of a server of a kind of [`FIELDS`], which may have a shorter context, and say so in its list of
    models, or say nothing of what is behind a prompt's first `cuts` ids."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if self.path != "/v1/models" or not lists:
                return self.answer(404, {"error": {"message": "no such route"}})
            one = {"id": "proposer", "object": "model", **({"max_model_len": context} if kind == "vllm" else {})}
            self.answer(200, {"object": "list", "data": [{"id": "another", "max_model_len": 7}, one]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = asked.get("prompt")
            if self.path != "/v1/completions":
                return self.answer(404, {"error": {"message": "no such route"}})
            if unknown := set(asked) - FIELDS[kind]:
                return self.answer(400, {"error": {"message": f"unknown field {sorted(unknown)[0]}"}})
            ids_sent = isinstance(prompt, list) and prompt and all(type(i) is int for i in prompt)
            if not ids_sent or not all(0 <= i < len(tokenizer) for i in prompt):
                return self.answer(400, {"error": {"message": "prompt is neither text nor ids of this vocabulary"}})
            if not 0 <= asked.get("logprobs", 0) <= 20 or asked["max_tokens"] < 1:
                return self.answer(400, {"error": {"message": "out of range"}})
            if context is not None and len(prompt) + asked["max_tokens"] > context:
                words = f"This model's maximum context length is {context} tokens, you requested {len(prompt)}"
                return self.answer(400, {"error": {"message": words}})
            with lock:
                self.answer(200, {"choices": [complete(asked)], "usage": {"completion_tokens": 1}})

    def complete(asked: dict[str, Any]) -> dict[str, Any]:
        ids = asked["prompt"]
        written, reason, stopped = list(ids), "length", None
        generator = torch.Generator().manual_seed(asked.get("seed", 0))
        for _ in range(asked["max_tokens"]):
            line = logprobs(model, written)[-1]
            temperature = asked.get("temperature", 1.0)
            if temperature:
                token = int(torch.multinomial((line / temperature).softmax(-1), 1, generator=generator))
            else:
                token = int(line.argmax())
            if token == tokenizer.eos_token_id:
                reason = "stop"
                break
            written.append(token)
            if any(stop in tokenizer.decode(written[len(ids) :]) for stop in asked.get("stop", ())):
                reason, stopped = "stop", asked["stop"][0]
                break
        text = tokenizer.decode(written[len(ids) :])
        choice: dict[str, Any] = {"index": 0, "text": text.split(stopped)[0] if stopped else text, "logprobs": None}
        choice["finish_reason"] = reason
        if kind == "vllm":
            choice["stop_reason"] = stopped
        lines = logprobs(model, written)
        if kind == "openai" and asked.get("echo"):
            choice["text"] = tokenizer.decode(written)
            values, tops = [None], [None]
            for n, token in enumerate(written[1:]):
                values.append(float(lines[n, token]))
                best = lines[n].topk(max(1, asked["logprobs"]))
                tops.append({tokenizer.decode([int(i)]): float(v) for v, i in zip(*best, strict=True)})
            names = [tokenizer.decode([i]) for i in written]
            choice["logprobs"] = {"tokens": names, "token_logprobs": values, "top_logprobs": tops, "text_offset": []}
        if kind == "vllm" and asked.get("prompt_logprobs"):
            told: list[Any] = [None]
            for n, token in enumerate(ids[1:cuts]):
                best = {int(i) for i in lines[n].topk(asked["prompt_logprobs"]).indices} | {token}
                told.append(
                    {
                        str(i): {"logprob": float(lines[n, i]), "rank": 1, "decoded_token": tokenizer.decode([i])}
                        for i in best
                    }
                )
            choice["prompt_logprobs"] = told
        return choice

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
