"""The stages from documents to a measured model; each is another room's, and a finished one is not run again."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..agent import RolloutConfig
from ..checkpoints import check_model, resolve_model, weights_of
from ..corpus import CorpusConfig, build_corpus, documents_hash, estimate
from ..data import ListedApi, read_corpus, resolve_sources, write_repo
from ..errors import ToolAlpacaError
from ..evaluation import as_table, measure_rollouts, read_suite, write_records
from ..experimental.offline_corpus import OfflineSettings, build_offline_corpus
from ..formats import react_prompt
from ..inference import load_model
from ..precision import default_device
from ..report import markdown_table, rate_text, render, write_texts
from ..storage import claim_settings, file_lock, read_json, write_json
from .config import CheckedDocuments, CreateConfig, check_documents
from .split import hold_out, unseen_apis, write_split

TOOL_HINTS = 1  # as recipes/create/sft.yaml has it

# A thought that names an id, a date and a number takes some 60 tokens; an untrained model goes on until it is stopped.
ROLLOUTS = RolloutConfig(max_steps=3, max_new_tokens=128, max_tokens=256, max_unread=1, unreadable_after=96)
COPIES, SEQUENCE = 2, 2048  # passes over an instance, and most tokens of a step, as the recipe has them

A_FUNCTION = 12  # instructions by rule that differ enough, about; longer documents have more

ROW, HEAD, LETTERS = 220, 550, 3.5
"""Tokens of a row behind what its API's rows share, letters of a prompt besides its functions, letters of a token."""

LEAST_STEPS = 30  # in fewer SmolLM2 hardly learns the format: a small corpus is trained on for several epochs

# Forward passes over 256 tokens that take as long as a step, an instruction before training and after it, and loading.
# From measured runs; a step is 18 passes in float32 and 31 in bfloat16.
PASSES_A_STEP, PASSES_BEFORE, PASSES_AFTER, PASSES_LOADING = 25.0, 9.0, 4.0, 60.0

RATES = {
    "all_functions": "all golden functions called",
    "arguments": "all golden calls made",
    "process_verdict": "process right, by rule",
}
HEADING = "\n## On held-out instructions\n"


class TrainingFailedError(ToolAlpacaError):
    """The training process ended with an error, which it printed; `file` is its folder."""

    status = 1


def expected_sizes(config: CreateConfig, checked: CheckedDocuments) -> tuple[int, int, int]:
    """About how many instances there will be, how many of them held out, and steps of training."""
    most = config.per_api if config.endpoint else A_FUNCTION
    made = [min(config.per_api, most * len(api.functions)) for api in checked.apis]
    whole = unseen_apis(len(made), config.held_out) / len(made)
    share = whole + (1 - whole) * config.held_out
    steps, epochs = training_steps(checked, [n * (1 - share) for n in made])
    return sum(made), round(sum(made) * share), config.max_steps or steps * epochs


def training_steps(checked: CheckedDocuments, trained: Sequence[float]) -> tuple[int, int]:
    """About how many steps an epoch has, and how many epochs there should be, by the rows of each API."""
    heads = [(HEAD + sum(len(f.name) + len(f.description) for f in api.functions)) / LETTERS for api in checked.apis]
    packed = sum(n * ROW / max(ROW, SEQUENCE - head) for n, head in zip(trained, heads, strict=True))
    steps = max(1, round(COPIES * packed))
    return steps, -(-LEAST_STEPS // steps)


def plan(config: CreateConfig, checked: CheckedDocuments, seconds_a_pass: float | None = None) -> list[str]:
    """What each stage would do, in a sentence, with the minutes of the long ones.

    `seconds_a_pass` is the base model's over 256 tokens; no time is said without it.
    """
    rows, kept, steps = expected_sizes(config, checked)
    passes = {"before": PASSES_BEFORE * kept, "training": PASSES_A_STEP * steps, "after": PASSES_AFTER * kept}
    passes["all"] = sum(passes.values()) + PASSES_LOADING
    minutes = dict.fromkeys(passes, "")
    if seconds_a_pass is not None:
        minutes = {name: f", about {max(1, round(count * seconds_a_pass / 60))} min" for name, count in passes.items()}
    by = "rules and the simulator"
    if config.endpoint:
        expected = estimate(len(checked.apis), corpus_config(config), Path(config.out) / "corpus").roles
        calls = sum(expected[role].calls for role in ("user", "assistant"))
        by = f"{config.model} and the simulator, about {calls:,} calls"
    return [
        f"documents: {len(checked.apis)} API{'s' * (len(checked.apis) > 1)}, {checked.functions} functions",
        f"corpus: about {rows} instructions and trajectories, by {by}",
        f"split: about {kept} of them held out, with the calls that solve them",
        f"before: {config.base} rolls out the held-out instructions{minutes['before']}",
        f"training: about {steps} steps of {SEQUENCE} tokens{minutes['training']}",
        f"after: the trained model rolls out the same instructions{minutes['after']}",
        f"report: {config.out}/report.html, the model's card, and how to use it",
        *([f"in all{minutes['all'][1:]}"] if minutes["all"] else []),
    ]


def seconds_a_pass(base: str) -> float:
    """Load a model and time a forward pass over 256 tokens, the best of five.

    On a CPU two of them count one thread's own time: on a busy machine threads wait for one another, and then all of
    them take ten times as long as on a quiet one.
    """
    import torch

    model, _ = load_model(resolve_model(base))
    ids, seconds = torch.arange(256, device=model.device)[None], []
    cpu, threads = model.device.type == "cpu", torch.get_num_threads()
    for number, clock in enumerate([time.thread_time if cpu else time.perf_counter] * 2 + [time.perf_counter] * 3):
        torch.set_num_threads(1 if cpu and number < 2 else threads)
        start = clock()
        with torch.inference_mode():
            model(ids).logits[0, -1, 0].item()  # waits for an accelerator
        seconds.append(clock() - start)
    return min(seconds)


def create(config: CreateConfig, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Make a model that calls the APIs of some documents. Called again after a kill, it goes on.

    `tell` is given a sentence a stage.

    Returns:
        `dict`: The contents of `metrics.json`: `n`, `baselines`, `before` and `after` (shares of first calls and
            rates of whole rollouts), `seconds` by stage, and the base's `weights`.

    Raises:
        [`ToolAlpacaError`]: A document or the base cannot be used, or `out` was made with other settings.
        [`TrainingFailedError`]: Training failed.

    Example:

    ```python
    >>> create(CreateConfig(("petstore.yaml",), "outputs/petstore"))["n"]  # doctest: +SKIP
    12
    ```
    """
    check_model(config.base)
    checked, out = check_documents(config.documents), Path(config.out)
    for note in checked.notes:
        tell(note)
    claimed = config.claimed() | {"documents_hash": documents_hash(checked.apis)}
    claim_settings(out / "create.json", claimed, "a model")
    state = out / "stages.json"
    seconds: dict[str, float] = read_json(state) if state.exists() else {}
    if "training" not in seconds:
        for sentence in plan(config, checked, seconds_a_pass(config.base)):
            tell(f"  {sentence}")
    stages: dict[str, Callable[[], None]] = {
        "corpus": lambda: _corpus(config, checked, out, tell),
        "before": lambda: _evaluate(config.base, "before", out),
        "training": lambda: _train(config, out, training_steps(checked, _trained_rows(checked, out))[1]),
        "after": lambda: _evaluate(str(out / "model"), "after", out),
    }
    with file_lock(out / ".lock", out):
        for number, (name, run) in enumerate(stages.items(), 1):
            if name in seconds:
                tell(f"{number} of {len(stages)}: {name}, done before")
                continue
            tell(f"{number} of {len(stages)}: {name}")
            start = time.monotonic()
            run()
            seconds[name] = round(time.monotonic() - start, 1)
            write_json(state, seconds)
        return _finish(config, checked, out, seconds)


def corpus_config(config: CreateConfig) -> CorpusConfig:
    """The settings of a corpus that a model writes; the simulator answers its calls, as it does in the evaluation."""
    given = {
        "models": {"endpoint": config.endpoint, "model": config.model, "seed": config.seed},
        "instructions": {"per_style": -(-config.per_api // 2), "seed": config.seed},
        "simulation": {"executor": "schema", "seed": config.seed},
        "run": {"concurrency": RolloutConfig.concurrency},
    }
    return CorpusConfig.load(recipes_folder() / "corpus" / "default.yaml", given)


def _corpus(config: CreateConfig, checked: CheckedDocuments, out: Path, tell: Callable[[str], None]) -> None:
    """Trajectories, their split, and the dataset of those to train on."""
    if config.endpoint:
        entries = [ListedApi(api.name, api.description, api.link, api.category) for api in checked.apis]
        build_corpus(entries, out / "corpus", corpus_config(config), progress=True, tell=tell, apis=checked.apis)
    else:
        settings = OfflineSettings(per_api=config.per_api, seed=config.seed)
        build_offline_corpus(list(config.documents), out / "corpus", settings, progress=True)
    corpus = read_corpus(resolve_sources(train=out / "corpus" / "train_data.json"))
    apis = corpus.apis["train"]
    trained, kept = hold_out(apis, corpus.trajectories["train"], config.held_out, config.seed)
    (out / "data").mkdir(exist_ok=True)
    train, held_out = write_split(out / "data", apis, trained, kept)
    sources = resolve_sources(train=train, eval_simulated=held_out)
    write_repo(sources, out / "dataset", react_prompt(TOOL_HINTS), overwrite=True)


def _trained_rows(checked: CheckedDocuments, out: Path) -> list[int]:
    """How many instances of each API are trained on."""
    rows = Counter[str]()
    for api in read_json(out / "data" / "train.json"):
        rows[api["Name"]] += len(api["Instances"])
    return [rows.pop(api.name, 0) for api in checked.apis]  # of two APIs of one name, the first stands for both


def _evaluate(model: str, name: str, out: Path) -> None:
    """Rollouts of the held-out instructions with every score and a report, and the first calls by themselves."""
    suite, prompt = read_suite(out / "data" / "held_out.json"), react_prompt(TOOL_HINTS)
    loaded, tokenizer = load_model(resolve_model(model))
    metrics, records = measure_rollouts(loaded, tokenizer, suite, out / name, ROLLOUTS, prompt)
    write_records(records, out / name / "first_calls.jsonl")
    write_json(out / name / "summary.json", metrics)


def recipes_folder() -> Path:
    """`recipes/`, in a checkout or in the installed wheel."""
    package = Path(__file__).resolve().parents[1]
    return next(place for place in (package / "recipes", package.parents[1] / "recipes") if place.is_dir())


# Runs a script, and ends with its parent, or an orphan would train into the folder that the next run trains into.
_CHILD = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _train(config: CreateConfig, out: Path, epochs: int = 1) -> None:
    """recipes/sft.py in a process of its own, which goes on from its newest checkpoint."""
    recipes, environment = recipes_folder(), dict(os.environ)
    fields = {"model_name_or_path": config.base, "num_train_epochs": str(epochs)}
    fields |= {"dataset_name": str(out / "dataset"), "output_dir": str(out / "model")}
    if config.base != "smollm2":
        fields["freeze_layers"] = "0"
    device = default_device().type
    if device != "cpu":
        fields |= {"use_cpu": "false"}
    if device == "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        if config.base != "smollm2":  # QLoRA, as recipes/toolalpaca-7b/qlora.yaml has it
            fields |= {"load_in_4bit": "true", "use_peft": "true", "lora_r": "64", "lora_alpha": "16"}
            fields |= {"lora_target_modules": "all-linear", "learning_rate": "2.0e-4", "dtype": "bfloat16"}
    if config.max_steps:
        fields["max_steps"] = str(config.max_steps)
    if not sys.stderr.isatty():
        fields["disable_tqdm"] = "true"
    launch = [sys.executable, "-c", _CHILD, str(recipes / "sft.py"), "--config", str(recipes / "create" / "sft.yaml")]
    launch += [part for name, value in fields.items() for part in (f"--{name}", value)]
    # Standard output is for what the caller prints at the end.
    with subprocess.Popen(launch, stdin=subprocess.PIPE, stdout=sys.stderr, env=environment) as child:
        status = child.wait()
    if status:
        raise TrainingFailedError("training failed, see above", file=out / "model", fix="the same command goes on")


def _finish(config: CreateConfig, checked: CheckedDocuments, out: Path, seconds: dict[str, float]) -> dict[str, Any]:
    before, after = (read_json(out / name / "summary.json") for name in ("before", "after"))
    keys = ("well_formed", "known_function", "first_function", "arguments", "rollout")
    metrics = {
        "n": after["n"],
        "apis": len(checked.apis),
        "functions": checked.functions,
        "baselines": {name: after[name] for name in ("chance", "word_overlap", "bm25")},
        "before": {key: before[key] for key in keys},
        "after": {key: after[key] for key in keys},
        "weights": weights_of(resolve_model(config.base)),
        "training": read_json(out / "model" / "metrics.json"),
        "seconds": seconds,
    }
    write_json(out / "metrics.json", metrics, indent=2)
    write_create_report(out, config, checked, metrics)
    for checkpoint in (out / "model").glob("checkpoint-*"):  # the folder itself is the checkpoint now
        shutil.rmtree(checkpoint)
    return metrics


def first_calls_table(metrics: dict[str, Any]) -> str:
    """First calls by baselines, before and after, as text for a terminal."""
    names = {"chance": "chance", "word_overlap": "overlap", "bm25": "BM25"}
    columns = {words: {"first_function": metrics["baselines"][name]} for name, words in names.items()}
    return as_table({**columns, "before": metrics["before"], "after": metrics["after"]})


def rollout_rows(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rates of whole rollouts in percent with 95% intervals: what is counted, before, after."""
    columns = [metrics[name]["rollout"] for name in ("before", "after")]
    before, after = ({name: rate_text((c["calls"] | c)[name]) for name in RATES} for c in columns)
    return [(words, before[name], after[name]) for name, words in RATES.items()]


def before_after(metrics: dict[str, Any]) -> str:
    """[`first_calls_table`] and the rates of whole rollouts below it."""
    rows = [f"{words:<30}{before:>22}{after:>22}" for words, before, after in rollout_rows(metrics)]
    heading = "whole rollouts against the simulator, percent (95% interval)"
    return "\n".join([first_calls_table(metrics), "", heading, *rows])


def usage_lines(config: CreateConfig) -> list[str]:
    """Three lines of Python that ask the model something."""
    document = config.example_document
    asked = f'"{document}", backend, "{config.out}/asked", instructions=["..."]'
    if document is None:
        asked = f'"{config.out}/data/held_out.json", backend, "{config.out}/asked"'
    return [
        "from toolalpaca_hf.agent import load_backend, run",
        f'backend = load_backend("{config.out}/model", constrained=True)',
        f'print(run({asked})["ended"])',
    ]


def write_create_report(out: Path, config: CreateConfig, checked: CheckedDocuments, metrics: dict[str, Any]) -> None:
    """Write `report.html`, and a section behind the card that training wrote."""
    rows, table = rollout_rows(metrics), first_calls_table(metrics)
    names = [(api.name, [function.name for function in api.functions]) for api in checked.apis]
    usage = "\n".join(usage_lines(config))
    shown = {"metrics": metrics, "table": table, "rows": rows, "apis": names, "notes": checked.notes, "usage": usage}
    page = render(__name__.rpartition(".")[0], "report.html.jinja", **shown, base=metrics["weights"])
    write_texts(out, {"report.html": page})
    card = out / "model" / "README.md"
    text = card.read_text(encoding="utf-8").partition(HEADING)[0]
    counted = markdown_table(("whole rollouts, percent (95% interval)", "before", "after"), rows, 1)
    about = f"{metrics['n']} instructions made as the training ones were, none of them trained on; greedy first calls."
    section = f"{HEADING}\n{about}\n\n```text\n{table}\n```\n\n{counted}\n\n```python\n{usage}\n```\n"
    card.write_text(text + section, encoding="utf-8")
