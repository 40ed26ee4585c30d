"""A linter for tool benchmarks: golden calls that cannot be right, and instructions that do not determine them."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from tqdm.auto import tqdm

from .. import metrics
from ..agent import ApiCalls
from ..data import read_file
from ..openapi import BODY_KEYS, TOKEN_TEXT, mapping
from ..report import markdown_table, markdown_text, write_texts
from ..schema import REDACTED, Api, Call, Instruction
from .bfcl import first_values
from .suite import Suite, index_of

ERROR, DOUBT, NOTE = "error", "doubt", "note"

KINDS: dict[str, tuple[str, str]] = {  # how much each matters, and what it means; errors and doubts flag
    "unknown function": (ERROR, "the API has no function of this name"),
    "unreadable arguments": (ERROR, "the input is no JSON object, even with its placeholders filled in"),
    "invalid arguments": (ERROR, "the document does not take the arguments"),
    "needs a later answer": (ERROR, "a value comes from a call that is made afterwards, or from none"),
    "contradictory instructions": (ERROR, "the same words have other golden calls elsewhere"),
    "value not determined": (DOUBT, "neither instruction nor earlier answer holds the value of a required parameter"),
    "unknown parameter": (DOUBT, "the function has no such parameter"),
    "refused by the simulator": (DOUBT, "the simulator does not answer the call with a status 2xx"),
    "another call as well": (DOUBT, "another function takes the same arguments and answers the same"),
    "repeated instruction": (NOTE, "the same words and golden calls a second time, or for another API"),
    "acceptable answer does not fit": (DOUBT, "an answer that is accepted breaks the document"),
    "not found by the simulator": (NOTE, "the simulator has nothing under an id that the golden call gives"),
    "optional value not determined": (NOTE, "nothing says the value of a parameter that may be left out"),
    "value of a recorded answer": (NOTE, "only a recorded answer holds the value; another run has another one"),
    "name spelt otherwise": (NOTE, "the API's function has other punctuation or case"),
    "order is free": (NOTE, "no golden call needs the answer of another one"),
    "secret inside": (NOTE, "the instruction or a golden call holds what looks like a credential"),
}

_SECRET_NAME = re.compile(r"(pass(word|wd)?|secret|token|api_?key|access_?key|authorization)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(rf"://[^\s/:@]+:[^\s/@]+@|\b(?:sk|hf|ghp)[-_][A-Za-z0-9]{{20,}}|{TOKEN_TEXT}")
# A text or a number, as JSON has them: what an answer in another format holds may not be read as such.
_JSON = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d{0,99})(?:\.\d+)?'
_SAMPLES: tuple[Any, ...] = ("sample", 1, "2024-01-01", "2024-01-01T00:00:00Z", True, ["sample"], [1], {})


@dataclass(frozen=True)
class Finding:
    """What is wrong, or may be, with an instruction or one of its golden calls."""

    kind: str  # one of [`KINDS`]
    id: str  # the instruction's
    api: str
    index: int
    evidence: str  # what was found, in words
    call: int | None = None  # the golden call's index
    correction: dict[str, str] | None = None  # `action` and `action_input` of the call that a rule proposes

    @property
    def flags(self) -> bool:
        """Whether the instruction is flagged."""
        return KINDS[self.kind][0] != NOTE


@dataclass
class _Row:
    """An instruction under inspection, with what earlier calls answered."""

    api: Api
    asked: Instruction
    functions: metrics.Functions
    recorded: dict[str, list[str]]
    accepted: list[dict[str, dict[str, list[Any]]]]
    found: list[Finding] = field(default_factory=list)
    answers: list[tuple[str, str]] = field(default_factory=list)
    fed: bool = False

    def report(self, kind: str, evidence: str, *more: Any) -> None:
        self.found.append(Finding(kind, self.asked.id, self.api.name, index_of(self.asked), evidence, *more))


def lint(suite: Suite) -> list[Finding]:
    """Lint the instructions of a suite: every golden call by its document, the simulator and the instruction.

    Whether an instruction determines a value is decided as in scoring, see [`metrics.determined`]. Findings are in the
    suite's order. Nothing is changed; corrections are proposals.

    Example:

    ```python
    >>> from toolalpaca_hf.evaluation import read_suite
    >>> {finding.kind for finding in lint(read_suite("sample")) if finding.flags}
    set()
    ```
    """
    from ..environments import calls_in_process
    from ..simulator import Simulator

    recorded, apis = _recorded(suite), {api.id: api for api in suite.apis}
    calls_of = lru_cache(8)(lambda api: calls_in_process(Simulator([apis[api]]))[0])
    first: dict[tuple[str, ...], Instruction] = {}
    findings: list[Finding] = []
    for asked in tqdm(suite.instructions, desc="linting", unit="instruction", disable=None):
        api, accepted = apis[asked.api], suite.answers.get(asked.id, {}).get("answers", [])
        row = _Row(api, asked, metrics.functions_in(api), recorded.get(asked.id, {}), accepted)
        _check(row, calls_of(api.id))
        before = first.setdefault(metrics.words(asked.instruction), asked)
        if before is not asked:
            same = before.golden_calls == asked.golden_calls or before.api != asked.api
            row.report("repeated instruction" if same else "contradictory instructions", f"asked as {before.id}")
        findings += row.found
    return findings


def flagged(findings: Sequence[Finding]) -> set[str]:
    """Ids of the instructions that errors and doubts flag."""
    return {finding.id for finding in findings if finding.flags}


def _recorded(suite: Suite) -> dict[str, dict[str, list[str]]]:
    """What recorded calls of the same instructions answered, by id and function."""
    split, corpus = read_file(suite.file)
    found: dict[str, dict[str, list[str]]] = {}
    for trajectory in corpus.trajectories.get(split, []):
        steps = found[trajectory.id] = defaultdict(list)
        for step in trajectory.steps:
            steps[step.action].append(step.observation)
    return found


def _check(row: _Row, calls: ApiCalls) -> None:
    session, golden = uuid4().hex, row.asked.golden_calls
    real = [call for call in golden if call.action not in metrics.BUILT_IN]
    for place, call in enumerate(golden):
        built_in = call.action in metrics.BUILT_IN and call.action not in row.functions.operations
        name = None if built_in else _name(row, place, call)
        if name is None:
            continue
        arguments = _arguments(call.action_input)
        if arguments is None:
            row.report("unreadable arguments", f"{name}: {call.action_input[:200]}", place)
            continue
        for taken, source in metrics.FED.findall(call.action_input):
            row.fed = True
            if not any(metrics.same_function(source, earlier.action) for earlier in golden[:place]):
                said = f"{call.action} takes {taken} from {source}, which is not called"
                row.report("needs a later answer", said, place)
        _parameters(row, place, name, arguments)
        filled, problem = _filled(row, name, arguments)
        if problem:
            row.report("invalid arguments", f"{name}: {problem}", place)
            continue
        _values(row, place, name, arguments)
        answer = calls.call(name, json.dumps(filled, ensure_ascii=False), session)
        if not re.match(r"Status Code: 2\d\d\b", answer):
            kind = "not found" if answer.startswith("Status Code: 404") else "refused"
            row.report(f"{kind} by the simulator", f"{name} {json.dumps(filled)}: {answer[:200]}", place)
        row.answers.append((name, answer))
        if len(real) == 1 and (rival := _rival(row.functions, name, filled)):
            row.report("another call as well", f"{rival} takes the arguments of {name} and answers the same", place)
    if len(real) > 1 and not row.fed and len({(call.action, call.action_input) for call in real}) > 1:
        row.report("order is free", " and ".join(call.action for call in real))
    for text, where in [(row.asked.instruction, "the instruction"), *((c.action_input, c.action) for c in golden)]:
        given = metrics.flat(_arguments(text) or {})
        names = [name for name, value in given.items() if _SECRET_NAME.search(name) and value != REDACTED]
        if names or _SECRET_TEXT.search(text):
            row.report("secret inside", f"{where} holds {names[0] if names else 'a credential'}")


def _arguments(text: str) -> dict[str, Any] | None:
    """The arguments of a golden call; `None` also where they are nested too deep to be looked at."""
    with suppress(RecursionError):
        arguments = metrics.golden_arguments(text)
        metrics.flat(arguments or {})
        return arguments


def _name(row: _Row, place: int, call: Call) -> str | None:
    """The function that a golden call means, as the API spells it."""
    action = call.action.removeprefix("[Optional]").strip()
    known = [name for name in row.functions.operations if name not in row.functions.operations.missing]
    if action in known:
        return action
    same = next((name for name in known if metrics.same_function(name, action)), None)
    near = same or next(iter(get_close_matches(action, known, 1, 0.8)), None)
    kind = "name spelt otherwise" if same else "unknown function"
    correction = {"action": near, "action_input": call.action_input} if near else None
    row.report(kind, f"{action}; the API has {near or ', '.join(known[:8])}", place, correction)
    return same


def _parameters(row: _Row, place: int, name: str, arguments: Mapping[str, Any]) -> None:
    schema = row.functions.parameters_of(name) or {}
    known = mapping(schema.get("properties"))
    if schema.get("additionalProperties") or any(key in arguments and key not in known for key in BODY_KEYS):
        return
    for key in [key for key in arguments if key not in known and key not in row.functions.credentials]:
        near = next(iter(get_close_matches(key, known, 1, 0.6)), None)
        kept = {near if k == key and near else k: v for k, v in arguments.items() if k != key or near}
        call = {"action": name, "action_input": json.dumps(kept, ensure_ascii=False)}
        row.report("unknown parameter", f"{name} has no {key}, but {', '.join(known) or 'none'}", place, call)


def _filled(row: _Row, name: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Arguments with values for placeholders, from earlier answers if possible; and why they are not taken."""
    functions = row.functions
    properties = mapping((functions.parameters_of(name) or {}).get("properties"))
    filled = {key: value for key, value in arguments.items() if value != REDACTED}
    for key in [key for key in arguments if key not in filled and key not in functions.credentials]:
        given = rf'"{re.escape(key)}"\s*:\s*({_JSON})'
        said = [match[1] for _, answer in row.answers for match in re.finditer(given, answer, re.ASCII)]
        samples = [*map(json.loads, said[-1:]), *(mapping(properties.get(key)).get("enum") or []), *_SAMPLES]
        fits = (sample for sample in samples if f"`{key}`" not in _problem(functions, name, filled | {key: sample}))
        filled[key] = next(fits, samples[0])
    return filled, _problem(functions, name, filled)


def _problem(functions: metrics.Functions, name: str, arguments: Mapping[str, Any]) -> str:
    problem = metrics.refusal(functions, name, json.dumps(arguments, ensure_ascii=False))
    return problem.removesuffix(" Change the Action Input and try again.")


def _values(row: _Row, place: int, name: str, arguments: dict[str, Any]) -> None:
    """Check that each value is determined."""
    text, share = row.asked.instruction, metrics.DETERMINED
    schema = row.functions.parameters_of(name) or {}
    properties, needed = mapping(schema.get("properties")), schema.get("required", [])
    accepted = next((answer[name] for answer in row.accepted[place : place + 1] if name in answer), {})
    for key, options in accepted.items():
        kept = {k: v for k, v in arguments.items() if k != key}
        for option in options if key in properties else []:
            given = first_values({key: [option]})  # without the lists of acceptable values inside an object
            wrong = _problem(row.functions, name, kept | given) if given else ""
            if f"`{key}" in wrong:
                row.report("acceptable answer does not fit", f"{name}: {wrong}", place)
    for key, value in metrics.flat(arguments).items():
        own = key.partition(".")[0]
        if value == REDACTED or own in row.functions.credentials or "" in accepted.get(own, []):
            continue
        last, values = key.rpartition(".")[2], [value, *accepted.get(own, [])]
        values += [float(f"{value * 100:.6g}")] if isinstance(value, float) and re.search(r"%|percent", text) else []
        if any(metrics.determined(v, text, last) or metrics.determined(v, text, share=share) for v in values):
            continue
        if any(_answers(answer, last, value) for _, answer in row.answers):
            row.fed = True
            continue
        shown = f"{name} has {key} {json.dumps(value, ensure_ascii=False)[:100]}"
        source = next((f for f, said in row.recorded.items() if any(_answers(a, last, value) for a in said)), None)
        rest = {k: v for k, v in arguments.items() if k != own}
        declared = mapping(properties.get(own))
        if source and not metrics.same_function(source, name):
            row.fed = True
            kind, kept = "value of a recorded answer", rest | {own: f"${{{own} from {source}}}"}
            shown += f", which {source} answered"
        elif own not in needed:
            kind, kept = "optional value not determined", rest
            shown += ", its default" if declared.get("default", REDACTED) == value else ""
        else:
            if [value] != declared.get("enum"):
                row.report("value not determined", shown, place)
            continue
        row.report(kind, shown, place, {"action": name, "action_input": json.dumps(kept, ensure_ascii=False)})


def _answers(answer: str, name: str, value: Any) -> bool:
    """Whether an answer holds a value; a number, which any text may hold, only under the parameter's name."""
    if isinstance(value, str) and not value.isdecimal():
        return len(value) > 1 and metrics.says(answer, value)
    found = re.escape(json.dumps(value).strip('"'))
    return re.search(rf'"{re.escape(name)}"\s*:\s*"?{found}\b', answer) is not None


def _rival(functions: metrics.Functions, name: str, arguments: Mapping[str, Any]) -> str | None:
    """Another function that takes the arguments, with the same schema of answers or a description in its words."""
    operation = functions.operations[name]
    own, said = _schema_of_answer(operation), set(metrics.words(operation.description))
    for rival, other in functions.operations.items():
        if rival == name or not other.found or other.method != operation.method:
            continue
        known = mapping((functions.parameters_of(rival) or {}).get("properties"))
        if arguments.keys() - known.keys() or _problem(functions, rival, arguments):
            continue
        theirs = set(metrics.words(other.description))
        alike = said and len(said & theirs) >= 0.75 * len(said | theirs)
        if alike or (own and arguments and own == _schema_of_answer(other)):
            return rival
    return None


def _schema_of_answer(operation: Any) -> str:
    answer = next((mapping(r) for code, r in operation.responses.items() if str(code).startswith("2")), {})
    schema = next((mapping(media).get("schema") for media in mapping(answer.get("content")).values()), None)
    return json.dumps(schema, sort_keys=True) if schema else ""


def write_lint(folder: Path, suite: Suite, findings: Sequence[Finding]) -> None:
    """Write `lint.json`, all findings, and `lint.md`, by kind with the evidence."""
    counts = lint_counts(findings)
    parts = [f"# Lint of {markdown_text(suite.name)}", lint_summary(suite, findings)]
    rows = [(kind, *KINDS[kind], *numbers) for kind, numbers in counts.items()]
    parts.append(markdown_table(("kind", "", "meaning", "findings", "instructions"), rows, 3, markdown_text))
    for kind in counts:
        of_kind = [f for f in findings if f.kind == kind]
        table = [(f.id, f.evidence, " ".join((f.correction or {}).values())) for f in of_kind]
        head = ("instruction", "evidence", "proposed")
        parts += [f"## {kind.capitalize()}", markdown_table(head, table, escape=markdown_text)]
    content = {"suite": suite.name, "hash": suite.digest, "instructions": len(suite.instructions)}
    content |= {"notes": suite.notes, "flagged": sorted(flagged(findings))}
    content["findings"] = [asdict(f) | {"severity": KINDS[f.kind][0]} for f in findings]
    texts = {"lint.md": "\n\n".join(parts) + "\n", "lint.json": json.dumps(content, indent=1, ensure_ascii=False)}
    write_texts(folder, texts)


def lint_counts(findings: Sequence[Finding]) -> dict[str, tuple[int, int]]:
    """Findings and instructions by kind, in the order of [`KINDS`]."""
    found = {kind: [f.id for f in findings if f.kind == kind] for kind in KINDS}
    return {kind: (len(ids), len(set(ids))) for kind, ids in found.items() if ids}


def lint_summary(suite: Suite, findings: Sequence[Finding]) -> str:
    """One sentence: how many instructions there are, with errors, and with doubts only."""
    errors = {finding.id for finding in findings if KINDS[finding.kind][0] == ERROR}
    doubts = flagged(findings) - errors
    return f"{len(suite.instructions)} instructions: {len(errors)} with errors, {len(doubts)} more with doubts."
