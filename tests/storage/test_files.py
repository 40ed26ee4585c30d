"""Files that survive a kill and a full disk, and that one run writes at a time."""

import errno
import json
import multiprocessing
import os
import sqlite3
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolalpaca_hf.errors import InputError, NotFoundError
from toolalpaca_hf.storage import (
    FileInUseError,
    JsonlLog,
    SqliteCache,
    StorageError,
    Streamed,
    atomic_path,
    atomic_write,
    file_lock,
    hold_folder,
    intact_rows,
    read_json,
    read_text,
    read_yaml,
    write_json,
)

TABLE = "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v TEXT)"
PROBE = "SELECT k, v FROM t"


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_whole_or_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "metrics.json"
    write_json(path, {"text": "h\u00f6 \ud800"})
    assert read_json(path) == {"text": "h\u00f6 ?"}
    with pytest.raises(RuntimeError), atomic_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        atomic_write(path, "{}")
    assert caught.value.file == path and read_json(path) == {"text": "h\u00f6 ?"}
    assert [one.name for one in path.parent.iterdir()] == ["metrics.json"], "nothing is left beside it"


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, path = list[tuple[int, bool]](), tmp_path / "x.json"
    monkeypatch.setattr(
        "os.fsync", lambda file: synced.append((Path(f"/proc/self/fd/{file}").stat().st_size, path.exists()))
    )
    atomic_write(path, "{}")
    assert synced == [(2, False)]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no such file$"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    for place in (tmp_path, tmp_path / "x.json"):
        with pytest.raises(InputError) as caught:
            read_json(place)
        assert caught.value.file == place
    (tmp_path / "x.json").write_text("a: !!timestamp b")
    with pytest.raises(InputError, match="is not YAML"):
        read_yaml(tmp_path / "x.json", "correct it")
    (tmp_path / "x.json").write_text("a: 1\n" * 100_001)
    with pytest.raises(InputError, match="characters"):  # YAML of megabytes takes many seconds
        read_yaml(tmp_path / "x.json", "correct it")


def test_rows_grow_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    with JsonlLog(path) as log:
        log.append({"id": "a", "n": 1}, {"id": "b", "n": 2})
        log.append({"id": "a", "n": 3, "text": "half \ud800"})
        assert log.rows["a"]["text"] == "half ?"  # as the next run reads it
    with path.open("ab") as file:
        file.write(b'{"id": "c", "n"')  # cut off by a kill
    assert [row["n"] for row in intact_rows(path)] == [1, 2, 3]
    with JsonlLog(path) as log:
        assert log.count == 3 and log.rows == {"a": {"id": "a", "n": 3, "text": "half ?"}, "b": {"id": "b", "n": 2}}
        log.append({"id": "c", "n": 4})
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]
    with JsonlLog(path, None, limit=2) as log:
        assert (log.count, log.rows) == (2, {})
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("line", ["{", "[1]", '{"name": 1}', "", "[" * 100_000])
def test_a_whole_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"id": "a"}}\n{line}\n{{"id": "b"}}\n')
    with pytest.raises(InputError) as caught, JsonlLog(path):
        pass
    assert (caught.value.file, caught.value.row) == (path, 2)
    with JsonlLog(path, skip_damaged=True) as log:
        assert sorted(log.rows) == ["a", "b"]


def test_a_log_keeps_in_memory_where_its_rows_are(tmp_path: Path) -> None:
    """A run of 200,000 rollouts grew by 200 MB."""
    path, seen = tmp_path / "rows.jsonl", list[tuple[int, int | None]]()
    path.write_text("".join(json.dumps({"id": f"old {n}", "text": "x" * 2000}) + "\n" for n in range(5000)))
    tracemalloc.start()
    try:
        with JsonlLog(path) as log:
            log.append(*({"id": f"new {n}", "text": "\u00e9" * n} for n in range(1000)))
            assert tracemalloc.get_traced_memory()[0] < 3e6
            assert len(log.rows) == 6000 and log.rows["old 4999"]["text"] == "x" * 2000
            assert [len(log.rows[f"new {n}"]["text"]) for n in range(1000)] == list(range(1000))
    finally:
        tracemalloc.stop()
    path.write_text('{"id": "a", "n": 1}\n{"id": "a", "n": 2}\n')
    with JsonlLog(path, seen=lambda row, earlier: seen.append((row["n"], earlier and earlier["n"]))) as log:
        log.append({"id": "a", "n": 3})
    assert seen == [(1, None), (2, 1), (3, 2)]
    with pytest.raises(ValueError, match="closed"):  # not the rows of a file opened since
        log.rows["a"]


def test_json_is_written_while_it_is_made(tmp_path: Path) -> None:
    path, made = tmp_path / "x.json", list[int]()

    def items(count: int) -> Iterator[dict[str, int]]:
        for n in range(count):
            made.append(n)
            yield {"n": n}

    write_json(path, [{"rows": Streamed(lambda: items(3)), "none": Streamed(lambda: items(0))}])
    assert path.read_text() == json.dumps([{"rows": [{"n": 0}, {"n": 1}, {"n": 2}], "none": []}], indent=1) + "\n"
    assert made == [0, 0, 1, 2], "the first, to see whether there is one, then each once"


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonlLog(path) as log:
        log.append({"id": "a"})
        with monkeypatch.context() as patch, pytest.raises(StorageError):
            patch.setattr(os, "fsync", full)
            log.append({"id": "b"})
        assert list(log.rows) == ["a"]
        log.append({"id": "c"})
    assert path.read_text() == '{"id": "a"}\n{"id": "c"}\n'


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    with JsonlLog(tmp_path / "rows.jsonl") as log:
        threads = [
            threading.Thread(target=lambda n=n: [log.append({"id": f"{n}/{i}", "x": "y" * 999}) for i in range(20)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(intact_rows(tmp_path / "rows.jsonl"))) == 160


def append_and_die(path: Path) -> None:
    with JsonlLog(path) as log:
        log.append({"id": "a"})
        os._exit(9)


def test_what_a_killed_process_had_appended_is_there_and_its_lock_is_free(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=append_and_die, args=(tmp_path / "rows.jsonl",))
    process.start()
    process.join()
    with JsonlLog(tmp_path / "rows.jsonl") as log:
        assert list(log.rows) == ["a"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonlLog(path), pytest.raises(FileInUseError) as caught, JsonlLog(path):
        pass
    assert caught.value.file == path
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), file_lock(tmp_path / "file" / "lock"):
        pass
    with pytest.raises(StorageError), JsonlLog(tmp_path / "file" / "rows.jsonl"):
        pass


@pytest.mark.parametrize("shared_disk", [False, True])
def test_a_cache_keeps_rows(tmp_path: Path, shared_disk: bool) -> None:
    path = tmp_path / "x.sqlite"
    cache = SqliteCache(path, TABLE, PROBE, shared_disk=shared_disk)
    cache.insert("t", ("a", "1"))
    cache.insert("t", ("a", "2"))
    other = SqliteCache(path, TABLE, PROBE, shared_disk=shared_disk)
    assert other.fetch("SELECT v FROM t WHERE k = ?", "a") == [("1",)]
    other.insert("t", ("a", "3"), replace=True)
    assert cache.fetch(PROBE) == [("a", "3")]
    assert (cache.fetch("PRAGMA journal_mode") == [("wal",)]) is not shared_disk


def test_a_cache_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"no database " * 100)
    fixes = set[str | None]()

    def opened(place: Path) -> None:
        with pytest.raises(StorageError) as caught:
            SqliteCache(place, TABLE, PROBE, wait=0.01, option="--cache")
        assert (caught.value.file, caught.value.option) == (place, "--cache")
        fixes.add(caught.value.fix)

    opened(path)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE t (k TEXT)")
    opened(tmp_path / "other.sqlite")
    assert len(fixes) == 1, "damaged or something else"
    opened(tmp_path / "absent" / "x.sqlite")
    with sqlite3.connect(tmp_path / "held.sqlite", isolation_level=None) as held:
        held.execute("CREATE TABLE t (k, v)")
        held.execute("BEGIN EXCLUSIVE")
        opened(tmp_path / "held.sqlite")
    assert len(fixes) == 3


def _is_held(folder: Path) -> bool:
    try:
        with file_lock(folder / ".lock", folder):
            return False
    except FileInUseError:
        return True


def test_a_folder_is_held_until_the_process_ends(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    asking, telling = context.Pipe()

    def hold() -> None:
        for _ in range(2):  # the same process may ask again
            hold_folder(tmp_path, "--output_dir")
        telling.send("held")
        telling.recv()

    other = context.Process(target=hold)
    other.start()
    assert asking.recv() == "held" and _is_held(tmp_path)
    with pytest.raises(FileInUseError, match="--output_dir"):
        hold_folder(tmp_path, "--output_dir")
    asking.send("end")
    other.join(30)
    assert not _is_held(tmp_path)


def test_what_is_not_there_is_answered_with_what_is_spelt_like_it(tmp_path: Path) -> None:
    (tmp_path / "petstore.yaml").touch()
    with pytest.raises(NotFoundError) as absent:
        read_text(tmp_path / "petstore.yml", "pass a document")
    assert absent.value.fix == f"did you mean {tmp_path / 'petstore.yaml'}? pass a document"
    with pytest.raises(NotFoundError) as unlike:
        read_text(tmp_path / "x", "pass a document")
    assert unlike.value.fix == "pass a document"
    with pytest.raises(InputError, match="is a folder"):
        read_text(tmp_path)
