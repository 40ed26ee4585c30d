"""Augmented copies of training examples: fewer, reordered and renamed functions; the task stays the same.

Names are masked at random as in Hammer (arXiv 2410.04587, section 3.2), so that descriptions have to be read.
"""

import hashlib
import json
import random
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from datasets import Dataset
from datasets.fingerprint import Hasher

from .. import formats
from ..features import FEATURES
from ..formats import GET_DETAILS, Example, ReactPrompt, react_prompt, step_log
from ..schema import Api, Function, Segment, Step, Trajectory
from .tokenize import code_hash, merge

# Common words that single tokens of most vocabularies cover; joined at random they make names without meaning.
_WORDS = (
    "amber apple arrow basin birch blue brick cedar cloud coral crane delta drift ember fern field flint forest "
    "garden glass gold green harbor hazel iron island ivory jade lake lemon linen maple marble meadow mint moon moss "
    "north oak ocean olive orange pearl pine plum quartz rain red river rock rose sand silver sky snow south star "
    "stone storm summer sun tide tiger valley velvet violet wave west willow wind winter wolf wood yellow"
).split()

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_METHODS = {"create": "post", "add": "post", "report": "post", "update": "put", "delete": "delete", "remove": "delete"}

CONVENTIONS = ("camel", "pascal", "snake", "path", "versioned", "tagged")


def random_name(rng: random.Random, taken: set[str]) -> str:
    """A meaningless name that is not in `taken`; it is added there."""
    name = ""
    while not name or name in taken:
        name = rng.choice(_WORDS) + "".join(rng.choice(_WORDS).title() for _ in range(rng.randint(0, 1)))
    taken.add(name)
    return name


def restyled(name: str, convention: str, version: int = 1) -> str:
    """A function's name in one of `CONVENTIONS`; `version` is for `versioned`."""
    words = [word.lower() for word in _PART.findall(name)]
    if not words:
        return name
    pascal = "".join(word.title() for word in words)
    camel = words[0] + pascal[len(words[0]) :]
    # A path's words are its nouns: `get` is said by the method, other verbs follow.
    verb, nouns = words[0], words[1:]
    method = _METHODS.get(verb, "get")
    path = "_".join([*nouns, method] if nouns and (verb == "get" or verb in _METHODS) else [*nouns, verb, method])
    return {
        "camel": camel,
        "pascal": pascal,
        "snake": "_".join(words),
        "path": path,
        "versioned": f"api_v{version}_{path}",
        "tagged": f"{words[-1].title()}Api_{camel}",
    }[convention]


_ACTION = re.compile(r"\n(?:ASSISTANT )?Action: ?([^\n]*)")
_PARAMETER = re.compile(r'"([A-Za-z_][\w.\[\]-]*)": "')
_INPUT = re.compile(r"\nAction: ?([^\n]*)\nAction Input:[ ]?(.*?)(?=\nObservation:|\Z)", re.DOTALL)
_REQUESTS = (
    "{}.", "Can you {}?", "I want to {}.", "Please {}.", "I need to {}.", "Could you {} for me?", "I'd like to {}.",
    "Help me {}.",
)  # fmt: skip


@dataclass(frozen=True)
class Augmentation:
    """How an augmented copy differs from its example; see the `augment_*` fields of [`SegmentScriptArguments`].

    How many functions it shows is drawn at random, and those called are always among them. Names in other conventions
    write `searchNews` as `search_news`, `news_search_get`, `NewsApi_searchNews`, ... Of `tool_hints` see
    [`ReactPrompt`].
    """

    max_functions: int = 8
    max_documentation: int = 2000
    mask_names: float = 0.3
    max_observation: int = 500
    first_turns: float = 0.0
    min_functions: int = 4
    restyle_names: float = 0.0
    tool_hints: int = 0


def called_functions(trajectory: Trajectory) -> set[str]:
    """Names of the functions a trajectory calls, `getDetails` included, as the model wrote them."""
    return {name for step in trajectory.steps for name in _names(step)}


def _names(step: Step) -> list[str]:
    return [name.strip() for name in _ACTION.findall(step_log(step, prefix="")) if name.strip()]


def augment(example: Example, how: Augmentation, rng: random.Random, called: Collection[str] = ()) -> Example:
    """An augmented copy of an example, in which functions in `called` are always shown."""
    trajectory = example.trajectory
    # Steps without a call are dropped: trained on, they are learnt.
    kept = [(step, own) for step, own in zip(trajectory.steps, example.trained, strict=False) if _names(step)]
    functions = _keep(example.api.functions, called_functions(trajectory).union(called), how, rng)
    components = formats.used_components(example.api.components, functions)
    functions, renamed, parameters = _rename(functions, how, rng)
    thought = formats.DEFAULT_FINAL_THOUGHT if trajectory.final_thought is None else trajectory.final_thought
    copy = replace(
        trajectory,
        steps=[_renamed_step(step, renamed, parameters, how.max_observation) for step, _ in kept],
        final_thought=_renamed(thought, renamed),
        response=_renamed(trajectory.response, renamed),
    )
    api = Api("", "", functions=functions, components=components)
    return Example(api, copy, (*(own for _, own in kept), example.trained[-1]))


def render(example: Example, prompt: ReactPrompt, first_turn: bool = False) -> list[Segment]:
    """Segments of an example; with `first_turn` they end after the first action, if that is trained."""
    segments = formats.trajectory_segments(example.api, example.trajectory, prompt)
    segments[1::2] = [Segment(s.text, own) for s, own in zip(segments[1::2], example.trained, strict=True)]
    if first_turn and len(segments) > 2 and segments[1].trainable:
        # An untrained segment comes last: the example goes on, so no end of sequence is trained here.
        segments = [*segments[:2], Segment(" ", False)]
    return segments


def _keep(functions: list[Function], called: Collection[str], how: Augmentation, rng: random.Random) -> list[Function]:
    kept = [f for f in functions if f.name in called]
    rest = [f for f in functions if f.name not in called]
    rng.shuffle(rest)
    wanted = max(len(kept), rng.randint(min(how.min_functions, how.max_functions), how.max_functions))
    size = sum(len(f.name) + len(f.description) for f in kept)
    for function in rest:
        size += len(function.name) + len(function.description)
        if len(kept) >= wanted or size > how.max_documentation:
            break
        kept.append(function)
    rng.shuffle(kept)
    return kept


def _masked(description: str, rng: random.Random) -> tuple[str, dict[str, str]]:
    """A description with random parameter names, and these by the old names."""
    masked, taken = dict[str, str](), set(_PARAMETER.findall(description))

    def mask(match: re.Match[str]) -> str:
        if (key := match.group(1)) not in masked:
            masked[key] = random_name(rng, taken)
        return f'"{masked[key]}": "'

    lines = description.split("\n")
    lines = [_PARAMETER.sub(mask, line) if line.startswith("Parameters: {") else line for line in lines]
    return "\n".join(lines), masked


def _rename(
    functions: list[Function], how: Augmentation, rng: random.Random
) -> tuple[list[Function], dict[str, str], dict[str, dict[str, str]]]:
    """Renamed functions, new names by old, and for each new name its parameters, new by old."""
    names = {function.name: function.name for function in functions}
    functions = list({function.name: function for function in functions}.values())  # of one name, the last is called
    descriptions = [function.description for function in functions]
    parameters: list[dict[str, str]] = [{} for _ in functions]
    if rng.random() < how.mask_names:
        taken = {GET_DETAILS}
        for i, name in enumerate(names):
            names[name] = random_name(rng, taken)
            descriptions[i], parameters[i] = _masked(descriptions[i], rng)
    if rng.random() < how.restyle_names:
        convention, version = rng.choice(CONVENTIONS), rng.randint(1, 4)
        styled = [restyled(name, convention, version) for name in names.values()]
        if len({GET_DETAILS, *styled}) == len(styled) + 1:  # two names that fall together stay as they are
            names = dict(zip(names, styled, strict=True))
    renamed = [Function(name, "", "", text) for name, text in zip(names.values(), descriptions, strict=True)]
    return renamed, names, dict(zip(names.values(), parameters, strict=True))


def _renamed(text: str, names: Mapping[str, str]) -> str:
    if all(old == new for old, new in names.items()):
        return text
    # All at once, for a new name may be another function's old one.
    old = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{old})(?!\w)", lambda match: names[match.group()], text)


def _renamed_keys(text: str, names: Mapping[str, str]) -> str:
    """Rename the top-level keys of a JSON object; leave any other text unchanged."""
    with suppress(ValueError, RecursionError):
        if isinstance(value := json.loads(text), dict):
            return json.dumps({names.get(key, key): item for key, item in value.items()}, ensure_ascii=False)
    return text


def _renamed_step(
    step: Step, functions: Mapping[str, str], parameters: Mapping[str, Mapping[str, str]], longest: int
) -> Step:
    text = _renamed(step_log(step, prefix="").replace("\nASSISTANT Response:", "\nResponse:"), functions)
    if match := _INPUT.search(text):
        names = parameters.get(match.group(1).strip(), {})
        text = text[: match.start(2)] + _renamed_keys(match.group(2), names) + text[match.end(2) :]
    cut = step.observation[:longest] + " [...]" if len(step.observation) > longest else step.observation
    return replace(step, observation=cut, log=text)


def described_turn(
    function: Function, api: Api, prompt: ReactPrompt, rng: random.Random, left_out: float = 0.25
) -> list[Segment] | None:
    """A function's description, some words dropped, as instruction, and the function's name as answer."""
    words = function.description.split("\n", 1)[0].strip().rstrip(".").split()
    if not words or not 8 <= sum(map(len, words)) <= 300:
        return None
    # As what follows `to`: lower case, but for an abbreviation.
    words[0] = words[0] if words[0][1:].isupper() else words[0][0].lower() + words[0][1:]
    asked = [words[0], *(word for word in words[1:] if rng.random() >= left_out)]
    instruction = rng.choice(_REQUESTS).format(" ".join(asked))
    head = prompt.head(api, instruction[0].upper() + instruction[1:])
    answer = f" I need to {' '.join(words)}.\nAction: {function.name}\nAction Input:"
    # The example would continue, so an untrained segment comes last.
    return [Segment(head, False), Segment(answer, True), Segment(" ", False)]


def _segments(row: Mapping[str, Any]) -> list[Segment]:
    """A row's segments as they stand there; an [`InputError`] with its id where one is malformed."""
    merge(row["segments"], row["id"])
    return [Segment(segment["text"], segment["trainable"]) for segment in row["segments"] or ()]


def augment_dataset(
    rows: Dataset, how: Augmentation, copies: int, seed: int, shared: bool = False, descriptions: int = 0
) -> Dataset:
    """Replace rows by augmented copies, read back from their text; a row that is no example is repeated unchanged.

    Ids of copies end in `+0`, `+1`, ... With `shared`, the n-th copies of rows with the same documentation share one
    augmented documentation, which shows every function that any of them calls. For each documentation and copy number,
    examples are added that are made from the descriptions of so many functions, with ids such as `ID+0/getTide`.
    """
    plain: Any = rows.with_format(None)  # iterates over dicts, which `datasets` does not type
    prompt = react_prompt(how.tool_hints)
    # By place, since ids may be repeated, or be none: an example, and a key of what its prompt documents.
    found: list[tuple[Example | None, str]] = []
    called, leaders = dict[str, set[str]](), dict[str, int]()
    for place, row in enumerate(plain):
        example = formats.parse_example(_segments(row), row["id"])
        documentation = str(place)
        if example is not None:
            functions = sorted((function.name, function.description) for function in example.api.functions)
            documentation = hashlib.sha256(json.dumps(functions).encode()).hexdigest()
        found.append((example, documentation))
        called.setdefault(documentation, set()).update(called_functions(example.trajectory) if example else ())
        leaders.setdefault(documentation, place)

    def augmented(place: int, row: dict[str, Any], number: int) -> Iterator[tuple[str, list[Segment]]]:
        example, documentation = found[place]
        name = f"{row['id']}+{number}"
        if example is None:
            yield name, _segments(row)
            return
        # The copy depends on the row's id only, not on its place, so that any subset gives the same copies; where
        # documentation is shared it depends on the documentation instead.
        owner = documentation if shared else row["id"]
        rng = random.Random(f"{seed}/{owner}/{number}")
        copy = augment(example, how, rng, called[documentation] if shared else ())
        first_turn = random.Random(f"{seed}/{row['id']}/{number}/first turn").random() < how.first_turns
        yield name, render(copy, prompt, first_turn)
        if descriptions and leaders[documentation] == place:
            rng = random.Random(f"{seed}/{owner}/{number}/descriptions")
            functions = list(copy.api.functions)
            rng.shuffle(functions)
            for function in functions[:descriptions]:
                _ = how.tool_hints and rng.random()  # rows of a seed have always had this draw before their words
                if (segments := described_turn(function, copy.api, prompt, rng)) is not None:
                    yield f"{name}/{function.name}", segments

    def generate() -> Iterator[dict[str, Any]]:
        for place, row in enumerate(plain):
            for name, segments in (pair for number in range(copies) for pair in augmented(place, row, number)):
                yield {"id": name, "api": row["api"], "segments": [asdict(segment) for segment in segments]}

    # What the copies look like is in this code and that of the formats.
    made_of = [rows._fingerprint, how, copies, seed, shared, descriptions, code_hash(formats)]
    return Dataset.from_generator(generate, features=FEATURES["sft"], fingerprint=Hasher.hash(made_of))
