"""The screen: exact where it counts, and checked against the published instructions."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.corpus.decontamination import BigramIndex, Decontaminator, bigrams, words

TEXTS = st.lists(st.sampled_from("tide high low noon Bergen is at the".split()), max_size=8).map(" ".join)


@given(st.lists(TEXTS, max_size=8), TEXTS)
def test_the_index_finds_what_comparing_all_finds(taken: list[str], asked: str) -> None:
    index = BigramIndex()
    for number, text in enumerate(taken):
        index.add(bigrams(text), number)
    found = bigrams(asked)
    for contained in (False, True):
        shares = [
            len(found & bigrams(text)) / max(len(bigrams(text) if contained else found | bigrams(text)), 1)
            for text in taken
        ]
        best = max(shares, default=0.0)
        assert index.nearest(found, contained) == ((best, shares.index(best)) if best else (0.0, None))


def test_words_are_words_in_any_script() -> None:
    assert words("  It's 3.5°C—in Zürich ") == ["it's", "3", "5", "c", "in", "zürich"]
    assert words("it’s") == words("IT'S") and words("ﬁnd") == ["find"]
    assert words("h\xadigh\u200b ti\ufeffde") == ["high", "tide"]  # a letter without width makes no two words
    assert words("हिन्दी में") == ["हनद", "म"] and words("مَرْحَبًا") == words("مرحبا") and words("İZMİR") == ["izmir"]
    assert words("天気は") == ["天", "気", "は"] and words("...") == []


@pytest.fixture(scope="module")
def published(real_data: Path) -> list[str]:
    """The 214 instructions of the two evaluation sets."""
    return [
        text
        for name in ("eval_simulated.json", "eval_real.json")
        for api in json.loads((real_data / name).read_text(encoding="utf-8"))
        for text in api["Instructions"]
    ]


def test_no_published_training_instruction_is_taken_for_a_leak(published: list[str], real_data: Path) -> None:
    apis = json.loads((real_data / "train_sample.json").read_text(encoding="utf-8"))
    training = [(api["Name"], one["input"]) for api in apis for one in api["Instances"] if "input" in one]
    rendered = json.loads((real_data / "processed_sample.json").read_text(encoding="utf-8"))
    training += [("", re.search(r"Begin!\s+USER: (.*?)\nASSISTANT", texts[0], re.DOTALL)[1]) for texts, _ in rendered]
    screen = Decontaminator(published)
    assert len(published) == 214 and len(training) == 51 + 231
    assert [(api, text) for api, text in training if screen.reason(api, text)] == []


def test_every_evaluation_instruction_is_found_in_every_dress(published: list[str]) -> None:
    screen = Decontaminator(published)
    for text in published:
        assert screen.reason("a", text.upper().replace(",", " ,")) == "is in the evaluation set"
        told = f"Good morning, I hope you slept well because there is a lot to do today! {text} Thanks a million."
        assert screen.reason("a", told) is not None
    changed = [re.sub(r"\b(\d+)\b", "77", text, count=1) for text in published if re.search(r"\b\d+\b", text)]
    missed = [text for text in changed if screen.reason("a", text) is None]
    assert len(changed) > 50 and len(missed) <= 0.05 * len(changed)


def test_what_was_taken_is_not_taken_again() -> None:
    screen = Decontaminator(["When does the ferry to Dover leave?"])
    first = "What is the water level at Brest harbour on 3 May, and is that more than last year?"
    assert screen.reason("a", first) is None
    assert screen.reason("a", first) is None, "asking changes nothing"
    screen.accept("a", first)
    assert screen.reason("a", first.lower()) == "repeats an instruction of its API"
    assert screen.reason("b", first) == "repeats an instruction of another API"
    assert screen.reason("a", first.replace("Brest", "Calais")) == "is close to an instruction of its API"
    assert screen.reason("b", first.replace("3 May", "9 July")) == "is close to an instruction of another API"
    assert screen.reason("a", "?!") == "says nothing"
    assert screen.reason("a", "Which harbours of Brittany have water enough for a large ship?") is None
    assert Decontaminator(["", "?!"]).leaked("") is None, "an instruction that says nothing is no leak"


@given(st.lists(st.tuples(st.sampled_from("ab"), TEXTS), max_size=20), st.integers(0, 20))
def test_another_process_goes_on_from_what_was_accepted(instructions: list[tuple[str, str]], at: int) -> None:
    def through(screen: Decontaminator, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
        taken = []
        for api, text in rows:
            if screen.reason(api, text) is None:
                screen.accept(api, text)
                taken.append((api, text))
        return taken

    whole = through(Decontaminator(), instructions)
    first = through(Decontaminator(), instructions[:at])
    resumed = Decontaminator()
    for api, text in first:
        resumed.accept(api, text)
    assert first + through(resumed, instructions[at:]) == whole
