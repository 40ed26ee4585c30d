"""The filter is what the equations say: whole sequences, one candidate at a time."""

import math
import random

import brute_force
import pytest
import torch
from proposing import SENTENCES
from tiny_models import SIZES, tiny_tokenizer
from transformers import Gemma2Config, Gemma2ForCausalLM, GPTJConfig, GPTJForCausalLM, LlamaConfig, LlamaForCausalLM

from toolalpaca_hf.inference import by_length
from toolalpaca_hf.toolformer import Markers, ToolCall
from toolalpaca_hf.toolformer.annotation.filter import WEIGHTS, Candidate, losses, score, select_calls
from toolalpaca_hf.toolformer.annotation.sample import LocalScorer
from toolalpaca_hf.toolformer.vocabulary import begin_ids

TEXTS = [*SENTENCES, "A short one.", "The list holds 12 entries, 3 of which are new; see below. " * 6]


def models() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    size = len(tiny_tokenizer())
    gemma = {**SIZES, "head_dim": 16, "query_pre_attn_scalar": 16, "final_logit_softcapping": 5.0}
    made = {
        "llama": LlamaForCausalLM(LlamaConfig(vocab_size=size, **SIZES)),
        "gpt-j": GPTJForCausalLM(GPTJConfig(vocab_size=size, n_embd=64, n_layer=2, n_head=4, rotary_dim=8)),
        # Its logits are capped behind the head, and its layers take turns with a sliding window.
        "gemma-2": Gemma2ForCausalLM(Gemma2Config(vocab_size=size, sliding_window=16, **gemma)),
    }
    for model in made.values():
        for parameter in model.parameters():  # a random model's losses are all alike otherwise
            parameter.data.mul_(3)
    return made


@pytest.fixture(scope="module", params=["llama", "gpt-j", "gemma-2"])
def scorer(request: pytest.FixtureRequest) -> LocalScorer:
    options = {"bos_token": "<|endoftext|>"} if request.param == "gpt-j" else {}
    tokenizer = tiny_tokenizer(eos_token="<|endoftext|>", **options)
    return LocalScorer(models()[request.param], tokenizer, batch_tokens=300)


def candidates(scorer: LocalScorer) -> list[tuple[list[int], Candidate, str, str]]:
    """Calls at several places of several texts, some more than once, up to the last token."""
    markers, found, draw = Markers(), [], random.Random(0)
    for text in TEXTS:
        ids = scorer.encode(text)
        for index in {0, 1, len(ids) // 2, len(ids) // 2 + 1, len(ids) - 3, len(ids) - 1}:
            if not index and not scorer.begin:
                continue
            for expression in draw.sample(["2+3", "12 * 4", "1000000 / 7", "9 - 1"], 2):
                call = ToolCall("Calculator", expression)
                one = Candidate("Calculator", expression, index, 0, 0.5, "17")
                found.append((ids, one, markers.with_result(call, "17"), markers.call(call)))
    return found


def test_losses_and_kept_calls_are_those_of_the_equations(scorer: LocalScorer) -> None:
    asked = candidates(scorer)
    assert len(asked) > 50
    for ids, one, _, _ in asked:
        [found] = losses(scorer, [((), ids, [one.index])])
        one.l_empty = found[one.index]
    score(scorer, asked, {"Calculator": float("-inf")})
    kept: dict[float, tuple[set[int], set[int]]] = {tau: (set(), set()) for tau in (-0.5, 0.0, 0.2, 0.5)}
    for n, (ids, one, with_result, call) in enumerate(asked):
        expected = brute_force.losses(scorer.model, scorer.tokenizer, scorer.begin, ids, one.index, call, with_result)
        assert (one.l_empty, one.l_call, one.l_plus) == pytest.approx(expected, abs=1e-4)
        for tau, (ours, theirs) in kept.items():
            ours |= {n} if one.gain >= tau else set()
            theirs |= {n} if brute_force.kept(expected, tau) else set()
    assert all(ours == theirs for ours, theirs in kept.values())
    assert 0 < len(kept[0.0][0]) < len(asked)  # there was something to decide


def test_what_can_not_be_kept_is_not_computed(scorer: LocalScorer) -> None:
    """With a floor, the candidates that reach it have the same losses, and no other one reaches it."""
    every, lazy = candidates(scorer), candidates(scorer)
    for asked, floor in ((every, float("-inf")), (lazy, 0.1)):
        for ids, one, _, _ in asked:
            one.l_empty = losses(scorer, [((), ids, [one.index])])[0][one.index]
        score(scorer, asked, {"Calculator": floor})
    reached = [one for _, one, _, _ in every if one.gain >= 0.1]
    told = [one for _, one, _, _ in lazy if one.gain is not None and one.gain >= 0.1]
    assert [one.gain for one in told] == pytest.approx([one.gain for one in reached], abs=1e-4)
    assert 0 < len(told) and any(one.l_call is None for _, one, _, _ in lazy)


def test_the_weights_are_those_of_the_paper() -> None:
    plain = [max(0.0, 1 - 0.2 * t) for t in range(50)]
    assert pytest.approx([w / sum(plain) for w in plain if w > 1e-12]) == WEIGHTS


def test_only_wanted_columns_go_through_the_head(scorer: LocalScorer) -> None:
    ids = scorer.encode(TEXTS[-1])
    shapes = []
    hook = scorer.model.get_output_embeddings().register_forward_hook(lambda m, i, output: shapes.append(output.shape))
    losses(scorer, [((), ids, [5, 6])])
    hook.remove()
    assert [tuple(shape[:2]) for shape in shapes] == [(1, 6)]  # the tokens 5 to 10


def test_equal_calls_of_a_text_are_one_pass(scorer: LocalScorer) -> None:
    ids, markers = scorer.encode(TEXTS[0]), Markers()
    call = ToolCall("Calculator", "2+3")
    asked = [
        (
            ids,
            Candidate("Calculator", "2+3", i, 0, 0.5, "5", l_empty=9.0),
            markers.with_result(call, "5"),
            markers.call(call),
        )
        for i in (3, 4, 5)
    ]
    sizes = []
    hook = scorer.model.register_forward_pre_hook(lambda m, args: sizes.append(tuple(args[0].shape)))
    score(scorer, asked, {"Calculator": float("-inf")})
    hook.remove()
    assert len(sizes) == 2 and all(rows == 1 for rows, _ in sizes)  # with the result, and without


def test_a_text_begins_as_its_tokenizer_begins_it() -> None:
    assert begin_ids(tiny_tokenizer(eos_token="<|im_end|>", bos_token="<|im_start|>")) == []
    documents = tiny_tokenizer(eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    assert begin_ids(documents) == [documents.bos_token_id]


def test_batches_hold_each_sequence_once_and_no_more_than_they_may() -> None:
    draw = random.Random(1)
    for _ in range(200):
        lengths = [draw.randint(0, 60) for _ in range(draw.randint(0, 30))]
        batches = list(by_length(lengths, 120))
        assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
        assert all(len(b) == 1 or len(b) * max(lengths[n] for n in b) <= 120 for b in batches)


def test_a_loss_that_is_no_number_keeps_no_call() -> None:
    for losses_ in ((1.0, math.nan, 0.0), (math.nan, 1.0, 0.0), (1.0, 1.0, math.nan)):
        one = Candidate("Calculator", "1", 0, 0, 0.5, "1", None, *losses_)
        assert select_calls([one], {"Calculator": 0.5}) == []


def test_one_call_a_position_and_the_same_call_once() -> None:
    def one(tool: str, input: str, position: int, gain: float) -> Candidate:
        return Candidate(tool, input, position, position, 0.5, "5", l_empty=gain, l_call=gain + 1, l_plus=0.0)

    found = [
        one("Calculator", "2+3", 4, 0.9),
        one("Calculator", "1+4", 4, 0.8),  # the position is taken
        one("Calculator", "2+3", 5, 0.7),  # the same call helps more at 4
        one("WikiSearch", "five", 9, 0.9),  # its threshold is higher
        one("Calculator", "9-4", 1, 0.5),  # just so
        Candidate("Calculator", "5", 7, 7, 0.5, None, "no result"),
    ]
    written = select_calls(found, {"Calculator": 0.5, "WikiSearch": 1.0})
    assert [(call.input, call.position) for call in written] == [("9-4", 1), ("2+3", 4)]
