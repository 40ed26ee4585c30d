"""Calls carried out: once each, many at a time, whatever a tool does."""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.storage import StorageError
from toolalpaca_hf.toolformer import Markers, ResultCache, Tool, ToolCall, ToolResult, execute, tools_named


class Own(Tool):
    """A tool of one's own, that counts its calls."""

    def __init__(self, answer: Callable[[str], object], key: str | None = "Own", name: str = "Own") -> None:
        self.answer, self.key, self.name = answer, key, name
        self.asked: list[str] = []

    def __call__(self, text: str) -> str | None:
        self.asked.append(text)
        return self.answer(text)  # type: ignore[return-value]  # a bad tool, too


def run(answer: Callable[[str], object], *inputs: str, key: str | None = "Own", **options: object) -> list[ToolResult]:
    return execute([ToolCall("Own", one) for one in inputs], {"Own": Own(answer, key)}, **options)  # type: ignore[arg-type]  # options of two kinds


def raising(error: BaseException) -> Callable[[str], object]:
    def answer(text: str) -> object:
        raise error

    return answer


def test_results_come_in_order_and_each_call_is_made_once() -> None:
    own = Own(str.upper)
    inputs = [f"text {i % 7}" for i in range(50)]
    done = execute([ToolCall("Own", one) for one in inputs], {"Own": own})
    assert [one.result for one in done] == [one.upper() for one in inputs]
    assert sorted(own.asked) == sorted(set(inputs))
    # What may change something is done as often as it is asked for.
    own = Own(str.upper, key=None)
    execute([ToolCall("Own", one) for one in inputs], {"Own": own})
    assert sorted(own.asked) == sorted(inputs)
    assert execute([], {}) == []


def test_calls_are_made_at_once() -> None:
    together = threading.Barrier(6, timeout=20)

    def answer(text: str) -> str:
        together.wait()
        return text

    assert [one.result for one in run(answer, *"abcdef", workers=6)] == list("abcdef")


def test_a_tool_that_is_adapted_to_documents_has_its_slots_once() -> None:
    most, one = [], threading.Lock()

    class Adapted(Own):
        at_once = 1

        def for_document(self, meta: Mapping[str, Any]) -> Tool:
            return Adapted(self.answer, f"Own of {meta}")

    def answer(text: str) -> str:
        most.append(one.acquire(blocking=False))
        time.sleep(0.01)
        one.release()
        return text

    calls, metas = [ToolCall("Own", str(n)) for n in range(6)], [{"date": n // 3} for n in range(6)]
    done = execute(calls, {"Own": Adapted(answer)}, metas=metas)
    assert [found.result for found in done] == list("012345") and all(most)


def test_no_more_calls_at_once_than_workers() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def answer(text: str) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return text

    run(answer, *map(str, range(30)), workers=3)
    assert 1 <= most <= 3


def test_a_tool_that_hangs_is_cut_off_and_the_rest_goes_on() -> None:
    over = threading.Event()

    def answer(text: str) -> str:
        if text == "hang":
            over.wait(60)
        return text

    began = time.monotonic()
    done = run(answer, "a", "hang", "b", "c", timeout=0.3, workers=2)
    over.set()
    assert time.monotonic() - began < 20
    assert done[1] == ToolResult(None, "Own did not answer within 0.3 s")
    assert [done[i].result for i in (0, 2, 3)] == ["a", "b", "c"]


def test_a_tool_that_always_hangs_is_not_asked_for_ever() -> None:
    over = threading.Event()
    own = Own(lambda text: over.wait(60) and "late")
    calls = [ToolCall("Own", str(i)) for i in range(200)] + [ToolCall("Calculator", "1 + 1")]
    done = execute(calls, {"Own": own, **tools_named("calculator")}, timeout=0.2, workers=4)
    over.set()
    assert len(own.asked) <= 8 and done[-1].result == "2"
    assert all(one.result is None and one.error for one in done[:-1])
    assert done[100].error == "not made, since 4 calls of Own hang"


def test_calls_that_hang_are_not_joined_by_others_of_the_next_time() -> None:
    over = threading.Event()
    own = Own(lambda text: over.wait(60) and "late")
    before = threading.active_count()
    for _ in range(4):
        done = execute([ToolCall("Own", str(i)) for i in range(20)], {"Own": own}, timeout=0.1)
        assert all(one.error for one in done)
    assert threading.active_count() - before <= 8 and len(own.asked) == 8
    other = Own(str.upper)  # another tool of that name
    assert execute([ToolCall("Own", "a")], {"Own": other}, timeout=5) == [ToolResult("A")]
    over.set()
    own.answer = str.upper
    assert execute([ToolCall("Own", "b")], {"Own": own}, timeout=5) == [ToolResult("B")]


def test_a_tool_that_answers_one_after_another_loses_nothing_to_the_queue() -> None:
    lock = threading.Lock()

    def answer(text: str) -> str:
        with lock:
            time.sleep(0.1)
        return text

    own, inputs = Own(answer), [str(i) for i in range(12)]
    own.at_once = 1
    calls = [ToolCall("Own", one) for one in inputs] + [ToolCall("Calculator", "1 + 1")]
    done = execute(calls, {"Own": own, **tools_named("calculator")}, timeout=0.6)
    assert [one.result for one in done] == [*inputs, "2"]


def test_one_answer_that_comes_late_costs_a_lone_tool_no_other() -> None:
    own = Own(lambda text: time.sleep(0.4 if text == "slow" else 0) or text)
    own.at_once = 1
    done = execute([ToolCall("Own", one) for one in ("slow", "a", "b")], {"Own": own}, timeout=0.3)
    assert done[0].error == "Own did not answer within 0.3 s" and [one.result for one in done[1:]] == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raising(ValueError("no\nsuch page")), "Own failed (ValueError: no such page)"),
        (raising(KeyboardInterrupt()), "Own failed (KeyboardInterrupt)"),
        (raising(SystemExit(3)), "Own failed (SystemExit: 3)"),
        (raising(RecursionError()), "Own failed (RecursionError)"),
        (lambda text: 7, "Own gave int, not text"),
        (lambda text: b"x", "Own gave bytes, not text"),
        (lambda text: None, None),
        (lambda text: " \n\x00 ", None),
    ],
)
def test_no_result(answer: Callable[[str], object], error: str | None) -> None:
    assert run(answer, "x") == [ToolResult(None, error)]


def test_an_address_in_an_error_is_told_without_what_may_be_a_key() -> None:
    said = "for 'http://me:hush@a.example:80/x?key=hush#hush' why? at b@c.example and https://a.example/y?z"
    [one] = run(raising(OSError(said)), "x")
    assert one.error == (
        "Own failed (OSError: for 'http://a.example:80/x why? at b@c.example and https://a.example/y)"
    )


def test_a_tool_that_is_not_there() -> None:
    assert execute([ToolCall("Oracle", "?")], {}) == [ToolResult(None, "there is no tool Oracle")]


def test_megabytes_are_cut() -> None:
    (done,) = run(lambda text: "word " * 2_000_000, "x", longest=100)
    assert done.result is not None and 90 <= len(done.result) <= 100 and set(done.result.split()) == {"word"}
    (done,) = run(lambda text: "x" * 5_000_000, "x", longest=100)
    assert done.result == "x" * 100


@given(st.text(alphabet=st.sampled_from("[]->AB \n\t\x00\u202e\u2066<>PI/é😀\ud800"), max_size=60))
def test_a_result_is_one_line_without_markers(text: str) -> None:
    for markers in (Markers(), Markers("<API>", "</API>", "->")):
        (done,) = run(lambda _: text, "x", markers=markers)
        result = done.result or ""
        assert not any(marker in result for marker in (markers.start, markers.end, markers.arrow))
        assert result == " ".join(result.split()) and "\x00" not in result and not {"\u202e", "\u2066"} & {*result}
        result.encode("utf-8")
        written = markers.with_result(ToolCall("Own", "x"), result) if result else markers.call(ToolCall("Own", "x"))
        (found,) = markers.find(written)
        assert found.call == ToolCall("Own", "x") and (found.result or "") == result


def test_results_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    def answer(text: str) -> str | None:
        if text == "broken":
            raise OSError("away")
        return None if text == "nothing" else f"{text}!"

    calls = [ToolCall("Own", one) for one in ("a", "nothing", "broken", "\ud800")]
    first, second = Own(answer), Own(answer)
    cache = ResultCache(tmp_path / "results.sqlite")
    done = execute(calls, {"Own": first}, cache=cache)
    cache.close()
    cache = ResultCache(tmp_path / "results.sqlite")
    assert execute(calls, {"Own": second}, cache=cache) == done
    assert len(first.asked) == 4 and second.asked == ["broken"]
    other, unkept = Own(answer, key="Own, version 2"), Own(answer, key=None)
    execute(calls, {"Own": other}, cache=cache)
    execute(calls, {"Own": unkept}, cache=cache)
    assert len(other.asked) == len(unkept.asked) == 4


def test_what_was_asked_before_midnight_is_not_kept_for_the_day_after(tmp_path: Path) -> None:
    tool = Own(lambda text: setattr(tool, "key", "day 2") or "Today is day 1.", "day 1")
    cache = ResultCache(tmp_path / "results.sqlite")
    (done,) = execute([ToolCall("Own", "")], {"Own": tool}, cache=cache)
    assert done.result == "Today is day 1." and cache.get(tool, "") is None


def test_a_cache_is_shared_by_threads_and_survives_a_crash(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "results.sqlite")
    own = Own(str.upper)
    threads = [
        threading.Thread(target=lambda i=i: [cache.put(own, f"{i} {j}", str(j)) for j in range(50)]) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # As it is found by the next process: nothing was closed.
    with sqlite3.connect(tmp_path / "results.sqlite") as db:
        assert db.execute("SELECT count(*) FROM results").fetchone() == (200,)


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.sqlite").write_bytes(b"no database at all" * 100)
    for path in (tmp_path / "damaged.sqlite", tmp_path / "absent" / "results.sqlite"):
        with pytest.raises(StorageError) as error:
            ResultCache(path)
        assert error.value.file == path
