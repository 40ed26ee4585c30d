"""Text of a model or an API made safe to look at: nothing hidden, nothing that turns or marks up what is around it."""

import re

# Control pictures stand for the C0 controls; tab and newline are shown as what they are.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)} | {0x7F: "␡"}

# C1 controls; marks without width, of direction or for annotation; line separators; halves of surrogate pairs; tags;
# letters that show nothing, and no characters. The joiners U+200C and U+200D stay: scripts and emoji need them.
_HIDDEN = re.compile(
    "[\x80-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\uffa0\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U000e0000-\U000e0fff]"
)

# What means something in Markdown or HTML. GitHub links addresses, mentions and numbers of issues even where nothing
# marks them as such; a space without width ends them.
_MARKDOWN = re.compile(r"(?P<link>@|#(?=\w)|:(?=\S)|(?<=www)\.)|[&<>\\`*_{}\[\]|~$#]", re.IGNORECASE)


def visible(text: str) -> str:
    """The text with its control characters shown, and those that would reorder or hide text spelled out.

    Example:

    ```python
    >>> visible("a\\x00b \\u202ecod")
    'a␀b ‹U+202E›cod'
    ```
    """
    if text.isascii() and text.isprintable():  # most are, and a page has tens of thousands
        return text
    text = text.replace("\r\n", "\n").translate(_PICTURES)
    return _HIDDEN.sub(lambda found: f"‹U+{ord(found.group()):04X}›", text)


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and end where it has more than `limit` characters, with what was left out counted.

    Example:

    ```python
    >>> clip("abcdefghijkl", 8)
    'abcdef\\n… 4 characters left out …\\nkl'
    ```
    """
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail]}\n… {len(text) - limit:,} characters left out …\n{text[len(text) - tail :]}"


def markdown_text(text: str) -> str:
    """Any text as one line of Markdown that says just this, in a table as well.

    Example:

    ```python
    >>> markdown_text("a | <b>\\n`c`")
    'a &#124; &#60;b&#62; &#96;c&#96;'
    ```
    """

    def entity(found: re.Match[str]) -> str:
        return f"&#{ord(found.group())};{'&#8203;' if found['link'] else ''}"

    return _MARKDOWN.sub(entity, " ".join(visible(text).split()))
