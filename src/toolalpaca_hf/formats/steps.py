"""A step's text as the published data records it: the model's own words, with its labels, in one string."""

import re
from collections import deque

from ..schema import Step

ACTION_LABEL = re.compile(r"\n(?:ASSISTANT )?Action:")
INPUT_LABEL = re.compile(r"\n(?:ASSISTANT )?Action Input:")


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def relabel(log: str, prefix: str) -> str:
    """Give the last `Action Input:` and the last `Action:` of a model's text the label prefix `prefix`.

    Args:
        log (`str`): The model's text for one step, labels with or without `ASSISTANT `.
        prefix (`str`): `"ASSISTANT "`, as the published prompt has it, or `""`.

    Returns:
        `str`: The text with both labels rewritten; text without labels is returned unchanged.

    Example:

    ```python
    >>> relabel("I look it up.\\nAction: find\\nAction Input: {}", "ASSISTANT ")
    'I look it up.\\nASSISTANT Action: find\\nASSISTANT Action Input: {}'
    ```
    """
    match = _last(INPUT_LABEL, log)
    if match:
        log = f"{log[: match.start()]}\n{prefix}Action Input:{log[match.end() :]}"
    match = _last(ACTION_LABEL, log)
    if match:
        log = f"{log[: match.start()]}\n{prefix}Action:{log[match.end() :]}"
    return log


def step_log(step: Step, prefix: str = "ASSISTANT ") -> str:
    """The model's text for one step: thought, action and action input under their labels.

    Args:
        step (`Step`): The step.
        prefix (`str`, *optional*, defaults to `"ASSISTANT "`): What stands before the labels.

    Returns:
        `str`: Rebuilt from the step's fields, or its recorded `log` with the labels rewritten.

    Example:

    ```python
    >>> step_log(Step("I look it up.", "find", "{}", "ok"), prefix="")
    'I look it up.\\nAction: find\\nAction Input: {}'
    ```
    """
    if step.log is not None:
        return relabel(step.log, prefix)
    return f"{step.thought}\n{prefix}Action: {step.action}\n{prefix}Action Input: {step.action_input}"


def split_log(action: str, action_input: str, text: str) -> tuple[str, str | None]:
    """Split a published step's third text into its thought and, where that loses something, the text itself.

    Args:
        action, action_input (`str`): The step's first and second text.
        text (`str`): Its third text, which begins with one character (a space) that belongs to the prompt.

    Returns:
        `tuple[str, str | None]`: The thought, and `None` where [`step_log`] rebuilds the text from thought, action and
        action input; else the text itself without its first character, to be kept as `Step.log`.

    Example:

    ```python
    >>> split_log("find", "{}", " I look it up.\\nAction: find\\nAction Input: {}")
    ('I look it up.', None)
    ```
    """
    log = text[1:]
    match = _last(ACTION_LABEL, log)
    thought = log[: match.start()] if match else log
    rebuilt = step_log(Step(thought, action, action_input, ""))
    return thought, None if rebuilt == relabel(log, "ASSISTANT ") else log
