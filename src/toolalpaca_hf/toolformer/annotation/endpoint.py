"""Samples and filters with a model behind an endpoint that returns prompt log-probabilities, such as vLLM."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...errors import ToolAlpacaError, UnsupportedModelError
from ...llm import ModelClient, RequestRejected
from ..markers import Markers
from ..vocabulary import MarkedTokenizer
from .annotator import Opened, Place, ToolPrompt, Wanted
from .filter import Asked
from .sample import start_ids

TOP = 20  # of the likeliest tokens a server is asked for at each place: vLLM's limit
CONCURRENCY = 8

# For each id of a prompt but the first, its log-probability and those of the likeliest tokens by their text.
TokenLogprobs = list[tuple[float, dict[str, float]] | None]


class EndpointScorer(MarkedTokenizer):
    """Log-probabilities from raw completions: `echo` with `logprobs` (OpenAI), or `prompt_logprobs` (vLLM).

    Prompts are sent as ids, so that a text has the same ids with and without a call before it.
    """

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
    """Samples calls with a model behind an endpoint, as [`Sampler`] does with one on this machine.

    A server only returns the [`TOP`] likeliest tokens: if the start marker is not among them, its probability counts
    as 0.
    """

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
