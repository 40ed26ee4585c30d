"""What tests of every room share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the published files, which are not part of this repository."""
    folder = ROOT.parent / "shared" / "data" / "toolalpaca"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the published files are not at hand")
    return folder
