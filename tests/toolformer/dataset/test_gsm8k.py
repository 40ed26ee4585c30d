"""GSM8K's marks as gold calls: irregular ones by hand, and every mark of the real file against exact fractions."""

import ast
import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from toolalpaca_hf.data import Report
from toolalpaca_hf.errors import NotFoundError
from toolalpaca_hf.toolformer import Markers
from toolalpaca_hf.toolformer.dataset import gsm8k_rows, mark_objection, open_source, split_marks
from toolalpaca_hf.toolformer.tools import Calculator

MARKED = {
    "question": "How many clips did she sell, and what did they bring?",
    "answer": "She sold 48/2 = <<48/2=24>>24 clips.\nAt $12 an hour that is $<<12/60=0.2>>0.2 a minute.\n#### 24",
}


def rows_of(*answers: str) -> tuple[list[dict], Report]:
    report = Report()
    raws = [{"question": "How many?", "answer": answer} for answer in answers]
    return list(gsm8k_rows("mine", raws, Calculator(), report=report)), report


def test_marks_become_calls_at_their_place() -> None:
    (row,) = gsm8k_rows("mine", [MARKED], Calculator())
    assert row["annotated"] == (
        "How many clips did she sell, and what did they bring?\n"
        "She sold 48/2 = [Calculator(48/2) -> 24] 24 clips.\n"
        "At $12 an hour that is $ [Calculator(12/60) -> 0.2]0.2 a minute.\n#### 24"
    )
    assert [call["result"] for call in row["calls"]] == ["24", "0.2"]
    # A call stands where the text goes on with its value.
    assert [row["text"][call["position"] :][: len(call["result"])] for call in row["calls"]] == ["24", "0.2"]
    assert Markers().strip(row["annotated"]) == row["text"] and "<<" not in row["text"]
    assert (row["id"], row["outcome"], row["meta"]) == (
        "toolformer/mine/0",
        "annotated",
        {"source": "gsm8k", "row": 0},
    )


@pytest.mark.parametrize(
    ("mark", "expression", "result"),
    [
        ("1,000+500=1,500", "1,000+500", "1500"),
        ("5*2=$10", "5*2", "10"),
        ("560//10=56", "560/10", "56"),
        ("8÷2=4", "8÷2", "4"),
        ("6*2=3*4=12", "6*2", "12"),
    ],
)
def test_an_irregular_expression_is_put_into_the_calculators_words(mark: str, expression: str, result: str) -> None:
    (row,), report = rows_of(f"It is <<{mark}>>{result}.")
    assert [(call["input"], call["result"]) for call in row["calls"]] == [(expression, result)]
    assert [line["config"] for line in report.counts()] == ["calls", "annotated"]


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("n=12", "gives nothing for 'n'"),
        ("12", "is no expression and value"),
        ("=12", "is no expression and value"),
        ("2+2=", "the value '' of '2+2' is no number"),
        ("2+2=5", "gives 4 for '2+2', not 5"),
        ("2+2=NaN", "is no number"),
        ("2+2=1e9999999", "is no number"),
        ("5/0=0", "gives nothing for '5/0'"),
        ("9**9**9=1", "gives nothing"),
        ("1/3=0.34", "gives 0.33 for '1/3', not 0.34"),
    ],
)
def test_what_the_calculator_does_not_confirm_is_set_aside_and_taken_out(mark: str, reason: str) -> None:
    rows, report = rows_of(f"It is <<{mark}>>12.", "It is <<6+6=12>>12.")
    assert [row["outcome"] for row in rows] == ["no call kept", "annotated"]
    assert rows[0]["text"] == rows[0]["annotated"] == "How many?\nIt is 12."
    (aside,) = report.rows
    assert (aside.config, aside.file, aside.row) == ("calls", "mine", "row 0") and reason in aside.reason


@pytest.mark.parametrize(
    ("mark", "given", "agree"),
    [
        ("1/3=.333", "0.33", True),  # the calculator rounds to two decimals
        ("100/3=33", "33.33", True),  # the solution rounds
        ("100/3=34", "33.33", False),
        ("1/3=0.3", "0.33", True),
        ("2*3=6.0", "6", True),
        ("2*3=6.0", "6.4", False),
        ("2*3=6", "6.1", True),  # may be rounded; a calculator that is wrong is not what this looks for
        ("2*3=6", "7", False),
    ],
)
def test_rounding_is_no_disagreement(mark: str, given: str, agree: bool) -> None:
    assert (mark_objection(split_marks(f"<<{mark}>>")[1][0], given) == "") == agree


def test_one_bad_row_costs_no_other() -> None:
    report = Report()
    raws = [None, {"question": 3, "answer": "x"}, {"question": "Open?", "answer": "2+2 = <<2+2=4"}, MARKED]
    rows = list(gsm8k_rows("mine", raws, Calculator(), report=report))
    assert [row["id"] for row in rows] == ["toolformer/mine/3"]
    assert [(one.row, one.reason[:10]) for one in report.rows] == [
        ("row 0", "is not JSO"),
        ("row 1", "is not JSO"),
        ("row 2", "has a mark"),
    ]


def test_markers_of_a_text_are_escaped_and_come_back() -> None:
    (row,), _ = rows_of("As in [1] -> it is 2+2 = <<2+2=4>>4.")
    markers = Markers()
    assert len(list(markers.find(row["annotated"]))) == 1
    assert markers.restore(markers.strip(row["annotated"])) == row["text"] == "How many?\nAs in [1] -> it is 2+2 = 4."
    assert row["text"][row["calls"][0]["position"] :] == "4."


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFoundError):
        open_source("gsm8k=nowhere.jsonl")


def exactly(expression: str) -> Fraction:
    """The value of an expression in fractions, read by Python's own parser."""

    def value(node: ast.AST) -> Fraction:
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.Constant(value=number):
                # As it is written: the parser has made a float of `.01`.
                return Fraction(str(number))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return value(operand)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = value(left), value(right)
                return {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b, ast.Div: a / b if b else None}[type(op)]
        raise AssertionError(ast.dump(node))

    return value(ast.parse(re.sub(r"(?<![\d.])0+(?=\d)", "", expression), mode="eval"))


def test_the_real_file(real_data: Path) -> None:
    path = real_data.parent / "toolformer" / "gsm8k_train.jsonl"
    report, raws = Report(), list(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
    rows = list(open_source(f"gsm8k={path}").rows(report))
    assert len(rows) == 7473 and not report.rows
    calls = [call for row in rows for call in row["calls"]]
    # Counted without this package: every `<<` of the file is a call.
    assert len(calls) == path.read_text(encoding="utf-8").count("<<") == 23_716
    assert all(abs(exactly(call["input"]) - Fraction(call["result"])) <= Fraction(1, 200) for call in calls)
    for raw, row in zip(raws, rows, strict=True):
        plain = re.sub("<<.*?>>", "", raw["answer"])
        assert row["text"] == f"{raw['question'].strip()}\n{plain.strip()}"
        assert Markers().restore(Markers().strip(row["annotated"])) == row["text"]
    assert json.dumps(rows[0], ensure_ascii=False).count("[Calculator(") == 2
