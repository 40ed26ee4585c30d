"""Finds out, by trying, which ways of batching conversations give what a model computes for each by itself.

Most differences show only beyond a length that the config names, so a small model in which these lengths are a dozen
tokens is tried, with rows on both sides of each, and then the model itself, with short rows.
"""

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache, GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging

from .kv_cache import Branch, Pack, RowState, common_length, prefill
from .slots import Slots

_LENGTH = re.compile(r"position_embeddings$|window|chunk_size|n_positions|n_ctx|max_seq_len|context_length|index_topk")
# The first of them in the small model; the next is twice as long.
_SMALL = 12
_BEGINNING = 5
_NEW = 4

_found: WeakKeyDictionary[PreTrainedModel, frozenset[str]] = WeakKeyDictionary()


def exact_ways(model: PreTrainedModel) -> frozenset[str]:
    """Which of `"slots"` ([`Slots`]), `"pack"` ([`Pack`]) and `"padded"` (left-padded `generate`) give a model's rows
    the same logits as `generate` gives each by itself."""
    if model not in _found:
        level = logging.get_verbosity()
        logging.set_verbosity_error()
        training = model.training
        try:
            small, lengths = _small(model.eval())
            ways = _same(small, lengths, {"slots", "pack", "padded"}, 1e-3)
            tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
            _found[model] = frozenset(_same(model, [_BEGINNING + 1, _BEGINNING + 3], ways, tolerance))
        # A class that cannot be built of its config, or cannot generate: nothing was shown of it.
        except Exception:
            _found[model] = frozenset()
        finally:
            model.train(training)
            logging.set_verbosity(level)
    return _found[model]


def _small(model: PreTrainedModel) -> tuple[PreTrainedModel, list[int]]:
    """A small model of the same class and config, and lengths on both sides of its limits."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config(decoder=True)
    lengths: set[int] = set()
    _walk(config, lambda value: lengths.add(value) or value)
    small = {length: _SMALL * 2**n for n, length in enumerate(sorted(lengths))}
    _walk(config, small.__getitem__)
    layers, kinds = text.num_hidden_layers, list(dict.fromkeys(getattr(text, "layer_types", None) or ()))
    count = min(layers, max(2, len(kinds)))
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == layers:
            setattr(text, name, value[:count])
    if "layer_types" in vars(text) and kinds:
        text.layer_types = (kinds * 2)[:count]
    text.num_hidden_layers = count
    for name in ("vocab_size", "intermediate_size", "moe_intermediate_size", "n_inner"):
        if getattr(text, name, None):
            setattr(text, name, 128 if name == "vocab_size" else 64)
    for part in (config, text):
        part.pad_token_id = part.eos_token_id = part.bos_token_id = None
        part.torch_dtype = torch.float32
    with torch.random.fork_rng(), torch.device(model.device):
        torch.manual_seed(0)
        twin = type(model)(config).float().eval()
        for weights in twin.parameters():
            # Drawn wider than models begin with: attention that looks at everything alike would not show what it sees.
            if weights.ndim > 1:
                weights.detach().normal_(0.0, 1.5 * weights.shape[-1] ** -0.5)
    ends = sorted(small.values()) or [4 * _SMALL]
    at = {_BEGINNING + 1, _BEGINNING + 3, *(end + more for end in ends for more in (-_NEW - 1, -1, 3, _SMALL))}
    lengths_tried = sorted(length for length in at if length > _BEGINNING)
    try:
        _generated(twin, [[3] * lengths_tried[-1]])
    # Learned positions end at the last limit; what is beyond it cannot be asked.
    except Exception:
        lengths_tried = [length for length in lengths_tried if length + _NEW <= ends[-1]]
    return twin, lengths_tried


def _walk(node: object, visit: Callable[[int], int]) -> None:
    """Replace each length in a config and its nested configs with what `visit` returns."""
    inside = node if isinstance(node, dict) else vars(node)
    for name, value in list(inside.items()):
        if isinstance(value, dict | PretrainedConfig):
            _walk(value, visit)
        elif type(value) is int and value > 0 and _LENGTH.search(str(name)):
            inside[name] = visit(value)


@torch.inference_mode()
def _same(model: PreTrainedModel, lengths: Sequence[int], ways: set[str], tolerance: float) -> set[str]:
    """The ways that reproduce the logits of `generate`, row by row, for rows of these lengths."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        top = min(model.config.get_text_config(decoder=True).vocab_size, 1000)
        whole = torch.randint(3, top, (len(lengths) + 1, max(lengths))).tolist()
    rows = [[*whole[-1][:_BEGINNING], *ids][:length] for ids, length in zip(whole, lengths, strict=False)]
    forced, wanted = zip(*(_generated(model, [ids])[0] for ids in rows), strict=True)

    tried: dict[str, Callable[[], list[torch.Tensor]]] = {
        "slots": lambda: _in_slots(model, rows, forced),
        "pack": lambda: _packed(model, rows, forced),
        "padded": lambda: [logits for _, logits in _generated(model, rows)],
    }
    same = set()
    for way in ways:
        try:
            made = tried[way]()
        # Whatever such a model raises, it can be computed in another way.
        except Exception:
            continue
        if all(_alike(*pair, tolerance) for pair in zip(made, wanted, strict=True)):
            same.add(way)
    return same


def _generated(model: PreTrainedModel, rows: list[list[int]]) -> list[tuple[list[int], torch.Tensor]]:
    width = max(map(len, rows))
    padding = [width - len(row) for row in rows]
    generate: Any = model.generate
    made = generate(
        input_ids=torch.tensor([[0] * n + row for n, row in zip(padding, rows, strict=True)], device=model.device),
        attention_mask=torch.tensor([[0] * n + [1] * (width - n) for n in padding], device=model.device),
        generation_config=GenerationConfig(max_new_tokens=_NEW, do_sample=False, pad_token_id=0, eos_token_id=-1),
        return_dict_in_generate=True,
        output_logits=True,
    )
    logits = torch.stack(made.logits, dim=1)
    return [(ids[width:].tolist(), row) for ids, row in zip(made.sequences, logits, strict=True)]


def _in_slots(model: PreTrainedModel, rows: list[list[int]], forced: Sequence[list[int]]) -> list[torch.Tensor]:
    slots = Slots(model)
    base = slots.prefill(rows[0][: _BEGINNING + 1])
    all_rows = [RowState(None, ids, _NEW) for ids in rows]
    for row in all_rows:
        row.begin_with(base)
        slots.place(row)
    # All but one id, where there are more: then one row decodes while another reads on.
    slots.feed([(row, row.unfed[:-1]) for row in all_rows if len(row.unfed) > 1])
    made = [slots.feed([(row, row.unfed) for row in all_rows])]
    made += [slots.feed([(row, [ids[n]]) for row, ids in zip(all_rows, forced, strict=True)]) for n in range(_NEW - 1)]
    return list(torch.stack(made, dim=1))


def _packed(model: PreTrainedModel, rows: list[list[int]], forced: Sequence[list[int]]) -> list[torch.Tensor]:
    # Whether the cache can be cut into columns, which sliding windows and state spaces cannot.
    if any(type(layer) is not DynamicLayer for layer in DynamicCache(config=model.config).layers):
        raise NotImplementedError("a cache that cannot be cut into columns")
    base = prefill(model, rows[0][: _BEGINNING + 1])
    starts = [min(common_length(base.ids, ids), len(ids) - 1) for ids in rows]
    sizes = zip(starts, rows, strict=True)
    pack = Pack(model, [base.layers], [Branch(n, [range(n)], len(ids) - n + _NEW) for n, ids in sizes])
    made = [pack.feed([(i, token) for i, ids in enumerate(rows) for token in ids[starts[i] :]])]
    made += [pack.feed([(i, ids[n]) for i, ids in enumerate(forced)]) for n in range(_NEW - 1)]
    return [torch.stack([step[i] for step in made]) for i in range(len(rows))]


def _alike(made: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    # What was chosen differently before makes all that follows another text; up to there the logits say enough.
    made, wanted = (logits.float() - logits.float().mean(-1, keepdim=True) for logits in (made, wanted))
    return bool(((made - wanted).norm(dim=-1) <= tolerance * wanted.norm(dim=-1)).all())
