"""The tasks of Toolformer's evaluation (section 4.2): their questions, where these are, and when an answer is right."""

from dataclasses import dataclass, replace
from importlib.resources import files

from ...errors import ToolAlpacaError
from .layouts import Layout, cloze, dated, passage, question, word_problem
from .measures import MEASURES, Measure

__all__ = ["MEASURES", "TASKS", "Hub", "Measure", "Task", "prompt_of", "task_named"]


@dataclass(frozen=True)
class Hub:
    """Where a task's questions are on the Hub, as `load_dataset` takes it."""

    repo: str
    config: str | None
    split: str


@dataclass(frozen=True)
class Task:
    """A set of questions, and how a model is asked and judged.

    Args:
        name (`str`): What the command line calls it.
        title (`str`): What the report calls it.
        section (`str`): Of the paper, arXiv 2302.04761.
        layout (`Layout`): Reads a row of the published files, beside the simple one that every task takes.
        prompt (`str`): File of [`prompts`], without its suffix.
        measure (`str`): A key of [`MEASURES`].
        hub ([`Hub`], *optional*): `None` where the Hub has no files of it that `load_dataset` opens.
        max_new_tokens (`int`, *optional*, defaults to 64): Of an answer, calls included.
        max_calls (`int`, *optional*, defaults to 1): Of an answer; the paper's limit.
    """

    name: str
    title: str
    section: str
    layout: Layout
    prompt: str
    measure: str
    hub: Hub | None = None
    max_new_tokens: int = 64
    max_calls: int = 1


def _maths(name: str, title: str, hub: Hub) -> Task:
    return Task(name, title, "4.2.2", word_problem, "number", "first_number", hub)


def _questions(name: str, title: str, hub: Hub) -> Task:
    return Task(name, title, "4.2.3", question, "question", "twenty_words", hub)


def _lama(name: str, title: str) -> Task:
    return Task(name, title, "4.2.1", cloze, "statement", "five_words")


# Names of repos are facts of 2026. `facebook/lama` and `facebook/mlqa` are scripts, which `datasets` no longer runs.
_ALL = (
    _lama("lama-squad", "LAMA, SQuAD"),
    _lama("lama-google-re", "LAMA, Google-RE"),
    _lama("lama-trex", "LAMA, T-REx"),
    _maths("asdiv", "ASDiv", Hub("EleutherAI/asdiv", "asdiv", "validation")),
    _maths("svamp", "SVAMP", Hub("ChilleD/SVAMP", None, "test")),
    _maths("mawps", "MAWPS", Hub("MU-NLPC/Calc-mawps", None, "test")),
    Task(
        name="gsm8k",
        title="GSM8K",
        section="not in the paper",
        layout=word_problem,
        prompt="solution",
        measure="last_number",
        hub=Hub("openai/gsm8k", "main", "test"),
        max_new_tokens=320,
        max_calls=12,
    ),
    _questions("webqs", "WebQS", Hub("stanfordnlp/web_questions", None, "test")),
    _questions("nq", "Natural Questions", Hub("google-research-datasets/nq_open", None, "validation")),
    _questions("triviaqa", "TriviaQA", Hub("mandarjoshi/trivia_qa", "rc.nocontext", "validation")),
    *(
        Task(
            f"mlqa-{language}",
            f"MLQA, {language}",
            "4.2.4",
            passage,
            "passage",
            "ten_words",
            Hub("AdaMLLab/mlqa_repaired", f"mlqa.en.{language}", "test"),
        )
        for language in ("es", "de", "hi", "vi", "zh", "ar")
    ),
    Task("templama", "TempLAMA", "4.2.5", dated, "statement", "five_words", Hub("Yova/templama", None, "test")),
    # Made here, see `dateset`: the paper's own questions are not public.
    Task("dateset", "Dateset, our own", "4.2.5", question, "question", "five_words"),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""The tasks by name."""


def task_named(name: str, solutions: bool = False) -> Task:
    """A task by its name.

    Args:
        name (`str`): A key of [`TASKS`].
        solutions (`bool`, *optional*, defaults to `False`): For maths: ask for a worked solution, as GSM8K has them, and take
            its last number, in place of the paper's first number after "The answer is".

    Raises:
        [`ToolAlpacaError`]: There is no such task, or it is none of maths.

    Example:

    ```python
    >>> task_named("svamp").measure, task_named("svamp", solutions=True).measure
    ('first_number', 'last_number')
    ```
    """
    if name not in TASKS:
        raise ToolAlpacaError(f"there is no task {name!r}; choose among {', '.join([*TASKS, 'perplexity'])}")
    task = TASKS[name]
    if not solutions or task.prompt == "solution":
        return task
    if task.prompt != "number":
        raise ToolAlpacaError(f"{name} has no worked solutions; leave out --solutions")
    gsm8k = TASKS["gsm8k"]
    return replace(
        task,
        title=f"{task.title}, worked out",
        prompt=gsm8k.prompt,
        measure=gsm8k.measure,
        max_new_tokens=gsm8k.max_new_tokens,
        max_calls=gsm8k.max_calls,
    )


def prompt_of(name: str) -> str:
    """The text of a prompt, with `{text}` and for some `{context}` to be filled in.

    Example:

    ```python
    >>> prompt_of("number")
    '{text} The answer is'
    ```
    """
    return (files(__package__) / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
