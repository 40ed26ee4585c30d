"""A model on this machine, asked: tiny and random here, SmolLM2 in the slow test."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from tiny_models import save_tiny_llama, save_tiny_qwen3
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.corpus.config import schema
from toolalpaca_hf.errors import NotFoundError, UnsupportedModelError
from toolalpaca_hf.inference import load_model
from toolalpaca_hf.llm import Budget, BudgetExceeded, CachedAsk, ContextFull, LocalModel, ModelSettings, RequestCache

ROLES = ("author", "user", "assistant", "executor")
QUESTION = [{"role": "user", "content": "When is high tide?"}]
FORM = {
    "type": "object",
    "properties": {"tide": {"enum": ["high", "low"]}, "hour": {"type": "integer", "minimum": 0, "maximum": 23}},
    "required": ["tide", "hour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = save_tiny_qwen3(tmp_path_factory.mktemp("tiny"))
    return LocalModel(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def test_a_schema_is_enforced_and_said_to_be(tiny: LocalModel) -> None:
    answer = tiny.answer(QUESTION, schema=FORM, max_tokens=60)
    validate(json.loads(answer.text), FORM)
    assert (answer.enforced, answer.finish_reason) == (True, "stop") and answer.completion_tokens < 60
    free = tiny.answer(QUESTION, max_tokens=20)
    assert (free.enforced, free.finish_reason, free.completion_tokens) == (False, "length", 20)
    assert free.prompt_tokens == answer.prompt_tokens > 5
    unheld = LocalModel(tiny.model, tiny.tokenizer, constrained=False)
    assert not unheld.answer(QUESTION, schema=FORM, max_tokens=20).enforced


def test_an_answer_depends_on_the_question_alone(tiny: LocalModel) -> None:
    """So a rerun, a retry and threads get what they would have got otherwise."""

    def ask(attempt: int) -> str:
        return tiny.answer(QUESTION, seed=attempt, max_tokens=12, temperature=1.0).text

    alone = [ask(attempt) for attempt in range(6)]
    assert len(set(alone)) == 6, "a retry is another draw"
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, [5, 3, 1, 0, 2, 4])) == [alone[i] for i in [5, 3, 1, 0, 2, 4]]
    greedy = {tiny.answer(QUESTION, seed=attempt, max_tokens=12, temperature=0.0).text for attempt in range(3)}
    assert len(greedy) == 1


def test_a_template_that_refuses_and_a_text_without_utf8(tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    half = [{"role": "user", "content": "When \ud83d?"}]
    assert tiny.answer(half, max_tokens=2) == tiny.answer([half[0] | {"content": "When ??"}], max_tokens=2)
    monkeypatch.setattr(tiny.tokenizer, "chat_template", "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UnsupportedModelError) as caught:
        tiny.answer(QUESTION)
    assert "roles must alternate" in str(caught.value)


def test_thinking_is_no_part_of_the_answer(tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny.tokenizer, "decode", lambda ids, **_: '<think>{"tide"?</think>\n{"tide": "high"}')
    assert tiny.answer(QUESTION, max_tokens=2).text == '{"tide": "high"}'


def test_a_stop_text_ends_the_answer(tiny: LocalModel) -> None:
    whole = tiny.answer(QUESTION, max_tokens=40).text
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    answer = tiny.answer(QUESTION, max_tokens=40, stop=[stop])
    assert answer.text == whole[: whole.index(stop)] and answer.finish_reason == "stop"


def test_what_can_not_be_asked(tiny: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(ContextFull):
        tiny.answer([{"role": "user", "content": "tide " * 3000}])
    folder = save_tiny_llama(tmp_path)
    with pytest.raises(UnsupportedModelError):
        LocalModel(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def test_a_schema_that_no_mask_can_express_is_left_out(tiny: LocalModel) -> None:
    """As with a server that does not know a keyword; the answer says that it was free."""
    odd = {"type": "string", "not": {"pattern": "^x"}}
    answer = tiny.answer(QUESTION, schema=odd, max_tokens=8)
    assert not answer.enforced and answer.completion_tokens == 8


def local_roles(folder: Path | str, **given: Any) -> dict[str, ModelSettings]:
    return dict.fromkeys(ROLES, ModelSettings(local=str(folder), temperature=1.0, **given))


def test_roles_of_a_local_model_are_cached_and_budgeted(tmp_path: Path) -> None:
    """Through the same cache and budget as a server's answers, and nothing is probed: what holds it is known."""
    folder = save_tiny_qwen3(tmp_path / "tiny")
    cache = RequestCache(tmp_path / "requests.sqlite")
    ask = CachedAsk(local_roles(folder), cache, Budget(calls=2))
    assert ask.check() == dict.fromkeys(ROLES, True) and cache.spent() == {}
    first = ask("author", QUESTION, schema=FORM, max_tokens=60)
    validate(json.loads(first.text), FORM)
    assert first.enforced and first.model == str(folder)
    assert ask("author", QUESTION, schema=FORM, max_tokens=60) == first
    free = CachedAsk(local_roles(folder, constrained=False), cache, Budget(calls=2))
    assert free.check() == dict.fromkeys(ROLES, False)
    assert not free("author", QUESTION, schema=FORM, max_tokens=8).enforced, (
        "another question than the constrained one"
    )
    assert cache.spent()["author"].calls == 2
    with pytest.raises(BudgetExceeded):
        ask("author", QUESTION, attempt=1)
    with pytest.raises(NotFoundError):
        CachedAsk(local_roles("/nowhere"), cache)


@pytest.mark.slow
def test_smollm2_writes_json_when_it_is_held_to_it() -> None:
    """Held to a schema, what SmolLM2-135M writes begins as that says, and can be read once it is whole."""
    ask = LocalModel(*load_model(resolve_model("smollm2"), "cpu"))
    question = [{"role": "user", "content": "Plan one function of an API about tides. Answer with JSON."}]
    held = ask.answer(question, schema=schema("functions"), max_tokens=160)
    assert held.enforced and held.text.startswith('{"functions": [{"name": "')
    if held.finish_reason == "stop":
        validate(json.loads(held.text), schema("functions"))
