"""Annotated texts as segments: whole, with results masked, escaped and restored, and mixed with plain text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer

from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.toolformer import Markers
from toolalpaca_hf.toolformer.annotation.annotator import annotated_row
from toolalpaca_hf.toolformer.dataset import mix, sft_row, text_segments
from toolalpaca_hf.training import IGNORE, SegmentTokenizer

TEXT = "She has 5 - 2 = 3 eggs, see [1], and 3 * 2 = 6 legs."
CALLS = [
    {"tool": "Calculator", "input": "3 * 2", "result": "6", "position": TEXT.index("6 legs")},
    {"tool": "Calculator", "input": "5 - 2", "result": "3", "position": TEXT.index("3 eggs"), "gain": 1.5},
]
ALL_MARKERS = [Markers(), Markers("<API>", "</API>", "→")]


def row(markers: Markers = ALL_MARKERS[0]) -> dict[str, Any]:
    return annotated_row("toolformer/mine/0", TEXT, CALLS, markers)


@pytest.mark.parametrize("markers", ALL_MARKERS, ids=["brackets", "tokens"])
def test_the_whole_text_is_trained_with_its_calls(markers: Markers) -> None:
    (segment,) = sft_row(row(markers), markers)["segments"]
    assert segment["trainable"]
    start, end, arrow = markers.start, markers.end, markers.arrow
    assert segment["text"] == (
        f"She has 5 - 2 = {start}Calculator(5 - 2) {arrow} 3{end} 3 eggs, see [1], and "
        f"3 * 2 = {start}Calculator(3 * 2) {arrow} 6{end} 6 legs."
    )


def test_a_row_has_the_features_of_sft() -> None:
    for one in (sft_row(row(), Markers()), sft_row(row())):
        assert FEATURES["sft"].encode_example(one) == one and one["id"] == "toolformer/mine/0"
    assert sft_row(row())["segments"] == [{"text": TEXT, "trainable": True}]


def test_calls_are_in_the_order_of_the_text_and_keep_their_gain() -> None:
    assert [(call["input"], call["gain"]) for call in row()["calls"]] == [("5 - 2", 1.5), ("3 * 2", None)]


@pytest.mark.parametrize("markers", ALL_MARKERS, ids=["brackets", "tokens"])
def test_masked_results_are_the_only_tokens_out_of_the_loss(markers: Markers) -> None:
    segments = text_segments(row(markers)["annotated"], markers, mask_results=True)
    assert [one.text for one in segments if not one.trainable] == [" 3", " 6"]
    assert "".join(one.text for one in segments) == text_segments(row(markers)["annotated"], markers)[0].text
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    encoded = SegmentTokenizer(tokenizer).encode(segments)
    masked = [ids for ids, label in zip(encoded["input_ids"], encoded["labels"], strict=True) if label == IGNORE]
    assert tokenizer.decode(masked) == " 3 6"


def test_a_result_that_holds_a_marker_can_not_end_its_call() -> None:
    call = {"tool": "WikiSearch", "input": "a [b]", "result": "see [2] -> there", "position": 0}
    found = list(Markers().find(annotated_row("a", "Text.", [call], Markers())["annotated"]))
    assert len(found) == 1 and found[0].result is not None and "[" not in found[0].result


@given(
    text=st.text(alphabet=st.sampled_from("ab 1[]->␛()\n"), max_size=30),
    places=st.lists(st.integers(0, 30), max_size=3),
)
def test_without_its_calls_an_annotated_text_is_the_text(text: str, places: list[int]) -> None:
    markers = Markers()
    calls = [
        {"tool": "Calculator", "input": "1+1", "result": "2", "position": place}
        for place in places
        if place <= len(text)
    ]
    annotated = annotated_row("a", text, calls, markers)["annotated"]
    assert len(list(markers.find(annotated))) == len(calls)
    segments = text_segments(annotated, markers, mask_results=True)
    assert sum(not one.trainable for one in segments) == len(calls)
    if len({one["position"] for one in calls}) == len(calls):
        assert markers.restore(markers.strip(annotated)) == text


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9])
def test_plain_text_has_its_share_at_every_point(fraction: float) -> None:
    rows = [{"id": f"a{i}"} for i in range(40)]
    plain = ({"id": f"p{i}"} for i in range(1000))
    ids = [one["id"] for one in mix(rows, plain, fraction)]
    assert [one for one in ids if one[0] == "a"] == [one["id"] for one in rows]
    share = sum(one[0] == "p" for one in ids) / len(ids)
    assert share == pytest.approx(fraction, abs=0.02)
    half = ids[: len(ids) // 2]
    assert sum(one[0] == "p" for one in half) / len(half) == pytest.approx(fraction, abs=0.05)


def test_plain_text_that_runs_out_ends_the_mixing_alone() -> None:
    ids = [one["id"] for one in mix([{"id": "a"}, {"id": "b"}, {"id": "c"}], [{"id": "p"}], 0.5)]
    assert ids == ["a", "p", "b", "c"]
