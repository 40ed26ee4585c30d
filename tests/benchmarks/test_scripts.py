"""Every benchmark of the page: that it takes a short form and gives its figures; and what the guides say of them."""

import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FIGURE = re.compile(r"\d+(?:\.\d+)?%")


def names() -> list[str]:
    source = (ROOT / "benchmarks" / "page.py").read_text(encoding="utf-8")
    return re.findall(r'^    Benchmark\("(\w+)"', source, re.MULTILINE)


def test_the_page_runs_every_benchmark(page: ModuleType) -> None:
    assert [one.name for one in page.BENCHMARKS] == names()
    others = {
        "bfcl_scoring",
        "bfcl_verdicts",
        "environments",
        "injected_answers",
        "licences",
        "load",
        "long_runs",
        "measured",
        "openapi_conformance",
        "openapi_judge",
        "page",
        "prefix_packing_mask",
        "prefix_packing_rows",
        "property_names",
        "screening_fingerprints",
        "templates",
        "training_ways",
        "toolformer_gsm8k",
        "tool_recall",
    }
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert scripts == {*names(), *others}


@pytest.mark.parametrize("name", names())
def test_every_benchmark_has_a_short_form_and_writes_json(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--quick" in said and "--json" in said
    assert f"python benchmarks/{name}.py" in said, "how it is called stands above its options"


def test_the_simulator_is_asked_what_its_documents_declare(folder: Path) -> None:
    asked = runpy.run_path(str(folder / "simulator_throughput.py"))["requests_of"]("sample")
    assert len(asked) > 20 and {"GET", "POST"} <= {method for method, _, _ in asked}
    assert all(bool(body) == (method != "GET") for method, _, body in asked)
    assert all(isinstance(json.loads(body), dict) for _, _, body in asked if body)


def test_every_rate_in_readme_and_guides_was_measured() -> None:
    results = "".join(
        (ROOT / path).read_text(encoding="utf-8") for path in ("benchmarks/RESULTS.md", "docs/results.md")
    )
    measured = set(FIGURE.findall(results))
    pages = [ROOT / "README.md", *(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "docs/tutorials/quickstart.md"]
    stated = {rate for page in pages for rate in FIGURE.findall(page.read_text(encoding="utf-8"))}
    assert len(stated) > 10
    # 95% is the width of every interval.
    assert stated - {"95%"} <= measured
