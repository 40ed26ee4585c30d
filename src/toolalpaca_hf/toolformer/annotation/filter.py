"""Which calls help: losses with and without a call, and the filtering rule (section 2, "filtering API calls")."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..markers import ToolCall

REACH = 5  # of the weights: w_t = max(0, 1 - 0.2 t) is 0 from t = 5 on
# Normalised: they sum to 1. Where a text ends before them the rest adds nothing.
WEIGHTS = tuple((1 - 0.2 * t) / 3 for t in range(REACH))

# A sequence of ids, and the columns whose ids' log-probabilities are wanted; none of them is the first.
Asked = tuple[Sequence[int], Sequence[int]]


class Scorer(Protocol):
    """Computes log-probabilities of ids in the requested columns, given all ids before them; see [`LocalScorer`]."""

    begin: list[int]

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def logprobs(self, asked: Sequence[Asked]) -> list[list[float]]: ...


@dataclass
class Candidate:
    """A call proposed at a position of a text, and its effect on the loss there (`None` where it was not needed)."""

    tool: str
    input: str
    index: int  # of the token behind the call
    position: int  # of the character behind it
    probability: float  # that a call starts here
    result: str | None = None
    error: str | None = None
    l_empty: float | None = None  # L_i(ε), the loss of the next tokens without a call
    l_call: float | None = None  # L_i(e(c, ε)), with the call before the text
    l_plus: float | None = None  # L⁺ = L_i(e(c, r)), with call and result before the text

    @property
    def call(self) -> ToolCall:
        return ToolCall(self.tool, self.input)

    @property
    def l_minus(self) -> float | None:
        """L⁻ = min(L_i(ε), L_i(e(c, ε)))."""
        if self.l_call is None or self.l_empty is None:
            return None
        # `min` keeps a first argument that is not a number, and not a second: no such call is kept.
        return self.l_empty if math.isnan(self.l_empty) else min(self.l_call, self.l_empty)

    @property
    def gain(self) -> float | None:
        """L⁻ - L⁺; a call is kept if this is at least τ_f."""
        return None if self.l_minus is None or self.l_plus is None else self.l_minus - self.l_plus


def losses(
    scorer: Scorer, wanted: Sequence[tuple[Sequence[int], Sequence[int], Iterable[int]]]
) -> list[dict[int, float]]:
    """Losses L_i(z) = -Σ_j w_{j-i} log p(x_j | z, x_{1:j-1}) of prefix z, text x and positions i, in one pass each."""
    asked, places, found = [], [], []
    for prefix, text, positions in wanted:
        offset = len(scorer.begin) + len(prefix)
        windows = {i: range(i, min(i + REACH, len(text))) for i in set(positions)}
        columns = sorted(set().union(*windows.values()))
        asked.append(([*scorer.begin, *prefix, *text[: max(columns, default=-1) + 1]], [offset + j for j in columns]))
        places.append((windows, columns))
    for logprobs, (windows, columns) in zip(scorer.logprobs(asked), places, strict=True):
        of = dict(zip(columns, logprobs, strict=True))
        found.append({i: -sum(w * of[j] for w, j in zip(WEIGHTS, at, strict=False)) for i, at in windows.items()})
    return found


def score(
    scorer: Scorer, candidates: Sequence[tuple[Sequence[int], Candidate, str, str]], floors: Mapping[str, float]
) -> None:
    """Fill in the losses of candidates whose `l_empty` is known, as far as they can reach their tool's of `floors`."""
    found = _losses_of_calls(scorer, [(text, candidate, written) for text, candidate, written, _ in candidates])
    left = []
    for (text, candidate, _, call), loss in zip(candidates, found, strict=True):
        candidate.l_plus = loss
        # L_i(e(c, ε)) can only lower L⁻.
        if (candidate.l_empty or 0.0) - loss >= floors[candidate.tool]:
            left.append((text, candidate, call))
    for (_, candidate, _), loss in zip(left, _losses_of_calls(scorer, left), strict=True):
        candidate.l_call = loss


def _losses_of_calls(scorer: Scorer, calls: Sequence[tuple[Sequence[int], Candidate, str]]) -> list[float]:
    positions: dict[tuple[int, str], set[int]] = {}
    texts = {}
    for text, candidate, written in calls:
        # By identity: the candidates of a text share the same list.
        positions.setdefault((id(text), written), set()).add(candidate.index)
        texts[id(text)] = text
    # A call is tokenized apart, so that its text always has the same ids.
    wanted = [(scorer.encode(written), texts[text], at) for (text, written), at in positions.items()]
    found = dict(zip(positions, losses(scorer, wanted), strict=True))
    return [found[id(text), written][candidate.index] for text, candidate, written in calls]


def select_calls(candidates: Iterable[Candidate], thresholds: Mapping[str, float]) -> list[Candidate]:
    """The calls to insert into a text, by position: of each position, and of each call, the one of highest gain."""
    kept = [(gain, c) for c in candidates if (gain := c.gain) is not None and gain >= thresholds[c.tool]]
    taken: dict[int, Candidate] = {}
    for _, candidate in sorted(kept, key=lambda pair: (-pair[0], pair[1].position, pair[1].tool, pair[1].input)):
        if candidate.position not in taken and candidate.call not in {other.call for other in taken.values()}:
            taken[candidate.position] = candidate
    return [taken[position] for position in sorted(taken)]
