"""Every code block of README and docs: commands are parsed by what they call, Python is run or at least resolved."""

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from toolalpaca_hf.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
OTHERS = {
    "curl",
    "hf",
    "export",
    "git",
    "cd",
    "pipx",
    "inspect",
    "transformers",
    "pre-commit",
    "pytest",
    ".ci/run",
    "vllm",
    "source",
    "openenv",
}
"""Programs that are not ours."""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        (found[2], "".join(f"{line[len(found[1]) :]}\n" for line in found[3].splitlines()))
        for found in FENCE.finditer(text)
    ]


def commands(page: str) -> list[list[str]]:
    """The commands of a page as words: its shell blocks, and what stands between backticks in a table's cell."""
    text = "\n".join(code for language, code in blocks(page) if language in ("bash", "sh", "shell", "console"))
    lines = text.replace("\\\n", " ").splitlines()
    lines += re.findall(
        r"\| `((?:python|accelerate|toolalpaca|make) [^`]+)` \|", (ROOT / page).read_text(encoding="utf-8")
    )
    found = []
    for line in lines:
        for part in re.split(r"\s(?:&&|\|)\s", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                found.append(words)
    return found


@cache
def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


@cache
def recipe_fields() -> set[str]:
    """Fields of the recipes' dataclasses, read from their source: importing trl takes longer than all tests here."""
    files = [ROOT / "src" / "toolalpaca_hf" / "training" / "config.py"]
    for package, names in {
        "trl": ("sft_config", "model_config", "base_config"),
        "transformers": ("training_args",),
    }.items():
        spec = importlib.util.find_spec(package)
        folder = Path(str(spec and spec.origin)).parent
        files += [path for name in names for path in folder.rglob(f"{name}.py")]
    files += [ROOT / "src" / "toolalpaca_hf" / file for file in ("evaluation/evaluate.py", "agent/config.py")]
    found = {
        name for file in files for name in re.findall(r"^    (\w+): ", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    return found | {"config", "config_file"}


def check_toolalpaca(words: list[str]) -> None:
    command, name = get_command(app), "toolalpaca"
    while hasattr(command, "commands"):
        if words and words[0].startswith("--"):  # of the whole program
            assert words[0] == "--help" or any(words[0] in param.opts for param in command.params), words
            return
        assert words and words[0] in command.commands, f"toolalpaca has no {words[:1]}"
        name, command, words = words[0], command.commands[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(name, list(words), resilient_parsing=False)


def check_script(words: list[str]) -> None:
    script = next(word for word in words if word.endswith(".py"))
    source = (ROOT / script).read_text(encoding="utf-8")
    given = [word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")]
    for word in words:
        if word.endswith((".yaml", ".yml")) and word.startswith("recipes/"):
            assert (ROOT / word).is_file(), word
    for option in given:
        own = rf'"--{option}"|"--\{{\w+\}}"|^    {option}: '  # of argparse, in a loop, or a field of its dataclass
        known = option in recipe_fields() or re.search(own, source, re.MULTILINE)
        assert known, f"{script} has no --{option}"


def check(words: list[str]) -> None:
    """Fail where a command would not even start."""
    program, rest = words[0], words[1:]
    if program not in OTHERS:
        program = Path(program).name  # of another environment
    if program == "toolalpaca":
        check_toolalpaca(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert next(word for word in rest if "=" not in word) in targets, words
    elif program == "accelerate" or (program == "python" and rest[0].endswith(".py")):
        check_script(rest)
    elif program == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]), words
    elif program == "python" and rest[0] == "-c":
        ast.parse(rest[1])
    elif program == "pip":
        wanted = {name for word in rest for found in re.findall(r"\[([\w,]+)\]", word) for name in found.split(",")}
        assert rest[0] == "install" and wanted <= extras(), words
    else:
        assert program in OTHERS, f"no test knows what {program} takes"


@pytest.mark.parametrize("page", NAMES)
def test_commands_would_start(page: str) -> None:
    for words in commands(page):
        try:
            check(words)
        except Exception as error:
            raise AssertionError(f"{shlex.join(words)}: {error}") from error


def test_there_are_commands_and_wrong_ones_are_seen() -> None:
    assert sum(len(commands(page)) for page in NAMES) > 70
    for wrong in ("toolalpaca run --modell x", "toolalpaca walk", "make supper", "pip install '.[trane]'", "rm -rf x"):
        with pytest.raises((AssertionError, Exception)):
            check(shlex.split(wrong))


@pytest.mark.parametrize("page", NAMES)
def test_python_and_data_blocks_are_whole(page: str) -> None:
    for language, code in blocks(page):
        if language == "python" and ">>>" not in code:
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toolalpaca_hf"):
                    module = importlib.import_module(str(node.module))
                    assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
        elif language == "json":
            json.loads(code)
        elif language == "yaml":
            yaml.safe_load(code)


def runnable() -> list[Any]:
    """Python blocks that need nothing but the package: with what they print, where a text block follows."""
    found = []
    for page in NAMES:
        inside = blocks(page)
        for index, (language, code) in enumerate(inside):
            free = not re.search(r"build/|outputs/|from_pretrained|Trainer|runs/", code)
            if language == "python" and ">>>" not in code and free:
                following = inside[index + 1 : index + 2]
                printed = following[0][1] if following and following[0][0] == "text" else ""
                marks = () if page.startswith("README") else pytest.mark.slow  # they import torch
                found.append(pytest.param(page, code, printed, marks=marks))
    return found


@pytest.mark.parametrize(("page", "code", "printed"), runnable())
def test_python_blocks_run(page: str, code: str, printed: str, tmp_path: Path) -> None:
    environment = {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert not printed or done.stdout == printed


def slug(heading: str) -> str:
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower()))


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if (
            re.match(r"\w+:", target) or target == "benchmarks.md"
        ):  # the site makes the latter of benchmarks/RESULTS.md
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/my-api.md"])
def test_the_chinese_page_has_the_same_commands(page: str) -> None:
    chinese = page.replace(".md", ".zh.md")
    ours = [words for words in commands(page) if words[0] != "curl"]
    assert commands(chinese) == ours
    assert [code for language, code in blocks(chinese) if language == "python"] == [
        code for language, code in blocks(page) if language == "python"
    ]


def test_the_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_page_of_the_reference_has_names(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec and spec.loader
    hooks = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(hooks)
    except ImportError:
        pytest.skip("mkdocs is not installed: make docs has it")
    rooms = re.findall(r"reference/(\w+)\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert len(rooms) > 15 and all(hooks.public_names(hooks.PACKAGE / room) for room in rooms)


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "load_backend" in (tmp_path / "site" / "reference" / "agent.html").read_text(encoding="utf-8")
