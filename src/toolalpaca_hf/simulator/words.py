"""The words that plausible values are made of."""

FIRST_NAMES = (
    "Amara", "Ben", "Chloe", "Daniel", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kaya", "Liam",
    "Maya", "Noah", "Olga", "Pablo", "Rosa", "Samir", "Tara", "Victor", "Wei", "Yara", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Adeyemi", "Baker", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Kowalski",
    "Lopez", "Moreau", "Novak", "Okafor", "Patel", "Rossi", "Sato", "Turner", "Weber", "Yilmaz",
)  # fmt: skip
CITIES = (  # name, region, country
    ("Lisbon", "Lisboa", "PT"), ("Chicago", "Illinois", "US"), ("Kyoto", "Kansai", "JP"),
    ("Munich", "Bavaria", "DE"), ("Toronto", "Ontario", "CA"), ("Lyon", "Rhône", "FR"),
    ("Austin", "Texas", "US"), ("Milan", "Lombardy", "IT"), ("Leeds", "Yorkshire", "GB"),
    ("Seville", "Andalusia", "ES"), ("Denver", "Colorado", "US"), ("Perth", "Western Australia", "AU"),
    ("Recife", "Pernambuco", "BR"), ("Pune", "Maharashtra", "IN"),
)  # fmt: skip
COUNTRIES = (
    ("Portugal", "PT"), ("Japan", "JP"), ("Germany", "DE"), ("Canada", "CA"), ("France", "FR"), ("Italy", "IT"),
    ("Spain", "ES"), ("Brazil", "BR"), ("India", "IN"), ("Kenya", "KE"), ("Norway", "NO"), ("United States", "US"),
    ("United Kingdom", "GB"), ("Australia", "AU"),
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
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
COLORS = ("red", "green", "blue", "white", "black", "yellow", "orange", "purple")
