"""Writes the dataset card: YAML metadata for `load_dataset` and the Hub, then Markdown."""

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from datasets import DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from .. import __version__
from ..errors import InputError, NotFoundError
from ..formats import Prompt
from ..report import markdown_table
from ..sources import COMMIT, REPO
from .corpus import Sources
from .report import Report

DEFAULT_CONFIG = "sft"
LISTED = 20  # rows set aside that the card names; `report.json` names all

_NOTES = tomllib.loads((files("toolalpaca_hf.data") / "card_notes.toml").read_text(encoding="utf-8"))
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    infos: Mapping[str, DatasetInfo], sources: Sources, report: Report, prompt: Prompt, selection: bool
) -> str:
    """Render `README.md` of the dataset repo; parameters as in [`write_repo`]."""
    splits = {name: info.splits or {} for name, info in infos.items()}
    sample = any(source.origin == "sample" for _, source in sources.all())
    tags = ["tool-use", "function-calling", "agents", "toolalpaca", "react", *(["sample-data"] if sample else [])]
    notes = _NOTES["sample" if sample else "real"]
    default = DEFAULT_CONFIG if DEFAULT_CONFIG in infos else next(iter(infos))
    counts = [(name, split, part.num_examples) for name, parts in splits.items() for split, part in parts.items()]
    files = [(role, file.path.name, f"`{file.blob_id}`", file.origin, file.note) for role, file in sources.all()]
    fields = {
        "title": "ToolAlpaca, sample data" if sample else "ToolAlpaca",
        "about": " ".join(notes["about"].split()).format(repo=REPO, commit=COMMIT),
        "configs": markdown_table(("config", "split", "rows"), counts),
        "default": default,
        "split": next(iter(splits[default])),
        "prompt": prompt.name,
        "selection": _NOTES["selection"]["upstream" if selection else "all"],
        "licence": notes["licence"],
        "sources": markdown_table(("used as", "file", "git blob", "origin", "note"), files),
    }
    pretty_name = "ToolAlpaca (sample data)" if sample else "ToolAlpaca"
    about = {"pretty_name": pretty_name, "tags": tags, "license": "apache-2.0"}
    return filled_card("dataset-toolalpaca", infos, default, fields, report, "config", **about)


def filled_card(
    template: str,
    infos: Mapping[str, DatasetInfo],
    default: str,
    fields: Mapping[str, str],
    report: Report,
    what: str,
    **about: Any,
) -> str:
    """A template filled in, behind the metadata of its configs; `what` heads the first column of the counts."""
    splits = {name: info.splits or {} for name, info in infos.items()}
    examples = sum(part.num_examples for parts in splits.values() for part in parts.values())
    size = next((name for limit, name in SIZES if examples < limit), "1M<n<10M")
    data = DatasetCardData(language=["en"], task_categories=["text-generation"], size_categories=[size], **about)
    DatasetInfosDict(infos).to_dataset_card_data(data)
    configs = {
        name: {"data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in parts]}
        for name, parts in splits.items()
    }
    MetadataConfigs(configs | {default: configs[default] | {"default": True}}).to_dataset_card_data(data)
    counts = [tuple(row.values()) for row in report.counts()]
    common = {
        "counts": markdown_table((what, "from", "rows in", "kept", "set aside"), counts),
        "set_aside": _set_aside(report),
        "version": version_text(),
    }
    return f"---\n{data.to_yaml()}\n---\n{fill_template(card_template(template), {**fields, **common})}"


def version_text() -> str:
    """This package's version for a card, with the documentation's address where the package's metadata has one."""
    urls = dict(url.split(", ", 1) for url in metadata("toolalpaca-hf").get_all("Project-URL") or ())
    site = urls.get("Documentation")
    return f"{__version__} ([documentation]({site}))" if site else __version__


PLACEHOLDER = re.compile(r"\[\[(\w+)\]\]")


def card_template(name: str) -> str:
    """The text of the template `model_cards/NAME.md`, with placeholders `[[field]]`."""
    # A wheel has the folder inside the package; a checkout has it next to `src/`.
    inside = files("toolalpaca_hf") / "model_cards"
    folder = Path(str(inside)) if inside.is_dir() else Path(__file__).parents[3] / "model_cards"
    path = folder / f"{name}.md"
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.md")))
        raise NotFoundError(f"no card template {name!r}", fix=f"pass one of {names}")
    return path.read_text(encoding="utf-8")


def fill_template(template: str, fields: Mapping[str, str | None]) -> str:
    """Fill a template's placeholders; values are not expanded again. A missing value is an [`InputError`]."""
    missing = [name for name in dict.fromkeys(PLACEHOLDER.findall(template)) if fields.get(name) is None]
    if missing:
        raise InputError(f"the card has no value for {', '.join(missing)}", fix="finish the run that measures it")
    return PLACEHOLDER.sub(lambda match: str(fields[match[1]]), template)


def _set_aside(report: Report) -> str:
    if not report.rows:
        return "No row was set aside."
    lines = [(row.config, row.file, row.row, row.reason) for row in report.rows[:LISTED]]
    rest = len(report.rows) - len(lines)
    more = f"\n\n{rest} more are in `report.json`." if rest else ""
    return markdown_table(("config", "from", "row", "reason"), lines) + more
