"""Values fit the names of their fields: their forms are read by others than those that make them."""

import json
import re
import subprocess
import sys
from calendar import month_name
from datetime import date, datetime
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

import pytest

from toolalpaca_hf.openapi import to_json_schema
from toolalpaca_hf.simulator import WORDS, Generator, Given, Rng, kind_of, singular
from toolalpaca_hf.simulator.fake_values import FORMATS, TEXTS

ISO_COUNTRIES = set("AU BR CA CN DE DK EG ES FI FR GB GR IE IN IT JP KE KR MX NG NL NO NZ PL PT SE TR US ZA".split())
ISO_LANGUAGES = set("ar de en es fi fr hi it ja ko nl pl pt ru sv tr zh".split())
ISO_CURRENCIES = set("AUD BRL CAD CHF CNY DKK EUR GBP INR JPY MXN NOK NZD PLN SEK USD ZAR".split())


def made(fields: dict[str, dict[str, Any]], seed: int = 0, topic: tuple[str, ...] = ()) -> Any:
    schema = {"type": "object", "properties": fields}
    return Generator(to_json_schema({}, schema))(Rng("test", seed, topic=topic))


def is_month(value: str) -> bool:
    return value in list(month_name)[1:]


def is_url(value: str) -> bool:
    return urlsplit(value).scheme in ("http", "https") and bool(urlsplit(value).netloc)


def is_moment(value: str) -> bool:
    return datetime.fromisoformat(value).tzinfo is not None


def is_isbn(value: str) -> bool:
    return len(value) == 13 and sum(int(d) * (3 if n % 2 else 1) for n, d in enumerate(value)) % 10 == 0


FORMS = [
    (("fromMonth", "to_month", "month-name"), is_month),
    (("birthDate", "date_of_birth", "releaseDate", "dates", "endDate"), date.fromisoformat),
    (("created_at", "createdOn", "lastUpdated", "startTime", "expires_at", "timestamp"), is_moment),
    (("sunrise", "openingTime"), lambda value: datetime.strptime(value, "%H:%M")),
    (("home_url", "websites", "html-url", "pictureurl", "profileImage"), is_url),
    (("country_code", "countryCode"), ISO_COUNTRIES.__contains__),
    (("languageCode", "lang", "locale"), ISO_LANGUAGES.__contains__),
    (("currency", "base_currency", "currencyCodes"), ISO_CURRENCIES.__contains__),
    (("timeZone", "timezone", "tz"), available_timezones().__contains__),
    (("lat", "startLatitude"), lambda value: -90 <= float(value) <= 90),
    (("lng", "end_longitude"), lambda value: -180 <= float(value) <= 180),
    (("clientIp", "ip_address", "ipv6", "ipv4"), ip_address),
    (("cities", "home_city", "city2"), {name for name, *_ in WORDS["cities"]}.__contains__),
    (("md5", "sha256"), lambda value: int(value, 16) > 0),
    (("calories", "altitude", "marketCap"), lambda value: int(value) >= 0),
    (("cidrBlock",), ip_network),
    (("contactEmail", "e-mail", "emails"), lambda value: re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", value)),
    (("mobile_number", "faxNumber", "phone"), lambda value: re.fullmatch(r"\+[\d-]{7,20}", value)),
    (("mimeType", "content_type"), lambda value: re.fullmatch(r"(image|text|application)/[\w.+-]+", value)),
    (("isbn", "isbn13"), is_isbn),
    (("hexCode",), lambda value: re.fullmatch(r"#[0-9a-f]{6}", value)),
    (("app_version",), lambda value: re.fullmatch(r"\d+\.\d+\.\d+", value)),
    (("commitSha", "file_hash"), lambda value: len(value) == 40 and int(value, 16) % 16**8 > 0),
    (("resourceUuid", "guid"), lambda value: UUID(value).version == 4),
    (("strMeasure13",), lambda value: re.fullmatch(r"\d+ [a-z]+", value)),
    (("hostName", "domain", "fqdn"), lambda value: re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", value)),
    (("comment_count", "fileSizeBytes", "numPages", "number_of_hosts"), lambda value: int(value) >= 0),
    (("humidity_percent",), lambda value: 0 <= float(value) <= 100),
    (("isActive", "has_children", "visible"), ("true", "false").__contains__),
    (("dayOfWeek", "weekday"), lambda value: datetime.strptime(value, "%A")),
    (("firstName", "last_name", "colour", "day"), str.isalpha),
    (("description", "longDescription", "fact", "joke", "error_message"), lambda s: " " in s and s[-1] in ".?"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fits"), [(name, fits) for names, fits in FORMS for name in names])
def test_texts_have_the_form_of_their_names(name: str, fits: Any) -> None:
    for seed in range(8):
        assert fits(made({name: {"type": "string"}}, seed)[name])


RANGES = {
    "lat": (-90, 90), "longitude": (-180, 180), "month": (1, 12), "birthDay": (1, 31), "hour": (0, 23),
    "releaseYear": (1900, 2100), "discountPercent": (0, 100), "confidence": (0, 1), "port": (1, 65535),
    "createdAt": (10**9, 2 * 10**9), "red": (0, 255), "max_results": (1, 10**4), "file_size": (1, 10**9),
    "response_code": (100, 599), "nanos": (0, 10**9 - 1), "windSpeed": (0, 300), "utc_offset": (-12, 14),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_numbers_lie_where_their_names_say(name: str) -> None:
    least, most = RANGES[name]
    for seed in range(20):
        for kind in ("number", "integer"):
            assert least <= made({name: {"type": kind}}, seed)[name] <= most


DESCRIBED = [
    ("starts", "Format: YYYY-MM-DD", date.fromisoformat),
    ("seenWhen", "RFC 3339 timestamp of the last visit", is_moment),
    ("ctry", "Two letters of ISO 3166", ISO_COUNTRIES.__contains__),
    ("fb", "URL of the page", is_url),
    ("dateExpiring", "The expiration date of the link, if any.", date.fromisoformat),
    ("flavour", "How it tastes, e.g. 'salty' or 'sweet'", "salty".__eq__),
    ("ward", "Required. Format: `homes/{home}/wards/{ward}`", lambda v: re.fullmatch(r"homes/[\w-]+/wards/[\w-]+", v)),
    ("message", "An error message for developers.", lambda value: "success" not in value),
]


@pytest.mark.parametrize(("name", "description", "fits"), DESCRIBED)
def test_descriptions_say_more(name: str, description: str, fits: Any) -> None:
    for seed in range(8):
        assert fits(made({name: {"type": "string", "description": description}}, seed)[name])


def test_every_row_of_the_tables_can_be_made() -> None:
    for end, (kind, make) in {**TEXTS, **{name: (name, make) for name, make in FORMATS.items()}}.items():
        texts = {make(Rng(end, seed)) for seed in range(5)}
        assert all(text and not re.search(r"\{\w", text) for text in texts), (kind, texts)


def test_a_name_that_says_nothing_gets_a_few_words() -> None:
    for name in ("frobnication", "x", "habitat", "proxies", "émile"):
        for seed in range(8):
            value = made({name: {"type": "string"}}, seed)[name]
            assert len(value.split()) <= 2 and not value.endswith(".")
    assert kind_of("frobnication") is None and kind_of("candidate") is None and kind_of("update") is None


def test_texts_fit_their_lengths_without_being_cut() -> None:
    for seed in range(20):
        value = made({"month": {"type": "string", "maxLength": 2}}, seed)["month"]
        assert 1 <= int(value) <= 12
        assert date.fromisoformat(made({"date": {"type": "string", "maxLength": 10}}, seed)["date"])
        assert int(made({"total": {"type": "string", "format": "int64"}}, seed)["total"]) > 0


PAIRS = [("fromMonth", "toMonth"), ("startDate", "endDate"), ("start_time", "end_time"), ("createdFrom", "createdTo")]


def test_values_of_one_object_agree() -> None:
    fields = {name: {"type": "string", "description": name} for pair in PAIRS for name in reversed(pair)}
    fields |= {name: {"type": "number"} for name in ("maxPrice", "minPrice", "temp_max", "temp_min")}
    places = {name: {"type": "string"} for name in ("city", "country", "countryCode", "state")}
    homes = {"Lisbon": ("Portugal", "PT"), "Kyoto": ("Japan", "JP"), "Denver": ("United States", "US")}
    seen = set()
    for seed in range(60):
        value = made(fields, seed)
        months = list(month_name)
        assert months.index(value["fromMonth"]) <= months.index(value["toMonth"])
        assert all(value[low] <= value[high] for low, high in PAIRS[1:])
        assert value["minPrice"] <= value["maxPrice"] and value["temp_min"] <= value["temp_max"]
        place = made(places, seed)
        if place["city"] in homes:
            seen.add(place["city"])
            assert (place["country"], place["countryCode"]) == homes[place["city"]]
            assert place["state"] not in ("active", "pending", "completed")
    assert seen == set(homes)


def test_what_is_given_or_shown_is_not_made_to_agree() -> None:
    fields = {"minPrice": {"type": "number"}, "maxPrice": {"type": "number"}, "city": {"type": "string"}}
    fields["country"] = {"type": "string", "example": "Atlantis"}
    make = Generator(to_json_schema({}, {"type": "object", "properties": fields}))
    for seed in range(20):
        value = make(Rng(seed), Given(arguments={"minprice": 1e9}))
        assert value["minPrice"] == 1e9 and value["maxPrice"] < 1e9 and value["country"] == "Atlantis"


def test_facts_are_about_the_topic() -> None:
    values = [made({"fact": {"type": "string"}}, seed, ("axolotl",))["fact"] for seed in range(20)]
    assert all("axolotl" in value for value in values) and len(set(values)) > 10


def test_the_same_in_every_process() -> None:
    code = (
        "import json; from toolalpaca_hf.simulator import Generator, Rng; "
        f"names = {[n for n, _ in FORMS]!r}; "
        "schema = {'type': 'object', 'properties': {n: {'type': 'string'} for n in names}}; "
        "print(json.dumps([Generator(schema)(Rng('x', n, topic=('a', 'b'))) for n in range(3)]))"
    ).replace(repr([n for n, _ in FORMS]), repr([name for names, _ in FORMS for name in names]))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(outputs) == 1 and len({json.dumps(value) for value in json.loads(outputs.pop())}) == 3


def test_plurals() -> None:
    plurals = {"cities": "city", "countries": "country", "movies": "movie", "series": "series", "species": "species"}
    assert {word: singular(word) for word in plurals} == plurals
