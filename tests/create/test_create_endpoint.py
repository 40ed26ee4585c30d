"""A corpus that a model behind an endpoint writes for a document, against a server that refuses what real ones do."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpus.role_server import KEY, ChatServer

from toolalpaca_hf.create import CreateConfig, check_documents, plan
from toolalpaca_hf.create.pipeline import _corpus
from toolalpaca_hf.data import read_file
from toolalpaca_hf.errors import OptionError

DOCUMENT = Path(__file__).parents[2] / "examples" / "petstore.yaml"
CALLS = {
    "Which parrots could I take home this week?": ("findPets", {"species": "parrot"}),
    "When does the shop open on Friday?": ("getOpeningHours", {"weekday": "Friday"}),
    "Show me age and temper of PT-731, please.": ("getPet", {"petId": "PT-731"}),
    "Has PT-204 had its injections?": ("listVaccinations", {"petId": "PT-204"}),
    "My neighbour changed her mind, so VS-118 will not happen; call that appointment off for us.": (
        "cancelVisit",
        {"visitId": "VS-118"},
    ),
    "The bowl at home is empty again and guests arrive soon. What is there to eat for a goldfish?": (
        "searchFood",
        {"species": "goldfish"},
    ),
    "Somebody else bought PT-950 at the fair yesterday, which is why it has to leave your list.": (
        "removePet",
        {"petId": "PT-950"},
    ),
    "We drive into town with the children on 2026-05-12 and long to meet PT-377 then, so book that.": (
        "bookVisit",
        {"petId": "PT-377", "date": "2026-05-12"},
    ),
}
SHORT, STORIES = list(CALLS)[:4], list(CALLS)[4:]


def play(body: dict[str, Any]) -> str:
    """A user who knows eight wishes, and an assistant who makes one call for each."""
    first, last = body["messages"][0], body["messages"][-1]["content"]
    if "good morning" in first["content"]:
        return "Good morning to you!"
    if first["role"] != "system":
        texts = STORIES if "little stories" in last else SHORT
        return json.dumps({"instructions": [{"number": n, "instruction": t} for n, t in enumerate(texts, 1)]})
    if "Status Code: 404" in last:  # the simulator's shop has pets of its own
        return json.dumps({"thought": "There is none.", "response": "Sorry, I cannot find that."})
    if last.startswith("Observation:"):
        return json.dumps({"thought": "That is all.", "response": "It is done."})
    name, arguments = CALLS[body["messages"][1]["content"]]
    return json.dumps({"thought": f"{name} does that.", "action": name, "action_input": arguments})


def test_a_model_writes_what_is_trained_on_and_is_asked_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)
    said: list[str] = []
    with ChatServer(play) as server:
        where = {"endpoint": f"{server.url}/v1", "model": "gpt-9"}
        config = CreateConfig((str(DOCUMENT),), str(tmp_path), per_api=8, held_out=0.25, **where)
        checked = check_documents(config.documents)
        assert "about 8 instructions" in "".join(plan(config, checked)) and "gpt-9" in "".join(plan(config, checked))
        _corpus(config, checked, tmp_path, said.append)
        asked = len(server.bodies)
        _corpus(config, checked, tmp_path, said.append)  # as after a kill
        assert server.problems == [] and len(server.bodies) == asked > 2 * len(CALLS)
    _, train = read_file(tmp_path / "data" / "train.json")
    _, kept = read_file(tmp_path / "data" / "held_out.json")
    trained = {row.instruction: row.steps[0].action for row in train.trajectories["train"]}
    held_out = {row.instruction: row.golden_calls[0].action for row in kept.instructions["eval_simulated"]}
    assert len(held_out) == 2 and trained | held_out == {text: name for text, (name, _) in CALLS.items()}
    assert (tmp_path / "dataset" / "sft").is_dir()
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_endpoint_and_model_go_together() -> None:
    for given in ({"endpoint": "http://127.0.0.1:9/v1"}, {"model": "gpt-9"}):
        with pytest.raises(OptionError):
            CreateConfig(("x.yaml",), "out", **given)
    moved = [
        CreateConfig(("x.yaml",), "out", endpoint=url, model="m").claimed() for url in ("http://a/v1", "http://b/v1")
    ]
    assert moved[0] == moved[1] != CreateConfig(("x.yaml",), "out").claimed()
