"""Calls in a text: written, read back, escaped, taken out."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.errors import InputError, OptionError
from toolalpaca_hf.toolformer import Markers, ToolCall

KINDS = [Markers(), Markers("<API>", "</API>", "→"), Markers("[", "]", "[>")]
PIECES = [
    "[",
    "[>",
    "]",
    "->",
    "<API>",
    "</API>",
    "→",
    "<<",
    ">",
    "-",
    "␛",
    "(",
    ")",
    "0",
    " ",
    "\n",
    "a",
    "é",
    "Calculator(",
]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
markers = st.sampled_from(KINDS)


@given(markers, texts)
def test_an_escaped_text_holds_no_marker_and_comes_back(kind: Markers, text: str) -> None:
    escaped = kind.escape(text)
    assert not any(marker in escaped for marker in (kind.start, kind.end, kind.arrow))
    assert kind.restore(escaped) == text


@given(markers, texts)
def test_a_text_made_harmless_holds_no_marker(kind: Markers, text: str) -> None:
    assert not any(marker in kind.without(text) for marker in (kind.start, kind.end, kind.arrow))
    assert kind.restore(kind.without(text)) == kind.without(text)


def test_markers_that_come_together_from_what_stood_around_another_one() -> None:
    assert Markers("<API>", "</API>", "→").without("<A<API>PI>") == "<A(PI>"
    assert "ab" not in Markers("ab", "x", "y").without("aabb")


@given(
    markers, texts, st.lists(st.tuples(st.integers(0, 40), st.sampled_from([None, "1", "4 May (a day)"])), max_size=4)
)
def test_calls_put_into_a_text_can_be_taken_out_again(
    kind: Markers, text: str, places: list[tuple[int, str | None]]
) -> None:
    text, call = kind.escape(text), ToolCall("Calculator", "(1 + 2) * 3")
    written = [
        (min(at, len(text)), kind.call(call) if result is None else kind.with_result(call, result))
        for at, result in places
    ]
    annotated = kind.insert(text, written)
    assert [found.call for found in kind.find(annotated)] == [call] * len(places)
    in_order = [result for _, result in sorted(places, key=lambda place: min(place[0], len(text)))]
    assert [found.result for found in kind.find(annotated)] == in_order
    assert kind.strip(annotated) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Calculator(400 / 1400)]", ToolCall("Calculator", "400 / 1400")),
        ("[Calculator((1 + 2) * 3) -> 9]", ToolCall("Calculator", "(1 + 2) * 3")),
        (" Calculator( 1 ) -> ", ToolCall("Calculator", "1")),
        ("Calendar()", ToolCall("Calendar", "")),
        ("QA(Who wrote\nit?)]", ToolCall("QA", "Who wrote\nit?")),
        ("[Calculator(1]", None),
        ("[(1)]", None),
        ("[Calculator 1]", None),
        ("[Calculator(1)] and", None),
        ("[Calculator([1)]", None),
        ("[1]", None),
        ("", None),
    ],
)
def test_calls_are_read(text: str, expected: ToolCall | None) -> None:
    assert Markers().parse(text) == expected


def test_a_call_that_could_not_be_read_back_is_not_written() -> None:
    for call in (ToolCall("Calculator", "1 -> 2"), ToolCall("QA", "a]"), ToolCall("two words", ""), ToolCall("", "")):
        with pytest.raises(InputError):
            Markers().call(call)
    with pytest.raises(InputError):
        Markers().with_result(ToolCall("QA", "a"), "[b]")


@pytest.mark.parametrize(
    "bad", [("", "]", "->"), ("[", "[", "->"), ("[", ")", "->"), (" [", "]", "->"), ("[", "]", "␛")]
)
def test_markers_that_cannot_work_are_refused(bad: tuple[str, str, str]) -> None:
    with pytest.raises(OptionError):
        Markers(*bad)


def test_a_long_text_of_openings_takes_no_time() -> None:
    for text in ("[a(" * 50_000, "[a(" + "(" * 100_000, "[a(1) ->" * 20_000, "[a(1)" + " " * 20_000):
        assert Markers().strip(text) == text


def test_a_text_of_ten_megabytes_takes_no_gigabyte() -> None:
    kind = KINDS[1]
    long = "a" * 10_000_000
    written = kind.with_result(ToolCall("Calculator", long), long)
    tracemalloc.start()
    start = time.process_time()
    [found] = kind.find(written)
    assert len(found.call.input) == len(found.result or "") == len(long) and kind.parse(written) == found.call
    assert kind.strip(f"{written} x") == "x" and kind.parse(f"Calculator({long}") is None
    assert time.process_time() - start < 5 and tracemalloc.get_traced_memory()[1] < 300_000_000
    tracemalloc.stop()
