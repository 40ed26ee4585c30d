import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.openapi.encoding import body_text


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{\n "a" : [1, 2.50, "\\u00fc"]\n}', "application/json; charset=utf-8", '{"a":[1,2.5,"ü"]}'),
        (b'[1,\n2]', "application/problem+json", "[1,2]"),
        (b' {"a": 1}', "", '{"a":1}'),
        (b'{"a": 1}', "application/octet-stream", '{"a":1}'),
        (b'\xef\xbb\xbf{"a": 1}', "application/json", '{"a":1}'),
        (b'{"a": 1', "application/json", '{"a": 1'),
        (b"", "application/json", ""),
        (b"", "", ""),
        (b"null", "application/json", "null"),
        (b"21 miles", "text/plain", "21 miles"),
        (b"caf\xe9", "text/plain; charset=ISO-8859-1", "café"),
        (b"caf\xe9", "text/plain", "caf\ufffd"),
        (b'{"a": "\xff\xfe"}', "application/json", '{"a":"\ufffd\ufffd"}'),
        ("ü".encode("utf-16"), "text/plain; charset=utf-16", "ü"),
        (b"abc", "text/plain; charset=nonsense", "abc"),
        (b"abc", 'text/plain; charset="zip"', "abc"),
        (b"abc", "text/plain; charset=\u00e9", "abc"),
        (
            b"<html><head><style>p{}</style><script>x()</script></head><body><h1>Not&nbsp;found</h1>\n<p>Sorry</p>",
            "text/html",
            "Not found Sorry",
        ),
        (b"<!DOCTYPE html><title>Down</title>", "", "Down"),
        (b"<a><b>1</b></a>", "application/xml", "<a><b>1</b></a>"),
        (b'{"a": "\\ud800"}', "application/json", '{"a":"?"}'),
        (b"[" * 100_000, "application/json", "[" * 100_000),
        (b"9" * 5000, "application/json", "9" * 5000),
    ],
)  # fmt: skip
def test_text(body: bytes, kind: str, text: str) -> None:
    assert body_text(body, kind) == text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\x89PNG", "image/png"),
        (b"plain", "image/png"),
        (b"%PDF-1.7", "application/pdf"),
        (b"\x00\x01", "text/plain"),
        (b"\xff\xd8\xff", ""),
        (b"\xff\xd8", "application/octet-stream"),
        (b"PK", "application/zip"),
    ],
)
def test_what_is_no_text(body: bytes, kind: str) -> None:
    assert body_text(body, kind) is None


@given(
    st.binary(max_size=60) | st.text().map(str.encode),
    st.sampled_from(["", "text/html", "application/json", "text/plain; charset=utf-16", "image/png"])
    | st.text(max_size=20),
)
def test_anything_is_text_that_can_be_written_or_none(body: bytes, kind: str) -> None:
    text = body_text(body, kind)
    assert text is None or json.dumps(text, ensure_ascii=False).encode()
