"""The simulator's state after each call: of a recorded run by making its calls again, and in the playground."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolalpaca_hf.agent import Completion, run
from toolalpaca_hf.environments import calls_in_process
from toolalpaca_hf.explore import Playground, RunView, WatchedCalls, trajectory_page
from toolalpaca_hf.formats import parse_turn
from toolalpaca_hf.openapi import load_api
from toolalpaca_hf.schema import Step
from toolalpaca_hf.simulator import Simulator

DOCUMENT = Path(__file__).parents[2] / "examples" / "petstore.yaml"
BOOKING = {"petId": "PT-118", "date": "2026-05-12"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The example's document, with a way to rename a pet: its pets are a closed collection, its visits are not."""
    content = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    pet = {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}
    renamed = {"200": {"description": "The pet.", "content": pet}}
    content["paths"]["/pets/{petId}"]["patch"] = {
        "operationId": "renamePet",
        "summary": "Rename a pet.",
        "requestBody": {"content": pet},
        "responses": renamed,
    }
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(content, default=str))
    return file


def test_a_state_says_what_exists_and_what_a_call_changed(shop: Path) -> None:
    simulator = Simulator([load_api(str(shop))])
    calls = WatchedCalls(calls_in_process(simulator)[0], simulator)

    def state(action: str, session: str = "a", **arguments: Any) -> list[str]:
        calls.call(action, json.dumps(arguments), session)
        return calls.state.splitlines()

    (before,) = state("getPet", petId="PT-118")
    pets = before.removeprefix("pet: ").split(", ")
    assert len(pets) == 8 and "PT-118" in pets
    changed, after = state("renamePet", petId="PT-118", name="Rex")
    assert changed == 'changed pet PT-118: {"name": "Rex"}' and after == before
    assert state("renamePet", petId="PT-118", name="Rex") == [before]  # as it was
    new, more = state("addPet", name="Biscuit", species="dog", price=40)
    item = new.removeprefix("new pet ").partition(":")[0]
    assert json.loads(new.partition(": ")[2])["name"] == "Biscuit" and more == f"{before}, {item}"
    removed, left = state("removePet", petId="PT-118")
    assert removed == "removed pet PT-118" and "PT-118" not in left and item in left
    assert state("removePet", petId="PT-118") == [left]  # refused: there is none
    booked, pets_left, visits = state("bookVisit", **BOOKING | {"petId": pets[1]})
    visit = booked.removeprefix("new visit ").partition(":")[0]
    assert json.loads(booked.partition(": ")[2])["date"] == "2026-05-12" and pets_left == left
    assert visits == f"visit: {visit}, and any other that is asked for"
    assert state("getPet", "another session", petId="PT-118") == [before]


class Scripted:
    """Writes fixed turns, for each rollout anew."""

    name, style, continuous, width, tool_hints = "scripted", "react", False, 1, 0

    def __init__(self, turns: Sequence[str]) -> None:
        self._turns, self._left = turns, iter(turns)

    def check(self) -> None:
        self._left = iter(self._turns)

    def generate(self, contexts: Sequence[Any], max_new_tokens: int, tell: Any = None) -> list[Completion]:
        text = next(self._left)
        for end in (8, len(text)) if tell else ():
            tell(text[:end])
            time.sleep(0.2)  # as long as somebody needs to look
        return [Completion(text, parse_turn(text), len(text.split()))]

    def forget(self, context: Any) -> None:
        self._left = self._left

    def describe(self) -> dict[str, Any]:
        return {"backend": "scripted"}


TURNS = [
    ' I rename it.\nAction: renamePet\nAction Input: {"petId": "PT-118", "name": "Rex"}',
    ' Which day?\nAction: getDetails\nAction Input: {"Question": "Which day?"}',
    f" Now the visit.\nAction: bookVisit\nAction Input: {json.dumps(BOOKING)}",
    " It is done.\nASSISTANT Response: Booked.",
]


@pytest.fixture
def recorded(shop: Path, tmp_path: Path) -> Path:
    """A run's folder, as `toolalpaca run` writes it."""
    backend: Any = Scripted(TURNS)
    run(shop, backend, tmp_path / "run", instructions=["Rename PT-118 and book a visit."], seed=3, progress=False)
    return tmp_path / "run"


def test_a_recorded_run_shows_the_state_after_each_call(recorded: Path) -> None:
    view = RunView(recorded)
    (name,) = view.records
    trajectory = view.trajectory(name)
    assert trajectory is not None and view.replay is not None and len(trajectory.steps) == 3
    first, asked, booked = view.replay.states(trajectory)
    assert first.startswith('changed pet PT-118: {"name": "Rex"}') and asked == "" and "new visit " in booked
    page = trajectory_page(view, name)
    assert page.count(">state</span>") == 2 and "changed pet PT-118" in page


def test_no_state_is_claimed_that_is_not_known(recorded: Path) -> None:
    trajectory = RunView(recorded).trajectory(next(iter(RunView(recorded).records)))
    assert trajectory is not None
    note = json.loads((recorded / "run.json").read_text())

    def states(**settings: Any) -> list[str]:
        (recorded / "run.json").write_text(json.dumps(note | {"settings": note["settings"] | settings}))
        replay = RunView(recorded).replay
        assert replay is not None
        return replay.states(trajectory)

    assert len(states()) == 3
    # Another server's state, or one that failed on purpose; and of another seed the first answer differs already.
    assert states(responder="llm") == states(faults={"rate": 0.5}) == states(seed=4) == []
    trajectory.steps[2] = Step("", "bookVisit", json.dumps(BOOKING), "Status Code: 200. Response: {}")
    assert len(states()) == 2


def test_the_playground_shows_thoughts_as_they_are_written_and_the_state_after_a_call(shop: Path) -> None:
    backend: Any = Scripted(TURNS)
    shown: Iterator[tuple[str | None, str]] = Playground(lambda: backend, [load_api(str(shop))]).ask(
        "Corner Pet Shop", "Rename PT-118."
    )
    pages, writings = zip(*shown, strict=True)
    whole = [page for page in pages if page is not None]
    assert any("I rename" in text for text in writings) and writings[-1] == ""
    assert "changed pet PT-118" in whole[1] and "I rename it." in whole[1] and "Booked." not in whole[1]
    assert whole[-1].count(">state</span>") == 2 and "Booked." in whole[-1]
    assert whole[-1].index("changed pet PT-118") < whole[-1].index("getDetails") < whole[-1].index("new visit")


def test_what_goes_wrong_is_said_on_the_page(shop: Path) -> None:
    backend: Any = Scripted([])  # StopIteration becomes the rollout's failure
    *_, (page, _) = Playground(lambda: backend, [load_api(str(shop))]).ask("Corner Pet Shop", "Rename PT-118.")
    assert page is not None and "failed" in page
