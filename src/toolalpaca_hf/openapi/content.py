"""A request's body as the bytes of its media type."""

import json
from typing import Any
from urllib.parse import urlencode

import httpx

from .coerce import written
from .request import Request


def encode_body(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """A request's body as bytes, and the header that goes with it.

    Args:
        request ([`Request`]):
            The request.

    Returns:
        `tuple`: The bytes, `None` for no body, and `Content-Type`.

    Example:

    ```python
    >>> encode_body(Request("POST", "https://cats.example/cats", body={"name": "Tom"}, body_type="application/json"))
    (b'{"name": "Tom"}', {'Content-Type': 'application/json'})
    ```
    """
    kind, body = request.body_type.partition(";")[0].strip().lower(), request.body
    if body is None:
        return None, {}
    if kind == "application/x-www-form-urlencoded" and isinstance(body, dict):
        return urlencode(_fields(body)).encode(), {"Content-Type": kind}
    if kind == "multipart/form-data" and isinstance(body, dict):
        files: list[tuple[str, Any]] = [(name, (None, value)) for name, value in _fields(body)]
        made = httpx.Request("POST", "https://multipart.invalid", files=files)
        return made.read(), {"Content-Type": made.headers["Content-Type"]} if files else {}
    if "json" not in kind and isinstance(body, str):
        return body.encode(), {"Content-Type": kind or "text/plain"}
    if "json" not in kind:
        kind = "application/json"
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode(), {"Content-Type": kind}


def _fields(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, written(item))
        for name, value in body.items()
        for item in (value if isinstance(value, list) else [value])
    ]
