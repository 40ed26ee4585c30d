"""The `datasets` builder: the same rows as the repo, and a cache that follows the files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from raw_layout import raw_api, raw_instance

from toolalpaca_hf.data import ToolAlpaca, make_prompt, resolve_sources, write_repo
from toolalpaca_hf.errors import InputError, OptionError
from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.schema import SPLITS

Write = Callable[[str, Any], Path]


def build(tmp_path: Path, config: str, **kwargs: Any) -> ToolAlpaca:
    builder = ToolAlpaca(str(tmp_path / "cache"), config, **kwargs)
    builder.download_and_prepare()
    return builder


@pytest.mark.parametrize("config", FEATURES)
def test_rows_are_those_of_the_repo(tmp_path: Path, config: str) -> None:
    write_repo(resolve_sources("sample"), tmp_path / "repo", make_prompt("react"))
    builder = build(tmp_path, config, source="sample")
    splits = builder.as_dataset()
    assert list(splits) == [split for split in SPLITS[config] if split != "eval_real"]
    for split, rows in splits.items():
        assert rows.features == FEATURES[config]
        assert list(rows) == list(load_dataset(str(tmp_path / "repo"), config, split=split, streaming=True))
        assert list(builder.as_streaming_dataset(split=split)) == list(rows)


def test_the_sample_is_the_default(tmp_path: Path) -> None:
    builder = ToolAlpaca(str(tmp_path))
    assert builder.config.name == "sft" and builder.config_id == ToolAlpaca(str(tmp_path), source="sample").config_id


def test_a_changed_file_never_yields_a_stale_cache(write: Write, tmp_path: Path) -> None:
    train = write("train.json", [raw_api(Instances=[raw_instance("High tide?")])])
    first = build(tmp_path, "trajectories", train=str(train))
    write("train.json", [raw_api(Instances=[raw_instance("Low tide?")])])
    second = build(tmp_path, "trajectories", train=str(train))
    assert first.as_dataset(split="train")["instruction"][:] == ["High tide?"]
    assert second.as_dataset(split="train")["instruction"][:] == ["Low tide?"]
    assert first.cache_dir != second.cache_dir


def test_the_config_id_follows_all_that_rows_are_made_of(write: Write, tmp_path: Path) -> None:
    content = json.dumps([raw_api(Instances=[raw_instance()])])
    train, moved = str(write("train.json", content)), str(write("moved/train.json", content))
    processed = str(write("more.json", [[["a", "b"], [False, True]]]))
    prompts = write(
        "agent/agent_prompts.py",
        'P = "Hello"\nF = "Use {tool_names}"\nS = "USER: {input}{agent_scratchpad}"\n'
        'D = {"prefix": P, "format_instructions": F, "suffix": S}\nprompt_proj = {"test_v1": D}\n',
    )
    tools = 'class GetDetailsTool:\n    def __init__(self):\n        description = """Ask."""\n'
    write("agent/tools.py", tools)

    def config_id(**kwargs: Any) -> str:
        return ToolAlpaca(str(tmp_path / "cache"), "sft", **kwargs).config_id

    upstream = {"train": train, "prompt": "upstream", "prompt_dir": str(prompts.parent)}
    ids = [
        config_id(train=train),
        config_id(train=[train, train]),
        config_id(train=train, processed=processed),
        config_id(train=train, upstream_selection=True),
        config_id(**upstream),
    ]
    write("agent/tools.py", tools.replace("Ask.", "Ask the user."))
    ids.append(config_id(**upstream))
    assert len(set(ids)) == len(ids)
    assert config_id(train=moved) == ids[0]


def test_a_split_without_rows_is_left_out_or_told(tmp_path: Path, write: Write) -> None:
    train = str(write("train.json", [raw_api(Instances=[{"error": "x"}])]))
    evaluated = str(write("eval.json", [raw_api(Instructions=["High tide?"], Golden_Answers=[[]])]))
    assert list(build(tmp_path, "apis", train=train, eval_simulated=evaluated).as_dataset()) == [
        "train",
        "eval_simulated",
    ]
    with pytest.raises(InputError, match="records an error"):
        build(tmp_path, "trajectories", train=train)


def test_unknown_names_are_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(OptionError):
        ToolAlpaca(str(tmp_path), "sfft")
    with pytest.raises(OptionError):
        ToolAlpaca(str(tmp_path), "sft", prompt="vicuna")
    train = str(write("train.json", [raw_api(Instances=[])]))
    with pytest.raises(InputError):
        build(tmp_path, "instructions", train=train)
