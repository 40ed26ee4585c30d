"""Scores texts, and samples positions and calls, with a `transformers` model (section 2, "sampling API calls")."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ... import inference
from ...errors import UnsupportedModelError
from ...inference import Branch, Pack, by_length, logits_at
from ..markers import Markers, marker_tokens
from ..vocabulary import MarkedTokenizer
from .annotator import Opened, Place, ToolPrompt, Wanted
from .filter import Asked


class LocalScorer(MarkedTokenizer):
    """Log-probabilities from a causal `transformers` model; `batch_tokens` at a time, padding included."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch_tokens: int = 2048,
        markers: Markers | None = None,
    ) -> None:
        super().__init__(tokenizer, markers)
        self.model, self.batch_tokens = model.eval(), batch_tokens

    def logprobs(self, asked: Sequence[Asked]) -> list[list[float]]:
        return inference.token_logprobs(self.model, asked, self.batch_tokens)


# Batch size of the matrix products while sampling: larger is hardly faster.
ROWS_AT_ONCE = 256


@dataclass(eq=False)
class _Sample:
    generator: random.Random
    ids: list[int] = field(default_factory=list)
    text: str | None = None


Samples = list[list[_Sample]]  # by row, those that have been alike so far


class Sampler:
    """Samples calls with a `transformers` model; its vocabulary must have the start marker as one token.

    A text is run once after the tool's prompt, whose KV cache all texts share. That cache serves every position: the
    samples of all positions of several texts grow as one sequence (see [`Pack`]), and equal samples are one until they
    diverge.
    """

    def __init__(self, scorer: LocalScorer, markers: Markers, temperature: float = 1.0, call_tokens: int = 64) -> None:
        self.scorer, self.markers = scorer, markers
        self.temperature, self.call_tokens = temperature, call_tokens
        self.starts = start_ids(scorer.tokenizer, markers)
        # No call contains the end of the sequence or the special tokens of chats. One sampled with an arrow and a
        # result is still a call.
        special = {*scorer.tokenizer.all_special_ids, *inference.end_ids(scorer.model, scorer.tokenizer)}
        self.ends = special - {*marker_tokens(scorer.tokenizer, markers).values()}
        self.packs = "pack" in inference.exact_ways(scorer.model)

    @torch.inference_mode()
    def open(self, prompt: ToolPrompt, texts: Sequence[Sequence[int]]) -> Iterator[dict[int, Opened]]:
        """Run each text (ids) once after a prompt, as many at a time as fit; yields them by index."""
        head = self._head(prompt) if self.packs else None
        rows = [[*([] if head else prompt.head), *prompt.behind(text)] for text in texts]
        befores = [len(row) - len(text) for row, text in zip(rows, texts, strict=True)]
        for batch in by_length([len(row) for row in rows], self.scorer.batch_tokens):
            # The start at a position is predicted by the token before it.
            columns = [range(befores[n] - 1, len(rows[n]) - 1) for n in batch]
            logits, cache = logits_at(self.scorer.model, [rows[n] for n in batch], columns, head)
            starts = iter([*self._starts(logits)])
            del logits  # of a large vocabulary a gigabyte, while calls are drawn
            shared, layers = len(head.ids) if head else 0, list[Any](cache.layers if cache else ())
            opened = {}
            for row, n in enumerate(batch):
                places = [Place(i, *next(starts)) for i in range(len(texts[n]))]
                own = (slice(row, row + 1), slice(None), slice(shared, shared + len(rows[n])))
                cached = [(layer.keys[own], layer.values[own]) for layer in layers]
                opened[n] = Opened(places, befores[n], cached, rows[n])
            yield opened

    def _head(self, prompt: ToolPrompt) -> inference.Prefix:
        prompt.prefix = prompt.prefix or inference.prefill(self.scorer.model, prompt.head)
        return prompt.prefix

    def _starts(self, logits: torch.Tensor) -> Iterator[tuple[float, int]]:
        """The probability of a start marker in each row of logits, and the likeliest token that is one."""
        starts = torch.tensor(self.starts, device=logits.device)
        for part in logits.split(256):
            part = part.float()
            chances = (part[:, starts] - part.logsumexp(-1, keepdim=True)).exp()
            yield from zip(chances.sum(-1).tolist(), starts[chances.argmax(-1)].tolist(), strict=True)

    @torch.inference_mode()
    def draw(self, prompt: ToolPrompt, tool: str, wanted: Sequence[Wanted], m: int) -> None:
        """Sample `m` calls at each position; samples that do not become a complete call of the tool are dropped."""
        every = [(seed, opened, place) for seed, opened, places in wanted for place in places]
        count = max(1, ROWS_AT_ONCE // m)
        for part in (every[start : start + count] for start in range(0, len(every), count)):
            seeds = [f"{seed}/{place.index}" for seed, _, place in part]
            samples = [[_Sample(random.Random(f"{seed}/{n}")) for n in range(m)] for seed in seeds]
            places = [(opened, place) for _, opened, place in part]
            (self._packed if self.packs else self._plainly)(prompt, tool, places, samples)
            for (_, place), drawn in zip(places, samples, strict=True):
                place.drawn = [sample.text for sample in drawn if sample.text is not None]

    def _packed(self, prompt: ToolPrompt, tool: str, some: list[tuple[Opened, Place]], samples: Samples) -> None:
        m, head = len(samples[0]), self._head(prompt)
        texts = list(dict.fromkeys(opened for opened, _ in some))
        parts = [head.layers, *(text.layers for text in texts)]
        offsets = dict(zip(texts, accumulate([len(head.ids), *(len(text.ids) for text in texts)]), strict=False))
        branches = []
        for opened, place in some:
            seen = opened.before + place.index
            columns = [range(len(head.ids)), range(offsets[opened], offsets[opened] + seen)]
            branches += [Branch(len(head.ids) + seen, columns, self.call_tokens + 1)] * m
        pack = Pack(self.scorer.model, parts, branches)
        free = {p: list(range(p * m + 1, (p + 1) * m)) for p in range(len(some))}
        going = {p * m: (p, drawn) for p, drawn in enumerate(samples)}
        fed = [(p * m, place.start) for p, (_, place) in enumerate(some)]
        while going:
            logits = pack.feed(fed)
            taken = self._take(tool, torch.stack([logits[i] for i in going]), [drawn for _, drawn in going.values()])
            now, fed = {}, []
            for (i, (p, _)), groups in zip(list(going.items()), taken, strict=True):
                for n, (token, drawn) in enumerate(groups.items()):
                    # The first continues in its row; the others get their own, with the same past.
                    row = i if n == 0 else pack.fork(i, free[p].pop())
                    now[row] = (p, drawn)
                    fed.append((row, token))
            going = now

    def _plainly(self, prompt: ToolPrompt, tool: str, some: list[tuple[Opened, Place]], samples: Samples) -> None:
        """For models whose cache cannot be shared: every step reads everything again."""
        contexts = [[*opened.ids[: opened.before + place.index], place.start] for opened, place in some]
        going = list(zip(contexts, samples, strict=True))
        while going:
            now = []
            for batch in by_length([len(ids) for ids, _ in going], self.scorer.batch_tokens):
                ids = [going[n][0] for n in batch]
                logits, _ = logits_at(self.scorer.model, ids, [[len(row) - 1] for row in ids])
                for row, groups in zip(ids, self._take(tool, logits, [going[n][1] for n in batch]), strict=True):
                    now += [([*row, token], drawn) for token, drawn in groups.items()]
            going = now

    def _take(self, tool: str, logits: torch.Tensor, rows: Samples) -> list[dict[int, list[_Sample]]]:
        """Draw the next token of each row's samples; returns the unfinished ones by token."""
        owners = [row for row, drawn in enumerate(rows) for _ in drawn]
        points = [sample.generator.random() for drawn in rows for sample in drawn]
        flat = iter(inference.sample_ids(logits, self.temperature, points, owners).tolist())
        taken: list[dict[int, list[_Sample]]] = []
        for drawn in rows:
            groups: dict[int, list[_Sample]] = {}
            for sample in drawn:
                groups.setdefault(next(flat), []).append(sample)
            taken.append({token: same for token, same in groups.items() if self._goes_on(tool, token, same)})
        return taken

    def _goes_on(self, tool: str, token: int, same: list[_Sample]) -> bool:
        ids = [*same[0].ids, token]
        text = self.scorer.decode(ids)
        end = text.find(self.markers.end)
        for sample in same:
            sample.ids = ids
            if end >= 0:
                sample.text = text[:end]
        if end >= 0 or token in self.ends or len(ids) >= self.call_tokens:
            return False
        # What can no longer be a call of this tool would be dropped at its end anyway.
        written, opening = text.lstrip(), f"{tool}("
        return opening.startswith(written) or written.startswith(opening)


def start_ids(tokenizer: PreTrainedTokenizerBase, markers: Markers) -> list[int]:
    """The tokens that are the start marker, with or without surrounding space."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    found = [i for i, text in enumerate(texts) if text.strip() == markers.start]
    if not found:
        problem = f"the start marker {markers.start!r} is not one token of this model's vocabulary"
        fix = "use '[', or a model that was trained with such a token"
        raise UnsupportedModelError(problem, option="--marker", fix=fix)
    return found
