"""Values compared by the type a document gives them, and found in the words of an instruction."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.metrics import arguments_equal, determined, numbers_in
from toolalpaca_hf.metrics.equality import MONTHS, mentions_date, read_date, values_equal

INTEGER, BOOLEAN, STRING = {"type": "integer"}, {"type": "boolean"}, {"type": "string"}
WORDS = {"type": "array", "items": STRING}
NUMBERS = {"type": "array", "items": INTEGER}
DATE = {"type": "string", "format": "date"}
MOMENT = {"type": "string", "format": "date-time"}
PLACE = {"type": "object", "properties": {"days": NUMBERS, "on": DATE}}


@pytest.mark.parametrize(
    ("schema", "golden", "made", "equal"),
    [
        (INTEGER, 3, "3", True),
        (INTEGER, 3, 3.0, True),
        (INTEGER, 3, "three", False),
        (BOOLEAN, True, "true", True),
        (BOOLEAN, True, 1, False),
        ({"type": "string", "enum": ["Asc", "Desc"]}, "Asc", "ASC", True),
        ({"type": "string", "enum": ["Asc", "Desc"]}, "Asc", "Desc", False),
        (WORDS, ["EUR", "GBP"], "EUR,GBP", True),
        (WORDS, ["EUR", "GBP"], "eur, gbp", True),
        (WORDS, ["EUR", "GBP"], '["EUR", "GBP"]', True),
        (WORDS, "EUR", ["EUR"], True),
        (WORDS, ["EUR", "GBP"], ["GBP", "EUR"], False),
        (WORDS, ["EUR", "GBP"], "EUR", False),
        (WORDS, ["EUR", "***"], "EUR,anything", True),
        (NUMBERS, [1, 2], '["1", 2]', True),
        (NUMBERS, [1, 2], "1, 2", True),
        (NUMBERS, 1, [1], True),
        (STRING, "EUR,GBP", ["EUR", "GBP"], True),
        (STRING, "EUR, GBP", ["EUR", "GBP"], True),
        ({"anyOf": [STRING, WORDS]}, ["EUR"], ["eur"], True),
        (PLACE, {"days": [1, 2], "on": "2023-01-05"}, '{"days": "1,2", "on": "2023-1-5"}', True),
        (PLACE, {"days": [1, 2]}, {"days": [1, 3]}, False),
        (DATE, "2023-01-05", "2023-1-5", True),
        (DATE, "2023-01-05", "2023/01/05", True),
        (DATE, "2023-01-05", "January 5, 2023", True),
        (DATE, "2023-01-05", "5 Jan 2023", True),
        (DATE, "2023-01-05", "2023-01-05T10:00:00Z", True),
        (DATE, "2023-01-05", "01/05/2023", False),  # a day in January, or in May
        (DATE, "2023-01-05", "2023-01-06", False),
        (MOMENT, "2023-01-05T10:00:00Z", "2023-01-05T11:00:00+01:00", True),
        (MOMENT, "2023-01-05T10:00:00Z", "2023-01-05T10:00:00", True),
        (MOMENT, "2023-01-05T10:00:00Z", "2023-01-05 10:00:00", True),
        (MOMENT, "2023-01-05T10:00:00Z", "2023-01-05", False),
        (STRING, "2023-01-05", "2023-1-5", False),  # may be a version
        (None, ["EUR"], "EUR", False),
        (INTEGER, "***", {"deep": [1]}, True),
    ],
)
def test_values_by_hand(schema: dict | None, golden: Any, made: Any, equal: bool) -> None:
    assert values_equal(golden, made, schema) is equal


schemas = st.recursive(
    st.sampled_from([INTEGER, BOOLEAN, STRING, DATE, MOMENT, {}, {"type": ["string", "integer"]}]),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda one: {"type": "object", "properties": {"a": one}}, inner),
        st.builds(lambda *some: {"anyOf": list(some)}, inner, inner),
    ),
    max_leaves=4,
)
scalars = st.sampled_from(
    [0, 1, "1", True, "TRUE", "", None, "***", "a,b", "[1]", '{"a": 1}', "2023-1-5", "2023-01-05"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner), max_leaves=4
)


@given(values, values, schemas)
def test_a_schema_takes_no_equality_away(golden: Any, made: Any, schema: dict) -> None:
    assert values_equal(golden, made, schema) >= arguments_equal({"x": golden}, {"x": made})
    assert values_equal(golden, golden, schema)


def test_a_schema_as_the_documents_have_it_costs_nothing() -> None:
    for odd in ({"type": "array"}, {"type": "object"}, {"anyOf": []}, {"description": "Anything."}):
        assert values_equal([1], [1], odd) and not values_equal([1], [2], odd)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
def test_a_date_is_read_back_and_found(moment: datetime) -> None:
    day = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    month = MONTHS[day.month - 1].title()
    forms = [
        f"{day.year}-{day.month}-{day.day}",
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month[:3]} {day.year}",
    ]
    for form in forms:
        assert read_date(form) == day and mentions_date(f"Tides on {form}, please.", day)
        assert not mentions_date(f"Tides on {form}, please.", day.replace(year=day.year + 1, day=1))
    assert read_date(moment.isoformat()) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "2023", "20230105", "2023-13-01", "2023-02-30", "May", "5", "1/2/3", "٢٠٢٣-١-٥"]
)
def test_what_is_no_date(text: str) -> None:
    assert read_date(text) is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("a joke", []),
        ("3 jokes, and the 2nd again", [2, 3]),
        ("twenty five or thirty-one", [25, 31]),
        ("two hundred and fifty, three thousand", [250, 3000]),
        ("one two three", [1, 2, 3]),
        ("$1,250.50 or 10k", [10, 1250.5, 10000]),
        ("a dozen, twice", [2, 12]),
        ("the hundred", []),
        ("-4 degrees", [-4, 4]),
    ],
)
def test_numbers_in_words_by_hand(text: str, numbers: list[float]) -> None:
    assert sorted(map(float, numbers_in(text))) == numbers


@given(st.integers(0, 99))
def test_numbers_below_a_hundred_in_words(number: int) -> None:
    from toolalpaca_hf.metrics.equality import _TENS, _UNITS

    tens = {value: word for word, value in _TENS.items()}
    words = (
        _UNITS[number] if number < 20 else f"{tens[number - number % 10]} {_UNITS[number % 10] if number % 10 else ''}"
    )
    assert number in numbers_in(f"I want {words} of them")


@pytest.mark.parametrize(
    ("value", "instruction", "name", "found"),
    [
        ("Brest", "The tide at BREST?", "port", True),
        ("Brest", "The tide at Brester Bay?", "port", False),
        ("Saint Malo", "In Saint-Malo, please", "port", True),
        ("high tides", "When is the tide high?", "q", True),
        ("Calais", "The tide at Brest?", "port", False),
        (3, "three tides", "n", True),
        ("3", "three tides", "n", True),
        (10, "some tides", "n", False),
        (1250.5, "at most $1,250.50", "price", True),
        ("2023-01-05", "on January 5th", "day", True),
        ("2023-01-05", "on 1/5/2023", "day", True),
        ("2023-01-05", "on January 5th, 2024", "day", False),
        ("2023-01-05", "on 1/5/23", "day", True),
        ("2023-01-05", "on 1/5/1923", "day", False),
        ("2023-01-05", "tomorrow", "day", False),
        ("USD", "in dollars", "currency", True),
        (True, "including rain", "x", True),
        (True, "with its pictures", "withPictures", True),
        (True, "tides", "includeAdult", False),
        (False, "without rain", "rain", True),
        (False, "the tides", "verbose", False),
        (["rain", "fog"], "any fog?", "kinds", True),
        (["rain"], "any fog?", "kinds", False),
        ({"q": "fog"}, "any fog?", "", True),
        ([], "any fog?", "kinds", False),
        ("https://tides.example/a?b=1", "Send it to https://tides.example/a?b=1.", "url", True),
        ("Am\u00e9thyste", "ask ame\u0301thyste", "q", True),
        ("d'Am\u00e9lie", "of d'ame\u0301lie", "q", True),
        ("sNaN", "a tide", "q", False),
        ("***", "a tide", "q", False),
    ],
)
def test_what_an_instruction_says_by_hand(value: Any, instruction: str, name: str, found: bool) -> None:
    assert determined(value, instruction, name) is found


def test_a_code_is_a_matter_of_who_asks() -> None:
    assert determined("en", "a tide") and not determined("en", "a tide", codes=False)
    assert determined("en", "in EN, please", codes=False)


@given(values, st.text(max_size=20))
def test_any_value_and_any_instruction_have_an_answer(value: Any, instruction: str) -> None:
    assert determined(value, instruction, "a") in (True, False)
