"""Credentials: read from a file or the environment, inserted just before sending, redacted from what comes back."""

import base64
import html
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from ..errors import InputError, OptionError
from ..schema import REDACTED
from ..storage import read_text
from .document import mapping, text
from .operations import security_schemes
from .request import ApiRequest

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

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._values)

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
    lines = {} if file is None else _read(Path(file))
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


def _read(file: Path) -> dict[str, str]:
    values = {}
    for number, line in enumerate(read_text(file, "pass a file of NAME=VALUE lines").splitlines(), 1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not line.strip() or name.startswith("#"):
            continue
        if not equals or not name.strip():
            raise InputError(f"line {number} is not NAME=VALUE", file=file, row=number, fix="correct it")
        values[_constant(name)] = re.sub(r"^([\"'])(.*)\1$", r"\2", value.strip())
    return values
