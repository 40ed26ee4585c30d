"""The scripts of benchmarks/, which import one another by name."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session", autouse=True)
def folder() -> Iterator[Path]:
    """The folder of the scripts, in which Python looks for modules as it does when one of them is started."""
    sys.path.append(str(BENCHMARKS))
    yield BENCHMARKS
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="session")
def page(folder: Path) -> ModuleType:
    import page

    return page


@pytest.fixture(scope="session")
def measured(folder: Path) -> ModuleType:
    import measured

    return measured
