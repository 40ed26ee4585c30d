"""Rows of the published files to questions. Every task also takes the simple layout, one JSON object a line:

    {"question": "...", "answers": ["...", "..."], "id": "...", "date": "2015-03-02", "context": "..."}

`answer` (one text or number) may stand for `answers`; `id`, `date` and `context` may be absent. A date is what the calendar
says while the question is answered.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BLANK = re.compile(r"(?:\[MASK\]|\[Y\]|_X_)[\s.]*$")


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        text (`str`): A question, a word problem, or a statement up to the place that is to be filled in.
        answers (`tuple[str, ...]`): Each of them is right.
        context (`str`, *optional*, defaults to `""`): What it is about.
        date (`str`, *optional*): The day on which it is asked, ISO 8601.
    """

    text: str
    answers: tuple[str, ...]
    context: str = ""
    date: str | None = None


Layout = Callable[[Mapping[str, Any]], Question | None]
"""Reads a row; `None` where it is of another layout or can not be asked."""


def simple(raw: Mapping[str, Any]) -> Question | None:
    """The layout that every task takes; see the top of this module.

    Example:

    ```python
    >>> simple({"question": "2 + 2?", "answer": 4})
    Question(text='2 + 2?', answers=('4',), context='', date=None)
    ```
    """
    if not isinstance(raw.get("question"), str):
        return None
    answers = _texts(raw.get("answers", raw.get("answer")))
    context, date = raw.get("context"), raw.get("date")
    text = raw["question"].strip()
    return _asked(text, answers, context if isinstance(context, str) else "", date if isinstance(date, str) else None)


def word_problem(raw: Mapping[str, Any]) -> Question | None:
    """SVAMP, ASDiv, MAWPS and GSM8K, as published or as the Hub has them.

    Example:

    ```python
    >>> word_problem({"Body": "He had 3 of 5 eggs", "Question": "How many are left?", "Answer": 2.0}).text
    'He had 3 of 5 eggs, How many are left?'
    >>> word_problem({"question": "How many?", "answer": "3 - 1 = <<3-1=2>>2\\\\n#### 2"}).answers
    ('2',)
    ```
    """
    body = _first(raw, "Body", "body")
    asked = _first(raw, "Question", "sQuestion", "question")
    answer = raw.get("Answer", raw.get("lSolutions", raw.get("result", raw.get("answer"))))
    if not isinstance(asked, str):
        return None
    if isinstance(answer, str):
        # GSM8K's answer is a solution; ASDiv's names its unit, `9 (apples)`.
        answer = answer.rpartition("####")[2].strip()
    body = (body or "").strip()
    between = "" if not body else " " if body[-1] in ".!?,;:" else ", "
    return _asked(f"{body}{between}{asked.strip()}", _texts(answer)[:1])


def question(raw: Mapping[str, Any]) -> Question | None:
    """WebQS, Natural Questions and TriviaQA; the last has its answers as a value with aliases.

    Example:

    ```python
    >>> question({"question": "Who?", "answer": {"value": "Curie", "aliases": ["M. Curie"]}}).answers
    ('Curie', 'M. Curie')
    ```
    """
    answer = raw.get("answer")
    if isinstance(answer, Mapping):
        raw = {**raw, "answers": [answer.get("value"), *(answer.get("aliases") or [])]}
    return simple(raw)


def passage(raw: Mapping[str, Any]) -> Question | None:
    """MLQA: a question about a passage, its answers as `{"text": [...]}`.

    Example:

    ```python
    >>> passage({"context": "It is red.", "question": "¿Color?", "answers": {"text": ["red"]}}).context
    'It is red.'
    ```
    """
    answers = raw.get("answers")
    asked = simple({**raw, "answers": answers.get("text")} if isinstance(answers, Mapping) else raw)
    return asked if asked and asked.context else None


def cloze(raw: Mapping[str, Any]) -> Question | None:
    """LAMA: statements whose last word is masked, as `masked_sentences` or as a template of subject and object.

    One whose mask is not at its end can not be completed from left to right, and is left out as in the paper.

    Example:

    ```python
    >>> row = {"template": "[X] was born in [Y] .", "sub_label": "Kepler", "obj_label": "Weil"}
    >>> cloze(row)
    Question(text='Kepler was born in', answers=('Weil',), context='', date=None)
    >>> cloze({"masked_sentences": ["The [MASK] is up."], "obj_label": "tide"}) is None
    True
    ```
    """
    evidence = raw["evidences"][0] if isinstance(raw.get("evidences"), list) and raw["evidences"] else raw
    sentence = next(iter(_texts(raw.get("masked_sentences"))), "") or evidence.get("masked_sentence")
    if isinstance(raw.get("template"), str) and isinstance(raw.get("sub_label"), str):
        sentence = raw["template"].replace("[X]", raw["sub_label"])
    return _completed(sentence, _texts(raw.get("obj_label"))) or simple(raw)


def dated(raw: Mapping[str, Any]) -> Question | None:
    """TempLAMA: statements with `_X_` at their end that were true in a year, which the calendar is set to the middle of.

    Example:

    ```python
    >>> dated({"query": "Ada plays for _X_.", "answer": [{"name": "Ulm"}], "date": "2012"})
    Question(text='Ada plays for', answers=('Ulm',), context='', date='2012-07-01')
    ```
    """
    found = raw.get("answer")
    names = [one.get("name") if isinstance(one, Mapping) else one for one in found] if isinstance(found, list) else []
    asked = _completed(str(raw.get("query", "")), _texts(names))
    year = re.match(r"\d{4}", str(raw.get("date", "")))
    if asked is None:
        return simple(raw)
    return Question(asked.text, asked.answers, date=f"{year[0]}-07-01" if year else None)


def _completed(sentence: Any, answers: Sequence[str]) -> Question | None:
    if not isinstance(sentence, str) or not _BLANK.search(sentence):
        return None
    return _asked(_BLANK.sub("", sentence).rstrip(), answers)


def _asked(text: str, answers: Sequence[str], context: str = "", date: str | None = None) -> Question | None:
    kept = tuple(answer for answer in answers if answer.strip())
    return Question(text, kept, context, date) if text and kept else None


def _first(raw: Mapping[str, Any], *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name)), None)


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [
        str(int(one)) if isinstance(one, float) and one.is_integer() else str(one)
        for one in values
        if isinstance(one, str | int | float) and not isinstance(one, bool)
    ]
