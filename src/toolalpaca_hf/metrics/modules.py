"""Shared by the scripts for `evaluate.load`: loading by name, missing rows, and the papers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, OptionError, needing
from ..formats import NO_CALL
from ..schema import Api, Call, Step

if TYPE_CHECKING:
    from evaluate import EvaluationModule, MetricInfo

Rows = Sequence[Sequence[Mapping[str, Any]]]

FOLDER = Path(__file__).parent  # where the metrics are: one folder each, with a script of the folder's name

_PAPERS = {"toolalpaca": "2306.05301", "toolformer": "2302.04761"}
_ACCURACY_INPUTS = """
Args:
    predictions (`list[str]`): What the model wrote after each prompt.
    references (`list[str]` or `list[list[str]]`): The gold answer of each, or several of which any will do.

Returns:
    `dict`: `accuracy`, and `n`, how many there are.

Example:

    >>> from toolalpaca_hf import metrics
    >>> metrics.load("{name}").compute(predictions={predictions}, references={references})
    {scores}
"""


def metric_names() -> list[str]:
    """The names that [`load`] accepts."""
    return sorted(script.stem for script in FOLDER.glob("*/*.py") if script.stem == script.parent.name)


def load(name: str, **settings: Any) -> "EvaluationModule":
    """Load a metric of this package as a module of `evaluate`, without the network.

    There are `lama`, `llm_judge`, `math_answer`, `process_verdict`, `question_answering`, `token_perplexity`,
    `tool_call_match` and `tool_call_validity`; another name is an [`OptionError`]. `settings` are those of
    `evaluate.load`, such as `experiment_id` if several processes share one evaluation.

    Example:

    ```python
    >>> from toolalpaca_hf import metrics
    >>> metrics.load("math_answer").compute(predictions=["It is $1,200."], references=["1200"])
    {'accuracy': 1.0, 'n': 1}
    ```
    """
    if name not in metric_names():
        raise OptionError(f"there is no metric {name!r}", option="name", fix=f"pass {', '.join(metric_names())}")
    with needing("loading a metric", "evaluate"):
        import evaluate
    # An absolute path: `evaluate` looks on the Hub for what it takes for a name.
    return evaluate.load(str(FOLDER / name), **settings)


def metric_class(
    module: str,
    name: str,
    compute: Callable[..., dict[str, Any]],
    features: Any,
    paper: Literal["toolalpaca", "toolformer"],
    missing: Any = None,
) -> type:
    """The class that `evaluate.load` looks for, with the function's words; `missing` is an empty step by default."""
    import evaluate

    description, _, inputs = (getdoc(compute) or "").partition("\n\n")  # the arguments behind the first paragraph
    citation = (FOLDER / "citations" / f"{paper}.bib").read_text(encoding="utf-8")

    def info(self: Any) -> "MetricInfo":
        return evaluate.MetricInfo(
            description=description,
            citation=f"\n{citation}",
            inputs_description=f"\n{inputs}\n",
            features=features,
            reference_urls=[f"https://arxiv.org/abs/{_PAPERS[paper]}"],
        )

    body = {"_info": info, "_compute": lambda self, **given: compute(**given), "__doc__": compute.__doc__}
    missing = [dict.fromkeys(features["predictions"].feature)] if missing is None else missing
    body |= {"missing": missing, "__module__": module}
    return type(name, (MissingRows, evaluate.Metric), body)


def accuracy_metric(
    module: str, name: str, correct: Callable[[str, Any], bool], predictions: list[str], references: list[Any]
) -> type:
    """A metric of Toolformer's: the share of correct texts; its example has these predictions and references."""
    import datasets

    shown = {"name": module.rpartition(".")[2], "predictions": predictions, "references": references}
    description = (getdoc(correct) or "").partition("\n\n")[0]
    text = datasets.Value("string")
    kinds = [datasets.Features({"predictions": text, "references": kind}) for kind in (text, datasets.List(text))]

    def compute(predictions: Sequence[str | None], references: Sequence[Any]) -> dict[str, Any]:
        pairs = zip(predictions, _required(references), strict=True)
        return means([{"accuracy": correct(given or "", wanted)} for given, wanted in pairs], ["accuracy"])

    scores = compute(predictions, references)
    compute.__doc__ = f"{description}\n{_ACCURACY_INPUTS.format(**shown, scores=scores)}"
    return metric_class(module, name, compute, kinds, "toolformer", "")


class MissingRows:
    """Mixin before `evaluate.Metric`, which rejects `None`: such a prediction is `missing`, a reference an error."""

    missing: Any  # what `_compute` gets, see [`attempts_of`]

    def add(self, *, prediction: Any = None, **more: Any) -> None:
        """As `evaluate.Metric` has it, which adds the metric's inputs to this text and needs one here."""
        made = more.pop("predictions", prediction)  # `evaluate.combine` uses the names of `add_batch`
        self.add_batch(predictions=[made], **{f"{name.removesuffix('s')}s": [value] for name, value in more.items()})

    def add_batch(self, *, predictions: Any = None, references: Any = None, **more: Any) -> None:
        """As `add`."""
        if predictions is not None:
            predictions = [self.missing if row is None else row for row in predictions]
        references = None if references is None else _required(references)
        super().add_batch(predictions=predictions, references=references, **more)  # type: ignore[misc]  # of evaluate.Metric, by name


def attempts_of(
    predictions: Rows, references: Rows | None, apis: Sequence[Api] | None, instructions: Sequence[str] | None = None
) -> Iterator[tuple[list[Step] | None, list[Call], Api | None, str]]:
    """Of each row the attempt, `None` if it is missing, the golden calls, the API and the instruction."""
    for name, values in (("apis", apis), ("instructions", instructions)):
        if values is not None and len(values) != len(predictions):
            raise InputError(f"{name} has {len(values)} values for {len(predictions)}", fix="pass one for each")
    for row, made in enumerate(predictions):
        golden = references[row] if references else []
        calls = [Call(call["action"] or "", call["action_input"] or "") for call in golden]
        steps = []
        for step in made:
            call = step["action"], step["action_input"]  # one without either made no call
            steps.append(Step("", *((NO_CALL, "") if None in call else call), step.get("observation") or ""))
        missing = len(made) == 1 and set(made[0].values()) == {None}
        yield None if missing else steps, calls, apis[row] if apis else None, instructions[row] if instructions else ""


def _required(references: Sequence[Any]) -> Sequence[Any]:
    for row, value in enumerate(references):
        if value is None or (isinstance(value, list) and None in value):
            raise InputError("there is no reference to score against", row=row, fix="leave the row out")
    return references


def means(scores: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """The mean of each named score over all rows, and `n`, their number."""
    if not scores:
        raise InputError("there are no predictions to score")
    return {name: sum(score[name] for score in scores) / len(scores) for name in names} | {"n": len(scores)}
