"""What a responder receives and returns, and how a value is written in a media type."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from ..openapi import is_json_lines, is_xml, to_csv, to_xml
from .generate import Given
from .operations import DeclaredResponse, SimulatedApi, SimulatedOperation
from .requests import IncomingRequest
from .rng import Rng, plain
from .state import Session

PICTURES = files("toolalpaca_hf.simulator") / "pictures"  # the smallest ones: a white pixel each
MESSAGES = "message error detail details reason description title msg errormessage statustext".split()


@dataclass(frozen=True)
class SimulatedCall:
    """A request to an operation, with the session's state of that API."""

    api: SimulatedApi
    operation: SimulatedOperation
    request: IncomingRequest
    session: Session

    def key(self) -> str:
        """The request as JSON: method, path, sorted query, declared header fields and cookies, body."""
        headers = self.request.headers
        own = [parameter for parameter in self.operation.parameters if parameter.place in ("header", "cookie")]
        declared = {each.name: headers.get(each.name.lower() if each.place == "header" else "cookie") for each in own}
        body = self.request.body if self.request.has_body else "\x00absent"
        parts = [self.request.method, self.request.path, sorted(self.request.query), declared, body]
        return json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class SimulatedResponse:
    """A response, its body encoded."""

    status: int
    body: bytes
    media: str = "application/json"  # empty if there is no body
    fallback: str = ""  # why the `schema` responder answered instead of the model
    headers: dict[str, str] = field(default_factory=dict)  # besides those of the body


Responder = Callable[[SimulatedCall], Awaitable[SimulatedResponse]]
"""Answers a call; a function of this kind may stand wherever a responder's name may."""


def dump_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def encode_response(declared: DeclaredResponse, value: Any) -> SimulatedResponse:
    media, body = declared.media, dump_json(value) if declared.media else b""
    if is_json_lines(media) and isinstance(value, list):
        body = b"".join(dump_json(row) + b"\n" for row in value)
    elif media.startswith("image/") and "svg" not in media:
        kind = re.match("image/(gif|jpeg)", media)
        body = (PICTURES / f"pixel.{kind[1] if kind else 'png'}").read_bytes()
    elif isinstance(value, str) and media and "json" not in media.lower():
        body = value.encode("utf-8", "replace")
    elif is_xml(media):
        body = to_xml(value, "response", declared.make.root if declared.make is not None else {})
    elif media.partition(";")[0] == "text/csv" and isinstance(value, list):
        body = to_csv(value).encode("utf-8", "replace")
    return SimulatedResponse(declared.status, body, media)


def refuse(operation: SimulatedOperation, status: int, reason: str) -> SimulatedResponse:
    """The response to an invalid request, as the document declares it: its example if there is one."""
    declared = operation.failure(status)
    status, make = declared.status, declared.make
    if make is None:
        return encode_response(declared, {"error": reason})
    # An example for any error would say nothing of this one.
    if declared.examples and str(status) in operation.declared.responses:
        return encode_response(declared, declared.examples[0])
    rng = Rng(reason)
    node = make.merger.node(make.root)
    if node.get("type") == "string":
        return encode_response(declared, reason if make.is_valid(reason) else make(rng))
    record: dict[str, Any] = dict.fromkeys(MESSAGES, reason) | {key: [reason] for key in ("errors", "messages")}
    record |= {"status": status, "code": status, "statuscode": status, "success": False, "ok": False}
    fields = {plain(name): name for name in reversed(node.get("properties", {}))}
    error = fields.get("error", "") if "message" not in fields else ""
    about = (error,) if error and make.merger.node(node, error).get("type") == "object" else ()
    return encode_response(declared, make(rng, Given(arguments=record, record=record, about=about)))
