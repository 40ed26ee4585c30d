"""The published corpora, where they are at hand."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def published_apis(real_data: Path) -> list[dict[str, Any]]:
    """The 43 training and 21 evaluation APIs, raw."""
    names = ("train_sample.json", "eval_simulated.json", "eval_real.json")
    return [api for name in names for api in json.loads((real_data / name).read_text(encoding="utf-8"))]
