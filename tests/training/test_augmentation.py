"""Augmented copies: what may change, what may not, what they share, and the examples from descriptions."""

import json
import random
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from datasets import Dataset

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.errors import InputError
from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.formats import Example, parse_example, parse_prompt, parse_turn, react_prompt, trajectory_segments
from toolalpaca_hf.schema import Api, Function, Segment, Step, Trajectory
from toolalpaca_hf.training import Augmentation, augment_dataset
from toolalpaca_hf.training.augmentation import (
    _masked,
    _renamed_step,
    augment,
    called_functions,
    described_turn,
    render,
)


def rendered(train: Path | None = None) -> list[list[Segment]]:
    corpus = read_corpus(resolve_sources("sample") if train is None else resolve_sources(train=train))
    apis = {api.id: api for api in corpus.apis["train"]}
    return [trajectory_segments(apis[t.api], t, react_prompt()) for t in corpus.trajectories["train"]]


def copy_of(
    row: list[Segment], how: Augmentation, rng: random.Random, first_turn: bool = False
) -> list[Segment] | None:
    """A row read back, augmented and rendered again."""
    example = parse_example(row)
    if example is None:
        return None
    return render(augment(example, how, rng), react_prompt(how.tool_hints), first_turn)


def called(row: list[Segment]) -> set[str]:
    example = parse_example(row)
    assert example is not None
    return called_functions(example.trajectory)


SAMPLE = rendered()


@pytest.mark.parametrize("seed", range(3))
def test_the_task_stays_the_same(seed: int) -> None:
    how = Augmentation(max_functions=4, mask_names=0.0)
    for row in SAMPLE:
        copy = copy_of(row, how, random.Random(seed))
        assert copy is not None and [s.trainable for s in copy] == [s.trainable for s in row]
        assert [s.text for s in copy if s.trainable] == [s.text for s in row if s.trainable]
        before, after = parse_prompt(row[0].text), parse_prompt(copy[0].text)
        assert before is not None and after is not None
        assert after.instruction == before.instruction
        shown = {function.name: function.description for function in after.api.functions}
        assert called(row) - {"getDetails"} <= shown.keys()
        assert shown.items() <= {function.name: function.description for function in before.api.functions}.items()
        assert len(shown) <= max(4, len(called(row)))


def test_order_and_choice_vary() -> None:
    row = SAMPLE[0]
    copies = [copy_of(row, Augmentation(mask_names=0.0), random.Random(seed)) for seed in range(8)]
    orders = {tuple(f.name for f in head.api.functions) for c in copies if c and (head := parse_prompt(c[0].text))}
    assert len(orders) > 3


def test_masked_names_are_masked_everywhere() -> None:
    for seed, row in enumerate(SAMPLE):
        copy = copy_of(row, Augmentation(mask_names=1.0), random.Random(seed))
        head = parse_prompt(copy[0].text) if copy else None
        assert copy is not None and head is not None
        names = {function.name for function in head.api.functions}
        originals = {function.name for function in parse_prompt(row[0].text).api.functions}
        assert not names & originals
        for segment in copy:
            if segment.trainable:
                assert not any(name in segment.text for name in originals)
        for old, new in zip(row[1::2], copy[1::2], strict=True):
            before, after = parse_turn(old.text), parse_turn(new.text)
            if before.action is None:
                assert new.text == old.text
                continue
            assert after.action in names | {"getDetails"}
            given, masked = json.loads(before.action_input), json.loads(after.action_input)
            assert list(masked.values()) == list(given.values())
            description = next((f.description for f in head.api.functions if f.name == after.action), '"Question": "')
            assert all(f'"{key}": "' in description for key in masked)


def test_a_first_turn_goes_on() -> None:
    for row in SAMPLE:
        copy = copy_of(row, Augmentation(mask_names=0.0), random.Random(0), first_turn=True)
        assert copy is not None
        assert [s.trainable for s in copy] == [False, True, False]
        assert copy[1] == row[1] and copy[1].text.endswith("\nObservation:")


def test_a_first_turn_that_is_not_trained_is_no_end() -> None:
    row = [SAMPLE[0][0], Segment(SAMPLE[0][1].text, False), *SAMPLE[0][2:]]
    copy = copy_of(row, Augmentation(mask_names=0.0), random.Random(0), first_turn=True)
    assert copy is not None and len(copy) == len(row)


def test_an_answer_without_action_is_not_cut() -> None:
    row = [SAMPLE[0][0], Segment(" I know.\nResponse: Yes.", True)]
    copy = copy_of(row, Augmentation(mask_names=0.0), random.Random(0), first_turn=True)
    assert copy is not None and copy[1:] == row[1:]


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_restyled_names_are_restyled_everywhere(mask: float) -> None:
    changed = 0
    for seed, row in enumerate(SAMPLE):
        copy = copy_of(row, Augmentation(mask_names=mask, restyle_names=1.0), random.Random(seed))
        plain = copy_of(row, Augmentation(mask_names=mask), random.Random(seed))
        assert copy is not None and plain is not None
        head, unchanged = parse_prompt(copy[0].text), parse_prompt(plain[0].text)
        assert head is not None and unchanged is not None
        assert [f.description for f in head.api.functions] == [f.description for f in unchanged.api.functions]
        names = dict(zip((f.name for f in unchanged.api.functions), (f.name for f in head.api.functions), strict=True))
        names["getDetails"] = "getDetails"
        changed += names.keys() != set(names.values())
        for old, new in zip(plain[1::2], copy[1::2], strict=True):
            before, after = parse_turn(old.text), parse_turn(new.text)
            assert (after.action and names[before.action]) == after.action
            assert after.action_input == before.action_input
    assert changed > len(SAMPLE) / 2


def test_names_that_swap_are_exchanged_once() -> None:
    renamed = _renamed_step(Step("I ask a, then b.", "a", "{}", "ok"), {"a": "b", "b": "a"}, {}, 100)
    assert renamed.log == "I ask b, then a.\nAction: b\nAction Input: {}"
    renamed = _renamed_step(Step("I ask a().", "a()", "{}", "ok"), {"a()": "b"}, {}, 100)
    assert renamed.log == "I ask b.\nAction: b\nAction Input: {}"


def test_as_few_functions_as_asked_for() -> None:
    row = [Segment(SAMPLE[0][0].text, False), Segment(" I know.\nResponse: Yes.", True)]
    how = Augmentation(max_functions=3, min_functions=1, mask_names=0.0)
    copies = [copy_of(row, how, random.Random(seed)) for seed in range(20)]
    assert {len(head.api.functions) for copy in copies if copy and (head := parse_prompt(copy[0].text))} == {1, 2, 3}


def test_real_prompts_are_read_back(real_data: Path) -> None:
    """Published renderings: every row has a copy, in our prompt, whose actions are still among the tools."""
    raw = json.loads((real_data / "processed_sample.json").read_text(encoding="utf-8"))
    rows = [[Segment(t, bool(f)) for t, f in zip(texts, flags, strict=True)] for texts, flags in raw]
    copies = [copy_of(row, Augmentation(mask_names=0.3), random.Random(i)) for i, row in enumerate(rows)]
    assert sum(copy is not None for copy in copies) == len(rows)
    known = 0
    for row, copy in zip(rows, copies, strict=True):
        # Steps that call nothing are left out, each with its observation.
        steps = [
            row[i : i + 2] for i in range(1, len(row) - 1, 2) if re.search(r"\nASSISTANT Action: *\S", row[i].text)
        ]
        kept = [row[0], *(segment for step in steps for segment in step), row[-1]]
        assert [s.trainable for s in copy] == [s.trainable for s in kept]
        head = parse_prompt(copy[0].text)
        assert head is not None and copy[0].text.endswith("\nThought:")
        names = {function.name for function in head.api.functions} | {"getDetails"}
        known += called(copy) <= names
    assert known >= 0.9 * len(rows)


def test_a_step_that_calls_nothing_is_left_out() -> None:
    row = next(row for row in SAMPLE if len(row) > 4)
    unread = [Segment(" \nObservation:", True), Segment(" Invalid.\nThought:", False)]
    empty = [Segment(" 0.000\nAction:\nAction Input: {}\nObservation:", True), Segment(" Invalid.\nThought:", False)]
    expected = copy_of(row, Augmentation(), random.Random(1))
    for at in (1, 3):
        assert copy_of([*row[:at], *unread, *empty, *row[at:]], Augmentation(), random.Random(1)) == expected


def test_no_published_step_that_calls_nothing_is_trained(real_data: Path) -> None:
    rows = rendered(real_data / "train_sample.json")

    def unread(segments: list[Segment]) -> int:
        return sum(s.trainable and not parse_turn(s.text).action for s in segments[1:-1])

    assert sum(map(unread, rows)) > 10
    copies = [copy_of(row, Augmentation(), random.Random(0)) for row in rows]
    assert sum(unread(copy) for copy in copies if copy) == 0


def sample_rows(named: bool = True) -> Dataset:
    corpus = read_corpus(resolve_sources("sample"))
    apis = {api.id: api for api in corpus.apis["train"]}
    rows = [
        {
            "id": one.id,
            "api": one.api if named else None,
            "segments": [asdict(s) for s in trajectory_segments(apis[one.api], one, react_prompt())],
        }
        for one in corpus.trajectories["train"]
    ]
    return Dataset.from_list(rows, features=FEATURES["sft"])


def test_copies_do_not_depend_on_their_neighbours() -> None:
    rows = sample_rows()
    how = Augmentation(first_turns=0.5)
    whole = augment_dataset(rows.select(range(9)), how, copies=2, seed=3)
    part = augment_dataset(rows.select([4, 5]), how, copies=2, seed=3)
    assert whole[8:12] == part[:]


@pytest.mark.parametrize("named", [True, False])
def test_rows_with_one_documentation_share_it(named: bool) -> None:
    """Whether or not a row says whose it is: rows of the processed layout do not."""
    rows = augment_dataset(sample_rows(named), Augmentation(mask_names=0.5), copies=2, seed=0, shared=True)
    heads: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        text = row["segments"][0]["text"]
        heads.setdefault((row["id"].rsplit("/", 1)[0], row["id"][-2:]), set()).add(text[: text.rindex("USER: ")])
    assert len(heads) == 36
    assert all(len(texts) == 1 for texts in heads.values())


@pytest.mark.parametrize("shared", [True, False])
def test_examples_from_descriptions_come_once_for_each_documentation(shared: bool) -> None:
    how = Augmentation(max_functions=5, min_functions=5, mask_names=0.5, restyle_names=0.5)
    plain = augment_dataset(sample_rows(), how, copies=2, seed=0, shared=shared)
    rows = augment_dataset(sample_rows(), how, copies=2, seed=0, shared=shared, descriptions=3)
    made = [row for row in rows if "/" in row["id"].rsplit("+", 1)[1]]
    assert [row for row in rows if row not in made] == list(plain)
    assert set(Counter(row["id"].rsplit("/", 1)[0] for row in made).values()) == {3}
    assert len(made) == 18 * 2 * 3
    texts = {row["id"]: row["segments"][0]["text"] for row in rows}
    for row in made:
        owner, name = row["id"].rsplit("/", 1)
        head = parse_prompt(row["segments"][0]["text"])
        assert head is not None and head.api.functions == parse_prompt(texts[owner]).api.functions
        assert row["segments"][1]["text"].endswith(f"\nAction: {name}\nAction Input:")


def test_the_words_of_a_seed_stay_what_a_recipe_was_measured_with() -> None:
    rows = augment_dataset(sample_rows().select([0]), Augmentation(tool_hints=1), copies=1, seed=42, descriptions=2)
    asked = [row["segments"][0]["text"].split("\nUSER: ")[-1].split("\n")[0] for row in rows]
    assert asked[1:] == ["Please report a danger seen a trail.", "I want to list the mountain a trail."]


def test_a_row_without_prompt_is_repeated_as_it_is() -> None:
    segments = [{"text": "no prompt", "trainable": False}, {"text": " text", "trainable": True}]
    rows = Dataset.from_list([{"id": "a/0", "api": None, "segments": segments}], features=FEATURES["sft"])
    copies = augment_dataset(rows, Augmentation(), copies=2, seed=0, shared=True, descriptions=2)
    assert copies["id"] == ["a/0+0", "a/0+1"]
    assert all(row["segments"] == segments for row in copies)


def test_rows_that_share_an_id_keep_what_is_theirs() -> None:
    rows = sample_rows().select([0, 60, 100])
    for name in ("x", None):
        same = rows.map(lambda row, name=name: {**row, "id": name})
        copies, apart = (augment_dataset(given, Augmentation(mask_names=0.0), 1, 0) for given in (same, rows))
        assert [row["segments"][1] for row in copies] == [row["segments"][1] for row in apart]


def test_rows_with_more_or_less_than_segments_need() -> None:
    segments = [
        {"text": "no prompt", "trainable": False, "weight": 1},
        {"text": " text", "trainable": True, "weight": 1},
    ]
    rows = Dataset.from_list([{"id": "a", "api": "", "segments": segments}, {"id": "b", "api": "", "segments": None}])
    copies = augment_dataset(rows, Augmentation(), copies=1, seed=0)
    assert [len(row["segments"]) for row in copies] == [2, 0]
    broken = Dataset.from_list([{"id": "c", "api": "", "segments": [{"text": None, "trainable": True}]}])
    with pytest.raises(InputError) as caught:
        augment_dataset(broken, Augmentation(), copies=1, seed=0)
    assert caught.value.row == "c"


def test_functions_of_one_name_are_one() -> None:
    functions = [
        Function("find", "", "", "One."),
        Function("find", "", "", "Two."),
        Function("tell", "", "", "Three."),
    ]
    trajectory = Trajectory("", "", "Find it.", "", [Step("I look.", "find", "{}", "ok")], "So.", "Yes.")
    for mask in (0.0, 1.0):
        example = Example(Api("", "", functions=functions), trajectory, (True, True))
        copy = augment(example, Augmentation(mask_names=mask), random.Random(0))
        assert sorted(f.description for f in copy.api.functions) == ["Three.", "Two."]
        assert called_functions(copy.trajectory) <= {f.name for f in copy.api.functions}


def test_a_masked_parameter_takes_no_name_of_another() -> None:
    names = ["river", "gold", "star", "rain", "snow", "wolf"]
    description = "X.\nParameters: {" + ", ".join(f'"{name}": "a"' for name in names) + "}"
    for seed in range(200):
        masked, new = _masked(description, random.Random(seed))
        assert re.findall(r'"(\w+)": "', masked) == list(new.values()) and list(new) == names


def test_copies_of_other_prompts_are_not_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = tmp_path / "formats"
    prompts.mkdir()
    monkeypatch.setattr("toolalpaca_hf.training.augmentation.formats.__file__", str(prompts / "__init__.py"))
    rows, fingerprints = sample_rows(), []
    for text in ("Nearest tools:", "Nearest tools:", "Tools:"):
        (prompts / "react.txt").write_text(text, encoding="utf-8")
        fingerprints.append(augment_dataset(rows, Augmentation(), copies=1, seed=0)._fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_every_function_of_the_corpus_asks_for_itself() -> None:
    prompt = react_prompt()
    for api in read_corpus(resolve_sources("sample")).apis["train"]:
        for seed, function in enumerate(api.functions):
            example = described_turn(function, api, prompt, random.Random(seed))
            assert example is not None and [s.trainable for s in example] == [False, True, False]
            head = parse_prompt(example[0].text)
            assert head is not None and head.api.functions == parse_prompt(prompt.head(api, "x")).api.functions
            described = function.description.split("\n")[0].rstrip(".")
            assert f"to {described[1:]}".lower()[3:] in example[1].text.lower()
            assert example[1].text.endswith(f"\nAction: {function.name}\nAction Input:")


def test_words_are_left_out_only_of_the_instruction() -> None:
    function = Function("getTide", "", "", "Tell the tide at a port on a day in any year.\nParameters: {}")
    api = Api("", "", functions=[function])
    examples = [described_turn(function, api, react_prompt(), random.Random(i), left_out=0.5) for i in range(20)]
    asked = {parse_prompt(example[0].text).instruction for example in examples if example}
    assert len(asked) > 10
    assert {example[1].text for example in examples if example} == {
        " I need to tell the tide at a port on a day in any year.\nAction: getTide\nAction Input:"
    }
    whole = described_turn(function, api, react_prompt(), random.Random(0), left_out=0.0)
    assert (
        whole is not None
        and "tell the tide at a port on a day in any year" in whole[0].text.split("USER: ")[1].lower()
    )


@pytest.mark.parametrize("description", ["", "\nParameters: {}", "Get.", "word " * 80])
def test_no_description_no_example(description: str) -> None:
    function = Function("getTide", "", "", description)
    assert described_turn(function, Api("", "", functions=[function]), react_prompt(), random.Random(0)) is None
