"""Hostile text made visible, and Markdown that says just what it was given: read back by a Markdown parser."""

import re
import unicodedata
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_runs import metrics_of, mixed_run, record_of, sample_attempts
from test_report import HOSTILE, hostile_run

from toolalpaca_hf.evaluation.report import report_markdown
from toolalpaca_hf.evaluation.report.markdown import markdown_text
from toolalpaca_hf.evaluation.report.visible import clip, visible

TEXT = st.text() | st.text(alphabet="|\\`*_~[]()<>&#:@!$-=\n\t 1aw.\u202e", max_size=40)


def cells(source: str) -> list[list[str]]:
    """The texts of a source's table rows."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    rows: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def kinds(source: str) -> set[str]:
    """What a source's lines and cells hold: `text` alone, or links, emphasis, HTML."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    return {child.type for token in tokens for child in token.children or ()}


def test_nothing_invisible_or_turning_passes() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(0x110000):
        character = chr(code)
        hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\n\t"
        if hidden or unicodedata.bidirectional(character) in turning or character in "\u200b\u200e\u200f\u2060\ufeff":
            assert visible(character) != character and visible(character).isprintable(), hex(code)


def test_ordinary_text_stays() -> None:
    for text in ("Grüße, 世界!\n\tשלום العربية", "👩‍👩‍👧 नमस्ते क्‍ष", "“quotes” \ufffd – dash … 3 × 4 = 12 °C\u00a0"):
        assert visible(text) == text
    assert visible("a\r\nb\rc") == "a\nb␍c"


@given(TEXT)
def test_what_is_visible_stays_so(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.text(), st.integers(min_value=4, max_value=50))
def test_a_clipped_text_begins_and_ends_as_the_whole(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    if len(text) <= limit:
        assert clipped == text
    else:
        head, left_out, tail = re.fullmatch(
            r"(.*)\n… ([\d,]+) characters left out …\n(.*)", clipped, re.DOTALL
        ).groups()
        assert text.startswith(head) and text.endswith(tail)
        assert len(head) + len(tail) == limit == len(text) - int(left_out.replace(",", ""))


@given(TEXT)
def test_markdown_says_what_it_was_given(text: str) -> None:
    source = f"| a | b |\n| --- | --- |\n| x {markdown_text(text)} | end |\n"
    assert kinds(source) <= {"text", "text_special"}
    expected = " ".join(f"x {visible(text)}".split())
    assert [[cell.replace("\u200b", "") for cell in row] for row in cells(source)] == [["a", "b"], [expected, "end"]]


def test_github_makes_no_links_of_it() -> None:
    text = markdown_text("see https://evil.example www.evil.example a@b.example @someone #12 mailto:x@y.z")
    assert not re.search(r"https?:|www\.|@|(?<!&)#\d|mailto:", text)
    assert text.count("&#8203;") == 7


def test_a_report_in_markdown() -> None:
    metrics, records, _ = mixed_run()
    source = report_markdown(metrics | {"suite": "real"}, records)
    rows = cells(source)
    assert ["tiny (this run)", "rule, no judge", "40", "40.0 (30.0 to 50.0)", "–", "–"] in rows
    assert ["published: ToolAlpaca-7B", "GPT-4", "114", "63.2", "57.9", "55.3"] in rows
    assert ["process", "40", "0", "0"] in rows and ["response", "0", "0", "40"] in rows
    failures = [row for row in rows if "instruction " in row[0]]
    assert len(failures) == 10 and all(row[3] == "a golden call is absent" for row in failures)
    assert failures[0][:2] == ["Orchard Lane, instruction 0", records[0]["instruction"]]
    assert f"10 of {sum(record['process_verdict'] == 'No' for record in records)} instructions" in source


def test_a_report_without_failures() -> None:
    records = [record_of(one) for one in sample_attempts()]
    assert report_markdown(metrics_of(records), records).endswith("## First failures\n\nNone.\n")


def test_a_hostile_report_keeps_its_tables() -> None:
    source = report_markdown(*hostile_run()[:2])
    assert kinds(source) <= {"text", "text_special", "softbreak"}
    tokens = MarkdownIt("commonmark").enable("table").parse(source)
    assert "html_block" not in {token.type for token in tokens}
    widths = {len(row) for row in cells(source)}
    assert widths == {2, 3, 4, 6}
    assert [
        row
        for row in cells(source)
        if row[0].replace("\u200b", "").startswith(" ".join(visible(HOSTILE).split())[:40])
    ]
