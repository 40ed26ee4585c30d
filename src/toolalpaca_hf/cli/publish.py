"""`toolalpaca publish` and `toolalpaca fetch`: to the Hub and from it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import OptionError, needing
from ..storage import interruptible
from .options import option, with_options

if TYPE_CHECKING:
    from ..hub import Manifest

app = typer.Typer(name="publish", help="Publish datasets, models and results on the Hub.", no_args_is_help=True)

HUB = "Hub"


@dataclass(frozen=True)
class PushOptions:
    """Where a manifest is pushed, and how."""

    repo_id: Annotated[str, option("me/name; created where there is none, but for results.")]
    public: Annotated[bool, option("Everybody may see it; private otherwise.", None, "--public")] = False
    dry_run: Annotated[bool, option("Show files, sizes and card; ask the Hub nothing.", None, "--dry-run")] = False
    revision: Annotated[str | None, option("Branch; main otherwise.", HUB)] = None
    pr: Annotated[bool, option("Open a pull request, or commit.", HUB, "--pr/--no-pr")] = False

    def __post_init__(self) -> None:
        if self.public and self.pr:
            raise OptionError("is not for a pull request", option="--public", fix="leave it out")

    def push(self, manifest: "Manifest") -> None:
        """Push it, or show what would be pushed."""
        from ..hub import push

        if self.dry_run:
            return _show(manifest)
        kept = "the repo is as it was; files that were sent are not sent again by the same command"
        with interruptible(lambda: kept):
            pushed = push(manifest, self.repo_id, public=self.public, revision=self.revision, create_pr=self.pr)
        typer.echo(f"{self.repo_id} ({'private' if pushed.private else 'public'}): {pushed}")


@app.command()
@with_options("to", PushOptions)
def dataset(
    folder: Annotated[Path, typer.Argument(help="As a script of dataset_scripts/ wrote it.")], to: PushOptions
) -> None:
    """Publish a dataset repo: Parquet, card, report."""
    from ..hub import dataset_manifest

    to.push(dataset_manifest(folder, to.repo_id))


@app.command()
@with_options("to", PushOptions)
def model(
    run: Annotated[Path, typer.Argument(help="As recipes/sft.py wrote it: full weights, or an adapter.")],
    to: PushOptions,
    results: Annotated[list[Path] | None, option("Folder that toolalpaca evaluate wrote; may be given again.")] = None,
    merge: Annotated[bool, option("Put the adapter into its base's weights.", None, "--merge")] = False,
    card: Annotated[str | None, option("Template of model_cards/; the one that fits otherwise.")] = None,
    base_model: Annotated[str | None, option("The base's Hub id, where it was a folder.")] = None,
    licence: Annotated[str | None, option("Such as apache-2.0.", None, "--licence", "--license")] = None,
    evaluated_as: Annotated[str | None, option("The model's name in the results.")] = None,
) -> None:
    """Publish a trained model: safetensors, tokenizer, settings, results, card."""
    from ..hub import model_manifest

    to.push(model_manifest(run, to.repo_id, results or (), merge, card, base_model, licence, evaluated_as))


@app.command()
@with_options("to", PushOptions, ("public",), pr=True)
def results(
    folders: Annotated[list[Path], typer.Argument(help="Folders that toolalpaca evaluate wrote, one a suite.")],
    to: PushOptions,
    benchmark: Annotated[str | None, option("Dataset repo with an eval.yaml; writes .eval_results/.", HUB)] = None,
) -> None:
    """Put evaluation results into a model repo that exists; as a pull request, where nothing else is said."""
    from ..hub import read_run, results_manifest

    runs = [read_run(folder) for folder in folders]
    to.push(results_manifest(runs, to.repo_id, revision=to.revision, benchmark=benchmark))


@app.command()
@with_options("to", PushOptions)
def space(
    folders: Annotated[list[str], typer.Argument(help="Datasets, runs, evaluations, or what create wrote.")],
    to: PushOptions,
    dataset_id: Annotated[str | None, option("Publish the dataset among them as this repo, too, and link it.")] = None,
    package: Annotated[str | None, option("What it installs: toolalpaca-hf[explore] @ git+URL.")] = None,
) -> None:
    """Publish a Gradio Space that shows rows and rollouts as `toolalpaca explore` does."""
    with needing("a Space", "explore"):
        from ..explore import find_targets, space_manifest
        from ..hub import dataset_manifest

        manifest = space_manifest(folders, to.repo_id, dataset_id, package)
    if dataset_id:
        datasets = [target.path for target in find_targets(folders) if target.kind == "dataset"]
        if len(datasets) != 1:
            raise OptionError(f"{len(datasets)} folders hold a dataset", option="--dataset-id", fix="pass one")
        replace(to, repo_id=dataset_id).push(dataset_manifest(datasets[0], dataset_id))
    to.push(manifest)


@app.command()
def traces(
    run: Annotated[Path, typer.Argument(help="A run's folder, or `rollouts` of an evaluation.")],
    out: Annotated[Path | None, option("Folder to write, a file a rollout.")] = None,
    model: Annotated[str, option("The model's name in the traces; the run's otherwise.")] = "",
    trackio: Annotated[str | None, option("Trackio's project to log them to.", HUB)] = None,
) -> None:
    """Write rollouts as session traces, which the Hub renders when they are in a dataset repo; or into Trackio."""
    from ..agent import log_traces, write_traces

    if not out and not trackio:
        raise OptionError("pass one of --out and --trackio")
    for place, write in ((out, write_traces), (trackio, log_traces)):
        if place:
            typer.echo(f"{place}: {write(run, str(place), model)} traces")


def fetch(
    repo_id: Annotated[str, typer.Argument(help="A model's Hub id, such as TangQiaoYu/ToolAlpaca-7B.")],
    revision: Annotated[str | None, option("Branch, tag or commit; main otherwise.")] = None,
    allow_bin: Annotated[
        bool, option("Convert pickled weights where there are no others.", None, "--allow-bin")
    ] = False,
    prompt: Annotated[Literal["react", "upstream"] | None, option("Templates to add if it has none.")] = None,
    prompt_dir: Annotated[str | None, option("Folder with upstream's agent/ files; downloaded otherwise.")] = None,
) -> None:
    """Fetch a model into the cache, safetensors only; prints the folder for --model and from_pretrained."""
    from ..data import make_prompt
    from ..hub import RISK
    from ..hub import fetch as fetch_model

    if prompt is None and (prompt_dir or repo_id.lower().startswith("tangqiaoyu/toolalpaca")):
        prompt = "upstream"
    carried = make_prompt(prompt, prompt_dir) if prompt else None
    if allow_bin:
        typer.echo(f"Careful: {RISK}.", err=True)
    with interruptible(lambda: "what is loaded is kept in the cache; the same command goes on"):
        fetched = fetch_model(repo_id, revision, allow_bin, prompt=carried)
    how = "converted to safetensors" if fetched.converted else "safetensors"
    typer.echo(f"{repo_id} at {fetched.revision} ({how}); --revision {fetched.revision} pins it", err=True)
    typer.echo(str(fetched.folder))


def _show(manifest: "Manifest") -> None:
    from rich.filesize import decimal

    from ..hub import check_no_secrets

    check_no_secrets(manifest)
    typer.echo(f"{manifest.card}\n")
    sizes = manifest.sizes()
    width = max(map(len, sizes))
    for path, size in sizes.items():
        typer.echo(f"{path:<{width}}  {decimal(size):>9}")
    for path, why in manifest.left_out.items():
        typer.echo(f"left out: {path} ({why})")
    typer.echo(f"{len(sizes)} files, {decimal(sum(sizes.values()))}; nothing was pushed")
