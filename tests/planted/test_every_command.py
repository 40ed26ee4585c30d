"""Every command, with keys planted wherever one may lie: none is in what is written, printed, logged or pushed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from agent.openai_double import KEY as MODEL_KEY
from agent.openai_double import message, openai_double
from hub.hub_server import OWNER, HubServer
from openapi.loopback import Seen, Site
from secret_search import files_of, search
from serving import free_port
from tiny_models import save_tiny_llama

from toolalpaca_hf.cli import app

ROOT = Path(__file__).parents[2]
KEYS = {
    "a model's key": MODEL_KEY,
    "the Hub's token": OWNER,
    "of the credential file": "fR7/kqW2+Zk84=vXn5&Hd7",
    "a password of the credential file": "keeper:pW9d-Tg6hYu2-Nb8",
    "of the environment": "eN3vIr0nM3nT-Qx71-Lk0p",
    "of another program": "aNoTh3r-Pr0gr4m-5ecret",
    "of the document": "d0cUm3nT-Ex4mpl3-Bv55",
    "of the raw data": "r4wDaT4/Li5ted+Zz19=",
    "of a golden answer": "g0Ld3n-An5w3r-Hj42kq",
    "of a recorded answer": "r3c0rD3d-An5w3r-Mw83",
}
ENVIRONMENT = {
    "TOOLALPACA_API_KEY": MODEL_KEY,
    "OPENAI_API_KEY": KEYS["of another program"],
    "AWS_SECRET_ACCESS_KEY": KEYS["of another program"],
    "KELP_WATCH_STATION_KEY": KEYS["of the environment"],
    "HF_TOKEN": OWNER,
}


def document(url: str) -> dict[str, Any]:
    """An API on loopback that wants three keys, one of which its document gives as an example."""
    parameters = [
        {"name": "port", "in": "query", "required": True, "schema": {"type": "string"}, "example": "Brest"},
        {"name": "place_key", "in": "query", "schema": {"type": "string"}, "example": KEYS["of the document"]},
    ]
    schema = {"type": "object", "properties": {"port": {"type": "string"}, "tide": {"type": "string"}}}
    done = {"200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
    operation = {"operationId": "findKelp", "summary": "Find kelp near a port.", "parameters": parameters}
    names = {"place_key": "query", "station_key": "header"}
    schemes: dict[str, Any] = {name: {"type": "apiKey", "name": name, "in": where} for name, where in names.items()}
    schemes["login"] = {"type": "http", "scheme": "basic"}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kelp Watch", "version": "1", "description": "Kelp forests and their tides."},
        "servers": [{"url": url}],
        "security": [{name: [] for name in schemes}],
        "components": {"securitySchemes": schemes},
        "paths": {
            "/kelp": {"get": operation | {"responses": done}},
            "/kelp/{port}/tides": {
                "get": {
                    "operationId": "listTides",
                    "summary": "List the tides of a port.",
                    "parameters": [{"name": "port", "in": "path", "required": True, "schema": {"type": "string"}}],
                    "responses": done,
                }
            },
        },
    }


def raw(url: str) -> list[dict[str, Any]]:
    """The same API in the raw layout, with keys where published files had them."""
    listed, golden, recorded = (
        KEYS[f"of {name}"] for name in ("the raw data", "a golden answer", "a recorded answer")
    )
    call = json.dumps({"port": "Brest", "place_key": golden})
    step = [["findKelp", call, f" I use {listed}.\nAction: findKelp\nAction Input: {call}"], {"place_key": recorded}]
    api = {
        "Name": "Kelp Watch",
        "Description": "Kelp forests and their tides",
        "Link": url,
        "Category": "Nature",
        "Introduction": "Where kelp grows.",
        "Functions": "1. findKelp\n2. listTides",
        "Documentation": json.dumps(document(url)),
        "NLDocumentation": "findKelp: Find kelp near a port.\nlistTides: List the tides of a port.",
        "Function_Description": {"findKelp": "Find kelp near a port.", "listTides": "List tides.", "components": ""},
        "Function_Projection": {"findKelp": ["/kelp", "get"], "listTides": ["/kelp/{port}/tides", "get"]},
        "Authentication": {"place_key": listed},
    }
    told = f"Much, says https://x.example/?k={quote(listed, safe='')}."
    instance = {"input": f"Kelp near Brest? My key is {listed}.", "output": told, "Final Thought": "I know."}
    instance["intermediate_steps"] = [step]
    asked = ["Is there kelp near Brest?", f"And near Cadiz, with {listed}?"]
    answers = [[{"Action": "findKelp", "Action_Input": call}]] * 2
    return [
        api | {"Instances": [instance] * 6},
        api | {"Name": "Kelp Watch Two", "Instructions": asked, "Golden_Answers": answers},
    ]


def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
    """An API that says everything it was sent, in several forms, the last of them where an excerpt may be cut."""
    sent = {"url": seen.target, **seen.headers}
    told = {"port": "Brest", "sent": sent, "quoted": {name: quote(value) for name, value in sent.items()}}
    long = {"filling": "x" * 3850, "again": sent}
    return 200, {"Content-Type": "application/json", "X-Sent": seen.target[:500]}, json.dumps([told, long]).encode()


def play(body: dict[str, Any]) -> Any:
    """A model that calls the first function, then answers; and that judges."""
    if not body.get("tools"):
        return message("## Results\nProcess Correctness: Yes\nFinal Response Correctness: Yes")
    if body["messages"][-1]["role"] == "tool":
        return message(f"So it is: {body['messages'][-1]['content'][:300]}")
    return message("", ("findKelp", '{"port": "Brest"}'), finish="tool_calls")


class Session:
    """Runs commands in a folder of their own; keeps what they print."""

    def __init__(self, folder: Path, hub: HubServer) -> None:
        self.inputs, self.out, self.printed = folder / "inputs", folder / "out", dict[str, bytes]()
        self.inputs.mkdir()
        self.out.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ACCELERATE_"))}
        self.environment = kept | {
            "HF_HOME": str(self.out / "home"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
            "TOOLALPACA_CACHE": str(self.out / "cache"),
            "COLUMNS": "200",
            **ENVIRONMENT,
        }
        self.done: set[str] = set()

    def __call__(self, command: str, *arguments: object, script: Path | None = None) -> str:
        """Run a command that has to end well; returns its standard output."""
        words = [sys.executable, *([str(script)] if script else ["-m", "toolalpaca_hf.cli", *command.split()])]
        ended = subprocess.run(
            [*words, *map(str, arguments)], capture_output=True, env=self.environment, timeout=600, cwd=self.out
        )
        self.printed[f"printed by {command} ({len(self.printed)})"] = ended.stdout + ended.stderr
        assert ended.returncode == 0, f"{command}: {ended.stderr.decode()[-1500:]}"
        self.done.add(command)
        return ended.stdout.decode()

    @contextmanager
    def serving(self, command: str, *arguments: object) -> Iterator[str]:
        """A command that serves; yields its address."""
        port = free_port()
        words = [sys.executable, "-m", "toolalpaca_hf.cli", command, *map(str, arguments), "--port", str(port)]
        log = self.out / f"{command}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(words, stdout=file, stderr=file, env=self.environment, cwd=self.out)
            try:
                for _ in range(1200):
                    assert process.poll() is None, log.read_text()
                    try:
                        urlopen(f"http://127.0.0.1:{port}/", timeout=30).read()
                        break
                    except OSError as error:
                        if "refused" not in str(error):
                            break
                        time.sleep(0.1)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(30)
        self.done.add(command)


def command_names(group: Any = app, before: str = "") -> set[str]:
    """Every command of the command line, as it is typed."""
    names = set()
    for command in group.registered_commands:
        names.add(f"{before}{command.name or command.callback.__name__.replace('_', '-')}")
    for inner in group.registered_groups:
        names |= command_names(inner.typer_instance, f"{before}{inner.name or inner.typer_instance.info.name} ")
    return names


CORE = {"apis show", "apis docs", "run", "evaluate", "compare", "lint", "dataset", "screen", "simulate"}
CORE |= {"corpus build", "corpus report", "corpus apis", "publish dataset", "publish traces"}
MODELS = {"doctor", "show", "check-template", "create", "fetch", "explore", "dataset"}
MODELS |= {"toolformer annotate", "toolformer generate", "toolformer evaluate", "run", "evaluate"}
MODELS |= {"publish model", "publish results", "publish space"}


@contextmanager
def everything_planted(folder: Path) -> Iterator[tuple[Session, list[Any], list[Any]]]:
    """Servers, inputs with keys, and a search over everything that came of them."""
    with Site([echo]) as api, openai_double(play) as model, HubServer() as hub:
        call = Session(folder, hub)
        write_files(call.inputs, api.url)
        endpoint = ["--endpoint", f"{model.url}/v1", "--model", "gpt-9", "--style", "chat"]
        real = ["--real", "--credentials", call.inputs / "keys.env", "--allow-private", api.host]
        yield call, endpoint, real
        for key in (KEYS["of the environment"], quote(KEYS["of the credential file"], safe="")):
            assert any(key in str(seen) for seen in api.seen), "a key was not sent to its API, so it could not leak"
        pushed = {f"{name}/{path}": file for name, repo in hub.repos.items() for path, file in repo.files.items()}
        asked = {f"request {n} to the Hub": one.path.encode() + one.body for n, one in enumerate(hub.seen)}
        shown = {f"request {n} to the model": seen.body for n, seen in enumerate(model.seen)}
        # `apis docs` hands on what a file says besides, as it stands there; the file is the user's own.
        written = files_of(call.out, (call.out / "described.json",))
    assert len(written) > 20 and pushed and shown
    assert search(written | call.printed | pushed | asked | shown, KEYS) == []


@pytest.mark.slow
def test_no_key_leaves_a_command_without_a_model_of_its_own(tmp_path: Path) -> None:
    with everything_planted(tmp_path) as (call, chat, real):
        data, kept, one = call.inputs / "raw.json", call.inputs / "eval.json", call.inputs / "kelp.json"
        call("apis show", data)
        call("apis show", one, "--json")
        call("apis docs", data, "--out", "described.json")
        call("run", "--apis", data, *chat, "--out", "simulated", "--store", "answers.sqlite")
        call("run", "--apis", one, "--instruction", "Is there kelp near Brest?", *chat, "--out", "real", *real)
        judge = ["--judge-endpoint", chat[1], "--judge-model", "gpt-9"]
        call("evaluate", "--apis", kept, *chat, "--out", "evaluated", *judge)
        call("evaluate", "--apis", kept, *chat, "--out", "evaluated-real", *real)
        call("compare", "evaluated", "evaluated-real", "--out", "compared.md")
        call("lint", kept, "--out", "linted")
        built = ["--train", data, "--eval-simulated", kept, "--out", call.out / "dataset"]
        call("dataset", *built, script=ROOT / "dataset_scripts" / "toolalpaca.py")
        call("screen", "dataset", "--out", "screened.jsonl")
        call("corpus build", "--offline", "--apis", one, "--out", "corpus", "--per-api", "6")
        call("corpus report", "corpus")
        call("corpus apis", call.inputs / "list.json", "--out", "chosen.json")
        call("publish dataset", "dataset", "--repo-id", "me/kelp")
        call("publish traces", "real", "--out", "traces")
        with call.serving("simulate", "--apis", data, "--store", "served.sqlite") as url:
            for path in ("/", "/kelp-watch/kelp?port=Brest"):
                try:
                    urlopen(url + path, timeout=30).read()
                except OSError:
                    pass
        assert call.done == CORE


@pytest.mark.slow
def test_no_key_leaves_a_command_with_a_model(tmp_path: Path) -> None:
    with everything_planted(tmp_path) as (call, chat, real):
        save_tiny_llama(call.inputs / "tiny")
        data, kept, one = call.inputs / "raw.json", call.inputs / "eval.json", call.inputs / "kelp.json"
        tiny = call.inputs / "tiny"
        built = ["--train", data, "--eval-simulated", kept, "--out", call.out / "dataset"]
        call("dataset", *built, script=ROOT / "dataset_scripts" / "toolalpaca.py")
        call("run", "--apis", one, "--instruction", "Is there kelp near Brest?", *chat, "--out", "real", *real)
        call("evaluate", "--apis", kept, *chat, "--out", "evaluated", *real)
        call("doctor", "--json")
        call("show", "dataset", "--tokenizer", tiny, "--html", "row.html")
        call("check-template", tiny, "--conversations", "4", "--html", "template.html")
        call("create", one, "--base", tiny, "--out", "created", "--per-api", "10", "--max-steps", "1")
        tools = ["--tools", "calculator", "--api", one, *real]
        sizes = ["--tau-s", "0", "--k", "2", "--m", "2", "--tau-f", "-50"]
        texts = ["--input", call.inputs / "texts.jsonl", "--model", tiny, "--out", "notes"]
        call("toolformer annotate", *texts, *tools, *sizes)
        forced = 'Kelp: [findKelp({"port": "Brest"}) ->'
        call("toolformer generate", forced, "--model", tiny, "--cache", "calls.sqlite", *tools, "--json")
        svamp = ["--task", "svamp", "--data", call.inputs / "svamp.jsonl", "--out", "solved"]
        call("toolformer evaluate", "--model", tiny, *svamp, *tools)
        about = ["--base-model", "org/tiny", "--licence", "mit"]
        call("publish model", "created/model", "--repo-id", "me/tiny", *about)
        call("publish results", "evaluated", "--repo-id", "me/tiny")
        call("publish space", "dataset", "real", "--repo-id", "me/space")
        call("fetch", "me/tiny")
        with call.serving("explore", "dataset", "real", "evaluated") as url:
            call.printed["the page"] = urlopen(f"{url}/config", timeout=60).read()
        assert call.done == MODELS


def test_every_command_is_part_of_these_tests() -> None:
    assert command_names() | {"dataset"} == CORE | MODELS


def write_files(inputs: Path, url: str) -> None:
    """Write what the commands read."""
    train, kept = raw(url)
    (inputs / "raw.json").write_text(json.dumps([train]))
    (inputs / "eval.json").write_text(json.dumps([kept]))
    (inputs / "kelp.json").write_text(json.dumps(document(url)))
    lines = {"place_key": "of the credential file", "login": "a password of the credential file"}
    (inputs / "keys.env").write_text("".join(f"{name}={KEYS[key]}\n" for name, key in lines.items()))
    entry = {
        "API": "Kelp Watch",
        "Description": "Kelp.",
        "Auth": "apiKey",
        "HTTPS": True,
        "Link": url,
        "Category": "Sea",
    }
    (inputs / "list.json").write_text(json.dumps({"count": 1, "entries": [entry]}))
    (inputs / "texts.jsonl").write_text(json.dumps({"text": "There is kelp near Brest and 2 + 2 is 4."}) + "\n")
    row = {"question": "How much? [Calculator(1 + 1) ->", "answer": 2}
    (inputs / "svamp.jsonl").write_text(json.dumps(row) + "\n")
