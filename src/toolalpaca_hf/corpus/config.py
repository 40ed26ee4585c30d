"""Settings of a corpus, one config for the command line, the YAML recipe and Python; and the prompts that it uses."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen

from ..agent import RolloutLimits
from ..errors import InputError, OptionError
from ..executors import Executor
from ..llm import Budget, ModelSettings
from ..storage import read_yaml
from .decontamination import PUBLISHED

# `author` writes introductions, functions and documents, `user` writes instructions and answers `getDetails`,
# `assistant` acts, `executor` plays the API.
ROLES = ("author", "user", "assistant", "executor")

LIMITS = RolloutLimits(steps=8, turn_tokens=512, tokens=4096, observation=2000, unread=2)
Positive = Annotated[int, Ge(1)]
Share = Annotated[float, Gt(0), Le(1)]
Style = Literal["short", "story"]


@dataclass(frozen=True)
class ToolsetSettings:
    """How APIs are built."""

    attempts: Positive = 4  # of each step, the first included
    continuations: Annotated[int, Ge(0)] = 4  # of a truncated answer
    introduction_tokens: Positive = 320  # of one answer
    functions_tokens: Positive = 1536
    document_tokens: Positive = 3072
    structured: bool = True  # send the JSON schemas of functions and document
    copied: Share = 0.5  # similarity from which a document is a copy of the example


@dataclass(frozen=True)
class InstructionSettings:
    """How instructions are written."""

    per_style: Positive = 5
    styles: Annotated[tuple[Style, ...], MinLen(1)] = ("short", "story")
    batch: Positive = 10  # instructions per request
    rounds: Positive = 3  # how often missing ones are requested, the first time included
    max_tokens: Positive = 2048
    documentation: Positive = 12_000  # characters shown
    details: Annotated[float, Ge(0), Le(1)] = 0.2  # share that withholds a needed value, for `getDetails`
    structured: bool = True  # send the JSON schema
    threshold: Share = 0.5  # see `Decontaminator`
    seed: int = 0


@dataclass(frozen=True)
class DecontaminationSettings:
    """What instructions and documents may not repeat."""

    evaluation: tuple[str, ...] = PUBLISHED  # also `bfcl`, `tau2`, `sample` and files; see `Screen`
    threshold: Share = 0.5  # see `Decontaminator`
    contained: Share = 0.75
    documents: Share = 0.5  # similarity from which an API is dropped as a copy of another


@dataclass(frozen=True)
class FilterSettings:
    """How strict the filters are."""

    max_tokens: Positive = 2048  # of the longest training row
    tokenizer: str | None = None  # counts them: a folder, a Hub id or `smollm2`; else they are estimated
    # Per token. English text has 4 to 5, but rows are half JSON: the published ones have a median of 3.5 with
    # SmolLM2's tokenizer, and a minimum of 2.0.
    characters: Annotated[float, Ge(1)] = 3.3
    # Whether booleans, values of up to three letters and enum values may stand for what the user said in other words,
    # such as `en` for English.
    codes: bool = True


@dataclass(frozen=True)
class SimulationSettings:
    """How instances are simulated."""

    executor: Literal["llm", "schema"] = "llm"  # who plays the API: a model, or the schema responder without one
    seed: int = 0  # of the schema responder
    attempts: Positive = 2  # how often an unreadable turn or answer is requested
    answer_tokens: Positive = 1024  # of an executor
    limits: RolloutLimits = LIMITS
    gates: FilterSettings = field(default_factory=FilterSettings)


@dataclass(frozen=True)
class RunSettings:
    """How the work is carried out; none of it changes the corpus."""

    executor: Executor = "local"
    tasks: Positive = 1  # shards of the list of APIs
    workers: Positive = 1  # tasks run at once
    concurrency: Positive = 64  # requests of each task at once
    set_aside_failed: bool = False  # finish without what an endpoint does not answer; else the next run asks again


@dataclass(frozen=True)
class CorpusConfig:
    """All settings; each field is a section of the file, where `models` holds what all roles share."""

    roles: dict[str, ModelSettings]
    toolset: ToolsetSettings = field(default_factory=ToolsetSettings)
    instructions: InstructionSettings = field(default_factory=InstructionSettings)
    screen: DecontaminationSettings = field(default_factory=DecontaminationSettings)
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    budget: Budget = field(default_factory=Budget)
    run: RunSettings = field(default_factory=RunSettings)
    slurm: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls, path: str | Path | None = None, given: Mapping[str, Mapping[str, Any]] | None = None
    ) -> "CorpusConfig":
        """Read a YAML recipe, else take the defaults; `given` values by section override it, except `None`.

        Raises:
            [`InputError`]: The recipe cannot be read, or has no sections.
            [`OptionError`]: `option` is unknown or out of range, or a role has no model.

        Example:

        ```python
        >>> config = CorpusConfig.load(given={"models": {"endpoint": "http://127.0.0.1:8000/v1", "model": "SmolLM2"}})
        >>> config.roles["user"].model, config.run.concurrency
        ('SmolLM2', 64)
        ```
        """
        from pydantic import ConfigDict, TypeAdapter, ValidationError

        from .simulation.filters import count_tokens

        where = str(path) if path is not None else None
        sections = dict(read_yaml(path, "pass a recipe")) if path is not None else {}
        for section, values in (given or {}).items():
            said = {name: value for name, value in values.items() if value is not None}
            sections[section] = _mapping(sections.get(section), where, section) | said
        shared, own = (_mapping(sections.pop(name, None), where, name) for name in ("models", "roles"))
        if unknown := sorted(map(str, set(own) - set(ROLES))):
            fix = f"the roles are {', '.join(ROLES)}"
            raise OptionError("there is no such role", file=where, option=f"roles.{unknown[0]}", fix=fix)
        simulation = sections["simulation"] = _mapping(sections.get("simulation"), where, "simulation")
        simulation["limits"] = asdict(LIMITS) | _mapping(simulation.get("limits"), where, "simulation.limits")
        sections["roles"] = roles = {role: _role(role, shared, own.get(role), where) for role in ROLES}
        local = [role for role in roles if roles[role].get("local")]
        for name in ("constrained", "dtype"):
            if name in shared and not local:
                raise OptionError("only a local model has it", file=where, option=f"models.{name}", fix="leave it out")
        if len(local) == len(ROLES):
            # It answers one question at a time; so APIs are finished one after the other.
            sections["run"] = {"concurrency": 1} | _mapping(sections.get("run"), where, "run")
        # As JSON, whose strict mode takes lists for tuples and whole numbers for floats, and nothing else for what it
        # is not. The tuple around the config hands the settings on to the dataclasses.
        adapter = TypeAdapter(tuple[CorpusConfig], config=ConfigDict(extra="forbid", strict=True))
        try:
            (config,) = adapter.validate_json(json.dumps([sections], default=str))
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            option = ".".join(str(part) for part in found["loc"][1:])
            raise OptionError(f"{found['input']!r}: {found['msg']}"[:300], file=where, option=option) from None
        if local and not (config.run.executor == "local" and config.run.tasks == config.run.workers == 1):
            problem = "a model on this machine answers in this process, one question at a time"
            fix = "leave out --executor, --tasks and --workers, or put the model behind an --endpoint"
            raise OptionError(problem, option="--local", fix=fix)
        for role, settings in config.roles.items() if config.budget.money is not None else ():
            if settings.local is None and not (settings.price.prompt or settings.price.completion):
                problem = f"a budget in money needs a price for the {role}"
                fix = "set it or models.price in the --config; for a server of your own, a tiny one will do"
                raise OptionError(problem, option=f"roles.{role}.price", fix=fix)
        count_tokens("", config.simulation.gates)  # finds a bad tokenizer before anything is asked
        return config

    def output_settings(self) -> dict[str, Any]:
        """The settings that affect the output, as JSON; endpoint, tasks and budget do not."""
        made = {name: asdict(getattr(self, name)) for name in ("toolset", "instructions", "screen", "simulation")}
        return {"roles": {role: settings.output_settings() for role, settings in self.roles.items()}, **made}


def _role(role: str, shared: dict[str, Any], own: Any, where: str | None) -> dict[str, Any]:
    """A role's settings: its own over those that all roles share."""
    own = _mapping(own, where, f"roles.{role}")
    # Its own endpoint takes the place of a local model that all share, and the other way round.
    remote, here = ("endpoint", "model"), ("local", "constrained", "dtype")
    replaced = remote if own.get("local") else here if own.get("endpoint") else ()
    settings = {name: value for name, value in shared.items() if name not in replaced} | own
    for name in remote:
        if settings.get("local") and settings.get(name):
            problem = f"the {role} has the {name} {settings[name]!r} and the local model {settings['local']!r}"
            raise OptionError(problem, file=where, option=f"roles.{role}", fix="leave one out")
        if not settings.get("local") and not settings.get(name):
            fix = f"pass --{name}, or name one under models in a --config; or pass --local, a model on this machine"
            raise OptionError(f"nobody plays the {role}", file=where, option=f"--{name}", fix=fix)
    return settings


def _mapping(found: Any, where: str | None, option: str) -> dict[str, Any]:
    if found is not None and not isinstance(found, dict):
        problem = f"holds {str(found)[:60]!r}, where names with values are expected"
        raise InputError(problem, file=where, option=option)
    return dict(found or {})


def prompt_text(name: str, package: str = "toolalpaca_hf.corpus") -> str:
    return files(package).joinpath("prompts", name).read_text(encoding="utf-8")


def prompt_hash(text: str) -> str:
    """Identifies a prompt's wording in a record."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def prompt_hashes(names: Iterable[str]) -> dict[str, str]:
    return {name: prompt_hash(prompt_text(name)) for name in names}


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON schema of an answer: `functions`, `document` or `instructions`."""
    return json.loads(files("toolalpaca_hf.corpus").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))


@cache
def prompt(name: str) -> str:
    return prompt_text(f"{name}.txt").strip()


@cache
def prompt_values(name: str) -> dict[str, Any]:
    """The contents of a JSON file among the prompts: `example`, `example_instructions` or `demands`."""
    return json.loads(prompt_text(f"{name}.json"))
