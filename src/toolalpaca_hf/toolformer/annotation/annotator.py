"""Annotates texts: sample calls, execute them, keep those that help, and insert them (section 2)."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ...errors import InputError, ToolAlpacaError
from ...llm import ContextFull, RequestRejected
from ..markers import Markers, ToolCall
from ..tools import ToolResult
from ..tools.paper import date_in_url, language_of
from ..tools.tool import SLOT
from .config import AnnotationSettings, ToolSettings
from .filter import Candidate, Scorer, losses, score, select_calls

if TYPE_CHECKING:
    from ...inference import Layers, Prefix
    from .sample import EndpointSampler, Sampler

# The outcomes of a text in which calls were looked for; any other outcome says why they were not.
ANNOTATED, NOTHING_KEPT = "annotated", "no call kept"

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ufffd]")
CALL_FIELDS = ("tool", "input", "result", "position", "l_minus", "l_plus", "gain")

Execute = Callable[..., list[ToolResult]]  # as [`execute`] does, of calls and their texts' `metas`


@dataclass(frozen=True)
class Document:
    """A text to annotate, if it has no `problem`; `id` is unique and seeds the sampling, `meta` has URL and date."""

    id: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Annotated:
    """The result for a text: its `row`, as in `annotated-RANK.jsonl`, and all sampled candidates."""

    row: dict[str, Any]
    candidates: list[Candidate]

    def candidates_row(self) -> dict[str, Any]:
        return {"id": self.row["id"], "candidates": [{**asdict(c), "gain": c.gain} for c in self.candidates]}


def annotated_row(
    row_id: str, text: str, calls: Iterable[Mapping[str, Any]], markers: Markers, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make a row of the `annotated` config; markers already in the text are escaped, `position` counts characters."""
    rows, written = [], []
    for found in sorted(calls, key=lambda found: found["position"]):
        rows.append({name: found.get(name) for name in CALL_FIELDS})
        harmless = ToolCall(found["tool"], markers.without(found["input"]))
        place = len(markers.escape(text[: found["position"]]))
        written.append((place, markers.with_result(harmless, markers.without(found["result"]))))
    return {
        "id": row_id,
        "text": text,
        "annotated": markers.insert(markers.escape(text), written),
        "calls": rows,
        "outcome": ANNOTATED if rows else NOTHING_KEPT,
        "meta": dict(meta or {}),
    }


@dataclass
class Place:
    """A position where a call may start, before the token at `index`; `drawn` holds samples up to the end marker."""

    index: int
    probability: float
    start: int
    drawn: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Opened:
    """A text after a tool's prompt, with its positions and KV cache; `before` ids precede the text."""

    places: list[Place]
    before: int
    layers: "Layers"
    ids: list[int]


Wanted = tuple[str, Opened, Sequence[Place]]  # a text's seed, the text, and the positions to sample at


class ToolPrompt:
    """A tool's prompt as ids: the shared part, and what follows the text before it is repeated."""

    def __init__(self, scorer: Scorer, prompt: str) -> None:
        if (count := prompt.count(SLOT)) != 1:
            raise InputError(f"a tool's prompt has the slot {SLOT} {count} times", fix="write it once")
        head, tail = prompt.split(SLOT)
        # A trailing space would be a token of its own, which does not occur before a word in text.
        self.head = [*scorer.begin, *scorer.encode(head.rstrip(" "))]
        self.tail = scorer.encode(tail.rstrip(" "))
        self.prefix: Prefix | None = None  # the cache of the head, once a sampler has run it

    def behind(self, text: Sequence[int]) -> list[int]:
        return [*text, *self.tail, *text]


def select(places: Sequence[Place], settings: ToolSettings) -> list[Place]:
    """The positions to sample at: the k most likely above τ_s."""
    above = [place for place in places if place.probability > settings.tau_s]
    likeliest = sorted(above, key=lambda place: (-place.probability, place.index))[: settings.k]
    return sorted(likeliest, key=lambda place: place.index)


@dataclass(eq=False)
class _Work:
    document: Document
    escaped: str
    ids: list[int]
    candidates: list[Candidate] = field(default_factory=list)


class Annotator:
    """Annotates texts with calls of tools (section 2 of arXiv 2302.04761).

    The sampler samples calls with the prompt of each tool (see [`prompt_for`]), the scorer computes the losses of the
    filter. A text may have `room` tokens, so that it fits the model after its prompt.
    """

    def __init__(
        self,
        scorer: Scorer,
        sampler: "Sampler | EndpointSampler",
        prompts: Mapping[str, str],
        execute: Execute,
        markers: Markers | None = None,
        settings: AnnotationSettings | None = None,
        room: int | None = None,
    ) -> None:
        self.scorer, self.sampler, self.execute = scorer, sampler, execute
        self.prompts = {tool: ToolPrompt(scorer, prompt) for tool, prompt in prompts.items()}
        self.markers, self.settings, self.room = markers or Markers(), settings or AnnotationSettings(), room

    def annotate(self, documents: Sequence[Document]) -> list[Annotated]:
        """Annotate a batch of texts. A text that fails gets a row without calls that says why."""
        try:
            return self._annotate(documents)
        except RequestRejected as error:  # an endpoint rejects one request, and takes others
            failure: Exception = error
        except ToolAlpacaError:
            raise
        # Mostly out-of-memory, or a tokenizer or model failing on an odd text: it costs one text at most.
        except Exception as error:
            failure = error.with_traceback(None)
        if len(documents) > 1:
            return [annotated for document in documents for annotated in self.annotate([document])]
        if isinstance(failure, ContextFull):
            return [self._row(documents[0], outcome="longer than the model's context")]
        reason = " ".join(str(failure).split())[:200]
        return [self._row(documents[0], outcome=f"failed: {type(failure).__name__}: {reason}")]

    def _annotate(self, documents: Sequence[Document]) -> list[Annotated]:
        results: dict[int, Annotated] = {}
        works: dict[int, _Work] = {}
        preselected: set[int] = set()
        most = self.settings.max_tokens if self.room is None else min(self.settings.max_tokens, self.room)
        for n, document in enumerate(documents):
            problem = document.problem or problem_of(document.text)
            # Detect a long text without tokenizing a gigabyte.
            if problem is None and len(document.text) <= 32 * self.settings.max_tokens:
                escaped = self.markers.escape(document.text)
                ids = self.scorer.encode(escaped)
                if len(ids) <= most:
                    works[n] = _Work(document, escaped, ids)
                    continue
            results[n] = self._row(document, outcome=problem or f"longer than {most} tokens")
        for tool in self.prompts:
            some = [n for n in works if not self.settings.preselect or worth_asking(tool, works[n].document)]
            preselected.update(some)
            if some:
                self._propose(tool, [works[n] for n in some])
        proposed = [(candidate, work) for work in works.values() for candidate in work.candidates]
        calls, metas = [c.call for c, _ in proposed], [work.document.meta for _, work in proposed]
        executed = self.execute(calls, metas=metas) if calls else []
        scored = []
        for (c, work), found in zip(proposed, executed, strict=True):
            c.result, c.error = found.result, found.error
            if c.result is not None:
                scored.append((work.ids, c, self.markers.with_result(c.call, c.result), self.markers.call(c.call)))
        score(self.scorer, scored, {tool: self.settings.floor(tool) for tool in self.prompts})
        for n, work in works.items():
            outcome = None if n in preselected else "not preselected"
            results[n] = self._row(work.document, work.escaped, work.candidates, outcome)
        return [results[n] for n in range(len(documents))]

    def _propose(self, tool: str, works: list[_Work]) -> None:
        prompt, settings, floor = self.prompts[tool], self.settings.of(tool), self.settings.floor(tool)
        first = 0 if self.scorer.begin else 1
        for batch in self.sampler.open(prompt, [work.ids for work in works]):
            places: dict[int, list[Place]] = {}
            for n, opened in batch.items():
                selected = (place for place in select(opened.places, settings) if place.index >= first)
                places[n] = [place for place in selected if self._position(works[n], place.index) is not None]
            found = losses(self.scorer, [((), works[n].ids, [p.index for p in at]) for n, at in places.items()])
            empty = dict(zip(places, found, strict=True))
            # L⁺ is at least 0, so no call can reach the threshold where the loss is below it.
            places = {n: [p for p in at if empty[n][p.index] >= floor] for n, at in places.items()}
            seeds = {n: f"{self.settings.seed}/{tool}/{works[n].document.id}" for n in batch}
            self.sampler.draw(prompt, tool, [(seeds[n], batch[n], at) for n, at in places.items()], settings.m)
            for n, place in ((n, place) for n, at in places.items() for place in at):
                parsed = [call for text in place.drawn if (call := self.markers.parse(text)) and call.tool == tool]
                # A model copies what it reads, including escapes.
                inputs = dict.fromkeys(self.markers.without(self.markers.restore(call.input)) for call in parsed)
                at, chance, loss = place.index, place.probability, empty[n][place.index]
                position = self._position(works[n], at) or 0
                works[n].candidates += [Candidate(tool, x, at, position, chance, l_empty=loss) for x in inputs]

    def _position(self, work: _Work, index: int) -> int | None:
        """The character of the escaped text where a token starts; `None` if that is inside of a character."""
        before = self.scorer.decode(work.ids[:index])
        if not work.escaped.startswith(before):
            return None
        restore, at = self.markers.restore, len(before)
        return at if restore(work.escaped[:at]) + restore(work.escaped[at:]) == work.document.text else None

    def _row(
        self, document: Document, escaped: str = "", candidates: Sequence[Candidate] = (), outcome: str | None = None
    ) -> Annotated:
        for candidate in candidates:  # from here on positions are those of the text as it came
            candidate.position = len(self.markers.restore(escaped[: candidate.position]))
        kept = select_calls(candidates, {tool: self.settings.of(tool).tau_f for tool in self.prompts})
        calls = [{name: getattr(call, name) for name in CALL_FIELDS} for call in kept]
        row = annotated_row(document.id, document.text, calls, self.markers, document.meta)
        sampled = {}
        for tool in self.prompts:
            of = [candidate for candidate in candidates if candidate.tool == tool]
            executed = sum(candidate.result is not None for candidate in of)
            errors = Counter(candidate.error for candidate in of if candidate.error)
            sampled[tool] = {"candidates": len(of), "executed": executed, "errors": dict(errors)}
        return Annotated(row | {"outcome": outcome or row["outcome"], "sampled": sampled}, list(candidates))


def problem_of(text: str) -> str | None:
    """Why a text cannot be annotated by any model, or `None`."""
    if not text.strip():
        return "empty"
    head = text[:100_000]
    if any("\ud800" <= character <= "\udfff" for character in head):
        return "no valid Unicode"
    return "binary" if "\x00" in text or len(_CONTROL.findall(head)) * 20 > len(head) else None


_NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w])|(?<![\w.])\d+(?:\.\d+)?(?!\w)")
_RESULT = re.compile(r"(?:=|\bequals|\bequal to|\btotal of|\baverage of)\s*[$€£]?\s*\d", re.IGNORECASE)


def worth_asking(tool: str, document: Document) -> bool:
    """Whether the paper's heuristics (appendix A) select a text for a tool; any text if there is none for it."""
    if tool == "Calculator":
        return _computes(document.text, document.id)
    if tool == "Calendar":
        return date_in_url(document.meta.get("url")) is not None
    return _changes_language(document.text) if tool == "MT" else True


def _computes(text: str, id: str) -> bool:
    """Three numbers within 100 words of which one follows from the others, or one after "=" etc.; else 1%."""
    if _RESULT.search(text):
        return True
    words, start = 0, 0
    numbers: list[tuple[int, float]] = []
    for match in _NUMBER.finditer(text):
        words += len(text[start : match.start()].split())
        start = match.start()
        c = float(match[0].replace(",", ""))
        near = [value for at, value in numbers if words - at < 100][-20:]
        if any(_follows(a, b, c) or _follows(a, c, b) or _follows(b, c, a) for a, b in combinations(near, 2)):
            return True
        numbers.append((words, c))
    return len(numbers) >= 3 and random.Random(f"calculator/{id}").random() < 0.01


def _follows(a: float, b: float, result: float) -> bool:
    values = [a + b, a - b, b - a, a * b, *([a / b] if b else []), *([b / a] if a else [])]
    return any(abs(value - result) < 0.005 for value in values)


def _changes_language(text: str) -> bool:
    """A piece of 10 words in another language between English ones."""
    words = text.split()
    pieces = [" ".join(words[n : n + 10]) for n in range(0, len(words), 10)]
    found = [language_of(piece) for piece in pieces if re.search(r"[^\W\d_]{2}", piece)]
    english = [language == "en" for language, probability in found if probability > 0.8]
    return any(not is_english and any(english[:n]) and any(english[n + 1 :]) for n, is_english in enumerate(english))
