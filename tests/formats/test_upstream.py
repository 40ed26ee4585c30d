"""The published prompt is read from upstream's files; here they are stand-ins of the same structure."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolalpaca_hf.errors import InputError, NotFoundError
from toolalpaca_hf.formats import UpstreamPrompt, trajectory_segments
from toolalpaca_hf.schema import Api, Function, Segment, Step, Trajectory

HARBOUR = Api(
    "train/harbour",
    "Harbour",
    functions=[
        Function("findBerth", "/berths", "get", 'Free berths.\nParameters: {"length": "number."}'),
        Function("tide", "/tide", "get", "When the sea comes."),
    ],
    components="The shared ones:\n#Berth: Object{id}",
)

HEAD = (
    "You mind the harbour.\n"
    "These tools are at hand:\n"
    "\n"
    "getDetails: Ask what is not known.\n"
    'Parameters: {"Question": "What to ask."}\n'
    "findBerth: Free berths.\n"
    'Parameters: {"length": "number."}\n'
    "tide: When the sea comes.The shared ones:\n"
    "#Berth: Object{id}\n"
    "\n"
    'First you think, then you name one of [getDetails, findBerth, tide] and give it "JSON".\n'
    "\n"
    "Go!\n"
    "\n"
    "USER: Is {berth} 4 free?\n"
    "ASSISTANT Thought: "
)


@pytest.mark.parametrize("end", ["", " "])
def test_a_prompt_byte_by_byte(write_upstream: Callable[..., Path], end: str) -> None:
    folder = write_upstream(
        form='First you think, then you name one of [{tool_names}] and give it "JSON".',
        suffix=f"Go!\n\nUSER: {{input}}\nASSISTANT Thought:{end}{{agent_scratchpad}}",
    )
    assert UpstreamPrompt(folder).head(HARBOUR, "Is {berth} 4 free?") == HEAD


def test_doubled_braces_are_undone_as_often_as_upstream_formats_a_text(write_upstream: Callable[..., Path]) -> None:
    # The form is formatted with the tools' names and once more as a part of the whole; prefix and suffix once.
    folder = write_upstream(prefix="{{once}}", form="{{{{twice}}}} [{tool_names}]", suffix="{{once}} {input}")
    head = UpstreamPrompt(folder).head(Api("", ""), "{{left alone}}")
    assert head.startswith("{once}\n\n") and head.endswith("\n\n{twice} [getDetails]\n\n{once} {{left alone}} ")


def test_the_binding_before_use_counts(write_upstream: Callable[..., Path]) -> None:
    folder = write_upstream(form="Said in between, with {tool_names}.")
    assert "Said in between" in UpstreamPrompt(folder).head(HARBOUR, "")
    train = UpstreamPrompt(folder, "train_v1").head(HARBOUR, "")
    assert "Said before" in train and train.startswith("Another prompt.\n\n")


def test_the_files_may_be_in_the_subfolder_agent(write_upstream: Callable[..., Path]) -> None:
    agent = write_upstream(folder="ToolAlpaca/agent")
    assert UpstreamPrompt(agent.parent).folder == UpstreamPrompt(agent).folder == agent


def test_nothing_is_executed(write_upstream: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_upstream(form="[{tool_names}]")
    UpstreamPrompt(folder).head(HARBOUR, "Is it?")
    assert not (tmp_path / "executed").exists()
    # The trap is one: whoever did run the file would leave the trace.
    subprocess.run([sys.executable, folder / "tools.py"], check=True)
    assert (tmp_path / "executed").exists()


def test_a_trajectory_as_upstream_renders_it(write_upstream: Callable[..., Path]) -> None:
    prompt = UpstreamPrompt(write_upstream(form="[{tool_names}]"))
    steps = [
        Step("I look.", "tide", "{}", "At noon"),
        Step("", "tide", "", "", log="Again.\nAction: tide\nAction Input: {}"),
    ]
    trajectory = Trajectory("train/harbour/0", "train/harbour", "When?", "", steps, "I know.", "At noon.")
    assert trajectory_segments(HARBOUR, trajectory, prompt)[1:] == [
        Segment("I look.\nASSISTANT Action: tide\nASSISTANT Action Input: {}\nASSISTANT Observation: ", True),
        Segment("At noon\nASSISTANT Thought: ", False),
        Segment("Again.\nASSISTANT Action: tide\nASSISTANT Action Input: {}\nASSISTANT Observation: ", True),
        Segment("\nASSISTANT Thought: ", False),
        Segment("I know.\nASSISTANT Response: At noon.", True),
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("agent_prompts.py", None),
        ("tools.py", None),
        ("agent_prompts.py", "prefix = ("),
        ("agent_prompts.py", "-" * 100_000 + "1"),
        ("tools.py", "class GetDetailsTool\n"),
        ("tools.py", b"\xff\xfe"),
        ("tools.py", b"\x00"),
        ("agent_prompts.py", "prefix = 'x'\n"),
        ("agent_prompts.py", "prompt_proj = make()\n"),
        ("agent_prompts.py", "prompt_proj = {'test_v2': {}, 1: {}}\n"),
        ("agent_prompts.py", "prompt_proj = {'test_v1': {'prefix': 'x'}}\n"),
        (
            "agent_prompts.py",
            "p = 'x' + 'y'\nprompt_proj = {'test_v1': {'prefix': p, 'suffix': 'x', 'format_instructions': 'x'}}\n",
        ),
        ("tools.py", "class OtherTool:\n    description = 'x'\n"),
        ("tools.py", "class GetDetailsTool:\n    description = x\n"),
    ],
)
def test_files_that_are_not_upstreams(
    write_upstream: Callable[..., Path], file: str, text: str | bytes | None
) -> None:
    path = write_upstream() / file
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(NotFoundError if text is None else InputError) as caught:
        UpstreamPrompt(path.parent)
    assert caught.value.file == path


def test_a_folder_in_a_files_place(write_upstream: Callable[..., Path]) -> None:
    path = write_upstream() / "tools.py"
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError):
        UpstreamPrompt(path.parent)


def test_an_unknown_prompt_is_refused(write_upstream: Callable[..., Path]) -> None:
    with pytest.raises(InputError):
        UpstreamPrompt(write_upstream(), "v9")


@pytest.mark.parametrize(
    ("part", "template"),
    [
        ("suffix", "{input} {secrets}"),
        ("suffix", "{input.__class__}"),
        ("suffix", "{input[0]}"),
        ("suffix", "{input!r}"),
        ("suffix", "{input:>10}"),
        ("suffix", "{input} {}"),
        ("suffix", "{input"),
        ("prefix", "{input}"),
        ("form", "{tool_names.__class__.__mro__}"),
        ("form", "{{{{{{not JSON}}"),
        ("details", "{description}"),
        ("details", "one brace } too many"),
    ],
)
def test_a_template_with_anything_but_the_known_fields(
    write_upstream: Callable[..., Path], part: str, template: str
) -> None:
    folder = write_upstream(**{part: template})
    with pytest.raises(InputError):
        UpstreamPrompt(folder).head(HARBOUR, "Is it?")


def test_files_of_windows_editors_and_names_with_braces(write_upstream: Callable[..., Path]) -> None:
    folder = write_upstream(form="One of [{tool_names}].")
    wanted = UpstreamPrompt(folder).head(HARBOUR, "Is it?")
    for path in folder.rglob("*.py"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert UpstreamPrompt(folder).head(HARBOUR, "Is it?") == wanted
    odd = Api("", "", functions=[Function("get{id}", "", "", "Gets {it}.")])
    assert "getDetails, get{id}" in UpstreamPrompt(folder).head(odd, "Is it?")
