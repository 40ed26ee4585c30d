"""Proves over random conversations that what is trained is what is generated, or finds the smallest counterexample."""

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..errors import UnsupportedModelError
from .conversations import FEATURES, random_conversation
from .prover import Prover, Refused, Way

CHECKS = {
    "ids": "what is trained is what generation has to produce",
    "end": "what ends a turn is trained",
    "mask": "nothing of user, result or documentation is trained",
    "calls": "calls are parsed back as they were rendered",
}
"""What is proved, in words. Training does not begin where one of the first three fails."""


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
    wanted = [name for name in FEATURES if features is None or name in features]
    if way.segments:
        wanted.remove("turns")  # a row of segments is one question; only its last end is a token
    prover, rng = Prover(way), random.Random(seed)
    notes: list[str] = []
    usable: list[str] = []
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
        chosen = {"calls", *some} & set(usable)
        conversation = random_conversation(rng, chosen, turn_text)
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


def features_of(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """What of `FEATURES` the first 1,000 rows of messages have; texts of any kind are always taken to be there."""
    found = {"unicode", "json", "empty", "turn_like"}
    for row in islice(rows, 1_000):
        messages: Sequence[Mapping[str, Any]] = row["messages"]
        calls = [message.get("tool_calls") or () for message in messages]
        has = {
            "system": any(message["role"] == "system" for message in messages),
            "turns": sum(message["role"] == "user" for message in messages) > 1,
            "calls": any(calls),
            "parallel": any(len(some) > 1 for some in calls),
            "content": any(some and message.get("content") for message, some in zip(messages, calls, strict=True)),
            "reasoning": any(message.get("reasoning_content") for message in messages),
        }
        found |= {feature for feature, is_there in has.items() if is_there}
    return found
