"""Ids in, ids out: many conversations continued at once, with or without what they share computed once."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from .kv_cache import KeptStates, Pack, Row, beginning_of, can_pack, shared, unfed


@dataclass(frozen=True)
class Continuation:
    """What was written after a conversation.

    Args:
        text (`str`): Its text, up to but without the stop text and the end-of-sequence token.
        ids (`list[int]`): All that was generated.
        end (`str`): What ended it: `"eos"`, `"limit"`, or the stop text.
    """

    text: str
    ids: list[int]
    end: str


class Writer:
    """Continues conversations of ids.

    With `reuse`, conversations become one sequence (see [`Pack`]); without it, or for a model that can not do this, they
    are padded and handed to `model.generate`.

    Args:
        model (`PreTrainedModel`): A causal language model; it is put into evaluation mode.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer, with a padding token.
        stops (`Sequence[str]`, *optional*): Texts that end a continuation.
        batch_size (`int`, *optional*, defaults to 32): At most so many conversations at once.
        reuse (`bool`, *optional*, defaults to `True`): Whether KV caches are shared and kept.
        temperature (`float`, *optional*, defaults to 0.0): 0 picks the likeliest id.
        seed (`int`, *optional*, defaults to 0): What sampling starts from.
        kept_bytes (`int`, *optional*, defaults to 4 GiB): How much is kept between calls.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        stops: Sequence[str] = (),
        batch_size: int = 32,
        reuse: bool = True,
        temperature: float = 0.0,
        seed: int = 0,
        kept_bytes: int = 4 << 30,
    ) -> None:
        self.model, self.tokenizer, self.stops = model.eval(), tokenizer, tuple(stops)
        self.batch_size, self.temperature = batch_size, temperature
        self.reuse = reuse and can_pack(model)
        self.kept = KeptStates(kept_bytes)
        self.generator = torch.Generator(model.device).manual_seed(seed)
        ends = model.generation_config.eos_token_id
        self.ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        # A token has at least one character, so a stop text and one token more are within as many tokens.
        self.window = max(map(len, self.stops), default=0) + 4

    @torch.inference_mode()
    def write(
        self, keys: Sequence[object], ids: Sequence[list[int]], limits: Sequence[int]
    ) -> list[Continuation | Exception]:
        """Continue each conversation.

        Args:
            keys (`Sequence[object]`): Whose conversation it is; its cache is kept while this object lives. `None` where
                nothing is to be kept.
            ids (`Sequence[list[int]]`): The conversations.
            limits (`Sequence[int]`): How many ids may be written after each, one at least.

        Returns:
            `list[Continuation | Exception]`: In their order; the exception where one could not be continued even alone.
        """
        rows = [Row(key, list(one), limit) for key, one, limit in zip(keys, ids, limits, strict=True)]
        failed: dict[Row, Exception] = {}
        queue = self._batches(rows, failed)
        while queue:
            batch = queue.pop(0)
            error = self._attempt(batch)
            if error and len(batch) > 1:
                half = len(batch) // 2
                queue[:0] = [batch[:half], batch[half:]]
            elif error:
                failed[batch[0]] = error
        return [failed[row] if row in failed else self._continuation(row) for row in rows]

    def _attempt(self, batch: list[Row]) -> Exception | None:
        for row in batch:
            row.written, row.end, row.columns = [], None, []
        try:
            (self._packed if self.reuse else self._padded)(batch)
        # Out of memory above all, which has no kind of its own on every device; whatever it is, it costs a row at most.
        except Exception as error:
            # The frames hold the tensors that did not fit.
            failure = error.with_traceback(None)
        else:
            return None
        self._free()
        return failure

    def _free(self) -> None:
        self.kept.clear()
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _batches(self, rows: list[Row], failed: dict[Row, Exception]) -> list[list[Row]]:
        if not self.reuse:
            return [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        new = [row for row in rows if not row.stand_on(self.kept.row(row.key))]
        for row in new:
            if kept := self.kept.beginning(row.ids):
                row.begin_with(kept)
        for family in _families([row for row in new if row.base is None]):
            common = family[0].ids
            for row in family[1:]:
                common = common[: shared(common, row.ids)]
            common = common[: min(len(row.ids) for row in family) - 1]
            try:
                base = beginning_of(self.model, common) if common else None
            except Exception as error:
                failed.update(dict.fromkeys(family, error.with_traceback(None)))
                self._free()
                continue
            if base:
                self.kept.keep_beginning(base)
                for row in family:
                    row.begin_with(base)
        groups: dict[object, list[Row]] = {}
        for row in rows:
            if row not in failed:
                # A GPU computes what one row does not see of another's beginning in no time; a CPU does not.
                groups.setdefault(row.base if self.model.device.type == "cpu" else None, []).append(row)
        return [g[i : i + self.batch_size] for g in groups.values() for i in range(0, len(g), self.batch_size)]

    def _packed(self, rows: list[Row]) -> None:
        pack = Pack(self.model, rows)
        logits = pack.feed(unfed(rows))
        while logits:
            tokens = self._choose(torch.stack(list(logits.values()))).tolist()
            going = self._take(rows, dict(zip(logits, tokens, strict=True)))
            logits = pack.feed([(i, rows[i].written[-1]) for i in going]) if going else {}
        for row in rows:
            if row.key is not None:
                self.kept.keep_row(row.key, pack.kept(row))

    def _padded(self, rows: list[Row]) -> None:
        width = max(len(row.ids) for row in rows)
        padding = [width - len(row.ids) for row in rows]
        pad, device = self.tokenizer.pad_token_id, self.model.device
        self.model.generate(
            input_ids=torch.tensor([[pad] * n + row.ids for n, row in zip(padding, rows, strict=True)], device=device),
            attention_mask=torch.tensor([[0] * n + [1] * (width - n) for n in padding], device=device),
            max_new_tokens=max(row.limit for row in rows),
            # The choice is made by `_Chosen`, greedy or not; nothing that a model's own settings say changes it.
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            pad_token_id=pad,
            eos_token_id=list(self.ends),
            logits_processor=LogitsProcessorList([_Chosen(self)] if self.temperature else []),
            stopping_criteria=StoppingCriteriaList([_Taken(self, rows)]),
        )

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        if not self.temperature:
            return logits.argmax(-1)
        shares = (logits.float() / self.temperature).softmax(-1)
        return torch.multinomial(shares, 1, generator=self.generator)[:, 0]

    def _take(self, rows: list[Row], tokens: dict[int, int]) -> list[int]:
        """Append a token to each row; returns which of them go on."""
        for i, token in tokens.items():
            rows[i].written.append(token)
        tails = self._texts([rows[i].written[-self.window :] for i in tokens]) if self.stops else [""] * len(tokens)
        for (i, token), tail in zip(tokens.items(), tails, strict=True):
            row = rows[i]
            if token in self.ends:
                row.end = "eos"
            elif any(stop in tail for stop in self.stops):
                row.end = "stop"
            elif len(row.written) >= row.limit:
                row.end = "limit"
        return [i for i in tokens if not rows[i].end]

    def _texts(self, batch: list[list[int]]) -> list[str]:
        return self.tokenizer.batch_decode(batch, clean_up_tokenization_spaces=False)

    def _continuation(self, row: Row) -> Continuation:
        text = self._texts([row.written[:-1] if row.end == "eos" else row.written])[0]
        places = [(text.index(stop), stop) for stop in self.stops if stop in text]
        if not places:
            return Continuation(text, row.written, row.end)
        place, stop = min(places)
        return Continuation(text[:place], row.written, stop)


class _Chosen(LogitsProcessor):
    """Leaves the greedy search of `generate` nothing but what the writer has drawn."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        drawn = self.writer._choose(scores)[:, None]
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


class _Taken(StoppingCriteria):
    """Hands what `generate` picks to the writer, who says which rows have ended."""

    def __init__(self, writer: Writer, rows: list[Row]) -> None:
        self.writer, self.rows = writer, rows

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: object) -> torch.BoolTensor:
        last = input_ids[:, -1].tolist()
        self.writer._take(self.rows, {i: last[i] for i, row in enumerate(self.rows) if not row.end})
        return torch.tensor([row.end is not None for row in self.rows], device=input_ids.device)


def _families(rows: list[Row]) -> list[list[Row]]:
    """Rows that begin alike, as those of one API do: neighbours share more than half of their ids."""
    families: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.ids):
        if families and shared(families[-1][0].ids, row.ids) > len(row.ids) / 2:
            families[-1].append(row)
        else:
            families.append([row])
    return families
