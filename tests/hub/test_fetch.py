"""Models fetched from a Hub on loopback: which files, at which revision, whole, and pickles only when asked for."""

import errno
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hub.hub_server import OWNER, HubServer, Refusal
from huggingface_hub import constants
from prompt_rows import documented_tools
from safetensors.torch import load_file
from tiny_models import save_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from typer.testing import CliRunner

import toolalpaca_hf.hub as hub_room
from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.formats import UpstreamPrompt, react_prompt
from toolalpaca_hf.hub import client, fetch
from toolalpaca_hf.schema import Api, Function
from toolalpaca_hf.storage import StorageError

REPO = "org/tiny"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pickled(llama: Path, tmp_path: Path, shards: int = 1) -> dict[str, bytes]:
    """The model as it would have been published some years ago."""
    state = AutoModelForCausalLM.from_pretrained(llama).state_dict()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]  # shared, and a view of a larger tensor besides
    state["model.norm.weight"] = torch.cat([state["model.norm.weight"], torch.ones(9)])[:-9]
    files = {name: content for name, content in bytes_of(llama).items() if not name.endswith(".safetensors")}
    names = sorted(state)
    parts = [names[i::shards] for i in range(shards)]
    weight_map = {}
    for i, part in enumerate(parts):
        name = "pytorch_model.bin" if shards == 1 else f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        torch.save({key: state[key] for key in part}, tmp_path / name)
        files[name] = (tmp_path / name).read_bytes()
        weight_map |= dict.fromkeys(part, name)
    if shards > 1:
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        files["pytorch_model.bin.index.json"] = json.dumps(index).encode()
    return files


def test_a_full_disk_is_one_sentence(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(client, "snapshot_download", full)
    with HubServer({REPO: bytes_of(llama)}) as hub, pytest.raises(StorageError) as raised:
        fetch(REPO, token=OWNER, endpoint=hub.url)
    assert raised.value.file == constants.HF_HUB_CACHE


def test_safetensors_and_no_code(llama: Path) -> None:
    others = {
        "pytorch_model.bin": b"pickle",
        "modeling_mine.py": b"evil()",
        "runs/model.safetensors": b"x",
        "a.onnx": b"x",
    }
    with HubServer({REPO: {**bytes_of(llama), **others}}) as hub:
        fetched = fetch(REPO, endpoint=hub.url)
        assert fetched.revision == hub.repos[REPO].heads["main"] == fetched.folder.name and not fetched.converted
        assert bytes_of(fetched.folder) == bytes_of(llama)
        assert not [one for one in hub.seen if set(one.path.split("/")) & {*others, "runs"}]


def test_a_pinned_revision_stays_what_it_is(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer({REPO: bytes_of(llama)}) as hub:
        repo = hub.repos[REPO]
        first = repo.heads["main"]
        repo.commit({**repo.files, "config.json": repo.files["config.json"] + b"\n"}, "changed")
        old, new = fetch(REPO, first, endpoint=hub.url), fetch(REPO, endpoint=hub.url)
        assert old.revision == first != new.revision
        assert (new.folder / "config.json").read_bytes() == (old.folder / "config.json").read_bytes() + b"\n"
        # Weights that did not change were downloaded once.
        assert len([one for one in hub.asked("/cdn/") if one.method == "GET"]) == 1
        with pytest.raises(ToolAlpacaError, match="no revision v9"):
            fetch(REPO, "v9", endpoint=hub.url)
    # The server is gone: both are in the cache, main being what it last was.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(REPO, first, endpoint=hub.url) == old and fetch(REPO, endpoint=hub.url) == new
    with pytest.raises(ToolAlpacaError, match="org/other at main is not whole in the cache"):
        fetch("org/other", endpoint=hub.url)


def test_an_interrupted_download_goes_on_where_it_stopped(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (llama / "model.safetensors").stat().st_size
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    with HubServer({REPO: bytes_of(llama)}) as hub:
        hub.cut["download"] = [50_000]
        fetched = fetch(REPO, endpoint=hub.url)
        assert bytes_of(fetched.folder) == bytes_of(llama)
        ranges = [one.headers.get("range") for one in hub.asked("/cdn/")]
    assert len(ranges) == 2 and ranges[0] is None
    start = int(str(ranges[1]).removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 50_000 < size


def test_half_a_snapshot_is_not_taken_for_a_model(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer({REPO: bytes_of(llama)}) as hub:
        fetched = fetch(REPO, endpoint=hub.url)
        (fetched.folder / "model.safetensors").unlink()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ToolAlpacaError, match="whole"):
            fetch(REPO, endpoint=hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        assert bytes_of(fetch(REPO, endpoint=hub.url).folder) == bytes_of(llama)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_was_cut_off_is_fetched_again(llama: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The client takes what lies in its cache for whole."""
    files = bytes_of(llama) | {"copy.json": (llama / "tokenizer.json").read_bytes()}  # one file of the cache
    with HubServer({REPO: files}) as hub:
        cut = fetch(REPO, endpoint=hub.url).folder / name
        os.truncate(cut, cut.stat().st_size // 3)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ToolAlpacaError, match=f"{name}.* cut off"):
            fetch(REPO, endpoint=hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        asked = len(hub.asked(f"/{name}"))
        assert bytes_of(fetch(REPO, endpoint=hub.url).folder) == files
        assert len(hub.asked(f"/{name}")) > asked and not hub.asked("/nosuch")
        assert len(hub.asked("/config.json")) <= 2, "what is whole is not fetched again"


@pytest.mark.parametrize("shards", [1, 3])
def test_pickles_are_converted_when_asked_for(llama: Path, tmp_path: Path, shards: int) -> None:
    with HubServer({REPO: pickled(llama, tmp_path, shards)}) as hub:
        with pytest.raises(ToolAlpacaError, match=r"--allow-bin.*only pickled weights.*can hold code"):
            fetch(REPO, endpoint=hub.url)
        assert not hub.asked("/cdn/"), "nothing was downloaded"
        fetched = fetch(REPO, allow_bin=True, endpoint=hub.url)
        assert fetched.converted and not list(fetched.folder.glob("*.bin"))
        found: dict[str, Any] = {}
        for path in fetched.folder.glob("*.safetensors"):
            found |= load_file(path)
        expected = AutoModelForCausalLM.from_pretrained(llama).state_dict()
        expected["lm_head.weight"] = expected["model.embed_tokens.weight"]
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
        AutoModelForCausalLM.from_pretrained(fetched.folder)
        # Killed between two files, it goes on; and what is there is not written again.
        weights = sorted(fetched.folder.glob("*.safetensors"))
        kept = {path: path.stat().st_mtime_ns for path in weights[1:]}
        weights[0].unlink()
        (fetched.folder / "converted.json").unlink()
        assert fetch(REPO, allow_bin=True, endpoint=hub.url) == fetched and weights[0].is_file()
        assert {path: path.stat().st_mtime_ns for path in weights[1:]} == kept


def test_a_pickle_that_would_run_code_is_refused(llama: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"weight": Evil()}, tmp_path / "evil.bin")
    torch.save({"weights": [torch.ones(2)], "step": 3}, tmp_path / "nested.bin")
    files = {name: content for name, content in bytes_of(llama).items() if not name.endswith(".safetensors")}
    for name in ("evil.bin", "nested.bin"):
        with HubServer({f"org/{name[:-4]}": {**files, "pytorch_model.bin": (tmp_path / name).read_bytes()}}) as hub:
            with pytest.raises(ToolAlpacaError, match="holds more than tensors"):
                fetch(f"org/{name[:-4]}", allow_bin=True, endpoint=hub.url)
    assert not (tmp_path / "ran").exists()


def test_an_index_that_leaves_the_folder_is_refused(llama: Path, tmp_path: Path) -> None:
    files = pickled(llama, tmp_path, 2)
    index = json.loads(files["pytorch_model.bin.index.json"])
    index["weight_map"]["model.norm.weight"] = "../../../evil.bin"
    files["pytorch_model.bin.index.json"] = json.dumps(index).encode()
    with HubServer({REPO: files}) as hub, pytest.raises(ToolAlpacaError, match=r"evil\.bin missing"):
        fetch(REPO, allow_bin=True, endpoint=hub.url)


@pytest.mark.parametrize(
    ("kind", "refusal", "words"),
    [
        ("tree", Refusal(403, "ask", "GatedRepo"), "org/tiny is gated; ask for access"),
        ("tree", Refusal(403, "no"), r"may not read org/tiny \(no\)"),
        ("tree", Refusal(404, "gone", "RepoNotFound"), "there is no model repo org/tiny .*check its name, or log in"),
        ("tree", Refusal(401, "Invalid credentials in Authorization header"), "does not accept the token"),
    ],
)
def test_a_refusal_is_one_sentence(llama: Path, kind: str, refusal: Refusal, words: str) -> None:
    with HubServer({REPO: bytes_of(llama)}) as hub:
        hub.before[kind] = [lambda: refusal.answer]
        with pytest.raises(ToolAlpacaError, match=words) as caught:
            fetch(REPO, token=OWNER, endpoint=hub.url)
    assert OWNER not in str(caught.value) and "\n" not in str(caught.value)


def test_no_weights_and_no_repo() -> None:
    with HubServer({REPO: {"README.md": b"# Nothing"}}) as hub:
        with pytest.raises(ToolAlpacaError, match="org/tiny at main has no weights"):
            fetch(REPO, endpoint=hub.url)
        with pytest.raises(ToolAlpacaError, match="no model repo org/none"):
            fetch("org/none", endpoint=hub.url)
        with pytest.raises(ToolAlpacaError, match="names no namespace"):
            fetch("tiny", endpoint=hub.url)


@pytest.mark.parametrize("has_pickles", [False, True])
def test_a_model_without_a_chat_template_gets_those_of_its_prompt(
    llama: Path,
    tmp_path: Path,
    write_upstream: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    has_pickles: bool,
) -> None:
    """As a user types it for the published checkpoints, which carry no template."""
    repo, prompt_dir = (
        "TangQiaoYu/ToolAlpaca-7B",
        write_upstream(form='Name one of [{tool_names}], give it {{{{"JSON"}}}}.'),
    )
    with HubServer({repo: pickled(llama, tmp_path) if has_pickles else bytes_of(llama)}) as hub:
        monkeypatch.setattr(hub_room, "fetch", partial(fetch, endpoint=hub.url))
        command = ["fetch", repo, *(["--allow-bin"] if has_pickles else [])]
        first, again = (CliRunner().invoke(app, [*command, "--prompt-dir", str(prompt_dir)]) for _ in range(2))
        other = CliRunner().invoke(app, [*command, "--prompt", "react"])
    assert other.exit_code == 0 and other.stdout != first.stdout  # a folder for each prompt
    assert first.exit_code == again.exit_code == 0 and first.stdout == again.stdout, first.output
    folder = Path(first.stdout.splitlines()[-1])
    AutoModelForCausalLM.from_pretrained(folder)
    tokenizer, prompt = AutoTokenizer.from_pretrained(folder), UpstreamPrompt(prompt_dir)
    api = Api("", "", functions=[Function("tide", "", "", "High tide.")])
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Tide?"}],
        tools=documented_tools(api, prompt),
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text.endswith(prompt.head(api, "Tide?"))
    assert GenerationConfig.from_pretrained(folder).stop_strings == ["\nASSISTANT Observation:"]
    read = tokenizer.parse_response(" I look.\nASSISTANT Action: tide\nASSISTANT Action Input: {}", prefix=text)
    assert read["tool_calls"][0]["function"] == {"name": "tide", "arguments": {}}
    # What the Hub's cache holds stays what the repo has.
    assert not list(Path(constants.HF_HUB_CACHE).rglob("chat_template.jinja"))


def test_a_model_with_a_chat_template_keeps_it(llama: Path) -> None:
    with HubServer({REPO: bytes_of(llama) | {"chat_template.jinja": b"{{ messages }}"}}) as hub:
        fetched = fetch(REPO, endpoint=hub.url, prompt=react_prompt())
    assert (fetched.folder / "chat_template.jinja").read_text(encoding="utf-8") == "{{ messages }}"
    assert fetched.folder.is_relative_to(constants.HF_HUB_CACHE)
