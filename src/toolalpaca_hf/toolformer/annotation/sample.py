"""Scores texts, and samples positions and calls, with a model here or behind an endpoint (section 2)."""

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ... import inference
from ...errors import ToolAlpacaError, UnsupportedModelError
from ...inference import Branch, Pack, by_length, logits_at
from ...llm import ModelClient, RequestRejected
from ..markers import Markers
from ..vocabulary import MarkedTokenizer, marker_tokens
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


ROWS_AT_ONCE = 256  # of the matrix products while sampling: more is hardly faster


@dataclass(eq=False)
class _Sample:
    generator: random.Random
    ids: list[int] = field(default_factory=list)
    text: str | None = None


Samples = list[list[_Sample]]  # by row, those that have been alike so far


class Sampler:
    """Samples calls: the prompt's cache serves all texts, a text's all its positions, which grow as one [`Pack`]."""

    def __init__(self, scorer: LocalScorer, markers: Markers, temperature: float = 1.0, call_tokens: int = 64) -> None:
        self.scorer, self.markers = scorer, markers
        self.temperature, self.call_tokens = temperature, call_tokens
        self.starts = start_ids(scorer.tokenizer, markers)
        # No call contains the end of the sequence or the special tokens of chats. One sampled with an arrow and a
        # result is still a call.
        ends = inference.end_ids(scorer.model.generation_config, scorer.tokenizer)
        special = {*scorer.tokenizer.all_special_ids, *ends}
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


TOP = 20  # of the likeliest tokens a server is asked for at each place: vLLM's limit
CONCURRENCY = 8

# For each id of a prompt but the first, its log-probability and those of the likeliest tokens by their text.
TokenLogprobs = list[tuple[float, dict[str, float]] | None]


class EndpointScorer(MarkedTokenizer):
    """Log-probabilities from completions of ids: `echo` with `logprobs` (OpenAI), or `prompt_logprobs` (vLLM)."""

    def __init__(
        self, base_url: str, model: str, tokenizer: PreTrainedTokenizerBase, markers: Markers | None = None
    ) -> None:
        super().__init__(tokenizer, markers)
        self.server = ModelClient(base_url, model, concurrency=CONCURRENCY)
        self.pool = ThreadPoolExecutor(CONCURRENCY)
        self._echo = True

    def check(self) -> None:
        """Determine how the server returns prompt log-probabilities; an error if it does not."""
        reasons = []
        for self._echo in (True, False):
            try:
                self.prompt_logprobs(self.encode("One two three four"), 1)
                return
            except ToolAlpacaError as error:
                reasons.append(str(error))
        problem = f"{self.server.base_url} does not return the log-probabilities of a prompt ({reasons[0]})"
        fix = "serve the model with vLLM (`transformers serve` does not return them), or run it here"
        raise UnsupportedModelError(problem, option="--endpoint", fix=fix)

    def prompt_logprobs(self, ids: Sequence[int], top: int) -> TokenLogprobs:
        echo, own = {"echo": True, "logprobs": top}, {"extra_body": {"prompt_logprobs": top}}
        options: dict[str, Any] = echo if self._echo else own
        fields = self.server.complete(list(ids), 1, temperature=0.0, **options).fields
        try:
            return _echoed(fields, ids) if self._echo else _prompt_logprobs(fields, ids)
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
            problem = f"{self.server.base_url} answers without log-probabilities of the prompt"
            raise RequestRejected(problem) from None  # it gave them in [`check`]: this text is cut, or has none

    def logprobs(self, asked: Sequence[Asked]) -> list[list[float]]:
        def of_columns(asked: Asked) -> list[float]:
            ids, columns = asked
            found = self.prompt_logprobs(ids[: max(columns) + 1], 1) if columns else []
            return [logprob[0] for column in columns if (logprob := found[column])]

        return list(self.pool.map(of_columns, asked))


class EndpointSampler:
    """As [`Sampler`], behind an endpoint; a start marker that is not among the [`TOP`] likeliest counts as 0."""

    def __init__(
        self, scorer: EndpointScorer, markers: Markers, temperature: float = 1.0, call_tokens: int = 64
    ) -> None:
        self.scorer, self.markers, self.temperature, self.call_tokens = scorer, markers, temperature, call_tokens
        self.starts = {scorer.decode([i]): i for i in start_ids(scorer.tokenizer, markers)}

    def open(self, prompt: ToolPrompt, texts: Sequence[Sequence[int]]) -> Iterator[dict[int, Opened]]:
        rows = [[*prompt.head, *prompt.behind(text)] for text in texts]
        befores = [len(row) - len(text) for row, text in zip(rows, texts, strict=True)]
        found = self.scorer.pool.map(lambda row: self.scorer.prompt_logprobs(row, TOP), rows)
        places = [self._places(logprobs[before:]) for logprobs, before in zip(found, befores, strict=True)]
        yield {n: Opened(places[n], befores[n], [], row) for n, row in enumerate(rows)}

    def draw(self, prompt: ToolPrompt, tool: str, wanted: Sequence[Wanted], m: int) -> None:
        every = [(seed, opened, place) for seed, opened, places in wanted for place in places for _ in range(m)]
        contexts = [[*opened.ids[: opened.before + place.index], place.start] for _, opened, place in every]
        seeds = [f"{seed}/{place.index}/{n % m}" for n, (seed, _, place) in enumerate(every)]
        for (_, _, place), text in zip(every, self.scorer.pool.map(self._sample, contexts, seeds), strict=True):
            if text is not None:
                place.drawn.append(text)

    def check(self) -> None:
        """Send one request of each kind, so that later errors can be attributed to a text."""
        ids = self.scorer.encode("One two three four")
        self.scorer.prompt_logprobs(ids, TOP)
        self._sample(ids, "check")

    def _places(self, logprobs: TokenLogprobs) -> list[Place]:
        places = []
        for index, logprob in enumerate(logprobs):
            tops = {text: value for text, value in (logprob[1] if logprob else {}).items() if text in self.starts}
            likeliest = max(tops, key=tops.__getitem__, default=next(iter(self.starts)))
            chance = sum(math.exp(value) for value in tops.values())
            places.append(Place(index, chance, self.starts[likeliest]))
        return places

    def _sample(self, ids: list[int], seed: str) -> str | None:
        number = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "replace")).digest()[:4], "big") >> 1
        end = self.markers.end
        options: dict[str, Any] = {"temperature": self.temperature, "seed": number, "stop": [end]}
        choice = self.scorer.server.complete(ids, self.call_tokens, **options)
        text, marker, _ = choice.fields["text"].partition(end)
        # vLLM's `stop_reason` says whether the marker ended a text, or the end of the sequence.
        ended = not choice.cut and choice.fields.get("stop_reason", end) == end
        return text if marker or ended else None


def _echoed(fields: Mapping[str, Any], ids: Sequence[int]) -> TokenLogprobs:
    values, tops = fields["logprobs"]["token_logprobs"], fields["logprobs"].get("top_logprobs") or [{}] * len(ids)
    return [None, *((float(values[n]), tops[n] or {}) for n in range(1, len(ids)))]


def _prompt_logprobs(fields: Mapping[str, Any], ids: Sequence[int]) -> TokenLogprobs:
    found: TokenLogprobs = [None]
    for n in range(1, len(ids)):
        entry = fields["prompt_logprobs"][n]
        tops = {token.get("decoded_token"): float(token["logprob"]) for token in entry.values()}
        found.append((float(entry[str(ids[n])]["logprob"]), tops))
    return found
