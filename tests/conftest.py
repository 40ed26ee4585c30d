"""What tests of every room share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# How long an example takes says something of the machine alone.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the published files, which are not part of this repository."""
    folder = ROOT.parent / "shared" / "data" / "toolalpaca"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the published files are not at hand")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of inputs on which the package once failed, which are not part of this repository."""
    folder = ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the cases are not at hand")
    return folder
