"""Descriptions of functions as instructions: many choices of a function for one reading of the documentation.

A corpus asks for few of the functions it documents, often one instruction an API. The description of a function, some of
its words left out, is itself a request for that function, so documentation alone yields examples of the choice that a
trajectory begins with. Arguments are not trained: a description holds no values.
"""

import random
from collections.abc import Sequence

from ..formats import ReactPrompt
from ..schema import Api, Function, Segment

_REQUESTS = (
    "{}.", "Can you {}?", "I want to {}.", "Please {}.", "I need to {}.", "Could you {} for me?", "I'd like to {}.",
    "Help me {}.",
)  # fmt: skip


def _as_wish(description: str) -> str:
    """The first line of a description as what follows `to`; empty where it is no short sentence."""
    words = description.split("\n", 1)[0].strip().rstrip(".").split()
    if not words or not 8 <= sum(map(len, words)) <= 300:
        return ""
    first = words[0]
    return " ".join([first if first[1:].isupper() else first[0].lower() + first[1:], *words[1:]])


def described_turn(
    function: Function,
    api: Api,
    prompt: ReactPrompt,
    rng: random.Random,
    left_out: float = 0.25,
    nearest: Sequence[str] | None = None,
) -> list[Segment] | None:
    """An example whose instruction is a function's description and whose answer is the function's name.

    Args:
        function (`Function`): One of the API's.
        api (`Api`): What the prompt documents.
        prompt ([`ReactPrompt`]): Renders the head.
        rng (`random.Random`): Which words are left out and how the request begins.
        left_out (`float`, *optional*, defaults to `0.25`): Probability that a word after the first is left out.
        nearest (`Sequence[str]`, *optional*): Names in place of the hints that BM25 finds.

    Returns:
        `list[Segment]`: The head; a thought that repeats the description and the action, trained; an untrained space,
        for the example would go on. `None` where the function has no description to speak of.

    Example:

    ```python
    >>> from toolalpaca_hf.formats import react_prompt
    >>> function = Function("getTide", "", "", "Tell the tide at a port.")
    >>> api = Api("", "", functions=[function])
    >>> described_turn(function, api, react_prompt(), random.Random(0))[1].text
    ' I need to tell the tide at a port.\\nAction: getTide\\nAction Input:'
    ```
    """
    wish = _as_wish(function.description)
    if not wish:
        return None
    words = wish.split()
    asked = [words[0], *(word for word in words[1:] if rng.random() >= left_out)]
    instruction = rng.choice(_REQUESTS).format(" ".join(asked))
    head = prompt.head(api, instruction[0].upper() + instruction[1:], nearest)
    answer = f" I need to {wish}.\nAction: {function.name}\nAction Input:"
    return [Segment(head, False), Segment(answer, True), Segment(" ", False)]
