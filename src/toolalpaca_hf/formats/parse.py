"""Parses a model's turn, a recorded step, a rendered prompt or row; whatever the text, none of it raises."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..schema import Api, Call, Function, Segment, Step, Trajectory
from ..storage import STRICT_JSON

GET_DETAILS = "getDetails"
"""The built-in function that asks the user for a missing value; first among the tools of every prompt."""

NO_CALL = "hallucination"
"""The action that recorded runs give a step in which the model's text could not be read as a call."""

_LABEL = re.compile(
    r"(?:^|\n)[ \t]*(?:ASSISTANT )?(Action Input|Action|Observation|Response|Thought|Final Answer)[ \t]*:",
    re.IGNORECASE,
)
# As a model writes them where it begins anew; "action:" within a list of a response's own is none.
_RAN_ON = re.compile(r"\n[ \t]*(?:ASSISTANT )?(?:Thought|Action)[ \t]*:")
_LABELS = ("Action Input:", "Action:")
_LAST = {label: re.compile(rf"\A(.*)\n(?:ASSISTANT )?{label}", re.DOTALL) for label in _LABELS}


@dataclass(frozen=True)
class Turn:
    """One parsed turn of a model, which acts or responds; one that does neither could not be parsed."""

    thought: str  # the text before the first label, else that of a leading `Thought:`
    action: str | None = None  # the function's name, and its input, as written
    action_input: str | None = None
    arguments: dict[str, Any] | None = None  # the parsed input: `None` if it is not a JSON object, `{}` if it is empty
    response: str | None = None  # the answer to the user
    ran_on: bool = False  # whether the model continued behind its response with a thought or action, cut off here
    more: tuple[Call, ...] = ()  # the calls behind the first one, of models that make several in a turn
    reasoning: str = ""  # what the model reasoned apart from its message

    @classmethod
    def of_calls(cls, thought: str, calls: Sequence[Call], reasoning: str = "") -> "Turn":
        """A turn of native tool calls; without any, one that could not be parsed."""
        if not calls:
            return cls(thought, reasoning=reasoning)
        (action, text), more = (calls[0].action, calls[0].action_input), tuple(calls[1:])
        return cls(thought, action, text, parse_arguments(text), more=more, reasoning=reasoning)

    @property
    def calls(self) -> tuple[Call, ...]:
        """All its calls, in order; none if it responds or could not be parsed."""
        return (Call(self.action, self.action_input or ""), *self.more) if self.action else ()

    @property
    def well_formed(self) -> bool:
        """Whether the turn is an action that names a function and whose input is a JSON object."""
        return bool(self.action) and self.action_input is not None and self.arguments is not None


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Parse an action input; `None` if it is not a JSON object, or gives a name two different values.

    Models add text after the object; it is ignored.

    Example:

    ```python
    >>> parse_arguments('{"city": "Paris"} and so on')
    {'city': 'Paris'}
    ```
    """
    if not (text := text.strip()):
        return {}
    with suppress(ValueError, RecursionError):
        value, _ = STRICT_JSON.raw_decode(text)
        return value if isinstance(value, dict) else None
    return None


def parse_turn(text: str) -> Turn:
    r"""Parse one turn of a ReAct model, the text after `Thought:`, with either label style of the published data.

    Example:

    ```python
    >>> parse_turn(" I look it up.\nAction: find\nAction Input: {\"q\": 1}\nObservation:").arguments
    {'q': 1}
    ```
    """
    labels = list(_LABEL.finditer(text))
    thought = text[: labels[0].start()].strip() if labels else text.strip()
    parts: dict[str, str] = {}
    # Not strict: a text without labels has no end of a label's content either.
    for label, end in zip(labels, [*(label.start() for label in labels[1:]), len(text)], strict=False):
        name = label.group(1).lower()
        if name == "observation" or (name == "thought" and parts):
            break
        if name in ("response", "final answer"):
            if "action" not in parts:
                # Free text: only the label of a new thought or action ends it.
                more = _RAN_ON.search(text, label.end())
                response = text[label.end() : more.start() if more else None].strip()
                return Turn(thought, response=response, ran_on=more is not None)
            break
        content = text[label.end() : end].strip()
        if name == "thought":  # a model may repeat the label that the prompt ends in
            thought = thought or content
        else:
            parts.setdefault(name, content)
    if "action" not in parts:
        return Turn(thought)
    action_input = parts.get("action input")
    arguments = None if action_input is None else parse_arguments(action_input)
    return Turn(thought, parts["action"], action_input, arguments)


def hopeless(text: str, tokens: int, unreadable_after: int | None) -> bool:
    """Whether a turn that is being written can be stopped, `tokens` being its length so far.

    Without `unreadable_after` (see [`RolloutLimits`]) only if nothing that follows changes how the turn is parsed: a
    response has ended, and the model starts again.
    """
    if parse_turn(text).ran_on:
        return True
    if unreadable_after is None:
        return False
    names = [label.group(1).lower() for label in _LABEL.finditer(text)]
    acts = [name for name in names if name not in ("thought", "observation")]
    if "observation" in names or (not acts and tokens >= unreadable_after):
        return True
    if tokens < 2 * unreadable_after:
        return False
    # Its end is one piece, three times or more: it equals itself so many characters later.
    tail = text[-min(2 * len(text) * unreadable_after // tokens, 8192) :]
    return any(tail[period:] == tail[:-period] for period in range(1, len(tail) // 3 + 1))


def relabel(log: str, prefix: str) -> str:
    """Prefix the last `Action Input:` and `Action:` of a text: `"ASSISTANT "` as in the published prompt, or `""`."""
    for label, last in _LAST.items():
        log = last.sub(rf"\1\n{prefix}{label}", log)
    return log


def step_log(step: Step, prefix: str = "ASSISTANT ") -> str:
    """The model's text for one step, rebuilt from its fields, or its recorded `log`; labels are prefixed."""
    if step.log is not None:
        return relabel(step.log, prefix)
    return f"{step.thought}\n{prefix}Action: {step.action}\n{prefix}Action Input: {step.action_input}"


def split_log(action: str, action_input: str, text: str) -> tuple[str, str | None]:
    r"""Split a published step's third text into its thought and, if [`step_log`] cannot rebuild it, the text itself.

    Its first character, a space, belongs to the prompt.
    """
    log = text[1:]
    acts = _LAST["Action:"].match(log)
    thought = acts[1] if acts else log
    rebuilt = step_log(Step(thought, action, action_input, ""))
    return thought, None if rebuilt == relabel(log, "ASSISTANT ") else log


_NAMES = re.compile(r"\[getDetails(?:, ([^\]\n]*))?\]")
# A blank line stands only before the question: the form's own `USER:` lines follow directly on others.
_INSTRUCTION = re.compile(r"\n\n(?:USER|Question): (.*)\n(?:ASSISTANT )?Thought:[ ]?\Z", re.DOTALL)
_HINTS = re.compile(r"\nNearest tools:(?:\n- [^\n]*)+\Z")
_SCHEMA = re.compile(r"^#([\w.$-]+): ", re.MULTILINE)
_OBSERVATION_LABEL = re.compile(r"\n(?:ASSISTANT )?Observation:[ ]?\Z")
_THOUGHT_LABEL = re.compile(r"\n(?:ASSISTANT )?Thought:[ ]?\Z")


class ParsedPrompt(NamedTuple):
    """A prompt's parts: its functions (no paths, no `getDetails`) as an unnamed API, and what the user asks."""

    api: Api
    instruction: str


@dataclass(frozen=True)
class Example:
    """A training example before rendering."""

    api: Api  # the functions that its prompt shows
    trajectory: Trajectory
    trained: tuple[bool, ...]  # for each step, and last for the answer, whether the loss covers it


def _described(block: str, names: list[str], own: bool) -> list[str] | None:
    """Descriptions of the functions, each beginning with `NAME: ` and, in our own prompt, a line `Action: NAME`."""
    heads: list[re.Match[str]] = []
    for name in map(re.escape, (GET_DETAILS, *names)):
        head = re.compile(rf"^{name}: (.*)" + (rf"\nAction: {name}$" if own else ""), re.MULTILINE)
        found = head.search(block, heads[-1].end() if heads else 0)
        if found is None:
            return None
        heads.append(found)
    ends = [*(head.start() - (2 if own else 1) for head in heads[2:]), len(block)]
    return [head[1] + block[head.end() : end] for head, end in zip(heads[1:], ends, strict=False)]


def parse_prompt(text: str) -> ParsedPrompt | None:
    """Parse a rendered prompt; `None` if it is not a prompt of this package or of upstream."""
    names = _NAMES.search(text)
    asked = _INSTRUCTION.search(text, names.end()) if names else None
    if not names or not asked:
        return None
    wanted = names.group(1).split(", ") if names.group(1) else []
    block = text[: text.rfind("\n\n", 0, names.start())]
    described = _described(block, wanted, own="\nAction: getDetails\n" in block)
    if described is None:
        return None
    functions = [Function(name, "", "", words) for name, words in zip(wanted, described, strict=True)]
    components = ""
    if functions:
        # Shared schemas follow the last function: a line of introduction, on its own or glued on, then `#Name: ...`.
        last = functions[-1].description
        if schema := _SCHEMA.search(last, 1):  # a description may begin like a schema
            at = last.rfind("The detailed output format", 0, schema.start())
            at = schema.start() if at < 0 else at
            functions[-1] = Function(functions[-1].name, "", "", last[:at].removesuffix("\n"))
            components = last[at:]
    api = Api("", "", functions=functions, components=components)
    return ParsedPrompt(api, _HINTS.sub("", asked.group(1)))  # hints are the prompt's, not the user's


def parse_example(segments: Sequence[Segment], example_id: str = "") -> Example | None:
    """Parse a row `[prompt, turn, observation, ..., answer]`; a step's `log` is the model's text with plain labels.

    Returns `None` if the prompt cannot be parsed, the last turn is not an answer, or anything but turns is trained.
    """
    prompt = parse_prompt(segments[0].text) if segments else None
    if prompt is None or len(segments) % 2 or any(segment.trainable for segment in segments[::2]):
        return None
    *turns, answer = (_plain(segment.text) for segment in segments[1::2])
    final_thought, label, response = answer.partition("\nResponse: ")
    if not label:
        return None
    steps = []
    for text, observation in zip(turns, segments[2::2], strict=True):
        turn = parse_turn(text)
        observed = _THOUGHT_LABEL.sub("", observation.text).removeprefix(" ")
        steps.append(Step(turn.thought, turn.action or NO_CALL, turn.action_input or "", observed, text))
    trajectory = Trajectory(example_id, "", prompt.instruction, "", steps, final_thought, response)
    return Example(prompt.api, trajectory, tuple(segment.trainable for segment in segments[1::2]))


def _plain(turn: str) -> str:
    """A model's turn without label prefixes, leading space and observation label."""
    turn = _OBSERVATION_LABEL.sub("", turn).removeprefix(" ")
    return relabel(turn, "").replace("\nASSISTANT Response:", "\nResponse:")
