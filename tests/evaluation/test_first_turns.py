"""First turns in batches with a shared cache against `generate`, one prompt at a time."""

import copy
import json
from itertools import chain
from pathlib import Path

import pytest
import torch
from tiny_models import SIZES, save_tiny_llama, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.evaluation.measurement import first_turns, measure_checkpoint
from toolalpaca_hf.training import SegmentTokenizer

NEW_TOKENS = 24
NO_STOP = "\0never"

TOOLS = "Tools: getTrailStatus tells whether a trail is open; findTrails finds hiking trails near a place.\nUSER: "
OTHER = "The museum is closed on Mondays, and the harbour has a ferry at noon and another one at six.\nUSER: "
PROMPTS = {
    "of one length": [f"{TOOLS}{n}\nThought:" for n in (1, 2, 3)],
    "padded": [
        f"{TOOLS}{text}\nThought:" for text in ("Is T47 open?", "Go", "Two beds at Moor Hut on 5 September 2026.")
    ],
    "two APIs": [
        f"{head}{text}" for head in (TOOLS, OTHER) for text in ("Is it open today?", "Yes", "And tomorrow, then?")
    ],
    "one begins another": [TOOLS, f"{TOOLS} Is it open?", f"{TOOLS} Is it open? Say yes."],
    "twice the same": [TOOLS, TOOLS, OTHER],
    "nothing in common": ["Tide", "open", "7"],
    "one": [TOOLS],
}


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """Random, and in double precision: no near tie turns out one way in a batch and the other way alone."""
    torch.manual_seed(0)
    # Large weights, so that what is written depends on what was read.
    config = LlamaConfig(vocab_size=1500, initializer_range=0.4, tie_word_embeddings=False, **SIZES)
    model = LlamaForCausalLM(config).double()
    model.generation_config.eos_token_id = None  # `alone` goes on past it; `first_turns` takes the tokenizer's
    return model


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")


def alone(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The ids that plain greedy generation writes, past every end."""
    ids = torch.tensor([SegmentTokenizer(tokenizer).prompt_ids(prompt)])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
    )
    return made[0, ids.shape[1] :].tolist()


def cut(tokenizer: PreTrainedTokenizerFast, ids: list[int], stop: str) -> str:
    """A text up to its end-of-sequence token or its stop text, whichever comes first, token by token."""
    text = ""
    for n, token in enumerate(ids, 1):
        if token == tokenizer.eos_token_id:
            break
        text = tokenizer.decode(ids[:n])
        if stop in text:
            return text[: text.index(stop) + len(stop)]
    return text


def turns(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], stop: str, batch_size: int
) -> list[str]:
    return first_turns(model, tokenizer, prompts, stop, NEW_TOKENS, batch_size)


def test_the_model_is_no_parrot(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Else the comparisons below would show nothing: every prompt leads to a text of its own, of many tokens."""
    written = [tuple(alone(model, tokenizer, prompt)) for prompt in dict.fromkeys(chain(*PROMPTS.values()))]
    assert len(set(written)) == len(written) and all(len(set(ids)) > 10 for ids in written)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize("name", PROMPTS)
def test_batches_write_what_each_prompt_writes_alone(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str, batch_size: int
) -> None:
    wanted = [cut(tokenizer, alone(model, tokenizer, prompt), NO_STOP) for prompt in PROMPTS[name]]
    assert turns(model, tokenizer, PROMPTS[name], NO_STOP, batch_size) == wanted


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("padding", ["<|endoftext|>", "the end"])
@pytest.mark.parametrize("name", ["of one length", "padded", "two APIs"])
def test_a_row_that_ends_while_others_go_on(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str, padding: str, batch_size: int
) -> None:
    written = [alone(model, tokenizer, prompt) for prompt in PROMPTS[name]]
    # A model that ends the sequence where this one writes a certain word: in the middle of the second row, not of the
    # first.
    word = next(token for token in written[1][4:-4] if token not in written[0])
    ending, end = copy.deepcopy(model), tokenizer.eos_token_id
    ending.lm_head.weight.data[[word, end]] = model.lm_head.weight.data[[end, word]]
    if padding == "the end":
        tokenizer.pad_token = tokenizer.eos_token
    written = [alone(ending, tokenizer, prompt) for prompt in PROMPTS[name]]
    assert 4 <= written[1].index(end) < NEW_TOKENS - 4 and end not in written[0]
    wanted = [cut(tokenizer, ids, NO_STOP) for ids in written]
    assert turns(ending, tokenizer, PROMPTS[name], NO_STOP, batch_size) == wanted


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("padding", ["<|endoftext|>", "the end"])
@pytest.mark.parametrize("name", ["of one length", "padded", "two APIs"])
def test_a_stop_text_over_several_tokens(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str, padding: str, batch_size: int
) -> None:
    if padding == "the end":
        tokenizer.pad_token = tokenizer.eos_token
    written = [alone(model, tokenizer, prompt) for prompt in PROMPTS[name]]
    # The stop text begins inside one token of the first row and ends inside the third one from there, before its end.
    pieces = [tokenizer.decode([token]) for token in written[0]]
    place = next(
        i
        for i in range(4, NEW_TOKENS - 6)
        if "\ufffd" not in "".join(pieces[i : i + 3]) and len(pieces[i]) > 1 and len(pieces[i + 2]) > 1
    )
    stop = pieces[place][1:] + pieces[place + 1] + pieces[place + 2][:-1]
    wanted = [cut(tokenizer, ids, stop) for ids in written]
    assert wanted[0].endswith(stop) and len(wanted[0]) < len(tokenizer.decode(written[0]))
    assert turns(model, tokenizer, PROMPTS[name], stop, batch_size) == wanted


def test_no_prompt_no_text(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    assert turns(model, tokenizer, [], NO_STOP, 32) == []


def test_a_checkpoint_is_measured_on_every_split(tmp_path: Path) -> None:
    path = str(save_tiny_llama(tmp_path / "model"))
    corpus = read_corpus(resolve_sources("sample"))
    (split,) = (split for split, rows in corpus.instructions.items() if rows)
    corpus.instructions[split] = corpus.instructions[split][:2]
    corpus.instructions["eval_real"], corpus.apis["eval_real"] = corpus.instructions[split][:1], corpus.apis[split]
    metrics, records = measure_checkpoint(path, corpus, "float32")
    assert (metrics["model"], metrics["dtype"]) == (path, "float32")
    assert [metrics[name]["n"] for name in (split, "eval_real", "all")] == [2, 1, 3]
    assert metrics["all"]["chance"] == pytest.approx(
        (2 * metrics[split]["chance"] + metrics["eval_real"]["chance"]) / 3
    )
    assert [json.loads(record)["id"] for record in records] == [one.id for one in corpus.instructions[split]] + [
        corpus.instructions["eval_real"][0].id
    ]
