"""Simulators to ask."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from simulated import PETS, api_of

from toolalpaca_hf.data import SAMPLE, read_corpus, resolve_sources
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import running


@pytest.fixture(scope="module")
def pets() -> Iterator[httpx.Client]:
    """A client of the simulated pet shop; its sessions are those that a test names."""
    with running([api_of(PETS)]) as url, httpx.Client(base_url=f"{url}/pets") as client:
        yield client


@pytest.fixture(scope="session")
def sample_apis() -> list[Api]:
    """The embedded corpus, evaluation first."""
    apis = read_corpus(resolve_sources(train=SAMPLE / "train.json", eval_simulated=SAMPLE / "eval.json")).apis
    return apis["eval_simulated"] + apis["train"]


@pytest.fixture(scope="session")
def published_apis(real_data: Path) -> list[Api]:
    """The 10 simulated APIs, then the 43 of training."""
    sources = resolve_sources(train=real_data / "train_sample.json", eval_simulated=real_data / "eval_simulated.json")
    apis = read_corpus(sources).apis
    assert (len(apis["eval_simulated"]), len(apis["train"])) == (10, 43)
    return apis["eval_simulated"] + apis["train"]
