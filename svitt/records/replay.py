"""Replay: a refactoring that changes syntax and no number, vouched for by measuring before and after.

The code before, at a commit where the records are current, and the code now measure the same thing on one
machine; where every outcome that is not a measured time or memory agrees bit for bit, the records may take
the hash of the code now. They then say "recorded at A, equal by replay at B".
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svitt.atomic import write_atomically
from svitt.records.arrays import Array
from svitt.records.code_hash import Code
from svitt.records.code_list import write_code
from svitt.records.record import Record, Replayed, signed

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """Summary numbers and raw outcomes of one measurement."""

    values: Values
    outcomes: Mapping[str, Array]


def is_timed(name: str, patterns: Sequence[str]) -> bool:
    """Whether an outcome or value is a measured time or memory, which no replay can repeat."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def differences(before: Measured, now: Measured, timed: Sequence[str] = ()) -> list[str]:
    """Names of outcomes and values that are not bit-identical, sorted; times and memories are left out."""
    found: list[str] = []
    for name in sorted(before.outcomes.keys() | now.outcomes.keys()):
        if not is_timed(name, timed) and not _same(before.outcomes.get(name), now.outcomes.get(name)):
            found.append(name)
    for name in sorted(before.values.keys() | now.values.keys()):
        if not is_timed(name, timed) and before.values.get(name) != now.values.get(name):
            found.append(f"value {name}")
    return found


def _same(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None:
        return False
    a, b = np.ascontiguousarray(one), np.ascontiguousarray(other)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def stamp(results: Path, path: Path, record: Record, code: Code, replayed: Replayed) -> None:
    """Gives the record at ``path`` the hash of the code now, and says what vouches for it."""
    write_code(results, code)
    changes = {"code_hash": code.hash, "replays": (*record.replays, replayed)}
    write_atomically(path, signed(record.model_copy(update=changes).model_dump(mode="json")))
