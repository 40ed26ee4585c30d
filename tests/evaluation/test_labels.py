"""Agreement against kappa from its textbook definition, published examples, and files of labels with every fault."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.evaluation.judge import agreement, agreement_of, read_labels

VERDICT = st.sampled_from(["Yes", "No", "Uncertain", None])


def kappa_by_definition(a: list[str | None], b: list[str | None]) -> float | None:
    pairs = [(one, other) for one, other in zip(a, b, strict=True) if one and other]
    if not pairs:
        return None
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    observed = sum(one == other for one, other in pairs) / len(pairs)
    chance = sum(first[word] * second[word] for word in first) / len(pairs) ** 2
    return None if chance == 1 else (observed - chance) / (1 - chance)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(VERDICT, VERDICT), max_size=30))
def test_kappa_is_that_of_its_definition(pairs: list[tuple[str | None, str | None]]) -> None:
    a, b = [one for one, _ in pairs], [other for _, other in pairs]
    expected = kappa_by_definition(a, b)
    assert agreement(a, b)["kappa"] == (None if expected is None else pytest.approx(expected))
    assert agreement(b, a)["kappa"] == (None if expected is None else pytest.approx(expected))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(VERDICT, VERDICT, st.sampled_from("abcdefg")), max_size=40))
def test_intervals_hold_their_value_and_the_table_its_counts(rows: list[tuple[str | None, str | None, str]]) -> None:
    a, b, apis = ([row[i] for row in rows] for i in range(3))
    found = agreement(a, b, apis)
    counted = Counter((one, other) for one, other in zip(a, b, strict=True) if one and other)
    assert found["n"] == counted.total() and found["n"] + found["left_out"] == len(rows)
    assert {(one, other): n for one, row in found["table"].items() for other, n in row.items() if n} == counted
    if found["n"]:
        assert found["agreement_low"] <= found["agreement"] <= found["agreement_high"]
    if found["kappa"] is not None:
        assert -1 <= found["low"] <= found["kappa"] + 1e-12 and found["kappa"] <= found["high"] + 1e-12 <= 1 + 2e-12


def judges(both_yes: int, yes_no: int, no_yes: int, both_no: int) -> tuple[list[str], list[str]]:
    a = ["Yes"] * (both_yes + yes_no) + ["No"] * (no_yes + both_no)
    b = ["Yes"] * both_yes + ["No"] * yes_no + ["Yes"] * no_yes + ["No"] * both_no
    return a, b


@pytest.mark.parametrize(
    ("table", "kappa"),
    # Equal agreement, unequal chance: the two textbook tables with 60 of 100 alike.
    [((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593), ((20, 5, 10, 15), 0.4)],
)
def test_textbook_tables(table: tuple[int, int, int, int], kappa: float) -> None:
    assert agreement(*judges(*table))["kappa"] == pytest.approx(kappa, abs=1e-4)


def test_the_interval_is_near_the_one_by_formula() -> None:
    """Of many independent instructions, it is the large-sample formula of Fleiss, Cohen and Everitt (1969)."""
    found = agreement(*judges(400, 100, 200, 300), [str(i) for i in range(1000)])
    # Kappa 0.4; its standard error from the cell probabilities, by hand.
    p = [[0.4, 0.1], [0.2, 0.3]]
    rows, columns, observed, chance, kappa = [0.5, 0.5], [0.6, 0.4], 0.7, 0.5, 0.4
    within = sum(p[i][i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(2))
    across = sum(p[i][j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j)
    variance = within + (1 - kappa) ** 2 * across - (kappa - chance * (1 - kappa)) ** 2
    error = variance**0.5 / ((1 - chance) * 1000**0.5)
    assert observed == found["agreement"]
    assert (found["low"], found["high"]) == pytest.approx((0.4 - 1.96 * error, 0.4 + 1.96 * error), abs=0.01)


def test_judges_who_never_differ_have_a_width_and_those_with_one_word_no_kappa() -> None:
    found = agreement(*judges(10, 0, 0, 10))
    assert found["kappa"] == found["high"] == 1 and 0.5 < found["low"] < 0.9
    found = agreement(*judges(10, 0, 0, 0))
    assert (found["agreement"], found["kappa"], found["low"]) == (1, None, None)
    assert agreement([], [])["agreement"] is None


def test_what_is_no_verdict_is_refused() -> None:
    with pytest.raises(InputError, match="'Maybe'"):
        agreement(["Yes"], ["Maybe"])
    with pytest.raises(InputError, match="1 and 2 verdicts"):
        agreement(["Yes"], ["No", "No"])


def test_a_judge_and_people() -> None:
    judged = {
        ("Tides", 0): {"process": "Yes", "response": "No", "text": "..."},
        ("Tides", 1): {"process": None, "response": None, "error": "malformed"},
        ("Ports", 0): {"process": "No", "response": "No"},
    }
    people = {
        ("Tides", 0): {"process": "Yes", "response": None},
        ("Tides", 1): {"process": "Yes", "response": "Yes"},
        ("Ports", 0): {"process": "Yes", "response": "No"},
        ("Ports", 9): {"process": "Yes", "response": "No"},
    }
    found = agreement_of(judged, people)
    assert (found["process"]["n"], found["process"]["left_out"], found["process"]["agreement"]) == (2, 1, 0.5)
    assert (found["response"]["n"], found["response"]["agreement"]) == (1, 1)
    assert (found["only_a"], found["only_b"]) == (0, 1)


def test_a_file_of_labels(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text('\ufeffapi,index,process,response\r\n"Tides, High",0, yes,NO\r\nTides,1,Uncertain,\r\n', "utf-8")
    expected = {
        ("Tides, High", 0): {"process": "Yes", "response": "No"},
        ("Tides", 1): {"process": "Uncertain", "response": None},
    }
    assert read_labels(table) == read_labels(str(table)) == (expected, [])


def test_a_bad_row_is_named_and_costs_no_other(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    good = "Tides,0,Yes"
    bad = {
        "Tides": "index '' is not a whole number",
        ",0,Yes": "has no api",
        "Tides,-1,Yes": "index '-1' is not a whole number",
        "Tides,1.5,Yes": "index '1.5' is not a whole number",
        f"Tides,{'9' * 5000},Yes": "limit",
        "Tides,1,oui": "process 'Oui' is no verdict; write Yes, No or Uncertain",
        "Tides,1,No,1": "response '1' is no verdict",
        good: "Tides 0 is labelled a second time",
    }
    file.write_text("\n".join(["api,index,process,response", good, *bad]), "utf-8")
    labels, problems = read_labels(file)
    assert labels == {("Tides", 0): {"process": "Yes", "response": None}}
    assert len(problems) == len(bad)
    for line, (problem, words) in enumerate(zip(problems, bad.values(), strict=True), start=3):
        assert problem.startswith(f"{file}, line {line}: ") and words in problem


def test_a_comma_too_many_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("api,index,process\nTides,0,Yes\nTides,1,No,and why\n")
    labels, problems = read_labels(file)
    assert list(labels) == [("Tides", 0)] and "line 3: has more cells than the header" in problems[0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.csv", b"api,process\nTides,Yes\n", "index"),
        ("labels.csv", b"", "api"),
        ("labels.csv", b"api,index,process\n", "empty"),
        ("labels.csv", b"api,index,process\nTides,x,Yes\n", "line 2: index 'x'"),
        ("labels.csv", b"api,index,process\nCaf\xe9,0,Yes\n", "UTF-8"),
        ("labels.csv", b'api,index,process\nTides,0,Yes\n"Tides,1\n' + b"Tides,2,Yes\n" * 20_000, "row 2: .*limit"),
        ("labels.jsonl", b'{"api": "Tides", "index": 0, "process": "Yes"}\n', "no column"),
    ],
)
def test_a_file_that_cannot_be_taken(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError, match=words) as raised:
        read_labels(file)
    assert raised.value.file == file


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read_labels(tmp_path / "labels.csv")
    assert raised.value.file == tmp_path / "labels.csv"
