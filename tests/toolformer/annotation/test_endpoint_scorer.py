"""An endpoint scores as the model itself; one that tells no log-probabilities of a prompt is refused."""

import shutil
from pathlib import Path

import pytest
from logprob_server import logprob_server
from proposing import PROMPT, SENTENCES
from serving import transformers_serve

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.toolformer.annotation import AnnotationSettings, Annotator, Text, ToolSettings
from toolalpaca_hf.toolformer.annotation.endpoint import EndpointProposer, EndpointScorer
from toolalpaca_hf.toolformer.annotation.pipeline import load_model
from toolalpaca_hf.toolformer.annotation.score import LocalScorer
from toolalpaca_hf.toolformer.markers import Markers


@pytest.mark.parametrize("kind", ["openai", "vllm"])
def test_an_endpoint_scores_and_proposes_as_the_model_does(proposer_folder: Path, kind: str) -> None:
    model, tokenizer = load_model(str(proposer_folder))
    local = LocalScorer(model, tokenizer)
    asked = [(local.encode(text), [1, 4, 5]) for text in SENTENCES] + [(local.encode("One two"), [])]
    with logprob_server(model, tokenizer, kind) as url:
        scorer = EndpointScorer(url, "proposer", tokenizer)
        scorer.check()
        found = scorer.logprobs(asked)
        for ours, theirs in zip(found, local.logprobs(asked), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
        proposer = EndpointProposer(scorer, {"Calculator": PROMPT}, Markers(), temperature=0.1, call_tokens=24)
        settings = AnnotationSettings({"Calculator": ToolSettings(0.05, 1, 2, tau_f=-50.0)}, all_losses=True)
        annotator = Annotator(
            scorer, proposer, lambda calls: [("9", None) for _ in calls], ["Calculator"], settings=settings
        )
        [one] = annotator.annotate([Text("1", SENTENCES[0])])
    assert one.row["annotated"] == SENTENCES[0].replace(" 9 ", " [Calculator(2 + 7) -> 9] 9 ")


def test_one_that_says_nothing_of_the_prompt_is_refused(proposer_folder: Path) -> None:
    model, tokenizer = load_model(str(proposer_folder))
    with logprob_server(model, tokenizer, "silent") as url:
        scorer = EndpointScorer(url, "proposer", tokenizer)
        with pytest.raises(ToolAlpacaError, match=r"does not tell the log-probabilities of a prompt.*vLLM does"):
            scorer.check()


@pytest.mark.slow
def test_transformers_serve_is_refused(proposer_folder: Path, tmp_path: Path) -> None:
    served = shutil.copytree(proposer_folder, tmp_path / "served")
    _, tokenizer = load_model(str(proposer_folder))
    with transformers_serve(tmp_path / "log.txt") as url:
        with pytest.raises(ToolAlpacaError, match="does not tell the log-probabilities of a prompt"):
            EndpointScorer(url, str(served), tokenizer).check()
