"""The rules for matching calls with golden ones (in the paper's section 4.1, a judge compares them)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..formats import parse_arguments
from ..openapi import BODY_KEYS
from ..schema import Api, Call, Step
from ..storage import too_deep
from .calls import OPTIONAL, bare_name, functions_in, golden_arguments, is_call
from .equality import determined, values_equal

FLAGS: tuple[str, ...] = ("all_functions", "all_functions_repeated", "exact_set", "in_order", "arguments")
SHARES: tuple[str, ...] = ("precision", "recall", "f1", "argument_precision", "argument_recall", "argument_f1")
CALL_SCORES = (*FLAGS, *SHARES)


@dataclass(frozen=True)
class _Call:
    """A call prepared for comparison, golden or made; with an instruction, what it leaves open may differ."""

    function: str
    arguments: dict[str, Any] | None
    schema: dict[str, Any]
    optional: bool = False
    instruction: str | None = None

    def is_open(self, name: str, value: Any, codes: bool = True) -> bool:
        """Whether neither the document requires an argument nor the instruction determines its value."""
        if self.instruction is None or not self.schema or name in self.schema.get("required", ()):
            return False
        return not determined(value, self.instruction, name, codes)

    @cached_property
    def free(self) -> set[str]:
        """Names of the arguments that need not be equal."""
        return {name for name, value in (self.arguments or {}).items() if self.is_open(name, value)}

    @property
    def counted(self) -> int:
        """Number of arguments to match; unreadable input counts as one, which nothing matches."""
        return 1 if self.arguments is None else len(self.arguments.keys() - self.free)


class _Pair(NamedTuple):
    """A golden and a made call of one function, compared."""

    optional: bool
    equal: bool
    matched: int = 0  # equal arguments, without those that are free
    exempt: int = 0  # arguments of the made call that do not count against the golden one


def match_calls(
    golden: Sequence[Call],
    steps: Sequence[Step],
    api: Api | None = None,
    instruction: str = "",
    exempt_undetermined: bool = False,
) -> dict[str, Any]:
    """Match the calls of one attempt with the golden ones.

    Calls of `getDetails` and the built-in tools, golden or made, and turns without an action are ignored. Names are
    compared by [`same_function`], arguments by [`values_equal`]; `***` and placeholders of the published files match
    anything. With an API, its credentials are ignored. A whole body under `body` is compared as its properties.

    - A golden call marked `[Optional]` may be made or not.
    - Unreadable golden input is matched by no call: `arguments` is false. So is input nested too deeply for a call.
    - Without golden calls nothing can be missed: `all_functions`, `in_order`, `arguments` and the recalls are full,
      and any call lowers `exact_set` and the precisions.
    - An attempt without steps fails everything, whatever is golden.

    - With `exempt_undetermined`, arguments that neither the document requires nor the instruction determines (see
      [`determined`]) are ignored, as by the paper's guideline: such golden ones, with their made counterparts, and
      such additional made ones. Without an API, or for functions that its document lacks, nothing is.
    - The API's document gives the parameters' types; without it, values are compared as they are.

    Returns:
        `dict[str, Any]`: As `bool`

        - `all_functions`: every distinct golden function was called, in any order;
        - `all_functions_repeated`: each at least as often as in the golden calls;
        - `exact_set`: as `all_functions`, and nothing else was called;
        - `in_order`: the golden functions are a subsequence of the called ones;
        - `arguments`: each golden call is matched by a different call of the same function with equal arguments;

        and as `float` from 0 to 1 `precision`, `recall` and `f1` of calls (matched with equal arguments; a repeated
        call counts as made), and `argument_precision`, `argument_recall` and `argument_f1` over names with their
        values, under the assignment of calls that matches the most.

    Example:

    ```python
    >>> golden = [Call("findTide", '{"port": "Brest", "day": 3}')]
    >>> steps = [Step("", "getDetails", "{}", "Brest."), Step("", "findTide", '{"port": "brest", "day": 4}', "")]
    >>> score = match_calls(golden, steps)
    >>> score["exact_set"], score["arguments"], score["argument_recall"]
    (True, False, 0.5)
    ```
    """
    if not steps:
        return dict.fromkeys(FLAGS, False) | dict.fromkeys(SHARES, 0.0)
    wanted, made = _read(golden, steps, api, instruction if exempt_undetermined else None)
    required = [call for call in wanted if not call.optional]
    order = [call.function for call in required]
    called = Counter(call.function for call in made)
    all_functions, left = set(order) <= called.keys(), iter([call.function for call in made])
    flags = {
        "all_functions": all_functions,
        "all_functions_repeated": Counter(order) <= called,
        "exact_set": all_functions and called.keys() <= {call.function for call in wanted},
        "in_order": all(function in left for function in order),
    }
    alike = [[_compared(want, call) if want.function == call.function else None for call in made] for want in wanted]

    def best(weight: Callable[[_Pair], int]) -> list[_Pair]:
        """The pairs of the one-to-one assignment with the largest total weight."""
        assigned = assign([[weight(pair) if pair else 0 for pair in row] for row in alike])
        return [pair for row, column in assigned if (pair := alike[row][column])]

    # What is required comes first; an optional golden call is matched by what that leaves.
    rank = len(wanted) + 1
    matched = [pair for pair in best(lambda pair: pair.equal * (1 if pair.optional else rank)) if pair.equal]
    needed = sum(not pair.optional for pair in matched)
    flags["arguments"] = needed == len(required)
    calls = _shares(len(matched), len(made), needed, len(required), all_functions)

    top = 1 + sum(call.counted for call in made)
    pairs = best(lambda pair: pair.matched * (top if pair.optional else top * top) + pair.exempt)
    right, exempt = sum(pair.matched for pair in pairs), sum(pair.exempt for pair in pairs)
    needed = sum(pair.matched for pair in pairs if not pair.optional)
    arguments = _shares(right, top - 1 - exempt, needed, sum(want.counted for want in required), all_functions)
    return flags | calls | {f"argument_{name}": share for name, share in arguments.items()}


def functions_f1(golden: Sequence[Call], steps: Sequence[Step], api: Api) -> tuple[float, bool]:
    """F1 of the called functions against the golden ones, each as often as it was called, and whether any is golden.

    Built-in tools do not count, nor do calls that a golden one marked `[Optional]` allows.
    """
    wanted, made = _read(golden, steps, api, None)
    needed, allowed = (Counter(w.function for w in wanted if w.optional is optional) for optional in (False, True))
    named = Counter(call.function for call in made)
    both, more = (needed & named).total(), (named - needed - allowed).total()
    return 2 * both / (needed.total() + both + more) if both else float(not needed and not more), bool(needed)


def _read(
    golden: Sequence[Call], steps: Sequence[Step], api: Api | None, instruction: str | None
) -> tuple[list[_Call], list[_Call]]:
    """Both sides; with an instruction, undetermined arguments of golden calls are free."""
    functions = None if api is None else functions_in(api)

    def prepared(name: str, arguments: dict[str, Any] | None, *more: Any) -> _Call:
        schema = (functions and functions.parameters_of(name)) or {}
        given = _given(arguments, schema.get("properties", {}), functions.credentials if functions else frozenset())
        return _Call(bare_name(name), given, schema, *more)

    wanted = []
    for call in golden:
        name = call.action.strip().removeprefix(OPTIONAL).strip()
        if is_call(name, functions):
            optional = call.action.strip().startswith(OPTIONAL)
            wanted.append(prepared(name, golden_arguments(call.action_input), optional, instruction))
    made = [step for step in steps if is_call(step.action, functions)]
    return wanted, [prepared(step.action, parse_arguments(step.action_input)) for step in made]


def _given(
    arguments: dict[str, Any] | None, properties: dict[str, Any], dropped: frozenset[str]
) -> dict[str, Any] | None:
    """The non-empty arguments, with those of a whole body merged in."""
    if arguments is None or too_deep(arguments):  # comparing it could exhaust Python's stack
        return None
    body = next((key for key in BODY_KEYS if isinstance(arguments.get(key), dict) and key not in properties), None)
    given: dict[str, Any] = arguments
    if body is not None and properties:
        given = {key: value for key, value in arguments.items() if key != body} | arguments[body]
    return {key: value for key, value in given.items() if value not in ("", None) and key not in dropped}


def _compared(want: _Call, call: _Call) -> _Pair:
    ours, theirs = want.arguments, call.arguments
    if ours is None or theirs is None:
        return _Pair(want.optional, False)
    counted = {
        name
        for name, value in theirs.items()
        if name not in want.free and (name in ours or not want.is_open(name, value, codes=False))
    }  # an unasked-for code (`en`, `m`) is open, too
    properties = want.schema.get("properties", {})
    matched = sum(values_equal(ours[name], theirs[name], properties.get(name)) for name in counted & ours.keys())
    return _Pair(want.optional, matched == want.counted == len(counted), matched, len(theirs) - len(counted))


def assign(weights: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """One-to-one pairs of a row and a column with maximum total weight."""
    rows, columns = range(len(weights)), range(len(weights[0]) if weights else 0)
    if min(len(rows), len(columns)) <= 1:
        pairs = [(row, column) for row in rows for column in columns]
        return [max(pairs, key=lambda pair: weights[pair[0]][pair[1]])] if pairs else []
    from scipy.optimize import linear_sum_assignment  # takes a second to import, and few calls need it

    chosen = zip(*linear_sum_assignment(weights, maximize=True), strict=True)
    return [(int(row), int(column)) for row, column in chosen]


def _shares(right: int, made: int, needed: int, required: int, all_functions: bool) -> dict[str, float]:
    """Precision, recall and F1; with a zero denominator, what was missed elsewhere decides."""
    recall = needed / required if required else float(all_functions)
    precision = right / made if made else float(all_functions and not required)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
