"""Perplexity against one forward pass a token."""

import math

import pytest
import torch
from tiny_models import SIZES, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from toolalpaca_hf.evaluation.perplexity import perplexity
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
    with pytest.raises(ValueError, match="no example has a trained token"):
        perplexity(model, tokenizer, [untrained])


def test_the_ids_are_those_of_training() -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    text = EXAMPLES[0][0].text
    assert SegmentTokenizer(tokenizer).prompt_ids(text) == tokenizer(text)["input_ids"]
