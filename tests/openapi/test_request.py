import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_documents import anything, callable_documents, documents

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import (
    ApiRequest,
    CallError,
    Operation,
    build_request,
    functions_of,
    load_document,
    read_joined,
    servers_of,
)
from toolalpaca_hf.openapi.encoding import encode_body

WHOLE = {"type": "integer"}
SERVER = "https://cats.example/v1/"


def parameter(name: str, where: str = "query", required: bool = False, **schema: Any) -> dict[str, Any]:
    style = {key: schema.pop(key) for key in ("style", "explode") if key in schema}
    return {"name": name, "in": where, "required": required, "schema": {"type": "string"} | schema} | style


def build(operation: Operation, arguments: Any, document: dict[str, Any] | None = None, **given: Any) -> ApiRequest:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return build_request(document or {}, operation, text, SERVER, **given)


def get(*parameters: dict[str, Any], path: str = "/cats") -> Operation:
    return Operation("getCats", path, "get", declared={"parameters": list(parameters)})


def post(
    schema: dict[str, Any], *parameters: dict[str, Any], path: str = "/cats", required: bool = False
) -> Operation:
    body = {"content": {"application/json": {"schema": schema}}, "required": required}
    return Operation("addCat", path, "post", declared={"parameters": list(parameters), "requestBody": body})


def test_every_place_gets_its_parameter() -> None:
    operation = get(
        parameter("id", "path"),
        parameter("q"),
        parameter("X-Trace", "header"),
        parameter("s", "cookie"),
        path="/cats/{id}",
    )
    request = build(operation, {"id": "a b", "q": "ä&=", "X-Trace": "t", "s": "1;2"})
    assert request == ApiRequest(
        "GET",
        "https://cats.example/v1/cats/a%20b?q=%C3%A4%26%3D",
        {"X-Trace": "t", "Cookie": "s=1%3B2"},
    )


@pytest.mark.parametrize(
    ("schema", "value", "query"),
    [
        ({"type": "array"}, ["a", "b,c"], "x=a&x=b%2Cc"),
        ({"type": "array", "items": {"type": "integer"}}, "3", "x=3"),
        ({"type": "array", "explode": False}, ["a", "b,c"], "x=a,b%2Cc"),
        ({"type": "array", "style": "pipeDelimited", "explode": False}, ["a", "b"], "x=a%7Cb"),
        ({"type": "array", "style": "pipeDelimited"}, ["a|b", "c"], "x=a%7Cb|c"),
        ({"type": "object", "style": "pipeDelimited"}, {"a|b": 1}, "x=a%7Cb|1"),
        ({"type": "array", "style": "pipeDelimited", "explode": True}, ["a|b"], "x=a%7Cb"),
        ({"type": "array", "style": "spaceDelimited"}, ["a", "b"], "x=a%20b"),
        ({"type": "array", "style": "spaceDelimited", "explode": True}, ["a b", "c"], "x=a%20b&x=c"),
        ({"type": "object"}, {"a": 1, "b": True}, "a=1&b=true"),
        ({"type": "object", "style": "deepObject"}, {"a": 1, "b": [2]}, "x%5Ba%5D=1&x%5Bb%5D%5B0%5D=2"),
        ({"type": "object", "explode": False}, {"a": 1}, "x=a,1"),
        ({"type": "boolean"}, "true", "x=true"),
        ({"type": "number"}, 1.5, "x=1.5"),
        ({"type": "array"}, [], ""),
    ],
)
def test_query_values_are_written_in_their_style(schema: dict[str, Any], value: Any, query: str) -> None:
    assert urlsplit(build(get(parameter("x", **schema)), {"x": value}).url).query == query


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ('{"q": ', "not valid JSON"),
        ("{'q': 1}", "not valid JSON"),
        ('{"q": NaN}', "not valid JSON"),
        ('{"q": 1e999}', "not valid JSON"),
        ('{"q": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"q":' * 200 + "1" + "}" * 200, "nested too deep"),
        ('[{"q": 1}]', "is a list"),
        ('{"q": 1}, {"q": 2}', "several objects"),
        ('{"q": 1}\n{"q": 2}', "several objects"),
        ('{"q": 1, "q": 2}', "`q`"),
        ('{"a": {"b\\n": 1, "c": 0, "b\\n": 2}}', "two values"),
        ('"Paris"', "not a JSON object"),
        ("null", "not a JSON object"),
        ("cats please", "not valid JSON"),
    ],
)
def test_what_is_no_object_is_told(text: str, words: str) -> None:
    with pytest.raises(CallError, match=words) as error:
        build(get(parameter("q")), text)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_words_after_the_object_are_left_out() -> None:
    assert build(get(parameter("q")), '{"q": "a"}\nObservation: none').url.endswith("?q=a")


@pytest.mark.parametrize("where", ["path", "query", "header", "cookie", "body"])
def test_required_type_and_enum_are_checked_in_every_place(where: str) -> None:
    schema = {"type": "integer", "enum": [1, 2]}
    if where == "body":
        operation = post({"type": "object", "properties": {"n": schema}, "required": ["n"]})
    else:
        operation = get(parameter("n", where, True, **schema), path="/cats/{n}" if where == "path" else "/cats")
    assert build(operation, {"n": "2"})
    for arguments, words in [
        ({}, "Missing required `n`"),
        ({"n": None}, "`n`"),
        ({"n": "x"}, '`n` must be an integer, not "x".'),
        ({"n": 3}, "`n` must be one of 1, 2, not 3."),
        ({"m": 1}, "getCats has no parameter `m`" if where != "body" else "addCat has no parameter `m`"),
    ]:
        with pytest.raises(CallError, match=re.escape(words)) as error:
            build(operation, arguments)
        assert str(error.value).endswith("Change the Action Input and try again.")


def test_optional_parameters_may_be_null_or_empty() -> None:
    """As published golden calls have it: `{"color": "wild", "gender": ""}`, where gender has two values."""
    operation = get(
        parameter("color"), parameter("gender", enum=["male", "female"]), parameter("page", type="integer")
    )
    assert build(operation, {"color": "", "gender": "", "page": ""}).url.endswith("/cats?color=")
    assert build(operation, {"color": None, "gender": None}).url.endswith("/cats")
    body = {
        "type": "object",
        "properties": {"gender": {"enum": ["male"]}, "name": {"type": "string", "nullable": True}},
    }
    assert build(post(body), {"gender": "", "name": None}).body == {"name": None}


NESTED = {
    "type": "object",
    "required": ["owner"],
    "properties": {
        "owner": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        },
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}  # fmt: skip


@pytest.mark.parametrize("key", ["", "body", "requestBody", "request_body"])
def test_a_body_lies_flat_or_under_its_key(key: str) -> None:
    body = {"owner": {"name": "Ann", "age": "7"}, "tags": "tame"}
    operation = post(NESTED, parameter("id", "path"), path="/cats/{id}")
    request = build(operation, {"id": 1} | ({key: body} if key else body))
    assert request.body == {"owner": {"name": "Ann", "age": 7}, "tags": ["tame"]}
    assert (request.url, request.body_type) == ("https://cats.example/v1/cats/1", "application/json")
    assert build(operation, {"id": 1} | ({key: json.dumps(body)} if key else body)).body == request.body
    with pytest.raises(CallError, match=re.escape("`owner.age` must be an integer")):
        build(
            operation,
            {
                "id": 1,
                **(
                    {key: {"owner": {"name": "Ann", "age": "old"}}}
                    if key
                    else {"owner": {"name": "Ann", "age": "old"}}
                ),
            },
        )


def test_a_name_that_is_parameter_and_property_goes_to_both() -> None:
    operation = post({"properties": {"id": {"type": "integer"}}}, parameter("id", "path"), path="/cats/{id}")
    request = build(operation, {"id": "5"})
    assert (request.url, request.body) == ("https://cats.example/v1/cats/5", {"id": 5})


@pytest.mark.parametrize(
    ("schema", "arguments", "body"),
    [
        ({"type": "array", "items": {"type": "integer"}}, {"body": ["1"]}, [1]),
        ({"type": "array", "items": {"type": "integer"}}, {}, None),
        ({"type": "string"}, {"requestBody": "words"}, "words"),
        ({"type": "object"}, {"any": 1, "q": "x"}, {"any": 1}),
        ({}, {"any": 1}, {"any": 1}),
        ({"properties": {"a": {}}, "additionalProperties": True}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({"properties": {"a": {}}}, {"a": 1, "b": 2}, {"a": 1}),
        ({"properties": {"a": {}}}, {}, None),
        ({"properties": {"body": {"type": "string"}}}, {"body": "words"}, {"body": "words"}),
        ({"allOf": [{"properties": {"a": WHOLE}}, {"properties": {"b": {}}}]}, {"a": "1", "b": 2}, {"a": 1, "b": 2}),
        ({"oneOf": [{"properties": {"a": WHOLE}, "required": ["a"]}, {"properties": {"b": 0}}]}, {"a": "1"}, {"a": 1}),
    ],
)  # fmt: skip
def test_bodies_of_other_kinds(schema: dict[str, Any], arguments: dict[str, Any], body: Any) -> None:
    assert build(post(schema, parameter("q")), arguments).body == body


def test_a_required_body_is_asked_for() -> None:
    with pytest.raises(CallError, match="Missing required `body`"):
        build(post({"type": "array"}, required=True), {})
    assert build(post({"type": "object"}, required=True), {}).body == {}


def test_credentials_are_left_for_later_and_what_the_model_wrote_is_dropped() -> None:
    operation = post({"properties": {"token": {}, "a": {}}, "required": ["token"]}, parameter("key", required=True))
    request = build(operation, {"key": "made up", "token": "made up", "a": 1}, credentials={"key", "token"})
    assert request.credentials == (("query", "key"), ("body", "token"))
    assert request.body == {"a": 1} and "made" not in repr(request)
    whole = build(operation, {"body": {"token": "made up", "a": 1}}, credentials={"key", "token"})
    assert whole == request
    with pytest.raises(CallError, match="`key`"):
        build(operation, {"token": "x"})


def test_a_key_in_the_query_is_not_the_paths_value_of_that_name() -> None:
    scheme = {"k": {"type": "apiKey", "in": "query", "name": "key"}}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"key": {"type": "string"}}}}}}
    paths = {"/issues/{key}": {"put": {"requestBody": body, "security": [{"k": []}]}}}
    document = {"paths": paths, "components": {"securitySchemes": scheme}}
    [operation] = functions_of(document)
    request = build_request(document, operation, '{"key": "A-1", "body_key": "B-2"}', "https://a.example", {"key"})
    assert (request.url, request.body) == ("https://a.example/issues/A-1", {"key": "B-2"})
    assert request.credentials == (("query", "key"),)
    # A scheme that nothing asks for has no place: then it is the body's.
    del paths["/issues/{key}"]["put"]["security"]
    [operation] = functions_of(document)
    request = build_request(document, operation, "{}", "https://a.example", {"key"})
    assert request.url == "https://a.example/issues/{key}" and {place for place, _ in request.credentials} >= {"path"}


@pytest.mark.parametrize(
    ("scheme", "name", "place"),
    [
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, "X-Key", ("header", "X-Key")),
        ({"type": "http", "scheme": "bearer"}, "auth", ("bearer", "auth")),
        ({"type": "http", "scheme": "Basic"}, "auth", ("basic", "auth")),
        ({"type": "oauth2"}, "auth", ("bearer", "auth")),
    ],
)
@pytest.mark.parametrize("level", ["document", "operation"])
def test_security_schemes_say_where_credentials_go(scheme: Any, name: str, place: Any, level: str) -> None:
    item: dict[str, Any] = {"get": {"responses": {}}}
    document = {"paths": {"/cats": item}, "components": {"securitySchemes": {"auth": scheme}}}
    (document if level == "document" else item["get"])["security"] = [{"auth": []}]
    [operation] = functions_of(document)
    assert build(operation, {}, document, credentials={name}).credentials == (place,)
    assert build(operation, {}, document).credentials == ()
    item["get"]["security"] = []  # an operation may do without what the document asks for
    assert build(functions_of(document)[0], {}, document, credentials={name}).credentials == ()


@pytest.mark.parametrize(
    ("there", "sent"),
    [
        ({"X-Key", "app", "token"}, {"X-Key", "app"}),  # both of the first alternative, and nothing else
        ({"X-Key", "token"}, {"token"}),
        ({"app"}, {"app"}),  # none of them can be met
    ],
)
def test_of_alternative_requirements_the_first_that_can_be_met_is(there: set[str], sent: set[str]) -> None:
    keys = {name: {"type": "apiKey", "in": "header", "name": name} for name in ("X-Key", "app")}
    schemes = keys | {"token": {"type": "http", "scheme": "bearer"}}
    get = {"security": [{"X-Key": [], "app": []}, {"token": []}, {}], "responses": {}}
    document = {"paths": {"/cats": {"get": get}}, "components": {"securitySchemes": schemes}}
    made = build(functions_of(document)[0], {}, document, credentials=there)
    assert {name for _, name in made.credentials} == sent


@pytest.mark.parametrize(
    "value",
    [
        "..",
        ".",
        "",
        "../admin",
        "a/../../admin",
        "..\\admin",
        "%2e%2e",
        "%2e%2e%2fadmin",
        "%252e%252e/x",
        "a/..",
        "./a",
    ],
)
def test_a_value_can_not_leave_the_path(value: str) -> None:
    with pytest.raises(CallError, match="`id`"):
        build(get(parameter("id", "path", True), path="/cats/{id}"), {"id": value})


@pytest.mark.parametrize(
    "value", ["a/b", "a?b", "a#b", "a%2fb", "a b", "é", "a;b=c", "//evil.example", "a\r\nb", "@evil", "{x}"]
)
def test_a_value_stays_in_its_segment(value: str) -> None:
    url = build(get(parameter("id", "path", True), path="/cats/{id}/toys"), {"id": value}).url
    parts = urlsplit(url)
    assert (parts.netloc, parts.query, parts.fragment) == ("cats.example", "", "")
    [segment] = re.fullmatch(r"/v1/cats/([^/]+)/toys", parts.path).groups()
    assert unquote(segment) == value


def test_two_values_of_one_segment_make_no_step() -> None:
    for values in (("%2", "e"), ("%2e%2", "E"), (".", ".")):
        with pytest.raises(CallError, match="step"):
            build(get(path="/cats/{a}{b}"), dict(zip("ab", values, strict=True)))
    for path in ("/cats/../admin", "/cats/%2e%2E/admin", "/./{a}"):  # nor does a document
        with pytest.raises(CallError, match="step"):
            build(get(path=path), {"a": "x"})
    assert build(get(path="/cats/{a}-{b}.json"), {"a": "x", "b": 1}).url.endswith("/v1/cats/x-1.json")


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\nb", "a\x00b", "\x7f"])
def test_a_header_can_not_be_broken_out_of(value: str) -> None:
    for where in ("header", "cookie"):
        with pytest.raises(CallError, match="single line"):
            build(get(parameter("X-Trace", where)), {"X-Trace": value})


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Cookie", "Connection"])
def test_headers_of_the_client_are_not_the_models(name: str) -> None:
    assert build(get(parameter(name, "header")), {name: "x"}).headers == {}


@pytest.mark.parametrize(
    "server",
    [
        "",
        "cats.example",
        "ftp://cats.example",
        "https://user@cats.example",
        "https://",
        "https://[::1",
        "https://a b/",
        "https://{tenant}.cats.example",
        "https://cats.example/{tenant}/v1",
        "https://cats.example:{port}",
    ],
)
def test_a_server_that_is_none_is_the_documents_fault(server: str) -> None:
    with pytest.raises(ToolAlpacaError, match="server") as error:
        build_request({}, get(), "{}", server)
    assert not isinstance(error.value, CallError)


def test_a_required_list_cannot_be_empty_in_a_query() -> None:
    lists = parameter("x", required=True, type="array"), parameter("y", type="array")
    assert build(get(*lists), {"x": ["a"], "y": []}).url == f"{SERVER}cats?x=a"
    with pytest.raises(CallError, match="`x`"):
        build(get(*lists), {"x": []})
    page = {"page": {"type": "integer"}}  # an object of which every field may be left out
    assert build(get(parameter("x", required=True, type="object", properties=page)), {"x": {}}).url == f"{SERVER}cats"


def test_a_slash_may_be_missing_and_a_query_may_be_part_of_the_path() -> None:
    assert build(get(path="cats"), {}).url == "https://cats.example/v1/cats"
    operation = get(parameter("q"), path="/find?kind=cat&name={name}")
    assert build(operation, {"q": 1, "name": "a&b"}).url == "https://cats.example/v1/find?kind=cat&name=a%26b&q=1"


def test_published_golden_calls_are_requests(published_apis: list[dict[str, Any]]) -> None:
    """All but those that hold a placeholder, and one that names a parameter the document has not."""
    built, refused = 0, []
    for api in published_apis:
        document = load_document(api["Documentation"])
        operations = {operation.name: operation for operation in functions_of(document, api["Function_Projection"])}
        for call in (call for golden in api.get("Golden_Answers", []) for call in golden):
            if call["Action"] in operations:
                try:
                    request = build_request(
                        document,
                        operations[call["Action"]],
                        call["Action_Input"],
                        servers_of(document)[0],
                        set(api.get("Authentication", ())),
                    )
                except CallError as error:
                    refused.append((call["Action_Input"], str(error)))
                else:
                    built += 1
                    assert "***" not in unquote(request.url)
    unparsable = [words for words, sentence in refused if "not valid JSON" in sentence]
    assert all("${" in words or '"symbols": "symbols"' in words for words in unparsable)
    assert [sentence for _, sentence in refused if "not valid JSON" not in sentence] == [
        "Missing required `query` (string). searchAnime has no parameter `filter`. Change the Action Input and try "
        "again."
    ]
    assert (built, len(unparsable)) == (245, 36)


given_values = st.sampled_from(["1", "a", "", "true", 1, 1.5, None, True, ["1"], {"a": "1"}])
given_values |= anything.filter(lambda value: "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value))
every_name = st.fixed_dictionaries(
    dict.fromkeys(("a", "b", "id", "X-Y"), given_values), optional={"body": given_values}
)
some_names = st.dictionaries(
    st.sampled_from(["a", "id", "requestBody"]) | st.text(max_size=4), given_values, max_size=5
)
no_object = st.text(max_size=30) | anything.map(json.dumps)
inputs_of_objects = st.sampled_from([every_name, every_name, some_names]).flatmap(
    lambda values: values.map(json.dumps)
)
inputs = st.integers(0, 3).flatmap(lambda n: no_object if n == 3 else inputs_of_objects)
names = st.sampled_from(["a", "b", "id"])
templates = st.lists(
    st.sampled_from(["cats", "v1", "x-1.json"]) | names.map("{{{}}}".format) | names.map("p{{{}}}s".format),
    min_size=1, max_size=5
).map("/".join)  # fmt: skip
values = (
    st.text(max_size=12) | st.sampled_from(["..", ".", "%2e%2e", "/", "\\", "../..", "%2F", "?", "#", ";"]) | anything
)


def escape_nothing(document: dict[str, Any], text: str) -> None:
    for operation in functions_of(document):
        try:
            request = build_request(document, operation, text, SERVER, {"a"})
            encode_body(request)
        except CallError as error:
            assert "\n" not in str(error) and len(str(error)) < 20_000
            continue
        parts = urlsplit(request.url)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "cats.example", "") and request.url.isascii()
        assert not any(re.search(r"[\x00-\x1f\x7f]", value) for value in request.headers.values())


def keep_the_template(template: str, arguments: dict[str, Any]) -> None:
    """The fixed parts stay, segment by segment, however often a server decodes."""
    try:
        request = build(get(path=f"/{template}"), json.dumps(arguments))
    except CallError:
        return
    segments, wanted = urlsplit(request.url).path.split("/"), f"/v1/{template}".split("/")
    assert len(segments) == len(wanted)
    for segment, pattern in zip(segments, wanted, strict=True):
        head, _, rest = pattern.partition("{")
        assert (
            segment.startswith(head) and segment.endswith(rest.partition("}")[2]) and len(segment) > 0
        ) or not pattern
        assert unquote(unquote(segment)) not in (".", "..")
    assert not urlsplit(request.url).query and not urlsplit(request.url).fragment


FAST = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
THOROUGH = settings(FAST, max_examples=10_000)
arguments = st.dictionaries(names, values, min_size=1, max_size=3)


@FAST
@given(st.integers(0, 4).flatmap(lambda n: documents if n == 4 else callable_documents), inputs)
def test_only_call_errors_escape_the_builder(document: dict[str, Any], text: str) -> None:
    escape_nothing(document, text)


@FAST
@given(templates, arguments)
def test_no_input_leaves_the_path_template(template: str, given_: dict[str, Any]) -> None:
    keep_the_template(template, given_)


@pytest.mark.slow
@THOROUGH
@given(st.integers(0, 4).flatmap(lambda n: documents if n == 4 else callable_documents), inputs)
def test_only_call_errors_escape_the_builder_at_length(document: dict[str, Any], text: str) -> None:
    escape_nothing(document, text)


@pytest.mark.slow
@THOROUGH
@given(templates, arguments)
def test_no_input_leaves_the_path_template_at_length(template: str, given_: dict[str, Any]) -> None:
    keep_the_template(template, given_)


def test_queries_are_read_back_as_they_were_given() -> None:
    operation = get(*(parameter(name) for name in ("a", "b c", "d[]")))
    given_ = {"a": "x+y z", "b c": "%20&=", "d[]": "ü#"}
    assert dict(parse_qsl(urlsplit(build(operation, given_).url).query, strict_parsing=True)) == given_


def test_a_dot_in_a_value_of_a_label_is_none_between_two() -> None:
    operation = get(parameter("x", "path", style="label", type="array"), path="/cats/{x}")
    assert build(operation, {"x": ["1.5", "b"]}).url.endswith("/cats/.1%2E5,b")


@pytest.mark.parametrize(("raw", "items"), [("a%7Cb|c", ["a|b", "c"]), ("a%7Cb%7Cc", ["a", "b", "c"])])
def test_a_pipe_in_a_value_is_told_from_plain_ones_between_values(raw: str, items: list[str]) -> None:
    assert read_joined(raw, {"style": "pipeDelimited"}, "array") == items


@pytest.mark.parametrize(
    ("where", "schema", "value"),
    [
        ("header", {"type": "array"}, ["a,b"]),
        ("header", {"type": "object"}, {"a": [1, 2]}),
        ("query", {"type": "array", "style": "pipeDelimited"}, ["a|b"]),
        ("query", {"type": "array", "style": "spaceDelimited"}, ["a b", "c"]),
        ("query", {"type": "object", "style": "spaceDelimited"}, {"a b": 1}),
    ],
)
def test_what_a_style_cannot_hold_is_told(where: str, schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(CallError, match="between its values"):
        build(get(parameter("X-List", where, **schema)), {"X-List": value})
    assert build(get(parameter("X-List", "header", type="array")), {"X-List": ["a", "b"]}).headers == {"X-List": "a,b"}
