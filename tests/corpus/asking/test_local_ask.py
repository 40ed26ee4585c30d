"""A model on this machine, asked: tiny and random here, SmolLM2 in the slow test."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jsonschema import validate
from tiny_models import save_tiny_llama, save_tiny_qwen3
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolalpaca_hf.agent.models import load_model
from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.corpus import AskError
from toolalpaca_hf.corpus.asking.local import LocalAsk
from toolalpaca_hf.corpus.texts import schema
from toolalpaca_hf.corpus.toolset.building import ToolsetSettings, build_api
from toolalpaca_hf.data import ListedApi
from toolalpaca_hf.errors import ToolAlpacaError

QUESTION = [{"role": "user", "content": "When is high tide?"}]
FORM = {
    "type": "object",
    "properties": {"tide": {"enum": ["high", "low"]}, "hour": {"type": "integer", "minimum": 0, "maximum": 23}},
    "required": ["tide", "hour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LocalAsk:
    folder = save_tiny_qwen3(tmp_path_factory.mktemp("tiny"))
    return LocalAsk(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), 1.0)


def test_a_schema_is_enforced_and_said_to_be(tiny: LocalAsk) -> None:
    answer = tiny("author", QUESTION, schema=FORM, max_tokens=60)
    validate(json.loads(answer.text), FORM)
    assert (answer.enforced, answer.finish_reason) == (True, "stop") and answer.completion_tokens < 60
    free = tiny("author", QUESTION, max_tokens=20)
    assert (free.enforced, free.finish_reason, free.completion_tokens) == (False, "length", 20)
    assert free.prompt_tokens == answer.prompt_tokens > 5
    unheld = LocalAsk(tiny.model, tiny.tokenizer, constrained=False)
    assert not unheld("author", QUESTION, schema=FORM, max_tokens=20).enforced


def test_an_answer_depends_on_the_question_alone(tiny: LocalAsk) -> None:
    """So a rerun, a retry and threads get what they would have got otherwise."""

    def ask(attempt: int) -> str:
        return tiny("user", QUESTION, attempt=attempt, max_tokens=12).text

    alone = [ask(attempt) for attempt in range(6)]
    assert len(set(alone)) == 6, "a retry is another draw"
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, [5, 3, 1, 0, 2, 4])) == [alone[i] for i in [5, 3, 1, 0, 2, 4]]
    greedy = {tiny("user", QUESTION, attempt=attempt, max_tokens=12, temperature=0.0).text for attempt in range(3)}
    assert len(greedy) == 1


def test_a_stop_text_ends_the_answer(tiny: LocalAsk) -> None:
    whole = tiny("user", QUESTION, max_tokens=40).text
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    answer = tiny("user", QUESTION, max_tokens=40, stop=[stop])
    assert answer.text == whole[: whole.index(stop)] and answer.finish_reason == "stop"


def test_what_can_not_be_asked(tiny: LocalAsk, tmp_path: Path) -> None:
    with pytest.raises(AskError, match="reads 2048"):
        tiny("user", [{"role": "user", "content": "tide " * 3000}])
    folder = save_tiny_llama(tmp_path)
    with pytest.raises(ToolAlpacaError, match="no chat template"):
        LocalAsk(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


@pytest.mark.slow
def test_smollm2_plans_functions_when_it_is_held_to_them() -> None:
    """With constrained decoding the plan of SmolLM2-135M can be read."""
    model, tokenizer = load_model(resolve_model("smollm2"), "cpu")
    entry = ListedApi("Harbour Tides", "Times and heights of high and low water", "https://tides.example", "Weather")
    ask = LocalAsk(model, tokenizer)
    question = [{"role": "user", "content": "Plan two functions of an API about tides. Answer with JSON."}]
    held = ask("author", question, schema=schema("functions"), max_tokens=700)
    assert held.enforced and held.text.startswith('{"functions": [{"name": "')
    if held.finish_reason == "stop":
        validate(json.loads(held.text), schema("functions"))
    few = ToolsetSettings(attempts=1, continuations=0, functions_tokens=500, document_tokens=500)
    made = build_api(entry, ask, few)
    # So small a model may fail at any step; that is an answer, too, and says where.
    assert (made.api is None) == bool(made.set_aside) and made.attempts["introduction"] == 1
