"""The published prompt against examples that were rendered with it, wherever the published files are at hand.

Upstream's own files are not: their strings are read off one rendered example, and the other examples are the test.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset

from toolalpaca_hf.data import Corpus, read_corpus, resolve_sources
from toolalpaca_hf.formats import UpstreamPrompt, parse_prompt, trajectory_segments

ROOT = Path(__file__).parents[2]
OBSERVATION, THOUGHT = "\nASSISTANT Observation: ", "\nASSISTANT Thought: "


@pytest.fixture(scope="session")
def processed(real_data: Path) -> list[list[Any]]:
    return json.loads((real_data / "processed_sample.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def raw(real_data: Path) -> Corpus:
    return read_corpus(resolve_sources(train=[str(real_data / "train_sample.json")]))


@pytest.fixture
def upstream_folder(processed: list[list[Any]], write_upstream: Callable[..., Path]) -> Path:
    """Upstream's strings, read off the first example's text."""

    def doubled(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    text = processed[0][0][0]
    prefix, rest = text.split("\n\ngetDetails: ", 1)
    first_names = text[text.rindex("[getDetails, ") + 1 : text.index("]", text.rindex("[getDetails, "))]
    first_function = first_names.split(", ")[1]
    details, rest = rest.split(f"\n{first_function}: ", 1)
    _, form, begin, question = rest.rsplit("\n\n", 3)
    question = question[: question.index(": ") + 2] + "{input}\nASSISTANT Thought:{agent_scratchpad}"
    form = doubled(doubled(form)).replace(f"[{first_names}]", "[{tool_names}]")
    return write_upstream(doubled(prefix), form, f"{doubled(begin)}\n\n{question}", doubled(details))


@pytest.fixture
def prompt(upstream_folder: Path) -> UpstreamPrompt:
    return UpstreamPrompt(upstream_folder)


def instruction_of(head: str) -> str:
    return head[head.rindex("\n\nUSER: ") + len("\n\nUSER: ") : head.rindex("\nASSISTANT Thought:")]


def without_fault(texts: list[str], flags: list[int]) -> list[tuple[str, bool]]:
    """The segments without the one failed turn that the fork put in, and its complaint.

    The fork made a 7B model fail once in every example and trains on what comes after. Such a turn carries neither the
    label of the observation nor that of the next thought, and is not trained.
    """
    (place,) = (
        i
        for i in range(1, len(texts) - 2, 2)
        if not flags[i] and not texts[i].endswith(OBSERVATION) and not flags[i + 1]
    )
    assert not texts[place + 1].endswith(THOUGHT)
    pairs = [(text, bool(flag)) for text, flag in zip(texts, flags, strict=True)]
    return pairs[:place] + pairs[place + 2 :]


def twins(raw: Corpus, processed: list[list[Any]], prompt: UpstreamPrompt) -> list[tuple[str, list[Any], list[Any]]]:
    """Instances that occur in both files, by instruction: id, our segments, a processed example."""
    apis = {api.id: api for api in raw.apis["train"]}
    return [
        (trajectory.id, trajectory_segments(apis[trajectory.api], trajectory, prompt), example)
        for trajectory in raw.trajectories["train"]
        for example in processed
        if instruction_of(example[0][0]) == trajectory.instruction
    ]


def test_every_twin_is_byte_equal(raw: Corpus, processed: list[list[Any]], prompt: UpstreamPrompt) -> None:
    found = twins(raw, processed, prompt)
    assert [name for name, _, _ in found] == [
        "train/airtel-ip/0",
        "train/feedbin/0",
        *["train/ynab/0"] * 3,
        "train/ynab/1",
        *["train/zenrows/0"] * 2,
    ]
    for name, segments, (texts, flags) in found:
        ours = [(segment.text, segment.trainable) for segment in segments]
        assert ours[0] == (texts[0], False), name
        # The raw file's own first step failed as well, and the fork left it out; all others are equal, in texts and
        # in flags.
        assert without_fault(texts, flags) == [ours[0], *ours[3:]], name


def test_a_failed_step_that_both_files_have_differs_by_its_labels_alone(
    raw: Corpus, processed: list[list[Any]], prompt: UpstreamPrompt
) -> None:
    ((_, segments, (texts, _)),) = (twin for twin in twins(raw, processed, prompt) if twin[0] == "train/feedbin/0")
    assert segments[1].text == texts[1].removeprefix(" ") + OBSERVATION
    assert segments[2].text == texts[2] + THOUGHT


def test_every_published_head_is_rendered_again(processed: list[list[Any]], prompt: UpstreamPrompt) -> None:
    for texts, _ in processed:
        head = parse_prompt(texts[0])
        assert head is not None and head.instruction == instruction_of(texts[0])
        assert prompt.head(head.api, head.instruction) == texts[0]


def test_the_build_script_renders_it(
    raw: Corpus, processed: list[list[Any]], upstream_folder: Path, real_data: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "dataset_scripts" / "toolalpaca.py"),
            *("--train", real_data / "train_sample.json"),
            *("--prompt", "upstream", "--prompt-dir", upstream_folder, "--out", tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
    )
    assert done.returncode == 0, done.stderr
    rows = list(load_dataset(str(tmp_path / "out"), "sft", split="train", streaming=True))
    assert [row["id"] for row in rows] == [trajectory.id for trajectory in raw.trajectories["train"]]
    published = {instruction_of(texts[0]): texts[0] for texts, _ in processed}
    compared = 0
    for row, trajectory in zip(rows, raw.trajectories["train"], strict=True):
        if trajectory.instruction in published:
            assert row["segments"][0] == {"text": published[trajectory.instruction], "trainable": False}
            compared += 1
    assert compared == 5
