"""Perplexity against one forward pass a token."""

import itertools
import math

import pytest
import torch
from tiny_models import SIZES, tiny_tokenizer
from transformers import GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.evaluation.measurement import perplexity
from toolalpaca_hf.schema import Segment
from toolalpaca_hf.training import SegmentTokenizer

EXAMPLES = [
    [
        Segment("USER: Is it open?\nThought:", False),
        Segment(" I look.", True),
        Segment(" Yes", False),
        Segment(" So.", True),
    ],
    [Segment("USER: When?\nThought:", False), Segment(" I ask the harbour about the ferry at noon.", True)],
]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=1500, initializer_range=0.2, **SIZES))


def test_every_trained_token_counts_once(model: LlamaForCausalLM) -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    surprises = []
    for example in EXAMPLES:
        ids: list[int] = []
        for place, segment in enumerate(example):
            new = tokenizer(segment.text)["input_ids"]
            new += [tokenizer.eos_token_id] * (place == len(example) - 1)
            for token in new:
                if segment.trainable:
                    with torch.no_grad():
                        odds = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
                    surprises.append(-math.log(odds[token]))
                ids.append(token)
    assert len(surprises) > 10
    found = perplexity(model, tokenizer, EXAMPLES)
    assert found == pytest.approx(math.exp(sum(surprises) / len(surprises)), rel=1e-4)
    # An example in which nothing is trained changes nothing; alone, it has no perplexity.
    untrained = [Segment("USER: Is it open?", False)]
    assert perplexity(model, tokenizer, [*EXAMPLES, untrained]) == found
    with pytest.raises(InputError):
        perplexity(model, tokenizer, [untrained])


@pytest.mark.parametrize("family", [LlamaForCausalLM, GPTNeoXForCausalLM])
def test_common_beginnings_change_nothing(family: type) -> None:
    """Examples in every order, alone and one after the other."""
    torch.manual_seed(0)
    model = family(family.config_class(vocab_size=1500, initializer_range=0.2, **SIZES))
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    head = "USER: The ferry and the harbour, the harbour and the ferry. "
    examples = [
        [Segment(head + end, False), Segment(said, True)]
        for end, said in [("Is it open?", " Yes."), ("When?", " At noon."), ("Is it open?", " Yes."), ("", " No.")]
    ]
    examples.append([Segment(head, True), Segment(" When?", False), Segment(" At noon.", True)])

    def total(chosen: list[list[Segment]]) -> tuple[float, int]:
        rows = [SegmentTokenizer(tokenizer).encode(one) for one in chosen]
        count = sum(label != -100 for row in rows for label in row["labels"][1:])
        return count * math.log(perplexity(model, tokenizer, chosen)), count

    alone = [total([one]) for one in examples]
    for chosen in itertools.permutations(range(len(examples)), 3):
        together = total([examples[i] for i in chosen])
        assert together[0] == pytest.approx(sum(alone[i][0] for i in chosen), rel=1e-4), chosen
        assert together[1] == sum(alone[i][1] for i in chosen)


def test_the_ids_are_those_of_training() -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    text = EXAMPLES[0][0].text
    assert SegmentTokenizer(tokenizer).prompt_ids(text) == tokenizer(text)["input_ids"]
