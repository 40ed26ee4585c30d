"""Writes the card of a published model from a template of `model_cards/` and the run's own files."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from ..data import card_template, fill_template, version_text
from ..errors import InputError, OptionError
from ..report import markdown_table
from .results import EvaluationRun, put_results

LICENCES = {"HuggingFaceTB/SmolLM2-135M-Instruct": "apache-2.0", "Qwen/Qwen3-8B": "apache-2.0"}  # of recipes' bases

MAIN = (  # settings that a card shows; the rest are in `config.yaml`
    "learning_rate lr_scheduler_type num_train_epochs max_steps per_device_train_batch_size "
    "gradient_accumulation_steps max_length packing prefix_packing dtype bf16 use_peft lora_r load_in_4bit "
    "augment_copies seed"
).split()

NOT_EVALUATED = (
    "No evaluation was published with this model. The figures of its training say nothing about tools it has not seen."
)

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
FINISH = "finish the run"
FIRST_CALLS = (
    ("well_formed", "well-formed action", "{:.1%}"),
    ("first_function", "first function right", "{:.1%}"),
    ("arguments", "arguments match", "{:.1%}"),
    ("perplexity", "perplexity of the trained tokens", "{:.2f}"),
)
ROLLOUTS = (
    ("all_functions", "every golden function called"),
    ("arguments", "every golden call made"),
    ("process_verdict", "process right, by rule"),
)


@dataclass(frozen=True)
class CardFacts:
    """The values that a card is filled with."""

    repo_id: str
    settings: Mapping[str, Any]  # the run's `config.yaml`
    metrics: Mapping[str, Any]  # the run's `metrics.json`
    base_model: str  # Hub id
    kind: str = "full"  # or `adapter`, or `merged`
    licence: str | None = None  # what the user said it is
    evaluations: Sequence[EvaluationRun] = ()
    results: Mapping[str, Sequence[EvalResult]] = field(default_factory=dict)  # for the metadata, by suite


def template_for(settings: Mapping[str, Any], metrics: Mapping[str, Any], base_model: str) -> str:
    """The template that fits a run's settings, metrics and base; `model` is the general one."""
    if "before" in metrics and "after" in metrics:
        return "quickstart"
    if any("toolformer" in str(settings.get(name)).lower() for name in ("dataset_name", "output_dir")):
        return "toolformer"
    if settings.get("dataset_config") == "chat":
        return "chat"
    size = re.match(r"lmsys/vicuna-(7b|13b)", base_model)
    return f"toolalpaca-{size[1]}" if size else "model"


def model_card(facts: CardFacts, template: str | None = None) -> str:
    """The card of a model: YAML metadata, then Markdown."""
    template = template or template_for(facts.settings, facts.metrics, facts.base_model)
    hidden = () if facts.settings.get("use_peft") else ("lora_r",)
    settings = [(name, facts.settings[name]) for name in MAIN if name in facts.settings and name not in hidden]
    name = facts.repo_id.split("/")[-1]
    fields = {
        "name": name,
        "repo_id": facts.repo_id,
        "base_model": facts.base_model,
        "licence": licence_of(template, facts.base_model, facts.licence),
        "weights": _weights(facts),
        "data": _data(facts.settings),
        "training": _training_table(facts.metrics.get("training", facts.metrics)),
        "settings": markdown_table(("setting", "value"), settings),
        "results": _results_tables(facts.evaluations) or ("" if template == "quickstart" else NOT_EVALUATED),
        "version": version_text(),
        **(_before_and_after(facts.metrics) if template == "quickstart" else {}),
    }
    try:
        card: Any = ModelCard(fill_template(card_template(template), fields))
        dataset = str(facts.settings.get("dataset_name"))
        if _on_hub(dataset) and not Path(dataset).is_dir():
            card.data.datasets = [dataset]
        if facts.kind == "adapter":
            card.data.library_name = "peft"
        return str(ModelCard(put_results(str(card), name, facts.results)))
    except (ValueError, TypeError) as error:
        raise InputError(f"has metadata that the Hub does not take: {error}", file=f"the card {template}") from None


def licence_of(template: str, base_model: str, named: str | None) -> str:
    """The licence of a model's weights as a Hub identifier: `named`, else the base's. [`OptionError`] if unknown."""
    if "[[licence]]" not in card_template(template):
        return "other"
    licence = named or LICENCES.get(base_model)
    if licence is None or not re.fullmatch(r"[a-z0-9.-]+", licence):
        problem, fix = f"the licence of {base_model} is not known", "pass it as the Hub writes it, such as apache-2.0"
        raise OptionError(problem, option="--licence", fix=fix)
    return licence


def _on_hub(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and not name.startswith("build/")


def _weights(facts: CardFacts) -> str:
    base = f"[{facts.base_model}](https://huggingface.co/{facts.base_model})"
    kinds = {
        "full": f"All weights of {base} were trained.",
        "adapter": f"This repo holds a LoRA adapter for {base}, not its weights.",
        "merged": f"A LoRA adapter for {base} was trained and merged into the weights.",
    }
    started = facts.metrics.get("weights")
    return kinds[facts.kind] + (f" Training started from: {started}." if started else "")


def _data(settings: Mapping[str, Any]) -> str:
    name, config = str(settings.get("dataset_name")), settings.get("dataset_config")
    if name == "sample":
        return (
            f"The embedded sample corpus of toolalpaca-hf (config `{config}`): a small corpus written for that "
            "package in the layout of ToolAlpaca, Apache-2.0. Its APIs are invented and answer nowhere."
        )
    report = Path(name) / "report.json"
    text = f"The dataset repo `{Path(name).name}`, config `{config}`, built by toolalpaca-hf"
    if not report.is_file():
        return f"[{name}](https://huggingface.co/datasets/{name}), config `{config}`." if _on_hub(name) else f"{text}."
    try:
        sources = json.loads(report.read_text(encoding="utf-8")).get("sources", [])
        rows = [(row["role"], row["file"], f"`{row['git_blob']}`", row["note"]) for row in sources]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"cannot be read ({error})", file=report, fix="build the dataset again") from None
    table = markdown_table(("used as", "file", "git blob", "note"), rows)
    return f"{text} from these files:\n\n{table}" if rows else f"{text}."


def _figure(values: Any, name: str, form: str = "{:.4g}") -> str:
    """A figure of `metrics.json`, formatted for a card."""
    value = values.get(name) if isinstance(values, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"has {value!r} for {name}, so the card cannot be filled", file="metrics.json", fix=FINISH)
    return form.format(value)


def _training_table(metrics: Any) -> str:
    forms = {"steps": "{:,}", "epochs": "{:.4g}", "num_tokens": "{:,.0f}"}
    names = ["steps", "epochs", "num_tokens", "first_loss", "final_loss", "mean_loss"]
    names += [name for name in ("eval_loss", "eval_perplexity") if name in metrics]
    rows = [(name.replace("_", " "), _figure(metrics, name, forms.get(name, "{:.4g}"))) for name in names]
    return markdown_table(("figure", "value"), rows)


def _before_and_after(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What the quickstart measured before and after training, as template fields."""
    missing = next((key for key in ("before", "after", "baselines") if not isinstance(metrics.get(key), dict)), None)
    if missing:
        raise InputError(f"has nothing under {missing!r} for the card", file="metrics.json", fix=FINISH)
    when = ("before", "after")
    rows = [(words, *(_figure(metrics[time], name, form) for time in when)) for name, words, form in FIRST_CALLS]
    text = markdown_table(("first call, greedy", *when), rows)
    if isinstance(rollout := metrics.get("rollout"), dict):
        rates = [(measured.get("calls") or {}) | measured for measured in [rollout.get(time) or {} for time in when]]
        rows = [(words, *(_rate(measured.get(name)) for measured in rates)) for name, words in ROLLOUTS]
        text += "\n\n" + markdown_table(("whole rollout, with 95% interval", *when), rows)
    return {
        "before_and_after": text,
        "n": _figure(metrics, "n", "{}"),
        "chance": _figure(metrics["baselines"], "chance", "{:.1%}"),
        "overlap": _figure(metrics["baselines"], "word_overlap", "{:.1%}"),
    }


def _results_tables(evaluations: Sequence[EvaluationRun]) -> str:
    """Every rate of each evaluation with its interval, a section per suite."""
    sections = []
    for run in evaluations:
        rows = [(name, _rate(rate)) for name, rate in run.rates.items() if rate.get("value") is not None]
        where = f"All figures and the report are in `evaluation/{run.suite}/`."
        table = markdown_table(("measure", "rate (95% interval)"), rows)
        sections.append(f"### {run.suite}\n\n{run.about} {where}\n\n{table}")
    return "\n\n".join(sections)


def _rate(rate: Any) -> str:
    value, low, high = (_figure(rate, name, "{:.1%}") for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
