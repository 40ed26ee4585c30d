"""The list of APIs: layouts, filters, what is reserved, and the command."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_cli import toolalpaca

from toolalpaca_hf.cli import main
from toolalpaca_hf.corpus.toolset.entries import EntryFilter, load_entries, read_tables, reserved_names, select_entries
from toolalpaca_hf.data import ListedApi, parse_api_list
from toolalpaca_hf.errors import ToolAlpacaError

README = """# Public APIs
## Sponsors
| API | Description | Call this API |
|:---|:---|:---|
| [Advert](https://advert.example) | Buy it | [<img src="x.svg">](https://run.example) |

### Animals
API | Description | Auth | HTTPS | CORS |
|:---|:---|:---|:---|:---|
| [Cat Facts](https://cats.example/) | Daily cat facts | No | Yes | No | |
| Not a link | Moo | No | Yes | No |
| **[Bats]()** | Squeak | No | Yes | No |
| [Owls](http://owls.example/api(v2) "Owls of all kinds") | Owls \\| hoots | `apiKey` | No | Unknown |

**[Back to Index](#index)**

### Art & Design
API | Description | Auth | HTTPS | CORS |
|:---|:---|:---|:---|:---|
[Frames](https://frames.example) | Old layout | `OAuth` | Yes | Yes
## Licence
| [Not an API](https://x.example) | a | No | Yes | Yes |
"""
LISTED = [
    ListedApi("Cat Facts", "Daily cat facts", "https://cats.example/", "Animals", "", True),
    ListedApi("Not a link", "Moo", "", "Animals", "", True),
    ListedApi("Bats", "Squeak", "", "Animals", "", True),
    ListedApi("Owls", "Owls | hoots", "http://owls.example/api(v2)", "Animals", "apiKey", False),
    ListedApi("Frames", "Old layout", "https://frames.example", "Art & Design", "OAuth", True),
]


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web server, and the files it serves."""
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", pages
    server.shutdown()
    server.server_close()


def test_the_readme_of_public_apis() -> None:
    assert read_tables(README) == LISTED


def test_cells_with_many_brackets_are_read_at_once() -> None:
    table = "### Animals\n| {} | Squeak | No | Yes | No |"
    [bats] = read_tables(table.format("[Bats](https://bats.example/a_(b)) new"))
    assert (bats.name, bats.link) == ("Bats", "https://bats.example/a_(b)")
    start = time.process_time()
    for cell in ("[]()" * 400 + "x", "[" + "](" * 400):
        assert len(read_tables(table.format(cell))) == 1
    assert time.process_time() - start < 1


def test_a_list_from_a_url_is_the_list_of_the_file(site: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    host, pages = site
    rows = [{"API": e.name, "Description": e.description, "Auth": e.auth, "HTTPS": e.https} for e in LISTED]
    rows = [row | {"Link": e.link, "Category": e.category} for row, e in zip(rows, LISTED, strict=True)]
    pages["/README.md"] = README.encode()
    pages["/entries"] = json.dumps({"count": len(LISTED), "entries": rows}).encode()
    for page in pages:
        assert load_entries(f"http://{host}{page}", private=[host]) == LISTED
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    assert load_entries(tmp_path / "README.md") == LISTED


def test_what_can_not_be_a_list(site: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    host, pages = site
    pages.update({"/page": b"<!doctype html><h1>API</h1>", "/cut": b'{"entries": [{"API"', "/bytes": b"\xff\xfe\x00"})
    for page, words in {
        "/page": "is a web page",
        "/cut": "is not complete JSON",
        "/bytes": "is not UTF-8 text",
        "/none": "answers with status 404",
    }.items():
        with pytest.raises(ToolAlpacaError, match=words):
            load_entries(f"http://{host}{page}", private=[host])
    # A list's address may come from anywhere, so it leads into no private network.
    with pytest.raises(ToolAlpacaError, match="private network"):
        load_entries(f"http://{host}/page")
    with pytest.raises(ToolAlpacaError, match="no such file"):
        load_entries(tmp_path / "none.json")


def test_filters_agree_with_the_published_list(real_data: Path) -> None:
    rows = json.loads((real_data / "public_apis.json").read_text(encoding="utf-8"))["entries"]
    entries = load_entries(real_data / "public_apis.json")
    assert len(entries) == len(rows) == 1425
    wanted = EntryFilter(("weather", "Books"), https=True)
    kept = [row["API"] for row in rows if row["Category"] in ("Weather", "Books") and row["HTTPS"]]
    assert len(kept) > 10 and [entry.name for entry in select_entries(entries, wanted).kept] == kept
    for limit in (None, 5):
        chosen = select_entries(entries, EntryFilter(("Weather",), reserved=reserved_names(), limit=limit))
        assert len(chosen.kept) + sum(map(len, chosen.left_out.values())) == 1425
        assert len(chosen.kept) == (limit or 30) and chosen.left_out["is reserved for evaluation"] == [
            "apilayer weatherstack"
        ]


def test_the_reserved_names_are_those_of_the_evaluation_sets(real_data: Path) -> None:
    published = [
        api["Name"]
        for name in ("eval_simulated.json", "eval_real.json")
        for api in json.loads((real_data / name).read_text(encoding="utf-8"))
    ]
    assert [name for name, _ in reserved_names()] == published
    entries = load_entries(real_data / "public_apis.json")
    left = select_entries(entries, EntryFilter(reserved=reserved_names())).left_out["is reserved for evaluation"]
    assert set(left) == set(published) - {"CurrencyBeacon"}  # the list came before it


def test_another_name_or_way_to_write_the_link_does_not_help() -> None:
    renamed = ListedApi("Weatherstack", "", "http://www.weatherstack.com", "Weather")
    respelt = ListedApi("AMETHYSTE", "", "https://elsewhere.example", "Art")
    bare = ListedApi("Weather", "", "www.weatherstack.com/", "Weather")
    other = ListedApi("Weatherstation", "", "https://weatherstack.com.example/", "Weather")
    chosen = select_entries([renamed, respelt, bare, other], EntryFilter(reserved=reserved_names()))
    assert chosen.kept == [other]
    nameless = select_entries([ListedApi("", "", "https://x.example/", ""), other], EntryFilter())
    assert (nameless.kept, nameless.left_out) == ([other], {"has no name": ["https://x.example/"]})


def test_the_same_api_is_kept_once(real_data: Path) -> None:
    entries = load_entries(real_data / "train_sample.json")
    chosen = select_entries(entries, EntryFilter())
    assert chosen.left_out == {"is listed twice": ["Transport for Vancouver, Canada"]}
    assert [entry.link for entry in chosen.kept if entry.name == "Steam"] == sorted(
        {entry.link for entry in entries if entry.name == "Steam"}, key=[e.link for e in entries].index
    )


def test_names_of_another_script_differ() -> None:
    entries = [ListedApi(name, "", "", "") for name in ("天気 API", "地震 API", "天気 api")]
    assert select_entries(entries, EntryFilter()).kept == entries[:2]


def test_the_command_writes_a_list_that_it_reads(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "apis.json"
    done = toolalpaca(
        "corpus", "apis", real_data / "public_apis.json", "--category", "Weather", "--limit", "20", "--out", out
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{out}: 20 of 1425 APIs kept" in done.stdout and "reserved for evaluation: apilayer" in done.stdout
    listed = parse_api_list(json.loads(out.read_bytes()), "out")
    wanted = EntryFilter(("Weather",), reserved=reserved_names())
    assert listed == select_entries(load_entries(real_data / "public_apis.json"), wanted).kept[:20]
    again = toolalpaca("corpus", "apis", out, "--https", "--out", tmp_path / "fewer.json")
    assert again.returncode == 0
    assert parse_api_list(json.loads((tmp_path / "fewer.json").read_bytes()), "fewer") == [
        one for one in listed if one.https
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--category", "Wether"], "has no category 'Wether'; it has Animals, Art & Design"),
        (
            ["--category", "Sea"],
            "no API is left of the list (is of another category: 5, is reserved for evaluation: 1)",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sea = "### Sea\n[apilayer weatherstack](https://weatherstack.com) | Tides | No | Yes | Yes\n## Licence"
    Path("README.md").write_text(README.replace("## Licence", sea), encoding="utf-8")
    command = ["toolalpaca", "corpus", "apis", "README.md", "--out", str(tmp_path / "x.json")]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    with pytest.raises(SystemExit) as end:
        main()
    stdout, stderr = capsys.readouterr()
    assert (end.value.code, stdout) == (2, "") and words in stderr and stderr.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


def test_names_do_not_reach_the_terminal_as_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"Name": "\x1b[2JCats", "Category": "a\x1b[31m"}] * 2))
    command = ["toolalpaca", "corpus", "apis", str(tmp_path / "a.json"), "--out", str(tmp_path / "b.json")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    stdout, _ = capsys.readouterr()
    assert not end.value.code and "\x1b" not in stdout and "[2JCats" in stdout
    monkeypatch.setattr(sys, "argv", [*command, "--category", "b"])
    with pytest.raises(SystemExit) as end:
        main()
    _, stderr = capsys.readouterr()
    assert end.value.code == 2 and "\x1b" not in stderr and "a [31m" in stderr
