"""An endpoint scores as the model itself; one that tells no log-probabilities of a prompt is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from logprob_server import logprob_server
from proposing import PROMPT, SENTENCES, load
from serving import transformers_serve

from toolalpaca_hf.errors import ToolAlpacaError, UnsupportedModelError
from toolalpaca_hf.toolformer import (
    AnnotationConfig,
    AnnotationSettings,
    Annotator,
    Document,
    Markers,
    ToolResult,
    ToolSettings,
    tools_named,
)
from toolalpaca_hf.toolformer.annotation.pipeline import load_annotator
from toolalpaca_hf.toolformer.annotation.sample import EndpointSampler, EndpointScorer, LocalScorer


@pytest.mark.parametrize("kind", ["openai", "vllm"])
def test_an_endpoint_scores_and_proposes_as_the_model_does(proposer_folder: Path, kind: str) -> None:
    model, tokenizer = load(proposer_folder)
    local = LocalScorer(model, tokenizer)
    asked = [(local.encode(text), [1, 4, 5]) for text in SENTENCES] + [(local.encode("One two"), [])]
    with logprob_server(model, tokenizer, kind) as url:
        scorer = EndpointScorer(url, "proposer", tokenizer)
        scorer.check()
        found = scorer.logprobs(asked)
        for ours, theirs in zip(found, local.logprobs(asked), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
        sampler = EndpointSampler(scorer, Markers(), temperature=0.1, call_tokens=24)
        settings = AnnotationSettings({"Calculator": ToolSettings(0.05, 1, 2, tau_f=-50.0)}, all_losses=True)
        run = lambda calls, metas: [ToolResult("9") for _ in calls]  # noqa: E731
        annotator = Annotator(scorer, sampler, {"Calculator": PROMPT}, run, settings=settings)
        [one] = annotator.annotate([Document("1", SENTENCES[0])])
    assert one.row["annotated"] == SENTENCES[0].replace(" 9 ", " [Calculator(2 + 7) -> 9] 9 ")


def served(url: str, folder: Path, out: Path, **settings: Any) -> Annotator:
    chosen = AnnotationSettings({"Calculator": ToolSettings(0.05, 1, 1)}, call_tokens=12, **settings)
    config = AnnotationConfig(
        "", str(out), str(folder), ("calculator",), chosen, endpoint=url, served_model="proposer"
    )
    return load_annotator(config, tools_named("calculator"))


def test_a_text_that_the_server_has_no_room_for_is_known_before_it_is_asked(
    proposer_folder: Path, tmp_path: Path
) -> None:
    model, tokenizer = load(proposer_folder)
    with logprob_server(model, tokenizer, "vllm", context=1000) as url:
        annotator = served(url, proposer_folder, tmp_path)
        prompt = annotator.prompts["Calculator"]
        assert annotator.room == (1000 - len(prompt.head) - len(prompt.tail) - 12) // 2
        short, long = SENTENCES[0], f"{SENTENCES[0]} " * 40
        found = annotator.annotate([Document("1", long), Document("2", short)])
    assert found[0].row["outcome"] == f"longer than {annotator.room} tokens"
    assert found[1].row["outcome"] in ("annotated", "no call kept")
    # One that does not say is taken to have the room of the tokenizer's model.
    for kind, lists in (("openai", True), ("vllm", False)):
        with logprob_server(model, tokenizer, kind, lists=lists) as url:
            room = served(url, proposer_folder, tmp_path).room
            assert room == (2048 - len(prompt.head) - len(prompt.tail) - 12) // 2


def test_a_text_that_the_server_refuses_is_recorded_and_the_rest_go_on(proposer_folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load(proposer_folder)
    with logprob_server(model, tokenizer, "openai", context=1000) as url:
        annotator = served(url, proposer_folder, tmp_path)
        found = annotator.annotate([Document("1", f"{SENTENCES[0]} " * 40), Document("2", SENTENCES[0])])
    assert found[0].row["outcome"] == "longer than the model's context"
    assert found[1].row["outcome"] in ("annotated", "no call kept")
    with pytest.raises(ToolAlpacaError):  # the server is gone
        annotator.annotate([Document("2", SENTENCES[0])])
    with logprob_server(model, tokenizer, "vllm", cuts=1000) as url:  # without a word
        annotator = served(url, proposer_folder, tmp_path)
        found = annotator.annotate([Document("1", f"{SENTENCES[0]} " * 40), Document("2", SENTENCES[0])])
    assert found[0].row["outcome"].startswith("failed: RequestRejected: ")
    assert found[1].row["outcome"] in ("annotated", "no call kept")


def test_a_server_that_does_not_take_what_texts_are_asked_with_is_refused(proposer_folder: Path) -> None:
    model, tokenizer = load(proposer_folder)
    with logprob_server(model, tokenizer, "vllm") as url:
        scorer = EndpointScorer(url, "proposer", tokenizer)
        scorer.check()
        EndpointSampler(scorer, Markers(), call_tokens=4).check()
        with pytest.raises(ToolAlpacaError):
            EndpointSampler(scorer, Markers(), call_tokens=0).check()


def test_one_that_says_nothing_of_the_prompt_is_refused(proposer_folder: Path) -> None:
    model, tokenizer = load(proposer_folder)
    with logprob_server(model, tokenizer, "silent") as url:
        scorer = EndpointScorer(url, "proposer", tokenizer)
        with pytest.raises(UnsupportedModelError):
            scorer.check()


@pytest.mark.slow
def test_transformers_serve_is_refused(proposer_folder: Path, tmp_path: Path) -> None:
    served = shutil.copytree(proposer_folder, tmp_path / "served")
    _, tokenizer = load(proposer_folder)
    with transformers_serve(tmp_path / "log.txt") as url:
        with pytest.raises(UnsupportedModelError):
            EndpointScorer(url, str(served), tokenizer).check()
