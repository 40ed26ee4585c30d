"""Judges of attempts: a language model on any OpenAI-compatible server, people's labels, and how far two agree."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..errors import InputError, OptionError
from ..llm import LLMError
from ..metrics import VERDICTS, JudgePrompt, judge_prompt, own_prompt, parse_verdict, reminder
from ..storage import JsonlLog
from .statistics import cluster_sums, rate, resampled, tails
from .suite import Attempt

GIVE_UP = 10  # after so many requests in a row that a server failed to answer, no more are sent

MALFORMED = "no verdict could be read in what the judge wrote"

# Verdicts on an instruction, `{"process": ..., "response": ...}`, by the API's name and the place in it.
Verdicts = Mapping[tuple[str, int], Mapping[str, Any]]


@dataclass(eq=False, repr=False)
class Judge:
    """A model that judges whether the process and the response of attempts are correct.

    The key appears in no error, file or `repr`.

    Args:
        base_url, model, timeout: See [`ModelClient`], whose errors these are.
        prompt ([`JudgePrompt`], *optional*): Ours by default; see also [`published_prompt`].
        api_key (`str`, *optional*): Defaults to `$TOOLALPACA_JUDGE_API_KEY`, then to those of [`ModelClient`].
        temperature, seed (*optional*): `None` leaves them to the server. Each retry increments the seed.
        retries (`int`, *optional*, defaults to 2): Of a failing request, and where no verdict can be parsed.

    Example:

    ```python
    >>> judge = Judge("http://127.0.0.1:8000/v1", "gpt-4")  # doctest: +SKIP
    >>> judge.judge(attempts, "runs/x")["eval_real/tides/0"]["process"]  # doctest: +SKIP
    'Yes'
    ```
    """

    base_url: str
    model: str
    prompt: JudgePrompt = field(default_factory=own_prompt)
    concurrency: int = 8
    api_key: InitVar[str | None] = None
    temperature: float | None = 0.0
    retries: int = 2
    timeout: float = 120.0
    max_tokens: int = 2048
    seed: int | None = 0

    def __post_init__(self, api_key: str | None) -> None:
        from ..llm import KEY_VARIABLES, ModelClient  # the client's library is heavy

        if self.concurrency < 1 or self.retries < 0:
            raise OptionError("a judge needs a concurrency of 1 or more, and retries of 0 or more")
        names = ("TOOLALPACA_JUDGE_API_KEY", *KEY_VARIABLES)
        server = (self.base_url, self.model, api_key, self.timeout, self.retries)
        self._client = ModelClient(*server, key_variables=names, concurrency=self.concurrency, give_up=GIVE_UP)

    def judge_settings(self) -> dict[str, Any]:
        """What determines the verdicts, for the record; without the key."""
        names = ("model", "temperature", "seed", "max_tokens", "retries")
        settings = {"endpoint": self._client.base_url} | {name: getattr(self, name) for name in names}
        return settings | {"prompt": self.prompt.name, "prompt_hash": self.prompt.hash}

    def judge(self, attempts: Sequence[Attempt], folder: str | Path) -> dict[str, dict[str, Any]]:
        """Judge attempts. Called again after a kill, it asks nothing twice: `verdicts.jsonl` keeps every answer.

        An attempt that failed or made no call is not sent and has no verdict, as in the published evaluation. After
        ten consecutive failures of the server, which do not raise, the rest is left for a later call.

        Returns:
            `dict[str, dict]`: By instruction id, in the order of `attempts`: `process` and `response` (`"Yes"`,
                `"No"`, `"Uncertain"`, or both `None` without a verdict), `text` (the last answer), `error` (why there
                is no verdict, else empty) and `tries` (parsed answers).
        """
        self._client.failures = 0
        with JsonlLog(Path(folder) / "verdicts.jsonl", "key", skip_damaged=True) as answers:
            pool = ThreadPoolExecutor(self.concurrency)
            try:
                results = pool.map(lambda attempt: self._one(attempt, answers), attempts)
                bar = tqdm(results, total=len(attempts), desc="judging", unit="attempt", disable=None)
                return {attempt.instruction.id: result for attempt, result in zip(attempts, bar, strict=True)}
            finally:
                # Something is left only where this was interrupted: what is under way ends, the rest is not begun.
                pool.shutdown(cancel_futures=True)

    def repeat(
        self, attempts: Sequence[Attempt], folder: str | Path, first: Mapping[str, Any], times: int
    ) -> list[list[bool]]:
        """Whether each of `times` verdicts on an attempt is a Yes, `first` among them, for attempts that have all."""
        verdicts, again = [first], copy(self)
        for _ in range(1, times):
            # Beyond the seeds of retries, so that no answer is taken for two verdicts.
            again.seed = (again.seed or 0) + self.retries + 1
            verdicts.append(again.judge(attempts, folder))
        found = [[verdict[attempt.instruction.id]["process"] for verdict in verdicts] for attempt in attempts]
        return [[said == "Yes" for said in row] for row in found if None not in row]

    def answer(self, prompt: str) -> str:
        """The answer to a prompt, without thinking and unstored: the `judge` of the metric `llm_judge`."""
        self._client.failures = 0
        return self._ask([{"role": "user", "content": prompt}], self.seed)

    def _one(self, attempt: Attempt, answers: JsonlLog) -> dict[str, Any]:
        """One attempt's verdict, whatever the server does."""
        nothing = {"process": None, "response": None, "text": "", "tries": 0}
        trajectory = attempt.trajectory
        if attempt.failed or trajectory is None or not trajectory.steps:
            reason = attempt.error or ("it called nothing" if trajectory and not attempt.failed else attempt.ended)
            return nothing | {"error": f"not judged: {reason}"}
        shown = (attempt.api, attempt.instruction, trajectory.steps, trajectory.response)
        messages = [{"role": "user", "content": judge_prompt(*shown, prompt=self.prompt)}]
        identity = {"model": self.model, "temperature": self.temperature, "prompt_hash": self.prompt.hash}
        text, tries = "", 0
        for tries in range(1, self.retries + 2):
            seed = None if self.seed is None else self.seed + tries - 1
            asked = [self.model, self.temperature, self.max_tokens, seed, messages]
            key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
            row = answers.rows.get(key, {})
            if not isinstance(row.get("text"), str):
                try:
                    row = {"text": self._ask(messages, seed)}
                except LLMError as error:
                    return nothing | {"text": text, "error": str(error), "tries": tries - 1}
                answers.append({"key": key, "id": attempt.instruction.id, "try": tries, **identity, **row})
            text = row["text"]
            verdict = parse_verdict(text)
            if not verdict.malformed:
                return {**verdict._asdict(), "text": text, "error": "", "tries": tries}
            # Some servers refuse a message without content.
            said = {"role": "assistant", "content": text or "(nothing)"}
            messages = [messages[0], said, {"role": "user", "content": reminder()}]
        return nothing | {"text": text, "error": MALFORMED, "tries": tries}

    def _ask(self, messages: list[dict[str, Any]], seed: int | None) -> str:
        answer = self._client.answer(
            messages, max_tokens=self.max_tokens, temperature=self.temperature, seed=seed, attempts=1
        )
        return answer.text.strip()


def unjudged(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on what has no verdict and why; empty if everything has one."""
    reasons = Counter(verdict["error"] for verdict in verdicts.values() if verdict["error"])
    if not reasons:
        return ""
    shown = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common(3))
    shown += "; and others" if len(reasons) > 3 else ""
    absent = f"{reasons.total()} of {len(verdicts)} instructions have no verdict ({shown})"
    return f"{absent}; the same command asks again where the server failed"


def agreement(
    a: Sequence[str | None], b: Sequence[str | None], clusters: Sequence[str] | None = None
) -> dict[str, Any]:
    """Agreement of two judges on the same instructions.

    Intervals are those of [`statistics.rate`], over APIs if given. Kappa's interval is at least as wide as the kappas
    at the ends of the raw agreement's interval, so that judges who never differ have a width.

    Args:
        a, b (`Sequence[str | None]`): Verdicts of each, `"Yes"`, `"No"` or `"Uncertain"` (else there is an
            [`InputError`]); pairs with a `None` are left out and counted.
        clusters (`Sequence[str]`, *optional*): The API of each instruction; by default instructions are independent.

    Returns:
        `dict`: `n` pairs, `left_out`, `agreement` with `agreement_low` and `agreement_high`, `kappa` with `low` and
            `high` (`None` if undefined), and `table`, counts by the verdict of `a`, then that of `b`.

    Example:

    ```python
    >>> found = agreement(["Yes", "Yes", "No", "No", None], ["Yes", "Yes", "No", "Yes", "Yes"])
    >>> found["n"], found["left_out"], found["agreement"], found["kappa"], found["table"]["No"]
    (4, 1, 0.75, 0.5, {'Yes': 1, 'No': 1, 'Uncertain': 0})
    ```
    """
    if len(a) != len(b) or (clusters is not None and len(clusters) != len(a)):
        raise InputError(f"{len(a)} and {len(b)} verdicts cannot be paired")
    if unknown := {*a, *b} - {*VERDICTS, None}:
        raise InputError(f"{unknown.pop()!r} is no verdict", fix="write Yes, No or Uncertain")
    rows = [row for row in zip(a, b, clusters or [""] * len(a), strict=True) if None not in row]
    groups = [cluster for _, _, cluster in rows]
    places = [3 * VERDICTS.index(str(first)) + VERDICTS.index(str(second)) for first, second, _ in rows]
    cells = np.eye(9)[np.array(places, dtype=int)]
    counts = cells.sum(axis=0).reshape(3, 3)
    raw = rate([first == second for first, second, _ in rows], groups)
    kappa = low = high = None
    if rows and (chance := float(_chance(counts))) < 1:
        sums = cluster_sums(cells, groups)
        drawn = resampled(sums).reshape(-1, 3, 3)
        observed, expected = np.trace(drawn, axis1=1, axis2=2) / drawn.sum(axis=(1, 2)), _chance(drawn)
        with np.errstate(divide="ignore", invalid="ignore"):
            kappas = (observed - expected) / (1 - expected)
        kappas = kappas[np.isfinite(kappas)]  # a resample in which both say one word throughout has none
        kappa, *floor = [(float(raw[end] or 0) - chance) / (1 - chance) for end in ("value", "low", "high")]
        ends = np.quantile(kappas, tails(len(sums))).tolist() if len(kappas) else floor
        low, high = max(-1.0, min(ends[0], floor[0])), min(1.0, max(ends[1], floor[1]))
    table = [dict(zip(VERDICTS, map(int, row), strict=True)) for row in counts]
    found = {"n": len(rows), "left_out": len(a) - len(rows), "agreement": raw["value"]}
    found |= {f"agreement_{end}": raw[end] for end in ("low", "high")}
    return found | {"kappa": kappa, "low": low, "high": high, "table": dict(zip(VERDICTS, table, strict=True))}


def _chance(tables: np.ndarray) -> np.ndarray:
    """Expected agreement of two independent judges with the marginal frequencies of tables `(..., 3, 3)`."""
    return (tables.sum(axis=-2) * tables.sum(axis=-1)).sum(axis=-1) / tables.sum(axis=(-2, -1)) ** 2


def agreement_of(a: Verdicts, b: Verdicts) -> dict[str, Any]:
    """[`agreement`] of two sets of verdicts on `process` and `response`; `only_a` and `only_b` have no other side."""
    both = sorted(a.keys() & b.keys())
    apis = [api for api, _ in both]
    found: dict[str, Any] = {
        part: agreement([a[place].get(part) for place in both], [b[place].get(part) for place in both], apis)
        for part in ("process", "response")
    }
    return found | {"only_a": len(a) - len(both), "only_b": len(b) - len(both)}


def read_labels(path: str | Path) -> tuple[dict[tuple[str, int], dict[str, str | None]], list[str]]:
    """Human labels of a CSV (`api`, `index`, `process`, perhaps `response`), and a sentence for each rejected row."""
    labels: dict[tuple[str, int], dict[str, str | None]] = {}
    problems = []
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if missing := [name for name in ("api", "index", "process") if name not in (reader.fieldnames or ())]:
                raise InputError(f"no column {missing[0]}", file=path, fix="name it in the first line of the CSV")
            for row in reader:
                try:
                    place, verdicts = _label(row)
                    if place in labels:
                        raise ValueError(f"{place[0]} {place[1]} is labelled a second time; the first label counts")
                    labels[place] = verdicts
                except ValueError as problem:
                    problems.append(f"{path}, line {reader.line_num}: {problem}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        row = len(labels) + len(problems) + 1 if isinstance(error, csv.Error) else None
        raise InputError(f"cannot be read ({error})", file=path, row=row, fix="pass CSV in UTF-8") from None
    if not labels:
        raise InputError("no label can be taken", file=path, fix=problems[0] if problems else "it is empty")
    return labels, problems


def _label(row: Mapping[Any, Any]) -> tuple[tuple[str, int], dict[str, str | None]]:
    """A row's place and verdicts; raises `ValueError` with what is wrong."""
    if None in row:  # what csv keeps of cells beyond the header
        raise ValueError("has more cells than the header; put quotes around a name with a comma")
    api, index, process, response = ((row.get(name) or "").strip() for name in ("api", "index", "process", "response"))
    if not api:
        raise ValueError("has no api; write the API's name as published")
    if not index.isdecimal():
        raise ValueError(f"index {index!r} is not a whole number from 0; write the instruction's place under its API")
    verdicts = {"process": process.capitalize() or None, "response": response.capitalize() or None}
    for part, word in verdicts.items():
        if word not in (*VERDICTS, None):
            raise ValueError(f"{part} {word!r} is no verdict; write Yes, No or Uncertain")
    return (api, int(index)), verdicts
