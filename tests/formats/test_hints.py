"""BM25 over an API's functions, and the prompt that names what it finds."""

import math
import random
import re
from collections import Counter

from toolalpaca_hf.formats import Example, bm25_scores, nearest_functions, parse_prompt, react_prompt
from toolalpaca_hf.formats.hints import words_of
from toolalpaca_hf.schema import Api, Function, Segment, Trajectory
from toolalpaca_hf.training import Augmentation
from toolalpaca_hf.training.augmentation import augment, render

FUNCTIONS = [
    Function("listPorts", "", "", 'Ports of a country.\nParameters: {"country": "Required. string."}'),
    Function("findTides", "", "", 'High and low tide at a port.\nParameters: {"port": "Required. string."}'),
    Function("getWaves", "", "", "Height of the waves off a coast."),
]
TIDES = Api("train/tides", "Tides", functions=FUNCTIONS)


def reference(functions: list[Function], instruction: str, k1: float = 1.5, b: float = 0.75) -> list[float]:
    """BM25 as Lucene computes it, written down from its definition."""
    # The first line of a description counts twice.
    texts = [words_of(f"{f.name} {f.description.splitlines()[0]} {f.description}") for f in functions]
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        counts, score = Counter(text), 0.0
        for word in words_of(instruction):
            found = sum(word in other for other in texts)
            idf = math.log(1 + (len(texts) - found + 0.5) / (found + 0.5))
            score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(text) / mean))
        scores.append(score)
    return scores


def test_scores_are_those_of_the_definition() -> None:
    for instruction in ("When is low tide at the port of Brest?", "Which ports has a country?", "nothing in common"):
        expected = reference(FUNCTIONS, instruction)
        assert all(
            math.isclose(a, e, rel_tol=1e-5, abs_tol=1e-6)
            for a, e in zip(bm25_scores(FUNCTIONS, instruction), expected, strict=True)
        )


def test_the_nearest_come_first_and_ties_keep_their_order() -> None:
    assert nearest_functions(FUNCTIONS, "Is the tide high?", 1) == ["findTides"]
    assert nearest_functions(FUNCTIONS, "xyzzy", 3) == [function.name for function in FUNCTIONS]
    assert nearest_functions([], "tide", 3) == []
    assert bm25_scores([Function("", "", "", "")], "tide") == [0.0]


def test_hints_stand_behind_the_shared_documentation_and_are_read_back_without() -> None:
    plain, hinted = (react_prompt(n).head(TIDES, "Is the tide high?") for n in (0, 2))
    begun = plain[: plain.rindex("\nThought:")]
    first, second = nearest_functions(TIDES.functions, "Is the tide high?", 2)
    does = {
        "listPorts": "ports of a country",
        "findTides": "high and low tide at a port",
        "getWaves": "height of the waves off a coast",
    }
    lines = [f"- To {does[name]} there is {name}." for name in (first, second)]
    assert hinted == "\n".join([begun, "Nearest tools:", *lines, "Thought:"])
    assert parse_prompt(hinted) == parse_prompt(plain)
    assert react_prompt(0).head(TIDES, "Is the tide high?", ["getWaves"]) == plain


def render_copy(example: Example, how: Augmentation, seed: int) -> list[Segment]:
    return render(augment(example, how, random.Random(seed)), react_prompt(how.tool_hints))


def test_augmented_copies_name_the_functions_they_show() -> None:
    trajectory = Trajectory("train/tides/0", "train/tides", "Is the tide high?", "", [], "I know.", "Yes.")
    example = Example(TIDES, trajectory, (True,))
    for seed in range(20):
        copy = render_copy(example, Augmentation(tool_hints=2, mask_names=0.5, restyle_names=0.5), seed)
        head = parse_prompt(copy[0].text)
        assert head is not None and head.instruction == "Is the tide high?"
        hints = re.findall(r"^- .*here is (\w+)\.$", copy[0].text.rsplit("\nNearest tools:\n", 1)[1], re.MULTILINE)
        assert hints == nearest_functions(head.api.functions, head.instruction, 2)


def test_without_hints_copies_are_what_they_were() -> None:
    trajectory = Trajectory("train/tides/0", "train/tides", "Is the tide high?", "", [], "Yes.", "Yes.")
    copy = render_copy(Example(TIDES, trajectory, (True,)), Augmentation(), 1)
    assert "Nearest tools" not in copy[0].text


def test_a_long_first_line_is_cut_and_read_back() -> None:
    api = Api("train/x", "X", functions=[Function("getX", "", "", "Many words " * 40 + "\nParameters: {}")])
    hinted = react_prompt(1).head(api, "Many words\nNearest tools:\n- mine: stays")
    line = hinted.rsplit("\nNearest tools:\n", 1)[1].split("\n")[0]
    assert line.startswith("- To many words") and len(line) < 130 and line.endswith(" there is getX.")
    head = parse_prompt(hinted)
    assert head is not None
    # A user who writes what looks like hints loses no more than those lines.
    assert head.instruction.startswith("Many words")
