"""Hostile text made visible, and Markdown that says just what it was given: read back by a Markdown parser."""

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from toolalpaca_hf.report import clip, markdown_table, markdown_text, visible

TEXT = st.text() | st.text(alphabet="|\\`*_~[]()<>&#:@!$-=\n\t 1aw.\u202e", max_size=40)
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_nothing_invisible_or_turning_passes() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(0x110000):
        character = chr(code)
        hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\n\t"
        if hidden or unicodedata.bidirectional(character) in turning or character in "\u200b\u200e\u200f\u2060\ufeff":
            assert visible(character) != character and visible(character).isprintable(), hex(code)


def test_nothing_is_a_heading() -> None:
    assert "<h1>" not in PARSER.render(f"- {markdown_text('# all of it')}")


def test_letters_that_show_nothing_are_shown() -> None:
    assert visible("a\U000e0101\u3164\u115f\u034fb") == "a‹U+E0101›‹U+3164›‹U+115F›‹U+034F›b"


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


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_markdown_says_what_it_was_given(rows: list[tuple[str, str]]) -> None:
    inline = [
        token
        for token in PARSER.parse(markdown_table(("a", "b"), [("x" + a, b) for a, b in rows], 1, markdown_text) + "\n")
        if token.type == "inline"
    ]
    assert {child.type for token in inline for child in token.children or ()} <= {"text", "text_special"}
    cells = ["".join(child.content for child in token.children or ()).replace("\u200b", "") for token in inline]
    given_cells = [cell for a, b in rows for cell in ("x" + a, b)]
    assert cells == ["a", "b", *(" ".join(visible(cell).split()) for cell in given_cells)]


def test_a_table_keeps_markup_by_default() -> None:
    assert markdown_table(("a", "b"), [("`x|y`", "[1](2)\n3")]).splitlines()[2] == "| `x\\|y` | [1](2) 3 |"


def test_github_makes_no_links_of_it() -> None:
    text = markdown_text("see https://evil.example www.evil.example a@b.example @someone #12 mailto:x@y.z")
    assert not re.search(r"https?:|www\.|@|(?<!&)#\d|mailto:", text)
    assert text.count("&#8203;") == 7
