"""The page of an evaluation: what it says, whatever a model or an API wrote; read back by Python's own HTML parser."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCardData
from report_runs import golden_attempt, metrics_of, mixed_run, record_of, sample_attempts

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.evaluation import Attempt
from toolalpaca_hf.evaluation.report import instruction_page, report_html, write_report
from toolalpaca_hf.evaluation.report.figures import (
    INSTRUCTIONS,
    PUBLISHED,
    breakdowns,
    groups,
    headline,
    model_index,
)
from toolalpaca_hf.report import rate_text
from toolalpaca_hf.schema import Api, Instruction, Step, Trajectory

HOSTILE = (
    "</pre></details></style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<a href='https://evil.example'>x</a> {{ 7 * 7 }} \u202eevil\u0000\u2066 | `x` $\\frac"
)
VOID = {"meta", "input", "br", "img", "link", "hr"}
CONTAINERS = {"html", "body", "section", "div", "details"}


class Page(HTMLParser):
    """Elements of a page, those that hold no others with their texts; tells where one is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        for tag in set(self.open) - CONTAINERS:
            self.texts[tag][-1] += data

    def count(self, tag: str, css_class: str | None = None) -> int:
        return sum(
            name == tag and (css_class is None or css_class in (attributes.get("class") or "").split())
            for name, attributes in self.tags
        )


def hostile_run() -> tuple[dict[str, Any], list[dict[str, Any]], list[Attempt]]:
    """A run in which every text is an attack."""
    api = Api(f"eval_simulated/{HOSTILE}", HOSTILE, category=HOSTILE)
    attempts, records = [], []
    for index in range(3):
        instruction = Instruction(f"{api.id}/{index}", api.id, HOSTILE, [])
        steps = [Step(HOSTILE, HOSTILE, HOSTILE, HOSTILE * 20), Step(HOSTILE, "hallucination", "", HOSTILE, HOSTILE)]
        trajectory = Trajectory(instruction.id, api.id, HOSTILE, "", steps, HOSTILE, HOSTILE)
        attempts.append(Attempt(api, index, instruction, trajectory, "failed", HOSTILE))
        record = record_of(attempts[-1], "No", HOSTILE)
        record["golden_calls"] = [{"action": HOSTILE, "action_input": HOSTILE}]
        record["validity"] = {HOSTILE: HOSTILE}
        record["judge"] = {"process": HOSTILE, "response": None, "text": HOSTILE, "error": HOSTILE}
        records.append(record)
    metrics = metrics_of(records, suite=HOSTILE, model=HOSTILE)
    metrics["errors"] = {HOSTILE: 3}
    metrics["settings"] = metrics["judge_settings"] = {"model": HOSTILE, HOSTILE: HOSTILE}
    rate = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 3}
    metrics["judge_rates"] = dict.fromkeys((HOSTILE, "process", "response", "both"), rate)
    return metrics, records, attempts


def test_a_page_holds_every_instruction_and_what_was_done() -> None:
    metrics, records, attempts = mixed_run()
    page = Page(report_html(metrics, records, attempts))
    assert page.unbalanced == [] and page.open == []
    assert page.count("details", "item") == len(records) == 40
    assert page.count("details", "no") == sum(record["process_verdict"] == "No" for record in records)
    assert page.count("details", "failed") == sum(record["failed"] for record in records) == 8
    assert [text.rsplit(" ", 4)[0] for text in page.texts["h3"]] == list(metrics["by"]["api"])
    shown = set(page.texts["pre"])
    for attempt in attempts:
        assert attempt.instruction.instruction in shown
        for call in attempt.instruction.golden_calls:
            assert call.action_input in shown
        for step in attempt.trajectory.steps if attempt.trajectory else ():
            assert {step.thought, step.action, step.action_input, step.observation} <= shown
    assert {"the endpoint went away", "a golden call is absent", "The calls are right.\nYes"} <= shown


def test_long_observations_are_folded_with_their_length() -> None:
    metrics, records, attempts = mixed_run()
    page = Page(report_html(metrics, records, attempts))
    long = [step.observation for one in attempts if one.trajectory for step in one.trajectory.steps]
    long = [text for text in long if len(text) > 400]
    assert page.count("details", "long") == len(long) > 0
    assert f"observation, {len(long[0]):,} characters" in page.texts["summary"]


@pytest.mark.parametrize("steps", [2, 10])
def test_a_page_of_214_long_rollouts_stays_small(steps: int) -> None:
    api = Api("eval_real/tides", "Tides")
    observation = json.dumps([{"port": f"<{number}>", "height": "é"} for number in range(800)], ensure_ascii=False)
    assert len(observation) > 20_000
    attempts = []
    for index in range(214):
        instruction = Instruction(f"eval_real/tides/{index}", api.id, "High tide?", [])
        made = [Step("I look.", "findTide", "{}", observation)] * steps
        trajectory = Trajectory(instruction.id, api.id, "High tide?", "", made, "So.", "At noon.")
        attempts.append(Attempt(api, index, instruction, trajectory))
    records = [record_of(one) for one in attempts]
    text = report_html(metrics_of(records), records, attempts)
    assert len(text.encode()) < 10_000_000
    assert text.count("characters left out …") == text.count(f"observation, {len(observation):,} characters")
    assert text.count('<details class="long') == 214 * steps


def test_a_page_of_1000_rollouts_is_light_enough_to_open_at_once() -> None:
    """Elements and bytes are a browser's work: 1,000 rollouts with 3 calls each have to open in two seconds."""
    metrics, records, attempts = mixed_run()
    items = [{"id": number, "name": f"thing {number}", "text": "lorem ipsum dolor " * 4} for number in range(12)]
    observation = f"Status Code: 200. Response: {json.dumps(items)}"
    many, tried = [], []
    for number in range(1000):
        record, attempt = records[number % 40], attempts[number % 40]
        instruction = replace(attempt.instruction, id=f"{record['id']}-{number}")
        made = [Step("I look.", "findThings", '{"q": "x"}', observation)] * 3
        trajectory = Trajectory(instruction.id, attempt.api.id, "", "", made, "So.", "There are twelve.")
        many.append(record | {"id": instruction.id})
        tried.append(replace(attempt, instruction=instruction, trajectory=trajectory))
    text = report_html(metrics, many, tried)
    assert text.count('<details class="item') == 1000 and text.count("lorem") > 3000
    assert len(re.findall("<[a-z]", text)) < 90 * 1000 and len(text.encode()) < 6_000_000


def test_nothing_hostile_becomes_markup() -> None:
    text = report_html(*hostile_run())
    page = Page(text)
    assert page.unbalanced == [] and page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "template"}
    assert [value for _, attributes in page.tags for name, value in attributes.items() if name.startswith("on")] == []
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links <= {"https://arxiv.org/abs/2306.05301"}
    assert page.count("details", "item") == 3
    assert "49" not in "".join(page.texts["h1"])  # what looks like a template is text
    assert not {"\u202e", "\u2066", "\0"} & set(text)
    assert "‹U+202E›evil␀‹U+2066›" in page.texts["h1"][0]
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.split("; ")[0] == "default-src 'none'" and "script-src" not in policy


def test_a_page_asks_nothing_of_elsewhere() -> None:
    page = Page(report_html(*mixed_run()))
    asking = ("src", "srcset", "data", "poster", "action", "background", "ping")
    assert [attributes for _, attributes in page.tags if set(attributes) & set(asking)] == []
    assert all(a[k].startswith("#") for tag, a in page.tags if tag == "use" for k in a if k.endswith("href"))
    style = "".join(page.texts["style"])
    assert "url(" not in style and "@import" not in style


@pytest.mark.parametrize("failed", ["all", "none"])
def test_all_failed_or_none(failed: str, tmp_path: Path) -> None:
    def missing(api: Api, index: int, instruction: Instruction) -> Attempt:
        return Attempt(api, index, instruction, None, "missing")

    attempts = sample_attempts(missing if failed == "all" else golden_attempt)
    records = [record_of(one, "No" if failed == "all" else "Yes") for one in attempts]
    metrics = metrics_of(records) | ({} if failed == "all" else {"errors": {}})
    write_report(tmp_path / "new" / "run", metrics, records, attempts)
    page = Page((tmp_path / "new" / "run" / "report.html").read_text(encoding="utf-8"))
    assert page.count("details", "failed") == (40 if failed == "all" else 0)
    assert ("Errors by kind, as a table" in page.texts["summary"]) == (failed == "all")
    assert ("No step was an error." in page.texts["p"]) == (failed == "none")
    facts = page.texts["li"][:3]
    assert facts == (
        ["40 instructions", "40 failed", "40 missing"]
        if failed == "all"
        else ["40 instructions", "0 failed", "0 missing"]
    )
    assert (tmp_path / "new" / "run" / "report.md").read_text(encoding="utf-8").startswith("# Evaluation of tiny")


def test_half_a_surrogate_pair_is_reported(tmp_path: Path) -> None:
    metrics, records, attempts = mixed_run()
    write_report(tmp_path, metrics | {"model": "\ud83d"}, records, attempts)  # as JSON can spell it
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md", "model_index.json"}
    assert "‹U+D83D›" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(tmp_path / name, *mixed_run())
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_published_figures_are_whole_numbers_of_instructions() -> None:
    for suite, count in INSTRUCTIONS.items():
        possible = {f"{100 * yes / count:.1f}" for yes in range(count + 1)}
        for process, response, overall in (row[suite] for row in PUBLISHED.values()):
            assert {f"{share:.1f}" for share in (process, response, overall)} <= possible
            assert overall <= min(process, response)  # overall is both at once


def test_the_headline_sets_ours_apart_from_the_published() -> None:
    metrics, records, _ = mixed_run()
    for suite, published in (("simulated", 5), ("real", 5), ("sample", 0)):
        rows = headline(metrics | {"suite": suite})
        assert [row.published for row in rows] == [False, False] + [True] * published
        assert [row.judge for row in rows[:2]] == ["rule, no judge", "judge-7b"]
        page = Page(report_html(metrics | {"suite": suite}, records))
        assert (page.count("tr", "ours"), page.count("tr", "published")) == (2, published)
    del metrics["judge_rates"], metrics["judge_settings"]
    assert [row.judge for row in headline(metrics)] == ["rule, no judge"]


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        ({"value": 0.63, "low": 0.531, "high": 0.722, "n": 100}, "63.0 (53.1 to 72.2)"),
        ({"value": 1, "low": 1, "high": 1}, "100.0 (100.0 to 100.0)"),
        ({"value": 0.0, "low": None, "high": None}, "0.0"),
        ({"value": float("nan"), "low": 0.0, "high": 1.0}, "–"),
        ({"value": None}, "–"),
        (None, "–"),
    ],
)
def test_a_rate_in_words(rate: dict[str, Any] | None, text: str) -> None:
    assert rate_text(rate) == text


def test_groups_stand_in_a_useful_order() -> None:
    rates = {"b": 0.5, "a": 0.5, "c": 0.1}
    by = {"api": {name: {"n": 1, "process_verdict": {"value": value}} for name, value in rates.items()}}
    by["golden_calls"] = dict.fromkeys(("0", "9", "10"), by["api"]["c"])
    assert [name for name, _ in groups({"by": by}, "api")] == ["c", "a", "b"]
    assert [name for name, _ in groups({"by": by}, "golden_calls")] == ["0", "9", "10"]
    assert [table["key"] for table in breakdowns(mixed_run()[0])] == ["api", "category", "golden_calls"]


def test_counts_of_an_instruction_are_said_in_words() -> None:
    validity = {"json_object": 2, "hallucinated": ["findTides", "<b>"], "error_kinds": {"HTTP 404": 2}}
    validity["shares"] = {"x": 0.5}
    _, (record, *_), _ = mixed_run()
    counts = Page(instruction_page(record | {"validity": validity, "f1": 0.5}, None)).texts["pre"][-1].split("\n")
    assert {"JSON object: 2", "Error kinds: HTTP 404", "F1 of calls: 0.50"} <= set(counts)
    assert "Hallucinated: findTides, <b>" in counts
    assert "Shares" not in "".join(counts)


@pytest.mark.parametrize("run", [mixed_run, hostile_run])
def test_results_go_into_a_model_card_and_come_back(run: Any) -> None:
    metrics, _, _ = run()
    results = [EvalResult(**one) for one in json.loads(json.dumps(model_index(metrics)))]
    card = ModelCardData(model_name="tiny", eval_results=results)
    assert card.to_yaml().startswith("model-index:")
    again = ModelCardData(**card.to_dict())
    assert sorted(map(repr, again.eval_results)) == sorted(map(repr, results))
    rates = [metrics["process_verdict"], *metrics["judge_rates"].values(), *metrics["calls"].values()]
    assert sorted(one.metric_value for one in results) == sorted(round(100 * rate["value"], 1) for rate in rates)


def test_recorded_trajectories_are_shown(real_data: Path) -> None:
    for name, split in (
        ("eval_7b_cleaned_train_simulated", "eval_simulated"),
        ("eval_7b_train_part_of_train_real", "eval_real"),
    ):
        file = real_data / "judged" / f"{name}.trajectories.json"
        corpus = read_corpus(resolve_sources(**{split: file}))
        apis = {api.id: api for api in corpus.apis[split]}
        made = {trajectory.id: trajectory for trajectory in corpus.trajectories[split]}
        attempts = [
            Attempt(apis[one.api], int(one.id.rpartition("/")[2]), one, made.get(one.id))
            for one in corpus.instructions[split]
        ]
        records = [record_of(one) for one in attempts]
        text = report_html(metrics_of(records, suite=split.removeprefix("eval_")), records, attempts)
        page = Page(text)
        assert page.unbalanced == [] and len(text) < 2_000_000
        assert page.count("details", "item") == len(attempts) == {"eval_simulated": 100, "eval_real": 114}[split]
        assert page.texts["h3"] and len(page.texts["h3"]) == len(apis)
