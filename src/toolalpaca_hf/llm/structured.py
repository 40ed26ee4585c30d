"""Requests JSON by a schema, and parses what models write: fenced, in prose, truncated, continued."""

import json
import re
from typing import Any

# A question whose answer does not follow the schema unless it has to: some servers accept one and ignore it.
PROBE = [{"role": "user", "content": "Wish me a good morning in one short sentence."}]
_MARK = {"mark": {"type": "string", "enum": ["zq-71c"]}}
PROBE_ANSWER = '{"mark":"zq-71c"}'  # without white space
PROBE_SCHEMA = {"type": "object", "properties": _MARK, "required": ["mark"], "additionalProperties": False}

_OPENING = re.compile(r"\{|\[(?=\s*[\[{\"\d\]-])")  # a bracket around words is prose
_FENCE = re.compile(r"^[^\S\n]*```[\w-]*[ \t]*$", re.MULTILINE)
_MAX_OVERLAP = 2000
# Below it, an overlap is as likely to be chance (`"}` then `"}`) as repetition.
_SURE_OVERLAP = 12


def without_thinking(content: str) -> str:
    """Strip the thinking that a server left in a message; where there is none, not even a space is taken away."""
    return content.rpartition("</think>")[2].partition("<think>")[0].strip() if "think>" in content else content


def unfence(text: str) -> str:
    r"""The content of a Markdown code fence, closed or truncated; a text without one is unchanged.

    Example:

    ```python
    >>> unfence('Here you are:\n```json\n{"a": 1}\n```\nAnything else?')
    '{"a": 1}'
    ```
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be sent or written
    marks = list(_FENCE.finditer(text))
    if not marks:
        return text.strip("\n")
    start, end = marks[0].end(), marks[1].start() if len(marks) > 1 else len(text)
    if len(marks) == 1 and not text[start:].strip():  # a continuation may close the fence that its beginning opened
        start, end = 0, marks[0].start()
    return text[start:end].strip("\n")


def parse_json(text: str) -> Any:
    """The first JSON object or array in a model's text.

    Raises:
        `ValueError`: None is complete; the message tells the model what is wrong.

    Example:

    ```python
    >>> parse_json('Sure: {"a": [1, 2]} as you asked.')
    {'a': [1, 2]}
    ```
    """
    text = unfence(text)
    start = _OPENING.search(text)
    if start is None:
        raise ValueError("There is no JSON in the answer.")
    try:
        return _writable(json.JSONDecoder().raw_decode(text, start.start())[0])
    except RecursionError:
        raise ValueError("The JSON is nested too deep.") from None
    except json.JSONDecodeError as error:
        around = text[max(error.pos - 30, 0) : error.pos + 20]
        reason = f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}, near {around!r}"
        raise ValueError(f"The JSON is not valid: {reason}.") from None


def parse_items(text: str, key: str) -> list[Any]:
    """The items of a list under a key, or of a bare list; of truncated or malformed text, the complete ones.

    Example:

    ```python
    >>> parse_items('{"tides": [{"high": 3}, {"high": 4}, {"hi', "tides")
    [{'high': 3}, {'high': 4}]
    ```
    """
    try:
        found = parse_json(text)
    except ValueError:
        return _whole_objects(unfence(text))
    if isinstance(found, dict):
        found = found.get(key, [found] if key not in found else [])
    if isinstance(found, dict):  # items by name, or one
        by_name = all(isinstance(item, dict) for item in found.values())
        found = [{"name": name} | item for name, item in found.items()] if by_name else [found]
    return found if isinstance(found, list) else []


def _whole_objects(text: str) -> list[Any]:
    """The complete objects that are not inside another complete one."""
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    left = 30 * len(text) + 100_000  # characters to read in vain: `{"a":` again and again is read to its end each time
    while at >= 0 and left > 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:  # a plain ValueError: a number of thousands of digits
            end = getattr(error, "pos", at + 10_000)
            left -= end - at + end // 50  # the error counts the lines before it
            at = text.find("{", at + 1)
            continue
        found.append(_writable(value))
        at = text.find("{", end)
    return found


def _writable(value: Any) -> Any:
    """A value without the lone surrogates that escapes spell."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def join_continuation(head: str, tail: str) -> str:
    """Join a truncated text (without fences) and its continuation.

    What the continuation repeats of the end is removed; one that starts over replaces the beginning.

    Example:

    ```python
    >>> join_continuation('{"tide": "high", "ti', '"high", "time": 3}')
    '{"tide": "high", "time": 3}'
    ```
    """
    tail = unfence(tail)
    if len(head) > 60 and _beginning(head) == _beginning(tail):
        return tail
    longest = min(len(head), len(tail), _MAX_OVERLAP)
    overlaps = [size for size in range(longest, 0, -1) if head.endswith(tail[:size])]
    sure = [size for size in overlaps if size >= _SURE_OVERLAP]
    candidates = [*sure[:1], 0, *[size for size in overlaps if size < _SURE_OVERLAP]]
    return next((whole for size in candidates if _goes_on(whole := head + tail[size:])), head + tail[candidates[0] :])


def _beginning(text: str) -> str:
    """The start of a text, normalized for comparison."""
    return "".join(text[:200].split())[:40]


def _goes_on(text: str) -> bool:
    """Whether a text is JSON, or the start of some."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # What is wrong with a mere beginning is wrong at its very end; a number, a word or an escape may be cut there.
        return error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - 5
    except RecursionError:
        return False
    return True
