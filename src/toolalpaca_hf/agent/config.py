"""Settings of a run of rollouts: the same fields in a recipe, on the command line and in Python."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge

from ..errors import OptionError

Ended = Literal["answered", "steps", "tokens", "time", "unread", "failed"]
"""Why a rollout ended: with a response, at the limit on steps, tokens, time or unparsed turns, or on a failure."""

_ENDED = {name: f"out of {name}" for name in ("steps", "tokens", "time")}
_ENDED |= {"unread": "gave up: turns without action or response", "not run": "not run yet"}


def ended_words(ended: str) -> str:
    """Why a rollout ended, in words."""
    return _ENDED.get(ended, ended)


_Count = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class RolloutLimits:
    """Limits of one rollout; the one that ended it is recorded."""

    steps: _Count = 10  # calls, including those that could not be parsed
    turn_tokens: _Count = 256  # of one turn
    tokens: _Count = 2048  # generated in all
    seconds: Annotated[float, Ge(0)] = 600.0  # wall time, checked between turns
    observation: _Count = 4000  # characters; longer ones are excerpted
    unread: _Count | None = None  # turns in a row without action or response; by default an observation says so
    # Ends a turn of a local ReAct model that is unlikely to act or respond: without a label after so many tokens, with
    # an observation of its own, or in a loop. It may cut off a late action, so published settings leave it off.
    unreadable_after: _Count | None = None


def setting(default: Any, help: str) -> Any:
    """A field with its help for the command line."""
    return field(default=default, metadata={"help": help})


@dataclass
class RolloutConfig:
    """Model, tools and limits of a run, each an option of `toolalpaca run` and `evaluate`; help is in the metadata.

    A number that is too small, or fields that contradict each other, are an [`OptionError`].
    """

    model_name_or_path: str | None = setting(None, "Folder, Hub id or smollm2; of an endpoint, its name there.")
    endpoint: str | None = setting(None, "OpenAI-compatible server, http://127.0.0.1:8000/v1.")
    style: Literal["react", "chat"] = setting("react", "Actions as text, or native tool calls.")
    prompt: Literal["react", "upstream"] = setting("react", "upstream for ToolAlpaca-7B and -13B.")
    prompt_dir: str | None = setting(None, "Folder with upstream's agent/ files; downloaded otherwise.")
    tool_hints: int | None = setting(None, "Nearest functions named behind an instruction; as in training by default.")
    constrained: bool = setting(False, "Local ReAct models: action names only of functions that exist.")
    batch_size: int = setting(32, "Rollouts at once, local model.")
    concurrency: int = setting(8, "Rollouts at once, endpoint.")
    temperature: float = setting(0.0, "0 is greedy.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting("auto", "Of a local model; auto is fastest.")
    seed: int = setting(0, "Of sampling, and of the embedded simulator.")
    simulator: str = setting("embedded", "embedded, or the URL of a simulator.")
    responder: Literal["schema", "llm", "replay"] = setting("schema", "Of the embedded simulator.")
    store: str | None = setting(None, "SQLite file of the embedded simulator's answers.")
    faults: str | None = setting(None, "Let the embedded simulator fail: a rate such as 0.2, or a file.")
    real: bool = setting(False, "Call the documents' own servers.")
    confirm_unsafe: bool = setting(False, "Ask before each real call that is not GET, HEAD or OPTIONS; MCP's all are.")
    credentials: str | None = setting(None, "For real calls: file of NAME=VALUE lines.")
    allow_private: list[str] = field(default_factory=list, metadata={"help": "HOST:PORT that may be private."})
    tools: list[str] = field(default_factory=list, metadata={"help": "Show a built-in tool: datetime, retrieval."})
    max_tools: int | None = setting(20, "Functions of an API shown: the nearest to the instruction.")
    user_endpoint: str | None = setting(None, "Server of a model that answers getDetails.")
    user_model: str | None = setting(None, "Its name there.")
    limit: int | None = setting(None, "Only the first so many instructions; a higher limit later goes on from there.")
    max_steps: int = setting(RolloutLimits.steps, "Actions of one rollout.")
    max_new_tokens: int = setting(RolloutLimits.turn_tokens, "Tokens of one turn.")
    max_tokens: int = setting(RolloutLimits.tokens, "Tokens of one rollout.")
    max_seconds: float = setting(RolloutLimits.seconds, "Wall time of one rollout.")
    max_unread: int | None = setting(None, "Turns in a row without action or response.")
    unreadable_after: int | None = setting(None, "Tokens after which a local ReAct turn without a label is given up.")

    def __post_init__(self) -> None:
        counts = ("batch_size", "concurrency", "max_tools", "limit", "max_steps", "max_new_tokens", "max_tokens")
        self._at_least(1, *counts, "max_unread", "unreadable_after")
        self._at_least(0, "tool_hints", "temperature", "max_seconds")
        if bool(self.user_endpoint) != bool(self.user_model):
            raise OptionError("a model that plays the user needs both", option="--user-endpoint and --user-model")
        if self.style not in ("react", "chat"):
            raise OptionError(f"is {self.style!r}", option="style", fix="pass react or chat")
        react = self.style == "react"
        self.refuse_unused(
            ("constrained", "a local model and --style react", react and not self.endpoint),
            ("credentials", "real calls", self.real),
            ("store", "the embedded simulator", self.simulator == "embedded"),
            ("prompt_dir", "--prompt upstream", self.prompt == "upstream"),
            ("prompt", "--style react", react),
            ("tool_hints", "--style react and --prompt react", react and self.prompt == "react"),
        )

    def refuse_unused(self, *fields: tuple[str, str, bool]) -> None:
        """Refuse fields that are set and would be ignored, each with what it is for and whether that is the case."""
        for name, what, used in fields:
            if not used and getattr(self, name) not in (None, type(self).__dataclass_fields__[name].default):
                raise OptionError(f"is for {what}", option=name, fix="leave it out")

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            if (value := getattr(self, name)) is not None and not value >= least:  # NaN is not
                raise OptionError(f"is {value}", option=name, fix=f"pass {least} or more")

    @property
    def limits(self) -> RolloutLimits:
        most = (self.max_steps, self.max_new_tokens, self.max_tokens, self.max_seconds)
        return RolloutLimits(*most, unread=self.max_unread, unreadable_after=self.unreadable_after)
