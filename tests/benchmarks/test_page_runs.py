"""The page's script over small benchmarks: what fails, what is resumed, what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FIGURES = """
import json, sys, time
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--json") + 1])
with (Path(__file__).parent / "runs.txt").open("a") as runs:
    print(Path(__file__).stem, "begins", time.monotonic(), file=runs, flush=True)
    time.sleep(SLEEP)
    print(Path(__file__).stem, "ends", time.monotonic(), file=runs)
table = {"columns": ["arguments"], "rows": [[" ".join(sys.argv[1:-2])]]}
out.with_suffix(".png").write_bytes(b"PNG")
out.write_text(json.dumps({"tables": [table], "pictures": [out.with_suffix(".png").name]}))
"""
FAILING = "import sys; print('a lot'); sys.exit('the model is not there')"
SILENT = "pass"
# It starts something that would outlive it.
ENDLESS = """
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(Path(__file__).parent / "child.txt").write_text(str(child.pid))
time.sleep(60)
"""

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def scripts(page: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of benchmarks that take no time, in place of the real one."""
    here = tmp_path / "benchmarks"
    here.mkdir()
    (here / "results.md.jinja").write_text((folder / "results.md.jinja").read_text())
    for name in ("first", "second", "third"):
        (here / f"{name}.py").write_text(FIGURES.replace("SLEEP", "0"))
    monkeypatch.setattr(page, "HERE", here)
    monkeypatch.setattr(
        page, "BENCHMARKS", tuple(page.Benchmark(name, name, 20) for name in ("first", "second", "third"))
    )
    return here


@pytest.fixture
def run(page: ModuleType, scripts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit status and output of the page's script."""

    def started(*arguments: str) -> tuple[int, str]:
        out = ["--out", str(scripts / "measured"), "--page", str(scripts)]
        monkeypatch.setattr(sys, "argv", ["page.py", *out, *arguments])
        with pytest.raises(SystemExit) as ended:
            page.main()
        return ended.value.code, capsys.readouterr().out

    return started


def begun(scripts: Path) -> list[str]:
    """The benchmarks in the order they were started."""
    return [line.split()[0] for line in (scripts / "runs.txt").read_text().splitlines() if " begins " in line]


def test_every_benchmark_is_run_in_its_short_form(run: Run, scripts: Path) -> None:
    code, said = run()
    assert code == 0 and begun(scripts) == ["first", "second", "third"]
    page = (scripts / "RESULTS.md").read_text()
    assert page.count("| --quick |") == 3
    assert "| processor |" in page and "| versions | python 3." in page
    assert sorted(path.name for path in (scripts / "pictures").iterdir()) == ["first.png", "second.png", "third.png"]
    assert "first (1 of 3) ... 0 s" in said


def test_a_failing_benchmark_is_named_and_costs_no_other(run: Run, scripts: Path) -> None:
    (scripts / "first.py").write_text(FAILING)
    (scripts / "second.py").write_text(SILENT)
    code, said = run()
    assert code == 1
    assert "NOT ON THE PAGE: first: the model is not there (exit status 1" in said
    assert "NOT ON THE PAGE: second: " in said and "second.json cannot be read" in said
    assert "a lot" in (scripts / "measured" / "first.log").read_text()
    page = (scripts / "RESULTS.md").read_text()
    assert "## third" in page and "## first" not in page and "## second" not in page


def test_a_benchmark_that_takes_too_long_ends_with_all_it_started(run: Run, scripts: Path) -> None:
    (scripts / "second.py").write_text(ENDLESS)
    code, said = run("--limit", "1.5")
    assert code == 1 and "NOT ON THE PAGE: second: it took longer than 2 s" in said
    assert begun(scripts) == ["first", "third"]
    assert has_ended(scripts / "child.txt")


def has_ended(noted: Path) -> bool:
    """Whether the process of the number in a file ends within ten seconds."""
    stat, deadline = Path("/proc") / noted.read_text() / "stat", time.monotonic() + 10
    # Its adopter has to take notice of its death.
    while stat.exists() and " Z " not in stat.read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_what_was_measured_is_not_measured_again(run: Run, scripts: Path) -> None:
    (scripts / "second.py").write_text(FAILING)
    run()
    before = (scripts / "measured" / "first.json").read_bytes()
    (scripts / "second.py").write_text(FIGURES.replace("SLEEP", "0"))
    code, said = run()
    assert code == 0 and "first has been measured" in said
    assert begun(scripts) == ["first", "third", "second"]
    assert (scripts / "measured" / "first.json").read_bytes() == before
    run("--only", "third", "--fresh")
    assert begun(scripts) == ["first", "third", "second", "third"]
    run("--from", str(scripts / "measured"))
    assert len(begun(scripts)) == 4 and (scripts / "RESULTS.md").read_text().count("| --quick |") == 3


def test_what_can_not_be_measured_here_is_left_out_with_a_word(
    run: Run, page: ModuleType, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needy = page.Benchmark("first", "first", 20, "no-such-program", "apt-get install it")
    verdicts = page.Benchmark("process_verdict", "Verdicts", 20)
    (scripts / "process_verdict.py").write_text(FIGURES.replace("SLEEP", "0"))
    monkeypatch.setattr(page, "JUDGED", scripts / "absent")
    monkeypatch.setattr(page, "BENCHMARKS", (needy, verdicts, page.Benchmark("third", "third", 20)))
    code, said = run()
    assert code == 0 and begun(scripts) == ["third"]
    assert "first is left out: no-such-program is missing (apt-get install it)" in said
    assert "process_verdict is left out" in said
    code, _ = run("--judged", "folder of verdicts")
    assert code == 0 and "| --quick --judged folder of verdicts |" in (scripts / "RESULTS.md").read_text()


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import page
page.HERE = Path(sys.argv.pop(1))
page.BENCHMARKS = tuple(page.Benchmark(name, name, 20) for name in ("first", "second", "third"))
page.main()
"""


def test_after_a_kill_it_goes_on_and_never_measures_two_at_once(folder: Path, scripts: Path) -> None:
    (scripts / "second.py").write_text(FIGURES.replace("SLEEP", "1.5"))
    command = [sys.executable, "-c", DRIVER, str(folder), str(scripts), "--out", str(scripts / "measured")]
    command += ["--page", str(scripts)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not ((scripts / "runs.txt").exists() and "second" in begun(scripts)):
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "first has been measured" in done.stdout
    assert "waiting: another run, or a benchmark of one that was killed" in done.stdout
    assert begun(scripts) == ["first", "second", "second", "third"]
    times = [float(line.split()[2]) for line in (scripts / "runs.txt").read_text().splitlines()]
    assert times == sorted(times) and len(times) == 8, "each ends before the next begins"
    assert len(json.loads((scripts / "measured" / "second.json").read_text())["tables"]) == 1


def test_a_benchmark_ends_with_the_script_that_was_killed(folder: Path, scripts: Path) -> None:
    (scripts / "first.py").write_text(f"import sys\nsys.path.insert(0, {str(folder)!r})\nimport measured\n{ENDLESS}")
    command = [sys.executable, "-c", DRIVER, str(folder), str(scripts), "--out", str(scripts / "measured")]
    noted = scripts / "child.txt"
    with subprocess.Popen([*command, "--page", str(scripts)], stdout=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 60
        while not (noted.exists() and noted.read_text()):
            assert time.monotonic() < deadline and killed.poll() is None
            time.sleep(0.02)
        killed.kill()
    assert has_ended(noted)
