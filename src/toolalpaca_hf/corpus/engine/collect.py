"""The folder of a corpus: its settings, what each stage made of each API, and the files that others read."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from ... import __version__
from ...data import ListedApi, Slugs, raw_api, raw_instance
from ...errors import InputError, OptionError
from ...llm import ModelSettings, Usage, cost
from ...schema import Api, Function, Step, Trajectory
from ...storage import atomic_path, atomic_write, claim_settings, disk_errors, file_lock, read_json, write_json

# What is said while a stage runs, by its name, in their order.
STAGES = {"toolset": "building APIs", "copies": "comparing documents", "instructions": "writing instructions"}
STAGES |= {"screen": "screening instructions", "simulation": "simulating"}

# Stages in which one API decides about another: one task sees them all, in the order of the list.
SEQUENTIAL = ("copies", "screen")


class CorpusFolder:
    """The folder of a corpus; `parts/STAGE/INDEX.json`, written atomically, is what a stage has made of an API."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def _part(self, stage: str, index: int) -> Path:
        return self.path / "parts" / stage / f"{index:06d}.json"

    def has(self, stage: str, index: int) -> bool:
        return self._part(stage, index).is_file()

    def read(self, stage: str, index: int) -> dict[str, Any]:
        return read_json(self._part(stage, index))

    def write(self, stage: str, index: int, made: Mapping[str, Any]) -> None:
        atomic_write(self._part(stage, index), json.dumps(made, ensure_ascii=False))

    def write_documented(self, index: int, api: Api, entry: ListedApi, set_aside: str | None = None) -> None:
        """What the first two stages leave of an API whose document exists, or why it is set aside."""
        made = {"id": api.id, "entry": asdict(entry), "api": None if set_aside else asdict(api)}
        made |= {"set_aside": set_aside, "attempts": {}, "violations": [], "asked": {}}
        self.write("toolset", index, made)
        self.write("copies", index, {"set_aside": None})

    def api(self, index: int) -> dict[str, Any] | None:
        """The API built from an entry; `None` if it was set aside."""
        return self.read("toolset", index)["api"] if self.read("copies", index)["set_aside"] is None else None

    def finished(self, stage: str) -> int:
        """How many APIs a stage has finished."""
        with suppress(FileNotFoundError):
            return sum(name.endswith(".json") for name in os.listdir(self.path / "parts" / stage))
        return 0

    def entries(self) -> list[ListedApi]:
        """The listed APIs; an API's index is its position here."""
        path = self.path / "entries.json"
        try:
            return [ListedApi(**entry) for entry in read_json(path, "pass another --out")]
        except TypeError:
            raise InputError("is no list of APIs", file=path, fix="pass another --out") from None

    @contextmanager
    def opened(self, settings: Mapping[str, Any], entries: Sequence[ListedApi]) -> Iterator["CorpusFolder"]:
        """Claim the folder for one corpus, and lock others out while the `with` block lasts."""
        claimed = self.path / "settings.json"
        # As it will be read: half a surrogate pair cannot be written.
        listed = json.loads(json.dumps([*map(asdict, entries)], ensure_ascii=False).encode("utf-8", "replace"))
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path / ".lock", self.path):
            if not claimed.exists():
                write_json(self.path / "entries.json", listed)
            claim_settings(claimed, settings, "a corpus")
            if [asdict(entry) for entry in self.entries()] != listed:
                fix = "pass the same list, or another --out; a copy of requests.sqlite there saves the answers"
                raise OptionError(f"{self.path} holds a corpus of other APIs", option="--apis", fix=fix)
            yield self


def documents_hash(apis: Sequence[Api]) -> str:
    return hashlib.sha256(json.dumps([asdict(api) for api in apis]).encode()).hexdigest()[:16]


def api_from_dict(row: dict[str, Any]) -> Api:
    """Inverse of `dataclasses.asdict`."""
    return Api(**{**row, "functions": [Function(**function) for function in row["functions"]]})


def collect(folder: CorpusFolder, settings: Mapping[str, Any], roles: Mapping[str, ModelSettings]) -> dict[str, Any]:
    """Write `train_data.json` (the raw layout), `apis.jsonl`, `instances.jsonl` and `corpus.json`; returns the last.

    One API at a time is in memory; the files follow the order of the list, whenever each API was finished.
    """
    counts, failed, asked = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    slugs = Slugs()  # of what is written to train_data.json, as its readers assign them
    raw, apis, instances = (folder.path / name for name in ("train_data.json", "apis.jsonl", "instances.jsonl"))
    with _json_file(raw, is_list=True) as add_raw, _json_file(apis) as add_api, _json_file(instances) as add_instance:
        for index in range(len(folder.entries())):
            made = {stage: folder.read(stage, index) for stage in STAGES}
            built = made["toolset"]["api"] if made["copies"]["set_aside"] is None else None
            read_as = f"train/{slugs.take(built['name'])}" if built is not None else ""
            rows = list(_instances(made, read_as, settings))
            for row in rows:
                if not row["kept"]:
                    failed[next((gate for gate, reason in row["gates"].items() if reason), "failure")] += 1
                add_instance(row)
            if built is not None:
                kept = [raw_instance(trajectory_from_dict(row["trajectory"])) for row in rows if row["kept"]]
                add_raw(raw_api(api_from_dict(built), kept))
            toolset, instructions = made["toolset"], made["instructions"]
            api: dict[str, Any] = {
                **toolset,
                "api": built,
                "set_aside": toolset["set_aside"] or made["copies"]["set_aside"],
                "instructions": {
                    "written": len(instructions["written"]) + len(instructions["left_out"]),
                    "taken": len(made["screen"]["taken"]),
                    "left_out": instructions["left_out"] + made["screen"]["left_out"],
                    "failure": instructions["failure"],
                },
                "instances": len(rows),
                "kept": sum(row["kept"] for row in rows),
                "asked": {"toolset": toolset["asked"], "instructions": instructions["asked"]},
            }
            add_api(api)
            counts.update(entries=1, apis=int(built is not None), set_aside=int(built is None))
            counts.update(copies=int(made["copies"]["set_aside"] is not None), written=api["instructions"]["written"])
            counts.update(instructions=len(instructions["written"]), taken=api["instructions"]["taken"])
            counts.update(instances=api["instances"], kept=api["kept"])
            for part in (toolset, instructions, *made["simulation"]["instances"]):
                for role, usage in part.get("asked", {}).items():
                    asked.setdefault(role, Counter()).update({k: v for k, v in usage.items() if k != "model"})
    spent = {role: Usage(u["calls"], u["prompt_tokens"], u["completion_tokens"]) for role, u in asked.items()}
    note = {
        "toolalpaca_hf": __version__,
        "settings": dict(settings),
        **counts,
        "gates": dict(sorted(failed.items())),
        "asked": {role: dict(usage) for role, usage in sorted(asked.items())},
        "cost": round(cost(spent, roles), 6),
    }
    write_json(folder.path / "corpus.json", note, indent=2)
    return note


def _instances(made: dict[str, Any], read_as: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # Rules note theirs elsewhere.
    stages = [stage for stage in ("toolset", "instructions") if "prompts" in made[stage]]
    earlier = {stage: {"asked": made[stage]["asked"], "prompts": made[stage]["prompts"]} for stage in stages}
    if "instructions" in earlier:
        earlier["instructions"]["seed"] = settings["instructions"]["seed"]
    if "roles" in settings:
        earlier["seeds"] = {role: values["seed"] for role, values in settings["roles"].items()}
    kept = 0
    for index, instance in enumerate(made["simulation"]["instances"]):
        taken = made["screen"]["taken"][index]
        api, trajectory, gates = made["toolset"]["api"]["id"], instance["trajectory"], instance.get("gates") or {}
        is_kept = trajectory is not None and not any(gates.values())
        yield {
            "id": f"{api}/{index}",
            "api": api,
            "instruction": taken["instruction"],
            "trajectory": trajectory,
            "gates": gates,
            "kept": is_kept,
            # The id in the dataset, which numbers what is kept.
            "row": f"{read_as}/{kept}" if is_kept else None,
            "provenance": {
                "source": "simulated",
                **instance.get("provenance", {}),
                "written": {name: value for name, value in taken.items() if name != "instruction"},
                "asked": instance["asked"],
                **earlier,
                **({"failure": instance["failure"]} if instance.get("failure") else {}),
            },
        }
        kept += is_kept


def trajectory_from_dict(row: dict[str, Any]) -> Trajectory:
    return Trajectory(**{**row, "steps": [Step(**step) for step in row["steps"]]})


@contextmanager
def _json_file(path: Path, is_list: bool = False) -> Iterator[Callable[[Any], object]]:
    """Write JSON values one at a time, as lines or as a list, to a file that takes its name once it is complete."""
    begin, between, after, end = ("[\n", ",\n", "", "\n]\n") if is_list else ("", "", "\n", "")
    separators = chain([""], repeat(between))
    with disk_errors(path), atomic_path(path) as part:
        with part.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(begin)
            yield lambda value: file.write(f"{next(separators)}{json.dumps(value, ensure_ascii=False)}{after}")
            file.write(end)
