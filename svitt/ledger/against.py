"""Old results beside new ones: ``svitt claims --against DIR``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from svitt.ledger.check import record_files
from svitt.ledger.claims import Claim
from svitt.ledger.verdicts import ledger
from svitt.records.record import Record, read_outcomes, read_record, record_path


def against(claims: Sequence[Claim], results: Path, fresh: Path) -> list[str]:
    """One line per record that stands in both folders, saying whether its numbers are the same, and one per
    claim whose records are in both: the verdict old and new.

    Errors: RecordError for a file that cannot be read.
    """
    lines: list[str] = []
    chapters: set[str] = set()
    for path in record_files(fresh):
        record = read_record(path)
        read_outcomes(path)
        old_path = record_path(results, record.scale, record.chapter, record.seed)
        where = f"{record.scale}/{record.chapter}/seed{record.seed}"
        if not old_path.is_file():
            lines.append(f"{where}: only in {fresh}")
            continue
        chapters.add(record.chapter)
        lines.append(f"{where}: {_compared(read_record(old_path), record)}")
    old, new = ledger(claims, results), ledger(claims, fresh)
    for before, now in zip(old, new, strict=True):
        if any(name.startswith(before.claim.chapter) for name in chapters):
            verdicts = [
                f"{row.present.verdict} (first edition: {row.mechanism.verdict})" for row in (before, now)
            ]
            same = "same" if verdicts[0] == verdicts[1] else "differs"
            lines.append(f"{before.claim.id}: {verdicts[0]} -> {verdicts[1]}: {same}")
    return lines


def _compared(old: Record, new: Record) -> str:
    if old.outcomes_sha256 == new.outcomes_sha256:
        return "the same to the last bit"
    names = sorted(old.values.keys() | new.values.keys())
    differ = [name for name in names if old.values.get(name) != new.values.get(name)]
    if not differ:
        return f"all {len(names)} values the same; raw outcomes differ (times, last bits)"
    shown = ", ".join(f"{name} {_short(old, name)} -> {_short(new, name)}" for name in differ[:4])
    more = f" and {len(differ) - 4} more" if len(differ) > 4 else ""
    return f"{len(differ)} of {len(names)} values differ: {shown}{more}"


def _short(record: Record, name: str) -> str:
    value = record.values.get(name, "-")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
