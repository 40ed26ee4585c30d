"""What a build that stopped leaves behind, and that the next one ends where an undisturbed one does."""

import json
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from corpus.role_server import KEY, refused
from corpus.scripted_server import Answer, ScriptedServer, scripted_apis

from toolalpaca_hf.corpus import CorpusConfig, config
from toolalpaca_hf.corpus.config import prompt_hash
from toolalpaca_hf.corpus.engine.collect import STAGES, CorpusFolder
from toolalpaca_hf.corpus.engine.pipeline import build_corpus
from toolalpaca_hf.data import ListedApi, read_corpus, resolve_sources
from toolalpaca_hf.errors import InputError, OptionError, SettingsMismatchError, ToolAlpacaError
from toolalpaca_hf.executors import QueuedError
from toolalpaca_hf.llm import BudgetExceeded, RequestCache
from toolalpaca_hf.llm.asking import GIVE_UP

NAMES = [f"Register {letter}" for letter in "ABCDEFGHIJKLMNOPQRST"]
FILES = ("train_data.json", "instances.jsonl", "apis.jsonl", "corpus.json")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDES_KEY", KEY)


def listed(*places: int, names: Sequence[str] = NAMES) -> list[ListedApi]:
    """Entries of a list, by what goes wrong with them: see `corpus.scripted_server.BAD`."""
    return [ListedApi(names[place], "Knows things.", "https://register.example", "Science") for place in places]


def server(names: Sequence[str] = NAMES, kind: type[ScriptedServer] = ScriptedServer) -> ScriptedServer:
    return kind(scripted_apis(names, "Nothing that is in an evaluation set"))


def settings(url: str, **sections: Any) -> CorpusConfig:
    given: dict[str, Any] = {
        "models": {"endpoint": f"{url}/v1", "key_variable": "TIDES_KEY", "retries": 0, "seed": 5},
        "roles": {role: {"model": f"{role}-1"} for role in ("author", "user", "assistant", "executor")},
        "instructions": {"per_style": 2, "styles": ["short"], "seed": 3},
        "screen": {"evaluation": []},
    }
    sections["run"] = {"concurrency": 2} | sections.get("run", {})
    return CorpusConfig.load(None, given | sections)


def contents(out: Path) -> dict[str, str]:
    return {name: (out / name).read_text(encoding="utf-8") for name in FILES}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A corpus of two APIs that was made in one go."""
    out = tmp_path_factory.mktemp("undisturbed") / "corpus"
    with pytest.MonkeyPatch.context() as patch, server() as site:
        patch.setenv("TIDES_KEY", KEY)
        build_corpus(listed(0, 14), out, settings(site.url))
        assert site.problems == []
    yield out


def test_a_row_says_who_made_its_document_and_its_instruction(undisturbed: Path) -> None:
    prompts = Path(config.__file__).parent / "prompts"

    def hashes(*names: str) -> dict[str, str]:
        return {name: prompt_hash((prompts / name).read_text(encoding="utf-8")) for name in names}

    apis = {row["id"]: row for row in rows(undisturbed / "apis.jsonl")}
    found = rows(undisturbed / "instances.jsonl")
    assert len(found) == 4
    for row in found:
        told = row["provenance"]
        assert told["toolset"]["asked"] == apis[row["api"]]["asked"]["toolset"]
        assert told["toolset"]["asked"]["author"]["model"] == "author-1"
        assert told["toolset"]["prompts"] == hashes(
            "introduction.txt", "functions.txt", "document.txt", "repair.txt", "continue.txt", "example.json"
        )
        assert told["instructions"]["asked"]["user"]["model"] == "user-1"
        assert told["instructions"]["prompts"] == hashes(
            "instructions.txt", "style_short.txt", "style_story.txt", "demands.json",
            "example_instructions.json", "example.json",
        )  # fmt: skip
        assert told["instructions"]["seed"] == 3
        assert told["seeds"] == {"author": 5, "user": 5, "assistant": 5, "executor": 5}


def test_a_row_is_called_what_the_dataset_calls_it(tmp_path: Path) -> None:
    # Of three APIs of one name the first is set aside.
    names = [*NAMES[:10], "Tide Tables", *NAMES[11:14], "TIDE TABLES", *NAMES[15:19], "tide tables"]
    with server(names) as site:
        made = build_corpus(listed(10, 14, 19, names=names), tmp_path / "corpus", settings(site.url))
    assert made["set_aside"] == 1 and made["kept"] == 4
    read = read_corpus(resolve_sources(str(tmp_path / "corpus"))).trajectories["train"]
    named = {row["row"]: row for row in rows(tmp_path / "corpus" / "instances.jsonl") if row["kept"]}
    assert {row.id: row.instruction for row in read} == {name: row["instruction"] for name, row in named.items()}
    assert {row["api"] for row in named.values()} == {"train/tide-tables-2", "train/tide-tables-3"}


def test_a_cache_without_room_settles_nothing(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    RequestCache(out / "requests.sqlite").close()

    def tell_the_disk(words: str) -> None:
        with sqlite3.connect(out / "requests.sqlite") as database:
            database.execute(words)

    for key, stage in (("register-o/%", "toolset"), ("train/register-o/instructions%", "instructions")):
        tell_the_disk(
            f"CREATE TRIGGER full BEFORE INSERT ON requests WHEN NEW.key LIKE '{key}' "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        with server() as site, pytest.raises(ToolAlpacaError, match="1 APIs are unfinished"):
            build_corpus(listed(0, 14), out, settings(site.url))
        folder = CorpusFolder(out)
        assert folder.has(stage, 0) and not folder.has(stage, 1)
        tell_the_disk("DROP TRIGGER full")
    with server() as site:
        build_corpus(listed(0, 14), out, settings(site.url))
    assert contents(out) == contents(undisturbed)


class Away(ScriptedServer):
    """Its author is away."""

    def _author(self, *_: Any) -> str | Answer:
        return refused(500, "no memory")


def test_what_was_never_asked_is_not_set_aside(tmp_path: Path) -> None:
    out, entries = tmp_path / "corpus", listed(0, 1, 2, 3, 4, 5, 9, 11, 12, 13, 14, 15, 16, 17)
    run = {"run": {"concurrency": 1, "set_aside_failed": True}}
    with server(kind=Away) as site, pytest.raises(ToolAlpacaError, match="4 APIs are unfinished: not asked"):
        build_corpus(entries, out, settings(site.url, **run))
    folder = CorpusFolder(out)
    assert [folder.has("toolset", index) for index in range(14)] == [True] * GIVE_UP + [False] * 4
    with server() as site:
        made = build_corpus(entries, out, settings(site.url, **run))
    told = [row["set_aside"] for row in rows(out / "apis.jsonl")]
    assert made["apis"] == 4 and ["no memory" in (words or "") for words in told] == [True] * GIVE_UP + [False] * 4


def test_a_folder_that_was_moved_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    first, moved = tmp_path / "first", tmp_path / "moved"
    with server() as site:
        with pytest.raises(BudgetExceeded):
            build_corpus(listed(0, 14), first, settings(site.url, budget={"calls": 11}))
        shutil.move(first, moved)
        build_corpus(listed(0, 14), moved, settings(site.url))
    assert contents(moved) == contents(undisturbed)


@pytest.mark.parametrize("stage", STAGES)
def test_a_part_that_is_removed_is_made_again(undisturbed: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "corpus"
    shutil.copytree(undisturbed, out)
    part = out / "parts" / stage / "000001.json"
    others = {path: path.stat().st_mtime_ns for path in (out / "parts").rglob("*.json") if path.parent.name != stage}
    part.write_text('{"api": {"id"')
    with server() as site:
        with pytest.raises(InputError) as caught:
            build_corpus(listed(0, 14), out, settings(site.url))
        assert caught.value.file == part
        part.unlink()
        build_corpus(listed(0, 14), out, settings(site.url))
        assert site.bodies == [], "the answers are in the cache"
    assert contents(out) == contents(undisturbed)
    assert {path: path.stat().st_mtime_ns for path in others} == others, "parts of other stages stay"


def test_a_part_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []
    path = tmp_path / "parts" / "toolset" / "000007.json"
    monkeypatch.setattr(
        "os.fsync", lambda file: synced.append((Path(f"/proc/self/fd/{file}").stat().st_size, path.exists()))
    )
    CorpusFolder(tmp_path).write("toolset", 7, {"api": None})
    assert synced == [(path.stat().st_size, False)]


def test_names_that_have_no_utf8_are_the_same_again(tmp_path: Path) -> None:
    for _ in range(2):
        with CorpusFolder(tmp_path).opened({}, [ListedApi("Tides \ud800", "", "", "")]) as folder:
            assert folder.entries()[0].name == "Tides ?"


def test_a_file_of_instructions_that_was_edited_is_another_one(tmp_path: Path) -> None:
    held, out = tmp_path / "held.txt", tmp_path / "corpus"
    held.write_text("Which herring swims the farthest?\n")
    with server() as site:
        of = settings(site.url, screen={"evaluation": [str(held)]})
        build_corpus(listed(0), out, of)
        build_corpus(listed(0), out, of)
        held.write_text("Which haddock swims the farthest?\n")
        with pytest.raises(SettingsMismatchError) as caught:
            build_corpus(listed(0), out, of)
    assert [*caught.value.differences] == [f"evaluation_files.{held}"]


def test_nothing_is_built_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        build_corpus([], tmp_path / "corpus", settings("http://127.0.0.1:9"))
    assert not (tmp_path / "corpus").exists()


def test_slurm_is_given_a_stage_once_and_says_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that takes jobs and does nothing: `queue` has the jobs that it says are running."""
    commands, queue, taken = tmp_path / "bin", tmp_path / "queue", tmp_path / "taken"
    commands.mkdir()
    sbatch = f'cat "${{@: -1}}" | grep -q merge_stats || echo taken >> {taken}\necho "Submitted batch job 4711"\n'
    squeue = (
        f'[[ "$*" == "-h -j 4711" ]] || exit 2\ncat {queue} 2> /dev/null || {{ echo invalid job id >&2; exit 1; }}\n'
    )
    for name, text in (("sbatch", sbatch), ("squeue", squeue)):
        (commands / name).write_text(f"#!/bin/bash\n{text}")
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    out, told = tmp_path / "corpus", list[str]()

    def build(budget: dict[str, int], tasks: int = 1) -> None:
        run = {"executor": "slurm", "tasks": tasks}
        build_corpus(listed(0, 14), out, settings(site.url, run=run, budget=budget), tell=told.append)

    with server() as site:
        with pytest.raises(QueuedError):
            build({})
        queue.write_text("4711 cpu toolalpaca R 0:01\n")
        for tasks in (1, 2):  # cut otherwise, it would be the same work
            with pytest.raises(QueuedError, match="4711"):
                build({}, tasks)
        assert taken.read_text().count("taken") == 1
        queue.unlink()
        failure = out / "logs" / "toolset-1" / "failures" / "00000.txt"
        failure.parent.mkdir()
        failure.write_text("2 APIs are unfinished: the server is away")
        spent = len(site.bodies)
        assert spent > 0, "the servers were asked whether they know schemas"
        with pytest.raises(BudgetExceeded):
            build({"calls": spent})
        assert taken.read_text().count("taken") == 1
        told.clear()
        with pytest.raises(QueuedError):
            build({})
        assert (
            "the stage 'toolset' is submitted again; before, it failed: 2 APIs are unfinished: the server is away"
            in told
        )
        assert taken.read_text().count("taken") == 2 and not failure.exists()
