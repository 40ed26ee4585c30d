"""Ids and labels of segments: exact at every boundary, for every family of tokenizers."""

import copy
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizer_families import HARD_TEXTS, Family, byte_level_family
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE, WordPiece
from transformers import ByT5Tokenizer, LlamaTokenizer, PreTrainedTokenizerFast

from toolalpaca_hf.errors import InputError, UnsupportedModelError
from toolalpaca_hf.schema import Segment
from toolalpaca_hf.training import IGNORE, SegmentTokenizer, merge

# "▁" is SentencePiece's letter for a space; no such tokenizer can tell the two apart.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="▁")
TEXTS = st.lists(st.sampled_from(HARD_TEXTS) | st.text(LETTERS, max_size=8), max_size=3).map("".join)
ROWS = st.lists(st.builds(Segment, TEXTS, st.booleans()), max_size=6)
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def runs_of(row: list[Segment]) -> list[tuple[str, bool]]:
    """Runs by other means than `merge`."""
    groups = groupby((segment for segment in row if segment.text), key=lambda segment: segment.trainable)
    return [("".join(segment.text for segment in group), trainable) for trainable, group in groups]


def spans_of(labels: list[int]) -> list[tuple[int, int, bool]]:
    """Stretches of labels that are trained or not."""
    spans, start = [], 0
    for trained, group in groupby(labels, key=lambda label: label != IGNORE):
        size = len(list(group))
        spans.append((start, start + size, trained))
        start += size
    return spans


@EXAMPLES
@given(row=ROWS)
def test_trained_ids_decode_to_trained_text_and_nothing_else(family: Family, row: list[Segment]) -> None:
    encoded = family.segment_tokenizer.encode(row)
    if encoded["outcome"] == "untrained":
        assert encoded["input_ids"] == encoded["labels"] == []
        # Nothing, or a single token that has nothing before it.
        trained = [run for run, trainable in runs_of(row) if trainable]
        assert sum(len(family.generated(run)) for run in trained) <= 1 or not any(map(family.read, trained))
        return
    ids, labels = encoded["input_ids"], encoded["labels"]
    assert all(label in (IGNORE, id_) for id_, label in zip(ids, labels, strict=True))
    runs = runs_of(row)
    if not all(family.read(run) for run, _ in runs):
        # A run that a vocabulary cannot spell (SmolLM2 lacks some control characters) leaves no border to look for.
        expected = "".join(family.read(run) for run, trainable in runs if trainable)
        found = family.raw([label for label in labels if label != IGNORE])
        assert not family.prefix and found == expected + family.tokenizer.eos_token * runs[-1][1]
        return
    position = len(family.segment_tokenizer.bos_ids)
    assert labels[:position] == [IGNORE] * position
    for i, (run, trainable) in enumerate(runs):
        end = next((j for j in range(position, len(ids)) if (labels[j] != IGNORE) != trainable), len(ids))
        text = family.raw(ids[position:end])
        expected = family.read(run)
        if (
            i == len(runs) - 1
            and trainable
            and not (family.parse and run.rstrip().endswith(family.tokenizer.eos_token))
        ):
            expected += family.tokenizer.eos_token
        if i == 0 and family.prefix:
            # The space before a prompt; before one that begins with a space, some pipelines add no other.
            assert text == " " + expected or (text == expected and run[0] == " ")
        else:
            assert text == expected
        position = end
    assert position == len(ids)


@EXAMPLES
@given(row=ROWS)
def test_ids_are_those_of_inference(family: Family, row: list[Segment]) -> None:
    """A prompt read by the tokenizer itself, then what is generated and what is appended, piece by piece."""
    segment_tokenizer = family.segment_tokenizer
    encoded = segment_tokenizer.encode(row)
    if encoded["outcome"] == "untrained":
        return
    runs = runs_of(row)
    ids = family.tokenizer.encode(runs[0][0], split_special_tokens=not family.parse)
    appended = segment_tokenizer.prompt_ids(runs[0][0])
    for run, _ in runs[1:]:
        ids += family.generated(run)
        appended += segment_tokenizer.continuation_ids(run)
    if runs[-1][1] and encoded["labels"][-1] == family.tokenizer.eos_token_id and len(encoded["labels"]) > len(ids):
        ids.append(family.tokenizer.eos_token_id)
        appended.append(family.tokenizer.eos_token_id)
    assert encoded["input_ids"] == ids == appended


@EXAMPLES
@given(rows=st.lists(ROWS, max_size=4))
def test_a_batch_is_its_rows(family: Family, rows: list[list[Segment]]) -> None:
    segment_tokenizer = family.limited(24)
    dicts = [[{"text": segment.text, "trainable": segment.trainable} for segment in row] for row in rows]
    assert segment_tokenizer.encode_batch(dicts) == [segment_tokenizer.encode(row) for row in rows]


def test_a_row_that_ends_untrained_trains_no_end(family: Family) -> None:
    """Not even where the vocabulary cannot spell what it ends with."""
    for last in (" ", "\x06"):
        encoded = family.segment_tokenizer.encode([Segment("So be it", True), Segment(last, False)])
        assert family.tokenizer.eos_token_id not in encoded["labels"]
    whole = family.segment_tokenizer.encode([Segment("So be it", True), Segment("", False)])
    assert whole["labels"][-1] == family.tokenizer.eos_token_id


@EXAMPLES
@given(row=ROWS, max_length=st.integers(2, 40))
def test_a_long_row_is_cut_after_a_trained_run_and_a_text_after_a_trained_token(
    family: Family, row: list[Segment], max_length: int
) -> None:
    assume(all(family.read(run) for run, _ in runs_of(row)))
    whole = family.segment_tokenizer.encode(row)
    cut = family.limited(max_length).encode(row)
    dropped = family.limited(max_length, "drop").encode(row)
    if whole["outcome"] == "untrained" or len(whole["input_ids"]) <= max_length:
        assert cut == dropped == whole
        return
    assert dropped == {"input_ids": [], "labels": [], "outcome": "overlong"}
    # Ends of trained runs, the last of which has its end-of-sequence token.
    ends = [end for start, end, trained in spans_of(whole["labels"]) if trained and end <= max_length and end > 1]
    if runs_of(row)[0][1]:
        ends = [i + 1 for i in range(1, max_length) if whole["labels"][i] != IGNORE]
    if not ends:
        assert cut == dropped
        return
    size = ends[-1]
    assert cut == {"input_ids": whole["input_ids"][:size], "labels": whole["labels"][:size], "outcome": "cut"}


def test_a_long_text_keeps_what_fits_and_a_long_action_does_not(family: Family) -> None:
    words, limited = "one two three " * 40, family.limited(64)
    whole = family.segment_tokenizer.encode([Segment(words, True)])
    cut = limited.encode([Segment(words, True)])
    assert cut["outcome"] == "cut" and cut["input_ids"] == whole["input_ids"][:64]
    # With a result left out of the loss; what is cut in the midst of one ends before it.
    results = [Segment("1 + 1 = [Calculator(1 + 1) ->", True), Segment(" 2 " * 80, False), Segment("] 2", True)]
    cut = limited.encode(results)
    assert cut["input_ids"] == limited.encode(results[:1])["input_ids"][: len(cut["input_ids"])]
    assert cut["outcome"] == "cut" and cut["labels"][-1] != IGNORE
    assert limited.encode([Segment("ask", False), Segment(words, True)])["outcome"] == "overlong"


@pytest.mark.parametrize("text", ["</s>", "<|im_end|>", "<s>", "x</s>y", " <|im_start|>system\n"])
def test_text_never_becomes_a_special_token(family: Family, text: str) -> None:
    if family.parse:
        pytest.skip("this family reads special tokens")
    segment_tokenizer = family.segment_tokenizer
    row = segment_tokenizer.encode(
        [Segment(text, False), Segment("Action", True), Segment(text, False), Segment("Yes" + text, True)]
    )
    special = set(family.tokenizer.all_special_ids) - {family.tokenizer.unk_token_id}
    inner = row["input_ids"][len(segment_tokenizer.bos_ids) : -1]
    assert not special & set(inner)
    assert row["labels"][-1] == family.tokenizer.eos_token_id


def test_a_template_with_special_tokens_is_read_and_its_end_not_doubled(smollm2: Any) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    prompt = smollm2.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    whole = smollm2.apply_chat_template(messages, tokenize=False)
    segments = [Segment(prompt, False), Segment(whole.removeprefix(prompt), True)]
    row = SegmentTokenizer(smollm2, parse_special_tokens=True).encode(segments)
    assert row["input_ids"] == smollm2.apply_chat_template(messages, return_dict=False)
    assert smollm2.decode([label for label in row["labels"] if label != IGNORE]) == "Hello.<|im_end|>\n"


def test_the_bos_token_of_a_template_is_not_doubled(sentencepiece_folder: Any) -> None:
    segment_tokenizer = SegmentTokenizer(
        LlamaTokenizer.from_pretrained(sentencepiece_folder), parse_special_tokens=True
    )
    assert segment_tokenizer.bos_ids == [1]
    row = segment_tokenizer.encode([Segment("<s>USER: hi ASSISTANT:", False), Segment(" hello</s>", True)])
    assert row["input_ids"].count(1) == row["input_ids"].count(2) == 1
    assert segment_tokenizer.prompt_ids("<s>USER: hi").count(1) == 1


def test_special_tokens_that_a_model_could_merge_stay_text() -> None:
    """Some converted vocabularies hold merges that end in a control token; `split_special_tokens` does not stop
    these."""
    vocab = {"</s>": 0, "<": 1, "/": 2, "s": 3, ">": 4, "</": 5, "s>": 6, "x": 7}
    backend = Tokenizer(BPE(vocab, [("<", "/"), ("s", ">"), ("</", "s>")]))
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="</s>")
    assert tokenizer.encode("</s>", split_special_tokens=True) == [0]
    assert SegmentTokenizer(tokenizer).continuation_ids("x</s>") == [7, 5, 6]


def test_a_tokenizer_needs_an_end_and_no_padding(family: Family) -> None:
    tokenizer = copy.deepcopy(family.tokenizer)
    tokenizer.pad_token = None
    assert SegmentTokenizer(tokenizer).pad_token_id in (tokenizer.unk_token_id, tokenizer.eos_token_id)
    tokenizer.eos_token = None
    with pytest.raises(UnsupportedModelError):
        SegmentTokenizer(tokenizer)


@pytest.mark.parametrize(
    "segment", ["text", None, {"text": "a"}, {"text": None, "trainable": True}, {"text": "a", "trainable": "yes"}]
)
def test_a_segment_of_another_form_is_refused(segment: Any) -> None:
    with pytest.raises(InputError):
        merge([Segment("a", True), segment])


def test_a_row_without_segments_is_empty_and_another_layout_refused() -> None:
    assert merge(None) == merge([]) == []
    for layout in (5, [["text", True]]):
        with pytest.raises(InputError) as caught:
            merge(layout, 3)  # type: ignore[arg-type]  # what it has to refuse
        assert caught.value.row == 3


def test_half_a_surrogate_pair_is_replaced_as_in_files(family: Family) -> None:
    tokenizer = family.segment_tokenizer
    broken, replaced = ([Segment(f"a{letter}", False), Segment(f"b{letter}c", True)] for letter in ("\ud83d", "?"))
    assert tokenizer.encode(broken) == tokenizer.encode(replaced)


def test_the_tokenizer_is_left_as_it_was(family: Family) -> None:
    tokenizer = copy.deepcopy(family.tokenizer)
    before = tokenizer.encode("a</s><|im_end|> b")
    SegmentTokenizer(tokenizer).encode([Segment("a</s> b", False), Segment("<|im_end|>", True)])
    assert tokenizer.encode("a</s><|im_end|> b") == before


def test_control_tokens_of_a_chat_template_stay_text_too() -> None:
    """Qwen's `<tool_call>` is an added token that is not marked special."""
    tokenizer = byte_level_family().tokenizer
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    id_ = tokenizer.convert_tokens_to_ids("<tool_call>")
    assert tokenizer.encode("a<tool_call>b", split_special_tokens=True).count(id_) == 1
    tokenizer.chat_template = "{{ messages[0].content }}<tool_call>"
    assert id_ not in SegmentTokenizer(tokenizer).continuation_ids("a<tool_call>b")
    assert id_ in SegmentTokenizer(tokenizer, parse_special_tokens=True).continuation_ids("a<tool_call>b")


def test_a_tokenizer_that_cannot_go_on_from_ids_is_refused() -> None:
    backend = Tokenizer(WordPiece({"[UNK]": 0, "x": 1, "##x": 2, "[SEP]": 3}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[SEP]", pad_token="[UNK]")
    with pytest.raises(UnsupportedModelError):
        SegmentTokenizer(tokenizer)


def test_a_tokenizer_that_is_not_fast_is_refused() -> None:
    with pytest.raises(UnsupportedModelError):
        SegmentTokenizer(ByT5Tokenizer())
