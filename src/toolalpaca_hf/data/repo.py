"""Writes a Hub-ready dataset repo to a folder: Parquet shards, dataset card and report."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo, Features, SplitDict, SplitInfo, disable_progress_bars, enable_progress_bars
from datasets.utils import are_progress_bars_disabled

from .. import __version__
from ..errors import InputError, OptionError, SettingsMismatchError
from ..formats import Prompt
from ..schema import FEATURES
from ..storage import differences, file_lock
from .card import dataset_card
from .corpus import Sources, read_corpus
from .report import Report, left_out
from .rows import config_rows, config_splits

REPORT_FILE = "report.json"
WRITTEN_BY = "toolalpaca-hf"
"""In the report file, the sign that a folder is an earlier build and may be replaced."""

SHARD_BYTES = 500_000_000


@dataclass(frozen=True)
class Build:
    """The result of [`write_repo`].

    Args:
        folder (`Path`): The repo.
        report ([`Report`]): Counts by config and file, and the rows that were skipped.
        split_rows (`dict[str, dict[str, int]]`): Rows by config and split.
    """

    folder: Path
    report: Report
    split_rows: dict[str, dict[str, int]]

    def summary(self) -> str:
        """Rows by config and split, then counts of all rows read, as text for a terminal."""
        counts = self.report.counts()
        first = 2 + max(12, *map(len, self.split_rows), *(len(line["config"]) for line in counts))
        lines = [f"{'config':<{first}}{'split':<16}{'rows':>8}"]
        for config, splits in self.split_rows.items():
            lines += [f"{config:<{first}}{split:<16}{rows:>8}" for split, rows in splits.items()]
        width = max([30, *(len(line["file"]) + 2 for line in counts)])
        lines += ["", f"{'what':<{first}}{'from':<{width}}{'rows in':>9}{'kept':>9}{'set aside':>11}"]
        lines += [
            f"{line['config']:<{first}}{line['file']:<{width}}{line['rows_in']:>9}{line['kept']:>9}{line['set_aside']:>11}"
            for line in counts
        ]
        shown = self.report.rows[:10]
        lines += [summary] if (summary := left_out(self.report.notes())) else []
        lines += [f"set aside: {row.file}, {row.row}: {row.reason}" for row in shown]
        if left := len(self.report.rows) - len(shown):
            lines.append(f"... and {left} more")
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

    Raises:
        [`InputError`]: A source has the wrong layout, or no training example is left.
        [`OptionError`]: `out` holds other files or cannot be written.
    """
    out = Path(out)
    check_replaceable(out, _settings(sources, prompt, selection), overwrite)
    corpus = read_corpus(sources)
    with folder_in_place(out) as folder:
        infos: dict[str, DatasetInfo] = {}
        for config, features in FEATURES.items():
            sizes: dict[str, tuple[int, int]] = {}
            download_size = 0
            for split in config_splits(corpus, config):
                found = list(config_rows(corpus, config, split, prompt, selection, corpus.report))
                table = Dataset.from_dict({name: [row[name] for row in found] for name in features}, features=features)
                if config == "sft" and not len(table):
                    raise InputError(
                        "no training example is left",
                        fix="drop --upstream-selection or give a train file with usable instances",
                    )
                if not len(table):
                    continue  # `datasets` refuses to open a split of no rows
                download_size += _write_shards(table, folder / config, split)
                sizes[split] = table.data.nbytes, len(table)
            if sizes:
                infos[config] = dataset_info(features, sizes, download_size)
        if not infos:
            raise InputError("every row was set aside, so there is nothing to write", fix="check the source files")
        card = dataset_card(infos, sources, corpus.report, prompt, selection)
        write_card_and_report(folder, card, _settings(sources, prompt, selection), corpus.report)
    split_rows = {
        name: {split: part.num_examples for split, part in (info.splits or {}).items()} for name, info in infos.items()
    }
    return Build(out, corpus.report, split_rows)


def _write_shards(table: Dataset, folder: Path, split: str) -> int:
    folder.mkdir(exist_ok=True)
    count = max(1, min(len(table), -(-table.data.nbytes // SHARD_BYTES)))
    return sum(
        write_parquet(
            table.shard(count, index, contiguous=True) if count > 1 else table,
            folder / f"{split}-{index:05d}-of-{count:05d}.parquet",
        )
        for index in range(count)
    )


def write_parquet(table: Dataset, path: Path) -> int:
    """Write a file without a progress bar; returns its size."""
    bars_were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        table.to_parquet(path)
    finally:
        if not bars_were_off:
            enable_progress_bars()
    return path.stat().st_size


def dataset_info(features: Features, sizes: Mapping[str, tuple[int, int]], download_size: int) -> DatasetInfo:
    """What a card says of a config; `sizes` has bytes and rows by split."""
    splits = SplitDict(dataset_name=WRITTEN_BY)
    for split, (size, rows) in sizes.items():
        splits.add(SplitInfo(split, num_bytes=size, num_examples=rows))
    total = sum(size for size, _ in sizes.values())
    return DatasetInfo(features=features, splits=splits, download_size=download_size, dataset_size=total)


def write_card_and_report(folder: Path, card: str, settings: Mapping[str, Any], report: Report) -> None:
    """Write `README.md` and, with the names of all files, `report.json`."""
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    content = {"written_by": WRITTEN_BY, "version": __version__, **settings, **report.as_dict()}
    text = json.dumps(content | {"files": [*written, REPORT_FILE]}, ensure_ascii=False, indent=2) + "\n"
    (folder / REPORT_FILE).write_text(text, encoding="utf-8", newline="\n")


def _settings(sources: Sources, prompt: Prompt, selection: bool) -> dict[str, Any]:
    files = [
        {"role": role, "file": file.path.name, "git_blob": file.blob_id, "origin": file.origin, "note": file.note}
        for role, file in sources.all()
    ]
    return {"prompt": prompt.name, "upstream_selection": selection, "sources": files}


def check_replaceable(out: Path, made_of: Mapping[str, Any] | None = None, overwrite: bool = False) -> None:
    """Check that `out` holds nothing but a build of the same settings.

    Args:
        made_of (`Mapping`, *optional*): Settings of the new build; by default any are accepted.
        overwrite (`bool`, *optional*, defaults to `False`): Accept builds with other settings.

    Raises:
        [`OptionError`]: It holds other files.
        [`SettingsMismatchError`]: It holds a dataset with other settings, which would be lost.
    """
    report: dict[str, Any] = {}
    try:
        if not out.exists() and not out.is_symlink():
            return
        if not out.is_dir():
            raise OptionError(f"{out} is not a folder", option="--out")
        present = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
        if not present and not any(out.iterdir()):
            return
        report = json.loads((out / REPORT_FILE).read_text(encoding="utf-8")) if REPORT_FILE in present else {}
        known = set(report["files"]) if isinstance(report, dict) and report.get("written_by") == WRITTEN_BY else set()
    except (OSError, ValueError, KeyError, TypeError):
        known, present = set(), {"?"}
    if not known or present - known:
        raise OptionError(
            f"{out} holds files that are not an earlier build", option="--out", fix="choose another or empty it"
        )
    if known and made_of is not None and not overwrite:
        before = {name: report.get(name) for name in made_of}
        if found := differences(before, json.loads(json.dumps(made_of))):
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
