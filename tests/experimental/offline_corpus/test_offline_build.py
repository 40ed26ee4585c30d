"""The folder of an offline corpus: what is held back from it, how it goes on, and what its command refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus.roles_double import HUTS
from typer.testing import CliRunner

from toolalpaca_hf.cli.corpus import app
from toolalpaca_hf.corpus.decontamination import Decontaminator
from toolalpaca_hf.errors import InputError, OptionError, SettingsMismatchError
from toolalpaca_hf.experimental.offline_corpus import build as module
from toolalpaca_hf.experimental.offline_corpus import build_offline_corpus
from toolalpaca_hf.experimental.offline_corpus.build import OfflineSettings, offline_apis, offline_instances

FILES = ("train_data.json", "instances.jsonl", "apis.jsonl", "corpus.json")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(folder: Path, *titles: str) -> Path:
    """Documents that differ in their titles alone."""
    folder.mkdir(parents=True)
    for number, title in enumerate(titles):
        document = HUTS | {"info": {"title": title, "version": "1"}}
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


def test_an_api_that_is_reserved_for_evaluation_is_set_aside(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    note = build_offline_corpus(written(tmp_path / "apis", "Axolotl", "Huts"), out, OfflineSettings(per_api=2))
    assert (note["entries"], note["apis"], note["set_aside"], note["kept"]) == (2, 1, 1, 2)
    assert [row["set_aside"] for row in rows(out / "apis.jsonl")] == ["is reserved for evaluation", None]
    assert {row["api"] for row in rows(out / "instances.jsonl")} == {"train/huts"}
    with pytest.raises(InputError):
        build_offline_corpus(written(tmp_path / "more", "Axolotl"), tmp_path / "none")


def test_a_file_of_a_folder_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    apis, out = written(tmp_path / "apis", "Huts"), tmp_path / "corpus"
    (apis / "cut.json").write_text('{"openapi": "3.0')
    (apis / "latin.yaml").write_bytes(b"openapi: \xff")
    (apis / "folder.json").mkdir()
    note = build_offline_corpus(apis, out, OfflineSettings(per_api=1))
    assert (note["entries"], note["apis"], note["set_aside"], note["kept"]) == (3, 1, 2, 1)
    reasons = [row["set_aside"] for row in rows(out / "apis.jsonl")]
    assert reasons[0] is None and "cut.json" in reasons[1] and "latin.yaml" in reasons[2]
    (apis / "0.yaml").unlink()
    with pytest.raises(InputError, match=r"cut\.json"):
        build_offline_corpus(apis, tmp_path / "none")


def test_no_api_of_the_published_evaluation_sets_is_left(real_data: Path, tmp_path: Path) -> None:
    sets = [real_data / f"eval_{name}.json" for name in ("simulated", "real")]
    with pytest.raises(InputError):
        build_offline_corpus(sets, tmp_path / "corpus")


def test_instructions_repeat_no_other_and_others_take_their_place(tmp_path: Path) -> None:
    """Of two APIs with one document, the second may say only what the first has not said."""
    apis = written(tmp_path / "apis", "Huts", "Cabins")
    freely = [one.trajectory.instruction for api in offline_apis(apis) for one in offline_instances(api)]
    screen = Decontaminator()
    close = 0
    for text in freely:
        close += screen.reason("train/huts", text) is not None
        screen.accept("train/huts", text)
    assert close > 2
    note = build_offline_corpus(apis, tmp_path / "corpus")
    said = rows(tmp_path / "corpus" / "instances.jsonl")
    assert all(row["kept"] for row in said) and len(freely) - close < len(said) == note["taken"] == note["kept"]
    screen = Decontaminator()
    for row in said:
        assert screen.reason(row["api"], row["instruction"]) is None
        assert row["trajectory"]["id"] == row["id"]
        screen.accept(row["api"], row["instruction"])
    left_out = [one for row in rows(tmp_path / "corpus" / "apis.jsonl") for one in row["instructions"]["left_out"]]
    assert len(left_out) == note["written"] - note["taken"] > 0
    assert all(one["reason"].startswith(("is close to", "repeats")) for one in left_out)


@pytest.mark.parametrize("hidden", [False, True])
def test_what_comes_near_an_evaluation_set_is_left_out(
    hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instruction of the corpus, or what its user says when asked, in the place of a published instruction."""
    apis = written(tmp_path / "apis", "Huts")
    freely = [one.trajectory for api in offline_apis(apis) for one in offline_instances(api)]
    leaking = next(one for one in freely if one.hint or not hidden)
    text = leaking.hint if hidden else leaking.instruction
    monkeypatch.setattr(module.corpus.Screen, "texts", lambda screen: {"real": [text]})
    build_offline_corpus(apis, tmp_path / "corpus")
    (row,) = rows(tmp_path / "corpus" / "apis.jsonl")
    assert {"instruction": leaking.instruction, "reason": "is in the evaluation set"} in row["instructions"][
        "left_out"
    ]
    assert leaking.instruction not in {one["instruction"] for one in rows(tmp_path / "corpus" / "instances.jsonl")}


def test_interrupted_it_ends_in_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said before the interruption is not said again after it."""
    apis = written(tmp_path / "apis", "Huts", "Cabins", "Lodges")
    build_offline_corpus(apis, tmp_path / "whole")
    real, played = module.offline_instances, []

    def interrupted(api: Any, *given: Any) -> Any:
        if played:
            raise KeyboardInterrupt
        played.append(api.id)
        return real(api, *given)

    monkeypatch.setattr(module, "offline_instances", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_offline_corpus(apis, tmp_path / "halves")
    monkeypatch.undo()
    build_offline_corpus(apis, tmp_path / "halves")
    for name in FILES:
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_changed_documents_are_another_corpus(tmp_path: Path) -> None:
    apis = written(tmp_path / "apis", "Huts")
    build_offline_corpus(apis, tmp_path / "corpus", OfflineSettings(per_api=1))
    path = apis / "0.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("near", "close"), encoding="utf-8")
    with pytest.raises(SettingsMismatchError) as caught:
        build_offline_corpus(apis, tmp_path / "corpus", OfflineSettings(per_api=1))
    assert set(caught.value.differences) == {"documents"}


def test_the_embedded_apis_do_as_well(tmp_path: Path) -> None:
    note = build_offline_corpus("sample", tmp_path / "corpus")
    assert (note["apis"], note["set_aside"], note["gates"]) == (4, 0, {}) and note["kept"] == note["taken"] >= 30


@pytest.mark.parametrize(
    "without_use",
    [
        ["--config", "corpus.yaml"],
        ["--dtype", "float32"],
        ["--key-variable", "KEY"],
        ["--constrained"],
        ["--unconstrained"],
        ["--budget-calls", "9"],
        ["--budget-tokens", "9"],
        ["--budget-money", "0"],
        ["--executor", "ray"],
        ["--tasks", "2"],
        ["--workers", "2"],
        ["--concurrency", "2"],
        ["--set-aside-failed"],
    ],
)
def test_options_that_do_nothing_offline_are_refused_by_name(without_use: list[str], tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    done = CliRunner().invoke(
        app, ["build", "--offline", "--apis", "sample", "--out", str(out), "--per-api", "1", *without_use]
    )
    assert not out.exists()
    assert isinstance(done.exception, OptionError) and done.exception.option == without_use[0]


def test_an_exception_costs_one_instance_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apis = written(tmp_path / "apis", "Huts", "Cabins")
    whole = build_offline_corpus(apis, tmp_path / "whole", OfflineSettings(per_api=2))
    played, calls = module._play, []

    def fails_once(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise ZeroDivisionError("a mistake of the package's")
        return played(*given)

    monkeypatch.setattr(module, "_play", fails_once)
    out = tmp_path / "corpus"
    note = build_offline_corpus(apis, out, OfflineSettings(per_api=2))
    assert note["kept"] == whole["kept"] == 4
    assert "ZeroDivisionError" in json.dumps([json.loads(path.read_text()) for path in out.rglob("*.json")])


def test_an_exception_in_one_document_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(api: Any, *given: Any) -> Any:
        if api.name == "Huts":
            raise ZeroDivisionError("a mistake of the package's")
        return offline_instances(api, *given)

    offline_instances = module.offline_instances
    monkeypatch.setattr(module, "offline_instances", fails)
    out = tmp_path / "corpus"
    note = build_offline_corpus(written(tmp_path / "apis", "Huts", "Cabins"), out, OfflineSettings(per_api=2))
    assert (note["entries"], note["set_aside"], note["kept"]) == (2, 1, 2)
    assert any("ZeroDivisionError" in (row["set_aside"] or "") for row in rows(out / "apis.jsonl"))
