"""Annotated texts to segments, the form that one training path takes of both papers.

The whole text is trained, calls and results with it, as in section 2 of the Toolformer paper (arXiv 2302.04761); results
can be left out of the loss instead, since a model never writes them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...schema import Segment
from ..markers import Call, Markers


def annotate(
    row_id: str, text: str, calls: Sequence[Mapping[str, Any]], markers: Markers, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A row of the `annotated` config, of a text and the calls that belong into it.

    Args:
        row_id (`str`): `toolformer/SHARD/INDEX`.
        text (`str`): The plain text.
        calls (`Sequence[Mapping]`): `call` ([`Call`]), `result`, `position` (characters of the text before it) and, where
            they are known, `l_minus`, `l_plus` and `gain`.
        markers ([`Markers`]): How they are written.
        meta (`Mapping`, *optional*): What else is known about the text.

    Returns:
        `dict`: `id`, `text`, `annotated`, `calls`, `outcome` and `meta`.

    Example:

    ```python
    >>> call = {"call": Call("Calculator", "48/2"), "result": "24", "position": 7}
    >>> annotate("toolformer/mine/0", "48/2 = 24", [call], Markers())["annotated"]
    '48/2 = [Calculator(48/2) -> 24] 24'
    ```
    """
    ordered = sorted(calls, key=lambda one: one["position"])
    rows = [
        {
            "tool": one["call"].tool,
            "input": one["call"].input,
            "result": one["result"],
            "position": one["position"],
            "l_minus": one.get("l_minus"),
            "l_plus": one.get("l_plus"),
            "gain": one.get("gain"),
        }
        for one in ordered
    ]
    return {
        "id": row_id,
        "text": text,
        "annotated": annotated_text(text, rows, markers),
        "calls": rows,
        "outcome": "annotated" if rows else "no call kept",
        "meta": dict(meta or {}),
    }


def annotated_text(text: str, calls: Iterable[Mapping[str, Any]], markers: Markers) -> str:
    """A text with its calls and their results written into it; markers that it held before are escaped.

    Args:
        text (`str`): The plain text.
        calls (`Iterable[Mapping]`): Rows of `calls`, with `tool`, `input`, `result` and `position`.
        markers ([`Markers`]): How they are written.

    Example:

    ```python
    >>> annotated_text("as in [1]", [], Markers())
    'as in ␛(1␛)'
    ```
    """
    written = []
    for one in calls:
        position = len(markers.escape(text[: one["position"]]))
        call = markers.with_result(Call(one["tool"], markers.without(one["input"])), markers.without(one["result"]))
        written.append((position, call))
    return markers.insert(markers.escape(text), written)


def text_segments(annotated: str, markers: Markers, mask_results: bool = False) -> list[Segment]:
    """The segments of an annotated text, its own markers restored.

    Args:
        annotated (`str`): With calls; from [`annotated_text`].
        markers ([`Markers`]): How they are written.
        mask_results (`bool`, *optional*, defaults to `False`): Leave what stands between a call's arrow and its end out
            of the loss.

    Returns:
        `list[Segment]`: One trained segment, or trained text and untrained results in turn.

    Example:

    ```python
    >>> for one in text_segments("48/2 = [Calculator(48/2) -> 24] 24", Markers(), mask_results=True):
    ...     print(one)
    Segment(text='48/2 = [Calculator(48/2) ->', trainable=True)
    Segment(text=' 24', trainable=False)
    Segment(text='] 24', trainable=True)
    ```
    """
    if not mask_results:
        return [Segment(markers.restore(annotated), True)]
    segments, at = [], 0
    for found in markers.find(annotated):
        if found.result is None:
            continue
        end = found.end - len(markers.end)
        begin = annotated.rindex(markers.arrow, found.start, end) + len(markers.arrow)
        segments += [
            Segment(markers.restore(annotated[at:begin]), True),
            Segment(markers.restore(annotated[begin:end]), False),
        ]
        at = end
    return [*segments, Segment(markers.restore(annotated[at:]), True)]


def sft_row(row: Mapping[str, Any], markers: Markers, mask_results: bool = False) -> dict[str, Any]:
    """A row of the `sft` config, of a row of `annotated`.

    Args:
        row (`Mapping`): With `id` and `annotated`.
        markers, mask_results: See [`text_segments`].

    Returns:
        `dict`: `id`, `api` (`None`: there is none) and `segments`.
    """
    segments = text_segments(row["annotated"], markers, mask_results)
    return _row(row["id"], segments)


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The plain-text twin of [`sft_row`]: the same text without its calls.

    Example:

    ```python
    >>> plain_row({"id": "toolformer/mine/0", "text": "48/2 = 24"})["segments"]
    [{'text': '48/2 = 24', 'trainable': True}]
    ```
    """
    return _row(row["id"], [Segment(row["text"], True)])


def _row(row_id: str, segments: Iterable[Segment]) -> dict[str, Any]:
    return {
        "id": row_id,
        "api": None,
        "segments": [{"text": one.text, "trainable": one.trainable} for one in segments],
    }


def mixed(
    rows: Iterable[Mapping[str, Any]], plain: Iterable[Mapping[str, Any]], fraction: float
) -> Iterator[Mapping[str, Any]]:
    """Training rows with plain text among them, so that a model goes on to be one of language (section 4.3).

    Plain rows are spread evenly, so that a run that ends early has seen its share of them as well.

    Args:
        rows (`Iterable[Mapping]`): Annotated rows, all of which are kept.
        plain (`Iterable[Mapping]`): Plain rows; as many are taken as are needed.
        fraction (`float`): Share of plain rows among all, from 0 to less than 1.

    Example:

    ```python
    >>> [row["id"] for row in mixed([{"id": "a"}, {"id": "b"}], [{"id": "p"}, {"id": "q"}], 0.5)]
    ['a', 'p', 'b', 'q']
    ```
    """
    rest = iter(plain)
    done = added = 0
    for row in rows:
        done += 1
        yield row
        while added + 1 <= done * fraction / (1 - fraction) + 1e-9:
            extra = next(rest, None)
            if extra is None:
                break
            added += 1
            yield extra
