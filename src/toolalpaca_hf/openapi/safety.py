"""What keeps calls safe: which hosts they may go to, and credentials, inserted last and redacted from answers."""

import base64
import html
import json
import os
import re
import socket
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urljoin, urlsplit

from ..errors import InputError, OptionError, ToolAlpacaError
from ..schema import REDACTED
from ..storage import read_text
from .coercion import to_text
from .document import listed, mapping, text
from .operations import IN_PATH, ApiRequest, each_operation, security_schemes, servers_beside

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
            url = url if whole else urljoin(base or "https:", url)
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


LONG = 6  # from this length on a value is taken out inside words, too
# `Bearer abc` is a scheme and a secret, and the secret also travels by itself.
SCHEME = re.compile(r"(?:Bearer|Basic|Token|ApiKey)\s+(?=\S)", re.IGNORECASE)

# What keys of known services and private keys look like.
TOKEN_TEXT = (
    r"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{40,}|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}"
    r"|\bglpat-[\w-]{20,}|\bxox[abeprs]-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def escaped_forms(value: str) -> set[str]:
    """A text unchanged, and as URLs, JSON, HTML and base64 escape it, once or twice."""
    value = value.encode("utf-8", "replace").decode()  # half a surrogate pair has no UTF-8, and is written as `?`
    escaped = quote(value, safe="").replace("-", "%2D").replace(".", "%2E").replace("_", "%5F")
    every = "".join(f"%{byte:02X}" for byte in value.encode())
    plain = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], html.escape(value)}
    urls = {quote(value), quote(value, safe=""), quote_plus(value), escaped, escaped.replace("~", "%7E"), every}
    encoded = {encode(value.encode()).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return {
        again
        for form in plain | urls | encoded
        for again in (form, json.dumps(form)[1:-1], form.replace("/", "\\/"), quote(form, safe=""), quote_plus(form))
    }


def secret_pattern(values: Iterable[str], flags: int = 0) -> re.Pattern[str] | None:
    """A pattern that finds secrets in any of their [`escaped_forms`]; short ones only as whole words."""
    forms = {form for value in values for form in escaped_forms(value)} - {""}
    patterns = [
        re.escape(form) if len(form) >= LONG else rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"
        for form in sorted(forms, key=lambda form: (-len(form), form))
    ]
    return re.compile("|".join(patterns), flags) if patterns else None


class Credentials:
    """Secret values by the names of parameters or security schemes. Neither `repr` nor any error shows a value.

    A value that is empty or has a control character cannot be sent: an [`OptionError`].

    Example:

    ```python
    >>> credentials = Credentials({"access_key": "invented-1"})
    >>> credentials, credentials.redact("bad key invented-1, see /help?k=invented%2D1")
    (Credentials(['access_key']), 'bad key ***, see /help?k=***')
    ```
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = {name: value.strip() for name, value in (values or {}).items()}
        self.names = frozenset(self._values)
        for name, value in self._values.items():
            if not value or re.search(r"[\x00-\x1f\x7f]", value):
                problem = f"the credential {name} is empty or has a control character"
                raise OptionError(problem, option=name, fix="correct its value")
        parts = set(self._values.values())
        parts |= {value[scheme.end() :] for value in parts if (scheme := SCHEME.match(value))}
        parts |= {part.partition(":")[2] for part in parts if len(part.partition(":")[2]) >= LONG}  # user:password
        parts |= {part.upper() for part in parts} | {part.lower() for part in parts}  # bytes have no case beyond ASCII
        self._pattern = secret_pattern(parts, re.IGNORECASE)
        self._bytes = re.compile(self._pattern.pattern.encode(), re.IGNORECASE) if self._pattern else None

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._values)})"

    def inject(self, request: ApiRequest) -> ApiRequest:
        """A copy of the request with the values filled in. Do not log or keep it."""
        url, body, headers = request.url, request.body, dict(request.headers)
        for where, name in request.credentials:
            value = self._values[name]
            if where == "path":
                url = url.replace(f"{{{name}}}", quote(value, safe=""))
            elif where == "query":
                url = f"{url}{'&' if '?' in url else '?'}{quote(name, safe='')}={quote(value, safe='')}"
            elif where == "body":
                body = mapping(body) | {name: value}
            elif where == "cookie":
                headers["Cookie"] = "; ".join(filter(None, [headers.get("Cookie"), f"{name}={value}"]))
            elif where == "bearer":
                headers["Authorization"] = value if value.lower().startswith("bearer ") else f"Bearer {value}"
            elif where == "basic":
                encoded = base64.b64encode(value.encode()).decode() if ":" in value else value
                headers["Authorization"] = f"Basic {encoded}"
            else:
                headers[name] = value
        return replace(request, url=url, body=body, headers=headers)

    def redact(self, words: str) -> str:
        """Replace every value by `***`, also where it is escaped for URLs, JSON, HTML or base64."""
        return self._pattern.sub(REDACTED, words) if self._pattern else words

    def redact_bytes(self, content: bytes) -> bytes:
        return self._bytes.sub(REDACTED.encode(), content) if self._bytes else content


def credential_names(document: dict[str, Any]) -> list[str]:
    """Names of a document's credentials: the parameter's for an `apiKey` scheme, else the scheme's own name."""
    schemes = security_schemes(document).items()
    names = [text(scheme.get("name")) if scheme.get("type") == "apiKey" else name for name, scheme in schemes]
    return list(dict.fromkeys(filter(None, names)))


def load_credentials(
    api: str, names: Iterable[str], file: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> Credentials:
    """Collect the credentials of one API from a file of `NAME=VALUE` lines, and `environ` or the environment.

    A variable is named `access_key` or, with the API's name in front, `APILAYER_WEATHERSTACK_ACCESS_KEY` (any case,
    `_` for other characters). The short form works in a file only: an environment is full of other keys. A file that
    cannot be read is an [`InputError`], which shows no value; an absent one a [`NotFoundError`].

    Example:

    ```python
    >>> load_credentials("Tides", ["key"], environ={"TIDES_KEY": "invented-1", "KEY": "another"}).names
    frozenset({'key'})
    ```
    """
    lines = dict[str, str]()
    words = "" if file is None else read_text(file, "pass a file of NAME=VALUE lines")
    for number, line in enumerate(words.splitlines(), 1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not line.strip() or name.startswith("#"):
            continue
        if not equals or not name.strip():
            raise InputError(f"line {number} is not NAME=VALUE", file=file, row=number, fix="correct it")
        lines[_constant(name)] = re.sub(r"^([\"'])(.*)\1$", r"\2", value.strip())
    own = {_constant(name): value for name, value in (os.environ if environ is None else environ).items()}
    found = {}
    for name in names:
        prefixed = f"{_constant(api)}_{_constant(name)}"
        value = lines.get(prefixed) or lines.get(_constant(name)) or own.get(prefixed)
        if value and value.strip():
            found[name] = value
    return Credentials(found)


def _constant(name: str) -> str:
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Z0-9]+", "_", (folded or name).upper()).strip("_")
