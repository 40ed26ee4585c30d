"""Further kinds of what real documents hold: nested lists in queries, inherited tags, ids in schemas, old lists."""

from typing import Any

import pytest
from test_whole_documents import answers, call, client_of, document, operation_of, parameter, tool_of

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import build_request, describe, functions_of, load_document

INTEGER, TEXT = {"type": "integer"}, {"type": "string"}
ITEM = {
    "type": "object",
    "required": ["a"],
    "properties": {"a": INTEGER, "words": {"type": "array", "items": TEXT}},
}
INNER = {"type": "object", "properties": {"on": {"type": "boolean"}}}
FILTER = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": ITEM},
        "counts": {"type": "object", "additionalProperties": INTEGER},
        "inner": {"type": "object", "properties": {"deep": INNER}},
        "word": TEXT,
    },
}


def deep(schema: dict[str, Any]) -> dict[str, Any]:
    found = answers({"type": "object", "required": ["f"], "properties": {"f": schema}})
    query = parameter("f", "query", schema, style="deepObject", explode=True)
    return document({"/p": {"get": {"operationId": "g", "parameters": [query], "responses": found}}})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (FILTER, {"items": [{"a": 1, "words": ["x", "y"]}, {"a": 2}]}),
        (FILTER, {"items": [{"a": place} for place in range(12)]}),
        (FILTER, {"items": [], "word": "x"}),
        # Names that are numbers make no list where the schema has an object.
        (FILTER, {"counts": {"0": 5, "1": 6}, "word": ""}),
        (FILTER, {"inner": {"deep": {"on": True}}}),
        ({"type": "array", "items": ITEM}, [{"a": 1}, {"a": 2, "words": ["b"]}]),
        ({"type": "array", "items": INTEGER}, [3, 4]),
    ],
)
def test_a_deep_object_arrives_as_it_was(schema: dict[str, Any], value: Any):
    got = call(deep(schema), "g", {"f": value})
    assert got.status_code == 200 and got.json()["f"] == value


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("f[items][0][a]=1&f[items][1][a]=2", {"items": [{"a": 1}, {"a": 2}]}),
        ("f[items][][a]=1", {"items": [{"a": 1}]}),
        ("f[items][0][a]=1&f[items][0][words]=x&f[items][0][words]=y", {"items": [{"a": 1, "words": ["x", "y"]}]}),
        ("f[items]=", {"items": []}),
        ("f[counts]=", {"counts": {}}),
    ],
)
def test_other_clients_write_deep_objects_as_well(query: str, value: Any):
    got = client_of(deep(FILTER)).get(f"/t/p?{query}")
    assert got.status_code == 200 and got.json()["f"] == value


def test_a_wrong_item_of_a_deep_object_is_refused():
    got = client_of(deep({"type": "array", "items": ITEM})).get("/t/p?f[0][a]=1&f[1][words]=x")
    assert got.status_code == 400 and "`f[1].a`" in got.text


@pytest.mark.parametrize("tags", [{"cat": "#/components/schemas/Cat", "dog": "Dog"}, None])
def test_a_schema_that_inherits_a_discriminator_has_its_own_tag(tags: dict[str, str] | None):
    discriminator = {"propertyName": "kind"} | ({"mapping": tags} if tags else {})
    pet = {"type": "object", "required": ["kind"], "properties": {"kind": TEXT}, "discriminator": discriminator}
    own = {"Cat": {"lives": INTEGER}, "Dog": {"barks": {"type": "boolean"}}}
    schemas = {"Pet": pet} | {
        name: {
            "allOf": [
                {"$ref": "#/components/schemas/Pet"},
                {"type": "object", "required": [*named], "properties": named},
            ]
        }
        for name, named in own.items()
    }
    cat, dog = ("cat", "dog") if tags else ("Cat", "Dog")
    refs = {name: {"$ref": f"#/components/schemas/{name}"} for name in schemas}
    body = {"required": True, "content": {"application/json": {"schema": refs["Dog"]}}}
    either = {"type": "array", "minItems": 4, "items": {"oneOf": [refs["Cat"], refs["Dog"]]}}
    doc = document(
        {
            "/cats": {"get": {"operationId": "cat", "responses": answers(refs["Cat"])}},
            "/dogs": {"post": {"operationId": "dog", "requestBody": body, "responses": answers(refs["Pet"])}},
            "/pets": {"get": {"operationId": "pets", "responses": answers(either)}},
        },
        components={"schemas": schemas},
    )
    assert call(doc, "cat", {}).json()["kind"] == cat
    assert {("lives" in pet, pet["kind"]) for pet in call(doc, "pets", {}).json()} <= {(True, cat), (False, dog)}
    assert tool_of(doc, "dog")["parameters"]["properties"]["kind"]["default"] == dog
    made = call(doc, "dog", {"kind": dog, "barks": True})
    assert made.status_code == 200 and made.json()["kind"] in ([*tags] if tags else ["Pet", dog])
    doc["paths"]["/dogs"]["post"]["requestBody"]["content"]["application/json"]["schema"] = refs["Pet"]
    shown = tool_of(doc, "dog")["parameters"]["properties"]
    assert set(shown) == {"kind", "lives", "barks"} and {cat, dog} <= {*shown["kind"]["enum"]}
    assert "default" not in shown["kind"] and '"lives": "integer.' in describe(doc).function_description["dog"]
    assert call(doc, "dog", {"kind": cat, "lives": 9}).request.content == b'{"kind": "%b", "lives": 9}' % cat.encode()
    with pytest.raises(ToolAlpacaError, match="lives"):
        call(doc, "dog", {"kind": cat})
    assert client_of(doc).post("/t/dogs", json={"kind": dog}).status_code == 400
    schemas["Pet"]["discriminator"]["mapping"] = {"cat": "no-such-schema"}
    assert set(tool_of(doc, "dog")["parameters"]["properties"]) == {"kind"}
    schemas["Pet"]["discriminator"] = {}
    assert set(tool_of(doc, "dog")["parameters"]["properties"]) == {"kind"}


def test_ids_in_the_examples_of_schemas_exist():
    user = {
        "type": "object",
        "properties": {"id": {"type": "string", "example": "usr_77"}, "name": TEXT},
        "example": {"id": "usr_99", "name": "Ann"},
    }
    ref = {"$ref": "#/components/schemas/User"}
    users = {"type": "object", "properties": {"items": {"type": "array", "items": ref}}}
    one = [parameter("userId", "path", TEXT)]
    steam = parameter("steamId", "query", INTEGER | {"example": 76561197960435530})
    doc = document(
        {
            "/users": {"get": {"responses": answers(users)}},
            "/users/{userId}": {"get": {"parameters": one, "responses": answers(ref)}},
            "/games": {"get": {"parameters": [steam], "responses": answers(INTEGER)}},
        },
        components={"schemas": {"User": user}},
    )
    client = client_of(doc)
    for shown in ("usr_77", "usr_99"):
        assert client.get(f"/t/users/{shown}").json()["id"] == shown
    assert client.get("/t/users/usr_1").status_code == 404
    assert client.get("/t/games?steamId=76561197960435530").status_code == 200
    assert client.get("/t/games?steamId=76561197960435531").status_code == 404


def test_lists_of_swagger_2_that_nothing_in_openapi_3_separates_are_named():
    def listed(where: str, how: str) -> dict[str, Any]:
        return {"name": f"{where}{how}", "in": where, "type": "array", "items": TEXT, "collectionFormat": how}

    query = [listed("query", how) for how in ("csv", "ssv", "pipes", "multi", "tsv")]
    form = [listed("formData", how) for how in ("pipes", "tsv")]
    operation = {"parameters": [*query, *form, listed("header", "pipes")], "responses": {"200": {"description": "ok"}}}
    old = {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": {"/x": {"post": operation}}}
    lost = load_document(old)["x-not-converted"]
    assert [sentence.split("`")[1] for sentence in lost] == ["querytsv", "headerpipes", "formDatatsv"]


PAIRS = {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": INTEGER}
NULL = {"anyOf": [INTEGER, {"type": "null"}]}


@pytest.mark.parametrize(
    ("media", "encoding", "schema", "value"),
    [
        (
            "application/x-www-form-urlencoded",
            {"explode": False},
            {"type": "array", "items": TEXT},
            ["x", "y,z", "%2C"],
        ),
        ("application/x-www-form-urlencoded", {"explode": False}, {"type": "array", "items": TEXT}, ["y,z", "a b"]),
        ("application/x-www-form-urlencoded", {"contentType": "application/json"}, ITEM, {"a": 1, "words": ["x"]}),
        ("application/x-www-form-urlencoded", {}, PAIRS, {"a": 1, "b": 2}),
        ("application/x-www-form-urlencoded", {}, NULL, None),
        ("multipart/form-data", {}, NULL, None),
        ("multipart/form-data", {}, {"type": "array", "items": TEXT}, ["y,z"]),
        ("multipart/form-data", {"contentType": "application/json"}, ITEM, {"a": 1, "words": ["x"]}),
        ("application/xml", {}, NULL, None),
    ],
)
def test_a_field_of_a_body_arrives_as_it_was(media: str, encoding: dict[str, Any], schema: Any, value: Any):
    form = {"type": "object", "required": ["f"], "properties": {"f": schema, "g": TEXT}}
    body = {"content": {media: {"schema": form, "encoding": {"f": encoding}}}}
    doc = document({"/x": {"post": {"operationId": "x", "requestBody": body, "responses": answers(form)}}}, "3.1.0")
    got = call(doc, "x", {"f": value, "g": "1,2"})
    assert got.status_code == 200 and got.json() == {"f": value, "g": "1,2"}
    assert "json" not in str(encoding) or b"words%22%3A" in got.request.content or b'"words"' in got.request.content


def test_half_a_surrogate_pair_in_a_multipart_form_breaks_nothing():
    body = {"content": {"multipart/form-data": {"schema": {"type": "object", "properties": {"f": TEXT}}}}}
    client = client_of(document({"/x": {"post": {"requestBody": body, "responses": answers(TEXT)}}}))
    sent = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n+2AA-\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b; charset=utf-7"}  # half a surrogate pair
    assert client.post("/t/x", content=sent, headers=kind).status_code == 200


def test_several_values_in_a_segment_arrive_as_they_were():
    names, query = ("a", "b", "c"), parameter("c", "path", {"type": "array", "items": TEXT}, required=True)
    path = [parameter(name, "path", TEXT, required=True) for name in names[:2]] + [query]
    fields = {"a": TEXT, "b": TEXT, "c": query["schema"]}
    found = answers({"type": "object", "required": [*names], "properties": fields})
    doc = document({"/m é/{a},{b}.png/{c}": {"get": {"operationId": "x", "parameters": path, "responses": found}}})
    given = {"a": "1,5%2C", "b": "x.png,%", "c": ["p,q", "%41"]}
    assert call(doc, "x", given).json() == given
    assert client_of(doc).get("/t/m%20%C3%A9/1%2C2%2Epng/q").json() == {"a": "1", "b": "2", "c": ["q"]}


def test_headers_that_no_caller_can_send_are_not_asked_for():
    headers = [parameter(name, "header", TEXT, required=True) for name in ("Cookie", "Range", "X-Own")]
    doc = document({"/x": {"get": {"operationId": "x", "parameters": headers, "responses": answers(TEXT)}}})
    assert call(doc, "x", {"Cookie": "a=b", "Range": "bytes=0-1", "X-Own": "y"}).status_code == 200
    assert client_of(doc).get("/t/x").status_code == 400


def test_fields_that_an_open_object_in_a_query_does_not_declare_arrive():
    schema = {"type": "object", "required": ["a"], "properties": {"a": INTEGER}, "additionalProperties": {}}
    query, said = parameter("f", "query", schema), answers({"type": "object", "properties": {"f": schema}})
    doc = document({"/x": {"get": {"operationId": "x", "parameters": [query], "responses": said}}})
    assert call(doc, "x", {"f": {"a": 1, "b": "x"}}).json() == {"f": {"a": 1, "b": "x"}}


def test_a_range_of_media_types_is_answered_with_one_of_them():
    said = {"200": {"description": "ok", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}
    doc = document({"/x": {"get": {"operationId": "x", "responses": said}}})
    assert call(doc, "x", {}).headers["content-type"] == "image/png"


def test_what_may_be_null_in_swagger_2_may_be():
    body = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "x-nullable": True}}}
    operation = {
        "operationId": "s",
        "parameters": [{"name": "b", "in": "body", "required": True, "schema": body}],
        "responses": {"200": {"description": "ok"}},
    }
    old = {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": {"/x": {"post": operation}}}
    assert tool_of(old, "s")["parameters"]["properties"]["a"]["nullable"] is True
    assert call(old, "s", {"a": None}).status_code == 200
    assert operation_of(old, "s").body.required


def replies(field: str) -> dict[str, Any]:
    return {"operationId": field, "responses": answers({"type": "object", "required": [field]})}


@pytest.mark.parametrize(
    ("paths", "path"),
    [
        (("/v1/{name}", "/v1/{name}:cancel"), "/v1/x:cancel"),
        (("/v1/{a}.{b}", "/v1/{a}.json"), "/v1/x.json"),
        (("/v1/{x}", "/v1/{a}.{b}"), "/v1/x.y"),
        (("/v1/pets", "/v1/pets/"), "/v1/pets/"),
        (("/v1/pets/", "/v1/pets"), "/v1/pets"),
        (("/v1/{x}/", "/v1/{x}"), "/v1/7"),
    ],
)
def test_the_template_that_says_more_answers(paths: tuple[str, str], path: str):
    doc = document({paths[0]: {"get": replies("other")}, paths[1]: {"get": replies("wanted")}})
    client = client_of(doc)
    assert list(client.get(f"/t{path}").json()) == ["wanted"]
    assert set(load_document(doc)["paths"]) == set(paths)
    projection = {name: [path, "get"] for name, path in zip(("other", "wanted"), paths, strict=True)}
    assert [one.declared["operationId"] for one in functions_of(doc, projection)] == ["other", "wanted"]


@pytest.mark.parametrize(
    ("media", "value", "sent"),
    [
        ("application/octet-stream", "abc", b"abc"),
        ("text/plain", "abc", b"abc"),
        ("application/json", {"a": [1, None]}, b'{"a": [1, null]}'),
        ("*/*", "abc", b"abc"),
        ("*/*", {"a": 1}, b'{"a": 1}'),
    ],
)
def test_a_body_without_a_schema_is_sent(media: str, value: Any, sent: bytes):
    body = {"required": True, "content": {media: {}}}
    doc = document({"/x": {"put": {"operationId": "x", "requestBody": body, "responses": answers(TEXT)}}}, "3.1.0")
    assert tool_of(doc, "x")["parameters"]["required"] == ["body"]
    response = call(doc, "x", {"body": value})
    assert response.status_code == 200
    assert response.request.content == sent
    assert "*" not in response.request.headers["content-type"]


ROW = {"type": "object", "required": ["name"], "properties": {"n": INTEGER, "name": TEXT}}


@pytest.mark.parametrize(
    ("media", "sent"),
    [
        ("text/csv", b'n,name\r\n1,"a,b"\r\n,\r\n'),
        ("application/x-ndjson", b'{"n": 1, "name": "a,b"}\n{"name": ""}\n'),
    ],
)
def test_rows_are_sent_and_checked_by_their_media_type(media: str, sent: bytes):
    body = {"required": True, "content": {media: {"schema": {"type": "array", "items": ROW}}}}
    rows = {"200": {"description": "ok", "content": {media: {"schema": {"type": "array", "items": ROW}}}}}
    doc = document({"/x": {"put": {"operationId": "x", "requestBody": body, "responses": rows}}})
    response = call(doc, "x", {"body": [{"n": 1, "name": "a,b"}, {"name": ""}]})
    assert (response.status_code, response.request.content) == (200, sent)
    assert len(response.text.splitlines()) > 1 and response.headers["content-type"].startswith(media)
    wrong = sent.replace(b"1", b"one") if media == "text/csv" else sent.replace(b"1", b'"one"')
    assert client_of(doc).put("/t/x", content=wrong, headers={"Content-Type": media}).status_code == 400


def test_examples_do_not_show_what_is_hidden():
    user = {
        "type": "object",
        "properties": {"name": TEXT, "secret": TEXT | {"writeOnly": True}, "id": INTEGER | {"readOnly": True}},
        "example": {"name": "Ann", "secret": "s", "id": 3},
    }
    ref, shown = {"$ref": "#/components/schemas/User"}, {"name": "Bo", "secret": "s", "id": 3}
    media = {"application/json": {"schema": {"type": "array", "items": ref}, "example": [shown]}}
    doc = document(
        {
            "/a": {"get": {"responses": {"200": {"description": "ok", "content": media}}}},
            "/b": {"get": {"responses": answers({"type": "object", "required": ["of"], "properties": {"of": ref}})}},
            "/c": {"post": {"requestBody": {"content": media | {"application/json": {"schema": ref}}}}},
        },
        components={"schemas": {"User": user}},
    )
    client = client_of(doc)
    assert client.get("/t/a").json() == [{"name": "Bo", "id": 3}]
    assert client.get("/t/b").json() == {"of": {"name": "Ann", "id": 3}}
    described = describe(doc)
    assert '"secret"' in described.function_description["c_post"]
    assert '"id"' not in described.function_description["c_post"]
    assert described.function_description["components"].endswith("#User: Object{name, id}")


def test_declared_errors_are_answered_as_they_are_shown():
    shown = {"code": 17, "problem": "no"}
    errors = {"type": "object", "properties": {"errors": {"type": "array", "items": {"properties": {"detail": TEXT}}}}}
    xml = {"type": "object", "xml": {"name": "Err"}, "properties": {"message": TEXT | {"xml": {"attribute": True}}}}
    declared = [
        {"application/problem+json": {"example": shown}},
        {"application/json": {"schema": errors}},
        {"application/xml": {"schema": xml}},
        {"text/plain": {"examples": {"one": {"value": "No."}}}},
    ]
    needed = [parameter("q", "query", INTEGER)]
    paths = {
        f"/{place}": {"get": {"parameters": needed, "responses": {"400": {"description": "bad", "content": content}}}}
        for place, content in enumerate(declared)
    }
    found = [client_of(document(paths)).get(f"/t/{place}?q=x") for place in range(4)]
    assert [reply.status_code for reply in found] == [400] * 4
    assert found[0].json() == shown
    assert all("integer" in error["detail"] for error in found[1].json()["errors"])
    assert found[2].text.startswith('<Err message="Invalid parameter q')
    assert found[3].text == "No."
    # What is shown for any status says nothing of this one.
    media = {"application/json": {"schema": {"properties": {"message": TEXT}}, "example": {"message": "Too many."}}}
    other = {"get": {"parameters": needed, "responses": {"default": {"description": "bad", "content": media}}}}
    assert "q" in client_of(document({"/x": other})).get("/t/x?q=x").json()["message"]


def test_ids_that_are_shown_anywhere_exist():
    item = {"type": "object", "properties": {"id": TEXT, "n": INTEGER}}
    one = parameter("id", "path", TEXT, description="The id, e.g. `said`.", **{"x-example": "old"})
    asked = {"content": {"application/json": {"schema": item, "example": {"id": "asked", "n": 1}}}}
    made = {"content": {"application/json": {"schema": item, "example": {"id": "made", "n": 1}}}, "description": ""}
    client = client_of(
        document(
            {
                "/albums/{id}": {"get": {"parameters": [one], "responses": answers(item)}},
                "/albums": {"post": {"requestBody": asked, "responses": {"201": made}}},
            }
        )
    )
    assert [client.get(f"/t/albums/{id}").json()["id"] for id in ("said", "old", "asked", "made")] == [
        "said",
        "old",
        "asked",
        "made",
    ]
    assert client.get("/t/albums/unsaid").status_code == 404
    # By its type, and once.
    for said, count in (("The id, e.g. `123`.", 8), ('For example "latest".', 8)):
        one = parameter("id", "path", INTEGER | {"example": 123}, description=said)
        item = {"type": "object", "properties": {"id": INTEGER}}
        paths = {"/albums/{id}": {"get": {"parameters": [one], "responses": answers(item)}}}
        paths["/albums"] = {"get": {"responses": answers({"type": "array", "items": item})}}
        client = client_of(document(paths))
        ids = [album["id"] for album in client.get("/t/albums").json()]
        assert len(set(ids)) == count and all(client.get(f"/t/albums/{id}").status_code == 200 for id in ids)


@pytest.mark.parametrize(
    ("said", "servers"),
    [
        ({"host": "https://a.example/", "basePath": "/v1"}, ["https://a.example/v1"]),
        ({"host": "http://a.example"}, ["http://a.example"]),
        ({"host": "a.example", "basePath": "https://a.example/v1/"}, ["https://a.example/v1"]),
        ({"host": " a.example:8080 ", "schemes": "HTTP"}, ["http://a.example:8080"]),
        ({"basePath": "v1"}, ["/v1"]),
        ({"host": "a.example", "basePath": "//api/v1"}, ["https://a.example/api/v1"]),
        ({"host": "localhost:8080"}, ["http://localhost:8080"]),
        ({"host": "localhost.example"}, ["https://localhost.example"]),
    ],
)
def test_servers_of_swagger_2_however_they_are_written(said: dict[str, Any], servers: list[str]):
    found = load_document({"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": {}} | said)
    assert [server["url"] for server in found["servers"]] == servers and "x-not-converted" not in found


def test_examples_of_swagger_2():
    response = {"description": "ok", "schema": ITEM, "examples": {"application/json": {"a": 77}}}
    operation = {"operationId": "g", "produces": ["application/json; charset=utf-8"], "responses": {"200": response}}
    old = {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": {"/x": {"get": operation}}}
    old["definitions"] = {"A": {"type": "object", "example": {"discriminator": "x"}}}
    assert call(old, "g", {}).json() == {"a": 77}
    assert load_document(old)["components"]["schemas"]["A"]["example"] == {"discriminator": "x"}


def test_what_is_beside_the_reference_of_a_path_counts():
    shared = {"get": {"operationId": "read", "responses": answers(TEXT)}}
    beside = {"parameters": [parameter("q", "query", INTEGER)], "post": replies("made")}
    for version in ("3.1.0", "3.2.0"):
        doc = document({"/a": {"$ref": "#/components/pathItems/A"} | beside}, version)
        doc["components"] = {"pathItems": {"A": shared}, "schemas": {"I": ITEM}}
        doc["paths"]["/b"] = {"get": {"operationId": "b", "responses": answers({"$ref": "#/components/schemas/I"})}}
        schema = doc["paths"]["/b"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        schema |= {"required": ["extra"]}
        assert [one.name for one in functions_of(doc)] == ["read", "made", "b"]
        assert tool_of(doc, "read")["parameters"]["required"] == ["q"]
        assert call(doc, "made", {"q": 3}).status_code == 200
        assert {"a", "extra"} <= set(call(doc, "b", {}).json())


def test_an_operation_of_openapi_3_2_with_its_own_method():
    body = {"required": True, "content": {"application/json": {"schema": ITEM}}}
    doc = document({"/x": {"query": replies("found") | {"requestBody": body}}}, "3.2.0")
    response = call(doc, "found", {"a": 1})
    assert (response.status_code, response.request.method) == (200, "QUERY")
    assert client_of(doc).request("QUERY", "/t/x", json={"a": "x"}).status_code == 400


@pytest.mark.parametrize("schema", [None, ITEM, TEXT])
def test_an_example_of_json_that_is_written_as_a_text(schema: Any):
    media = {"application/json": {"example": '{"a": 5}'} | ({"schema": schema} if schema else {})}
    doc = document({"/x": {"get": {"responses": {"200": {"description": "ok", "content": media}}}}})
    assert client_of(doc).get("/t/x").json() == ('{"a": 5}' if schema is TEXT else {"a": 5})


def test_a_range_of_redirects_is_one():
    doc = document({"/x": {"get": {"responses": {"3XX": {"description": "elsewhere"}, "404": {"description": "no"}}}}})
    assert client_of(doc).get("/t/x").status_code == 302


def test_totals_of_a_list_are_those_of_all_its_pages():
    item = {"type": "object", "properties": {"id": INTEGER}}
    fields = {"items": {"type": "array", "items": item}, "total": INTEGER, "count": INTEGER, "totalPages": INTEGER}
    fields |= {"hasMore": {"type": "boolean"}, "next": {"type": ["string", "null"]}}
    queries = [parameter(name, "query", INTEGER, required=False) for name in ("limit", "page")]
    page = answers({"type": "object", "required": list(fields), "properties": fields})
    one = {"parameters": [parameter("id", "path", INTEGER)], "responses": answers(item)}
    doc = document({"/a": {"get": {"parameters": queries, "responses": page}}, "/a/{id}": {"get": one}}, "3.1.0")
    client = client_of(doc)
    for asked, shown, pages, more in (("", 8, 1, False), ("?limit=3", 3, 3, True), ("?limit=3&page=3", 2, 3, False)):
        found = client.get(f"/t/a{asked}").json()
        assert [len(found["items"]), found["count"], found["total"]] == [shown, shown, 8]
        assert [found["totalPages"], found["hasMore"], found["next"] is not None] == [pages, more, more]


def test_references_of_swagger_2_that_lead_on_and_on():
    link = "#/paths/~1p{}/get/responses/200/schema"
    paths = {
        f"/p{n}": {
            "get": {"responses": {"200": {"description": "", "schema": {"items": {"$ref": link.format(n + 1)}}}}}
        }
        for n in range(400)
    }
    found = load_document({"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": paths})
    assert len(found["components"]["schemas"]) == 399


def test_references_into_the_operations_of_swagger_2():
    pet = {"type": "object", "required": ["n"], "properties": {"n": INTEGER, "next": {}}}
    place = "#/paths/~1a/post/parameters/1/schema"
    pet["properties"]["next"] = {"$ref": place}
    of_body = {"name": "b", "in": "body", "required": True, "schema": pet}
    made = {"200": {"description": "ok", "schema": {"$ref": "#/definitions/Pet"}}}
    first = {"parameters": [{"name": "q", "in": "query", **INTEGER}, of_body], "responses": made}
    refs = [place, "#/parameters/P/schema", "#/paths/~1a/post/responses/200/schema", "#/responses/R/schema"]
    paths = {
        f"/{number}": {
            "post": {
                "operationId": f"p{number}",
                "parameters": [{"$ref": "#/paths/~1a/post/parameters/0"}, of_body | {"schema": {"$ref": ref}}],
                "responses": {"200": {"description": "ok", "schema": {"$ref": ref}}},
            }
        }
        for number, ref in enumerate(refs)
    }
    old = {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": {"/a": {"post": first}} | paths}
    old |= {"definitions": {"Pet": pet}, "parameters": {"P": of_body}, "responses": {"R": made["200"]}}
    client = client_of(old)
    for number in range(len(refs)):
        assert tool_of(old, f"p{number}")["parameters"]["required"] == ["n"]
        assert client.post(f"/t/{number}", json={"n": 1, "next": {"n": "x"}}).status_code == 400
        assert client.post(f"/t/{number}?q=1", json={"n": 77}).json()["n"] == 77
    assert "components/schemas/Pet" in str(load_document(old)["paths"]["/2"])


WHO = {"type": "object", "properties": {"name": TEXT, "age": INTEGER, "who": TEXT}}


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "multipart/mixed", "query", "cookie"])
@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"name": TEXT, "who": WHO}, {"name": "a", "who": {"name": "b", "age": 3}}),
        ({"name": TEXT, "who": WHO}, {"who": {"name": "b"}}),
        ({"name": TEXT, "who": WHO}, {"name": "a", "who": {"age": 3}}),
        ({"who": WHO}, {"who": {"who": "c"}}),
        ({"one": WHO, "two": WHO}, {"one": {"name": "a"}, "two": {"name": "b"}}),
        ({"one": WHO, "two": WHO}, {"two": {"name": "b"}}),
    ],
)
def test_an_object_is_not_spread_over_another_field(media: str, fields: dict[str, Any], value: dict[str, Any]):
    whole = {"type": "object", "properties": fields}
    operation: dict[str, Any] = {"operationId": "p", "responses": answers(whole | {"required": [*fields]})}
    if media in ("query", "cookie"):
        operation["parameters"] = [parameter(name, media, of) | {"required": False} for name, of in fields.items()]
    else:
        operation["requestBody"] = {"required": True, "content": {media: {"schema": whole}}}
    got = call(document({"/p": {"post": operation}}), "p", value)
    assert got.status_code == 200 and {name: got.json()[name] for name in value} == value
    assert "/" not in media or got.request.headers["content-type"].startswith(media)


def test_multipart_bodies_are_checked_and_have_named_parts():
    body = {"content": {"multipart/related": {"schema": {"type": "object", "properties": {"n": INTEGER}}}}}
    doc = document({"/x": {"post": {"operationId": "x", "requestBody": body, "responses": answers(TEXT)}}})
    part = b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\nz\r\n--x--\r\n'
    for kind in ("Multipart/Related; boundary=x", "multipart/mixed; boundary=x"):
        assert client_of(doc).post("/t/x", content=part, headers={"content-type": kind}).status_code == 400
    for media in ("multipart/related", "application/x-www-form-urlencoded"):
        body["content"] = {media: {"schema": {"type": "array", "items": INTEGER}}}
        with pytest.raises(ToolAlpacaError):
            call(doc, "x", {"body": [1]})
    body["content"] = {"application/yaml": {"schema": {"type": "object", "properties": {"n": INTEGER}}}}
    body["content"] |= {"application/json, application/xml": body["content"].pop("application/yaml")}
    assert call(doc, "x", {"n": 1}).request.headers["content-type"] == "application/json"
    body["content"] = {"application/yaml": {"schema": {"type": "object", "properties": {"n": INTEGER}}}}
    request = call(doc, "x", {"n": 1}).request
    assert (request.headers["content-type"], request.content) == ("application/yaml", b'{"n": 1}')


@pytest.mark.parametrize("spelled", ["petid", "pet_id", "PetId"])
def test_a_path_parameter_that_is_spelled_otherwise_is_asked_for_once(spelled: str):
    found = answers({"type": "object", "required": ["petId"], "properties": {"petId": INTEGER}})
    get = {"operationId": "g", "responses": found}
    doc = document({"/p/{petId}/of/{pet}": {"parameters": [parameter(spelled, "path", INTEGER)], "get": get}})
    assert tool_of(doc, "g")["parameters"]["required"] == [spelled, "pet"]
    assert call(doc, "g", {spelled: 5, "pet": "x"}).json() == {"petId": 5}
    assert client_of(doc).get("/t/p/x/of/y").status_code == 400
    for path in ("/p/{petId:int}/of/{pet}", f"/p/:{spelled}/of/{{pet}}"):
        doc["paths"] = {path: doc["paths"].popitem()[1]}
        assert call(doc, "g", {spelled: 5, "pet": "x"}).json() == {"petId": 5}
    both = {"parameters": [parameter("pet_id", "path", INTEGER)], "get": get}
    assert tool_of(document({"/p/{petId}/{pet_id}": both}), "g")["parameters"]["required"] == ["pet_id", "petId"]


@pytest.mark.parametrize("inside", ["", "data", "list"])
def test_an_answer_has_the_tag_that_was_given(inside: str):
    own = {"lives": INTEGER, "barks": {"type": "boolean"}} | {f"n{number}": INTEGER for number in range(12)}
    schemas = {
        f"P-{key}": {"type": "object", "required": ["tag", key], "properties": {"tag": TEXT, key: of}}
        for key, of in own.items()
    }
    either = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas]}
    either |= {"discriminator": {"propertyName": "tag"}}
    wrapped = {"type": "object", "required": ["data"], "properties": {"data": either}}
    found = {"": either, "data": wrapped, "list": {"type": "array", "minItems": 1, "items": either}}[inside]
    body = {"required": True, "content": {"application/json": {"schema": either}}}
    post = {"operationId": "make", "requestBody": body, "responses": answers(found)}
    doc = document({"/pets": {"post": post}}, components={"schemas": schemas})
    client = client_of(doc)
    for key, value in (("n11", 4), ("barks", True), ("lives", 9)):
        reply = call(doc, "make", {"tag": f"P-{key}", key: value}, client).json()
        reply = reply["data"] if inside == "data" else reply[0] if inside == "list" else reply
        assert reply == {"tag": f"P-{key}", key: value}


def test_the_example_that_fits_the_request_comes_first():
    shown = {"one": {"value": {"a": 1, "words": []}}, "two": {"value": {"a": 2, "words": ["x"]}}}
    media = {"application/json": {"schema": ITEM, "examples": shown}}
    made = {"200": {"description": "ok", "content": media}}
    doc = document({"/x": {"get": {"parameters": [parameter("a", "query", INTEGER)], "responses": made}}})
    assert client_of(doc).get("/t/x?a=2").json() == shown["two"]["value"]


def test_nothing_changed_is_no_answer_where_there_is_another():
    found = answers(INTEGER)["200"]
    doc = document({"/x": {"get": {"responses": {"304": {"description": "as before"}, "default": found}}}})
    assert client_of(doc).get("/t/x").status_code == 200


@pytest.mark.parametrize(
    ("media", "shown"),
    [("application/xml", "<pet><id>4</id></pet>"), ("text/csv", "id\n4\n"), ("application/yaml", "id: 4")],
)
def test_an_example_that_is_written_out_is_sent_as_it_is(media: str, shown: str):
    pet = {"type": "object", "properties": {"id": INTEGER}}
    content = {media: {"schema": pet, "example": shown}}
    operation = {"operationId": "g", "responses": {"200": {"description": "ok", "content": content}}}
    assert call(document({"/x": {"get": operation}}), "g", {}).text == shown


def test_the_media_types_of_an_operation_are_those_of_a_shared_response():
    shared = {"description": "ok", "schema": {"type": "object", "xml": {"name": "pet"}, "properties": {"id": INTEGER}}}
    operation = {
        "operationId": "g",
        "produces": ["application/xml"],
        "responses": {"200": {"$ref": "#/responses/Pet"}},
    }
    doc = {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "produces": ["application/json"]}
    doc |= {"paths": {"/x": {"get": operation}}, "responses": {"Pet": shared}}
    got = call(doc, "g", {})
    assert got.headers["content-type"] == "application/xml"
    assert got.text.startswith("<pet><id>")


def test_an_example_in_an_envelope_is_about_the_item_that_was_asked_for():
    wrapped = {
        "type": "object",
        "properties": {"data": {"type": "object", "properties": {"id": INTEGER, "name": TEXT}}},
    }
    found = answers(wrapped)
    found["200"]["content"]["application/json"]["example"] = {"data": {"id": 41, "name": "x"}}
    operation = {"operationId": "g", "parameters": [parameter("id", "path", INTEGER)], "responses": found}
    doc = document({"/pets/{id}": {"get": operation}})
    assert call(doc, "g", {"id": 42}).json() == {"data": {"id": 42, "name": "x"}}


def test_a_text_may_be_one_where_a_list_is_one_of_the_types():
    several = {"type": ["array", "string"], "items": INTEGER}
    query = parameter("q", "query", several)
    found = answers({"type": "object", "required": ["q"], "properties": {"q": several}})
    doc = document({"/x": {"get": {"operationId": "g", "parameters": [query], "responses": found}}}, "3.1.0")
    assert [call(doc, "g", {"q": value}).json()["q"] for value in ("z", [1, 2])] == ["z", [1, 2]]


def test_what_depends_on_a_read_only_property_does_not_need_it():
    schema = {"type": "object", "properties": {"id": INTEGER | {"readOnly": True}, "n": TEXT}}
    body = {"content": {"application/json": {"schema": schema | {"dependentRequired": {"n": ["id"]}}}}}
    doc = document({"/x": {"post": {"operationId": "p", "requestBody": body, "responses": answers(TEXT)}}}, "3.1.0")
    assert call(doc, "p", {"n": "a"}).status_code == 200


def test_names_that_fit_a_pattern_reach_the_body():
    schema = {"type": "object", "properties": {"n": INTEGER}, "patternProperties": {"^x-": TEXT}}
    body = {"content": {"application/json": {"schema": schema | {"additionalProperties": False}}}}
    doc = document({"/x": {"post": {"operationId": "p", "requestBody": body, "responses": answers(TEXT)}}}, "3.1.0")
    request = build_request(doc, operation_of(doc, "p"), '{"n": 1, "x-a": "b", "unknown": 2}', "https://x.example")
    assert request.body == {"n": 1, "x-a": "b"}


def test_an_optional_field_of_a_form_that_is_null_is_not_sent():
    schema = {"type": "object", "required": ["b"], "properties": {"a": {"type": ["string", "null"]}, "b": TEXT}}
    for media in ("multipart/form-data", "application/x-www-form-urlencoded", "application/json"):
        post = {
            "operationId": "p",
            "requestBody": {"content": {media: {"schema": schema}}},
            "responses": answers(TEXT),
        }
        doc = document({"/x": {"post": post}}, "3.1.0")
        request = build_request(doc, operation_of(doc, "p"), '{"a": null, "b": "c"}', "https://x.example")
        assert request.body == ({"a": None, "b": "c"} if "json" in media else {"b": "c"})


def test_plain_json_is_the_first_of_the_media_types():
    content = {kind: {"schema": INTEGER} for kind in ("text/plain", "text/json", "application/json")}
    operation = {"operationId": "g", "responses": {"200": {"description": "ok", "content": content}}}
    assert call(document({"/x": {"get": operation}}), "g", {}).headers["content-type"] == "application/json"


def test_a_tag_that_a_schema_names_itself_is_its_tag():
    base = {"type": "object", "discriminator": "kind", "required": ["kind"], "properties": {"kind": TEXT}}
    cat = {"x-ms-discriminator-value": "#Cat", "allOf": [{"$ref": "#/definitions/Base"}], "properties": {"n": INTEGER}}
    body = {"name": "b", "in": "body", "schema": {"$ref": "#/definitions/Base"}}
    found = {"200": {"description": "ok", "schema": {"$ref": "#/definitions/Cat"}}}
    doc = {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "definitions": {"Base": base, "Cat": cat}}
    doc["paths"] = {"/x": {"post": {"operationId": "p", "parameters": [body], "responses": found}}}
    assert tool_of(load_document(doc), "p")["parameters"]["properties"]["kind"]["enum"] == ["Base", "#Cat"]
    assert call(doc, "p", {"kind": "#Cat", "n": 1}).json() == {"kind": "#Cat", "n": 1}
    assert call(doc, "p", {"kind": "Base"}).json()["kind"] == "#Cat"  # whatever was sent, the answer is a cat


@pytest.mark.parametrize("beside", [False, True])
def test_members_of_all_of_that_are_closed_against_each_other_can_be_met(beside: bool):
    base, own = ({"type": "object", "required": [name], "properties": {name: INTEGER}} for name in "ac")
    own |= {"additionalProperties": False}
    ref = {"$ref": "#/components/schemas/Base"}
    both = own | {"allOf": [ref]} if beside else {"allOf": [ref, own]}
    body = {"required": True, "content": {"application/json": {"schema": both}}}
    post = {"operationId": "p", "requestBody": body, "responses": answers(both)}
    alone = {"operationId": "q", "requestBody": {"content": {"application/json": {"schema": ref}}}}
    schemas = {"Base": base | {"additionalProperties": False}}
    doc = document({"/x": {"post": post}, "/y": {"post": alone}}, components={"schemas": schemas})
    assert call(doc, "p", {"a": 1, "c": 2}).json() == {"a": 1, "c": 2}
    assert client_of(doc).post("/t/y", json={"a": 1, "c": 2}).status_code == 400


def test_alternatives_that_are_told_apart_by_a_tag_stay_closed():
    kinds = {name: {"type": "object", "properties": {"kind": TEXT, name: INTEGER}} for name in ("Cat", "Dog")}
    either = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in kinds]}
    either |= {"discriminator": {"propertyName": "kind"}}
    body = {"required": True, "content": {"application/json": {"schema": {"properties": {"pet": either}}}}}
    post = {"operationId": "p", "requestBody": body, "responses": answers(TEXT)}
    schemas = {name: schema | {"additionalProperties": False} for name, schema in kinds.items()}
    doc = document({"/x": {"post": post}}, components={"schemas": schemas})
    sent = [{"pet": {"kind": "Cat", name: 1}} for name in ("Cat", "Dog")]
    assert [client_of(doc).post("/t/x", json=value).status_code for value in sent] == [200, 400]


def test_an_heir_may_be_the_answer_where_what_it_inherits_is_declared():
    pet = {"type": "object", "discriminator": {"propertyName": "kind"}, "properties": {"kind": TEXT}}
    ref = {"$ref": "#/components/schemas/Pet"}
    schemas = {"Pet": pet, "Cat": {"allOf": [ref, {"type": "object", "properties": {"n": INTEGER}}]}}
    body = {"content": {"application/json": {"schema": ref}}}
    post = {"operationId": "p", "requestBody": body, "responses": answers(ref)}
    doc = document({"/x": {"post": post}}, components={"schemas": schemas})
    assert call(doc, "p", {"kind": "Cat", "n": 1}).json()["kind"] == "Cat"
