"""What a model or an API wrote, made safe to look at: nothing hidden, nothing that turns the text around it."""

import re

# Control pictures stand for the C0 controls; tab and newline are shown as what they are.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)} | {0x7F: "␡"}

# C1 controls; marks without width, of direction or for annotation; line separators; halves of surrogate pairs; tags;
# what stands for no character. The joiners U+200C and U+200D stay: scripts and emoji need them.
_HIDDEN = re.compile(
    "[\x80-\x9f\xad\u061c\u070f\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """The text with its control characters shown, and those that would reorder or hide text spelled out.

    Args:
        text (`str`): Any text.

    Example:

    ```python
    >>> visible("a\\x00b \\u202ecod")
    'a␀b ‹U+202E›cod'
    ```
    """
    if text.isprintable():  # most are, and a page has tens of thousands
        return text
    text = text.replace("\r\n", "\n").translate(_PICTURES)
    return _HIDDEN.sub(lambda found: f"‹U+{ord(found.group()):04X}›", text)


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and its end where it is longer than the limit, with what was left out counted.

    Args:
        text (`str`): Any text.
        limit (`int`): Characters that are kept at most.

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
