"""The quickstart's checkpoint as it is published, served by `transformers serve`, driven by the agent."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import transformers_serve
from transformers import pipeline

from toolalpaca_hf.agent import ReactContext, RolloutLimits, run
from toolalpaca_hf.agent.endpoint import EndpointBackend
from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.formats import react_prompt
from toolalpaca_hf.hub.contents import as_bytes
from toolalpaca_hf.hub.model import model_contents

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make quickstart` left; where it has not been run, a few steps of its training."""
    folder = ROOT / "outputs" / "quickstart"
    if not (folder / "model.safetensors").is_file() or not (folder / "metrics.json").is_file():
        folder = tmp_path_factory.mktemp("quickstart") / "run"
        recipe = ["--config", ROOT / "recipes/quickstart/sft.yaml", "--max_steps", 4, "--output_dir", folder]
        command = [sys.executable, ROOT / "recipes" / "sft.py", *recipe]
        subprocess.run(list(map(str, command)), check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    contents = model_contents(folder, "me/quickstart")
    published = tmp_path_factory.mktemp("published") / "quickstart"
    published.mkdir()
    for path, content in contents.files.items():
        if path.endswith(".safetensors"):
            assert isinstance(content, Path)
            (published / path).symlink_to(content.resolve())
        else:
            (published / path).write_bytes(as_bytes(content))
    return published


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_serve(tmp_path_factory.mktemp("serve") / "log.txt") as url:
        yield url


@pytest.mark.slow
def test_the_agent_drives_it_and_a_pipeline_writes_the_same(url: str, quickstart: Path, tmp_path: Path) -> None:
    backend = EndpointBackend(url, str(quickstart), timeout=300.0)
    limits = RolloutLimits(steps=2, turn_tokens=96, tokens=192, unread=1)
    told = run("sample", backend, tmp_path / "run", limits=limits, limit=3)
    assert told["rollouts"] == 3 and told["steps"] >= 1 and not told["ended"].get("error")

    corpus = read_corpus(resolve_sources("sample"))
    instruction = corpus.instructions["eval_simulated"][0]
    api = next(one for one in corpus.apis["eval_simulated"] if one.id == instruction.api)
    context = ReactContext.begin(react_prompt(), api, instruction.instruction)
    [written] = backend.write([context], 96)
    # The generation config alone ends the turn here; nobody passes a stop.
    write = pipeline("text-generation", model=str(quickstart), dtype="float32")
    alone = write(context.text, tokenizer=write.tokenizer, do_sample=False, max_new_tokens=96, return_full_text=False)
    assert alone[0]["generated_text"].split("\nObservation:")[0] == written.text
    assert alone[0]["generated_text"].endswith("\nObservation:") or written.turn.response is not None
