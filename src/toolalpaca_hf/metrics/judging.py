"""The judge's prompt, parsing its verdicts, and counting them as upstream does."""

import hashlib
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..schema import Api, Instruction, Step
from ..storage import read_text

PROMPTS = files("toolalpaca_hf.metrics") / "prompts"
FIELDS = ("documentation", "instruction", "standard", "solution")

VERDICTS = ("Yes", "No", "Uncertain")

# "(Yes/No/Uncertain)" behind a label is the choice that the judge was given.
_LABEL = re.compile(
    r"(process|final\s*response)\s*correctness\s*(?:\([^()]*\)\s*)?(?:[:=|→–—-]\s*(.*)|$)", re.IGNORECASE
)
# Between two verdicts on one line. Where a line begins with none, it is a sentence on them, and says nothing yet.
_BETWEEN = re.compile(
    r"(?:[.,;|/&]|\band\b)\s*(?=(?:process|final\s*response)\s*correctness\s*(?:\([^()]*\)\s*)?[:=])", re.IGNORECASE
)
# What stands before a line's words; a letter or tick only before a label, for "A) Yes" is a choice.
_MARKS = re.compile(r"^[\s>#•·|+{(\[-]*(?:(?:\d+|[^\W\d_](?=\W*(?:process|final)))[.)\]]\s*)?", re.IGNORECASE)
# Before the word no empty box; behind it nothing, a mark, or a reason: "No issues found" is no No.
_VERDICT = re.compile(
    r"[^\w\])☐□⬜]*(yes|no|uncertain)(?![\w'’-]*\w)\s*(?P<rest>$|[^\w\s].*|(?:because|since|as|the|it|due)\b.*)",
    re.IGNORECASE,
)
# "Yes/No" and "[Yes, No, Uncertain]" choose nothing; "Yes, no call is missing" does.
_CHOICE = re.compile(
    r"\W*(?:[/|&]\W*|\b(?:or|and)\b\W*)(?:yes|no|uncertain)\b|\W*(?:yes|no|uncertain)\s*(?:$|[^\w\s]|or\b|and\b)",
    re.IGNORECASE,
)

# "[Process Correctness: Yes/No]" repeats what was asked for.
_FORM = re.compile(r"(?:[^\w\[({]*\b(?:yes|no|uncertain|or|and)\b){2,}[^\w\[({]*[\])}]", re.IGNORECASE)


class JudgeVerdict(NamedTuple):
    """Verdicts on process and response: `"Yes"`, `"No"`, `"Uncertain"`, or `None` if unclear."""

    process: str | None
    response: str | None

    @property
    def malformed(self) -> bool:
        """Whether one of the two is missing."""
        return self.process is None or self.response is None

    def whole(self) -> dict[str, str | None]:
        """Both by name; both `None` if one is missing."""
        return {"process": None, "response": None} if self.malformed else self._asdict()


def _lines(text: str) -> list[str]:
    """Lines without Markdown (bold, headings, bullets, numbers, ticks, quotes), braces and full-width characters."""
    plain = re.sub(r"[*`_\"]+", "", unicodedata.normalize("NFKC", text))
    lines = (_MARKS.sub("", line) for line in plain.splitlines())
    parts = (_BETWEEN.split(line) if _LABEL.match(line) else [line] for line in lines)
    return [line for whole in chain.from_iterable(parts) if (line := whole.strip().rstrip("|").strip())]


def _word(value: str) -> str | None:
    found = _VERDICT.match(value)
    return None if found is None or _CHOICE.match(found["rest"]) else found[1].capitalize()


def parse_verdict(text: str) -> JudgeVerdict:
    r"""Parse the two lines that end a judge's text: `Process Correctness: X` and `Final Response Correctness: X`.

    Markdown, any case, brackets, full-width colons, a verdict on the next line and a reason after it are accepted. The
    last heading `Results` counts. Another language, contradictory lines or `Yes or No` give `None`, never a No.

    Example:

    ```python
    >>> parse_verdict("## Results\n**Process Correctness:** Yes\n- Final response correctness: [No], it is made up")
    JudgeVerdict(process='Yes', response='No')
    ```
    """
    lines = _lines(text.rpartition("</think>")[2])  # what a judge that reasons has considered is no verdict
    headings = [place for place, line in enumerate(lines) if re.fullmatch(r"results?\s*:?", line, re.IGNORECASE)]
    lines = lines[headings[-1] + 1 :] if headings else lines
    process, response = set[str | None](), set[str | None]()
    for line, below in pairwise([*lines, ""]):
        if (label := _LABEL.match(line)) and not _FORM.fullmatch(label[2] or ""):
            (process if label[1].lower() == "process" else response).add(_word(label[2] or below))
    return JudgeVerdict(*(words.pop() if len(words) == 1 else None for words in (process, response)))


def judge_statistics(verdicts: Iterable[Mapping[str, Any]], n: int) -> dict[str, Any]:
    """Count verdicts, each with `process` and `response`, in the layout of upstream's evaluation outputs.

    Returns:
        `dict`: `num` (`n`, the number of instructions), `error_num` (how many have no verdict, or half a one),
            `process` and `response` (numbers of `Yes`, `No` and `Uncertain`), and `both` (how many are `Yes` twice).
    """
    kept = [(verdict["process"], verdict["response"]) for verdict in verdicts]
    kept = [(process, response) for process, response in kept if process in VERDICTS and response in VERDICTS]
    return {
        "num": n,
        "error_num": n - len(kept),
        "process": {word: sum(process == word for process, _ in kept) for word in VERDICTS},
        "response": {word: sum(response == word for _, response in kept) for word in VERDICTS},
        "both": kept.count(("Yes", "Yes")),
    }


@dataclass(frozen=True)
class JudgePrompt:
    """A judge's prompt: its fields are `${documentation}`, `${instruction}`, `${standard}` and `${solution}`."""

    name: str  # in reports
    template: str
    longest: int | None = 4000  # characters of a return to show; `None` shows all
    origin: str = ""  # its file, for errors
    returns: str = "Returns"  # the label of a return

    def __post_init__(self) -> None:
        template = string.Template(self.template)
        found = template.get_identifiers() if template.is_valid() else ["an unreadable one"]
        if set(found) != set(FIELDS):
            fix = f"write {', '.join(FIELDS)}, each as ${{name}}"
            raise InputError(f"has the fields {', '.join(found) or 'none'}", file=self.origin or self.name, fix=fix)

    @property
    def hash(self) -> str:
        """SHA-256 of everything that determines what a judge is shown."""
        return hashlib.sha256(f"{self.longest}\n{self.returns}\n{self.template}".encode()).hexdigest()

    def shortened(self, text: str) -> str:
        """Cut the middle out of a long return; a mark says how much is missing."""
        longest = len(text) if self.longest is None else self.longest
        if len(text) <= longest:
            return text
        head, tail = text[: (longest + 1) // 2], text[len(text) - longest // 2 :]
        return f"{head}[... {len(text) - longest} characters left out ...]{tail}"


def own_prompt(longest: int | None = 4000) -> JudgePrompt:
    """This package's prompt; `longest` characters of a return are shown, all if it is `None`."""
    return JudgePrompt("judge", (PROMPTS / "judge.txt").read_text(encoding="utf-8"), longest)


def reminder() -> str:
    """The message to a judge whose verdict could not be parsed."""
    return (PROMPTS / "again.txt").read_text(encoding="utf-8")


def published_prompt(path: str | Path) -> JudgePrompt:
    """The prompt of the published evaluation, from upstream's file, `sources.fetch("evaluation_prompt")`.

    Like upstream, it shows every return whole. Raises [`NotFoundError`], or [`InputError`] if it cannot be read.
    """
    template = read_text(path, "pass upstream's prompts/Evaluation.txt").replace("\r\n", "\n")
    return JudgePrompt("published", template, None, str(path), returns="Retruns")  # as it is spelt there


def judge_prompt(
    api: Api, instruction: Instruction, steps: Sequence[Step], response: str, prompt: JudgePrompt | None = None
) -> str:
    """Fill a judge's prompt ([`own_prompt`] by default) for one instruction.

    Shown are the documentation (in words, or an entry a function and the schemas they share), the golden calls, the
    calls made with their returns, and the answer to the user.
    """
    prompt = prompt or own_prompt()
    parts = [f"{function.name}: {function.description}" for function in api.functions]
    parts += [api.components] if api.components else []
    standard = [
        f"{number}. Function: {call.action}\nParameters: {call.action_input}\n"
        for number, call in enumerate(instruction.golden_calls, 1)
    ]
    solution = [
        f"{number}. Function: {step.action}\nParameters: {step.action_input}\n"
        f"{prompt.returns}: {prompt.shortened(step.observation)}\n"
        for number, step in enumerate(steps, 1)
    ]
    # Fields inside the inserted texts are not expanded.
    return string.Template(prompt.template).substitute(
        documentation=api.nl_documentation or "\n".join(parts),
        instruction=instruction.instruction,
        standard="".join(standard),
        solution=f"{''.join(solution)}{len(steps) + 1}. Final Response: {response}",
    )
