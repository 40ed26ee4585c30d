"""The prover: it refutes what is wrong, with a small counterexample, and nothing that is right."""

import copy
import re
import time
from pathlib import Path
from typing import Any

import pytest
import trl
from prompt_rows import prompt_messages
from tiny_models import tiny_tokenizer
from tokenizer_families import Family
from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import add_response_schema, qwen3_instruct_2507_chat_template

from toolalpaca_hf.errors import UnsupportedModelError
from toolalpaca_hf.formats import react_prompt, trajectory_segments
from toolalpaca_hf.schema import Api, Function, Step, Trajectory
from toolalpaca_hf.training import Proof, SegmentTokenizer, Way, prove_template, ways_of
from toolalpaca_hf.training.conversations import FEATURES, as_messages, features_of, random_conversation, smaller
from toolalpaca_hf.training.loading import as_segments, prompt_beginning, render
from toolalpaca_hf.training.proof import require_proof

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
HOLDS = (TEMPLATES / "qwen3_instruct_2507_training.jinja").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chatml() -> PreTrainedTokenizerBase:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>")
    tokenizer.chat_template = qwen3_instruct_2507_chat_template
    return add_response_schema(tokenizer)


def proved(tokenizer: PreTrainedTokenizerBase, training: str, count: int = 12, **options: Any) -> Proof:
    served = copy.deepcopy(tokenizer)
    served.chat_template = training
    return prove_template(Way("chat", served, training), count, **options)


def test_a_template_that_holds(chatml: PreTrainedTokenizerBase) -> None:
    proof = proved(chatml, HOLDS, count=16)
    assert proof.failures == {} and proof.conversations == 16


def test_a_turn_whose_end_is_not_trained(chatml: PreTrainedTokenizerBase) -> None:
    broken = re.sub(r"(\{\{- '<\|im_end\|>\\n' \}\}\s*)(\{%- endgeneration %\})", r"\2\1", HOLDS)
    assert broken != HOLDS
    proof = proved(chatml, broken)
    assert set(proof.failures) >= {"end"}
    example = proof.failures["end"]
    # The smallest that there is: a question and an answer.
    assert [message["role"] for message in example.messages] == ["user", "assistant"]
    assert example.messages[1]["content"] == "a"
    assert [text for text, trained in example.tokens if trained] == ["a"]
    with pytest.raises(UnsupportedModelError):
        require_proof([proof])


def test_what_a_user_says_is_trained(chatml: PreTrainedTokenizerBase) -> None:
    broken = HOLDS.replace("{%- generation %}", "").replace("{%- endgeneration %}", "")
    broken = "{%- generation %}" + broken + "{%- endgeneration %}"
    proof = proved(chatml, broken)
    assert {"ids", "mask"} <= set(proof.failures)


def test_a_past_that_is_rendered_otherwise(chatml: PreTrainedTokenizerBase) -> None:
    """Qwen3's own template forgets the thoughts of the past; TRL's keeps them."""
    own = copy.deepcopy(chatml)
    own.chat_template = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    training = (TEMPLATES / "qwen3_training.jinja").read_text(encoding="utf-8")
    proof = prove_template(Way("chat", own, training), 12)
    assert "ids" in proof.failures
    roles = [message["role"] for message in proof.failures["ids"].messages]
    assert roles in (["user", "assistant", "user", "assistant"], ["user", "assistant", "tool", "assistant"])


def test_calls_that_are_read_otherwise(chatml: PreTrainedTokenizerBase) -> None:
    tokenizer = copy.deepcopy(chatml)
    fields = tokenizer.response_template["fields"]
    tokenizer.response_template = {
        **chatml.response_template,
        "fields": {**fields, "tool_calls": {**fields["tool_calls"]}},
    }
    tokenizer.response_template["fields"]["tool_calls"]["repeats"] = False
    proof = proved(tokenizer, HOLDS, count=16)
    assert set(proof.failures) == {"calls"}  # said, and no reason not to train
    calls = [message.get("tool_calls") for message in proof.failures["calls"].messages]
    assert sum(len(found or ()) for found in calls) <= 2


def test_a_template_that_refuses_calls(chatml: PreTrainedTokenizerBase) -> None:
    refusing = HOLDS.replace(
        "{%- for message in messages %}",
        '{%- for message in messages %}{%- if message.tool_calls %}{{ raise_exception("no calls") }}{%- endif %}',
        1,
    )
    proof = proved(chatml, refusing)
    assert proof.conversations and any("no calls" in note for note in proof.notes)


def test_a_template_that_makes_megabytes_is_refused_at_once(chatml: PreTrainedTokenizerBase) -> None:
    start = time.process_time()
    proof = proved(chatml, HOLDS + "x" * 10_000_000, count=4)
    assert not proof.conversations and "characters" in proof.notes[-1]
    assert time.process_time() - start < 20


def test_a_template_that_fails_while_it_is_looked_at_is_no_way(chatml: PreTrainedTokenizerBase) -> None:
    tokenizer = copy.deepcopy(chatml)
    tokenizer.chat_template = "{% for m in messages %}{{ '<' + -m.role + m.content }}{% endfor %}"
    ways, closed = ways_of(tokenizer, react_prompt(), config="chat")
    assert ways == [] and "unary" in closed["chat"]


def test_our_own_template_for_every_family_of_tokenizers(family: Family) -> None:
    if family.parse:
        pytest.skip("the same tokenizer as byte_level")
    if len(family.tokenizer) > 10_000:
        pytest.skip("SmolLM2's has a slow test of its own")
    ways, closed = ways_of(family.tokenizer, react_prompt(), config="sft")
    assert not closed
    proof = prove_template(ways[0], 6)
    assert proof.failures == {}, next(iter(proof.failures.values()))


@pytest.mark.slow
def test_our_own_template_for_smollm2(smollm2: PreTrainedTokenizerBase) -> None:
    [way], _ = ways_of(smollm2, react_prompt(), config="sft")
    assert prove_template(way).failures == {}


def test_features_may_be_chosen(chatml: PreTrainedTokenizerBase) -> None:
    [way], _ = ways_of(chatml, react_prompt(), config="sft")
    assert prove_template(way, count=2, features={"calls"}).failures == {}


def test_token_ids_are_those_of_segments(chatml: PreTrainedTokenizerBase) -> None:
    [way], _ = ways_of(chatml, react_prompt(), config="sft")
    api = Api("", "", functions=[Function("tide", "", "", "High tide.\nOutput: x")])
    step = Step("I look — é.", "tide", '{"port":  "Brest"}', " noon\n<b>")
    trajectory = Trajectory("", "", "Tide?  ", "", [step, step], "So.", "At noon.")
    row = prompt_messages(api, trajectory, react_prompt())
    encoded = SegmentTokenizer(chatml).encode(trajectory_segments(api, trajectory, react_prompt()))
    found = way.tokenizer.apply_chat_template(
        row["messages"], tools=row["tools"], return_dict=True, return_assistant_tokens_mask=True
    )
    assert found["input_ids"] == encoded["input_ids"]
    assert [label != -100 for label in encoded["labels"]] == [bool(flag) for flag in found["assistant_masks"]]
    rendered = render(way.tokenizer, row["messages"], row["tools"], way.training_template)
    segments = as_segments(*rendered, prompt_beginning(way.tokenizer), way.tokenizer.eos_token)
    assert SegmentTokenizer(way.tokenizer).encode(segments)["labels"] == encoded["labels"]


def test_a_conversation_has_only_the_features_it_may_have() -> None:
    import random

    for feature in FEATURES:
        found = [
            features_of([{"messages": as_messages(random_conversation(random.Random(i), {"calls", feature}, "x"))}])
            for i in range(20)
        ]
        asked = {"calls", feature, "unicode", "json", "empty", "turn_like"}
        assert set.union(*found) == asked


def test_smaller_conversations_end() -> None:
    import random

    conversation = random_conversation(random.Random(0), FEATURES, "x")
    count = 0
    while (following := next(smaller(conversation), None)) is not None:
        conversation, count = following, count + 1
        assert count < 500
    assert len(as_messages(conversation)) == 2


def test_ways_of_a_tokenizer_without_a_trainable_template(chatml: PreTrainedTokenizerBase) -> None:
    plain = copy.deepcopy(chatml)
    plain.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    ways, closed = ways_of(plain, react_prompt())
    assert [way.name for way in ways] == ["sft"] and list(closed) == ["chat"]


def test_a_template_by_name_is_proved_as_one_by_itself(chatml: PreTrainedTokenizerBase) -> None:
    named = copy.deepcopy(chatml)
    named.chat_template = {"default": "{{ messages[0].content }}", "tool_use": qwen3_instruct_2507_chat_template}
    named.response_template = None
    ways, closed = ways_of(named, react_prompt(), config="chat")
    assert [way.training_template for way in ways] == [HOLDS] * 2 and not closed
    proof = prove_template(ways[1], 2, features=["calls"])
    assert proof.conversations == 2 and not proof.failures and not proof.left_out


def test_a_template_that_cannot_be_proved_is_said(chatml: PreTrainedTokenizerBase) -> None:
    proof, said = prove_template(Way("chat", chatml, "{{ raise_exception('no') }}"), 4), []
    require_proof([proof], said.append)
    assert not proof.conversations and len(said) == 1 and "no" in said[0]


def test_qwen25_trains_a_token_that_is_given_and_the_same_is_a_reason_not_to_train(
    chatml: PreTrainedTokenizerBase,
) -> None:
    tokenizer = copy.deepcopy(chatml)
    tokenizer.chat_template = (TEMPLATES / "qwen2_5.jinja").read_text(encoding="utf-8")
    ways, _ = ways_of(tokenizer, react_prompt(), config="chat")
    proof = prove_template(ways[0], 6)
    assert set(proof.failures) == {"ids"} and "is trained though it is given" in proof.failures["ids"].problem
    assert [text for text, trained in proof.failures["ids"].tokens if trained][:2] == ["\n", "a"]
    with pytest.raises(UnsupportedModelError):
        require_proof([proof])
