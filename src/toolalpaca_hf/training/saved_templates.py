"""Chat template, response template and stops that a checkpoint carries, so that others' code can talk to it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from ..errors import NotFoundError
from ..formats import Prompt, build_chat_template, build_response_template, parse_prompt, react_prompt, upstream_prompt
from ..schema import Segment
from ..storage import atomic_write, write_json
from .encoders import make_encoder
from .loading import present
from .tokenize import bos_ids


def set_templates(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> None:
    """Give a tokenizer the chat template and the response template of a prompt."""
    tokenizer.chat_template = build_chat_template(prompt, prompt_beginning(tokenizer))
    tokenizer.response_template = build_response_template(str(tokenizer.eos_token))


def prompt_beginning(tokenizer: PreTrainedTokenizerBase) -> str:
    """What a template writes first so that a prompt has the ids it has in training: a token, a dummy space, both."""
    bos = str(tokenizer.decode(bos_ids(tokenizer))) if bos_ids(tokenizer) else ""
    encoder, text = make_encoder(tokenizer, parse_special_tokens=False), "Solve it"
    wanted = bos_ids(tokenizer) + encoder.prompts([text])[0]
    for beginning in (bos, f"{bos} "):
        if tokenizer(beginning + text, add_special_tokens=False)["input_ids"] == wanted:
            return beginning
    return bos


def set_stops(config: GenerationConfig, prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """A copy of a generation config that ends a turn: before an observation, and at the tokenizer's end."""
    values = config.to_dict() | {"stop_strings": [prompt.stop.rstrip()]}
    ends: Any = values.get("eos_token_id")
    ends = list(dict.fromkeys([*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]))
    ends = [id_ for id_ in ends if id_ is not None]
    values["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    return GenerationConfig.from_dict(values)


def add_templates(folder: str | os.PathLike[str], prompt: Prompt, out: str | os.PathLike[str] | None = None) -> Path:
    """Add the templates of a prompt, and the stops, to a checkpoint that was saved without them.

    Only `chat_template.jinja`, `tokenizer_config.json` and `generation_config.json` are written.

    Args:
        folder (`str` or `PathLike`): The checkpoint.
        prompt ([`Prompt`]): What it was trained with.
        out (`str` or `PathLike`, *optional*): Write there and link the other files: a folder of the Hub's cache must
            stay what it is.

    Raises:
        [`NotFoundError`]: There is no tokenizer in the folder.

    Example:

    ```python
    >>> from toolalpaca_hf.formats import react_prompt
    >>> add_templates("outputs/old", react_prompt())  # doctest: +SKIP
    PosixPath('outputs/old')
    ```
    """
    folder, target = Path(folder), Path(out or folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotFoundError(f"no tokenizer ({str(error).splitlines()[0]})", file=folder) from None
    set_templates(tokenizer, prompt)
    settings.pop("chat_template", None)  # where older versions kept it
    try:
        generation = GenerationConfig.from_pretrained(folder)
    except OSError:
        generation = GenerationConfig()
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
    texts, spans = render_jinja_template([present(messages)], tools, chat_template=template, **options)
    return texts[0], spans[0]


def prompt_of_row(
    segments: Sequence[Mapping[str, Any]], prompt_dir: str | None = None, tool_hints: int = 0
) -> Prompt | None:
    """The prompt that a row of `segments` was rendered with, if it is our own or, with `prompt_dir`, the published."""
    head = str(segments[0]["text"]) if segments else ""
    if parse_prompt(head) is None:
        return None
    if "\nAction: getDetails\n" in head:
        return react_prompt(tool_hints)
    return upstream_prompt(prompt_dir) if prompt_dir else None
