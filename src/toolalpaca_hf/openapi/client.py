"""Sends requests and turns every outcome (answer, refusal, timeout, broken connection) into an observation."""

import hashlib
import html
import json
import mimetypes
import re
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from itertools import count
from pathlib import Path

import httpx

from ..errors import InputError, ToolAlpacaError
from .allowlist import Allowlist, origin_of, redact_url
from .content import encode_body
from .credentials import Credentials
from .request import ApiRequest
from .transport import GuardedTransport, limited, seconds_left

TEXTUAL = re.compile(r"text/|.*(json|xml|javascript|x-www-form-urlencoded|yaml|csv|graphql)")
UNKNOWN = ("", "application/octet-stream", "binary/octet-stream", "unknown/unknown")
SHORT = 4096  # bytes: the longest body whose text is kept
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def body_text(body: bytes, content_type: str) -> str | None:
    """A body as text, or `None` for a binary one; JSON is compacted, HTML loses its tags."""
    kind, _, options = content_type.lower().partition(";")
    kind, textual = kind.strip(), TEXTUAL.match(kind.strip())
    named = re.search(r"charset=[\s\"']*([\w.-]+)", options, re.ASCII)
    charset = named[1] if named and textual and named[1] not in ("utf-8", "utf8", "punycode") else "utf-8-sig"
    if (b"\0" in body and not re.match("utf-?(16|32)", charset)) or not (textual or kind in UNKNOWN):
        return None  # whatever it calls itself
    try:
        words = body.decode(charset, "replace" if textual else "strict")
    except (LookupError, ValueError):  # `zip`, `rot13` and such are no text encodings
        if not textual:
            return None
        words = body.decode("utf-8-sig", "replace")
    words = words.strip()
    if words[:1] in ("{", "[", '"') or "json" in kind:
        with suppress(ValueError, RecursionError):
            words = _compact(json.loads(words))
    elif kind in ("text/html", "application/xhtml+xml") or words[:200].lower().startswith(("<!doctype html", "<html")):
        words = " ".join(html.unescape(_UNSEEN.sub(" ", words)).split())
    return words.encode("utf-8", "replace").decode("utf-8")


_short_text = lru_cache(maxsize=1024)(body_text)


# What a page does not show: comments, some elements, and tags. html.parser takes hours for some pages of a megabyte.
_INSIDE = r"""(?:[^<>"']++|"[^"]{0,2000}"|'[^']{0,2000}'|["'])*+"""
_UNSEEN = re.compile(
    rf"<!--.*?(?:-->|\Z)|<(script|style|noscript|template|svg)(?=[\s>]){_INSIDE}(?<!/)>.*?(?:</\1\s*>|\Z)"
    rf"|<[a-z/!?]{_INSIDE}>?",
    re.DOTALL | re.IGNORECASE,
)


REPEATABLE = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # without doing it twice (RFC 9110, 9.2.2)

HEADERS = {"Accept": "application/json, text/*;q=0.9, */*;q=0.8", "Accept-Encoding": "gzip"}
HEADERS |= {"User-Agent": "toolalpaca-hf"}

Exchange = Callable[[str, str, Mapping[str, str], bytes], tuple[int, Mapping[str, str], bytes]]
"""Answers method, URL, headers and body with status, headers (names in lower case) and body, in place of HTTP; may
raise as httpx does."""


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


class ApiClient:
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

    def __enter__(self) -> "ApiClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def send(self, request: ApiRequest) -> CallResult:
        """Send a request from [`build_request`], retrying if that is safe. Never raises for a failed call."""
        fault = ""
        with limited(self._limits.total, self._credentials):
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
        with limited(self._limits.total, self._credentials):
            try:
                status, _, body = self._repeated(ApiRequest("GET", url))
                if status == 200:
                    return body
                problem = f"the server answers with status {status}"
            except _End as end:
                problem = end.sentence.rstrip(".")
        raise InputError(f"it cannot be loaded: {problem}", file=redact_url(url), fix="check the URL")

    def _repeated(self, request: ApiRequest) -> tuple[int, Mapping[str, str], bytes]:
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
