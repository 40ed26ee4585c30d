"""Kept calls, written into their text (section 2, the last step before fine-tuning)."""

from collections.abc import Iterable

from .filter import Candidate


def chosen(candidates: Iterable[Candidate], thresholds: dict[str, float]) -> list[Candidate]:
    """The calls that are written into a text, by position.

    Of those that the rule keeps, a position gets the one with the highest gain, and the same call stands once in a text, where
    its gain is highest: the weights reach over five tokens, so a helpful call is often kept at several of them.

    Args:
        candidates (`Iterable[Candidate]`): Of one text.
        thresholds (`dict[str, float]`): τ_f by tool.

    Example:

    ```python
    >>> found = [
    ...     Candidate("Calculator", "2+3", i, i, 0.5, "5", l_empty=plain, l_call=9.0, l_plus=0.0)
    ...     for i, plain in ((3, 1.0), (4, 2.0))
    ... ]
    >>> [one.index for one in chosen(found, {"Calculator": 0.5})]
    [4]
    ```
    """
    kept = [one for one in candidates if one.gain is not None and one.gain >= thresholds[one.tool]]
    taken: list[Candidate] = []
    for one in sorted(kept, key=lambda one: (-one.gain, one.position, one.tool, one.input)):
        if all(
            one.position != other.position and (one.tool, one.input) != (other.tool, other.input) for other in taken
        ):
            taken.append(one)
    return sorted(taken, key=lambda one: one.position)
