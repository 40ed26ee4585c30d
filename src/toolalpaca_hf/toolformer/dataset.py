"""Builds the `toolformer` dataset repo from annotated texts or GSM8K."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ..data import Build, Report, write_toolformer_repo
from ..errors import InputError, NotFoundError, OptionError
from ..openapi import mapping
from ..schema import Segment
from ..sources import git_blob_id
from ..storage import read_json
from .annotation.annotator import ANNOTATED, NOTHING_KEPT, annotated_row
from .markers import Markers
from .rows import hub_rows, read_rows
from .tools import Calculator

Row = Mapping[str, Any]
GSM8K = ("openai/gsm8k", "main", "train")


def text_segments(annotated: str, markers: Markers, mask_results: bool = False) -> list[Segment]:
    """The segments of an annotated text, markers restored; `mask_results` excludes results from the loss."""
    segments, at = [], 0
    for found in markers.find(annotated) if mask_results else ():
        if found.result is not None:
            end = found.end - len(markers.end)
            begin = annotated.rindex(markers.arrow, found.start, end) + len(markers.arrow)
            segments.append(Segment(markers.restore(annotated[at:begin]), True))
            segments.append(Segment(markers.restore(annotated[begin:end]), False))
            at = end
    return [*segments, Segment(markers.restore(annotated[at:]), True)]


def sft_row(row: Row, markers: Markers | None = None, mask_results: bool = False) -> Row:
    """A row of the `sft` config (`id`, `api`, which is `None`, and `segments`); without markers, one without calls."""
    segments = [Segment(row["text"], True)]
    if markers is not None and row["annotated"] is not None:
        segments = text_segments(row["annotated"], markers, mask_results)
    return {"id": row["id"], "api": None, "segments": [asdict(segment) for segment in segments]}


def mix(rows: Iterable[Row], plain: Iterable[Row], fraction: float) -> Iterator[Row]:
    """Spread a fraction of plain text evenly among training rows, to preserve language modelling (section 4.3)."""
    rest = iter(plain)
    added = 0
    for done, row in enumerate(rows, 1):
        yield row
        while added + 1 <= done * fraction / (1 - fraction) + 1e-9 and (extra := next(rest, None)) is not None:
            added += 1
            yield extra


_MARK = re.compile(r"<<([^<>\n]*)>>")


@dataclass(frozen=True)
class Mark:
    """One `<<expression=value>>` at character `position`; without both, the expression is empty."""

    text: str
    position: int
    expression: str = ""
    value: str = ""


def split_marks(solution: str) -> tuple[str, list[Mark]]:
    """Split a solution into plain text and marks."""
    plain, marks, at = "", [], 0
    for found in _MARK.finditer(solution):
        plain += solution[at : found.start()]
        # `a=b=c` is a calculation and its value with an intermediate step; two rows write a division as `//`.
        parts = [part.strip() for part in found[1].replace("//", "/").split("=")]
        expression, value = (parts[0], parts[-1]) if len(parts) > 1 and parts[0] else ("", "")
        marks.append(Mark(found[1], len(plain), expression, value))
        at = found.end()
    return plain + solution[at:], marks


def mark_objection(mark: Mark, result: str | None) -> str:
    """Why a mark is not a gold call; `""` if the calculator confirms it up to rounding."""
    if not mark.expression:
        return f"{mark.text!r} is no expression and value"
    if result is None:
        return f"the calculator gives nothing for {mark.expression!r}"
    try:
        value, computed = Decimal(mark.value.strip("$ ").replace(",", "")), Decimal(result)
        # The one with fewer decimals may be rounded.
        exponent = min(0, max(int(number.as_tuple().exponent) for number in (value, computed)))
        agree = abs(value - computed) <= Decimal(5).scaleb(exponent - 1)
    except (ArithmeticError, ValueError):
        return f"the value {mark.value!r} of {mark.expression!r} is no number"
    return "" if agree else f"the calculator gives {result} for {mark.expression!r}, not {mark.value}"


def gsm8k_rows(
    name: str, rows: Iterable[Any], calculator: Callable[[str], str | None], report: Report | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of `annotated` from GSM8K, the marks that the calculator confirms as calls; `report` has the others."""
    report = report or Report()
    for number, row in enumerate(rows):
        place = f"row {number}"
        try:
            question, solution = row["question"].strip(), row["answer"].strip()
        except (KeyError, TypeError, AttributeError):
            report.set_aside("annotated", name, place, "is not JSON with the texts question and answer")
            continue
        plain, marks = split_marks(solution)
        if "<<" in plain or ">>" in plain:
            report.set_aside("annotated", name, place, "has a mark that is not closed")
            continue
        calls = []
        for mark in marks:
            result = calculator(mark.expression) if mark.expression else None
            if reason := mark_objection(mark, result):
                report.set_aside("calls", name, place, reason)
                continue
            report.keep("calls", name)
            call = {"tool": "Calculator", "input": mark.expression, "result": result}
            calls.append(call | {"position": len(question) + 1 + mark.position})
        report.keep("annotated", name)
        meta = {"source": "gsm8k", "row": number}
        yield annotated_row(f"toolformer/{name}/{number}", f"{question}\n{plain}", calls, Markers(), meta)


# Outcomes of texts to train on although they have no call; others are empty, binary or unreadable.
_PLAIN = (NOTHING_KEPT, "not preselected")


@dataclass(frozen=True)
class AnnotatedSource:
    """Annotated texts that can be read repeatedly; `rows` yields them and counts in a report."""

    name: str
    rows: Callable[[Report | None], Iterator[dict[str, Any]]]
    markers: Markers
    digest: str = ""


def open_source(name: str | Path, limit: int | None = None) -> AnnotatedSource:
    """Open annotated texts by their name on the command line; at most `limit` of them.

    `name` is an output folder of `toolalpaca toolformer annotate`, a file of such rows, `gsm8k` (its own annotations
    as calls), or `gsm8k=FILE` for a local copy. What is not there or cannot be read is a [`NotFoundError`] or
    [`InputError`].
    """
    if limit is not None and limit < 1:
        raise OptionError(f"is {limit}", option="--limit", fix="pass 1 or more")
    first = "" if limit is None else f", the first {limit} texts"
    kind, equals, file = str(name).partition("=")
    if kind == "gsm8k":
        if equals and not file:
            raise OptionError("gsm8k= names no file", option="--source", fix="pass gsm8k=FILE, or gsm8k for the Hub's")
        fix = "pass --source gsm8k=FILE with its train.jsonl"
        stem, raws = Path(file).stem or "gsm8k_train", read_rows(file) if file else hub_rows(*GSM8K, fix)
        read = partial(gsm8k_rows, stem, [*islice(raws, limit)], cache(Calculator()))
        if next(read(), None) is None:
            raise InputError("holds no row of GSM8K", file=file or kind, fix="pass its train.jsonl as published")
        digest = _digest([Path(file)]) if file else ""
        return AnnotatedSource(f"GSM8K's calculator marks ({stem}){first}", read, Markers(), digest)
    path = Path(name)
    files = sorted(path.glob("annotated-*.jsonl")) if path.is_dir() else [path]
    if not files or not path.exists():
        fix = "pass a folder that `toolalpaca toolformer annotate` wrote, gsm8k, or gsm8k=FILE"
        raise NotFoundError("no annotated-*.jsonl", file=path, fix=fix)
    config = (path if path.is_dir() else path.parent) / "config.json"
    noted = mapping(read_json(config, "annotate again, or remove the file")) if config.is_file() else {}
    named = mapping(noted.get("markers"))
    markers = Markers(**{name: str(named[name]) for name in ("start", "end", "arrow") if name in named})

    def rows(report: Report | None) -> Iterator[dict[str, Any]]:
        return islice(_annotated_rows(files, markers, report or Report()), limit)

    return AnnotatedSource(f"{path.name}{first}", rows, markers, _digest(files))


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha1(" ".join(map(git_blob_id, files)).encode(), usedforsecurity=False).hexdigest()


class _Call(BaseModel, strict=True):
    tool: str
    input: str
    result: str
    position: Annotated[int, Field(ge=0, lt=2**63)]
    l_minus: float | None = None
    l_plus: float | None = None
    gain: float | None = None


class _Row(BaseModel, strict=True):
    id: str
    text: str
    annotated: str
    calls: list[_Call]
    outcome: str | None = None
    meta: Any = {}


def _annotated_rows(files: list[Path], markers: Markers, report: Report) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    every = ((file.name, number, row) for file in files for number, row in enumerate(read_rows(file)))
    for file, number, raw in every:
        try:
            row = _Row.model_validate(raw if isinstance(raw, dict) else {})
            if sum(1 for _ in markers.find(row.annotated)) != len(row.calls):
                by = f"by the markers {' '.join(markers.all)} of config.json"
                raise ValueError(f"has other calls in annotated than in calls, {by}")
            if row.id in seen:
                raise ValueError("has an id that was there before")
        except ValueError as error:
            reason = str(error)
            if isinstance(error, ValidationError):
                first = error.errors(include_url=False)[0]
                reason = f"is no annotated text ({' '.join([*map(str, first['loc']), first['msg']])})"
            report.set_aside("annotated", file, f"row {number}", reason)
            continue
        seen.add(row.id)
        report.keep("annotated", file)
        report.keep("calls", file, len(row.calls))
        yield row.model_dump() | {"outcome": row.outcome or (ANNOTATED if row.calls else NOTHING_KEPT)}


def _plain_texts(file: str | Path, report: Report) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(read_rows(file)):
        if isinstance(row, dict) and isinstance(row.get("text"), str) and row["text"].strip():
            report.keep("plain texts", Path(file).name)
            yield {"id": f"plain/{Path(file).stem}/{number}", "text": row["text"], "annotated": None}
        else:
            report.set_aside("plain texts", Path(file).name, f"row {number}", "is not JSON with the field text")


def build_repo(
    source: AnnotatedSource,
    out: str | Path,
    plain: str | Path | None = None,
    plain_fraction: float = 0.1,
    mask_results: bool = False,
    overwrite: bool = False,
) -> Build:
    """Write the `toolformer` dataset repo with configs `annotated`, `sft` and `plain`.

    `sft` has every text with a call, mixed with plain texts (from the `plain` file, else the source's texts without
    calls, as far as there are enough). The config `plain` has the same texts without calls, in the same order. Without
    any call there is an [`InputError`].

    Args:
        source ([`AnnotatedSource`]): From [`open_source`].
        out (`str` or `Path`): A new or empty folder, or an earlier build, of the same source unless `overwrite`.
        plain (`str` or `Path`, *optional*): JSON lines with `text`.
        plain_fraction (`float`, *optional*, defaults to `0.1`): Fraction of plain text among the `sft` rows.
        mask_results (`bool`, *optional*, defaults to `False`): Exclude the calls' results from the loss.
    """
    if not 0 <= plain_fraction < 1:
        raise OptionError(f"is {plain_fraction}", option="--plain-fraction", fix="pass a number from 0 to below 1")
    if plain is not None and not Path(plain).is_file():
        raise NotFoundError("no such file", file=plain, option="--plain", fix="pass JSON lines with the field text")
    report = Report()

    def training(report: Report) -> Iterator[Any]:
        with_calls = (row for row in source.rows(None) if row["calls"])
        kept = (row for row in source.rows(None) if not row["calls"] and row["outcome"] in _PLAIN)
        without = (row | {"annotated": None} for row in kept if row["text"].strip())
        return mix(with_calls, _plain_texts(plain, report) if plain else without, plain_fraction)

    configs = {
        "annotated": source.rows(report),
        "sft": (sft_row(row, source.markers, mask_results) for row in training(report)),
        "plain": map(sft_row, training(Report())),
    }
    mixed = Path(plain).name if plain else "texts of the source without a call"
    settings = {"source": source.name, "source_hash": source.digest, "markers": list(source.markers.all)}
    settings |= {"plain_fraction": plain_fraction, "plain": mixed, "mask_results": mask_results}
    return write_toolformer_repo(configs, out, report, settings, overwrite)
