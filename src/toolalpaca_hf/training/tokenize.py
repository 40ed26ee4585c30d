"""Tokenizes segments to `input_ids` and `labels`, exact at every boundary, by the row, the batch or the dataset.

Neighbouring segments of one kind form a run, tokenized by itself: what is given or generated at inference.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypedDict, cast

import numpy as np
import tokenizers
import torch
import transformers
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import Hasher
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from ..errors import InputError, OptionError, UnsupportedModelError
from ..schema import Segment
from .encoders import make_encoder

IGNORE = -100
"""The label of a token that the loss leaves out."""

# Rows tokenised together; bounds the ids that are in memory beside the result.
ROWS_A_CALL = 256
# Ids fit 32 bits, which halves the cache beside the 64 that inference from Python ints would give.
_IDS = List(Value("int32"))
_FEATURES = Features({"input_ids": _IDS, "labels": _IDS, "outcome": Value("string")})

logger = logging.getLogger(__name__)


class Encoded(TypedDict):
    """A row: ids, labels (the id where it is trained, else -100), and what became of it; no ids if left out."""

    input_ids: list[int]
    labels: list[int]
    outcome: Literal["whole", "cut", "overlong", "untrained"]


class SegmentTokenizer:
    """Turns segments into ids and labels.

    A beginning-of-sequence token, if the tokenizer adds one, comes first and is not trained. If the last run is
    trained, an end-of-sequence token follows and is trained, unless the text already ends in it. Trained ids decode to
    exactly the trained text, except for a first run that is itself trained and starts with spaces: a tokenizer with a
    dummy prefix (Llama, Vicuna) cannot tell the first space from its own.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): A fast one, with an end-of-sequence token; not changed.
        max_length (`int`, *optional*): Longest row in tokens; by default there is no limit.
        overlong (`str`, *optional*, defaults to `"cut"`): `"cut"` ends a longer row after the last trained run that
            fits, without an end-of-sequence token; a row that starts with a trained run (plain text) ends at the last
            trained token that fits. `"drop"` drops it.
        parse_special_tokens (`bool`, *optional*, defaults to `False`): Whether text such as `</s>` is read as the
            token. An API's answer could then end a turn; chat templates and texts with marker tokens need it.

    Raises:
        [`UnsupportedModelError`]: The tokenizer lacks an end-of-sequence token, or cannot continue from ids.

    Example:

    ```python
    >>> row = SegmentTokenizer(tokenizer).encode([Segment("Thought: ", False), Segment("call it", True)])
    >>> tokenizer.decode([label for label in row["labels"] if label != -100])
    'call it<|im_end|>'
    ```
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None = None,
        overlong: str = "cut",
        parse_special_tokens: bool = False,
    ) -> None:
        name = tokenizer.name_or_path or type(tokenizer).__name__
        if tokenizer.eos_token_id is None:
            problem = "the tokenizer has no end-of-sequence token, so a model could not learn to stop"
            raise UnsupportedModelError(problem, file=name, fix="set tokenizer.eos_token to what ends a response")
        if overlong not in ("drop", "cut"):
            raise OptionError(f"{overlong!r} is neither 'drop' nor 'cut'", option="overlong")
        if max_length is not None and max_length < 2:
            raise OptionError(f"{max_length} is no length: one token predicts the other", option="max_length")
        self.max_length, self.overlong, self.parse_special_tokens = max_length, overlong, parse_special_tokens
        self.eos_token, self.eos_token_id = str(tokenizer.eos_token), cast(int, tokenizer.eos_token_id)
        # Labels are masked by position, so it is the same with which token a batch is padded.
        usual: Any = (tokenizer.pad_token_id, tokenizer.unk_token_id, self.eos_token_id)
        self.pad_token_id: int = next(id_ for id_ in usual if id_ is not None)
        self.bos_ids = bos_ids(tokenizer)
        self._encoder = make_encoder(tokenizer, parse_special_tokens)

    def prompt_ids(self, text: str) -> list[int]:
        """Ids of a text that starts a sequence, with a beginning-of-sequence token if the tokenizer adds one."""
        ids = self._encoder.prompts([text])[0]
        return ids if self._begins(ids) else self.bos_ids + ids

    def continuation_ids(self, text: str) -> list[int]:
        """Ids of a text appended to existing ids: without special tokens and without a prefix."""
        return self._encoder.continuations([text])[0]

    def encode(self, segments: Iterable[Segment | Mapping[str, Any]]) -> Encoded:
        """Encode one row of segments, or of dicts with `text` and `trainable`."""
        return self.encode_batch([segments])[0]

    def encode_batch(self, batch: Sequence[Iterable[Segment | Mapping[str, Any]]]) -> list[Encoded]:
        """Encode many rows; an [`InputError`] names the row's index if a segment is malformed."""
        runs = [merge(segments, i) for i, segments in enumerate(batch)]
        heads = iter(self._encoder.prompts([row[0].text for row in runs if row]))
        tails = iter(self._encoder.continuations([run.text for row in runs for run in row[1:]]))
        return [self._row(row, [next(tails if i else heads) for i in range(len(row))]) for row in runs]

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row with `segments` is kept, whole or cut: `dataset.filter(segment_tokenizer.keeps)`."""
        return self.encode(row["segments"])["outcome"] in ("whole", "cut")

    def _row(self, runs: list[Segment], run_ids: list[list[int]]) -> Encoded:
        limit = self.max_length if self.max_length is not None else float("inf")
        ids = [] if not runs or self._begins(run_ids[0]) else list(self.bos_ids)
        labels = [IGNORE] * len(ids)
        fits = trained = 0
        for i, (run, new) in enumerate(zip(runs, run_ids, strict=True)):
            if run.trainable and i == len(runs) - 1:
                # Templates put a newline behind the token that ends a turn; only parsed text can contain it.
                ended = new[-1:] == [self.eos_token_id] or run.text.rstrip().endswith(self.eos_token)
                new = new if self.parse_special_tokens and ended else [*new, self.eos_token_id]
            # What stands first has nothing to be predicted from, so by itself it trains nothing.
            trained += run.trainable and len(new) > (0 if ids else 1)
            ids += new
            labels += new if run.trainable else [IGNORE] * len(new)
            if run.trainable and len(ids) <= limit:
                fits = len(ids)
        if not trained:
            return {"input_ids": [], "labels": [], "outcome": "untrained"}
        if len(ids) <= limit:
            return {"input_ids": ids, "labels": labels, "outcome": "whole"}
        if runs[0].trainable:
            # A text, or one with results left out of the loss: it may end anywhere, unlike the steps behind a prompt.
            fits = max((i for i, label in enumerate(labels[: self.max_length], 1) if label != IGNORE), default=0)
        if fits < 2 or self.overlong == "drop":
            return {"input_ids": [], "labels": [], "outcome": "overlong"}
        return {"input_ids": ids[:fits], "labels": labels[:fits], "outcome": "cut"}

    def _begins(self, ids: list[int]) -> bool:
        # A chat template may have written the token already; only parsed text can contain it.
        return ids[: len(self.bos_ids)] == self.bos_ids


def merge(segments: Iterable[Segment | Mapping[str, Any]] | None, row: int | str | None = None) -> list[Segment]:
    """Join neighbouring segments of one kind, and drop empty ones; `row` is named in the error for a malformed one."""
    runs: list[Segment] = []
    fix = 'pass a Segment or {"text": a string, "trainable": true or false}'
    if not isinstance(segments, Iterable | None):
        raise InputError(f"segments are {str(segments)[:80]!r}", row=row, fix=fix)
    for i, segment in enumerate(() if segments is None else segments):
        found = vars(segment) if isinstance(segment, Segment) else segment if isinstance(segment, Mapping) else {}
        text, trainable = found.get("text"), found.get("trainable")
        if getattr(trainable, "dtype", None) in (torch.bool, np.bool_):  # rows in numpy's or torch's format
            trainable = bool(trainable)
        if not isinstance(text, str) or not isinstance(trainable, bool):
            raise InputError(f"segment {i} is {str(segment)[:80]!r}", row=row, fix=fix)
        if text:
            runs.append(Segment(text, trainable))
    groups = groupby(runs, key=lambda segment: segment.trainable)
    return [Segment("".join(segment.text for segment in group), trainable) for trainable, group in groups]


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What a tokenizer puts before a text."""
    whole, bare = tokenizer.encode("x"), tokenizer.encode("x", add_special_tokens=False)
    return whole[: next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)]


def code_hash(*rooms: ModuleType) -> str:
    """A hash of the code and prompts of this room and others; `datasets` fingerprints a package's code by name."""
    folders = [Path(__file__).parent, *(Path(str(room.__file__)).parent for room in rooms)]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".txt")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@dataclass(frozen=True)
class LengthReport:
    """What happened to the rows of a dataset, in numbers; `str` gives a sentence. `kept` includes those `cut`."""

    rows: int
    kept: int
    cut: int
    dropped_overlong: int
    dropped_untrained: int
    tokens: int
    trained_tokens: int
    max_length: int | None

    def __str__(self) -> str:
        limit = "any limit" if self.max_length is None else f"{self.max_length} tokens"
        share = self.trained_tokens / max(self.tokens, 1)
        return (
            f"{self.rows:,} rows: {self.kept:,} kept ({self.cut:,} of them cut to stay within {limit}), "
            f"{self.dropped_overlong:,} dropped as longer than {limit}, "
            f"{self.dropped_untrained:,} dropped as nothing in them is trained; "
            f"{self.tokens:,} tokens, {self.trained_tokens:,} of them trained ({share:.1%})."
        )


def tokenize_dataset(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
    overlong: str = "cut",
    parse_special_tokens: bool = False,
    num_proc: int | None = None,
) -> tuple[Dataset, LengthReport]:
    """Tokenize a column `segments`, cached with the dataset; for streaming datasets use [`CompletionOnlyCollator`].

    Settings are those of [`SegmentTokenizer`]; a fast tokenizer already uses every core without `num_proc`.

    Returns:
        `tuple[Dataset, LengthReport]`: Rows of `input_ids` and `labels`, and what was cut or dropped.

    Raises:
        [`InputError`]: There is no column `segments`, a segment is malformed, or no row is left.

    Example:

    ```python
    >>> segments = [{"text": "2+2=", "trainable": False}, {"text": "4", "trainable": True}]
    >>> dataset, report = tokenize_dataset(Dataset.from_dict({"segments": [segments]}), tokenizer, max_length=2048)
    >>> print(report)
    1 rows: 1 kept (0 of them cut to stay within 2048 tokens), ...
    ```
    """
    if "segments" not in dataset.column_names:
        raise InputError(f"no column 'segments', only {', '.join(dataset.column_names)}", fix="load the config sft")
    if not len(dataset):
        raise InputError("no row was there before any was left out", fix="check the file or selection")
    dataset = dataset.with_format(None)
    segment_tokenizer = SegmentTokenizer(tokenizer, max_length, overlong, parse_special_tokens)
    versions = [code_hash(), tokenizers.__version__, transformers.__version__]
    encoded = dataset.map(
        _encode,
        batched=True,
        batch_size=ROWS_A_CALL,
        fn_kwargs={"segment_tokenizer": segment_tokenizer},
        with_indices=True,
        remove_columns=dataset.column_names,
        features=_FEATURES,
        num_proc=num_proc,
        new_fingerprint=Hasher.hash([dataset._fingerprint, segment_tokenizer, versions]),
        desc="Segments to labels",
    )
    outcomes = encoded["outcome"][:]
    counts = Counter(outcomes)
    labels = [values for _, values in list_batches(encoded, "labels")]
    report = LengthReport(
        rows=len(dataset),
        kept=counts["whole"] + counts["cut"],
        cut=counts["cut"],
        dropped_overlong=counts["overlong"],
        dropped_untrained=counts["untrained"],
        tokens=sum(map(len, labels)),
        trained_tokens=sum(int((values != IGNORE).sum()) for values in labels),
        max_length=max_length,
    )
    if not report.kept:
        shorter = "raise max_length or use shorter documentation"
        fix = shorter if report.dropped_overlong else "check the trainable flags"
        raise InputError(f"no row is left to train on: {report}", fix=fix)
    if report.kept < report.rows:
        encoded = encoded.select([i for i, outcome in enumerate(outcomes) if outcome in ("whole", "cut")])
    return encoded.select_columns(["input_ids", "labels"]), report


def list_batches(rows: Dataset, column: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lengths and values of a column of lists, a thousand rows at a time: no id becomes a Python object."""
    batches: Any = rows.select_columns([column]).with_format("arrow").iter(1000)
    for chunk in (chunk for batch in batches for chunk in batch[column].chunks):
        yield np.asarray(chunk.value_lengths()), np.asarray(chunk.flatten())


def _encode(
    batch: dict[str, list[Any]], indices: list[int], segment_tokenizer: SegmentTokenizer
) -> dict[str, list[Any]]:
    try:
        rows = segment_tokenizer.encode_batch(batch["segments"])
    except InputError as error:
        place = error.row if isinstance(error.row, int) else 0
        named = batch["id"][place] if "id" in batch else None
        raise InputError(error.problem, row=indices[place] if named is None else named, fix=error.fix) from None
    return {name: [row[name] for row in rows] for name in ("input_ids", "labels", "outcome")}


class CompletionOnlyCollator:
    """Padded batches of ids and labels from rows with `segments`, or with `input_ids` and `labels`.

    For TRL without packing: `SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False)`;
    with packing it takes no collator, see [`tokenize_dataset`]. Rows that are cut are counted in `cut`, the first is
    logged. `pad_to_multiple_of` pads to a multiple of that many tokens instead of to the longest row.

    Example:

    ```python
    >>> collator = CompletionOnlyCollator(SegmentTokenizer(tokenizer, max_length=2048))
    >>> batch = collator([{"segments": [{"text": "2+2=", "trainable": False}, {"text": "4", "trainable": True}]}])
    >>> batch["labels"].shape == batch["input_ids"].shape == batch["attention_mask"].shape
    True
    ```
    """

    def __init__(self, segment_tokenizer: SegmentTokenizer, pad_to_multiple_of: int | None = None) -> None:
        self.segment_tokenizer = segment_tokenizer
        self.pad_to_multiple_of = pad_to_multiple_of
        self.cut = 0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        if any("nodes" in row for row in rows):
            problem = "each row of share_prefixes holds several"
            raise OptionError(problem, option="data_collator", fix="pass PrefixCollator")
        encoded = iter(self.segment_tokenizer.encode_batch([r["segments"] for r in rows if "input_ids" not in r]))
        done = [row if "input_ids" in row else self._checked(row, next(encoded)) for row in rows]
        ids, labels = ([torch.as_tensor(row[name]).long() for row in done] for name in ("input_ids", "labels"))
        if [*map(len, ids)] != [*map(len, labels)]:
            raise InputError("a row has not one label for each of its ids", fix="give ids that are not trained -100")
        columns = {"input_ids": ids, "attention_mask": [torch.ones_like(row) for row in ids], "labels": labels}
        fill = {"input_ids": self.segment_tokenizer.pad_token_id, "attention_mask": 0, "labels": IGNORE}
        more = -max(map(len, ids)) % (self.pad_to_multiple_of or 1)
        padded = {name: pad_sequence(column, True, fill[name]) for name, column in columns.items()}
        return {name: pad(column, (0, more), value=fill[name]) for name, column in padded.items()}

    def _checked(self, row: Mapping[str, Any], encoded: Encoded) -> Mapping[str, Any]:
        limit = self.segment_tokenizer.max_length
        name = row.get("id") or f"that starts with {str(row['segments'])[:60]!r}"
        if encoded["outcome"] == "cut":
            self.cut += 1
            if self.cut == 1:
                logger.warning("the row %s is longer than %s tokens and was cut; so are others", name, limit)
        elif encoded["outcome"] != "whole":
            why = f"more than {limit} tokens" if encoded["outcome"] == "overlong" else "nothing that is trained"
            raise InputError(why, row=name, fix="leave such rows out with dataset.filter(segment_tokenizer.keeps)")
        return encoded
