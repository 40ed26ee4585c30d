"""Prepares a dataset repo's folder for publication: Parquet, report, and a card checked against the files."""

from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from huggingface_hub import DatasetCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from ..data import PLACEHOLDER
from ..errors import InputError
from ..storage import read_text
from .errors import check_repo_id
from .push import Manifest, select_files

WANTED = ("README.md", "report.json", "LICENSE*", "NOTICE*", "*.parquet", "*/*.parquet")
REPO = "path/to/this/repo"  # stands in a card for the repo's id until there is one

# Suites that are tasks of a benchmark, and their splits of the config `instructions`.
TASKS = {"simulated": "eval_simulated", "real": "eval_real"}

BUILD = "build the dataset again with a script of dataset_scripts/"


def dataset_manifest(folder: str | Path, repo_id: str) -> Manifest:
    """Collect what to push from a folder that a script of `dataset_scripts/` wrote.

    Each pattern in the card's `configs` must match files, each Parquet file must belong to one, and the numbers of
    rows must agree.

    Raises:
        [`OptionError`]: The repo id is none.
        [`InputError`]: There is no card or no Parquet file, or the card says what the files do not.

    Example:

    ```python
    >>> push(dataset_manifest("build/toolalpaca", "me/toolalpaca"), "me/toolalpaca")  # doctest: +SKIP
    ```
    """
    folder = Path(folder)
    check_repo_id(repo_id)
    files, left_out = select_files(folder, WANTED)
    card = folder / "README.md"
    parquet = {path: folder / path for path in files if path.endswith(".parquet")}
    if "README.md" not in files or not parquet:
        raise InputError("has no README.md or no Parquet file", file=folder, fix=BUILD)
    text = read_text(card, BUILD)
    _check(card, text, parquet)
    files["README.md"] = text.replace(REPO, repo_id).encode("utf-8")
    if tasks := [
        {"id": name, "config": "instructions", "split": split}
        for name, split in TASKS.items()
        if any(path.startswith(f"instructions/{split}-") for path in parquet)
    ]:  # what makes a dataset repo a benchmark on the Hub
        about = "Instructions for documented APIs, with the calls that solve them; scored by rule on whole rollouts."
        content = {"name": repo_id.split("/")[-1], "description": about, "evaluation_framework": "toolalpaca-hf"}
        files["eval.yaml"] = yaml.safe_dump(content | {"tasks": tasks}, sort_keys=False).encode("utf-8")
    return Manifest("dataset", files, "Upload dataset with toolalpaca-hf", left_out, ("*.parquet", "*/*.parquet"))


def _check(card: Path, text: str, parquet: dict[str, Path]) -> None:
    wrong = partial(InputError, file=card, fix=BUILD)
    if holes := PLACEHOLDER.findall(text):
        raise wrong(f"has no value for {', '.join(holes)}")
    try:
        metadata = DatasetCard(text).data.to_dict()
        infos = metadata["dataset_info"]
        infos = infos if isinstance(infos, list) else [infos]
        rows = {(info["config_name"], part["name"]): part["num_examples"] for info in infos for part in info["splits"]}
        data = [(made["config_name"], part) for made in metadata["configs"] for part in made["data_files"]]
        patterns = {(config, part["split"]): part["path"] for config, part in data}
    except (ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise wrong(f"has metadata that cannot be read ({' '.join(str(error).split())})") from None
    if not REGEX_YAML_BLOCK.search(text) or not patterns:
        raise wrong("names no configs")
    taken = set()
    for (config, split), pattern in patterns.items():
        found = [path for path in parquet if fnmatchcase(path, str(pattern))]
        taken |= set(found)
        counted = sum(_rows(parquet[path]) for path in found)
        if not found:
            raise wrong(f"names {pattern}, which no file matches")
        if (said := rows.get((config, split))) != counted:
            raise wrong(f"says {said} rows of {config}/{split}, the Parquet files have {counted}")
    if extra := sorted(set(parquet) - taken):
        raise wrong(f"names no config for {extra[0]}")


def _rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"no whole Parquet file ({error})", file=path, fix=BUILD) from None
