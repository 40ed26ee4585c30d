"""Which instances are trained on, and which are kept for evaluation with the calls that solved them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..corpus import status_of
from ..data import raw_api, raw_instance
from ..errors import InputError
from ..formats import GET_DETAILS
from ..schema import Api, Call, Instruction, Trajectory
from ..storage import write_json

ENOUGH_APIS = 4  # from so many on, whole ones are held out

ByApi = dict[str, list[Trajectory]]


def unseen_apis(apis: int, share: float) -> int:
    """How many of so many APIs are held out whole."""
    return max(1, round(share * apis)) if apis >= ENOUGH_APIS else 0


def golden_calls(trajectory: Trajectory) -> list[Call]:
    """The calls that the API answered with success."""
    steps = [step for step in trajectory.steps if step.action != GET_DETAILS]
    return [Call(s.action, s.action_input) for s in steps if 200 <= (status_of(s.observation) or 0) < 300]


def hold_out(
    apis: Sequence[Api], trajectories: Sequence[Trajectory], share: float, seed: int = 0
) -> tuple[ByApi, ByApi]:
    """Split trajectories into those to train on and those to evaluate on, by API id; an [`InputError`] if too few.

    A share of each API's is held out and, of four or more APIs, about a share of whole ones. The split depends only on
    the instructions' text and the seed. Only trajectories whose every step is a successful call are held out, so that
    these calls are the golden ones.
    """

    def order(text: str) -> str:
        return hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()

    by_api = {api.id: [row for row in trajectories if row.api == api.id] for api in apis}
    unseen = sorted((api.id for api in apis if by_api[api.id]), key=order)[: unseen_apis(len(apis), share)]
    trained, kept = ByApi(), ByApi()
    for api, rows in by_api.items():
        solved = [row for row in rows if 0 < len(golden_calls(row)) == len(row.steps)]  # nothing was corrected
        usable = sorted(solved, key=lambda row: order(row.instruction))
        count = len(usable) if api in unseen else max(1, round(share * len(rows))) if len(rows) > 4 else 0
        kept[api] = usable[:count]
        ids = {row.id for row in kept[api]}
        trained[api] = [] if api in unseen else [row for row in rows if row.id not in ids]
    if not any(trained.values()) or not any(kept.values()):
        raise InputError("too few instances to train on some and evaluate on others", fix="raise --per-api")
    return trained, kept


def write_split(folder: Path, apis: Sequence[Api], trained: ByApi, kept: ByApi) -> tuple[Path, Path]:
    """Write both in the raw layout, which every other command reads: `train.json` and `held_out.json`."""
    train = [raw_api(api, [raw_instance(row) for row in trained[api.id]]) for api in apis if trained[api.id]]
    asked = [
        raw_api(api, instructions=[Instruction(r.id, api.id, r.instruction, golden_calls(r)) for r in kept[api.id]])
        for api in apis
        if kept[api.id]
    ]
    files = folder / "train.json", folder / "held_out.json"
    for file, content in zip(files, (train, asked), strict=True):
        write_json(file, content)
    return files
