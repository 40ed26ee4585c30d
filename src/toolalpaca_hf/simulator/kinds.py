"""The kinds of values that names ask for: how each is made, and the ends of the names that ask for it."""

from collections.abc import Callable

from . import words as w
from .draws import Draws
from .formats import (
    CAPITALS,
    DIGITS,
    FORMATS,
    HEX,
    about,
    clock,
    code,
    feed,
    handle,
    image,
    ipv4,
    joke,
    moment,
    person,
    question,
    quote,
    sentence,
    slug,
    title,
    url,
    uuid,
)

Maker = Callable[[Draws], str]


def _pick(options: tuple[str, ...]) -> Maker:
    return lambda draws: draws.pick(options)


def _street(draws: Draws) -> str:
    return f"{draws.integer(1, 999)} {draws.pick(w.STREETS)}"


def _shown(low: float, high: float, digits: int = 0, unit: str = "") -> Maker:
    return lambda draws: f"{draws.number(low, high):.{digits}f}{unit}"


def _coded(pattern: str) -> Maker:
    """`#` stands for a digit, `?` for a capital, `x` for a hexadecimal digit."""
    letters = {"#": DIGITS, "?": CAPITALS, "x": HEX}
    return lambda draws: "".join(draws.text(letters[sign], 1) if sign in letters else sign for sign in pattern)


def _barcode(draws: Draws) -> str:
    digits = "978" + draws.text(DIGITS, 9)
    return digits + str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10)


# Kind, how it is made, and the ends of names that ask for it; the longest end that is known decides.
TEXT_KINDS: tuple[tuple[str, Maker, str], ...] = (
    ("title", title,
     "name; title; subject; headline; heading; subtitle; label; display name; caption; book; movie; film; song; "
     "album; track; episode; show; series; event; project; product; item; topic; playlist; campaign; game; course; "
     "recipe; dish"),
    ("first name", _pick(w.FIRST_NAMES), "first name; given name; forename; middle name; nickname; first"),
    ("last name", _pick(w.LAST_NAMES), "last name; family name; surname; maiden name"),
    ("person", person,
     "full name; character name; author; owner; artist; actor; director; writer; creator; contact; person; "
     "customer; cardholder; card holder; recipient; sender; manager; employee; assignee; reporter; reviewer; "
     "composer; singer; winner; driver; captain; coach; editor; account holder; holder name; beneficiary; by; "
     "photographer; updater; lender; borrower; who; student; teacher; doctor; patient; guest; attendee; organizer; "
     "applicant; signer; character; publisher name"),
    ("user name", handle,
     "user name; username; player; user; login; screen name; handle; nick; member; summoner name"),
    ("company", _pick(w.COMPANIES),
     "payee; company; organization; organisation; org; provider; publisher; manufacturer; vendor; merchant; "
     "supplier; employer; brand; studio; airline; carrier; bank; business; agency; institution; developer; firm; "
     "label name; distributor; operator; seller; store; shop; restaurant; hotel; school; university; client; "
     "partner; advertiser; company name; organization name; business name; bank name; legal name; store name; "
     "network name; issuer; maker; sponsor; registrar"),
    ("team", lambda draws: f"{draws.pick(w.CITIES)[0]} {draws.pick(w.NOUNS).title()}s",
     "team; team name; club; club name; squad"),
    ("city", lambda draws: draws.pick(w.CITIES)[0],
     "city; town; locality; municipality; destination; origin; place; birthplace; place name; venue city; capital; "
     "suburb; city name; hometown; location; departure; arrival; village; ward; location name"),
    ("station", lambda draws: f"{draws.pick(w.CITIES)[0]} Central",
     "station; station name; stop; stop name; terminal name; airport; airport name; venue; venue name; stadium; "
     "pickup; dropoff; facility"),
    ("region", lambda draws: draws.pick(w.CITIES)[1],
     "region; province; county; district; administrative area; area; territory; state name; region name; address "
     "state; neighborhood; neighbourhood; sublocality; constituency"),
    ("country", lambda draws: draws.pick(w.COUNTRIES)[0],
     "country; country name; nation; nationality country; country of origin"),
    ("country code", lambda draws: draws.pick(w.COUNTRIES)[1],
     "country code; country iso; iso code; iso2; region code; territory code; country id; cca2; country iso2"),
    ("continent", _pick(("Europe", "Asia", "Africa", "North America", "South America", "Oceania")),
     "continent; continent name"),
    ("continent code", _pick(("EU", "AS", "AF", "NA", "SA", "OC")), "continent code"),
    ("nationality", _pick(("Portuguese", "Japanese", "German", "Canadian", "French", "Kenyan", "Indian")),
     "nationality; demonym"),
    ("street address", _street,
     "address; street; line1; address line; address line1; street address; formatted address; shipping address; "
     "billing address; postal address; address1; address line 1"),
    ("address line 2", lambda draws: f"Apt {draws.integer(1, 40)}",
     "line2; line3; address line2; address line3; address2; apartment; suite; unit number; premise"),
    ("road", _pick(w.STREETS), "road; street name; route; route name; intersection"),
    ("house number", _shown(1, 200),
     "house number; street number; building number; room number; room; apartment number"),
    ("postcode", lambda draws: draws.text(DIGITS[1:], 5),
     "zip; zip code; postcode; postal code; post code; zipcode; postal"),
    ("latitude", _shown(-60, 70, 4), "latitude; lat"),
    ("longitude", _shown(-180, 180, 4), "longitude; lon; lng; long"),
    ("coordinates", lambda draws: f"{draws.number(-60, 70):.4f},{draws.number(-180, 180):.4f}",
     "coordinates; coords; latlng; lat lng; lat long; lat lon; latlong; geo; gps; position coordinates; "
     "geolocation; loc"),
    ("time zone", _pick(w.ZONES), "timezone; time zone; tz; tzid; timezone id; timezone name; time zone id"),
    ("UTC offset", _pick(("+01:00", "-06:00", "+09:00", "-03:00", "+00:00")),
     "utc offset; timezone offset; gmt offset; utc"),
    ("language", lambda draws: draws.pick(w.LANGUAGES)[0], "language; language name"),
    ("language code", lambda draws: draws.pick(w.LANGUAGES)[1],
     "language code; lang; locale; language tag; iso 639 1; hl; language id; source lang; target lang; culture; "
     "from language; to language"),
    ("currency", _pick(w.CURRENCIES),
     "currency; symbol; currency code; base currency; quote currency; fiat; currency id; asset; base; coin"),
    ("currency name", _pick(("Euro", "US Dollar", "Pound Sterling", "Yen", "Swiss Franc")), "currency name"),
    ("currency symbol", _pick(("€", "$", "£", "¥")), "currency symbol; symbol native"),
    ("currency pair", lambda draws: f"{draws.pick(w.CURRENCIES[:4])}/{draws.pick(w.CURRENCIES[4:])}",
     "currency pair; pair; market"),
    ("ticker", _pick(("ACME", "NWTR", "BLBF", "HRBL", "LUMN")), "ticker; ticker symbol; stock symbol"),
    ("exchange", _pick(("NYSE", "NASDAQ", "LSE", "XETRA")), "exchange; stock exchange"),
    ("salary", lambda draws: f"{draws.integer(30, 120)},000", "salary; salary range; wage"),
    ("email", FORMATS["email"],
     "email; mail; email address; e mail; from email; reply to; recipient email; service account"),
    ("phone", FORMATS["phone"],
     "phone; phone number; telephone; mobile; mobile number; fax; fax number; tel; cell; cellphone; contact "
     "number; telephone number; mobile phone; msisdn; toll free number; caller id"),
    ("URL", url,
     "url; referrer; referer; uri; link; website; trailer; endpoint; href; homepage; web site; permalink; site; "
     "webpage; self; web page; callback; redirect; webhook; base path; next page; previous page; web url; source "
     "url; html; urls; blog; self link; docs; documentation; video; first page; last page; repository; audio; "
     "preview; stream; wikipedia; facebook; twitter; instagram; web"),
    ("feed", feed, "feed url; feed; rss; rss url; feed link"),
    ("short URL", lambda draws: f"https://sho.rt/{draws.text(HEX, 6)}",
     "short url; short link; shortened url; shorturl"),
    ("image", image,
     "image; icon; qr code; qrcode; barcode image; avatar; logo; photo; picture; thumbnail; cover; image url; icon "
     "url; avatar url; logo url; img; image uri; photo url; picture url; thumbnail url; thumb; banner; poster; "
     "background image; image link; image src; img url; thumbnail link; sprite; flag; icon uri; profile image; "
     "artwork; favicon; poster path; wallpaper; badge url; gif; src; screenshot"),
    ("domain", FORMATS["hostname"],
     "domain; domain name; host; hostname; server; fqdn; hub; realm; subdomain; server name; dns; cname; mx; host "
     "name"),
    ("IP address", ipv4,
     "ip; ip address; remote addr; client ip; external ip; internal ip; public ip; private ip; ipv4; ip addr; "
     "gateway"),
    ("IPv6 address", FORMATS["ipv6"], "ipv6; ipv6 address"),
    ("CIDR block", lambda draws: f"10.{draws.integer(0, 255)}.0.0/16",
     "cidr; cidr block; ip range; subnet; ip cidr range; reserved range; network cidr; cidrs"),
    ("MAC address", _coded("02:xx:xx:xx:xx:xx"), "mac; mac address"),
    ("UUID", uuid, "uuid; guid; client request id; trace id; correlation id; request id; idempotency key"),
    ("hash", lambda draws: draws.text(HEX, 24) + draws.text(HEX, 16),
     "hash; sha; sha1; checksum; digest; fingerprint; commit; commit sha; md5; sha256; tx hash; revision id; "
     "commit id; crc; block hash; md5 hash; sha256 hash; txid; merkle root; tree sha; thumbprint"),
    ("etag", _coded('"xxxxxxxxxxxx"'), "etag"),
    ("wallet address", lambda draws: "0x" + draws.text(HEX, 24) + draws.text(HEX, 16),
     "wallet; wallet address; contract address; token address"),
    ("token", lambda draws: draws.text(HEX, 32),
     "token; key; cursor; secret; api key; access token; refresh token; page token; nonce; next token; "
     "continuation token; signature; session; csrf; client secret; next page token; access key; secret key; jwt; "
     "marker; credential; credentials; license key; otp; private key; public key; pem; bearer; certificate; cert; "
     "ciphertext; payload; salt; public key pem; next cursor; ssh key; kms key; encryption key; captcha; sync "
     "token; pagination token; challenge; blob; apikey"),
    ("password", FORMATS["password"], "password; passphrase; passwd; pwd"),
    ("birth date", lambda draws: f"{draws.integer(1950, 2004)}-{draws.integer(1, 12):02}-{draws.integer(1, 28):02}",
     "dob; birthday; birthdate; birth date; date of birth; born"),
    ("date", FORMATS["date"],
     "date; day date; release; released; deadline; election day; due; holiday; release date; died; expiry; "
     "expiration; anniversary; effective date"),
    ("weekday", _pick(w.WEEKDAYS), "day; weekday; day of week; day name; dow; day of the week; days; opening days"),
    ("month", _pick(w.MONTHS), "month; month name; months; expiry month"),
    ("season", _pick(("spring", "summer", "autumn", "winter")), "season; season name"),
    ("time of day", clock,
     "clock; sunrise; sunset; moonrise; moonset; dawn; dusk; noon; open time; close time; opening time; closing "
     "time; local time; time of day; opens; closes; departs; arrives; fajr; dhuhr; asr; maghrib; isha; solar noon; prayer time; "
     "arrival time; departure time; first light; last light; time"),
    ("opening hours", lambda draws: f"Mon-Fri 0{draws.integer(7, 9)}:00-{draws.integer(16, 20)}:00",
     "opening hours; hours; business hours; hours of operation; working hours; polling hours; schedule; "
     "availability; open hours"),
    ("date and time", moment,
     "timestamp; created; updated; published; at; modified; datetime; date time; on; create time; update time; "
     "start time; end time; event time; creation time; delete time; expire time; expiration time; last modified; "
     "last seen; last login; start; end; expires; since; until; last update; last updated; begin; completed; "
     "finished; start date time; end date time; last used; request time; run time; modification time; completion "
     "time; update date; date created; date modified; finish time; purge time; last update time; observation time; "
     "refresh time; sync time; verify time; publish time; complete time; modified date; active time; support time; "
     "obsolete time; deprecate time; commit time; read time; upload time; generation time; timestamp value; "
     "updated date; created date; last edited; created time; modified time; start timestamp; last changed; updated "
     "time; issued; occurred; scheduled; ended; started; joined; submitted; registered; utc time; snapshot time; "
     "schedule time; queue time; destroy time; last checked"),
    ("duration", lambda draws: f"{draws.integer(20, 150)} min",
     "duration; runtime; length; travel time; cook time; prep time; total time; elapsed; playtime; time left; "
     "reading time; running time; waiting time; lifetime; session duration"),
    ("seconds", _shown(30, 3600, 0, "s"),
     "ttl; timeout; period; max age; interval; latency; deadline duration; retention; retention period; retention "
     "duration; time offset; delay; grace period; polling interval; processing duration; uptime; cooldown; backoff"),
    ("year", _shown(1990, 2025), "year; founded; release year; model year; season year; founded year; established"),
    ("status", _pick(("active", "pending", "completed")),
     "status; stage; phase; availability status; verdict; outcome; result status"),
    ("state", _pick(("active", "pending", "completed")),
     "lifecycle; order state; job state; run state; state; progress"),
    ("type", _pick(("standard", "premium", "basic")),
     "type; kind; plan; tier; class; package; edition; variant; mode; model type; types"),
    ("level", _pick(("low", "medium", "high")),
     "level; priority; severity; difficulty; risk; importance; urgency; impact; danger; quality; confidence"),
    ("size", _pick(("small", "medium", "large")), "size; clothing size"),
    ("gender", _pick(("female", "male")), "gender; sex"),
    ("color", _pick(w.COLORS),
     "color; colour; colors; fill; background; foreground; hair color; eye color; tint; background color"),
    ("hex color", lambda draws: "#" + draws.text(HEX, 6),
     "hex; hex code; hex color; rgb hex; color hex; color code; hex value"),
    ("role", _pick(("admin", "editor", "viewer")),
     "role; permission; access; scope; privilege; role name; access level; audience; scopes"),
    ("format", _pick(("json", "png", "csv")),
     "format; extension; file extension; file format; encoding format; output format; file type; ext"),
    ("MIME type", _pick(("image/png", "application/json", "text/plain", "application/pdf")),
     "mime type; mime; content type; media type; mimetype; response mime type"),
    ("charset", _pick(("utf-8", "iso-8859-1")), "charset; encoding; character set; content encoding"),
    ("version", lambda draws: f"{draws.integer(1, 5)}.{draws.integer(0, 9)}.{draws.integer(0, 9)}",
     "version; release version; ver; tag name; app version; latest revision; min version; max version; build "
     "version; revision; build; firmware; latest version"),
    ("API version", lambda draws: f"v{draws.integer(1, 4)}", "api version; schema version"),
    ("genre", _pick(w.GENRES), "genre; style; mood; movement"),
    ("tag", _pick(w.TAGS),
     "category; tag; keyword; interest; theme; sector; industry; hashtag; section; hobby; category name; tag name "
     "value; group; field of study; subcategory; department name; activity; classification; collection; vertical; "
     "search term; specialty"),
    ("job", _pick(("Engineer", "Teacher", "Nurse", "Designer", "Analyst")),
     "job; occupation; profession; job title; position; title of work; designation; headline role; office"),
    ("department", _pick(("Sales", "Engineering", "Finance", "Support")), "department; division; dept; business unit"),
    ("code", code,
     "code; sku; reference; coupon; promo code; confirmation; tracking number; order number; invoice number; "
     "serial; serial number; reference number; account number; confirmation code; upc; ref; vin; license plate; "
     "receipt; voucher; external reference; registration; part number; model number; number; registration number; "
     "case number; ticket; catalog number; discount code; tracking code"),
    ("barcode", _barcode, "barcode; ean; gtin; isbn; isbn13; isbn 13; ean13"),
    ("tax number", _coded("??#########"), "vat; tax id; vat number; tax number; ein; vat id"),
    ("bank account", _coded("XX00 #### #### ####"), "iban; bank account; routing number; bban; bank account number"),
    ("BIC", _coded("????XXXX"), "bic; swift; swift code"),
    ("card", lambda draws: f"**** {draws.text(DIGITS, 4)}",
     "card; card number; credit card; masked card; pan; credit card number"),
    ("last four", _coded("####"), "last4; last 4; last four; pin; discriminator; last four digits; cvc; cvv"),
    ("card brand", _pick(("visa", "mastercard")),
     "card type; card brand; network brand; payment method; card network"),
    ("flight", _coded("??###"),
     "flight; flight number; iata flight; callsign; train number; line name; gate; train; flight no; seat"),
    ("airport code", _pick(("LIS", "ORD", "KIX", "MUC", "YYZ", "LYS")),
     "iata; iata code; airport code; origin airport; destination airport; fly from; fly to; airport iata"),
    ("method", _pick(("GET", "POST")), "method; http method; verb; request method"),
    ("protocol", _pick(("https", "tcp", "udp")), "protocol; scheme; transport"),
    ("environment", _pick(("production", "staging")), "environment; env; deployment environment"),
    ("platform", _pick(("web", "ios", "android")),
     "platform; device type; os; operating system; channel; device; medium; os name; client type; console"),
    ("browser", _pick(("Firefox", "Chrome", "Safari")), "browser; browser name; engine; browser type"),
    ("user agent", lambda draws: f"ExampleClient/{draws.integer(1, 9)}.0 (X11; Linux x86_64)", "user agent; useragent"),
    ("cloud region", _pick(("us-east1", "europe-west4", "asia-south1")),
     "location id; zone; cloud region; compute zone; availability zone; gce zone; datacenter; data center; cluster "
     "location; region id; kms key region; gcp region; aws region"),
    ("machine type", _pick(("n1-standard-4", "e2-small", "m5.large")),
     "machine type; instance type; vm size; node type; vm type"),
    ("direction", _pick(("N", "NE", "SE", "SW", "W", "NW")),
     "direction; wind direction; bearing; heading direction; wind dir; compass; orientation"),
    ("weather", _pick(("Sunny", "Partly cloudy", "Light rain", "Overcast")),
     "weather; conditions; forecast; weather condition; sky; current conditions; weather main; condition text; "
     "condition"),
    ("unit", _pick(("kg", "cm", "l", "piece")),
     "unit; units; unit of measure; uom; measurement unit; unit name"),
    ("quantity with unit", _shown(1, 99, 0, " kg"), "weight; mass"),
    ("length with unit", _shown(1, 250, 0, " cm"), "height; width; depth; wingspan; altitude; elevation; radius"),
    ("path", lambda draws: f"/data/{slug(draws)}",
     "path; folder; directory; dir; location path; folder path; prefix; pathname; route path; key prefix; mount"),
    ("file name", lambda draws: f"{slug(draws)}.csv",
     "file; filename; file name; attachment; attachment name; document name; file path; output path; input path; "
     "object name"),
    ("slug", slug,
     "slug; alias; bucket; cluster; instance; namespace; node; queue; resource; resource name; repo; branch; "
     "table; database; schema; dataset; service; network; subnetwork; pool; identifier; key name; app; container; "
     "bundle; pod; backup; workspace; column; field; attribute; property; variable; parameter; snapshot; "
     "repository name; service name; package name; bucket name; table name; field name; parent; deployment; "
     "operation; target; kms key name; function; dimension; metric; job name; cluster name; instance name; "
     "database name; column name; policy; template; model; agent; entity; subresource; flow; intent; processor; "
     "processor name; data store; machine; program; module; object; index name; source table; host project; stack; "
     "entry; metric name; user list; node name; template name; property name; attachment network; ad unit; rule; "
     "connector; secret name; lock"),
    ("user group", _pick(("staff", "members", "guests")), "group name; user group; cohort; segment"),
    ("license", _pick(("MIT", "Apache-2.0", "CC-BY-4.0")), "license; licence; license name; rights; copyright"),
    ("query", lambda draws: f"{draws.pick(w.ADJECTIVES)} {draws.pick(w.NOUNS)}",
     "query; search; search query; q; phrase; keywords; term; rewritten query; search text; terms"),
    ("expression", lambda draws: f'status = "{draws.pick(("active", "pending"))}"',
     "filter; expression; where; criteria; predicate; formula; rule expression; condition expression"),
    ("sort order", _pick(("name", "date", "popularity")), "order by; sort; sort by; sort order; sort field; sort key"),
    ("update mask", _pick(("name", "name,description")), "update mask; field mask; mask; fields; read mask"),
    ("regular expression", lambda draws: f"^{draws.pick(w.NOUNS)}.*$", "regex; pattern; regexp; name pattern"),
    ("cron", _coded("0 # * * *"), "cron; cron expression; recurrence; cron schedule; creation schedule"),
    ("JSON", lambda draws: f'{{"{draws.pick(w.NOUNS)}":{draws.integer(1, 9)}}}',
     "json; metadata; config; configuration; settings; context json; serialized payload"),
    ("CSS font", _pick(("Arial", "Georgia", "Verdana")), "font; font family; typeface; font name"),
    ("yes or no", _pick(("true", "false")), "enabled; disabled; flag value; bool; boolean; verified; success"),
    ("score", lambda draws: f"{draws.integer(0, 4)}-{draws.integer(0, 4)}",
     "score; result score; final score; halftime"),
    ("cuisine", _pick(("Italian", "Indian", "Mexican", "Thai")), "cuisine; cuisine type"),
    ("ingredient", _pick(("flour", "olive oil", "tomatoes", "basil")), "allergen; food; material"),
    ("breed", _pick(("Beagle", "Maine Coon", "Border Collie", "Siamese")), "breed; breed name"),
    ("animal", _pick(("cat", "dog", "fox", "owl", "otter")), "animal; species; pet; bird; animal type; common name"),
    ("scientific name", _pick(("Vulpes vulpes", "Lutra lutra", "Bellis perennis")),
     "scientific name; latin name; binomial; botanical name"),
    ("blood type", _pick(("A+", "O-", "B+", "AB-")), "blood type; blood group"),
    ("sport", _pick(("football", "tennis", "basketball")), "sport; sport name; discipline"),
    ("word", lambda draws: draws.pick(w.NOUNS), "word; synonym; antonym; rhyme; noun; lemma; translation"),
    ("id", lambda draws: draws.text(HEX, 12),
     "id; ids; uid; unique id; unique identifier; identifier id; ppid; sid; external id"),
    ("error",
     _pick(("The request could not be completed.", "A required value is missing.", "The item was not found.")),
     "error; error message; status message; message error; warning; failure reason; error description; denial "
     "reason; failure; state message; status detail; error detail; errors; err"),
    ("message", _pick(("The request was successful.", "Everything went as planned.", "The data has been received.")),
     "message; msg; info message; response message; output message; status text"),
    ("question", question, "question; faq; prompt; poll; riddle; setup; puzzle; query text"),
    ("quote", quote,
     "quote; saying; proverb; slogan; motto; tagline; affirmation; lyrics; verse; poem; advice; fortune; wisdom; "
     "inspiration; ayah"),
    ("joke", joke, "joke; punchline; delivery; pun; joke text"),
    ("fact", about, "fact; trivia; fun fact; facts; did you know"),
    ("text", sentence,
     "description; summary; text; content; body; note; bio; about; overview; detail; abstract; snippet; "
     "explanation; biography; introduction; answer; excerpt; remark; hint; info; synopsis; plot; story; blurb; "
     "statement; details; notes; paragraph; transcript; reply; article; disclaimer; help; markdown; short "
     "description; long description; title text; requirements; terms text; history; purpose; log; alt; alt text; "
     "status description; response; recommendation; extract; sentence; logs; output; announcement; post; brief; "
     "data; string value; tooltip; intro"),
    ("source", _pick(w.COMPANIES), "source; source name; origin source; attribution; credit; newspaper; outlet"),
    ("instruction",
     lambda draws: (f"Start with the {draws.pick(w.NOUNS)}, wait {draws.integer(5, 40)} minutes, then finish the rest."),
     "instruction; instructions; directions; preparation; procedure; how to; step; steps"),
    ("definition", lambda draws: f"A {draws.pick(w.ADJECTIVES)} kind of {draws.pick(w.NOUNS)}.",
     "definition; meaning; interpretation; gloss; sense"),
    ("reason", _pick(("Requested by the owner.", "It is no longer needed.", "The limit was reached.")),
     "reason; rationale; cause; justification; reason text; status reason"),
    ("opinion", _pick(("Worked very well for us.", "Good value, and friendly people.", "Better than I expected.")),
     "comment; comments; review; feedback; testimonial; opinion; remark text; review text"),
    ("amount with unit", _pick(("2 tbsp", "200 g", "1 cup", "3 pieces", "250 ml")),
     "measure; serving size; dose; dosage; amount with unit; portion"),
    ("ingredient", _pick(("flour", "olive oil", "tomatoes", "basil")), "ingredient; ingredients"),
    ("resolution", _pick(("1920x1080", "1280x720", "640x480")),
     "resolution; screen resolution; dimensions; image size"),
    ("aspect ratio", _pick(("16:9", "4:3", "1:1")), "aspect ratio"),
    ("part of speech", _pick(("noun", "verb", "adjective")), "part of speech; pos; word class"),
    ("phonetic", _pick(("/ˈvæli/", "/ˈrɪvə/", "/stəʊn/")), "phonetic; pronunciation; ipa; phonetics"),
    ("action", _pick(("create", "update", "delete")), "action; event name; command; change type; event action"),
    ("function name", lambda draws: f"{draws.pick(w.ADJECTIVES)}_{draws.pick(w.NOUNS)}", "function name; symbol name"),
    ("selector", lambda draws: f"div.{draws.pick(w.NOUNS)}", "selector; css selector; xpath"),
    ("markup", lambda draws: f"<p>{draws.pick(w.NOUNS).title()}</p>", "markup; html body; ssml; html content; xml"),
    ("date range", lambda draws: f"{draws.integer(2019, 2023)}-01-01/2024-{draws.integer(1, 12):02}-28", "date range"),
    ("port", lambda draws: str(draws.integer(1024, 65535)), "port; ports"),
    ("technical name", slug,
     "internal name; repo name; model name; project name; device name; disk; volume name; proxy name; run; "
     "dependency; block; topic name; sub topic; tag key; technical name; key id name; management project; plugin; "
     "library; test name; unique name; full name of resource"),
)  # fmt: skip
