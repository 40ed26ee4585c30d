"""What a judge is asked: our own prompt, a file in upstream's layout, and the recorded prompts rendered again."""

import json
from pathlib import Path

import pytest

from toolalpaca_hf.agent import read_tasks
from toolalpaca_hf.errors import InputError, NotFoundError
from toolalpaca_hf.experimental.recorded_runs import recorded_attempts
from toolalpaca_hf.metrics import JudgePrompt, judge_prompt, own_prompt, parse_verdict, published_prompt
from toolalpaca_hf.schema import Api, Call, Function, Instruction, Step

TIDES = Api(
    "eval_real/tides",
    "Tides",
    functions=[Function("findTide", "/tide", "get", "Tide at a port."), Function("ports", "/ports", "get", "Ports.")],
    components="#Tide: Object{time}",
)
ASK = Instruction("eval_real/tides/0", TIDES.id, "High tide in Brest?", [Call("findTide", '{"port": "Brest"}')])
STEPS = [Step("So.", "findTide", '{"port": "Bres"}', "No port"), Step("", "findTide", '{"port": "Brest"}', "At noon")]
HOUSE = "Look at ${documentation}|${instruction}|${standard}|${solution}!"


def test_our_prompt_holds_everything_in_order() -> None:
    text = judge_prompt(TIDES, ASK, STEPS, "High tide is at noon.")
    parts = [
        "findTide: Tide at a port.\nports: Ports.\n#Tide: Object{time}\n",
        "High tide in Brest?\n",
        '1. Function: findTide\nParameters: {"port": "Brest"}\n',
        '1. Function: findTide\nParameters: {"port": "Bres"}\nReturns: No port\n',
        '2. Function: findTide\nParameters: {"port": "Brest"}\nReturns: At noon\n',
        "3. Final Response: High tide is at noon.\n</material>",
        "Process Correctness: ",
        "Final Response Correctness: ",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    # The prompt itself, sent back by a server that echoes, is no verdict.
    assert parse_verdict(text) == (None, None)


def test_a_long_return_is_cut_with_a_mark() -> None:
    long = "a" * 3000 + "b" * 3000
    text = judge_prompt(TIDES, ASK, [Step("", "ports", "{}", long)], "", own_prompt(longest=1001))
    assert f"Returns: {'a' * 501}[... 4999 characters left out ...]{'b' * 500}\n" in text
    assert long in judge_prompt(TIDES, ASK, [Step("", "ports", "{}", long)], "", own_prompt(longest=None))
    assert own_prompt(longest=1001).hash != own_prompt().hash == own_prompt().hash


def test_what_is_filled_in_is_not_filled_again(tmp_path: Path) -> None:
    file = tmp_path / "Evaluation.txt"
    file.write_text(HOUSE, encoding="utf-8")
    steps = [Step("", "ports", "$documentation", "${standard} $$ {}")]
    text = judge_prompt(TIDES, ASK, steps, "${instruction}", published_prompt(file))
    assert text == (
        "Look at findTide: Tide at a port.\nports: Ports.\n#Tide: Object{time}|High tide in Brest?"
        '|1. Function: findTide\nParameters: {"port": "Brest"}\n'
        "|1. Function: ports\nParameters: $documentation\nRetruns: ${standard} $$ {}\n"
        "2. Final Response: ${instruction}!"
    )


def test_a_file_of_windows_editors_is_the_same_prompt(tmp_path: Path) -> None:
    (tmp_path / "unix.txt").write_bytes(f"{HOUSE}\nSay\n".encode())
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbf" + f"{HOUSE}\r\nSay\r\n".encode())
    unix, windows = (published_prompt(tmp_path / name) for name in ("unix.txt", "windows.txt"))
    assert unix.hash == windows.hash


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("nothing", "none"),
        ("${documentation} ${instruction} ${standard}", "documentation, instruction, standard"),
        (HOUSE + "${model}", "model"),
        (HOUSE + " 5 $ each", "unreadable"),
    ],
)
def test_a_file_that_is_no_judges_prompt(tmp_path: Path, template: str, named: str) -> None:
    file = tmp_path / "Evaluation.txt"
    file.write_text(template, encoding="utf-8")
    with pytest.raises(InputError, match=named) as caught:
        published_prompt(file)
    assert caught.value.file == str(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for file in (tmp_path / "none.txt", tmp_path, tmp_path / "latin.txt"):
        with pytest.raises((InputError, NotFoundError)) as caught:
            published_prompt(file)
        assert caught.value.file == file


@pytest.mark.parametrize(
    ("run", "suite", "judged"),
    [
        ("eval_7b_cleaned_train_simulated", "eval_simulated", 96),
        ("eval_7b_train_on_train_part_correctons_val_simulated", "eval_simulated", 95),
        ("eval_7b_train_part_of_train_real", "eval_real", 93),
    ],
)
def test_the_recorded_prompts_are_rendered_again(real_data: Path, run: str, suite: str, judged: int) -> None:
    """The template is read off the first recorded prompt alone; the others are the test."""
    file = real_data / "judged" / f"{run}.verdicts.json"
    recorded = json.loads(file.read_text(encoding="utf-8"))
    source = read_tasks(real_data / f"{suite}.json")
    attempts, problems = recorded_attempts(file, source.apis, source.instructions)
    assert problems == []
    sent = {
        (name, entry["id"]): entry["input"][0]["content"]
        for name, entries in recorded.items()
        if name != "statistics"
        for entry in entries
        if entry["input"]
    }
    kept = [attempt for attempt in attempts if attempt.trajectory is not None]
    assert len(kept) == len(sent) == judged
    first = sent[kept[0].api.name, kept[0].index]
    begin, _, rest = first.partition("\n## Documentation\n")
    end = rest[rest.rindex("\n## ") :]
    heads = ("Task Instruction", "Standard Answer", "AI Assistant's Solution")
    fields = "\n\n".join(
        f"## {head}\n${{{name}}}" for head, name in zip(heads, ("instruction", "standard", "solution"), strict=True)
    )
    prompt = JudgePrompt(
        "read off", f"{begin}\n## Documentation\n${{documentation}}\n\n{fields}\n{end}", None, returns="Retruns"
    )
    for attempt in kept:
        trajectory = attempt.trajectory
        assert trajectory is not None
        text = judge_prompt(attempt.api, attempt.instruction, trajectory.steps, trajectory.response, prompt)
        assert text == sent[attempt.api.name, attempt.index]
