"""Folders that commands write: what may stand in them, how settings differ, and what a Ctrl-C leaves."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from toolalpaca_hf.errors import InputError, InterruptedRunError, OptionError, SettingsMismatchError
from toolalpaca_hf.storage import (
    FileInUseError,
    StorageError,
    claim_settings,
    differences,
    file_lock,
    interruptible,
    output_folder,
)


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a.c": (2, 3)}),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, {"a": (1, 2), "b": (2, 3)}),
        ({"a": None}, {}, {"a": (None, None)}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, {"a.0.b": (1, 2)}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": ([1], [1, 2])}),
    ],
)
def test_every_field_that_differs_is_found(before: Any, now: Any, found: Any) -> None:
    assert differences(before, now) == found


def test_each_difference_has_a_line() -> None:
    error = SettingsMismatchError(
        Path("runs/x"), "a run", {"limits.steps": (10, 12), "apis_hash": ("a" * 40, "b" * 40)}
    )
    lines = str(error).splitlines()
    assert len(lines) == 3 and "10" in lines[1] and "12" in lines[1] and "a" * 40 not in str(error)
    assert "APIs and instructions" in lines[2]


def enter(out: Path, own: list[str], overwrite: bool = False, made: str = "") -> None:
    with output_folder(out, "a run", own, overwrite):
        if made:
            (out / made).write_text("made")


def test_a_folder_of_other_data_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    enter(out, ["run.json"])
    out.mkdir()
    enter(out, ["run.json"])
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(OptionError):
        enter(out, ["run.json"])
    enter(out, ["run.json"], overwrite=True)
    (out / "run.json").write_text("{}")
    (out / "part-0").mkdir()
    enter(out, ["run.json", "part-*"])
    for lock in (out / ".lock", out / "part-0" / ".rows.jsonl.lock"):
        with file_lock(lock), pytest.raises(FileInUseError):
            enter(out, ["run.json", "part-*"], overwrite=True)
        lock.unlink(missing_ok=True)
    assert (out / "run.json").exists()
    enter(out, ["run.json", "part-*"], overwrite=True, made="part-1")
    left = sorted(path.name for path in out.iterdir() if path.name[0] != ".")
    assert left == ["part-1", "thesis.tex"]  # only its own is removed
    with pytest.raises(OptionError):
        enter(out / "thesis.tex", ["run.json"])
    with pytest.raises(OptionError):
        enter(out / "thesis.tex" / "below", ["run.json"])


def test_names_that_many_folders_hold_make_it_nobodys(tmp_path: Path) -> None:
    """A trained model's `config.json` is no annotation's, and a folder of data named as a task no evaluation's."""
    for name in ("metrics.json", "train_data.json", "config.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "svamp").mkdir()
    own = ["metrics.json", "train_data.json", "config.json", "corpus.json", "svamp"]
    for overwrite in (False, True):  # what is written there would mix with it
        with pytest.raises(OptionError):
            enter(tmp_path, own, overwrite)
    assert len(list(tmp_path.iterdir())) == 4
    (tmp_path / "corpus.json").write_text("{}")
    enter(tmp_path, own)
    enter(tmp_path, own, overwrite=True, made="corpus.json")
    assert [path.name for path in tmp_path.iterdir() if path.is_file() and path.name[0] != "."] == ["corpus.json"]


def test_settings_that_were_claimed_before_a_kill_are_the_commands(tmp_path: Path) -> None:
    claim_settings(tmp_path / "config.json", {"model": "a"}, "an annotation", toolalpaca_hf="1")
    enter(tmp_path, ["config.json", "annotated-*.jsonl"])
    enter(tmp_path, ["config.json", "annotated-*.jsonl"], overwrite=True, made="annotated-0.jsonl")
    assert not (tmp_path / "config.json").exists()


def test_folders_without_a_file_are_nobodys_data(tmp_path: Path) -> None:
    """A kill, or a full disk, between a log's folder and the log."""
    (tmp_path / "rollouts" / "part-0").mkdir(parents=True)
    (tmp_path / "rollouts" / "part-0" / ".rollouts.jsonl.lock").touch()
    enter(tmp_path, ["rollouts", "rollouts/rollouts.jsonl"])


OWN = ["run.json", "rollouts.jsonl", "logs", "part-*/rollouts.jsonl"]


def files_of(out: Path) -> dict[str, str]:
    found = (path for path in out.rglob("*") if path.is_file() and not path.name.endswith("lock"))
    return {path.relative_to(out).as_posix(): path.read_text() for path in found}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    for name in ("run.json", "rollouts.jsonl", "part-0/rollouts.jsonl", "part-0/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"earlier {name}")
    return tmp_path


@pytest.mark.parametrize("error", [OptionError("no such model"), KeyboardInterrupt()])
def test_what_is_refused_before_it_makes_anything_overwrites_nothing(earlier: Path, error: BaseException) -> None:
    before = files_of(earlier)
    with pytest.raises(type(error)), output_folder(earlier, "a run", OWN, overwrite=True):
        assert not (earlier / "run.json").exists()
        (earlier / "run.json").write_text("claimed")
        (earlier / "rollouts.jsonl").touch()
        (earlier / "logs").mkdir()
        (earlier / "logs" / "task.log").write_text("failed")
        raise error
    assert files_of(earlier) == before


@pytest.mark.parametrize("name", ["rollouts.jsonl", "logs/launch_script.slurm"])  # the user is told to submit it
def test_what_was_made_takes_the_place_of_the_old(earlier: Path, name: str) -> None:
    own = [*OWN, "logs/launch_script.slurm"]
    with pytest.raises(KeyboardInterrupt), output_folder(earlier, "a run", own, overwrite=True):
        (earlier / name).parent.mkdir(exist_ok=True)
        (earlier / name).write_text("new")
        raise KeyboardInterrupt
    assert files_of(earlier) == {name: "new", "part-0/notes.txt": "earlier part-0/notes.txt"}


def test_a_killed_call_is_settled_by_the_next(earlier: Path) -> None:
    before = files_of(earlier)
    with output_folder(earlier, "a run", OWN, overwrite=True):
        with pytest.raises(FileInUseError):  # nobody settles what is still at work
            enter(earlier, OWN)
        shutil.copytree(earlier / ".replaced", earlier / "copy")
    assert files_of(earlier).items() >= before.items()  # it made nothing
    for made, left in (("run.json", before), ("rollouts.jsonl", {"part-0/notes.txt": "earlier part-0/notes.txt"})):
        for name in OWN:
            (earlier / name).unlink(missing_ok=True)
        (earlier / "part-0" / "rollouts.jsonl").unlink(missing_ok=True)
        (earlier / made).write_text("new")
        shutil.copytree(earlier / "copy", earlier / ".replaced")
        with pytest.raises(OptionError):  # another command, which has none of these
            enter(earlier, ["verdicts.jsonl"])
        found = {name: text for name, text in files_of(earlier).items() if not name.startswith("copy")}
        assert found == (left if left is before else left | {made: "new"})


@pytest.mark.parametrize("renames", range(12))
def test_a_kill_while_files_are_moved_loses_none(earlier: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    before, left = files_of(earlier), iter(range(renames))

    def replace(path: Path, target: Path) -> None:
        os._exit(9) if next(left, None) is None else os.replace(path, target)

    if (child := os.fork()) == 0:
        try:
            monkeypatch.setattr(Path, "replace", replace)
            monkeypatch.setattr(Path, "rename", replace)
            with output_folder(earlier, "a run", OWN, overwrite=True):
                (earlier / "run.json").write_text("claimed")
                raise OptionError("no such model")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    enter(earlier, OWN)
    assert files_of(earlier) == before


def test_what_cannot_be_set_aside_stays(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, replace = files_of(earlier), Path.replace

    def fails(path: Path, target: Path) -> Path:
        if path == earlier / "run.json":
            raise PermissionError(13, "Permission denied")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StorageError, match="Permission denied"):
        enter(earlier, OWN, overwrite=True)
    assert files_of(earlier) == before


def test_ctrl_c_says_what_is_kept() -> None:
    with pytest.raises(InterruptedRunError, match="3 are kept"), interruptible(lambda: "3 are kept"):
        raise KeyboardInterrupt


def test_only_the_same_settings_go_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.json"
    claim_settings(path, {"limit": 1, "limits": {"steps": 2}}, "a run", version="1.0")
    assert json.loads(path.read_text()) == {"limit": 1, "limits": {"steps": 2}, "version": "1.0"}
    claim_settings(path, {"limits": {"steps": 2}, "limit": 1}, "a run")
    for now in ({"limit": 1, "limits": {"steps": 3}}, {"limit": 1, "limits": {"steps": 2}, "seed": None}):
        with pytest.raises(SettingsMismatchError) as caught:
            claim_settings(path, now, "a run")
        assert len(caught.value.differences) == 1 and caught.value.file == path.parent
    path.write_text("[1]")
    with pytest.raises(InputError):
        claim_settings(path, {}, "a run")
