"""What is held out: golden calls that an API answered, apart from what is trained on."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from toolalpaca_hf.corpus import documents_hash
from toolalpaca_hf.create import CreateConfig, check_documents, create, hold_out, pipeline, plan, usage_lines
from toolalpaca_hf.create.split import golden_calls, write_split
from toolalpaca_hf.data import read_file
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError, SettingsMismatchError
from toolalpaca_hf.schema import Api, Function, Step, Trajectory
from toolalpaca_hf.storage import write_json

ROOT = Path(__file__).parents[2]
GOOD = 'Status Code: 200. Response: {"ok": true}'


def trajectory(api: str, number: int, *calls: tuple[str, str]) -> Trajectory:
    steps = [Step("", name, '{"n": 1}', observation) for name, observation in calls]
    return Trajectory(f"{api}/{number}", api, f"Do {number} with {api}", "", steps, "Done.", "Done.")


def corpus(apis: int, rows: int = 10) -> tuple[list[Api], list[Trajectory]]:
    made = [Api(f"train/a{i}", f"A{i}", functions=[Function("get", "/x", "get", "Get x.")]) for i in range(apis)]
    return made, [trajectory(api.id, number, ("get", GOOD)) for api in made for number in range(rows)]


def ids(found: dict[str, list[Trajectory]]) -> set[str]:
    return {row.id for rows in found.values() for row in rows}


def test_each_row_is_on_one_side_and_the_order_of_rows_does_not_matter() -> None:
    apis, rows = corpus(2)
    trained, kept = hold_out(apis, rows, 0.2)
    assert ids(trained) | ids(kept) == {row.id for row in rows} and not ids(trained) & ids(kept)
    assert all(len(kept[api.id]) == 2 for api in apis)
    assert ids(hold_out(apis, rows[::-1], 0.2)[1]) == ids(kept) != ids(hold_out(apis, rows, 0.2, seed=1)[1])


def test_of_several_apis_whole_ones_are_held_out() -> None:
    trained, kept = hold_out(*corpus(10), 0.2)
    unseen = [api for api, rows in trained.items() if not rows]
    assert len(unseen) == 2 and all(len(kept[api]) == 10 for api in unseen)


@pytest.mark.parametrize(
    "calls",
    [
        [("getDetails", "A name."), ("get", GOOD)],
        [("get", "Status Code: 400. Response: no"), ("get", GOOD)],
        [("get", "There is no tool 'get'.")],
        [],
    ],
)
def test_what_was_asked_for_or_corrected_is_only_trained_on(calls: Sequence[tuple[str, str]]) -> None:
    apis, rows = corpus(1, 20)
    odd = trajectory("train/a0", 99, *calls)
    assert odd.id in ids(hold_out(apis, [*rows, odd], 0.9)[0])
    assert [call.action for call in golden_calls(odd)] == ["get"] * sum(seen == GOOD for _, seen in calls)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError):
        hold_out(*corpus(1, 4), 0.2)


def test_other_commands_read_the_files(tmp_path: Path) -> None:
    apis, rows = corpus(2)
    train, held_out = write_split(tmp_path, apis, *hold_out(apis, rows, 0.2))
    split, found = read_file(held_out)
    assert split == "eval_simulated" and len(found.instructions[split]) == 4 and not found.report.rows
    assert found.instructions[split][0].golden_calls[0].action == "get"
    split, found = read_file(train)
    assert split == "train" and len(found.trajectories[split]) == 16
    assert [len(api["Instances"]) for api in json.loads(train.read_text(encoding="utf-8"))] == [8, 8]


def test_a_plan_says_rows_steps_and_minutes() -> None:
    config = CreateConfig((str(ROOT / "examples" / "petstore.yaml"),), "out", max_steps=7)
    checked = check_documents(config.documents)
    assert checked.functions == 10 and checked.notes == []
    said = "\n".join(plan(config, checked, 2.0))
    assert "10 functions" in said and "about 120" in said and "7 steps" in said and "6 min" in said
    assert said.splitlines()[-1].startswith("in all about ") and " min" not in "".join(plan(config, checked))


def test_usage_names_a_document_that_run_takes(tmp_path: Path) -> None:
    petstore = (ROOT / "examples" / "petstore.yaml").read_bytes()
    (tmp_path / "a.json").write_text('[{"Name": "Raw", "Function_Projection": {}}]')
    (tmp_path / "b.txt").write_text("no document")
    (tmp_path / "a_cut.json").write_text('{"openapi": "3.0')
    (tmp_path / "c.yaml").write_bytes(petstore)
    assert "cannot be read" in check_documents([str(tmp_path)]).notes[1]
    found = [CreateConfig((str(place),), "out") for place in (tmp_path, tmp_path / "c.yaml", "https://x.test/api")]
    assert [config.example_document for config in found] == [str(tmp_path / "c.yaml")] * 2 + ["https://x.test/api"]
    for raw in (str(tmp_path / "a.json"), "sample"):  # the held-out instructions are asked
        config = CreateConfig((raw,), "out")
        assert config.example_document is None and "out/data/held_out.json" in usage_lines(config)[-1]


def test_a_document_that_was_edited_is_not_gone_on_with(tmp_path: Path) -> None:
    petstore, out = tmp_path / "petstore.yaml", tmp_path / "out"
    petstore.write_bytes((ROOT / "examples" / "petstore.yaml").read_bytes())
    config = CreateConfig((str(petstore),), str(out))
    claimed = config.claimed() | {"documents_hash": documents_hash(check_documents(config.documents).apis)}
    write_json(out / "create.json", claimed)
    petstore.write_bytes(petstore.read_bytes().replace(b"rabbit", b"hamster"))
    with pytest.raises(SettingsMismatchError) as caught:
        create(config)
    assert list(caught.value.differences) == ["documents_hash"]
    claimed = config.claimed() | {"documents_hash": documents_hash(check_documents(config.documents).apis)}
    write_json(out / "create.json", claimed)
    write_json(out / "stages.json", dict.fromkeys(("corpus", "before", "training", "after"), 1.0))
    with pytest.raises(NotFoundError):  # at its report, for which nothing is there
        create(config)


@pytest.mark.parametrize("fields", [{"documents": ()}, {"held_out": 1.0}, {"per_api": 4}, {"max_steps": 0}])
def test_settings_are_checked(fields: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        CreateConfig(**({"documents": ("x.yaml",), "out": "out"} | fields))


def test_a_busy_moment_is_not_taken_for_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(ids: torch.Tensor) -> SimpleNamespace:
        time.sleep(0.05)  # others compute
        return SimpleNamespace(logits=torch.zeros(1, 1, 1))

    model = Mock(side_effect=forward, device=torch.device("cpu"))
    monkeypatch.setattr(pipeline, "load_model", lambda path: (model, None))
    monkeypatch.setattr(pipeline, "resolve_model", str)
    threads = torch.get_num_threads()
    assert pipeline.seconds_a_pass("x") < 0.02 and torch.get_num_threads() == threads
