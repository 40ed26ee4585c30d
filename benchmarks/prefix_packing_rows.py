"""The rows that the benchmark of prefix packing trains on."""

import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset
from segments_to_labels import load_rows
from transformers import PreTrainedTokenizerBase

from toolalpaca_hf.agent import simulated_calls
from toolalpaca_hf.data import config_rows, read_corpus, read_file, resolve_sources
from toolalpaca_hf.formats import react_prompt, trajectory_segments
from toolalpaca_hf.schema import Api, Instruction, Step, Trajectory
from toolalpaca_hf.simulator import SESSION_HEADER, running
from toolalpaca_hf.training import IGNORE, tokenize_dataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "toolalpaca"


def eval_simulated(folder: Path, tokenizer: PreTrainedTokenizerBase, limit: int | None = None) -> Dataset | None:
    """The golden calls of the 100 simulated instructions, executed by the schema simulator, ten an API."""
    path = folder / "eval_simulated.json"
    if not path.is_file():
        return None
    split, corpus = read_file(path)
    apis = {api.id: api for api in corpus.apis[split]}
    rows = []
    with running(list(apis.values())) as url:
        calls = simulated_calls(apis.values(), url, SESSION_HEADER)
        for instruction in corpus.instructions[split][:limit]:
            api = apis[instruction.api]
            trajectory = _executed(api, instruction, calls[api.id].call)
            segments = [asdict(segment) for segment in trajectory_segments(api, trajectory, react_prompt())]
            rows.append({"id": instruction.id, "api": api.id, "segments": segments})
    return tokenize_dataset(Dataset.from_list(rows), tokenizer)[0]


def _executed(api: Api, instruction: Instruction, call: Callable[[str, str, str], str]) -> Trajectory:
    steps = [
        Step(
            f"The instruction asks for what {golden.action} does.",
            golden.action,
            golden.action_input,
            call(golden.action, golden.action_input, instruction.id),
        )
        for golden in instruction.golden_calls
    ]
    answer = "Here is what I found: " + " ".join(step.observation[:200] for step in steps)
    return Trajectory(instruction.id, api.id, instruction.instruction, "", steps, None, answer)


def built(
    folder: str | None, tokenizer: PreTrainedTokenizerBase, max_length: int, limit: int | None = None
) -> Dataset:
    """Of a built dataset repo, or of the embedded corpus."""
    rows = load_rows(folder)
    return tokenize_dataset(rows.select(range(min(limit or len(rows), len(rows)))), tokenizer, max_length)[0]


def train_sample(
    folder: Path, tokenizer: PreTrainedTokenizerBase, max_length: int, limit: int | None = None
) -> Dataset | None:
    """The published sample of the training set, an instance or two an API; the shortest where there is a limit."""
    path = folder / "train_sample.json"
    if not path.is_file():
        return None
    rows = list(config_rows(read_corpus(resolve_sources(train=path)), "sft", "train", react_prompt()))
    tokenized = tokenize_dataset(Dataset.from_list(rows), tokenizer, max_length)[0]
    lengths = list(map(len, tokenized["input_ids"]))
    return tokenized.select(sorted(range(len(lengths)), key=lengths.__getitem__)[:limit]) if limit else tokenized


def synthetic(branches: int, prefix: int, branch: int, vocabulary: int) -> Dataset:
    """Branches of random tokens, the second half of each trained, after one prefix."""
    draw = random.Random(0)
    head = [draw.randrange(100, vocabulary) for _ in range(prefix)]
    rows = []
    for number in range(branches):
        rest = [100 + number, *(draw.randrange(100, vocabulary) for _ in range(branch - 1))]
        labels = [IGNORE] * (prefix + branch // 2) + rest[branch // 2 :]
        rows.append({"input_ids": head + rest, "labels": labels})
    return Dataset.from_list(rows)
