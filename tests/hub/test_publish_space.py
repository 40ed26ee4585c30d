"""A Space that shows a dataset's rows and a run's rollouts: pushed to the strict Hub, read as its app would."""

import ast
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hub.hub_server import OWNER, HubServer
from huggingface_hub import SpaceCard, constants, snapshot_download
from typer.testing import CliRunner

from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import InputError
from toolalpaca_hf.explore import DatasetView, RunView, find_targets, space_manifest
from toolalpaca_hf.features import ROLLOUT_FEATURES
from toolalpaca_hf.hub import check_no_secrets, push
from toolalpaca_hf.hub.push import as_bytes

REPO = "me/petstore"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    from datasets import Dataset

    row = {"id": "e/tides/0", "api": "e/tides", "instruction": "Tide?", "hint": "", "steps": [], "final_thought": None}
    row |= {"response": "At noon.", "ended": "answered", "error": "", "tokens": 9, "seconds": 1.0}
    (tmp_path / "run").mkdir()
    Dataset.from_list([row], features=ROLLOUT_FEATURES).to_parquet(tmp_path / "run" / "trajectories.parquet")
    (tmp_path / "run" / "rollouts.jsonl").write_text("{}")  # nothing that the page reads
    return tmp_path / "run"


def test_a_space_holds_what_its_page_reads(empty_hub: HubServer, sample_repo: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "rollouts.jsonl").write_text("{}")
    folders = [str(sample_repo), str(run), str(model), str(tmp_path / "unfinished")]
    manifest = space_manifest(folders, REPO, "me/petstore-data")
    assert list(manifest.left_out) == folders[2:]
    pushed = push(manifest, REPO, OWNER, empty_hub.url)
    repo = empty_hub.repos[f"spaces/{REPO}"]
    assert pushed.private and pushed.url.startswith(f"{empty_hub.url}/spaces/{REPO}/commit/")
    card = SpaceCard(repo.files["README.md"].decode()).data
    assert (card.sdk, card.app_file, card.datasets) == ("gradio", "app.py", ["me/petstore-data"])
    assert b"toolalpaca-hf[explore]==" in repo.files["requirements.txt"]
    ast.parse(repo.files["app.py"])

    down = Path(snapshot_download(REPO, repo_type="space", endpoint=empty_hub.url, token=OWNER))
    data, rollouts = find_targets(sorted(str(path) for path in (down / "shown").iterdir()))
    there, here = DatasetView(data.path), DatasetView(sample_repo)
    assert data.kind == "dataset" and there.ids == here.ids
    assert all(there.segments(name) == here.segments(name) for name in here.ids[:9])
    assert list(RunView(rollouts.path).records) == ["e/tides/0"]
    assert not any("rollouts.jsonl" in path for path in repo.files)
    assert not push(manifest, REPO, OWNER, empty_hub.url).changed

    # What is shown no longer leaves the Space.
    assert push(space_manifest([str(run)], REPO), REPO, OWNER, empty_hub.url).changed
    assert not any("/sft/" in path for path in repo.files)


def test_the_command_publishes_the_dataset_too(
    empty_hub: HubServer, sample_repo: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", OWNER)
    monkeypatch.setattr(constants, "ENDPOINT", empty_hub.url)
    command = ["publish", "space", str(sample_repo), str(run), "--repo-id", REPO]
    done = CliRunner().invoke(app, [*command, "--dataset-id", "me/data", "--package", "./here.whl[explore]"])
    assert done.exit_code == 0, done.output
    assert set(empty_hub.repos) == {f"spaces/{REPO}", "datasets/me/data"}
    assert empty_hub.repos[f"spaces/{REPO}"].files["requirements.txt"] == b"./here.whl[explore]\n"
    asked = len(empty_hub.seen)
    assert "app.py" in CliRunner().invoke(app, [*command, "--dry-run"]).stdout and len(empty_hub.seen) == asked


def test_nobody_learns_whose_servers_were_asked(run: Path) -> None:
    server = "http://gpu-7.lan:8000/v1"
    settings = {
        "endpoint": server,
        "model": "m",
        "responder": "schema",
        "seed": 3,
        "limits": {"steps": 4},
        "calls": server,
    }
    (run / "run.json").write_text(json.dumps({"settings": settings}))
    table = pq.read_table(run / "trajectories.parquet")
    column = table.column_names.index("error")
    told = table.set_column(column, table.schema.field(column), [[f"{server} cannot be reached"]])
    pq.write_table(told, run / "trajectories.parquet")
    (run / "instructions.json").write_text(json.dumps([{"id": "e/tides/0", "instruction": "Tide?", "error": server}]))
    files = {path: as_bytes(content) for path, content in space_manifest([str(run)], REPO).files.items()}
    note = json.loads(next(content for path, content in files.items() if path.endswith("/run.json")))
    assert note["settings"] == {"responder": "schema", "faults": None, "seed": 3, "limits": {"steps": 4}}
    rows = next(content for path, content in files.items() if path.endswith(".parquet"))
    (row,) = pq.read_table(io.BytesIO(rows)).to_pylist()
    assert row["error"] == "*** cannot be reached" and row["response"] == "At noon."
    assert not any(b"gpu-7" in content for content in files.values())
    key = pq.read_table(run / "trajectories.parquet").set_column(column, "error", [["hf_" + "a1B2" * 9]])
    pq.write_table(key, run / "trajectories.parquet")
    with pytest.raises(InputError):
        check_no_secrets(space_manifest([str(run)], REPO))
    (run / "instructions.json").write_bytes(b'["Caf\xe9"]')
    with pytest.raises(InputError):
        space_manifest([str(run)], REPO)


def test_models_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError):
        space_manifest([str(tmp_path)], REPO)
