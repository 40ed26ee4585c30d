"""Instructions: demands, cleaning, and what is not taken."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from corpus.author import Scripted, cut

from toolalpaca_hf.corpus.config import InstructionSettings
from toolalpaca_hf.corpus.instructions import clean, names, sample_constraints, shortcoming, write_instructions
from toolalpaca_hf.data import read_file
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.llm import Answer, RequestRejected, Unanswered
from toolalpaca_hf.schema import Api, Function

DOCUMENTED = f"findTides: Find the tides of a day.{' ' * 50}"
API = Api(
    "train/tides",
    "Tide Tables",
    nl_documentation="findTides: Find the tides of a day.\n",
    functions=[Function(name, f"/{name}", "get", "It.") for name in ("findTides", "warnMe", "listHarbours", "drop")],
)
TEXTS = [
    "When is the water highest in Brest on Sunday?",
    "Wake me an hour before the ebb at Saint-Malo.",
    "Which ports near Cardiff can I reach before nightfall?",
    "I lost a glove on the beach of Deal; will the sea take it by noon?",
    "Forget the reminder for Dover, we sail from Hull.",
    "My boat draws two metres: may I enter Poole at six?",
]


def answer(*texts: str, details: str = "") -> str:
    items = [{"number": n, "instruction": text, "details": details} for n, text in enumerate(texts, 1)]
    return json.dumps({"instructions": items})


def settings(**chosen: object) -> InstructionSettings:
    return InstructionSettings(**{"per_style": 3, "styles": ("short",)} | chosen)


def test_both_styles_are_asked_for_and_told_apart() -> None:
    ask = Scripted([answer(*TEXTS[:3], details="At 7."), answer(*TEXTS[3:])])
    written = write_instructions(API, ask, settings(styles=("short", "story")))
    assert [one.instruction for one in written] == TEXTS
    assert [one.style for one in written] == ["short"] * 3 + ["story"] * 3
    assert [one.details for one in written] == ["At 7."] * 3 + [""] * 3
    short, story = (one["messages"][-1]["content"] for one in ask.asked)
    assert "findTides" in short and "Write 3 instructions" in short and "little stories" in story
    assert [one["role"] for one in ask.asked] == ["user", "user"] and all(one["schema"] for one in ask.asked)
    for one, question in zip(written, [short] * 3 + [story] * 3, strict=True):
        assert f"{one.mood}; " in question


def test_functions_that_are_not_shown_are_not_asked_for() -> None:
    ask = Scripted([answer(*TEXTS)])
    write_instructions(replace(API, nl_documentation=f"{DOCUMENTED}warnMe: Warn."), ask, settings(documentation=50))
    question = ask.asked[0]["messages"][-1]["content"]
    assert "needs findTides" in question and "warnMe" not in question


def test_details_keep_their_values() -> None:
    items = [{"number": 1, "instruction": TEXTS[0], "details": {"user": "bob", "order": 5}}]
    items += [{"number": 2, "instruction": TEXTS[1], "details": "12:30\n or 3.5"}]
    written = write_instructions(API, Scripted([json.dumps({"instructions": items})]), settings(per_style=2))
    assert [one.details for one in written] == ["user: bob; order: 5", "12:30 or 3.5"]


def refusing(error: ToolAlpacaError) -> Callable[[list[dict[str, str]]], Answer]:
    def refuse(messages: list[dict[str, str]]) -> Answer:
        raise error

    return refuse


def test_a_refused_question_costs_no_other() -> None:
    """The stories are refused, as a filter of contents does; the short instructions stay."""
    ask = Scripted([answer(*TEXTS[:3]), refusing(RequestRejected("400 content_filter"))])
    written = write_instructions(API, ask, settings(styles=("short", "story"), rounds=2))
    assert [one.instruction for one in written] == TEXTS[:3] and len(ask.asked) == 3
    ask = Scripted([refusing(RequestRejected("400 content_filter")), answer(*TEXTS[:3])])
    assert len(write_instructions(API, ask, settings(rounds=2))) == 3


def test_what_is_refused_altogether_or_not_answered_is_raised() -> None:
    with pytest.raises(RequestRejected, match="content_filter"):
        write_instructions(API, Scripted([refusing(RequestRejected("400 content_filter"))]), settings())
    ask = Scripted([answer(*TEXTS[:3]), refusing(Unanswered("away"))])
    with pytest.raises(Unanswered):
        write_instructions(API, ask, settings(styles=("short", "story")))
    assert len(ask.asked) == 2


def test_the_same_seed_asks_the_same() -> None:
    def asked(seed: int) -> list[object]:
        ask = Scripted([answer(*TEXTS)])
        write_instructions(API, ask, settings(seed=seed))
        return ask.asked

    assert asked(1) == asked(1) != asked(2)


def test_what_is_missing_is_asked_for_again() -> None:
    """A copy of the example, a repetition, a blank, a name: four of five are not taken, and their places are
    filled."""
    bad = ["Which Portuguese lighthouses shine red? The first of them flickers, pass that on too, please."]
    bad += [TEXTS[0].replace("Sunday", "Monday"), "How high is it in [city]?", "Ask Tide Tables about Brest."]
    ask = Scripted([answer(TEXTS[0], *bad), answer(*TEXTS[1:5])])
    rejected: list[tuple[str, str]] = []
    written = write_instructions(API, ask, settings(per_style=5), rejected)
    assert [one.instruction for one in written] == TEXTS[:5]
    assert [text for text, _ in rejected] == bad
    assert [reason for _, reason in rejected] == [
        "repeats an instruction of another API",
        "is close to an instruction of its API",
        "has a place to be filled in",
        "names the API",
    ]
    again = ask.asked[1]
    assert again["attempt"] == 1 and "Write 4 instructions" in again["messages"][-1]["content"]
    assert TEXTS[0] in again["messages"][-1]["content"], "what is there already is not to be written again"


def test_a_model_that_writes_one_text_only_is_asked_three_times() -> None:
    ask = Scripted([answer(TEXTS[0])])
    assert len(write_instructions(API, ask, settings(rounds=3))) == 1 and len(ask.asked) == 3
    ask, rejected = Scripted(["I'm sorry, I cannot do that."]), list[tuple[str, str]]()
    assert write_instructions(API, ask, settings(rounds=2), rejected) == []
    assert rejected == [("I'm sorry, I cannot do that.", "cannot be read")] * 2


def test_whatever_is_not_taken_is_counted() -> None:
    items = [{"instruction": TEXTS[0]}, {"text": ["no text"]}, *TEXTS[1:4]]
    for written in (items, {"instructions": items}):
        rejected: list[tuple[str, str]] = []
        taken = write_instructions(API, Scripted([json.dumps(written)]), settings(rounds=1), rejected)
        assert [one.instruction for one in taken] == TEXTS[:2]
        assert rejected == [("", "is too short"), *((text, "was not asked for") for text in TEXTS[2:4])]


@pytest.mark.parametrize(
    "written",
    [
        answer(*TEXTS[:3]),
        "\n".join(f'{n}. "{text}"' for n, text in enumerate(TEXTS[:3], 1)),
        json.dumps(TEXTS[:3]),
        json.dumps([{"instruction": f"{n}) **{text}**"} for n, text in enumerate(TEXTS[:3], 1)]),
        "Here you go:\n```json\n" + answer(*TEXTS[:3]),
        cut(answer(*TEXTS[:4])[: answer(*TEXTS[:4]).index(TEXTS[3]) + 5]),
    ],
)
def test_answers_are_read_in_many_forms(written: str) -> None:
    assert [one.instruction for one in write_instructions(API, Scripted([written]), settings())] == TEXTS[:3]


def test_batches_do_not_go_over_what_was_asked() -> None:
    def reply(messages: list[dict[str, str]]) -> str:
        wanted = int(messages[-1]["content"].split("Write ")[1].split()[0])
        assert wanted <= 4
        return answer(*[f"{''.join(random.choices('abcdefgh', k=9))} " * 2 + text for text in TEXTS])

    written = write_instructions(API, Scripted([reply]), settings(per_style=9, batch=4, rounds=9, threshold=0.9))
    assert len(written) == 9


def test_demands_take_turns() -> None:
    demands = sample_constraints(API, "story", 300, random.Random(0), details=0.2)
    for kind in ("mood", "form"):
        counts = Counter(getattr(demand, kind) for demand in demands)
        assert max(counts.values()) - min(counts.values()) <= 1
    firsts = Counter(demand.functions[0] for demand in demands)
    assert set(firsts) == {"findTides", "warnMe", "listHarbours", "drop"} and set(firsts.values()) == {75}
    assert all(len(set(demand.functions)) == len(demand.functions) for demand in demands)
    assert 0.55 < sum(len(demand.functions) == 2 for demand in demands) / 300 < 0.78
    assert 0.1 < sum(demand.holds_back for demand in demands) / 300 < 0.3
    assert len({str(demand) for demand in demands}) > 250
    alone = sample_constraints(Api("train/x", "X"), "short", 2, random.Random(0), details=0)
    assert [demand.functions for demand in alone] == [(), ()] and "needs" not in str(alone[0])


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ('1. "When is high tide?"', "When is high tide?"),
        ("(2) When is high tide?", "When is high tide?"),
        ("- **Instruction 3:** When is high tide?", "When is high tide?"),
        ("User: “When is\n high tide?”", "When is high tide?"),
        ('"When is high tide?', "When is high tide?"),
        ("When is \x00high\u200b tide?", "When is high tide?"),
        ('"Dover" or "Calais"', '"Dover" or "Calais"'),
        ("3 boats sail at 4.30", "3 boats sail at 4.30"),
        ("2023. A good year?", "2023. A good year?"),
        ("12:30 is when my train leaves", "12:30 is when my train leaves"),
        ("2. 8.8.8.8 is whose address?", "8.8.8.8 is whose address?"),
        ("3.5 miles around Oslo", "3.5 miles around Oslo"),
        ('3."When is high tide?"', "When is high tide?"),
        ("4:**When is high tide?**", "When is high tide?"),
        ("'Tis high tide in 'Brest'", "'Tis high tide in 'Brest'"),
        ("", ""),
    ],
)
def test_cleaning(written: str, cleaned: str) -> None:
    assert clean(written) == cleaned == clean(cleaned)


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("When is high tide?", None),
        ("High tide?", "is too short"),
        ("tide " * 30, "repeats itself"),
        (" ".join(f"w{n}" for n in range(200)), "is too long"),
        ("Tides at <harbour name> on Friday please", "has a place to be filled in"),
        ("Tides at {harbour} on Friday please", "has a place to be filled in"),
        ("Call me under XXXX when it is high", "has a place to be filled in"),
        ('Send {"a": 1} and [1, 2] to my friend', None),
        ("What do the tide tables say about Brest?", None),
        ("What do the Tide Tables say about Brest?", "names the API"),
        ("Please findTides for Brest on Sunday", "names a function"),
        ("Drop the reminder about Brest on Sunday", None),
        ("Tell me with the tide API when it is high", "speaks of an API"),
    ],
)
def test_what_an_instruction_may_not_be(instruction: str, reason: str | None) -> None:
    assert shortcoming(instruction, API) == reason


def test_names_of_ordinary_words_are_words_where_they_are_written_so() -> None:
    assert not names("tell me a fun fact", "Fun Fact") and names("ask Fun Fact for one", "Fun Fact")
    assert not names("Steam comes out of it", "Steam") and names("on my Steam account", "Steam")
    assert names("go to IPAPI.COM", "ipapi.com") and not names("an amazing sea", "Amazing Sea API")
    assert not names("the cats", "Cats") and not names("anything", "")


def test_most_published_instructions_would_be_taken(real_data: Path) -> None:
    """What is not taken breaks the paper's own demand: it names the API, or speaks of one."""
    _, corpus = read_file(real_data / "train_sample.json")
    apis = {api.id: api for api in corpus.apis["train"]}
    reasons = Counter(shortcoming(clean(one.instruction), apis[one.api]) for one in corpus.trajectories["train"])
    assert set(reasons) == {None, "names the API", "speaks of an API"} and reasons[None] == 39
