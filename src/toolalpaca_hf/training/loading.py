"""Loads what the trainer needs by a model's name, and checks that a chat template renders all that a row holds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from accelerate.utils import is_peft_model
from datasets import Dataset, Features, Json, List
from jinja2 import TemplateError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import ModelConfig, SFTConfig

from .. import checkpoints
from ..errors import InputError, OptionError, UnsupportedModelError
from .conversations import as_messages, tools


def load_tokenizer(path: str, config: SFTConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a resolved model, with the tokens that training needs; it pads on the right.

    A missing padding token becomes the unknown token (as Vicuna was trained), else the end-of-sequence token; labels
    are masked by position, so the end of sequence is learnt either way. The config's `eos_token` and `pad_token` win;
    its `model_init_kwargs` may name a revision.

    Raises:
        [`NotFoundError`], [`OptionError`]: There is no tokenizer at `path`; a token is not in the vocabulary.
        [`UnsupportedModelError`]: There is no end-of-sequence token.
    """
    revision = None if Path(path).is_dir() else cast(dict[str, Any], config.model_init_kwargs or {}).get("revision")
    fix = "pass --model_name_or_path with a folder, a Hub id or smollm2"
    tokenizer = checkpoints.load_tokenizer(path, fix, revision=revision or "main", padding_side="right")
    for name in ("eos_token", "pad_token"):
        if (token := getattr(config, name)) is not None:
            if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
                raise OptionError(f"{token!r} is not in the vocabulary of {path}", option=name)
            setattr(tokenizer, name, token)
    if tokenizer.eos_token is None:
        raise UnsupportedModelError("the tokenizer has no end-of-sequence token", file=path, fix="pass --eos_token")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def model_init_kwargs(model_args: ModelConfig, config: SFTConfig) -> dict[str, Any]:
    """`from_pretrained` arguments for `SFTConfig.model_init_kwargs`, whose own values win."""
    attention = model_args.attn_implementation
    kwargs = {"revision": model_args.model_revision, "dtype": model_args.dtype}
    kwargs |= {"attn_implementation": attention} if attention else {}
    return kwargs | cast(dict[str, Any], config.model_init_kwargs or {})


def freeze(model: PreTrainedModel, layers: int) -> None:
    """Freeze the embeddings and the first `layers` decoder layers: documentation costs only a forward pass there.

    Raises:
        [`OptionError`]: The model has adapters, too few layers, or none that are found.
    """
    if is_peft_model(model):
        raise OptionError("excludes adapters", option="freeze_layers", fix="use LoRA's layers_to_transform")
    stack = getattr(model.get_decoder(), "layers", None)
    if stack is None or layers >= len(stack):
        found = "no list of layers" if stack is None else f"{len(stack)} layers"
        raise OptionError(f"is {layers}, and {type(model).__name__} has {found}", option="freeze_layers")
    for module in (model.get_input_embeddings(), *stack[:layers]):
        module.requires_grad_(False)


_KEY, _VALUE = "marked_key_b9d4", "marked_value_d6e7"
_THOUGHT, _OBSERVATION, _RESPONSE = "thought_e1a9", "observation_c4f9", "response_f7b2"
_FIX = "pass --chat_template_path with a template that knows tools, or train on the config sft"


def check_template(tokenizer: PreTrainedTokenizerBase, template: Any = None) -> list[str]:
    """The parts of a tool-calling conversation that a template drops."""
    call = {"name": "look_up", "arguments": {_KEY: _VALUE}, "result": _OBSERVATION}
    step = {"reasoning": None, "content": _THOUGHT, "calls": [call]}
    turn = {"user": "hi", "steps": [step], "reasoning": None, "answer": _RESPONSE}
    messages, name = as_messages({"system": None, "turns": [turn]}), tokenizer.name_or_path or None
    try:
        text, without_tools = (
            str(tokenizer.apply_chat_template(messages, tools=given, chat_template=template, tokenize=False))
            for given in (tools(), None)
        )
    except (TemplateError, TypeError, KeyError, ValueError) as error:
        problem = "the chat template cannot render a user's turn, a call, an observation and a response"
        raise UnsupportedModelError(f"{problem}: {error}", file=name, fix=_FIX) from None
    shown = {
        "tools": "[dlook_up does it dlook_up]" in text,
        # A name may stand in the tools; what the call adds does not.
        "calls": "look_up" in without_tools and _VALUE in text and _KEY in without_tools,
        "observations": _OBSERVATION in text,
        "responses": _RESPONSE in text,
    }
    if dropped := " and ".join(part for part, is_shown in shown.items() if not is_shown):
        problem = f"the chat template drops {dropped}, so a model could not learn to call"
        raise UnsupportedModelError(problem, file=name, fix=_FIX)
    return [] if _THOUGHT in text else ["The chat template drops the thoughts beside calls; they are not trained."]


def without_absent(dataset: Any) -> Any:
    """Messages with the keys that they have; a table holds all, as `None`, which some templates take for a value."""
    features = dataset.features or {}
    if not isinstance(getattr(features.get("messages"), "feature", None), dict):
        return dataset
    return dataset.map(
        lambda row: {"messages": present(row["messages"])}, features=Features({**features, "messages": List(Json())})
    )


def present(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in message.items() if value is not None} for message in messages]


def renderable(dataset: Any, tokenizer: PreTrainedTokenizerBase, template: Any = None) -> tuple[Any, str]:
    """Drop the rows that a template rejects; a stream is returned unchanged."""
    if not isinstance(dataset, Dataset):
        return dataset, ""
    kept, reasons = [], Counter[str]()
    rows: Any = dataset.with_format(None)
    for place, row in enumerate(rows):
        try:
            options = {"tools": row.get("tools"), "chat_template": template, "tokenize": False}
            tokenizer.apply_chat_template(row["messages"], **options)
            kept.append(place)
        except Exception as error:  # a template raises whatever it likes
            reasons[" ".join(str(error).split())[:200] or type(error).__name__] += 1
    if not reasons:
        return dataset, ""
    left_out = f"{reasons.total():,} refused by the chat template (most often: {reasons.most_common(1)[0][0]})"
    if not kept:
        raise InputError(f"no row is left to train on: {left_out}", fix="pass another --chat_template_path")
    return dataset.select(kept), f"; {left_out}"
