"""Sends requests, to checked addresses and within a deadline, and turns every outcome into an observation."""

import hashlib
import logging
import mimetypes
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from itertools import count
from pathlib import Path
from typing import Any

import httpcore
import httpx

from ..errors import InputError, ToolAlpacaError
from .encoding import body_text, encode_body
from .operations import ApiRequest
from .safety import Allowlist, Credentials, origin_of, redact_url, resolve_host

SHORT = 4096  # bytes: the longest body whose text is kept
_short_text = lru_cache(maxsize=1024)(body_text)
REPEATABLE = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # without doing it twice (RFC 9110, 9.2.2)

HEADERS = {"Accept": "application/json, text/*;q=0.9, */*;q=0.8", "Accept-Encoding": "gzip"}
HEADERS |= {"User-Agent": "toolalpaca-hf"}

Exchange = Callable[[str, str, Mapping[str, str], bytes], tuple[int, Mapping[str, str], bytes]]
"""Answers method, URL, headers and body with status, headers (lower-case names) and body, or raises, as httpx does."""


@dataclass(frozen=True)
class CallLimits:
    """Limits on one call; times are in seconds, `size` is in bytes, both as sent and decompressed."""

    connect: float = 5.0
    read: float = 20.0  # between two chunks of the response
    total: float = 60.0  # with retries and redirects
    size: int = 5_000_000
    retries: int = 3
    backoff: float = 0.5  # before the first retry, doubled for each further one
    wait: float = 30.0  # the longest `Retry-After` to wait for
    redirects: int = 5


@dataclass(frozen=True)
class CallResult:
    """The outcome of a call."""

    status: int | None  # None if there was no response
    observation: str  # what the model reads, without credentials
    ended: str  # answered, refused (host or redirect), timeout, too_large, dropped (connection) or failed
    fault: str = ""  # that a simulator says it made, see `simulator.FaultPlan`


class _End(Exception):
    def __init__(self, ended: str, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.ended, self.sentence, self.status = ended, sentence, status


class ApiClient(AbstractContextManager["ApiClient"]):
    """Send the requests of one API to allowed `hosts`. Thread-safe.

    `credentials` are inserted into requests, and removed from everything that comes back. Binary responses are saved
    in `folder`, or only mentioned. `exchange` answers in place of HTTP, see [`simulator.in_process`].

    Example:

    ```python
    >>> with ApiClient(Allowlist(frozenset({"127.0.0.1"}))) as client:
    ...     client.send(ApiRequest("GET", "http://127.0.0.1/cats")).observation
    'The call was not made: 127.0.0.1 has an address inside a private network, so it is not called.'
    ```
    """

    def __init__(
        self,
        hosts: Allowlist,
        credentials: Credentials | None = None,
        folder: str | Path | None = None,
        limits: CallLimits | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self._hosts, self._exchange, self._limits = hosts, exchange, limits or CallLimits()
        self._credentials = credentials or Credentials()
        self._folder = None if folder is None else Path(folder)
        transport = httpx.BaseTransport() if exchange else GuardedTransport(hosts)
        wait = httpx.Timeout(self._limits.read, connect=self._limits.connect)
        # No proxies and no .netrc: a proxy bypasses the address checks, .netrc holds credentials.
        self._client = httpx.Client(transport=transport, trust_env=False, timeout=wait, headers=HEADERS)
        # Calls share no state (cookies) except what the model passes on.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def send(self, request: ApiRequest) -> CallResult:
        """Send a request from [`build_request`], retrying if that is safe. Never raises for a failed call."""
        fault = ""
        try:
            status, headers, body = self._repeated(request)
            words = self._rendered(body, headers.get("content-type", ""))
            ended, fault = "answered", headers.get("x-toolalpaca-fault", "")
        except _End as end:
            ended, status, words = end.ended, end.status, end.sentence
        words = words if status is None else f"Status Code: {status}. Response: {words}"
        # A server may echo secrets cut or escaped in unknown ways; verbatim values never get through.
        return CallResult(status, self._credentials.redact(words), ended, fault)

    def fetch(self, url: str) -> bytes:
        """Get a URL's content, decompressed; an [`InputError`] if the call fails or the status is not 200."""
        try:
            status, _, body = self._repeated(ApiRequest("GET", url))
            if status == 200:
                return body
            problem = f"the server answers with status {status}"
        except _End as end:
            problem = end.sentence.rstrip(".")
        raise InputError(f"it cannot be loaded: {problem}", file=redact_url(url), fix="check the URL")

    def _repeated(self, request: ApiRequest) -> tuple[int, Mapping[str, str], bytes]:
        with limited(self._limits.total, self._credentials):
            for attempt in count():
                last, wait = attempt >= self._limits.retries, self._limits.backoff * 2**attempt
                try:
                    status, headers, body = self._redirected(request)
                except _End as end:
                    if last or end.ended != "dropped" or request.method not in REPEATABLE or wait >= seconds_left():
                        raise
                else:
                    if last or not (status == 429 or (500 <= status != 501 and request.method in REPEATABLE)):
                        return status, headers, body
                    wait = _asked_to_wait(headers.get("retry-after", ""), wait)
                    if wait > self._limits.wait or wait >= seconds_left():
                        return status, headers, body
                time.sleep(wait)
        raise AssertionError  # for the type checker: the last attempt returns or raises

    def _redirected(self, request: ApiRequest) -> tuple[int, Mapping[str, str], bytes]:
        try:
            armed = self._credentials.inject(request)
            content, kind = encode_body(armed)
            if self._exchange is not None:
                return self._exchange(armed.method, armed.url, kind | armed.headers, content or b"")
            headers = [(name.encode(), value.encode()) for name, value in (kind | armed.headers).items()]
            hop, status = self._client.build_request(armed.method, armed.url, headers=headers, content=content), None
            for _ in range(self._limits.redirects + 1):
                with closing(self._client.send(hop, stream=True)) as response:
                    status = response.status_code
                    if response.next_request is None:
                        return status, response.headers, self._read(response)
                    hop = self._next(hop, response.next_request, status)
            raise _End("refused", f"it redirects more than {self._limits.redirects} times.", status)
        except ToolAlpacaError as error:
            raise _End("refused", f"The call was not made: {error}.") from None
        except (httpx.LocalProtocolError, httpx.InvalidURL, ValueError, RecursionError):  # what HTTP cannot hold
            raise _End("failed", "The call cannot be sent as it is; change the input.") from None
        except httpx.TimeoutException:
            left = "in time" if seconds_left() > 0 else f"within {self._limits.total:g} s"
            raise _End("timeout", f"The server did not answer {left}.") from None
        except httpx.DecodingError:
            raise _End("failed", "The answer is compressed in a way that cannot be read.") from None
        except (httpx.HTTPError, OSError) as error:
            broken = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke the connection off"
            raise _End("dropped", f"The server {broken}.") from None

    def _next(self, last: httpx.Request, following: httpx.Request, status: int) -> httpx.Request:
        """The request to follow a redirect with; credentials are dropped if it leaves the server."""
        try:
            self._hosts.check(str(following.url))
        except ToolAlpacaError as error:
            raise _End("refused", f"it redirects elsewhere: {error}.", status) from None
        url, content, (scheme, host, port) = str(following.url), following.read(), origin_of(str(last.url))
        upgraded = (scheme, port) == ("http", 80) and origin_of(url) == ("https", host, 443)
        if origin_of(url) == (scheme, host, port) or upgraded:
            return following
        for name, value in list(following.headers.items()):
            if name in ("authorization", "cookie") or self._credentials.redact(value) != value:
                del following.headers[name]
        if self._credentials.redact(url) != url or self._credentials.redact_bytes(content) != content:
            raise _End("refused", "it redirects to another server, which must not get the credentials.", status)
        return following

    def _read(self, response: httpx.Response) -> bytes:
        """The decompressed body; never holds more than the limit in memory."""
        limit, coding = self._limits.size, response.headers.get("content-encoding", "").strip().lower()
        unpack = None if coding in ("", "identity") else zlib.decompressobj(47)
        if unpack and coding not in ("gzip", "x-gzip", "deflate"):
            raise httpx.DecodingError(coding)
        large = _End("too_large", f"it is longer than {limit} bytes, and was not read.", response.status_code)
        length = response.headers.get("content-length", "")
        if length.isdecimal() and len(length) < 19 and int(length) > limit and response.request.method != "HEAD":
            raise large
        body, sent = bytearray(), 0
        for piece in response.iter_raw():
            sent += len(piece)
            try:
                while piece and len(body) <= limit:
                    body += unpack.decompress(piece, limit + 1 - len(body)) if unpack else piece
                    piece = unpack.unused_data if unpack and unpack.unused_data[:1] == b"\x1f" else b""
                    unpack = zlib.decompressobj(47) if piece else unpack  # another member, else filling
            except zlib.error as error:
                raise httpx.DecodingError(coding) from error
            if len(body) > limit or sent > limit:
                raise large
        if unpack and sent and not unpack.eof:
            raise httpx.ReadError("the answer is cut off")
        return bytes(body)

    def _rendered(self, body: bytes, content_type: str) -> str:
        if (words := (_short_text if len(body) <= SHORT else body_text)(body, content_type)) is not None:
            return words
        kind = content_type.partition(";")[0].strip().lower()
        named = f"a file of type {kind or 'unknown'}, {len(body)} bytes"
        if self._folder is None:
            return f"{named}, not shown."
        body = self._credentials.redact_bytes(body)
        path = self._folder / f"{hashlib.sha256(body).hexdigest()[:16]}{mimetypes.guess_extension(kind) or '.bin'}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        except OSError as error:
            return f"{named}, which could not be saved ({error.strerror})."
        return f"{named}, saved as {path.name}."


def _asked_to_wait(retry_after: str, otherwise: float) -> float:
    if re.fullmatch(r"\s*[0-9]{1,11}\s*", retry_after):
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return otherwise


# The deadline, and what is kept out of the log.
_limits: ContextVar[tuple[float, Credentials | None]] = ContextVar("limits", default=(float("inf"), None))


def _redacted(record: logging.LogRecord) -> bool:
    if credentials := _limits.get()[1]:
        record.msg, record.args = credentials.redact(record.getMessage()), ()
    return True


# httpx logs URLs and httpcore response headers; both may show credentials.
for _name in ("httpx", "httpcore.connection", "httpcore.http11"):
    logging.getLogger(_name).addFilter(_redacted)


@contextmanager
def limited(seconds: float, credentials: Credentials | None = None) -> Iterator[None]:
    """End what a client of [`GuardedTransport`] does inside after this time, and keep credentials out of the log."""
    token = _limits.set((time.monotonic() + seconds, credentials))
    try:
        yield
    finally:
        _limits.reset(token)


def seconds_left() -> float:
    """Seconds until the deadline of [`limited`]; infinite outside of it."""
    return _limits.get()[0] - time.monotonic()


def _timeout(wanted: float | None) -> float:
    left = seconds_left()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return left if wanted is None else min(left, wanted)


class _Stream(httpcore.NetworkStream):
    """Cuts each wait at the deadline: a server that drips bytes never runs into an ordinary timeout."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _timeout(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _timeout(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _timeout(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Resolves a host, checks its addresses and connects to one of them; a second lookup could return another."""

    def __init__(self, hosts: Allowlist) -> None:
        self._hosts, self._plain = hosts, httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *options: Any, **more: Any) -> _Stream:
        *addresses, last = self._look_up(host, port, timeout)
        for address in addresses:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return _Stream(self._plain.connect_tcp(address, port, _timeout(timeout), *options, **more))
        return _Stream(self._plain.connect_tcp(last, port, _timeout(timeout), *options, **more))

    def _look_up(self, host: str, port: int, timeout: float | None) -> list[str]:
        """The system's look-up has no time limit: it is made in a thread, which is left to itself when time is up."""
        found: Future[list[str]] = Future()

        def look_up() -> None:
            try:
                found.set_result(resolve_host(host, port, self._hosts))
            except Exception as error:  # raised again by the thread that waits
                found.set_exception(error)

        threading.Thread(target=look_up, daemon=True).start()
        try:
            return found.result(min(_timeout(timeout), threading.TIMEOUT_MAX))
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} was not found in time") from None
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be found") from error


class GuardedTransport(httpx.HTTPTransport):
    """httpx's transport, only to allowed addresses (else [`AddressError`]), and by no proxy, which would hide them."""

    def __init__(self, hosts: Allowlist) -> None:
        super().__init__()
        self._hosts = hosts
        # httpx has no argument for httpcore's network backend.
        limits = {"max_connections": 100, "max_keepalive_connections": 20, "keepalive_expiry": 5.0}
        self._pool = httpcore.ConnectionPool(httpx.create_ssl_context(), network_backend=_Backend(hosts), **limits)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._hosts.check(str(request.url))
        return super().handle_request(request)
