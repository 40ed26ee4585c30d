import base64
import gzip
import json
import logging
import socket
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from loopback import Rude, Seen, Site

from toolalpaca_hf.openapi import Allowlist, ApiClient, ApiRequest, CallLimits, Credentials

QUICK = CallLimits(connect=1.0, read=1.0, total=3.0, retries=2, backoff=0.05)
JSON = {"Content-Type": "application/json"}
OK = (200, JSON, b'{\n  "fact": "Cats purr \\u2665"\n}')


def sender(*sites: Site | Rude, **given: Any) -> ApiClient:
    """One that may call these sites, as they lie on loopback."""
    return ApiClient(Allowlist(frozenset(), frozenset(site.host for site in sites)), **({"limits": QUICK} | given))


def test_an_answer_has_the_form_of_the_corpus() -> None:
    with Site([OK]) as site, sender(site) as send:
        answer = send.send(ApiRequest("GET", f"{site.url}/facts?x=a%20b", {"X-Id": "é"}))
    assert answer.observation == 'Status Code: 200. Response: {"fact":"Cats purr ♥"}'
    assert (answer.status, answer.ended) == (200, "answered")
    [seen] = site.seen
    assert (seen.method, seen.target, seen.body) == ("GET", "/facts?x=a%20b", b"")
    assert seen.headers["Host"] == site.host and seen.headers["X-Id"].encode("latin-1").decode() == "é"


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("application/json", b'{"name": "Tom", "tags": ["a", "b"]}'),
        ("application/x-www-form-urlencoded", b"name=Tom&tags=a&tags=b"),
    ],
)
def test_bodies_are_sent_in_their_media_type(kind: str, sent: bytes) -> None:
    with Site([(201, JSON, b"{}")]) as site, sender(site) as send:
        request = ApiRequest("POST", f"{site.url}/cats", body={"name": "Tom", "tags": ["a", "b"]}, body_type=kind)
        assert send.send(request).status == 201
    assert (site.seen[0].body, site.seen[0].headers["Content-Type"]) == (sent, kind)


def test_a_multipart_body_has_a_part_for_each_field() -> None:
    with Site([OK]) as site, sender(site) as send:
        body = {"name": "Tom", "age": 3}
        send.send(ApiRequest("POST", f"{site.url}/cats", body=body, body_type="multipart/form-data"))
    kind, _, boundary = site.seen[0].headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data" and site.seen[0].body.count(f"--{boundary}".encode()) == 3
    assert b'name="age"\r\n\r\n3\r\n' in site.seen[0].body


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for_in_both_forms(form: str) -> None:
    def busy(_: Seen) -> tuple[int, dict[str, str], bytes]:
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return 429, {"Retry-After": "1" if form == "seconds" else moment}, b"slow down"

    with Site([busy, OK]) as site, sender(site, limits=CallLimits(total=10, backoff=0.01)) as send:
        start = time.monotonic()
        answer = send.send(ApiRequest("POST", f"{site.url}/cats"))
    assert answer.status == 200 and len(site.seen) == 2
    assert 0.9 <= time.monotonic() - start < 4


@pytest.mark.parametrize("asked", ["3", "3600", "Fri, 31 Dec 2099 23:59:59 GMT", "9" * 11])
def test_a_long_retry_after_is_told_instead_of_waited_for(asked: str) -> None:
    for limits in (CallLimits(total=1e12, wait=2.0), CallLimits(total=2.0, wait=1e12)):
        with Site([(429, {"Retry-After": asked}, b"tomorrow")]) as site, sender(site, limits=limits) as send:
            start = time.monotonic()
            answer = send.send(ApiRequest("GET", f"{site.url}/cats"))
            assert answer.observation == "Status Code: 429. Response: tomorrow"
            assert len(site.seen) == 1 and time.monotonic() - start < 1


@pytest.mark.parametrize("asked", ["soon", "-5", "Fri, 99 Xxx 2099", "1.5", "²"])
def test_a_retry_after_that_is_neither_form_leaves_the_back_off(asked: str) -> None:
    answer_429 = (429, {"Retry-After": asked.encode().decode("latin-1")}, b"")
    with Site([answer_429, OK]) as site, sender(site) as send:
        assert send.send(ApiRequest("GET", f"{site.url}/cats")).status == 200


@pytest.mark.parametrize(
    ("method", "status", "calls"),
    [("GET", 503, 3), ("PUT", 500, 3), ("POST", 503, 1), ("POST", 429, 3), ("GET", 404, 1)],
)
def test_only_what_does_no_harm_is_repeated(method: str, status: int, calls: int) -> None:
    with Site([(status, {}, b"no")]) as site, sender(site) as send:
        answer = send.send(ApiRequest(method, f"{site.url}/cats"))
    assert (answer.observation, answer.ended) == (f"Status Code: {status}. Response: no", "answered")
    assert len(site.seen) == calls


def hang(connection: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def drop(connection: socket.socket, over: threading.Event) -> None:
    pass


def drop_in_the_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def garbage(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"\x00\xff nonsense\r\n\r\n")


def drip_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def drip_head(connection: socket.socket, over: threading.Event) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
        connection.sendall(bytes([byte]))
        if over.wait(0.05):
            return


def drip_before_the_answer(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")


@pytest.mark.parametrize(
    ("behave", "ended", "words"),
    [
        (hang, "timeout", "did not answer in time"),
        (drop, "dropped", "broke the connection off"),
        (drop_in_the_body, "dropped", "broke the connection off"),
        (garbage, "dropped", "broke the connection off"),
        (drip_body, "timeout", "did not answer within 2 s"),
        (drip_head, "timeout", "did not answer within 2 s"),
        (drip_before_the_answer, "timeout", "did not answer within 2 s"),
    ],
)
def test_a_server_that_misbehaves_becomes_an_observation(behave: Any, ended: str, words: str) -> None:
    limits = CallLimits(connect=1.0, read=0.5, total=2.0, retries=1, backoff=0.05)
    with Rude(behave) as site, sender(site, limits=limits) as send:
        start = time.monotonic()
        answer = send.send(ApiRequest("GET", f"{site.url}/cats"))
        took = time.monotonic() - start
    assert (answer.ended, answer.status) == (ended, None) and words in answer.observation
    assert took < 3.5
    assert site.connections == (2 if ended == "dropped" else 1)


def test_a_single_wait_ends_at_the_deadline_too() -> None:
    with Rude(hang) as site, sender(site, limits=CallLimits(read=30.0, total=1.0)) as send:
        start = time.monotonic()
        answer = send.send(ApiRequest("GET", f"{site.url}/cats"))
        took = time.monotonic() - start
    assert answer.observation == "The server did not answer within 1 s." and 0.9 < took < 3


def test_a_broken_post_is_not_repeated() -> None:
    with Rude(drop) as site, sender(site) as send:
        assert send.send(ApiRequest("POST", f"{site.url}/cats")).ended == "dropped"
    assert site.connections == 1


def test_nobody_listening_and_unknown_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with ApiClient(Allowlist(frozenset({"no-such-host.invalid"}), frozenset({host})), limits=QUICK) as send:
        for url in (f"http://{host}/", "http://no-such-host.invalid/"):
            answer = send.send(ApiRequest("GET", url))
            assert (answer.ended, answer.observation) == ("dropped", "The server cannot be reached.")


def endless(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"[" * 65536)


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_twenty_megabytes_are_not_taken(coding: str) -> None:
    """Told by Content-Length for a plain body; a compressed one is small on the wire."""
    import tracemalloc

    plain = b" " * 20_000_000
    body = {"": lambda: plain, "gzip": lambda: gzip.compress(plain, mtime=0), "deflate": lambda: zlib.compress(plain)}[
        coding
    ]()
    assert len(body) < 30_000 or not coding
    with Site([(200, JSON | ({"Content-Encoding": coding} if coding else {}), body)]) as site, sender(site) as send:
        tracemalloc.start()
        answer = send.send(ApiRequest("GET", f"{site.url}/big"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (answer.ended, answer.status) == ("too_large", 200)
    assert answer.observation.startswith("Status Code: 200. Response: it is longer than 5000000 bytes")
    assert peak < 15_000_000


def test_an_endless_answer_ends_at_the_limit() -> None:
    with Rude(endless) as site, sender(site, limits=CallLimits(size=1_000_000)) as send:
        assert send.send(ApiRequest("GET", site.url)).ended == "too_large"


def test_an_answer_of_just_the_limit_is_taken() -> None:
    with Site([(200, {"Content-Type": "text/plain"}, b"x" * 1000)]) as site:
        for size, ended in ((1000, "answered"), (999, "too_large")):
            with sender(site, limits=CallLimits(size=size)) as send:
                assert send.send(ApiRequest("GET", site.url)).ended == ended


GOOD, LONG = 'Status Code: 200. Response: {"a":1}', "it is longer than 5000000 bytes, and was not read."


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("gzip", gzip.compress(b'{"a": 1}', mtime=0), GOOD),
        ("gzip", b"".join(gzip.compress(part, mtime=0) for part in (b'{"a"', b": 1}", b"")), GOOD),
        ("gzip", gzip.compress(b'{"a": 1}', mtime=0) + bytes(9), GOOD),
        (
            "gzip",
            gzip.compress(b'{"a": 1}', mtime=0) + gzip.compress(b" ", mtime=0)[:-9],
            "The server broke the connection off.",
        ),
        ("gzip", gzip.compress(bytes(3_000_000), mtime=0) * 2, f"Status Code: 200. Response: {LONG}"),
        ("gzip", b"not gzip", "The answer is compressed in a way that cannot be read."),
        ("gzip", gzip.compress(b'{"a": 1}' * 99, mtime=0)[:-20], "The server broke the connection off."),
        ("br", b"???", "The answer is compressed in a way that cannot be read."),
        (
            "gzip, gzip",
            gzip.compress(gzip.compress(b"1", mtime=0), mtime=0),
            "The answer is compressed in a way that cannot be read.",
        ),
    ],
)
def test_compressed_answers(coding: str, body: bytes, words: str) -> None:
    with Site([(200, JSON | {"Content-Encoding": coding}, body)]) as site, sender(site) as send:
        assert send.send(ApiRequest("GET", site.url)).observation == words


def test_a_binary_answer_is_saved_and_not_inlined(tmp_path: Path) -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    with Site([(200, {"Content-Type": "image/png"}, image)]) as site:
        with sender(site, folder=tmp_path / "files") as send:
            answer = send.send(ApiRequest("GET", f"{site.url}/cat"))
        with sender(site) as send:
            unsaved = send.send(ApiRequest("GET", f"{site.url}/cat"))
    (saved,) = (tmp_path / "files").iterdir()
    assert saved.read_bytes() == image and saved.suffix == ".png"
    named = f"a file of type image/png, 264 bytes, saved as {saved.name}."
    assert answer.observation == f"Status Code: 200. Response: {named}" and str(tmp_path) not in answer.observation
    assert unsaved.observation.endswith("264 bytes, not shown.")


def test_a_folder_that_can_not_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with Site([(200, {"Content-Type": "image/png"}, b"\x89PNG")]) as site:
        with sender(site, folder=tmp_path / "taken") as send:
            answer = send.send(ApiRequest("GET", site.url))
    assert "could not be saved" in answer.observation


def to(location: str, status: int = 302) -> tuple[int, dict[str, str], bytes]:
    return status, {"Location": location}, b""


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://localhost:{port}/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_to_another_host_is_refused(target: str) -> None:
    with (
        Site([OK]) as inner,
        Site([to(target.replace("{port}", inner.host.split(":")[1]))]) as site,
        sender(site) as send,
    ):
        answer = send.send(ApiRequest("GET", site.url))
    assert (answer.ended, inner.seen) == ("refused", [])
    assert "root:" not in answer.observation and len(site.seen) == 1


def test_a_redirect_to_a_listed_host_with_a_private_address_is_refused() -> None:
    """`localhost` is among the servers, but nobody said that its address may be a private one."""
    with Site([OK]) as inner:
        port = inner.host.split(":")[1]
        with Site([to(f"http://localhost:{port}/")]) as site:
            with ApiClient(Allowlist(frozenset({"localhost"}), frozenset({site.host})), limits=QUICK) as send:
                answer = send.send(ApiRequest("GET", site.url))
            assert answer.ended == "refused" and "private network" in answer.observation
            with ApiClient(Allowlist(frozenset(), frozenset({"localhost", site.host})), limits=QUICK) as send:
                assert send.send(ApiRequest("GET", site.url)).status == 200
    assert len(inner.seen) == 1


def test_redirects_are_followed_on_the_same_host_and_have_an_end() -> None:
    with Site([to("/b"), OK]) as site, sender(site) as send:
        assert send.send(ApiRequest("GET", f"{site.url}/a")).status == 200
        assert [seen.target for seen in site.seen] == ["/a", "/b"]
    with Site([to("/a")]) as site, sender(site) as send:
        answer = send.send(ApiRequest("GET", f"{site.url}/a"))
        assert answer.ended == "refused" and "redirects more than 5 times" in answer.observation
        assert len(site.seen) == 6


SECRET = "sk-inv/ented+Key=42&é"
EVERYWHERE = (
    ("query", "key"),
    ("header", "X-Key"),
    ("cookie", "session"),
    ("bearer", "token"),
    ("body", "apiKey"),
    ("path", "id"),
)


def forms() -> list[bytes]:
    """What must occur nowhere: the value as it is, and as URLs, JSON and base64 write it."""
    raw = SECRET.encode()
    found = [raw, quote(SECRET, safe="").encode(), quote(SECRET).encode(), json.dumps(SECRET)[1:-1].encode()]
    return [*found, base64.b64encode(raw), "".join(f"%{byte:02x}" for byte in raw).encode(), SECRET.upper().encode()]


def test_no_byte_written_shows_a_credential(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(dict.fromkeys(("key", "X-Key", "session", "token", "apiKey", "id"), SECRET))

    def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        words = b"\n".join(
            [seen.target.encode(), seen.body, *forms(), *(v.encode("latin-1") for v in seen.headers.values())]
        )
        kinds = {"/json": "application/json", "/html": "text/html", "/png": "image/png", "/fail": "text/plain"}
        kind = kinds["/" + seen.target.split("/")[1]]
        if kind == "application/json":
            words = json.dumps({"said": words.decode("latin-1"), "value": SECRET, SECRET: 1}).encode()
        if kind == "text/html":
            words = b"<p title='x'>" + words + b"</p>"
        return 400 if "fail" in seen.target else 200, {"Content-Type": kind, "X-Echo": quote(SECRET)}, words

    answers = []
    with Site([echo]) as site, sender(site, credentials=credentials, folder=tmp_path) as send:
        for path in ("json", "html", "png", "fail"):
            request = ApiRequest("POST", f"{site.url}/{path}/{{id}}", body={"a": 1}, body_type="application/json")
            request = ApiRequest(**(vars(request) | {"credentials": EVERYWHERE}))
            answers.append(send.send(request))
            assert SECRET not in repr(request)
    # The server did get it, in every place.
    seen = site.seen[0]
    assert seen.target == f"/json/{quote(SECRET, safe='')}?key={quote(SECRET, safe='')}"
    assert json.loads(seen.body) == {"a": 1, "apiKey": SECRET}
    headers = {name: value.encode("latin-1").decode() for name, value in seen.headers.items()}
    assert headers["X-Key"] == SECRET and headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Cookie"] == f"session={SECRET}"

    assert [answer.status for answer in answers] == [200, 200, 200, 400]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 and len(caplog.records) > 20
    written = [repr(answer).encode() for answer in answers] + [path.read_bytes() for path in files]
    written += [str(path).encode() for path in files] + [caplog.text.encode(), repr(credentials).encode()]
    for content in written:
        for form in forms():
            assert form.lower() not in content.lower()
    assert all("***" in answer.observation for answer in answers if "saved as" not in answer.observation)


def test_credentials_stay_behind_when_a_redirect_leaves_the_host() -> None:
    credentials = Credentials({"X-Key": "invented-key-1", "token": "invented-key-2", "key": "invented-key-3"})
    for places, status, ended, expected in [
        ((("header", "X-Key"), ("bearer", "token")), 307, "answered", 1),
        ((("query", "key"),), 302, "answered", 1),
        ((("body", "key"),), 307, "refused", 0),
    ]:
        with Site([OK]) as other, Site([to(f"{other.url}/there", status)]) as site:
            with sender(site, other, credentials=credentials) as send:
                body = {} if places[0][0] == "body" else None
                request = ApiRequest(
                    "GET", f"{site.url}/a", body=body, body_type="application/json", credentials=places
                )
                assert send.send(request).ended == ended
        assert b"invented" in repr(site.seen).encode()
        assert len(other.seen) == expected and "invented" not in repr(other.seen)


def test_a_location_that_carries_a_credential_elsewhere_is_not_followed() -> None:
    def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        return to(f"{other.url}{seen.target}")

    with Site([OK]) as other, Site([echo]) as site:
        with sender(site, other, credentials=Credentials({"key": "invented-1"})) as send:
            answer = send.send(ApiRequest("GET", site.url, credentials=(("query", "key"),)))
    assert answer.ended == "refused" and other.seen == [] and "invented" not in answer.observation


def test_credentials_survive_a_redirect_on_the_same_host() -> None:
    with Site([to("/b"), OK]) as site, sender(site, credentials=Credentials({"X-Key": "invented-1"})) as send:
        assert send.send(ApiRequest("GET", f"{site.url}/a", credentials=(("header", "X-Key"),))).status == 200
    assert [seen.headers["X-Key"] for seen in site.seen] == ["invented-1", "invented-1"]


def test_calls_share_no_cookies() -> None:
    with Site([(200, {"Set-Cookie": "a=1"}, b"{}")]) as site, sender(site) as send:
        for _ in range(2):
            send.send(ApiRequest("GET", site.url))
    assert all("Cookie" not in seen.headers for seen in site.seen)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Site([OK]) as proxy, Site([OK]) as site:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with sender(site) as send:
            assert send.send(ApiRequest("GET", site.url)).status == 200
    assert (len(proxy.seen), len(site.seen)) == (0, 1)


@pytest.mark.parametrize(
    "request_",
    [
        ApiRequest("GET", "ftp://cats.example/"),
        ApiRequest("GET", "http://user:word@cats.example/"),
        ApiRequest("GET", "http://[::1/"),
        ApiRequest("GET", "http://127.0.0.1:99999/"),
        ApiRequest("GET", "//"),
        ApiRequest("G ET", "http://127.0.0.1:{port}/"),
        ApiRequest("GET", "http://127.0.0.1:{port}/", {"X Y": "1"}),
        ApiRequest("GET", "http://127.0.0.1:{port}/", {"X": "a\r\nY: 1"}),
        ApiRequest("GET", "http://127.0.0.1:{port}/", {"X": "\ud800"}),
        ApiRequest("POST", "http://127.0.0.1:{port}/", body=float("nan"), body_type="application/json"),
        ApiRequest("GET", "http://127.0.0.1:{port}/\ud800"),
    ],
)
def test_what_can_not_be_sent_is_an_observation_too(request_: ApiRequest) -> None:
    with Site([OK]) as site, sender(site) as send:
        port = site.host.split(":")[1]
        answer = send.send(ApiRequest(**(vars(request_) | {"url": request_.url.replace("{port}", port)})))
    assert answer.ended in ("refused", "failed") and answer.status is None and site.seen == []


def test_many_threads_share_a_sender() -> None:
    def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "text/plain"}, seen.target.encode()

    found: dict[int, str] = {}
    with Site([echo]) as site, sender(site) as send:

        def call(number: int) -> None:
            found[number] = send.send(ApiRequest("GET", f"{site.url}/{number}")).observation

        threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert found == {number: f"Status Code: 200. Response: /{number}" for number in range(20)}
