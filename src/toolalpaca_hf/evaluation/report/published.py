"""The figures that the paper prints, as facts to set beside a run; nothing here was measured by this package."""

from dataclasses import dataclass

SOURCE = "arXiv 2306.05301, Table 3"
"""Where the figures stand."""

ADDRESS = "https://arxiv.org/abs/2306.05301"
"""The paper."""

JUDGE = "GPT-4"
"""Who gave the verdicts behind them."""

INSTRUCTIONS = {"simulated": 100, "real": 114}
"""How many instructions each published suite has."""


@dataclass(frozen=True)
class Published:
    """One printed row: shares of Yes in percent.

    Args:
        model (`str`): As the paper names it.
        process, response, overall (`float`): Percent of the suite's instructions; overall is both at once.
    """

    model: str
    process: float
    response: float
    overall: float


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "simulated": (
        Published("GPT-3.5", 77.0, 85.0, 75.0),
        Published("Vicuna-7B", 19.0, 21.0, 17.0),
        Published("ToolAlpaca-7B", 63.0, 69.0, 60.0),
        Published("Vicuna-13B", 17.0, 31.0, 16.0),
        Published("ToolAlpaca-13B", 70.0, 73.0, 70.0),
    ),
    "real": (
        Published("GPT-3.5", 75.4, 80.7, 72.8),
        Published("Vicuna-7B", 7.9, 11.4, 7.9),
        Published("ToolAlpaca-7B", 63.2, 57.9, 55.3),
        Published("Vicuna-13B", 13.2, 16.7, 12.3),
        Published("ToolAlpaca-13B", 66.7, 67.5, 61.4),
    ),
}
"""By suite; the embedded `sample` has no published rows."""
