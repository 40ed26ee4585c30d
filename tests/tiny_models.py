"""Tiny random models that are trained in seconds, saved with a tokenizer of the embedded corpus."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from toolalpaca_hf.data import SAMPLE

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def tiny_tokenizer(**options: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 1,500 pieces, trained on the embedded corpus."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=1500,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    apis = json.loads((Path(SAMPLE) / "train.json").read_text(encoding="utf-8"))
    texts = [json.dumps(instance, ensure_ascii=False) for api in apis for instance in api["Instances"]]
    backend.train_from_iterator(texts + [api["NLDocumentation"] for api in apis], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **options)


def save_tiny_llama(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
    """A Llama of 2 layers and its tokenizer, in the layout of `from_pretrained`."""
    tokenizer = tokenizer or tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **SIZES
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_tiny_qwen3(folder: Path) -> Path:
    """A Qwen3 of 2 layers whose chat template is the one TRL knows Qwen3 by."""
    from trl.chat_template_utils import qwen3_chat_template

    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = qwen3_chat_template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        head_dim=16,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SIZES,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder
