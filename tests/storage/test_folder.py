"""Folders that commands write: what may stand in them, how settings differ, and what a Ctrl-C leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from toolalpaca_hf.errors import InputError, InterruptedRunError, OptionError, SettingsMismatchError
from toolalpaca_hf.storage import (
    FileInUseError,
    check_output_folder,
    claim_settings,
    differences,
    file_lock,
    interruptible,
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


def test_a_folder_of_other_data_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_output_folder(out, "a run", ["run.json"])
    out.mkdir()
    check_output_folder(out, "a run", ["run.json"])
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(OptionError):
        check_output_folder(out, "a run", ["run.json"])
    check_output_folder(out, "a run", ["run.json"], overwrite=True)
    (out / "run.json").write_text("{}")
    (out / "part-0").mkdir()
    check_output_folder(out, "a run", ["run.json", "part-*"])
    for lock in (out / ".lock", out / "part-0" / ".rows.jsonl.lock"):
        with file_lock(lock), pytest.raises(FileInUseError):
            check_output_folder(out, "a run", ["run.json", "part-*"], overwrite=True)
        lock.unlink(missing_ok=True)
    assert (out / "run.json").exists()
    check_output_folder(out, "a run", ["run.json", "part-*"], overwrite=True)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]  # only its own is removed
    with pytest.raises(OptionError):
        check_output_folder(out / "thesis.tex", "a run", ["run.json"])
    with pytest.raises(OptionError):
        check_output_folder(out / "thesis.tex" / "below", "a run", ["run.json"])


def test_names_that_many_folders_hold_make_it_nobodys(tmp_path: Path) -> None:
    for name in ("metrics.json", "train_data.json"):
        (tmp_path / name).write_text("{}")
    own = ["metrics.json", "train_data.json", "settings.json"]
    with pytest.raises(OptionError):
        check_output_folder(tmp_path, "a corpus", own)
    check_output_folder(tmp_path, "a corpus", own, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 2  # another's files stay
    (tmp_path / "settings.json").write_text("{}")
    check_output_folder(tmp_path, "a corpus", own)
    check_output_folder(tmp_path, "a corpus", own, overwrite=True)
    assert not list(tmp_path.iterdir())


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
