"""What a recipe's tool_hints and freeze_layers do: recorded with the tokenizer, and no gradient below."""

import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import save_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolalpaca_hf.agent import load_backend
from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.formats import nearest_functions, parse_prompt
from toolalpaca_hf.training import SegmentScriptArguments, SegmentSFTConfig, SegmentSFTTrainer, freeze, load_examples


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"))


def test_hints_are_rendered_and_recorded(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    script_args = SegmentScriptArguments(augment_copies=1, augment_mask_names=0.0)
    config = SegmentSFTConfig(str(tmp_path), tool_hints=2, max_length=4096, bf16=False, use_cpu=True)
    dataset = load_examples(script_args, config)
    trainer = SegmentSFTTrainer(str(tiny), config, train_dataset=dataset["train"], processing_class=tokenizer)
    rows = trainer.train_dataset
    texts = [tokenizer.decode(ids) for ids in rows["input_ids"][:5]]
    for text in texts:
        head = parse_prompt(text[: text.index("\nThought:", text.index("\nNearest tools:\n")) + len("\nThought:")])
        assert head is not None
        named = re.findall(
            r"^- .*here is (\w+)\.$", text.split("\nNearest tools:\n")[1].split("\nThought:")[0], re.MULTILINE
        )
        assert named == nearest_functions(head.api.functions, head.instruction, 2)
    folder = tmp_path / "checkpoint"
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert load_backend(str(folder)).tool_hints == 2
    assert load_backend(str(tiny)).tool_hints == 0


def test_hints_need_copies(tmp_path: Path) -> None:
    config = SegmentSFTConfig(str(tmp_path), tool_hints=2, bf16=False, use_cpu=True)
    with pytest.raises(OptionError) as caught:
        load_examples(SegmentScriptArguments(), config)
    assert caught.value.option == "tool_hints"


def test_no_gradient_below(tiny: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny)
    freeze(model, 1)
    ids = torch.arange(10)[None]
    model(ids, labels=ids).loss.backward()
    moved = {name for name, tensor in model.named_parameters() if tensor.grad is not None}
    assert moved and all(".layers.1." in name or name.startswith(("model.norm", "lm_head")) for name in moved)


@pytest.mark.parametrize("layers", [2, 3])
def test_a_layer_has_to_stay(tiny: Path, layers: int) -> None:
    with pytest.raises(OptionError):
        freeze(AutoModelForCausalLM.from_pretrained(tiny), layers)


def test_adapters_choose_their_own_layers(tiny: Path) -> None:
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(OptionError):
        freeze(model, 1)
