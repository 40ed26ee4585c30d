"""Small invented files in the raw layout."""

import json
from typing import Any


def raw_api(name: str = "Tides", **fields: Any) -> dict[str, Any]:
    """One API in the raw layout, invented."""
    document = {
        "openapi": "3.0.0",
        "info": {"title": name, "version": "1"},
        "paths": {"/tides": {"get": {"operationId": "findTide", "parameters": [], "responses": {}}}},
    }
    return {
        "Name": name,
        "Description": "When the sea comes",
        "Link": "https://tides.example",
        "Category": "Nature",
        "Introduction": "",
        "Functions": "1. findTide",
        "Documentation": json.dumps(document),
        "NLDocumentation": "findTide: when",
        "Function_Description": {"findTide": "when the sea comes", "components": "\nshared"},
        "Function_Projection": {"findTide": ["/tides", "GET"]},
        **fields,
    }


def raw_instance(text: str = "High tide?", steps: int = 1, **fields: Any) -> dict[str, Any]:
    """One instance in the raw layout; a field given as `...` is left out."""
    step = [["findTide", '{"day": "today"}', ' I look.\nAction: findTide\nAction Input: {"day": "today"}'], "At noon"]
    instance = {
        "input": text,
        "output": "At noon.",
        "Final Thought": "I know.",
        "intermediate_steps": [step] * steps,
        **fields,
    }
    return {key: value for key, value in instance.items() if value is not ...}
