"""Values of the formats that schemas name, and what longer ones are made of."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from .draws import Draws
from .words import ADJECTIVES, CITIES, FIRST_NAMES, LAST_NAMES, NOUNS

HEX = "0123456789abcdef"
DIGITS = "0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def day(draws: Draws) -> date:
    return date(2023, 1, 1) + timedelta(days=draws.integer(0, 729))


def moment(draws: Draws) -> str:
    return (datetime(2023, 1, 1) + timedelta(seconds=draws.integer(0, 730 * 86400))).isoformat() + "Z"


def clock(draws: Draws) -> str:
    return f"{draws.integer(0, 23):02}:{draws.integer(0, 11) * 5:02}"


def person(draws: Draws) -> str:
    return f"{draws.pick(FIRST_NAMES)} {draws.pick(LAST_NAMES)}"


def handle(draws: Draws) -> str:
    return f"{draws.pick(FIRST_NAMES).lower()}.{draws.pick(LAST_NAMES).lower()}{draws.integer(1, 99)}"


def title(draws: Draws) -> str:
    return f"The {draws.pick(ADJECTIVES).title()} {draws.pick(NOUNS).title()}"


def slug(draws: Draws) -> str:
    return f"{draws.pick(ADJECTIVES)}-{draws.pick(NOUNS)}"


def url(draws: Draws) -> str:
    return f"https://example.com/{slug(draws)}"


def image(draws: Draws) -> str:
    return f"https://images.example.com/{slug(draws)}.jpg"


def feed(draws: Draws) -> str:
    return f"https://feeds.example.com/{slug(draws)}.xml"


def ipv4(draws: Draws) -> str:
    return f"{draws.pick(('192.0.2', '198.51.100', '203.0.113'))}.{draws.integer(1, 254)}"


def uuid(draws: Draws) -> str:
    text = draws.text(HEX, 32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{draws.pick('89ab')}{text[17:20]}-{text[20:]}"


def topic(draws: Draws) -> str:
    return draws.pick(draws.topic or NOUNS)


def sentence(draws: Draws) -> str:
    return draws.pick(
        (
            f"A {draws.pick(ADJECTIVES)} {draws.pick(NOUNS)} from {draws.pick(CITIES)[0]}, chosen for {topic(draws)}.",
            f"A short note on {topic(draws)} with everything that matters.",
            f"Made for everyone who cares about {topic(draws)}, and updated in {draws.integer(2015, 2024)}.",
            f"An introduction to {topic(draws)} by {person(draws)}.",
        )
    )


def about(draws: Draws) -> str:
    """A fact."""
    return draws.pick(
        (
            f"The oldest known record of {topic(draws)} dates from {draws.integer(1650, 1900)}.",
            f"More than {draws.integer(2, 90)} studies of {topic(draws)} were published in {draws.integer(1990, 2023)}.",
            f"The largest collection on {topic(draws)} is kept in {draws.pick(CITIES)[0]}.",
            f"In {draws.integer(1950, 2020)} a museum of {topic(draws)} opened in {draws.pick(CITIES)[0]}.",
        )
    )


def quote(draws: Draws) -> str:
    return draws.pick(
        (
            f"Every {draws.pick(NOUNS)} begins with a {draws.pick(ADJECTIVES)} {draws.pick(NOUNS)}.",
            f"Do not count the {draws.pick(NOUNS)}s; learn from {topic(draws)}.",
            f"Be the {draws.pick(NOUNS)} that the {draws.pick(NOUNS)} is looking for.",
        )
    )


def joke(draws: Draws) -> str:
    return f"Why did the {draws.pick(NOUNS)} leave the {draws.pick(NOUNS)}? It had heard enough about {topic(draws)}."


def question(draws: Draws) -> str:
    return draws.pick(
        (
            f"What is known about {topic(draws)} in {draws.pick(CITIES)[0]}?",
            f"When did {person(draws)} first write about {topic(draws)}?",
        )
    )


def code(draws: Draws) -> str:
    return draws.text(CAPITALS, 3) + draws.text(DIGITS, 3)


FORMATS: dict[str, Callable[[Draws], str]] = {
    "date": lambda draws: day(draws).isoformat(),
    "date-time": moment,
    "datetime": moment,
    "time": lambda draws: clock(draws) + ":00Z",
    "duration": lambda draws: f"PT{draws.integer(1, 120)}M",
    "email": lambda draws: f"{handle(draws)}@example.com",
    "idn-email": lambda draws: f"{handle(draws)}@example.com",
    "hostname": lambda draws: f"{slug(draws)}.example.com",
    "idn-hostname": lambda draws: f"{slug(draws)}.example.com",
    "ipv4": ipv4,
    "ip": ipv4,
    "ipv6": lambda draws: "2001:db8::" + ":".join(draws.text(HEX, 4).lstrip("0") or "0" for _ in range(3)),
    "uri": url,
    "url": url,
    "iri": url,
    "uri-reference": url,
    "iri-reference": url,
    "uri-template": url,
    "uuid": uuid,
    "guid": uuid,
    "byte": lambda draws: draws.text(CAPITALS, 8),
    "binary": lambda draws: draws.text(CAPITALS, 8),
    "password": lambda draws: draws.text(CAPITALS + HEX, 12),
    "json-pointer": lambda draws: f"/{draws.pick(NOUNS)}",
    "relative-json-pointer": lambda draws: f"0/{draws.pick(NOUNS)}",
    "regex": lambda draws: f"^{draws.pick(NOUNS)}$",
    "google-datetime": moment,
    "google-duration": lambda draws: f"{draws.integer(1, 600)}s",
    "google-fieldmask": lambda draws: "name,description",
    "phone": lambda draws: f"+1-555-01{draws.text(DIGITS, 2)}",
}
"""Values of the formats that schemas name; addresses are those set aside for documentation."""
