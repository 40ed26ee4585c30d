"""The account of what was read: rows in, rows kept, rows set aside with file, place and reason."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SetAside:
    """One row that was not kept.

    Args:
        config (`str`): The config it would have been in.
        file (`str`): Name of the file.
        row (`str`): Its place in the file, counted from 0 as in ids.
        reason (`str`): Why it was not kept.
    """

    config: str
    file: str
    row: str
    reason: str


@dataclass
class Report:
    """Counts by config and file; rows in are always rows kept and rows set aside.

    Example:

    ```python
    >>> report = Report()
    >>> report.keep("apis", "train.json")
    >>> report.set_aside("apis", "train.json", "API 1", "has no Name")
    >>> report.counts()
    [{'config': 'apis', 'file': 'train.json', 'rows_in': 2, 'kept': 1, 'set_aside': 1}]
    ```
    """

    kept: dict[tuple[str, str], int] = field(default_factory=dict)
    rows: list[SetAside] = field(default_factory=list)

    def keep(self, config: str, file: str, count: int = 1) -> None:
        """Count rows that were kept."""
        self.kept[config, file] = self.kept.get((config, file), 0) + count

    def set_aside(self, config: str, file: str, row: str, reason: str) -> None:
        """Record one row that was not kept."""
        self.keep(config, file, 0)
        self.rows.append(SetAside(config, file, row, reason))

    def counts(self) -> list[dict[str, Any]]:
        """One dict a config and file: rows in, kept and set aside."""
        table = []
        for (config, file), kept in self.kept.items():
            aside = sum(row.config == config and row.file == file for row in self.rows)
            table.append({"config": config, "file": file, "rows_in": kept + aside, "kept": kept, "set_aside": aside})
        return table

    def as_dict(self) -> dict[str, Any]:
        """Counts and rows set aside, ready for JSON."""
        return {"counts": self.counts(), "set_aside": [asdict(row) for row in self.rows]}
