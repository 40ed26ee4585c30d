"""Plausible values for fields, from their names."""

from collections.abc import Callable
from functools import lru_cache

from .draws import Draws
from .formats import (
    DIGITS,
    FORMATS,
    HEX,
    clock,
    code,
    feed,
    handle,
    image,
    ipv4,
    moment,
    person,
    sentence,
    title,
    url,
    uuid,
)
from .names import singular, words_of
from .words import (
    CITIES,
    COMPANIES,
    COUNTRIES,
    CURRENCIES,
    FIRST_NAMES,
    GENRES,
    LANGUAGES,
    LAST_NAMES,
    STREETS,
    TAGS,
    ZONES,
)

# By the last words of a field's name; the longest match wins.
TEXTS: dict[str, Callable[[Draws], str]] = {
    "name": title,
    "first name": lambda draws: draws.pick(FIRST_NAMES),
    "last name": lambda draws: draws.pick(LAST_NAMES),
    "full name": person,
    "display name": person,
    "character name": person,
    "user name": handle,
    "username": handle,
    "author": person,
    "owner": person,
    "artist": person,
    "player": handle,
    "user": handle,
    "users": handle,
    "payee": lambda draws: draws.pick(COMPANIES),
    "company": lambda draws: draws.pick(COMPANIES),
    "company name": lambda draws: draws.pick(COMPANIES),
    "organization": lambda draws: draws.pick(COMPANIES),
    "organization name": lambda draws: draws.pick(COMPANIES),
    "org": lambda draws: draws.pick(COMPANIES),
    "provider": lambda draws: draws.pick(COMPANIES),
    "city": lambda draws: draws.pick(CITIES)[0],
    "station": lambda draws: f"{draws.pick(CITIES)[0]} Central",
    "station name": lambda draws: f"{draws.pick(CITIES)[0]} Central",
    "stop name": lambda draws: f"{draws.pick(STREETS)} Station",
    "destination": lambda draws: draws.pick(CITIES)[0],
    "origin": lambda draws: draws.pick(CITIES)[0],
    "location": lambda draws: draws.pick(CITIES)[0],
    "place": lambda draws: draws.pick(CITIES)[0],
    "region": lambda draws: draws.pick(CITIES)[1],
    "state": lambda draws: draws.pick(CITIES)[1],
    "province": lambda draws: draws.pick(CITIES)[1],
    "country": lambda draws: draws.pick(COUNTRIES)[0],
    "country name": lambda draws: draws.pick(COUNTRIES)[0],
    "country code": lambda draws: draws.pick(COUNTRIES)[1],
    "address": lambda draws: f"{draws.integer(1, 999)} {draws.pick(STREETS)}",
    "street": lambda draws: f"{draws.integer(1, 999)} {draws.pick(STREETS)}",
    "line1": lambda draws: f"{draws.integer(1, 999)} {draws.pick(STREETS)}",
    "line2": lambda draws: f"Apt {draws.integer(1, 40)}",
    "road": lambda draws: draws.pick(STREETS),
    "house number": lambda draws: str(draws.integer(1, 200)),
    "zip": lambda draws: draws.text(DIGITS[1:], 5),
    "zip code": lambda draws: draws.text(DIGITS[1:], 5),
    "postcode": lambda draws: draws.text(DIGITS[1:], 5),
    "postal code": lambda draws: draws.text(DIGITS[1:], 5),
    "latitude": lambda draws: f"{draws.number(-60, 70):.4f}",
    "longitude": lambda draws: f"{draws.number(-180, 180):.4f}",
    "timezone": lambda draws: draws.pick(ZONES),
    "time zone": lambda draws: draws.pick(ZONES),
    "language": lambda draws: draws.pick(LANGUAGES)[0],
    "language name": lambda draws: draws.pick(LANGUAGES)[0],
    "language code": lambda draws: draws.pick(LANGUAGES)[1],
    "lang": lambda draws: draws.pick(LANGUAGES)[1],
    "locale": lambda draws: draws.pick(LANGUAGES)[1],
    "currency": lambda draws: draws.pick(CURRENCIES),
    "symbol": lambda draws: draws.pick(CURRENCIES),
    "currency pair": lambda draws: f"{draws.pick(CURRENCIES[:4])}/{draws.pick(CURRENCIES[4:])}",
    "price": lambda draws: f"{draws.number(1, 200):.2f}",
    "salary": lambda draws: f"{draws.integer(30, 120)},000",
    "email": FORMATS["email"],
    "mail": FORMATS["email"],
    "phone": FORMATS["phone"],
    "phone number": FORMATS["phone"],
    "url": url,
    "uri": url,
    "link": url,
    "website": url,
    "trailer": url,
    "endpoint": url,
    "feed url": feed,
    "short url": lambda draws: f"https://sho.rt/{draws.text(HEX, 6)}",
    "image": image,
    "image url": image,
    "icon": image,
    "icon url": image,
    "avatar url": image,
    "logo": image,
    "photo": image,
    "photos": image,
    "picture": image,
    "thumbnail": image,
    "cover": image,
    "domain": FORMATS["hostname"],
    "domain name": FORMATS["hostname"],
    "host": FORMATS["hostname"],
    "hostname": FORMATS["hostname"],
    "ip": ipv4,
    "ip address": ipv4,
    "uuid": uuid,
    "guid": uuid,
    "hash": lambda draws: "0x" + draws.text(HEX, 40),
    "token": lambda draws: draws.text(HEX, 32),
    "key": lambda draws: draws.text(HEX, 24),
    "password": FORMATS["password"],
    "date": FORMATS["date"],
    "day": lambda draws: draws.pick(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")),
    "day of week": lambda draws: draws.pick(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")),
    "time": clock,
    "timestamp": moment,
    "created": moment,
    "updated": moment,
    "published": moment,
    "at": moment,
    "duration": lambda draws: f"{draws.integer(20, 150)} min",
    "year": lambda draws: str(draws.integer(1990, 2025)),
    "title": title,
    "status": lambda draws: draws.pick(("active", "pending", "completed")),
    "type": lambda draws: draws.pick(("standard", "premium", "basic")),
    "kind": lambda draws: draws.pick(("standard", "premium", "basic")),
    "level": lambda draws: draws.pick(("low", "medium", "high")),
    "size": lambda draws: draws.pick(("small", "medium", "large")),
    "gender": lambda draws: draws.pick(("female", "male")),
    "color": lambda draws: draws.pick(("red", "green", "blue", "white", "black")),
    "colors": lambda draws: draws.pick(("red", "green", "blue", "white", "black")),
    "role": lambda draws: draws.pick(("admin", "editor", "viewer")),
    "role name": lambda draws: draws.pick(("Admin", "Editor", "Viewer")),
    "format": lambda draws: draws.pick(("json", "png", "csv")),
    "version": lambda draws: f"{draws.integer(1, 5)}.{draws.integer(0, 9)}.{draws.integer(0, 9)}",
    "genre": lambda draws: draws.pick(GENRES),
    "genres": lambda draws: draws.pick(GENRES),
    "category": lambda draws: draws.pick(TAGS),
    "categories": lambda draws: draws.pick(TAGS),
    "tag": lambda draws: draws.pick(TAGS),
    "tags": lambda draws: draws.pick(TAGS),
    "code": code,
    "method": lambda draws: draws.pick(("GET", "POST")),
    "methods": lambda draws: draws.pick(("GET", "POST")),
    "discriminator": lambda draws: draws.text(DIGITS, 4),
    "id": lambda draws: draws.text(HEX, 12),
    "ids": lambda draws: draws.text(HEX, 12),
}

# Least and greatest, and the digits after the point; by the last word of a field's name.
NUMBERS: dict[str, tuple[float, float, int]] = {
    "latitude": (-60, 70, 4),
    "lat": (-60, 70, 4),
    "longitude": (-180, 180, 4),
    "lon": (-180, 180, 4),
    "lng": (-180, 180, 4),
    "price": (5, 200, 2),
    "cost": (5, 200, 2),
    "amount": (5, 500, 2),
    "total": (3, 200, 2),
    "count": (1, 50, 0),
    "rate": (0.5, 1.5, 4),
    "open": (1, 2, 4),
    "high": (2, 3, 4),
    "low": (0.5, 1, 4),
    "close": (1, 2, 4),
    "bid": (1, 1.5, 4),
    "ask": (1.5, 2, 4),
    "volume": (1000, 100000, 0),
    "percentage": (0, 100, 1),
    "percent": (0, 100, 1),
    "humidity": (20, 95, 0),
    "temperature": (-5, 35, 1),
    "celsius": (-5, 35, 1),
    "fahrenheit": (20, 95, 1),
    "pressure": (980, 1040, 0),
    "speed": (5, 120, 1),
    "distance": (1, 500, 1),
    "weight": (1, 100, 1),
    "rating": (1, 5, 1),
    "score": (0, 100, 0),
    "age": (18, 80, 0),
    "year": (1990, 2025, 0),
    "month": (1, 12, 0),
    "day": (1, 28, 0),
    "hour": (0, 23, 0),
    "minutes": (1, 59, 0),
    "duration": (10, 180, 0),
    "page": (1, 1, 0),
    "pages": (1, 10, 0),
    "quantity": (1, 10, 0),
    "stock": (0, 100, 0),
    "rank": (1, 100, 0),
    "level": (1, 99, 0),
    "timestamp": (1672531200, 1735603200, 0),
    "in": (3600, 3600, 0),  # expires in
    "port": (1024, 65535, 0),
    "id": (1, 9999, 0),
    "number": (1, 999, 0),
}


def _ending(words: tuple[str, ...], table: dict[str, object]) -> str | None:
    """The longest end of a name that the table knows."""
    for start in range(max(0, len(words) - 3), len(words)):
        end = " ".join(words[start:])
        if end in table:
            return end
    return None


@lru_cache(maxsize=65536)
def _text_maker(name: str) -> Callable[[Draws], str]:
    words = words_of(name)
    end = _ending(words, TEXTS)
    if end is None and words:
        end = _ending((*words[:-1], singular(words[-1])), TEXTS)
    # A name of somebody is a person's; other names are titles.
    if end == "name" and set(words) & {"user", "person", "customer", "contact", "actor", "member", "employee"}:
        return person
    return TEXTS[end] if end else sentence


def plausible_text(name: str, draws: Draws) -> str:
    """A text that a field of this name may hold; a sentence where the name says nothing.

    Example:

    ```python
    >>> plausible_text("homeCity", Draws(1))
    'Recife'
    ```
    """
    return _text_maker(name)(draws)


@lru_cache(maxsize=65536)
def plausible_range(name: str) -> tuple[float, float, int]:
    """Least and greatest value of a number of this name, and its digits after the point.

    Example:

    ```python
    >>> plausible_range("start_latitude")
    (-60, 70, 4)
    ```
    """
    end = _ending(words_of(name)[-1:], NUMBERS)
    return NUMBERS[end] if end else (1, 100, 0)
