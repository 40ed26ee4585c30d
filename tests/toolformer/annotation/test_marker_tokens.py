"""Markers that are special tokens of the model: the same ids in prompts, calls, losses and samples, and in no
document."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import brute_force
import pytest
import torch
from proposing import PROMPT, SENTENCES
from tiny_models import SIZES, tiny_tokenizer
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from toolalpaca_hf.schema import Segment
from toolalpaca_hf.toolformer import AnnotationSettings, Annotator, Document, Markers, ToolCall, ToolSettings
from toolalpaca_hf.toolformer.annotation.annotator import ToolPrompt
from toolalpaca_hf.toolformer.annotation.filter import Candidate, losses, score
from toolalpaca_hf.toolformer.annotation.sample import LocalScorer, Sampler, _Sample
from toolalpaca_hf.toolformer.vocabulary import MarkedTokenizer, Vocabulary
from toolalpaca_hf.training import SegmentTokenizer

MARKERS = Markers("<API>", "</API>", "→")
OWN = [MARKERS.start, MARKERS.end, MARKERS.arrow]
CALL = ToolCall("Calculator", "2 + 7")
DEMONSTRATION = (
    f"Calls.\nText: 1 + 1 = 2\nWith calls: 1 + 1 = {MARKERS.call(ToolCall('Calculator', '1 + 1'))} 2\n{PROMPT}"
)


@pytest.fixture(scope="module")
def scorer() -> LocalScorer:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"extra_special_tokens": OWN})
    assert {*tokenizer.convert_tokens_to_ids(OWN)} <= {*tokenizer.all_special_ids}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZES))
    return LocalScorer(model, tokenizer, markers=MARKERS)


def ids_of_markers(scorer: LocalScorer) -> set[int]:
    return {*scorer.tokenizer.convert_tokens_to_ids(OWN)}


def test_prompts_and_calls_hold_the_markers_as_tokens(scorer: LocalScorer) -> None:
    start, end, arrow = scorer.tokenizer.convert_tokens_to_ids(OWN)
    prompt = ToolPrompt(scorer, DEMONSTRATION)
    assert prompt.head == brute_force.ids_of(scorer.tokenizer, DEMONSTRATION.split("{text}")[0].rstrip(" "))
    assert (prompt.head.count(start), prompt.head.count(end)) == (1, 1)
    written = MARKERS.with_result(CALL, "9")
    ids = scorer.encode(written)
    assert ids[0] == start and ids[-1] == end and ids.count(arrow) == 1
    assert ids == brute_force.ids_of(scorer.tokenizer, written) and scorer.decode(ids) == written
    # As decoding reads them, and as a recipe with `parse_special_tokens: true` trains them.
    vocabulary = Vocabulary(scorer.tokenizer, MARKERS, ["Calculator"], len(scorer.tokenizer))
    assert vocabulary.prompt(written) == ids
    trained = SegmentTokenizer(scorer.tokenizer, parse_special_tokens=True).encode([Segment(f"So {written}", True)])
    assert trained["input_ids"][-len(ids) - 1 : -1] == ids
    # A result is what a server says: it is text, whatever it looks like.
    echo = scorer.encode(MARKERS.with_result(CALL, "<|im_end|>"))
    assert scorer.tokenizer.eos_token_id not in echo and {start, end, arrow} <= set(echo)


def test_losses_are_those_of_brute_force(scorer: LocalScorer) -> None:
    x = scorer.encode(SENTENCES[0])
    one = Candidate("Calculator", CALL.input, 9, 0, 0.5, "9", l_empty=0.0)
    one.l_empty = losses(scorer, [((), x, [9])])[0][9]
    written = MARKERS.call(CALL), MARKERS.with_result(CALL, "9")
    score(scorer, [(x, one, written[1], written[0])], {"Calculator": -50.0})
    expected = brute_force.losses(scorer.model, scorer.tokenizer, scorer.begin, x, 9, *written)
    assert (one.l_empty, one.l_call, one.l_plus) == pytest.approx(expected, abs=1e-4)


def test_a_document_never_holds_a_marker_or_another_special_token(scorer: LocalScorer) -> None:
    seen: list[Sequence[int]] = []

    class Nothing:
        def open(self, prompt: ToolPrompt, texts: Sequence[Sequence[int]]) -> Iterator[dict[int, Any]]:
            seen.extend(texts)
            return iter(())

    def never(calls: Sequence[ToolCall], metas: Any) -> list[Any]:
        raise AssertionError("there is no call")

    settings = AnnotationSettings({"Calculator": ToolSettings()})
    annotator = Annotator(scorer, Nothing(), {"Calculator": PROMPT}, never, MARKERS, settings)
    words = [*OWN, "<|im_end|>", "<|endoftext|>", "1 + 1", " ", "<API", ">", "␛", "(", "\n"]
    draw = random.Random(0)
    texts = ["".join(draw.choices(words, k=12)) + " 2" for _ in range(50)]
    annotator.annotate([Document(str(n), text) for n, text in enumerate(texts)])
    special = {*scorer.tokenizer.all_special_ids}
    assert len(seen) == len(texts) and not any(special & set(ids) for ids in seen)


@pytest.mark.parametrize(
    ("written", "drawn"),
    [
        ("Calculator(2 + 7)</API>", "Calculator(2 + 7)"),
        ("Calculator(2 + 7) → 8</API>", "Calculator(2 + 7) → 8"),  # read as the call without its result
        ("Calculator(2<|im_end|>", None),
    ],
)
def test_a_call_is_sampled_up_to_its_end(scorer: LocalScorer, written: str, drawn: str | None) -> None:
    sampler, sample = Sampler(scorer, MARKERS), _Sample(random.Random(0))
    for token in brute_force.ids_of(scorer.tokenizer, written):
        logits = torch.full((1, len(scorer.tokenizer)), -100.0)
        logits[0, token] = 100.0
        (going,) = sampler._take("Calculator", logits, [[sample]])
        if not going:
            break
    assert not going and sample.ids[-1] == token and sample.text == drawn
    assert drawn is None or MARKERS.parse(drawn) == CALL


def test_markers_that_are_text_change_nothing(scorer: LocalScorer) -> None:
    def read(tokenizer: Any, text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    plain, encoder = tiny_tokenizer(eos_token="<|im_end|>"), MarkedTokenizer(scorer.tokenizer, Markers()).encode
    for text in (DEMONSTRATION, "[Calculator(2 + 7) -> 9]", " [1] <API> <|im_end|>", ""):
        expected = read(plain, text)
        assert MarkedTokenizer(plain, Markers()).encode(text) == MarkedTokenizer(plain).encode(text) == expected
        assert encoder(text) == read(scorer.tokenizer, text)
    # Added, and not special: a token in any text, as before.
    plain.add_tokens(OWN)
    written = f"It is {MARKERS.with_result(CALL, '9')} 9"
    assert MarkedTokenizer(plain, MARKERS).encode(written) == read(plain, written)


def test_no_space_is_put_behind_a_marker() -> None:
    """A tokenizer that puts a space before a text, as SentencePiece's do."""
    letters = {letter: n for n, letter in enumerate("▁<API/>abClcutor()29+7x")}
    backend = Tokenizer(BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens({"extra_special_tokens": OWN})
    ids = MarkedTokenizer(tokenizer, MARKERS).encode(f"a {MARKERS.call(CALL)}b")
    assert tokenizer.convert_ids_to_tokens(ids) == [*"▁a▁", "<API>", *"Calculator(2▁+▁7)", "</API>", "b"]
