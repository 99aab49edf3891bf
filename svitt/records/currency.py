"""Whether a record is of the code and the settings that are here now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svitt.errors import RecordError
from svitt.records.code_hash import Code, changes
from svitt.records.code_list import read_code
from svitt.records.record import Record


def same_settings(recorded: Mapping[str, Any], now: Mapping[str, Any], default: Mapping[str, Any]) -> bool:
    """Whether two sets of parameters are the same, a setting that one lacks standing at its default: a new
    option costs no record."""
    for key in recorded.keys() | now.keys():
        if key in recorded and key in now:
            one, other = recorded[key], now[key]
            if isinstance(one, Mapping) and isinstance(other, Mapping):
                inner = default.get(key)
                if not same_settings(one, other, inner if isinstance(inner, Mapping) else {}):
                    return False
            elif one != other:
                return False
        elif key not in default or (recorded if key in recorded else now)[key] != default[key]:
            return False
    return True


def require_current(
    record: Record,
    path: Path,
    results: Path,
    code: Code,
    parameters: Mapping[str, Any],
    default: Mapping[str, Any],
) -> None:
    """Errors: RecordError that says why a record is stale, what that decides, what the record had cost, and
    the way out. Nothing is measured again without being asked."""
    why = []
    if record.code_hash != code.hash:
        changed = changes(read_code(results, record.code_hash).definitions, code.definitions)
        why.append(f"changed since: {', '.join(changed[:6])}" + (", ..." if len(changed) > 6 else ""))
    if not same_settings(record.parameters, parameters, default):
        differs = sorted(
            key
            for key in record.parameters.keys() | parameters.keys()
            if record.parameters.get(key) != parameters.get(key)
        )
        why.append(f"recorded with other settings: {', '.join(differs)}")
    if why:
        minutes = max(1, round(record.cpu_seconds / 60))
        raise RecordError(
            f"{path} is stale ({'; '.join(why)}). It decides {record.chapter} at scale {record.scale}, seed "
            f"{record.seed}, and took {minutes} CPU minutes. To measure it again: svitt run {record.chapter} "
            f"--scale {record.scale} --seeds {record.seed} --rerun"
        )
