"""Converts a corpus to the rows of each config."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..errors import ToolAlpacaError
from ..formats import GET_DETAILS, Prompt, api_for_row, to_messages, trajectory_segments
from ..schema import FEATURES, SPLITS, Trajectory
from .corpus import Corpus
from .report import Report

MAX_STEPS = 5
"""Upstream trains on instances of at most this many steps."""


def _not_selected(trajectory: Trajectory) -> str:
    """Why upstream does not train on a trajectory; `""` if it does."""
    if not trajectory.steps:
        return "upstream's selection: has no steps"
    if len(trajectory.steps) > MAX_STEPS:
        return f"upstream's selection: has {len(trajectory.steps)} steps, more than {MAX_STEPS}"
    if {step.action for step in trajectory.steps} == {GET_DETAILS}:
        return f"upstream's selection: calls only {GET_DETAILS}"
    return ""


def config_splits(corpus: Corpus, config: str) -> list[str]:
    """The splits for which a corpus has sources, in the order of [`SPLITS`]."""
    available = set(corpus.apis)
    if config == "sft" and corpus.sources.processed:
        available.add("train")
    return [split for split in SPLITS[config] if split in available]


def config_rows(
    corpus: Corpus,
    config: str,
    split: str,
    prompt: Prompt,
    selection: bool = False,
    report: Report | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split as laid out in [`FEATURES`]; JSON columns are JSON text.

    Args:
        prompt ([`Prompt`]): Layout of the `sft` rows.
        selection (`bool`, *optional*, defaults to `False`): Apply upstream's selection to `sft` and `chat`.
        report ([`Report`], *optional*): Receives the counts of `sft` and `chat`.
    """
    if config == "apis":
        for api in corpus.apis[split]:
            row = asdict(api)
            yield row | {key: _json(row[key]) for key in ("documentation", "functions")}
    elif config in ("trajectories", "instructions"):
        yield from (asdict(row) for row in getattr(corpus, config)[split])
    else:
        yield from _examples(corpus, config, prompt, selection, report if report is not None else Report())


def _examples(
    corpus: Corpus, config: str, prompt: Prompt, selection: bool, report: Report
) -> Iterator[dict[str, Any]]:
    apis = {api.id: api for api in corpus.apis.get("train", ())}
    for trajectory in corpus.trajectories.get("train", ()):
        reason = _not_selected(trajectory) if selection else ""
        reason = reason or ("" if trajectory.response else "has no response to train on")
        row: dict[str, Any] = {"id": trajectory.id, "api": trajectory.api}
        api = api_for_row(apis[trajectory.api], trajectory)
        if not reason and config == "sft":
            row["segments"] = [asdict(segment) for segment in trajectory_segments(api, trajectory, prompt)]
        elif not reason:
            try:
                row |= {"environment": trajectory.api, **_chat_columns(**to_messages(api, trajectory))}
            except ToolAlpacaError as error:
                reason = str(error)
        if reason:
            report.set_aside(config, "trajectories", trajectory.id, reason)
        else:
            report.keep(config, "trajectories")
            yield row
    if config == "sft":
        for row in corpus.processed:
            report.keep(config, "processed")
            yield row


def _chat_columns(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    absent = dict.fromkeys(FEATURES["chat"]["messages"].feature)
    for message in messages:
        if "tool_calls" in message:
            message["tool_calls"] = [*map(_json, message["tool_calls"])]
    return {"messages": [absent | message for message in messages], "tools": [*map(_json, tools)]}


def _json(value: Any) -> str:
    """JSON text for a `datasets.Json` column, which would otherwise write floats with fewer digits."""
    return json.dumps(value, ensure_ascii=False)
