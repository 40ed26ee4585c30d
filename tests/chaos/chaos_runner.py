"""Starts a job again and again under a fault, and says what became of its units and its result."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import Any

import psutil
from chaos_faults import copy_cut, cut_files, jumping_clock, remount, small_disk
from chaos_jobs import ROOT, Job, variables

FAULTS = ("kill", "two", "full", "readonly", "clock", "cut")
ALONE = 30.0
"""Seconds that orphans may take to end."""
HANGS = 900.0
"""Seconds that a command may take."""


Units = dict[str, tuple[Hashable, str]]


@dataclass
class Outcome:
    """What became of a job under a fault."""

    job: str
    fault: str = "kill"
    tried: int = 0
    """Kills, or starts under another fault."""
    kinds: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    units: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    exact: bool = True
    """Whether every result is equal to the last digit; else numbers are within a ten-thousandth."""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not (self.lost or self.repeated or self.unequal or self.problems)


def tree_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes that a command started, those that theirs started included."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; one that nobody has taken notice of has."""
    left = []
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                left.append(one)
    return left


def end_all(processes: list[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            os.kill(one.pid, signal.SIGKILL)


def same(before: Any, now: Any, tolerance: float = 0.0) -> bool:
    """Whether two results are equal, numbers within a share of themselves."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(same(value, now[key], tolerance) for key, value in before.items())
    if isinstance(before, list | tuple) and isinstance(now, list | tuple):
        return len(before) == len(now) and all(same(*pair, tolerance) for pair in zip(before, now, strict=True))
    if isinstance(before, float) and isinstance(now, float):
        return isclose(before, now, rel_tol=tolerance, abs_tol=tolerance)
    return before == now


def first_difference(before: Any, now: Any, place: str = "") -> str:
    """Where two results differ first."""
    if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
        return next(
            (first_difference(v, now[k], f"{place}.{k}") for k, v in before.items() if not same(v, now[k])), ""
        )
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return next((first_difference(a, b, f"{place}[{n}]") for n, (a, b) in pairs if not same(a, b)), "")
    if isinstance(before, dict) and isinstance(now, dict):
        return f"{place}: {sorted(before.keys() ^ now.keys())[:3]} on one side only"
    return f"{place}: {str(before)[:100]} became {str(now)[:100]}"


class Chaos:
    """One job with its outcomes."""

    def __init__(self, job: Job, folder: Path, kills: int, seed: int) -> None:
        self.job, self.folder, self.kills, self.seed = job, folder, kills, seed
        self.log = folder / f"{job.name}.log"

    def start(self, out: Path, log: Path | None = None, **more: str) -> "subprocess.Popen[bytes]":
        environment = variables(self.job, out, self.folder / "inputs") | more
        with (log or self.log).open("ab") as file:
            self._mark = file.tell()
            file.write(f"\n== {time.strftime('%H:%M:%S')} {out.name}\n".encode())
            file.flush()
            return subprocess.Popen(
                self.job.command(out), stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment, cwd=ROOT
            )

    def run(self, faults: Sequence[str]) -> Iterator[Outcome]:
        """The undisturbed run, and each fault in turn."""
        with self.job.ready():
            self.whole = self._undisturbed()
            for fault in faults:
                self.rng, self.out = random.Random(f"{self.seed} {self.job.name}"), Outcome(self.job.name, fault)
                self.out.units, began = self.units, time.monotonic()
                try:
                    getattr(self, fault)()
                except Exception as error:  # of the job's result, which is not there or is none
                    self.out.problems.append(f"{type(error).__name__}: {error}")
                self.out.seconds = round(time.monotonic() - began, 1)
                yield self.out

    def kill(self) -> None:
        """Rounds until every kill is done."""
        number = 0
        while self.out.tried < self.kills and not self.out.problems:
            number += 1
            self._round(self.folder / f"{self.job.name}-{number}")

    def two(self) -> None:
        """Two at once: one makes the result; the other says so, waits, or finds all done."""
        out = self._fresh(self.folder / f"{self.job.name}-two")
        logs = [self.folder / f"{self.job.name}-two-{n}.log" for n in (1, 2)]
        for log in logs:
            log.unlink(missing_ok=True)
        processes = [self.start(out, log) for log in logs]
        self.out.tried = len(processes)
        for process in processes:
            process.wait(HANGS)
        statuses = [process.returncode for process in processes]
        for status, log in zip(statuses, logs, strict=True):
            self._is_sentence(status, log.read_text(encoding="utf-8", errors="replace"))
        self.job.units(out)
        if 0 not in statuses:
            self.out.problems.append(f"neither of the two ends well: {statuses}")
        else:
            self._compare_result(out)
        self.out.repeated += [unit for unit, times in Counter(self.job.work).items() if times > self.work[unit]]

    def full(self) -> None:
        """Disks of a tenth to nine tenths of what the job leaves; with room, the same command goes on."""
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            with small_disk(self.folder / "disk", max(65536, int(self.bytes * share))) as disk:
                out = self._fresh(disk / f"{self.job.name}-full")
                self._fails_and_goes_on(out, lambda: remount(disk, f"size={4 * self.bytes + 10**8}"))

    def readonly(self) -> None:
        """A folder that cannot be written: at the beginning, in the middle, and when all is done."""
        with small_disk(self.folder / "disk", 4 * self.bytes + 10**8) as disk:
            out = self._fresh(disk / f"{self.job.name}-readonly")
            for moment in (0.0, 0.5, 1.0):
                if moment:
                    process = self.start(out)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(self.length - self.working / 2 if moment < 1 else HANGS)
                    end_all([*tree_of(process), *([psutil.Process(process.pid)] if process.poll() is None else [])])
                    process.wait()
                    time.sleep(0.5)
                remount(disk, "ro")
                self._fails_and_goes_on(out, lambda: remount(disk, "rw"), finish=moment == 1)

    def clock(self) -> None:
        """A wall clock that jumps."""
        out = self._fresh(self.folder / f"{self.job.name}-clock")
        self.out.tried, before = 1, self.log.stat().st_size
        status = self.start(out, **jumping_clock(self.folder)).wait(HANGS)
        self._is_sentence(status, self._said(before))
        self._compare_result(out) if status == 0 else self.out.problems.append(self._last_words())

    def cut(self) -> None:
        """Every kind of file, cut at every 7% of its length."""
        whole, out = self.folder / f"{self.job.name}-whole", self.folder / f"{self.job.name}-cut"
        for path, place in cut_files(whole):
            copy_cut(whole, out, path, place)
            self.job.work.clear()
            self.out.tried += 1
            units, before = self._units(out), self.log.stat().st_size
            status = self.start(out).wait(HANGS)
            said, here = self._said(before), f"{path} at {place}"
            self._is_sentence(status, said, here)
            if status and path.name not in said:
                self.out.problems.append(f"{here}: the sentence does not name it: {self._last_words()}")
            now = self._units(out)
            self.out.lost += [f"{here}: {unit}" for unit in units if unit not in now]
            if status == 0:
                self._compare_result(out, here)

    def _undisturbed(self) -> Any:
        out = self._fresh(self.folder / f"{self.job.name}-whole")
        before, start, worked = self.job.progress(out), time.monotonic(), None
        process = self.start(out)
        while process.poll() is None:
            if worked is None and self.job.progress(out) != before:
                worked = time.monotonic()
            time.sleep(0.02)
        end = time.monotonic()
        if process.returncode:
            raise SystemExit(f"{self.job.name} fails undisturbed, see {self.log}: {self._last_words()}")
        self.length, self.working = end - start, end - (worked or start)
        self.units, self.work = len(self.job.units(out)), Counter(self.job.work)
        self.bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        return self.job.result(out)

    def _fresh(self, out: Path) -> Path:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.job.work.clear()
        self.job.begin(out)
        return out

    def _round(self, out: Path) -> None:
        self._fresh(out)
        kept: list[tuple[Units, int]] = []
        through = False
        while not (through or self.out.problems):
            process = self.start(out)
            through = self._kill_once(process, out) if self.out.tried < self.kills else self._wait(process)
            time.sleep(0.3)  # what was on its way to a server has come in
            units = self.job.units(out)
            if kept:
                self._compare(kept[-1][0], units, out)
            for finished, done in kept:
                again = {f"{out.name}: {unit}" for unit in self.job.work[done:] if unit in finished}
                self.out.repeated += sorted(again - set(self.out.repeated))
            kept.append((units, len(self.job.work)))
        if not through or self.out.problems:
            return
        self.out.rounds += 1
        self._compare_result(out)
        if not self.out.unequal:
            shutil.rmtree(out)

    def _compare(self, before: Units, now: Units, out: Path) -> None:
        for unit, (stamp, content) in before.items():
            if unit not in now or now[unit][1] != content:
                self.out.lost.append(f"{out.name}: {unit}{'' if unit not in now else ' is another'}")
            elif now[unit][0] != stamp:
                self.out.repeated.append(f"{out.name}: {unit}")
        self.out.repeated += [f"{out.name}: {unit}" for unit in now if unit.endswith(" again") and unit not in before]

    def _compare_result(self, out: Path, where: str = "") -> None:
        found = self.job.result(out)
        if not same(self.whole, found):
            self.out.exact = False
            if not same(self.whole, found, 1e-4):
                self.out.unequal.append(f"{where or out.name}{first_difference(self.whole, found)}")

    def _units(self, out: Path) -> Units:
        """The units of a folder of which a file may be cut off; none where that is the file of units."""
        try:
            return self.job.units(out)
        except (ValueError, KeyError, sqlite3.Error):
            return {}

    def _fails_and_goes_on(self, out: Path, help: Callable[[], None], finish: bool = True) -> None:
        """A start that is expected to fail in a sentence, help, and the same command again, which ends as ever."""
        self.out.tried += 1
        before = self.log.stat().st_size
        self._is_sentence(self.start(out).wait(HANGS), self._said(before))
        units, done = self.job.units(out), len(self.job.work)
        help()
        if not finish:
            return
        before = self.log.stat().st_size
        status = self.start(out).wait(HANGS)
        self._is_sentence(status, self._said(before))
        if status:
            self.out.problems.append(f"with room again it fails (status {status}): {self._last_words()}")
            return
        self._compare(units, self.job.units(out), out)
        self.out.repeated += sorted({f"{out.name}: {unit}" for unit in self.job.work[done:] if unit in units})
        self._compare_result(out)

    def _is_sentence(self, status: int, said: str, where: str = "") -> None:
        """Whether what a command said is no traceback, and its failure one of ours."""
        lines = said.strip().splitlines() or [""]
        if "Traceback (most recent call last)" in said:
            self.out.problems.append(f"{where} a traceback: {lines[-1][:300]}".strip())
        elif status not in (0, 1, 2, 3):
            self.out.problems.append(f"{where} it ends with {status}: {lines[-1][:300]}".strip())

    def _said(self, before: int) -> str:
        return self.log.read_bytes()[before:].decode("utf-8", "replace")

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def _kill_once(self, process: "subprocess.Popen[bytes]", out: Path) -> bool:
        """Kill at a random moment; whether the command was through before."""
        at_work = self.rng.random() < 0.5
        moment, before, since = self.rng.random(), self.job.progress(out), time.monotonic()
        limit = self.length * moment
        waiting = at_work
        while process.poll() is None:
            now = time.monotonic()
            if waiting and self.job.progress(out) != before:
                waiting, since, limit = False, now, self.working * moment
            if not waiting and now - since >= limit:
                break
            if now - since > HANGS:
                self._hangs(process, "the command")
                return True
            time.sleep(0.01)
        if process.poll() is not None:
            return self._ended(process)
        children = tree_of(process)
        kind = self.rng.choice(["tree", "tree", "command", "child"] if children else ["tree"])
        self.out.tried += 1
        self.out.kinds[kind] = self.out.kinds.get(kind, 0) + 1
        if kind == "child":
            victim = self.rng.choice(children)
            end_all([victim])
            return self._wait(process, fails=True)
        if kind == "command":
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            until = time.monotonic() + ALONE
            while living(children) and time.monotonic() < until:
                time.sleep(0.05)
            if left := living(children):
                self.out.problems.append(f"{len(left)} processes outlive the command: {left[0].cmdline()[:4]}")
                end_all(left)
            return False
        for one in [psutil.Process(process.pid), *children]:
            end_all([one])
        process.wait()
        end_all(living(children))
        return False

    def _wait(self, process: "subprocess.Popen[bytes]", fails: bool = False) -> bool:
        try:
            process.wait(HANGS)
        except subprocess.TimeoutExpired:
            self._hangs(process, "without one of its processes, the command" if fails else "the command")
            return True
        return self._ended(process, fails)

    def _ended(self, process: "subprocess.Popen[bytes]", may_fail: bool = False) -> bool:
        if process.returncode == 0:
            return True
        if may_fail:
            self._is_sentence(process.returncode, self._said(self._mark))
        else:
            problem = f"it fails after a kill (status {process.returncode}): {self._last_words()}"
            self.out.problems.append(problem)
        return False

    def _hangs(self, process: "subprocess.Popen[bytes]", what: str) -> None:
        self.out.problems.append(f"{what} does not end within {HANGS:.0f} s")
        children = tree_of(process)
        process.kill()
        end_all(children)
