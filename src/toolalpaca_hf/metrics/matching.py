"""The rules for matching calls with golden ones (in the paper's section 4.1, a judge compares them)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..formats import parse_arguments
from ..openapi import BODY_KEYS, MAX_DEPTH
from ..schema import Api, Call, Step
from .calls import OPTIONAL, bare_name, functions_in, golden_arguments, is_call
from .equality import determined, values_equal

FLAGS: tuple[str, ...] = ("all_functions", "all_functions_repeated", "exact_set", "in_order", "arguments")
SHARES: tuple[str, ...] = ("precision", "recall", "f1", "argument_precision", "argument_recall", "argument_f1")
CALL_SCORES = (*FLAGS, *SHARES)


@dataclass(frozen=True)
class _Call:
    """A call prepared for comparison, golden or made; `free` and `may_add` say which arguments need not be equal."""

    function: str
    arguments: dict[str, Any] | None
    properties: dict[str, Any] = field(default_factory=dict)
    optional: bool = False
    free: frozenset[str] = frozenset()
    may_add: Callable[[str, Any], bool] = lambda name, value: False

    @property
    def counted(self) -> int:
        """Number of arguments to match; unreadable input counts as one, which nothing matches."""
        return 1 if self.arguments is None else len(self.arguments.keys() - self.free)


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
    anything, and with an API its credentials are ignored, since they are added on sending. A whole body under `body`
    is compared as its properties.

    - A golden call marked `[Optional]` may be made or not.
    - Unreadable golden input is matched by no call: `arguments` is false. So is input nested too deeply for a call.
    - Without golden calls nothing can be missed: `all_functions`, `in_order`, `arguments` and the recalls are full,
      and any call lowers `exact_set` and the precisions.
    - An attempt without steps fails everything, whatever is golden.

    Args:
        golden (`Sequence[Call]`): The golden calls.
        steps (`Sequence[Step]`): What the model did; empty for a missing or failed attempt.
        api ([`Api`], *optional*): Its document gives the parameters' types; without it, values are compared as is.
        instruction (`str`, *optional*, defaults to `""`): What was asked.
        exempt_undetermined (`bool`, *optional*, defaults to `False`): Ignore, as the paper's guideline does, arguments
            that neither the document requires nor the instruction determines (see [`determined`]): such golden ones,
            with their made counterparts, and such additional made ones. Needs `api`; functions that the document lacks
            are not exempt.

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
    # What is required comes first; an optional golden call is matched by what that leaves.
    rank = len(wanted) + 1
    pairs = _assigned(wanted, made, lambda want, call: _equal(want, call) * (1 if want.optional else rank))
    matched = [want for want, call in pairs if _equal(want, call)]
    needed = sum(not want.optional for want in matched)
    flags["arguments"] = needed == len(required)
    calls = _shares(len(matched), len(made), needed, len(required), all_functions)

    top = 1 + sum(call.counted for call in made)

    def weight(want: _Call, call: _Call) -> int:
        first = _matched(want, call) * (top if want.optional else top * top)
        return first + call.counted - _counted(want, call)

    pairs = _assigned(wanted, made, weight)
    right = sum(_matched(want, call) for want, call in pairs)
    needed = sum(_matched(want, call) for want, call in pairs if not want.optional)
    exempt = sum(call.counted - _counted(want, call) for want, call in pairs)
    arguments = _shares(right, top - 1 - exempt, needed, sum(want.counted for want in required), all_functions)
    return flags | calls | {f"argument_{name}": share for name, share in arguments.items()}


def _read(
    golden: Sequence[Call], steps: Sequence[Step], api: Api | None, instruction: str | None
) -> tuple[list[_Call], list[_Call]]:
    """Both sides; with an instruction, undetermined arguments are free."""
    functions = None if api is None else functions_in(api)
    dropped = frozenset() if functions is None else functions.credentials

    def prepared(
        name: str, arguments: dict[str, Any] | None, optional: bool = False, is_golden: bool = False
    ) -> _Call:
        schema = None if functions is None else functions.parameters_of(name)
        properties = {} if schema is None else schema["properties"]
        given = _given(arguments, properties, dropped)
        if not is_golden or instruction is None or schema is None:
            return _Call(bare_name(name), given, properties, optional)
        needed, text = frozenset(schema.get("required", [])), instruction
        free = {key for key, value in (given or {}).items() if key not in needed and not determined(value, text, key)}

        def may_add(name: str, value: Any) -> bool:  # an unasked-for code (`en`, `m`) is free too
            return name not in needed and not determined(value, text, name, codes=False)

        return _Call(bare_name(name), given, properties, optional, frozenset(free), may_add)

    wanted = []
    for call in golden:
        name = call.action.strip().removeprefix(OPTIONAL).strip()
        if is_call(name, functions):
            try:
                arguments = golden_arguments(call.action_input)
            except RecursionError:
                arguments = None
            wanted.append(prepared(name, arguments, call.action.strip().startswith(OPTIONAL), True))
    made = [step for step in steps if is_call(step.action, functions)]
    return wanted, [prepared(step.action, parse_arguments(step.action_input)) for step in made]


def _deep(value: Any, left: int = MAX_DEPTH) -> bool:
    """Whether a value is nested deeper than any call can be; comparing it could exhaust Python's stack."""
    if not isinstance(value, dict | list):
        return False
    return left == 0 or any(_deep(item, left - 1) for item in (value.values() if isinstance(value, dict) else value))


def _given(
    arguments: dict[str, Any] | None, properties: dict[str, Any], dropped: frozenset[str]
) -> dict[str, Any] | None:
    """The non-empty arguments, with those of a whole body merged in."""
    if arguments is None or _deep(arguments):
        return None
    body = next((key for key in BODY_KEYS if isinstance(arguments.get(key), dict) and key not in properties), None)
    given: dict[str, Any] = arguments
    if body is not None and properties:
        given = {key: value for key, value in arguments.items() if key != body} | arguments[body]
    return {key: value for key, value in given.items() if value not in ("", None) and key not in dropped}


def _matched(want: _Call, call: _Call) -> int:
    """Number of equal arguments, without those that are free."""
    given = call.arguments or {}
    return sum(
        name in given and values_equal(value, given[name], want.properties.get(name))
        for name, value in (want.arguments or {}).items()
        if name not in want.free
    )


def _counted(want: _Call, call: _Call) -> int:
    """Number of the made call's arguments that count against this golden call."""
    if want.arguments is None or call.arguments is None:
        return call.counted
    return sum(
        name not in want.free and (name in want.arguments or not want.may_add(name, value))
        for name, value in call.arguments.items()
    )


def _equal(want: _Call, call: _Call) -> bool:
    if want.arguments is None or call.arguments is None:
        return False
    return _matched(want, call) == want.counted == _counted(want, call)


def _assigned(
    wanted: Sequence[_Call], made: Sequence[_Call], weight: Callable[[_Call, _Call], int]
) -> list[tuple[_Call, _Call]]:
    """Pair golden and made calls of the same function, one to one, with maximum total weight."""
    pairs = []
    for function in dict.fromkeys(want.function for want in wanted):
        rows = [want for want in wanted if want.function == function]
        columns = [call for call in made if call.function == function]
        assigned = assign([[weight(row, column) for column in columns] for row in rows])
        pairs += [(rows[row], columns[column]) for row, column in assigned]
    return pairs


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
