"""The ReAct prompts as templates that travel inside a checkpoint: one renders messages, the other reads turns."""

import json
import re
import string
from importlib.resources import files
from typing import Any

from ..errors import InputError
from ..schema import Api, Function, Step
from .hints import _STOP
from .parse import GET_DETAILS
from .react import DEFAULT_FINAL_THOUGHT, HINTS_LABEL, Prompt, UpstreamPrompt, compact_description, tool_entry

CALL_THOUGHT = ("I need to use ", ".")
"""Around a function's name: the thought of a call that came without one, as servers hand calls back."""

# Private-use characters, which no prompt has.
_A, _B, _C = "\ue0a1", "\ue0a2", "\ue0a3"


def build_chat_template(prompt: Prompt, bos: str = "") -> str:
    r"""A Jinja chat template that renders messages, tools and their results as a prompt does.

    What a model writes stands between `{% generation %}` marks and ends in the prompt's `stop`, or in the tokenizer's
    `eos_token` after a response. A tool without natural-language documentation (a line `Parameters:`) is described
    from its JSON schema. Several calls of one message are rendered one after the other, each with its result. With
    `tool_hints` the template ranks the tools by BM25 itself, unless the question names them already. `bos` is the text
    of the token that the tokenizer puts before a prompt.

    A prompt that shows an instruction more than once, or not at all, is an [`InputError`].
    """
    listed = [_entry(prompt, GET_DETAILS, compact_description(prompt.get_details)), _entry(prompt, _A, _B)]
    separator = "\n" if isinstance(prompt, UpstreamPrompt) else "\n\n"
    head = prompt.head(Api("", "", functions=[Function(_A, "", "", _B)]), _C, ())
    start, _, rest = head.partition(separator.join(listed))
    *parts, last = rest.split(f"{GET_DETAILS}, {_A}")
    if last.count(_C) != 1:
        raise InputError(f"the prompt {prompt.name} does not show the instruction once, behind the tools")
    last, thought_label = last.split(_C)
    question = last[max(last.rfind("\n\n"), 0) :]
    turn = ("turn_start", "action_label", "input_label", "turn_stop")
    constants: dict[str, Any] = dict(zip(turn, _cut(prompt.action(Step(_A, _B, _C, ""))), strict=True)) | {
        "beginning": bos,
        "prompt_start": start,
        "prompt_parts": [*parts, last.removesuffix(question)],
        "names_twice": _entry(prompt, _A, _B) != f"{_A}: {_B}",
        "tool_separator": separator,
        "question_label": question,
        "thought_label": thought_label,
        "result_label": prompt.observation(_A).partition(_A)[0],
        "response_label": _cut(prompt.answer(_A, _B))[1],
        "answer_thought": DEFAULT_FINAL_THOUGHT,
        "call_thought": list(CALL_THOUGHT),
        "hints": prompt.tool_hints,
    }
    if prompt.tool_hints:
        constants |= {"hints_label": f"\n{HINTS_LABEL}", "stop_words": sorted(_STOP)}
        constants |= {"upper_case": string.ascii_uppercase, "lower_case": string.ascii_lowercase}
        constants |= {"separators": string.punctuation + string.whitespace}  # other letters are compared
    body = files("toolalpaca_hf.formats").joinpath("templates", "chat_template.jinja").read_text(encoding="utf-8")
    # Strings, lists, numbers and truth values are spelt in Jinja as in JSON.
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in constants.items()}
    return "".join(f"{{%- set {name} = {text} -%}}\n" for name, text in texts.items()) + body


def build_response_template(eos_token: str) -> dict[str, Any]:
    r"""A `response_template` that reads a turn into `reasoning_content`, `tool_calls` and `content`.

    The labels are those of our own prompt and of the published one, as in [`parse_turn`]; `eos_token` ends a
    response. Input that is no JSON comes back as text.
    """
    label = r"(?:^|\n)[ \t]*(?:ASSISTANT )?"
    # What a model writes behind a label that is not its to write is no part of the turn, nor a call.
    observed = rf"\n[ \t]*(?:ASSISTANT )?Observation[ \t]*:[\s\S]*|{re.escape(eos_token)}"
    again = rf"\n[ \t]*(?:ASSISTANT )?(?:Thought|Action)[ \t]*:[\s\S]*|{observed}"
    call = rf"{label}(?i:Action)[ \t]*:[ \t]*(?P<name>[^\n]*?)[ \t]*{label}(?i:Action Input)[ \t]*:"
    return {
        "defaults": {"role": "assistant"},
        "start_anchor": ["Thought: ", "Thought:"],
        "fields": {
            "reasoning_content": {"close": eos_token, "content": "text"},
            "tool_calls": {
                "open_pattern": call,
                "close_pattern": rf"\s*(?:{observed})",
                "repeats": True,
                "content": "json",
                "content_args": {"allow_non_json": True},
                "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
            },
            "content": {
                "open_pattern": rf"{label}(?i:Response|Final Answer)[ \t]*:",
                "close_pattern": rf"\s*(?:{again})",
                "content": "text",
            },
        },
    }


def _entry(prompt: Prompt, name: str, description: str) -> str:
    return f"{name}: {description}" if isinstance(prompt, UpstreamPrompt) else tool_entry(name, description)


def _cut(text: str) -> list[str]:
    return re.split(f"[{_A}{_B}{_C}]", text)
