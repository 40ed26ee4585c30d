"""The dataset repo: opened as users open it, rebuilt, replaced, and never half-written."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import get_dataset_config_names, load_dataset, load_dataset_builder
from raw_layout import raw_api, raw_instance

from toolalpaca_hf.data import Sources, make_prompt, read_corpus, repo, resolve_sources, write_repo
from toolalpaca_hf.data.corpus import _not_trained
from toolalpaca_hf.data.repo import check_replaceable, folder_in_place
from toolalpaca_hf.errors import InputError, OptionError, SettingsMismatchError
from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.formats import react_prompt, trajectory_segments
from toolalpaca_hf.schema import SPLITS, Step, Trajectory
from toolalpaca_hf.storage import FileInUseError

Write = Callable[[str, Any], Path]


@pytest.fixture
def sources(write: Write) -> Sources:
    """Two APIs of one name, an evaluation file, and processed rows."""
    numbers = json.dumps({"openapi": "3.0.0", "paths": {}, "x": 0.12345678901234567, "é": "天"})
    train = write(
        "train.json",
        [
            raw_api(Instances=[raw_instance(), raw_instance("Low tide?", steps=7), {"error": "none"}]),
            raw_api(Instances=[raw_instance(output=...)], Documentation=numbers),
        ],
    )
    simulated = write("eval.json", [raw_api("Moons", Instructions=["Full moon?"], Golden_Answers=[[]])])
    processed = write("more.json", [[["prompt ", "act"], [False, True]]])
    return resolve_sources(train=train, eval_simulated=simulated, processed=processed)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repo of the embedded corpus."""
    folder = tmp_path_factory.mktemp("repo") / "sample"
    write_repo(resolve_sources("sample"), folder, make_prompt("react"))
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pairs() -> Iterator[tuple[str, str]]:
    return ((config, split) for config, names in SPLITS.items() for split in names if split != "eval_real")


@pytest.mark.parametrize(("config", "split"), pairs())
def test_the_same_rows_in_memory_mapped_and_streamed(sample: Path, tmp_path: Path, config: str, split: str) -> None:
    cache = str(tmp_path / "cache")
    mapped = load_dataset(str(sample), config, split=split, cache_dir=cache)
    in_memory = load_dataset(str(sample), config, split=split, cache_dir=cache, keep_in_memory=True)
    streamed = load_dataset(str(sample), config, split=split, streaming=True)
    assert mapped.cache_files and not in_memory.cache_files
    assert mapped.features == in_memory.features == streamed.features == FEATURES[config]
    assert list(mapped) == list(in_memory) == list(streamed) and len(mapped)
    assert len(set(mapped["id"])) == len(mapped)


def test_rows_are_those_of_the_embedded_corpus(sample: Path, tmp_path: Path) -> None:
    corpus = read_corpus(resolve_sources("sample"))
    assert len(corpus.apis["train"]) >= 12 and len(corpus.apis["eval_simulated"]) == 4
    apis = {row["id"]: row for row in load_dataset(str(sample), "apis", split="train", streaming=True)}
    for api in corpus.apis["train"]:
        assert apis[api.id]["documentation"] == api.documentation != {}
        assert [one["name"] for one in apis[api.id]["functions"]] == [one.name for one in api.functions]
    by_id = {api.id: api for api in corpus.apis["train"]}
    sft = list(load_dataset(str(sample), "sft", split="train", cache_dir=str(tmp_path)))
    assert len(sft) == len(corpus.trajectories["train"])
    for row, trajectory in zip(sft, corpus.trajectories["train"], strict=True):
        segments = trajectory_segments(by_id[trajectory.api], trajectory, react_prompt())
        assert row["id"] == trajectory.id and row["api"] == trajectory.api
        assert [(one["text"], one["trainable"]) for one in row["segments"]] == [
            (s.text, s.trainable) for s in segments
        ]


def test_the_card_says_what_it_is(sample: Path) -> None:
    card = (sample / "README.md").read_text(encoding="utf-8")
    head, body = card.split("---\n", 2)[1:]
    data = yaml.safe_load(head)
    assert data["license"] == "apache-2.0" and data["language"] == ["en"] and data["size_categories"] == ["n<1K"]
    assert "sample-data" in data["tags"] and "**This is sample data**" in body and "[[" not in body
    assert {config["config_name"] for config in data["configs"]} == set(FEATURES)
    for info in data["dataset_info"]:
        config = info["config_name"]
        size = sum(path.stat().st_size for path in (sample / config).iterdir())
        assert info["download_size"] == size
        assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
        # What `datasets` counts itself when it reads the shards.
        for split in info["splits"]:
            rows = load_dataset(str(sample), config, split=split["name"], streaming=True)
            assert sum(1 for _ in rows) == split["num_examples"]
    report = json.loads((sample / "report.json").read_text(encoding="utf-8"))
    assert all(source["git_blob"] in body for source in report["sources"])
    assert sorted(report["files"]) == sorted(digests(sample))
    assert load_dataset_builder(str(sample)).config.name == "sft"
    assert sorted(get_dataset_config_names(str(sample))) == sorted(FEATURES)


def test_rows_in_are_rows_kept_and_set_aside(sources: Sources, tmp_path: Path) -> None:
    build = write_repo(sources, tmp_path / "out", make_prompt("react"), selection=True)
    assert build.split_rows == {
        "apis": {"train": 2, "eval_simulated": 1},
        "trajectories": {"train": 3},
        "instructions": {"eval_simulated": 1},
        "sft": {"train": 2},
        "chat": {"train": 1},
    }
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    counts = {(line["config"], line["file"]): line for line in report["counts"]}
    assert all(line["rows_in"] == line["kept"] + line["set_aside"] for line in report["counts"])
    assert counts["trajectories", "train.json"]["rows_in"] == 4
    assert [(row["config"], row["row"], row["reason"]) for row in report["set_aside"] if row["config"] == "sft"] == [
        ("sft", "train/tides/1", "upstream's selection: has 7 steps, more than 5"),
        ("sft", "train/tides-2/0", "has no response to train on"),
    ]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "more than 5" in card and "records an error: 'none'" in card


def test_names_do_not_reach_the_terminal_as_commands(write: Write, tmp_path: Path) -> None:
    apis = [raw_api("Ti\x1b[2J\ndes", Function_Projection=None), raw_api(Instances=[raw_instance()])]
    build = write_repo(resolve_sources(train=write("train.json", apis)), tmp_path / "out", make_prompt("react"))
    assert "\x1b" not in build.summary() and "API 0 (Ti␛[2J des)" in build.summary()


def test_json_columns_keep_what_was_read(sources: Sources, tmp_path: Path) -> None:
    write_repo(sources, tmp_path / "out", make_prompt("react"))
    row = list(load_dataset(str(tmp_path / "out"), "apis", split="train", streaming=True))[1]
    assert row["id"] == "train/tides-2" and row["documentation"]["é"] == "天"
    assert row["documentation"]["x"] == pytest.approx(0.12345678901234567, rel=1e-15)
    sft = load_dataset(str(tmp_path / "out"), "sft", split="train", streaming=True)
    assert [one["api"] for one in sft] == ["train/tides", "train/tides", None]


def test_rebuilding_gives_identical_bytes(sources: Sources, tmp_path: Path) -> None:
    write_repo(sources, tmp_path / "one", make_prompt("react"))
    first = digests(tmp_path / "one")
    write_repo(sources, tmp_path / "elsewhere" / "two", make_prompt("react"))
    write_repo(sources, tmp_path / "one", make_prompt("react"))
    assert digests(tmp_path / "elsewhere" / "two") == digests(tmp_path / "one") == first
    assert {path.name for path in tmp_path.iterdir()} == {"one", "elsewhere", "train.json", "eval.json", "more.json"}


def test_shards_are_joined_again(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_repo(sources, tmp_path / "whole", make_prompt("react"))
    monkeypatch.setattr(repo, "SHARD_BYTES", 700)
    write_repo(sources, tmp_path / "out", make_prompt("react"))
    names = sorted(path.name for path in (tmp_path / "out" / "sft").iterdir())
    assert len(names) > 1 and names[0] == f"train-00000-of-{len(names):05d}.parquet"
    whole, sharded = (
        list(load_dataset(str(tmp_path / name), "sft", split="train", streaming=True)) for name in ("whole", "out")
    )
    assert whole == sharded


def test_splits_without_a_source_are_left_out(write: Write, tmp_path: Path) -> None:
    train = write("train.json", [raw_api(Instances=[raw_instance()])])
    build = write_repo(resolve_sources(train=train), tmp_path / "out", make_prompt("react"))
    assert build.split_rows == {config: {"train": 1} for config in ("apis", "trajectories", "sft", "chat")}
    assert "instructions" not in get_dataset_config_names(str(tmp_path / "out"))
    more = write("more.json", [[["a", "b"], [False, True]]])
    other = resolve_sources(processed=more)
    with pytest.raises(SettingsMismatchError) as caught:
        write_repo(other, tmp_path / "out", make_prompt("react"))
    assert caught.value.differences["sources.0.role"] == ("train", "processed")
    assert (tmp_path / "out" / "apis").exists()  # the earlier build is there as it was
    build = write_repo(other, tmp_path / "out", make_prompt("react"), overwrite=True)
    assert build.split_rows == {"sft": {"train": 1}}
    assert not (tmp_path / "out" / "apis").exists()  # the earlier build is replaced, not added to
    assert load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "c"))[0]["api"] is None


def test_a_split_without_rows_is_left_out(write: Write, tmp_path: Path) -> None:
    train = write("train.json", [raw_api(Instances=[{"error": "none"}])])
    more = write("more.json", [[["a", "b"], [False, True]]])
    build = write_repo(resolve_sources(train=train, processed=more), tmp_path / "out", make_prompt("react"))
    assert build.split_rows == {"apis": {"train": 1}, "sft": {"train": 1}}
    assert sorted(get_dataset_config_names(str(tmp_path / "out"))) == ["apis", "sft"]


def test_nothing_left_at_all_is_refused(write: Write, tmp_path: Path) -> None:
    simulated = write("eval.json", [raw_api(Name=3, Golden_Answers=[[]], Instructions=["?"])])
    with pytest.raises(InputError):
        write_repo(resolve_sources(eval_simulated=simulated), tmp_path / "out", make_prompt("react"))
    assert not (tmp_path / "out").exists()


def test_an_earlier_build_is_replaced_and_nothing_else(sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_repo(sources, out, make_prompt("react"))  # an empty folder is fine
    before = digests(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OptionError):
        write_repo(sources, out, make_prompt("react"))
    (out / "notes.txt").unlink()
    assert digests(out) == before
    report = (out / "report.json").read_text()
    for content, words in (('{"files": ["README.md"]}', "no earlier build"), (report[:99], "report.json is damaged")):
        (out / "report.json").write_text(content)
        with pytest.raises(OptionError, match=words):
            write_repo(sources, out, make_prompt("react"))
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OptionError):
        write_repo(sources, file, make_prompt("react"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("a bug")])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_failure_leaves_out_as_it_was(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, earlier: bool
) -> None:
    out = tmp_path / "build" / "out"
    if earlier:
        write_repo(sources, out, make_prompt("react"))
    before = digests(out) if earlier else {}

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(repo, "write_card_and_report", fail)
    with pytest.raises(OptionError if isinstance(error, OSError) else type(error)):
        write_repo(sources, out, make_prompt("react"))
    assert digests(out) == before if earlier else not out.exists()
    assert {path.name for path in out.parent.iterdir()} == ({"out"} if earlier else set())


def test_what_a_killed_build_left_is_no_loss(sources: Sources, tmp_path: Path) -> None:
    out, left = tmp_path / "out", tmp_path / ".out.part"
    write_repo(sources, out, make_prompt("react"))
    before = digests(out)
    (left / "new" / "sft").mkdir(parents=True)
    (left / "new" / "sft" / "half.parquet").write_bytes(b"PAR1")
    os.replace(out, left / "old")  # killed between the two renames
    with pytest.raises(SettingsMismatchError):  # what is not there by name is there all the same
        check_replaceable(out, {"sources": "others"})
    with pytest.raises(KeyboardInterrupt), folder_in_place(out) as new:
        assert digests(out) == before and not any(new.iterdir())
        raise KeyboardInterrupt
    assert digests(out) == before and [path.name for path in tmp_path.iterdir() if path.name.endswith("part")] == []


def test_one_build_at_a_time(sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with folder_in_place(out) as new:
        (new / "a").write_text("whole")
        with pytest.raises(FileInUseError) as refused:
            write_repo(sources, out, make_prompt("react"))
    assert refused.value.file == out and (out / "a").read_text() == "whole"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OptionError):
        write_repo(sources, tmp_path / "locked" / "out", make_prompt("react"))


def test_no_example_left_is_refused(write: Write, tmp_path: Path) -> None:
    train = write("train.json", [raw_api(Instances=[raw_instance(steps=6)])])
    with pytest.raises(InputError):
        write_repo(resolve_sources(train=train), tmp_path / "out", make_prompt("react"), selection=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("actions", "kept"),
    [
        ([], False),
        (["findTide"], True),
        (["findTide"] * 5, True),
        (["findTide"] * 6, False),
        (["getDetails", "getDetails"], False),
        (["getDetails", "findTide"], True),
    ],
)
def test_upstream_selection(actions: list[str], kept: bool) -> None:
    steps = [Step("", action, "{}", "") for action in actions]
    assert (not _not_trained(Trajectory("t/a/0", "t/a", "?", "", steps, None, "!"), selection=True)) is kept


def test_files_of_another_prompt_are_not_passed_over() -> None:
    with pytest.raises(OptionError):
        make_prompt("react", "agent/")
