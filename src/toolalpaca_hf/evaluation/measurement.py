"""First calls and perplexity of a model on some APIs, with baselines and a record of every instruction.

The paper judges whole trajectories (arXiv 2306.05301, section 4.1). The first call can be scored without running any
tool, without judge or simulator, which makes it the quickstart's measure.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..agent import LocalBackend, RolloutConfig
from ..checkpoints import resolve_model, weights_of
from ..data import Corpus
from ..errors import InputError
from ..formats import (
    GET_DETAILS,
    Prompt,
    ReactPrompt,
    bm25_scores,
    parse_turn,
    react_prompt,
    step_log,
    trajectory_segments,
)
from ..inference import BatchGenerator, load_model, token_logprobs
from ..metrics import arguments_equal, golden_arguments, same_function
from ..schema import Api, Call, Instruction, Segment, Trajectory
from ..storage import atomic_write
from ..training import IGNORE, SegmentTokenizer
from .evaluate import evaluate_model
from .suite import Suite, read_trajectories


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    apis: Sequence[Api],
    instructions: Sequence[Instruction],
    references: Sequence[Trajectory] = (),
    prompt: Prompt | None = None,
    turns: Mapping[str, str] | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Measure a model on unseen instructions; those without a golden call are left out.

    Args:
        references (`Sequence[Trajectory]`, *optional*): Trajectories of the same APIs, for `perplexity`.
        prompt (`Prompt`, *optional*): That of training; else [`react_prompt`] with the checkpoint's `tool_hints`.
        turns (`Mapping[str, str]`, *optional*): First turns by instruction id, as of [`first_turn_text`].

    Returns:
        `tuple[dict, list[str]]`: `n`, the shares `well_formed`, `known_function`, `first_function` and `arguments` (an
            unreadable turn counts against each), the [`baselines`], `perplexity`; and a JSON line per instruction.
    """
    prompt = prompt or react_prompt(int(tokenizer.init_kwargs.get("tool_hints", 0)))
    by_id = {api.id: api for api in apis}
    asked = [instruction for instruction in instructions if instruction.golden_calls]
    if not asked:
        raise InputError("no instruction has a golden call to compare with", fix="name an evaluation file")
    if turns is None:
        heads = [prompt.head(by_id[instruction.api], instruction.instruction) for instruction in asked]
        texts = first_turns(model, tokenizer, heads, prompt.stop)
    else:
        texts = [turns.get(instruction.id, "") for instruction in asked]
    records = []
    for row, text in zip(asked, texts, strict=True):
        about = {"id": row.id, "instruction": row.instruction, "golden": [asdict(call) for call in row.golden_calls]}
        records.append(about | {"text": text, **score_first_call(by_id[row.api], row.golden_calls[0], text)})
    names = ("well_formed", "known_function", "first_function", "arguments")
    shares = {name: sum(bool(record[name]) for record in records) / len(records) for name in names}
    metrics = {"n": len(asked), **shares, **baselines(by_id, asked)}
    if references:
        examples = [trajectory_segments(by_id[reference.api], reference, prompt) for reference in references]
        metrics["perplexity"] = perplexity(model, tokenizer, examples)
    return metrics, [json.dumps(record, ensure_ascii=False) for record in records]


def measure_rollouts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    suite: Suite,
    out: Path,
    config: RolloutConfig,
    prompt: ReactPrompt,
    references: Sequence[Trajectory] = (),
) -> tuple[dict[str, Any], list[str]]:
    """[`evaluate_model`] with functions that exist, and [`measure`] the first turns; rates of the whole: `rollout`."""
    # All at once: on two AVX2 cores a step of 40 rows takes twice as long as one of 10.
    backend = LocalBackend(model, tokenizer, batch_size=40, name=out.name, constrained=True)
    scores = evaluate_model(suite, backend, out, config=config, prompt=prompt)
    attempts, _ = read_trajectories(out / "rollouts", suite)
    turns = {row.instruction.id: first_turn_text(row.trajectory) for row in attempts if row.trajectory}
    metrics, records = measure(model, tokenizer, suite.apis, suite.instructions, references, prompt, turns)
    return metrics | {"rollout": {name: scores[name] for name in ("n", "failed", "calls", "process_verdict")}}, records


def measure_checkpoint(model: str, corpus: Corpus, dtype: str = "auto") -> tuple[dict[str, Any], list[str]]:
    """[`measure`] a checkpoint (a folder, a Hub id, or `smollm2`) on every split of a corpus that has instructions.

    Returns `model`, `weights` (in words), `dtype`, the metrics of each split and of `all`; and a line per instruction.
    """
    path = resolve_model(model)
    loaded, tokenizer = load_model(path, dtype=dtype)
    columns, records = dict[str, dict[str, float]](), list[str]()
    for split, instructions in corpus.instructions.items():
        if instructions:
            references = corpus.trajectories.get(split, [])
            columns[split], lines = measure(loaded, tokenizer, corpus.apis[split], instructions, references)
            records += lines
    if len(columns) > 1:
        total = sum(column["n"] for column in columns.values())
        shares = [name for name in next(iter(columns.values())) if name not in ("n", "perplexity")]
        mean = {name: sum(column[name] * column["n"] for column in columns.values()) / total for name in shares}
        columns["all"] = {"n": total, **mean}
    about = {"model": model, "weights": weights_of(path), "dtype": str(loaded.dtype).removeprefix("torch.")}
    return about | columns, records


def first_turns(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    stop: str,
    max_new_tokens: int = 128,
    batch_size: int = 32,
) -> list[str]:
    """The first turn for each prompt, greedily; raises the model's error if one cannot be written even by itself."""
    segment_tokenizer = SegmentTokenizer(tokenizer)
    generator = BatchGenerator(model, tokenizer, (stop,), batch_size)
    rows = [generator.start(None, segment_tokenizer.prompt_ids(prompt), max_new_tokens) for prompt in prompts]
    with tqdm(total=len(rows), desc="first turns", unit="turn", disable=None) as bar:
        while not all(row.ended for row in rows):
            generator.step()
            bar.update(sum(row.ended for row in rows) - bar.n)
    texts = []
    for outcome in map(generator.outcome, rows):
        if isinstance(outcome, Exception):
            raise outcome
        texts.append(outcome.text + (stop if outcome.end == stop else ""))
    return texts


def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Iterable[Sequence[Segment]]
) -> float:
    """Perplexity over all trained tokens of some examples: exp of their mean negative log-likelihood."""
    rows = SegmentTokenizer(tokenizer).encode_batch(list(examples))
    trained = [[n for n, label in enumerate(row["labels"]) if n and label != IGNORE] for row in rows]
    sequences = [(row["input_ids"], columns) for row, columns in zip(rows, trained, strict=True)]
    found = [value for values in token_logprobs(model.eval(), sequences) for value in values]
    if not found:
        raise InputError("no example has a trained token", fix="name one whose text is trained")
    return math.exp(-math.fsum(found) / len(found))


def score_first_call(api: Api, golden: Call, text: str) -> dict[str, Any]:
    """Score one first turn: the `bool`s of [`measure`]'s shares, and the parsed `action` and `action_input`."""
    turn = parse_turn(text)
    golden_input = golden_arguments(golden.action_input)
    right = turn.well_formed and same_function(golden.action, turn.action or "")
    return {
        "well_formed": turn.well_formed,
        "known_function": turn.well_formed and turn.action in {GET_DETAILS, *(f.name for f in api.functions)},
        "first_function": right,
        "arguments": right and golden_input is not None and arguments_equal(golden_input, turn.arguments or {}),
        "action": turn.action,
        "action_input": turn.action_input,
    }


def first_turn_text(trajectory: Trajectory) -> str:
    """The text of a rollout's first turn, rebuilt from its trajectory."""
    if trajectory.steps:
        return f" {step_log(trajectory.steps[0], prefix='')}"
    return f" {trajectory.final_thought or ''}\nResponse: {trajectory.response}"


def _words(text: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\W]+", " ", text).lower()
    return {word.removesuffix("s") for word in spaced.split() if len(word) > 2}


def baselines(apis: dict[str, Api], instructions: Sequence[Instruction]) -> dict[str, float]:
    """Expected shares of right first functions without learning: by chance, by shared words and by BM25."""
    found: dict[str, float] = dict.fromkeys(("chance", "word_overlap", "bm25"), 0.0)
    for instruction in instructions:
        functions, golden = apis[instruction.api].functions, instruction.golden_calls[0].action
        found["chance"] += 1 / (len(functions) + 1)  # getDetails is shown as well
        asked, overlaps = _words(instruction.instruction), []
        for function in functions:
            words = _words(f"{function.name} {function.description.splitlines()[0] if function.description else ''}")
            overlaps.append(len(asked & words) / math.sqrt(len(words) or 1))
        for name, scores in (("word_overlap", overlaps), ("bm25", bm25_scores(functions, instruction.instruction))):
            # What a choice of the best is expected to get right, ties broken at random.
            best = [function.name for function, score in zip(functions, scores, strict=True) if score == max(scores)]
            found[name] += any(same_function(golden, choice) for choice in best) / max(1, len(best))
    return {name: total / len(instructions) for name, total in found.items()}


def as_table(columns: dict[str, dict[str, Any]]) -> str:
    """Metrics by heading, side by side: a row per metric, a column per run, shares as percentages.

    Example:

    ```python
    >>> print(as_table({"before": {"arguments": 0.0}, "after": {"arguments": 0.5}}))
                                    before     after
    arguments match                   0.0%     50.0%
    ```
    """
    names = {
        "well_formed": "well-formed action",
        "known_function": "function exists",
        "first_function": "first function right",
        "arguments": "arguments match",
        "perplexity": "perplexity (trained tokens)",
    }
    lines = [" " * 28 + "".join(f"{heading:>10}" for heading in columns)]
    for name, words in names.items():
        values = [column.get(name) for column in columns.values()]
        form = "{:.2f}" if name == "perplexity" else "{:.1%}"
        cells = ["" if value is None else form.format(value) for value in values]
        if any(cells):
            lines.append(f"{words:<28}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def write_records(records: Sequence[str], path: Path) -> None:
    """Write the lines of [`measure`] to a file."""
    atomic_write(path, "".join(f"{record}\n" for record in records))
