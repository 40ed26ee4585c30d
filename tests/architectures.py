"""Every causal architecture of transformers that can be made tiny, and the table of what was found over them.

`tiny_configs()` yields configurations; `in_a_process` calls something with one of them, in a process of its own and
with a time limit; `write_column` sets one column of docs/architectures.md and leaves the others.
"""

import multiprocessing
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TABLE = Path(__file__).parents[1] / "docs" / "architectures.md"
VOCABULARY = 160
# Names that configs use for the same few sizes. What a config does not know it never sees.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "n_vocab"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "embedding_size", "text_hidden_size"), 64),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "dff", "d_inner",
                     "shared_intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim",
                     "dense_intermediate_size", "intermediate_size_mlp"), 96),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "encoder_attention_heads", "decoder_attention_heads",
                     "attention_heads", "num_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "multi_query_group_num", "num_global_key_value_heads"), 2),
    **dict.fromkeys(("head_dim", "kv_channels", "attention_head_dim", "d_kv", "global_head_dim", "rotary_dim"), 16),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token"), 2),
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "q_lora_rank": 32, "kv_lora_rank": 16,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "index_n_heads": 2, "index_head_dim": 16,
    "index_topk": 16,
    "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "state_size": 8, "time_step_rank": 8, "mamba_d_state": 8,
    "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_dt_rank": 8, "mamba_chunk_size": 16,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "is_decoder": True, "max_position_embeddings": 512,
    "n_positions": 512, "n_ctx": 512, "max_seq_len": 512, "max_target_positions": 512, "max_source_positions": 512,
    "attention_window_size": 16, "lru_width": 64, "tie_word_embeddings": False, "add_cross_attention": False,
    "is_encoder_decoder": False, "laurel_rank": 8,
}  # fmt: skip
_NEEDED = ("pad_token_id", "head_dim", "num_key_value_heads", "n_routed_experts")
# What one architecture needs beside those.
OWN: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "gptj": {"rotary_dim": 8}, "codegen": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "rwkv": {"attention_hidden_size": 64, "context_length": 512},
    "mpt": {"expansion_ratio": 2},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4}, "ffn_config": {"ffn_hidden_size": 64}},
    "cpmant": {"dim_head": 16, "dim_ff": 96},
    "reformer": {"attn_layers": ["local", "lsh"], "axial_pos_shape": [16, 32], "axial_pos_embds_dim": [32, 32],
                 "feed_forward_size": 96, "attention_head_size": 16, "num_buckets": 4},
    "zamba2": {"attention_hidden_size": 128, "attention_head_dim": 32, "layers_block_type": ["mamba", "hybrid"],
               "num_mem_blocks": 1, "mamba_headdim": 16, "n_mamba_heads": 8, "chunk_size": 16},
    "nemotron_h": {"hybrid_override_pattern": "M*", "layers_block_type": ["mamba", "attention"],
                   "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16},
    "zamba": {"attention_hidden_size": 128, "attention_head_dim": 32, "mamba_d_state": 8,
              "layers_block_type": ["mamba", "hybrid"]},
    "xlstm": {"embedding_dim": 64, "num_blocks": 2, "chunk_size": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": {"qk_head_dim": 24, "num_layers": 1},
    "zaya": {"num_experts_per_tok": 1}, "xmod": {"default_language": "en_XX"},
    "xlnet": {"d_inner": 96, "d_head": 16}, "kimi_linear": {"qk_rope_head_dim": 8},
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "bamba": {"attn_layer_indices": [1]}, "falcon_h1": {"mamba_d_ssm": 128},
}  # fmt: skip
_LLAMA = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 96, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1,
}  # fmt: skip
_LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "rope_theta": 1e4}
# Settings that change what is computed beyond a length.
VARIANTS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama, dynamic RoPE": lambda: LlamaConfig(
        **_LLAMA, max_position_embeddings=64,
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
    ),
    "llama, YaRN": lambda: LlamaConfig(
        **_LLAMA, max_position_embeddings=256,
        rope_parameters={
            "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64,
        },
    ),
    "phi3, longrope": lambda: Phi3Config(
        **_LLAMA, sliding_window=None, max_position_embeddings=256, original_max_position_embeddings=64,
        rope_parameters={**_LONG, "original_max_position_embeddings": 64},
    ),
    "mistral, window of 16": lambda: MistralConfig(**_LLAMA, sliding_window=16),
    "mistral, window of 4,096": lambda: MistralConfig(**_LLAMA, sliding_window=4096),
}  # fmt: skip


def architectures() -> list[str]:
    """Names of the causal architectures that transformers knows, then of settings of theirs."""
    return [*sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), *VARIANTS]


def tiny_config(name: str) -> PreTrainedConfig:
    """The configuration of one architecture, with two layers and 160 tokens; any exception where there is none."""
    if name in VARIANTS:
        return VARIANTS[name]()
    kind = CONFIG_MAPPING[name]
    plain = kind().to_dict()

    def tiny(values: Mapping[str, Any]) -> dict[str, Any]:
        done = {}
        layers = next((values[n] for n in ("num_hidden_layers", "n_layer", "num_layers") if n in values), None)
        for key, value in values.items():
            if key == "per_layer_config" and value:
                # Layers that differ from the others: the second one stands for them.
                value = {1: next(iter(value.values()))}
            elif isinstance(value, Mapping) and key.endswith("_config"):
                value = tiny(value)
            elif isinstance(value, list) and layers and len(value) == layers:
                # The first of each kind, so that no kind of layer is left out.
                kinds = [v for i, v in enumerate(value) if v not in value[:i]]
                value = (kinds + kinds)[:2]
            elif key == "head_dim" and values.get("qk_rope_head_dim"):
                value = SIZES["qk_rope_head_dim"]
            elif key == "num_key_value_heads" and values.get("kv_lora_rank"):
                value = SIZES["num_attention_heads"]
            elif key in SIZES and (value is not None or key in _NEEDED):
                value = SIZES[key]
            elif "window" in key and type(value) is int and value > 0 and "layers" not in key:
                value = 16
            elif re.search("dropout|_pdrop|drop_rate", key) and isinstance(value, float):
                value = 0.0
            done[key] = value
        return done

    for also in ({}, {"rope_parameters"}):
        values = {key: value for key, value in {**tiny(plain), **OWN.get(name, {})}.items() if key not in also}
        try:
            config = kind.from_dict(values)
            tiny_model(config)
            return config
        except Exception:
            if also:
                raise
    raise AssertionError("unreachable")


def tiny_model(config: PreTrainedConfig, scale: float = 4.0) -> PreTrainedModel:
    """A model whose attention counts: fresh matrices are so small that it hardly does."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    if sum(p.numel() for p in model.parameters()) > 30_000_000:
        raise ValueError("it stays large")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return model


def _child(function: Callable[[str], Any], name: str, pipe: Any) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    try:
        pipe.send(("done", function(name)))
    except BaseException as error:
        pipe.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))


def in_a_process(function: Callable[[str], Any], name: str, seconds: float = 300.0) -> tuple[str, Any]:
    """Call `function(name)` in a forked process: `("done", value)`, `("failed", why)` or `("late", seconds)`."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(function, name, there))
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            return "late", seconds
        return here.recv()
    except EOFError:
        return "failed", f"exit status {process.exitcode}"
    finally:
        process.kill()
        process.join()


COLUMNS = ("architecture", "prefix packing", "packed decoding")


def write_column(column: str, found: Mapping[str, str], path: Path = TABLE) -> None:
    """Set one column of the table; rows and columns that are there stay."""
    text = path.read_text(encoding="utf-8")
    head, _, table = text.partition("| architecture")
    rows: dict[str, dict[str, str]] = {}
    for line in table.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        rows[cells[0]] = dict(zip(COLUMNS, cells, strict=True))
    for name, value in found.items():
        rows.setdefault(name, dict.fromkeys(COLUMNS, "") | {"architecture": name})[column] = value.replace("|", "/")
    order = {name: place for place, name in enumerate(architectures())}
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    for name in sorted(rows, key=lambda name: order.get(name, len(order))):
        lines.append(f"| {' | '.join(rows[name][other] for other in COLUMNS)} |")
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
