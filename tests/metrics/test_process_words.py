"""Two arguments that say the same in other words, and what the process verdict takes for determined."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.metrics import determined
from toolalpaca_hf.metrics.equality import says, values_equal
from toolalpaca_hf.metrics.process import DETERMINED, flat


@pytest.mark.parametrize(
    ("golden", "made", "same"),
    [
        ("Nantes", " NANTES", True),
        ("Nantes", "Brest", False),
        (3, "3", True),
        (3, "three", True),
        (3, 4, False),
        ("1.5", "15", False),
        ("USD/CAD", "USDCAD", True),
        ("10/11", "1011", False),
        ("chinese-new-year", "Chinese New Year", True),
        ("USD,EUR", ["EUR", "USD"], True),
        ("USD,EUR", "USD", False),
        ("USD", "USD,EUR", False),
        (["data team"], ["data_team"], True),
        (["a", "b"], ["a"], False),
        ("2023-05-04", "2023/5/4", True),
        ("2023-05-04", "2023-04-05", False),
        ("2023-05-04", "May 4, 2023", True),
        ("2023-05-04", "2023-05-04T00:00:00Z", True),
        ("2023-05-04", "May 5, 2023", False),
        (5, -5, False),
        ("5 degrees", "-5 degrees", False),
        ("2023-05-04", "2023-05-05", False),
        ("***", {"any": 1}, True),
        (7, "***", True),
        # Nearly the same words.
        ("the capital city of Australia", "What is the capital city of Australia?", True),
        ("how many moons Jupiter has", "the number of moons of Jupiter", True),
        ("when Albert Einstein was born", "Albert Einstein", False),
        ("Miami", "Miami, Florida", True),
        ("small", "small, medium, large", False),
        ("the square root of 256", "the square root of 625", False),
        ("dogs", "dog", True),
        ("", "Nantes", False),
        (True, "true", True),
        (True, False, False),
    ],
)
def test_other_words(golden: Any, made: Any, same: bool) -> None:
    assert values_equal(golden, made, reworded=True) is same


@pytest.mark.parametrize(
    ("value", "instruction", "expected"),
    [
        ("Nantes", "High tide in Nantes?", True),
        ("Nantes", "High tide?", False),
        (3, "Three tides, please", True),
        (3, "13 tides, please", False),
        (1, "Which one did I see?", False),
        ("2023-05-04", "On May 4, 2023", True),
        ("2023-05-04", "On the 4th of May?", True),
        ("2023-05-04", "On the 5th of May?", False),
        ("JPY", "In Japanese yen?", True),
        ("f", "In Fahrenheit?", True),
        ("genre = 'Mystery' AND year = 2020", "a mystery of the year 2020", True),
        ("physical habits", "habits?", False),
        (["malware", "phishing"], "It is malware and phishing", True),
        (7, "", True),
    ],
)
def test_determined(value: Any, instruction: str, expected: bool) -> None:
    assert determined(value, instruction, share=DETERMINED) is expected


def test_flat_names_what_is_inside_and_leaves_out_what_is_empty() -> None:
    assert flat({"a": {"b": {"c": 0}, "d": ""}, "e": [], "f": None, "g": [{"h": 1}], "i": False}) == {
        "a.b.c": 0,
        "g": [{"h": 1}],
        "i": False,
    }


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('{"id": 123}', 123, True),
        ('{"id": 123}', "123", True),
        ('{"id": 123}', 12, False),
        ('{"pair": "USD/CAD"}', "USDCAD", True),
        ('{"pair": "USDCAD"}', "usd/cad", True),
        ('{"name": "Brest"}', "Nantes", False),
    ],
)
def test_says(text: str, value: Any, expected: bool) -> None:
    assert says(text, value) is expected


@given(st.text() | st.integers() | st.lists(st.text()))
def test_every_value_is_the_same_as_itself(value: Any) -> None:
    assert values_equal(value, value, reworded=True)


@given(st.text(), st.text())
def test_what_is_said_word_for_word_is_determined(before: str, value: str) -> None:
    if any(character.isalnum() for character in value) and "_" not in value:
        assert determined(value, f"{before} {value}", share=DETERMINED)
