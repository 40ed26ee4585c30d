import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Seen, Site

from toolalpaca_hf.agent import simulated_calls
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import build_request, functions_of, load_api, servers_of, tool_schema
from toolalpaca_hf.openapi.document import lookup
from toolalpaca_hf.schema import Api

DOCUMENT = {
    "openapi": "3.0.0",
    "info": {"title": "Cats of Améthyste", "version": "1", "description": "All about cats."},
    "servers": [{"url": "/v1"}],
    "paths": {"/cats/{id}": {
        "get": {"operationId": "getCat", "summary": "A cat", "responses": {"200": {"description": "It"}}}
    }},
    "components": {"securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": "key"}}},
}  # fmt: skip


def manifest(url: str) -> dict[str, Any]:
    return {"schema_version": "v1", "name_for_human": "Cats", "api": {"type": "openapi", "url": url}}


def serving(files: dict[str, Any]) -> Any:
    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        found = files.get(seen.target)
        return (
            (404, {}, b"no")
            if found is None
            else (200, {}, found if isinstance(found, bytes) else json.dumps(found).encode())
        )

    return answer


def test_a_document_by_its_url() -> None:
    with Site([serving({"/docs/openapi.json": DOCUMENT})]) as site:
        url = f"{site.url}/docs/openapi.json"
        api = load_api(url, private=[site.host])
    assert (api.name, api.description, api.link, api.id) == (
        "Cats of Améthyste",
        "All about cats.",
        url,
        "loaded/cats-of-am-thyste",
    )
    [function] = api.functions
    assert (function.name, function.path, function.method) == ("getCat", "/cats/{id}", "get")
    assert function.description.startswith('A cat\nParameters: {"id": "Required. string. ')
    assert api.nl_documentation.startswith("getCat: A cat")
    assert servers_of(api.documentation) == [f"{site.url}/v1"]
    assert api.authentication == ["key"]
    assert [operation.name for operation in functions_of(api.documentation)] == ["getCat"]


@pytest.mark.parametrize("named", ["openapi.yaml", "/a/openapi.yaml", "{site}/a/openapi.yaml"])
def test_a_manifest_by_its_url(named: str) -> None:
    files: dict[str, Any] = {"/a/openapi.yaml": yaml.safe_dump(DOCUMENT).encode()}
    with Site([serving(files)]) as site:
        files["/a/ai-plugin.json"] = manifest(named.replace("{site}", site.url))
        api = load_api(f"{site.url}/a/ai-plugin.json", private=[site.host])
    assert [function.name for function in api.functions] == ["getCat"]
    assert [seen.target for seen in site.seen] == ["/a/ai-plugin.json", "/a/openapi.yaml"]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(DOCUMENT | {"info": {}}))
    (tmp_path / "ai-plugin.json").write_text(json.dumps(manifest("openapi.json")))
    assert load_api(tmp_path / "ai-plugin.json").name == "Cats"
    assert load_api(str(tmp_path / "openapi.json")).functions[0].name == "getCat"
    # Of a file nobody knows where its relative servers are.
    assert servers_of(load_api(tmp_path / "openapi.json").documentation) == []


def test_a_manifests_document_is_read_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(DOCUMENT | {"paths": {"/cats": {"$ref": "cats.yaml"}}}))
    (tmp_path / "cats.yaml").write_text("get: {operationId: cats, responses: {'200': {description: ok}}}")
    (tmp_path / "ai-plugin.json").write_text(json.dumps(manifest("openapi.json")))
    assert [function.name for function in load_api(tmp_path / "ai-plugin.json").functions] == ["cats"]


def test_swagger_2_in_several_files(tmp_path: Path) -> None:
    """What another file holds is converted as well: an operation, a parameter, a body, a response, a schema."""
    info, pet = (
        {"title": "T", "version": "1"},
        {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
    )
    body = {"name": "b", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}
    shared: dict[str, Any] = {"swagger": "2.0", "info": info, "paths": {}, "definitions": {"Pet": pet}}
    shared["parameters"] = {"L": {"name": "l", "in": "query", "type": "integer", "required": True}, "B": body}
    shared["responses"] = {"Ok": {"description": "ok", "schema": {"$ref": "#/definitions/Pet"}}}
    parameters = [{"$ref": "../shared.json#/parameters/L"}, {"$ref": "../shared.json#/parameters/B"}]
    found = {"200": {"$ref": "../shared.json#/responses/Ok"}}
    (tmp_path / "paths").mkdir()
    (tmp_path / "shared.json").write_text(json.dumps(shared))
    item = {"post": {"operationId": "add", "parameters": parameters, "responses": found}}
    (tmp_path / "paths" / "pets.json").write_text(json.dumps(item))
    main = {"swagger": "2.0", "info": info, "host": "a.example", "paths": {"/pets": {"$ref": "paths/pets.json"}}}
    (tmp_path / "main.json").write_text(json.dumps(main))
    document = load_api(tmp_path / "main.json").documentation
    assert "x-not-followed" not in document and "x-not-converted" not in document
    [operation] = functions_of(document)
    request = build_request(document, operation, '{"l": 2, "n": 3}', "https://a.example")
    assert (request.url, request.body) == ("https://a.example/pets?l=2", {"n": 3})
    [schema] = [each["schema"] for each in operation.responses["200"]["content"].values()]
    assert lookup(document, schema["$ref"]) == pet


def test_alternatives_and_keys_in_other_files(tmp_path: Path) -> None:
    text, need = {"type": "string"}, {"type": "object", "required": ["kind"]}
    (tmp_path / "Dog.json").write_text(json.dumps(need | {"properties": {"kind": text, "barks": {"type": "boolean"}}}))
    cat = need | {"properties": {"kind": text, "purrs": {"$ref": "#words"}}}
    (tmp_path / "all.yaml").write_text(json.dumps({"Cat": cat, "Words": text | {"$anchor": "words"}}))
    tags = {"hund": "Dog.json#/", "katze": "all.yaml#/Cat"}
    alternatives = [{"$ref": ref} for ref in tags.values()]
    schema = {"oneOf": alternatives, "discriminator": {"propertyName": "kind", "mapping": tags}}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    paths = {"/pets": {"post": {"operationId": "add", "requestBody": body, "security": [{"k": []}]}}}
    keys = {
        "k": {"$ref": "#/components/securitySchemes/real"},
        "real": {"type": "apiKey", "in": "query", "name": "key"},
    }
    document = {"openapi": "3.0.3", "info": {}, "paths": paths, "components": {"securitySchemes": keys}}
    (tmp_path / "api.json").write_text(json.dumps(document))
    api = load_api(tmp_path / "api.json")
    [operation] = functions_of(api.documentation)
    assert tool_schema(operation)["function"]["parameters"]["properties"]["kind"]["enum"] == ["hund", "katze"]
    assert "x-not-followed" not in api.documentation and api.authentication == ["key"]
    request = build_request(api.documentation, operation, '{"kind": "hund"}', "https://a.example", {"key"})
    assert request.credentials == (("query", "key"),)


def test_what_a_document_from_the_net_refers_to_is_named() -> None:
    paths = {"/a": {"$ref": "a.yaml"}, "/b": {"get": {"responses": {"200": {"$ref": "#/components/responses/No"}}}}}
    with Site([serving({"/o.json": DOCUMENT | {"paths": paths}})]) as site:
        api = load_api(f"{site.url}/o.json", private=[site.host])
    assert [ref.split()[0] for ref in api.documentation["x-not-followed"]] == ["a.yaml", "#/components/responses/No"]
    assert len(site.seen) == 1


def test_a_file_may_name_a_url(tmp_path: Path) -> None:
    with Site([serving({"/o.json": DOCUMENT})]) as site:
        (tmp_path / "ai-plugin.json").write_text(json.dumps(manifest(f"{site.url}/o.json")))
        assert load_api(tmp_path / "ai-plugin.json", private=[site.host]).functions[0].name == "getCat"
        with pytest.raises(ToolAlpacaError, match="private network"):
            load_api(tmp_path / "ai-plugin.json")


def test_without_servers_it_is_where_the_document_lies() -> None:
    bare = {key: value for key, value in DOCUMENT.items() if key != "servers"}
    with Site([serving({"/docs/o.json": bare})]) as site:
        assert servers_of(load_api(f"{site.url}/docs/o.json", private=[site.host]).documentation) == [f"{site.url}/"]


def test_fetching_obeys_the_rules_on_addresses(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text(json.dumps(DOCUMENT))
    with Site([serving({"/o.json": DOCUMENT})]) as inner:
        files = {"/m.json": manifest(f"{inner.url}/o.json"), "/f.json": manifest(f"file://{tmp_path}/secret.json")}
        with Site([serving(files)]) as site:
            with pytest.raises(ToolAlpacaError, match="private network"):
                load_api(f"{site.url}/m.json")
            assert site.seen == []
            with pytest.raises(ToolAlpacaError, match="not among"):
                load_api(f"{site.url}/m.json", private=[site.host])
            with pytest.raises(ToolAlpacaError, match="not an http or https URL"):
                load_api(f"{site.url}/f.json", private=[site.host])
    assert inner.seen == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "mapping"),
        (b"[1]", "mapping"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"{}", "neither an OpenAPI document"),
        (b'{"api": {"url": 3}}', "neither an OpenAPI document"),
        (b'{"paths": 3}', "neither an OpenAPI document"),
        (b'{"api": {"url": "ftp://x.example/o"}}', "not an http or https URL"),
        (b'{"api": {"url": "none.json"}}', "cannot be read"),
        (b'{"api": {"url": "http://["}}', "cannot be loaded"),
        (b'{"api": {"url": "a\\u0000b"}}', "not the name of a file"),
    ],
)
def test_what_is_neither_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ToolAlpacaError, match=words) as error:
        load_api(tmp_path / "x.json")
    assert "\n" not in str(error.value)


def test_a_key_in_the_url_is_in_no_message(tmp_path: Path) -> None:
    nameless = DOCUMENT | {"info": {}}
    query, secret = "?api_key=SECRETKEY", "?api_key=SECRETKEY#SECRETKEY"
    files = {"/1.json" + query: {}, "/2.json" + query: b"[", "/3.json" + query: b"\xff"}
    files["/4.json" + query] = nameless
    with Site([serving(files)]) as site:
        urls = [f"{site.url}/{n}.json{secret}" for n in range(5)]
        assert load_api(urls.pop(), private=[site.host]).name == f"{site.url}/4.json"
        urls += [url.replace("http://", "http://me:SECRETKEY@") for url in urls] + [
            f"http://127.0.0.1:9/x.json{secret}"
        ]
        for url in urls:
            with pytest.raises(ToolAlpacaError, match=r"http://127\.0\.0\.1:\d+/.\.json|user name") as error:
                load_api(url, private=[site.host, "127.0.0.1:9"])
            assert "SECRETKEY" not in str(error.value)
    with pytest.raises(ToolAlpacaError, match=r"no simulator at http://127\.0\.0\.1:9 ") as error:
        simulated_calls([load_api_of(tmp_path)], "http://me:SECRETKEY@127.0.0.1:9", "x-session")
    assert "SECRETKEY" not in str(error.value)


def load_api_of(folder: Path) -> Api:
    (folder / "cats.json").write_text(json.dumps(DOCUMENT))
    return load_api(folder / "cats.json")


def test_a_missing_page_is_told() -> None:
    with Site([serving({})]) as site:
        with pytest.raises(ToolAlpacaError, match="status 404"):
            load_api(f"{site.url}/o.json", private=[site.host])


def test_files_that_lead_from_one_to_the_next(tmp_path: Path) -> None:
    for number in range(150):
        items = {"$ref": f"{number + 1}.json"} if number < 149 else {"type": "integer"}
        (tmp_path / f"{number}.json").write_text(json.dumps({"properties": {"next": {"items": items}}}))
    (tmp_path / "api.json").write_text(json.dumps(DOCUMENT | {"components": {"schemas": {"S": {"$ref": "0.json"}}}}))
    document = load_api(tmp_path / "api.json").documentation
    assert len(document["x-files"]) == 150 and "x-not-followed" not in document


def test_outputs_in_other_files_are_described(tmp_path: Path) -> None:
    content = {"application/json": {"schema": {"$ref": "schemas/Pet.json"}}}
    get = {"operationId": "x", "responses": {"200": {"description": "ok", "content": content}}}
    (tmp_path / "schemas").mkdir()
    pet = {"type": "object", "properties": {"id": {"type": "integer"}, "next": {"$ref": "Pet.json"}}}
    (tmp_path / "schemas" / "Pet.json").write_text(json.dumps(pet))
    (tmp_path / "api.json").write_text(json.dumps({"openapi": "3.0.0", "paths": {"/x": {"get": get}}}))
    api = load_api(tmp_path / "api.json")
    assert api.functions[0].description.endswith("Structure: #Pet")
    assert api.components.endswith("\n#Pet: Object{id, next: #Pet}")
