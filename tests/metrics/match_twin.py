"""`match_calls` once more, by trying every way of pairing calls; for small cases with integers only."""

from collections.abc import Iterator, Sequence
from typing import Any

from toolalpaca_hf.metrics import arguments_equal

NOT_CALLS = ("getDetails", "retrieval", "datetime", "", "hallucination")


def pairings(golden: int, made: int) -> Iterator[list[tuple[int, int]]]:
    """Every set of pairs in which no place occurs twice."""

    def choose(i: int, free: frozenset[int]) -> Iterator[list[tuple[int, int]]]:
        if i == golden:
            yield []
            return
        for j in [None, *free]:
            for rest in choose(i + 1, free - {j}):
                yield rest if j is None else [(i, j), *rest]

    return choose(0, frozenset(range(made)))


def ratio(part: int, whole: int, otherwise: float) -> float:
    return part / whole if whole else otherwise


def shares(right: int, made: int, needed: int, required: int, all_functions: bool, prefix: str = "") -> dict:
    recall = ratio(needed, required, 1.0 if all_functions else 0.0)
    precision = ratio(right, made, 1.0 if all_functions and not required else 0.0)
    f1 = ratio(2 * precision * recall, precision + recall, 0.0)
    return {f"{prefix}precision": precision, f"{prefix}recall": recall, f"{prefix}f1": f1}


def twin(
    golden: Sequence[tuple[str, dict[str, Any]]],
    made: Sequence[tuple[str, dict[str, Any]]],
    said: set[Any] | None = None,
    required: Sequence[str] = (),
) -> dict[str, Any]:
    """The scores; with `said`, what the instruction says, other values of arguments not required are exempt."""
    steps = len(made)
    golden = [call for call in golden if call[0] not in NOT_CALLS]
    made = [call for call in made if call[0] not in NOT_CALLS]
    if not steps:
        flags = ("all_functions", "all_functions_repeated", "exact_set", "in_order", "arguments")
        return dict.fromkeys(flags, False) | {
            f"{kind}{name}": 0.0 for kind in ("", "argument_") for name in ("precision", "recall", "f1")
        }
    optional = [name.startswith("[Optional]") for name, _ in golden]
    names = [name.removeprefix("[Optional]") for name, _ in golden]
    needed = [name for name, free in zip(names, optional, strict=True) if not free]
    called = [name for name, _ in made]

    def open_value(name: str, value: Any) -> bool:
        return said is not None and name not in required and value not in said

    def sides(i: int, j: int) -> tuple[dict, dict]:
        """What counts of a golden and a made call when they are a pair."""
        want, call = golden[i][1], made[j][1]
        free = {name for name, value in want.items() if open_value(name, value)}
        kept = {name: value for name, value in want.items() if name not in free}
        beyond = {name for name, value in call.items() if name not in want and open_value(name, value)}
        return kept, {name: value for name, value in call.items() if name not in free | beyond}

    def golden_size(i: int) -> int:
        return sum(not open_value(name, value) for name, value in golden[i][1].items())

    def common(i: int, j: int) -> int:
        want, call = sides(i, j)
        return sum(name in call and arguments_equal({name: value}, {name: call[name]}) for name, value in want.items())

    best_calls, best_arguments = (-1, -1), (-1, -1, -1)
    for pairs in pairings(len(golden), len(made)):
        if any(names[i] != called[j] for i, j in pairs):
            continue
        equal = [i for i, j in pairs if arguments_equal(*sides(i, j))]
        best_calls = max(best_calls, (sum(not optional[i] for i in equal), len(equal)))
        of_required = sum(common(i, j) for i, j in pairs if not optional[i])
        exempt = sum(len(made[j][1]) - len(sides(i, j)[1]) for i, j in pairs)
        best_arguments = max(best_arguments, (of_required, sum(common(i, j) for i, j in pairs), exempt))

    all_functions = all(name in called for name in needed)
    arguments_needed = sum(golden_size(i) for i in range(len(golden)) if not optional[i])
    arguments_made = sum(len(given) for _, given in made) - best_arguments[2]
    positions = [-1]
    for name in needed:  # each as early as it can be
        later = [j for j, other in enumerate(called) if other == name and j > positions[-1]]
        positions.append(later[0] if later else len(called))
    return {
        "all_functions": all_functions,
        "all_functions_repeated": all(called.count(name) >= needed.count(name) for name in needed),
        "exact_set": all_functions and all(name in names for name in called),
        "in_order": positions[-1] < len(called) or not needed,
        "arguments": best_calls[0] == len(needed),
        **shares(best_calls[1], len(made), best_calls[0], len(needed), all_functions),
        **shares(
            best_arguments[1], arguments_made, best_arguments[0], arguments_needed, all_functions, prefix="argument_"
        ),
    }
