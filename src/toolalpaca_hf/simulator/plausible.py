"""Plausible values for fields, from their names and their descriptions."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from .draws import Draws
from .kinds import TEXT_KINDS, Maker
from .names import singular, words_of
from .words import ADJECTIVES, CITIES, COUNTRIES, MONTHS, NOUNS, WEEKDAYS

# Least and greatest, the digits after the point, and the ends of names; the longest end that is known decides.
NUMBER_KINDS: tuple[tuple[str, float, float, int, str], ...] = (
    ("latitude", -60, 70, 4, "latitude lat"),
    ("longitude", -180, 180, 4, "longitude lon lng long"),
    ("price", 5, 200, 2, "price cost amount fee value balance tax discount revenue income spend payment subtotal budget"),
    ("cents", 100, 20000, 0, "cents amount_cents price_cents micros"),
    ("total", 3, 200, 0, "total"),
    ("count", 1, 50, 0, "count size limit quantity qty num likes views comments followers results items replies shares "
     "downloads votes attempts retries members users points wins losses goals games players forks stars seats bedrooms rooms "
     "matches copies nodes rows errors clicks impressions sales stock passengers episodes seasons replicas cores cpus"),
    ("rate", 0.5, 1.5, 4, "rate multiplier factor bid_modifier odds"),
    ("open", 1, 2, 4, "open"), ("high", 2, 3, 4, "high"), ("low", 0.5, 1, 4, "low"), ("close", 1, 2, 4, "close"),
    ("bid", 1, 1.5, 4, "bid"), ("ask", 1.5, 2, 4, "ask"),
    ("volume", 1000, 100000, 0, "volume population area capacity"),
    ("percentage", 0, 100, 1, "percentage percent pct progress accuracy cloud_cover clouds humidity"),
    ("fraction", 0, 1, 3, "ratio fraction probability confidence alpha boost similarity threshold opacity top_p share weighting "
     "confidence_score relevance_score"),
    ("color channel", 0, 255, 0, "red green blue"),
    ("temperature", -5, 35, 1, "temperature celsius temp dewpoint feels_like"),
    ("fahrenheit", 20, 95, 1, "fahrenheit temp_f"),
    ("pressure", 980, 1040, 0, "pressure"),
    ("speed", 5, 120, 1, "speed velocity gust wind kph mph"),
    ("distance", 1, 500, 1, "distance radius km miles meters depth visibility"),
    ("weight", 1, 100, 1, "weight mass kg grams"),
    ("length", 10, 250, 1, "height length cm altitude elevation"),
    ("pixels", 100, 1920, 0, "width px image_height image_width x y resolution"),
    ("rating", 1, 5, 1, "rating stars_average vote_average average_rating"),
    ("score", 0, 100, 0, "score priority popularity aqi index_score"),
    ("age", 18, 80, 0, "age"),
    ("year", 1990, 2025, 0, "year founded"),
    ("month", 1, 12, 0, "month months"), ("day", 1, 28, 0, "day days"), ("hour", 0, 23, 0, "hour hours"),
    ("minutes", 1, 59, 0, "minutes minute mins min_duration"),
    ("seconds", 1, 59, 0, "seconds second sec secs"),
    ("duration", 10, 180, 0, "duration runtime timeout ttl travel_time cook_time prep_time"),
    ("milliseconds", 5, 5000, 0, "ms millis milliseconds latency duration_ms"),
    ("nanoseconds", 0, 999999999, 0, "nanos nanoseconds"),
    ("bytes", 1024, 50_000_000, 0, "bytes file_size filesize size_bytes content_length size_in_bytes"),
    ("gigabytes", 1, 512, 0, "gb gib mb mib size_gb memory"),
    ("page", 1, 1, 0, "page"), ("prefix length", 8, 32, 0, "prefix_length ip_prefix_length"),
    ("pages", 1, 10, 0, "pages total_pages page_count"),
    ("index", 0, 20, 0, "index offset position order row column start_index end_index sequence seed"),
    ("rank", 1, 100, 0, "rank ranking place"), ("level", 1, 99, 0, "level"),
    ("offset", -12, 12, 0, "utc_offset gmt_offset timezone"),
    ("status code", 200, 200, 0, "status status_code response_code http_status code"),
    ("exit code", 0, 0, 0, "exit_code error_code"),
    ("timestamp", 1672531200, 1735603200, 0, "timestamp at date time created updated datetime published expires epoch "
     "expiration expiry since until modified dt sunrise sunset"),
    ("lifetime", 3600, 3600, 0, "expires_in in max_age"),
    ("port", 1024, 65535, 0, "port"), ("version", 1, 9, 0, "version revision generation"),
    ("id", 1, 9999, 0, "id ids"), ("number", 1, 999, 0, "number"),
)  # fmt: skip

TEXTS: dict[str, tuple[str, Maker]] = {
    end: (kind, maker) for kind, maker, ends in TEXT_KINDS for end in ends.split("; ")
}
NUMBERS: dict[str, tuple[str, float, float, int]] = {
    end.replace("_", " "): (kind, low, high, digits)
    for kind, low, high, digits, ends in NUMBER_KINDS
    for end in ends.split()
}
GLUED = {end.replace(" ", ""): end for end in TEXTS if " " in end}
# Ends of one written word whose beginning says the rest: `pictureurl`, `lastname`.
GLUED_ENDS = ("datetime", "timestamp", "url", "uri", "uuid", "address", "number", "password", "name", "email", "phone")
# Words that say which one it is and leave the kind as it is: `date_from`, `price_raw`.
QUALIFIERS = frozenset(
    "raw formatted utc gmt local from to start end min max minimum maximum first last current previous next new old "
    "str string text value values list code2 default original primary secondary input output override required iso "
    "long short en fr de es pair prefix suffix filter reference used format".split()
)
PEOPLE = {"user", "person", "customer", "contact", "actor", "member", "employee", "people"}
COUNTED = {"num", "count", "number", "total", "n", "max", "min", "maximum", "minimum", "no"}
OF = {"of", "in", "for", "per", "by", "from", "on", "with"}

_DESCRIBED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), end)
    for pattern, end in (
        (r"\bY{4}-?M{2}-?D{2}\b(?![ T]?H)", "date"),
        (r"RFC ?3339|ISO ?8601.{0,20}(time|stamp)|\btimestamp\b|Y{4}-?M{2}-?D{2}[ T]H", "timestamp"),
        (r"ISO[- ]?3166", "country code"),
        (r"ISO[- ]?4217", "currency"),
        (r"BCP[- ]?47|ISO[- ]?639", "language code"),
        (r"^(the )?(full )?(url|uri|link)\b", "url"),
        (r"^(the )?e-?mail\b", "email"),
        (r"\bUUID\b", "uuid"),
        (r"\b(state|region) or (province|territory)\b", "province"),
        (r"\berror message\b", "error"),
    )
)
_SHOWN = re.compile(
    r"(?:\be\.g\.|\bfor example|\bsuch as|\bexamples?:|\bvalues(?: are| include)?:?)[,:]?\s*"
    r"[\"'`“]([^\"'`”{}]{1,60})[\"'`”]",
    re.IGNORECASE,
)
# A path with names to fill in: `projects/{project}/locations/{location}`.
_TEMPLATE = re.compile(r"(?<![\w/])((?:[\w.*-]+/)*[\w.-]+/\{\w+\}(?:/[\w.{}-]+)*)")
_PREAMBLE = re.compile(
    r"^\W*(?:(?:output only|input only|optional|required|immutable|deprecated|identifier)\W+)+", re.IGNORECASE
)
_HEAD_END = re.compile(r"[.,;:()]|\b(?:of|for|to|that|which|in|used|from|where|when|with|if|is|as|on|by|associated)\b")
# What a description's first noun says too little about.
_VAGUE = frozenset(
    ("name", "type", "value", "identifier", "description", "text", "data", "field", "resource", "number", "code")
)


def _ending(words: Sequence[str], table: Mapping[str, object]) -> str | None:
    """The longest end of a name that the table knows."""
    for start in range(max(0, len(words) - 4), len(words)):
        end = " ".join(words[start:])
        if end in table:
            return end
    return None


def _found(words: Sequence[str], table: Mapping[str, object]) -> str | None:
    """The end that tells the kind of a name: of the whole, of one of many, without qualifiers, before an `of`."""
    while words:
        end = _ending(words, table) or _ending((*words[:-1], singular(words[-1])), table)
        if end:
            return end
        if len(words) == 1 or not (words[-1] in QUALIFIERS or words[-1].isdigit()):
            break
        words = words[:-1]
    for place in range(len(words) - 2, 0, -1):
        if words[place] in OF:
            return _found(words[:place], table)
    return None


@lru_cache(maxsize=65536)
def _text_end(name: str) -> str | None:
    words = tuple(re.sub(r"(?<=[a-z]{2})\d+$", "", word) or word for word in words_of(name))
    if not words:
        return None
    if words[0] in ("is", "has", "can", "should"):
        return "enabled"
    if words[0] == "num" or words[:2] == ("number", "of"):
        return None
    whole = "".join(words)
    if whole in GLUED:
        return GLUED[whole]
    # `time` is a clock's by itself, and a moment's where it says which.
    if words[-1] == "time" and len(words) > 1 and _ending(words, TEXTS) == "time":
        return "timestamp"
    if words[-1] == "date" and len(words) > 1 and words[-2] == "up":
        return None
    end = _found(words, TEXTS)
    # A name of somebody is a person's; other names are titles.
    if end == "name" and set(words) & PEOPLE:
        return "full name"
    if end is None and len(words[-1]) > 6:
        last = next((known for known in GLUED_ENDS if words[-1].endswith(known)), None)
        end = last and (GLUED.get(words[-1]) or last)
    return end


@lru_cache(maxsize=65536)
def _described_end(description: str) -> str | None:
    """The end that tells the kind of what a description begins with: `The expiration date of the link` is a date."""
    head = _HEAD_END.split(_PREAMBLE.sub("", description).lower(), maxsplit=1)[0]
    end = _text_end(head) if len(head) < 60 else None
    return None if end in _VAGUE else end


def _number_end(name: str) -> str | None:
    words = words_of(name)
    if not words:
        return None
    if (len(words) > 1 and words[0] in ("num", "count", "n")) or words[:2] == ("number", "of"):
        return "count"
    end = _found(words, NUMBERS)
    return end or ("count" if set(words) & COUNTED and len(words) > 1 else None)


def kind_of(name: str, numeric: bool = False) -> str | None:
    """The kind of value that a name asks for; `None` where it says nothing.

    Example:

    ```python
    >>> kind_of("fromMonth"), kind_of("created_at"), kind_of("created_at", numeric=True), kind_of("frobnication")
    ('month', 'date and time', 'timestamp', None)
    ```
    """
    end = _text_end(name)
    if not numeric and end:
        return TEXTS[end][0]
    end = _number_end(name)
    return NUMBERS[end][0] if end else None


def plausible_text(name: str, draws: Draws, description: str = "", most: int = 10_000) -> str:
    """A text that a field of this name may hold; where neither name nor description says what, a few short words.

    Args:
        name (`str`): The field's name.
        draws ([`Draws`]): What the text depends on.
        description (`str`, *optional*): The field's description: a format it names, or an example it shows.
        most (`int`, *optional*): The most characters there may be; a text that is too long is drawn again.

    Example:

    ```python
    >>> plausible_text("homeCity", Draws(1))
    'Recife'
    ```
    """
    shown = _SHOWN.search(description)
    if shown and len(shown[1]) <= most:
        return shown[1]
    template = _TEMPLATE.search(description)
    if template and len(template[1]) <= most // 2:
        return re.sub(r"\{\w+\}", lambda _: f"{draws.pick(ADJECTIVES)}-{draws.pick(NOUNS)}", template[1])
    end = next((end for pattern, end in _DESCRIBED if pattern.search(description)), None) or _text_end(name)
    if end is None and _number_end(name) is None:
        end = _described_end(description)
    if end:
        maker = TEXTS[end][1]
        texts = [maker(draws)]
        while len(texts[-1]) > most and len(texts) < 6:
            texts.append(maker(draws))
        if len(texts[-1]) <= most or _number_end(name) is None:
            return texts[-1]
    if _number_end(name) is not None:
        low, high, digits = plausible_range(name)
        return f"{draws.number(low, high):0{most if digits == 0 and most == 2 else 1}.{digits}f}"
    words = [word for word in words_of(name) if len(word) > 2 and not word.isdigit() and word not in QUALIFIERS]
    text = f"{draws.pick(ADJECTIVES)} {singular(words[-1]) if words else draws.pick(NOUNS)}"
    return text if len(text) <= most else draws.pick(NOUNS)


@lru_cache(maxsize=65536)
def plausible_range(name: str) -> tuple[float, float, int]:
    """Least and greatest value of a number of this name, and its digits after the point.

    Example:

    ```python
    >>> plausible_range("start_latitude")
    (-60, 70, 4)
    ```
    """
    end = _number_end(name)
    return NUMBERS[end][1:] if end else (1, 100, 0)


LOW = ("min", "minimum", "from", "start", "begin", "low", "since")
HIGH = ("max", "maximum", "to", "end", "end", "high", "until")
_COUNTRY_OF = {name: country for name, _, country in CITIES}
_REGION_OF = {name: region for name, region, _ in CITIES}
_NAME_OF = {code: name for name, code in COUNTRIES}


def agree(made: dict[str, object], own: Sequence[str], properties: Mapping[str, object]) -> None:
    """Make the values of one object agree: the least comes before the greatest, and a city lies in its country.

    Args:
        made (`dict`): The object; changed in place.
        own (`Sequence[str]`): The names whose values were made up, rather than given or shown by the document.
        properties (`dict`): Their schemas: only fields of the same schema change places.
    """
    kinds = {key: kind_of(key) for key in own if isinstance(made[key], str)}
    city = next((made[key] for key, kind in kinds.items() if kind == "city" and made[key] in _COUNTRY_OF), None)
    for key, kind in kinds.items():
        if kind == "country" and city:
            made[key] = _NAME_OF[_COUNTRY_OF[city]]
        elif kind == "country code" and city and made[key] in _NAME_OF:
            made[key] = _COUNTRY_OF[city]
        elif kind in ("region", "state") and city:
            made[key] = _REGION_OF[city]
    by_words = {words_of(key): key for key in own}
    for words, key in by_words.items():
        for place, word in enumerate(words):
            if word not in LOW:
                continue
            other = by_words.get((*words[:place], HIGH[LOW.index(word)], *words[place + 1 :]))
            if other and _rules(properties.get(key)) == _rules(properties.get(other)):
                made[key], made[other] = _ordered(made[key], made[other])


def _rules(schema: object) -> object:
    said = ("description", "title")
    return {key: value for key, value in schema.items() if key not in said} if isinstance(schema, Mapping) else schema


def _ordered(one: object, two: object) -> tuple[object, object]:
    for names in (MONTHS, WEEKDAYS):
        if one in names and two in names:
            return (one, two) if names.index(one) <= names.index(two) else (two, one)
    numbers = isinstance(one, int | float) and isinstance(two, int | float)
    texts = (
        isinstance(one, str)
        and isinstance(two, str)
        and one[:1].isdigit()
        and two[:1].isdigit()
        and len(one) == len(two)
    )
    return (two, one) if (numbers or texts) and two < one else (one, two)
