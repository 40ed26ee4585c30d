"""Rooms import one way, and data can be read and built without torch."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "toolalpaca_hf"

# Each line may import from the lines above it; rooms of one line know nothing of each other.
ORDER = (
    ("__init__", "errors"),
    ("storage", "report"),
    ("features",),
    ("schema", "sources", "checkpoints", "executors", "precision"),
    ("openapi",),
    ("formats",),
    ("metrics", "data"),
    ("inference",),
    ("llm",),
    ("training", "simulator"),
    ("agent",),
    ("environments",),
    ("corpus", "evaluation"),
    ("toolformer",),
    ("experimental",),
    ("hub",),
    ("create",),
    ("explore",),
    ("cli",),
)
# Rooms that other rooms enter only through `__init__`.
FRONT_ONLY: frozenset[str] = frozenset(
    {
        "agent",
        "corpus",
        "create",
        "data",
        "environments",
        "evaluation",
        "explore",
        "formats",
        "hub",
        "inference",
        "llm",
        "metrics",
        "openapi",
        "report",
        "simulator",
        "storage",
        "toolformer",
        "training",
    }
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def room_of(module: str) -> str:
    """`toolalpaca_hf.data.corpus` -> `data`; the package itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """Modules of this package that a source text names, inside functions and `if TYPE_CHECKING` too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if is_package else module.split(".")[:-1]
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            base = base if node.level else node.module
            # `from .. import data` names a room, `from .. import __version__` the package.
            found |= {f"{base}.{a.name}" if base == "toolalpaca_hf" and a.name in LEVEL else base for a in node.names}
    return {name for name in found if name.split(".")[0] == "toolalpaca_hf"}


def sources() -> dict[str, tuple[str, bool]]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["toolalpaca_hf", *path.relative_to(PACKAGE).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        found[".".join(parts[:-1] if is_package else parts)] = (path.read_text(encoding="utf-8"), is_package)
    return found


def against_the_order(module: str, source: str, is_package: bool = False) -> list[str]:
    room = room_of(module)
    return [
        name
        for name in sorted(imports_of(source, module, is_package))
        if room_of(name) != room and LEVEL[room_of(name)] >= LEVEL[room]
    ]


def test_rooms_import_one_way() -> None:
    found = sources()
    assert len(found) > 30 and {room_of(module) for module in found} <= set(LEVEL)
    assert {module: bad for module, text in found.items() if (bad := against_the_order(module, *text))} == {}


def around_the_front(module: str, source: str, is_package: bool = False) -> list[str]:
    """Modules inside other rooms that a source text names, where it has to name the room."""
    room = room_of(module)
    names = sorted(imports_of(source, module, is_package))
    return [name for name in names if room_of(name) in FRONT_ONLY - {room} and name.count(".") > 1]


def test_rooms_are_entered_through_their_front() -> None:
    assert {module: bad for module, text in sources().items() if (bad := around_the_front(module, *text))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from ..data import ToolAlpaca",
        "from .. import data",
        "from toolalpaca_hf import training",
        "import toolalpaca_hf.evaluation.measure",
        "def late():\n    from ..training.collate import CompletionOnlyCollator",
    ],
)
def test_an_import_upwards_is_seen(line: str) -> None:
    assert against_the_order("toolalpaca_hf.formats.react", line)


def test_an_import_downwards_or_inside_is_allowed() -> None:
    line = "from ..schema import Api\nfrom .steps import step_log\nfrom .. import __version__\nimport json"
    assert against_the_order("toolalpaca_hf.formats.react", line) == []
    assert against_the_order("toolalpaca_hf.formats", "from .react import ReactPrompt", is_package=True) == []


def is_script(module: str) -> bool:
    """`metrics/NAME/NAME.py` is what `evaluate.load` takes, and imports `evaluate`, which imports torch."""
    return ".metrics." in module and module.split(".")[-1] == module.split(".")[-2]


def test_the_rooms_of_data_load_neither_torch_nor_transformers() -> None:
    """Every module of them, in a new process."""
    light = [name for name in sources() if LEVEL[room_of(name)] <= LEVEL["data"] and not is_script(name)]
    assert {"toolalpaca_hf", "toolalpaca_hf.data", "toolalpaca_hf.openapi", "toolalpaca_hf.formats"} <= set(light)
    code = "import importlib, json, sys; [importlib.import_module(name) for name in json.loads(sys.argv[1])]; "
    code += "print(json.dumps([name in sys.modules for name in ('toolalpaca_hf.data', 'torch', 'transformers')]))"
    done = subprocess.run([sys.executable, "-c", code, json.dumps(light)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, False, False]
