"""The hosts that calls may go to, and the checks that keep them off private networks."""

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import ToolAlpacaError
from .coercion import to_text
from .document import listed, mapping, text
from .operations import IN_PATH, each_operation, servers_beside

# Ranges that tunnel to other addresses or lead nowhere, and that older Pythons consider global.
_NEVER = tuple(ip_network(block) for block in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23"))
_NEVER += tuple(ip_network(block) for block in ("2002::/16", "fec0::/10", "::/8", "3fff::/20", "5f00::/16"))
_NAT64 = ip_network("64:ff9b::/96")


class AddressError(ToolAlpacaError):
    """A host or an address that may not be called."""


@dataclass(frozen=True)
class Allowlist:
    """The hosts that calls may go to, as `host` or `host:port` in lower case."""

    names: frozenset[str]  # on the public internet
    private: frozenset[str] = frozenset()  # whose address may be private: `127.0.0.1:5678`

    def check(self, url: str) -> None:
        """Raise an [`AddressError`] for a URL with another host or scheme."""
        _, host, port = origin_of(url)
        if not {host, _with_port(host, port)} & (self.names | self.private):
            raise AddressError(f"{host} is not among the API's servers, so it is not called")

    def may_be_private(self, host: str, port: int) -> bool:
        return bool({_normal(host), _with_port(_normal(host), port)} & self.private)


def allowed_hosts(
    document: dict[str, Any], hosts: Iterable[str] | None = None, private: Iterable[str] = ()
) -> Allowlist:
    """Collect the hosts that calls of a document may go to: `hosts`, by default those of its `servers`.

    The address of `private`, further hosts, may be private, loopback or link-local.

    Example:

    ```python
    >>> allowed_hosts({"servers": [{"url": "https://api.cats.example/v1"}]}).names
    frozenset({'api.cats.example:443'})
    ```
    """
    if hosts is None:
        beside = [one for *_, item, operation in each_operation(document) for one in servers_beside(item, operation)]
        urls = [*servers_of(document), *servers_of({"servers": beside})]
        origins = [origin_of(url) for url in urls if not IN_PATH.search(url)]
        # A server that redirects from http to https is the same server.
        hosts = [_with_port(host, p) for _, host, port in origins for p in ((80, 443) if port == 80 else (port,))]
    return Allowlist(frozenset(map(_normal, hosts)), frozenset(map(_normal, private)))


def servers_of(document: dict[str, Any], base: str = "") -> list[str]:
    """The http and https base URLs of a document with variables filled in; `base` is where it was loaded from.

    Those with a variable that has neither a default nor an enumeration come last: [`build_request`] refuses them.
    """
    found = []
    for server in map(mapping, listed(document.get("servers"))):
        url = text(server.get("url")).strip()
        for name, variable in mapping(server.get("variables")).items():
            values = [mapping(variable).get("default"), *listed(mapping(variable).get("enum"))]
            plain = (to_text(value) for value in values if isinstance(value, str | int | float))
            url = url.replace(f"{{{name}}}", next(plain, f"{{{name}}}"))
        with suppress(ValueError, ToolAlpacaError):
            whole = re.match(r"[^/?#]+//|\{", url)  # what begins with a variable may be
            url = url if whole else urljoin(base, url)
            if not (whole and IN_PATH.search(url)):
                origin_of(url)
            found.append(url)
    return sorted(found, key=lambda url: bool(IN_PATH.search(url)))


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host (lower case, ASCII) and port of an http(s) URL without user; an [`AddressError`] for any other."""
    try:
        parts = urlsplit(url)
        host, port = _normal(parts.hostname or ""), parts.port
    except ValueError:
        raise AddressError("the URL cannot be read; correct it") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or re.search(r"[\s\\]", parts.netloc):
        raise AddressError("only http and https URLs with a host and no user name are called")
    return parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme]


def redact_url(url: str) -> str:
    """Strip user, query and fragment from a URL, which may hold a key, before it appears in a message."""
    return re.sub(r"(?<=//)[^/?#]*@|[?#].*", "", url, flags=re.DOTALL)


def _normal(host: str) -> str:
    host = re.sub(r"^\[(.*)\]$", r"\1", host.strip().rstrip(".").lower(), flags=re.DOTALL)
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; an IPv6 form that wraps a private address is not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        wrapped = IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else None
        parsed = parsed.ipv4_mapped or wrapped or parsed
    special = parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified or parsed.is_loopback
    return parsed.is_global and not special and not any(parsed in block for block in _NEVER)


def resolve_host(host: str, port: int, hosts: Allowlist) -> list[str]:
    """Resolve a host and check that every address may be connected to; raises [`AddressError`] or `OSError`."""
    addresses = list(dict.fromkeys(str(at[4][0]) for at in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    if not hosts.may_be_private(host, port) and not all(map(is_public, addresses)):
        raise AddressError(f"{host} has an address inside a private network, so it is not called")
    return addresses
