"""The records and raw outcomes that verdicts rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from svitt.errors import RecordError
from svitt.records.arrays import Array
from svitt.records.record import Record, read_outcomes, read_records, record_path
from svitt.records.training import one_way_of_training

M = TypeVar("M")


def one_kind_of_device(records: Sequence[Record]) -> None:
    """Errors: RecordError where some records were made on a CPU and others on a GPU."""
    seeds: dict[str, list[int]] = {"CPU": [], "GPU": []}
    for record in records:
        seeds["GPU" if record.hardware.gpu else "CPU"].append(record.seed)
    if all(seeds.values()):
        raise RecordError(
            f"seeds {seeds['CPU']} were made on a CPU and {seeds['GPU']} on a GPU; one verdict is of one "
            "kind of device: measure the rest on the same kind (svitt run ... --device)"
        )


@dataclass
class Results:
    """Records and raw outcomes below ``path``, each file read once.

    on_error: called with a RecordError instead of raising it; the chapter then counts as not measured.
    """

    path: Path
    on_error: Callable[[RecordError], None] | None = None
    _records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    _outcomes: dict[Path, dict[str, Array]] = field(default_factory=dict)

    def records(self, scale: str, chapter: str) -> list[Record]:
        """All seeds of a chapter at a scale, their outcomes readable."""
        key = (scale, chapter)
        if key not in self._records:
            try:
                found = read_records(self.path, scale, chapter)
                for record in found:
                    path = record_path(self.path, scale, chapter, record.seed)
                    self._outcomes[path] = read_outcomes(path)
            except RecordError as error:
                if self.on_error is None:
                    raise
                self.on_error(error)
                found = []
            self._records[key] = found
        return self._records[key]

    def outcomes(self, record: Record) -> dict[str, Array]:
        """The raw outcomes of a record that ``records`` returned."""
        return self._outcomes[record_path(self.path, record.scale, record.chapter, record.seed)]

    def measured(self, records: list[Record], compute: Callable[[], M]) -> M | None:
        """``compute()``, its RecordError naming the folder; None when ``on_error`` took it.

        Records of a CPU and of a GPU, or of models trained in different ways, are never mixed in one verdict:
        that is such an error.
        """
        try:
            one_kind_of_device(records)
            one_way_of_training({record.seed: record.training for record in records})
            return compute()
        except RecordError as error:
            folder = self.path / records[0].scale / records[0].chapter
            named = RecordError(f"{folder}: {error}")
            if self.on_error is None:
                raise named from error
            self.on_error(named)
            return None
