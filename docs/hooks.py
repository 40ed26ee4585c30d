"""What the site has besides docs/: a reference page a room, and the pages that live in the repository's root."""

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "toolalpaca_hf"
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
}
"""Files of the repository and the page each becomes."""


def public_names(room: Path) -> list[str]:
    """What a room's front exports, or every public function, class and constant of a module."""
    module = room.with_suffix(".py") if room.with_suffix(".py").is_file() else room / "__init__.py"
    stub = room / "__init__.pyi"
    if stub.is_file():
        found = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
        return sorted(alias.asname or alias.name for node in found for alias in node.names)
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return sorted(ast.literal_eval(node.value))
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    if exported := [alias.name for node in found for alias in node.names if alias.asname == alias.name]:
        return sorted(exported)  # `from .x import name as name`
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [node.name for node in defined if not node.name.startswith("_") and ast.get_docstring(node)]


def reference_page(room: str) -> str:
    """Markdown of a room's page."""
    path = PACKAGE / room
    module = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    about = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    # Constants are read where they are used; several of one assignment cannot be found by name.
    names = [name for name in public_names(path) if not name.isupper()]
    items = "\n\n".join(f"::: toolalpaca_hf.{room}.{name}" for name in names)
    return f"# toolalpaca_hf.{room}\n\n{about}\n\n{items}\n"


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    rooms = sorted(path.stem for path in PACKAGE.iterdir() if f"reference/{path.stem}.md" in str(config["nav"]))
    pages = {f"reference/{room}.md": reference_page(room) for room in rooms}
    pages |= {page: (ROOT / file).read_text(encoding="utf-8") for file, page in PAGES.items()}
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    for picture in sorted((ROOT / "benchmarks" / "pictures").glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the repository has them become the site's; what is not part of it stays as text."""
    depth = page.file.src_uri.count("/")
    up = "../" * depth

    def site_link(found: re.Match[str]) -> str:
        text, target, anchor = found["text"], found["target"], found["anchor"] or ""
        path = target.lstrip("./")
        if path in PAGES:
            return f"[{text}]({up}{PAGES[path]}{anchor})"
        if path.startswith("docs/"):
            return f"[{text}]({up}{path.removeprefix('docs/')}{anchor})"
        outside = re.match(r"(\.\./)*(src|benchmarks|recipes|tests|examples)/", target)
        if outside or path in ("README.md", "README.zh.md"):
            return text
        return found.group()

    return re.sub(r"(?<!!)\[(?P<text>[^\]\n]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)", site_link, markdown)
