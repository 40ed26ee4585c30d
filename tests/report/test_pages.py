"""Pages with tables: every cell arrives as text, whatever it holds."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from toolalpaca_hf.report import render

HOSTILE = "<script>alert(1)</script>\u202e"


class Cells(HTMLParser):
    """The texts of cells and paragraphs, and which tags there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip() and self.tags[-1] in ("td", "th", "bdi", "p"):
            self.texts.append(data)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Renders a table in a page of a package of one's own."""
    template = tmp_path / "tables" / "templates" / "report.html.jinja"
    template.parent.mkdir(parents=True)
    (tmp_path / "tables" / "__init__.py").touch()
    parts = '{% extends "page.html.jinja" %}{% from "parts.html.jinja" import table %}'
    template.write_text(parts + "{% block body %}<p>{{ title }}</p>{{ table(*shown) }}{% endblock %}")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda title, *shown: render("tables", "report.html.jinja", title=title, shown=shown)


def test_cells_are_text_in_their_order(page: Callable[..., str]) -> None:
    found = Cells(page(HOSTILE, ("tool", "n"), [("Calculator", 3), (HOSTILE, 0)]))
    assert found.tags.count("tr") == 3 and found.tags.count("table") == 1 and "script" not in found.tags
    assert found.texts[1:5] == ["tool", "n", "Calculator", "3"]
    for text in (found.texts[0], found.texts[5]):
        assert text.startswith("<script>alert(1)</script>") and "\u202e" not in text


def test_columns_of_text_are_marked(page: Callable[..., str]) -> None:
    # Two headings and one cell; a row's first cell is its heading.
    assert page("x", ("tool", "error", "n"), [("a", "b", 1)], 2).count('class="words"') == 3
