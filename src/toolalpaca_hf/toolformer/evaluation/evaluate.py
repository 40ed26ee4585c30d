"""Evaluates checkpoints on tasks (section 4) with and without calls; answers are in OUT/TASK/MODEL/*.jsonl."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ... import __version__
from ...checkpoints import resolve_model
from ...errors import InputError, OptionError
from ...evaluation import paired, resampled, tails, wilson
from ...metrics import perplexity
from ...storage import JsonlLog, claim_settings, read_json, read_text, write_json
from ..dataset import split_marks
from ..markers import Markers
from ..rows import SUFFIXES, digest_of, hub_rows, read_rows
from ..tasks import MEASURES, EvalTask, Item, prompt_of, read_items, task_named
from ..tools import ResultCache, Tool
from .report import write_report

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PERPLEXITY = "perplexity"

Record = Mapping[str, Any]
Made = list[dict[str, Any]]  # records of some items


@dataclass(frozen=True)
class ToolformerEvaluationConfig:
    """Arguments of [`evaluate`] and `toolalpaca toolformer evaluate`.

    Args:
        models (`Sequence[str]`): Folders, Hub ids, or `smollm2`; several give a curve over model size.
        tasks (`Mapping[str, str | Path | None]`): Data by task (also `perplexity`), `None` for the Hub's.
        k (`int`, *optional*, defaults to 10): Start a call if its marker is among the k likeliest (section 4.2).
        solutions (`bool`, *optional*, defaults to `False`): Maths: ask for worked solutions.
        max_length (`int`, *optional*, defaults to 1024): Window for perplexity, in tokens.
        cache (`str` or `Path`, *optional*): SQLite file that caches tool results.
    """

    models: Sequence[str]
    tasks: Mapping[str, str | Path | None]
    out: str | Path
    markers: Markers = field(default_factory=Markers)
    k: int = 10
    solutions: bool = False
    limit: int | None = None
    batch_size: int = 16
    max_length: int = 1024
    dtype: str = "auto"
    cache: str | Path | None = None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in self.tasks:  # before a tool is opened, which may be a model
            if name != PERPLEXITY:
                task_named(name, self.solutions)


def load(path: str, dtype: str) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    from ...inference import load_model

    return load_model(path, dtype=dtype)


Load = Callable[[], tuple["PreTrainedModel", "PreTrainedTokenizerBase"]]  # the first call loads


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def recorded(
    path: Path, settings: Mapping[str, Any], items: Sequence[Item], make: Callable[[Sequence[Item]], Iterator[Made]]
) -> Made:
    """The record of each item, kept in a file; `make` yields those that are missing, or of another item of its id."""
    with JsonlLog(path) as log:
        claim_settings(path.with_suffix(".settings.json"), settings, "answers", made=path)
        rest = [item for item in items if item.id not in log.rows or not _is_of(log.rows[item.id], item)]
        done = len(items) - len(rest)
        with tqdm(total=len(items), initial=done, unit="item", desc=path.stem, disable=None) as bar:
            for records in make(rest) if rest else ():
                log.append(*records)
                bar.update(len(records))
        return [log.rows[item.id] for item in items]


def answers(
    load: Load, task: EvalTask, tools: Mapping[str, Tool], config: ToolformerEvaluationConfig, items: Sequence[Item]
) -> Iterator[Made]:
    """Answer questions, in batches of similar length and, for the tools, of one date; without tools, without calls."""
    from ..decoding import generate

    results = ResultCache(config.cache) if config.cache else None
    limits = {"max_calls": task.max_calls if tools else 0, "max_new_tokens": task.max_new_tokens}
    options: dict[str, Any] = {"markers": config.markers, "k": config.k, "timeout": config.timeout, "cache": results}

    def date(item: Item) -> str:
        return (item.date or "") if tools else ""

    for _, group in groupby(sorted(items, key=lambda item: (date(item), -len(item.prompt), item.id)), date):
        of_date = list(group)
        dated = {name: tool.for_document({"date": of_date[0].date}) for name, tool in tools.items()}
        for start in range(0, len(of_date), config.batch_size):
            batch = of_date[start : start + config.batch_size]
            prompts = [item.prompt for item in batch]
            written = generate(*load(), prompts, dated, batch_size=len(batch), **limits, **options)
            yield [
                {
                    **asdict(item),
                    **asdict(text),
                    "plain": text.plain,
                    "right": text.error is None and MEASURES[task.measure](text.plain, item.answers),
                }
                for item, text in zip(batch, written, strict=True)
            ]


def _is_of(record: Record, item: Item) -> bool:
    """Whether a record is of this very item, and no failure: other data may have the same file name, and so ids."""
    if "digest" in record:
        return record["digest"] == _digest(item.prompt)
    found = (record.get("error"), record.get("prompt"), record.get("answers"), record.get("date", item.date))
    return found == (None, item.prompt, list(item.answers), item.date)


HUB = ("Salesforce/wikitext", "wikitext-103-raw-v1", "test")

_GROUP = 256


def read_texts(data: str | Path | None = None, limit: int | None = None) -> tuple[list[Item], str, list[str]]:
    """Plain texts (rows with `text`, GSM8K's, else a file as one; WikiText by default), their origin, and a note."""
    if data is None:
        name, texts = "wikitext", (row.get("text") for row in hub_rows(*HUB, fix="pass a file with --data"))
    elif str(data).endswith(SUFFIXES):
        name, texts = Path(data).stem, map(_text_of, read_rows(data))
    else:
        name, texts = Path(data).stem, iter([read_text(data, "pass a file of text")])
    found, without = [], 0
    for i, text in enumerate(texts):
        without += not isinstance(text, str)
        if isinstance(text, str) and text.strip():
            found.append(Item(f"{name}/{i}", text, ()))
    if not found:
        raise InputError("holds no text", file=data, fix="pass JSON lines with the field text")
    note = f"Perplexity: {without} rows are left out, since they have no field text"
    return found[:limit], HUB[0] if data is None else Path(data).name, [note] if without else []


def _text_of(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    if isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
        return f"{row['question'].strip()}\n{split_marks(row['answer'].strip())[0]}"
    return row.get("text")


def losses(load: Load, max_length: int, texts: Sequence[Item]) -> Iterator[Made]:
    """Compute `nll` (a sum) and `tokens` of each text; its record has a digest of it."""
    model, tokenizer = load()
    config = model.config.get_text_config(decoder=True)
    longest = getattr(config, "max_position_embeddings", None) or max_length
    for start in range(0, len(texts), _GROUP):
        group = texts[start : start + _GROUP]
        found = log_likelihoods(model, tokenizer, [text.prompt for text in group], min(max_length, longest))
        yield [
            {"id": text.id, "nll": nll, "tokens": tokens, "digest": _digest(text.prompt)}
            for text, (nll, tokens) in zip(group, found, strict=True)
        ]


def log_likelihoods(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    max_length: int,
    batch_tokens: int = 2048,
) -> list[tuple[float, int]]:
    """The negative log-likelihood of each text (a sum), and its number of tokens but the first."""
    from ...inference import token_logprobs

    windows = []
    for index, text in enumerate(texts):
        ids = tokenizer(text, verbose=False)["input_ids"]
        # They overlap by one token, so that only a text's first one is not predicted.
        windows += [(index, ids[start : start + max_length]) for start in range(0, len(ids) - 1, max_length - 1)]
    found = token_logprobs(model.eval(), [(ids, range(1, len(ids))) for _, ids in windows], batch_tokens)
    of: list[list[float]] = [[] for _ in texts]
    for (index, _), logprobs in zip(windows, found, strict=True):
        of[index] += logprobs
    return [(-math.fsum(logprobs), len(logprobs)) for logprobs in of]


def summarize_texts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Perplexity over all tokens (`value`), with a 95% interval from a bootstrap over texts."""
    tokens = sum(record["tokens"] for record in records)
    if not tokens:
        raise InputError("the texts have no token to predict", fix="pass longer ones")
    sums = np.array([[record["nll"], record["tokens"]] for record in records], dtype=float)
    means = resampled(sums)
    low, high = np.quantile(means[:, 0] / np.maximum(means[:, 1], 1), tails(len(sums))).tolist()
    value = perplexity([[-float(sums[:, 0].sum()) / tokens]])["perplexity"]
    return {"value": value, "low": math.exp(low), "high": math.exp(high), "n": len(records), "tokens": tokens}


def evaluate(config: ToolformerEvaluationConfig, tools: Mapping[str, Tool] | None = None) -> dict[str, Any]:
    """Evaluate checkpoints on tasks; if interrupted and called again, resume. Returns the contents of `metrics.json`.

    `tools` are those of [`open_tools`]; without any, calls are disabled.
    """
    tools, out = tools or {}, Path(config.out)
    if not config.models or not config.tasks:
        raise OptionError("there is nothing to evaluate", option="--model and --task", fix="pass them")
    slugs = _slugs(config.models)
    # All data first, to report a missing file before a model runs for hours.
    data: dict[str, tuple[list[Item], str]] = {}
    notes: list[str] = []
    for name, file in config.tasks.items():
        read = read_texts if name == PERPLEXITY else partial(read_items, task_named(name, config.solutions))
        items, origin, some = read(file, config.limit)
        data[name], notes = (items, origin), notes + some
    results = []
    sizes_file = out / "models.json"  # so that a run that has all its answers loads no model
    sizes: dict[str, int] = read_json(sizes_file) if sizes_file.is_file() else {}
    for model_name in config.models:
        path = resolve_model(model_name)
        lazily = cache(partial(load, path, config.dtype))
        # Of a folder's files, to detect that a model was retrained.
        files = sorted(file for file in Path(path).glob("*") if file.suffix in (".safetensors", ".bin", ".json"))
        weights = digest_of(files) if files else None
        for name, (items, origin) in data.items():
            deciding = {"model": model_name, "weights": weights, "data": origin}
            figures = _measure(lazily, name, items, out / name / slugs[model_name], deciding, tools, config)
            if model_name not in sizes:
                sizes[model_name] = sum(parameter.numel() for parameter in lazily()[0].parameters())
                write_json(sizes_file, sizes)
            about = {"task": name, "model": model_name, "parameters": sizes[model_name], "data": origin}
            results.append(about | figures)
    asked = {"k": config.k, "markers": list(config.markers.all), "solutions": config.solutions, "limit": config.limit}
    metrics = {"tools": sorted(tools), **asked, "toolalpaca_hf": __version__, "notes": notes, "results": results}
    write_report(out, metrics)
    write_json(out / "metrics.json", metrics)  # last: where it is, the rest is
    return metrics


def _measure(
    load: Load,
    name: str,
    items: Sequence[Item],
    folder: Path,
    deciding: Record,
    tools: Mapping[str, Tool],
    config: ToolformerEvaluationConfig,
) -> dict[str, Any]:
    if name == PERPLEXITY:
        settings, make = {**deciding, "max_length": config.max_length}, partial(losses, load, config.max_length)
        found = recorded(folder / "texts.jsonl", settings, items, make)
        about = {"title": "Perplexity", "section": "4.3", "measure": PERPLEXITY}
        return {**about, "perplexity": summarize_texts(found)}
    task = task_named(name, config.solutions)
    asked = {"prompt": prompt_of(task.prompt), "measure": task.measure, "max_new_tokens": task.max_new_tokens}
    records: dict[str, list[dict[str, Any]]] = {}
    for way, at_hand in {"without": {}, **({"calls": tools} if tools else {})}.items():
        settings = {**deciding, **asked, "markers": list(config.markers.all)}
        if at_hand:
            # If the questions have dates, today's does not matter.
            keys = {name: tool.for_document({"date": items[0].date}).key for name, tool in at_hand.items()}
            settings |= {"tools": keys, "k": config.k, "max_calls": task.max_calls}
        make = partial(answers, load, task, at_hand, config)
        records[way] = recorded(folder / f"{way}.jsonl", settings, items, make)
    figures = summarize(records.get("calls"), records["without"])
    return {"title": task.title, "section": task.section, "measure": task.measure, **figures}


def summarize(with_calls: Sequence[Record] | None, without: Sequence[Record]) -> dict[str, Any]:
    """The figures of a model on a task: `useful` items are right only with calls, `harmful` ones only without."""
    errors = sum(record["error"] is not None for record in [*without, *(with_calls or ())])
    right, plain = ([record["right"] for record in records] for records in (with_calls or (), without))
    figures: dict[str, Any] = {"n": len(without), "without_calls": rate(plain), "errors": errors}
    if with_calls is None:
        return figures
    called = [any(call["result"] is not None for call in record["calls"]) for record in with_calls]
    pairs = [(a, b) for a, b, has_call in zip(right, plain, called, strict=True) if has_call]
    tested = paired(right, plain, [str(i) for i in range(len(right))])
    difference = {name: tested[name] for name in ("difference", "low", "high", "wins", "losses")}
    return figures | {
        "with_calls": rate(right),
        "call_rate": rate(called),
        "useful": rate(a and not b for a, b in pairs),
        "harmful": rate(b and not a for a, b in pairs),
        "difference": {**difference, "p_value": tested["p_sign_test"]},
    }


def rate(values: Iterable[bool]) -> dict[str, Any]:
    """A rate with Wilson's 95% interval, as a task's questions are independent."""
    values = list(values)
    value = sum(values) / len(values) if values else None
    low, high = (None, None) if value is None else wilson(value, len(values))
    return {"value": value, "low": low, "high": high, "n": len(values)}


def _slugs(models: Sequence[str]) -> dict[str, str]:
    """The folder of each model: as much of the end of its name as tells it apart."""
    slugs: dict[str, str] = {}
    for model in models:
        parts = [part for part in re.sub(r"[^\w./-]+", "-", model).split("/") if part.strip(".")] or ["model"]
        names = ("-".join(parts[-depth:]) for depth in range(1, len(parts) + 1))
        free = next((name for name in names if name not in slugs.values()), None)
        if model in slugs or not free:
            raise OptionError(f"{model} is named twice", option="--model", fix="name each once")
        slugs[model] = free
    return slugs
