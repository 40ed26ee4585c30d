"""The published corpora, where they are at hand."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data" / "toolalpaca"


@pytest.fixture(scope="session")
def published_apis() -> list[dict[str, Any]]:
    """The 43 training and 21 evaluation APIs, raw."""
    if not DATA.is_dir():
        pytest.skip(f"the published corpora are not at {DATA}")
    names = ("train_sample.json", "eval_simulated.json", "eval_real.json")
    return [api for name in names for api in json.loads((DATA / name).read_text(encoding="utf-8"))]
