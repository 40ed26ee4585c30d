"""APIs by whatever they are called, their manifests and their documents."""

import asyncio
from urllib.parse import quote

import httpx
import pytest
from simulated import PETS, api_of, one_operation

from toolalpaca_hf.openapi import violations
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import create_app, running

DOCUMENT = one_operation({"type": "object", "properties": {"city": {"type": "string"}}})
NAMES = [
    "Améthyste",
    "A Bíblia Digital",
    "Lob.com",
    "AC/DC tours",
    "天気",
    "100% pure?",
    "a b/c d/e",
    "Health",
    "docs",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_with_spaces_dots_slashes_and_accents(name: str) -> None:
    others = [api_of(DOCUMENT, other, f"slug-{number}") for number, other in enumerate(NAMES)]
    with running(others) as url:
        for written in (quote(name, safe=""), quote(name), f"slug-{NAMES.index(name)}"):
            assert httpx.get(f"{url}/{written}").json()["name_for_human"] == name
            assert set(httpx.get(f"{url}/{written}/thing").json()) == {"city"}
            assert httpx.get(f"{url}/{written}/openapi.json").json()["paths"] == DOCUMENT["paths"]
        assert httpx.get(f"{url}/health").json()["status"] == "ok"


def test_apis_of_one_name_have_addresses_of_their_own() -> None:
    first, second = api_of(DOCUMENT, "Steam", "steam"), api_of(PETS, "Steam", "steam-2")
    again = Api("eval_simulated/steam", "STEAM", documentation=PETS)
    with running([first, second, again]) as url:
        listed = httpx.get(f"{url}/health").json()["apis"]
        assert [entry["path"] for entry in listed] == ["/steam", "/steam-2", "/steam-3"]
        assert httpx.get(f"{url}/Steam/thing").is_success
        assert httpx.get(f"{url}/steam-2/pets").is_success and httpx.get(f"{url}/steam-3/pets").is_success


def test_the_manifest_leads_to_a_document_that_leads_here() -> None:
    document = PETS | {
        "paths": {"/pets": PETS["paths"]["/pets"] | {"servers": [{"url": "https://elsewhere.example"}]}}
    }
    with running([api_of(document)]) as url:
        for place in ("/pets", "/pets/.well-known/ai-plugin.json"):
            manifest = httpx.get(url + place).json()
            assert manifest["api"] == {
                "type": "openapi",
                "url": f"{url}/pets/openapi.json",
                "is_user_authenticated": False,
            }
            assert {"schema_version", "name_for_human", "name_for_model", "auth"} < set(manifest)
        served = httpx.get(manifest["api"]["url"]).json()
        assert served["servers"] == [{"url": f"{url}/pets"}] and "elsewhere" not in str(served)
        assert violations(served) == []
        assert httpx.get(served["servers"][0]["url"] + "/pets").is_success


def test_an_operation_at_the_root_stands_behind_a_slash() -> None:
    document = {"paths": {"/": {"get": DOCUMENT["paths"]["/thing"]["get"]}}}
    with running([api_of(document)]) as url:
        assert httpx.get(f"{url}/pets").json()["schema_version"] == "v1"
        assert set(httpx.get(f"{url}/pets/").json()) == {"city"}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"text": "no document at all: ["},
        {"text": "openapi: 3.0.0\npaths: {/thing: {get: {}}}"},
        {"paths": []},
        {"paths": {"thing": {"get": {"responses": {"200": None}}}}},
        {"paths": {"/thing": {"get": {"parameters": {"name": 1}, "responses": [1]}}}},
        {"paths": {"/thing": {"get": {"parameters": [{"name": "q", "in": "query", "schema": 7}]}}}},
        {"paths": {"/thing": {"get": {"responses": {"200": {"$ref": "#/components/responses/none"}}}}}},
        one_operation({"type": "strange", "minimum": "low", "enum": "x", "required": True, "items": [1]}),
        one_operation({"$ref": "#/components/schemas/Nowhere"}),
        one_operation({"$ref": "https://example.com/schema.json"}),
        one_operation({"$ref": "#/paths/~1thing/get/responses/200/content/application~1json/schema"}),
        one_operation({"properties": {"a": 1, "b": None, "c": {"type": ["string", 3]}}, "pattern": "("}),
        one_operation({"allOf": [{"type": "string"}, {"type": "integer"}]}),
        one_operation({"type": "array", "minItems": 10**9}),
        one_operation({"type": "string", "minLength": 10**9}),
        one_operation({"type": "string", "pattern": "^(a|b|ab)*c{5000}$"}),
        one_operation({"type": "string", "pattern": "^((a{1000}){1000}){1000}$"}),
        one_operation({"type": "string", "pattern": "^(((a+)+)+)+$"}),
        one_operation({"type": "array", "minItems": 900, "items": {"type": "array", "minItems": 900}}),
    ],
)
def test_documents_that_are_not_valid_are_simulated(document: dict[str, object]) -> None:
    with running([api_of(document)]) as url:
        assert httpx.get(f"{url}/pets").is_success and httpx.get(f"{url}/pets/openapi.json").is_success
        assert httpx.get(f"{url}/pets/thing?q=1").status_code in (200, 404)


def test_the_application_can_be_mounted_elsewhere() -> None:
    """A server of its own is not needed: the application answers in process."""
    transport = httpx.ASGITransport(app=create_app([api_of(DOCUMENT)]))

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
            return (await client.get("/pets/thing")).status_code

    assert asyncio.run(ask()) == 200
