from typing import Any

import pytest

from toolalpaca_hf.openapi import coerce, to_json_schema, to_text, validator
from toolalpaca_hf.openapi.coercion import problems

INTEGER, TEXT = {"type": "integer"}, {"type": "string"}


def fit(value: Any, schema: dict[str, Any], name: str) -> tuple[Any, list[str]]:
    converted = to_json_schema({}, schema, request=True)
    value = coerce(value, converted)
    return value, problems(value, validator(converted), name)


@pytest.mark.parametrize(
    ("value", "schema", "fitted"),
    [
        ("3", INTEGER, 3),
        (" -3 ", INTEGER, -3),
        ("3.0", INTEGER, 3),
        (3.0, INTEGER, 3),
        ("1e2", {"type": "number"}, 100.0),
        (3, {"type": "string"}, "3"),
        (True, {"type": "string"}, "true"),
        (1.5, {"type": "string"}, "1.5"),
        ("true", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("a", {"type": "array", "items": {"type": "string"}}, ["a"]),
        ("3", {"type": "array", "items": INTEGER}, [3]),
        ('["1", 2]', {"type": "array", "items": INTEGER}, [1, 2]),
        ('{"a": "1"}', {"type": "object", "properties": {"a": INTEGER}}, {"a": 1}),
        ({"a": {"b": ["1"]}}, {"properties": {"a": {"properties": {"b": {"items": INTEGER}}}}}, {"a": {"b": [1]}}),
        ("1", {"enum": [1, 2]}, 1),
        (1, {"type": "string", "enum": ["1", "2"]}, "1"),
        ("3", {"type": ["integer", "string"]}, "3"),
        ("3", {"anyOf": [{"type": "boolean"}, INTEGER]}, 3),
        (None, {"type": "string", "nullable": True}, None),
        (None, {"type": "string", "enum": ["a"], "nullable": True}, None),
        ({"x": 1}, {}, {"x": 1}),
        ({"x": "1"}, {"type": "object", "additionalProperties": INTEGER}, {"x": 1}),
        (["1", 2, 3], {"prefixItems": [INTEGER, {"type": "string"}], "items": {"type": "string"}}, [1, "2", "3"]),
        ("3", {"type": "Integer"}, 3),
        (3, {"type": "string", "enum": [1, 3]}, "3"),
        ("3", {"type": "integer", "enum": ["1", "3"]}, 3),
        ("3", {"type": ["integer", "string"], "enum": ["3", "auto"]}, "3"),
        (3, {"type": ["null", "string"], "enum": [3, None]}, "3"),
        ({"a": "1"}, {"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": INTEGER}, {"a": "1"}),
        (True, {"type": "string", "nullable": True, "enum": [True, None]}, "true"),
        ("3", {"type": "string", "pattern": "/^[0-9]$/"}, "3"),
    ],
)  # fmt: skip
def test_what_is_safe_is_made_to_fit(value: Any, schema: dict[str, Any], fitted: Any) -> None:
    made, problems = fit(value, schema, "x")
    assert (made, problems) == (fitted, []) and type(made) is type(fitted)


@pytest.mark.parametrize(
    ("value", "schema", "words"),
    [
        ("three", INTEGER, '`x` must be an integer, not "three".'),
        ("3.5", INTEGER, "`x` must be an integer"),
        (3.5, INTEGER, "`x` must be an integer, not 3.5."),
        ("1e999", {"type": "number"}, "`x` must be a number"),
        ("٣", INTEGER, "`x` must be an integer"),
        (1, {"type": "boolean"}, "`x` must be a boolean, not 1."),
        ("yes", {"type": "boolean"}, "`x` must be a boolean"),
        (True, INTEGER, "`x` must be an integer, not true."),
        (["a"], {"type": "string"}, '`x` must be a string, not ["a"].'),
        ("[1", {"type": "object"}, "`x` must be an object"),
        ("c", {"enum": ["a", "b"]}, '`x` must be one of "a", "b", not "c".'),
        (["1", "y"], {"type": "array", "items": INTEGER}, '`x[1]` must be an integer, not "y".'),
        ({"a": {}}, {"properties": {"a": {"required": ["b", "c"]}}}, "Missing required `x.a.b`, `x.a.c`."),
        ("", {"type": "string", "minLength": 1}, "`x` is not accepted: "),
        ("n", {"anyOf": [{"type": "boolean"}, INTEGER]}, "`x` "),
        (None, {"type": "string"}, "`x` must be a string, not null."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_words(value: Any, schema: dict[str, Any], words: str) -> None:
    _, problems = fit(value, schema, "x")
    assert len(problems) == 1 and problems[0].startswith(words) and problems[0].endswith(".")


def test_long_values_are_cut_in_sentences() -> None:
    [sentence] = fit("y" * 10_000, {"enum": ["a" * 1000] * 100}, "x")[1]
    assert len(sentence) < 5000
    assert len(fit([{}] * 1000, {"type": "array", "items": INTEGER}, "x")[1]) == 5


def test_written_values_are_those_of_urls() -> None:
    assert [to_text(value) for value in (True, None, 1, 1.5, "é", {"a": [1]})] == [
        "true", "null", "1", "1.5", "é", '{"a":[1]}',
    ]  # fmt: skip


def test_values_fit_through_references_and_alternatives() -> None:
    leaf = {"type": "object", "properties": {"size": INTEGER, "next": {"$ref": "#/components/schemas/Leaf"}}}
    document = {"components": {"schemas": {"Leaf": leaf | {"required": ["size"]}}}}
    either = {"anyOf": [{"type": "string", "maxLength": 1}, {"$ref": "#/components/schemas/Leaf"}]}
    schema = to_json_schema(document, {"type": "array", "items": either}, request=True)
    made = coerce([{"size": "1", "next": {"size": "2"}}, 7], schema)
    assert made == [{"size": 1, "next": {"size": 2}}, "7"] and problems(made, validator(schema)) == []
    [sentence] = problems([{"size": "x", "next": {"size": 1}}], validator(schema), "leaves")
    assert "leaves[0]" in sentence


@pytest.mark.parametrize(
    ("texts", "schema", "value"),
    [
        ("1", {"type": "boolean"}, True),
        ("", {"type": ["integer", "null"]}, None),
        ("", {"type": "object"}, {}),
        ("+7", INTEGER, 7),
        ("1,2", {"type": "array", "items": INTEGER}, [1, 2]),
        ("a,b", {"type": "array", "items": {"type": "string"}}, ["a,b"]),
        ("[1, 2]", {"type": "array", "items": INTEGER}, [1, 2]),
        ("[1]", {"type": "array", "items": TEXT}, ["[1]"]),
        ("[3]", {"type": "array", "items": {"type": "array", "items": INTEGER}}, [[3]]),
        (["1", "2"], {"type": "array", "items": INTEGER}, [1, 2]),
        (["1", "2"], INTEGER, 2),
        (["1", "2"], {"oneOf": [INTEGER, {"type": "array", "items": INTEGER}]}, [1, 2]),
        ({"a": "1", "b": ["x"]}, {"properties": {"a": INTEGER}, "additionalProperties": TEXT}, {"a": 1, "b": "x"}),
        ("2", {"enum": [1, 2]}, 2),
        ("words", INTEGER, "words"),
        ("null", {"type": "string", "nullable": True, "enum": ["a", None]}, None),
        ("null", {"anyOf": [INTEGER, {"type": "null"}]}, None),
        ("", {"anyOf": [INTEGER, {"type": "null"}]}, None),
        ("null", {"anyOf": [TEXT, {"type": "null"}]}, "null"),
        ("1,b", {"type": "array", "prefixItems": [INTEGER, TEXT]}, [1, "b"]),
        ("5", {"type": "array", "items": {"oneOf": [INTEGER, {"type": "array", "items": INTEGER}]}}, [5]),
    ],
)  # fmt: skip
def test_texts_of_the_wire_become_what_the_schema_wants(texts: Any, schema: dict[str, Any], value: Any) -> None:
    made = coerce(texts, to_json_schema({}, schema, request=True), wire=True)
    assert made == value and type(made) is type(value)


NESTED = {"$ref": "#/components/schemas/Nested"}


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("items", [NESTED, {"anyOf": [NESTED, {"type": "null"}]}, {"type": "array", "items": NESTED}])
@pytest.mark.parametrize(
    ("value", "expected"),
    [({"a": 1}, {"a": 1}), ("1", "1"), ("a,b", "a,b"), (3, 3), (None, None), ("[[]]", [[]]), ([[], [[]]], [[], [[]]])],
)
def test_lists_of_lists_without_end_wrap_nothing(items: dict[str, Any], value: Any, expected: Any, wire: bool) -> None:
    document = {"openapi": "3.0.0", "components": {"schemas": {"Nested": {"type": "array", "items": items}}}}
    assert coerce(value, to_json_schema(document, NESTED, request=True), wire) == expected


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("size", ["3", 3])
def test_the_last_of_many_alternatives_counts_as_the_first(size: Any, wire: bool) -> None:
    kinds = [INTEGER if number == 29 else TEXT for number in range(30)]
    made = [
        {"type": "object", "required": ["kind", "size"], "properties": {"kind": {"enum": [f"k{n}"]}, "size": schema}}
        for n, schema in enumerate(kinds)
    ]
    converted = to_json_schema({}, {"oneOf": made}, request=True)
    assert coerce({"kind": "k29", "size": size}, converted, wire) == {"kind": "k29", "size": 3}
    [sentence] = problems(coerce({"kind": "k29", "size": "x"}, converted, wire), validator(converted), "")
    assert "`size`" in sentence


@pytest.mark.parametrize("wire", [False, True])
def test_many_alternatives_in_each_other_take_no_longer_than_their_depth(wire: bool) -> None:
    child = {"$ref": "#/components/schemas/Node"}
    made = [{"properties": {"kind": {"enum": [f"k{n}"]}, "size": INTEGER, "child": child}} for n in range(40)]
    document = {"openapi": "3.0.0", "components": {"schemas": {"Node": {"oneOf": made}}}}
    given: Any = {"kind": "k0", "size": "0"}
    for number in range(1, 12):
        given = {"kind": f"k{number}", "size": str(number), "child": given}
    found = coerce(given, to_json_schema(document, child, request=True), wire)
    for number in range(11, -1, -1):
        assert (found["kind"], found["size"]) == (f"k{number}", number)
        found = found.get("child")
