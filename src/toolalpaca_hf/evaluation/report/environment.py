"""Jinja as the report uses it: every value that a template prints passes one filter, so that none is forgotten."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ToolAlpacaError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(autoescape: bool, filter_text: Callable[[str], Any]) -> "Environment":
    """An environment for the templates beside this file.

    Args:
        autoescape (`bool`): Whether what is printed is escaped for HTML.
        filter_text (`Callable[[str], Any]`): What each printed text passes; `Markup` is printed as it is.

    Raises:
        ToolAlpacaError: jinja2 is not installed.

    Example:

    ```python
    >>> environment(True, str.upper).from_string("<b>{{ x }}</b>").render(x="<i>")
    '<b>&lt;I&gt;</b>'
    ```
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise ToolAlpacaError("the report needs jinja2; install it with: pip install jinja2") from None

    def finalize(value: Any) -> Any:
        return filter_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=PackageLoader(__package__),
        autoescape=autoescape,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
