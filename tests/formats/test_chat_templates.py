"""The prompts as templates: the same characters as through segments, the same of them trained, and read back."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_rows import documented_tools, prompt_messages
from transformers.utils.chat_parsing import ResponseParser, parse_response
from transformers.utils.chat_template_utils import get_json_schema, render_jinja_template

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.data.corpus import Corpus
from toolalpaca_hf.formats import (
    DEFAULT_FINAL_THOUGHT,
    Prompt,
    UpstreamPrompt,
    api_for_row,
    build_chat_template,
    build_response_template,
    parse_example,
    react_prompt,
    to_messages,
    trajectory_segments,
)
from toolalpaca_hf.schema import Api, Function, Segment, Step, Trajectory

EOS, REACT = "</s>", react_prompt()
CALL = {"type": "function", "function": {"name": "tide", "arguments": {"port": "Brest"}}}
TIDE = {
    "type": "function",
    "function": {
        "name": "tide",
        "description": "High tide at a port",
        "parameters": {
            "type": "object",
            "properties": {
                "port": {"type": "string", "description": "Where"},
                "day": {"anyOf": [{"type": "string"}, {"type": "null"}], "enum": ["today", "tomorrow"]},
                "near": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
            },
            "required": ["port"],
            "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number", "description": "East."}}}},
        },
    },
}


def render(prompt: Prompt, messages: list[dict[str, Any]], tools: Any = None, **options: Any) -> str:
    return rendered(prompt, messages, tools, **options)[0]


template_of = cache(build_chat_template)


def rendered(prompt: Prompt, messages: list[dict[str, Any]], tools: Any, **options: Any) -> tuple[str, list[Segment]]:
    """The text, and its segments by the generation marks as transformers records them."""
    template = template_of(prompt)
    texts, spans = render_jinja_template(
        [messages], tools, chat_template=template, return_assistant_tokens_mask=True, eos_token=EOS, **options
    )
    segments, at = [], 0
    for start, end in spans[0]:
        segments += [Segment(texts[0][at:start], False), Segment(texts[0][start:end], True)]
        at = end
    return texts[0], [*segments, Segment(texts[0][at:], False)]


def check_row(prompt: Prompt, api: Api, trajectory: Trajectory) -> None:
    row = prompt_messages(api, trajectory, prompt)
    wanted = trajectory_segments(api, trajectory, prompt)
    wanted[-1] = Segment(wanted[-1].text + EOS, True)
    found = [segment for segment in rendered(prompt, row["messages"], row["tools"])[1] if segment.text]
    assert found == wanted
    place = max(1, 2 * (len(trajectory.steps) // 2) + 1)  # what a model is given in the middle
    given = render(prompt, row["messages"][:place], row["tools"], add_generation_prompt=True)
    assert given == "".join(segment.text for segment in wanted[:place])


@pytest.fixture(params=["react", "hints", "published"])
def prompt(request: pytest.FixtureRequest, write_upstream: Callable[..., Path]) -> Prompt:
    if request.param == "published":
        return UpstreamPrompt(write_upstream(form='Think, name one of [{tool_names}], give it {{{{"JSON"}}}}.'))
    return react_prompt(3 if request.param == "hints" else 0)


@pytest.fixture(scope="module")
def sample() -> Corpus:
    return read_corpus(resolve_sources("sample"))


def rows_of(corpus: Corpus) -> Iterator[tuple[Api, Trajectory]]:
    for split, trajectories in corpus.trajectories.items():
        apis = {api.id: api for api in corpus.apis[split]}
        yield from ((api_for_row(apis[row.api], row), row) for row in trajectories)


def test_every_row_of_the_embedded_corpus(prompt: Prompt, sample: Corpus) -> None:
    rows = list(rows_of(sample))
    assert len(rows) > 100
    for api, trajectory in rows:
        check_row(prompt, api, trajectory)
    instructions(prompt, sample)


def instructions(prompt: Prompt, corpus: Corpus) -> None:
    """What a model is given first, for each evaluation instruction."""
    for split, rows in corpus.instructions.items():
        apis = {api.id: api for api in corpus.apis[split]}
        for row in rows:
            trajectory = Trajectory(row.id, row.api, row.instruction, "", [], "", "")
            message = prompt_messages(apis[row.api], trajectory, prompt)
            text = render(prompt, message["messages"][:1], message["tools"], add_generation_prompt=True)
            assert text == prompt.head(apis[row.api], row.instruction)


def test_every_published_row(prompt: Prompt, real_data: Path) -> None:
    if prompt.tool_hints:
        pytest.skip("hints are part of the question, and are there in the embedded corpus")
    corpus = read_corpus(
        resolve_sources(
            train=real_data / "train_sample.json",
            eval_simulated=real_data / "eval_simulated.json",
            eval_real=real_data / "eval_real.json",
            processed=real_data / "processed_sample.json",
        )
    )
    rows = list(rows_of(corpus))
    assert rows and corpus.processed
    for api, trajectory in rows:
        check_row(prompt, api, trajectory)
    instructions(prompt, corpus)
    examples = [parse_example([Segment(**segment) for segment in row["segments"]]) for row in corpus.processed]
    assert all(examples)
    for example in filter(None, examples):
        check_row(prompt, example.api, example.trajectory)


texts = st.text(st.characters(codec="utf-8"), max_size=12)
steps = st.lists(st.builds(Step, texts, texts, texts, texts, st.none() | texts), max_size=2)


@settings(max_examples=40)
@given(steps, texts, st.none() | texts, texts)
def test_any_text(made: list[Step], instruction: str, thought: str | None, response: str) -> None:
    api = Api("", "", functions=[Function("f", "", "", "Does.\nOutput: x")], components="\n#T: Object{a}")
    check_row(REACT, api, Trajectory("", "", instruction, "", made, thought, response))


def test_documentation_from_a_json_schema() -> None:
    text = render(REACT, [{"role": "user", "content": "?"}], [TIDE])
    lines = text.splitlines()
    at = lines.index("tide: High tide at a port")
    assert lines[at + 1] == "Action: tide"
    assert json.loads(lines[at + 2].removeprefix("Parameters: ")) == {
        "port": "Required. string. Where.",
        "day": "string or null. One of: [today, tomorrow].",
        "near": "Array[Object{x: number. East.}].",
    }
    assert "one of [tide]" in text


def test_documentation_of_a_python_function() -> None:
    def add(a: int, b: list[float]) -> str:
        """Adds.

        Args:
            a: One
            b: Others

        Returns:
            The sum
        """
        return str(a + sum(b))

    text = render(REACT, [{"role": "user", "content": "?"}], [get_json_schema(add)])
    assert 'add: Adds.\nAction: add\nParameters: {"a": "Required. integer. One.", ' in text
    assert "\nOutput: string. The sum." in text


def test_parallel_calls_stand_one_after_the_other_each_with_its_own_result() -> None:
    calls = [CALL | {"id": "a"}, CALL | {"id": "b"}]
    results = [{"role": "tool", "tool_call_id": name, "content": name.upper()} for name in ("b", "a")]
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        *results,
    ]
    turn = render(REACT, messages, [TIDE], add_generation_prompt=True).split("USER: ?\n")[1]
    call = '\nAction: tide\nAction Input: {"port": "Brest"}\nObservation:'
    assert turn == f"Thought: I look.{call} A\nThought: I need to use tide.{call} B\nThought:"


def test_later_questions_system_messages_and_missing_thoughts() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Tide?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": {"at": "noon"}},
    ]
    text = render(REACT, messages, [TIDE], add_generation_prompt=True)
    assert text.startswith("Be brief.\n\nSolve the user's task")
    answer = f"USER: Hi\nThought: {DEFAULT_FINAL_THOUGHT}\nResponse: Yes?{EOS}"
    second = (
        '\n\nUSER: Tide?\nThought: I need to use tide.\nAction: tide\nAction Input: {"port": "Brest"}\nObservation:'
    )
    assert text.endswith(answer + second + ' {"at": "noon"}\nThought:')


def test_rows_of_the_chat_config(sample: Corpus) -> None:
    for api, trajectory in rows_of(sample):
        row = to_messages(api, trajectory)
        segments = rendered(REACT, row["messages"], row["tools"])[1]
        trained = [segment.text for segment in segments if segment.trainable]
        assert len(trained) == sum(message["role"] == "assistant" for message in row["messages"])
        assert all(text.endswith(("\nObservation:", EOS)) for text in trained)


@pytest.mark.parametrize("label", ["", "ASSISTANT "])
@pytest.mark.parametrize("end", ["\n{}Observation:", ""])
def test_turns_are_read_back(label: str, end: str) -> None:
    template = build_response_template(EOS)
    prefix = f"USER: a Thought: of mine\n{label}Thought:"
    text = f' I look.\n{label}Action: tide\n{label}Action Input: {{"port": "Brest", "n": 1}}{end.format(label)}'
    assert parse_response(text, template, prefix=prefix) == {
        "role": "assistant",
        "reasoning_content": "I look.",
        "tool_calls": [{"type": "function", "function": {"name": "tide", "arguments": {"port": "Brest", "n": 1}}}],
    }
    for tail in (EOS, "", f"\n{label}Thought: again"):
        read = parse_response(f" So.\n{label}Response: At noon.\nOr later.{tail}", template, prefix=prefix)
        assert read["content"] == "At noon.\nOr later."


@pytest.mark.parametrize("written", [" So.\nResponse: At noon.", " I look.\nAction: tide\nAction Input: {}"])
@pytest.mark.parametrize(
    "more",
    [
        EOS,
        "\nObservation: 7\nThought: More.\nAction: moon\nAction Input: {}\nObservation:",
        "\nASSISTANT Observation: 7\nASSISTANT Thought: So.\nASSISTANT Response: At seven." + EOS,
    ],
)
def test_what_is_made_up_behind_a_turn_is_not_read(written: str, more: str) -> None:
    template = build_response_template(EOS)
    wanted = parse_response(written, template, prefix="Thought:")
    assert parse_response(written + more, template, prefix="Thought:") == wanted and len(wanted) > 1
    parser = ResponseParser(template, prefix="Thought:")
    for character in written + more:
        parser.feed(character)
    assert parser.finalize()[0] == wanted
    if "Response" in written:
        more = "\nThought: And now?\nAction: moon\nAction Input: {}\nObservation:"
        assert parse_response(written + more, template, prefix="Thought:") == wanted


def test_a_turn_that_cannot_be_read_has_no_end_of_sequence_token_in_its_thought() -> None:
    read = parse_response(f" I wonder.{EOS}", build_response_template(EOS), prefix="Thought:")
    assert read == {"role": "assistant", "reasoning_content": "I wonder."}


def test_turns_are_read_as_they_come() -> None:
    text = ' I look.\nAction: tide\nAction Input: {"port": "Brest"}\nObservation:'
    parser = ResponseParser(build_response_template(EOS), prefix="Thought:")
    events = [event for character in text for event in parser.feed(character)] + parser.finalize()[1]
    assert "".join(e["text"] for e in events if e["type"] == "region_chunk" and not e["dirty"]).strip() == "I look."
    closed = [event["value"] for event in events if event["type"] == "region_close" and event["field"] == "tool_calls"]
    assert closed == [CALL]


def test_input_that_is_no_json_stays_text() -> None:
    read = parse_response(
        " x\nAction: tide\nAction Input: Brest\nObservation:", build_response_template(EOS), prefix=""
    )
    assert read["tool_calls"][0]["function"]["arguments"] == "Brest"


def test_the_published_prompt_has_the_tools_of_its_own_head(write_upstream: Callable[..., Path]) -> None:
    prompt = UpstreamPrompt(write_upstream(form="One of [{tool_names}], I say [{tool_names}]."))
    api = Api("", "", functions=[Function("f", "", "", "Does.")])
    tools = documented_tools(api, prompt)
    text = render(prompt, [{"role": "user", "content": "?"}], tools, add_generation_prompt=True)
    assert text == prompt.head(api, "?") and "One of [getDetails, f], I say [getDetails, f]." in text


def test_hints_are_those_of_bm25(sample: Corpus) -> None:
    prompt, same, count = react_prompt(1), 0, 0
    for split, rows in sample.instructions.items():
        apis = {api.id: api for api in sample.apis[split]}
        for row in rows:
            api = apis[row.api]
            messages = [{"role": "user", "content": row.instruction}]
            text = render(prompt, messages, documented_tools(api, prompt), add_generation_prompt=True)
            same += text == prompt.head(api, row.instruction)
            count += 1
    assert count == 40 and same == count


LANGUAGES = {
    "查询城市的天气预报": "明天巴黎的天气怎么样？",
    "Узнать ПОГОДУ в городе": "Какая погода в городе?",
    "Prévisions météo d'une ville à l’étranger": "Météo à Genève – s'il vous plaît",
    "ΟΔΟΣ: οδός ΣΑΣ και ΑΒéx": "ποια οδος ΣΑΣ; ΑΒéx ABéx",
    "Termine für übermorgen 「予約」 ÜberSicht": "Übersicht der Termine übermorgen… 予約",
    "날씨 예보 ١٢٣ １２": "오늘 날씨 ١٢٣ １２ 🙂",
}


@pytest.mark.parametrize("description", LANGUAGES)
def test_hints_in_other_languages(description: str) -> None:
    """The function that is meant is found behind three others, by the prompt and by its template."""
    others = [Function(name, "", "", f"{name} something else.") for name in ("first", "second", "third")]
    prompt, api = react_prompt(1), Api("", "", functions=[*others, Function("meant", "", "", description)])
    messages, tools = [{"role": "user", "content": LANGUAGES[description]}], documented_tools(api, prompt)
    text = render(prompt, messages, tools, add_generation_prompt=True)
    assert text == prompt.head(api, LANGUAGES[description]) and "there is meant." in text


WORDY = "List every pet of a user with all that is known about it, its age and its weight and"


@pytest.mark.parametrize(
    "description",
    [
        *["", "GET a tide.", " Led by a space. ", "Two  spaces", "A\ttab", "x" * 120, f"Of {'y' * 120}"],
        f"{WORDY} also names",  # as long as is shown
        f"{WORDY} also its names",
        f"{WORDY} its-well-known-name",  # cut within a word with hyphens
        f"{WORDY[:-4]} " + "a" * (96 - len(WORDY[:-4]) - 1) + " and more of it",  # cut between two words
    ],
)
def test_a_hint_is_cut_as_in_training(description: str) -> None:
    prompt, api = react_prompt(1), Api("", "", functions=[Function("f", "", "", description)])
    messages, tools = [{"role": "user", "content": "?"}], documented_tools(api, prompt)
    text = render(prompt, messages, tools, add_generation_prompt=True)
    assert text == prompt.head(api, "?") and "there is f." in text.lower()


def test_a_call_without_arguments() -> None:
    for function in ({"name": "tide"}, {"name": "tide", "arguments": None}, {"name": "tide", "arguments": {}}):
        messages = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [{"function": function}]}]
        assert render(REACT, messages, [TIDE]).endswith("\nAction: tide\nAction Input: {}\nObservation:")
