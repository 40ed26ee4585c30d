"""Every operation of every API answers, and what it answers is valid for its document."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from simulated import METHODS, a_value, declared, problems

from toolalpaca_hf.openapi import load_document
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import SESSION_HEADER, read_apis, running


def requests_of(document: dict[str, Any], only_required: bool) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Method, path, path template and httpx arguments of a request in order, for each operation."""
    found = []
    for path, item in document["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if not isinstance(operation, dict):
                continue
            kwargs: dict[str, Any] = {"params": {}, "headers": {}}
            url = path
            for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]:
                value = a_value(parameter.get("schema", {}), document)
                if parameter["in"] == "path":
                    url = url.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
                elif parameter.get("required") or not only_required:
                    where = kwargs["params"] if parameter["in"] == "query" else kwargs["headers"]
                    where[parameter["name"]] = json.dumps(value) if isinstance(value, dict) else value
            content = operation.get("requestBody", {}).get("content", {})
            for media in content.values():
                kwargs["json"] = a_value(media.get("schema", {}), document)
            found.append((method, re.sub(r"\{[^}]*\}", "7", url), path, kwargs))
    return found


def check_all(apis: list[Api], only_required: bool) -> int:
    asked = 0
    wrong = []
    with running(apis) as url, httpx.Client(base_url=url, headers={SESSION_HEADER: "corpora"}) as client:
        listing = client.get("/health").json()["apis"]
        assert [entry["name"] for entry in listing] == [api.name for api in apis]
        for api, entry in zip(apis, listing, strict=True):
            document = load_document(api.documentation)
            for method, path, template, kwargs in requests_of(document, only_required):
                reply = client.request(method, entry["path"] + "/" + path.lstrip("/"), **kwargs)
                asked += 1
                place = f"{api.name} {method} {path}"
                # A delete may come before the read of what it removed.
                if not reply.is_success and not (reply.status_code == 404 and "There is no" in reply.text):
                    wrong.append((place, reply.status_code, reply.text))
                pointer = declared(document, template, method, reply.status_code)
                if pointer is not None:
                    wrong += [(place, reply.text, problem) for problem in problems(document, pointer, reply.json())]
    assert not wrong, wrong[:5]
    return asked


@pytest.mark.parametrize("only_required", [True, False])
def test_every_published_operation(published_apis: list[Api], only_required: bool) -> None:
    functions = sum(len(api.functions) for api in published_apis)
    assert check_all(published_apis, only_required) >= functions > 250


@pytest.mark.parametrize("only_required", [True, False])
def test_every_operation_of_the_real_apis(real_data: Path, only_required: bool) -> None:
    """Five of the eleven documents are not valid as published."""
    apis = read_apis(real_data / "eval_real.json")
    assert check_all(apis, only_required) >= len(apis) == 11


@pytest.mark.parametrize("only_required", [True, False])
def test_every_operation_of_the_embedded_corpus(sample_apis: list[Api], only_required: bool) -> None:
    assert check_all(sample_apis, only_required) > 50


def test_golden_calls_are_answered(published_apis: list[Api], real_data: Any) -> None:
    """The golden calls of eval_simulated whose input is JSON and in order: none meets an unknown id."""
    raw = json.loads((real_data / "eval_simulated.json").read_text(encoding="utf-8"))
    asked = 0
    with running(published_apis[:10]) as url, httpx.Client(base_url=url) as client:
        for number, (api, entry) in enumerate(zip(raw, client.get("/health").json()["apis"], strict=True)):
            for place, calls in enumerate(api["Golden_Answers"]):
                for call in calls:
                    if call["Action"] not in api["Function_Projection"]:
                        continue
                    try:
                        given = json.loads(call["Action_Input"])
                    except ValueError:
                        continue
                    path, method = api["Function_Projection"][call["Action"]]
                    body = {}
                    operation = json.loads(api["Documentation"])["paths"][path][method]
                    named = {parameter["name"] for parameter in operation.get("parameters", [])}
                    query = {name: value for name, value in given.items() if name in named}
                    if "requestBody" in operation:
                        body = {"json": {name: value for name, value in given.items() if name not in named}}
                    for name in re.findall(r"\{(.*?)\}", path):
                        path = path.replace(f"{{{name}}}", quote(str(query.pop(name)), safe=""))
                    session = {SESSION_HEADER: f"{number}/{place}"}
                    reply = client.request(method, entry["path"] + path, params=query, headers=session, **body)
                    asked += 1
                    # Some golden inputs lack what the document requires.
                    assert reply.status_code in (200, 400), (call, reply.text)
                    if reply.status_code == 400:
                        assert "required" in reply.text or "not one of" in reply.text, (call, reply.text)
    assert asked > 60
