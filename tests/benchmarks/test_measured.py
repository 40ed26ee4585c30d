import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567"),
        (2924.9, "2,925"),
        (57.71, "57.7"),
        (4.449, "4.45"),
        (0.1222, "0.122"),
        (8.84e-08, "8.8e-08"),
        (0.0, "0.00"),
        (-12.34, "-12.3"),
        (None, ""),
        ("a call", "a call"),
    ],
)
def test_figures_have_three_digits(measured: ModuleType, value: float, shown: str) -> None:
    assert measured.figure(value) == shown


def test_a_spread_is_the_median_and_the_range(measured: ModuleType) -> None:
    assert measured.spread([3.0, 1.0, 20.0]) == "3.00 (1.00 to 20.0)"
    assert measured.spread([2.0, 1.0]) == "1.50 (1.00 to 2.00)"
    assert measured.spread([0.5]) == "0.500", "nothing is known of the spread of one"


def test_ratios_are_taken_round_by_round(measured: ModuleType) -> None:
    """A machine that is twice as slow in the second round changes nothing; the ratio of medians would."""
    assert measured.ratios([10.0, 20.0, 10.0], [5.0, 10.0, 5.0]) == [2.0, 2.0, 2.0]
    with pytest.raises(ValueError):
        measured.ratios([1.0, 2.0], [1.0])


def test_the_command_is_without_the_place_of_its_figures(
    measured: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/benchmarks/scoring.py", "--json", "out.json", "--apis", "a b.json"])
    assert measured.command() == "python benchmarks/scoring.py --apis 'a b.json'"
    monkeypatch.setattr(sys, "argv", ["scoring.py", "--quick", "--json=out.json"])
    assert measured.command() == "python benchmarks/scoring.py --quick"


def test_figures_are_written_whole_or_not_at_all(
    measured: ModuleType, page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/scoring.py", "--quick"])
    path, one = tmp_path / "scoring.json", measured.table("Stages", ["stage", "seconds"], [["score", 1.5]], "A note.")
    measured.write(path, 2.04, [one], gaps=[0.5])
    with pytest.raises(TypeError):
        measured.write(path, 3.0, [one], gaps={1, 2})
    assert json.loads(path.read_text()) == {
        "benchmark": "scoring",
        "command": "python benchmarks/scoring.py --quick",
        "seconds": 2.0,
        "tables": [{"title": "Stages", "note": "A note.", "columns": ["stage", "seconds"], "rows": [["score", 1.5]]}],
        "pictures": [],
        "gaps": [0.5],
    }
    assert page.read(path)["seconds"] == 2.0


def test_columns_are_aligned_in_the_terminal(measured: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    measured.show([measured.table("Ways", ["way", "tokens/s"], [["one at a time", 13.0], ["batched", 57.7]])])
    assert capsys.readouterr().out.splitlines()[3:] == [
        "way            tokens/s",
        "one at a time      13.0",
        "batched            57.7",
        "",
    ]


def test_bars_stand_at_their_medians(measured: ModuleType, tmp_path: Path) -> None:
    name = measured.bars(
        tmp_path / "speed.png", {"rows": {"a": [1.0, 3.0, 2.0], "b": [4.0]}, "others": {"b": [5.0]}}, "x/s"
    )
    assert name == "speed.png"
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
