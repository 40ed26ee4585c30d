import json
from urllib.parse import urlencode

import pytest

from toolalpaca_hf.openapi import (
    CallError,
    build_request,
    coerce,
    from_xml,
    functions_of,
    to_json_schema,
    to_xml,
    validator,
)
from toolalpaca_hf.openapi.encoding import encode_body

PET = {
    "type": "object",
    "xml": {"name": "pet"},
    "required": ["photoUrls", "name"],
    "properties": {
        "id": {"type": "integer", "xml": {"attribute": True}},
        "name": {"type": "string", "xml": {"name": "called"}},
        "photoUrls": {"type": "array", "items": {"type": "string"}},
        "tags": {"type": "array", "xml": {"wrapped": True}, "items": {"$ref": "#/components/schemas/Tag"}},
        "odd name": {"type": "boolean"},
    },
}
TAG = {"type": "object", "xml": {"name": "tag"}, "properties": {"n": {"type": "integer"}}}
SCHEMA = to_json_schema({"components": {"schemas": {"Tag": TAG}}}, PET, request=True)


@pytest.mark.parametrize(
    ("pet", "xml"),
    [
        (
            {"id": 3, "name": "Tom", "photoUrls": ["a", "b"], "tags": [{"n": 1}, {"n": 2}], "odd name": True},
            b'<pet id="3"><called>Tom</called><photoUrls>a</photoUrls><photoUrls>b</photoUrls>'
            b"<tags><tag><n>1</n></tag><tag><n>2</n></tag></tags><odd_name>true</odd_name></pet>",
        ),
        ({"name": "", "photoUrls": []}, b"<pet><called /></pet>"),
        (
            {"name": "<&>", "photoUrls": ["a"], "tags": []},
            b"<pet><called>&lt;&amp;&gt;</called><photoUrls>a</photoUrls><tags /></pet>",
        ),
    ],
)  # fmt: skip
def test_xml_is_written_and_read_as_the_schema_has_it(pet: dict, xml: bytes) -> None:
    assert to_xml(pet, "body", SCHEMA) == xml
    read = coerce(from_xml(xml.decode(), SCHEMA), SCHEMA, wire=True)
    assert read == pet and validator(SCHEMA).is_valid(read)


def test_names_of_a_namespace() -> None:
    said = {"namespace": "http://a.example/ns", "prefix": "s"}
    name, tag = {"type": "string", "xml": said}, {"type": "string", "xml": {"namespace": "urn:t"}}
    schema = to_json_schema({}, {"type": "object", "properties": {"name": name, "tag": tag}}, request=True)
    xml = b'<p><s:name xmlns:s="http://a.example/ns">Tom</s:name><tag xmlns="urn:t">x</tag></p>'
    assert to_xml({"name": "Tom", "tag": "x"}, "p", schema) == xml
    assert from_xml(xml.decode(), schema) == {"name": "Tom", "tag": "x"}
    assert from_xml('<p xmlns:s="urn:s" s:name="Tom" />', schema) == {"name": "Tom"}


@pytest.mark.parametrize("words", ["<a>", "no", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "<a>" * 90 + "</a>" * 90])
def test_what_is_no_xml_is_refused(words: str) -> None:
    with pytest.raises(ValueError):
        from_xml(words, {})


@pytest.mark.parametrize("kind", ["multipart/form-data", "application/x-www-form-urlencoded"])
def test_a_form_of_no_declared_fields_takes_an_object_and_nothing_else(kind: str) -> None:
    document = {"paths": {"/cats": {"post": {"requestBody": {"content": {kind: {"schema": {"properties": {}}}}}}}}}
    (operation,) = functions_of(document)

    def sent(text: str) -> tuple[bytes | None, dict[str, str]]:
        return encode_body(build_request(document, operation, text, "https://cats.example"))

    assert b"Tom" in (sent('{"body": {"name": "Tom"}}')[0] or b"")
    with pytest.raises(CallError, match="give an object"):
        sent('{"body": [1]}')


@pytest.mark.parametrize("value", [{"properties": [1]}, {"allOf": 3}, {"$ref": 5}])
def test_a_value_of_a_form_is_no_schema(value: dict[str, object]) -> None:
    content = {
        "application/x-www-form-urlencoded": {"schema": {"properties": {"a": {}}, "additionalProperties": True}}
    }
    document = {"paths": {"/cats": {"post": {"requestBody": {"content": content}}}}}
    request = build_request(document, functions_of(document)[0], json.dumps({"b": value}), "https://cats.example")
    assert encode_body(request)[0] == urlencode([(key, json.dumps(item)) for key, item in value.items()]).encode()


def test_an_attribute_is_an_item_too() -> None:
    schema = {"properties": {"ids": {"type": "array", "items": {"type": "integer"}}}}
    assert from_xml('<a ids="1"><ids>2</ids></a>', schema) == {"ids": ["1", "2"]}


def test_names_of_elements_in_any_script() -> None:
    schema = to_json_schema({}, {"type": "object", "properties": {"Größe": {"type": "integer"}}}, request=True)
    assert coerce(from_xml(to_xml({"Größe": 3}, "body", schema).decode(), schema), schema, wire=True) == {"Größe": 3}
