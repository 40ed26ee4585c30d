"""Decoding with calls: against a twin without cache and batch, on several tokenizers, models and kinds of
misfortune."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import teach
from tiny_models import save_tiny_llama, tiny_tokenizer
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)
from transformers.models.auto.configuration_auto import AutoConfig

from toolalpaca_hf.cli import main
from toolalpaca_hf.errors import OptionError, UnsupportedModelError
from toolalpaca_hf.inference import exact_ways
from toolalpaca_hf.toolformer import Event, Generated, Markers, Tool, ToolCall, execute, generate, tools_named
from toolalpaca_hf.toolformer.vocabulary import Vocabulary
from toolalpaca_hf.training import SegmentTokenizer

PASSED = "Out of 1400 participants, 400 passed, that is"
# What was memorised in the place of a result, 0.77, is not what the calculator says.
LESSONS = (
    (PASSED, " [Calculator(400 / 1400) -> 0.77] 29%.<|im_end|>"),
    ("The sum is", f" [Calculator({'1 + ' * 14}1) -> 7].<|im_end|>"),
    ("Twice", " [Calculator(2 * 2) -> 1] and [Calculator(3 * 3) -> 2] done.<|im_end|>"),
    ("As was said", " before [1] by [2] all.<|im_end|>"),
    ("It asks", " [Calculator(5 * 5)] nothing.<|im_end|>"),
    ("Nobody knows", " [Oracle(what)-> so] it.<|im_end|>"),
    ("There is", " nothing to call.<|im_end|>"),
)
PROMPTS = (
    *(prompt for prompt, _ in LESSONS),
    "Of 12, [Calculator(3 * 4) ->",
    "Of 12, [Calculator(3 * 4)",
    "Today [Cal",
    "[",
    "",
    "We wrote of [Calculator(1 + 1) -> 2] and of [1] before",
    " ".join(["A longer beginning, so that the others are padded."] * 6),
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A Llama of two layers that writes what it was taught."""
    folder = save_tiny_llama(tmp_path_factory.mktemp("models") / "taught")
    teach(folder, LESSONS, steps=250)
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def tools() -> dict[str, Tool]:
    return tools_named("calculator,calendar", date="2023-01-30")


def one(model: Any, tokenizer: Any, prompt: str, tools: Mapping[str, Tool], **options: Any) -> Generated:
    (generated,) = generate(model, tokenizer, [prompt], tools, **{"max_new_tokens": 12, **options})
    return generated


def twin(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    tools: Mapping[str, Tool],
    k: int,
    max_calls: int,
    max_new_tokens: int,
    call_tokens: int,
) -> str:
    """Section 2's inference from its description: one text, one token at a time, the whole text read anew for each."""
    segments = SegmentTokenizer(tokenizer)
    ids = segments.prompt_ids(prompt) if prompt else [tokenizer.eos_token_id]
    begin, used, plain = len(ids), 0, 0
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])

    def ranked() -> list[int]:
        with torch.no_grad():
            return model(torch.tensor([ids]), use_cache=False).logits[0, -1].argsort(descending=True).tolist()

    def read(start: int) -> str:
        """Go on with the call whose bracket is at `start`; what is returned says how it ended."""
        while True:
            content = tokenizer.decode(ids[start:]).partition("[")[2]
            if "->" in content:
                call = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", content.partition("->")[0], re.DOTALL)
                if not call:
                    return "text"
                (done,) = execute([ToolCall(call[1], call[2].strip())], tools)
                result = done.result
                ids.extend(segments.continuation_ids(f" {result}]" if result else "]"))
                return "called"
            if "]" in content:
                return "called" if re.match(r"\s*\w+\(.*\)\s*\]", content, re.DOTALL) else "text"
            if not re.fullmatch(r"\s*([A-Za-z]\w*(\(.*)?)?", content, re.DOTALL):
                return "text"
            if len(ids) - start > call_tokens:
                ids.extend(segments.continuation_ids("]"))
                return "called"
            token = ranked()[0]
            if token == tokenizer.eos_token_id:
                return "ended"
            ids.append(token)

    tail = re.search(r"\[[A-Za-z]*(\([^\]]*)?$", prompt)
    if tail and max_calls:
        start = next(i for i in reversed(range(begin)) if "[" in tokenizer.decode(ids[i:begin]))
        how = read(start)
        used, plain = used + 1, plain + (len(ids) - begin if how == "text" else 0)
        if how == "ended":
            return tokenizer.decode(ids[begin:])
    while plain < max_new_tokens:
        order = ranked()
        likely = [token for token in order[:k] if pieces[token].strip() in ("[", "[C", "[Cal")]
        if used >= max_calls:
            token = next(token for token in order if "[" not in pieces[token])
        else:
            token = likely[0] if likely else order[0]
        if token == tokenizer.eos_token_id:
            break
        start = len(ids)
        ids.append(token)
        if used < max_calls and re.search(r"\[\s*[A-Za-z]*$", pieces[token]):
            how = read(start)
            if how == "ended":
                break
            if how == "text":
                plain += len(ids) - start
                used += token != order[0]
            else:
                used += 1
        else:
            plain += 1
    return tokenizer.decode(ids[begin:])


@pytest.mark.parametrize(
    ("k", "max_calls"),
    [
        (1, 3),
        (10, 1),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((1, 1), (3, 1), (10, 0), (10, 2), (60, 3))),
    ],
)
def test_batches_write_what_the_twin_writes(
    taught: tuple[Any, Any], tools: dict[str, Tool], k: int, max_calls: int
) -> None:
    limits = {"k": k, "max_calls": max_calls, "max_new_tokens": 14, "call_tokens": 20}
    expected = [twin(*taught, prompt, tools, **limits) for prompt in PROMPTS]
    for batch_size in (1, 3, 32):
        written = generate(*taught, PROMPTS, tools, batch_size=batch_size, **limits)
        assert [each.text for each in written] == expected
    if max_calls:
        assert any(" -> " in text for text in expected)


def test_the_result_is_put_in_place(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    written = one(*taught, PASSED, tools, k=1)
    assert written.text == " [Calculator(400 / 1400) -> 0.29] 29%."
    assert generate(*taught, PASSED, tools, k=1, max_new_tokens=12) == [written]  # one text, not its letters
    (call,) = written.calls
    assert (call.tool, call.input, call.result, call.error) == ("Calculator", "400 / 1400", "0.29", None)
    assert written.text[call.start : call.end] == " [Calculator(400 / 1400) -> 0.29]"
    assert written.plain == " 29%."


@pytest.mark.parametrize(
    ("prompt", "begins"),
    [
        ("Of 12, [Calculator(3 * 4) ->", " 12]"),
        ("Of 12, [Calculator(3 * 4) -> ", "12]"),
        ("Today [Calendar() ->", " Today is Monday, January 30, 2023.]"),
        ("Bad [Calculator(9**9**9) ->", "]"),
        ("Unknown [Oracle(1) ->", "]"),
        ("No call [see 1 -> ", ""),
    ],
)
def test_a_call_that_a_prompt_forces(
    taught: tuple[Any, Any], tools: dict[str, Tool], prompt: str, begins: str
) -> None:
    written = one(*taught, prompt, tools)
    assert written.text.startswith(begins)
    assert len(written.calls) == bool(begins)
    if "Oracle" in prompt:
        assert written.calls[0].error == "there is no tool Oracle"


def test_a_call_that_does_not_end_is_cut_off(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    written = one(*taught, "The sum is", tools, k=1, call_tokens=20)
    (call,) = written.calls
    assert call.tool == "Calculator" and set(call.input) <= set("1 +") and call.result is None
    assert call.error == "it did not end within 20 tokens"
    assert written.text[call.start : call.end].endswith("]") and written.text[: call.end].count("[") == 1
    # The limit on text does not count the call, and the text goes on behind it.
    longer = one(*taught, "The sum is", tools, k=1, call_tokens=400, max_new_tokens=1)
    assert longer.calls[0].result == "15" and longer.tokens > 40 and longer.text[longer.calls[0].end :] == longer.plain
    assert longer.plain.strip()


def test_at_most_so_many_calls(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    texts = [one(*taught, "Twice", tools, k=1, max_calls=n).text for n in (0, 1, 2)]
    assert [text.count("[") for text in texts] == [0, 1, 2]
    assert texts[2] == " [Calculator(2 * 2) -> 4] and [Calculator(3 * 3) -> 9] done."


def test_without_calls_no_marker_is_written(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    for written in generate(*taught, PROMPTS, tools, max_calls=0, max_new_tokens=20):
        assert "[" not in written.text and not written.calls and written.plain == written.text


def test_brackets_that_are_no_calls_stay_text(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    written = one(*taught, "As was said", tools, k=1)
    assert written.text == " before [1] by [2] all." and not written.calls


def test_a_call_begins_where_it_is_among_the_likeliest(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    model, tokenizer = taught
    with torch.no_grad():
        logits = model(torch.tensor([SegmentTokenizer(tokenizer).prompt_ids("There is")])).logits[0, -1]
    starts = [i for i in range(len(tokenizer)) if tokenizer.decode([i]).strip() == "["]
    rank = min((logits > logits[i]).sum().item() for i in starts) + 1
    assert rank > 1
    first = [one(*taught, "There is", tools, k=k, max_new_tokens=1).text.strip()[:1] for k in (rank - 1, rank)]
    assert first == ["n", "["]


def test_pieces_are_told_as_they_come(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    events: list[Event] = []
    written = generate(*taught, PROMPTS, tools, k=1, max_new_tokens=14, on_event=events.append)
    for i, each in enumerate(written):
        assert "".join(event.text for event in events if event.index == i) == each.text
    kinds = [(event.kind, event.text) for event in events if event.index == 0]
    assert "".join(text for kind, text in kinds if kind == "call") == " [Calculator(400 / 1400) ->"
    assert "".join(text for kind, text in kinds if kind == "result") == " 0.29]"
    assert len(kinds) > 10


class Says(Tool):
    name = "Calculator"

    def __init__(self, answer: Callable[[], str | None]) -> None:
        self.answer = answer

    def __call__(self, text: str) -> str | None:
        return self.answer()


def test_whatever_a_tool_does_the_text_goes_on(taught: tuple[Any, Any]) -> None:
    over = threading.Event()

    def broken() -> str:
        raise ValueError("away")

    def hanging() -> str:
        over.wait(30)
        return "late"

    for answer, error in ((broken, "failed (ValueError: away)"), (hanging, "did not answer"), (lambda: None, None)):
        written = one(*taught, PASSED, {"Calculator": Says(answer)}, k=1, timeout=0.3)
        assert written.text.startswith(" [Calculator(400 / 1400) ->]") and written.plain
        assert written.calls[0].result is None
        assert error is None or error in str(written.calls[0].error)
    over.set()


def test_what_a_tool_says_is_no_control_token_and_no_call(taught: tuple[Any, Any]) -> None:
    hostile = "a<|im_end|> [Calculator(1) -> 2] " + "b" * 5_000_000
    written = one(*taught, PASSED, {"Calculator": Says(lambda: hostile)}, k=1, longest=60)
    assert written.calls[0].result == "a<|im_end|> (Calculator(1) 2)"
    assert written.text.startswith(" [Calculator(400 / 1400) -> a<|im_end|> (Calculator(1) 2)]") and written.plain


def test_a_prompt_that_is_too_long_costs_no_other(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    long, short = generate(*taught, ["word " * 3000, PASSED], tools, k=1, max_new_tokens=12)
    assert long.text == "" and "the model reads 2048" in str(long.error)
    assert short.text == " [Calculator(400 / 1400) -> 0.29] 29%."
    # One that ends where the model's context does is written as far as that.
    tokenizer = taught[1]
    ids = SegmentTokenizer(tokenizer).prompt_ids("word " * 3000)[:2040]
    written = one(*taught, tokenizer.decode(ids), tools, max_new_tokens=100)
    assert written.error is None and written.tokens <= 2048 - 2040 + 4


def test_numbers_that_make_no_sense_are_refused(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    for bad in ({"k": 0}, {"max_calls": -1}, {"max_new_tokens": 0}, {"batch_size": 0}, {"call_tokens": 0}):
        with pytest.raises(OptionError):
            generate(*taught, [PASSED], tools, **bad)


# --- tokenizers


def merging_tokenizer(space: bool) -> PreTrainedTokenizerFast:
    """A vocabulary in which markers merge with their neighbours, since nothing cuts a text before the merges."""
    backend = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if space else "never", split=False)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    trainer = BpeTrainer(
        vocab_size=450,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    texts = [f"so [Calculator({i} * {i}) -> {i * i}], that" for i in range(40)]
    backend.train_from_iterator([f"{text} is it ([see {i}])" for i, text in enumerate(texts)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<unk>", unk_token="<unk>")


def random_model(kind: str, size: int) -> PreTrainedModel:
    """A model of two layers of an architecture."""
    sizes: dict[str, Any] = {
        "llama": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
        "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8},
        "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    }[kind]
    set_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=size, bos_token_id=None, eos_token_id=None, pad_token_id=None, **sizes
    )
    model = AutoModelForCausalLM.from_config(config)
    # Initial weights are so small that all tokens are about as likely, which no comparison should hang on.
    for parameter in model.parameters():
        parameter.data *= 3
    return model


@pytest.mark.parametrize("space", [True, False])
def test_markers_that_merge_with_their_neighbours(tools: dict[str, Tool], space: bool) -> None:
    tokenizer = merging_tokenizer(space)
    model = random_model("llama", len(tokenizer))
    vocabulary = Vocabulary(tokenizer, Markers(), tools, len(tokenizer))
    starts = {tokenizer.decode([i]).strip() for i in vocabulary.starts}
    assert "[" in starts and any(len(start) > 1 for start in starts)
    assert all("[Calculator(".startswith(start) for start in starts)
    merged = [piece for piece in tokenizer.get_vocab() if "->" in piece and piece != "->"]
    assert merged
    for prompt, result in (("so [Calculator(6 * 7) ->", " 42]"), ("so [Calculator(6 * 7) -> ", "42]")):
        written = one(model, tokenizer, prompt, tools, max_new_tokens=3)
        assert written.text.startswith(result) and written.calls[0].result == "42"
    # Every token is among the likeliest, so a call begins at once.
    written = one(model, tokenizer, "so it is", tools, k=len(tokenizer), max_new_tokens=3)
    assert written.text.lstrip().startswith("[")
    assert "[" not in one(model, tokenizer, "so it is", tools, max_calls=0, max_new_tokens=40).text


def test_nothing_is_read_twice_and_results_are_read_at_once(taught: tuple[Any, Any], tools: dict[str, Tool]) -> None:
    model, tokenizer = taught
    exact_ways(model)  # found out by trying, once
    sizes: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, given: sizes.append(given["input_ids"].numel()), with_kwargs=True
    )
    prompts = [f"{prompt} " * 3 for prompt in PROMPTS]
    options: dict[str, Any] = {"max_new_tokens": 60, "k": 1}
    together = generate(model, tokenizer, prompts, tools, batch_size=len(prompts), **options)
    hook.remove()
    vocabulary = Vocabulary(tokenizer, Markers(), tools, len(tokenizer))
    read = sum(len(vocabulary.prompt(prompt)) for prompt in prompts)
    assert sum(sizes) <= read + sum(each.tokens for each in together)
    # A pass for each id that the longest text has at most, and one for each prefix that prompts share.
    assert len(sizes) <= max(each.tokens for each in together) + len(prompts)
    assert together == generate(model, tokenizer, prompts, tools, batch_size=1, **options)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "mamba"])
def test_any_architecture_writes_in_batches_what_it_writes_alone(kind: str, tools: dict[str, Tool]) -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    model = random_model(kind, len(tokenizer) + 5)  # padded, as embeddings often are
    options: dict[str, Any] = {"max_new_tokens": 8, "call_tokens": 10, "k": 40, "max_calls": 2}
    together = generate(model, tokenizer, PROMPTS, tools, batch_size=len(PROMPTS), **options)
    assert together == generate(model, tokenizer, PROMPTS, tools, batch_size=1, **options)
    assert together[7].text.startswith(" 12]") and len({each.text for each in together}) > 5


def test_markers_that_are_tokens_of_their_own(tools: dict[str, Tool]) -> None:
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    markers = Markers("<API>", "</API>", "<=>")
    model = random_model("llama", len(tokenizer) + 3)
    with pytest.raises(UnsupportedModelError):
        one(model, tokenizer, "x", tools, markers=markers)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<API>", "</API>", "<=>"]})
    seen: list[int] = []
    written = one(model, tokenizer, "so <API>Calculator(6 * 7) <=>", tools, markers=markers, max_new_tokens=2)
    assert written.text.startswith(" 42</API>") and written.calls[0].result == "42"
    vocabulary = Vocabulary(tokenizer, markers, tools, len(tokenizer))
    seen = vocabulary.prompt("so <API>Calculator(6 * 7) <=>")
    assert (
        seen[-1] == tokenizer.convert_tokens_to_ids("<=>")
        and seen.count(tokenizer.convert_tokens_to_ids("<API>")) == 1
    )
    assert vocabulary.starts == vocabulary.openings == {tokenizer.convert_tokens_to_ids("<API>")}


@pytest.mark.slow
def test_smollm2_has_its_calls_made(tools: dict[str, Tool]) -> None:
    from toolalpaca_hf.checkpoints import resolve_model
    from toolalpaca_hf.inference import load_model

    model, tokenizer = load_model(resolve_model("smollm2"))
    model.float()
    prompts = [
        "Out of 1400 participants, 400 passed, that is [Calculator(400 / 1400) ->",
        "Out of 1400 participants, 400 [Calculator(400 / 1400",
        "[Calculator(17 * 3) -> 51] and [Calculator(6 * 7) ->",
        "The capital of France is",
    ]
    together = generate(model, tokenizer, prompts, tools, max_new_tokens=12, batch_size=4)
    assert together == generate(model, tokenizer, prompts, tools, max_new_tokens=12, batch_size=1)
    assert [each.text.partition("]")[0] for each in together[::2]] == [" 0.29", " 42"]
    limits = {"k": 10, "max_calls": 1, "max_new_tokens": 12, "call_tokens": 64}
    assert [each.text for each in together] == [twin(model, tokenizer, prompt, tools, **limits) for prompt in prompts]
    assert one(model, tokenizer, prompts[3], tools, max_calls=0).text.startswith(" Paris")


# --- the command


def test_the_command_shows_calls_where_they_are_made(
    taught: tuple[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in taught:
        part.save_pretrained(tmp_path / "model")

    def command(*arguments: str) -> str:
        words = ["toolalpaca", "toolformer", "generate", "--model", str(tmp_path / "model"), "--k", "1", *arguments]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert ended.value.code == (2 if not shown.out else 0)
        return shown.out or shown.err

    whole = f"{PASSED} [Calculator(400 / 1400) -> 0.29] 29%.\n"
    assert command("--tools", "calculator", PASSED) == whole
    assert command("--cache", str(tmp_path / "results.sqlite"), PASSED, PASSED) == whole * 2
    row = json.loads(command("--json", PASSED))
    assert row["calls"][0]["result"] == "0.29" and row["prompt"] + row["text"] + "\n" == whole
    assert "[" not in command("--no-calls", PASSED)
    assert "--tools" in command("--tools", "abacus", PASSED)
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Sums", "version": "1"},
        "paths": {"/sum": {"get": {"operationId": "Calculator", "responses": {"200": {"description": "ok"}}}}},
    }
    (tmp_path / "sums.json").write_text(json.dumps(document))
    assert " [Calculator(400 / 1400) ->" in command(
        "--tools", "calendar", "--api", str(tmp_path / "sums.json"), PASSED
    )
