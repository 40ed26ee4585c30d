"""The screen as a step of a datatrove pipeline."""

from collections.abc import Sequence

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter

from .decontamination import Screen


class ScreenFilter(BaseFilter):
    """Drops documents whose text or metadata holds an instruction of a benchmark, see [`Screen`].

    Args:
        against (`str` or `Sequence[str]`, *optional*, defaults to `"published"`): As in [`Screen`].
        exclusion_writer (`DiskWriter`, *optional*): Writes what is dropped.

    Example:

    ```python
    >>> from datatrove.data import Document
    >>> ScreenFilter("sample").filter(Document("Where can I get plums for no more than 4 a kilo?", id="0"))
    (False, 'sample: is in the evaluation set')
    ```
    """

    name = "Benchmark screen"

    def __init__(self, against: str | Sequence[str] = "published", exclusion_writer: DiskWriter | None = None) -> None:
        super().__init__(exclusion_writer)  # type: ignore[arg-type]  # declared without `None`, its default
        self.screen = Screen(against)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        leak = self.screen.leak({"text": doc.text, "metadata": doc.metadata})
        return True if leak is None else (False, f"{leak[0]}: {leak[1]}")
