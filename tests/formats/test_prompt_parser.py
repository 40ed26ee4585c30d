"""A rendered prompt read back gives what it was rendered from."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.formats import Prompt, UpstreamPrompt, parse_prompt, react_prompt
from toolalpaca_hf.schema import Api, Function

FORM = "The form:\nUSER: what is asked\nASSISTANT Thought: what to do\nUse one of [{tool_names}].\nUSER: more\n..."
SHARED = "The detailed output format for the tools is outlined below:"


@pytest.fixture(params=["react", "upstream", "upstream, older labels"])
def prompt(request: pytest.FixtureRequest, write_upstream: Callable[..., Path]) -> Prompt:
    if request.param == "react":
        return react_prompt()
    if request.param == "upstream":
        return UpstreamPrompt(write_upstream(form=FORM))
    return UpstreamPrompt(write_upstream(form=FORM, suffix="Go!\n\nQuestion: {input}\nThought:{agent_scratchpad}"))


def shown(prompt: Prompt, functions: list[Function]) -> list[tuple[str, str]]:
    """Names and descriptions as the prompt shows them: ours leaves out the line that says JSON."""
    line = "\n - Format: application/json\n - Structure:" if prompt.name == "react" else "\0"
    return [(function.name, function.description.replace(line, "")) for function in functions]


def check(prompt: Prompt, api: Api, instruction: str) -> None:
    text = prompt.head(api, instruction)
    head = parse_prompt(text)
    assert head is not None
    assert shown(prompt, head.api.functions) == shown(prompt, api.functions)
    assert head.api.components == api.components and head.instruction == instruction
    assert prompt.head(head.api, head.instruction) == text


def test_every_published_api(prompt: Prompt, real_data: Path) -> None:
    corpus = read_corpus(
        resolve_sources(
            train=[str(real_data / "train_sample.json")],
            eval_simulated=[str(real_data / "eval_simulated.json")],
            eval_real=[str(real_data / "eval_real.json")],
        )
    )
    asked = [row for rows in (*corpus.trajectories.values(), *corpus.instructions.values()) for row in rows]
    for api in [api for apis in corpus.apis.values() for api in apis]:
        for instruction in [row.instruction for row in asked if row.api == api.id] or ["What is there?"]:
            check(prompt, api, instruction)


def test_every_api_of_the_sample(prompt: Prompt) -> None:
    corpus = read_corpus(resolve_sources("sample"))
    for api in [api for apis in corpus.apis.values() for api in apis]:
        check(prompt, api, "What is there?")


# Descriptions and questions as hard as they can be while a prompt stays readable: they may hold braces, labels, blank
# lines, the names of other functions, but no line `NAME: ` of a function, and no `[getDetails` list.
NAMES = [f"{verb}{noun}" for verb in ("get", "list-", "find_") for noun in ("Cat", "Cats", "V2.Cat")]
hard = st.lists(
    st.sampled_from(
        [
            *(
                "USER: ",
                "\nUSER: x",
                "\nASSISTANT Thought:",
                "\nThought:",
                "\nAction: ",
                "{",
                "}",
                "{{x}}",
                "[a, b]",
                "#Cat",
            ),
            *(
                "\n\n",
                "\n",
                " ",
                ", ",
                "getCat",
                "Parameters: {}",
                "\n - Format: application/json\n - Structure: #Cat",
            ),
        ]
    )
    | st.text("ab:.é天", max_size=5),
    max_size=8,
).map("".join)
functions = st.lists(st.sampled_from(NAMES), unique=True, max_size=6).flatmap(
    lambda names: st.tuples(
        *(st.builds(Function, st.just(name), st.just(""), st.just(""), described) for name in names)
    )
)
described = hard.map(str.strip).filter(lambda text: "\n\nUSER: " not in text and "\n#Cat: " not in text)
shared = st.lists(st.sampled_from(["Cat", "Cat.V2", "a-b"]), unique=True, min_size=1).map(
    lambda names: SHARED + "".join(f"\n#{name}: Object{{id, of: #Cat}}" for name in names)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example((Function("getCats", "", "", "USER: \nAction: getCat"), Function("getCat", "", "", "")), "", "")
@given(functions=functions, components=st.just("") | shared, instruction=hard)
def test_any_api(prompt: Prompt, functions: tuple[Function, ...], components: str, instruction: str) -> None:
    check(prompt, Api("", "", functions=list(functions), components=components if functions else ""), instruction)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no prompt",
        "\ngetDetails: x",
        "[getDetails]\n\nUSER: x\nThought:",
        "\ngetDetails: x\n\n[getDetails, lost]\n\nUSER: x\nThought:",
        "\ngetDetails: x\n\n[getDetails]\n\nUSER: x\n",
    ],
)
def test_what_is_no_prompt(text: str) -> None:
    assert parse_prompt(text) is None
