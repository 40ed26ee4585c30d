"""Finds the functions nearest to an instruction by BM25, to select what is shown, to give hints, and as a baseline.

Prompts name what a retriever found, in training and rollouts alike (Gorilla, arXiv 2305.15334, section 3.2).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..errors import needing
from ..schema import Api, Function, Trajectory

MAX_TOOLS = 20
"""How many functions of an API a model is shown by default: the nearest to the instruction where there are more."""
ROW_TOOLS = 9
"""How many a training row shows of a larger API: the published ones have up to 9, and a row has 2,048 tokens."""

_SHARED = re.compile(r"#([^\s,{}\[\]]+)")
# Camel case is split; other alphabets' letters are as lower-case ones; scripts without spaces have a word a character.
_LOWER = "a-z\u00c0-\u167f\u1681-\u1fff"  # without what is white space
_WORD = re.compile(f"[A-Z]+(?![{_LOWER}])|[A-Z]?[{_LOWER}]+|[0-9]+|[\u2e80-\u2fff\u3001-\U0010ffff]")
# Words of every request and of every description say nothing about a function.
_STOP = frozenset(
    "a an and are as at be by can could do for from get give has have help i if in into is it its like me my need of "
    "on or please so some that the their them this to use want what which with would you your".split()
)


def words_of(text: str) -> list[str]:
    """Lower-case words of a name or sentence: camel case split, plural `s` and stop words removed."""
    # Letter by letter, as the chat template does it: a final sigma would be another letter.
    words = ("".join(map(str.lower, word)) for word in _WORD.findall(text))
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words if word not in _STOP]


@lru_cache(maxsize=512)
def _index(texts: tuple[str, ...]) -> tuple[Any, frozenset[str]]:
    with needing("ranking functions", "agent"):
        import bm25s
    corpus = [words_of(text) for text in texts]
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    return index, frozenset(word for words in corpus for word in words)


def bm25_scores(functions: Sequence[Function], instruction: str) -> list[float]:
    """BM25 of an instruction against each function's name and description, 0.0 if no word is shared.

    Example:

    ```python
    >>> functions = [Function("getTide", "", "", "Tide at a port."), Function("getPort", "", "", "Ports of a land.")]
    >>> [score > 0 for score in bm25_scores(functions, "When is high tide?")]
    [True, False]
    ```
    """
    # Name, first line and whole description: of the variants tried on training instructions, the best.
    texts = tuple(f"{f.name} {f.description.partition(chr(10))[0]} {f.description}" for f in functions)
    if not any(words_of(text) for text in texts):
        return [0.0] * len(functions)
    index, known = _index(texts)
    query = [word for word in words_of(instruction) if word in known]
    return [float(score) for score in index.get_scores(query)] if query else [0.0] * len(functions)


def nearest_functions(functions: Sequence[Function], instruction: str, count: int) -> list[str]:
    """Names of the `count` functions nearest to an instruction, nearest first; ties keep their order."""
    scores = bm25_scores(functions, instruction)
    order = sorted(range(len(functions)), key=lambda i: -scores[i])
    return [functions[i].name for i in order[:count]]


def select_functions(api: Api, instruction: str, most: int | None, called: Iterable[str] = ()) -> Api:
    """Reduce an API to the `most` functions nearest to the instruction; `None` keeps all.

    They keep the document's order, and schemas used only by other functions are removed. Functions in `called` come
    first: a training row must show what it calls. Otherwise nothing favours the right ones, as in use.

    Example:

    ```python
    >>> functions = [Function("getPort", "", "", "Ports."), Function("getTide", "", "", "Tides.")]
    >>> [f.name for f in select_functions(Api("train/tides", "Tides", functions=functions), "High tide?", 1).functions]
    ['getTide']
    ```
    """
    if most is None or len(api.functions) <= most:
        return api
    before = set(called)
    first = [function.name for function in api.functions if function.name in before]
    order = dict.fromkeys([*first, *nearest_functions(api.functions, instruction, most)])
    near = set([*order][: max(most, len(first))])
    functions = [function for function in api.functions if function.name in near]
    return replace(api, functions=functions, components=used_components(api.components, functions))


def used_components(components: str, functions: Sequence[Function]) -> str:
    """The shared schemas that functions refer to, directly or through others, with their heading if there are any."""
    heading, *shared = f"\n{components}".split("\n#")
    named = {schema.partition(": ")[0]: schema for schema in shared}
    left, used = [function.description for function in functions], set[str]()
    while left:
        written = _SHARED.findall(left.pop())  # or in brackets, or at the end of a sentence
        found = {name for word in written for name in (word, word.rstrip("`*).;:!?'\"")) if name in named} - used
        used |= found
        left += [named[name] for name in found]
    kept = "".join(f"\n#{words}" for name, words in named.items() if name in used)
    return f"{heading}{kept}".removeprefix("\n") if kept else ""


def api_for_row(api: Api, trajectory: Trajectory) -> Api:
    """The API as a training row shows it: if large, the called and nearest functions, up to `ROW_TOOLS`."""
    if len(api.functions) <= MAX_TOOLS:
        return api
    return select_functions(api, trajectory.instruction, ROW_TOOLS, [step.action for step in trajectory.steps])
