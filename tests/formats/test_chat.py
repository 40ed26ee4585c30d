import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.formats import arguments_of, to_messages, tools_of
from toolalpaca_hf.schema import Api, Function, Step, Trajectory

TRAIN_SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "toolalpaca" / "train_sample.json"

PORT = {"name": "port", "in": "query", "required": True, "schema": {"type": "string"}}
TIDES = Api(
    id="train/tides",
    name="Tides",
    documentation={
        "paths": {"/tides": {"get": {"operationId": "getTides", "summary": "Tides", "parameters": [PORT]}}}
    },
    functions=[
        Function("getTides", "/tides", "get", "Tides of a port\nParameters: ..."),
        Function("getMoon", "/moon", "get", "Phase of the moon"),
    ],
)
STEPS = [
    Step("Which port?", "getDetails", '{"Question": "Which port?"}', "OBSERVED Brest"),
    Step(" I look it up. ", "getTides", '{"port": "Brest"}', "OBSERVED 6 metres at noon"),
    Step("", "getMoon", "", "OBSERVED full moon"),
]
HIGH_TIDE = Trajectory(
    "train/tides/0", "train/tides", "When is high tide?", "", STEPS, "I know.", "At noon, 6 metres."
)


def call(name: str, arguments: dict[str, Any], id_: str) -> list[dict[str, Any]]:
    return [{"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}]


def test_a_trajectory_as_messages() -> None:
    assert to_messages(TIDES, HIGH_TIDE)["messages"] == [
        {"role": "user", "content": "When is high tide?"},
        {
            "role": "assistant",
            "content": "Which port?",
            "tool_calls": call("getDetails", {"Question": "Which port?"}, "call00001"),
        },
        {"role": "tool", "name": "getDetails", "tool_call_id": "call00001", "content": "OBSERVED Brest"},
        {
            "role": "assistant",
            "content": "I look it up.",
            "tool_calls": call("getTides", {"port": "Brest"}, "call00003"),
        },
        {"role": "tool", "name": "getTides", "tool_call_id": "call00003", "content": "OBSERVED 6 metres at noon"},
        {"role": "assistant", "content": "", "tool_calls": call("getMoon", {}, "call00005")},
        {"role": "tool", "name": "getMoon", "tool_call_id": "call00005", "content": "OBSERVED full moon"},
        {"role": "assistant", "content": "At noon, 6 metres."},
    ]


BOTH = [
    Step("I look both up.", "getTides", '{"port": "Brest"}', "OBSERVED 6 metres", reasoning="Two calls at once."),
    Step("", "getMoon", "", "OBSERVED full moon", parallel=True),
    Step("Once more.", "getTides", '{"port": "Nantes"}', "OBSERVED 5 metres"),
]


def test_calls_of_one_turn_share_a_message() -> None:
    trajectory = Trajectory("train/tides/2", "train/tides", "Tide and moon?", "", BOTH, "I know both.", "So.")
    assert to_messages(TIDES, trajectory)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look both up.",
            "reasoning_content": "Two calls at once.",
            "tool_calls": call("getTides", {"port": "Brest"}, "call00001") + call("getMoon", {}, "call00002"),
        },
        {"role": "tool", "name": "getTides", "tool_call_id": "call00001", "content": "OBSERVED 6 metres"},
        {"role": "tool", "name": "getMoon", "tool_call_id": "call00002", "content": "OBSERVED full moon"},
        {
            "role": "assistant",
            "content": "Once more.",
            "tool_calls": call("getTides", {"port": "Nantes"}, "call00004"),
        },
        {"role": "tool", "name": "getTides", "tool_call_id": "call00004", "content": "OBSERVED 5 metres"},
        {"role": "assistant", "content": "So.", "reasoning_content": "I know both."},
    ]


def test_tools_are_get_details_then_the_functions() -> None:
    details, tides, moon = (tool["function"] for tool in tools_of(TIDES))
    assert details["name"] == "getDetails" and details["parameters"]["required"] == ["Question"]
    assert tides == {
        "name": "getTides",
        "description": "Tides",
        "parameters": {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]},
    }
    # Not in the document: it keeps its published description.
    assert moon["description"] == "Phase of the moon" and moon["parameters"]["properties"] == {}


def test_a_document_that_is_no_json_still_gives_tools() -> None:
    api = Api("train/x", "X", documentation={"text": "openapi"}, functions=TIDES.functions)
    assert [tool["function"]["name"] for tool in tools_of(api)] == ["getDetails", "getTides", "getMoon"]


def test_a_step_without_a_call_is_left_out() -> None:
    lost = Step("", "hallucination", "hallucination", "Could not parse", log=" and and and")
    trajectory = Trajectory("train/tides/1", "train/tides", "Tide?", "", [lost, STEPS[1]], None, "At noon.")
    messages = to_messages(TIDES, trajectory)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]


def test_a_parallel_call_without_a_turn_before_it_begins_one() -> None:
    lost = Step("", "hallucination", "", "Could not parse", log="and")
    trajectory = Trajectory("train/tides/3", "train/tides", "Moon?", "", [lost, BOTH[1]], None, "Full.")
    messages = to_messages(TIDES, trajectory)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("Brest", {"input": "Brest"}),
        ('{"a": 1}, {"a": 2}', {"input": '{"a": 1}, {"a": 2}'}),
        ("[1]", {"input": "[1]"}),
        ('{"a": 1, "a": 2}', {"input": '{"a": 1, "a": 2}'}),
        ('{"a": 1, "a": 1}', {"a": 1}),
        ('{"a": NaN}', {"input": '{"a": NaN}'}),
        ('{"a": 1e999}', {"input": '{"a": 1e999}'}),
        ('{"a": 99999999999999999999}', {"input": '{"a": 99999999999999999999}'}),
        ('{"a": "\\ud800"}', {"input": '{"a": "\\ud800"}'}),
        ("[" * 100_000, {"input": "[" * 100_000}),
    ],
)
def test_arguments_keep_their_meaning(text: str, arguments: dict[str, Any]) -> None:
    assert arguments_of(text) == arguments
    messages = [{"role": "assistant", "content": "", "tool_calls": call("f", arguments, "call00001")}]
    stored = Dataset.from_list([{"messages": messages, "tools": []}], features=chat_features())
    assert present(stored[0])["messages"] == messages


def chat_features() -> Any:
    return type(FEATURES["chat"])({key: FEATURES["chat"][key] for key in ("messages", "tools")})


def present(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the keys that its messages do not have."""
    messages = [{key: value for key, value in one.items() if value is not None} for one in row["messages"]]
    return row | {"messages": messages}


@settings(deadline=None)
@given(st.text() | st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_action_input_gives_arguments(text: str) -> None:
    json.dumps(arguments_of(text), allow_nan=False)


def published() -> list[tuple[Api, Trajectory]]:
    if not TRAIN_SAMPLE.exists():
        pytest.skip(f"the published training sample is not at {TRAIN_SAMPLE}")
    rows = []
    for raw in json.loads(TRAIN_SAMPLE.read_text(encoding="utf-8")):
        functions = [
            Function(name, path, method, raw["Function_Description"][name])
            for name, (path, method) in raw["Function_Projection"].items()
        ]
        api = Api("train/x", raw["Name"], documentation=json.loads(raw["Documentation"]), functions=functions)
        for instance in raw["Instances"]:
            if not isinstance(instance, dict) or "output" not in instance:
                continue
            steps = [Step("thought", *step[0][:2], step[1]) for step in instance.get("intermediate_steps", [])]
            rows.append(
                (api, Trajectory("train/x/0", "train/x", instance["input"], "", steps, None, instance["output"]))
            )
    return rows


def test_published_trajectories_survive_storage() -> None:
    rows = [to_messages(api, trajectory) for api, trajectory in published()]
    assert len(rows) > 40
    stored = Dataset.from_list(rows, features=chat_features())
    assert [present(row) for row in stored] == rows
    assert all(value is not None for row in rows for message in row["messages"] for value in message.values())


# What Qwen3's template writes for the assistant's turns, spelt out by hand.
TURNS = (
    '<think>\n\n</think>\n\nWhich port?\n<tool_call>\n{"name": "getDetails", '
    '"arguments": {"Question": "Which port?"}}\n'
    "</tool_call><|im_end|>\n"
    '<think>\n\n</think>\n\nI look it up.\n<tool_call>\n{"name": "getTides", "arguments": {"port": "Brest"}}\n'
    "</tool_call><|im_end|>\n"
    '<think>\n\n</think>\n\n<tool_call>\n{"name": "getMoon", "arguments": {}}\n</tool_call><|im_end|>\n'
    "<think>\n\n</think>\n\nAt noon, 6 metres.<|im_end|>\n"
)


def test_trl_trains_on_the_assistants_turns_only(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
    utils = pytest.importorskip("trl.chat_template_utils", reason="the extra `train` is not installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
    from trl import SFTConfig, SFTTrainer

    row = to_messages(TIDES, HIGH_TIDE)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [json.dumps(row), TURNS],
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = utils.qwen3_chat_template
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    arguments = SFTConfig(
        output_dir=str(tmp_path),
        assistant_only_loss=True,
        max_steps=1,
        max_length=4096,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    rows = [{"id": f"train/tides/{i}", "api": "train/tides", "environment": "train/tides"} | row for i in range(2)]
    dataset = Dataset.from_list(rows, features=FEATURES["chat"])
    trainer = SFTTrainer(Qwen3ForCausalLM(config), arguments, train_dataset=dataset, processing_class=tokenizer)
    assert trainer.train().global_step == 1

    prepared = trainer.train_dataset[0]
    trained = [label for label in prepared["labels"] if label != -100]
    assert tokenizer.decode(trained) == TURNS
    whole = tokenizer.decode(prepared["input_ids"])
    assert whole.count("OBSERVED") == 3 and '"name": "getTides", "description"' in whole


def test_published_rows_go_through_the_training_template() -> None:
    utils = pytest.importorskip("trl.chat_template_utils", reason="the extra `train` is not installed")
    from transformers.utils.chat_template_utils import render_jinja_template

    for api, trajectory in published():
        row = to_messages(api, trajectory)
        rendered, spans = render_jinja_template(
            [row["messages"]],
            tools=row["tools"],
            chat_template=utils.qwen3_training_chat_template,
            return_assistant_tokens_mask=True,
        )
        turns = [rendered[0][start:end] for start, end in spans[0]]
        assert len(turns) == sum(message["role"] == "assistant" for message in row["messages"])
        assert turns[-1] == f"<think>\n\n</think>\n\n{trajectory.response.lstrip(chr(10))}<|im_end|>\n"
        assert all("<tool_response>" not in turn for turn in turns)
