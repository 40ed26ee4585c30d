"""What commands refuse before they work: a model that is none, a folder of other data, a document for a corpus."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolalpaca_hf import __version__, checkpoints
from toolalpaca_hf.checkpoints import check_model
from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import ToolAlpacaError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("outputs/quickstart", "outputs/long/checkpoint-20"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("smollm3", "smollm2"),
        ("quickstart", "outputs/quickstart"),
        ("outputs/quickstat", "outputs/quickstart"),
        ("output/quickstart", "outputs/quickstart"),
        ("./output/quickstart", "outputs/quickstart"),
        ("outputs/long", "outputs/long/checkpoint-20"),
        ("outputs/quickstart/config.json", "outputs/quickstart"),
        ("gpt2", ""),
        ("/nowhere/at/all", ""),
        ("a/b/c", ""),
    ],
)
def test_a_misspelt_model_is_refused_without_the_hub(
    models: Path, monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setattr(checkpoints, "snapshot_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    if name == "output/quickstart":
        (models / "output").mkdir()
    with pytest.raises(ToolAlpacaError) as caught:
        check_model(name)
    assert name in str(caught.value) and nearest in str(caught.value)


@pytest.mark.parametrize("name", ["smollm2", "outputs/quickstart", "Qwen/Qwen3-8B", "org/model_1.0"])
def test_names_that_may_be_models(models: Path, name: str) -> None:
    check_model(name)


def test_version() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.output.split()) == (0, ["toolalpaca-hf", __version__])


COMMANDS = {
    "run": ["run", "--model", "outputs/quickstat", "--apis", "sample", "--out", "out"],
    "evaluate": ["evaluate", "--model", "outputs/quickstat", "--suite", "sample", "--out", "out"],
    "generate": ["toolformer", "generate", "--model", "outputs/quickstat", "1 + 1 ="],
    "annotate": ["toolformer", "annotate", "--model", "outputs/quickstat", "--input", "t.jsonl", "--out", "out"],
    "toolformer evaluate": ["toolformer", "evaluate", "--model", "outputs/quickstat", "--task", "svamp"],
    "corpus build": ["corpus", "build", "--apis", "list.json", "--local", "outputs/quickstat", "--out", "out"],
}


LISTED = '[{"API": "Tides", "Description": "Tides.", "Link": "https://t.example"}]'


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_the_nearest_model_before_it_works(models: Path, command: str) -> None:
    (models / "list.json").write_text(LISTED)
    found = CliRunner().invoke(app, COMMANDS[command])
    assert isinstance(found.exception, ToolAlpacaError) and "outputs/quickstart" in str(found.exception)
    assert not (models / "out").exists()


COMMANDS_OUT = ["run", "evaluate", "annotate", "corpus build"]


@pytest.mark.parametrize("command", COMMANDS_OUT)
def test_every_command_refuses_a_folder_of_other_data(models: Path, command: str) -> None:
    arguments = [part.replace("quickstat", "quickstart") for part in COMMANDS[command]]
    (models / "list.json").write_text("[]")
    (models / "out").mkdir()
    (models / "out" / "thesis.tex").write_text("mine")
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, ToolAlpacaError) and "thesis.tex" in str(found.exception)


REFUSED = {
    "run": (COMMANDS["run"], ["run.json", "rollouts.jsonl"]),
    "evaluate": (COMMANDS["evaluate"], ["metrics.json", "instructions.json", "rollouts/rollouts.jsonl"]),
    "a run that is scored": (
        ["evaluate", "--trajectories", "out", "--suite", "nosuch", "--out", "out"],
        ["metrics.json", "instructions.json", "run.json", "rollouts.jsonl"],
    ),
    "corpus build": (
        ["corpus", "build", "--apis", "sample", "--offline", "--faults", "1.5", "--out", "out"],
        ["corpus.json", "instances.jsonl", "train_data.json"],
    ),
    "corpus build without its key": (
        "corpus build --apis list.json --endpoint http://127.0.0.1:9/v1 --model m --key-variable NO_SUCH_KEY "
        "--out out".split(),
        ["corpus.json", "entries.json", "requests.sqlite", "parts/toolset/0.json"],
    ),
    "create": (["create", "bad.yaml", "--out", "out"], ["create.json", "stages.json", "model/config.json"]),
    "annotate": (
        ["toolformer", "annotate", "--model", "outputs/quickstart", "--input", "no.jsonl", "--out", "out"],
        ["annotated-00000.jsonl", "config.json"],
    ),
    "toolformer evaluate": (
        ["toolformer", "evaluate", "--model", "outputs/quickstart", "--task", "nosuch", "--out", "out"],
        ["models.json", "nosuch/quickstart/without.jsonl"],
    ),
    "a task that is a path": (
        ["toolformer", "evaluate", "--model", "outputs/quickstart", "--task", "/nosuch", "--out", "out"],
        ["models.json"],
    ),
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_is_refused_overwrites_nothing(models: Path, command: str) -> None:
    arguments, names = REFUSED[command]
    (models / "bad.yaml").write_text("openapi: [")
    (models / "list.json").write_text(LISTED)
    for name in names:
        (models / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (models / "out" / name).write_text(f'{{"was": "{name}"}}\n')
    found = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert isinstance(found.exception, ToolAlpacaError), found.output
    assert [(models / "out" / name).read_text() for name in names] == [f'{{"was": "{name}"}}\n' for name in names]
    assert not list((models / "out").glob("requests.sqlite-*"))


def test_a_dry_run_overwrites_nothing(models: Path) -> None:
    (models / "list.json").write_text(LISTED)
    (models / "out").mkdir()
    (models / "out" / "corpus.json").write_text("{}")
    arguments = [*REFUSED["corpus build without its key"][0], "--dry-run", "--overwrite"]
    assert CliRunner().invoke(app, arguments).exit_code == 0 and (models / "out" / "corpus.json").is_file()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("annotate", "config.json"),
        ("evaluate", "model_index.json"),
        ("run", "part-00000"),
        ("corpus build", "parts/x"),
    ],
)
def test_nothing_of_others_is_overwritten(models: Path, command: str, name: str) -> None:
    """Such as a trained model, a pipeline of diffusers and data in parts."""
    arguments = [part.replace("quickstat", "quickstart") for part in COMMANDS[command]]
    (models / "list.json").write_text("[]")
    (models / "t.jsonl").write_text('{"text": "1 + 1 = 2"}\n')
    (models / "out" / name).parent.mkdir(parents=True)
    (models / "out" / name).write_text("mine")
    found = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert isinstance(found.exception, ToolAlpacaError), found.output
    assert (models / "out" / name).read_text() == "mine"


@pytest.mark.parametrize("command", ["run", "evaluate"])
@pytest.mark.parametrize(
    "text", ["openapi: 3.0.0\npaths: {}\n", '{"openapi": "3.0.0", "paths": {}}', "swagger: '2.0'"]
)
def test_an_openapi_document_is_named_for_what_it_is(models: Path, command: str, text: str) -> None:
    (models / "pets.yaml").write_text(text)
    arguments = [command, "--model", "outputs/quickstart", "--apis", "pets.yaml", "--out", "out"]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, ToolAlpacaError)
    assert "OpenAPI" in str(found.exception) and "--instruction" in str(found.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "runs/scored", "runs/scorde"],
        ["evaluate", "--trajectories", "runs/scorde/rollouts", "--suite", "sample", "--out", "out"],
        ["evaluate", "--model", "outputs/quickstart", "--apis", "runs/scorde/a.json", "--out", "out"],
        ["lint", "runs/scorde/a.json"],
        ["publish", "dataset", "runs/scorde", "--repo-id", "me/data", "--dry-run"],
    ],
)
def test_a_misspelt_path_names_the_nearest(models: Path, arguments: list[str]) -> None:
    (models / "runs" / "scored").mkdir(parents=True)
    (models / "runs" / "scored" / "metrics.json").write_text('{"n": 0, "suite": "sample"}')
    (models / "runs" / "scored" / "instructions.json").write_text("[]")
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, ToolAlpacaError) and "did you mean runs/scored?" in str(found.exception.fix)


def test_a_suite_that_is_not_at_hand_names_the_option(models: Path) -> None:
    code = "import sys; from toolalpaca_hf.cli import main; sys.argv[1:] = sys.argv[1:]; main()"
    arguments = ["evaluate", "--model", "outputs/quickstart", "--suite", "simulated", "--out", "out"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(models / "hf")}
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.returncode == 2 and "--data-dir" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["create", "nosuch.yaml", "--out", "out", "--dry-run"], None),
        (["lint", "simulated", "--data-dir", "nowhere"], "--data-dir"),
        (["publish", "dataset", "x", "--repo-id", "me/x", "--public", "--pr"], "--public"),
        (["simulate", "--apis", "sample", "--mcp", "--mcp-http"], None),
        (["screen", "runs/nowhere"], None),
        (["create", "sample", "--base", "smollm3", "--out", "out"], None),
        (
            ["toolformer", "generate", "--model", "smollm2", "1 +", "--api", "a.yaml", "--credentials", "k"],
            "--credentials",
        ),
        (["toolformer", "generate", "--model", "smollm2", "1 +", "--real"], "--real"),
    ],
)
def test_what_cannot_work_is_refused_before_torch_is_imported(
    models: Path, arguments: list[str], option: str | None
) -> None:
    code = (
        "import sys; from toolalpaca_hf.cli import app; from toolalpaca_hf.errors import ToolAlpacaError\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except ToolAlpacaError as error: print(error.option, 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == [str(option), "False"], ended.stderr
