"""What would train something else than the rows is refused, or right: whoever uses the packs, whatever the adapter."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from architectures import tiny_model
from datasets import Dataset
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from sft_settings import LAZY, QUIET
from test_architectures import rows_around
from tiny_models import tiny_tokenizer
from tokenizers import normalizers
from torch.nn.functional import cross_entropy
from transformers import (
    Gemma4TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from trl import SFTTrainer

from toolalpaca_hf.data import ToolAlpaca
from toolalpaca_hf.errors import OptionError, ToolAlpacaError, UnsupportedModelError
from toolalpaca_hf.training import (
    CompletionOnlyCollator,
    PrefixCollator,
    SegmentSFTConfig,
    SegmentSFTTrainer,
    SegmentTokenizer,
    admission,
    build_tree,
    merge,
    share_prefixes,
    tokenize_dataset,
)
from toolalpaca_hf.training.admission import _reference, _small_configs, require_exact

ROWS = rows_around(64)
# Behind virtual tokens the first token of a row has something to be predicted from.
UNTRAINED_FIRST = [{**row, "labels": [-100, *row["labels"][1:]]} for row in ROWS]
TOKENIZER = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
ARGUMENTS = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "per_device_eval_batch_size": 2}


def llama(vocabulary: int = 1500, **options: Any) -> PreTrainedModel:
    return tiny_model(
        LlamaConfig(vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, **options)
    )  # fmt: skip


def row_by_row(model: torch.nn.Module, rows: list[dict[str, list[int]]]) -> float:
    total, count = 0.0, 0
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            out = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
        targets = torch.tensor(row["labels"][1:])
        logits = out[-ids.shape[1] :][:-1]  # without what stands for virtual tokens
        total += cross_entropy(logits, targets, ignore_index=-100, reduction="sum").item()
        count += int((targets != -100).sum())
    return total / count


def config(folder: str) -> SegmentSFTConfig:
    return SegmentSFTConfig(folder, bf16=False, **LAZY, **ARGUMENTS)


@pytest.fixture(scope="module")
def packs() -> Dataset:
    return share_prefixes(Dataset.from_list(ROWS), 2000)


USES: dict[str, Callable[[str, Dataset], Any]] = {
    "sft trainer, our collator": lambda folder, packs: SFTTrainer(
        llama(), config(folder), PrefixCollator(0), packs, packs,
        processing_class=TOKENIZER,
    ),
    "sft trainer, its own collator": lambda folder, packs: SFTTrainer(
        llama(), config(folder), None, packs, packs, processing_class=TOKENIZER
    ),
    "transformers' trainer, our collator": lambda folder, packs: Trainer(
        llama(), TrainingArguments(folder, remove_unused_columns=False, **ARGUMENTS), PrefixCollator(0), packs, packs
    ),
    "transformers' trainer, columns stripped": lambda folder, packs: Trainer(
        llama(), TrainingArguments(folder, **ARGUMENTS), PrefixCollator(0), packs, packs
    ),
    "our trainer, no collator": lambda folder, packs: SegmentSFTTrainer(
        llama(), config(folder), train_dataset=packs, processing_class=TOKENIZER
    ),
    "our trainer, the other collator": lambda folder, packs: SegmentSFTTrainer(
        llama(), config(folder), train_dataset=packs, processing_class=TOKENIZER,
        data_collator=CompletionOnlyCollator(SegmentTokenizer(TOKENIZER)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("what", ["train", "evaluate"])
def test_packs_elsewhere_are_refused(use: str, what: str, packs: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ToolAlpacaError):
        getattr(USES[use](str(tmp_path), packs), what)()


@pytest.mark.parametrize("settings", [LAZY, {}])
def test_packs_in_our_trainer_have_the_rows_loss_whatever_the_settings(
    settings: dict[str, Any], packs: Dataset, tmp_path: Path
) -> None:
    trainer = SegmentSFTTrainer(
        llama(), SegmentSFTConfig(str(tmp_path), bf16=False, **settings, **ARGUMENTS), PrefixCollator(0), packs, packs,
        processing_class=TOKENIZER,
    )  # fmt: skip
    assert trainer.evaluate()["eval_loss"] == pytest.approx(row_by_row(llama(), ROWS), rel=1e-5)


@pytest.mark.parametrize(("option", "value"), [("truncation_mode", "keep_end"), ("chat_template_path", "own.jinja")])
def test_fields_that_do_nothing_for_segments_are_refused(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.jinja").write_text("{{ messages }}")
    rows = ToolAlpaca(config_name="sft", source="sample", cache_dir=str(tmp_path / "cache"))
    rows.download_and_prepare()
    with pytest.raises(OptionError) as caught:
        SegmentSFTTrainer(
            llama(), SegmentSFTConfig("out", **QUIET | {option: value}), None,
            rows.as_dataset("train").select(range(2)), processing_class=copy.deepcopy(TOKENIZER),
        )  # fmt: skip
    assert caught.value.option == option


def test_trees_are_not_padded() -> None:
    with pytest.raises(OptionError, match="pad_to_multiple_of"):
        SegmentSFTConfig(prefix_packing=True, pad_to_multiple_of=8, use_cpu=True)


def test_a_loop_of_ones_own_is_refused(packs: Dataset) -> None:
    batch = PrefixCollator(0)([packs[0]])
    assert batch["labels"].shape == batch["input_ids"].shape
    with pytest.raises(ToolAlpacaError):
        llama()(input_ids=batch["input_ids"], labels=batch["labels"])
    with pytest.raises(ToolAlpacaError):
        torch.tensor(packs[0]["labels"])
    with pytest.raises(ToolAlpacaError):
        PrefixCollator(0)([{name: build_tree(ROWS)[name] for name in ("input_ids", "labels", "position_ids")}])


VIRTUAL = {
    "prompt": PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    "p": PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16, task_type="CAUSAL_LM"),
    "prefix": PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("kind", VIRTUAL)
def test_virtual_tokens_have_trls_loss_and_no_packs(kind: str, tmp_path: Path) -> None:
    model = get_peft_model(llama(), copy.deepcopy(VIRTUAL[kind])).eval()
    options = {"args": SegmentSFTConfig(str(tmp_path), **QUIET, **LAZY), "processing_class": TOKENIZER}
    rows = CompletionOnlyCollator(SegmentTokenizer(TOKENIZER))
    trainer = SegmentSFTTrainer(model=model, train_dataset=Dataset.from_list(ROWS), data_collator=rows, **options)
    trainer.model.eval()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, rows(UNTRAINED_FIRST)).item()
    assert loss == pytest.approx(row_by_row(model, UNTRAINED_FIRST), rel=1e-5)
    with pytest.raises(ToolAlpacaError):
        SegmentSFTTrainer(
            model=model, train_dataset=Dataset.from_list(ROWS), data_collator=PrefixCollator(0), **options
        )


def test_an_adapter_that_a_row_invokes_is_not_packed(tmp_path: Path) -> None:
    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", alora_invocation_tokens=[7, 8])
    with pytest.raises(ToolAlpacaError):
        SegmentSFTTrainer(
            model=llama(), args=SegmentSFTConfig(str(tmp_path), **QUIET, **LAZY),
            train_dataset=Dataset.from_list(ROWS),
            data_collator=PrefixCollator(0), processing_class=TOKENIZER, peft_config=config,
        )  # fmt: skip


def test_a_limit_counts_where_the_rows_cross_it() -> None:
    dynamic = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    model = llama(max_position_embeddings=64, rope_parameters=dynamic)
    with pytest.raises(ToolAlpacaError):
        require_exact(model, "nodes", longest=65)
    require_exact(model, "rows", longest=65)
    require_exact(llama(), "nodes")
    require_exact(llama(), "flat")


@pytest.mark.parametrize("layers", [3, 30])
def test_a_large_model_is_tried_on_a_small_copy(layers: int) -> None:
    config = LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    for kind in ("nodes", "mask", "rows", "flat"):
        require_exact(model, kind, longest=1500)
    copied = _reference(model, longest=1500)[0]
    assert sum(parameter.numel() for parameter in copied.parameters()) < 2_000_000


def test_sizes_may_have_names_of_their_own() -> None:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())  # n_layer, n_embd, n_head
    copied = _reference(model, longest=500)[0]
    assert sum(parameter.numel() for parameter in copied.parameters()) < 2_000_000


def test_settings_by_layer_are_cut_with_the_layers() -> None:
    model: Any = SimpleNamespace(config=Gemma4TextConfig())
    copied = next(_small_configs(model, longest=500))
    assert copied.num_hidden_layers == 6 and copied.layer_types[-1] == "full_attention"


def test_a_model_that_cannot_be_made_smaller_still_has_limits_to_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_shallow", lambda values, narrow: values | {"num_hidden_layers": "few"})
    model: Any = SimpleNamespace(config=MistralConfig(sliding_window=4096))
    assert next(_small_configs(model, longest=None)).sliding_window == 64


def test_a_token_beyond_the_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError):
        SegmentSFTTrainer(
            model=llama(160), args=SegmentSFTConfig(str(tmp_path), **QUIET, **LAZY), processing_class=TOKENIZER,
            train_dataset=Dataset.from_list([{"input_ids": [5, 160], "labels": [5, 160]}]),
            data_collator=CompletionOnlyCollator(SegmentTokenizer(TOKENIZER)),
        )  # fmt: skip


def test_labels_that_are_no_tokens_of_the_row_are_refused() -> None:
    row = {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}
    for labels in ([-100, 6, 8], [-100, 6]):
        with pytest.raises(ToolAlpacaError):
            build_tree([row, {**row, "labels": labels}])
    empty = {"input_ids": [], "labels": []}
    assert build_tree([empty, row]) == build_tree([row])
    assert list(share_prefixes(Dataset.from_list([empty, row]), 500)) == list(
        share_prefixes(Dataset.from_list([row]), 500)
    )


def test_nested_rows_however_deep() -> None:
    ids = np.random.default_rng(0).integers(5, 150, 1200).tolist()
    rows = [{"input_ids": ids[:n], "labels": ids[:n]} for n in range(200, 1200)]
    pack = build_tree(rows, min_node_tokens=1)
    assert len(pack["input_ids"]) == 1199 and len(pack["parents"]) == 1000
    packed = share_prefixes(Dataset.from_list(rows), max_tokens=100_000, min_node_tokens=1)
    assert [packs["weights"] for packs in packed] == [pack["weights"]]


@pytest.mark.parametrize("format_", ["torch", "numpy", "pandas"])
def test_rows_of_any_format(format_: str, tmp_path: Path) -> None:
    plain = Dataset.from_list(ROWS)
    assert list(share_prefixes(plain.with_format(format_), 500)) == list(share_prefixes(plain, 500))
    segments = [{"text": "Tools: a\n", "trainable": False}, {"text": "Action: a", "trainable": True}]
    texts = Dataset.from_list([{"segments": segments}] * 2)
    expected = tokenize_dataset(texts, TOKENIZER)[0]
    assert tokenize_dataset(texts.with_format(format_), TOKENIZER)[0][:] == expected[:]
    if format_ != "pandas":
        assert merge(texts.with_format(format_)[0]["segments"]) == merge(segments)
    collator = CompletionOnlyCollator(SegmentTokenizer(TOKENIZER))
    trainer = SegmentSFTTrainer(
        model=llama(), args=SegmentSFTConfig(str(tmp_path), **QUIET, **LAZY), train_dataset=plain.with_format(format_),
        eval_dataset={"some": plain.with_format(format_)}, data_collator=collator, processing_class=TOKENIZER,
    )  # fmt: skip
    assert trainer.eval_dataset["some"][0] == plain[0]
    assert next(iter(trainer.get_train_dataloader()))["input_ids"].dim() == 2


@pytest.mark.parametrize(
    "strip", [normalizers.Strip(), normalizers.Sequence([normalizers.NFC(), normalizers.Strip()])]
)
def test_spaces_at_boundaries_are_kept(strip: normalizers.Normalizer) -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.backend_tokenizer.normalizer = strip
    segments = SegmentTokenizer(tokenizer)
    row = segments.encode([
        {"text": "Thought: ", "trainable": False}, {"text": " I look it up.\n", "trainable": True},
        {"text": " Observation: 6 ", "trainable": False}, {"text": "Done ", "trainable": True},
    ])  # fmt: skip
    assert tokenizer.decode(row["input_ids"]) == "Thought:  I look it up.\n Observation: 6 Done <|im_end|>"
