"""The published evaluation sets as part of the package: complete, current, and without their texts."""

import json
from pathlib import Path

import pytest

from toolalpaca_hf.corpus import decontamination
from toolalpaca_hf.corpus.decontamination import (
    PUBLISHED,
    Decontaminator,
    Fingerprint,
    evaluation_texts,
    instructions_of,
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_are_those_of_the_files(real_data: Path, name: str) -> None:
    texts = instructions_of(real_data / f"eval_{name}.json")
    assert len(texts) == {"simulated": 100, "real": 114}[name]
    assert evaluation_texts(name) == [Fingerprint.of(text) for text in texts]
    held = Path(decontamination.__file__).with_name("evaluation_sets.json").read_text(encoding="utf-8")
    assert not any(text in held for text in texts)


def test_they_screen_as_their_texts_do(real_data: Path) -> None:
    texts = instructions_of(real_data / "eval_simulated.json")
    screens = [Decontaminator(texts), Decontaminator(evaluation_texts("simulated"))]
    train = json.loads((real_data / "train_sample.json").read_text(encoding="utf-8"))
    others = [one["input"] for api in train for one in api.get("Instances", ())]
    asked = [*texts, *(f"{text} Thank you very much." for text in texts), *others, *(text[::-1] for text in texts)]
    told = [[screen.reason("api", text) for text in asked] for screen in screens]
    assert told[0] == told[1]
    assert None not in told[0][:200] and None in told[0]
