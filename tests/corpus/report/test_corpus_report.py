"""The report of a corpus: its figures against a count by other means, and texts that want to be more than texts."""

import html
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from corpus.roles_double import huts

from toolalpaca_hf.corpus.report.writing import write_report
from toolalpaca_hf.corpus.simulation.filters import FILTERS
from toolalpaca_hf.errors import InputError
from toolalpaca_hf.schema import Api, Step, Trajectory

STEPS = [
    Step("I look.", "findHuts", '{"near": "Alvdahl"}', 'Status Code: 404. Response: {"error":"no such place"}'),
    Step("I ask.", "getDetails", '{"Question": "Where?"}', "Alvdal."),
    Step("Again.", "findHuts", '{"near": "Alvdal"}', 'Status Code: 200. Response: [{"hutId":12,"name":"Eagle Hut"}]'),
    Step("Beds.", "getFreeBeds", '{"hutId": 12, "night": "2025-07-04"}', 'Status Code: 200. Response: {"free":7}'),
]
TWO = Trajectory("train/huts/0", "train/huts", "Huts near Alvdal?", "", STEPS, "So.", "Eagle Hut has 7 beds.")
ONE = replace(TWO, id="train/huts/1", instruction="A hut?", steps=STEPS[2:3], response="Eagle Hut.")


def line(one: Trajectory, kept: bool = True, **changed: Any) -> dict[str, Any]:
    """A line of `instances.jsonl`."""
    provenance = {
        "source": "simulated",
        "stood_in": ["executor: it holds no JSON object"],
    }
    return {
        "id": one.id,
        "api": one.api,
        "instruction": one.instruction,
        "trajectory": asdict(one),
        "gates": dict.fromkeys(FILTERS),
        "kept": kept,
        "provenance": provenance,
    } | changed


def folder(path: Path, apis: list[dict[str, Any]], instances: list[dict[str, Any]], note: Any = None) -> Path:
    """A corpus folder as building writes it."""
    path.mkdir(exist_ok=True)
    for name, lines in (("apis.jsonl", apis), ("instances.jsonl", instances)):
        (path / name).write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    (path / "corpus.json").write_text(json.dumps(note or {"cost": 1.5, "set_aside": 1}), encoding="utf-8")
    return path


def described(api: Api) -> dict[str, Any]:
    return {"id": api.id, "api": asdict(api), "set_aside": None}


def test_the_figures_of_a_small_corpus(tmp_path: Path) -> None:
    empty = replace(huts(), id="train/lakes", name="Lakes", category="", functions=huts().functions[:1])
    failed = line(
        ONE, kept=False, id="train/huts/2", gates=dict.fromkeys(FILTERS) | {"grounded": "hm", "length": "hm"}
    )
    unplayed = line(
        ONE, kept=False, id="train/huts/3", trajectory=None, gates={}, provenance={"failure": "it is away"}
    )
    path = folder(
        tmp_path / "corpus",
        [described(huts()), {"id": "train/set-aside", "api": None, "set_aside": "no document"}, described(empty)],
        [line(TWO), line(ONE), failed, unplayed],
    )
    found = write_report(path)
    expected = {
        "apis": 2, "apis_with_instances": 1, "categories": 2, "functions": 3, "instances": 2, "single_function": 1,
        "multi_function": 1, "no_function": 0, "calls": 4, "instances_with_error": 1, "recovered": 1, "asks_user": 1,
        "error_share_of_steps": 1 / 5, "made": 4, "passed_all_gates": 2, "stood_in": 3, "cost": 1.5,
        "set_aside_apis": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["calls_per_instance"] == {"mean": 2, "median": 2, "min": 1, "max": 3}
    assert found["functions_per_api"]["mean"] == 1.5 and found["instruction_words"]["max"] == 3
    assert found["failed"] == dict.fromkeys(FILTERS, 0) | {"finished": 1, "grounded": 1, "length": 1}
    assert found["failed_first"] == dict.fromkeys(FILTERS, 0) | {"finished": 1, "grounded": 1}
    assert json.loads((path / "corpus_report.json").read_text()) == found
    assert "it is away" in (path / "corpus_report.html").read_text()


def test_what_the_stages_let_through_is_told(tmp_path: Path) -> None:
    note = {"entries": 3, "apis": 1, "set_aside": 2, "copies": 1, "written": 4, "instructions": 3, "taken": 2}
    asked = {"calls": 9, "retries": 5, "enforced": 7, "prompt_tokens": 1234, "completion_tokens": 56}
    aside = {
        "id": "train/x",
        "entry": {"name": "Lakes"},
        "api": None,
        "set_aside": "its document is that of train/huts",
    }
    path = folder(tmp_path / "corpus", [described(huts()), aside], [line(TWO)], note | {"asked": {"author": asked}})
    assert write_report(path)["stages"] == note
    markdown = (path / "corpus_report.md").read_text(encoding="utf-8")
    for row in (
        "| APIs of the list | 3 |",
        "| - set aside as a copy of another | 1 |",
        "| author | 9 | 5 | 7 | 1,234 | 56 |",
    ):
        assert row in markdown
    assert "- Lakes was set aside: its document is that of train/huts" in markdown


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"' {{ 7*7 }} {% raw %} | # [a](http://b) \u202e\x00 $x$"
)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    steps = [Step(HOSTILE, "findHuts", json.dumps({"near": HOSTILE}), HOSTILE)]
    bad = Trajectory("train/huts/0", "train/huts", HOSTILE, HOSTILE, steps, HOSTILE, HOSTILE)
    gates = dict.fromkeys(FILTERS) | {"grounded": HOSTILE}
    api = replace(huts(), name=HOSTILE, category=HOSTILE)
    lines = [
        line(bad),
        line(bad, kept=False, gates=gates, provenance={"source": HOSTILE}),
    ]
    aside = {"id": "train/x", "entry": {"name": HOSTILE}, "api": None, "set_aside": HOSTILE}
    path = folder(
        tmp_path / "<b>corpus", [described(api), aside], lines, {"entries": 2, "set_aside": 1, "asked": {HOSTILE: {}}}
    )
    write_report(path)
    text = (path / "corpus_report.html").read_text(encoding="utf-8")
    page, quiet = Page(text), Page(_report_of(tmp_path))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in quiet.tags}
    assert not {"script", "img", "b>corpus", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert "<script>alert(1)</script>" in page.text and "{{ 7*7 }}" in page.text and "49" not in page.text
    assert "\u202e" not in text and "\x00" not in text and "‹U+202E›" in page.text
    markdown = (path / "corpus_report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown and "<img" not in markdown and not re.search(r"(?<!\\)\]\(", markdown)
    for row in markdown.splitlines():
        if row.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", row)) in (3, 5, 7), row


def _report_of(tmp_path: Path) -> str:
    aside = {"id": "train/x", "entry": {"name": "Lakes"}, "api": None, "set_aside": "no document"}
    lines = [line(TWO), line(ONE, kept=False, gates={"grounded": "hm"})]
    path = folder(tmp_path / "quiet", [described(huts()), aside], lines, {"entries": 2, "set_aside": 1})
    write_report(path)
    return (path / "corpus_report.html").read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = _report_of(tmp_path)
    page = Page(text)
    assert "default-src 'none'" in text and text.count("<figure") == 4
    assert text.count('<svg class="broad"') == text.count('<svg class="narrow"') == 4
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attrs.get(name) or "#").startswith("#"), attrs
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert used and {one or other for one, other in used} <= set(ids)


def test_the_same_corpus_gives_the_same_report(tmp_path: Path) -> None:
    assert _report_of(tmp_path) == _report_of(tmp_path)


def test_tokens_are_counted_as_the_corpus_did(tmp_path: Path) -> None:
    found = []
    for gates in ({"characters": 1, "max_tokens": 10**6}, {"characters": 10.0}):
        path = folder(tmp_path / "x", [described(huts())], [line(TWO)], {"settings": {"simulation": {"gates": gates}}})
        found.append((write_report(path)["row_tokens"]["max"], (path / "corpus_report.md").read_text()))
    (letters, some), (tenths, others) = found
    assert tenths == round(letters / 10) and "is 1000000 tokens" in some and "is 2048 tokens" in others
    offline = folder(tmp_path / "x", [described(huts())], [line(TWO)], {"settings": {"gates": {"characters": 5}}})
    assert write_report(offline)["row_tokens"]["max"] == round(letters / 5)


@pytest.mark.parametrize("broken", [b'{"id": "train/hu', b"[]", b'{"api": {"id": "x"}}', b'{"\xff": 1}', b"[" * 9999])
@pytest.mark.parametrize("name", ["apis.jsonl", "instances.jsonl"])
def test_a_broken_line_is_named(name: str, broken: bytes, tmp_path: Path) -> None:
    path = folder(tmp_path / "corpus", [described(huts())], [line(TWO)])
    with (path / name).open("ab") as file:
        file.write(broken)
    with pytest.raises(InputError) as caught:
        write_report(path)
    assert (caught.value.file, caught.value.row) == (path / name, 2)


def test_what_is_no_corpus_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_report(tmp_path)
    with pytest.raises(InputError):
        write_report(tmp_path / "nowhere.json")
    damaged: list[dict[str, Any]] = [{"settings": {"gates": {"characters": 0}}}, {"cost": "1.5"}, {"set_aside": "two"}]
    for note in (*damaged, {"asked": []}, {"asked": {"author": {"calls": "9"}}}, {"asked": None}):
        with pytest.raises(InputError) as caught:
            write_report(folder(tmp_path / "odd", [], [], note))
        assert caught.value.file == tmp_path / "odd" / "corpus.json"
    path = folder(tmp_path / "corpus", [described(huts())], [line(replace(TWO, api="train/lakes"))])
    with pytest.raises(InputError, match="train/lakes"):
        write_report(path)


def test_markdown_says_what_the_page_says(tmp_path: Path) -> None:
    text = _report_of(tmp_path)
    markdown = (tmp_path / "quiet" / "corpus_report.md").read_text(encoding="utf-8")
    cells = re.findall(r'<th scope="row">([^<]+)</th><td>(.*?)</td></tr>', text.partition("</table>")[0])
    assert len(cells) > 15
    for name, drawn in cells:
        value = re.sub("<[^>]+>", "", drawn)
        assert f"| {html.unescape(name)} | {html.unescape(value)} |" in markdown
