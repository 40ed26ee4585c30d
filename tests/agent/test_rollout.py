"""A rollout against the simulator: what becomes of each kind of turn, and how it ends."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from agent.scripted import Reply, ScriptedBackend

from toolalpaca_hf.agent import (
    ApiCalls,
    ChatContext,
    Completion,
    Context,
    ReactContext,
    Result,
    RolloutLimits,
    ScriptedUser,
    Task,
    read_tasks,
    roll_out,
    simulated_calls,
)
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.formats import Prompt, Turn, react_prompt, trajectory_segments
from toolalpaca_hf.llm import ContextFull
from toolalpaca_hf.schema import Api
from toolalpaca_hf.simulator import SESSION_HEADER, running

CALL = " I look.\nAction: {}\nAction Input: {}"
ANSWER = " I know it.\nResponse: It is so."


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return read_tasks("sample").tasks


@pytest.fixture(scope="module")
def calls() -> Iterator[dict[str, ApiCalls]]:
    apis = read_tasks("sample").apis
    with running(apis) as url:
        made = simulated_calls(apis, url, SESSION_HEADER)
        yield made
        for one in made.values():
            one.close()


@pytest.fixture
def rolled(tasks: list[Task], calls: dict[str, ApiCalls]) -> Callable[..., Result]:
    def roll(*turns: Reply, **options: object) -> Result:
        backend = ScriptedBackend(lambda instruction, turn: turns[min(turn, len(turns) - 1)])
        (result,) = roll_out(tasks[:1], backend, calls, **options)
        assert backend.forgotten == 1
        # Whatever was written, the context is what training makes of the trajectory, to the last character.
        api, trajectory = tasks[0].api, result.trajectory
        texts = [segment.text for segment in trajectory_segments(api, trajectory, react_prompt())[:-1]]
        assert backend.shown[-1] == "".join(texts[: 2 * sum(map(bool, backend.shown)) - 1])
        return result

    return roll


def function_of(task: Task) -> str:
    return task.api.functions[0].name


def test_calls_and_an_answer(rolled: Callable[..., Result], tasks: list[Task]) -> None:
    function = function_of(tasks[0])
    result = rolled(CALL.format(function, "{}"), ANSWER)
    (step,) = result.trajectory.steps
    assert (step.thought, step.action, step.action_input, step.log) == ("I look.", function, "{}", None)
    assert step.observation.startswith(("Status Code: ", "Missing required "))
    assert (result.ended, result.trajectory.final_thought, result.trajectory.response) == (
        "answered",
        "I know it.",
        "It is so.",
    )
    assert result.tokens == len(CALL.format(function, "{}").split()) + len(ANSWER.split())
    assert result.trajectory.id == tasks[0].id and result.trajectory.api == tasks[0].api.id


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        ("", "Nothing was written"),
        (" \n \t ", "Nothing was written"),
        (" I do not know what to do", "neither an Action nor a Response"),
        (" x\nAction:\nAction Input: {}", "neither an Action nor a Response"),
        (CALL.format("noSuchTool", "{}"), "There is no tool 'noSuchTool'"),
        (CALL.format("FUNCTION", "{'a': 1}"), "not valid JSON"),
        (CALL.format("FUNCTION", "[1, 2]"), "is a list"),
        (CALL.format("FUNCTION", '{"a": 1}, {"a": 2}'), "several objects"),
        (CALL.format("FUNCTION", ""), "is empty"),
        (" I look.\nAction: FUNCTION", "is empty"),
        (CALL.format("FUNCTION", "7"), "not a JSON object"),
        (CALL.format("FUNCTION", "[" * 5000), "not valid JSON"),
        (CALL.format("getDetails", "{}"), "The question is missing"),
        (CALL.format("retrieval", '{"query": "x"}'), "nothing to search"),
        ("ASSISTANT Thought: x\nASSISTANT Action: noSuchTool\nASSISTANT Action Input: {}", "There is no tool"),
        (" one\ntwo\nAction: a\nAction: noSuchTool\nAction Input: {}", "There is no tool 'a'"),
    ],
)
def test_what_can_not_be_done_is_an_observation(
    rolled: Callable[..., Result], tasks: list[Task], turn: str, told: str
) -> None:
    result = rolled(turn.replace("FUNCTION", function_of(tasks[0])), ANSWER)
    assert told in result.trajectory.steps[0].observation
    assert result.ended == "answered" and len(result.trajectory.steps) == 1


def test_a_close_name_is_suggested(rolled: Callable[..., Result], tasks: list[Task]) -> None:
    function = function_of(tasks[0])
    result = rolled(CALL.format(function.lower() + "s", "{}"), ANSWER)
    assert f"Did you mean {function}?" in result.trajectory.steps[0].observation


def test_get_details_asks_the_user(rolled: Callable[..., Result]) -> None:
    user = ScriptedUser("Brest.")
    result = rolled(CALL.format("getDetails", '{"Question": "Which port?"}'), ANSWER, user=user)
    assert result.trajectory.steps[0].observation == "Brest."


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ('{"limit": 5, "Frage": "Which port?"}', "Which port?"),
        ('{"text": "Brest", "Question": 2024}', "2024"),
        ('{"limit": 5}', "5"),
        ("Which port?", "Which port?"),
    ],
)
def test_a_question_under_another_name_is_asked(rolled: Callable[..., Result], given: str, asked: str) -> None:
    class Echo(ScriptedUser):
        def answer(self, instruction: str, question: str, details: str = "") -> str:
            return question

    result = rolled(CALL.format("getDetails", given), ANSWER, user=Echo())
    assert result.trajectory.steps[0].observation == asked


def test_the_clock_is_a_tool(rolled: Callable[..., Result]) -> None:
    result = rolled(CALL.format("datetime", "{}"), ANSWER)
    assert "day, 20" in result.trajectory.steps[0].observation


@pytest.mark.parametrize(
    ("turns", "limits", "ended", "steps"),
    [
        ([CALL.format("noSuchTool", "{}")], RolloutLimits(steps=3), "steps", 3),
        ([CALL.format("noSuchTool", "{}")], RolloutLimits(steps=99, tokens=20), "tokens", 3),
        ([CALL.format("noSuchTool", "{}")], RolloutLimits(seconds=0.0), "time", 1),
        ([" word" * 10_000], RolloutLimits(steps=2, turn_tokens=50), "steps", 2),
        ([" x\nResponse:" + " word" * 10_000], RolloutLimits(turn_tokens=50), "tokens", 0),
        ([" It is so."], RolloutLimits(unread=2), "unread", 2),
        ([" It is so."], RolloutLimits(unread=1), "unread", 1),
        ([" So.", CALL.format("noSuchTool", "{}"), " So.", ANSWER], RolloutLimits(unread=2), "answered", 3),
        ([" x\nResponse: So." + "\nThought: word" * 10_000], RolloutLimits(turn_tokens=50), "answered", 0),
        ([ContextFull("no room")], RolloutLimits(), "tokens", 0),
        ([ToolAlpacaError("the server is gone")], RolloutLimits(), "failed", 0),
    ],
)
def test_what_ends_it_is_recorded(
    rolled: Callable[..., Result], turns: list[Reply], limits: RolloutLimits, ended: str, steps: int
) -> None:
    result = rolled(*turns, limits=limits)
    assert result.ended == ended and len(result.trajectory.steps) == steps
    assert result.error == (str(turns[0]) if isinstance(turns[0], Exception) else "")


def test_a_turn_that_was_cut_is_told_so(rolled: Callable[..., Result]) -> None:
    result = rolled(" word" * 10_000, ANSWER, limits=RolloutLimits(turn_tokens=20))
    assert "cut off" in result.trajectory.steps[0].observation and result.ended == "answered"


def test_a_response_is_cut_where_the_model_began_anew(rolled: Callable[..., Result]) -> None:
    result = rolled(f"{ANSWER}\nThought: And now?\nAction: f\nAction Input: {{}}")
    assert (result.trajectory.response, result.ended, result.ran_on) == ("It is so.", "answered", True)
    assert not rolled(ANSWER).ran_on


def test_who_acts_keeps_nobody_waiting(
    tasks: list[Task], calls: dict[str, ApiCalls], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, release = tasks[0], threading.Event()
    one, original = calls[slow.api.id], calls[slow.api.id].call

    def call(action: str, action_input: str, session: str = "") -> str:
        if "wait" in action_input:
            assert release.wait(60)
        return original(action, action_input, session)

    monkeypatch.setattr(one, "call", call)

    def reply(instruction: str, turn: int) -> Reply:
        if turn:
            return ANSWER
        name = slow.api.functions[0].name
        return CALL.format(name, '{"wait": 1}' if instruction == slow.instruction else "{}")

    ids = []
    for result in roll_out(tasks[:8], ScriptedBackend(reply, width=2), calls):
        ids.append(result.trajectory.id)
        if len(ids) == 7:  # all others, one after another in the other place
            release.set()
    assert ids[-1] == slow.id and len(set(ids)) == 8


def test_who_stops_listening_leaves_nothing_behind(tasks: list[Task], calls: dict[str, ApiCalls]) -> None:
    backend = ScriptedBackend(lambda instruction, turn: ANSWER if turn else CALL.format("noSuchTool", "{}"), width=3)
    results = roll_out(tasks[:9], backend, calls)
    next(results)
    results.close()
    assert 3 <= backend.forgotten <= 4


@pytest.mark.parametrize("continuous", [True, False])
def test_one_that_fails_costs_itself_only(
    tasks: list[Task], calls: dict[str, ApiCalls], continuous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, broken = tasks[2], tasks[5]
    one = calls[broken.api.id]
    original = one.call

    def call(action: str, action_input: str, session: str = "") -> str:
        if "break" in action_input:
            raise RuntimeError("a bug")
        return original(action, action_input, session)

    monkeypatch.setattr(one, "call", call)

    def reply(instruction: str, turn: int) -> Reply:
        if turn:
            return ANSWER
        if instruction == bad.instruction:
            return ToolAlpacaError("the server is gone")
        name = broken.api.functions[0].name
        return CALL.format(name, '{"break": 1}' if instruction == broken.instruction else "{}")

    backend = ScriptedBackend(reply, continuous=continuous, width=3)
    results = {result.trajectory.id: result for result in roll_out(tasks[:10], backend, calls)}
    assert {task.id for task in tasks[:10]} == set(results)
    assert results[bad.id].error == "the server is gone" and results[broken.id].error == "RuntimeError: a bug"
    assert [result.ended for result in results.values()].count("failed") == 2
    assert [result.ended for result in results.values()].count("answered") == 8
    assert backend.forgotten == 10 and max(backend.batches) == (3 if continuous else 1)


@pytest.mark.parametrize("where", ["start", "head"])
def test_a_turn_that_cannot_begin_costs_itself_only(
    tasks: list[Task], calls: dict[str, ApiCalls], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    bad, begun = tasks[1].instruction, ReactContext.begin
    backend = ScriptedBackend(lambda instruction, turn: ANSWER)
    start = backend.start

    def refuse(context: ReactContext, *limits: int | None) -> None:
        if f"USER: {bad}\n" in context.text:
            raise TypeError("no text")
        start(context, *limits)  # type: ignore[arg-type]  # the two that it was called with

    def begin(prompt: Prompt, api: Api, instruction: str) -> ReactContext:
        if instruction == bad:
            raise RecursionError("too deep")
        return begun(prompt, api, instruction)

    monkeypatch.setattr(*((backend, "start", refuse) if where == "start" else (ReactContext, "begin", begin)))
    results = {result.trajectory.id: result for result in roll_out(tasks[:3], backend, calls)}
    assert [results[task.id].ended for task in tasks[:3]] == ["answered", "failed", "answered"]
    assert results[tasks[1].id].error.startswith("TypeError: " if where == "start" else "RecursionError: ")


class Chatty(ScriptedBackend):
    """Answers every chat at once."""

    def _one(self, context: Context, max_new_tokens: int) -> Completion:
        assert isinstance(context, ChatContext) and context.messages[0]["role"] == "user"
        return Completion("Done.", Turn("", response="Done."), 1)


@pytest.mark.parametrize("continuous", [True, False])
def test_a_document_that_can_not_be_shown_costs_its_own_rollouts_only(
    tasks: list[Task], calls: dict[str, ApiCalls], continuous: bool
) -> None:
    deep: dict = {}
    for _ in range(100):
        deep = {"x": deep}
    bad = replace(tasks[1], api=replace(tasks[1].api, documentation=deep))
    backend = Chatty(lambda instruction, turn: "", continuous=continuous, style="chat")
    results = {result.trajectory.id: result for result in roll_out([tasks[0], bad, tasks[2]], backend, calls)}
    assert [results[task.id].ended for task in (tasks[0], bad, tasks[2])] == ["answered", "failed", "answered"]
    assert "nested" in results[bad.id].error
    (alone,) = roll_out([bad], Chatty(lambda instruction, turn: "", continuous=continuous, style="chat"), calls)
    assert alone.ended == "failed"
