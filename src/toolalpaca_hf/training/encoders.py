"""Encodes text as the start of a sequence or as the continuation of one, without making control tokens of it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ..errors import UnsupportedModelError

# One call to the Rust tokenizer holds every token's text and offsets: bounded calls keep that from piling up.
CHARACTERS_A_CALL = 1_000_000
# Lower than any sum of log-probabilities: a Unigram model never picks a piece with this score.
NEVER = -1e9


class Encoder:
    """Two copies of a fast tokenizer's pipeline, with and without what it prepends; `plain` reads `</s>` as text."""

    def __init__(self, prompt_json: str, continuation_json: str, plain: bool) -> None:
        self._state = prompt_json, continuation_json, plain
        self._prompt = Tokenizer.from_str(prompt_json)
        same = continuation_json == prompt_json
        self._continuation = self._prompt if same else Tokenizer.from_str(continuation_json)
        # Not part of the JSON, so it is set on every copy.
        self._prompt.encode_special_tokens = self._continuation.encode_special_tokens = plain

    def __reduce__(self) -> tuple[Any, ...]:
        return Encoder, self._state

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """Ids of texts that start a sequence, without special tokens around them."""
        return _encode_in_calls(self._prompt, texts)

    def continuations(self, texts: list[str]) -> list[list[int]]:
        return _encode_in_calls(self._continuation, texts)


def make_encoder(tokenizer: PreTrainedTokenizerBase, parse_special_tokens: bool) -> Encoder:
    """The encoder for a tokenizer; `parse_special_tokens` says whether `</s>` is a token or characters.

    Raises:
        [`UnsupportedModelError`]: It is not a fast one, inserts something between two texts that cannot be turned off,
            or makes special tokens out of plain text.
    """
    plain, name = not parse_special_tokens, tokenizer.name_or_path or type(tokenizer).__name__
    if not tokenizer.is_fast:
        raise UnsupportedModelError("the tokenizer is not a fast one", file=name, fix="use a model that has one")
    state = json.loads(cast(Tokenizer, tokenizer.backend_tokenizer).to_str())
    state["truncation"] = state["padding"] = state["post_processor"] = None
    if plain:
        _forbid_special_tokens(state, tokenizer)
    state["normalizer"] = _changed(state["normalizer"], {"Strip": {"strip_right": False}})
    prompt_json = json.dumps(state)
    for stage in ("normalizer", "pre_tokenizer"):
        state[stage] = _changed(state[stage], _NO_PREFIX)
    encoder = Encoder(prompt_json, json.dumps(state), plain)
    joined = tokenizer.decode(encoder.prompts(["x"])[0] + encoder.continuations(["x"])[0])
    if joined != tokenizer.decode(encoder.prompts(["xx"])[0]):
        problem = f"the tokenizer reads 'x' followed by 'x' as {joined!r}: it cannot go on from ids that are there"
        raise UnsupportedModelError(problem, file=name, fix="use the tokenizer of a causal language model")
    # The unknown token is what unknown characters become, in any text.
    special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    special.pop(str(tokenizer.unk_token), None)
    for token, id_ in special.items() if plain else ():
        probes = [token, f" {token}", f"x{token}x"]
        if any(id_ in ids for ids in encoder.prompts(probes) + encoder.continuations(probes)):
            problem = f"the tokenizer makes {token!r} out of plain text, so an observation could end a sequence"
            raise UnsupportedModelError(problem, file=name, fix="set parse_special_tokens for text you trust")
    return encoder


def _encode_in_calls(backend: Tokenizer, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = []
    start = size = 0
    for end, text in enumerate(texts, 1):
        size += len(text)
        if size >= CHARACTERS_A_CALL or end == len(texts):
            # Half a surrogate pair, which JSON can spell and no tokenizer reads, is replaced.
            some = [text.encode("utf-8", "replace").decode() for text in texts[start:end]]
            ids += [encoding.ids for encoding in backend.encode_batch_fast(some, add_special_tokens=False)]
            start, size = end, 0
    return ids


# What puts nothing before a text, and takes no space from its beginning; `None` leaves a part out.
_NO_PREFIX: dict[str, dict[str, Any] | None] = {
    "Prepend": None, "Strip": {"strip_left": False}, "Metaspace": {"prepend_scheme": "never"},
    "ByteLevel": {"add_prefix_space": False},
}  # fmt: skip


def _changed(stage: dict[str, Any] | None, changes: Mapping[str, dict[str, Any] | None]) -> dict[str, Any] | None:
    """A normalizer or pre-tokenizer, and what it consists of, with other settings by type."""
    if stage is None or (change := changes.get(stage["type"], {})) is None:
        return None
    for parts in {"normalizers", "pretokenizers"} & stage.keys():
        change = change | {parts: [new for part in stage[parts] if (new := _changed(part, changes)) is not None]}
    return stage | change


def _forbid_special_tokens(state: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """Keep both the added tokens and the pipeline's model from making control tokens out of text."""
    template = str(tokenizer.chat_template or "")
    for token in state["added_tokens"]:
        # Qwen's `<tool_call>` and its like are not marked special, and yet control a conversation.
        token["special"] = token["special"] or (token["content"] in template and not token["content"].isspace())
    special = {token["content"] for token in state["added_tokens"] if token["special"]}
    model = state["model"]
    if model["type"] == "BPE":
        pairs = ((merge, merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"])
        model["merges"] = [merge for merge, pair in pairs if "".join(pair) not in special]
    elif model["type"] == "Unigram":
        model["vocab"] = [[piece, NEVER if piece in special else score] for piece, score in model["vocab"]]
