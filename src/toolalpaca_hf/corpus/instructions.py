"""Instructions for an API, written by a model in the role of its users."""

import json
import logging
import random
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..llm import Ask, RequestRejected, parse_items, unfence
from ..openapi import describe
from ..schema import Api
from .config import InstructionSettings, prompt, prompt_values, schema
from .decontamination import Decontaminator, words

# What follows a number's point decides: "12:30", "3.5" and "8.8.8.8" are no labels.
_LABEL = re.compile(
    r"^\s*(?:[-*•>]\s+|\(?\d{1,3}[.):](?:\s+|(?=[\"'“‘«„`*]))|#{1,6}\s+"
    r"|\**(?:user|human|(?:user )?(?:instruction|request|query|task))(?: ?\d{1,3})?\**\s*:\**\s*)",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "`": "`"}
_PLACEHOLDER = re.compile(
    r"\[[A-Za-z][A-Za-z _/'-]{1,40}\]|<[A-Za-z][A-Za-z _/-]{2,40}>|\{[A-Za-z_ ]{2,40}\}|\b[xX]{3,}\b|_{3,}|\bYYYY\b"
    r"|\b(?:insert|your) [a-z ]{2,20} here\b|\blorem ipsum\b"
)
_SPEAKS_OF_API = re.compile(r"\b(?:the|this|that|your|an?|its?|using|via|some)\s+(?:[\w.'-]+\s+){0,2}APIs?\b")
LONGEST = 150  # words of an instruction; the longest published one has 86


def clean(text: str) -> str:
    """Strip what models put around an instruction."""
    text = "".join(letter for letter in unicodedata.normalize("NFC", text) if letter.isprintable() or letter.isspace())
    text, before = " ".join(text.split()), None
    while text != before:
        before = text
        text = _LABEL.sub("", text).strip()
        if text.startswith("**") and text.endswith("**"):
            text = text[2:-2].strip()
        closing = _QUOTES.get(text[:1])
        if closing and len(text) > 1 and text.endswith(closing) and closing not in text[1:-1]:
            text = text[1:-1].strip()
    # A single quotation mark is left over from a list of quoted texts.
    return text.strip('"').strip() if text.count('"') == 1 else text


def shortcoming(instruction: str, api: Api) -> str | None:
    """Why a cleaned instruction is rejected; `None` if it is fine."""
    found = words(instruction)
    coded = [function.name for function in api.functions if _is_code(function.name)]
    checks = {
        "is too short": len(found) < 4,
        "is too long": len(found) > LONGEST,
        "repeats itself": len(found) > 20 and len(set(found)) < 0.4 * len(found),
        "has a place to be filled in": _PLACEHOLDER.search(instruction),
        "names the API": names(instruction, api.name),
        "names a function": any(re.search(rf"\b{re.escape(name)}\b", instruction) for name in coded),
        "speaks of an API": _SPEAKS_OF_API.search(instruction),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def names(text: str, api: str) -> bool:
    """Whether a text mentions an API by name."""
    # A name made of ordinary words (`Cats`, `Fun Fact`) counts only in its own case, and not as the first word of a
    # sentence; a name unlike any word (`YNAB`, `ipapi.com`, `WeatherAPI`) counts in any case.
    name = " ".join(api.split())
    coded = len(name) > 2 and any(map(_is_code, name.split()))
    if not coded and name == name.lower():
        return False
    found = re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE if coded else 0)
    befores = (text[: match.start()].rstrip("\"'“‘( ") for match in found)
    return any(coded or " " in name or (before and before[-1] not in ".!?:") for before in befores)


def _is_code(word: str) -> bool:
    """Such as `getTide`, `ipapi.com`, `1Forge`, `YNAB`, `find_tide`: no ordinary word is spelt so."""
    return bool(re.search(r"\d|_|\w\.\w|[a-z][A-Z]|[A-Z]{3}", word))


logger = logging.getLogger(__name__)

PROMPTS = ("instructions.txt", "style_short.txt", "style_story.txt")
PROMPTS += ("demands.json", "example_instructions.json", "example.json")
TWO_CALLS = 2 / 3  # share of instructions that are to need two functions; the paper prefers such


@dataclass(frozen=True)
class WrittenInstruction:
    """An instruction; `details` is what the user knows besides and says when asked (`getDetails`)."""

    instruction: str
    details: str
    style: str
    mood: str


@dataclass(frozen=True)
class InstructionConstraints:
    mood: str
    form: str
    length: str
    functions: tuple[str, ...]
    holds_back: bool

    def __str__(self) -> str:
        back = "; holds one needed value back, which stands in the details alone" if self.holds_back else ""
        needs = f"; needs {' and then '.join(self.functions)}" if self.functions else ""
        return f"{self.mood}; {self.form}; {self.length}{needs}{back}"


def sample_constraints(
    api: Api, style: str, count: int, rng: random.Random, details: float
) -> list[InstructionConstraints]:
    """Draw constraints; moods, forms and functions repeat only once all have been used."""

    def in_turns(things: Sequence[str]) -> Iterator[str]:
        while True:
            yield from rng.sample(things, len(things))

    kinds = prompt_values("demands")
    names = [function.name for function in api.functions]
    moods, forms, firsts = in_turns(kinds["moods"]), in_turns(kinds["forms"]), in_turns(names or [""])
    sampled = []
    for _ in range(count):
        needed = tuple(filter(None, [next(firsts)]))
        others = [name for name in names if name not in needed]
        if others and rng.random() < TWO_CALLS:
            needed = (*needed, rng.choice(others))
        length = rng.choice(kinds["lengths"][style])
        sampled.append(InstructionConstraints(next(moods), next(forms), length, needed, rng.random() < details))
    return sampled


def write_instructions(
    api: Api, ask: Ask, settings: InstructionSettings | None = None, rejected: list[tuple[str, str]] | None = None
) -> list[WrittenInstruction]:
    """Have instructions for an API written, cleaned and deduplicated; `rejected` receives `(text, reason)` pairs."""
    settings = settings or InstructionSettings()
    rejected = rejected if rejected is not None else []
    decontaminator, written = Decontaminator(threshold=settings.threshold), []
    form = schema("instructions") if settings.structured else None
    ask_user = partial(ask, "user", max_tokens=settings.max_tokens, schema=form)
    described = describe(prompt_values("example")["document"]).nl_documentation
    refused: RequestRejected | None = None
    documentation = api.nl_documentation[: settings.documentation]
    # What is cut off cannot be asked for.
    shown = replace(api, functions=[function for function in api.functions if function.name in documentation])
    for style in settings.styles:
        for written_before in prompt_values("example_instructions")[style]:
            decontaminator.accept("the example", written_before["instruction"])
    for style in settings.styles:
        rng = random.Random(f"{settings.seed}/{api.id}/{style}")
        answers = {"instructions": prompt_values("example_instructions")[style]}
        example = [
            {"role": "user", "content": _question(described, style, _EXAMPLE_CONSTRAINTS[style], [])},
            {"role": "assistant", "content": json.dumps(answers, ensure_ascii=False)},
        ]
        of_style: list[WrittenInstruction] = []
        for round_ in range(settings.rounds):
            missing = settings.per_style - len(of_style)
            for start in range(0, missing, settings.batch):
                count = min(settings.batch, missing - start)
                constraints = sample_constraints(shown, style, count, rng, settings.details)
                key = f"{api.id}/instructions/{style}/{start}"
                question = {"role": "user", "content": _question(documentation, style, constraints, of_style)}
                try:
                    answer = ask_user([*example, question], attempt=round_, key=key)
                except RequestRejected as error:
                    refused = error
                    logger.warning("%s: a question for %d instructions was refused: %s", key, count, error)
                    continue
                found = _read(answer.text, count)
                if not found:
                    rejected.append((answer.text, "cannot be read"))
                for number, text, details in found:
                    text = clean(text)
                    reason = shortcoming(text, api) or decontaminator.reason(api.id, text)
                    if reason or number >= count or len(of_style) >= settings.per_style:
                        rejected.append((text, reason or "was not asked for"))
                        continue
                    decontaminator.accept(api.id, text)
                    # Details are values: nothing in front of one is taken for a label.
                    details = " ".join(details.split())
                    of_style.append(WrittenInstruction(text, details, style, constraints[number].mood))
        written += of_style
    if refused is not None and not written:
        raise refused
    return written


def _read(answer: str, count: int) -> list[tuple[int, str, str]]:
    """The number of the constraints, text and details of each instruction in an answer."""
    items = [_read_item(item) for item in parse_items(answer, "instructions")]
    if not items:  # a numbered list instead of JSON
        numbered = re.findall(r"^\s*(\d{1,2})[.):]\s+(\S.*)$", unfence(answer), re.MULTILINE)
        items = [(int(number), line, "") for number, line in numbered]
    # Numbers that fit are believed; a model that numbers otherwise is read in order.
    return [
        (number - 1 if number is not None and 1 <= number <= count else place, text, details)
        for place, (number, text, details) in enumerate(items)
    ]


def _question(
    documentation: str, style: str, constraints: list[InstructionConstraints], before: list[WrittenInstruction]
) -> str:
    listed = "\n".join(f"{number}. {constraint}" for number, constraint in enumerate(constraints, 1))
    taken = "\n".join(f"- {written.instruction}" for written in before[-10:])
    return prompt("instructions").format(
        documentation=documentation.strip(),
        count=len(constraints),
        style=prompt(f"style_{style}"),
        demands=listed,
        avoid=f"\nThese were written already; write others:\n{taken}\n" if taken else "",
    )


def _read_item(item: Any) -> tuple[int | None, str, str]:
    """Number, text and details of an item, in whatever layout."""
    if not isinstance(item, dict):
        return None, item if isinstance(item, str) else "", ""
    number = item.get("number")
    text = next((item[key] for key in ("instruction", "text", "input", "query") if isinstance(item.get(key), str)), "")
    details = item.get("details") or ""
    if isinstance(details, dict):
        details = "; ".join(f"{key}: {value}" for key, value in details.items())
    elif isinstance(details, list):
        details = "; ".join(map(str, details))
    return number if type(number) is int else None, text, str(details)


_BOTH = ("findLighthouses", "reportFault")
_EXAMPLE_CONSTRAINTS = {
    "short": [
        InstructionConstraints("in a hurry", "an order", "10 to 18 words", _BOTH[1:], False),
        InstructionConstraints("curious", "a statement and a question", "18 to 30 words", _BOTH, True),
    ],
    "story": [
        InstructionConstraints("worried", "a polite request", "30 to 45 words", _BOTH[1:], False),
        InstructionConstraints("friendly", "a polite request", "45 to 60 words", _BOTH, True),
    ],
}
