"""What the real web may hold against a caller: each address and each answer is refused or cut off, in time."""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from loopback import Rude, Site

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import Allowlist, ApiClient, ApiRequest, CallLimits, origin_of
from toolalpaca_hf.openapi.encoding import body_text

LIMITS = CallLimits(connect=0.5, read=0.5, total=1.0, retries=0, size=1_000_000)
SECONDS = 10.0
"""Of wall time on a busy machine; the limit of a call is one."""
REFUSED = {"refused", "failed", "dropped"}
"""By the package's check, by the URL's parser, or because a name is none."""

# The port is that of a server on loopback, which must not be reached.
ADDRESSES = """
http://127.0.0.1:{port}/ http://127.1:{port}/ http://2130706433:{port}/ http://0x7f000001:{port}/
http://0x7f.1:{port}/ http://017700000001:{port}/ http://0177.0.0.1:{port}/ http://0:{port}/ http://0.0.0.0:{port}/
http://localhost:{port}/ http://LOCALHOST.:{port}/ http://①②⑦.⓪.⓪.①:{port}/ http://[::1]:{port}/ http://[::]:{port}/
http://[::ffff:127.0.0.1]:{port}/ http://[::ffff:7f00:1]:{port}/ http://[::127.0.0.1]:{port}/
http://[64:ff9b::7f00:1]:{port}/ http://[2002:7f00:1::]:{port}/ http://10.0.0.1/ http://172.16.0.1/
http://192.168.1.1/ http://169.254.169.254/latest/meta-data/ http://[::ffff:169.254.169.254]/ http://[fd00:ec2::254]/
http://100.100.100.200/ http://[fe80::1]/ http://[fc00::1]/ http://224.0.0.1/ http://255.255.255.255/
file:///etc/passwd gopher://127.0.0.1:{port}/ http://cats.example@127.0.0.1:{port}/
http://cats.example\\@127.0.0.1:{port}/ http://127.0.0.1:{port}#@cats.example/ http://[::1
""".split()
# Beside the server's own host, nothing may be called.
LOCATIONS = """
http://127.0.0.1:{port}/ http://localhost:{port}/ http://[::1]:{port}/ http://2130706433:{port}/ //127.0.0.1:{port}/
http://169.254.169.254/latest/meta-data/ http://10.0.0.1/ file:///etc/passwd javascript:alert(1)
http://{site}@127.0.0.1:{port}/ /again http://[::1
""".split()


def streamed(head: str, *pieces: bytes, forever: bytes = b"", pause: float = 0.0) -> Callable[..., None]:
    """A server that sends a head and pieces, then one piece again and again."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        for piece in pieces:
            connection.sendall(piece)
        while forever and not over.wait(pause):
            connection.sendall(forever)

    return behave


def bomb(size: int) -> bytes:
    """A gzip stream of so many zeros; a thousandth of it on the wire."""
    return gzip.compress(bytes(size), mtime=0)


OK = "HTTP/1.1 200 OK\n"
JSON = OK + "Content-Type: application/json\n"
CHUNKED = OK + "Transfer-Encoding: chunked\n\n"
PAGE = OK + "Content-Type: text/html\nConnection: close\n\n"
ANSWERS: dict[str, tuple[Callable[..., None], str]] = {
    "20 MB with their length": (streamed(OK + "Content-Length: 20000000\n\n", bytes(20_000_000)), "too_large"),
    "20 MB in chunks": (streamed(CHUNKED, forever=b"10000\r\n" + b"x" * 65536 + b"\r\n"), "too_large"),
    "never-ending": (streamed(OK + "\n", forever=b"x" * 65536), "too_large"),
    "never-ending, a byte at a time": (streamed(OK + "\n", forever=b"x", pause=0.02), "timeout"),
    "a head that never ends": (streamed(OK, forever=b"X: y\r\n", pause=0.0), "dropped"),
    "a head, a byte at a time": (streamed(OK + "X: ", forever=b"y", pause=0.02), "timeout"),
    "early hints for ever": (streamed("", forever=b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.01), "timeout"),
    "silence": (streamed("", forever=b"", pause=0.0), "dropped"),
    "gzip bomb": (streamed(JSON + "Content-Encoding: gzip\n\n", bomb(50_000_000)), "too_large"),
    "gzip bomb in gzip": (streamed(JSON + "Content-Encoding: gzip, gzip\n\n", gzip.compress(bomb(10**7))), "failed"),
    "deflate bomb": (streamed(JSON + "Content-Encoding: deflate\n\n", zlib.compress(bytes(50_000_000))), "too_large"),
    "gzip that is none": (streamed(JSON + "Content-Encoding: gzip\n\n", b"plain"), "failed"),
    "a wrong charset": (streamed(OK + "Content-Type: text/plain; charset=utf-16\n\n", b"abc"), "answered"),
    "a charset that unpacks": (streamed(OK + "Content-Type: text/plain; charset=zlib\n\n", bomb(10**6)), "answered"),
    "a charset of no name": (streamed(OK + "Content-Type: text/plain; charset=\xff\n\n", b"\xff\xfe"), "answered"),
    "a length below zero": (streamed(OK + "Content-Length: -1\n\n", b"x"), "dropped"),
    "two lengths": (streamed(OK + "Content-Length: 1\nContent-Length: 2\n\n", b"xy"), "dropped"),
    "a chunk of 16 exabytes": (streamed(CHUNKED, b"FFFFFFFFFFFFFFFF\r\n", forever=b"x" * 65536), "too_large"),
    "a header of 10 MB": (streamed(OK + f"X: {'y' * 10**7}\n\n"), "dropped"),
    "no HTTP": (streamed("\0\xff nonsense\n\n"), "dropped"),
    "JSON nested too deep": (streamed(JSON + "\n", b"[" * 400_000), "answered"),
    "a number of 400,000 digits": (streamed(JSON + "\n", b"1" * 400_000), "answered"),
    "a page of tags cut off": (streamed(PAGE, b"<a x='" * 100_000), "answered"),
    "a page of comments cut off": (streamed(PAGE, b"<!--" * 200_000), "answered"),
}

CASES = [("address", url) for url in ADDRESSES] + [("redirect", url) for url in LOCATIONS]
CASES += [("answer", name) for name in ANSWERS] + [("name", name) for name in ("private", "mixed", "changes", "hangs")]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_nothing_of_it_is_reached_and_nothing_takes_long(
    kind: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.monotonic()
    with Site([(200, {}, b"inside")]) as inside:
        port = inside.host.rpartition(":")[2]
        seen, ended = {"address": address, "redirect": redirect, "answer": answer, "name": name}[kind](
            case, port, monkeypatch
        )
    assert seen.ended in ended and inside.seen == [], seen.observation
    assert time.monotonic() - start < SECONDS


def address(url: str, port: str, _: Any) -> tuple[Any, set[str]]:
    url = url.replace("{port}", port)
    try:
        host = origin_of(url)[1]
    except ToolAlpacaError:  # has no host to allow
        host = "127.0.0.1"
    with ApiClient(Allowlist(frozenset({host, "cats.example"})), limits=LIMITS) as client:
        return client.send(ApiRequest("GET", url)), REFUSED


def redirect(location: str, port: str, _: Any) -> tuple[Any, set[str]]:
    with Site([lambda seen: (302, {"Location": location.format(port=port, site=site.host)}, b"")]) as site:
        with ApiClient(Allowlist(frozenset(), frozenset({site.host})), limits=LIMITS) as client:
            return client.send(ApiRequest("GET", site.url)), REFUSED


def answer(case: str, port: str, _: Any) -> tuple[Any, set[str]]:
    behave, ended = ANSWERS[case]
    with Rude(behave) as site, ApiClient(Allowlist(frozenset(), frozenset({site.host})), limits=LIMITS) as client:
        return client.send(ApiRequest("GET", site.url)), {ended}


def name(case: str, port: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, set[str]]:
    real, asked, over = socket.getaddrinfo, [], threading.Event()

    def look_up(host: str, *rest: Any, **more: Any) -> list[Any]:
        if host != "cats.example":
            return real(host, *rest, **more)
        asked.append(host)
        if case == "hangs":
            over.wait(20)
        public = {"mixed": ["8.8.8.8", "127.0.0.1"], "changes": ["192.0.2.1" if asked[1:] else "127.0.0.1"]}
        found = public.get(case, ["127.0.0.1"])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port))) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ApiClient(Allowlist(frozenset({"cats.example"})), limits=LIMITS) as client:
        seen = client.send(ApiRequest("GET", f"http://cats.example:{port}/"))
    over.set()
    assert asked == ["cats.example"]  # once: what was checked is what would have been connected to
    return seen, {"timeout"} if case == "hangs" else {"refused"}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("<p title='a > b'>one</p>two", "one two"),
        ("<!-- <p>no</p> -->yes<!-- cut off", "yes"),
        ("<script>if (a < b) '</p>'</script>a &lt; b &amp; c", "a < b & c"),
        ("<SVG><title>no</title></SVG>yes<svg/>yes", "yes yes"),
        ("1 < 2 <b>and</b> 3", "1 < 2 and 3"),
        ("<noscript>no <b>no</b></noscript><style>p {}</style><a href=x", ""),
        ('<a title="never closed>x</a>y', "x y"),
        ('<a title="<script>">one</a>two', "one two"),
        ('<svg data="a>b"/>text', "text"),
        ("<template-card>hello</template-card>", "hello"),
        ("<svg viewBox='0 0 1 1'><path d='x'/><text>no</text></svg>yes", "yes"),
    ],
)
def test_the_words_of_a_page(page: str, words: str) -> None:
    assert body_text(page.encode(), "text/html") == words
