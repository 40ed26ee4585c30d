"""What `run_chaos.py` does to a job besides killing it: a second process, a full or read-only disk, a wrong clock,
files that were cut off."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static long jumps[] = {0, 259200, -259200, 31536000, -315360000, 3600, -7200};
static int (*real)(clockid_t, struct timespec *);
int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, at);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        struct timespec since;
        real(CLOCK_MONOTONIC, &since);
        at->tv_sec += jumps[(since.tv_sec * 2 + since.tv_nsec / 500000000) % 7];
    }
    return status;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return status;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
"""A wall clock that jumps twice a second, by hours, days and years, to and fro."""

PERCENT = 7


def jumping_clock(folder: Path) -> dict[str, str]:
    """The variables that give a process that clock; needs a C compiler."""
    library = folder / "clock.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "clock.c").write_text(CLOCK)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "clock.c"), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes in memory; needs root."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    """Change a file system's size (`size=BYTES`), or whether it can be written (`ro`, `rw`)."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def cut_files(folder: Path) -> Iterator[tuple[Path, int]]:
    """One file of each kind below a folder, by its path there, and where it is cut: every 7% of it."""
    kinds: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.stat().st_size and not name.endswith(".lock"):
            kinds.setdefault(re.sub(r"\d+", "#", name), path)
    for path in kinds.values():
        size = path.stat().st_size
        for place in sorted({size * percent // 100 for percent in range(0, 100, PERCENT)}):
            yield path.relative_to(folder), place


def copy_cut(folder: Path, to: Path, path: Path, place: int) -> None:
    """A copy of a folder in which one file is cut off."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, symlinks=True)
    with (to / path).open("r+b") as file:
        file.truncate(place)
