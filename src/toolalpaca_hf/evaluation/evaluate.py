"""Evaluates rollouts or trajectories into a folder of records, metrics and a report; each stage is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..agent import Backend, RolloutConfig, RolloutsFailedError, run
from ..data import LeftOut, left_out
from ..metrics import parse_verdict
from ..openapi import mapping
from ..storage import disk_errors, read_json, write_json
from .config import EvaluationConfig
from .judge import Judge, agreement_of, read_labels, unjudged
from .linting import flagged, lint
from .report import write_report
from .scores import CALL_METRICS, aggregate, score
from .statistics import Trial, detectable, measure_trials, merge_trials, plan_trials
from .suite import NAMES, Attempt, Suite, read_trajectories, run_note

EVALUATION_FILES = (  # what an evaluation writes into its folder
    *("metrics.json", "instructions.json", "report.html", "report.md", "model_index.json", "verdicts.jsonl"),
    *("trials", "rollouts", "trials/*/rollouts.jsonl", "rollouts/rollouts.jsonl", "rollouts/part-*/rollouts.jsonl"),
)


def evaluate_model(
    suite: Suite,
    backend: Backend | Callable[[], Backend],
    out: str | Path,
    judge: Judge | None = None,
    config: RolloutConfig | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Roll out a suite's instructions and score them, see [`evaluate_trajectories`]; after a kill, it resumes.

    Args:
        backend ([`Backend`] or `Callable[[], Backend]`): The model, or a function that loads it.
        out (`str` or `Path`): The folder to write: the run in `rollouts`, trials after the first in `trials`.
        config ([`RolloutConfig`], *optional*): Tools, prompt and limits; in an [`EvaluationConfig`] trials and labels.
        fields (*optional*): Further arguments of [`agent.run`].

    Raises what [`agent.run`] does; if every rollout failed, they are scored before.

    Example:

    ```python
    >>> from toolalpaca_hf.agent import load_backend
    >>> model = load_backend("outputs/quickstart")  # doctest: +SKIP
    >>> evaluate_model(read_suite("sample"), model, "runs/eval")["n"]  # doctest: +SKIP
    40
    ```
    """
    known = config if isinstance(config, EvaluationConfig) else EvaluationConfig(**vars(config or RolloutConfig()))
    # `prompt` is a name in a config and a Prompt as an argument of run.
    known = replace(known, **{name: fields.pop(name) for name in vars(known) if name in fields and name != "prompt"})
    if suite.answers and all(len(row["answers"]) == 1 for row in suite.answers.values()):
        known = replace(known, max_steps=1)  # BFCL scores the first call
    if known.labels:
        read_labels(known.labels)  # a file that cannot be read is found out before a model works for hours
    plan = plan_trials(known, known.trials, known.vary_user)
    note, failure = run_trials(suite.file, backend, Path(out), known, plan, **fields)
    settings = note["settings"] | {"seconds": note["seconds"], "tokens": note["tokens"]}
    suite, folder = suite.first(known.limit), plan[0].folder(Path(out))
    metrics = evaluate_trajectories(suite, folder, out, judge, known, settings=settings, plan=plan)
    if failure:
        raise failure
    return metrics


def run_trials(
    file: str | Path,
    backend: Backend | Callable[[], Backend],
    out: Path,
    config: RolloutConfig,
    plan: Sequence[Trial],
    **fields: Any,
) -> tuple[dict[str, Any], RolloutsFailedError | None]:
    """Run the trials of a plan, each in its [`Trial.folder`], with one model that keeps the caches of documentation.

    Returns the first trial's `run.json`, and the first error of a trial whose rollouts all failed.
    """
    notes, failure = [], None
    load = cache(backend) if callable(backend) else lambda: backend

    def seeded(seed: int) -> Backend:
        model = load()
        model.reseed(seed)
        return model

    for trial in plan:
        folder, model = trial.folder(out), backend if len(plan) == 1 else partial(seeded, trial.sampling_seed)
        try:
            notes.append(run(file, model, folder, replace(config, **trial.settings()), **fields))
        except RolloutsFailedError as error:
            failure = failure or error
            notes.append(read_json(folder / "run.json"))
    return notes[0], failure


def evaluate_trajectories(
    suite: Suite,
    trajectories: str | Path,
    out: str | Path,
    judge: Judge | None = None,
    config: EvaluationConfig | None = None,
    read: Callable[[Path, Suite], tuple[list[Attempt], list[str]]] = read_trajectories,
    settings: Mapping[str, Any] | None = None,
    plan: Sequence[Trial] = (),
) -> dict[str, Any]:
    """Score existing trajectories.

    Args:
        trajectories (`str` or `Path`): See [`read_trajectories`], or an evaluation's; recorded verdicts are parsed.
        out (`str` or `Path`): The folder to write, see [`EVALUATION_FILES`].
        judge ([`Judge`], *optional*): A model that also judges each attempt, of the first trial `judge_repeats` times.
        config ([`EvaluationConfig`], *optional*): `labels` adds `agreement_with_labels`, how far the judge and the
            rules agree with people; `exclude_flagged` adds `without_flagged`, rates without what [`lint`] flags.
        settings (`Mapping`, *optional*): How they were made, beside what `run.json` says; `model` names the report.
        plan (`Sequence[Trial]`, *optional*): Of several trials, the first of which are the trajectories; see
            [`plan_trials`]. Figures are then means over trials; verdicts, validity and errors are the first trial's.

    Returns the contents of `metrics.json`, see [`aggregate`]. Raises [`InputError`] if nothing can be read,
    [`StorageError`] if the folder cannot be written.
    """
    config, path, folder = config or EvaluationConfig(), Path(trajectories), Path(out)
    # Of an evaluation's folder, what was scored in it.
    path = next((at for at in (path, path / "rollouts") if any((at / name).is_file() for name in NAMES)), path)
    note = run_note(path if path.is_dir() else path.parent) if path.is_dir() or path.name in NAMES else {}
    spent = {name: note[name] for name in ("seconds", "tokens") if name in note}
    settings = mapping(note.get("settings")) | spent | dict(settings or {})
    model = str(settings.get("model") or path.stem)
    labelled, problems = read_labels(config.labels) if config.labels else ({}, [])
    attempts, notes = read(path, suite)
    verdicts = None
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if judge is not None:
            verdicts = judge.judge(attempts, folder)
            notes += filter(None, [unjudged(verdicts)])
        elif any(attempt.text is not None for attempt in attempts):
            verdicts = {}
            for attempt in attempts:
                verdict = parse_verdict(text := attempt.text or "")
                error = (attempt.error or "no verdict could be read") if verdict.malformed else ""
                verdicts[attempt.instruction.id] = {**verdict.whole(), "text": text, "error": error}
        records = score(attempts, verdicts, suite.answers)
        if len(plan) > 1:
            others = [read(trial.folder(folder), suite) for trial in plan[1:]]
            scored = [records, *(score(made, answers=suite.answers) for made, _ in others)]
            records = merge_trials(scored, (*CALL_METRICS, "reward"))
            notes += [note for _, said in others for note in said]
        known = {"instructions": Path(suite.file).name, "instructions_hash": suite.digest, "trajectories": path.name}
        metrics = aggregate(records, suite.name, model, known | settings)
        if judge is not None:
            metrics["judge_settings"] = judge.judge_settings()
        if len(plan) > 1:
            judged = judge.repeat(attempts, folder, verdicts or {}, config.judge_repeats) if judge else []
            metrics["trials"] = measure_trials(records, plan, not settings.get("temperature"), judged)
        if config.exclude_flagged:
            flags = flagged(lint(suite))
            left = [record for record in records if record["id"] not in flags]
            found = aggregate(left, suite.name, model) if left else {"n": 0}
            kept = {key: found[key] for key in ("n", "calls", "process_verdict") if key in found}
            metrics["without_flagged"] = {"flagged": sorted(flags)} | kept
        within = metrics.get("trials", {}).get("within")
        first = metrics["calls"].get("ast", metrics["process_verdict"])
        metrics["detectable"] = detectable(first, within, len(records), max(1, len(plan)))
        if config.labels:
            by_place = {(record["api"], record["index"]): record for record in records}
            rule = {place: {"process": record["process_verdict"]} for place, record in by_place.items()}
            said = {place: record["judge"] for place, record in by_place.items() if "judge" in record}
            judges = {"process_verdict": rule, "judge": said}
            metrics["agreement_with_labels"] = {who: agreement_of(each, labelled) for who, each in judges.items()}
            for api, index in sorted(labelled.keys() - by_place.keys()):
                notes.append(LeftOut(f"{config.labels}, {api} {index}", "is none of the scored instructions"))
        notes = [*suite.notes, *notes, *problems]
        metrics["notes"] = [*filter(None, [left_out(notes)]), *notes]
        write_json(folder / "instructions.json", records)
        write_report(folder, metrics, records, attempts)
        write_json(folder / "metrics.json", metrics)  # last: where it is, the rest is
    return metrics
