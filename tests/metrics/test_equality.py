"""Values and names of calls: what counts as equal."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.metrics import arguments_equal, golden_arguments, same_function

scalars = st.sampled_from(
    [
        *(3, 3.0, "3", "3.0", " 3 ", "+3", "03", "3,0", 0, -0.0, "-0", "1e2", 100, "1_00", ".5", 0.5),
        *(True, False, "true", "TRUE", "False", 1, "1", "yes", None, "", " ", "***", "nan", "NaN", "inf", "Infinity"),
        *("Paris", "paris", "PARIS ", "straße", "STRASSE", 10**17, 10**17 + 1, str(10**17), 1e17, "٣"),
    ]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=6
)
arguments = st.dictionaries(st.sampled_from("abc"), values)


def normal(value: Any) -> Any:
    """The value as it is compared: numbers as fractions, text without case, objects without empty entries."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items() if item is not None and item != ""}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if value is None:
        return None
    text = str(value).strip()
    if text.isascii() and any(map(str.isdigit, text)) and "_" not in text and "/" not in text:
        try:
            return Fraction(text)
        except ValueError:
            pass
    return text.casefold()


def twin(golden: Any, made: Any) -> bool:
    if golden == "***":
        return True
    if isinstance(golden, dict) and isinstance(made, dict):
        return set(golden) == set(made) and all(twin(golden[key], made[key]) for key in golden)
    if isinstance(golden, list) and isinstance(made, list):
        return len(golden) == len(made) and all(twin(*pair) for pair in zip(golden, made, strict=True))
    return type(golden) is type(made) and golden == made


@given(arguments, arguments)
def test_arguments_equal_as_a_second_implementation_has_it(golden: dict, made: dict) -> None:
    assert arguments_equal(golden, made) == twin(normal(golden), normal(made))


@given(arguments, st.data())
def test_arguments_in_other_words_are_equal(golden: dict, data: st.DataObject) -> None:
    def reworded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reworded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [reworded(item) for item in value]
        if value in (None, ""):
            return value
        return data.draw(st.sampled_from([value, str(value), str(value).upper(), f" {value}\n"]))

    assert arguments_equal(golden, reworded(golden))


@pytest.mark.parametrize(
    ("golden", "made", "equal"),
    [
        ({}, {}, True),
        ({"days": 3}, {"days": "3"}, True),
        ({"days": 3}, {"days": 4}, False),
        ({"city": "Paris"}, {"city": " PARIS"}, True),
        ({"city": "Paris"}, {"city": "Paris", "units": ""}, True),
        ({"city": "Paris", "units": None}, {"city": "Paris"}, True),
        ({"city": "Paris"}, {"City": "Paris"}, False),
        ({"city": "Paris"}, {}, False),
        ({}, {"city": "Paris"}, False),
        ({"key": "***"}, {"key": "made up"}, True),
        ({"key": "***"}, {"key": {"deep": [1]}}, True),
        ({"key": "***"}, {}, False),
        ({"key": "made up"}, {"key": "***"}, False),
        ({"open": True}, {"open": "true"}, True),
        ({"open": True}, {"open": False}, False),
        ({"open": True}, {"open": 1}, False),
        ({"body": {"ids": [1, "***"], "note": ""}}, {"body": {"ids": ["1", 7]}}, True),
        ({"ids": [1, 2]}, {"ids": [2, 1]}, False),
        ({"ids": [1]}, {"ids": 1}, False),
        # As floats the first two would be one number, and the other pairs would be equal or unequal by accident.
        ({"id": 90071992547409931}, {"id": "90071992547409932"}, False),
        ({"city": "Nan"}, {"city": "Nan"}, True),
        ({"name": "Infinity"}, {"name": "inf"}, False),
        ({"code": "1_0"}, {"code": "10"}, False),
        ({"name": "Am\u00e9thyste"}, {"name": "AME\u0301THYSTE"}, True),
    ],
)
def test_arguments_by_hand(golden: dict, made: dict, equal: bool) -> None:
    assert arguments_equal(golden, made) is equal


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a": {}, "b": []}', {"a": {}, "b": []}),
        ('{"id": ${id from search}}', {"id": "***"}),
        ('{"start": ${start date}", "page": 1}', {"start": "***", "page": 1}),
        ('{"start": "{start date}", "end": ${end date}}', {"start": "***", "end": "***"}),
        ('{"ids": [${an id}, ${another}]}', {"ids": ["***", "***"]}),
        ('{"list": [{"name": "${string}"}]}', {"list": [{"name": "***"}]}),
        ('{"password": "Pa$$w0rd", "body": "{\\"a\\": 1}"}', {"password": "Pa$$w0rd", "body": '{"a": 1}'}),
        ('{"text": "about ${x}"}', {"text": "about ${x}"}),
        ('{"symbols": "symbols": ["EUR"]}', None),
        ("Paris", None),
    ],
)
def test_golden_arguments_by_hand(text: str, arguments: dict | None) -> None:
    assert golden_arguments(text) == arguments


@pytest.mark.parametrize(
    ("golden", "made", "same"),
    [
        ("find", "find", True),
        ("find", "Find", True),
        ("[Optional]find", "find", True),
        ("preferred-routes_search_get", "preferredroutes_search_get", True),
        ("find", "findAll", False),
        ("天気", "天", False),
    ],
)
def test_names_by_hand(golden: str, made: str, same: bool) -> None:
    assert same_function(golden, made) is same
