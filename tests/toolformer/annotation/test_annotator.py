"""What an annotator makes of texts, calls and failures, without a model: each letter is a token, and all are equally
likely."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.llm import RequestRejected
from toolalpaca_hf.toolformer import (
    AnnotationSettings,
    Annotator,
    Document,
    Markers,
    ToolCall,
    ToolResult,
    ToolSettings,
)
from toolalpaca_hf.toolformer.annotation.annotator import Opened, Place, ToolPrompt, Wanted
from toolalpaca_hf.toolformer.annotation.filter import Asked

MARKERS = Markers()


class Letters:
    """A scorer whose ids are letters."""

    def __init__(self) -> None:
        self.begin = [0]

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def logprobs(self, asked: Sequence[Asked]) -> list[list[float]]:
        return [[-1.0] * len(columns) for _, columns in asked]


class Proposes:
    """Proposes some inputs at the beginning of each text; raises for texts with certain words."""

    def __init__(self, inputs: Sequence[str], errors: Mapping[str, Exception]) -> None:
        self.inputs, self.errors = inputs, errors

    def open(self, prompt: ToolPrompt, texts: Sequence[Sequence[int]]) -> Iterator[dict[int, Opened]]:
        for word, error in self.errors.items():
            if any(word in "".join(map(chr, ids)) for ids in texts):
                raise error
        yield {n: Opened([Place(0, 0.5, 0)], 0, [], []) for n in range(len(texts))}

    def draw(self, prompt: ToolPrompt, tool: str, wanted: Sequence[Wanted], m: int) -> None:
        for place in (place for _, _, places in wanted for place in places):
            place.drawn = [f"{tool}({one})" for one in self.inputs]


def annotator(
    inputs: Sequence[str] = ("1",),
    answer: Callable[[str], tuple[str | None, str | None]] = lambda text: (text, None),
    errors: Mapping[str, Exception] | None = None,
    room: int | None = None,
) -> Annotator:
    def run(calls: Sequence[ToolCall], metas: Any) -> list[ToolResult]:
        return [ToolResult(*answer(call.input)) for call in calls]

    settings = AnnotationSettings({"QA": ToolSettings(0.0, 1, 1, tau_f=-1.0)}, all_losses=True)
    return Annotator(Letters(), Proposes(inputs, errors or {}), {"QA": "{text}"}, run, MARKERS, settings, room)


TEXTS = [Document("1", "A good text."), Document("2", "A bad text."), Document("3", "Another good one.")]


def test_a_text_that_an_endpoint_refuses_costs_itself_alone() -> None:
    refused = RequestRejected("the server answers with status 400 (no such id)")
    found = annotator(errors={"bad": refused}).annotate(TEXTS)
    assert [one.row["outcome"] for one in found] == [
        "annotated",
        "failed: RequestRejected: the server answers with status 400 (no such id)",
        "annotated",
    ]


def test_an_endpoint_that_is_away_ends_the_run() -> None:
    away = ToolAlpacaError("the server cannot be reached")
    with pytest.raises(ToolAlpacaError) as error:
        annotator(errors={"bad": away}).annotate(TEXTS)
    assert error.value is away


def test_failed_calls_are_counted_by_what_went_wrong() -> None:
    def answer(text: str) -> tuple[str | None, str | None]:
        return ("yes", None) if text == "right" else (None, None) if text == "nothing" else (None, f"QA: {text[0]}")

    inputs = ["right", "nothing", *(f"{kind} {n}" for kind in "abcdefg" for n in range(2 if kind < "f" else 1))]
    [one] = annotator(inputs, answer).annotate(TEXTS[:1])
    assert one.row["sampled"]["QA"] == {
        "candidates": 14,
        "executed": 1,
        "errors": {f"QA: {kind}": 2 if kind < "f" else 1 for kind in "abcdefg"},
    }


def test_what_a_model_copies_from_an_escaped_text_becomes_no_marker() -> None:
    text = "As in [1] -> 2."
    found = annotator(["␛(1␛) ␛> 2", "a ␛ b", "(1)   2"], lambda text: ("3", None)).annotate([Document("1", text)])
    row = found[0].row
    assert [one.input for one in found[0].candidates] == ["(1)   2", "a  b"]
    restored = MARKERS.restore(row["annotated"])
    assert [one.call.input for one in MARKERS.find(restored)][:1] == [row["calls"][0]["input"]]
    assert MARKERS.restore(MARKERS.strip(row["annotated"])) == text


@pytest.mark.parametrize(("room", "outcome"), [(None, "annotated"), (12, "annotated"), (11, "longer than 11 tokens")])
def test_a_text_has_to_fit(room: int | None, outcome: str) -> None:
    assert annotator(room=room).annotate(TEXTS[:1])[0].row["outcome"] == outcome


def test_no_room_is_not_all_the_room_there_is() -> None:
    assert annotator(room=0).annotate(TEXTS[:1])[0].row["outcome"] == "longer than 0 tokens"
