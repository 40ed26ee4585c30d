"""A judge's text to its two verdicts, and verdicts to the counts that upstream publishes."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

VERDICTS = ("Yes", "No", "Uncertain")

_LABEL = re.compile(r"(process|final\s*response)\s*correctness\s*(?:[:=|–—-]\s*(.*)|$)", re.IGNORECASE)
# Behind the word nothing, a mark, or a reason: "No issues found" is no No.
_VERDICT = re.compile(
    r"[\[({<【「'\s]*(yes|no|uncertain)(?![\w'’-]*\w)\s*(?P<rest>$|[^\w\s].*|(?:because|since|as|the|it|due)\b.*)",
    re.IGNORECASE,
)
# "Yes/No" and "[Yes, No, Uncertain]" choose nothing; "Yes, no call is missing" does.
_CHOICE = re.compile(
    r"\W*(?:[/|&]\W*|\b(?:or|and)\b\W*)(?:yes|no|uncertain)\b|\W*(?:yes|no|uncertain)\s*(?:$|[^\w\s]|or\b|and\b)",
    re.IGNORECASE,
)


class JudgeVerdict(NamedTuple):
    """What a judge holds of a process and of the response that ended it.

    Args:
        process, response (`str`, *optional*): `"Yes"`, `"No"` or `"Uncertain"`; `None` where the text does not say one
            of them plainly.
    """

    process: str | None
    response: str | None

    @property
    def malformed(self) -> bool:
        """Whether one of the two is missing."""
        return self.process is None or self.response is None


def _lines(text: str) -> list[str]:
    """Its lines without Markdown: bold, headings, bullets, numbers, quotes, and full-width characters as plain ones."""
    lines = []
    for line in unicodedata.normalize("NFKC", text).splitlines():
        line = re.sub(r"[*`_\"]+", "", line)
        line = re.sub(r"^[\s>#•·|+-]*(?:\d+[.)]\s*)?", "", line).strip().rstrip("|").strip()
        if line:
            lines.append(line)
    return lines


def _word(value: str) -> str | None:
    found = _VERDICT.match(value)
    if found is None:
        return None
    return None if _CHOICE.match(found["rest"]) else found[1].capitalize()


def parse_verdict(text: str) -> JudgeVerdict:
    """Read the two lines that a judge's text ends in: `Process Correctness: X` and `Final Response Correctness: X`.

    Markdown, upper and lower case, brackets, a full-width colon, a verdict on the line below, and a reason behind the
    verdict are all read. With several headings `Results` the last one counts. Nothing is guessed: another language,
    two lines that disagree, or a choice such as `Yes or No` gives `None`, never a No.

    Args:
        text (`str`): What the judge wrote.

    Returns:
        [`JudgeVerdict`]: With `None` for what can not be read.

    Example:

    ```python
    >>> parse_verdict("## Results\\n**Process Correctness:** Yes\\n- Final response correctness: [No], it is made up")
    JudgeVerdict(process='Yes', response='No')
    >>> parse_verdict("Process Correctness: Oui\\nFinal Response Correctness: Yes or No")
    JudgeVerdict(process=None, response=None)
    ```
    """
    lines = _lines(text)
    headings = [place for place, line in enumerate(lines) if re.fullmatch(r"results?\s*:?", line, re.IGNORECASE)]
    lines = lines[headings[-1] + 1 :] if headings else lines
    process, response = set[str | None](), set[str | None]()
    for line, below in pairwise([*lines, ""]):
        label = _LABEL.match(line)
        if label is not None:
            (process if label[1].lower() == "process" else response).add(_word(label[2] or below))
    return JudgeVerdict(*(words.pop() if len(words) == 1 else None for words in (process, response)))


def judge_statistics(verdicts: Iterable[Mapping[str, Any]], n: int) -> dict[str, Any]:
    """Count verdicts in the layout of upstream's evaluation outputs.

    Args:
        verdicts (`Iterable[Mapping]`): Each with `process` and `response`; where one of the two is `None`, there is no
            verdict.
        n (`int`): How many instructions there are, those without a verdict included.

    Returns:
        `dict`: `num` (`n`), `error_num` (without a verdict), `process` and `response` (how many `Yes`, `No` and
        `Uncertain`), and `both` (how many are `Yes` twice).

    Example:

    ```python
    >>> judge_statistics([{"process": "Yes", "response": "Yes"}, {"process": None, "response": None}], 3)["error_num"]
    2
    ```
    """
    kept = [(one["process"], one["response"]) for one in verdicts]
    kept = [(process, response) for process, response in kept if process in VERDICTS and response in VERDICTS]
    return {
        "num": n,
        "error_num": n - len(kept),
        "process": {word: sum(process == word for process, _ in kept) for word in VERDICTS},
        "response": {word: sum(response == word for _, response in kept) for word in VERDICTS},
        "both": kept.count(("Yes", "Yes")),
    }
