"""Options that more than one command has, and the config objects that are made of them."""

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..agent import RolloutConfig
from ..errors import OptionError

if TYPE_CHECKING:
    from ..toolformer import ApiSource, Tool

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
MODEL, CALLS, LIMITS, TOOLS, JUDGE, WHAT = "Model", "What calls lead to", "Limits", "Tools", "Judge", "What is scored"
# Options of a rollout whose names are not their field's, and where the help lists those that are not about the model.
_NAMES = {"model_name_or_path": "--model", "tools": "--tool"}
_PANELS = {
    CALLS: (
        "simulator responder store faults real confirm_unsafe credentials allow_private tools max_tools "
        "user_endpoint user_model"
    ).split(),
    JUDGE: "judge_endpoint judge_model judge_prompt judge_concurrency judge_repeats".split(),
    WHAT: "data_dir labels trials vary_user exclude_flagged".split(),
    None: ["overwrite"],
    LIMITS: "max_steps max_new_tokens max_tokens max_seconds max_unread unreadable_after".split(),
}


def option(help: str, panel: str | None = None, *names: str, **more: Any) -> Any:
    """A `typer.Option`: its help, where the help lists it, and its names if not the parameter's."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


AllowPrivate = Annotated[list[str] | None, option("HOST:PORT that may have a private address.", CALLS)]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Dtype = Annotated[Precision, option("Of a local model; auto is what computes fastest here.", MODEL)]
Json = Annotated[bool, option("Print JSON on standard output, and nothing else there.", None, "--json")]
Overwrite = Annotated[bool, option("Begin anew: remove what an earlier call wrote to --out.", None, "--overwrite")]


def say_json(value: Any) -> None:
    """Print a value as JSON, for other programs; what is not JSON is printed as text."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def refuse_others(context: typer.Context, used: Collection[str], problem: str) -> None:
    """Refuse what stands on the command line beside the parameters that are `used`, as it would be ignored."""
    for param in context.command.params:
        origin = context.get_parameter_source(str(param.name))
        if origin and origin.name == "COMMANDLINE" and param.name not in used:
            names = param.secondary_opts if context.params[str(param.name)] is False else param.opts
            raise OptionError(problem, option=names[0], fix="leave it out")


def script(name: str) -> str:
    """The command that starts a script of `dataset_scripts/`, in a checkout or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    files = [place / "dataset_scripts" / name for place in (Path(), package, package.parents[1])]
    return f"python {quote(str(next(filter(Path.is_file, files), files[0])))}"


def check_models(*names: str) -> None:
    """Refuse names that can be no model before torch is loaded, which takes longer than the answer."""
    from ..checkpoints import check_model

    for name in names:
        check_model(name)


def with_options(
    name: str, kind: Any, leave_out: Sequence[str] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a dataclass, which says it in its type or in its metadata's help."""
    added = []
    for field in (field for field in fields(kind) if field.name not in leave_out):
        annotation: Any = field.type
        default = defaults.get(field.name, inspect.Parameter.empty if field.default is MISSING else field.default)
        if help := field.metadata.get("help"):
            panel = next((panel for panel, names in _PANELS.items() if field.name in names), MODEL)
            shown = _NAMES.get(field.name, f"--{field.name.replace('_', '-')}")
            asked = option(help, panel if issubclass(kind, RolloutConfig) else None, shown)
            if field.metadata.get("argument"):
                annotation, asked = list[str], typer.Argument(help=help)
            elif field.default_factory is not MISSING:  # a list
                annotation, default = annotation | None, None
            annotation = Annotated[annotation, asked]
        added.append(inspect.Parameter(field.name, _KEYWORD, default=default, annotation=annotation))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.name != name]

        @wraps(command)
        def wrapper(**given: Any) -> None:
            values = {parameter.name: given.pop(parameter.name) for parameter in added}
            command(**{name: kind(**{field: value for field, value in values.items() if value is not None})}, **given)

        wrapper.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # what typer reads
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
        return wrapper

    return decorate


@dataclass(frozen=True)
class ToolOptions:
    """The tools that a command of `toolalpaca toolformer` is to open."""

    tools: Annotated[str, option("Some of calculator, calendar, qa, wikisearch, mt, by commas.", TOOLS)] = ""
    date: Annotated[str | None, option("The calendar's, 2023-01-30; else today's.", TOOLS)] = None
    corpus: Annotated[str | None, option("For wikisearch: JSONL, Parquet, text, a folder; embedded.", TOOLS)] = None
    qa_model: Annotated[str | None, option("Answers questions; with --qa-endpoint, its name there.", TOOLS)] = None
    qa_endpoint: Annotated[str | None, option("OpenAI-compatible server.", TOOLS)] = None
    qa_chat: Annotated[bool, option("Chat completions instead of raw ones.", TOOLS, "--qa-chat")] = False
    translation_model: Annotated[str | None, option("Folder or Hub id of an NLLB model.", TOOLS)] = None
    api: Annotated[str | None, option("File or URL of an OpenAPI document, whose functions are tools.", TOOLS)] = None
    simulator: Annotated[str, option("embedded, or the URL of a simulator.", CALLS)] = "embedded"
    real: Annotated[bool, option("Call the documents' own servers.", CALLS, "--real")] = False
    credentials: Annotated[Path | None, option("With --real: file of NAME=VALUE lines.", CALLS)] = None
    allow_private: AllowPrivate = None
    timeout: Annotated[float, option("Seconds for one call.", TOOLS, min=0.001)] = 30.0

    def __post_init__(self) -> None:
        if self.credentials and not self.real:
            raise OptionError("go to real servers only", option="--credentials", fix="add --real, or leave it out")
        if self.real and not self.api:
            raise OptionError("calls the servers of a document", option="--real", fix="name it with --api")

    @property
    def source(self) -> "ApiSource | None":
        """The API that is named, if one is."""
        if not self.api:
            return None
        from ..toolformer import ApiSource

        file = str(self.credentials) if self.credentials else None
        return ApiSource(self.api, self.simulator, self.real, file, tuple(self.allow_private or ()), self.timeout)

    @property
    def context(self) -> dict[str, Any]:
        """What was said of the tools' own settings, as `tools_named` takes it."""
        names = ("date", "corpus", "qa_model", "qa_endpoint", "qa_chat", "translation_model")
        return {name: value for name in names if (value := getattr(self, name))}

    @contextmanager
    def opened(self) -> Iterator[dict[str, "Tool"]]:
        """The tools for a `with` block, each of which can be used."""
        from ..toolformer import open_tools

        with open_tools(self.tools, self.source, **self.context) as found:
            for tool in found.values():
                tool.check()
            yield found
