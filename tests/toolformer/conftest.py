"""What tests of annotation share."""

from pathlib import Path

import pytest
from proposing import save_proposer


@pytest.fixture(scope="session")
def proposer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that was taught to propose calls; see [`save_proposer`]."""
    return save_proposer(tmp_path_factory.mktemp("models") / "proposer")
