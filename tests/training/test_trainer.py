"""The loss over only the trained positions against TRL's own and against a plain cross entropy over all logits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset
from sft_settings import LAZY, QUIET
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, TrainingArguments
from trl import SFTConfig, SFTTrainer

from toolalpaca_hf.data import ToolAlpaca
from toolalpaca_hf.errors import InputError, OptionError, UnsupportedModelError
from toolalpaca_hf.training import (
    IGNORE,
    CompletionOnlyCollator,
    SegmentScriptArguments,
    SegmentSFTConfig,
    SegmentSFTTrainer,
    SegmentTokenizer,
    load_examples,
    tokenize_dataset,
)

Build = Callable[..., SFTTrainer]
KNOWS_TOOLS = (
    "{{ tools | tojson if tools }}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.tool_calls | tojson if m.tool_calls }}{{ m.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def rows(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The twelve shortest rows of the embedded corpus."""
    builder = ToolAlpaca(cache_dir=str(tmp_path_factory.mktemp("cache")), config_name="sft", source="sample")
    builder.download_and_prepare()
    dataset, _ = tokenize_dataset(builder.as_dataset(split="train"), tokenizer, max_length=1024)
    lengths = [len(ids) for ids in dataset["input_ids"]]
    return dataset.select(sorted(range(len(dataset)), key=lengths.__getitem__)[:12])


@pytest.fixture
def build(llama: Path, tokenizer: PreTrainedTokenizerBase, rows: Dataset, tmp_path: Path) -> Build:
    """A trainer of either class over the same weights and rows."""

    def build(kind: type[SFTTrainer], batch: int = 1, packing: bool = False, **options: Any) -> SFTTrainer:
        config = SegmentSFTConfig(
            str(tmp_path),
            per_device_train_batch_size=batch,
            packing=packing,
            max_length=2048 if packing else 1024,  # a pack holds several rows
            **QUIET,
            **({} if packing else LAZY),
            **options,
        )
        collator = None if packing else CompletionOnlyCollator(SegmentTokenizer(tokenizer, 1024))
        return kind(
            model=str(llama), args=config, train_dataset=rows, eval_dataset=rows.select(range(4)),
            data_collator=collator,
            processing_class=tokenizer,
        )  # fmt: skip

    return build


def loss_and_gradients(
    trainer: SFTTrainer, batch: dict[str, torch.Tensor], items: int | None
) -> tuple[float, dict[str, torch.Tensor]]:
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=items)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def plain(llama: Path, batch: dict[str, torch.Tensor], items: int | None) -> tuple[float, dict[str, torch.Tensor]]:
    """Cross entropy over the logits of every position, with a freshly loaded model that no trainer has touched."""
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).train()
    kept = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}
    logits = model(**kept, use_cache=False).logits[:, :-1].reshape(-1, model.config.vocab_size)
    targets = batch["labels"][:, 1:].reshape(-1)
    total = torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    loss = total / (items or int((targets != IGNORE).sum()))
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("items", [None, 777])
@pytest.mark.parametrize(("size", "packing"), [(1, False), (3, False), (2, True)])
def test_loss_and_gradients_are_those_of_trl_and_of_all_logits(
    build: Build, llama: Path, size: int, packing: bool, items: int | None
) -> None:
    ours, theirs = (build(kind, size, packing) for kind in (SegmentSFTTrainer, SFTTrainer))
    batch = next(iter(ours.get_train_dataloader()))
    if packing:
        assert "attention_mask" not in batch and int((batch["position_ids"] == 0).sum()) > 2
    elif size > 1:
        assert 0 < int(batch["attention_mask"].sum()) < batch["attention_mask"].numel()
    loss, gradients = loss_and_gradients(ours, batch, items)
    # A random model knows nothing, whatever the mean is taken over.
    trained = int((batch["labels"][:, 1:] != IGNORE).sum())
    assert loss == pytest.approx(7.3 * trained / (items or trained), rel=0.05)
    for other, others in (loss_and_gradients(theirs, batch, items), plain(llama, batch, items)):
        assert loss == pytest.approx(other, abs=1e-5)
        assert gradients.keys() == others.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, others[name], atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("packing", [False, True])
def test_a_run_logs_what_trl_logs(build: Build, packing: bool) -> None:
    options = {"max_steps": 3, "learning_rate": 5e-3, "warmup_steps": 0, "gradient_accumulation_steps": 2}
    logs = []
    for kind in (SegmentSFTTrainer, SFTTrainer):
        trainer = build(kind, 2, packing, **options)
        trainer.train()
        trainer.evaluate()
        logs.append(trainer.state.log_history)
    assert len(logs[0]) == len(logs[1]) == 5
    for ours, theirs in zip(*logs, strict=True):
        names = [n for n in ours if n.endswith(("loss", "num_tokens", "mean_token_accuracy", "grad_norm"))]
        for name in names:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name
    names = {"loss", "num_tokens", "mean_token_accuracy", "eval_loss", "eval_mean_token_accuracy", "eval_num_tokens"}
    assert names <= {name for entry in logs[0] for name in entry}
    assert logs[0][2]["loss"] < logs[0][0]["loss"] - 0.1
    # Something was guessed right by then, so that equal accuracies say something.
    assert logs[0][-1]["eval_mean_token_accuracy"] > 0


def test_other_losses_are_left_to_trl(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def theirs(self: SFTTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        asked.append(self.args.loss_type)
        return torch.zeros(())

    monkeypatch.setattr(SFTTrainer, "compute_loss", theirs)
    trainer = build(SegmentSFTTrainer, loss_type="dft")
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.compute_loss(trainer.model, batch)
    smoothed = build(SegmentSFTTrainer, label_smoothing_factor=0.1)
    smoothed.compute_loss(smoothed.model, batch)
    plain = build(SegmentSFTTrainer)
    plain.compute_loss(plain.model, dict(batch), return_outputs=True)
    assert asked == ["dft", "nll", "nll"]
    assert plain.compute_loss(plain.model, dict(batch)).item() > 1 and len(asked) == 3


def test_a_batch_without_trained_tokens_has_a_loss_of_zero(build: Build) -> None:
    trainer = build(SegmentSFTTrainer)
    batch = next(iter(trainer.get_train_dataloader()))
    batch["labels"] = torch.full_like(batch["labels"], IGNORE)
    loss, gradients = loss_and_gradients(trainer, batch, None)
    assert loss == 0 and all(gradient.abs().max() == 0 for gradient in gradients.values())


@pytest.mark.parametrize("kind", [TrainingArguments, SFTConfig])
def test_arguments_of_others_are_taken(
    kind: type[TrainingArguments], llama: Path, tokenizer: PreTrainedTokenizerBase, rows: Dataset, tmp_path: Path
) -> None:
    given = {"max_length": 77, "eos_token": tokenizer.eos_token} if kind is SFTConfig else {}
    args = kind(str(tmp_path), learning_rate=3e-3, **QUIET, **given)  # type: ignore[arg-type]  # values of many types
    trainer = SegmentSFTTrainer(str(llama), args, train_dataset=rows, processing_class=tokenizer)
    assert isinstance(trainer.args, SegmentSFTConfig) and trainer.args.freeze_layers == 0
    assert {name: getattr(trainer.args, name) for name in given} == given and trainer.args.learning_rate == 3e-3


@pytest.mark.parametrize("chat", [False, True])
def test_a_model_brings_its_tokenizer(chat: bool, llama: Path, rows: Dataset, tmp_path: Path) -> None:
    """As in TRL, whether it is named or loaded; of several templates by name the one for tools is trained."""
    model, options = AutoModelForCausalLM.from_pretrained(llama), {}
    if chat:
        (tokenizer := AutoTokenizer.from_pretrained(llama)).chat_template = {"default": "", "tool_use": KNOWS_TOOLS}
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        model.config._name_or_path = str(tmp_path / "tokenizer")
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        rows, options = Dataset.from_list([{"messages": messages}]), {"assistant_only_loss": True}
    trainer = SegmentSFTTrainer(model, SegmentSFTConfig(str(tmp_path / "run"), **QUIET, **options), train_dataset=rows)
    assert len(trainer.train_dataset) == len(rows)
    assert trainer.processing_class.chat_template == (KNOWS_TOOLS if chat else None)
    with pytest.raises(OptionError) as caught:
        trainer.train(str(tmp_path / "nothing"))
    assert caught.value.option == "resume_from_checkpoint"
    with pytest.raises(InputError):
        SegmentSFTTrainer(model, SegmentSFTConfig(str(tmp_path), **QUIET), train_dataset=rows.select([]))
    model.config._name_or_path = ""
    with pytest.raises(OptionError) as caught:
        SegmentSFTTrainer(model, SegmentSFTConfig(str(tmp_path / "run"), **QUIET), train_dataset=rows)
    assert caught.value.option == "processing_class"


QUESTION, NOON = {"role": "user", "content": "High tide?"}, {"role": "assistant", "content": "At noon."}


def of_messages(llama: Path, folder: Path, rows: Any, **options: Any) -> SegmentSFTTrainer:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.chat_template = KNOWS_TOOLS
    config = SegmentSFTConfig(str(folder), assistant_only_loss=True, **QUIET, **options)
    return SegmentSFTTrainer(str(llama), config, train_dataset=rows, processing_class=tokenizer)


@pytest.mark.parametrize(
    ("overlong", "lengths", "said"),
    [("cut", [13, 32, 32], "4, 3 kept; 2 cut to max_length 32; 1 dropped"), ("drop", [13], "4, 1 kept; 3 dropped")],
)
def test_messages_beyond_max_length_are_cut_or_dropped_and_counted(
    overlong: str, lengths: list[int], said: str, llama: Path, tmp_path: Path
) -> None:
    long = {"role": "assistant", "content": "At noon. " * 40}
    late = {"role": "user", "content": "High tide? " * 40}
    rows = Dataset.from_list(
        [{"messages": some} for some in ([QUESTION, NOON], *[[QUESTION, long]] * 2, [late, NOON])]
    )
    trainer = of_messages(llama, tmp_path, rows, max_length=32, overlong=overlong)
    assert said in trainer.row_reports[-1]
    assert [len(ids) for ids in trainer.train_dataset["input_ids"]] == lengths
    trainer = of_messages(llama, tmp_path, rows, max_length=32, overlong=overlong, packing=True)
    assert said in trainer.row_reports[-1]
    assert sorted(n for pack in trainer.train_dataset["seq_lengths"] for n in pack) == lengths
    with pytest.raises(InputError, match="no row is left"):
        of_messages(llama, tmp_path, rows.select([1]), max_length=8, overlong="drop", packing=True)


@pytest.mark.parametrize("streamed", [False, True])
def test_messages_in_other_layouts_are_trained_alike(streamed: bool, llama: Path, tmp_path: Path) -> None:
    """Arguments as JSON texts, which a template would write in quotes once more, and contents in parts."""

    def first_ids(messages: Any) -> list[int]:
        rows = Dataset.from_list([{"messages": messages}])
        options = {"max_steps": 1} if streamed else {}
        trainer = of_messages(llama, tmp_path, rows.to_iterable_dataset() if streamed else rows, **options)
        return next(iter(trainer.train_dataset))["input_ids"]

    def called(*given: Any) -> list[dict[str, Any]]:
        calls = [{"type": "function", "function": {"name": "find", "arguments": each}} for each in given]
        return [QUESTION, {"role": "assistant", "content": None, "tool_calls": calls}, NOON]

    ids = first_ids(called({"a": 1}, {"a": 2}))
    assert ids == first_ids(called('{"a": 1}', '{"a": 2}')) != first_ids(called("[1]", "[1]"))
    parts = [{"type": "text", "text": "High "}, {"type": "text", "text": "tide?"}]
    noon = [{"type": "text", "text": "At noon."}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": noon}]
    assert first_ids(said) == first_ids([QUESTION, NOON])


def test_a_stream_of_messages_has_no_end(llama: Path, tmp_path: Path) -> None:
    """A run resumed in its second pass would else skip what is not there."""
    rows = Dataset.from_list([{"messages": [QUESTION, NOON]}, {"messages": [QUESTION] * 90 + [NOON]}])
    trainer = of_messages(llama, tmp_path, rows.to_iterable_dataset(), max_length=64, overlong="drop", max_steps=1)
    assert len({str(row["input_ids"]) for row in trainer.train_dataset.take(5)}) == 1
    with pytest.raises(InputError):
        of_messages(llama, tmp_path, rows.select([1]).to_iterable_dataset(), max_length=64, max_steps=1)


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_are_shuffled_where_that_is_asked(streamed: bool, llama: Path, tmp_path: Path) -> None:
    segments = [[{"text": "2+2=", "trainable": False}, {"text": str(n), "trainable": True}] for n in range(50)]
    rows: Any = Dataset.from_dict({"segments": segments})
    config = SegmentSFTConfig(str(tmp_path), max_steps=1, shuffle_dataset=True, **QUIET)
    rows = rows.to_iterable_dataset() if streamed else rows
    trainer = SegmentSFTTrainer(str(llama), config, train_dataset=rows)
    column = "segments" if streamed else "input_ids"
    found = [str(row[column]) for _, row in zip(range(50), trainer.train_dataset, strict=False)]
    plain = SegmentSFTTrainer(str(llama), SegmentSFTConfig(str(tmp_path), max_steps=1, **QUIET), train_dataset=rows)
    wanted = [str(row[column]) for _, row in zip(range(50), plain.train_dataset, strict=False)]
    assert found != wanted and sorted(found) == sorted(wanted)


def test_rows_of_messages_are_shuffled_once(llama: Path, tmp_path: Path) -> None:
    rows = Dataset.from_list([{"messages": [QUESTION, {"role": "assistant", "content": str(n)}]} for n in range(20)])
    plain, mixed = (of_messages(llama, tmp_path, rows, shuffle_dataset=shuffled) for shuffled in (False, True))
    assert mixed.train_dataset["input_ids"][:] == plain.train_dataset.shuffle(seed=42)["input_ids"][:]


def test_packs_to_evaluate_on_need_packing(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        SegmentSFTConfig(str(tmp_path), eval_packing=True, **QUIET)
    assert caught.value.option == "eval_packing"
    assert SegmentSFTConfig(str(tmp_path), eval_packing=True, packing=True, **QUIET).eval_packing


def test_tokens_of_the_config_are_those_of_a_given_tokenizer(llama: Path, rows: Dataset, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.pad_token = None
    segments = [{"text": "2+2=", "trainable": False}, {"text": "4", "trainable": True}]
    stream = Dataset.from_dict({"segments": [segments]}).to_iterable_dataset().with_format("pandas")
    config = SegmentSFTConfig(str(tmp_path), pad_token="<|im_start|>", max_steps=1, **QUIET)
    trainer = SegmentSFTTrainer(str(llama), config, train_dataset=stream, processing_class=tokenizer)
    collator: Any = trainer.data_collator
    assert collator.segment_tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert next(iter(trainer.train_dataset))["segments"] == segments
    far = {"far": Dataset.from_dict({"input_ids": [[5, 99_999]], "labels": [[-100, 99_999]]})}
    with pytest.raises(UnsupportedModelError):  # of several held-out datasets, too
        SegmentSFTTrainer(str(llama), config, train_dataset=rows, eval_dataset=far, processing_class=tokenizer)


def test_offloading_without_a_gpu_is_refused(llama: Path, rows: Dataset, tmp_path: Path) -> None:
    args = SegmentSFTConfig(str(tmp_path), activation_offloading=True, **QUIET)
    with pytest.raises(OptionError) as caught:
        SegmentSFTTrainer(str(llama), args, train_dataset=rows)
    assert caught.value.option == "activation_offloading"


def test_a_stream_may_not_know_its_columns(llama: Path, tmp_path: Path) -> None:
    """As one of JSON lines does not."""
    segments = [{"text": "2+2=", "trainable": False}, {"text": "4", "trainable": True}]
    stream = IterableDataset.from_generator(lambda: iter([{"segments": segments}] * 3))
    assert stream.column_names is None
    config = SegmentSFTConfig(str(tmp_path), max_steps=1, **QUIET)
    trainer = SegmentSFTTrainer(str(llama), config, train_dataset=stream)
    assert isinstance(trainer.data_collator, CompletionOnlyCollator)
    assert trainer.train().training_loss > 0


@pytest.mark.parametrize("text", ["\n", '{"id": \n'])
def test_a_stream_that_cannot_be_read_is_a_sentence(text: str, llama: Path, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(text, encoding="utf-8")
    about = "---\nconfigs:\n- config_name: sft\n  data_files: [{split: train, path: train.jsonl}]\n---\n"
    (tmp_path / "README.md").write_text(about, encoding="utf-8")
    config = SegmentSFTConfig(str(tmp_path / "run"), max_steps=1, **QUIET)
    script_args = SegmentScriptArguments(dataset_name=str(tmp_path), dataset_streaming=True)
    with pytest.raises(InputError):
        SegmentSFTTrainer(str(llama), config, train_dataset=load_examples(script_args, config)["train"])
