"""Plots as SVG inside a page: one drawing as wide as a page and one as a phone, in the page's text colour."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .escaping import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of Okabe and Ito's palette, which keeps its colours apart for colour-blind eyes.
BLUE, ORANGE = "#0072B2", "#D55E00"
# What is drawn in this becomes the colour of the page's text, in a light and in a dark page.
_INK = "#010203"
_GREY = "#808080"
# Text stays text, and no tick has a mark: a marker at an end of the axis stands half outside.
_LOOK: dict[str, Any] = {"font.family": "sans-serif", "svg.fonttype": "none", "axes.axisbelow": True}
_LOOK |= {"grid.alpha": 0.35, "xtick.major.pad": 8, "ytick.major.pad": 8}
_LOOK |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _INK)
_LOOK |= dict.fromkeys(("axes.edgecolor", "grid.color"), _GREY)
_LOOK |= dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.spines.bottom"), False)
_LOOK |= dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0)
_TITLE_WIDTH = 32
_LABEL_WIDTH = 20


def plot(
    name: str, title: str, draw: Callable[["Axes", bool], None], rows: float = 4, grid: Literal["both", "x", "y"] = "x"
) -> str:
    """Draw twice, wide and narrow, for the page's style to choose: letters that shrink with a drawing cannot be read.

    Args:
        name (`str`): Of the plot; the same name and drawing give the same text, and no id of a plot of another name.
        draw (`Callable[[Axes, bool], None]`): Draws into the axes; the flag says whether it is the narrow drawing.
        rows (`float`, *optional*, defaults to 4): Its height, in lines of text with their distance.

    Returns a `<div>` with `svg.broad` and `svg.narrow`; raises `ImportError` without matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot: no window, no state shared with the caller

    drawings = []
    for narrow in (False, True):
        look: Any = _LOOK | {"font.size": 11 if narrow else 10, "svg.hashsalt": name}
        with matplotlib.rc_context(look):
            size = (4.7, 2 + 0.5 * rows) if narrow else (10, 1.4 + 0.42 * rows)
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.add_subplot()
            axes.grid(axis=grid)
            draw(axes, narrow)
            # Over the whole figure: the axes are too narrow for it where labels stand beside them.
            wrapped = "\n".join(textwrap.wrap(title, _TITLE_WIDTH)) if narrow else title
            figure.suptitle(wrapped, parse_math=False, fontsize="large")
            buffer = io.StringIO()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a glyph that is absent here is the browser's matter
                metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
                figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
        svg = buffer.getvalue()
        svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
        svg = re.sub(r'(?<=\sid=")|(?<=url\(#)|(?<=href="#)', f"{name}-{'n-' * narrow}", svg)
        kind = "narrow" if narrow else "broad"
        head = f'<svg class="{kind}" role="img" aria-label="{name.replace("_", " ")}" '
        drawings.append(svg.replace("<svg ", head, 1))
    return f"<div>{''.join(drawings)}</div>"


def bar_plot(name: str, title: str, counts: Sequence[tuple[str, int]], colour: str = BLUE) -> str:
    """A [`plot`] of horizontal bars, the first at the top; `counts` has what each is called, and its length."""

    def draw(axes: "Axes", narrow: bool) -> None:
        values = [count for _, count in counts]
        drawn = axes.barh(range(len(counts)), values, color=colour, height=0.62)
        axes.bar_label(drawn, labels=[f"{count:,}" for count in values], padding=4)
        label_rows(axes, [text for text, _ in counts], narrow)
        axes.set_xlim(0, max([1, *values]) * (1.3 if narrow else 1.12))
        axes.locator_params("x", integer=True)

    return plot(name, title, draw, len(counts))


def label_rows(axes: "Axes", labels: Sequence[str], narrow: bool, limit: int = 40) -> None:
    """Label the rows of a plot from the top down, each with at most `limit` characters."""
    shown = [visible(" ".join(label.split())) for label in labels]
    shown = [label if len(label) <= limit else f"{label[: limit - 1]}…" for label in shown]
    shown = ["\n".join(textwrap.wrap(label, _LABEL_WIDTH)) if narrow else label for label in shown]
    axes.set_yticks(range(len(shown)), labels=shown)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    axes.set_ylim(len(shown) - 0.5, -0.5)
