"""The base class of tools, text in and text out; and calls, executed concurrently and each distinct one once."""

import re
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any

from ...errors import InputError
from ...openapi import redact_url
from ...storage import SqliteCache
from ..markers import Markers, ToolCall

PROMPTS = files("toolalpaca_hf.toolformer") / "prompts"
SLOT = "{text}"


class Tool(ABC):
    """A tool of section 3 of arXiv 2302.04761. Calls may come from several threads at once.

    To add a tool, define `name`, `__call__` and, for annotation, `prompt`, and pass `{tool.name: tool}`.

    Attributes:
        name (`str`): The name in calls: letters, digits, `_`, `.` and `-`.
        prompt (`str` or `Path`): Demonstrations, see [`prompt_for`]: a name in `toolformer/prompts`, or a path.
        key (`str`, *optional*): Cache key, together with the input. `None` if results must not be cached.
        slots (`Mapping[str, str]`): Further replacements in the prompt: `{"{name}": "getFact"}`.
        at_once (`int`): Maximum concurrent calls; 1 for a model that answers sequentially.

    Example:

    ```python
    >>> class Shout(Tool):
    ...     name = key = "Shout"
    ...
    ...     def __call__(self, text: str) -> str | None:
    ...         return text.upper() or None
    >>> Shout()("hello")
    'HELLO'
    ```
    """

    name: str
    prompt: str | Path = ""
    key: str | None = None
    slots: Mapping[str, str] = MappingProxyType({})
    at_once: int = 8

    @abstractmethod
    def __call__(self, text: str) -> str | None:
        """Answer a call's input, or return `None` for no result. Exceptions are recorded and count as no result."""

    def check(self) -> None:  # noqa: B027 (most tools have nothing to find out)
        """Raise a [`ToolAlpacaError`] early if no call can work, because a server or a file is missing."""

    def for_document(self, meta: Mapping[str, Any]) -> "Tool":
        """The tool adapted to a document, whose `date` a calendar uses."""
        return self


def prompt_for(tool: Tool, markers: Markers | None = None) -> str:
    """The demonstrations that make a model propose calls of a tool (section 2, sampling API calls).

    They hold `{text}` once, in place of the document; a tool without such a prompt is an [`InputError`].
    """
    if not tool.prompt:
        raise InputError(f"the tool {tool.name} has no prompt", fix="set its attribute `prompt` to a file")
    own = isinstance(tool.prompt, Path) or "/" in tool.prompt
    try:
        text = (Path(tool.prompt) if own else PROMPTS / str(tool.prompt)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the prompt of {tool.name} cannot be read ({error})", file=tool.prompt) from None
    if text.count(SLOT) != 1:
        raise InputError(f"the prompt of {tool.name} has to have the slot {SLOT} once", file=tool.prompt)
    head, tail = text.removesuffix("\n").split(SLOT)
    for slot, value in tool.slots.items():
        # A description may contain anything, even the placeholder.
        value = " ".join(value.replace(SLOT, "").split())
        head, tail = head.replace(slot, value), tail.replace(slot, value)
    text = head + SLOT + tail
    if markers and markers != Markers():
        for found in reversed(list(Markers().find(text))):
            text = text[: found.start] + markers.call(found.call) + text[found.end :]
    return text


LONGEST_RESULT = 400  # characters: a passage of [`WikiSearch`] fits

_POLL = 0.05
_ADDRESS = re.compile(r"\w+://\S+")
_KEPT_CHARACTERS = 20_000
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")


@dataclass(frozen=True)
class ToolResult:
    """The result of a call, one line without markers, or `None`; `error` says what went wrong."""

    result: str | None
    error: str | None = None


class ResultCache(SqliteCache):
    """Caches results by [`Tool.key`] and input in an SQLite file, for threads and processes; with `shared_disk`, of
    several machines."""

    def __init__(self, path: str | Path, shared_disk: bool = False) -> None:
        table = "CREATE TABLE IF NOT EXISTS results (tool TEXT, input TEXT, result TEXT, PRIMARY KEY (tool, input))"
        super().__init__(path, table, "SELECT tool, input, result FROM results", shared_disk=shared_disk)

    def get(self, tool: Tool, text: str) -> tuple[str | None] | None:
        """The cached result in a tuple, possibly `(None,)`; `None` if the call is not cached."""
        query = "SELECT result FROM results WHERE tool = ? AND input = ?"
        return next(iter(self.fetch(query, tool.key, _utf8(text))), None) if tool.key is not None else None

    def put(self, tool: Tool, text: str, result: str | None) -> None:
        if tool.key is not None:
            kept = None if result is None else _utf8(result[:_KEPT_CHARACTERS])
            self.insert("results", (tool.key, _utf8(text), kept), replace=True)


@dataclass(eq=False)
class _Job:
    input: str
    tool: Tool
    base: Tool  # before it was adapted to a document: whose slots are taken
    key: str | None
    places: list[int] = field(default_factory=list)
    deadline: float = 0.0


_Answer = tuple[_Job, str | None, str | None]  # a job, and its result or error


def execute(
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool],
    timeout: float = 30.0,
    workers: int = 8,
    cache: ResultCache | None = None,
    markers: Markers | None = None,
    longest: int = LONGEST_RESULT,
    metas: Sequence[Mapping[str, Any]] | None = None,
) -> list[ToolResult]:
    """Execute calls (section 2, executing API calls); equal ones once, except for tools without a [`Tool.key`].

    A tool that hangs is abandoned in its thread, since Python cannot stop it. Such calls occupy the tool's slots until
    they end, also in later calls of this function; once they have occupied all for another `timeout`, the tool's other
    calls fail.

    Args:
        timeout (`float`, *optional*, defaults to 30.0): Seconds per call, from its start.
        workers (`int`, *optional*, defaults to 8): Concurrent calls, at most [`Tool.at_once`] of one tool.
        cache ([`ResultCache`], *optional*): Cache of results; failures are not cached.
        markers ([`Markers`], *optional*): Markers that results must not contain.
        longest (`int`, *optional*, defaults to 400): Maximum characters of a result; longer ones are cut.
        metas (`Sequence[Mapping]`, *optional*): The metadata of each call's document, for [`Tool.for_document`].

    Example:

    ```python
    >>> from toolalpaca_hf.toolformer.tools import tools_named
    >>> execute([ToolCall("Calculator", "2 + 2"), ToolCall("Oracle", "?")], tools_named("calculator"))
    [ToolResult(result='4', error=None), ToolResult(result=None, error='there is no tool Oracle')]
    ```
    """
    markers = markers or Markers()
    done: list[ToolResult | None] = [None] * len(calls)
    jobs: dict[object, _Job] = {}
    for i, call in enumerate(calls):
        base = tools.get(call.tool)
        if base is None:
            done[i] = ToolResult(None, f"there is no tool {call.tool[:80]}")
            continue
        tool = base.for_document(metas[i]) if metas else base
        known = tool.key
        if cache is not None and (kept := cache.get(tool, call.input)) is not None:
            done[i] = _harmless(kept[0], markers, longest)
        else:
            key = i if known is None else (call.tool, known, call.input)
            jobs.setdefault(key, _Job(call.input, tool, base, known)).places.append(i)
    for job, answer, error in _run(jobs.values(), timeout, workers):
        result = ToolResult(None, error) if error else _harmless(answer, markers, longest)
        if cache is not None and result.error is None and job.key == job.tool.key:  # no midnight came between
            cache.put(job.tool, job.input, answer)
        for i in job.places:
            done[i] = result
    return [result or ToolResult(None, "not executed") for result in done]


def _run(jobs: Iterable[_Job], timeout: float, workers: int) -> Iterator[_Answer]:
    answers = SimpleQueue[_Answer]()
    running: dict[_Job, threading.Thread] = {}
    waiting: dict[int, deque[_Job]] = {}
    for job in jobs:
        waiting.setdefault(id(job.base), deque()).append(job)
    while waiting or running:
        for key, queue in list(waiting.items()):
            tool = queue[0].base
            places, hanging = max(1, min(workers, tool.at_once)), _hanging_since(tool)
            if len(hanging) >= places and time.monotonic() - max(hanging) >= timeout:
                yield from ((job, None, f"not made, since {len(hanging)} calls of {tool.name} hang") for job in queue)
                del waiting[key]
                continue
            free = min(workers - len(running), places - len(hanging) - sum(job.base is tool for job in running))
            for job in [queue.popleft() for _ in range(min(free, len(queue)))]:
                job.deadline = time.monotonic() + timeout
                running[job] = threading.Thread(target=_call, args=(job, answers), daemon=True)
                running[job].start()
            if not queue:
                del waiting[key]
        # A call that hangs from an earlier run does not report its end, hence the polling.
        until = [job.deadline - time.monotonic() for job in running] + ([_POLL] if waiting else [])
        try:
            job, answer, error = answers.get(timeout=max(min(until, default=0.0), 0.0))
        except Empty:
            for job in [job for job in running if job.deadline <= time.monotonic()]:
                with _HANGING_LOCK:
                    _HANGING.append((job.base, running.pop(job), time.monotonic()))
                yield job, None, f"{job.tool.name} did not answer within {timeout:g} s"
            continue
        if running.pop(job, None):  # an answer that comes after its time does not count
            yield job, answer, error


# The threads of abandoned calls, with the time of abandonment.
_HANGING: list[tuple[Tool, threading.Thread, float]] = []
_HANGING_LOCK = threading.Lock()


def _hanging_since(tool: Tool) -> list[float]:
    with _HANGING_LOCK:
        _HANGING[:] = [entry for entry in _HANGING if entry[1].is_alive()]
        return [begun for hanging, _, begun in _HANGING if hanging is tool]


def _call(job: _Job, answers: SimpleQueue[_Answer]) -> None:
    answer, error = None, None
    try:
        answer = job.tool(job.input)
        if not isinstance(answer, str | None):
            answer, error = None, f"{job.tool.name} gave {type(answer).__name__}, not text"
    # Even SystemExit: a tool is arbitrary code, and without an answer the call would wait for its timeout.
    except BaseException as raised:
        reason = _ADDRESS.sub(lambda match: redact_url(match[0]), " ".join(str(raised)[:20_000].split()))[:200]
        error = f"{job.tool.name} failed ({type(raised).__name__}{f': {reason}' if reason else ''})"
    answers.put((job, answer, error))


def _harmless(answer: str | None, markers: Markers, longest: int) -> ToolResult:
    """A result that is safe to insert into a text: one line, of limited length, without markers."""
    text = markers.without(_UNSEEN.sub(" ", _utf8((answer or "")[: 20 * longest])))
    text = " ".join(text.split())
    if len(text) > longest:
        text = text[:longest].rpartition(" ")[0] or text[:longest]
    return ToolResult(text or None)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no UTF-8
