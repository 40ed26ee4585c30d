"""The drawings: well-formed, the same each time, true to their figures, and absent rather than broken."""

import re
import sys
import xml.etree.ElementTree as ET

import pytest
from report_runs import mixed_run
from test_report import HOSTILE, Page, hostile_run

from toolalpaca_hf.evaluation.report import report_html
from toolalpaca_hf.evaluation.report.figures import plots

pytest.importorskip("matplotlib")
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_plots_say_what_they_show() -> None:
    metrics, _, _ = mixed_run()
    metrics["errors"] = {"wrong arguments": 7, "not called": 2}
    drawn = plots(metrics)
    assert list(drawn) == ["errors", "api", "golden_calls"]
    assert {"Errors by kind (n = 9 errors)", "wrong arguments", "not called", "7", "2"} <= set(texts(drawn["errors"]))
    by_api = texts(drawn["api"])
    assert {"Bauhof (n = 10)", "percent of instructions, with 95% interval", "process correct, by rule"} <= set(by_api)
    assert {"1 golden call (n = 28)", "2 golden calls (n = 12)"} <= set(texts(drawn["golden_calls"]))


def test_plots_are_the_same_each_time_and_share_no_ids() -> None:
    metrics, _, _ = mixed_run()
    drawn = plots(metrics)
    assert drawn == plots(metrics)
    ids = [element.get("id") for svg in drawn.values() for element in ET.fromstring(svg).iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 50
    references = 0
    for svg in drawn.values():
        known = {element.get("id") for element in ET.fromstring(svg).iter()}
        named = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
        assert set(named) <= known
        references += len(named)
    assert references > 4


def test_hostile_names_are_text() -> None:
    metrics, _, _ = hostile_run()
    for svg in plots(metrics).values():
        root = ET.fromstring(svg)
        assert {element.tag for element in root.iter()} - {"div"} <= {
            f"{SVG}{tag}" for tag in ("svg", "defs", "style", "g", "path", "use", "text", "clipPath", "rect")
        }
        assert any(text.startswith(HOSTILE[:12]) for text in texts(svg)) or "golden" in svg


def test_without_matplotlib_the_page_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = Page(report_html(*mixed_run()))
    assert page.count("svg") == 0 and "There are no plots: they need matplotlib." in page.texts["p"]
    assert page.count("details", "table") == 6  # errors, three breakdowns, two of settings
