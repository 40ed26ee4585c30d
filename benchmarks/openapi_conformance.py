"""One truth about an operation: what the exported tool allows, the client sends, the simulator reads, and the answer
keeps.

```bash
python benchmarks/openapi_conformance.py                        # the embedded corpus
python benchmarks/openapi_conformance.py FOLDER --json out.json # and every document below a folder; resumes
python benchmarks/openapi_conformance.py FOLDER --schemathesis  # requests by Schemathesis (`pip install schemathesis`)
```

FOLDER may hold OpenAPI and Swagger documents (JSON or YAML) and files in the raw layout, in folders of any depth.
Values are drawn from the tool's JSON schema by a generator of its own; answers are judged by openapi-schema-validator
against the document as it was written. Nothing leaves the process but, with `--schemathesis`, calls over loopback.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from measured import show, table, write
from openapi_judge import Judge, ToolValidator, documents, draw, overlapping
from tqdm import tqdm

from toolalpaca_hf.data import SAMPLE
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import (
    CallError,
    Operation,
    alternatives,
    build_request,
    functions_of,
    load_document,
    to_text,
    tool_schema,
)
from toolalpaca_hf.openapi.document import lookup
from toolalpaca_hf.openapi.encoding import encode_body
from toolalpaca_hf.openapi.tools import tool_names
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import (
    RESPONDER_HEADER,
    SchemaResponder,
    SimulatedCall,
    SimulatedResponse,
    create_app,
    running,
)
from toolalpaca_hf.simulator.operations import IGNORED_HEADERS
from toolalpaca_hf.simulator.requests import Arguments, RequestRefused, read_arguments

FAILURES = {
    "tool": "the tool is not valid JSON schema",
    "not sent": "the client refuses a value that the tool allows",
    "refused": "the simulator refuses what the client sent",
    "misrouted": "another operation answers, or none",
    "changed": "a value arrives as another",
    "answer": "the answer is not valid for its declared schema",
    "crash": "an exception of Python's",
}
NOT_CHECKED = {
    "no value": "no value valid for the tool was found",
    "unknown id": "404: the world has no such item",
    "ambiguous": "another operation has the same path but for parameters' names, and the same method",
    "mixed": "the value mixes alternatives of the body, which no provider's tools tell apart",
    "overlap": "an answer fits several alternatives of a `oneOf`, which the document keeps apart by nothing validated",
    "undefined": "Schemathesis nests lists or objects where the style only has flat values, and writes Python's `str`",
    "unreadable": "the file or document cannot be read",
    "schema": "the independent validator cannot read the declared schema",
}


class Simulated:
    """A document's simulator, which keeps what each call said."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.heard: list[tuple[SimulatedCall, Arguments | None]] = []
        self.responder = SchemaResponder(0)
        self.app = create_app([Api("train/t", "T", documentation=document)], self._answer)

    async def _answer(self, call: SimulatedCall) -> SimulatedResponse:
        try:
            said = read_arguments(call.operation, call.request)
        except RequestRefused:
            said = None
        self.heard.append((call, said))
        return await self.responder(call)


def same(sent: Any, got: Any, exact: bool) -> bool:
    """Whether a value arrived; where the wire has only texts, one that is described as nothing is a text."""
    if isinstance(sent, dict) and isinstance(got, dict):
        return sent.keys() == got.keys() and all(same(sent[key], got[key], exact) for key in sent)
    if isinstance(sent, list) and isinstance(got, list):
        return len(sent) == len(got) and all(same(one, two, exact) for one, two in zip(sent, got, strict=True))
    if not exact and not isinstance(sent, dict | list) and not isinstance(got, dict | list):
        return to_text(sent) == to_text(got) or (sent is None and got == "")
    return json.dumps(sent) == json.dumps(got) or (sent == got and bool not in (type(sent), type(got)))


def arrived(operation: Operation, values: dict[str, Any], said: Arguments, media: str) -> list[str]:
    """What arrived otherwise than it was given."""
    names = tool_names(operation)
    given = names.restored(values)
    found = []
    for place, name in {(parameter.place, parameter.name) for parameter in operation.parameters}:
        if place not in ("path", "query", "header", "cookie") or (place == "path" and name not in operation.in_path):
            continue
        if place == "header" and name.lower() in IGNORED_HEADERS:
            continue
        value = given.get(names.parameters[place, name])
        got = said.placed.get((place, name))
        if not same(value, got, exact=False) and not (value in (None, "", [], {}) and got in (None, "", [], {})):
            found.append(f"{place} {name}: {json.dumps(value)[:200]} arrived as {json.dumps(got)[:200]}")
    own = {name: given[shown] for name, shown in names.body.items() if shown in given}
    if isinstance(
        said.body, dict
    ):  # one value for the path and the body, where only the path's is given, is by design
        for name, shown in names.body.items():
            if shown != name and shown not in given and ("path", name) in said.placed and name in said.body:
                own[name] = given[names.parameters["path", name]]
    body = own if own or not names.body else said.body if said.body == {} else None
    if not names.body:
        body = given.get(names.whole)
    exact, got = "json" in media, said.body
    if "form" in media or "multipart" in media:  # where an optional `null` is not sent

        def filled(value: Any) -> Any:
            return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value

        body, got = filled(body), filled(got)
    if not same(body, got, exact) and not (not exact and body in ("", [], {}) and not got):
        found.append(f"body ({media}): {json.dumps(body)[:200]} arrived as {json.dumps(got)[:200]}")
    return found


async def check_operation(
    simulated: Simulated, judge: Judge, operation: Operation, chance: random.Random, values: int
) -> list[tuple[str, str]]:
    """What came of so many calls of an operation: kind and reason of each failure, `("good", "")` for each call
    without."""
    parameters = tool_schema(operation, 10**9)["function"]["parameters"]  # what is left out is not compared
    try:
        Draft202012Validator.check_schema(parameters)
    except Exception as error:
        return [("tool", str(error).splitlines()[0])]
    check = ToolValidator(parameters)
    found: list[tuple[str, str]] = []
    transport = httpx.ASGITransport(simulated.app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        for _ in range(values):
            drawn = (draw(parameters, chance) for _ in range(30))
            value = next((one for one in drawn if check.is_valid(one)), None)
            if value is None:
                found.append(("no value", next((e.message for e in check.iter_errors(draw(parameters, chance))), "")))
                continue
            try:
                found.append(await _one_call(simulated, judge, operation, value, client))
            except Exception as error:
                place = error.__traceback__
                while place is not None and place.tb_next is not None:
                    place = place.tb_next
                where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
                found.append(("crash", f"{type(error).__name__} at {where}: {error}"))
    return found


async def _one_call(
    simulated: Simulated, judge: Judge, operation: Operation, value: dict[str, Any], client: httpx.AsyncClient
) -> tuple[str, str]:
    try:
        request = build_request(simulated.document, operation, json.dumps(value), "http://simulator/t")
    except CallError as error:
        if "part of the path" in str(error):
            return "good", ""  # `..`, which no path can hold
        mixed = operation.body is not None and len(alternatives(operation.body.schema)) > 1
        return ("mixed" if mixed else "not sent"), str(error)
    content, kind = encode_body(request)
    simulated.heard.clear()
    headers = [(name.encode(), text.encode()) for name, text in (request.headers | kind).items()]
    got = await client.request(request.method, request.url, content=content, headers=headers)
    call, said = simulated.heard[0] if simulated.heard else (None, None)
    if call is None or (call.operation.path.strip("/"), call.operation.method) != (
        operation.path.strip("/"),
        operation.method,
    ):
        return "misrouted", f"{got.status_code} {call.operation.path if call else got.text}"
    if said is None:
        return "refused", f"{got.status_code} {got.text}"
    if changed := arrived(operation, value, said, request.body_type):
        return "changed", changed[0]
    if wrong := judged(judge, operation, got):
        return wrong
    return ("unknown id", "") if got.status_code == 404 else ("good", "")


def judged(judge: Judge, operation: Operation, got: Any) -> tuple[str, str] | None:
    """What is wrong with an answer (of httpx or of requests)."""
    media = got.headers.get("content-type", "").partition(";")[0].strip().lower()
    pointer = judge.pointer(operation, got.status_code, media)
    if pointer is None or operation.method == "head" or not ("json" in media or media.startswith("text/")):
        return None
    try:
        value = got.json() if "json" in media else got.text
    except ValueError:
        return "answer", "it is not JSON"
    try:
        errors = judge.errors(pointer, value)
        overlap = "overlap" if errors and all(map(overlapping, errors)) else ""
        problems = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    except Exception as error:  # whatever a document's broken schema makes of the validator
        return "schema", f"{type(error).__name__}: {error}"
    if problems and "json" not in media:
        schema = lookup(judge.raw, pointer)
        if not isinstance(schema, dict) or schema.get("type") != "string":
            return None  # a text of what is described as JSON values has no one form
    return (overlap or "answer", f"{got.status_code} {problems[0]}") if problems else None


def shape(operation: Operation) -> tuple[str, str]:
    """What tells an operation from others in a request."""
    return operation.method, re.sub(r"\{[^{}]*\}", "{}", operation.path.strip("/"))


def check_document(name: str, raw: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Operations of a document, and the kinds of what came of their calls."""
    document = load_document(raw)
    judge, simulated = Judge(raw), Simulated(document)
    operations = functions_of(document)
    shapes = Counter(shape(one) for one in operations)
    if options.limit_operations:
        operations = operations[: options.limit_operations]
    rows: list[tuple[str, str, str]] = []
    for operation in operations:
        if shapes[shape(operation)] > 1:
            rows.append(("ambiguous", operation.name, f"{operation.method} {operation.path}"))
            continue
        chance = random.Random(f"{options.seed} {name} {operation.name}")
        found = asyncio.run(check_operation(simulated, judge, operation, chance, options.values))
        rows += [(kind, operation.name, reason) for kind, reason in found]
    return {"name": name, "operations": len(operations), "rows": rows}


def requests_of_schemathesis(name: str, raw: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """As `check_document`, with requests by Schemathesis, which reads the document as it was written."""
    import schemathesis

    document = load_document(raw)
    judge = Judge(raw)
    by_place = {(one.path, one.method): one for one in functions_of(document)}
    rows: list[tuple[str, str, str]] = []
    schema = schemathesis.openapi.from_dict(raw)
    loaded = list(schema.get_all_operations())[: options.limit_operations or None]
    with running([Api("train/t", "T", documentation=document)]) as url:
        for result in loaded:
            try:
                operation = result.ok()
            except Exception as error:
                rows.append(("schema", "", f"Schemathesis: {error}"))
                continue
            if operation is None:
                rows.append(("schema", "", f"Schemathesis: {result.err()}"))
                continue
            own = by_place.get((operation.path, operation.method.lower()))
            if own is None:
                continue
            found = _schemathesis_calls(operation, own, judge, f"{url}/t", options)
            rows += [(kind, own.name, reason) for kind, reason in found]
    return {"name": name, "operations": len(loaded), "rows": rows}


def _schemathesis_calls(
    operation: Any, own: Operation, judge: Judge, url: str, options: argparse.Namespace
) -> list[tuple[str, str]]:
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis import GenerationMode

    found: list[tuple[str, str]] = []

    @seed(options.seed)
    @settings(
        max_examples=options.values,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def send(case: Any) -> None:
        got = case.call(base_url=url, timeout=30)
        headers = {name: values[0] for name, values in got.headers.items()}
        kind, reason = outcome(judge, own, httpx.Response(got.status_code, headers=headers, content=got.content))
        found.append(("undefined" if kind == "refused" and nested(case) else kind, reason))

    try:
        send()
    except Exception as error:  # whatever a broken schema makes of the generator
        found.append(("schema", f"Schemathesis: {type(error).__name__}: {error}"))
    return found


# A list or an object inside a text, as Python and not JSON writes it.
PYTHON = re.compile(r"[\[{]['\[{]|: (True|False|None)\b")


def nested(case: Any) -> bool:
    """Whether a request nests lists or objects in a parameter or form field whose style has only flat values.

    OpenAPI leaves open how they are written. Schemathesis hands them to `urlencode` and `str`, which write Python's
    text of them, or of an object only the keys: the value is lost on the way, and no server could read it back.
    """
    form = isinstance(case.body, dict) and case.media_type == "application/x-www-form-urlencoded"
    parts = [case.path_parameters, case.query, case.headers, case.cookies, case.body if form else None]
    for value in [value for part in parts for value in dict(part or {}).values()]:
        items = value if isinstance(value, list) else [value]
        inner = isinstance(value, dict) or any(isinstance(item, dict | list) for item in items)
        if inner or any(PYTHON.search(item) for item in items if isinstance(item, str)):
            return True
    return False


def outcome(judge: Judge, operation: Operation, got: httpx.Response) -> tuple[str, str]:
    """What became of a request that the document allows."""
    if wrong := judged(judge, operation, got):
        return wrong
    if got.status_code == 404 and RESPONDER_HEADER in got.headers:  # of an operation, not of the router
        return "unknown id", ""
    if got.status_code >= 500:
        return "crash", f"{got.status_code} {got.text}"
    if got.status_code in (404, 405):
        return "misrouted", f"{got.status_code} {got.text}"
    if got.status_code >= 400:
        return "refused", f"{got.status_code} {got.text}"
    return "good", ""


def kept_rows(file: Path | None, settings: str) -> dict[str, dict[str, Any]]:
    """What an earlier start of the same command left, by document; a line that a kill cut off is left out."""
    found: dict[str, dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file is not None and file.is_file() else ():
        with suppress(ValueError):
            record = json.loads(line)
            if record["settings"] == settings:
                found[record["name"]] = record
    return found


def plain_reason(reason: str) -> str:
    """A reason without what differs from call to call."""
    return re.sub(r"\d+", "N", re.sub(r"('[^']*'|\"[^\"]*\"|`[^`]*`)", "...", " ".join(reason.split())))[:140]


def tables(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a person reads."""
    rows = [(record["name"], *row) for record in records for row in record["rows"]]
    counts = Counter(kind for _, kind, _, _ in rows)
    calls = sum(counts[kind] for kind in ("good", "unknown id", *FAILURES))
    lines: list[list[Any]] = []
    for kind, words in (FAILURES | NOT_CHECKED).items():
        mine = [row for row in rows if row[1] == kind]
        reasons = Counter(plain_reason(reason) for *_, reason in mine)
        commonest = f"{reasons.most_common(1)[0][0]} ({reasons.most_common(1)[0][1]})" if mine else ""
        lines.append(
            [words, len(mine), len({(row[0], row[2]) for row in mine}), len({row[0] for row in mine}), commonest]
        )
    note = (
        f"{len(records)} documents, {sum(record['operations'] for record in records):,} operations, {calls:,} calls; "
        f"{counts['good']:,} without a failure, {sum(counts[kind] for kind in FAILURES):,} with one."
    )
    return [
        table("OpenAPI conformance", ["what", "calls", "operations", "documents", "commonest reason"], lines, note)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="*", help="documents beside the embedded corpus")
    parser.add_argument("--values", type=int, default=5, help="calls of an operation")
    parser.add_argument("--limit-operations", type=int, default=0, help="at most so many operations of a document")
    parser.add_argument("--schemathesis", action="store_true", help="requests by Schemathesis")
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--show", type=int, default=0, help="print so many failures of each kind")
    parser.add_argument("--json", type=Path, help="file to write the figures to; FILE.rows keeps what is done")
    parser.add_argument("--quick", action="store_true", help="a call of three operations of each document")
    options = parser.parse_args()
    if options.quick:
        options.values, options.limit_operations = 1, 3
    missing = [str(folder) for folder in options.folder if not folder.exists()]
    if missing:
        raise SystemExit(f"{missing[0]}: there is no such file or folder")
    begun = time.monotonic()
    settings = json.dumps([options.values, options.limit_operations, options.schemathesis, options.seed])
    rows_file = options.json.with_name(f"{options.json.name}.rows") if options.json else None
    kept = kept_rows(rows_file, settings)
    check = requests_of_schemathesis if options.schemathesis else check_document
    records = []
    found = [(f"{folder.name}/{name}", raw) for folder in [SAMPLE, *options.folder] for name, raw in documents(folder)]
    for name, raw in tqdm(found, unit="document", disable=None):
        digest = f"{name} {hashlib.sha256(json.dumps(raw, default=str).encode()).hexdigest()[:16]}"
        record = kept.get(digest)
        if record is None:
            try:
                if isinstance(raw, Exception):
                    record = {"operations": 0, "rows": [("unreadable", "", str(raw))]}
                else:
                    record = check(name, raw, options)
            except ToolAlpacaError as error:
                record = {"operations": 0, "rows": [("unreadable", "", str(error))]}
            except Exception as error:  # one document's never costs the others
                record = {"operations": 0, "rows": [("crash", "", f"{type(error).__name__}: {error}")]}
            record |= {"name": digest, "settings": settings}
            if rows_file is not None:
                with rows_file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(record) + "\n")
        records.append(record)
    result = tables(records)
    show(result)
    for kind in FAILURES | NOT_CHECKED if options.show else ():
        failed = [(record["name"], *row) for record in records for row in record["rows"] if row[0] == kind]
        for name, _, operation, reason in failed[: options.show]:
            print(f"{kind}: {name.split()[0]} {operation}: {reason[:600]}")
    if options.json:
        write(options.json, time.monotonic() - begun, result)


if __name__ == "__main__":
    main()
