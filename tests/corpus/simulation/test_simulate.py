"""Instructions are played through by three roles; what each is shown, and what comes of answers of every kind."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from corpus.roles_double import Said, ScriptedAsk, answer, huts

from toolalpaca_hf.agent import RolloutLimits
from toolalpaca_hf.corpus.config import SimulationSettings
from toolalpaca_hf.corpus.instructions import WrittenInstruction
from toolalpaca_hf.corpus.simulation.filters import FILTERS
from toolalpaca_hf.corpus.simulation.simulate import SimulatedInstance, simulate
from toolalpaca_hf.llm import BudgetExceeded, LLMError, UsageTracker

ASKED = "We walk near Alvdal on 2025-07-04. Which hut is there, and how many beds has it left that night?"


def written(instruction: str = ASKED, details: str = "") -> WrittenInstruction:
    return WrittenInstruction(instruction, details, "short", "curious")


def act(name: str, thought: str = "I look it up.", **arguments: Any) -> str:
    return json.dumps({"thought": thought, "action": name, "action_input": arguments})


def end(response: str) -> str:
    return json.dumps({"thought": "I have it.", "response": response})


FOUND = json.dumps({"status": 200, "body": [{"hutId": 12, "name": "Eagle Hut"}]})
FREE = json.dumps({"status": 200, "body": {"hutId": 12, "free": 7}})
TURNS = [
    act("findHuts", near="Alvdal"),
    act("getFreeBeds", hutId=12, night="2025-07-04"),
    end("Eagle Hut near Alvdal has 7 beds left."),
]
ANSWERS = [FOUND, FREE]


def script(turns: list[Said], answers: list[Said] | None = None, user: Said = "Alvdal.") -> ScriptedAsk:
    """Each role says its lines in order."""
    lines = {"assistant": iter(turns), "executor": iter(ANSWERS if answers is None else answers), "user": iter([user])}
    return ScriptedAsk(lambda role, messages, attempt: next(lines[role]))


def played(ask: ScriptedAsk, asked: WrittenInstruction | None = None, **settings: Any) -> SimulatedInstance:
    counted = UsageTracker(ask, (LLMError,))
    done = simulate(huts(), asked or written(), counted, SimulationSettings(**settings), 3)
    if counted.stopped:
        raise counted.stopped
    done.provenance["asked"] = counted.usage
    return done


def test_three_roles_make_an_instance_that_passes_every_gate() -> None:
    ask = script(list(TURNS))
    done = played(ask)
    assert ask.roles() == ["assistant", "executor", "assistant", "executor", "assistant"]
    trajectory = done.trajectory
    assert (trajectory.id, trajectory.api, trajectory.instruction) == ("train/huts/3", "train/huts", ASKED)
    assert [(step.action, json.loads(step.action_input)) for step in trajectory.steps] == [
        ("findHuts", {"near": "Alvdal"}),
        ("getFreeBeds", {"hutId": 12, "night": "2025-07-04"}),
    ]
    assert trajectory.steps[1].observation == 'Status Code: 200. Response: {"hutId":12,"free":7}'
    assert trajectory.response == "Eagle Hut near Alvdal has 7 beds left."
    assert done.gates == dict.fromkeys(FILTERS) and done.kept


def test_provenance_says_who_did_what_at_which_cost() -> None:
    note = played(script(list(TURNS))).provenance
    for role, calls in {"assistant": 3, "executor": 2}.items():
        counts = {"calls": calls, "prompt_tokens": 100 * calls, "completion_tokens": 10 * calls}
        assert note["asked"][role] == {"model": "scripted", "retries": 0, "enforced": 0} | counts
    assert set(note["asked"]) == {"assistant", "executor"} and note["stood_in"] == [] and note["ended"] == "answered"
    assert set(note["prompts"]) == {"assistant", "user", "executor"} and len(set(note["prompts"].values())) == 3
    assert note["instruction"] == {"style": "short", "mood": "curious"} and note["api"]["id"] == "train/huts"
    json.dumps(note)


def test_the_assistant_sees_tools_and_observations_and_no_more() -> None:
    ask = script(list(TURNS))
    played(ask, written(details="The night is 2025-07-09, SECRET."))
    shown = [messages for role, messages, _ in ask.asked if role == "assistant"]
    assert "SECRET" not in json.dumps(shown)
    system, user = shown[0]
    assert '"findHuts"' in system["content"] and '"getDetails"' in system["content"] and user["content"] == ASKED
    assert shown[1][2]["content"] == TURNS[0]
    assert shown[1][3]["content"] == 'Observation: Status Code: 200. Response: [{"hutId":12,"name":"Eagle Hut"}]'


def test_turns_and_answers_are_asked_for_by_schema() -> None:
    from jsonschema import Draft202012Validator

    ask = script(list(TURNS))
    played(ask)
    schemas = {role: options["schema"] for role, _, options in ask.asked}
    turn = Draft202012Validator(schemas["assistant"])
    assert all(turn.is_valid(json.loads(text)) for text in TURNS)
    assert not turn.is_valid(json.loads(act("findTrains"))) and not turn.is_valid({"thought": "?"})
    reply = Draft202012Validator(schemas["executor"])  # of the last call
    assert reply.is_valid(json.loads(FREE)) and reply.is_valid({"status": 404, "body": {"error": "No such hut."}})
    assert not reply.is_valid({"status": 200, "body": {"free": -1}})


def test_the_user_answers_from_the_hidden_details() -> None:
    turns = [act("getDetails", Question="Which night?"), *TURNS]
    ask = script(turns, user="On 2025-07-04, please.")
    done = played(ask, written("A hut near Alvdal, and its free beds?", details="The night is 2025-07-04."))
    question = next(messages for role, messages, _ in ask.asked if role == "user")[0]["content"]
    assert "The night is 2025-07-04." in question and "Which night?" in question
    assert done.trajectory.steps[0].observation == "On 2025-07-04, please."
    assert done.kept and done.trajectory.hint == "The night is 2025-07-04.", done.gates


def test_without_the_details_the_night_is_not_grounded() -> None:
    done = played(script(list(TURNS)), written("A hut near Alvdal, and its free beds?"))
    assert done.gates["grounded"] == (
        'getFreeBeds was called with night "2025-07-04", which neither the user nor an observation had said'
    )
    assert not done.kept and [name for name, reason in done.gates.items() if reason] == ["grounded"]


def test_errors_and_their_recovery_are_kept() -> None:
    refused = json.dumps({"status": 404, "body": {"error": "There is no place called Alvdahl."}})
    turns = [act("findHuts", near="Alvdahl"), *TURNS]
    done = played(script(turns, [refused, *ANSWERS]), written(ASKED + " Some write it Alvdahl."))
    assert done.trajectory.steps[0].observation.startswith("Status Code: 404.") and done.kept, done.gates


def test_a_call_that_does_not_fit_is_refused_before_a_model_plays_the_api() -> None:
    ask = script([act("findHuts"), *TURNS])
    done = played(ask)
    assert "near" in done.trajectory.steps[0].observation and ask.roles().count("executor") == 2


def test_an_answer_that_is_not_valid_is_asked_for_again() -> None:
    ask = script(list(TURNS), [FOUND, json.dumps({"status": 200, "body": {"free": -1}}), FREE])
    done = played(ask)
    assert done.kept and done.trajectory.steps[1].observation.endswith('{"hutId":12,"free":7}')
    assert done.provenance["asked"]["executor"]["calls"] == 3 and done.provenance["stood_in"] == []


@pytest.mark.parametrize("bad", ["I am a language model.", '{"status": 200, "body": {"free": -1}}', "", "[" * 5000])
def test_the_schema_responder_stands_in_where_the_executor_fails(bad: str) -> None:
    ask = ScriptedAsk(
        lambda role, messages, attempt: bad if role == "executor" else act("getFreeBeds", hutId=12, night="2025-07-04")
    )
    done = played(ask, written("Beds in hut 12 on 2025-07-04?"), limits=RolloutLimits(steps=1))
    (step,) = done.trajectory.steps
    assert json.loads(step.observation.partition("Response: ")[2])["free"] >= 0
    assert len(done.provenance["stood_in"]) == 1 and done.gates["finished"] is not None


def test_an_executor_by_schema_asks_no_model() -> None:
    ask = script([TURNS[0], end("There are some huts.")], [])
    done = played(ask, executor="schema")
    assert set(ask.roles()) == {"assistant"} and done.trajectory.steps[0].observation.startswith("Status Code: 200.")
    assert done.provenance["executor"] == "schema" and "executor" not in done.provenance["prompts"]


def test_a_turn_that_can_not_be_read_is_asked_for_once_more() -> None:
    ask = script(["???", *TURNS])
    done = played(ask)
    assert done.kept and done.provenance["asked"]["assistant"]["retries"] == 1


def test_a_model_that_never_writes_a_turn_ends_the_rollout() -> None:
    done = played(ScriptedAsk(lambda role, messages, attempt: "???"))
    assert done.provenance["ended"] == "unread" and done.trajectory.response == ""
    assert done.gates["finished"] and done.gates["well_formed"] == "turn 1 holds neither an action nor a response"


def test_an_answer_that_is_cut_off_is_no_response() -> None:
    cut = answer('{"thought": "I have it.", "response": "Eagle Hut near', "length")
    done = played(script([TURNS[0], cut, TURNS[1], TURNS[2]]))
    assert done.kept and done.provenance["asked"]["assistant"]["retries"] == 1


@pytest.mark.parametrize("said", [LLMError("the endpoint is away"), answer("", "refusal")])
def test_a_model_that_can_not_be_asked_costs_its_instance_alone(said: Said) -> None:
    done = played(ScriptedAsk(lambda role, messages, attempt: said))
    assert not done.kept and done.provenance["ended"] == "failed" and done.provenance["error"]
    assert done.gates["finished"] == "it ended because a model could not be asked, without a response"


@pytest.mark.parametrize("role", ["assistant", "executor", "user"])
def test_a_spent_budget_leaves_the_instance_unfinished(role: str) -> None:
    def say(asked: str, messages: list[dict[str, str]], attempt: int) -> Said:
        if asked == role:
            return BudgetExceeded("5.00 are spent")
        if asked == "assistant":
            return act("getDetails", Question="Where?") if role == "user" else TURNS[0]
        return FOUND

    with pytest.raises(BudgetExceeded, match="are spent"):
        played(ScriptedAsk(say))


def test_what_one_instance_makes_no_other_sees() -> None:
    """Sessions are an instance's own, whichever thread plays it."""

    def run(number: int) -> SimulatedInstance:
        place = f"Town{number}"
        lines = iter([act("findHuts", near=place), end("I found what there is.")])
        ask = ScriptedAsk(lambda role, messages, attempt: next(lines))
        return simulate(huts(), written(f"Huts near {place}?"), ask, SimulationSettings(executor="schema"), number)

    alone = [run(number) for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(run, range(12)))
    assert [one.trajectory for one in together] == [one.trajectory for one in alone]


def test_a_second_call_finds_the_first_ones_state() -> None:
    seen: list[list[dict[str, str]]] = []

    def say(role: str, messages: list[dict[str, str]], attempt: int) -> Said:
        if role == "executor":
            seen.append(messages)
            return ANSWERS[len(seen) - 1]
        return TURNS[len(seen)]

    played(ScriptedAsk(say))
    assert [message["content"] for message in seen[1][1:]] == [
        "GET /huts?near=Alvdal",
        '{"status": 200, "body": [{"hutId":12,"name":"Eagle Hut"}]}',
        "GET /huts/12/beds?night=2025-07-04",
    ]


@pytest.mark.parametrize(
    ("text", "action", "response"),
    [
        ('```json\n{"thought": "t", "action": "findHuts", "action_input": {}}\n```', "findHuts", None),
        ('{"action": "findHuts", "action_input": "{\\"near\\": \\"Oslo\\"}"}', "findHuts", None),
        ('{"thought": "t", "response": "Hello."}', None, "Hello."),
        ("Thought: t\nAction: findHuts\nAction Input: {}", "findHuts", None),
        ('{"thought": "t", "response": ""}', None, None),
        ('{"thought": "t", "action": "", "response": "Hi."}', None, "Hi."),
        ('{"thought": "t", "action": "None", "response": "Hi."}', None, "Hi."),
        ('{"thought": "t", "action": "none", "action_input": {}}', "none", None),
        ('{"thought": "t", "action": "findHuts", "action_input": {}, "response": "Hi."}', "findHuts", None),
        ('{"thought": "t", "action": 7}', None, None),
        ("[1, 2]", None, None),
        ("[]", None, None),
        ('[{"action": "findHuts", "action_input": {}}, {"response": "There are two."}]', "findHuts", None),
    ],
)
def test_turns_are_read_in_either_form(text: str, action: str | None, response: str | None) -> None:
    from toolalpaca_hf.corpus.simulation.simulate import read_turn

    turn = read_turn(text)
    assert (turn.action, turn.response) == (action, response)
