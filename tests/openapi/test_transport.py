import socket
import ssl
from typing import Any

import httpcore
import httpx
import pytest
from loopback import Rude, Site

from toolalpaca_hf.openapi import AddressError, Allowlist
from toolalpaca_hf.openapi.client import GuardedTransport, limited, seconds_left


def pretend(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """A name server that gives `cats.example` another address each time; returns the names it was asked for."""
    real, asked = socket.getaddrinfo, []

    def lookup(host: str, port: int, *rest: Any, **more: Any) -> list[Any]:
        if host != "cats.example":
            return real(host, port, *rest, **more)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[min(len(asked), len(answers)) - 1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up would give the address of the metadata service of clouds; there is none."""
    with Site([(200, {}, b"ok")]) as site:
        asked = pretend(monkeypatch, "127.0.0.1", "169.254.169.254")
        host = f"cats.example:{site.host.split(':')[1]}"
        with httpx.Client(transport=GuardedTransport(Allowlist(frozenset(), frozenset({host})))) as client:
            assert client.get(f"http://{host}/").text == "ok"
        assert asked == ["cats.example"]
        assert site.seen[0].headers["Host"] == host


def test_a_public_name_with_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with Site([(200, {}, b"ok")]) as site:
        pretend(monkeypatch, "127.0.0.1")
        host = f"cats.example:{site.host.split(':')[1]}"
        with httpx.Client(transport=GuardedTransport(Allowlist(frozenset({host})))) as client:
            with pytest.raises(AddressError, match="private network"):
                client.get(f"http://{host}/")
    assert site.seen == []


def test_another_host_is_refused() -> None:
    with Site([(200, {}, b"ok")]) as site:
        with httpx.Client(transport=GuardedTransport(Allowlist(frozenset({"cats.example"})))) as client:
            with pytest.raises(AddressError, match="not among"):
                client.get(site.url)
    assert site.seen == []


def test_tls_names_the_host_and_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    hellos: list[bytes] = []

    class Listening(Rude):
        def _one(self, connection: socket.socket) -> None:
            hellos.append(connection.recv(65536))
            connection.close()

    with Listening(lambda connection, over: None) as site:
        pretend(monkeypatch, "127.0.0.1")
        host = f"cats.example:{site.host.split(':')[1]}"
        with httpx.Client(transport=GuardedTransport(Allowlist(frozenset(), frozenset({host})))) as client:
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                client.get(f"https://{host}/")
    assert b"cats.example" in hellos[0]


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with Site([(200, {}, b"ok")]) as site:
        port = int(site.host.split(":")[1])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")
        ]
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **more: found if host == "cats.example" else real(host, *rest, **more),
        )
        with httpx.Client(transport=GuardedTransport(Allowlist(frozenset(), frozenset({"cats.example"})))) as client:
            assert client.get(f"http://cats.example:{port}/").text == "ok"


def test_deadlines_nest_and_end() -> None:
    assert seconds_left() == float("inf")
    with limited(5):
        with limited(1):
            assert seconds_left() <= 1
        assert 1 < seconds_left() <= 5
    assert seconds_left() == float("inf")
    with Site([(200, {}, b"ok")]) as site, limited(0):
        with httpx.Client(transport=GuardedTransport(Allowlist(frozenset(), frozenset({site.host})))) as client:
            with pytest.raises((httpx.TimeoutException, httpcore.TimeoutException)):
                client.get(site.url)
