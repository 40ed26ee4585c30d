"""Continues many conversations at once, ids in and ids out, sharing the computation of common prefixes if possible."""

import gc
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import LogitsProcessorList, StoppingCriteriaList

from ..checkpoints import check_reachable
from ..errors import NotFoundError
from ..precision import default_device, resolve_dtype
from .admission import exact_ways
from .kv_cache import FED_AT_ONCE, PrefixCache, RowState, common_length
from .logits import end_ids, sample_ids
from .slots import Slots


def load_model(
    path: str, device: str | None = None, dtype: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer from a folder or a Hub id; an adapter's folder loads with its base model.

    `device` and `dtype` default to what is fastest here, see [`precision.resolve_dtype`].

    Raises:
        [`NotFoundError`]: There is no model at `path`.
    """
    check_reachable(path)
    where = device or default_device()
    computed = resolve_dtype(dtype, where)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="right")
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=computed, use_safetensors=True)
    except (torch.OutOfMemoryError, ImportError):  # no fault of the model
        raise
    except Exception as error:  # of a file cut off or edited: of safetensors, of tokenizers, a KeyError
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        fix = "pass a folder that training wrote, or a Hub id; `toolalpaca fetch --allow-bin` converts pickled weights"
        raise NotFoundError(f"is no model that can be loaded ({why})", file=path, fix=fix) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    # The prompt says where a turn ends; `generate` would want the tokenizer for a published config's own stops.
    model.generation_config.stop_strings = None
    return model.to(torch.device(where)), tokenizer


WATCHED_EVERY = 8  # ids after which a row's `watch` is asked
FEWEST_TO_LEAVE = 8  # rows of a padded batch; fewer are run to their end together


@dataclass(frozen=True)
class Generation:
    """A continuation: its text without what ended it (`"eos"`, `"limit"`, `"watch"` or the stop text), and its ids."""

    text: str
    ids: list[int]
    end: str


class BatchGenerator:
    """Continues conversations of ids with continuous batching: one that ends makes room for the next.

    With `reuse`, common prefixes are computed once and kept (see [`Slots`]). Models for which this is not exact (see
    [`exact_ways`]) are padded and run with `model.generate`, or one by one if padding is not exact either: `way` is
    `"slots"`, `"padded"` or `"single"`. A row's next id is sampled or forced ([`RowState.forced`]). Sampling for a
    conversation depends on `seed` and on how often the same one came before, not on what else is in the batch.

    The model is put into evaluation mode. `stops` are texts that end a continuation. `kept_bytes` limits the caches
    kept between calls, and those of the running conversations; a single conversation may exceed it.
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
        self.batch_size, self.temperature, self.seed = batch_size, temperature, seed
        ways = exact_ways(model) if reuse or batch_size > 1 else frozenset[str]()
        self.way = "slots" if reuse and "slots" in ways else "padded" if "padded" in ways else "single"
        self.kept, self.slots = PrefixCache(kept_bytes), Slots(model)
        self.ends = set(end_ids(model.generation_config, tokenizer))
        # A token has at least one byte, so a stop text and one token more are within as many tokens.
        self._window = max((len(stop.encode()) for stop in self.stops), default=0) + 4
        self._waiting: deque[RowState] = deque()
        self._active: list[RowState] = []
        # Rows that failed beside others; tried once more when nothing else is left, without anything beside them.
        self._aside: list[RowState] = []
        self._together = batch_size
        self._met: Counter[tuple[int, ...]] = Counter()

    def start(
        self,
        key: object,
        ids: Sequence[int],
        limit: int,
        watch: Callable[[list[int]], bool] | None = None,
        allowed: Callable[[list[int]], list[int] | None] | None = None,
    ) -> RowState:
        """Enqueue a conversation, of which [`step`] writes at most `limit` ids.

        Its cache is kept while `key` lives; `None` keeps nothing. `watch` is called with what was written, every few
        ids, and ends it with `True`; `allowed` before each id, and returns those that may follow, `None` for all.
        """
        row = RowState(key, list(ids), limit, watch=watch, allowed=allowed)
        if self.temperature:
            self._met[tuple(row.ids)] += 1
            row.rng.seed(f"{self.seed}/{self._met[tuple(row.ids)]}/{row.ids}")
        if row.ids:
            self._waiting.append(row)
        else:
            row.error = ValueError("there is nothing to continue from")
        return row

    def reseed(self, seed: int) -> None:
        """Sample as if nothing had been sampled before; kept caches stay."""
        self.seed = seed
        self._met.clear()

    def outcome(self, row: RowState) -> Generation | Exception:
        """What was written, or the exception if it could not be continued even by itself."""
        if row.error:
            return row.error
        text = self._texts([row.written[:-1] if row.end == "eos" else row.written])[0]
        place, end = min(((text.index(stop), stop) for stop in self.stops if stop in text), default=(None, row.end))
        return Generation(text[:place], row.written, end or "")

    def drop(self, key: object) -> None:
        """Forget a conversation, whether running or kept."""
        self.kept.forget(key)
        for rows in (self._waiting, self._active, self._aside):
            for row in [row for row in rows if row.key is key]:
                row.error = RuntimeError("the conversation was dropped")
                self.slots.release(row)
                rows.remove(row)

    @torch.inference_mode()
    def generate(
        self, keys: Sequence[object], ids: Sequence[list[int]], limits: Sequence[int]
    ) -> list[Generation | Exception]:
        """Continue each conversation to its end; see [`start`] and [`outcome`]."""
        rows = [self.start(*row) for row in zip(keys, ids, limits, strict=True)]
        self.run(rows)
        return [self.outcome(row) for row in rows]

    def run(self, rows: Sequence[RowState]) -> None:
        while not all(row.ended for row in rows):
            self.step()

    @torch.inference_mode()
    def step(self) -> None:
        """Write one id of every running conversation, or read on in it; with padding, write a batch to its end."""
        if self.way != "slots":
            count = min(self.batch_size if self.way == "padded" else 1, len(self._waiting))
            if count:
                self._write_padded([self._waiting.popleft() for _ in range(count)])
            return
        self._admit()
        # Forced ids need no forward pass of their own: they are read together.
        while forced := [row for row in self._active if row.forced and not row.ended]:
            self.append(forced, [row.forced[0] for row in forced])
        parts, room = [], FED_AT_ONCE
        for row in self._active:
            ids = [] if row.ended else row.unfed
            take = min(len(ids), room) if len(ids) > 1 else len(ids)
            if take:
                parts.append((row, ids[:take]))
                room -= take if len(ids) > 1 else 0
        for start in range(0, len(parts), size := self._together):
            self._feed(parts[start : start + size])
        for row in [row for row in self._active if row.ended]:
            if row.key is not None and row.end:
                self.kept.add(self.slots.kept(row), row.key)
            self.slots.release(row)
        self._active = [row for row in self._active if not row.ended and row not in self._aside]
        if not self._active:
            self._together = self.batch_size

    def choose(self, logits: torch.Tensor, rows: Sequence[RowState]) -> torch.Tensor:
        """The next id of each row, `(rows,)`, from its logits `(rows, vocabulary)`, which may be modified."""
        for n, row in enumerate(rows):
            ids = row.allowed(row.written) if row.allowed and not row.end else None
            if ids is not None:
                kept = logits[n, ids]
                logits[n] = -torch.inf
                logits[n, ids] = kept
        return sample_ids(logits, self.temperature, [row.rng.random() for row in rows] if self.temperature else ())

    def take(self, rows: Sequence[RowState], tokens: Sequence[int], forced: Sequence[bool]) -> None:
        """Update rows with the id each was just given; sets `end` if it ends one."""
        tails = self._texts([row.written[-self._window :] for row in rows]) if self.stops else [""] * len(rows)
        for row, token, tail in zip(rows, tokens, tails, strict=True):
            if token in self.ends:
                row.end = "eos"
            elif any(stop in tail for stop in self.stops):
                row.end = "stop"
            elif len(row.written) >= row.limit:
                row.end = "limit"
            elif row.watch and len(row.written) % WATCHED_EVERY == 0 and row.watch(row.written):
                row.end = "watch"

    def restart(self, row: RowState) -> None:
        row.written, row.end = [], None

    def append(self, rows: Sequence[RowState], tokens: Sequence[int]) -> None:
        forced = [bool(row.forced) for row in rows]
        for row, token in zip(rows, tokens, strict=True):
            row.written.append(token)
            if row.forced:
                row.forced.popleft()
        self.take(rows, tokens, forced)

    def next_ids(self, logits: torch.Tensor, rows: Sequence[RowState]) -> list[int]:
        """The next id of each row, including forced ones."""
        free = [n for n, row in enumerate(rows) if not row.forced and not row.end]
        chosen = iter(self.choose(logits[free], [rows[n] for n in free]).tolist() if free else ())
        return [row.forced[0] if row.forced else 0 if row.end else next(chosen) for row in rows]

    def _feed(self, parts: list[tuple[RowState, list[int]]]) -> None:
        """Feed ids and write what follows them; a batch that does not fit into memory is halved."""
        try:
            logits = self.slots.feed(parts)
        # Out of memory above all, which has no kind of its own on every device; it costs a row at most.
        except Exception as error:
            failure = error.with_traceback(None)  # the frames hold the tensors that did not fit
        else:
            now = [n for n, (row, _) in enumerate(parts) if not row.unfed]
            if now:
                rows = [parts[n][0] for n in now]
                self.append(rows, self.next_ids(logits[torch.tensor(now, device=logits.device)], rows))
            return
        self.free_memory()
        if len(parts) == 1:
            row = parts[0][0]
            if self._active == [row]:
                row.error = failure
                return
            self.slots.release(row)
            row.base, row.start, row.tail, row.held = None, 0, None, 0
            self._aside.append(row)
            return
        half, failed = len(parts) // 2, len(self._aside)
        for some in (parts[:half], parts[half:]):
            self._feed(some)
        # Nothing failed by itself: they were too many.
        if len(self._aside) == failed:
            self._together = min(self._together, half)

    def free_memory(self) -> None:
        self.kept.clear()
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _admit(self) -> None:
        """Give waiting conversations slots, as far as there is room."""
        if not self._waiting and not self._active and self._aside:
            self._active.append(row := self._aside.pop(0))
            self.slots.place(row)
            return
        rows = [self._waiting.popleft() for _ in range(min(len(self._waiting), self.batch_size - len(self._active)))]
        new = [row for row in rows if not row.reuse_prefix(self.kept.of(row.key))]
        for row in new:
            if kept := self.kept.longest(row.ids):
                row.begin_with(kept)
        for family in _families([row for row in new if row.base is None]):
            shared = common_length(family[0].ids, family[-1].ids)  # they are sorted: all between share it
            common = family[0].ids[: min(shared, *(len(row.ids) - 1 for row in family))]
            try:
                base = self.slots.prefill(common) if common else None
            except Exception as error:
                error.with_traceback(None)
                self.free_memory()
                self._aside += family
                continue
            if base:
                self.kept.add(base)
                for row in family:
                    row.begin_with(base)
        for n, row in enumerate(rows):
            if row in self._aside:
                continue
            longest = max(len(each.ids) - each.start + (each.expected or each.limit) for each in (*self._active, row))
            # Every slot is as long as the longest one.
            if self._active and (len(self._active) + 1) * longest * self.slots.token_bytes > self.kept.limit:
                self._waiting.extendleft(each for each in reversed(rows[n:]) if each not in self._aside)
                break
            self._active.append(row)
            self.slots.place(row)

    def _write_padded(self, rows: list[RowState]) -> None:
        """Write rows to their ends with `model.generate`; a batch that does not fit into memory is halved."""
        try:
            self._generate_padded(rows)
            return
        except Exception as error:
            failure = error.with_traceback(None)
        self.free_memory()
        if len(rows) == 1:
            rows[0].error = failure
            return
        for row in rows:
            self.restart(row)
        for some in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            self._write_padded(some)

    def _generate_padded(self, rows: list[RowState]) -> None:
        width = max(len(row.ids) for row in rows)
        padding = [width - len(row.ids) for row in rows]
        model, pad, cache = self.model, self.tokenizer.pad_token_id, None
        generate: Any = model.generate

        def chosen(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            """Leaves greedy search only the id that is chosen here."""
            ids = torch.tensor(self.next_ids(scores.clone(), rows), device=scores.device)
            return torch.full_like(scores, -torch.inf).scatter_(1, ids[:, None], 0.0)

        def taken(input_ids: torch.Tensor, scores: Any, **kwargs: object) -> torch.Tensor:
            """Reads what was picked; says which rows have ended."""
            going = [i for i, row in enumerate(rows) if not row.end]
            last = input_ids[:, -1].tolist()
            self.append([rows[i] for i in going], [last[i] for i in going])
            done = [row.end is not None for row in rows]
            # Rows that have ended cost as much as the others, so they are left out when that is worth a new start.
            leave = len(done) >= FEWEST_TO_LEAVE and 2 * sum(done) >= len(done)
            return torch.tensor([leave or end for end in done], device=input_ids.device)

        if self.way == "single":
            # Dynamic RoPE keeps the frequencies of the longest text until it reads a short one: what was written
            # before must not decide what is written now.
            model(torch.tensor([[pad or 0]], device=model.device), use_cache=False)
        ids = torch.tensor([[pad] * n + row.ids for n, row in zip(padding, rows, strict=True)], device=model.device)
        mask = torch.tensor([[0] * n + [1] * (width - n) for n in padding], device=model.device)
        while rows:
            output = generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                # A bound that no row reaches: each has a limit of its own.
                max_new_tokens=max(row.limit for row in rows) + 1,
                # The choice is made by `chosen`; nothing that a model's own settings say changes it.
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                pad_token_id=pad,
                eos_token_id=list(self.ends),
                logits_processor=LogitsProcessorList([chosen]),
                stopping_criteria=StoppingCriteriaList([taken]),
                return_dict_in_generate=True,
            )
            left = [i for i, row in enumerate(rows) if not row.ended]
            rows, kept = [rows[i] for i in left], torch.tensor(left, dtype=torch.long, device=model.device)
            ids, cache = output.sequences[kept], output.past_key_values
            mask = torch.nn.functional.pad(mask[kept], (0, ids.shape[1] - mask.shape[1]), value=1)
            if rows and isinstance(cache, DynamicCache):
                cache.batch_select_indices(kept)
            else:
                cache = None  # other kinds cannot leave rows out; what is left is read again

    def _texts(self, batch: list[list[int]]) -> list[str]:
        return self.tokenizer.batch_decode(batch, clean_up_tokenization_spaces=False)


def _families(rows: list[RowState]) -> list[list[RowState]]:
    """Groups of rows that share more than half of their ids, as those of one API do."""
    families: list[list[RowState]] = []
    for row in sorted(rows, key=lambda row: row.ids):
        if families and common_length(families[-1][0].ids, row.ids) > len(row.ids) / 2:
            families[-1].append(row)
        else:
            families.append([row])
    return families
