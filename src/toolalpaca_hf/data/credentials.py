"""Replaces credentials by `***`, before anything else sees the raw data.

They are found by name (parameters in an API's `Authentication`, wherever they occur) and by value (whatever was found
so, in any file): neither is sufficient by itself."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..openapi import LONG, SCHEME, credential_names, secret_pattern
from ..schema import REDACTED, Api
from ..storage import strict_json, too_deep

DOCUMENTED = {"Name", "Description", "Link", "Category", "Introduction", "Functions", "NLDocumentation"}
DOCUMENTED |= {"Documentation", "Function_Description", "Function_Projection", "external_tools"}
"""Fields where `"access_key": "..."` is a description of the parameter, not its value."""

EXAMPLE_KEYS = {"example", "examples", "default", "enum", "const", "value", "x-example"}
PLAIN_WORDS = {*"string integer number boolean object array null true false none required yes no unknown".split()}
PLAIN_WORDS |= {*"apikey http oauth oauth2 basic bearer token jwt header query cookie".split()}
PLAIN_WORDS |= {"api key", "user-agent", "x-mashape-key"}
"""What stands in a credential's place and is no secret: a type, or a kind of authentication."""

SCHEME_TYPES = ("apiKey", "http", "oauth2", "openIdConnect")
SCHEME_FIELDS = ("type", "name", "in", "scheme", "bearerFormat", "description", "flows", "openIdConnectUrl")


def _opaque(value: str) -> bool:
    """Whether a value found by name looks like a key rather than an ordinary word."""
    return len(value) >= LONG and not re.search(r"\s", value) and (not value.isalpha() or len(value) >= 16)


def _pairs(value: Any, name: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """Names and values in an `Authentication` field: a dict, possibly nested, a list of names, or security schemes."""
    if isinstance(value, dict) and value.get("type") in SCHEME_TYPES:
        name = value["name"] if isinstance(value.get("name"), str) else name or "Authorization"
        value = {name if key == "value" else key: item for key, item in value.items() if key not in SCHEME_FIELDS}
    if isinstance(value, dict | list):
        yield name, None
        for key, item in value.items() if isinstance(value, dict) else ((name, item) for item in value):
            # A word in a list is a name or a scope; one with a digit, or behind a scheme, may be a key.
            word = isinstance(value, list) and isinstance(item, str)
            word = word and (key is None or not (SCHEME.match(item) or re.search(r"\d", item)))
            yield from [(item, None)] if word else _pairs(item, key)
    else:
        yield name, value


def _values(authentication: Any) -> set[str]:
    values = [str(value) for _, value in _pairs(authentication) if value is not None]
    values += [value.split(None, 1)[1] for value in values if SCHEME.match(value)]
    # Shorter ones would be taken out of every text, and protect nothing.
    return {v for v in values if len(v.strip()) > 2 and v != REDACTED and v.strip().casefold() not in PLAIN_WORDS}


def authentication_names(authentication: Any) -> list[str]:
    """Names of the parameters that carry credentials in a raw `Authentication` field, never their values."""
    return list(dict.fromkeys(name for name, _ in _pairs(authentication) if name is not None))


def _by_name(names: Iterable[str]) -> re.Pattern[str] | None:
    choice = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)) if name)
    if not choice:
        return None
    value = r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?P<q>\\+["']).*?(?<!\\)(?P=q)|[^\s"'\\,;}\])&<>]+)"""
    return re.compile(
        rf"""(?P<head>(?<![\w-])(?:{choice})(?:(?P<json>\\*["']\s*:\s*(?:\[\s*)?)|(?P<equals>\s?=\s?)|(?P<colon>:\s*)))"""
        rf"""(?P<scheme>(?:Bearer|Basic|Token|ApiKey)\s+)?{value}""",
        re.IGNORECASE | re.DOTALL,
    )


@dataclass
class _Known:
    """Known credentials of an API: lower-case names, values in `Authentication`, values found by name."""

    names: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)


class Redactor:
    """Removes credentials from raw APIs, and from any other text.

    Args:
        apis (`Iterable[dict]`): All raw APIs that are read together: a credential of one is searched for in all.

    Example:

    ```python
    >>> api = {"Name": "Tides", "Authentication": {"key": "invented-1"}, "Instructions": ["use invented-1"]}
    >>> Redactor([api]).api(api)["Instructions"]
    ['use ***']
    ```
    """

    def __init__(self, apis: Iterable[dict[str, Any]]) -> None:
        apis = list(apis)
        self._credentials: dict[str, _Known] = {}
        for api in apis:
            names, values = authentication_names(api.get("Authentication")), _values(api.get("Authentication"))
            if names or values:
                known = self._credentials.setdefault(str(api.get("Name")), _Known())
                known.names |= {name.lower() for name in names}
                known.listed |= values
        for api in apis:
            if known := self._credentials.get(str(api.get("Name"))):
                self._by_name(api, known, known.found.add)
        self._everywhere = {v for known in self._credentials.values() for v in known.listed}
        self._everywhere |= {v for known in self._credentials.values() for v in known.found if _opaque(v)}
        self._pattern = secret_pattern(self._everywhere)

    def api(self, api: dict[str, Any]) -> dict[str, Any]:
        """A copy of one of the raw APIs without credentials; JSON in `Documentation` is parsed."""
        pattern = self._pattern
        # Parse it, so that a value is found even if JSON escapes it.
        api = {key: _parse(value) if key == "Documentation" else value for key, value in api.items()}
        if known := self._credentials.get(str(api.get("Name"))):
            api = self._by_name(api, known, None)
            pattern = secret_pattern(self._everywhere | {v for v in known.found | known.listed if len(v) > 3})
        return {key: self._walk_values(value, pattern) for key, value in api.items()}

    def __call__(self, value: Any) -> Any:
        """A copy of a JSON value with every known credential replaced by `***`."""
        return self._walk_values(value, self._pattern)

    def _walk_values(self, value: Any, pattern: re.Pattern[str] | None) -> Any:
        def text(string: str) -> str:
            # A lone surrogate is legal in JSON but cannot be encoded as UTF-8.
            string = string.encode("utf-8", "replace").decode("utf-8") if not string.isascii() else string
            return pattern.sub(REDACTED, string) if pattern else string

        def number(value: int | float) -> Any:
            if pattern and pattern.fullmatch(str(value)):
                return REDACTED
            # `datasets.Json` reads integers of 64 bits and finite floats; JSON itself has no bound.
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                value = float(max(min(value, 10**300), -(10**300)))
            return value if math.isfinite(value) else str(value)

        return _walk(value, text, number)

    def _by_name(self, api: dict[str, Any], known: _Known, found: Callable[[str], None] | None) -> dict[str, Any]:
        pattern = _by_name(known.names)

        def secret(value: Any) -> Any:
            if value is None or isinstance(value, bool) or value in ("", REDACTED):
                return value
            if found and str(value).lower() not in PLAIN_WORDS:
                found(str(value))
                if SCHEME.match(str(value)):
                    found(str(value).split(None, 1)[1])
            return REDACTED

        def in_text(string: str, documented: bool) -> str:
            return pattern.sub(lambda match: _replace(match, secret, documented), string) if pattern else string

        cleaned = {}
        for key, value in api.items():
            if key == "Authentication":
                cleaned[key] = dict.fromkeys(authentication_names(value), REDACTED)
                continue
            described = key in DOCUMENTED
            if key == "Documentation":
                value = _parse(value)
                value = _document(value, known.names, secret) if isinstance(value, dict) else value
            elif not described:
                value = _keys(value, known.names, secret)
            cleaned[key] = _walk(value, partial(in_text, documented=described))
        return cleaned


def _replace(match: re.Match[str], secret: Callable[[Any], Any], documented: bool) -> str:
    value = match["value"]
    quoted = match["q"] or (value[0] if value[0] in "\"'" and len(value) > 1 else "")
    inner = value[len(quoted) : len(value) - len(quoted)] if quoted else value
    described = documented and match["equals"] is None
    # `key: <your key>`, `key=${key from getDetails}` and a bare `key: The ...` hold no credential.
    bare_word = match["colon"] is not None and not quoted and not match["scheme"] and not re.search(r"\d", inner)
    if inner[:1] in ("$", "{", "[", "<", "") or inner == REDACTED or bare_word or (described and not _opaque(inner)):
        return match[0]
    if not quoted and match["json"] is not None and inner in ("null", "true", "false"):
        return match[0]
    unescaped = _parse(f'"{inner}"')
    secret(inner if unescaped == f'"{inner}"' else unescaped)
    if not quoted and match["json"] is not None:  # a number: `***` needs the quotes that it did not
        quoted = re.split(r"""(?<=["'])""", match["json"])[0]
    return f"{match['head']}{match['scheme'] or ''}{quoted}{REDACTED}{quoted}"


def _parse(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parsed = strict_json(value)
        return value if too_deep(parsed) else parsed
    except (ValueError, RecursionError):
        return value


def _walk(value: Any, text: Callable[[str], str], number: Callable[[Any], Any] = lambda value: value) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): _walk(item, text, number) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, text, number) for item in value]
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _keys(value: Any, names: set[str], secret: Callable[[Any], Any]) -> Any:
    """Replace the values of credential names in nested dicts, and those in a list under such a name."""

    def under(key: str, item: Any) -> Any:
        if isinstance(item, dict) or key.lower() not in names:
            return _keys(item, names, secret)
        return [under(key, part) for part in item] if isinstance(item, list) else secret(item)

    if isinstance(value, dict):
        return {key: under(key, item) for key, item in value.items()}
    return [_keys(item, names, secret) for item in value] if isinstance(value, list) else value


def without_example_keys(api: Api) -> Api:
    """The API, with `***` for the examples and defaults that its document gives for credentials."""
    names = {name.lower() for name in (*api.authentication, *credential_names(api.documentation))}
    names -= {"default"}  # as some generators name a scheme: a response is called so, too
    if not names:
        return api
    return replace(api, documentation=_document(api.documentation, names, lambda value: value and REDACTED))


def _document(value: Any, names: set[str], secret: Callable[[Any], Any], named: str = "") -> Any:
    """Replace credentials' examples and defaults in a document; a property `named` so by chance keeps its choices."""
    if isinstance(value, list):
        return [_document(item, names, secret, named) for item in value]
    if not isinstance(value, dict):
        return value
    named = "parameter" if str(value.get("name", "")).lower() in names else named
    cleaned = {}
    for key, item in value.items():
        if key in EXAMPLE_KEYS and named and not isinstance(item, dict):
            items = item if isinstance(item, list) else [item]
            if named == "property" and key in ("enum", "const") and not (len(items) == 1 and _opaque(str(items[0]))):
                cleaned[key] = item
                continue
            items = [_document(i, names, secret, named) if isinstance(i, dict | list) else secret(i) for i in items]
            cleaned[key] = items if isinstance(item, list) else items[0]
        elif key in EXAMPLE_KEYS:
            cleaned[key] = _document(_keys(item, names, secret), names, secret, named)
        else:
            own = "property" if isinstance(item, dict) and key.lower() in names else ""
            cleaned[key] = _document(item, names, secret, named or own)
    return cleaned
