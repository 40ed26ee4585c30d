"""A manifest and its push in one call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolalpaca_hf.hub import dataset_manifest, model_manifest, push, read_run, results_manifest


def publish_dataset(folder: str | Path, repo_id: str, *args: Any, **options: Any) -> Any:
    return push(dataset_manifest(folder, repo_id), repo_id, *args, **options)


def publish_model(
    run: str | Path, repo_id: str, token: str | None = None, endpoint: str | None = None, **about: Any
) -> Any:
    options = {name: about.pop(name) for name in ("public", "revision", "create_pr") if name in about}
    return push(model_manifest(run, repo_id, endpoint=endpoint, **about), repo_id, token, endpoint, **options)


def push_results(
    runs: Mapping[str, str | Path],
    repo_id: str,
    token: str | None = None,
    endpoint: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    benchmark: str | None = None,
) -> str:
    read = [read_run(folder) for folder in runs.values()]
    manifest = results_manifest(read, repo_id, endpoint, revision, benchmark)
    return push(manifest, repo_id, token, endpoint, revision=revision, create_pr=create_pr).url
