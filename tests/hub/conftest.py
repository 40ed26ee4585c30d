"""A Hub on loopback, a cache of the test's own, nobody logged in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub.hub_server import HubServer
from huggingface_hub import constants

from toolalpaca_hf.data import make_prompt, resolve_sources, write_repo


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    # Xet goes to servers of its own, of which there is none here.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))


@pytest.fixture
def empty_hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="session")
def sample_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded corpus as `dataset_scripts/toolalpaca.py` writes it; not to be written to."""
    folder = tmp_path_factory.mktemp("built") / "sample"
    write_repo(resolve_sources("sample"), folder, make_prompt("react"))
    return folder
