"""recipes/evaluate.py as a command: one process and two."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub.hub_server import OWNER, HubServer

from toolalpaca_hf import evaluation
from toolalpaca_hf.errors import InputError, ToolAlpacaError, run_main
from toolalpaca_hf.evaluation import EvaluationConfig
from toolalpaca_hf.training import parse_fields

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/evaluate.yaml")), ids=lambda path: path.parent.name)
def test_every_yaml_is_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Hardware: ") and text.splitlines()[1].startswith("# Worked out: ")
    (args,) = parse_fields(["--config", str(path), "--limit", "3"], EvaluationConfig)
    assert args.limit == 3 and {"simulated", "real"} == set(args.suites)
    assert vars(args) | yaml.safe_load(text) == vars(args)


def test_published_checkpoints_are_asked_as_published() -> None:
    for size in ("7b", "13b"):
        values = yaml.safe_load((RECIPES / f"toolalpaca-{size}" / "evaluate.yaml").read_text(encoding="utf-8"))
        assert values["prompt"] == "upstream" and values["model_name_or_path"].lower().endswith(f"toolalpaca-{size}")


def test_an_unknown_field_is_a_sentence() -> None:
    with pytest.raises(ToolAlpacaError, match="no_such_field"):
        parse_fields(["--model_name_or_path", "x", "--no_such_field", "1"], EvaluationConfig)


def test_a_recipe_of_megabytes_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("limit: 1\n" * 100_000)
    with pytest.raises(InputError) as caught:
        parse_fields(["--config", str(tmp_path / "a.yaml")], EvaluationConfig)
    assert caught.value.file == str(tmp_path / "a.yaml")


@pytest.mark.slow
def test_two_processes_share_the_instructions(
    llama: Path, environment: dict[str, str], tmp_path: Path, launched: Callable[..., Any]
) -> None:
    fields = ["--model_name_or_path", str(llama), "--suites", "sample", "--limit", "6", "--max_steps", "1"]
    fields += ["--max_new_tokens", "4", "--max_tokens", "8"]
    done = launched("cpu_2", [*fields, "--output_dir", str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("sample: process right by rule") == 1
    parts = [
        {json.loads(line)["id"] for line in (path / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()}
        for path in sorted((tmp_path / "two" / "sample" / "rollouts").glob("part-*"))
    ]
    assert [len(part) for part in parts] == [3, 3] and len(parts[0] | parts[1]) == 6

    # The second one pushes, to a Hub on loopback.
    with HubServer({"me/tiny": {"README.md": b"# Tiny\n"}}) as hub:
        environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": OWNER, "HF_HUB_OFFLINE": "0"}
        push = ["--push_to_hub", "--hub_model_id", "me/tiny", "--output_dir", str(tmp_path / "one")]
        done = launched("cpu", [*fields, *push])
        assert done.returncode == 0, done.stderr[-3000:]
        pushed = hub.repos["me/tiny"].files
    assert OWNER not in done.stdout + done.stderr and "Pushed to " in done.stdout
    assert b"model-index:" in pushed["README.md"] and b"# Tiny" in pushed["README.md"]
    written = (tmp_path / "one" / "sample" / "metrics.json").read_bytes()
    public = written.replace(str(llama).encode(), llama.name.encode())  # no folder of whoever ran it
    assert public != written and pushed["evaluation/sample/metrics.json"] == public and OWNER.encode() not in written
    one, two = (
        json.loads((tmp_path / name / "sample" / "metrics.json").read_text(encoding="utf-8"))
        for name in ("one", "two")
    )
    assert one["n"] == 6 and (tmp_path / "one" / "sample" / "report.html").is_file()
    for name in ("n", "failed", "calls", "validity", "by"):
        assert one[name] == two[name], name


def refused(fields: list[str]) -> None:
    """The script ends as the command would, without the seconds of imports."""
    module = runpy.run_path(str(RECIPES / "evaluate.py"))
    with pytest.raises(SystemExit) as left:
        run_main(lambda: module["main"](*parse_fields(fields, EvaluationConfig)))
    assert left.value.code == 2


def test_a_folder_of_others_is_refused_before_the_model_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "sample").mkdir(parents=True)
    (tmp_path / "out" / "sample" / "mine.txt").write_text("mine", encoding="utf-8")
    fields = ["--model_name_or_path", str(tmp_path / "no-model"), "--suites", "sample"]
    refused([*fields, "--output_dir", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "mine.txt" in said and "--overwrite" in said
    assert (tmp_path / "out" / "sample" / "mine.txt").read_text(encoding="utf-8") == "mine"


@pytest.fixture
def launched(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def launched(config: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        file = RECIPES / "accelerate_configs" / f"{config}.yaml"
        command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file", str(file)]
        command += [str(RECIPES / "evaluate.py"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return launched


def test_each_suite_gets_what_is_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, sample = runpy.run_path(str(RECIPES / "evaluate.py"))["main"], evaluation.read_suite("sample")
    metrics = {"process_verdict": dict.fromkeys(("value", "low", "high"), 0.0), "n": 0, "failed": 0}
    seen: dict[str, EvaluationConfig] = {}
    monkeypatch.setitem(main.__globals__, "make_backend", lambda *_: None)
    monkeypatch.setattr(evaluation, "read_suite", lambda name, _: replace(sample, name=name))
    monkeypatch.setattr(
        evaluation, "evaluate_model", lambda *given: seen.update({given[0].name: given[-1]}) or metrics
    )
    config = EvaluationConfig("m", real=True, confirm_unsafe=True, faults="0.2", output_dir=str(tmp_path))
    main(replace(config, suites=["simulated", "real"]))
    assert seen["simulated"].faults == "0.2" and not seen["simulated"].confirm_unsafe
    assert seen["real"].confirm_unsafe and seen["real"].faults is None


def test_a_push_that_would_be_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(["--model_name_or_path", str(tmp_path), "--suites", "sample", "--push_to_hub", "true"])
    assert "no repo id" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(["--model_name_or_path", str(tmp_path / "none"), "--suites", "sample"])
    assert str(tmp_path / "none") in capsys.readouterr().err.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
