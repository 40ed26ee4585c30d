"""A `datasets` builder that reads the ToolAlpaca configs directly from the source files."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import datasets

from .. import __version__
from ..errors import InputError, OptionError
from ..features import FEATURES
from ..formats import Prompt, UpstreamPrompt, react_prompt
from ..sources import fetch_prompt_folder, git_blob_id
from .corpus import Corpus, Sources, config_rows, config_splits, left_out, read_corpus, resolve_sources

ROOMS = ("data", "formats", "openapi")  # whose code decides what a row is


def make_prompt(prompt: str, prompt_dir: str | Path | None = None, data_dir: str | Path | None = None) -> Prompt:
    """Create the prompt by its name: `"react"`, this package's own, or `"upstream"`, the published one.

    Upstream's `agent/` files are read from `prompt_dir`, else from `data_dir`, else downloaded.
    """
    if prompt == "react" and prompt_dir:
        raise OptionError("is for --prompt upstream", option="--prompt-dir", fix="leave it out")
    if prompt == "react":
        return react_prompt()
    if prompt == "upstream":
        return UpstreamPrompt(prompt_dir if prompt_dir is not None else fetch_prompt_folder(data_dir))
    raise OptionError(f"unknown prompt {prompt!r}", option="--prompt", fix="choose react or upstream")


def _fingerprint(sources: Sources, prompt: Prompt, selection: bool) -> str:
    """Hash of all that a build depends on: files (by content), prompt, selection, and the code of this package."""
    parts = [__version__, prompt.name, str(selection)]
    parts += [f"{role} {source.path.name} {source.blob_id}" for role, source in sources.all()]
    if isinstance(prompt, UpstreamPrompt):
        paths = [prompt.folder / name for name in ("agent_prompts.py", "tools.py")]
    else:
        paths = sorted(Path(str(files("toolalpaca_hf.formats") / "prompts")).glob("*.txt"))
    # The version identifies the code of a release only; after a change of the code, old rows must not be reused.
    package = Path(str(files("toolalpaca_hf")))
    paths += [package / "schema.py", *(path for room in ROOMS for path in sorted((package / room).glob("*.py")))]
    parts += [f"{path.name} {git_blob_id(path)}" for path in paths]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass
class ToolAlpacaConfig(datasets.BuilderConfig):
    """Sources and settings of a config; see [`resolve_sources`] and [`make_prompt`]. The source is `sample` by default
    where no file is given; `upstream_selection` is of `sft` and `chat`."""

    source: str | None = None
    train: str | Sequence[str] | None = None
    eval_simulated: str | Sequence[str] | None = None
    eval_real: str | Sequence[str] | None = None
    processed: str | Sequence[str] | None = None
    prompt: str = "react"
    prompt_dir: str | None = None
    upstream_selection: bool = False

    @property
    def named(self) -> tuple[str | Sequence[str] | None, ...]:
        """The files that take precedence over the source."""
        return (self.train, self.eval_simulated, self.eval_real, self.processed)

    @property
    def effective_source(self) -> str | None:
        """The source, by default the embedded corpus if no file is given."""
        return self.source or (None if any(self.named) else "sample")

    def resolve(self) -> tuple[Sources, Prompt]:
        """The files and the prompt, downloaded if needed."""
        sources = resolve_sources(self.effective_source, *self.named, data_dir=self.data_dir)
        return sources, make_prompt(self.prompt, self.prompt_dir, self.data_dir)

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None) -> str:
        """The config's name with a hash of all inputs, so that a changed file gets a new cache."""
        custom = "" if custom_features is None else f"-{datasets.fingerprint.Hasher.hash(custom_features)}"
        return f"{self.name}-{_fingerprint(*self.resolve(), self.upstream_selection)}{custom}"


class ToolAlpaca(datasets.GeneratorBasedBuilder):
    """Builds the configs `apis`, `trajectories`, `instructions`, `sft` and `chat` from raw JSON.

    The rows are those of [`write_repo`]. Further arguments: [`ToolAlpacaConfig`], `datasets.DatasetBuilder`.

    Example:

    ```python
    >>> builder = ToolAlpaca(config_name="sft", source="sample")  # doctest: +SKIP
    >>> builder.download_and_prepare()  # doctest: +SKIP
    ```
    """

    config: ToolAlpacaConfig
    BUILDER_CONFIG_CLASS = ToolAlpacaConfig
    BUILDER_CONFIGS: ClassVar[list[ToolAlpacaConfig]] = [
        ToolAlpacaConfig(name=name, version=datasets.Version(__version__)) for name in FEATURES
    ]
    DEFAULT_CONFIG_NAME = "sft"

    def __init__(self, cache_dir: str | None = None, config_name: str | None = None, **kwargs: Any) -> None:
        if config_name is not None and config_name not in FEATURES:
            raise OptionError(f"is {config_name!r}", option="config_name", fix=f"choose one of {', '.join(FEATURES)}")
        self._corpus: Corpus
        super().__init__(cache_dir=cache_dir, config_name=config_name, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        note = " (sample data, written for this package)" if self.config.effective_source == "sample" else ""
        return datasets.DatasetInfo(
            description=f"ToolAlpaca, config {self.config.name}{note}",
            features=FEATURES[self.config.name],
            homepage="https://github.com/tangqiaoyu/ToolAlpaca",
            license="apache-2.0",
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        sources, self._prompt = self.config.resolve()
        self._corpus = read_corpus(sources)
        splits = config_splits(self._corpus, self.config.name)
        found = [split for split in splits if any(True for _ in self._generate_examples(split=split))]
        if not found:  # `datasets` refuses to open a split of no rows
            reason = left_out(self._corpus.report.notes()) or "pass others"
            raise InputError(f"no file of this source has rows for the config {self.config.name}", fix=reason)
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in found]

    def _generate_examples(self, **kwargs: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        split, selection = kwargs["split"], self.config.upstream_selection
        for row in config_rows(self._corpus, self.config.name, split, self._prompt, selection):
            yield row["id"], row
