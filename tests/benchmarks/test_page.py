import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt

MEASURED = {
    "date": "2026-11-22 10:31 UTC",
    "commit": "0123456789",
    "machine": {"processor": "A processor", "cores": "2", "memory": "15 GiB"},
    "versions": {"python": "3.11.2", "torch": "2.13.0"},
    "load": 0.4,
}


def png(path: Path) -> None:
    path.write_bytes(b"\x89PNG of " + path.name.encode())


def record(**changes: Any) -> dict[str, Any]:
    one = {
        "title": "Ways",
        "note": "A note.",
        "columns": ["way", "seconds"],
        "rows": [["ours", "1.50 (1.40 to 1.60)"]],
    }
    return {"command": "python benchmarks/x.py --quick", "seconds": 12.3, "tables": [one], "pictures": []} | changes


def put(folder: Path, name: str, what: Any) -> None:
    (folder / f"{name}.json").write_text(what if isinstance(what, str) else json.dumps(what))


def tables_of(text: str) -> list[list[list[str]]]:
    """Every table of a Markdown text as another parser reads it."""
    tables: list[list[list[str]]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1].append(tokens[place + 1].content)
    return tables


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "measured").mkdir()
    return tmp_path / "measured", tmp_path / "page"


def test_the_page_holds_what_was_measured(page: ModuleType, folders: tuple[Path, Path]) -> None:
    source, out = folders
    png(source / "growth.png")
    put(source, "scoring", record(measured=MEASURED))
    put(source, "prefix_packing", record(measured=MEASURED, pictures=[{"file": "growth.png", "title": "Growth"}]))
    assert page.render(source, out) == []
    text = (out / "RESULTS.md").read_text()
    assert tables_of(text) == [
        [
            ["", ""], ["processor", "A processor"], ["cores", "2"], ["memory", "15 GiB"], ["commit", "0123456789"],
            ["date", "2026-11-22"], ["versions", "python 3.11.2, torch 2.13.0"],
        ],
        [["way", "seconds"], ["ours", "1.50 (1.40 to 1.60)"]],
        [["way", "seconds"], ["ours", "1.50 (1.40 to 1.60)"]],
    ]  # fmt: skip
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Prefix packing", "## Scoring"]
    assert "`python benchmarks/x.py --quick`, 12 s, 2026-11-22 10:31 UTC, load average 0.4 before it." in text
    assert "![Growth](pictures/growth.png)" in text and "A note." in text
    assert (out / "pictures" / "growth.png").read_bytes() == (source / "growth.png").read_bytes()


def test_odd_tables_are_rendered_as_they_are(page: ModuleType, folders: tuple[Path, Path]) -> None:
    source, out = folders
    png(source / "of-another.png")
    rows = [
        ["a | b\nc", 0.1222],
        ["short"],
        {"seconds": None, "way": "by column", "further": 1},
        ["long", 1, True, 2e-9],
    ]
    put(
        source,
        "of_another",
        {"tables": [{"columns": ["way", "seconds"], "rows": rows}], "pictures": ["of-another.png"]},
    )
    assert page.render(source, out) == []
    text = (out / "RESULTS.md").read_text()
    assert tables_of(text) == [
        [
            ["way", "seconds", "", ""],
            ["a | b c", "0.122", "", ""],
            ["short", "", "", ""],
            ["by column", "", "", ""],
            ["long", "1", "True", "2e-09"],
        ]
    ]
    assert "## of_another" in text and "command not recorded" in text


def test_what_was_measured_elsewhere_is_told_apart(page: ModuleType, folders: tuple[Path, Path]) -> None:
    source, out = folders
    put(source, "scoring", record(measured=MEASURED))
    put(source, "rollouts", record(measured=MEASURED | {"commit": "fedcba9876-dirty"}))
    page.render(source, out)
    around = dict(tables_of((out / "RESULTS.md").read_text())[0])
    assert around["commit"] == "fedcba9876-dirty; 0123456789"
    assert around["processor"] == "A processor"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('{"tables": [', "cannot be read"),
        ("[]", "has no tables"),
        (record(tables=[]), "has no tables"),
        (record(tables=[{"columns": ["a"]}]), "table 1 is not made of columns and rows"),
        (record(tables=[{"columns": ["a"], "rows": ["text"]}]), "table 1 is not made of columns and rows"),
        (record(tables=[{"columns": ["a"], "rows": [[{"b": 1}]]}]), "table 1 has a cell that is neither"),
        (record(pictures=["gone.png"]), "its picture gone.png is missing"),
        (record(pictures=["../secret.png"]), "picture 1 is not the name of a PNG beside it"),
        (record(pictures=[{"title": "no file"}]), "picture 1 is not the name of a PNG beside it"),
    ],
)
def test_a_broken_file_is_named_and_costs_no_other(
    page: ModuleType, folders: tuple[Path, Path], broken: Any, said: str
) -> None:
    source, out = folders
    png(source.parent / "secret.png")
    put(source, "scoring", record())
    put(source, "rollouts", broken)
    [wrong] = page.render(source, out)
    assert "rollouts.json" in wrong and said in wrong
    text = (out / "RESULTS.md").read_text()
    assert "## Scoring" in text and "## Rollouts" not in text
    assert list((out / "pictures").iterdir()) == []


def test_nothing_measured_leaves_the_page_that_is_there(
    page: ModuleType, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folders
    out.mkdir()
    (out / "RESULTS.md").write_text("as it was")
    monkeypatch.setattr(sys, "argv", ["page.py", "--from", str(source), "--page", str(out)])
    with pytest.raises(SystemExit) as ended:
        page.main()
    assert ended.value.code == 1 and "holds no figures" in capsys.readouterr().out
    assert (out / "RESULTS.md").read_text() == "as it was"


def test_pictures_that_the_page_no_longer_shows_are_removed(page: ModuleType, folders: tuple[Path, Path]) -> None:
    source, out = folders
    (out / "pictures").mkdir(parents=True)
    png(out / "pictures" / "old.png")
    png(source / "new.png")
    put(source, "scoring", record(pictures=["new.png"]))
    page.render(source, out)
    assert [path.name for path in (out / "pictures").iterdir()] == ["new.png"]
