"""Puts the events of a streamed answer together into the answer that would have come whole."""

import json
from collections.abc import Callable
from typing import Any

_GROWING = ("text", "content", "reasoning_content", "reasoning", "refusal", "arguments")
"""Fields that come in pieces; of others the last one counts."""


class StreamedAnswer:
    """Reads server-sent events of OpenAI's completions and chat completions.

    `tell` gets the text so far after each event that adds to it; of a chat message the reasoning, until there is
    content.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._rest, self._told = tell, b"", ""
        self._choice: dict[str, Any] = {}
        self._others: dict[str, Any] = {}

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the answer; raises `ValueError` if an event is no JSON."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            field, _, data = line.partition(b":")
            if field == b"data" and data.strip() not in (b"", b"[DONE]"):
                self._take(json.loads(data))

    def _take(self, event: dict[str, Any]) -> None:
        first = next(iter(event.get("choices") or ()), {})
        _join(self._choice, {"message" if name == "delta" else name: value for name, value in first.items()})
        self._others |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        message = self._choice.get("message") or {}
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        text = self._choice.get("text") or message.get("content") or reasoning
        if isinstance(text, str) and text != self._told:
            self._told = text
            self._tell(text)

    def whole(self) -> bytes:
        """The whole answer as JSON; empty if the server sent no events, as one that knows no streams."""
        if not (self._choice or self._others):
            return b""
        return json.dumps(self._others | ({"choices": [self._choice]} if self._choice else {})).encode()


def _join(made: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _join(made.setdefault(name, {}), value)
        elif isinstance(value, list):
            parts = made.setdefault(name, [])
            for part in value:
                place = part.get("index", 0)
                # The newest with this index: some servers give each of several calls the index 0, and another id.
                known = next((made for made in reversed(parts) if made["index"] == place), None)
                if known is None or (known.get("id") and part.get("id") not in (None, "", known["id"])):
                    parts.append(known := {"index": place})
                _join(known, part)
        elif isinstance(value, str) and name in _GROWING:
            made[name] = (made.get(name) or "") + value
        elif value not in (None, ""):
            made[name] = value
