"""The words the whole package speaks: an API, a step, a trajectory, a segment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

HINT_MARK = "\nHint: "  # between an instruction and the hint its author left for the simulating models
REDACTED = "***"  # stands for a credential: no row carries the value, and it matches any when calls are compared


@dataclass(frozen=True)
class Segment:
    """A piece of text and whether the model is trained on it: whether the loss covers it.

    Example:

    ```python
    >>> Segment("ASSISTANT Observation: 21 degrees", trainable=False).trainable
    False
    ```
    """

    text: str
    trainable: bool


@dataclass(frozen=True)
class Function:
    """One callable operation of an API."""

    name: str  # what a model writes after `Action:`
    path: str  # template, `/facts/{id}`
    method: str  # of HTTP, lower case
    description: str  # in words, as shown to the model after `name: `


@dataclass(frozen=True)
class Api:
    """An API as the corpora describe it: one row of the `apis` config. Texts are as published; empty where absent."""

    id: str  # `SPLIT/API-SLUG`; a second API of the same name in a split has the slug `API-SLUG-2`
    name: str
    description: str = ""
    link: str = ""
    category: str = ""
    introduction: str = ""
    function_list: str = ""  # the published `Functions` text, an intermediate product of corpus building
    documentation: dict[str, Any] = field(default_factory=dict)  # the OpenAPI document; `{"text": ...}` if not JSON
    nl_documentation: str = ""  # of the whole API, in words
    functions: list[Function] = field(default_factory=list)  # in the order of `Function_Projection`
    components: str = ""  # the shared output schemas in words
    authentication: list[str] = field(default_factory=list)  # names of the credentials; never their values
    external_tools: list[str] = field(default_factory=list)  # its instructions may need: `retrieval`, `datetime`


@dataclass(frozen=True)
class Call:
    """A call, golden or made: an action and its input as written (JSON text)."""

    action: str
    action_input: str


@dataclass(frozen=True)
class Step:
    """One action of a trajectory. A turn with several calls is as many steps, in the order in which they ran."""

    thought: str  # what the model writes before it acts; empty for a call beside another
    action: str
    action_input: str  # as written: JSON text, empty or not valid at times
    observation: str  # what came back
    log: str | None = None  # the model's text as recorded, where [`formats.step_log`] cannot rebuild it
    parallel: bool = False  # of the turn of the step before: made before the model saw that step's observation
    # What the model reasoned apart from its message (`reasoning_content`), at the first step of a turn. It is the
    # thought too where the message says nothing.
    reasoning: str = ""


def turn_starts(steps: Sequence[Step]) -> list[int]:
    """The index of the first step of each step's turn. The model had seen the observations before that one.

    Example:

    ```python
    >>> turn_starts([Step("", "f", "{}", ""), Step("", "g", "{}", "", parallel=True), Step("", "h", "{}", "")])
    [0, 0, 2]
    ```
    """
    return list(accumulate(range(len(steps)), lambda start, place: start if steps[place].parallel else place))


@dataclass(frozen=True)
class Trajectory:
    """One instance: one row of the `trajectories` config."""

    id: str  # `SPLIT/API-SLUG/INDEX`, the index being the instance's place under its API in the source file
    api: str  # id of the API (`SPLIT/API-SLUG`)
    instruction: str  # what the user asks, without the hint
    hint: str  # that followed the instruction; empty where absent
    steps: list[Step]  # oldest first; may be empty
    final_thought: str | None  # before the response; None where the source has none
    response: str  # the answer to the user


@dataclass(frozen=True)
class Instruction:
    """One evaluation instruction: one row of the `instructions` config."""

    id: str  # `SPLIT/API-SLUG/INDEX`, the index being its place in the API's `Instructions`
    api: str  # id of the API
    instruction: str  # what the user asks
    golden_calls: list[Call]  # that solve it, in order; credentials are `***`


# The splits of each config of the `toolalpaca` dataset repo.
SPLITS: dict[str, tuple[str, ...]] = {
    "apis": ("train", "eval_simulated", "eval_real"),
    "trajectories": ("train",),
    "instructions": ("eval_simulated", "eval_real"),
    "sft": ("train",),
    "chat": ("train",),
}
