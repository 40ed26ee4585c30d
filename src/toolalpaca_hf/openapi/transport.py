"""The network connection: only to checked addresses, within a deadline, with no credentials in the log."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from .allowlist import Allowlist, resolve_host
from .credentials import Credentials

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

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


class GuardedTransport(httpx.HTTPTransport):
    """httpx's own transport, which only connects to allowed addresses (else [`AddressError`]); see [`limited`].

    It uses no proxy: behind one, the final address cannot be checked.
    """

    def __init__(self, hosts: Allowlist) -> None:
        super().__init__()
        self._hosts = hosts
        # httpx has no argument for httpcore's network backend.
        limits = {"max_connections": 100, "max_keepalive_connections": 20, "keepalive_expiry": 5.0}
        self._pool = httpcore.ConnectionPool(httpx.create_ssl_context(), network_backend=_Backend(hosts), **limits)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._hosts.check(str(request.url))
        return super().handle_request(request)
