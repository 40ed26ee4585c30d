"""Writes a Hub-ready dataset repo, ToolAlpaca's or Toolformer's, to a folder: Parquet, dataset card and report."""

import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import metadata
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo, Features, Json, List, SplitDict, SplitInfo, Value
from datasets.info import DatasetInfosDict
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from .. import __version__
from ..errors import InputError, NotFoundError, OptionError, SettingsMismatchError
from ..features import FEATURES
from ..formats import Prompt
from ..report import markdown_table, visible
from ..sources import COMMIT, REPO
from ..storage import differences, file_lock
from .corpus import Report, Sources, config_rows, config_splits, left_out, read_corpus

REPORT_FILE = "report.json"
WRITTEN_BY = "toolalpaca-hf"  # in the report file, says that a folder is an earlier build and may be replaced

DEFAULT_CONFIG = "sft"
LISTED = 20  # rows set aside that the card names; `report.json` names all
_NOTES = tomllib.loads((files("toolalpaca_hf.data") / "card_notes.toml").read_text(encoding="utf-8"))
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
PLACEHOLDER = re.compile(r"\[\[(\w+)\]\]")

SHARD_BYTES = 500_000_000
SHARD_ROWS = 20_000  # of one Parquet file of Toolformer's: what is in memory at once

_TEXT = Value("string")
_CALL = dict.fromkeys(("tool", "input", "result"), _TEXT) | {"position": Value("int64")}
_CALL |= dict.fromkeys(("l_minus", "l_plus", "gain"), Value("float64"))
_ROW = dict.fromkeys(("id", "text", "annotated"), _TEXT) | {"calls": List(_CALL), "outcome": _TEXT, "meta": Json()}
TOOLFORMER_FEATURES = {"annotated": Features(_ROW), "sft": FEATURES["sft"], "plain": FEATURES["sft"]}
"""`Features` of each config; `sft` is that of the ToolAlpaca repo, and `plain` its twin without calls."""


@dataclass(frozen=True)
class Build:
    """The result of [`write_repo`]."""

    folder: Path
    report: Report  # what was read, kept and skipped
    split_rows: dict[str, dict[str, int]]  # by config and split

    def summary(self) -> str:
        """Rows by config and split, then counts of all rows read, as text for a terminal."""
        counts, rows = self.report.counts(), self.report.rows
        first = 2 + max(12, *map(len, self.split_rows), *(len(line["config"]) for line in counts))
        lines = [f"{'config':<{first}}{'split':<16}{'rows':>8}"]
        for config, splits in self.split_rows.items():
            lines += [f"{config:<{first}}{split:<16}{rows:>8}" for split, rows in splits.items()]
        width = max([30, *(len(line["file"]) + 2 for line in counts)])
        heading = {"config": "what", "file": "from", "rows_in": "rows in", "kept": "kept", "set_aside": "set aside"}
        row = f"{{config:<{first}}}{{file:<{width}}}{{rows_in:>9}}{{kept:>9}}{{set_aside:>11}}"
        lines += ["", *(row.format(**line) for line in (heading, *counts))]
        lines += [summary] if (summary := left_out(self.report.notes())) else []
        left = (" ".join(f"set aside: {row.file}, {row.row}: {row.reason}".split()) for row in rows[:10])
        lines += map(visible, left)
        lines += [f"... and {len(rows) - 10} more"] if len(rows) > 10 else []
        lines += ["", f"written to {self.folder}; what was set aside is in {self.folder / 'report.json'}"]
        return "\n".join(lines)


def write_repo(
    sources: Sources, out: str | Path, prompt: Prompt, selection: bool = False, overwrite: bool = False
) -> Build:
    """Write the dataset repo of a corpus.

    It is built in a temporary folder and renamed, so `out` is never incomplete. The output is deterministic.

    Args:
        out (`str` or `Path`): A new or empty folder, or an earlier build.
        prompt ([`Prompt`]): Layout of the `sft` rows, from [`make_prompt`].
        selection (`bool`, *optional*, defaults to `False`): Apply upstream's selection to `sft` and `chat`.
        overwrite (`bool`, *optional*, defaults to `False`): Replace an earlier build from other sources.

    Raises [`InputError`] if a source has another layout or no example is left, and as [`check_replaceable`].
    """
    files = [
        {"role": role, "file": file.path.name, "git_blob": file.blob_id, "origin": file.origin, "note": file.note}
        for role, file in sources.all()
    ]
    out, settings = Path(out), {"prompt": prompt.name, "upstream_selection": selection, "sources": files}
    check_replaceable(out, settings, overwrite)
    corpus = read_corpus(sources)
    with folder_in_place(out) as folder:
        infos: dict[str, DatasetInfo] = {}
        for config, features in FEATURES.items():
            sizes: dict[str, tuple[int, int, int]] = {}
            for split in config_splits(corpus, config):
                table = _table(config_rows(corpus, config, split, prompt, selection, corpus.report), features)
                if config == "sft" and not len(table):
                    raise InputError("no training example is left", fix="drop --upstream-selection, or add a file")
                if len(table):  # `datasets` refuses to open a split of no rows
                    sizes[split] = _write_shards(table, folder / config, split)
            if sizes:
                infos[config] = _info(features, sizes)
        if not infos:
            raise InputError("every row was set aside, so there is nothing to write", fix="check the source files")
        card = dataset_card(infos, sources, corpus.report, prompt, selection)
        write_card_and_report(folder, card, settings, corpus.report)
    return Build(out, corpus.report, _split_rows(infos))


def write_toolformer_repo(
    configs: Mapping[str, Iterable[Mapping[str, Any]]],
    out: str | Path,
    report: Report,
    settings: Mapping[str, Any],
    overwrite: bool = False,
) -> Build:
    """Write the dataset repo of annotated texts, as [`write_repo`] does; at most a shard is in memory.

    Args:
        configs (`Mapping[str, Iterable[Mapping]]`): Rows by config, as laid out in `TOOLFORMER_FEATURES`.
        report ([`Report`]): Counts of what was read; complete once the rows are consumed.
        settings (`Mapping`): How the rows were made: `source`, `markers`, and anything else for the card.
    """
    out = Path(out)
    check_replaceable(out, settings, overwrite)
    with folder_in_place(out) as folder:
        infos = {name: _write_config(name, rows, folder) for name, rows in configs.items()}
        counts = {name: splits["train"] for name, splits in _split_rows(infos).items()}
        if not counts["sft"]:
            fix = "annotate more of them, with a larger model or a lower --tau-f, or build from --source gsm8k"
            raise InputError("no text holds a call to train on", file=settings.get("source"), fix=fix)
        values = [(name, json.dumps(value)) for name, value in settings.items()]
        fields = {
            "source": str(settings.get("source", "")),
            "configs": markdown_table(("config", "rows"), list(counts.items())),
            "settings": markdown_table(("setting", "value"), values),
        }
        about = {"pretty_name": "Toolformer", "tags": ["tool-use", "toolformer"]}
        card = filled_card("dataset-toolformer", infos, "sft", fields, report, "what", **about)
        write_card_and_report(folder, card, settings, report)
    return Build(out, report, _split_rows(infos))


def _write_config(name: str, rows: Iterable[Mapping[str, Any]], folder: Path) -> DatasetInfo:
    rest, count, size, written, full = iter(rows), 0, 0, 0, True
    (folder / name).mkdir()
    while full:
        table = _table(islice(rest, SHARD_ROWS), TOOLFORMER_FEATURES[name])
        full = len(table) == SHARD_ROWS
        if len(table) or not count:
            written += _write_parquet(table, folder / name / f"train-{count // SHARD_ROWS:05d}.parquet")
            count, size = count + len(table), size + table.data.nbytes
    return _info(TOOLFORMER_FEATURES[name], {"train": (size, count, written)})


def _table(rows: Iterable[Mapping[str, Any]], features: Features) -> Dataset:
    found = list(rows)
    return Dataset.from_dict({name: [row[name] for row in found] for name in features}, features=features)


def _split_rows(infos: Mapping[str, DatasetInfo]) -> dict[str, dict[str, int]]:
    found = {name: info.splits or {} for name, info in infos.items()}
    return {name: {split: part.num_examples for split, part in splits.items()} for name, splits in found.items()}


def _write_shards(table: Dataset, folder: Path, split: str) -> tuple[int, int, int]:
    """Write a split; returns bytes in memory, rows, and bytes of files."""
    folder.mkdir(exist_ok=True)
    count = max(1, min(len(table), -(-table.data.nbytes // SHARD_BYTES)))
    shards = [table.shard(count, index, contiguous=True) for index in range(count)] if count > 1 else [table]
    paths = [folder / f"{split}-{index:05d}-of-{count:05d}.parquet" for index in range(count)]
    return table.data.nbytes, len(table), sum(map(_write_parquet, shards, paths))


def _write_parquet(table: Dataset, path: Path) -> int:
    """Write a file without a progress bar; returns its size."""
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        table.to_parquet(path)
    finally:
        if shown:
            enable_progress_bars()
    return path.stat().st_size


def _info(features: Features, sizes: Mapping[str, tuple[int, int, int]]) -> DatasetInfo:
    """What a card says of a config; `sizes` are those of [`_write_shards`] by split."""
    splits = SplitDict(dataset_name=WRITTEN_BY)
    for split, (size, rows, _) in sizes.items():
        splits.add(SplitInfo(split, num_bytes=size, num_examples=rows))
    memory, _, files = map(sum, zip(*sizes.values(), strict=True))
    return DatasetInfo(features=features, splits=splits, download_size=files, dataset_size=memory)


def write_card_and_report(folder: Path, card: str, settings: Mapping[str, Any], report: Report) -> None:
    """Write `README.md` and, with the names of all files, `report.json`."""
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    content = {"written_by": WRITTEN_BY, "version": __version__, **settings, **report.as_dict()}
    text = json.dumps(content | {"files": [*written, REPORT_FILE]}, ensure_ascii=False, indent=2) + "\n"
    (folder / REPORT_FILE).write_text(text, encoding="utf-8", newline="\n")


def dataset_card(
    infos: Mapping[str, DatasetInfo], sources: Sources, report: Report, prompt: Prompt, selection: bool
) -> str:
    """Render `README.md` of the dataset repo; parameters as in [`write_repo`]."""
    rows = _split_rows(infos)
    sample = any(source.origin == "sample" for _, source in sources.all())
    tags = ["tool-use", "function-calling", "agents", "toolalpaca", "react", *(["sample-data"] if sample else [])]
    notes = _NOTES["sample" if sample else "real"]
    default = DEFAULT_CONFIG if DEFAULT_CONFIG in infos else next(iter(infos))
    counts = [(name, split, count) for name, splits in rows.items() for split, count in splits.items()]
    files = [(role, file.path.name, f"`{file.blob_id}`", file.origin, file.note) for role, file in sources.all()]
    fields = {
        "title": "ToolAlpaca, sample data" if sample else "ToolAlpaca",
        "about": " ".join(notes["about"].split()).format(repo=REPO, commit=COMMIT),
        "configs": markdown_table(("config", "split", "rows"), counts),
        "default": default,
        "split": next(iter(rows[default])),
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
    rows = _split_rows(infos)
    examples = sum(sum(splits.values()) for splits in rows.values())
    size = next((name for limit, name in SIZES if examples < limit), "1M<n<10M")
    data = DatasetCardData(language=["en"], task_categories=["text-generation"], size_categories=[size], **about)
    DatasetInfosDict(infos).to_dataset_card_data(data)
    configs = {
        name: {"data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in splits]}
        for name, splits in rows.items()
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
    rest = len(report.rows) - LISTED
    more = f"\n\n{rest} more are in `report.json`." if rest > 0 else ""
    return markdown_table(("config", "from", "row", "reason"), report.rows[:LISTED]) + more


def check_replaceable(out: Path, made_of: Mapping[str, Any] | None = None, overwrite: bool = False) -> None:
    """Check that `out` holds nothing but a build, of the settings `made_of` unless there are none or with `overwrite`.

    Raises [`OptionError`] if it holds other files, [`SettingsMismatchError`] if a dataset would be lost.
    """
    report: dict[str, Any] = {}
    try:
        target = out.resolve()
        moved = target.with_name(f".{target.name}.part") / "old"
        place = moved if moved.exists() and not target.exists() else out  # a build was killed between its two renames
        if not place.exists() and not place.is_symlink():
            return
        if not place.is_dir():
            raise OptionError(f"{out} is not a folder", option="--out")
        present = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
        if not present and not any(place.iterdir()):
            return
        report = json.loads((place / REPORT_FILE).read_text(encoding="utf-8")) if REPORT_FILE in present else {}
        known = set(report["files"]) if isinstance(report, dict) and report.get("written_by") == WRITTEN_BY else set()
    except (OSError, ValueError, KeyError, TypeError):
        problem = f"{out} may hold other files: its {REPORT_FILE} is damaged"
        raise OptionError(problem, option="--out", fix="choose another or empty it") from None
    if not known or present - known:
        raise OptionError(f"{out} holds files of no earlier build", option="--out", fix="choose another or empty it")
    if made_of is not None and not overwrite:
        if found := differences({name: report.get(name) for name in made_of}, json.loads(json.dumps(made_of))):
            raise SettingsMismatchError(out, "a dataset", found, "another --out, or --overwrite to replace it")


@contextmanager
def folder_in_place(out: Path) -> Iterator[Path]:
    """A temporary folder that replaces `out` at the end, or is deleted on an error; for one process at a time."""
    target = out.resolve()  # a link stays, and what it points to is replaced
    work = target.with_name(f".{target.name}.part")
    new, old = work / "new", work / "old"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with file_lock(work / "lock", out):
            if old.exists() and not target.exists():  # a build was killed between the two renames
                os.replace(old, target)
            try:
                for left in (new, old):
                    shutil.rmtree(left, ignore_errors=True)
                new.mkdir()
                yield new
                if target.exists():
                    os.replace(target, old)
                try:
                    os.replace(new, target)
                except OSError:
                    if old.exists():
                        os.replace(old, target)
                    raise
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        problem = f"{out} cannot be written ({error.strerror or error})"
        raise OptionError(problem, option="--out", fix="free some space or choose another") from None
