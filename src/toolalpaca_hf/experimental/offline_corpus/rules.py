"""User and assistant without a model: the assistant takes every value from what the user or an answer says."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any, Literal

from ...agent import Backend, ChatContext, Completion, Context
from ...corpus import leaves, observed, said_in, status_of
from ...errors import ToolAlpacaError
from ...formats import GET_DETAILS, Turn, parse_arguments
from ...openapi import Operation
from ...simulator import Rng
from .task_sampler import PlannedCall, SampledTask, to_json
from .wording import error_reason, facts, is_empty, listed, main_fact, phrase, spoken, summarize, wish_of, written

# What a simulator that fails on purpose answers, and its documents do not: the same call may succeed.
TRANSIENT = (401, 429, 500, 504)
TRIES = 3
Parameters = Mapping[str, dict[str, Any]]  # the JSON schema of each function's


@dataclass(frozen=True)
class RuleInstruction:
    """The counterpart of [`WrittenInstruction`]."""

    instruction: str
    details: dict[str, Any]
    wishes: tuple[str, ...]

    @property
    def details_text(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self.details.items())


def put_into_words(
    task: SampledTask, operations: Mapping[str, Operation], parameters: Parameters, draws: Rng
) -> RuleInstruction:
    """Word a task as an instruction that names every value the user knows, except those to be asked for."""
    sentences: list[str] = []
    wishes: list[str] = []
    details: dict[str, Any] = {}
    for place, planned in enumerate(task.calls):
        own = draws.child(place)
        properties = parameters[planned.function].get("properties", {})
        # The mistake in place of what is right.
        known = planned.arguments | ({} if planned.hidden is None else {planned.hidden: planned.wrong})
        said = facts({name: value for name, value in known.items() if value is not None}, properties)
        if planned.hidden is not None and task.kind in ("details", "mistaken"):
            words = spoken(planned.hidden, properties.get(planned.hidden, {}))
            details[words] = planned.arguments[planned.hidden]
        if task.kind == "twice" and place:
            wishes.append(wishes[0])
            sentences.append(phrase("again", own, facts=said))
            continue
        wish = wish_of(operations[planned.function], own)
        wishes.append(wish)
        wish = f"{wish} {said}".strip() if not said.startswith("with ") else f"{wish}, {said}"
        if planned.links:
            (link,) = planned.links.values()
            sentences.append(phrase("with" if link.which == "only" else "then", own, wish=wish, which=link.which))
        else:
            sentences.append(phrase("also" if place else "ask", own, wish=wish))
    return RuleInstruction(" ".join(sentences), details, tuple(wishes))


class RuleUser:
    """Answers `getDetails` with the values the question asks for, if the user knows them."""

    def __init__(self, said: RuleInstruction, mistaken: bool, draws: Rng) -> None:
        self._said, self._kind, self._draws = said, "correct" if mistaken else "answer", draws

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        asked = {words: value for words, value in self._said.details.items() if words in question}
        for words, value in (asked or self._said.details).items():
            return phrase(self._kind, self._draws, words=words, value=written(value))
        return "I have nothing else to tell you."

    def describe(self) -> str:
        return "rule"


@dataclass(frozen=True)
class _Seen:
    action: str
    arguments: dict[str, Any]
    observation: str

    @property
    def answered(self) -> bool:
        status = status_of(self.observation)
        return status is not None and status < 300

    def widens(self, other: "_Seen") -> bool:
        """Whether it is another's call once more, with nothing new in it."""
        return self.action == other.action and {**other.arguments, **self.arguments} == other.arguments


class RuleAssistant(Backend):
    """A rule-based [`Backend`] for one rollout.

    It is given the task's functions and their order, which a trained model would know. It uses a value only if the
    instruction or an observation contains it: it looks up what an earlier answer provides, and asks the user for what
    was not said or was rejected. Its thoughts and answers are read from the observations.

    A call that fails for a passing reason is made again. With `reads`, the functions that change nothing, one whose
    answer is empty or lacks what comes next is made once more, without what is optional.
    """

    name, continuous, width = "rule", False, 1
    style: Literal["react", "chat"] = "chat"  # type: ignore[assignment]  # a property there

    def __init__(
        self, task: SampledTask, said: RuleInstruction, parameters: Parameters, draws: Rng, reads: Set[str]
    ) -> None:
        self._task, self._said, self._parameters, self._draws, self._reads = task, said, parameters, draws, reads

    def describe(self) -> dict[str, str | int | float | bool | None]:
        return {"backend": "rule", "style": self.style}

    def generate(self, contexts: Sequence[Context], max_new_tokens: int) -> list[Completion | ToolAlpacaError]:
        written: list[Completion | ToolAlpacaError] = []
        for context in contexts:
            assert isinstance(context, ChatContext)
            turn = self._turn(context.messages[0]["content"], _steps(context))
            text = f"{turn.thought}\n{turn.action or ''} {turn.action_input or ''}{turn.response or ''}"
            written.append(Completion(text, turn, len(text.split())))
        return written

    def _turn(self, instruction: str, seen: list[_Seen]) -> Turn:
        answered = [step for step in seen if step.answered and step.action != GET_DETAILS]
        # Each but those that were asked once more.
        done = [one for one, after in zip_longest(answered, answered[1:]) if after is None or not after.widens(one)]
        draws = self._draws.child(len(seen))
        last = seen[-1] if seen else None
        if last is not None and last.action != GET_DETAILS and not last.answered:
            if status_of(last.observation) in TRANSIENT:
                return self._repeat(last, seen, self._task.calls[len(done)], draws)
            return self._correct(self._task.calls[len(done)], last, draws)
        if (wider := self._wider(answered, len(done), draws)) is not None:
            return wider
        if len(done) == len(self._task.calls):
            return self._respond(done, draws, answered)
        planned, wish = self._task.calls[len(done)], self._said.wishes[len(done)]
        texts = [instruction, *(step.observation for step in seen)]
        arguments = dict(planned.arguments)
        if planned.hidden is not None and planned.wrong is not None and last is None:
            arguments[planned.hidden] = planned.wrong
        for name, link in planned.links.items():
            value = link.value(observed(done[link.call].observation))
            if value is None:
                return self._give_up(f"The answer of {done[link.call].action} has no {link.field}.", planned, draws)
            arguments[name] = value
        for name, value in arguments.items():
            if not all(said_in(part, inner, texts) for inner, part in leaves(value, name)):
                words = self._words(planned.function, name)
                thought = phrase("missing", draws, function=planned.function, words=words, wish=wish)
                return _act(thought, GET_DETAILS, {"Question": phrase("question", draws, words=words)})
        properties = self._parameters[planned.function].get("properties", {})
        ordered = {name: arguments[name] for name in properties if name in arguments}
        return _act(self._thought(planned, wish, ordered, last, bool(done), draws), planned.function, ordered)

    def _words(self, function: str, *names: str) -> str:
        properties = self._parameters[function].get("properties", {})
        return listed([spoken(name, properties.get(name, {})) for name in names])

    def _thought(
        self, planned: PlannedCall, wish: str, arguments: dict[str, Any], last: _Seen | None, more: bool, draws: Rng
    ) -> str:
        asked = last is not None and last.action == GET_DETAILS
        if asked and planned.hidden is not None and planned.wrong is not None:
            words, value = self._words(planned.function, planned.hidden), written(arguments[planned.hidden])
            return phrase("retry", draws, function=planned.function, words=words, value=value)
        for name, link in planned.links.items():
            parts = {"value": written(arguments[name]), "which": link.which, "function": planned.function}
            return phrase("link", draws, field=self._words(planned.function, name), wish=wish, **parts)
        given = listed([f"{self._words(planned.function, name)} {written(arguments[name])}" for name in arguments])
        kind = "more" if more else "first" if given else "bare"
        return phrase(kind, draws, function=planned.function, wish=wish, given=f" with {given}" if given else "")

    def _correct(self, planned: PlannedCall, last: _Seen, draws: Rng) -> Turn:
        reason, hidden = error_reason(last.observation), planned.hidden
        if self._task.kind != "mistaken" or hidden is None or last.arguments.get(hidden) != planned.wrong:
            return self._give_up(reason, planned, draws)
        words = self._words(planned.function, hidden)
        thought = phrase("refused", draws, function=planned.function, reason=reason, words=words)
        question = phrase("requestion", draws, words=words, reason=reason, value=written(planned.wrong))
        return _act(thought, GET_DETAILS, {"Question": question})

    def _repeat(self, last: _Seen, seen: list[_Seen], planned: PlannedCall, draws: Rng) -> Turn:
        reason = error_reason(last.observation)
        if sum(step.action == last.action and step.arguments == last.arguments for step in seen) >= TRIES:
            return self._give_up(reason, planned, draws)
        thought = phrase("transient", draws, function=last.action, reason=reason)
        return _act(thought, last.action, last.arguments)

    def _wider(self, answered: list[_Seen], done: int, draws: Rng) -> Turn | None:
        """The last call once more, if its answer is of no use and it changes nothing."""
        last = answered[-1] if answered else None
        if last is None or last.action not in self._reads or any(last.widens(step) for step in answered[:-1]):
            return None
        links = self._task.calls[done].links.values() if done < len(self._task.calls) else ()
        lacks = any(link.call == done - 1 and link.value(observed(last.observation)) is None for link in links)
        needed = self._parameters[last.action].get("required", ())
        wider = {name: value for name, value in last.arguments.items() if name in needed}
        if not (lacks or (is_empty(last.observation) and wider != last.arguments)):
            return None
        kind = "wider" if wider != last.arguments else "lacking"
        thought = phrase(kind, draws, function=last.action, words=self._dropped(last, wider))
        return _act(thought, last.action, wider)

    def _dropped(self, call: _Seen, kept: Mapping[str, Any]) -> str:
        return self._words(call.action, *(name for name in call.arguments if name not in kept))

    def _give_up(self, reason: str, planned: PlannedCall, draws: Rng) -> Turn:
        thought = phrase("failed", draws, function=planned.function, reason=reason)
        return Turn(thought, response=phrase("sorry", draws, reason=reason))

    def _respond(self, done: list[_Seen], draws: Rng, answered: Sequence[_Seen]) -> Turn:
        known, final = tuple(str(value) for step in done for _, value in leaves(step.arguments)), done[-1]
        thought = phrase("done", draws, function=final.action, gist=main_fact(final.observation, known))
        parts = [summarize(step.observation, known, 2 if len(done) > 1 else 4) for step in done]
        told = " ".join(dict.fromkeys(parts))
        for one, after in pairwise(answered):
            if after.widens(one) and after.arguments != one.arguments:
                told = phrase("widened", draws, words=self._dropped(one, after.arguments), told=told)
        return Turn(thought, response=phrase("say", draws, told=told))


def _act(thought: str, function: str, arguments: dict[str, Any]) -> Turn:
    return Turn(thought, function, to_json(arguments), arguments)


def _steps(context: ChatContext) -> list[_Seen]:
    seen = []
    for call, answer in zip(context.messages[1::2], context.messages[2::2], strict=True):
        function = call["tool_calls"][0]["function"]
        name, arguments = str(function["name"]), function["arguments"]
        arguments = arguments if isinstance(arguments, dict) else parse_arguments(arguments) or {}
        seen.append(_Seen(context.functions.get(name, name), arguments, answer["content"]))
    return seen
