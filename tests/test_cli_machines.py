"""What other programs rely on: JSON on standard output alone, exit statuses, the nearest known names, no hanging."""

import importlib
import json
import socket
import time
from pathlib import Path

import pytest
from test_cli import toolalpaca
from typer.testing import CliRunner

from toolalpaca_hf import __version__
from toolalpaca_hf.agent import RolloutsFailedError
from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import InterruptedRunError, NotFoundError, OptionError, nearest, run_main
from toolalpaca_hf.evaluation import read_suite
from toolalpaca_hf.hub import HubError
from toolalpaca_hf.llm import Unanswered

ROOT = Path(__file__).parents[1]
doctor = importlib.import_module("toolalpaca_hf.cli.doctor")  # the package has the command of this name


def test_version_and_completion_are_there() -> None:
    assert __version__ in CliRunner().invoke(app, ["--version"]).stdout
    shown = CliRunner().invoke(app, ["--show-completion"], env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert "No such option" not in shown.output


def test_documents_are_shown_as_json() -> None:
    done = CliRunner().invoke(app, ["apis", "show", str(ROOT / "examples" / "petstore.yaml"), "--json"])
    [api] = json.loads(done.stdout)
    assert done.exit_code == 0 and len(api["functions"]) == 10 and api["violations"] == []
    assert api["functions"][0]["parameters"][0][:2] == ["species", True]


def test_standard_output_holds_json_alone(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "judged" / "eval_7b_train_part_of_train_real.verdicts.json"
    done = toolalpaca("evaluate", "--judged", file, "--out", tmp_path, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["judge"]["num"] > 0


def test_the_doctor_does_not_wait_for_a_hub_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(doctor, "PATIENCE", 1.5)
        start = time.monotonic()
        assert "reached" in doctor._hub() or "answer" in doctor._hub()
        assert time.monotonic() - start < 5


def test_the_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._missing(("agent",)) == {"extras": [], "packages": []}
    have = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("fastapi", "torch") else have(name))
    monkeypatch.setattr(doctor, "_hub", lambda: "not asked")
    assert doctor._missing(("agent",)) == {"extras": ["agent"], "packages": ["fastapi"]}  # of the extra it names
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert found["torch"] == "not installed" and found["devices"] == []
    assert found["commands"]["simulate"] == {"extras": ["simulator"], "packages": ["fastapi"]}
    assert "torch" in found["commands"]["run, with a local model"]["packages"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OptionError("x"), 2),
        (RolloutsFailedError("x"), 1),
        (InterruptedRunError("x"), 130),
        (KeyboardInterrupt(), 130),
        # What a server answered is no exit status, nor is it none where it did not answer.
        *((Unanswered("x", status=status), 2) for status in (None, 401)),
        *((HubError("x", status), 2) for status in (None, 403)),
    ],
)
def test_exit_statuses(error: BaseException, status: int) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_main(fail)
    assert ended.value.code == status


def test_the_nearest_known_name_is_named() -> None:
    assert nearest("calculater", ["calendar", "calculator"]) == "did you mean calculator? "
    assert nearest("zebra", ["calendar"]) == ""
    with pytest.raises(NotFoundError) as caught:
        read_suite("smaple")
    assert caught.value.fix is not None and "sample" in caught.value.fix
