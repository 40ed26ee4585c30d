import socket
from typing import Any

import pytest

from toolalpaca_hf.openapi import AddressError, Allowlist, allowed_hosts, servers_of
from toolalpaca_hf.openapi.safety import is_public, origin_of, resolve_host

INSIDE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.8.8.8 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9
224.0.0.1 239.255.255.250
240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1
64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 2002:a00:1:: 3fff::1 5f00::1
fc00::1 fd12:3456::1 fe80::1 fe80::1%lo fec0::1 ff02::1 ff0e::1
""".split()
OUTSIDE = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.1 169.253.255.255
169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
2606:4700:4700::1111 2a00:1450:4001:830::200e
""".split()


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_outside(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "017700000001", "localhost", "0", "[::1]", "::1"])
def test_other_spellings_of_loopback_are_seen_through(host: str) -> None:
    with pytest.raises(AddressError, match="private network"):
        resolve_host(host.strip("[]"), 80, Allowlist(frozenset({host})))


def test_one_inside_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(AddressError):
        resolve_host("cats.example", 443, Allowlist(frozenset({"cats.example"})))
    assert resolve_host("cats.example", 443, Allowlist(frozenset(), frozenset({"cats.example"}))) == [
        "8.8.8.8",
        "10.0.0.1",
    ]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.cats.example/v1/x", True),
        ("https://API.Cats.example./x", True),
        ("https://api.cats.example:443/", True),
        ("https://api.cats.example:8443/", False),
        ("http://api.cats.example/", False),
        ("https://cats.example/", False),
        ("https://api.cats.example.evil.example/", False),
        ("https://api.cats.example@evil.example/", False),
        ("https://evil.example#api.cats.example", False),
        ("https://evil.example\\@api.cats.example/", False),
        ("ftp://api.cats.example/", False),
        ("http://dogs.example/", True),
        ("https://dogs.example/", True),
        ("https://bücher.example/", True),
        ("https://xn--bcher-kva.example/", True),
        ("", False),
    ],
)
def test_only_the_servers_of_the_document(url: str, allowed: bool) -> None:
    urls = ("https://api.cats.example/v1", "http://dogs.example", "https://bücher.example")
    hosts = allowed_hosts({"servers": [{"url": server} for server in urls]})
    if allowed:
        hosts.check(url)
    else:
        with pytest.raises(AddressError):
            hosts.check(url)


def test_an_explicit_list_stands_in_place_of_the_servers() -> None:
    document = {"servers": [{"url": "https://cats.example"}]}
    hosts = allowed_hosts(document, hosts=["Dogs.example", "[2606::1]:8080"], private=["localhost:5678"])
    for url in ("https://dogs.example:99/", "http://[2606::1]:8080/", "http://localhost:5678/x"):
        hosts.check(url)
    for url in ("https://cats.example/", "http://[2606::1]/", "http://localhost/"):
        with pytest.raises(AddressError):
            hosts.check(url)
    assert hosts.may_be_private("localhost", 5678)
    assert not hosts.may_be_private("localhost", 80) and not hosts.may_be_private("dogs.example", 99)


@pytest.mark.parametrize(
    "servers", [None, [], {}, "https://cats.example", [1], [{}], [{"url": 3}], [{"url": "/v1"}], [{"url": "http://["}]]
)
def test_a_document_without_servers_allows_none(servers: Any) -> None:
    document = {} if servers is None else {"servers": servers}
    assert servers_of(document) == [] and allowed_hosts(document) == Allowlist(frozenset())


def test_servers_are_made_whole() -> None:
    servers = [
        {
            "url": "https://{region}.cats.example:{port}/v1",
            "variables": {"region": {"default": "eu"}, "port": {"default": 8443}},
        },
        {"url": "https://{region}.birds.example", "variables": {"region": {"enum": ["us", "eu"]}}},
        {"url": " ../v2\n"},
        {"url": "//dogs.example/x"},
    ]
    assert servers_of({"servers": servers}, "https://cats.example/docs/openapi.json") == [
        "https://eu.cats.example:8443/v1",
        "https://us.birds.example",
        "https://cats.example/v2",
        "https://dogs.example/x",
    ]


def test_a_server_with_a_variable_that_nothing_fills_comes_last_and_is_not_allowed() -> None:
    variables = {"a": {"description": "no default"}, "b": {"default": None, "enum": ["eu"]}, "c": {"default": True}}
    urls = (
        "https://{a}.cats.example",
        "https://cats.example:{port}",
        "https://{b}.cats.example/{c}",
        "{{base}}/v1",
    )
    document = {"servers": [{"url": url, "variables": variables} for url in urls]}
    assert servers_of(document) == ["https://eu.cats.example/true", urls[0], urls[1], urls[3]]
    assert allowed_hosts(document).names == {"eu.cats.example:443"}


def test_origins() -> None:
    assert origin_of("http://[::1]:8080/x") == ("http", "::1", 8080)
    for url in ("http://cats.example:99999/", "http://:80/", "mailto:a@b", "http://a b/", "http://user@cats.example/"):
        with pytest.raises(AddressError):
            origin_of(url)


def test_a_server_without_a_scheme_is_called_by_https() -> None:
    servers = {"servers": [{"url": "//api.example/v1"}, {"url": "/v2"}]}
    assert servers_of(servers) == ["https://api.example/v1"]
    assert servers_of(servers, "http://a.example/x.json") == ["http://api.example/v1", "http://a.example/v2"]
