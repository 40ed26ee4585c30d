"""Writes tool calls as text, finds them, and distinguishes them from what the text already contained."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ..errors import InputError, OptionError

# Printable, rare in text, and short, since a model reads it wherever a text contained markers.
_ESCAPE = "\N{SYMBOL FOR ESCAPE}"
_NAME = r"[A-Za-z_][\w.-]{0,63}"


@dataclass(frozen=True)
class ToolCall:
    tool: str
    input: str


@dataclass(frozen=True)
class FoundCall:
    """A call in a text, at characters `start` to `end`."""

    call: ToolCall
    result: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Markers:
    """The markers of section 2 of arXiv 2302.04761: start and end of a call, and the arrow before its result.

    The defaults are the paper's (its footnote on special tokens), which need no new vocabulary. A model's special
    tokens work as well: `Markers("<API>", "</API>", "→")`. What cannot be escaped is refused with an [`OptionError`].

    Example:

    ```python
    >>> markers, call = Markers(), ToolCall("Calculator", "400 / 1400")
    >>> annotated = markers.insert("400 (or 29%) passed", [(7, markers.with_result(call, "0.29"))])
    >>> annotated
    '400 (or [Calculator(400 / 1400) -> 0.29] 29%) passed'
    >>> markers.strip(annotated)
    '400 (or 29%) passed'
    >>> markers.escape("as in [1]"), markers.restore("as in ␛(1␛)"), markers.without("[1, 2] -> 3")
    ('as in ␛(1␛)', 'as in [1]', '(1, 2)   3')
    ```
    """

    start: str = "["
    end: str = "]"
    arrow: str = "->"

    def __post_init__(self) -> None:
        for marker in self.all:
            if not marker or marker != marker.strip() or marker[0] in "()>0" or _ESCAPE in marker:
                fix = "choose one without space at its ends that does not begin with a parenthesis, > or 0"
                raise OptionError(f"{marker!r} cannot be a marker", option="marker", fix=fix)
        if len(set(self.all)) < 3:
            raise OptionError(f"the markers {self.all} have to differ", option="marker")

    def call(self, call: ToolCall) -> str:
        """A call without result, e(c) of section 2; an [`InputError`] if it could not be parsed again."""
        return f"{self._head(call)}{self.end}"

    def with_result(self, call: ToolCall, result: str) -> str:
        """A call with its result, e(c, r) of section 2; an [`InputError`] if either contains a marker."""
        if self.found_in(result):
            raise InputError(f"the result {result[:80]!r} of {call.tool} holds a marker", fix="use Markers.without")
        return f"{self._head(call)} {self.arrow} {result}{self.end}"

    def parse(self, text: str) -> ToolCall | None:
        """Parse a call, with or without its markers, arrow and result; `None` if the text is not a call."""
        text = text.strip().removeprefix(self.start).removesuffix(self.end)
        match = self._strict.fullmatch(f"{self.start}{text}{self.end}")
        return ToolCall(match["tool"], match["input"].strip()) if match else None

    def find(self, text: str) -> Iterator[FoundCall]:
        for match in self._strict.finditer(text):
            result = match["result"]
            call = ToolCall(match["tool"], match["input"].strip())
            yield FoundCall(call, result and result.strip(), *match.span())

    def insert(self, text: str, calls: Iterable[tuple[int, str]]) -> str:
        """Insert calls, given as position and text, into an escaped text; [`strip`] removes them."""
        done, at = "", 0
        for position, written in sorted(calls, key=lambda call: call[0]):
            done += text[at:position]
            # A word's space belongs to its token, so a call before " 29%" starts with a space and " 29%" stays intact.
            done += f"{written} " if not done or done[-1].isspace() else f" {written}"
            at = position
        return done + text[at:]

    def strip(self, text: str) -> str:
        """Remove calls, and the space that each was inserted with."""
        return self._spaced.sub("", text)

    def found_in(self, text: str) -> bool:
        return any(marker in text for marker in self.all)

    def escape(self, text: str) -> str:
        """Replace markers so that [`restore`] can recover them."""
        codes = {marker: _ESCAPE + code for code, marker in self._codes.items()}
        return any_of(codes).sub(lambda match: codes[match[0]], text)

    def restore(self, text: str) -> str:
        return re.sub(f"{_ESCAPE}([()>0])", lambda match: self._codes[match[1]], text)

    def without(self, text: str) -> str:
        """Replace markers and escapes by harmless characters, for results, which are not restored."""
        replaced = {self.start: "(", self.end: ")", self.arrow: " "}
        text = self._any.sub(lambda match: replaced[match[0]], text.replace(_ESCAPE, ""))
        while self.found_in(text):  # what stood around a marker may be another one
            text = self._any.sub("", text)
        return text

    def _head(self, call: ToolCall) -> str:
        if not re.fullmatch(_NAME, call.tool) or self.found_in(call.input):
            problem = f"a call of {call.tool[:80]!r} with {call.input[:80]!r} cannot be written"
            fix = "use letters, digits, _, . and - in names, and no marker in the input"
            raise InputError(f"{problem} between {self.start} and {self.end}", fix=fix)
        return f"{self.start}{call.tool}({call.input})"

    @property
    def all(self) -> tuple[str, str, str]:
        return self.start, self.end, self.arrow

    @property
    def _codes(self) -> dict[str, str]:
        return {"(": self.start, ")": self.end, ">": self.arrow, "0": _ESCAPE}

    @property
    def _any(self) -> re.Pattern[str]:
        return any_of(self.all)

    @cached_property
    def _body(self) -> str:
        # Possessive: to go back through ten megabytes, `re` would keep a gigabyte. An input ends at the parenthesis
        # before the next marker.
        first, arrow, end = map(re.escape, ("".join({marker[0] for marker in self.all}), self.arrow, self.end))
        result = rf"(?:[^{first}]++|(?!{self._any.pattern}).)*+"
        input = rf"(?:[^){first}]++|(?!{self._any.pattern}|\)\s*(?:{arrow}|{end}|\Z)).)*+"
        return rf"(?P<tool>{_NAME})\((?P<input>{input})\)\s*(?:{arrow}(?P<result>{result}))?"

    @cached_property
    def _strict(self) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(self.start)}\s*{self._body}{re.escape(self.end)}", re.DOTALL)

    @cached_property
    def _spaced(self) -> re.Pattern[str]:
        # Remove the space before a call, else the one after it: `insert` added one of them.
        return re.compile(f"(?P<before> )?{self._strict.pattern}(?(before)| ?)", re.DOTALL)


def any_of(markers: Iterable[str]) -> re.Pattern[str]:
    # Longest first, in case one marker starts with another.
    return re.compile("|".join(map(re.escape, sorted(markers, key=len, reverse=True))))
