"""Proves over random conversations that what is trained is what is generated, or finds the smallest counterexample."""

import copy
import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

from transformers import GenerationConfig, PreTrainedTokenizerBase
from trl.chat_template_utils import add_response_schema, get_training_chat_template, has_generation_markers

from ..errors import ToolAlpacaError, UnsupportedModelError
from ..formats import Prompt
from ..report import token_texts
from .conversations import FEATURES, MARKED, Conversation, as_messages, json_text, random_conversation, smaller, tools
from .loading import as_segments, prompt_beginning, render, set_stops, set_templates, tool_template
from .tokenize import IGNORE, SegmentTokenizer

CHECKS = {
    "ids": "what is trained is what generation has to produce",
    "end": "what ends a turn is trained",
    "mask": "nothing of user, result or documentation is trained",
    "calls": "calls are parsed back as they were rendered",
}
"""What is proved, in words. Training does not begin where one of the first three fails."""
_MAX_TRIES = 400
_LONGEST = 300_000  # characters of a template, and of what it makes of a few turns


@dataclass(frozen=True)
class Counterexample:
    """A conversation for which a check (key of [`CHECKS`]) fails; no part of it can be left out.

    In `messages`, `[u1 ... u1]` marks what must not be trained; `tokens` are texts, and whether each is trained.
    """

    check: str
    problem: str
    messages: list[dict[str, Any]]
    tokens: list[tuple[str, bool]]


@dataclass(frozen=True)
class Proof:
    """What was proved of one way of training and serving; over no conversation if the way cannot be gone.

    `left_out` has the checks that could not be made and why, `notes` what the template refuses or drops.
    """

    way: str
    conversations: int
    failures: dict[str, Counterexample] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Way:
    """A way of training and serving: a tokenizer with the templates that are served, and what training renders with.

    With `segments` training tokenizes run by run, as [`SegmentTokenizer`], else as TRL; `generation` has the stops.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    training_template: str
    segments: bool = False
    generation: GenerationConfig | None = None


def ways_of(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, generation: GenerationConfig | None = None, config: str = ""
) -> tuple[list[Way], dict[str, str]]:
    """The ways of a tokenizer, for `sft` in the layout of `prompt`, and why others cannot be gone, by name."""
    ways: list[Way] = []
    if config in ("", "sft"):
        ours = copy.deepcopy(tokenizer)
        set_templates(ours, prompt)
        ways.append(Way("sft", ours, str(ours.chat_template), True, set_stops(generation, prompt, ours)))
    if config in ("", "chat"):
        own = copy.deepcopy(tokenizer)
        own.chat_template = template = tool_template(tokenizer)
        if not template:
            return ways, {"chat": "the tokenizer has no chat template"}
        try:
            training = template if has_generation_markers(template) else get_training_chat_template(own) or template
        except Exception as error:  # TRL renders it to tell families apart, and a template raises whatever it likes
            return ways, {"chat": str(error).split(". ")[0]}
        if getattr(own, "response_template", None) is None:
            with suppress(ValueError):
                add_response_schema(own)
        saved = copy.deepcopy(own)
        saved.chat_template = training
        ways.append(Way("chat", saved, training, generation=generation))
        if training != template:
            ways.append(Way("chat, served with its own template", own, training, generation=generation))
    return ways, {}


class Refused(Exception):
    """The template does not take the conversation."""


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ToolAlpacaError:
        raise
    except Exception as error:  # a template raises whatever it likes
        raise Refused(" ".join(str(error).split())[:160] or type(error).__name__) from None


@dataclass
class _Row:
    ids: list[int]
    trained: list[bool]
    text: str
    spans: list[tuple[int, int]]  # characters of `text` that are trained


class Prover:
    def __init__(self, way: Way) -> None:
        self.way = way
        self.tokenizer: Any = way.tokenizer
        self.tools: Any = tools()
        self.left_out: dict[str, str] = {}
        self.notes: set[str] = set()
        self._segments = SegmentTokenizer(way.tokenizer) if way.segments else None
        self._beginning = prompt_beginning(way.tokenizer) if way.segments else ""
        self._added: set[int] = set(self.tokenizer.get_added_vocab().values())
        if getattr(way.tokenizer, "response_template", None) is None:
            self.left_out["calls"] = "no response template is known for it"

    def refuses(self, trials: Sequence[Conversation]) -> str:
        """Why the template does not take one of the conversations; `""` if it takes all."""
        for trial in trials:
            try:
                self.examine(trial)
            except Refused as error:
                return str(error)
        return ""

    def dropped(self, feature: str, trials: Sequence[Conversation]) -> str:
        """What of a feature is in no rendered text."""
        calls = [{"name": "look_up", "arguments": {"text": "m4rk"}, "result": "a"}]
        marked = {"calls": calls, "content": "m4rk", "reasoning": "m4rk"}
        if feature not in marked:
            return ""
        probe = copy.deepcopy(trials[0])
        turn = probe["turns"][0]
        (turn["steps"] or [turn])[0][feature] = marked[feature]
        text, _ = self._render(as_messages(probe))
        return "" if "m4rk" in text else FEATURES[feature]

    def turn_text(self, calls: bool) -> str:
        """A turn of the assistant as the template writes it."""
        messages = as_messages(random_conversation(random.Random(1), {"calls"} if calls else (), ""))
        turn = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
        before, after = (self._render(messages[:end])[0] for end in (turn, turn + 1))
        text = after[len(before) :]
        # Run by run no text becomes a control token; where a template is tokenized whole it does, in training too.
        control = "|".join(map(re.escape, self.tokenizer.all_special_tokens))
        return re.sub(control, "", text) if self._segments else text

    def smallest(
        self, conversation: Conversation, check: str
    ) -> tuple[str, list[dict[str, Any]], list[tuple[str, bool]]]:
        """What is wrong in the smallest conversation that fails a check, its messages, and its tokens."""
        problem, candidates, tries = self.examine(conversation)[check], smaller(conversation), 0
        while tries < _MAX_TRIES and (candidate := next(candidates, None)):
            tries += 1
            with suppress(Refused):
                if found := self.examine(candidate).get(check):
                    conversation, problem, candidates = candidate, found, smaller(candidate)
        messages = as_messages(conversation)
        row = self.train(messages)
        return problem, messages, token_texts(row.ids, row.trained, self._decode)

    def examine(self, conversation: Conversation) -> dict[str, str]:
        """The checks that a conversation fails, and what is wrong."""
        messages = as_messages(conversation)
        row = self.train(messages)
        failed: dict[str, str] = {}
        places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        given = [self._context(messages[:i], self.tokenizer.chat_template) for i in places]
        # Spans of ids that are trained.
        grouped = groupby(range(len(row.trained)), key=row.trained.__getitem__)
        groups = [list(group) for is_trained, group in grouped if is_trained]
        runs = [(own[0], own[-1] + 1) for own in groups]
        if not runs:
            return {"ids": "nothing is trained"}
        for number, ids in enumerate(given, 1):
            if row.ids[: len(ids)] != ids and "ids" not in failed:
                failed["ids"] = f"turn {number}: {self._difference(row.ids, ids)}"
        if "ids" in failed:  # what training itself takes for the beginnings, to look at the other checks
            given = [self._context(messages[:i], self.way.training_template) for i in places]
        starts = [len(ids) for ids in given]
        ends = [*starts[1:], len(row.ids)]
        for number, (place, start, end) in enumerate(zip(places, starts, ends, strict=True), 1):
            own = [run for run in runs if start < run[1] <= end or (number == 1 and run[1] <= start)]
            if "ids" not in failed and (why := self._misplaced(messages, place, row, start, own)):
                failed["ids"] = f"turn {number}: {why}"
            if not own:
                continue
            if "end" not in failed and (why := self._unended(row.ids, own[-1], ends[number - 1])):
                failed["end"] = f"turn {number}: {why}"
            if "calls" not in self.left_out and "calls" not in failed:
                calls = [item["function"] for item in messages[place].get("tool_calls") or []]
                rendered = [(call["name"], json_text(call["arguments"])) for call in calls]
                # What is trained though it is given is no part of the reply.
                replies = [(max(first, start), last) for first, last in own if last > start]
                if why := self._misread(row.ids, replies, rendered):
                    failed["calls"] = f"turn {number}: {why}"
        for found in re.finditer(MARKED, row.text, re.DOTALL):
            if any(start < found.end() and found.start() < end for start, end in row.spans):
                failed["mask"] = f"{found.group()[:60]!r} is trained, at least in part"
                break
        return failed

    def _misplaced(
        self, messages: list[dict[str, Any]], place: int, row: _Row, start: int, own: list[tuple[int, int]]
    ) -> str:
        """How the trained runs of a turn differ from what generation produces from `start` on."""
        if not own:
            return "nothing of it is trained"
        if own[0][0] != start:
            kind = "is trained though it is given" if own[0][0] < start else "has to be generated and is not trained"
            return f"{self._decode(row.ids[min(start, own[0][0]) : max(start, own[0][0])])!r} {kind}"
        calls = messages[place].get("tool_calls") or []
        results = messages[place + 1 : place + 1 + len(calls)]
        for number, (first, _) in enumerate(own[1:], 1):
            # A template may render calls one after the other, each being a turn of the model.
            asked = [*messages[:place], {**messages[place], "tool_calls": calls[:number]}, *results[:number]]
            if number >= len(calls) or row.ids[:first] != self._context(asked, self.tokenizer.chat_template):
                before = self._decode(row.ids[own[number - 1][1] : first])
                return f"{before!r} has to be generated, between trained tokens, and is not trained"
        return ""

    def _unended(self, ids: list[int], last_run: tuple[int, int], turn_end: int) -> str:
        """Why the last trained run of a turn does not end where generation stops."""
        start, end = last_run
        generation, own_end = self.way.generation, self.tokenizer.eos_token_id
        stops = (generation and generation.stop_strings) or ()
        if self._decode(ids[start:end]).rstrip().endswith((stops,) if isinstance(stops, str) else tuple(stops)):
            return ""
        last = next((id_ for id_ in reversed(ids[start:end]) if self._decode([id_]).strip()), None)
        token = self._decode([last]) if last is not None else ""
        ends: Any = generation.eos_token_id if generation else None
        ends = set(ends) if isinstance(ends, list) else {ends} - {None}
        if last not in self._added:
            after = ids[end:turn_end][:1]
            untrained = f"; {self._decode(after)!r} follows untrained" if after else ""
            return f"the last trained token is {token!r}, which ends nothing{untrained}"
        if ends and last not in ends | {own_end}:
            return f"the last trained token is {token!r}, at which generation does not stop"
        if last != own_end and last not in ends:
            self.notes.add(f"a turn ends in {token!r}, which is not eos_token: a generation config has to name it")
        return ""

    def _misread(self, ids: list[int], own: list[tuple[int, int]], rendered: list[tuple[str, str]]) -> str:
        found = []
        try:
            for start, end in own:
                reply = self.tokenizer.parse_response(ids[start:end], prefix=ids[:start], tools=self.tools)
                for item in reply.get("tool_calls") or ():
                    function = item.get("function", item)
                    found.append((function["name"], json_text(function.get("arguments", {}))))
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            return f"cannot be parsed ({' '.join(str(error).split())[:120]})"
        if found == rendered:
            return ""
        pairs = (pair for pair in zip(found, rendered, strict=False) if pair[0] != pair[1])
        read, written = next(pairs, (found, rendered))
        return f"{written} is read as {read}"

    def _render(self, messages: list[dict[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
        with _refusals():
            if len(self.way.training_template) > _LONGEST:
                raise ValueError(f"it has {len(self.way.training_template):,} characters")
            text, spans = render(self.tokenizer, messages, self.tools, self.way.training_template)
            if len(text) > _LONGEST:  # a tokenizer takes minutes for ten megabytes, and cannot be interrupted
                raise ValueError(f"it makes {len(text):,} characters of a few turns")
            return text, spans

    def train(self, messages: list[dict[str, Any]]) -> _Row:
        text, spans = self._render(messages)
        if self._segments is not None:
            row = self._segments.encode(as_segments(text, spans, self._beginning, self.tokenizer.eos_token))
            return _Row(row["input_ids"], [label != IGNORE for label in row["labels"]], text, spans)
        with _refusals():
            options = {"return_dict": True, "return_assistant_tokens_mask": True}
            whole = self.tokenizer.apply_chat_template(
                messages, tools=self.tools, chat_template=self.way.training_template, **options
            )
            offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        trained = [bool(flag) for flag in whole["assistant_masks"]]
        spans = [cast(tuple[int, int], tuple(offsets[i])) for i, flag in enumerate(trained) if flag]
        return _Row(list(whole["input_ids"]), trained, text, spans)

    def _context(self, messages: Sequence[dict[str, Any]], template: str) -> list[int]:
        """The ids that a server gives the model."""
        with _refusals():
            ids = self.tokenizer.apply_chat_template(
                list(messages), tools=self.tools, chat_template=template, add_generation_prompt=True, return_dict=False
            )
        return list(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids))

    def _difference(self, trained: list[int], given: list[int]) -> str:
        at = next((i for i, (a, b) in enumerate(zip(trained, given, strict=False)) if a != b), len(trained))
        texts = [self._decode(ids[max(0, at - 2) : at + 6]) for ids in (trained, given)]
        return f"training has {texts[0]!r} where generation is given {texts[1]!r} (token {at})"


def prove_template(way: Way, count: int = 64, features: Collection[str] | None = None, seed: int = 0) -> Proof:
    """Try to refute, over random conversations, that what is trained is what is generated; see [`CHECKS`].

    The same `seed` gives the same conversations; they have `features`, keys of `FEATURES`, and no others.

    Example:

    ```python
    >>> from toolalpaca_hf.formats import react_prompt
    >>> from toolalpaca_hf.training import ways_of
    >>> [way], _ = ways_of(tokenizer, react_prompt(), config="sft")
    >>> prove_template(way, count=4).failures
    {}
    ```
    """
    # A row of segments is one question; only its last end is a token.
    wanted = [n for n in FEATURES if (features is None or n in features) and not (way.segments and n == "turns")]
    prover, rng = Prover(way), random.Random(seed)
    notes, usable = list[str](), list[str]()
    for feature in wanted:
        if feature not in ("turns", "unicode", "system", "reasoning", "calls") and "calls" not in usable:
            continue
        probe = {"calls", feature} if "calls" in usable else {feature}
        trials = [random_conversation(random.Random(i), probe, " a turn") for i in range(4)]
        if why := prover.refuses(trials):
            notes.append(f"refuses {FEATURES[feature]} ({why})")
            continue
        if dropped := prover.dropped(feature, trials):
            notes.append(f"drops {dropped}")
        if not dropped or feature != "calls":  # the rest of what is dropped is worth a look
            usable.append(feature)
    if why := prover.refuses([random_conversation(rng, (), "")]):
        return Proof(way.name, 0, notes=[f"refuses a question and an answer ({why})"])
    turn_text = prover.turn_text("calls" in usable)
    failures: dict[str, Counterexample] = {}
    for number in range(count):
        # From plain to hard, so that what is found first is small.
        some = rng.sample(usable, min(len(usable), 1 + number * len(usable) // count))
        conversation = random_conversation(rng, {"calls", *some} & set(usable), turn_text)
        try:
            found = prover.examine(conversation)
        except Refused as error:  # each feature alone was taken
            prover.notes.add(f"refuses some of them together ({error})")
            continue
        for check in found:
            if check not in failures:
                failures[check] = Counterexample(check, *prover.smallest(conversation, check))
    return Proof(way.name, count, failures, prover.left_out, notes + sorted(prover.notes))


def require_proof(proofs: Sequence[Proof], say: Callable[[str], object] = print) -> None:
    """Say what was proved; raise an [`UnsupportedModelError`] where one of the first three checks failed."""
    for proof in proofs:
        failed = [example for check, example in proof.failures.items() if check != "calls"]
        if failed:
            problem = "; ".join(f"{CHECKS[example.check]}: not so, {example.problem}" for example in failed)
            fix = "see `toolalpaca check-template`; pass another --chat_template_path, or --prove_template false"
            raise UnsupportedModelError(f"{proof.way}: {problem}", fix=fix)
        for example in proof.failures.values():
            say(f"Careful: {CHECKS[example.check]}: not so, {example.problem}.")
        if not proof.conversations:
            say(f"Template: not proved, {proof.way}: {'; '.join(proof.notes)}.")
        else:
            say(f"Template: over {proof.conversations} random conversations, what is trained is what is generated.")
