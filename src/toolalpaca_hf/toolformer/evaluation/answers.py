"""A file of answers that grows by a line with each, and that only a run with the same settings goes on with."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...agent.json_lines import append_rows, check_settings, claimed, read_rows, write_whole, writing
from ...errors import ToolAlpacaError


class Answers:
    """Records of one model on one task, by id, on disk before [`Answers.add`] returns.

    Args:
        path (`Path`): A `.jsonl` file; its settings stand beside it in `NAME.settings.json`.
        settings (`Mapping`): What decides the answers.

    Raises:
        [`ToolAlpacaError`]: The file was made with other settings, is in use, or can not be written.

    Example:

    ```python
    >>> with Answers(Path("svamp.jsonl"), {"model": "outputs/x"}).opened() as answers:  # doctest: +SKIP
    ...     answers.add([{"id": "svamp/0", "right": True}])
    ```
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))
        self.records: dict[str, dict[str, Any]] = {}

    @contextmanager
    def opened(self) -> Iterator["Answers"]:
        """Read what is there, and keep others out while the `with` block lasts."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with claimed(self.path, self.path.with_name(f".{self.path.name}.lock")):
            self._compare_settings()
            self.records = read_rows(self.path, "answer")
            with writing(self.path):
                self._file = self.path.open("ab", buffering=0)
            with self._file:
                yield self

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep records, each with an `id`."""
        with writing(self.path):
            append_rows(self._file, records)
        self.records.update({record["id"]: dict(record) for record in records})

    def _compare_settings(self) -> None:
        path = self.path.with_suffix(".settings.json")
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            with writing(self.path):
                write_whole(path, json.dumps(self.settings, ensure_ascii=False, indent=1) + "\n")
            return
        except (OSError, ValueError):
            raise ToolAlpacaError(f"{path} can not be read; pass another --out") from None
        check_settings(self.path, "answers made", before, self.settings)
