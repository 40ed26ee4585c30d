"""Toolformer's task measures: the cases that tell one rule from the next, and twins."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.metrics import answer_given, lama_correct, math_correct, perplexity
from toolalpaca_hf.metrics.answers import first_number

words = st.lists(st.sampled_from(["ulm", "berlin", "new", "york", "the"]), max_size=25)


@given(words, st.lists(st.sampled_from(["ulm", "new", "york"]), min_size=1, max_size=2))
def test_answers_are_found_within_the_first_words(text: list[str], gold: list[str]) -> None:
    def within(count: int) -> bool:
        return f" {' '.join(gold)} " in f" {' '.join(text[:count])} "

    written, answer = ", ".join(text).title() + ".", " ".join(gold)
    assert lama_correct(written, answer) is within(5)
    assert answer_given(written, answer) is within(20)
    assert answer_given(written, ["Paris", answer]) is within(20)


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        (" Ulm, in Germany.", "Ulm", True),
        ("a b c d Ulm", "ulm", True),
        ("a b c d e Ulm", "ulm", False),
        ("Ulmer Münster", "Ulm", False),
        ("the U.S. of course", "U.S.", True),
        ("\n\n“Ulm”", "Ulm", True),
        ("ＵＬＭ", "ulm", True),  # another width of the same letters
        ("STRASSE", "straße", True),
        ("Ulm", "", False),
        ("Ulm", "?", False),
        ("", "Ulm", False),
        ("Ulm", ["Bonn", "Ulm"], True),
        ("Ulm", [], False),
    ],
)
def test_lama_by_hand(text: str, gold: str | list[str], correct: bool) -> None:
    assert lama_correct(text, gold) is correct


def test_an_answer_ends_within_the_words_that_count() -> None:
    filler = "word " * 18
    assert answer_given(f"{filler}Marie Curie", "Marie Curie")
    assert not answer_given(f"{filler}one Marie Curie", "Marie Curie")
    assert not answer_given("It was Marie Curie", "Marie Curie", words=3)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 12.", "12"),
        ("$1,234,567.50!", "1234567.50"),
        ("1,23", "1"),  # no thousands
        ("1,2345", "1"),
        ("12,345,6", "12"),
        ("-5", "-5"),
        ("it is -$5.25", "-5.25"),
        ("$-5", "-5"),
        ("− 7 degrees", "-7"),
        ("5-3", "5"),
        ("x-3", "3"),
        ("R - 3", "3"),
        ("pages 10-20", "10"),
        (".5 of it", ".5"),
        ("3.0 km", "3"),
        ("2. Then 4", "2"),
        ("0.1", "0.10"),
        ("007", "7"),
        ("20%", "20"),
        ("£3", "3"),
        ("abc", None),
        ("", None),
        ("٣", None),
        ("12345678901234567890.12345678901234567890", "12345678901234567890.1234567890123456789"),
    ],
)
def test_the_first_number_by_hand(text: str, number: str | None) -> None:
    assert first_number(text) == (None if number is None else Decimal(number))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9), st.text())
def test_numbers_are_read_back_with_and_without_separators(number: Decimal, after: str) -> None:
    after = re.sub(r"^[\d.,\s]+", "", after)
    for written in (f"{number}", f"{number:,}", f"is {number} "):
        assert Fraction(first_number(f"{written} {after}")) == Fraction(number)
        assert math_correct(f"{written} {after}", str(number))
        assert not math_correct(f"{written} {after}", str(number + 1))


@pytest.mark.parametrize(("text", "gold"), [("12", "none"), ("", ""), ("none", "0"), ("", "0")])
def test_without_a_number_nothing_is_right(text: str, gold: str) -> None:
    assert math_correct(text, gold) is False


log_probs = st.floats(-50, 0)


@given(st.lists(st.lists(log_probs, max_size=4), max_size=4).filter(any))
def test_perplexity_weighs_tokens_not_texts(texts: list[list[float]]) -> None:
    found = perplexity([[None, *text] for text in texts])
    tokens = [value for text in texts for value in text]
    # The geometric mean of the inverse probabilities, one factor at a time.
    expected = math.prod(math.exp(-value) ** (1 / len(tokens)) for value in tokens)
    assert found["perplexity"] == pytest.approx(expected) and found["tokens"] == len(tokens)
    assert perplexity([tokens]) == pytest.approx(found)


def test_perplexity_of_a_fair_die_is_six() -> None:
    assert perplexity([[math.log(1 / 6)] * 3, [math.log(1 / 6)]])["perplexity"] == pytest.approx(6)


def test_an_impossible_token_makes_it_infinite() -> None:
    assert perplexity([[-1.0, -math.inf]])["perplexity"] == math.inf
    assert perplexity([[-1e6]])["perplexity"] == math.inf


@pytest.mark.parametrize(("texts", "row"), [([], None), ([[], [None]], None), ([[-1.0], [0.5]], 1), ([[math.nan]], 0)])
def test_what_is_no_log_probability_is_named(texts: list, row: int | None) -> None:
    with pytest.raises(InputError) as raised:
        perplexity(texts)
    assert raised.value.row == row
