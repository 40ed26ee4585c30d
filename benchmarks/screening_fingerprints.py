"""
Write the fingerprints of evaluation instructions into the package; the texts themselves stay where they are.

    pip download --no-deps bfcl-eval inspect-evals -d wheels/
    python benchmarks/screening_fingerprints.py wheels/ eval_simulated.json eval_real.json
"""

import gzip
import json
import sys
from pathlib import Path
from zipfile import ZipFile

from toolalpaca_hf.corpus.decontamination import FILE, PUBLISHED, PUBLISHED_FILE, Fingerprint, instructions_of
from toolalpaca_hf.evaluation.bfcl import CATEGORIES, bfcl_rows, question_of

TAU2 = "inspect_evals/tau2/data/domains/{}"
TASKS = ("airline/tasks.json", "retail/tasks.json", "telecom/tasks.json.gz", "banking_knowledge/tasks.json")


def tau2_texts(folder: Path) -> list[str]:
    """What τ²-bench's users want, and telecom's tickets."""
    found = []
    (wheel,) = folder.glob("inspect_evals-*.whl")
    with ZipFile(wheel) as file:
        for name in TASKS:
            content = file.read(TAU2.format(name))
            for task in json.loads(gzip.decompress(content) if name.endswith(".gz") else content):
                asked = task["user_scenario"]["instructions"]
                found += [asked] if isinstance(asked, str) else [asked["reason_for_call"]]
                found += [task["ticket"]] if task.get("ticket") else []
    return found


if __name__ == "__main__":
    wheels = Path(sys.argv[1])
    bfcl = [question_of(row) for category in CATEGORIES for row, _ in bfcl_rows(category, wheels)]
    tau2 = tau2_texts(wheels)
    others = {"bfcl": [*dict.fromkeys(bfcl)], "tau2": [*dict.fromkeys(tau2)]}
    published = {name: instructions_of(path) for name, path in zip(PUBLISHED, sys.argv[2:], strict=True)}
    for file, texts in ((FILE, others), (PUBLISHED_FILE, published)):
        sets = {name: [Fingerprint.of(text).encode() for text in given] for name, given in texts.items()}
        file.write_text(json.dumps(sets, indent=0) + "\n", encoding="utf-8")
    print(f"{len(set(bfcl))} instructions of BFCL, {len(set(tau2))} of τ²-bench")
