"""How a call of a tool is written into a text, found there again, and told from what the text held before."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ..errors import ToolAlpacaError

# Printable, found in next to no text, and short, since a model reads it where a text held markers of its own.
_ESCAPE = "\N{SYMBOL FOR ESCAPE}"
_NAME = r"[A-Za-z_][\w.-]{0,63}"


@dataclass(frozen=True)
class Call:
    """A call of a tool.

    Args:
        tool (`str`): The tool's name, as it is written: `Calculator`.
        input (`str`): The text it is given.
    """

    tool: str
    input: str


@dataclass(frozen=True)
class Found:
    """A call as it stands in a text, from `start` up to `end` (characters); `result` is `None` where it has none."""

    call: Call
    result: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Markers:
    """The three markers of section 2: what begins a call, what ends it, and what stands before its result.

    The defaults are the ones the paper used (its footnote on special tokens), so that no vocabulary has to grow. Special
    tokens of a model's own work as well: `Markers("<API>", "</API>", "→")`.

    Args:
        start (`str`, *optional*, defaults to `"["`): Begins a call.
        end (`str`, *optional*, defaults to `"]"`): Ends it.
        arrow (`str`, *optional*, defaults to `"->"`): Stands between a call and its result.

    Raises:
        [`ToolAlpacaError`]: A marker is empty, equals another one, or can not be escaped.

    Example:

    ```python
    >>> markers = Markers()
    >>> call = Call("Calculator", "400 / 1400")
    >>> markers.with_result(call, "0.29")
    '[Calculator(400 / 1400) -> 0.29]'
    >>> markers.parse("[Calculator(400 / 1400)]") == call
    True
    ```
    """

    start: str = "["
    end: str = "]"
    arrow: str = "->"

    def __post_init__(self) -> None:
        for name, marker in (("start", self.start), ("end", self.end), ("arrow", self.arrow)):
            if not marker or marker != marker.strip() or marker[0] in "()>0" or _ESCAPE in marker:
                raise ToolAlpacaError(
                    f"the {name} marker is {marker!r}; choose one that is not empty, has no space at its ends and does not "
                    f"begin with a parenthesis, > or 0"
                )
        if len({self.start, self.end, self.arrow}) < 3:
            raise ToolAlpacaError(f"the markers {self.start!r}, {self.end!r} and {self.arrow!r} have to differ")

    def call(self, call: Call) -> str:
        """A call without a result, e(c) of section 2.

        Raises:
            [`ToolAlpacaError`]: Its input holds a marker, or its tool's name is none, so that it could not be read back.
        """
        return f"{self._head(call)}{self.end}"

    def with_result(self, call: Call, result: str) -> str:
        """A call with its result, e(c, r) of section 2.

        Raises:
            [`ToolAlpacaError`]: See [`Markers.call`]; or the result holds a marker, see [`Markers.without`].
        """
        if self.hold(result):
            raise ToolAlpacaError(
                f"the result {result[:80]!r} of {call.tool} holds a marker; use Markers.without first"
            )
        return f"{self.opening(call)} {result}{self.end}"

    def opening(self, call: Call) -> str:
        """A call up to its arrow: what a model writes before the result is put in."""
        return f"{self._head(call)} {self.arrow}"

    def parse(self, text: str) -> Call | None:
        """Read a call: `[Tool(input)]`, with or without its markers, arrow and result.

        Returns:
            `Call`: `None` where the text is something else.

        Example:

        ```python
        >>> Markers().parse("Calendar() ->")
        Call(tool='Calendar', input='')
        ```
        """
        match = self._loose.fullmatch(text.strip())
        return Call(match["tool"], match["input"].strip()) if match else None

    def find(self, text: str) -> Iterator[Found]:
        """The calls in a text, in order."""
        for match in self._strict.finditer(text):
            result = match["result"]
            call = Call(match["tool"], match["input"].strip())
            yield Found(call, None if result is None else result.strip(), *match.span())

    def insert(self, text: str, calls: Iterable[tuple[int, str]]) -> str:
        """Write calls into a text; [`Markers.strip`] takes them out again.

        Args:
            text (`str`): A text without markers, see [`Markers.escape`].
            calls (`Iterable[tuple[int, str]]`): Characters of the text that stand before a call, and the call as written.

        Example:

        ```python
        >>> Markers().insert("400 (or 29%) passed", [(7, "[Calculator(400 / 1400) -> 0.29]")])
        '400 (or [Calculator(400 / 1400) -> 0.29] 29%) passed'
        ```
        """
        done, at = "", 0
        for position, written in sorted(calls, key=lambda one: one[0]):
            done += text[at:position]
            # A word's space belongs to its token, so a call before " 29%" begins with a space and " 29%" stays whole.
            done += f"{written} " if not done or done[-1].isspace() else f" {written}"
            at = position
        return done + text[at:]

    def strip(self, text: str) -> str:
        """A text without its calls, and without the space each was written with.

        Example:

        ```python
        >>> Markers().strip("400 (or [Calculator(400 / 1400) -> 0.29] 29%) passed")
        '400 (or 29%) passed'
        ```
        """
        return self._spaced.sub("", text)

    def hold(self, text: str) -> bool:
        """Whether there is a marker in a text."""
        return self._any.search(text) is not None

    def escape(self, text: str) -> str:
        """A text without markers, from which [`Markers.restore`] makes the text again.

        Example:

        ```python
        >>> Markers().escape("as in [1]")
        'as in ␛(1␛)'
        >>> Markers().restore("as in ␛(1␛)")
        'as in [1]'
        ```
        """
        codes = {marker: _ESCAPE + code for code, marker in self._codes.items()}
        return self._escaped.sub(lambda match: codes[match[0]], text)

    def restore(self, text: str) -> str:
        """What [`Markers.escape`] was given."""
        return re.sub(f"{_ESCAPE}([()>0])", lambda match: self._codes[match[1]], text)

    def without(self, text: str) -> str:
        """A text with each marker replaced by something harmless, and without escapes; for results, which need not be restored.

        Example:

        ```python
        >>> Markers().without("[1, 2] -> 3")
        '(1, 2)   3'
        ```
        """
        replaced = {self.start: "(", self.end: ")", self.arrow: " "}
        text = self._any.sub(lambda match: replaced[match[0]], text.replace(_ESCAPE, ""))
        while self.hold(text):  # what stood around a marker may be another one
            text = self._any.sub("", text)
        return text

    def _head(self, call: Call) -> str:
        if not re.fullmatch(_NAME, call.tool) or self.hold(call.input):
            raise ToolAlpacaError(
                f"a call of {call.tool[:80]!r} with {call.input[:80]!r} can not be written between {self.start} and "
                f"{self.end}; names are letters, digits, _, . and -, and the input holds no marker"
            )
        return f"{self.start}{call.tool}({call.input})"

    @cached_property
    def _codes(self) -> dict[str, str]:
        return {"(": self.start, ")": self.end, ">": self.arrow, "0": _ESCAPE}

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return _one_of([self.start, self.end, self.arrow])

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        return _one_of([self.start, self.end, self.arrow, _ESCAPE])

    @cached_property
    def _body(self) -> str:
        plain = f"(?:(?!{self._any.pattern}).)*"
        return rf"(?P<tool>{_NAME})\((?P<input>{plain})\)\s*(?:{re.escape(self.arrow)}(?P<result>{plain}))?"

    @cached_property
    def _loose(self) -> re.Pattern[str]:
        return re.compile(rf"(?:{re.escape(self.start)})?\s*{self._body}(?:{re.escape(self.end)})?", re.DOTALL)

    @cached_property
    def _strict(self) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(self.start)}\s*{self._body}{re.escape(self.end)}", re.DOTALL)

    @cached_property
    def _spaced(self) -> re.Pattern[str]:
        # The space before it goes with a call, else the one behind it: one of them is what `insert` added.
        return re.compile(f"(?P<before> )?{self._strict.pattern}(?(before)| ?)", re.DOTALL)


def _one_of(markers: Iterable[str]) -> re.Pattern[str]:
    # The longest first, where one marker begins with another.
    return re.compile("|".join(re.escape(marker) for marker in sorted(markers, key=len, reverse=True)))
