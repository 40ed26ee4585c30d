"""Results put into a card's metadata: what is replaced, what stays, and what is refused."""

from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.hub.results import SOURCE, put_results

HUB = "https://huggingface.co/me/model/blob/main/evaluation"


def one(suite: str, config: str, value: float, **changes: Any) -> EvalResult:
    fields = {"source_name": SOURCE, "source_url": f"{HUB}/{suite}/metrics.json", "metric_config": config} | changes
    return EvalResult("text-generation", "toolalpaca", f"ToolAlpaca, {suite}", "tool_call_match", value, **fields)


def read(card: str) -> list[EvalResult]:
    return ModelCard(card).data.eval_results


def figures(card: str) -> set[tuple[str, str, float]]:
    return {(result.dataset_name, result.metric_config, result.metric_value) for result in read(card)}


def card_with(*results: EvalResult) -> str:
    """A card as the library itself writes it."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(model_name="m", license="mit", eval_results=list(results))
    return f"---\n{data.to_yaml()}\n---\n# Mine\n"


def others(card: str) -> dict[str, Any]:
    """The metadata of a card without its results."""
    metadata = yaml.safe_load(card.split("---")[1]) if card.startswith("---") else {}
    return {key: value for key, value in (metadata or {}).items() if key != "model-index"}


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# No metadata\n",
        "---\n---\nempty, and so no metadata\n",
        "---\n\n---\n",
        "---\n# a comment alone\n---\ntext",
        "---\nlicense: mit\n---\n",
        "---\nmodel-index:\nlicense: mit\n---\n",
        "---\nmodel-index: []\n# a comment\nlicense: mit\n---\n",
        "---\nmodel-index:\n- name: x\n  results: []\n\n# a comment\nlanguage: no\n---\n",
        "---\nmodel-index: [{name: x, results: [{task: {type: t}, dataset: {type: d, name: D}, metrics: [\n {type: "
        "f1, value: 1}]}]}] # a comment\nlanguage: no\n---\n",
        "---\r\nlicense: mit # a comment\r\ntags:\r\n- a\r\n---\r\n# Mine\r\n",
        "---\nextra: |\n  two\n  lines\nlong: >-\n  folded\nmodel-index:\n- results: []\n  name: |\n    x\n\n\n"
        "last: 1\n---\n",
    ],
)
def test_nothing_else_of_a_card_changes(card: str) -> None:
    new = put_results(card, "mine", {"real": [one("real", "exact_set", 61.4)]})
    assert read(new)[-1] == one("real", "exact_set", 61.4)
    assert put_results(new, "mine", {"real": [one("real", "exact_set", 61.4)]}) == new
    assert ModelCard(new).text.endswith(ModelCard(card).text)
    assert new.count("a comment") == card.count("a comment")
    assert new.count("language: no") == card.count("language: no")
    assert ("\r\n" in card) == ("\r\n" in new) and new.count("\n") - new.count("\r\n") in (0, new.count("\n"))
    assert others(new) == others(card)


def test_a_run_replaces_its_suite_and_no_other() -> None:
    card = put_results("", "m", {"real": [one("real", "exact_set", 61.4), one("real", "arguments", 50.0)]})
    card = put_results(card, "m", {"simulated": [one("simulated", "exact_set", 70.0)]})
    card = put_results(card, "m", {"real": [one("real", "exact_set", 65.0)]})
    assert figures(card) == {
        ("ToolAlpaca, simulated", "exact_set", 70.0),
        ("ToolAlpaca, real", "exact_set", 65.0),
    }


def test_an_unattributed_result_of_the_same_metric_is_replaced() -> None:
    before = card_with(
        one("real", "exact_set", 10.0, source_name=None, source_url=None, metric_name="with an interval"),
        one("real", "mine", 11.0, source_name=None, source_url=None),
    )
    card = put_results(before, "m", {"real": [one("real", "exact_set", 65.0, metric_name="with another")]})
    assert figures(card) == {("ToolAlpaca, real", "mine", 11.0), ("ToolAlpaca, real", "exact_set", 65.0)}


def test_a_result_of_somebody_else_stays_beside_ours() -> None:
    board = one("real", "exact_set", 10.0, source_name="A board", source_url="https://example.org")
    card = put_results(card_with(board), "m", {"real": [one("real", "exact_set", 65.0)]})
    assert read(card) == [board, one("real", "exact_set", 65.0)]


def test_fields_that_the_library_does_not_know_stay() -> None:
    index = [
        {
            "name": "m",
            "results": [
                {
                    "task": {"type": "t", "own": 1},
                    "dataset": {"type": "d", "name": "D"},
                    "metrics": [{"type": "f1", "value": "20.0 ± 1.2", "own": [1]}],
                }
            ],
        },
        {"name": "twin", "results": []},
    ]
    card = "---\n" + yaml.safe_dump({"model-index": index}, allow_unicode=True) + "---\n"
    new = yaml.safe_load(put_results(card, "m", {"real": [one("real", "f1", 1.0)]}).split("---")[1])["model-index"]
    assert new[0]["results"][:-1] == index[0]["results"] and new[1] == index[1]


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("---\nmodel-index: 3\n---\n", "cannot be read"),
        ("---\nmodel-index: [{name: x}]\n---\n", "cannot be read"),
        ("---\nmodel-index: [{name: x, results: [{task: t}]}]\n---\n", "cannot be read"),
        ("---\nmodel-index: {a: 1}\n---\n", "cannot be read"),
        ("---\n- a list\n---\n", "cannot be read"),
        ("---\n{license: mit}\n---\n", "cannot be "),
        ("---\na: [\n---\n", "cannot be read"),
        ("---\na: !!python/object/apply:os.getcwd []\n---\n", "cannot be read"),
    ],
)
def test_metadata_that_cannot_be_changed_is_refused(card: str, words: str) -> None:
    with pytest.raises(ToolAlpacaError, match=f"README.md: has metadata that {words}") as caught:
        put_results(card, "m", {"real": [one("real", "f1", 1.0)]})
    assert "\n" not in str(caught.value)


def test_results_that_a_card_cannot_tell_apart_are_refused() -> None:
    two = [one("real", "f1", 1.0), one("real", "f1", 1.0, source_url=None, source_name=None)]
    with pytest.raises(ToolAlpacaError, match="suite real"):
        put_results("", "m", {"real": two})


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(
    metadata=st.dictionaries(
        words.filter(lambda word: word not in ("model-index", "eval_results", "model_name")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | words,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
    first=st.booleans(),
    values=st.lists(st.floats(0, 100).map(lambda value: round(value, 1)), min_size=1, max_size=3),
)
def test_any_metadata_stays(metadata: dict[str, Any], first: bool, values: list[float]) -> None:
    index = {"model-index": [{"name": "x", "results": []}]}
    whole = index | metadata if first else metadata | index
    card = "---\n" + yaml.safe_dump(whole, allow_unicode=True, sort_keys=False) + "---\ntext\n"
    ours = [one("real", str(number), value) for number, value in enumerate(values)]
    new = put_results(card, "m", {"real": ours})
    found = yaml.safe_load(new[4 : new.rindex("\n---\n")])
    assert {key: value for key, value in found.items() if key != "model-index"} == metadata
    assert read(new) == ours and new.endswith("---\ntext\n")
