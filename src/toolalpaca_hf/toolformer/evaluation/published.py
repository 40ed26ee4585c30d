"""The figures that the paper prints, as facts to set beside a run; nothing here was measured by this package.

They were typed from secondary sources: the paper itself could not be opened where this was written.
"""

SOURCE = "arXiv 2302.04761, Tables 3 to 8"
ADDRESS = "https://arxiv.org/abs/2302.04761"

PUBLISHED: dict[str, tuple[float, float]] = {
    "lama-squad": (17.8, 33.8),
    "lama-google-re": (4.9, 11.5),
    "lama-trex": (31.9, 53.5),
    "asdiv": (7.5, 40.4),
    "svamp": (5.2, 29.4),
    "mawps": (9.9, 44.0),
    "webqs": (18.5, 26.3),
    "nq": (12.8, 17.7),
    "triviaqa": (43.9, 48.8),
    "templama": (13.7, 16.3),
    "dateset": (3.9, 27.3),
}
"""By task: GPT-J 6B, and Toolformer made of it; percent. Whether the questions are the same ones depends on the data."""

PUBLISHED_PERPLEXITY: dict[str, tuple[float, float]] = {"WikiText": (9.9, 10.3), "CCNet": (10.6, 10.5)}
"""By corpus: GPT-J 6B, and Toolformer with calls disabled."""
