"""Sampling: the probabilities and the calls are those of one pass per position and sample, whatever is run
together."""

from pathlib import Path
from typing import Any

import pytest
import torch
from brute_force import ids_of, sample, start_probabilities
from proposing import PROMPT, SENTENCES, load
from tiny_models import SIZES, tiny_tokenizer
from transformers import GPTJConfig, GPTJForCausalLM, MistralConfig, MistralForCausalLM

from toolalpaca_hf.errors import InputError, UnsupportedModelError
from toolalpaca_hf.toolformer import Markers, ToolSettings
from toolalpaca_hf.toolformer.annotation.annotator import Opened, Place, ToolPrompt, select
from toolalpaca_hf.toolformer.annotation.sample import LocalScorer, Sampler, start_ids


@pytest.fixture(scope="module")
def proposer(proposer_folder: Path) -> LocalScorer:
    return LocalScorer(*load(proposer_folder))


def drawn(
    sampler: Sampler, texts: list[list[int]], count: int, m: int, prompt: str = PROMPT
) -> dict[tuple[int, int], Place]:
    """By text and position, its places and what was sampled there."""
    asked = ToolPrompt(sampler.scorer, prompt)
    found = {}
    for batch in sampler.open(asked, texts):
        some = [(f"seed/{n}", one, select(one.places, ToolSettings(0.0, count, m))) for n, one in batch.items()]
        sampler.draw(asked, "Calculator", some, m)
        found |= {(int(seed.split("/")[1]), p.index): p for seed, _, places in some for p in places}
    return found


def one_at_a_time(scorer: LocalScorer, x: list[int], n: int, place: Place, m: int, temperature: float) -> list[str]:
    """The same samples by brute force; those that are no call of the tool are dropped at their end."""
    head, tail = (ids_of(scorer.tokenizer, part) for part in PROMPT.split("{text}"))
    head = ids_of(scorer.tokenizer, PROMPT.split("{text}")[0].rstrip(" "))
    context = [*head, *x, *tail, *x[: place.index], place.start]
    texts = [
        sample(scorer.model, scorer.tokenizer, context, f"seed/{n}/{place.index}/{i}", "]", 24, temperature)
        for i in range(m)
    ]
    return [text for text in texts if text is not None and text.startswith("Calculator(")]


def test_the_probability_of_a_start_is_that_of_a_pass_for_each_position(proposer: LocalScorer) -> None:
    sampler, texts = Sampler(proposer, Markers()), [proposer.encode(text) for text in SENTENCES]
    starts = [i for i in range(len(proposer.tokenizer)) if proposer.tokenizer.decode([i]).strip() == "["]
    assert len(starts) == 2
    head, tail = PROMPT.split("{text}")
    before = [ids_of(proposer.tokenizer, part) for part in (head.rstrip(" "), tail)]
    seen = 0
    for batch in sampler.open(ToolPrompt(proposer, PROMPT), texts):
        for n, opened in batch.items():
            expected = start_probabilities(proposer.model, [*before[0], *texts[n], *before[1]], texts[n], starts)
            assert [p.probability for p in opened.places] == pytest.approx(expected, abs=1e-5)
            # It was taught to call before the sum.
            assert texts[n][max(range(len(expected)), key=expected.__getitem__)] == ids_of(proposer.tokenizer, " 9")[0]
            seen += 1
    assert seen == len(texts)


def test_samples_are_those_drawn_one_at_a_time(proposer: LocalScorer) -> None:
    """Shared passes, shared beginnings of samples and other texts beside it change nothing."""
    m, temperature = 8, 1.2
    sampler = Sampler(proposer, Markers(), temperature, call_tokens=24)
    texts = [proposer.encode(text) for text in SENTENCES[:2]]
    found = drawn(sampler, texts, 2, m)
    expected = {(n, i): one_at_a_time(proposer, texts[n], n, place, m, temperature) for (n, i), place in found.items()}
    assert {key: place.drawn for key, place in found.items()} == expected
    every = [text for place in found.values() for text in place.drawn]
    assert len(every) > 4 and len(set(every)) > 1, every  # there was something to tell apart


def test_texts_are_sampled_alike_alone_and_together(proposer: LocalScorer) -> None:
    texts = [proposer.encode(text) for text in SENTENCES]
    together = drawn(Sampler(proposer, Markers(), 1.5), texts, 3, 5)
    small = LocalScorer(proposer.model, proposer.tokenizer, batch_tokens=1)  # nothing beside it
    alone = drawn(Sampler(small, Markers(), 1.5), texts, 3, 5)
    assert {k: p.drawn for k, p in together.items()} == {k: p.drawn for k, p in alone.items()}


@pytest.mark.parametrize("kind", ["gpt-j", "sliding"])
def test_other_architectures(kind: str) -> None:
    """GPT-J, as in the paper; and a cache that cannot be shared, which goes the long way."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(eos_token="<|endoftext|>", pad_token="<|endoftext|>", bos_token="<|endoftext|>")
    model: Any
    if kind == "gpt-j":
        model = GPTJForCausalLM(
            GPTJConfig(vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=4, rotary_dim=8, n_positions=512)
        )
    else:
        model = MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), sliding_window=16, **SIZES))
    scorer = LocalScorer(model, tokenizer)
    assert scorer.begin == [tokenizer.bos_token_id]
    sampler = Sampler(scorer, Markers())
    assert sampler.packs == (kind == "gpt-j")
    # An untrained model writes anything; only what is known to become no call is cut short, so nothing is here.
    sampler._goes_on = lambda tool, token, same: _goes_on(sampler, token, same)  # type: ignore[method-assign]  # calls none off
    texts = [scorer.encode("Two birds and one cat.")]
    [(key, place)] = drawn(sampler, texts, 1, 3).items()
    head, tail = (ids_of(tokenizer, part.strip(" ")) for part in PROMPT.split("{text}"))
    before = [*scorer.begin, *head, *texts[0], *tail]
    chances = start_probabilities(model, before, texts[0], sampler.starts)
    assert place.probability == pytest.approx(max(chances), rel=1e-3) and key[1] == chances.index(max(chances))
    context = [*before, *texts[0][: place.index], place.start]
    expected = [_written(model, tokenizer, context, f"seed/0/{place.index}/{n}") for n in range(3)]
    assert place.drawn == expected and len(set(expected)) > 1


def _goes_on(sampler: Sampler, token: int, same: list[Any]) -> bool:
    for one in same:
        one.ids = [*one.ids, token]
        one.text = sampler.scorer.decode(one.ids)
    return len(same[0].ids) < 6


def _written(model: Any, tokenizer: Any, context: list[int], seed: str) -> str:
    """Six tokens by brute force."""
    import random

    from brute_force import logprobs

    generator, ids = random.Random(seed), []
    for _ in range(6):
        shares = logprobs(model, [*context, *ids])[-1].double().softmax(-1).cumsum(-1)
        ids.append(int((shares <= generator.random() * float(shares[-1])).sum()))
    return tokenizer.decode(ids)


def places(*probabilities: float) -> list[Place]:
    return [Place(i, p, 0) for i, p in enumerate(probabilities)]


def test_the_likeliest_k_above_the_threshold_are_selected() -> None:
    found = select(places(0.3, 0.05, 0.9, 0.1, 0.06), ToolSettings(tau_s=0.05, k=3))
    assert [place.index for place in found] == [0, 2, 3]
    assert [place.index for place in select(places(0.0, 0.2), ToolSettings(tau_s=0.0, k=20))] == [1]
    assert select(places(0.05), ToolSettings(tau_s=0.05)) == []  # above it, not at it


def test_a_marker_that_is_no_token_is_refused(proposer: LocalScorer) -> None:
    with pytest.raises(UnsupportedModelError):
        Sampler(proposer, Markers("<API>", "</API>", "→"))


def test_special_tokens_of_the_model_do_as_markers() -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>")
    tokenizer.add_tokens(["<API>"], special_tokens=True)
    assert start_ids(tokenizer, Markers("<API>", "</API>", "→")) == [len(tokenizer) - 1]


@pytest.mark.parametrize("prompt", ["no place", "{text} and {text}"])
def test_a_prompt_has_one_place_for_the_text(proposer: LocalScorer, prompt: str) -> None:
    with pytest.raises(InputError):
        ToolPrompt(proposer, prompt)


def test_a_call_that_does_not_end_is_dropped(proposer: LocalScorer) -> None:
    texts = [proposer.encode(SENTENCES[0])]
    whole = drawn(Sampler(proposer, Markers(), 0.1, call_tokens=24), texts, 1, 4)
    assert [text for place in whole.values() for text in place.drawn] == ["Calculator(2 + 7)"] * 4
    cut = drawn(Sampler(proposer, Markers(), 0.1, call_tokens=3), texts, 1, 4)
    assert [place.drawn for place in cut.values()] == [[]]


def test_opened_texts_keep_their_own_cache_only(proposer: LocalScorer) -> None:
    sampler, texts = Sampler(proposer, Markers()), [proposer.encode(text) for text in SENTENCES[:3]]
    prompt = ToolPrompt(proposer, PROMPT)
    opened: dict[int, Opened] = {}
    for batch in sampler.open(prompt, texts):
        opened |= batch
    for n, one in opened.items():
        assert {keys.shape[-2] for keys, _ in one.layers} == {len(prompt.behind(texts[n]))}
