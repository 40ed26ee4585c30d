"""
Compare `ast_verdict` with BFCL's own checker and with Inspect's scorer, on answers made from the acceptable ones.

    pip download --no-deps bfcl-eval inspect-evals -d wheels/
    python benchmarks/bfcl_verdicts.py wheels/ [--rows 400]

Both are run as they are, from their wheels; only what they import and these functions do not use is left out.
"""

import argparse
import importlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal
from unittest.mock import MagicMock

from toolalpaca_hf.evaluation.bfcl import CATEGORIES, ast_verdict, bfcl_rows, first_values
from toolalpaca_hf.schema import Step

Calls = list[tuple[str, dict[str, Any]]]
DOTTED = SimpleNamespace(underscore_to_dot=False)


def made(answers: list[Any], rng: random.Random) -> Iterator[tuple[str, Calls]]:
    """Answers right and wrong in one way each."""
    golden = [(name, first_values(accepted)) for call in answers for name, accepted in call.items()]
    yield "first acceptable values", golden
    other = [(n, {k: v[-1] for k, v in a.items() if v[-1] != ""}) for call in answers for n, a in call.items()]
    yield "last acceptable values", other
    yield "no call", []
    yield "a call too many", [*golden, golden[0]]
    yield "other order", golden[::-1]
    place = rng.randrange(len(golden))
    name, arguments = golden[place]

    def with_call(changed: dict[str, Any], called: str = name) -> Calls:
        return [*golden[:place], (called, changed), *golden[place + 1 :]]

    yield "another function", with_call(arguments, f"{name}_other")
    yield "a parameter too many", with_call(arguments | {"made_up": 1})
    if not arguments:
        return
    key = rng.choice(list(arguments))
    value = arguments[key]
    yield "a parameter left out", with_call({k: v for k, v in arguments.items() if k != key})
    yield "as text", with_call(arguments | {key: str(value)})
    yield "in a list", with_call(arguments | {key: [value]})
    yield "null", with_call(arguments | {key: None})
    if isinstance(value, bool):
        yield "the other truth value", with_call(arguments | {key: not value})
        yield "a number for a truth value", with_call(arguments | {key: int(value)})
    elif isinstance(value, int | float):
        yield "another number", with_call(arguments | {key: value + 1})
        yield "as a float", with_call(arguments | {key: float(value)})
    elif isinstance(value, str):
        yield "other case and points", with_call(arguments | {key: value.upper().replace(" ", "-")})
        yield "other text", with_call(arguments | {key: f"{value} no"})
    elif isinstance(value, list):
        yield "items reversed", with_call(arguments | {key: value[::-1]})
        yield "an item fewer", with_call(arguments | {key: value[:-1]})
    elif isinstance(value, dict) and value:
        yield "a field fewer", with_call(arguments | {key: dict(list(value.items())[1:])})


def bfcl_checker(wheel: Path) -> Callable[[Any, Calls, Any, str], bool]:
    """BFCL's `ast_checker`."""
    sys.path.insert(0, str(wheel))
    config = ModuleType("bfcl_eval.constants.model_config")
    vars(config)["MODEL_CONFIG_MAPPING"] = {"m": DOTTED}
    sys.modules[config.__name__] = config
    for kind in ("java", "js"):  # they need parsers of Java and JavaScript
        sys.modules[f"bfcl_eval.eval_checker.ast_eval.type_convertor.{kind}_type_converter"] = MagicMock()
    checker = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    python = importlib.import_module("bfcl_eval.constants.enums").Language.PYTHON

    def check(functions: Any, calls: Calls, answers: Any, category: str) -> bool:
        listed = [{name: arguments} for name, arguments in calls]
        return bool(checker.ast_checker(functions, listed, answers, python, category, "m")["valid"])

    return check


def inspect_scorer(wheel: Path) -> Callable[[Any, Calls, Any, str], bool]:
    """The matching of Inspect's `ast_match`."""
    sys.path.insert(0, str(wheel))
    for name in ("", ".model", ".scorer", ".solver", ".tool", ".dataset", ".util"):
        sys.modules[f"inspect_ai{name}"] = MagicMock()
    kinds = Literal["string", "integer", "number", "boolean", "array", "object", "null"]
    sys.modules["inspect_ai.util"] = MagicMock(JSONType=kinds)
    package = ModuleType("inspect_evals.bfcl")
    package.__path__ = [f"{wheel}/inspect_evals/bfcl"]
    sys.modules[package.__name__] = package
    scorer = importlib.import_module("inspect_evals.bfcl.score.scorer")

    def check(functions: Any, calls: Calls, answers: Any, category: str) -> bool:
        made = [SimpleNamespace(function=name, arguments=arguments) for name, arguments in calls]
        if "parallel" in category:
            return bool(scorer._match_parallel(made, answers, functions, "python")["valid"])
        if "multiple" in category:
            return bool(scorer._match_multiple(made, answers, functions, "python")["valid"])
        found = scorer.tool_call_matches_possible_answers
        return len(made) == 1 and bool(found(made[0], answers[0], functions[0], "python")["valid"])

    return check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--rows", type=int, default=400, help="of each category at most")
    options = parser.parse_args()
    others = {
        "bfcl-eval": bfcl_checker(next(options.wheels.glob("bfcl_eval-*.whl"))),
        "inspect-evals": inspect_scorer(next(options.wheels.glob("inspect_evals-*.whl"))),
    }
    rng, n, right, seconds = random.Random(0), 0, 0, defaultdict[str, float](float)
    differences: dict[str, Counter[tuple[str, str, str]]] = {name: Counter() for name in others}
    examples: dict[tuple[str, str, str, str], str] = {}
    for category in CATEGORIES:
        for row, answers in bfcl_rows(category, options.wheels)[: options.rows]:
            for kind, calls in made(answers, rng):
                if len(answers) == 1 and len(calls) > 1:
                    continue  # we count the first call of such a row, they refuse the second
                n += 1
                steps = [Step("", name, json.dumps(arguments), "") for name, arguments in calls]
                began = time.perf_counter()
                reason = ast_verdict(steps, answers, row["function"])
                seconds["ours"] += time.perf_counter() - began
                right += not reason
                for name, check in others.items():
                    began = time.perf_counter()
                    try:
                        theirs = "right" if check(row["function"], calls, answers, category) else "wrong"
                    except Exception as error:
                        theirs = f"{type(error).__name__}"
                    seconds[name] += time.perf_counter() - began
                    ours = "wrong" if reason else "right"
                    if ours != theirs:
                        differences[name][kind, ours, theirs] += 1
                        examples.setdefault((name, kind, ours, theirs), f"{row['id']}: {calls} {reason}"[:300])
    print(f"{n} answers, {right} right by our verdict; seconds {dict(seconds)}")
    for name, found in differences.items():
        print(f"{name}: {sum(found.values())} differ")
        for (kind, ours, theirs), count in found.most_common():
            print(f"  {count:>5} {kind}: ours {ours}, theirs {theirs}; {examples[name, kind, ours, theirs]}")


if __name__ == "__main__":
    main()
