"""Where a model fails, drawn: by error kind, by API, by number of golden calls."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .headline import BREAKDOWNS, error_kinds, groups, number
from .visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette keeps its colours apart for colour-blind eyes; the marker says it a second time.
_SERIES = {
    "process_verdict": ("process correct, by rule", "#0072B2", "o"),
    "all_functions": ("every golden function called", "#D55E00", "s"),
}
# What is drawn in this becomes the colour of the page's text, in a light and in a dark page.
_INK = "#010203"


def plots(metrics: dict[str, Any]) -> dict[str, str]:
    """Draw what there is to draw.

    Args:
        metrics (`dict`): What `metrics.json` holds.

    Returns:
        `dict[str, str]`: SVG elements to stand inside a page, under `errors`, `api` and `golden_calls`; the same
        metrics give the same text. One with nothing to show is left out, and all are where matplotlib is not installed.

    Example:

    ```python
    >>> plots({"by": {}, "errors": {}})
    {}
    ```
    """
    drawn = {}
    kinds = error_kinds(metrics)
    try:
        if kinds:
            drawn["errors"] = _both(partial(_error_plot, kinds))
        for by in ("api", "golden_calls"):
            found = groups(metrics, by)
            if found:
                drawn[by] = _both(partial(_rate_plot, found, by))
    except ImportError:
        return {}
    return drawn


def _both(draw: Callable[[bool], str]) -> str:
    return f"<div>{draw(False)}{draw(True)}</div>"


def _error_plot(kinds: list[tuple[str, int]], narrow: bool) -> str:
    figure, axes = _canvas(len(kinds), narrow)
    counts = [count for _, count in kinds]
    bars = axes.barh(range(len(kinds)), counts, color=_SERIES["all_functions"][1], height=0.6)
    axes.bar_label(bars, padding=4, color=_INK)
    _rows(axes, [kind for kind, _ in kinds], narrow)
    axes.set_xlim(0, max(1, *counts) * (1.25 if narrow else 1.1))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("count")
    axes.set_title(f"Errors by kind (n = {sum(counts)} errors)")
    return _svg(figure, "errors", narrow)


def _rate_plot(found: list[tuple[str, dict[str, Any]]], by: str, narrow: bool) -> str:
    figure, axes = _canvas(len(found), narrow)
    for offset, (key, (name, colour, marker)) in zip((-0.14, 0.14), _SERIES.items(), strict=True):
        points = []
        for place, (_, group) in enumerate(found):
            rate = group.get(key) or {}
            value, low, high = (number(rate.get(part)) for part in ("value", "low", "high"))
            if value is None:
                continue
            points.append((100 * value, place + offset))
            if low is not None and high is not None:
                axes.plot([100 * low, 100 * high], [place + offset] * 2, color=colour, linewidth=2, alpha=0.8)
        xs, ys = zip(*points, strict=True) if points else ((), ())
        axes.plot(xs, ys, marker, color=colour, markersize=7, label=name, clip_on=False)
    unit = {"golden_calls": " golden call{s}"}.get(by, "")
    names = [f"{name}{unit.format(s='' if name == '1' else 's')}" for name, _ in found]
    counted = zip(names, found, strict=True)
    _rows(axes, [f"{_short(name)} (n = {group.get('n', '?')})" for name, (_, group) in counted], narrow)
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent, with 95% interval" if narrow else "percent of instructions, with 95% interval")
    total = sum(group.get("n", 0) for _, group in found)
    title = f"Instructions done right, {BREAKDOWNS[by].lower().replace('api', 'API')} (n = {total})"
    axes.set_title("\n".join(textwrap.wrap(title, 30)) if narrow else title, pad=48 if narrow else 30)
    columns = 1 if narrow else 2
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, labelcolor=_INK, borderaxespad=0.3
    )
    return _svg(figure, by, narrow)


def _short(text: str) -> str:
    text = visible(" ".join(text.split()))
    return text if len(text) <= 40 else f"{text[:39]}…"


def _canvas(rows: int, narrow: bool) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure  # not pyplot: no window, no state shared with who calls this

    # One as wide as a page and one as a phone, for the page's style to choose: letters that shrink cannot be read.
    figure = Figure(figsize=(4.7, 2.2 + 0.5 * rows) if narrow else (10, 1.6 + 0.42 * rows), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=_INK, length=0, pad=8)  # a marker at 0 or 100 stands half outside
    axes.xaxis.label.set_color(_INK)
    axes.title.set_color(_INK)
    axes.grid(axis="x", color="#808080", alpha=0.35, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color("#808080")
    return figure, axes


def _rows(axes: "Axes", names: list[str], narrow: bool) -> None:
    # Not parsed: a dollar sign in a name is no formula.
    names = [_short(name) if len(name) > 60 else name for name in names]
    axes.set_yticks(
        range(len(names)), labels=["\n".join(textwrap.wrap(name, 20)) if narrow else name for name in names]
    )
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _svg(figure: "Figure", name: str, narrow: bool) -> str:
    import matplotlib

    buffer = io.StringIO()
    settings = {"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 12}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that is absent here is the browser's matter: text stays text
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # Several drawings stand in one page: what an id names in one of them must not be found in another.
    svg = re.sub(r'(?<=\sid=")|(?<=url\(#)|(?<=href="#)', f"{name}-{'n-' * narrow}", svg)
    kind = "narrow" if narrow else "broad"
    return svg.replace("<svg ", f'<svg class="{kind}" role="img" aria-label="{name.replace("_", " ")}" ', 1)
