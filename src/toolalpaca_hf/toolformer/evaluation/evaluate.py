"""Evaluates checkpoints on tasks (section 4) with and without calls; answers are in OUT/TASK/MODEL/*.jsonl."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ... import __version__
from ...checkpoints import resolve_model
from ...errors import InputError, OptionError
from ...evaluation import RESAMPLES, paired, resampled, tails, wilson
from ...metrics import perplexity
from ...storage import JsonlLog, SettingsClaim, read_json, write_json
from ..dataset import split_marks
from ..markers import Markers
from ..rows import SUFFIXES, hub_rows, read_rows, read_text
from ..tasks import MEASURES, EvalTask, Item, prompt_of, read_items, task_named
from ..tools import ResultCache, Tool
from .report import write_report

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..decoding import Generated

PERPLEXITY = "perplexity"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ToolformerEvaluationConfig:
    """Arguments of [`evaluate`] and `toolalpaca toolformer evaluate`.

    Args:
        models (`Sequence[str]`): Folders, Hub ids, or `smollm2`; several give a curve over model size.
        tasks (`Mapping[str, str | Path | None]`): Data by task (also `perplexity`), `None` for the Hub's.
        k (`int`, *optional*, defaults to 10): Start a call if its marker is among the k likeliest (section 4.2).
        solutions (`bool`, *optional*, defaults to `False`): Ask for worked solutions in maths; see [`task_named`].
        max_length (`int`, *optional*, defaults to 1024): Window for perplexity, in tokens.
        dtype (`str`, *optional*, defaults to `"auto"`): Precision of the models; see [`load_model`].
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
    device: str | None = None
    dtype: str = "auto"
    cache: str | Path | None = None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in self.tasks:  # before a tool is opened, which may be a model
            if name != PERPLEXITY:
                task_named(name, self.solutions)


class LazyModel:
    """A model (a folder, a Hub id, or `smollm2`) that is loaded when first needed."""

    def __init__(self, name: str, device: str | None = None, dtype: str = "auto") -> None:
        self.name, self.device, self.dtype = name, device, dtype
        self.path = resolve_model(name)

    @cached_property
    def loaded(self) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
        from ...inference import load_model

        return load_model(self.path, self.device, self.dtype)

    def weights(self) -> str | None:
        """A digest of a folder's files, to detect that a model was retrained."""
        folder = Path(self.path)
        if not folder.is_dir():
            return None
        files = sorted(path for path in folder.glob("*") if path.suffix in (".safetensors", ".bin", ".json"))
        stats = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
        return hashlib.sha256("\n".join(stats).encode()).hexdigest()[:16]


@contextmanager
def open_answers(path: Path, settings: Mapping[str, Any]) -> Iterator[JsonlLog]:
    """A model's answers to a task by id; the settings they were made with are in `NAME.settings.json`."""
    with JsonlLog(path) as answers:
        SettingsClaim(path.with_suffix(".settings.json"), settings, "answers", made=path).claim()
        yield answers


def answer_items(
    model: LazyModel,
    task: EvalTask,
    items: Sequence[Item],
    answers: JsonlLog,
    tools: Mapping[str, Tool],
    config: ToolformerEvaluationConfig,
) -> None:
    """Answer what is missing or failed before. Without tools, calls are disabled."""
    rest = [item for item in items if not _is_answer(answers.rows.get(item.id), item)]
    done = len(items) - len(rest)
    with tqdm(total=len(items), initial=done, unit="item", desc=answers.path.stem, disable=None) as bar:
        if not rest:
            return
        from ..decoding import generate

        options: dict[str, Any] = {"max_calls": task.max_calls, "max_new_tokens": task.max_new_tokens}
        options |= {"markers": config.markers, "k": config.k, "calls_enabled": bool(tools)}
        options |= {"cache": ResultCache(config.cache) if config.cache else None, "timeout": config.timeout}
        for batch in _batches(rest, model.loaded[1], config.batch_size, by_date=bool(tools)):
            dated = {name: tool.for_document({"date": batch[0].date}) for name, tool in tools.items()}
            prompts = [item.prompt for item in batch]
            written = generate(*model.loaded, prompts, dated, batch_size=len(batch), **options)
            answers.append(*(_record(task, *pair) for pair in zip(batch, written, strict=True)))
            bar.update(len(batch))


def _batches(
    items: Sequence[Item], tokenizer: "PreTrainedTokenizerBase", size: int, by_date: bool
) -> Iterator[Sequence[Item]]:
    """Batches of similar length, longest first; with `by_date`, for tools that depend on it, of one date each."""
    ids = tokenizer([item.prompt for item in items])["input_ids"]
    lengths = {item.id: len(row) for item, row in zip(items, ids, strict=True)}  # type: ignore[arg-type]  # lists

    def date(item: Item) -> str:
        return (item.date or "") if by_date else ""

    for _, group in groupby(sorted(items, key=lambda item: (date(item), -lengths[item.id], item.id)), date):
        dated = list(group)
        yield from (dated[start : start + size] for start in range(0, len(dated), size))


def _is_answer(record: Mapping[str, Any] | None, item: Item) -> bool:
    """Whether a record answers this item: other data may have the same file name, and so the same ids."""
    if record is None or record["error"] is not None:
        return False
    found = (record["prompt"], record["answers"], record.get("date", item.date))
    return found == (item.prompt, list(item.answers), item.date)


def _record(task: EvalTask, item: Item, written: "Generated") -> dict[str, Any]:
    return {
        "id": item.id,
        "prompt": item.prompt,
        "date": item.date,
        "text": written.text,
        "plain": written.plain,
        "calls": [asdict(call) for call in written.calls],
        "answers": list(item.answers),
        "right": written.error is None and MEASURES[task.measure](written.plain, item.answers),
        "tokens": written.tokens,
        "error": written.error,
    }


HUB = ("Salesforce/wikitext", "wikitext-103-raw-v1", "test")

_GROUP = 256


def read_texts(
    data: str | Path | None = None, limit: int | None = None
) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Plain texts with their ids, where they are from, and a note if rows were skipped; WikiText from the Hub by
    default.

    `data` is JSON lines or Parquet with `text`, or GSM8K's questions and answers; any other file is a single text.
    """
    if data is None:
        name, texts = "wikitext", (row.get("text") for row in hub_rows(*HUB, fix="pass a file with --data"))
    elif str(data).endswith(SUFFIXES):
        name, texts = Path(data).stem, map(_text_of, read_rows(data))
    else:
        name, texts = Path(data).stem, iter([read_text(data)])
    rows = [(f"{name}/{i}", text) for i, text in enumerate(texts)]
    found = [(row_id, text) for row_id, text in rows if isinstance(text, str) and text.strip()]
    if not found:
        raise InputError("holds no text", file=data, fix="pass JSON lines with the field text")
    without = sum(not isinstance(text, str) for _, text in rows)
    note = f"Perplexity: {without} rows are left out, since they have no field text"
    return found[:limit], HUB[0] if data is None else Path(data).name, [note] if without else []


def _text_of(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    if isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
        return f"{row['question'].strip()}\n{split_marks(row['answer'].strip())[0]}"
    return row.get("text")


def measure_texts(lazy: LazyModel, texts: Sequence[tuple[str, str]], answers: JsonlLog, max_length: int) -> None:
    """Compute `nll` (a sum) and `tokens` of each text, unless its record has the digest of this very text."""
    rest = [(row_id, text) for row_id, text in texts if answers.rows.get(row_id, {}).get("digest") != _digest(text)]
    with tqdm(total=len(texts), initial=len(texts) - len(rest), unit="text", desc=answers.path.stem) as bar:
        if not rest:
            return
        model, tokenizer = lazy.loaded
        longest = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", max_length)
        for start in range(0, len(rest), _GROUP):
            group = rest[start : start + _GROUP]
            found = log_likelihoods(model, tokenizer, [text for _, text in group], min(max_length, longest))
            rows = [{"nll": nll, "tokens": tokens} for nll, tokens in found]
            pairs = zip(group, rows, strict=True)
            answers.append(*({"id": row_id, **row, "digest": _digest(text)} for (row_id, text), row in pairs))
            bar.update(len(group))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def log_likelihoods(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    max_length: int,
    batch_tokens: int = 2048,
) -> list[tuple[float, int]]:
    """The negative log-likelihood of each text (a sum), and its number of tokens.

    Windows overlap by one token, so that only the text's first token is not predicted.
    """
    from ...inference import token_logprobs

    windows = []
    for index, text in enumerate(texts):
        ids = tokenizer(text, verbose=False)["input_ids"]
        windows += [(index, ids[start : start + max_length]) for start in range(0, len(ids) - 1, max_length - 1)]
    sums, counts = [0.0] * len(texts), [0] * len(texts)
    found = token_logprobs(model.eval(), [(ids, range(1, len(ids))) for _, ids in windows], batch_tokens)
    for (index, _), logprobs in zip(windows, found, strict=True):
        sums[index] -= math.fsum(logprobs)
        counts[index] += len(logprobs)
    return list(zip(sums, counts, strict=True))


def summarize_texts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Perplexity over all tokens (`value`), with a 95% interval from a bootstrap over texts."""
    tokens = sum(record["tokens"] for record in records)
    if not tokens:
        raise InputError("the texts have no token to predict", fix="pass longer ones")
    sums = np.array([[record["nll"], record["tokens"]] for record in records], dtype=float)
    means = resampled(sums, resamples=max(200, min(2000, 10_000_000 // len(sums))))
    low, high = np.quantile(means[:, 0] / np.maximum(means[:, 1], 1), tails(len(sums))).tolist()
    value = perplexity([[-float(sums[:, 0].sum()) / tokens]])["perplexity"]
    return {"value": value, "low": math.exp(low), "high": math.exp(high), "n": len(records), "tokens": tokens}


def evaluate(config: ToolformerEvaluationConfig, tools: Mapping[str, Tool] | None = None) -> dict[str, Any]:
    """Evaluate checkpoints on tasks; if interrupted and called again, resume. Returns the contents of `metrics.json`.

    Args:
        tools (`Mapping[str, Tool]`, *optional*): Tools from [`open_tools`]; without any, calls are disabled.
    """
    tools, out = tools or {}, Path(config.out)
    if not config.models or not config.tasks:
        raise OptionError("there is nothing to evaluate", option="--model and --task", fix="pass them")
    slugs = _slugs(config.models)
    # All data first, to report a missing file before a model runs for hours.
    data: dict[str, tuple[list[Any], str]] = {}
    notes: list[str] = []
    for name, file in config.tasks.items():
        read: tuple[list[Any], str, list[str]]
        if name == PERPLEXITY:
            read = read_texts(file, config.limit)
        else:
            read = read_items(task_named(name, config.solutions), file, config.limit)
        data[name], notes = read[:2], notes + read[2]
    results = []
    sizes_file = out / "models.json"  # so that a run that has all its answers loads no model
    sizes: dict[str, int] = read_json(sizes_file) if sizes_file.is_file() else {}
    for model_name in config.models:
        model = LazyModel(model_name, config.device, config.dtype)
        for name, (items, origin) in data.items():
            folder = out / name / slugs[model_name]
            deciding = {"model": model.name, "weights": model.weights(), "data": origin}
            if name == PERPLEXITY:
                figures = _measure_texts(model, items, folder, deciding, config)
            else:
                figures = _measure_task(model, name, items, folder, deciding, tools, config)
            if model_name not in sizes:
                sizes[model_name] = sum(parameter.numel() for parameter in model.loaded[0].parameters())
                write_json(sizes_file, sizes)
            about = {"task": name, "model": model_name, "parameters": sizes[model_name], "data": origin}
            results.append(about | figures)
    metrics = {
        "tools": sorted(tools),
        "k": config.k,
        "markers": list(config.markers.all),
        "solutions": config.solutions,
        "limit": config.limit,
        "toolalpaca_hf": __version__,
        "notes": notes,
        "results": results,
    }
    write_report(out, metrics)
    write_json(out / "metrics.json", metrics)  # last: where it is, the rest is
    return metrics


def _measure_task(
    model: LazyModel,
    name: str,
    items: Sequence[Any],
    folder: Path,
    deciding: Record,
    tools: Mapping[str, Tool],
    config: ToolformerEvaluationConfig,
) -> dict[str, Any]:
    task = task_named(name, config.solutions)
    asked = {"prompt": prompt_of(task.prompt), "measure": task.measure, "max_new_tokens": task.max_new_tokens}
    deciding = {**deciding, **asked, "markers": list(config.markers.all)}
    records: dict[str, list[dict[str, Any]]] = {}
    ways: dict[str, Mapping[str, Tool]] = {"without": {}} | ({"calls": tools} if tools else {})
    for way, at_hand in ways.items():
        settings = deciding
        if at_hand:
            # If the questions have dates, today's does not matter.
            keys = {name: tool.for_document({"date": items[0].date}).key for name, tool in at_hand.items()}
            settings = deciding | {"tools": keys, "k": config.k, "max_calls": task.max_calls}
        with open_answers(folder / f"{way}.jsonl", settings) as answers:
            answer_items(model, task, items, answers, at_hand, config)
            records[way] = [answers.rows[item.id] for item in items]
    figures = summarize(records.get("calls"), records["without"])
    return {"title": task.title, "section": task.section, "measure": task.measure, **figures}


def _measure_texts(
    model: LazyModel, texts: Sequence[Any], folder: Path, deciding: Record, config: ToolformerEvaluationConfig
) -> dict[str, Any]:
    with open_answers(folder / "texts.jsonl", {**deciding, "max_length": config.max_length}) as answers:
        measure_texts(model, texts, answers, config.max_length)
        records = [answers.rows[row_id] for row_id, _ in texts]
    return {"title": "Perplexity", "section": "4.3", "measure": PERPLEXITY, "perplexity": summarize_texts(records)}


def summarize(with_calls: Sequence[Record] | None, without: Sequence[Record]) -> dict[str, Any]:
    """The figures of a model on a task: `useful` items are right only with calls, `harmful` ones only without."""
    figures: dict[str, Any] = {"n": len(without), "without_calls": rate(record["right"] for record in without)}
    figures["errors"] = sum(record["error"] is not None for record in [*without, *(with_calls or ())])
    if with_calls is None:
        return figures
    called = [any(call["result"] is not None for call in record["calls"]) for record in with_calls]
    right, plain = [record["right"] for record in with_calls], [record["right"] for record in without]
    pairs = [pair for pair, has_call in zip(zip(right, plain, strict=True), called, strict=True) if has_call]
    # A bootstrap of tens of thousands of items does not need 2,000 resamples and their memory.
    resamples = max(200, min(RESAMPLES, 10_000_000 // len(right)))
    tested = paired(right, plain, [str(i) for i in range(len(right))], resamples=resamples)
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
    if not values:
        return {"value": None, "low": None, "high": None, "n": 0}
    value = sum(values) / len(values)
    low, high = wilson(value, len(values))
    return {"value": value, "low": low, "high": high, "n": len(values)}


def _slugs(models: Sequence[str]) -> dict[str, str]:
    slugs: dict[str, str] = {}
    for model in models:
        parts = [part for part in re.sub(r"[^\w./-]+", "-", model).split("/") if part.strip(".")] or ["model"]
        names = ["-".join(parts[-depth:]) for depth in range(1, len(parts) + 1)]
        free = [name for name in names if name not in slugs.values()]
        if model in slugs or not free:
            raise OptionError(f"{model} is named twice", option="--model", fix="name each once")
        slugs[model] = free[0]
    return slugs
