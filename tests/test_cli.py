import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import toolalpaca_hf
from toolalpaca_hf.cli import build, main
from toolalpaca_hf.cli.options import script
from toolalpaca_hf.data import resolve_sources

ROOT = Path(__file__).parents[1]
FIELDS = ("NLDocumentation", "Function_Description", "Function_Projection")
API = {
    "Name": "Cats [of] Améthyste",
    "Documentation": json.dumps(
        {
            "openapi": "3.0.0",
            "paths": {
                "/cats/{id}": {
                    "get": {
                        "operationId": "getCat",
                        "parameters": [
                            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                            {"name": "tags", "in": "query", "schema": {"type": "array"}},
                        ],
                        "responses": {"200": {"description": "A cat"}},
                    }
                }
            },
        }
    ),
    "Instructions": ["Find a cat"],
}


WIDE = {"COLUMNS": "200"}


def in_a_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a new process, on a terminal of 200 columns."""
    source = Path(toolalpaca_hf.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONUTF8": "1"} | WIDE
    command = [sys.executable, "-m", "toolalpaca_hf.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=120)


def toolalpaca(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which need not import anything again."""
    line, out, err, status = ["toolalpaca", *map(str, arguments)], io.StringIO(), io.StringIO(), 0
    with patch.dict(os.environ, WIDE), patch.object(sys, "argv", line), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(line, status, out.getvalue(), err.getvalue())


def test_docs_are_those_that_were_published(real_data: Path, tmp_path: Path) -> None:
    published = [
        api
        for name in ("train_sample.json", "eval_simulated.json", "eval_real.json")
        for api in json.loads((real_data / name).read_text(encoding="utf-8"))
    ]
    bare = [{key: value for key, value in api.items() if key not in FIELDS} for api in published]
    (tmp_path / "in.json").write_text(json.dumps(bare), encoding="utf-8")
    done = toolalpaca("apis", "docs", tmp_path / "in.json", "--out", tmp_path / "new" / "out.json")
    assert (done.returncode, done.stderr) == (0, "") and "64 APIs" in done.stdout
    assert json.loads((tmp_path / "new" / "out.json").read_text(encoding="utf-8")) == published
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.json"]


def test_docs_replace_what_was_there(tmp_path: Path) -> None:
    stale = API | dict.fromkeys(FIELDS, "stale") | {"Category": "Animals"}
    (tmp_path / "x.json").write_text(json.dumps([stale]), encoding="utf-8")
    assert toolalpaca("apis", "docs", tmp_path / "x.json", "--out", tmp_path / "x.json").returncode == 0
    [made] = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert list(made) == list(stale) and made["Function_Projection"] == {"getCat": ["/cats/{id}", "get"]}
    assert {key: made[key] for key in made if key not in FIELDS} == {
        key: stale[key] for key in stale if key not in FIELDS
    }


def test_show_has_functions_parameters_and_violations(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([API]), encoding="utf-8")
    done = toolalpaca("apis", "show", tmp_path / "x.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Cats [of] Améthyste" in done.stdout
    assert re.search(r"getCat\W+get /cats/{id}\W+id\*: integer, tags: array", done.stdout)
    assert "'info' is a required property" in done.stdout.replace('"', "'") and "1 violation" in done.stdout


def test_show_finds_the_five_published_documents_that_are_not_valid(real_data: Path) -> None:
    done = toolalpaca("apis", "show", real_data / "eval_real.json")
    assert (
        done.returncode == 0 and done.stdout.count("violations of OpenAPI") + done.stdout.count("1 violation of") == 5
    )
    assert done.stdout.count("valid OpenAPI") == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        ("[{", "JSON that ends in the middle"),
        ("{}", "neither an OpenAPI document (it has no `paths`)"),
        ("[]", "not a list of APIs"),
        ("[3]", "not a list of APIs"),
        ("[" * 100_000, "nested too deep"),
        ('[{"Name": "Cats"}]', "the Documentation of Cats"),
        ('[{"Name": "Cats", "Documentation": "{"}]', "the Documentation of Cats"),
        ('[{"Documentation": 3}]', "an API without a name"),
    ],
)
def test_a_broken_file_is_one_sentence_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    words: str,
) -> None:
    file, out = tmp_path / "x.json", tmp_path / "out.json"
    if content is not None:
        file.write_text(content)
    for arguments in (["docs", file, "--out", out], ["show", file]):
        monkeypatch.setattr(sys, "argv", ["toolalpaca", "apis", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        stdout, stderr = capsys.readouterr()
        assert (end.value.code, stdout) == (2, "") and words in stderr
        assert stderr.count("\n") == 1 and "x.json" in stderr
    assert not out.exists()


def test_no_traceback_leaves_the_process(tmp_path: Path) -> None:
    done = in_a_process("apis", "show", tmp_path / "none.json")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert "none.json: no such file" in done.stderr


def test_a_full_disk_leaves_no_half_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([API]))
    # What `ulimit -f` does to a write is what a full disk does: it stops in the middle, with an error.
    command = f"ulimit -f 1; trap '' XFSZ; exec {sys.executable} -m toolalpaca_hf.cli apis docs x.json --out out.json"
    (tmp_path / "x.json").write_text(json.dumps([API | {"Introduction": "long " * 1000}]))
    environment = os.environ | {
        "PYTHONPATH": str(Path(toolalpaca_hf.__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and "out.json" in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json"]


def test_the_installed_command_is_this_one() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"]["toolalpaca"] == "toolalpaca_hf.cli:main"


def test_help_needs_no_room() -> None:
    code = (
        "import sys, toolalpaca_hf.cli; "
        "print([n for n in sys.modules if n.startswith(('toolalpaca_hf.', 'datasets', 'torch'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(toolalpaca_hf.__file__).parents[1])},
    )
    loaded = re.findall(r"'([^']+)'", done.stdout)
    rooms = {name for name in loaded if not name.startswith("toolalpaca_hf.cli")}
    room = {name.split(".")[1] for name in rooms}
    assert (
        room == {"agent", "create", "errors", "evaluation", "report", "schema", "storage"}
        and "toolalpaca_hf.agent.backend" not in loaded
        and "toolalpaca_hf.cli" in loaded
    )
    done = in_a_process("--help")
    assert done.returncode == 0 and "apis" in done.stdout and "simulate" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate"],
        ["simulate", "--apis", "x", "--port", "99999"],
        ["simulate", "--apis", "x", "--responder", "magic"],
        ["run", "--apis", "sample", "--model", "x"],
        ["run", "--apis", "sample", "--out", "x"],
        ["run", "--apis", "sample", "--out", "x", "--model", "x", "--style", "prose"],
        ["run", "--apis", "sample", "--out", "x", "--model", "x", "--limit", "0"],
    ],
)
def test_options_are_checked(arguments: list[str]) -> None:
    done = toolalpaca(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--apis", "none.json", "--endpoint", "http://127.0.0.1:9/v1", "--model", "x"], "none.json"),
        (["--apis", "sample", "--endpoint", "nowhere", "--model", "x"], "nowhere"),
        (["--apis", "sample", "--model", "no/such/folder"], "no/such/folder"),
        (["--apis", "sample", "--model", "org/x", "--user-model", "y"], "--user-endpoint"),
        (["--apis", "sample", "--endpoint", "http://127.0.0.1:9/v1", "--model", "x", "--tool", "hammer"], "hammer"),
    ],
)
def test_a_run_that_cannot_begin_names_what_is_wrong(tmp_path: Path, arguments: list[str], named: str) -> None:
    done = toolalpaca("run", *arguments, "--out", tmp_path / "run")
    assert done.returncode == 2 and named in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "run").exists()


def test_trajectories_are_evaluated_and_compared(tmp_path: Path) -> None:
    golden = json.loads(resolve_sources("sample").eval_simulated[0].path.read_text(encoding="utf-8"))
    for name, last in (("all", None), ("most", -1)):
        apis = []
        for api in golden:
            steps = [
                [
                    [[one["Action"], one["Action_Input"], ""], 'Status Code: 200. Response: {"ok": true}']
                    for one in answer
                ]
                for answer in api["Golden_Answers"]
            ]
            made = [
                {"input": text, "output": "Done.", "intermediate_steps": one}
                for text, one in zip(api["Instructions"], steps, strict=True)
            ]
            apis.append(api | {"Instances": made[:last]})
        (tmp_path / f"{name}.json").write_text(json.dumps(apis), encoding="utf-8")
        done = toolalpaca(
            "evaluate", "--trajectories", tmp_path / f"{name}.json", "--suite", "sample", "--out", tmp_path / name
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert "40 instructions, 0 failed, 4 missing (these count as wrong)" in done.stdout
    assert "all functions                 90.0%" in done.stdout and "report.html has the rest" in done.stdout
    records = json.loads((tmp_path / "all" / "instructions.json").read_text(encoding="utf-8"))
    assert {record["process_verdict"] for record in records} == {"Yes"}
    assert {"api", "index", "all_functions", "exact_set", "arguments", "reason"} <= set(records[0])

    done = toolalpaca("compare", tmp_path / "all", tmp_path / "most", "--out", tmp_path / "compared.md")
    assert (done.returncode, done.stderr) == (0, "")
    for shown in (done.stdout, (tmp_path / "compared.md").read_text(encoding="utf-8")):
        assert "100.0" in shown and "90.0" in shown and "process" in shown.lower()


def test_recorded_verdicts_are_parsed_again(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "judged" / "eval_7b_train_part_of_train_real.verdicts.json"
    done = toolalpaca("evaluate", "--judged", file, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "judge: process" in done.stdout
    recorded = json.loads(file.read_text(encoding="utf-8"))["statistics"]
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["judge"] == recorded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x"], "pass one of --model, --trajectories and --judged"),
        (["--out", "x", "--model", "m", "--judged", "y.json"], "pass one of --model, --trajectories and --judged"),
        (["--out", "x", "--model", "m", "--suite", "sample", "--apis", "y.json"], "pass --suite or --apis, not both"),
        (
            ["--out", "x", "--model", "m", "--judge-model", "j"],
            "--judge-endpoint and --judge-model: a judge needs both",
        ),
        (["--out", "x", "--model", "org/m", "--suite", "nowhere.json"], "nowhere.json: no such file"),
        (["--out", "x", "--trajectories", "none.json", "--suite", "sample"], "none.json: no trajectories"),
        (["--out", "x", "--judged", "none.json"], "none.json"),
        (["--out", "x", "--judged", "none.json", "--labels", "l.csv"], "--labels"),
        (["--out", "x", "--judged", "none.json", "--limit", "3"], "--limit"),
        (["--out", "x", "--trajectories", "none.json", "--temperature", "0.5"], "--temperature"),
        (["--out", "x", "--trajectories", "none.json", "--trials", "2"], "--trials"),
    ],
)
def test_what_can_not_be_evaluated_is_one_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = toolalpaca("evaluate", *(tmp_path / "x" if part == "x" else part for part in arguments))
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_flags_take_no_value_in_help() -> None:
    """Of every command, however deep: a flag has no type beside it, and an option that takes a value has one."""

    def walk(command: Any, parent: Any = None) -> list[tuple[str, bool, str]]:
        context = command.context_class(command, info_name=command.name, parent=parent)
        found = []
        for param in command.get_params(context):
            if param.param_type_name == "option":
                found.append((param.opts[0], param.is_flag, param.display_type_rich(context) or ""))
        for inner in getattr(command, "commands", {}).values():
            found += walk(inner, context)
        return found

    options = walk(build())
    assert len([name for name, flag, _ in options if flag]) > 20
    assert [name for name, flag, kind in options if flag and kind] == []
    assert [name for name, flag, kind in options if not flag and not kind] == []


def test_many_functions_are_a_line_each(tmp_path: Path) -> None:
    paths = {f"/cats/{number}": {"get": {"operationId": f"cat{number}", "responses": {}}} for number in range(300)}
    document = {"openapi": "3.0.0", "info": {"title": "Cats", "version": "1"}, "paths": paths}
    (tmp_path / "cats.json").write_text(json.dumps(document), encoding="utf-8")
    done = toolalpaca("apis", "show", tmp_path / "cats.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Cats" and lines[1:301] == [f"cat{n}: get /cats/{n} ()" for n in range(300)]


def test_a_script_is_named_by_a_path_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    assert script("toolalpaca.py") == "python dataset_scripts/toolalpaca.py"
    monkeypatch.chdir(tmp_path)
    _, path = shlex.split(script("toolalpaca.py"))
    assert Path(path).is_absolute() and Path(path).is_file()
