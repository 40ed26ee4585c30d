"""What a checkpoint is loaded and saved with: tokenizer, chat template, response template, stops; template checks."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from accelerate.utils import is_peft_model
from datasets import Dataset, Features, Json, List
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template
from trl import ModelConfig, SFTConfig

from .. import checkpoints
from ..errors import InputError, OptionError, UnsupportedModelError
from ..formats import (
    Prompt,
    UpstreamPrompt,
    arguments_of,
    build_chat_template,
    build_response_template,
    parse_prompt,
    react_prompt,
)
from ..inference import end_ids
from ..openapi import mapping
from ..schema import Segment
from ..storage import atomic_write, read_json, write_json
from .conversations import as_messages, tools
from .encoders import make_encoder
from .tokenize import bos_ids, merge


def load_tokenizer(path: str, config: SFTConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a resolved model, with the tokens that training needs; it pads on the right."""
    revision = None if Path(path).is_dir() else cast(dict[str, Any], config.model_init_kwargs or {}).get("revision")
    fix = "pass --model_name_or_path with a folder, a Hub id or smollm2"
    tokenizer = checkpoints.load_tokenizer(path, fix, revision=revision or "main", padding_side="right")
    set_tokens(tokenizer, config)
    if tokenizer.eos_token is None:
        raise UnsupportedModelError("the tokenizer has no end-of-sequence token", file=path, fix="pass --eos_token")
    if tokenizer.pad_token is None:  # labels are masked by position, so the end of sequence is learnt either way
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def set_tokens(tokenizer: PreTrainedTokenizerBase, config: SFTConfig) -> None:
    """Give a tokenizer the special tokens that a config names."""
    for name in ("eos_token", "pad_token"):
        if (token := getattr(config, name)) is not None:
            # The unknown token may be meant: Vicuna pads with it, and GPT-2's is its end of sequence.
            unknown = (None, tokenizer.unk_token_id)
            if token != tokenizer.unk_token and tokenizer.convert_tokens_to_ids(token) in unknown:
                raise OptionError(f"{token!r} is not in the vocabulary of {tokenizer.name_or_path}", option=name)
            setattr(tokenizer, name, token)


def model_init_kwargs(model_args: ModelConfig, config: SFTConfig) -> dict[str, Any]:
    """`from_pretrained` arguments for `SFTConfig.model_init_kwargs`, whose own values win: pickles need one."""
    kwargs = {"revision": model_args.model_revision, "dtype": model_args.dtype, "use_safetensors": True}
    if model_args.attn_implementation:
        kwargs["attn_implementation"] = model_args.attn_implementation
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


def tool_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The chat template for conversations with tools: of several by name, the one that transformers takes for them."""
    templates: Any = tokenizer.chat_template
    return (templates.get("tool_use") or templates.get("default")) if isinstance(templates, dict) else templates


def tools_of(row: Mapping[str, Any]) -> Any:
    """The tools of a row of messages, which may be written as JSON."""
    tools = row.get("tools")
    return json.loads(tools) if isinstance(tools, str) else tools


_KEY, _VALUE = "marked_key_b9d4", "marked_value_d6e7"
_THOUGHT, _OBSERVATION, _RESPONSE = "thought_e1a9", "observation_c4f9", "response_f7b2"
_FIX = "pass --chat_template_path with a template that knows tools, or train on the config sft"


def check_template(tokenizer: PreTrainedTokenizerBase, template: Any = None) -> list[str]:
    """The parts of a tool-calling conversation that a template drops."""
    call = {"name": "look_up", "arguments": {_KEY: _VALUE}, "result": _OBSERVATION}
    step = {"reasoning": None, "content": _THOUGHT, "calls": [call]}
    turn = {"user": "hi", "steps": [step], "reasoning": None, "answer": _RESPONSE}
    messages, name = as_messages({"system": None, "turns": [turn]}), tokenizer.name_or_path or None
    rendered: Any = partial(tokenizer.apply_chat_template, messages, chat_template=template, tokenize=False)
    try:
        text, without_tools = str(rendered(tools=tools())), str(rendered(tools=None))
    except Exception as error:  # a template raises whatever it likes
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


def columns_of(rows: Any) -> list[str]:
    """The names of columns, if there are rows; of a stream its first row may have to say them."""
    try:
        return [] if rows is None else rows.column_names or list(next(iter(rows), {}))
    except Exception as error:  # what is wrong with a file, its reader says in its own way
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InputError(f"the first rows of the stream cannot be read ({why})", fix="check the file") from error


def without_absent(dataset: Any) -> Any:
    """Messages and tools with the keys that they have; `None`, as tables hold, some templates take for a value."""
    kinds = {name: kind for name, kind in (dataset.features or {"messages": None}).items() if isinstance(kind, List)}
    kinds = {name: kinds.get(name) for name in ("messages", "tools") if name in kinds or name == "messages"}
    features = dataset.features and Features({**dataset.features, **dict.fromkeys(kinds, List(Json()))})

    def held(row: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: _held(row[name], kind) for name, kind in kinds.items()}
        return found | {"messages": [*map(_plain, present(found["messages"] or ()))]}

    return dataset.map(held, features=features)


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates take it: they quote arguments that are JSON texts, and spell a list of texts as code."""
    given, parts = message.get("tool_calls"), message.get("content")
    calls = [*given] if isinstance(given, list) else []
    for n, call in enumerate(calls):
        function = mapping(mapping(call).get("function"))
        # What is no JSON object, or none that a table holds, stays.
        if isinstance(text := function.get("arguments"), str) and (read := arguments_of(text)) != {"input": text}:
            calls[n] = call | {"function": function | {"arguments": read}}
            message["tool_calls"] = calls  # those of a stream's own row stay as they are
    if isinstance(parts, list) and all(isinstance(mapping(part).get("text"), str) for part in parts):
        message["content"] = "".join(part["text"] for part in parts)
    return message


def _held(value: Any, kind: Any) -> Any:
    """A value of a table without the keys of its structs that are `None`; those of JSON may be meant."""
    if value is not None and isinstance(kind, dict):
        return {name: _held(value[name], inner) for name, inner in kind.items() if value[name] is not None}
    return [_held(item, kind.feature) for item in value] if value is not None and isinstance(kind, List) else value


def present(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in message.items() if value is not None} for message in messages]


def renderable(
    dataset: Any, tokenizer: PreTrainedTokenizerBase, template: Any = None, assistant_only: bool = False
) -> tuple[Any, str]:
    """Drop the rows that a template rejects and, with `assistant_only`, those without a turn of the assistant."""

    def refusal(row: Mapping[str, Any]) -> str:
        try:
            tokenizer.apply_chat_template(row["messages"], tools=tools_of(row), chat_template=template, tokenize=False)
            answered = any(message["role"] == "assistant" for message in row["messages"])
            return "" if answered or not assistant_only else "no turn of the assistant"
        except Exception as error:  # a template raises whatever it likes
            return " ".join(str(error).split())[:200] or type(error).__name__

    if not isinstance(dataset, Dataset):  # a stream's as they come, uncounted
        return dataset.filter(lambda row: not refusal(row)), ""
    found = [refusal(row) for row in cast(Any, dataset)]
    kept, reasons = [place for place, why in enumerate(found) if not why], Counter(filter(None, found))
    if not reasons:
        return dataset, ""
    left_out = f"{reasons.total():,} refused (most often: {reasons.most_common(1)[0][0]})"
    if not kept:
        raise InputError(f"no row is left to train on: {left_out}", fix="pass another --chat_template_path")
    return dataset.select(kept), f"; {left_out}"


def set_templates(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> None:
    """Give a tokenizer the chat template and the response template of a prompt."""
    tokenizer.chat_template = build_chat_template(prompt, prompt_beginning(tokenizer))
    tokenizer.response_template = build_response_template(str(tokenizer.eos_token))


def prompt_beginning(tokenizer: PreTrainedTokenizerBase) -> str:
    """What a template writes first so that a prompt has the ids it has in training: a token, a dummy space, both."""
    bos = str(tokenizer.decode(bos_ids(tokenizer))) if bos_ids(tokenizer) else ""
    encoder, text = make_encoder(tokenizer, parse_special_tokens=False), "Solve it"
    wanted = bos_ids(tokenizer) + encoder.prompts([text])[0]
    usual = (one for one in (bos, f"{bos} ") if tokenizer(one + text, add_special_tokens=False).input_ids == wanted)
    return next(usual, bos)


def set_stops(config: GenerationConfig | None, prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """A copy of a generation config that ends a turn: before an observation, and at the tokenizer's end."""
    ends = end_ids(config, tokenizer)
    own = {"stop_strings": [prompt.stop.rstrip()], "eos_token_id": ends if len(ends) > 1 else next(iter(ends), None)}
    return GenerationConfig.from_dict((config or GenerationConfig()).to_dict() | own)


def add_templates(folder: str | os.PathLike[str], prompt: Prompt, out: str | os.PathLike[str] | None = None) -> Path:
    """Add the templates of the prompt that a checkpoint was trained with, and its stops, where they were not saved.

    Only `chat_template.jinja`, `tokenizer_config.json` and `generation_config.json` are written; with `out` there,
    beside links to the other files, since a folder of the Hub's cache must stay what it is.

    Raises:
        [`NotFoundError`]: There is no tokenizer in the folder.
    """
    folder, target = Path(folder), Path(out or folder)
    tokenizer = checkpoints.load_tokenizer(str(folder.absolute()), "pass a folder with one")
    settings = read_json(folder / "tokenizer_config.json", "pass a folder with one")
    set_templates(tokenizer, prompt)
    settings.pop("chat_template", None)  # where older versions kept it
    generation = None
    with suppress(OSError):
        generation = GenerationConfig.from_pretrained(folder)
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir() if target != folder else ():
        if not (target / path.name).exists():
            (target / path.name).symlink_to(path.resolve())
    # Written whole beside and renamed: a link is replaced, and what it points to stays.
    atomic_write(target / "chat_template.jinja", str(tokenizer.chat_template))
    settings["response_template"] = tokenizer.response_template
    write_json(target / "tokenizer_config.json", settings, indent=2)
    write_json(target / "generation_config.json", set_stops(generation, prompt, tokenizer).to_diff_dict(), indent=2)
    return target


def as_segments(text: str, spans: Sequence[tuple[int, int]], beginning: str, end: str) -> list[Segment]:
    """The segments of a rendered text without its beginning and its end, which are tokens of their own."""
    segments, at = [], len(beginning) if text.startswith(beginning) else 0
    for start, stop in spans:
        segments += [Segment(text[at:start], False), Segment(text[start:stop], True)]
        at = stop
    segments.append(Segment(text[at:], False))
    segments = [segment for segment in segments if segment.text]
    if segments and segments[-1].trainable:
        segments[-1] = Segment(segments[-1].text.removesuffix(end), True)
    return segments


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, Any]], tools: Any, template: str
) -> tuple[str, list[tuple[int, int]]]:
    """The text of messages, and the characters in it that stand between generation marks."""
    options: dict[str, Any] = {**tokenizer.special_tokens_map, "return_assistant_tokens_mask": True}
    found: Any = render_jinja_template([present(messages)], tools, chat_template=template, **options)
    return found[0][0], found[1][0]


def prompt_of_row(
    segments: Sequence[Mapping[str, Any]] | None, prompt_dir: str | None = None, tool_hints: int = 0
) -> Prompt | None:
    """The prompt that a row of `segments` was rendered with, if it is our own or, with `prompt_dir`, the published."""
    head = "".join(run.text for run in merge(None if segments is None else segments[:1], 0))
    if parse_prompt(head) is None:
        return None
    if "\nAction: getDetails\n" in head:
        return react_prompt(tool_hints)
    return UpstreamPrompt(prompt_dir) if prompt_dir else None
