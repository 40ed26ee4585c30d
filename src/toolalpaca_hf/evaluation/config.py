"""Settings of an evaluation: the same fields in a recipe, on the command line and in Python."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..agent import RolloutConfig, setting
from ..errors import OptionError

if TYPE_CHECKING:
    from ..simulator import FaultPlan
    from .judge import Judge


@dataclass
class EvaluationConfig(RolloutConfig):
    """The settings that `toolalpaca evaluate`, `recipes/evaluate.py` and Python share; a field's help is its metadata.

    Example:

    ```python
    >>> EvaluationConfig("outputs/quickstart").suites
    ['simulated']
    ```
    """

    suites: list[str] = field(
        default_factory=lambda: ["simulated"],
        metadata={"help": "simulated, real, sample, bfcl:CATEGORIES, or files in the raw layout with golden answers."},
    )
    data_dir: str | None = setting(None, "Folder searched before a download.")
    batch_size: int = setting(16, "Rollouts at once on one device.")
    judge_endpoint: str | None = setting(None, "OpenAI-compatible server of a judge.")
    judge_model: str | None = setting(None, "Its model's name.")
    judge_prompt: str | None = setting(None, "`published`, or upstream's file; else ours.")
    judge_concurrency: int = setting(8, "Requests to the judge at once.")
    judge_repeats: int = setting(1, "Verdicts an attempt, to measure the judge's variance.")
    trials: int = setting(1, "Rollouts of each instruction; see --temperature.")
    vary_user: bool = setting(False, "A scripted user takes half of the trials.")
    exclude_flagged: bool = setting(False, "Give the rates without instructions that `toolalpaca lint` flags, too.")
    labels: str | None = setting(None, "CSV of people's verdicts: api,index,process.")
    output_dir: str = setting("outputs/evaluation", "A folder for each suite comes into it.")
    overwrite: bool = setting(False, "Begin anew: remove what an earlier call wrote.")
    push_to_hub: bool = setting(False, "Push the metrics to the model's repo.")
    hub_model_id: str | None = setting(None, "That repo, where it is another.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "trials", "judge_repeats", "judge_concurrency")
        if self.judge_repeats > 1 and self.trials < 2:
            raise OptionError("needs several trials", option="--judge-repeats", fix="pass --trials 2 or more")
        if bool(self.judge_endpoint) != bool(self.judge_model):
            raise OptionError("a judge needs both", option="--judge-endpoint and --judge-model")
        judged = bool(self.judge_endpoint)
        self.refuse_unused(*((name, "--judge-endpoint", judged) for name in ("judge_prompt", "judge_concurrency")))

    def of_suite(self, name: str, slugs: Collection[str], faults: "FaultPlan | None") -> "EvaluationConfig":
        """The fields for one of several suites, whose APIs have `slugs`: what is for the others would be refused."""
        real = self.real and name == "real"
        simulated = {"simulator": "embedded", "responder": "schema", "store": None, "faults": None}
        own = replace(self, **(simulated if real else {"real": False, "credentials": None, "confirm_unsafe": False}))
        if faults and faults.apis and not real:  # a simulator takes only rates of its own APIs
            rates = {slug: rate for slug, rate in faults.apis.items() if slug in slugs}
            own = replace(own, faults=replace(faults, apis=rates))
        return own

    def load_judge(self) -> "Judge | None":
        """The configured judge, if any."""
        from ..metrics import own_prompt, published_prompt  # here, as the command line asks for the fields only
        from ..sources import fetch
        from .judge import Judge

        if not self.judge_endpoint or not self.judge_model:
            return None
        file = fetch("evaluation_prompt").path if self.judge_prompt == "published" else self.judge_prompt
        prompt = published_prompt(file) if file else own_prompt()
        return Judge(self.judge_endpoint, self.judge_model, prompt, self.judge_concurrency)
