"""The wording of the offline agents, from `prompts/offline.txt`, and how parameters and functions are named."""

import json
import re
from functools import cache
from typing import Any

from ...corpus import leaves, observed, prompt_text
from ...openapi import Operation
from ...simulator import Rng, singular, words_of

PACKAGE = "toolalpaca_hf.experimental.offline_corpus"
# The base of a verb's ending, other verbs for some (`otherwise`), other words for the plainest ones, and what stands
# before a value, by the last word of its parameter's name.
_WORDS: dict[str, dict[str, Any]] = json.loads(prompt_text("words.json", PACKAGE))
# What a description says of its function's parameters; the request names their values in its place.
_OF_PARAMETERS = re.compile(
    r"\s*(?:,? (?:based on|using|by (?!the user)|filtered by|sorted by|according to|such as|including|like|"
    r"with the specified|that match|from different)\b.*|\bwith live monitoring\b)$"
)
# Words that people leave out, and others for the plainest ones.
_LIGHT = re.compile(r"\b(?:detailed|relevant|real-time|latest|current|various|basic|general|complete)\s+")
_PREAMBLE = re.compile(r"(?i)^(?:this (?:endpoint|function|api) |allows (?:users|you) to |an? endpoint (?:to|that) )")
_SPECIFIC = re.compile(r"\b(?:specific|specified|given|particular|certain|available|desired)\s+", re.IGNORECASE)


@cache
def _variants() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in prompt_text("offline.txt", PACKAGE).splitlines():
        kind, _, text = line.partition(": ")
        found.setdefault(kind, []).append(text)
    return found


def phrase(kind: str, draws: Rng, **parts: str) -> str:
    """One of the phrases of a kind; a part whose name is capitalized is capitalized too."""
    text = draws.pick(_variants()[kind])
    capital = {name.capitalize(): words[:1].upper() + words[1:] for name, words in parts.items()}
    return re.sub(r"\{(\w+)\}", lambda found: (parts | capital)[found[1]], text)


def wish_of(operation: Operation, draws: Rng) -> str:
    """A function's description as a request, without its parameters."""
    text = re.split(r"[.;\n]\s|[.;\n]$|\(", operation.description.strip())[0].strip().rstrip(".")
    text = _PREAMBLE.sub("", text)
    words = text.split()
    # Several verbs in a row, "Stars, marks or shares": the function's name says it shorter.
    if words and words[0].endswith(","):
        words = []
    if not 2 <= len(words) <= 40:
        return " ".join(words_of(operation.name)) or operation.name
    verb = _verb(words[0])
    if verb != words[0].lower() and len(words) > 3 and words[1] in ("and", "or"):
        words[2] = _verb(words[2])
    rest = " ".join(words[1:])
    shorter = _OF_PARAMETERS.sub("", f" {rest}").strip()
    if len(shorter.split()) >= 2 and draws.integer(0, 3):
        rest = shorter
    rest = re.sub(r",? and (?:receives?|returns?|retrieves?) .*$", "", rest)
    rest = _SPECIFIC.sub("", rest)
    if draws.integer(0, 1):
        rest = _LIGHT.sub("", rest)
    for plain, others in _WORDS["plain"].items():
        rest = " ".join(rest.replace(plain, draws.pick(others)).split())
    rest = re.sub(r"\ba (?=[aeiouAEIO](?!se|ni|ne\b))", "an ", re.sub(r"\ban (?=[bcdfgjklmnpqrstvwxz])", "a ", rest))
    return f"{draws.pick(_WORDS['otherwise'].get(verb, (verb,)))} {rest}".strip(" ,")


def _verb(word: str) -> str:
    """The first word of a description as an imperative."""
    word = word if word.isupper() else word.lower()
    for end, base in _WORDS["base"].items():
        if word.endswith(end) and len(word) > len(end) + 1:
            return word.removesuffix(end) + base
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def spoken(name: str, schema: dict[str, Any]) -> str:
    """A parameter in words: those of its name, or of its description if the name is a single letter."""
    words = " ".join(words_of(name))
    if len(words) > 2:
        return words
    said = re.split(r"[.,;(]| or | to | for | of ", str(schema.get("description", "")))[0]
    said = re.sub(r"^(?:the|an?) ", "", said.strip(), flags=re.IGNORECASE).lower()
    return said if 2 < len(said) < 40 else words or name


def written(value: Any) -> str:
    """A value as written in a sentence."""
    if isinstance(value, list):
        return listed([written(part) for part in value])
    if isinstance(value, dict):
        return listed([f"{' '.join(words_of(name)) or name} {written(part)}" for name, part in value.items()])
    if isinstance(value, str):
        return f'"{value}"' if " " in value and not value.istitle() else value
    return json.dumps(value, ensure_ascii=False)


def listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def facts(arguments: dict[str, Any], properties: dict[str, Any]) -> str:
    """Arguments as the end of a request: `in Lisbon, with max km 6`."""
    placed, others = [], []
    for name, value in arguments.items():
        words = spoken(name, properties.get(name, {}))
        before = _WORDS["before"].get(words.split()[-1])
        if before and isinstance(value, str) and not any(text.startswith(f"{before} ") for text in placed):
            placed.append(f"{before} {written(value)}")
        else:
            others.append(f"{words} {written(value)}")
    return ", ".join([" ".join(placed)] * bool(placed) + [f"with {listed(others)}"] * bool(others))


TITLES = ("name", "title", "fullname", "displayname", "label", "headline", "username", "symbol", "code", "id")
_SAYING = ("message", "error", "detail", "reason", "description")
_LEFT_OUT = {"success", "ok", "statuscode", "page", "pages", "totalpages", "currentpage", "limit", "offset"}


def summarize(observation: str, known: tuple[str, ...] = (), most: int = 4) -> str:
    """An observation in one or two sentences; every name and figure is taken from it."""
    value = observed(observation)
    if isinstance(value, str) and " " not in value.strip():
        return f"The answer is {value.strip()}." if value.strip() else "It is done."
    if isinstance(value, str):
        return _sentence(value)
    what, items = _list_in(value)
    if items is not None:
        if not items:
            return f"There are no {what}."
        names = [_item(item, known) for item in items[:most]]
        count = "There is 1" if len(items) == 1 else f"There are {len(items)}"
        first = f"the first {len(names)} are " if len(items) > most else ""
        return f"{count} {what}: {first}{listed(names)}."
    facts = (_facts(value, known) or _facts(value, ()))[:most]
    if not facts:
        return "It is done, and the answer holds nothing more."
    parts = [f"the {name} {'is' if singular(name) == name else 'are'} {part}" for name, part in facts]
    return _sentence(listed(parts))


def is_empty(observation: str) -> bool:
    """Whether an answer holds nothing that was asked for."""
    value = observed(observation)
    return value in ({}, []) or (isinstance(value, dict) and len(value) <= 2 and _list_in(value)[1] == [])


def main_fact(observation: str, known: tuple[str, ...] = ()) -> str:
    """The first fact of an observation, for a thought."""
    value = observed(observation)
    if isinstance(value, str):
        return written(_shortened(value.strip(), 80)) if value.strip() else "nothing more"
    what, items = _list_in(value)
    if items is not None:
        return f"{len(items)} {what}, the first of them {_title(items[0])}" if items else f"no {what}"
    facts = _facts(value, known) or _facts(value, ())
    return f"{facts[0][0]} {facts[0][1]}" if facts else "nothing more"


def error_reason(observation: str) -> str:
    """The reason for a rejected call, as a sentence."""
    value = observed(observation)
    if isinstance(value, dict):
        texts = ((name, part) for name, part in leaves(value) if isinstance(part, str) and len(part) > 3)
        value = next((part for name, part in texts if name.casefold() in _SAYING), observation)
    text = " ".join(str(value).replace(" Change the Action Input and try again.", "").split())
    return _sentence(_shortened(text, 200))


def _list_in(value: Any) -> tuple[str, list[Any] | None]:
    """The list that an answer is, or contains at most one level down, and what it lists in words."""
    if not isinstance(value, dict):
        return "results", value if isinstance(value, list) else None
    for name, part in value.items():
        if isinstance(part, list) and (not part or isinstance(part[0], dict) or len(value) <= 2):
            return " ".join(words_of(name)) if name else "results", part
    inner = [part for part in value.values() if isinstance(part, dict)]
    return _list_in(inner[0]) if len(inner) == 1 and len(value) <= 3 else ("results", None)


def _title(item: Any) -> str:
    if not isinstance(item, dict):
        return written(item) if isinstance(item, str | int | float) else "one without a name"
    fields = {"".join(words_of(name)): part for name, part in item.items() if isinstance(part, str | int | float)}
    titles = (name for title in TITLES for name in fields if name == title or (name.endswith(title) and title != "id"))
    return written(fields[next(titles, next(iter(fields)))]) if fields else "one without a name"


def _item(item: Any, known: tuple[str, ...]) -> str:
    title = _title(item)
    known_facts = _facts(item, known) if isinstance(item, dict) else []
    facts = [f"{name} {part}" for name, part in known_facts if part != title][:2]
    return f"{title} ({', '.join(facts)})" if facts else title


def _facts(value: Any, known: tuple[str, ...], before: str = "") -> list[tuple[str, str]]:
    """Short fields of an object whose values the user does not know yet."""
    found: list[tuple[str, str]] = []
    if not isinstance(value, dict):
        return [("answer", written(value))] if isinstance(value, str | int | float) else found
    for name, part in value.items():
        words = " ".join(words_of(name)) or name
        if "".join(words_of(name)) in _LEFT_OUT or str(part) in known or part in (None, "", [], {}):
            continue
        if isinstance(part, dict) and not before:
            found += _facts(part, known, words)
        elif isinstance(part, list) and all(isinstance(one, str | int | float) for one in part):
            found.append((f"{before} {words}".strip(), listed([written(one) for one in part[:4]])))
        elif isinstance(part, str | int | float) and len(str(part)) <= 160:
            found.append((f"{before} {words}".strip(), written(part)))
    return found


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0]


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if re.search(r"[.!?]\"?$", text) else f"{text}."
