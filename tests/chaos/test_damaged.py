"""Files that a crash of the machine or a bad disk leaves: one sentence or the same result, and nothing lost."""

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from agent.scripted import ScriptedBackend
from chaos_faults import copy_cut, cut_files
from chaos_runner import first_difference, same

from toolalpaca_hf.agent import run
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.storage import SqliteCache, StorageError

TABLES = "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID"
ROWS = {f"key {n}": f"value {n} " * 40 for n in range(200)}


def cache(path: Path) -> SqliteCache:
    return SqliteCache(path, TABLES, "SELECT k, v FROM t")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of two hundred rows, on disk as a whole."""
    path = tmp_path_factory.mktemp("cache") / "a.sqlite"
    made = cache(path)
    for pair in ROWS.items():
        made.insert("t", pair)
    made.close()
    return path


def test_a_broken_page_of_a_cache_is_one_sentence(filled: Path, tmp_path: Path) -> None:
    size, rng, refused = filled.stat().st_size, random.Random(0), 0
    pages = size // 4096
    assert pages > 15
    for page in range(pages):
        broken = tmp_path / f"{page}.sqlite"
        shutil.copy(filled, broken)
        with broken.open("r+b") as file:
            file.seek(4096 * page)
            file.write(rng.randbytes(4096))
        try:
            opened = cache(broken)
            try:
                found = {key: opened.fetch("SELECT v FROM t WHERE k = ?", key) for key in ROWS}
                opened.insert("t", ("new", "row"))
            finally:
                opened.close()
        except StorageError as error:
            refused += 1
            assert str(error.file) == str(broken) and "\n" not in str(error) and error.fix
        else:
            # What a page held is another's or nobody's; what the others hold is there.
            assert sum(rows == [(ROWS[key],)] for key, rows in found.items()) > len(ROWS) // 2
    assert refused > pages // 2


@pytest.mark.parametrize("share", range(0, 100, 7))
def test_a_cache_that_was_cut_off_is_one_sentence(filled: Path, tmp_path: Path, share: int) -> None:
    cut = tmp_path / "a.sqlite"
    cut.write_bytes(filled.read_bytes()[: filled.stat().st_size * share // 100])
    try:
        opened = cache(cut)
        found = {key: opened.fetch("SELECT v FROM t WHERE k = ?", key) for key in ROWS}
        opened.close()
        # What it has is right; what it does not have is asked again. An empty file is an empty cache.
        assert all(rows in ([], [(ROWS[key],)]) for key, rows in found.items()) and share in (0, 98)
    except StorageError as error:
        assert str(error.file) == str(cut) and "\n" not in str(error) and error.fix


def reply(instruction: str, turn: int) -> str:
    return " I look.\nAction: findProduce\nAction Input: {}" if turn == 0 else " So.\nResponse: It is so."


def results(out: Path) -> Any:
    rows = [json.loads(line) for line in (out / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        del row["seconds"]
    note = json.loads((out / "run.json").read_text(encoding="utf-8"))
    del note["seconds"]
    made = {"rows": sorted(rows, key=lambda row: row["id"]), "note": note}
    return made | {"raw": json.loads((out / "trajectories.json").read_text(encoding="utf-8"))}


@pytest.mark.slow
def test_a_run_of_which_any_file_was_cut_off(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run("sample", ScriptedBackend(reply), whole, limit=3, progress=False)
    wanted, tried = results(whole), 0
    for path, place in cut_files(whole):
        copy_cut(whole, cut, path, place)
        kept = (cut / "rollouts.jsonl").read_bytes()
        kept = kept[: kept.rfind(b"\n") + 1]
        try:
            run("sample", ScriptedBackend(reply), cut, limit=3, progress=False)
        except ToolAlpacaError as error:
            assert path.name in str(error) and "\n" not in str(error), (path, place)
        else:
            assert same(wanted, results(cut)), (path, place, first_difference(wanted, results(cut)))
        assert (cut / "rollouts.jsonl").read_bytes().startswith(kept), (path, place)
        tried += 1
    assert tried > 50


def test_a_database_that_is_something_else_is_one_sentence(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "b.sqlite") as database:
        database.execute("CREATE TABLE t (other TEXT)")
    database.close()
    with pytest.raises(StorageError, match="move it away"):
        cache(tmp_path / "b.sqlite")
