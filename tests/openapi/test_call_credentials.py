import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.openapi import ApiRequest, Credentials, credential_names, load_credentials


def values(credentials: Credentials) -> dict[str, str]:
    """What each of its names sends, read off a request."""
    return {
        name: credentials.inject(ApiRequest("GET", "https://x.example/", credentials=(("header", name),))).headers[
            name
        ]
        for name in credentials.names
    }


def test_a_file_names_parameters_with_or_without_the_api(tmp_path: Path) -> None:
    file = tmp_path / "keys.env"
    file.write_text(
        "# keys\n\naccess_key=plain-1\nexport WOLFRAMALPHA_APPID = 'with spaces'\n"
        'APILAYER_WEATHERSTACK_ACCESS_KEY="own=2"\n'
    )
    assert values(load_credentials("apilayer weatherstack", ["access_key"], file, {})) == {"access_key": "own=2"}
    assert values(load_credentials("apilayer fixer", ["access_key"], file, {})) == {"access_key": "plain-1"}
    assert values(load_credentials("WolframAlpha", ["appid", "access_key"], file, {})) == {
        "appid": "with spaces",
        "access_key": "plain-1",
    }
    assert values(load_credentials("Tides", ["appid", "key"], file, {})) == {}


def test_the_environment_names_the_api() -> None:
    environ = {
        "API_KEY": "of another program",
        "CURRENCYBEACON_API_KEY": "invented-1",
        "AMETHYSTE_TOKEN": "invented-2",
    }
    assert values(load_credentials("CurrencyBeacon", ["api_key"], environ=environ)) == {"api_key": "invented-1"}
    assert values(load_credentials("Améthyste", ["token"], environ=environ)) == {"token": "invented-2"}
    assert values(load_credentials("Tides", ["api_key"], environ=environ)) == {}


def test_the_file_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "keys.env").write_text("key=file-value")
    credentials = load_credentials("Tides", ["key"], tmp_path / "keys.env", {"TIDES_KEY": "environment"})
    assert values(credentials) == {"key": "file-value"}


@pytest.mark.parametrize(
    "content",
    [b"key invented-secret", b"=invented-secret", b"\xff\xfekey=invented-secret", b"key=a\x01invented-secret"],
)
def test_a_broken_file_is_told_without_its_values(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.env").write_bytes(content)
    with pytest.raises(ToolAlpacaError) as error:
        load_credentials("Tides", ["key"], tmp_path / "keys.env", {})
    assert "invented" not in str(error.value) and "key" in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolAlpacaError, match=r"none\.env"):
        load_credentials("Tides", ["key"], tmp_path / "none.env", {})


@pytest.mark.parametrize("value", ["", "  ", "a\r\nX: 1", "a\x00"])
def test_a_value_that_can_not_be_sent_is_refused(value: str) -> None:
    with pytest.raises(ToolAlpacaError, match="key"):
        Credentials({"key": value})


def test_every_place() -> None:
    credentials = Credentials({"k": "a/b c"})
    bare = ApiRequest("POST", "https://x.example/{k}?q=1", {"Cookie": "a=1"}, body={"n": 1})

    def put(where: str, url: str = bare.url) -> ApiRequest:
        return credentials.inject(ApiRequest("POST", url, bare.headers, bare.body, credentials=((where, "k"),)))

    assert put("query").url == "https://x.example/{k}?q=1&k=a%2Fb%20c"
    assert put("query", "https://x.example/").url == "https://x.example/?k=a%2Fb%20c"
    assert put("path").url == "https://x.example/a%2Fb%20c?q=1"
    assert put("header").headers == {"Cookie": "a=1", "k": "a/b c"}
    assert put("cookie").headers == {"Cookie": "a=1; k=a/b c"}
    assert put("bearer").headers["Authorization"] == "Bearer a/b c"
    assert put("body").body == {"n": 1, "k": "a/b c"}
    assert bare == ApiRequest("POST", "https://x.example/{k}?q=1", {"Cookie": "a=1"}, body={"n": 1})


def test_basic_and_bearer_take_what_people_have() -> None:
    def header(where: str, value: str) -> str:
        request = ApiRequest("GET", "https://x.example/", credentials=((where, "k"),))
        return Credentials({"k": value}).inject(request).headers["Authorization"]

    assert header("basic", "user:word") == "Basic dXNlcjp3b3Jk"
    assert header("basic", "dXNlcjp3b3Jk") == "Basic dXNlcjp3b3Jk"
    assert header("bearer", "Bearer abc") == "Bearer abc"


def test_the_password_alone_is_taken_out_too() -> None:
    credentials = Credentials({"auth": "user:invented-word", "token": "Bearer invented-token"})
    assert credentials.redact("bad invented-word or invented-token for user") == "bad *** or *** for user"


def test_short_values_are_taken_out_as_words_only() -> None:
    credentials = Credentials({"pin": "42"})
    assert credentials.redact("pin=42, year 2042, [42]") == "pin=***, year 2042, [***]"


@given(
    st.text(
        st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_characters="\x7f\xa0"), min_size=6, max_size=20
    ).filter(lambda t: t.strip() == t and not any(c.isspace() or not c.isprintable() for c in t))
)
def test_whatever_the_value_its_usual_forms_are_taken_out(value: str) -> None:
    credentials = Credentials({"key": value})
    raw = value.encode()
    for form in (
        value,
        quote(value),
        quote(value, safe=""),
        json.dumps(value),
        base64.b64encode(raw).decode(),
        value.replace("/", "\\/"),
    ):
        left = credentials.redact(f"<{form}>")
        assert left in ("<***>", '<"***">')
        assert value.encode() not in credentials.redact_bytes(b"\x00" + raw + b"\xff")


def test_credential_names_of_a_document() -> None:
    schemes = {
        "a": {"type": "apiKey", "in": "query", "name": "key"},
        "b": {"type": "http"},
        "c": {"type": "apiKey"},
        "d": 3,
    }
    assert credential_names({"components": {"securitySchemes": schemes}}) == ["key", "b", "d"]
    assert credential_names({"components": []}) == []
