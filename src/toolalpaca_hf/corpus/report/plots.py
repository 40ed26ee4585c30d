"""A corpus drawn: instances by category, calls an instance, what the gates let through, lengths."""

import io
import re
import textwrap
from typing import Any

# What is drawn in this becomes the colour of the page's text, in a light and in a dark page.
_INK = "#010203"
# Of Okabe and Ito's palette, which keeps its colours apart for colour-blind eyes.
_BLUE, _ORANGE = "#0072B2", "#D55E00"
MOST = 20


def plots(figures: dict[str, Any], calls: list[int], lengths: list[int], limit: int | None = None) -> dict[str, str]:
    """Draw what there is to draw.

    Args:
        figures (`dict`): From [`Statistics.figures`].
        calls (`list[int]`): Calls of each instance.
        lengths (`list[int]`): Tokens of each.
        limit (`int`, *optional*): The training limit in tokens.

    Returns:
        `dict[str, str]`: SVG elements to stand inside a page; none where matplotlib is not installed.

    Example:

    ```python
    >>> plots({"instances_by_category": {}, "made": 0}, [], [])
    {}
    ```
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no state shared with who calls this
    except ImportError:
        return {}

    def bars(name: str, rows: list[tuple[str, int]], title: str, colour: str = _BLUE) -> str:
        return "".join(bar(name, rows, title, colour, narrow) for narrow in (False, True))

    # One as wide as a page and one as a phone, for the page's style to choose: letters that shrink cannot be read.
    def bar(name: str, rows: list[tuple[str, int]], title: str, colour: str, narrow: bool) -> str:
        size = (4.7, 1.6 + 0.46 * len(rows)) if narrow else (9, 1.3 + 0.36 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.barh(range(len(rows)), [count for _, count in rows], color=colour, height=0.62)
        axes.bar_label(drawn, labels=[f"{count:,}" for _, count in rows], padding=4, color=_INK)
        axes.set_yticks(range(len(rows)), labels=[_short(label, narrow) for label, _ in rows])
        for text in axes.get_yticklabels():
            text.set_parse_math(False)  # a dollar sign in a name is no formula
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, max(1, *(count for _, count in rows)) * (1.3 if narrow else 1.12))
        axes.xaxis.get_major_locator().set_params(integer=True)
        return _svg(figure, axes, name, title, "x", narrow)

    found: dict[str, str] = {}
    by_category = list(figures["instances_by_category"].items())
    if sum(count for _, count in by_category):
        rows = [(name, count) for name, count in by_category[:MOST] if count]
        rest = sum(count for _, count in by_category[MOST:])
        rows += [(f"{len(by_category) - MOST} more categories", rest)] if rest else []
        found["categories"] = bars("categories", rows, f"Instances by category (n = {sum(c for _, c in rows):,})")
    if calls:
        highest = min(max(calls), 10)
        rows = [(f"{n} call{'' if n == 1 else 's'}", sum(1 for one in calls if one == n)) for n in range(highest + 1)]
        more = sum(1 for one in calls if one > highest)
        rows += [(f"more than {highest}", more)] if more else []
        found["calls"] = bars("calls", rows, f"Calls of an instance (n = {len(calls):,})")
    if figures["made"]:
        rows = [("passed every gate", figures["passed_all_gates"])]
        rows += [(f"failed: {name.replace('_', ' ')}", count) for name, count in figures["failed"].items()]
        found["gates"] = bars(
            "gates", rows, f"Gates (n = {figures['made']:,} instances; one may fail several)", _ORANGE
        )
    for narrow in (False, True) if lengths else ():
        figure = Figure(figsize=(4.7 if narrow else 9, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.hist(lengths, bins=min(40, max(5, len(set(lengths)))), color=_BLUE)
        if limit is not None:
            axes.axvline(limit, color=_ORANGE, linewidth=2)
            left = limit > sum(axes.get_xlim()) / 2
            axes.text(
                limit, axes.get_ylim()[1], f" limit {limit:,} ", color=_INK, va="top", ha="right" if left else "left"
            )
        axes.set_xlabel("tokens of a training row")
        axes.set_ylabel("instances")
        title = f"Length of a training row (n = {len(lengths):,})"
        found["lengths"] = found.get("lengths", "") + _svg(figure, axes, "lengths", title, "y", narrow)
    return {name: f"<div>{svgs}</div>" for name, svgs in found.items()}


def _short(text: str, narrow: bool) -> str:
    text = "".join(letter if letter.isprintable() else "·" for letter in " ".join(text.split()))
    text = text if len(text) <= 40 else f"{text[:39]}…"
    return "\n".join(textwrap.wrap(text, 20)) if narrow else text


def _svg(figure: Any, axes: Any, name: str, title: str, grid: str, narrow: bool) -> str:
    import matplotlib

    axes.tick_params(colors=_INK, length=0, pad=6)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(_INK)
    axes.set_title("\n".join(textwrap.wrap(title, 36)) if narrow else title, color=_INK)
    axes.grid(axis=grid, color="#808080", alpha=0.35, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color("#808080")
    buffer = io.StringIO()
    settings = {"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 12}
    with matplotlib.rc_context(settings):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # Several drawings stand in one page: what an id names in one of them must not be found in another.
    svg = re.sub(r'(?<=\sid=")|(?<=url\(#)|(?<=href="#)', f"{name}-{'n-' * narrow}", svg)
    return svg.replace("<svg ", f'<svg class="{"narrow" if narrow else "broad"}" role="img" aria-label="{name}" ', 1)
