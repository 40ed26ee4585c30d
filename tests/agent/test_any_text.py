"""Whatever a model writes: no exception, and a trajectory that training renders to the text the model was shown."""

from collections.abc import Callable, Iterator

import pytest
from agent.scripted import ScriptedBackend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolalpaca_hf.agent import ApiCalls, RolloutLimits, Task, read_tasks, retrieve, roll_out, simulated_calls
from toolalpaca_hf.agent.toolbox import GAP, passages_of
from toolalpaca_hf.formats import parse_turn, react_prompt, trajectory_segments
from toolalpaca_hf.simulator import SESSION_HEADER, running

FAST = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
THOROUGH = settings(FAST, max_examples=10_000)

SOURCE = read_tasks("sample")
NAMES = [function.name for api in SOURCE.apis for function in api.functions]
LABELS = ["Thought:", "Action:", "Action Input:", "Observation:", "Response:", "ASSISTANT Action:", "Final Answer:"]
JSON = [
    '{"',
    '": ',
    "}",
    "[",
    "]",
    "null",
    "1e999",
    "NaN",
    '"\\ud800"',
    "true",
    '{"Question": "x"}',
    '{"query": "x"}',
    "{}",
]
pieces = st.sampled_from(
    [*LABELS, *JSON, *NAMES, "getDetails", "datetime", "retrieval", "\n", " ", "\n\n", "\x00", "\ud800", "\ufffd", "‮"]
)
noise = st.lists(pieces | st.text(st.characters(codec="utf-8"), max_size=8), max_size=14).map("".join)
arguments = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "date", "city", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
).map(repr)
actions = st.builds(
    "{}\nAction: {}\nAction Input: {}{}".format, noise, st.sampled_from(NAMES) | noise, arguments | noise, noise
)
turns = st.lists(noise | actions, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def calls() -> Iterator[dict[str, ApiCalls]]:
    with running(SOURCE.apis) as url:
        made = simulated_calls(SOURCE.apis, url, SESSION_HEADER)
        yield made
        for one in made.values():
            one.close()


def check(calls: dict[str, ApiCalls], task: Task, turns: list[str]) -> None:
    backend = ScriptedBackend(lambda instruction, turn: turns[turn])
    limits = RolloutLimits(steps=len(turns), turn_tokens=40, observation=600)
    (result,) = roll_out([task], backend, calls, limits=limits)
    assert result.ended in ("answered", "steps", "tokens") and not result.error
    segments = trajectory_segments(task.api, result.trajectory, react_prompt())[:-1]
    shown = backend.shown[-1]
    assert "".join(segment.text for segment in segments).startswith(shown)
    assert len(result.trajectory.steps) == len(backend.shown) - (result.trajectory.final_thought is not None)
    for step in result.trajectory.steps:
        assert step.observation and len(step.observation) < 1000


def fuzzed(settings: settings) -> Callable[[dict[str, ApiCalls]], None]:
    def go(calls: dict[str, ApiCalls]) -> None:
        @settings
        @given(st.integers(0, len(SOURCE.tasks) - 1), turns)
        def one(task: int, turns: list[str]) -> None:
            check(calls, SOURCE.tasks[task], turns)

        one()

    return go


def test_any_turns(calls: dict[str, ApiCalls]) -> None:
    fuzzed(FAST)(calls)


@pytest.mark.slow
def test_any_turns_thoroughly(calls: dict[str, ApiCalls]) -> None:
    fuzzed(THOROUGH)(calls)


def parsed(text: str) -> None:
    turn = parse_turn(text)
    assert turn.response is None or turn.action is None
    assert turn.arguments is None or turn.action_input is not None
    assert not turn.well_formed or (turn.action and isinstance(turn.arguments, dict))


@FAST
@given(noise | actions)
def test_the_parser_takes_anything(text: str) -> None:
    parsed(text)


@pytest.mark.slow
@THOROUGH
@given(noise | actions)
def test_the_parser_takes_anything_thoroughly(text: str) -> None:
    parsed(text)


@FAST
@given(st.text(max_size=3000), st.text(max_size=30), st.integers(1, 900))
def test_what_is_retrieved_is_of_the_text_and_short(text: str, query: str, size: int) -> None:
    kept = retrieve(text, query, size)
    assert "".join(passages_of(text, max(size // 2, 1))) == text
    if len(text) <= size:
        assert kept == text
    else:
        parts = kept.removesuffix(GAP.rstrip()).split(GAP)
        assert sum(map(len, parts)) <= size
        place = 0
        for part in parts:
            place = text.find(part, place)
            assert place >= 0
