"""What a checkpoint carries: code of others renders, masks, parses and stops as this package does."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from prompt_rows import documented_tools
from serving import teach, transformers_serve
from tiny_models import save_tiny_llama, tiny_tokenizer
from transformers import AutoTokenizer, GenerationConfig, pipeline
from trl import SFTConfig, SFTTrainer

from toolalpaca_hf.agent import ReactContext
from toolalpaca_hf.data import ToolAlpaca
from toolalpaca_hf.errors import NotFoundError, ToolAlpacaError
from toolalpaca_hf.formats import build_chat_template, react_prompt
from toolalpaca_hf.schema import Api, Function, Step
from toolalpaca_hf.training import IGNORE, SegmentTokenizer, add_templates, prove_template, ways_of
from toolalpaca_hf.training.loading import as_segments, prompt_beginning, prompt_of_row, render

PARAMETERS = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}
TOOL = {"type": "function", "function": {"name": "tide", "description": "High tide.", "parameters": PARAMETERS}}
QUESTION = {"role": "user", "content": "High tide at Brest?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Brest"}'}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "noon"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")
    return add_templates(folder, react_prompt())


@pytest.fixture(scope="module")
def taught(checkpoint: Path) -> Path:
    """Calls the tool, and answers with what it gave."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    asked = [QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT]
    given = [
        tokenizer.apply_chat_template(messages, tools=[TOOL], add_generation_prompt=True, tokenize=False)
        for messages in (asked[:1], asked)
    ]
    call = ' I look.\nAction: tide\nAction Input: {"port": "Brest"}\nObservation:'
    teach(checkpoint, [(given[0], call), (given[1], " So.\nResponse: At noon.<|im_end|>")])
    add_templates(checkpoint, react_prompt())  # saving the model wrote its own generation config
    return checkpoint


def test_a_checkpoint_carries_its_templates_and_stops(checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer.chat_template == build_chat_template(react_prompt())
    assert tokenizer.response_template is not None
    config = GenerationConfig.from_pretrained(checkpoint)
    assert config.stop_strings == ["\nObservation:"] and config.eos_token_id == tokenizer.eos_token_id


def test_a_tokenizer_without_an_end_of_sequence(tmp_path: Path) -> None:
    folder = save_tiny_llama(tmp_path / "model", tiny_tokenizer())
    config = GenerationConfig.from_pretrained(folder)
    config.eos_token_id = None
    config.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token is None
    add_templates(folder, react_prompt())
    assert GenerationConfig.from_pretrained(folder).stop_strings == ["\nObservation:"]
    with pytest.raises(ToolAlpacaError, match="end-of-sequence"):
        ways, _ = ways_of(tokenizer, react_prompt(), config="sft")
        prove_template(ways[0], 1)


def test_a_folder_of_the_cache_stays_what_it_is(tmp_path: Path) -> None:
    blobs = save_tiny_llama(tmp_path / "blobs")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    before = {path.name: path.read_bytes() for path in blobs.iterdir()}
    out = add_templates(snapshot, react_prompt(), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in blobs.iterdir()} == before
    assert {path.name for path in snapshot.iterdir()} == set(before)
    assert (out / "model.safetensors").is_symlink()
    assert AutoTokenizer.from_pretrained(out).response_template is not None
    assert add_templates(snapshot, react_prompt(), out) == out  # again


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        add_templates(tmp_path, react_prompt())
    assert str(caught.value.file) == str(tmp_path)


def test_trl_trains_the_tokens_that_our_tokenizer_trains(checkpoint: Path, tmp_path: Path) -> None:
    builder = ToolAlpaca(config_name="chat", source="sample")
    builder.download_and_prepare()
    rows: Any = builder.as_dataset(split="train").select(range(0, 120, 15))  # type: ignore[union-attr]  # one split is no dict
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    config = SFTConfig(
        str(tmp_path), assistant_only_loss=True, max_length=None, report_to="none", use_cpu=True, bf16=False
    )
    trainer = SFTTrainer(str(checkpoint), config, train_dataset=rows, processing_class=tokenizer)
    ours = SegmentTokenizer(tokenizer)
    assert len(trainer.train_dataset) == len(rows) == 8
    for prepared, row in zip(trainer.train_dataset, rows, strict=True):
        rendered = render(tokenizer, row["messages"], row["tools"], tokenizer.chat_template)
        encoded = ours.encode(as_segments(*rendered, prompt_beginning(tokenizer), tokenizer.eos_token))
        assert prepared["input_ids"] == encoded["input_ids"]
        masks = prepared.get("assistant_masks") or [label != IGNORE for label in prepared["labels"]]
        assert list(map(bool, masks)) == [label != IGNORE for label in encoded["labels"]]


def test_a_pipeline_with_tools_calls_and_answers(taught: Path) -> None:
    generator = pipeline("text-generation", model=str(taught), device="cpu")
    options: dict[str, Any] = {
        "tools": [TOOL],
        "tokenizer": generator.tokenizer,
        "max_new_tokens": 64,
        "do_sample": False,
    }
    messages: Any = [QUESTION]
    [made] = generator(messages, **options)
    call = made["generated_text"][-1]
    assert call["reasoning_content"] == "I look."
    assert call["tool_calls"][0]["function"] == {"name": "tide", "arguments": {"port": "Brest"}}
    messages += [{"role": "assistant", "content": "", "tool_calls": call["tool_calls"]}, RESULT]
    [made] = generator(messages, **options)
    assert made["generated_text"][-1]["content"] == "At noon."


def test_what_a_model_wrote_is_read_back(taught: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(taught)
    given = tokenizer.apply_chat_template([QUESTION], tools=[TOOL], add_generation_prompt=True, return_dict=False)
    written = tokenizer(" So.\nResponse: At noon.<|im_end|>")["input_ids"]
    read = tokenizer.parse_response(written, prefix=given)
    assert read == {"role": "assistant", "reasoning_content": "So.", "content": "At noon."}


def test_after_a_result_a_server_gives_the_ids_of_training(checkpoint: Path) -> None:
    """`transformers serve` drops the thought of a call that is handed back; all else is as in training."""
    from transformers.cli.serving.utils import BaseHandler, Modality

    api = Api("", "", functions=[Function("tide", "", "", "High tide.\nParameters: {}")])
    step = Step("I need to use tide.", "tide", '{"port": "Brest"}', "Status Code: 200. Response: noon — é")
    context = ReactContext.begin(react_prompt(), api, "High tide at Brest?")
    context.add(step)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    ours = SegmentTokenizer(tokenizer)
    head, *later = [segment.text for segment in context.segments]
    wanted = ours.prompt_ids(head) + [token for text in later for token in ours.continuation_ids(text)]
    spoken = {"role": "assistant", "content": "", "reasoning_content": "Hm.", "tool_calls": [CALL]}
    sent = [QUESTION, spoken, {**RESULT, "content": step.observation}]
    given = tokenizer.apply_chat_template(
        BaseHandler.get_processor_inputs_from_messages(sent, Modality.LLM),
        tools=documented_tools(api, react_prompt()),
        add_generation_prompt=True,
        return_dict=False,
    )
    assert given == wanted


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_transformers_serve_and_the_openai_sdk(taught: Path, tmp_path: Path, stream: bool) -> None:
    with transformers_serve(tmp_path / "serve.log") as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        messages: list[Any] = [QUESTION]
        call = conversation(client, str(taught), messages, stream)
        assert call["finish_reason"] == "tool_calls" and json.loads(call["arguments"]) == {"port": "Brest"}
        function = {"name": call["name"], "arguments": call["arguments"]}
        messages.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            }
        )
        messages.append(RESULT)
        answer = conversation(client, str(taught), messages, stream)
        assert (answer["content"].strip(), answer["finish_reason"]) == ("At noon.", "stop")


def conversation(client: openai.OpenAI, model: str, messages: list[Any], stream: bool) -> dict[str, Any]:
    """One turn: the content, the call and why it ended, put together from chunks where it is streamed."""
    tools: Any = [TOOL]
    made: Any = client.chat.completions.create(
        model=model, messages=messages, tools=tools, max_tokens=64, temperature=0, stream=stream
    )
    turn: dict[str, Any] = {"content": ""}
    for choice in [chunk.choices[0] for chunk in made] if stream else [made.choices[0]]:
        part = choice.delta if stream else choice.message
        turn["content"] += part.content or ""
        for call in part.tool_calls or ():
            turn |= {"name": call.function.name, "arguments": call.function.arguments}
        turn["finish_reason"] = choice.finish_reason or turn.get("finish_reason")
    return turn


def test_the_prompt_of_a_row() -> None:
    ours = react_prompt().head(Api("", ""), "?")
    assert prompt_of_row([{"text": ours, "trainable": False}]) is not None
    assert prompt_of_row([{"text": "2+2=", "trainable": False}]) is None


def test_a_gguf_file_keeps_the_template(checkpoint: Path, tmp_path: Path) -> None:
    """As llama.cpp's converter fills the metadata, with the same library."""
    from gguf import GGUFReader, GGUFWriter, SpecialVocab

    writer = GGUFWriter(tmp_path / "tiny.gguf", "llama")
    SpecialVocab(checkpoint).add_to_gguf(writer, quiet=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    fields = GGUFReader(tmp_path / "tiny.gguf").fields
    assert fields["tokenizer.chat_template"].contents() == build_chat_template(react_prompt())
    assert fields["tokenizer.ggml.eos_token_id"].contents() == AutoTokenizer.from_pretrained(checkpoint).eos_token_id
