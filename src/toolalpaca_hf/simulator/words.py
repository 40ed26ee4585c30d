"""The words that plausible values are made of."""

FIRST_NAMES = (
    "Amara", "Ben", "Chloe", "Daniel", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kaya", "Liam",
    "Maya", "Noah", "Olga", "Pablo", "Rosa", "Samir", "Tara", "Victor", "Wei", "Yara", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Adeyemi", "Baker", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Kowalski",
    "Lopez", "Moreau", "Novak", "Okafor", "Patel", "Rossi", "Sato", "Turner", "Weber", "Yilmaz",
)  # fmt: skip
CITIES = (
    ("Lisbon", "Lisboa"), ("Chicago", "Illinois"), ("Kyoto", "Kansai"), ("Munich", "Bavaria"), ("Toronto", "Ontario"),
    ("Lyon", "Rhône"), ("Austin", "Texas"), ("Milan", "Lombardy"), ("Leeds", "Yorkshire"), ("Seville", "Andalusia"),
    ("Denver", "Colorado"), ("Perth", "Western Australia"), ("Recife", "Pernambuco"), ("Pune", "Maharashtra"),
)  # fmt: skip
COUNTRIES = (
    ("Portugal", "PT"), ("Japan", "JP"), ("Germany", "DE"), ("Canada", "CA"), ("France", "FR"), ("Italy", "IT"),
    ("Spain", "ES"), ("Brazil", "BR"), ("India", "IN"), ("Kenya", "KE"), ("Norway", "NO"), ("United States", "US"),
)  # fmt: skip
STREETS = (
    "Maple Street", "Station Road", "Park Avenue", "High Street", "Oak Lane", "River Road", "Hill Street",
    "Church Street", "Garden Way", "Mill Lane", "Sunset Boulevard", "Harbour Road",
)  # fmt: skip
COMPANIES = (
    "Northwind Traders", "Bluebird Foods", "Acme Tools", "Harbour Logistics", "Lumen Energy", "Orchard Media",
    "Summit Insurance", "Cedar Systems", "Granite Works", "Willow Health",
)  # fmt: skip
CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CHF", "CAD", "AUD", "SEK", "NZD", "NOK")
LANGUAGES = (
    ("English", "en"), ("Spanish", "es"), ("French", "fr"), ("German", "de"), ("Portuguese", "pt"),
    ("Japanese", "ja"), ("Italian", "it"), ("Hindi", "hi"),
)  # fmt: skip
ZONES = ("Europe/Lisbon", "America/Chicago", "Asia/Tokyo", "Europe/Berlin", "America/Toronto", "Australia/Perth")
GENRES = ("Drama", "Comedy", "Adventure", "Mystery", "Fantasy", "Romance", "Science Fiction")
TAGS = ("travel", "health", "music", "technology", "science", "sports", "nature", "food")
ADJECTIVES = (
    "amber", "bright", "calm", "distant", "early", "gentle", "golden", "hidden", "lively", "northern", "quiet",
    "rapid", "silver", "silent", "swift", "wild", "winter", "young",
)  # fmt: skip
NOUNS = (
    "anchor", "bridge", "cloud", "falcon", "forest", "garden", "harbour", "island", "lantern", "meadow", "mountain",
    "orchard", "planet", "river", "signal", "stone", "valley", "window",
)  # fmt: skip
SENTENCES = (
    "Available in most regions since last spring.",
    "First recorded more than a hundred years ago.",
    "Popular with visitors and locals alike.",
    "Checked by the team and ready for use.",
    "Known for its quality and a long history.",
    "Updated weekly from several public sources.",
    "Works best when used together with the other parts.",
    "A short note with everything that matters.",
    "Found in many places around the world.",
    "Made with care in small numbers.",
)
