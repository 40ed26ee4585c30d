"""Texts to annotated texts: what is written where, and what each bad text becomes."""

import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import brute_force
import pytest
from proposing import PROMPT, SENTENCES, load

from toolalpaca_hf.toolformer import (
    Annotated,
    AnnotationConfig,
    AnnotationSettings,
    Annotator,
    Document,
    Markers,
    Tool,
    ToolCall,
    ToolResult,
    ToolSettings,
    execute,
    settings_for,
    tools_named,
)
from toolalpaca_hf.toolformer.annotation.annotator import Execute, Opened, Place, ToolPrompt, Wanted, worth_asking
from toolalpaca_hf.toolformer.annotation.pipeline import load_annotator
from toolalpaca_hf.toolformer.annotation.sample import LocalScorer, Sampler

MARKERS = Markers()


@pytest.fixture(scope="module")
def scorer(proposer_folder: Path) -> LocalScorer:
    return LocalScorer(*load(proposer_folder))


def calculated(calls: Sequence[ToolCall], metas: Any) -> list[ToolResult]:
    return execute(calls, tools_named("calculator"))


def annotator(
    scorer: LocalScorer,
    tau_f: float = -50.0,
    run: Execute = calculated,
    temperature: float = 0.3,
    wide: bool = False,
    **settings: Any,
) -> Annotator:
    """With `wide`, calls are sampled in many places, and not only where the model would call."""
    sampler = Sampler(scorer, MARKERS, temperature, call_tokens=24)
    of_tool = ToolSettings(0.0, 12, 6, tau_f) if wide else ToolSettings(0.01, 4, 4, tau_f)
    chosen = AnnotationSettings({"Calculator": of_tool}, **{"all_losses": True, **settings})
    return Annotator(scorer, sampler, {"Calculator": PROMPT}, run, MARKERS, chosen)


class Anywhere:
    """Proposes a call at every position that may be kept."""

    def open(self, prompt: ToolPrompt, texts: Sequence[Sequence[int]]) -> Iterator[dict[int, Opened]]:
        yield {n: Opened([Place(i, 0.5, 0) for i in range(len(ids))], 0, [], []) for n, ids in enumerate(texts)}

    def draw(self, prompt: ToolPrompt, tool: str, wanted: Sequence[Wanted], m: int) -> None:
        for place in (place for _, _, places in wanted for place in places):
            place.drawn = [f"{tool}({place.index} + 1)"] if place.index % 3 == 0 else []


def everywhere(scorer: LocalScorer) -> Annotator:
    settings = AnnotationSettings({"Calculator": ToolSettings(k=1000, tau_f=-50.0)}, all_losses=True)
    return Annotator(scorer, Anywhere(), {"Calculator": PROMPT}, calculated, MARKERS, settings)


def test_calls_are_written_where_they_were_found(scorer: LocalScorer) -> None:
    found = annotator(scorer).annotate([Document(str(n), text) for n, text in enumerate(SENTENCES)])
    written = [one for one in found if one.row["calls"]]
    assert len(written) >= 3
    for one in written:
        row = one.row
        assert row["outcome"] == "annotated" and MARKERS.strip(row["annotated"]) == row["text"]
        parsed = list(MARKERS.find(row["annotated"]))
        assert [(f.call.input, f.result) for f in parsed] == [(c["input"], c["result"]) for c in row["calls"]]
        for f, call in zip(parsed, row["calls"], strict=True):
            assert MARKERS.strip(row["annotated"][: f.start].rstrip()) == row["text"][: call["position"]].rstrip()
            assert call["gain"] == pytest.approx(call["l_minus"] - call["l_plus"])
    assert "there are [Calculator(2 + 7) -> 9] 9 animals" in found[0].row["annotated"]


def test_losses_of_a_whole_run_are_those_of_brute_force(scorer: LocalScorer) -> None:
    found = annotator(scorer, temperature=1.0, wide=True).annotate(
        [Document(str(n), text) for n, text in enumerate(SENTENCES)]
    )
    every = [(one.row["text"], c) for one in found for c in one.candidates if c.result is not None]
    assert len(every) >= 8
    for text, one in every:
        ids, call = scorer.encode(text), ToolCall(one.tool, one.input)
        written = MARKERS.call(call), MARKERS.with_result(call, one.result)
        expected = brute_force.losses(scorer.model, scorer.tokenizer, scorer.begin, ids, one.index, *written)
        assert (one.l_empty, one.l_call, one.l_plus) == pytest.approx(expected, abs=1e-4)


def test_a_threshold_keeps_what_the_whole_set_of_losses_says(scorer: LocalScorer) -> None:
    """Without `all_losses`, what cannot be kept is left out, before it is sampled even; the same calls are kept."""
    texts = [Document(str(n), text) for n, text in enumerate(SENTENCES)]
    whole, lazy = (
        annotator(scorer, 0.5, temperature=1.0, wide=True, all_losses=every).annotate(texts) for every in (True, False)
    )
    assert [one.row["annotated"] for one in whole] == [one.row["annotated"] for one in lazy]
    assert sum(len(one.candidates) for one in lazy) < sum(len(one.candidates) for one in whole)


def test_nothing_depends_on_what_is_annotated_beside_it(scorer: LocalScorer) -> None:
    texts = [Document(str(n), text) for n, text in enumerate(SENTENCES)]
    one = annotator(scorer, temperature=1.0)
    together = one.annotate(texts)
    alone = [one.annotate([text])[0] for text in reversed(texts)][::-1]
    for a, b in zip(together, alone, strict=True):
        assert a.row["annotated"] == b.row["annotated"]
        assert [c.input for c in a.candidates] == [c.input for c in b.candidates]
    assert any(one.candidates for one in together)


BAD = {
    "empty": Document("empty", ""),
    "only space": Document("only space", " \n\t "),
    "huge": Document("huge", "a b c d " * 1_000_000),
    "long": Document("long", "one two three " * 600),
    "binary": Document("binary", "PNG\x00\x01\x02"),
    "surrogates": Document("surrogates", "half \ud83d a pair"),
    "unread": Document("unread", "", problem="no JSON"),
}


def test_bad_texts_are_recorded_and_the_rest_go_on(scorer: LocalScorer) -> None:
    texts = [*BAD.values(), Document("good", SENTENCES[0])]
    start = time.monotonic()
    found = annotator(scorer).annotate(texts)
    assert time.monotonic() - start < 20
    assert [one.row["id"] for one in found] == [text.id for text in texts]
    outcomes = {one.row["id"]: one.row["outcome"] for one in found}
    assert outcomes == {
        "empty": "empty",
        "only space": "empty",
        "huge": "longer than 1024 tokens",
        "long": "longer than 1024 tokens",
        "binary": "binary",
        "surrogates": "no valid Unicode",
        "unread": "no JSON",
        "good": "annotated",
    }
    assert all(one.row["text"] == text.text for one, text in zip(found, texts, strict=True))


def test_markers_of_the_text_itself_are_escaped_and_restored(scorer: LocalScorer) -> None:
    text = f"As in [1] -> [Calculator(1+1) -> 2], ␛ too. {SENTENCES[0]}"
    [one] = everywhere(scorer).annotate([Document("1", text)])
    calls = list(MARKERS.find(one.row["annotated"]))
    assert len(calls) == len(one.row["calls"]) > 0  # the text's own is none
    assert MARKERS.restore(MARKERS.strip(one.row["annotated"])) == text
    for found, call in zip(calls, one.row["calls"], strict=True):
        before = MARKERS.restore(MARKERS.strip(one.row["annotated"][: found.start]))
        assert before.rstrip(" ") == text[: call["position"]].rstrip(" ")


class Hostile(Tool):
    """Does what a tool must not, by what it is asked."""

    name = "Calculator"

    def __init__(self, way: str) -> None:
        self.way = way

    def __call__(self, text: str) -> str | None:
        if self.way == "hangs":
            time.sleep(60)
        if self.way == "raises":
            raise RuntimeError("no")
        return {"megabytes": "9" * 5_000_000, "markers": "[Calculator(1) -> 2]]", "nothing": None}[self.way]


@pytest.mark.parametrize("way", ["hangs", "raises", "nothing", "megabytes", "markers"])
def test_a_tool_that_misbehaves_costs_its_calls_at_most(scorer: LocalScorer, way: str) -> None:
    def run(calls: Sequence[ToolCall], metas: Any) -> list[ToolResult]:
        return execute(calls, {"Calculator": Hostile(way)}, timeout=0.3)

    start = time.monotonic()
    [one] = annotator(scorer, run=run).annotate([Document("1", SENTENCES[0])])
    assert time.monotonic() - start < 20 and one.candidates
    if way in ("hangs", "raises", "nothing"):
        assert one.row["outcome"] == "no call kept" and one.row["annotated"] == SENTENCES[0]
        assert all(c.result is None and (c.error or way == "nothing") for c in one.candidates)
    else:
        assert MARKERS.strip(one.row["annotated"]) == SENTENCES[0] and len(one.row["annotated"]) < 3000


def test_a_text_that_breaks_the_model_costs_itself_alone(scorer: LocalScorer) -> None:
    """Any error at all, memory above all: here from a text whose ids are out of the vocabulary."""

    class Broken(LocalScorer):
        def encode(self, text: str) -> list[int]:
            return [10**6] * 5 if text == "break" else super().encode(text)

        def decode(self, ids: Sequence[int]) -> str:
            return "break"[: len(ids)] if 10**6 in ids else super().decode(ids)

    one = Broken(scorer.model, scorer.tokenizer)
    found = annotator(one).annotate([Document("1", SENTENCES[0]), Document("2", "break"), Document("3", SENTENCES[1])])
    assert [f.row["outcome"].split(":")[0] for f in found] == ["annotated", "failed", "annotated"]


def test_any_text_comes_back_from_its_annotation(scorer: LocalScorer) -> None:
    """Whatever characters it is of: calls taken out and markers restored, it is the text."""
    draw, parts = (
        random.Random(3),
        ["[", "]", "->", " ", "é", "日本", "🙂", "12", "birds", "\n", "␛", "(", "␛(", "so there are"],
    )
    texts = [Document(str(n), "".join(draw.choices(parts, k=draw.randint(1, 25)))) for n in range(40)]
    found: list[Annotated] = everywhere(scorer).annotate(texts)
    for text, one in zip(texts, found, strict=True):
        assert MARKERS.restore(MARKERS.strip(one.row["annotated"])) == text.text
    assert sum(bool(one.row["calls"]) for one in found) > 30


def test_the_papers_settings() -> None:
    every = {tool: settings_for(tool) for tool in ("Calculator", "MT", "QA", "WikiSearch", "Calendar")}
    few, many = ToolSettings(0.05, 5, 5, 1.0), ToolSettings(0.0, 20, 10, 0.5)
    assert every == {"Calculator": many, "MT": many, "QA": few, "WikiSearch": few, "Calendar": few}


@pytest.mark.parametrize(
    ("tool", "text", "meta", "worth"),
    [
        ("Calculator", "They had 12 apples and 5 pears, 17 in all.", {}, True),
        ("Calculator", "They had 12 apples, 5 pears and 99 plums.", {}, False),
        ("Calculator", f"12 {'word ' * 120} 5 {'word ' * 120} 17", {}, False),
        ("Calculator", "An average of 7 came.", {}, True),
        ("Calculator", "Nobody came.", {}, False),
        ("Calendar", "It is late.", {"url": "https://example.org/2021/03/05/late"}, True),
        ("Calendar", "It is late.", {"url": "https://example.org/late?id=20210"}, False),
        ("QA", "Anything.", {}, True),
        (
            "MT",
            "The committee met on Tuesday in order to discuss the new proposal. Le comité s'est réuni mardi pour "
            "discuter de la nouvelle proposition du gouvernement français. The meeting then ended and all of the "
            "members went home.",
            {},
            True,
        ),
        ("MT", "The committee met on Tuesday in order to discuss the new proposal and then went home.", {}, False),
    ],
)
def test_heuristics_pick_texts(tool: str, text: str, meta: dict[str, str], worth: bool) -> None:
    assert worth_asking(tool, Document("1", text, meta)) is worth


def test_preselection_leaves_other_texts_alone(scorer: LocalScorer) -> None:
    texts = [Document("1", SENTENCES[0]), Document("2", "Nobody came to the party.")]
    asked: list[Any] = []
    one = annotator(scorer, preselect=True)
    opened = one.sampler.open
    one.sampler.open = lambda prompt, some: asked.extend(some) or opened(prompt, some)
    found = one.annotate(texts)
    assert len(asked) == 1 and [f.row["outcome"] for f in found] == ["annotated", "not preselected"]


@pytest.mark.slow
def test_smollm2_on_real_text_keeps_what_the_equations_keep(real_data: Path, tmp_path: Path) -> None:
    """Its own proposals in GSM8K's solutions; losses within 1e-4, and the same calls kept at every threshold."""
    lines = (real_data.parent / "toolformer" / "gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    texts = [re.sub(r"<<.*?>>", "", json.loads(line)["answer"]).split("\n####")[0] for line in lines]
    settings = AnnotationSettings(all_losses=True)
    one = load_annotator(
        AnnotationConfig("", str(tmp_path), "smollm2", ("calculator",), settings), tools_named("calculator")
    )
    found = one.annotate([Document(str(n), text) for n, text in enumerate(texts)])
    every = [(result.row["text"], c) for result in found for c in result.candidates if c.result is not None][:40]
    assert len(every) >= 10
    model, tokenizer = one.scorer.model, one.scorer.tokenizer
    for text, c in every:
        ids, call = one.scorer.encode(MARKERS.escape(text)), ToolCall(c.tool, c.input)
        written = MARKERS.call(call), MARKERS.with_result(call, c.result)
        expected = brute_force.losses(model, tokenizer, one.scorer.begin, ids, c.index, *written)
        assert (c.l_empty, c.l_call, c.l_plus) == pytest.approx(expected, abs=1e-4)
        for tau_f in (-0.5, 0.0, 0.25, 0.5, 1.0):
            gain = min(expected[:2]) - expected[2]
            assert (c.gain >= tau_f) == brute_force.kept(expected, tau_f) or abs(gain - tau_f) < 1e-4
