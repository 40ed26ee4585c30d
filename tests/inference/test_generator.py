"""Packs with shared beginnings and kept caches against `generate`, one conversation at a time."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from tiny_models import SIZES, tiny_tokenizer
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    DogeConfig,
    DogeForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from toolalpaca_hf.inference import BatchGenerator, Generation

NEW_TOKENS = 16
VOCABULARY = {"vocab_size": 1500, "initializer_range": 0.4, "tie_word_embeddings": False}
NEOX = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**VOCABULARY, **SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**VOCABULARY, **SIZES)),
    # A window that rows outgrow.
    "mistral": lambda: MistralForCausalLM(MistralConfig(**VOCABULARY, **SIZES, sliding_window=8)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **VOCABULARY,
            **SIZES,
            head_dim=16,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**VOCABULARY, **NEOX)),
}
SHORT = SIZES | {"max_position_embeddings": 40}
# Positions that come from the mask; RoPE that another row's length changes; columns that a window counts.
NOT_SLOTS: dict[str, tuple[str, Callable[[], PreTrainedModel]]] = {
    "bloom": (
        "padded",
        lambda: BloomForCausalLM(BloomConfig(**VOCABULARY, hidden_size=64, n_layer=2, n_head=4)),
    ),
    "dynamic": (
        "single",
        lambda: LlamaForCausalLM(
            LlamaConfig(
                **VOCABULARY,
                **SHORT,
                rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
            )
        ),
    ),
    "longrope": (
        "single",
        lambda: Phi3ForCausalLM(
            Phi3Config(
                **VOCABULARY,
                **SIZES,
                original_max_position_embeddings=40,
                pad_token_id=0,
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "short_factor": [1.0] * 8,
                    "long_factor": [4.0] * 8,
                    "original_max_position_embeddings": 40,
                },
            )
        ),
    ),
    "doge": (
        "single",
        lambda: DogeForCausalLM(DogeConfig(**VOCABULARY, **SIZES, keep_window_size=16)),
    ),
}

TOOLS = "Tools: getTrailStatus tells whether a trail is open; findTrails finds hiking trails near a place.\nUSER: "
MUSEUM = "The museum is closed on Mondays, and the harbour has a ferry at noon and another one at six.\nUSER: "
ASKED = [
    f"{TOOLS}Is T47 open?\nThought:",
    f"{MUSEUM}Go\nThought:",
    f"{TOOLS}Two beds at Moor Hut on 5 September 2026.\nThought:",
    f"{MUSEUM}Is it open today? And tomorrow, then? And on Monday?\nThought:",
    f"{TOOLS}Is T47 open? Say yes.\nThought:",
    "Tide",
]
OBSERVED = ["\nObservation: open\nThought:", " x", "\nObservation: no bed, and no hut either\nThought:"]


class Key:
    """Whose conversation it is."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")


def built(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    model = make()
    model.generation_config.eos_token_id = None
    return model.eval()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return built(MODELS[request.param])


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    return built(MODELS["llama"])


def alone(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, ids: list[int], n: int = NEW_TOKENS
) -> list[int]:
    """What plain greedy generation writes, up to the end-of-sequence token."""
    return list(generated(model, tuple(ids), n, tokenizer.pad_token_id, tokenizer.eos_token_id))


@cache  # every way of batching is compared with the same
def generated(model: PreTrainedModel, ids: tuple[int, ...], n: int, pad: int, end: int) -> list[int]:
    made = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=n,
        pad_token_id=pad,
        eos_token_id=end,
    )
    return made[0, len(ids) :].tolist()


def turns(
    generator: BatchGenerator, tokenizer: PreTrainedTokenizerFast, n: int = 3
) -> list[list[tuple[list[int], list[int]]]]:
    """Conversations of some turns: by turn, what each row had read and what it wrote."""
    keys, ids, all_turns = [Key() for _ in ASKED], [tokenizer.encode(text) for text in ASKED], []
    for turn in range(n):
        written = generator.generate(keys, ids, [NEW_TOKENS] * len(ids))
        assert all(isinstance(one, Generation) for one in written)
        all_turns.append([(row, one.ids) for row, one in zip(ids, written, strict=True)])
        # Every second row loses some of what it wrote, as a text that is read and rendered anew may.
        ids = [
            row + one.ids[: -5 if i % 2 else None] + tokenizer.encode(OBSERVED[(i + turn) % 3])
            for i, (row, one) in enumerate(zip(ids, written, strict=True))
        ]
    return all_turns


@contextmanager
def fed(model: PreTrainedModel) -> Iterator[list[int]]:
    """How many ids each forward pass is given."""
    sizes: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append((kwargs["input_ids"] if "input_ids" in kwargs else args[0]).numel()),
        with_kwargs=True,
    )
    yield sizes
    hook.remove()


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize("reuse", [True, False])
def test_turns_are_those_of_each_conversation_alone(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, reuse: bool, batch_size: int
) -> None:
    generator = BatchGenerator(model, tokenizer, batch_size=batch_size, reuse=reuse)
    assert (generator.way == "slots") == reuse
    seen = turns(generator, tokenizer)
    for turn in seen:
        assert [written for _, written in turn] == [alone(model, tokenizer, ids) for ids, _ in turn]
    # The model is no parrot: else equality would show nothing.
    assert len({tuple(written) for turn in seen for _, written in turn}) > len(ASKED) * 2


def test_a_padded_batch_leaves_ended_rows_out_and_reads_nothing_twice(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = [tokenizer.encode(f"{text} {n}") for n, text in enumerate((*ASKED, *ASKED))]
    ids, limits = [*ids, *ids][:16], [2 * n + 1 for n in range(16)]
    generator = BatchGenerator(llama, tokenizer, batch_size=len(ids), reuse=False)
    assert generator.way == "padded" and len(ids) == 16
    shapes: list[tuple[int, ...]] = []
    hook = llama.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    written = generator.generate([None] * len(ids), ids, limits)
    hook.remove()
    # Fewer and fewer rows, one new token each.
    rows = [shape[0] for shape in shapes]
    assert rows[0] == len(ids) and min(rows) <= len(ids) / 2 and rows == sorted(rows, reverse=True)
    assert {shape[1] for shape in shapes[1:]} == {1}
    single = BatchGenerator(llama, tokenizer, batch_size=1, reuse=False)
    for each, one_ids, limit in zip(written, ids, limits, strict=True):
        [other] = single.generate([None], [one_ids], [limit])
        assert each.ids == other.ids


@pytest.mark.parametrize("name", NOT_SLOTS)
def test_what_is_not_equal_one_by_one_is_not_computed_together(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    way, make = NOT_SLOTS[name]
    model = built(make)
    generator = BatchGenerator(model, tokenizer)
    assert generator.way == way
    for turn in turns(generator, tokenizer, n=2):
        # Each by a model of its own: some keep a state between calls.
        assert [written for _, written in turn] == [alone(built(make), tokenizer, ids) for ids, _ in turn]


def test_what_is_shared_is_computed_once_and_what_is_kept_not_again(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    generator = BatchGenerator(llama, tokenizer)
    keys, tools = [Key() for _ in ASKED], tokenizer.encode(TOOLS)
    ids = [tokenizer.encode(text) for text in ASKED if text.startswith(TOOLS)]
    with fed(llama) as sizes:
        written = generator.generate(keys[:3], ids, [NEW_TOKENS] * 3)
    common, pack = sizes[:2]
    assert len(tools) - 1 <= common <= len(tools) + 3 and pack == sum(len(one) - common for one in ids)
    more = tokenizer.encode(OBSERVED[0])
    ids = [one + w.ids + more for one, w in zip(ids, written, strict=True)]
    with fed(llama) as sizes:
        generator.generate(keys[:3], ids, [1] * 3)
    # The last id that was written is only now read.
    assert sizes == [3 * (len(more) + 1)]
    later = tokenizer.encode(f"{TOOLS}How long is the way to the lake?\nThought:")
    with fed(llama) as sizes:
        generator.generate([Key()], [later], [1])
    assert sum(sizes) <= len(later) - len(tools) + 1


@pytest.mark.parametrize("reuse", [True, False])
def test_rows_join_and_leave_while_others_go_on(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, reuse: bool
) -> None:
    generator = BatchGenerator(llama, tokenizer, batch_size=2, reuse=reuse)
    limits, rows, finished = [NEW_TOKENS, 3, 7, 1, 12, 5], [], []
    encoded = [tokenizer.encode(text) for text in ASKED]
    for ids, limit in zip(encoded, limits, strict=True):
        rows.append(generator.start(Key(), ids, limit))
    while len(finished) < len(rows):
        generator.step()
        finished += [n for n, row in enumerate(rows) if row.ended and n not in finished]
    assert [row.written for row in rows] == [
        alone(llama, tokenizer, ids, limit) for ids, limit in zip(encoded, limits, strict=True)
    ]
    # The long one at the beginning keeps no other waiting.
    assert not reuse or (finished.index(1) < finished.index(0) and finished.index(2) < finished.index(0))


def test_a_conversation_that_is_dropped_leaves_the_others_be(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    generator, keys = BatchGenerator(llama, tokenizer, batch_size=3), [Key() for _ in ASKED]
    encoded = [tokenizer.encode(text) for text in ASKED]
    rows = [generator.start(key, ids, NEW_TOKENS) for key, ids in zip(keys, encoded, strict=True)]
    generator.step()
    generator.step()
    for n in (1, 4):  # one that is being written, one that waits
        generator.drop(keys[n])
    while not all(row.ended for row in rows):
        generator.step()
    for n, row in enumerate(rows):
        assert (
            isinstance(row.error, RuntimeError) if n in (1, 4) else row.written == alone(llama, tokenizer, encoded[n])
        )


def test_a_watched_row_ends_where_it_is_said_to(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    generator, ids = BatchGenerator(llama, tokenizer), tokenizer.encode(ASKED[0])
    watched = generator.start(None, ids, NEW_TOKENS, watch=lambda written: len(written) >= 8)
    free = generator.start(None, ids, NEW_TOKENS)
    while not free.ended:
        generator.step()
    assert watched.end == "watch" and watched.written == free.written[:8] and free.end == "limit"


def test_slots_are_bounded_and_one_row_may_always_be_written(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoded = [tokenizer.encode(text) for text in ASKED]
    generator, most = BatchGenerator(llama, tokenizer, kept_bytes=1), 0
    rows = [generator.start(Key(), ids, NEW_TOKENS) for ids in encoded]
    while not all(row.ended for row in rows):
        generator.step()
        most = max(most, len(generator.slots.rows))
    assert [row.written for row in rows] == [alone(llama, tokenizer, ids) for ids in encoded]
    assert most <= 1


def test_rows_that_have_ended_are_fed_no_more(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [tokenizer.encode(text) for text in ASKED if text.startswith(TOOLS)]
    generator = BatchGenerator(llama, tokenizer)
    with fed(llama) as sizes:
        generator.generate([None] * 3, ids, [2, 8, 4])
    assert sizes[2:] == [3, 2, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("kept_bytes", [0, 60_000])
def test_memory_is_bounded_and_outputs_stay(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, kept_bytes: int
) -> None:
    generator, free = BatchGenerator(llama, tokenizer, kept_bytes=kept_bytes), BatchGenerator(llama, tokenizer)
    assert turns(generator, tokenizer) == turns(free, tokenizer)
    generator.generate([key := Key()], [tokenizer.encode(ASKED[0])], [NEW_TOKENS])
    assert generator.kept.size <= kept_bytes and (generator.kept.of(key) is None) == (kept_bytes == 0)


def test_a_conversation_nobody_holds_keeps_nothing(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    generator, keys = BatchGenerator(llama, tokenizer), [Key(), Key()]
    generator.generate(keys, [tokenizer.encode(text) for text in ASKED[:2]], [NEW_TOKENS] * 2)
    both = generator.kept.size
    generator.kept.forget(keys[0])
    one = generator.kept.size
    del keys
    gc.collect()
    assert both > one > generator.kept.size > 0


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), ValueError("odd shape")])
def test_a_row_that_fails_costs_itself_only(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, reuse: bool, error: Exception
) -> None:
    ids = [tokenizer.encode(text) for text in ASKED]
    poison = tokenizer.encode("\x7f")
    ids[2] += poison
    wanted = [alone(llama, tokenizer, one) for one in ids]

    def forward(module: PreTrainedModel, args: tuple, kwargs: dict) -> None:
        if (kwargs["input_ids"] if "input_ids" in kwargs else args[0]).eq(poison[0]).any():
            raise error

    generator = BatchGenerator(llama, tokenizer, reuse=reuse)
    hook = llama.register_forward_pre_hook(forward, with_kwargs=True)
    written = generator.generate([Key() for _ in ids], ids, [NEW_TOKENS] * len(ids))
    hook.remove()
    assert written[2] is error
    assert [one.ids for i, one in enumerate(written) if i != 2] == [ids for i, ids in enumerate(wanted) if i != 2]


@pytest.mark.parametrize("reuse", [True, False])
def test_nothing_cannot_be_continued(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, reuse: bool) -> None:
    generator = BatchGenerator(llama, tokenizer, reuse=reuse)
    nothing, written = generator.generate([None, None], [[], tokenizer.encode("Go")], [4, 4])
    assert isinstance(nothing, ValueError) and isinstance(written, Generation)
    generator.step()  # with nothing left to do


def test_a_batch_that_does_not_fit_is_halved(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [tokenizer.encode(f"{TOOLS}{text}\nThought:") for text in ("Is T47 open?", "Go", "Two beds?", "Yes", "No")]
    wanted = [alone(llama, tokenizer, one) for one in ids]
    refused = []

    def forward(module: PreTrainedModel, args: tuple, kwargs: dict) -> None:
        # One row more than two is too many.
        rows = kwargs["logits_to_keep"]
        if isinstance(rows, torch.Tensor) and rows.numel() > 2:
            refused.append(rows.numel())
            raise torch.OutOfMemoryError("no memory")

    generator = BatchGenerator(llama, tokenizer)
    hook = llama.register_forward_pre_hook(forward, with_kwargs=True)
    written = generator.generate([Key() for _ in ids], ids, [NEW_TOKENS] * len(ids))
    hook.remove()
    assert [one.ids for one in written] == wanted and refused == [5, 3]


@pytest.mark.parametrize("reuse", [True, False])
def test_sampling_repeats_with_its_seed_only(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, reuse: bool
) -> None:
    def drawn(seed: int, temperature: float = 1.0) -> list[list[int]]:
        generator = BatchGenerator(llama, tokenizer, reuse=reuse, temperature=temperature, seed=seed)
        ids = [tokenizer.encode(text) for text in ASKED]
        return [one.ids for one in generator.generate([Key() for _ in ids], ids, [NEW_TOKENS] * len(ids))]

    assert drawn(1) == drawn(1) != drawn(2)
    # Next to no temperature is greedy, whichever way the draws go.
    cold = [alone(llama, tokenizer, tokenizer.encode(text)) for text in ASKED]
    assert drawn(1, 1e-4) == cold != drawn(1)


def test_a_models_own_settings_do_not_change_greedy_choices(tokenizer: PreTrainedTokenizerFast) -> None:
    model = built(MODELS["llama"])
    wanted = [alone(model, tokenizer, tokenizer.encode(text)) for text in ASKED]
    model.generation_config.update(repetition_penalty=1.8, do_sample=True, temperature=0.7, top_k=3)
    for reuse in (True, False):
        ids = [tokenizer.encode(text) for text in ASKED]
        written = BatchGenerator(model, tokenizer, reuse=reuse).generate(
            [None] * len(ids), ids, [NEW_TOKENS] * len(ids)
        )
        assert [one.ids for one in written] == wanted


def test_a_stop_text_may_have_more_tokens_than_characters(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    generator = BatchGenerator(llama, tokenizer, ("🛑🛑🛑",))
    row = generator.start(None, tokenizer.encode("Tide"), 100)
    row.forced.extend(tokenizer.encode(" is high. 🛑🛑🛑 So it goes on"))
    generator.run([row])
    outcome = generator.outcome(row)
    assert isinstance(outcome, Generation) and (outcome.text, outcome.end) == (" is high. ", "🛑🛑🛑")
    assert row.forced, "what follows is not written"
