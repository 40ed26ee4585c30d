"""Checks that a model computes packed rows exactly as it computes them one by one, by trying a small copy of it."""

import contextlib
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from peft.tuners.tuners_utils import BaseTuner
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from transformers.utils import logging
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from ..errors import UnsupportedModelError
from .loss import ATTENTION, completion_loss
from .prefixes import PrefixCollator, build_tree
from .tokenize import IGNORE, list_batches

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
# Limits of a config: beyond such a length, or at such a distance, a model computes something else.
_LIMIT = re.compile(
    r"(window|chunk|max_position|max_seq|n_positions|n_ctx|context_length|_block|index_topk)(?!.*(layer|pattern))"
)
# Rows of the trial have 40 to 100 tokens, sequences of them over 200: on both sides of a limit that rows of the data
# cross, and on both sides in packs only of one that they do not. Learned positions have no other side.
_CROSSED, _KEPT, _BEYOND = 64, 128, 512
_EVERY = re.compile(r"period|interval|every|freq|stride|pattern|first_k|offset")


class InexactModelError(UnsupportedModelError):
    """A model does not compute packed rows as it computes them one by one."""


def require_exact(model: PreTrainedModel, kind: str, longest: int | None = None, fix: str | None = None) -> None:
    """Try packed rows on a small copy of a model; the model itself is neither run nor changed.

    Args:
        kind (`str`): `"nodes"` or `"mask"` (trees of rows), `"rows"` (a padded batch, against the loss over all its
            logits), `"flat"` (TRL's padding-free packing, where restarting positions separate the rows).
        longest (`int`, *optional*): Tokens of the longest row of the data. Limits of the config that long or longer
            are taken as never crossed; by default every limit counts as crossed.

    Raises:
        [`InexactModelError`]: With the measured errors, or with what stopped the trial.
    """
    what = {"rows": "the loss over trained tokens", "flat": "packing"}.get(kind, "prefix_packing")
    what = f"{what} cannot train {type(model).__name__}"
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            loss, gradient = _errors(model, kind, longest)
    except Exception as error:  # whatever a model's own code raises is the reason
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InexactModelError(f"{what}: on a small copy of it, {why}", fix=fix) from error
    finally:
        logging.set_verbosity(verbosity)
    if not (loss <= LOSS_TOLERANCE and gradient <= GRADIENT_TOLERANCE):
        off = f"the loss is off by {loss:.1e} and gradients by {gradient:.1e} of their norm"
        problem = f"{what} exactly: on a small copy of it {off}, against the rows one by one{_likely_cause(model)}"
        raise InexactModelError(problem, fix=fix)


def _likely_cause(model: PreTrainedModel) -> str:
    """For the error message: which layers, by the config, do not see all previous tokens."""
    config = model.config.get_text_config()
    causes = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    causes += [name for name in ("sliding_window", "attn_logit_softcapping") if getattr(config, name, None)]
    if model._is_stateful:
        causes.append("a state beside the keys and values")
    return f" (it has {', '.join(causes)})" if causes else ""


def _errors(model: PreTrainedModel, kind: str, longest: int | None) -> tuple[float, float]:
    """Relative errors of loss and gradients."""
    small, expected, gradients, rows = _reference(model, longest)
    if kind in ATTENTION:
        with contextlib.suppress(ValueError):  # a model without that attention keeps its own
            small.set_attn_implementation(ATTENTION[kind])
        if small.config._attn_implementation != ATTENTION[kind]:
            raise UnsupportedModelError("its attention cannot be exchanged")
        batch = PrefixCollator(0)([build_tree(rows[:-2], 8), build_tree(rows[-2:], 8)])
    elif kind == "rows":
        batch = DataCollatorForLanguageModeling(pad_token_id=0)(rows)
        # Against what any trainer computes of this batch: padding is not this loss's to answer for.
        small.zero_grad()
        logits = small(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits[:, :-1]
        targets = batch["labels"][:, 1:].flatten()
        total = cross_entropy(logits.flatten(0, 1).float(), targets, ignore_index=IGNORE, reduction="sum")
        total.backward()
        expected, gradients = total.item(), _gradients(small)
    else:
        small.set_attn_implementation(model.config._attn_implementation or "eager")
        batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(rows)
    small.zero_grad()
    loss = completion_loss(small, batch, small, kind).total
    loss.backward()
    off = abs(loss.item() - expected) / max(abs(expected), 1e-9)
    # Gradients that are zero but for rounding (of key biases, say) are held against the others'.
    floor = 1e-3 * max(gradient.norm() for gradient in gradients.values())
    found = _gradients(small)
    worst = max(
        (found.get(name, torch.zeros_like(gradient)) - gradient).norm() / (gradient.norm() + floor)
        for name, gradient in gradients.items()
    )
    return off, worst.item()


def _gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _reference(
    model: PreTrainedModel, longest: int | None
) -> tuple[PreTrainedModel, float, dict[str, torch.Tensor], list[dict[str, list[int]]]]:
    """A small copy that computes rows one by one, the sum of their losses, its gradients, and the rows."""
    why: Exception | None = None
    for config in _small_configs(model, longest):
        for scale in (4.0, 1.0):
            torch.manual_seed(0)
            try:
                small = _built(type(model), config)
                with torch.no_grad():
                    for parameter in small.parameters():
                        # Fresh weights are so small that attention hardly counts.
                        if parameter.dim() > 1:
                            parameter.mul_(scale)
                rows = _rows(small.config.get_text_config())
                total = torch.zeros(())
                for row in rows:
                    logits = small(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1].float()
                    targets = torch.tensor(row["labels"][1:])
                    total = total + cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
                total.backward()
            except Exception as error:  # the next copy is less small
                why = why or error
                break
            gradients = _gradients(small)
            if torch.isfinite(total) and all(torch.isfinite(gradient).all() for gradient in gradients.values()):
                return small, total.item(), gradients, rows
    raise why or UnsupportedModelError("the loss of rows one by one is not a number")


def _built(kind: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    try:
        return kind._from_config(copy.deepcopy(config), attn_implementation="eager", dtype=torch.float32).eval()
    except (ValueError, ImportError):  # without eager attention
        return kind._from_config(copy.deepcopy(config), dtype=torch.float32).eval()


def _rows(config: Any) -> list[dict[str, list[int]]]:
    """Rows of 40 to 100 tokens: a tree of three levels, and two rows that share nothing."""
    generator = torch.Generator().manual_seed(0)
    special = {str(getattr(config, f"{name}_token_id", None)) for name in ("bos", "eos", "pad")}
    usable = [id_ for id_ in range(min(config.vocab_size, 512)) if str(id_) not in special]

    def ids(count: int) -> list[int]:
        return [usable[i] for i in torch.randint(len(usable), (count,), generator=generator)]

    root, branch = ids(30), ids(16)
    texts = [root + ids(14), root + branch + ids(10), root + branch + ids(54), root + ids(52), ids(40), ids(70)]
    return [{"input_ids": text, "labels": [IGNORE] * 20 + text[20:]} for text in texts]


def _small_configs(model: PreTrainedModel, longest: int | None) -> Iterator[Any]:
    """Shrunk configs of a model, smallest first; the last has learned positions with enough room."""
    config = model.config
    own: dict[str, str] = config.attribute_map  # names of sizes that only this config uses
    common = {name: shared for shared, name in own.items()}
    values = {common.get(name, name): v for name, v in config.to_dict().items() if name != "quantization_config"}
    for shrunk in (_shallow(values, True), _shallow(values, False), values):
        for crossed, kept in ((_CROSSED, _KEPT), (_BEYOND, _BEYOND)):
            changed = {own.get(name, name): value for name, value in shrunk.items()}
            changed = _limited(changed, crossed, kept, longest)
            try:
                yield type(config).from_dict(changed)
            except Exception:  # a config that its own checks refuse; the next copy keeps more of the original
                continue
    yield copy.deepcopy(config)


def _limited(value: Any, crossed: int, kept: int, longest: int | None, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _limited(inner, crossed, kept, longest, name) for name, inner in value.items()}
    if type(value) is int and value > 0 and _LIMIT.search(name):
        return crossed if longest is None or value < longest else kept
    return value


def _shallow(values: dict[str, Any], narrow: bool) -> dict[str, Any]:
    """Fewer layers, but some of every kind; `narrow` shrinks their width too, with heads of the same size."""
    values = {
        name: _shallow(value, narrow) if isinstance(value, dict) and name.endswith("_config") else value
        for name, value in values.items()
    }
    layers = values.get("num_hidden_layers")
    if isinstance(layers, int) and layers > 2:
        lists = {n: v for n, v in values.items() if isinstance(v, list | tuple) and len(v) == layers}
        few = max([
            2,
            *(max(value.index(kind) for kind in value) + 1 for value in lists.values()),
            # Layers that differ by their number, as every fourth one.
            *(v + 1 for n, v in values.items() if type(v) is int and v < 12 and _EVERY.search(n) and "layer" in n),
        ])  # fmt: skip
        if few < layers:
            values |= {"num_hidden_layers": few} | {name: v[:few] for name, v in lists.items()}
            if by_layer := values.get("per_layer_config"):
                values["per_layer_config"] = {n: v for n, v in by_layer.items() if int(n) < few}
    width, heads = values.get("hidden_size"), values.get("num_attention_heads")
    if narrow and isinstance(width, int) and isinstance(heads, int) and width > 256:
        size = values.get("head_dim") or width // heads
        shared = heads // (values.get("num_key_value_heads") or heads)
        keys = min(2, heads // shared)
        sizes = {"num_attention_heads": keys * min(shared, 2), "hidden_size": keys * min(shared, 2) * size}
        sizes |= {"num_key_value_heads": keys, "vocab_size": 512}
        sizes |= {"intermediate_size": 2 * size, "moe_intermediate_size": 2 * size}
        if isinstance(values.get("vocab_size"), int):
            sizes |= {n: min(v, 511) for n, v in values.items() if n.endswith("token_id") and isinstance(v, int)}
        values |= {n: v for n, v in sizes.items() if isinstance(values.get(n), int)}
    return values


def check_tokens(model: PreTrainedModel, tokenizer: Any, datasets: Sequence[Any]) -> int | None:
    """Reject ids beyond the embedding; returns the length of the longest row, if known."""
    size = getattr(model.get_input_embeddings(), "num_embeddings", None)
    largest_id: int = tokenizer.pad_token_id or 0
    longest: int | None = 0
    for rows in datasets:
        if isinstance(rows, Dataset) and "input_ids" in rows.column_names:
            length, id_ = _largest(rows, "input_ids")
            if "nodes" in rows.column_names:
                length = _largest(rows, "position_ids")[1] + 1
            largest_id, longest = max(largest_id, id_), None if longest is None else max(longest, length)
        elif rows is not None:
            longest = None
    if size is not None and largest_id >= size:
        token = tokenizer.convert_ids_to_tokens(largest_id)
        problem = f"the token {token!r} has the id {largest_id} and the model's embedding has {size:,} rows"
        fix = "call model.resize_token_embeddings(len(tokenizer)) and save it, or take a token that it has"
        raise UnsupportedModelError(problem, fix=fix)
    return longest


def _largest(rows: Dataset, column: str) -> tuple[int, ...]:
    """The longest list and the largest value of a column of lists."""
    found = [[int(array.max(initial=0)) for array in pair] for pair in list_batches(rows, column)]
    return tuple(map(max, zip([0, 0], *found, strict=True)))


def virtual_tokens(model: Any) -> str:
    """An adapter that prepends tokens or attention instead of adding layers, in words."""
    if not is_peft_model(model) or isinstance(model.base_model, BaseTuner):
        return ""
    kind = next(iter(model.peft_config.values())).peft_type
    return f"{getattr(kind, 'value', kind)}, which puts virtual tokens before the text"


def whole_row_adapter(model: Any) -> str:
    """An adapter whose behaviour depends on the whole row, in words."""
    configs = model.peft_config.values() if is_peft_model(model) else ()
    if any(getattr(config, "alora_invocation_tokens", None) for config in configs):
        return "aLoRA, whose adapter begins where a row invokes it"
    if any("XLORA" in str(config.peft_type).upper() for config in configs):
        return "X-LoRA, whose adapters are weighed by the whole row"
    return ""
