"""Settings of an annotation, with the paper's values for each tool."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import OptionError
from ...executors import Executor
from ...openapi import redact_url
from ..markers import Markers
from ..tools import ApiSource, Tool
from ..tools.paper import EMBEDDED

THRESHOLDS = (0.5, 1.0, 2.0)  # those that the paper's table of counts has a column for


@dataclass(frozen=True)
class ToolSettings:
    """Where and how often calls of a tool are sampled, and which are kept (section 2 of arXiv 2302.04761).

    A call is sampled `m` times at each of the `k` likeliest positions where the probability of its start is above τ_s,
    and kept if it lowers the loss by τ_f.
    """

    tau_s: float = 0.05
    k: int = 5
    m: int = 5
    tau_f: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.tau_s < 1:
            raise OptionError(f"is {self.tau_s}", option="--tau-s", fix="pass a number from 0 to below 1")
        if math.isnan(self.tau_f):
            raise OptionError("is no number", option="--tau-f", fix="pass one")
        if self.k < 1 or self.m < 1:
            raise OptionError(f"are {self.k} and {self.m}", option="--k and --m", fix="pass at least 1")


def settings_for(tool: str) -> ToolSettings:
    """The paper's settings of a tool, by its name in calls."""
    often = tool in ("Calculator", "MT")
    return ToolSettings(tau_s=0.0, k=20, m=10, tau_f=0.5) if often else ToolSettings()


@dataclass(frozen=True)
class AnnotationSettings:
    """What determines an annotation besides model, tools and texts.

    Args:
        tools (`dict[str, ToolSettings]`, *optional*): Settings by tool that differ from the paper's.
        call_tokens, max_tokens (`int`, *optional*): Maximum length of a call and of a text; longer ones are dropped.
        all_losses (`bool`, *optional*, defaults to `False`): Compute losses even if no threshold can be met.
        preselect (`bool`, *optional*, defaults to `False`): Preselect texts by the paper's heuristics (appendix A).
    """

    tools: dict[str, ToolSettings] = field(default_factory=dict)
    temperature: float = 1.0
    call_tokens: int = 64
    max_tokens: int = 1024
    seed: int = 0
    all_losses: bool = False
    preselect: bool = False
    timeout: float = 10.0

    def of(self, tool: str) -> ToolSettings:
        return self.tools.get(tool) or settings_for(tool)

    def floor(self, tool: str) -> float:
        """The lowest threshold of interest; losses that cannot reach it need not be computed."""
        return float("-inf") if self.all_losses else min(self.of(tool).tau_f, *THRESHOLDS)


@dataclass(frozen=True)
class AnnotationConfig:
    """Arguments of [`annotate`] and `toolalpaca toolformer annotate`.

    Args:
        source (`str`): See [`read_texts`].
        model (`str`): Folder, Hub id or `smollm2`; with `endpoint`, only its tokenizer is loaded.
        tools (`tuple[str, ...]`): See [`tools_named`], which also receives `context`.
        text_field (`str`, *optional*): The text's column; defaults to the first of `text`, `raw_content`, `content`.
        limit (`int`, *optional*): Maximum number of texts per shard, of which there are `tasks`.
        candidates (`bool`, *optional*, defaults to `False`): Save every candidate with its losses.
        dtype (`str`, *optional*, defaults to `"float32"`): Precision; the filter compares small differences.
        endpoint, served_model (`str`, *optional*): A server that returns prompt log-probabilities; the name there.
        threads (`int`, *optional*): Threads per process; defaults to an equal share of this machine.
        own (`Callable[[], Sequence[Tool]]`, *optional*): Module-level function that creates your own tools.
        thresholds (`dict[str, float]`, *optional*): Fields of [`ToolSettings`] that override `settings.tools`.
    """

    source: str
    out: str
    model: str
    tools: tuple[str, ...]
    settings: AnnotationSettings = field(default_factory=AnnotationSettings)
    markers: Markers = field(default_factory=Markers)
    split: str = "train"
    text_field: str | None = None
    limit: int | None = None
    candidates: bool = False
    dtype: str = "float32"
    endpoint: str | None = None
    served_model: str | None = None
    threads: int | None = None
    context: dict[str, Any] = field(default_factory=dict)
    api: ApiSource | None = None
    own: Callable[[], Sequence[Tool]] | None = None
    thresholds: dict[str, Any] = field(default_factory=dict)
    executor: Executor = "local"
    tasks: int = 1
    workers: int | None = None
    slurm: dict[str, Any] | None = None
    progress: bool = True

    def deciding(self) -> dict[str, Any]:
        """The settings that determine the result, as in `config.json`."""
        fields = asdict(self)
        for name in ("out", "threads", "thresholds", "executor", "tasks", "workers", "slurm", "progress"):
            del fields[name]
        if self.api:  # an address may hold a key
            document, simulator = redact_url(_absolute(self.api.document)), redact_url(self.api.simulator)
            fields["api"] |= {"document": document, "simulator": simulator}
        if self.own:
            fields["own"] = f"{self.own.__module__}.{self.own.__qualname__}"  # type: ignore[attr-defined]  # a function
        return json.loads(json.dumps({**fields, "source": _absolute(self.source)}))

    def absolute(self) -> "AnnotationConfig":
        """A copy with absolute paths, for a worker in another folder."""
        # On a server, a model's name is not a path.
        paths = ("corpus", "translation_model", *(() if self.context.get("qa_endpoint") else ("qa_model",)))
        places: dict[str, Any] = {name: _absolute(getattr(self, name)) for name in ("source", "model")}
        if api := self.api:
            credentials = api.credentials and _absolute(api.credentials)
            places["api"] = replace(api, document=_absolute(api.document), credentials=credentials)
        places["context"] = {name: _absolute(v) if name in paths else v for name, v in self.context.items()}
        served = self.served_model or self.model
        return replace(self, out=str(Path(self.out).absolute()), served_model=served, **places)


def _absolute(source: str) -> str:
    known = ("smollm2", EMBEDDED)  # whatever a folder is called
    return str(Path(source).absolute()) if source not in known and Path(source).exists() else source
