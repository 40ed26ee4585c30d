"""Reads source files into one corpus with a report of what was skipped, and converts it to the rows of each config."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from itertools import count, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, NotFoundError, OptionError, ToolAlpacaError, nearest_path
from ..formats import GET_DETAILS, Prompt, api_for_row, to_messages, trajectory_segments
from ..openapi import mapping
from ..schema import SPLITS, Api, Instruction, Trajectory
from ..sources import Source, fetch, local_source
from .credentials import Redactor
from .raw import RAW_LAYOUT, Unusable, read_api, read_instance, read_instruction, read_processed, read_raw, sft_row

SAMPLE = Path(str(files("toolalpaca_hf.data"))) / "sample"
"""The embedded corpus; `eval.json` holds out its APIs, so they stand where the simulated ones do."""

FILE_NAMES = {  # what a folder is searched for, split by split; the first that exists is taken
    "train": ("train_data.json", "train.json", "train_sample.json"),
    "eval_simulated": ("eval_simulated.json", "eval.json"),
    "eval_real": ("eval_real.json",),
}

MAX_STEPS = 5  # of an instance that upstream trains on

Paths = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True)
class Sources:
    """The files of a build by split."""

    train: tuple[Source, ...] = ()
    eval_simulated: tuple[Source, ...] = ()
    eval_real: tuple[Source, ...] = ()
    processed: tuple[Source, ...] = ()

    def all(self) -> list[tuple[str, Source]]:
        """Every file with its role, in a fixed order."""
        return [(role, source) for role, files in vars(self).items() for source in files]


def resolve_sources(
    source: str | Path | None = None,
    train: Paths = None,
    eval_simulated: Paths = None,
    eval_real: Paths = None,
    processed: Paths = None,
    data_dir: str | Path | None = None,
) -> Sources:
    """Find the files of a build, downloading upstream's if needed.

    Args:
        source (`str` or `Path`, *optional*): `"sample"` (embedded), `"upstream"` (the published files) or a folder.
        train, eval_simulated, eval_real (path or paths, *optional*): Raw files that replace those of `source`.
        processed (path or paths, *optional*): Files in the processed layout, added to the `sft` config.
        data_dir (`str` or `Path`, *optional*): Folder to look in before downloading from upstream.

    Raises:
        [`ToolAlpacaError`]: A file is missing, a folder has none of the known files, or a download failed.

    Example:

    ```python
    >>> [role for role, _ in resolve_sources("sample").all()]
    ['train', 'eval_simulated']
    ```
    """
    given = {"train": train, "eval_simulated": eval_simulated, "eval_real": eval_real, "processed": processed}
    lists = {role: [paths] if isinstance(paths, str | Path) else paths for role, paths in given.items() if paths}
    found = {role: tuple(map(local_source, paths)) for role, paths in lists.items()}
    if source is not None and not (source in ("sample", "upstream") or Path(source).is_dir()):
        fix = f"{nearest_path(source, ['sample', 'upstream'])}pass sample, upstream, or a folder"
        raise NotFoundError("no such folder", file=source, option="--source", fix=fix)
    if source == "upstream":
        for split, name in (("train", "train_data"), ("eval_simulated",) * 2, ("eval_real",) * 2):
            if split not in found:
                found[split] = (fetch(name, data_dir),)
    elif source is not None:
        folder, origin = (SAMPLE, "sample") if source == "sample" else (Path(source), "local")
        for split, names in FILE_NAMES.items():
            places = [place / name for name in names for place in (folder, folder / "data")]
            path = next((place for place in places if place.is_file()), None)
            if split not in found and path is not None:
                found[split] = (local_source(path, origin=origin),)
        if not found:
            names = ", ".join(name for names in FILE_NAMES.values() for name in names)
            raise NotFoundError(f"none of {names} is in it", file=folder, fix="name files with --train and others")
    if not found:
        raise OptionError("nothing to read", option="--source", fix="pass sample, upstream, a folder, or --train")
    return Sources(**found)


def slug(name: str) -> str:
    """Make an id from a name: lower-case ASCII words joined by `-`, or a hash if the name has none."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    composed = unicodedata.normalize("NFC", name).encode("utf-8", "replace")
    return "-".join(re.findall(r"[a-z0-9]+", folded)) or f"api-{hashlib.sha1(composed).hexdigest()[:8]}"


class Slugs:
    """Makes slugs unique within a split: the second `steam` becomes `steam-2`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        base, numbers = slug(name), count(2)
        candidate = base
        while candidate in self._taken:
            candidate = f"{base}-{next(numbers)}"
        self._taken.add(candidate)
        return candidate


class LeftOut(str):
    """A sentence about a skipped row, with its `reason`."""

    reason: str

    def __new__(cls, place: str, reason: str) -> "LeftOut":
        sentence = super().__new__(cls, f"{place} {reason}")
        sentence.reason = reason
        return sentence


def left_out(notes: Iterable[str]) -> str:
    """Summarize how many rows were skipped and why most of them; only notes of type [`LeftOut`] count."""
    reasons: dict[str, list[str]] = {}
    for note in notes:
        if isinstance(note, LeftOut):
            # Numbers and quotations differ between rows with the same reason.
            reasons.setdefault(re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "", note.reason), []).append(note.reason)
    if not reasons:
        return ""
    count, most = sum(map(len, reasons.values())), max(reasons.values(), key=len)
    reason = re.sub(r"(; it|, and) is (left out|not asked)$", "", most[0])
    if count == 1:
        return f"1 row is left out: it {reason}"
    return f"{count} rows are left out, {len(most)} of them because each {reason}"


class SetAside(NamedTuple):
    """A skipped row: config, file name, position in the file (from 0) and reason."""

    config: str
    file: str
    row: str
    reason: str


@dataclass
class Report:
    """Counts by config and file; rows in are always rows kept plus rows set aside.

    Example:

    ```python
    >>> report = Report()
    >>> report.keep("apis", "train.json")
    >>> report.set_aside("apis", "train.json", "API 1", "has no Name")
    >>> report.counts()
    [{'config': 'apis', 'file': 'train.json', 'rows_in': 2, 'kept': 1, 'set_aside': 1}]
    ```
    """

    kept: dict[tuple[str, str], int] = field(default_factory=dict)
    rows: list[SetAside] = field(default_factory=list)

    def keep(self, config: str, file: str, count: int = 1) -> None:
        self.kept[config, file] = self.kept.get((config, file), 0) + count

    def set_aside(self, config: str, file: str, row: str, reason: str) -> None:
        self.keep(config, file, 0)
        self.rows.append(SetAside(config, file, row, reason))

    def notes(self, *configs: str) -> list[LeftOut]:
        """A sentence for each skipped row, of the given configs or of all."""
        rows = [row for row in self.rows if not configs or row.config in configs]
        return [LeftOut(f"{row.file}, {row.row}", row.reason) for row in rows]

    def counts(self) -> list[dict[str, Any]]:
        table = []
        for (config, file), kept in self.kept.items():
            aside = sum(row.config == config and row.file == file for row in self.rows)
            table.append({"config": config, "file": file, "rows_in": kept + aside, "kept": kept, "set_aside": aside})
        return table

    def as_dict(self) -> dict[str, Any]:
        return {"counts": self.counts(), "set_aside": [row._asdict() for row in self.rows]}


@dataclass
class Corpus:
    """Everything that was read, by split and without credentials; trajectories outside `train` are only references."""

    sources: Sources
    apis: dict[str, list[Api]] = field(default_factory=dict)
    trajectories: dict[str, list[Trajectory]] = field(default_factory=dict)
    instructions: dict[str, list[Instruction]] = field(default_factory=dict)
    processed: list[dict[str, Any]] = field(default_factory=list)  # rows of the config `sft`
    report: Report = field(default_factory=Report)


def read_corpus(sources: Sources) -> Corpus:
    """Read the files of a build. Unusable rows are skipped and reported.

    Example:

    ```python
    >>> corpus = read_corpus(resolve_sources("sample"))
    >>> corpus.apis["train"][0].id.startswith("train/")
    True
    ```
    """
    corpus = Corpus(sources)
    raw = [(split, source, read_raw(source.path)) for split, source in sources.all() if split != "processed"]
    processed = [(source, read_processed(source.path)) for source in sources.processed]
    redact = Redactor(api for _, _, rows in raw for api in rows if isinstance(api, dict))
    slugs = {split: Slugs() for split in FILE_NAMES}
    for split, source, rows in raw:
        wanted, other = ("Instances", "Golden_Answers") if split == "train" else ("Golden_Answers", "Instances")
        known = {name for api in rows if isinstance(api, dict) for name in api}
        if wanted not in known and other in known:
            option = "--eval-simulated or --eval-real" if split == "train" else "--train"
            raise InputError(f"no {wanted} in any API", file=source.path, fix=f"pass it with {option}")
        for index, api in enumerate(rows):
            api = redact.api(api) if isinstance(api, dict) else api
            _read_api(corpus, split, source.path.name, index, api, slugs[split])
    stems = Slugs()
    for source, rows in processed:
        stem = stems.take(source.path.stem)
        for index, row in enumerate(rows):
            try:
                made = sft_row(row, f"processed/{stem}/{index}")
                for segment in made["segments"]:
                    segment["text"] = redact(segment["text"])
                corpus.processed.append(made)
                corpus.report.keep("processed", source.path.name)
            except Unusable as reason:
                corpus.report.set_aside("processed", source.path.name, f"row {index}", str(reason))
    return corpus


def read_file(path: str | Path) -> tuple[str, Corpus]:
    """Read one file in the raw layout, or `sample`, the held-out APIs of the embedded corpus, and determine its split.

    The split is `train` if no API has golden answers, else `eval_real` if the file's name says so, else
    `eval_simulated`. A file that is missing, or has another layout, is a [`ToolAlpacaError`].
    """
    if str(path) == "sample":
        return "eval_simulated", read_corpus(resolve_sources("sample"))
    path = Path(path)
    if not path.is_file():
        fix = f"{nearest_path(path, ['sample'])}pass one in {RAW_LAYOUT}, or sample"
        raise NotFoundError("no such file", file=path, fix=fix)
    split = "eval_real" if "real" in path.stem else "eval_simulated"
    if not any(isinstance(api, dict) and "Golden_Answers" in api for api in read_raw(path)):
        split = "train"
    return split, read_corpus(resolve_sources(**{split: path}))


def _read_api(corpus: Corpus, split: str, file: str, index: int, raw: Any, slugs: Slugs) -> None:
    """Read one API with its instances or instructions; if the API is unusable, they are skipped, too."""
    report, known = corpus.report, mapping(raw)
    apis, trajectories = corpus.apis.setdefault(split, []), corpus.trajectories.setdefault(split, [])
    instructions = [] if split == "train" else corpus.instructions.setdefault(split, [])
    name = known.get("Name")
    place = f"API {index} ({name})" if isinstance(name, str) else f"API {index}"
    rows = _rows(known, split)
    try:
        if not isinstance(raw, dict):
            raise Unusable("is not an object")
        if not isinstance(name, str) or not name.strip():
            raise Unusable("has no Name")
        api = read_api(raw, f"{split}/{slugs.take(name)}")
    except Unusable as reason:
        report.set_aside("apis", file, place, str(reason))
        for config, position, _ in rows:
            report.set_aside(config, file, f"{place}, {_KIND[config]} {position}", "its API is set aside")
        return
    apis.append(api)
    report.keep("apis", file)
    for config, position, row in rows:
        try:
            if config == "instructions":
                text, golden = row
                instructions.append(read_instruction(text, golden, api.id, position))
            else:
                trajectories.append(read_instance(row, api.id, position, raw.get("Instructions")))
            report.keep(config, file)
        except Unusable as reason:
            report.set_aside(config, file, f"{place}, {_KIND[config]} {position}", str(reason))


_KIND = {"instructions": "instruction", "trajectories": "instance"}


def _rows(raw: dict[str, Any], split: str) -> list[tuple[str, int, Any]]:
    """An API's raw rows as `(config, position, row)`. The `Instructions` of a train file are its instances'."""
    values = (raw.get(key) or [] for key in ("Instances", "Instructions", "Golden_Answers"))
    instances, texts, golden = (value if isinstance(value, list) else [value] for value in values)
    rows: list[tuple[str, int, Any]] = [("trajectories", i, row) for i, row in enumerate(instances)]
    if split != "train":
        rows += [("instructions", i, pair) for i, pair in enumerate(zip_longest(texts, golden))]
    return rows


def _not_trained(trajectory: Trajectory, selection: bool) -> str:
    """Why a trajectory is not trained on, by upstream's `selection` or by itself; `""` if it is."""
    if selection and not trajectory.steps:
        return "upstream's selection: has no steps"
    if selection and len(trajectory.steps) > MAX_STEPS:
        return f"upstream's selection: has {len(trajectory.steps)} steps, more than {MAX_STEPS}"
    if selection and {step.action for step in trajectory.steps} == {GET_DETAILS}:
        return f"upstream's selection: calls only {GET_DETAILS}"
    return "" if trajectory.response else "has no response to train on"


def config_splits(corpus: Corpus, config: str) -> list[str]:
    """The splits for which a corpus has sources, in the order of [`SPLITS`]."""
    available = set(corpus.apis)
    if config == "sft" and corpus.sources.processed:
        available.add("train")
    return [split for split in SPLITS[config] if split in available]


def config_rows(
    corpus: Corpus, config: str, split: str, prompt: Prompt, selection: bool = False, report: Report | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split as laid out in [`FEATURES`]; JSON columns are JSON text.

    `prompt` lays out `sft`; `selection` applies upstream's to `sft` and `chat`, whose counts `report` gets.
    """
    if config in ("apis", "trajectories", "instructions"):
        for row in map(asdict, getattr(corpus, config)[split]):
            yield row | {key: _json(row[key]) for key in ("documentation", "functions") if key in row}
        return
    report = report if report is not None else Report()
    apis = {api.id: api for api in corpus.apis.get("train", ())}
    for trajectory in corpus.trajectories.get("train", ()):
        reason = _not_trained(trajectory, selection)
        row: dict[str, Any] = {"id": trajectory.id, "api": trajectory.api}
        api = api_for_row(apis[trajectory.api], trajectory)
        if not reason and config == "sft":
            row["segments"] = [asdict(segment) for segment in trajectory_segments(api, trajectory, prompt)]
        elif not reason:
            try:
                row |= {"environment": trajectory.api, **_chat_columns(**to_messages(api, trajectory))}
            except ToolAlpacaError as error:
                reason = str(error)
        if reason:
            report.set_aside(config, "trajectories", trajectory.id, reason)
        else:
            report.keep(config, "trajectories")
            yield row
    if config == "sft":
        for row in corpus.processed:
            report.keep(config, "processed")
            yield row


def _chat_columns(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    from ..features import FEATURES

    absent = dict.fromkeys(FEATURES["chat"]["messages"].feature)
    texts = [{"tool_calls": [*map(_json, row["tool_calls"])]} if "tool_calls" in row else {} for row in messages]
    rows = [absent | row | text for row, text in zip(messages, texts, strict=True)]
    return {"messages": rows, "tools": [*map(_json, tools)]}


def _json(value: Any) -> str:
    """JSON text for a `datasets.Json` column, which would otherwise write floats with fewer digits."""
    return json.dumps(value, ensure_ascii=False)
