"""Verdicts without a judge: each rule by hand in both directions, and what holds for any steps."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolalpaca_hf.metrics import ProcessVerdict, judge_process, process_reward
from toolalpaca_hf.schema import Api, Call, Function, Instruction, Step

API = Api("t/tides", "Tides", functions=[Function(n, "", "", "") for n in ("findPort", "getTide", "getMoon")])
OK = "Status Code: 200. Response: {}"
LOST = "Status Code: 404. Response: {}"


def written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def step(action: str, arguments: Any = "{}", observation: str = OK) -> Step:
    return Step("", action, written(arguments), observation)


def judged(text: str, golden: list[tuple[str, Any]], *steps: Step) -> ProcessVerdict:
    calls = [Call(action, written(arguments)) for action, arguments in golden]
    return judge_process(API, Instruction("t/tides/0", "t/tides", text, calls), steps)


ASKED = "High tide in Nantes?"
NANTES = [("getTide", {"port": "Nantes"})]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([step("getTide", {"port": "Nantes"})], ""),
        ([step("get_tide", {"port": " nantes"})], ""),  # punctuation of names, case of values
        ([], "getTide was never called"),
        (
            [step("getTide", {"port": "Brest"})],
            'getTide was called with port "Brest" where the golden call has "Nantes"',
        ),
        ([step("getTide")], 'getTide was called without port, which is "Nantes" in the golden call'),
        ([step("getTide", "Nantes")], 'getTide was called without port, which is "Nantes" in the golden call'),
        # Retries: after a wrong call, after an error.
        ([step("getTide", {"port": "Brest"}), step("getTide", {"port": "Nantes"})], ""),
        ([step("getTide", {"port": "Nantes", "unit": 1}, LOST), step("getTide", {"port": "Nantes"})], ""),
        ([step("getTide", {"port": "Nantes", "unit": 1}, LOST)], "getTide was never answered with a status 2xx"),
        ([step("getTide", {"port": "Nantes", "unit": 1})], ""),
        # The golden call itself can do no better.
        ([step("getTide", {"port": "Nantes"}, LOST)], ""),
        ([step("getTide", {"port": "Nantes", "unit": 1}, "The output is too long. Read the file.")], ""),
        # Built-in tools, unrelated functions, invented ones.
        ([step("getDetails", {"Question": "Which?"}, "Nantes"), step("getTide", {"port": "Nantes"})], ""),
        ([step("getTide", {"port": "Nantes"}), step("retrieval", {"query": "tide"}, "At noon")], ""),
        ([step("getTide", {"port": "Nantes"}), step("getMoon")], "getMoon was called, which no golden call asks for"),
        ([step("getTide", {"port": "Nantes"}), step("sail")], "sail was called, which is no function of the API"),
    ],
)
def test_one_golden_call(steps: list[Step], reason: str) -> None:
    assert judged(ASKED, NANTES, *steps) == ProcessVerdict("No" if reason else "Yes", reason)


def test_an_argument_that_the_instruction_leaves_open_may_differ_or_be_absent() -> None:
    golden = [("getTide", {"port": "Nantes", "limit": 10})]
    for made in ({"port": "Nantes"}, {"port": "Nantes", "limit": 3}):
        assert judged(ASKED, golden, step("getTide", made)).verdict == "Yes"
        assert judged("The next 10 high tides in Nantes?", golden, step("getTide", made)).verdict == "No"
        assert judged("", golden, step("getTide", made)).verdict == "No"  # nothing is known to be open


def test_a_code_is_determined_though_the_instruction_has_the_name() -> None:
    golden = [("getTide", {"country": "FR"})]
    assert judged("Tides in France?", golden, step("getTide", {"country": "fr"})).verdict == "Yes"
    assert judged("Tides in France?", golden, step("getTide", {"country": "ES"})).verdict == "No"


def test_a_redacted_or_open_value_matches_anything() -> None:
    golden = [("getTide", '{"key": "***", "date": ${date}, "port": "Nantes"}')]
    made = {"key": "abc", "date": "2024-01-01", "port": "***"}
    assert judged(ASKED, golden, step("getTide", made)).verdict == "Yes"


def test_golden_arguments_that_cannot_be_read_leave_the_call_and_its_answer() -> None:
    golden = [("getTide", '{"port": "port": "Nantes"}')]
    assert judged(ASKED, golden, step("getTide", {"port": "Brest"})).verdict == "Yes"
    assert judged(ASKED, golden, step("getTide", {"port": "Brest"}, LOST)).verdict == "No"


def test_each_golden_call_needs_a_call_of_its_own() -> None:
    golden = [("getTide", {"port": "Nantes"}), ("getTide", {"port": "Brest"})]
    both = "High tide in Nantes and in Brest?"
    nantes, brest = (step("getTide", {"port": port}) for port in ("Nantes", "Brest"))
    assert judged(both, golden, brest, nantes).verdict == "Yes"
    assert judged(both, golden, nantes, nantes).verdict == "No"
    assert judged(both, golden, step("getTide", {"port": "Nantes, Brest"})).verdict == "No"
    twice = judged(ASKED, NANTES * 2, nantes)
    assert twice.reason == "getTide was called fewer times than the golden calls have it"
    assert judged(ASKED, NANTES * 2, nantes, nantes).verdict == "Yes"


def test_calls_are_assigned_so_that_each_golden_call_gets_one() -> None:
    """The first fits both golden calls, the second one of them; taking them in order would leave one over."""
    golden = [("getTide", {"port": "***"}), ("getTide", {"port": "Nantes"})]
    nantes, brest = (step("getTide", {"port": port}) for port in ("Nantes", "Brest"))
    assert judged(ASKED, golden, nantes, brest).verdict == "Yes"
    assert judged(ASKED, golden, brest, brest).verdict == "No"


def test_what_tells_golden_calls_apart_is_determined() -> None:
    golden = [("getTide", {"kind": kind, "page": 1}) for kind in ("spring", "neap")]
    made = [step("getTide", {"kind": kind}) for kind in ("spring", "neap", "ebb")]
    assert judged("All tides?", golden, *made[:2]).verdict == "Yes"
    assert judged("All tides?", golden, made[0], made[2]).verdict == "No"
    assert judged("All tides?", golden[:1], made[2]).verdict == "Yes"


def test_an_optional_golden_call_may_be_there_or_not() -> None:
    golden = [*NANTES, ("[Optional]getMoon", "{}")]
    tide = step("getTide", {"port": "Nantes"})
    assert judged(ASKED, golden, tide).verdict == judged(ASKED, golden, tide, step("getMoon")).verdict == "Yes"
    assert judged(ASKED, [*golden[:1], ("getMoon", "{}")], tide).verdict == "No"


def test_a_golden_question_to_the_user_is_asked_in_any_words() -> None:
    golden = [("getDetails", {"Question": "Can you tell me the port?"}), *NANTES]
    tide = step("getTide", {"port": "Nantes"})
    assert judged("High tide?", golden, step("getDetails", {"Question": "Where?"}, "In Nantes"), tide).verdict == "Yes"
    assert judged("High tide?", golden, tide).reason == "getDetails was never called"


def test_a_reward_is_whole_with_a_question_to_the_user_or_an_optional_call() -> None:
    asked = Instruction(
        "t/0", "t", "When is high tide?", [Call("getDetails", "{}"), Call("[Optional] findPort", "{}")]
    )
    steps = [step("getDetails", '{"Question": "Where?"}', "In Nantes."), step("findPort")]
    for golden, made in (([], steps[:1]), ([], steps), ([Call("getTide", "{}")], [*steps, step("getTide")])):
        row = replace(asked, golden_calls=[*asked.golden_calls, *golden])
        parts = process_reward(Api("t", "T"), row, made, "At noon.").parts
        assert (parts["process"], parts["calls"], parts["answer"]) == (1.0, 1.0, 1.0)
    twice = process_reward(Api("t", "T"), asked, [*steps, step("findPort")], "At noon.")
    assert twice.parts["calls"] == 0.0


def test_what_comes_from_an_answer_has_to_be_in_one() -> None:
    golden = [("findPort", {"name": "Nantes"}), ("getTide", '{"portId": ${portId from findPort}}')]
    find = step("findPort", {"name": "Nantes"}, 'Status Code: 200. Response: {"id": 77}')
    assert judged(ASKED, golden, find, step("getTide", {"portId": 77})).verdict == "Yes"
    assert judged(ASKED, golden, find, step("getTide", {"portId": 7})).reason == (
        "getTide was called with portId 7, which findPort had not answered"
    )
    assert judged(ASKED, golden, step("getTide", {"portId": 77}), find).verdict == "No"
    assert judged("Port 77?", [golden[1]], step("getTide", {"portId": 12})).verdict == "Yes"  # no such golden call


def test_what_a_call_of_the_same_turn_answers_was_not_known() -> None:
    golden = [("findPort", {"name": "Nantes"}), ("getTide", '{"portId": ${portId from findPort}}')]
    find = step("findPort", {"name": "Nantes"}, 'Status Code: 200. Response: {"id": 77}')
    tide = step("getTide", {"portId": 77})
    assert judged(ASKED, golden, find, replace(tide, parallel=True)).verdict == "No"
    assert judged(ASKED, golden, find, replace(find, parallel=True), tide).verdict == "Yes"


def test_a_value_under_a_name_that_is_nearly_the_same() -> None:
    golden = [("getTide", {"portName": "Nantes"})]
    assert judged(ASKED, golden, step("getTide", {"name": "nantes"})).verdict == "Yes"
    assert judged(ASKED, golden, step("getTide", {"name": "Brest"})).verdict == "No"
    assert judged(ASKED, golden, step("getTide", {"town": "Nantes"})).verdict == "No"
    two = [("getTide", {"portName": "Nantes", "name": "Nantes"})]
    assert judged(ASKED, two, step("getTide", {"name": "Nantes"})).verdict == "No"  # it is the other's already


def test_the_nearest_call_gives_the_reason() -> None:
    golden = [("getTide", {"port": "Nantes", "day": "Monday"})]
    far, near = {"port": "Brest", "day": "Friday"}, {"port": "Nantes", "day": "Friday"}
    verdict = judged("High tide in Nantes on Monday?", golden, step("getTide", far), step("getTide", near))
    assert verdict.reason == 'getTide was called with day "Friday" where the golden call has "Monday"'


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["***", "Nantes", "", "²", "٣"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["port", "a", ""]), inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(st.sampled_from(["port", "name", "a", "b"]), values, max_size=4)
inputs = (
    st.text()
    | arguments.map(json.dumps)
    | st.just('{"a":' * 5000)
    | st.just('{"port": ' + "[" * 900 + "]" * 900 + "}")
)
names = st.text() | st.sampled_from(["getTide", "getDetails", "findPort", "[Optional]getTide", "hallucination"])
calls = st.builds(Call, names, inputs | st.just('{"port": ${port from findPort}}'))
steps = st.builds(Step, st.just(""), names, inputs, st.text() | st.just(OK))


@settings(max_examples=100, deadline=None)
@given(st.text(), st.lists(calls, max_size=4), st.lists(steps, max_size=4))
def test_it_never_raises_and_says_why_not(text: str, golden: list[Call], made: list[Step]) -> None:
    verdict = judge_process(API, Instruction("", "", text, golden), made)
    assert verdict.verdict in ("Yes", "No") and bool(verdict.reason) == (verdict.verdict == "No")


@settings(max_examples=100, deadline=None)
@given(st.text(), arguments, arguments, st.randoms())
def test_the_order_of_arguments_does_not_matter(text: str, golden: dict, made: dict, random: Any) -> None:
    def shuffled(one: dict) -> dict:
        return dict(random.sample(list(one.items()), len(one)))

    verdict = judged(text, [("getTide", golden)], step("getTide", made)).verdict
    assert judged(text, [("getTide", shuffled(golden))], step("getTide", shuffled(made))).verdict == verdict


@settings(max_examples=100, deadline=None)
@given(st.text(), st.lists(st.tuples(st.sampled_from(["getTide", "getMoon", "sail"]), arguments), max_size=4))
def test_golden_calls_played_back_are_right(text: str, golden: list[tuple[str, dict]]) -> None:
    assert judged(text, golden, *(step(action, made) for action, made in golden)).verdict == "Yes"


def test_a_thousand_take_less_than_two_seconds() -> None:
    golden = [(f"getTide{i}", {"port": "Nantes", "text": "the distance of the moon"}) for i in range(4)]
    made = [step(action, {"port": "Nantes", "text": "distance of moon"}, OK + "x" * 2000) for action, _ in golden]
    start = time.process_time()
    verdicts = {judged(f"{ASKED} The distance of the moon? {i}", golden, *made).verdict for i in range(1000)}
    assert verdicts == {"Yes"} and time.process_time() - start < 2
