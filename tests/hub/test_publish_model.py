"""A trained model published through the real huggingface_hub, to a Hub on loopback, and read again by transformers."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hub.evaluated import write_run
from hub.hub_server import OWNER, HubServer
from hub.pushing import publish_model, push_results
from hub.trained import METRICS, write_training
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.hub import fetch, model_manifest, push

REPO = "me/tiny"


def test_a_base_install_publishes() -> None:
    """Nothing of it needs torch, which the extra `train` brings."""
    code = "import sys, toolalpaca_hf.hub as hub; hub.model_manifest, hub.check_publishable, hub.fetch;"
    code += "print(*sorted({'torch', 'transformers', 'trl', 'accelerate', 'peft'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def run(llama: Path, tmp_path: Path) -> Path:
    return write_training(tmp_path / "run", llama)


@pytest.fixture
def publish(empty_hub: HubServer, run: Path) -> Callable[..., Any]:
    def publish(**more: Any) -> Any:
        return publish_model(run, REPO, **({"licence": "mit", "token": OWNER, "endpoint": empty_hub.url} | more))

    return publish


def test_what_is_published_and_what_is_not(publish: Callable[..., Any], empty_hub: HubServer, run: Path) -> None:
    shutil.copyfile(run / "model.safetensors", run / "optimizer.safetensors")
    settings = yaml.safe_load((run / "config.yaml").read_text()) | {"data": [str(run / "a.json"), {"b": str(run)}]}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert publish().private
    files = empty_hub.repos[REPO].files
    assert set(files) == {
        *(".gitattributes", "README.md", "config.json", "config.yaml", "generation_config.json", "metrics.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    }
    for name in ("config.json", "metrics.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert files[name] == (run / name).read_bytes()
    left_out = model_manifest(run, REPO, licence="mit").left_out
    assert left_out["training_args.bin"].startswith("pickled") and left_out["checkpoint-2/"].startswith("a checkpoint")
    assert left_out["optimizer.safetensors"].startswith("state") and left_out[".env"] == "hidden"
    # Where this machine keeps its folders is nobody's business.
    settings = yaml.safe_load(files["config.yaml"])
    assert settings["output_dir"] == "run" and settings["learning_rate"] == 1e-3
    assert settings["data"] == ["a.json", {"b": "run"}]
    assert str(run.parent).encode() not in b"".join(files.values())


def test_it_is_the_same_model_for_others(
    publish: Callable[..., Any], empty_hub: HubServer, run: Path, tmp_path: Path
) -> None:
    publish()
    folder = fetch(REPO, token=OWNER, endpoint=empty_hub.url).folder
    before = AutoModelForCausalLM.from_pretrained(run).state_dict()
    after = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    generation = GenerationConfig.from_pretrained(folder)
    assert generation.stop_strings == ["\nObservation:", "\nASSISTANT Observation:"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends = generation.eos_token_id
    assert tokenizer.eos_token_id in (ends if isinstance(ends, list) else [ends])
    # The three lines of the card, with its folder in place of the name.
    card = (folder / "README.md").read_text(encoding="utf-8")
    [code] = [block.split("```")[0] for block in card.split("```python\n")[1:] if "import pipeline" in block]
    seen: list[str] = []
    exec(code.replace(f'"{REPO}"', repr(str(folder))), {"print": seen.append})
    assert seen and seen[0].startswith("USER: When is high tide in Brest?\nThought:")


def test_a_turn_stops_before_its_observation(publish: Callable[..., Any], empty_hub: HubServer) -> None:
    publish()
    folder = fetch(REPO, token=OWNER, endpoint=empty_hub.url).folder
    write = pipeline("text-generation", model=str(folder))
    stops = write.tokenizer("\nObservation:")["input_ids"]
    left = list(stops) + [5] * 20

    def forced(_: int, ids: torch.Tensor) -> list[int]:
        return [left[len(ids) - start]]

    start = len(write.tokenizer("x")["input_ids"])
    written = write("x", tokenizer=write.tokenizer, prefix_allowed_tokens_fn=forced, max_new_tokens=20)
    assert written[0]["generated_text"] == "x\nObservation:"


def test_the_card_is_filled_from_the_run(
    publish: Callable[..., Any], empty_hub: HubServer, run: Path, tmp_path: Path
) -> None:
    results = write_run(tmp_path / "eval", "real", 0.63, exact_set=0.5)
    publish(results=[results], evaluated_as="m")
    card = ModelCard(empty_hub.repos[REPO].files["README.md"].decode())
    assert (card.data.base_model, card.data.license) == ("org/tiny", "mit")
    found = {(one.metric_config, one.metric_value, one.source_url) for one in card.data.eval_results}
    url = f"{empty_hub.url}/{REPO}/blob/main/evaluation/real/metrics.json"
    assert found == {("process_verdict", 63.0, url), ("exact_set", 50.0, url)}
    assert "| exact set | 50.0% (40.0% to 60.0%) |" in card.text
    assert "100 instructions; 2 failed or missing" in card.text
    assert "| final loss | 7.1 |" in card.text and "| num tokens | 1,234 |" in card.text
    assert "[[" not in card.text and "No evaluation was published" not in card.text
    assert empty_hub.repos[REPO].files["evaluation/real/metrics.json"] == (results / "metrics.json").read_bytes()


def test_a_second_push_makes_no_commit_and_keeps_the_results_of_others(
    publish: Callable[..., Any], empty_hub: HubServer, tmp_path: Path
) -> None:
    publish()
    assert not publish().changed and len(empty_hub.commits(REPO)) == 2
    push_results({"real": write_run(tmp_path / "eval", "real")}, REPO, OWNER, empty_hub.url)
    assert not publish().changed, "the results are in the metadata, which the run knows nothing of"
    simulated = write_run(tmp_path / "simulated", "simulated")
    assert publish(results=[simulated], evaluated_as="m").changed
    card = ModelCard(empty_hub.repos[REPO].files["README.md"].decode())
    assert {one.dataset_split for one in card.data.eval_results} == {"eval_real", "eval_simulated"}
    before = len(empty_hub.commits(REPO))
    assert not publish(results=[simulated], evaluated_as="m").changed and len(empty_hub.commits(REPO)) == before


def test_new_weights_are_one_commit_that_says_so(publish: Callable[..., Any], empty_hub: HubServer, run: Path) -> None:
    publish()
    tensors = load_file(run / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, run / "model.safetensors", metadata={"format": "pt"})
    assert publish().changed and len(empty_hub.commits(REPO)) == 3
    assert empty_hub.repos[REPO].files["model.safetensors"] == (run / "model.safetensors").read_bytes()


def test_shards(empty_hub: HubServer, run: Path, tmp_path: Path) -> None:
    whole = (run / "model.safetensors").read_bytes()
    contents = model_manifest(run, REPO, licence="mit", shard_bytes=200_000)
    shards = [path for path in contents.files if path.startswith("model-")]
    sizes = contents.sizes()
    assert len(shards) > 2 and "model.safetensors" not in contents.files
    # A tensor is never cut, and this model's embedding alone is larger.
    largest = 4 * max(tensor.numel() for tensor in load_file(run / "model.safetensors").values())
    assert all(sizes[path] < max(200_000, largest) + 10_000 for path in shards)
    push(contents, REPO, OWNER, empty_hub.url)
    folder = fetch(REPO, token=OWNER, endpoint=empty_hub.url).folder
    before, after = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (run, folder))
    assert all(torch.equal(before[name], after[name]) for name in before)
    # Made once; and a file that is no longer among the weights leaves the repo.
    made = {path: path.stat().st_mtime_ns for path in (run / "_publish").rglob("*.safetensors")}
    assert model_manifest(run, REPO, licence="mit", shard_bytes=200_000).card == contents.card
    assert {path: path.stat().st_mtime_ns for path in (run / "_publish").rglob("*.safetensors")} == made
    publish_model(run, REPO, licence="mit", token=OWNER, endpoint=empty_hub.url)
    files = empty_hub.repos[REPO].files
    assert files["model.safetensors"] == whole and not [path for path in files if path.startswith("model-")]


def lora(llama: Path, folder: Path) -> Path:
    """An adapter whose B matrices are not zero, as a training leaves them."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(llama)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(folder / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama / name, folder / "adapter" / name)
    return write_training(folder / "run", folder / "adapter", use_peft=True, lora_r=4)


def test_the_adapter_alone_and_merged(empty_hub: HubServer, llama: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    run = lora(llama, tmp_path)
    more = {"base_model": "org/tiny", "licence": "mit", "token": OWNER, "endpoint": empty_hub.url}
    publish_model(run, "me/adapter", **more)
    files = empty_hub.repos["me/adapter"].files
    assert "adapter_model.safetensors" in files and "model.safetensors" not in files
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "org/tiny"
    assert str(llama).encode() not in b"".join(files.values())
    assert ModelCard(files["README.md"].decode()).data.library_name == "peft"

    publish_model(run, "me/merged", merge=True, **more)
    files = empty_hub.repos["me/merged"].files
    assert "adapter_model.safetensors" not in files and "adapter_config.json" not in files
    folder = fetch("me/merged", token=OWNER, endpoint=empty_hub.url).folder
    merged = AutoModelForCausalLM.from_pretrained(folder)
    adapted, base = AutoPeftModelForCausalLM.from_pretrained(run), AutoModelForCausalLM.from_pretrained(llama)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        logits = [model.eval()(ids).logits for model in (merged, adapted, base)]
    assert torch.allclose(logits[0], logits[1], atol=1e-5)
    assert not torch.allclose(logits[0], logits[2], atol=1e-2)
    made = (run / "_publish/merged/model.safetensors").stat().st_mtime_ns
    assert publish_model(run, "me/merged", merge=True, **more).changed is False
    assert (run / "_publish/merged/model.safetensors").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("harm", "more", "words"),
    [
        (lambda run: (run / "metrics.json").unlink(), {}, r"metrics\.json: no such file; finish the training"),
        (lambda run: (run / "metrics.json").write_text('{"steps": 2'), {}, "metrics.json.*JSON"),
        (
            lambda run: (run / "metrics.json").write_text(json.dumps(METRICS | {"final_loss": None})),
            {},
            "None for final_loss",
        ),
        (lambda run: (run / "metrics.json").write_text(json.dumps({"steps": 2})), {}, "None for epochs"),
        (lambda run: (run / "config.yaml").unlink(), {}, "config.yaml: no such file"),
        (lambda run: (run / "model.safetensors").unlink(), {}, "no weights as safetensors"),
        (lambda run: (run / "model.safetensors").write_bytes(b"half"), {}, "no whole file of weights"),
        (lambda run: None, {"licence": None}, "--licence: the licence of org/tiny is not known"),
        (lambda run: None, {"licence": "my: own"}, "pass it as the Hub writes it"),
        (lambda run: None, {"base_model": "no/such/id"}, "started from no/such/id, which is no id of the Hub"),
        (lambda run: None, {"card": "mine"}, "no card template 'mine'; pass one of .*quickstart"),
        (lambda run: None, {"card": "quickstart"}, "nothing under 'before'"),
        (lambda run: None, {"merge": True}, "holds no adapter"),
        *(
            (
                lambda run: (run / "adapter_config.json").write_text("[]"),
                {"merge": merge},
                "adapter_config.json: no obj",
            )
            for merge in (False, True)
        ),
        (
            lambda run: (run / "config.json").write_text('{"key": "sk-' + 44 * "a" + '"}'),
            {},
            "config.json: holds what looks like",
        ),
    ],
)
def test_what_is_refused(
    publish: Callable[..., Any],
    empty_hub: HubServer,
    run: Path,
    harm: Callable[[Path], object],
    more: dict[str, Any],
    words: str,
) -> None:
    harm(run)
    with pytest.raises(ToolAlpacaError, match=words) as caught:
        publish(**more)
    assert "\n" not in str(caught.value) and "sk-a" not in str(caught.value)
    assert empty_hub.seen == [], "nothing was asked of the Hub"


def test_results_of_another_model(publish: Callable[..., Any], empty_hub: HubServer, tmp_path: Path) -> None:
    results = write_run(tmp_path / "eval", "real")
    with pytest.raises(ToolAlpacaError, match="scores m, which is not this model"):
        publish(results=[results])
    again = write_run(tmp_path / "again", "real")
    with pytest.raises(ToolAlpacaError, match="score the same suite"):
        publish(results=[results, again], evaluated_as="m")
    assert empty_hub.seen == []
