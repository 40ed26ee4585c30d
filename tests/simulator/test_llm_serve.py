"""A real model plays real documents, served by `transformers serve`, which somebody else wrote."""

from pathlib import Path

import httpx
import pytest
from serving import transformers_serve
from simulated import PETS, api_of, declared, problems
from test_corpora import requests_of
from test_llm import actor

from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.openapi import load_document
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import FALLBACK_HEADER, RESPONDER_HEADER, SESSION_HEADER, running

CALLS = 20


@pytest.mark.slow
def test_smollm2_plays_the_apis(sample_apis: list[Api], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2 is a weak actor: its answer is valid for the document, or it says that the schemas stood in."""
    apis = [api_of(PETS), *sample_apis[:3]]
    model = resolve_model("smollm2")
    played = stood_in = 0
    wrong = []
    with transformers_serve(tmp_path / "log.txt", threads=2) as base:
        responder = actor(base, monkeypatch, model, "none", max_tokens=160, timeout=300.0)
        with running(apis, responder=responder) as url, httpx.Client(base_url=url, timeout=600.0) as client:
            for api, entry in zip(apis, client.get("/health").json()["apis"], strict=True):
                document = load_document(api.documentation)
                for number, (method, path, template, kwargs) in enumerate(
                    requests_of(document, True)[: CALLS // 4 + 2]
                ):
                    kwargs["headers"] |= {SESSION_HEADER: f"{api.id}/{number // 2}"}
                    reply = client.request(method, entry["path"] + "/" + path.lstrip("/"), **kwargs)
                    print(
                        api.name, method, path, reply.status_code, reply.headers.get(FALLBACK_HEADER), reply.text[:200]
                    )
                    pointer = declared(document, template, method, reply.status_code)
                    if pointer is not None:
                        wrong += [(path, reply.text, problem) for problem in problems(document, pointer, reply.json())]
                    assert reply.headers[RESPONDER_HEADER] == f"llm/{model}"
                    assert reply.status_code < 500, reply.text
                    stood_in += FALLBACK_HEADER in reply.headers
                    played += FALLBACK_HEADER not in reply.headers
    assert not wrong, wrong[:3]
    assert played + stood_in >= CALLS and played > 0
