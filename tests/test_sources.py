"""Downloads against a real HTTP server on loopback that cuts, changes and refuses as servers do."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from toolalpaca_hf import sources
from toolalpaca_hf.errors import NotFoundError, OptionError
from toolalpaca_hf.sources import DownloadError, Published, fetch, fetch_prompt_folder, git_blob_id, local_source
from toolalpaca_hf.storage import StorageError

BODY = bytes(range(256)) * 1000
PATH = "data/train_data.json"


class Server(ThreadingHTTPServer):
    """Serves `files`; `cut` and `statuses` are used up one request after another."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: list[int] = []  # bytes after which the connection is dropped
        self.statuses: list[int] = []
        self.ranges = True
        self.seen: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(dict(self.headers))
        body = server.files.get(self.path.lstrip("/"))
        status = server.statuses.pop(0) if server.statuses else 200 if body is not None else 404
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range") if server.ranges else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if server.cut:
            self.wfile.write(body[start : start + server.cut.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(body[start:])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.files[PATH] = BODY
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The pinned names, held to the ids of small test bodies, in a cache of their own."""
    body = tmp_path / "body"
    body.write_bytes(BODY)
    monkeypatch.setitem(sources.FILES, "train_data", Published(PATH, (git_blob_id(body),)))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "ATTEMPTS", 2)
    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 1000
    )  # of 10 MB: what is cut off below it is asked for again
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts
    monkeypatch.delenv(sources.BASE_URL_VARIABLE, raising=False)


def part_of(content: bytes) -> Path:
    """Leave a partial download in the cache, as a killed process does."""
    part = sources.cache_folder() / f"{PATH}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


def only_file(folder: Path) -> None:
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"train_data.json"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("content", [b"", b"x\n", BODY])
def test_git_blob_id_is_gits_own(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    theirs = subprocess.run(["git", "hash-object", "--no-filters", path], capture_output=True, text=True, check=True)
    assert git_blob_id(path) == theirs.stdout.strip()


def test_lands_in_the_cache_and_works_offline_afterwards(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fetch("train_data", base_url=server.url)
    assert source.path == Path(constants.HF_HOME) / "toolalpaca_hf" / sources.COMMIT / PATH
    assert source.path.read_bytes() == BODY and source.origin == "upstream"
    only_file(source.path.parent)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch("train_data", base_url="http://127.0.0.1:9") == source
    assert len(server.seen) == 1


def test_the_environment_names_a_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sources.BASE_URL_VARIABLE, server.url + "/")
    assert fetch("train_data").path.read_bytes() == BODY


def test_goes_on_after_a_cut_connection(server: Server) -> None:
    server.cut = [70_000, 50_000, 10]
    source = fetch("train_data", base_url=server.url)
    assert source.path.read_bytes() == BODY
    starts = [int(seen["Range"][6:-1]) for seen in server.seen[1:]]
    assert len(starts) == 3 and starts == sorted(starts) and starts[-1] <= 120_010
    # What the client had received was not asked for again.
    assert starts[0] > 0 and starts[1] > starts[0]
    only_file(source.path.parent)


def test_goes_on_where_a_killed_process_stopped(server: Server) -> None:
    part_of(BODY[:1000])
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY
    assert [seen.get("Range") for seen in server.seen] == ["bytes=1000-"]
    assert server.seen[0]["Accept-Encoding"] == "identity"


def test_a_server_that_ignores_ranges_sends_all_of_it(server: Server) -> None:
    server.ranges = False
    part_of(BODY[:1000])
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY


def test_a_part_of_another_file_starts_anew(server: Server) -> None:
    part_of(b"of another file" * 10)
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY
    assert "Range" in server.seen[0] and "Range" not in server.seen[1]


def test_a_complete_part_needs_no_more_than_416(server: Server) -> None:
    part_of(BODY)
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY
    assert len(server.seen) == 1


def test_an_overlong_part_starts_anew(server: Server) -> None:
    part_of(BODY + b"more")
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.statuses = [503]
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY


def test_wrong_bytes_are_refused_and_leave_nothing(server: Server) -> None:
    server.files[PATH] = b"not what was published"
    with pytest.raises(DownloadError):
        fetch("train_data", base_url=server.url)
    folder = sources.cache_folder() / "data"
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []


def test_a_damaged_cache_is_loaded_again(server: Server) -> None:
    path = fetch("train_data", base_url=server.url).path
    path.write_bytes(b"damaged")
    assert fetch("train_data", base_url=server.url).path.read_bytes() == BODY


def test_no_network_is_one_sentence() -> None:
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError) as error:
            fetch("train_data", base_url=url)
    assert url in str(error.value) and "\n" not in str(error.value)


def test_a_missing_page_and_an_unknown_name_are_sentences(server: Server) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match="404"):
        fetch("train_data", base_url=server.url)
    with pytest.raises(OptionError):
        fetch("nothing")


def test_offline_is_honoured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        fetch("train_data", base_url=server.url)
    assert server.seen == []


def test_a_cache_that_can_not_be_written_is_a_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError):
        fetch("train_data", base_url=server.url)


def test_two_at_once_load_it_once(server: Server) -> None:
    results: list[Path] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch("train_data", base_url=server.url).path))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(server.seen) == 1 and results[0].read_bytes() == BODY


def test_an_unknown_id_is_reported_remembered_and_binding(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.files |= {"agent/agent_prompts.py": b"A = 'a'\n", "agent/tools.py": b"B = 'b'\n"}
    folder = fetch_prompt_folder(base_url=server.url)
    assert (folder / "agent_prompts.py").read_bytes() == b"A = 'a'\n" and (folder / "tools.py").exists()
    assert git_blob_id(folder / "tools.py") in capsys.readouterr().err
    assert fetch_prompt_folder(base_url=server.url) == folder
    assert len(server.seen) == 2 and capsys.readouterr().err == ""
    (folder / ".tools.py.blob_id").write_bytes(b"")  # as a kill may leave it
    assert fetch_prompt_folder(base_url=server.url) == folder
    (folder / "tools.py").unlink()
    server.files["agent/tools.py"] = b"import os\n"
    with pytest.raises(DownloadError):
        fetch_prompt_folder(base_url=server.url)


@pytest.mark.parametrize("layout", ["data/train_data.json", "train_data.json"])
def test_local_files_come_first_and_deviations_are_noted(server: Server, tmp_path: Path, layout: str) -> None:
    local = tmp_path / "local" / layout
    local.parent.mkdir(parents=True)
    local.write_bytes(BODY)
    assert fetch("train_data", tmp_path / "local", base_url=server.url).note == ""
    local.write_bytes(b"[]")
    source = fetch("train_data", tmp_path / "local", base_url=server.url)
    assert source.path == local and source.note.startswith("differs from the published file")
    assert server.seen == []


def test_a_missing_local_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        local_source(tmp_path / "none.json")


def test_pinned_ids_are_those_of_the_real_files() -> None:
    folder = Path(__file__).parents[2] / "shared" / "data" / "toolalpaca"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the published files are not at hand")
    for name in ("eval_simulated", "public_apis"):
        assert fetch(name, folder).note == ""
    assert fetch("eval_real", folder).note.startswith("redacted copy")
