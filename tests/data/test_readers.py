"""Readers: what is kept, what is set aside and why, and that nothing is lost on the way."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_layout import raw_api, raw_instance

from toolalpaca_hf.data import Report, Slugs, parse_api_list, read_corpus, read_file, resolve_sources, slug
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError
from toolalpaca_hf.formats import step_log

Write = Callable[[str, Any], Path]


def reasons(report: Report) -> list[str]:
    return [f"{row.row}: {row.reason}" for row in report.rows]


def test_a_whole_instance(write: Write) -> None:
    text = "High tide?\nHint: not this\nHint: look at the sea"
    train = write("train.json", [raw_api(Instances=[raw_instance(text)])])
    corpus = read_corpus(resolve_sources(train=train))
    (api,), (trajectory,) = corpus.apis["train"], corpus.trajectories["train"]
    assert (api.id, api.functions[0].method, api.components) == ("train/tides", "get", "\nshared")
    assert api.documentation["paths"]["/tides"]["get"]["operationId"] == "findTide"
    assert trajectory.id == "train/tides/0" and trajectory.api == api.id
    assert (trajectory.instruction, trajectory.hint) == ("High tide?\nHint: not this", "look at the sea")
    (step,) = trajectory.steps
    assert (step.thought, step.action, step.log) == ("I look.", "findTide", None)
    assert (trajectory.final_thought, trajectory.response) == ("I know.", "At noon.")


def test_irregular_instances_are_kept_where_meaning_survives(write: Write) -> None:
    odd_step = [["findTide", {"day": 1}, "I  look\nASSISTANT Action: findTide "], {"image": "tide.png"}]
    instances = [
        {"error": "Could not parse LLM output: `x`"},
        "a bare string",
        raw_instance(intermediate_steps=...),
        raw_instance(**{"Final Thought": ...}),
        raw_instance(output=...),
        raw_instance(output=..., intermediate_steps=...),
        raw_instance(intermediate_steps=[odd_step]),
        raw_instance(intermediate_steps=[[["findTide", ""], "no text of the model"]]),
        raw_instance(intermediate_steps=["findTide"]),
        raw_instance(input=...),
        None,
    ]
    api = raw_api(Instances=instances, Instructions=["not this one"] * 9 + ["from Instructions"])
    corpus = read_corpus(resolve_sources(train=write("train.json", [api])))
    kept = {trajectory.id.rsplit("/", 1)[1]: trajectory for trajectory in corpus.trajectories["train"]}
    assert list(kept) == ["2", "3", "4", "6", "7", "9"]  # the index is the place in the file, whatever is set aside
    assert kept["2"].steps == [] and kept["3"].final_thought is None and kept["4"].response == ""
    (step,) = kept["6"].steps
    assert json.loads(step.action_input) == {"day": 1} and json.loads(step.observation) == {"image": "tide.png"}
    assert step.log == "  look\nASSISTANT Action: findTide "
    assert kept["7"].steps[0].thought == "" and kept["7"].steps[0].action_input == ""
    assert kept["9"].instruction == "from Instructions"
    assert reasons(corpus.report) == [
        "API 0 (Tides), instance 0: records an error: 'Could not parse LLM output: `x`'",
        "API 0 (Tides), instance 1: is a bare text: 'a bare string'",
        "API 0 (Tides), instance 5: has neither steps nor output",
        "API 0 (Tides), instance 8: step 0 is not [[action, action input, text], observation]",
        "API 0 (Tides), instance 10: is a NoneType, not an object",
    ]
    assert {row.file for row in corpus.report.rows} == {"train.json"}
    counts = {line["config"]: line for line in corpus.report.counts()}
    assert (counts["trajectories"]["rows_in"], counts["trajectories"]["kept"]) == (11, 6)


def test_an_unusable_api_takes_its_rows_with_it(write: Write) -> None:
    train = write(
        "train.json",
        [
            raw_api(Name=None, Instances=[raw_instance()]),
            raw_api("Moons", Function_Projection=None, Instances=[raw_instance(), raw_instance()]),
            raw_api("Suns", Function_Projection={"find": "/suns"}),
            "Winds",
            raw_api(Instances=[raw_instance()], Documentation="not JSON", Function_Description=None),
            raw_api("Stars", Documentation='{"maximum": 1e999, "minimum": 1' + "0" * 40 + "}", Instances=[]),
        ],
    )
    corpus = read_corpus(resolve_sources(train=train))
    assert [api.id for api in corpus.apis["train"]] == ["train/tides", "train/stars"]
    assert corpus.apis["train"][0].documentation == {"text": "not JSON"}
    counts = {line["config"]: line for line in corpus.report.counts()}
    assert (counts["apis"]["rows_in"], counts["apis"]["set_aside"]) == (6, 4)
    assert (counts["trajectories"]["rows_in"], counts["trajectories"]["set_aside"]) == (4, 3)


def test_irregular_instructions(write: Write) -> None:
    call = {"action": "findTide", "Action Input": {"port": "Brest"}}  # as some forks write the names
    golden = [[{"Action": "findTide", "Action_Input": "${not json}"}, call], [], [{"Action": " "}], "x"]
    texts = ["one\nHint: a hint", "two", "three", "four", "five"]
    api = raw_api(Instructions=texts, Golden_Answers=golden)
    corpus = read_corpus(resolve_sources(eval_real=write("eval_real.json", [api])))
    first, second = corpus.instructions["eval_real"]
    assert (first.id, first.instruction) == ("eval_real/tides/0", "one")
    assert [call.action_input for call in first.golden_calls] == ["${not json}", '{"port": "Brest"}']
    assert second.golden_calls == []
    assert reasons(corpus.report) == [
        "API 0 (Tides), instruction 2: golden call 0 has no Action",
        "API 0 (Tides), instruction 3: has no golden answer",
        "API 0 (Tides), instruction 4: has no golden answer",
    ]


def test_processed_rows(write: Write) -> None:
    rows = [[["prompt", " act"], [False, True]], [["alone"], []], "x", [[1], [True]], [[], []], [["a"], [1]]]
    first, second = write("a/more.json", rows), write("b/more.json", rows)
    corpus = read_corpus(resolve_sources(processed=[first, second]))
    assert [row["id"] for row in corpus.processed] == [
        f"processed/{stem}/{i}" for stem in ("more", "more-2") for i in (0, 5)
    ]
    assert corpus.processed[0] == {
        "id": "processed/more/0",
        "api": None,
        "segments": [{"text": "prompt", "trainable": False}, {"text": " act", "trainable": True}],
    }
    (line,) = corpus.report.counts()
    assert (line["rows_in"], line["kept"], line["set_aside"]) == (12, 4, 8)


def test_a_lone_surrogate_does_not_stop_a_build(write: Write) -> None:
    train = write("train.json", [raw_api(Instances=[raw_instance("High \ud83d tide?")])])
    (trajectory,) = read_corpus(resolve_sources(train=train)).trajectories["train"]
    assert trajectory.instruction == "High ? tide?"


@pytest.mark.parametrize("depth", [150, 900])
def test_what_is_nested_too_deeply_costs_only_its_row(write: Write, depth: int) -> None:
    deep, step = "[" * depth + "]" * depth, ["findTide", "{}", " I look."]
    instances = [raw_instance(intermediate_steps=[[step, json.loads(deep)]]), raw_instance()]
    document = '{"paths": ' * depth + "{}" + "}" * depth
    train = [raw_api(Instances=instances, Authentication={"k": "***"}, Documentation=document), json.loads(deep)]
    more = write("more.json", [[[json.loads(deep)], [True]], [["a"], [True]]])
    corpus = read_corpus(resolve_sources(train=write("train.json", train), processed=more))
    assert [row.id for row in corpus.trajectories["train"]] == ["train/tides/1"]
    assert corpus.apis["train"][0].documentation == {"text": document}
    assert [row["id"] for row in corpus.processed] == ["processed/more/1"]
    assert [(row.config, row.row) for row in corpus.report.rows] == [
        ("trajectories", "API 0 (Tides), instance 0"),
        ("apis", "API 1"),
        ("processed", "row 0"),
    ]


def test_an_error_that_is_none_and_apis_without_rows(write: Write) -> None:
    none = raw_instance(error=None, intermediate_steps=[])
    corpus = read_corpus(resolve_sources(train=write("train.json", [raw_api(Instances=[none])])))
    assert corpus.trajectories["train"][0].response == "At noon." and not corpus.report.rows
    split, corpus = read_file(write("apis.json", [raw_api()]))
    assert split == "train" and [api.id for api in corpus.apis[split]] == ["train/tides"]


def test_both_layouts_of_the_list_of_apis(write: Write) -> None:
    as_dict = {"count": 3, "entries": [{"API": "Tides", "Description": "d", "Auth": "apiKey", "Link": "l"}, {}, "x"]}
    listed, *others = parse_api_list(as_dict, "a.json")
    assert (listed.name, listed.auth, listed.category) == ("Tides", "apiKey", "")
    assert [other.name for other in others] == ["", ""]
    plain = [{"Name": "Tides", "Description": "d", "Link": "l", "Category": "Sea"}]
    assert parse_api_list(plain, "b.json")[0].category == "Sea"
    said = [{"API": "Tides", "Auth": "No", "HTTPS": "Yes"}, {"API": "Moons", "Auth": None, "HTTPS": "unknown"}]
    assert [(api.auth, api.https) for api in parse_api_list(said, "d.json")] == [("", True), ("", None)]
    with pytest.raises(InputError):
        parse_api_list({"APIs": []}, "c.json")
    with pytest.raises(InputError):
        parse_api_list([{}, "x"], "e.json")


@pytest.mark.parametrize(
    "content",
    [
        '[{"Name": "Tides", "Func',
        "",
        '[{"Name": "Ti\tdes"}]',
        "[" * 100_000,
        [[["a"], [True]]],
        {"entries": []},
        [{"Name": "Tides", "Link": ""}],
        "3",
        [],
        [raw_api(Golden_Answers=[])],
    ],
)
def test_a_bad_file_is_refused_with_its_name(write: Write, content: Any) -> None:
    path = write("train.json", content)
    with pytest.raises(InputError) as caught:
        read_corpus(resolve_sources(train=path))
    assert caught.value.file == path and "\n" not in str(caught.value)


def test_apis_whose_functions_are_named_nowhere_are_told_how(write: Write) -> None:
    api = {name: value for name, value in raw_api().items() if name != "Function_Projection"}
    path = write("train.json", [api])
    with pytest.raises(InputError) as caught:
        read_corpus(resolve_sources(train=path))
    assert "apis docs" in (caught.value.fix or "")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(b'["\xff"]')
    with pytest.raises(InputError):
        read_corpus(resolve_sources(train=path))


def test_a_train_file_is_not_an_evaluation_file(write: Write) -> None:
    path = write("eval.json", [raw_api(Instances=[])])
    with pytest.raises(InputError) as caught:
        read_corpus(resolve_sources(eval_simulated=path))
    assert caught.value.file == path


def test_a_folder_is_searched_and_named_files_come_first(write: Write, tmp_path: Path) -> None:
    write("in/train_sample.json", [raw_api(Instances=[])])
    write("in/data/train_data.json", [raw_api("Whole", Instances=[])])
    write("in/eval_simulated.json", [raw_api(Golden_Answers=[])])
    other = write("other.json", [raw_api("Other", Golden_Answers=[])])
    sources = resolve_sources(tmp_path / "in", eval_simulated=other)
    assert [(role, one.path.name) for role, one in sources.all()] == [
        ("train", "train_data.json"),
        ("eval_simulated", "other.json"),
    ]
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", "nowhere"):
        with pytest.raises(NotFoundError) as caught:
            resolve_sources(source)
        assert caught.value.file == source
    with pytest.raises(OptionError):
        resolve_sources()


@given(st.lists(st.text(min_size=1), max_size=30))
def test_slugs_are_ascii_stable_and_unique(names: list[str]) -> None:
    first, second = Slugs(), Slugs()
    taken = [first.take(name) for name in names]
    assert taken == [second.take(name) for name in names]
    assert len(set(taken)) == len(taken)
    assert all(one and set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for one in taken)


def test_slugs_of_known_names() -> None:
    assert slug("A Bíblia Digital") == "a-biblia-digital" and slug("Lob.com") == "lob-com"
    # The same name, composed and decomposed.
    assert slug("Ame\u0301thyste") == slug("Am\u00e9thyste") == "amethyste"
    assert slug("天気") != slug("天") and slug("天気").startswith("api-") and slug("\ud83d").startswith("api-")
    slugs = Slugs()
    assert [slugs.take(name) for name in ("Steam", "Steam 2", "Steam", "steam")] == [
        "steam",
        "steam-2",
        "steam-3",
        "steam-4",
    ]


def test_the_published_files_are_kept_whole(real_data: Path) -> None:
    sources = resolve_sources(real_data, processed=real_data / "processed_sample.json")
    corpus = read_corpus(sources)
    assert {split: len(apis) for split, apis in corpus.apis.items()} == {
        "train": 43,
        "eval_simulated": 10,
        "eval_real": 11,
    }
    assert len(corpus.trajectories["train"]) == 51 and len(corpus.processed) == 231
    assert {split: len(texts) for split, texts in corpus.instructions.items()} == {
        "eval_simulated": 100,
        "eval_real": 114,
    }
    assert corpus.report.rows == []
    ids = [api.id for api in corpus.apis["train"]]
    assert len(set(ids)) == 43
    assert {"train/steam", "train/steam-2", "train/transport-for-vancouver-canada-2", "train/api-gratis"} <= set(ids)

    raw = json.loads((real_data / "train_sample.json").read_text(encoding="utf-8"))
    for api, one in zip(corpus.apis["train"], raw, strict=True):
        assert api.documentation == json.loads(one["Documentation"])
        assert (api.name, api.introduction) == (one["Name"], one["Introduction"])

    # The text of every step, rebuilt, is the published one up to its labels.
    instances = [instance for api in raw for instance in api["Instances"]]
    for trajectory, instance in zip(corpus.trajectories["train"], instances, strict=True):
        for step, ((action, action_input, text), observation) in zip(
            trajectory.steps, instance["intermediate_steps"], strict=True
        ):
            assert (step.action, step.action_input, step.observation) == (action, action_input, observation)
            assert step_log(step, "").replace("\nASSISTANT Action", "\nAction") == text[1:].replace(
                "\nASSISTANT Action", "\nAction"
            )
    processed = json.loads((real_data / "processed_sample.json").read_text(encoding="utf-8"))
    assert [
        [[one["text"] for one in row["segments"]], [one["trainable"] for one in row["segments"]]]
        for row in corpus.processed
    ] == processed


def test_recorded_runs_are_read_with_their_errors_set_aside(real_data: Path) -> None:
    path = real_data / "judged" / "eval_7b_train_part_of_train_real.trajectories.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    corpus = read_corpus(resolve_sources(eval_real=path))
    assert len(corpus.trajectories["eval_real"]) == 93 and len(corpus.instructions["eval_real"]) == 114
    assert len(corpus.report.rows) == 21 and all("error" in row.reason for row in corpus.report.rows)


def test_a_file_of_line_ends_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("\n" * 1_000_000)
    start = time.process_time()
    with pytest.raises(InputError):
        read_corpus(resolve_sources(train=tmp_path / "train.json"))
    assert time.process_time() - start < 3
