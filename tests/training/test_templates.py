"""A chat template is admitted by what it shows of a conversation of markers."""

import json
from pathlib import Path

import pytest
import trl
from datasets import Dataset, Features, IterableDataset, Json, List, load_dataset
from tiny_models import tiny_tokenizer
from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import supports_tool_calling

from toolalpaca_hf.errors import InputError, UnsupportedModelError
from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.formats import to_messages
from toolalpaca_hf.schema import Api, Step, Trajectory
from toolalpaca_hf.training.loading import check_template, renderable, tool_template, without_absent

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
# Mistral's: calls need ids of nine characters.
NEEDS_IDS = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% elif m.tool_calls is defined %}"
    "{{ m.content }}{% for c in m.tool_calls %}{% if c.id is not defined or c.id|length != 9 %}"
    "{{ raise_exception('a call needs an id of nine characters') }}{% endif %}{{ c.function|tojson }}{% endfor %}"
    "{% elif m.role == 'tool' %}{{ m.content }} {{ m.tool_call_id }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{{ tools|tojson if tools }}"
)
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{{ m.content }}{% endfor %}"
)


def tokenizer_with(template: str) -> PreTrainedTokenizerBase:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>")
    tokenizer.chat_template = template
    return tokenizer


def row() -> dict[str, object]:
    steps = [Step("I look.", "getTides", '{"port": "Brest"}', "6 metres")]
    return to_messages(
        Api("train/t", "T"), Trajectory("train/t/0", "train/t", "High tide?", "", steps, "", "At noon.")
    )


@pytest.mark.parametrize("name", ["llama3", "phi3", "deepseek_r1_distill", "qwen2_5_vl"])
def test_a_template_without_calls_is_refused(name: str) -> None:
    tokenizer = tokenizer_with((TEMPLATES / f"{name}.jinja").read_text())
    assert not supports_tool_calling(tokenizer)
    with pytest.raises(UnsupportedModelError):
        check_template(tokenizer)


@pytest.mark.parametrize(("name", "sentences"), [("qwen3", 0), ("qwen2_5", 0), ("llama3_1", 1), ("gptoss", 1)])
def test_a_template_with_calls_is_taken_and_dropped_thoughts_are_said(name: str, sentences: int) -> None:
    tokenizer = tokenizer_with((TEMPLATES / f"{name}.jinja").read_text())
    assert supports_tool_calling(tokenizer)
    assert len(check_template(tokenizer)) == sentences
    text = tokenizer.apply_chat_template(row()["messages"], tools=row()["tools"], tokenize=False)
    assert ("I look." in text) == (not sentences)


def test_calls_have_the_ids_that_some_templates_want() -> None:
    tokenizer = tokenizer_with(NEEDS_IDS)
    assert check_template(tokenizer) == []
    assert "6 metres call00001" in tokenizer.apply_chat_template(row()["messages"], tokenize=False)


def test_roles_that_alternate_are_refused() -> None:
    with pytest.raises(UnsupportedModelError):
        check_template(tokenizer_with(ALTERNATES))


def test_a_row_that_a_template_refuses_costs_no_other() -> None:
    without = [{"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f"}}]}]
    rows = Dataset.from_list([{"messages": one} for one in ([{"role": "user", "content": "a"}], without)])
    kept, sentence = renderable(rows, tokenizer_with(NEEDS_IDS))
    assert len(kept) == 1 and "1 refused" in sentence and "nine characters" in sentence
    with pytest.raises(InputError):
        renderable(rows.select([1]), tokenizer_with(NEEDS_IDS))


STEPS = [
    Step("Both.", "getTides", '{"port": "Brest", "day": null}', "6 metres", reasoning="Hm."),
    Step("", "getTides", '{"port": "Nantes"}', "5 metres", parallel=True),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ["needs_ids", "qwen3_training", "qwen2_5", "glm4moe"])
def test_rows_of_the_chat_config_render_as_the_messages_they_hold(name: str, streamed: bool) -> None:
    template = NEEDS_IDS if name == "needs_ids" else (TEMPLATES / f"{name}.jinja").read_text()
    tokenizer = tokenizer_with(template)
    made = to_messages(Api("train/t", "T"), Trajectory("train/t/0", "train/t", "?", "", STEPS, "So.", "At noon."))
    table = Dataset.from_list([{"id": "0", "api": "t", "environment": "t", **made}], features=FEATURES["chat"])
    assert None in table[0]["messages"][0].values()
    rows = list(without_absent(table.to_iterable_dataset() if streamed else table))
    assert rows[0]["messages"] == made["messages"] and rows[0]["tools"] == made["tools"]
    text = tokenizer.apply_chat_template(rows[0]["messages"], tools=rows[0]["tools"], tokenize=False)
    assert text == tokenizer.apply_chat_template(made["messages"], tools=made["tools"], tokenize=False)
    assert text.count("metres") == 2 and "Nantes" in text


def test_the_rows_that_a_stream_is_made_of_stay_as_they_are() -> None:
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}
    stream = IterableDataset.from_generator(lambda: iter([{"messages": [message]}]))
    read = next(iter(without_absent(stream)))["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert read == {"a": 1} and message["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_arguments_that_a_table_cannot_hold_stay_texts() -> None:
    given = ['{"a": 12345678901234567890123}', '{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}', "[1]"]
    calls = [{"type": "function", "function": {"name": "f", "arguments": text}} for text in ["{}", *given]]
    rows = without_absent(Dataset.from_list([{"messages": [{"role": "assistant", "tool_calls": calls}]}]))
    read = [call["function"]["arguments"] for call in rows[0]["messages"][0]["tool_calls"]]
    assert read == [{}, *given]


def test_rows_that_cannot_be_trained_cost_no_other() -> None:
    asked, answered = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    rows = Dataset.from_list([{"messages": messages} for messages in ([asked, answered], None, [asked])])
    tokenizer = tokenizer_with(NEEDS_IDS)
    kept, sentence = renderable(without_absent(rows), tokenizer, assistant_only=True)
    assert len(kept) == 1 and "2 refused" in sentence
    streamed, _ = renderable(without_absent(rows.to_iterable_dataset()), tokenizer, assistant_only=True)
    assert [row["messages"] for row in streamed] == [[asked, answered]]
    # A run on everything that was said trains the question by itself, too.
    assert len(renderable(without_absent(rows), tokenizer)[0]) == 2


def test_tools_may_be_written_as_json() -> None:
    made = row()
    rows = Dataset.from_list([{"messages": made["messages"], "tools": json.dumps(made["tools"])}])
    assert len(renderable(rows, tokenizer_with(NEEDS_IDS))[0]) == 1


def test_of_several_templates_the_one_for_tools_is_taken() -> None:
    tokenizer = tokenizer_with("")
    tokenizer.chat_template = {"default": "plain", "tool_use": NEEDS_IDS}
    assert tool_template(tokenizer) == NEEDS_IDS
    assert check_template(tokenizer, tool_template(tokenizer)) == []
    tokenizer.chat_template = {"default": "plain"}
    assert tool_template(tokenizer) == "plain" and tool_template(tokenizer_with(NEEDS_IDS)) == NEEDS_IDS


def test_null_in_messages_of_json_is_absent() -> None:
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": None}}}]}
    rows = Dataset.from_dict({"messages": [[message | {"content": None}]]}, Features({"messages": List(Json())}))
    assert without_absent(rows)[0]["messages"] == [message]


@pytest.mark.parametrize("streamed", [False, True])
def test_keys_that_only_other_rows_have_are_absent(streamed: bool, tmp_path: Path) -> None:
    """A table has every key in each struct: `required` of a tool that names none, arguments of another call."""
    asked = {"role": "user", "content": "a"}

    def made(arguments: dict[str, object], parameters: dict[str, object]) -> dict[str, object]:
        call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        return {"messages": [asked, {"role": "assistant", "tool_calls": [call]}], "tools": [tool]}

    port = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}
    wanted = [made({"port": "Brest"}, port), made({"day": 3}, {"type": "object"})]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, wanted)), encoding="utf-8")
    of_json = load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path))
    for rows in (Dataset.from_list(wanted), of_json):
        found = without_absent(rows.to_iterable_dataset() if streamed else rows)
        assert [{name: row[name] for name in ("messages", "tools")} for row in found] == wanted
