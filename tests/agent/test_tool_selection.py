"""Which functions a model is shown of an API that has more than it can read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from agent.scripted import ScriptedBackend

from toolalpaca_hf.agent import ChatContext, ReactContext, read_tasks, run, shown_api
from toolalpaca_hf.formats import bm25_scores, react_prompt, select_functions, used_components
from toolalpaca_hf.schema import Api, Function

TIDES = Api(
    "train/tides",
    "Tides",
    functions=[
        Function("getPort", "/ports/{id}", "get", "A port.\nOutput: #Port"),
        Function("findTides", "/tides", "get", "Tides at a port.\nOutput: Array[#Tide]"),
        Function("getWind", "/wind", "get", "Wind at sea."),
    ],
    components="The detailed output format for the tools is outlined below:\n#Port: Object{name}"
    "\n#Tide: Object{at: #Time}\n#Time: Object{hour}",
)


def test_the_nearest_are_shown_in_the_order_of_the_document() -> None:
    shown = select_functions(TIDES, "Which tides are at the port of Brest?", 2)
    scores = bm25_scores(TIDES.functions, "Which tides are at the port of Brest?")
    best = sorted(range(3), key=lambda place: -scores[place])[:2]
    assert [one.name for one in shown.functions] == [TIDES.functions[place].name for place in sorted(best)]
    assert select_functions(TIDES, "Wind?", 3) is TIDES and select_functions(TIDES, "Wind?", None) is TIDES


def test_shared_outputs_of_what_is_left_out_are_left_out() -> None:
    tides = select_functions(TIDES, "tides", 1)
    assert [one.name for one in tides.functions] == ["findTides"]
    assert [line.partition(":")[0] for line in tides.components.splitlines()[1:]] == ["#Tide", "#Time"]
    assert select_functions(TIDES, "wind", 1).components == ""
    in_brackets = used_components(TIDES.components, [Function("f", "", "", "Hours (#Time), of #Port.")])
    assert [line.partition(":")[0] for line in in_brackets.splitlines()[1:]] == ["#Port", "#Time"]


@pytest.mark.parametrize("style", ["react", "chat"])
def test_a_run_shows_and_records_the_nearest_and_lets_the_others_work(tmp_path: Path, style: str) -> None:
    tasks = {task.instruction: task for task in read_tasks("sample").tasks}
    seen: dict[str, list[str]] = {}

    def call_hidden(instruction: str, turn: int) -> str:
        task = tasks[instruction]
        hidden = [one.name for one in task.api.functions if one.name not in seen[instruction]]
        if turn == 0:
            return f" I look.\nAction: {hidden[0]}\nAction Input: {{}}"
        return " I look.\nAction: noSuchTool\nAction Input: {}" if turn == 1 else " So.\nResponse: So."

    class Backend(ScriptedBackend):
        def generate(self, contexts, max_new_tokens):
            for context in contexts:
                self.see(context)
            return super().generate(contexts, max_new_tokens)

        def see(self, context: ReactContext) -> None:
            head = context.segments[0].text
            (instruction,) = [one for one in tasks if f"USER: {one}\n" in head]
            seen.setdefault(instruction, list(context.functions[1:]))

    if style == "chat":
        task = next(iter(tasks.values()))
        names = [tool["function"]["name"] for tool in ChatContext.begin(select_functions(task.api, "", 2), "").tools]
        assert names == ["getDetails", *(one.name for one in task.api.functions[:2])]
        return
    backend = Backend(call_hidden, continuous=False)
    note = run("sample", backend, tmp_path, limit=3, max_tools=2, progress=False)
    assert note["settings"]["max_tools"] == 2
    for line in (tmp_path / "rollouts.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected = [
            one.name for one in select_functions(tasks[row["instruction"]].api, row["instruction"], 2).functions
        ]
        assert row["shown"] == expected == seen[row["instruction"]]
        first, second = row["steps"]
        assert "There is no tool" not in first["observation"]
        listed = second["observation"].rpartition("[")[2].rstrip("].").split(", ")
        assert listed == ["getDetails", *expected]


def test_built_in_tools_stay() -> None:
    shown = shown_api(TIDES, ["datetime"], "wind", 1)
    assert [one.name for one in shown.functions] == ["getWind", "datetime"]
    assert "getDetails: " in react_prompt().head(shown, "wind")


def test_a_golden_function_is_not_favoured() -> None:
    """Only names and descriptions count: the same functions are shown whatever the golden calls are."""
    task = read_tasks("sample").tasks[0]
    one = select_functions(task.api, task.instruction, 3)
    assert select_functions(replace(task.api, id="eval/other"), task.instruction, 3).functions == one.functions
