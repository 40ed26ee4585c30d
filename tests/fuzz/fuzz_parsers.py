"""The parsers under test: real files to begin with, and a function that takes the bytes of a case."""

import copy
import json
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from toolalpaca_hf.data import SAMPLE, read_corpus, resolve_sources
from toolalpaca_hf.errors import ToolAlpacaError

ROOT = Path(__file__).parents[2]
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


@dataclass(frozen=True)
class Parser:
    """Where its cases begin, and what takes one. An exception of the package's own is an answer."""

    seeds: Callable[[], list[bytes]]
    parse: Callable[[bytes], object]
    share: int = 1
    """One of so many cases is tried, where each is dear."""


def text_of(case: bytes) -> str:
    """As a model's tokenizer or a server may hand it on: with halves of surrogate pairs."""
    return case.decode("utf-8", "surrogatepass" if b"\xed" in case and _passes(case) else "replace")


def _passes(case: bytes) -> bool:
    try:
        case.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def file_of(case: bytes, name: str) -> Path:
    path = FOLDER / name
    path.write_bytes(case)
    return path


@cache
def _sample(name: str) -> list[dict[str, Any]]:
    return json.loads((Path(SAMPLE) / name).read_text(encoding="utf-8"))


@cache
def _pets() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "examples" / "petstore.yaml").read_text(encoding="utf-8"))


def raw_seeds() -> list[bytes]:
    """One API with three of its instances; and one of the evaluation set, with golden answers."""
    found = []
    for api in (*_sample("train.json")[:4], *_sample("eval.json")[:2]):
        short = {key: value[:3] if isinstance(value, list) else value for key, value in api.items()}
        found.append(json.dumps([short]).encode())
    return found


_written = [0]


def raw(case: bytes) -> None:
    from toolalpaca_hf.data import write_repo
    from toolalpaca_hf.formats import react_prompt, to_messages, tools_of, trajectory_segments

    sources = resolve_sources(train=file_of(case, "train.json"), eval_simulated=FOLDER / "train.json")
    _written[0] += 1
    if _written[0] % 50 == 0:  # the files too, of some
        write_repo(sources, FOLDER / "repo", react_prompt(), overwrite=True)
    corpus = read_corpus(sources)
    apis = {api.id: api for api in corpus.apis.get("train", ())}
    for trajectory in corpus.trajectories.get("train", ()):
        trajectory_segments(apis[trajectory.api], trajectory, react_prompt())
        to_messages(apis[trajectory.api], trajectory)
        tools_of(apis[trajectory.api])


def processed_seeds() -> list[bytes]:
    from toolalpaca_hf.formats import react_prompt, trajectory_segments

    corpus = read_corpus(resolve_sources("sample"))
    apis = {api.id: api for api in corpus.apis["train"]}
    rows = []
    for trajectory in corpus.trajectories["train"][:4]:
        segments = trajectory_segments(apis[trajectory.api], trajectory, react_prompt())
        rows.append([[one.text for one in segments], [int(one.trainable) for one in segments]])
    return [json.dumps([row]).encode() for row in rows]


def processed(case: bytes) -> None:
    from toolalpaca_hf.formats import parse_example
    from toolalpaca_hf.schema import Segment

    corpus = read_corpus(resolve_sources(processed=file_of(case, "processed.json")))
    for row in corpus.processed:
        parse_example([Segment(**segment) for segment in row["segments"]])


def openapi_seeds() -> list[bytes]:
    documents = [api["Documentation"] for api in _sample("train.json")[:3]]
    documents = [text if isinstance(text, str) else json.dumps(text) for text in documents]
    swagger = {
        "swagger": "2.0",
        "info": {"title": "Cats", "version": "1"},
        "host": "cats.example",
        "paths": {
            "/c/{id}": {
                "post": {
                    "parameters": [
                        {"name": "id", "in": "path", "required": True, "type": "integer"},
                        {"name": "b", "in": "body", "schema": {"$ref": "#/definitions/C"}},
                    ],
                    "responses": {"200": {"description": "", "schema": {"$ref": "#/definitions/C"}}},
                }
            }
        },
        "definitions": {"C": {"type": "object", "properties": {"c": {"$ref": "#/definitions/C"}}}},
    }
    yaml_text = (ROOT / "examples" / "petstore.yaml").read_text(encoding="utf-8")
    return [
        text.encode()
        for text in [json.dumps(_pets()), json.dumps(_pets()), json.dumps(swagger), *documents, yaml_text]
    ]


def use(api: Any) -> None:
    """What a run does with an API: its tools, a call of each function, and an answer of the simulator."""
    from toolalpaca_hf.environments.sources import calls_in_process
    from toolalpaca_hf.formats import tools_of
    from toolalpaca_hf.openapi import describe, document_of
    from toolalpaca_hf.simulator import Simulator

    tools_of(api)
    describe(document_of(api))
    (calls,) = calls_in_process(Simulator([api]))
    for name in calls.names[:4]:
        for given in ("{}", '{"id": 1, "petId": "x", "name": "Tom", "limit": 2, "port": "Brest", "b": {"c": {}}}'):
            calls.call(name, given, "session")


def openapi(case: bytes) -> None:
    from toolalpaca_hf.openapi import api_of, load_document, violations

    document = load_document(case.decode("utf-8", "replace"))
    if len(case) % 20 == 0:
        violations(document)
    use(api_of(document, "fuzz"))


def manifest_seeds() -> list[bytes]:
    (FOLDER / "openapi.yaml").write_bytes((ROOT / "examples" / "petstore.yaml").read_bytes())
    kind = {
        "schema_version": "v1",
        "name_for_human": "Pets",
        "name_for_model": "pets",
        "description_for_human": "Pets.",
        "auth": {"type": "none"},
        "api": {"type": "openapi", "url": "openapi.yaml"},
    }
    parts = {
        "openapi": "3.0.0",
        "paths": {"/a": {"$ref": "openapi.yaml#/paths/~1pets"}, "/b": {"$ref": "ai-plugin.json"}},
    }
    return [
        json.dumps(kind).encode(),
        json.dumps(kind | {"api": {"url": "./openapi.yaml"}}).encode(),
        json.dumps(parts).encode(),
    ]


def manifest(case: bytes) -> None:
    from toolalpaca_hf.openapi import load_api

    if b"http" in case.lower():
        return  # nothing is fetched here; tests/openapi/test_hostile_web.py does that
    use(load_api(file_of(case, "ai-plugin.json")))


def turn_seeds() -> list[bytes]:
    texts = [
        ' I look.\nAction: findPets\nAction Input: {"limit": 3}\nObservation: x',
        "ASSISTANT Thought: done\nASSISTANT Response: It is so.\nThought: again\nAction: x",
        '<tool_call>\n{"name": "findPets", "arguments": {"limit": 3}}\n</tool_call><tool_call>[1]</tool_call>',
        '<think>why</think>[TOOL_CALLS][{"name": "a", "arguments": {}}]',
    ]
    message = {
        "content": "x",
        "reasoning_content": "y",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "findPets", "arguments": '{"limit": 3}'}}],
    }
    return [text.encode() for text in texts] + [json.dumps(message).encode()]


def turn(case: bytes) -> None:
    from toolalpaca_hf.agent.endpoint import read_message
    from toolalpaca_hf.formats import hopeless, parse_prompt, parse_turn
    from toolalpaca_hf.llm.structured import parse_items, parse_json, unfence

    text = text_of(case)
    parse_turn(text)
    hopeless(text, 200, 20)
    parse_prompt(text)
    read_message({"content": text})
    unfence(text)
    for parse in (parse_json, lambda text: parse_items(text, "functions")):
        try:
            parse(text)
        except ValueError:  # as its docstring says
            pass
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(message, dict):
        read_message(message)


@cache
def _calls() -> tuple[Any, Any]:
    from toolalpaca_hf.environments.sources import calls_in_process
    from toolalpaca_hf.openapi import api_of
    from toolalpaca_hf.simulator import Simulator

    api = api_of(copy.deepcopy(_pets()), "pets")
    return api, calls_in_process(Simulator([api]))[0]


def argument_seeds() -> list[bytes]:
    values = [
        {
            "petId": 3,
            "name": "Tom",
            "limit": 2,
            "tags": ["a", {"b": None}],
            "status": "sold",
            "requestBody": {"name": "x"},
        },
        {"body": {"name": "Tom", "weight": 1.5}},
        {},
    ]
    return [json.dumps(value).encode() for value in values] + [b'{"petId": ${id from findPets}} and so on']


def arguments(case: bytes) -> None:
    from toolalpaca_hf.formats import parse_arguments
    from toolalpaca_hf.metrics import judge_process
    from toolalpaca_hf.metrics.calls import call_validity, golden_arguments
    from toolalpaca_hf.schema import Call, Instruction, Step

    text, (api, calls) = text_of(case), _calls()
    parse_arguments(text)
    golden_arguments(text)
    for name in (*list(calls.names)[:2], text[:50]):  # of all, an argument of 100,000 keys takes the five seconds
        calls.call(name, text, "session")
    name = calls.names[0]
    step = Step("", name, text, "Status Code: 200. Response: {}")
    call_validity(api, [step])
    for golden in (text, '{"limit": 3, "name": ["Tom"]}'):
        judge_process(api, Instruction("a/b/0", "a/b", text[:1000], [Call(name, golden)]), [step])


def verdict_seeds() -> list[bytes]:
    entry = {
        "id": 0,
        "input": [{"role": "user", "content": "judge"}],
        "output": "Process Correctness: Yes\nFinal Response Correctness: No",
        "process_correctness": "Yes",
        "final_response_correctness": "No",
    }
    recorded = {
        "statistics": {"num": 1, "error_num": 0, "process": {"Yes": 1, "No": 0}},
        "Pets": [entry, entry | {"id": "1|1"}],
    }
    table = b'api,index,process,response\nPets,0,Yes,No\n"P,x",1,uncertain,\n'
    return [json.dumps(recorded).encode(), json.dumps(recorded).encode(), table, entry["output"].encode()]


def verdicts(case: bytes) -> None:
    from toolalpaca_hf.evaluation.judge import agreement_of, read_labels
    from toolalpaca_hf.experimental.recorded_runs import read_recorded
    from toolalpaca_hf.metrics import parse_verdict

    parse_verdict(text_of(case))
    for read in (
        lambda: read_recorded(file_of(case, "verdicts.json")),
        lambda: agreement_of(*[read_labels(file_of(case, "l.csv"))[0]] * 2),
    ):
        try:
            read()
        except ToolAlpacaError:
            pass


def marker_seeds() -> list[bytes]:
    return [
        b"400 (or [Calculator(400 / 1400) -> 0.29] 29%) passed",
        "as in [1] and ␛(1␛) -> [QA(x)]".encode(),
        b"[[A(b)]->c] ",
    ]


def markers(case: bytes) -> None:
    from toolalpaca_hf.toolformer import Markers

    text = text_of(case)
    for kind in (Markers(), Markers("<API>", "</API>", "→")):
        escaped = kind.escape(text.replace("␛", ""))
        assert kind.restore(escaped) == text.replace("␛", "") and not kind.found_in(escaped)
        assert not kind.found_in(kind.without(text))
        kind.strip(text)
        kind.parse(text)
        for found in kind.find(text):
            assert kind.strip(kind.insert(escaped, [(len(escaped) // 2, kind.call(found.call))])) == escaped


@cache
def _tokenizer() -> Any:
    from tiny_models import tiny_tokenizer

    return tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>")


def template_seeds() -> list[bytes]:
    import trl

    folder = Path(trl.__file__).parent / "chat_templates"
    chatml = b"{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    return [
        (folder / "qwen3_instruct_2507_training.jinja").read_bytes(),
        (folder / "qwen3_training.jinja").read_bytes(),
        chatml,
    ]


def templates(case: bytes) -> None:
    from toolalpaca_hf.formats import react_prompt
    from toolalpaca_hf.training import prove_template, ways_of

    tokenizer = copy.deepcopy(_tokenizer())
    tokenizer.chat_template = case.decode("utf-8", "replace")
    for way in ways_of(tokenizer, react_prompt(), config="chat")[0]:
        prove_template(way, count=2)


def recipe_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*/*.yaml")) if path.stat().st_size < 20_000]


def recipes(case: bytes) -> None:
    from trl import ModelConfig

    from toolalpaca_hf.corpus.config import CorpusConfig
    from toolalpaca_hf.training import SegmentScriptArguments, SegmentSFTConfig
    from toolalpaca_hf.training.config import parse_fields

    path = file_of(case, "recipe.yaml")
    for read in (
        lambda: CorpusConfig.load(path),
        lambda: parse_fields(
            ["--config", str(path), "--output_dir", str(FOLDER / "out"), "--report_to", "none"],
            SegmentScriptArguments,
            SegmentSFTConfig,
            ModelConfig,
        ),
    ):
        try:
            read()
        except ToolAlpacaError:
            pass


_answer: list[bytes] = [b""]


@cache
def _site() -> str:
    """A server that answers with the bytes of the case, whatever is asked."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.settimeout(5)
                    connection.recv(65536)
                    connection.sendall(_answer[0])
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listening.getsockname()[1]}"


def http_seeds() -> list[bytes]:
    import gzip

    body = json.dumps(
        {
            "choices": [
                {
                    "message": {
                        "role": "assistant",
                        "content": "hi",
                        "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}],
                    },
                    "finish_reason": "stop",
                }
            ],
            "usage": {"completion_tokens": 3},
        }
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    page = b"<html><head><style>x</style></head><body><p title='a'>one &amp; two</p><!-- x --></body></html>"
    return [
        head + b"Content-Length: %d\r\n\r\n" % len(body) + body.encode(),
        head + b"\r\n" + body.encode(),
        head + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(body.encode(), mtime=0),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=latin-1\r\n\r\n" + page,
        b"HTTP/1.1 302 Found\r\nLocation: /there?x=1\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 No\r\nRetry-After: 0\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n",
    ]


def http(case: bytes) -> None:
    from toolalpaca_hf.agent.endpoint import read_message
    from toolalpaca_hf.llm import ModelClient
    from toolalpaca_hf.openapi import Allowlist, ApiClient, ApiRequest, CallLimits

    # What is no answer at all is one's body.
    _answer[0] = case if case[:4] == b"HTTP" else b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + case
    host = _site()
    limits = CallLimits(connect=2.0, read=1.0, total=3.0, retries=0)
    with ApiClient(Allowlist(frozenset(), frozenset({host})), folder=FOLDER / "files", limits=limits) as client:
        client.send(ApiRequest("GET", f"http://{host}/a"))
    try:
        message = ModelClient(f"http://{host}/v1", "m", "key-of-the-test-1", timeout=2.0, retries=0).chat(
            [{"role": "user", "content": "x"}], 8
        )
        read_message(message.fields["message"])
    except ToolAlpacaError:
        pass


def mcp_seeds() -> list[bytes]:
    tool = {
        "name": "findPets",
        "description": "Pets.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A"}},
            "$defs": {"A": {"type": "string"}},
        },
    }
    answer = {"content": [{"type": "text", "text": "Status Code: 404. Response: {}"}], "isError": True}
    return [
        json.dumps(one).encode() for one in ({"tools": [tool]}, {"tools": [tool, tool], "nextCursor": "x"}, answer)
    ]


def mcp(case: bytes) -> None:
    """The bytes as a server's answer to `tools/list`, then to `tools/call`; what is not JSON as a line of its own."""
    from toolalpaca_hf.agent import McpTools

    good = json.loads(mcp_seeds()[0])
    for method, other in (("tools/list", {"content": []}), ("tools/call", good)):
        # What is no answer is waited for until the limit; a large one takes its time.
        server = McpTools("in memory", seconds=0.05 + len(case) / 1e6)
        server._target = _McpPeer(method, case, other)
        try:
            with server as tools:
                tools.calls.call(tools.api.functions[0].name, "{}")
        except ToolAlpacaError:
            pass


class _McpPeer:
    """An MCP server in memory, as a transport of the SDK: one method is answered with the case, another as given."""

    def __init__(self, method: str, case: bytes, other: dict[str, Any]) -> None:
        self._method, self._case, self._other = method, case, other

    async def __aenter__(self) -> Any:
        self._open = self._connected()
        return await self._open.__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        return await self._open.__aexit__(*error)

    @asynccontextmanager
    async def _connected(self) -> Any:
        import anyio
        import mcp_types as types
        from mcp.shared._context_streams import create_context_streams
        from mcp.shared.message import SessionMessage

        to_client, from_server = create_context_streams(1)
        to_server, from_client = create_context_streams(1)

        async def serve() -> None:
            async for message in from_client:
                request = json.loads(message.message.model_dump_json(by_alias=True, exclude_unset=True))
                if "id" not in request:
                    continue
                params = request.get("params") or {}
                result: Any = {
                    "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "fuzz", "version": "1"},
                }
                error = None if request["method"] == "initialize" else {"code": -32601, "message": "no"}
                if request["method"] in ("tools/list", "tools/call"):
                    result, error = self._other, None
                line = json.dumps(
                    {"jsonrpc": "2.0", "id": request["id"], **({"error": error} if error else {"result": result})}
                )
                if request["method"] == self._method:
                    body = self._case.decode("utf-8", "replace").replace("\n", " ")
                    try:
                        json.loads(body)
                        line = f'{{"jsonrpc": "2.0", "id": {json.dumps(request["id"])}, "result": {body}}}'
                    except (ValueError, RecursionError):
                        line = body
                try:
                    await to_client.send(
                        SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
                    )
                except ValueError as failed:
                    await to_client.send(failed)

        async with to_client, from_server, to_server, from_client, anyio.create_task_group() as group:
            group.start_soon(serve)
            yield from_server, to_server
            group.cancel_scope.cancel()


PARSERS = {
    "raw": Parser(raw_seeds, raw),
    "processed": Parser(processed_seeds, processed),
    "openapi": Parser(openapi_seeds, openapi),
    "manifest": Parser(manifest_seeds, manifest),
    "turn": Parser(turn_seeds, turn),
    "arguments": Parser(argument_seeds, arguments),
    "verdicts": Parser(verdict_seeds, verdicts),
    "markers": Parser(marker_seeds, markers),
    "templates": Parser(template_seeds, templates),
    "recipes": Parser(recipe_seeds, recipes),
    "http": Parser(http_seeds, http),
    "mcp": Parser(mcp_seeds, mcp),
}
