"""The files of one notebook execution, finished, failed or under way."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path


def executed_key(notebook: Path, records: Sequence[Path]) -> str | None:
    """The key of the job that ``notebook`` is the finished execution of, None when there is none or
    a result it recorded is gone."""
    if not notebook.is_file():
        return None
    try:
        data = json.loads(notebook.read_text(encoding="utf-8"))
        state = data["metadata"].get("svitt", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        # Torn by a kill or a full disk: it is the finished execution of nothing, and is made anew.
        print(f"{notebook} is damaged and will be executed again", file=sys.stderr)
        return None
    if state.get("recorded") and not all(record.is_file() for record in records):
        return None
    key = state.get("key")
    return key if isinstance(key, str) else None


def part_file(output: Path) -> Path:
    """The notebook while it is being executed."""
    return output.with_suffix(".part.ipynb")


def failed_file(output: Path) -> Path:
    """The notebook of a failed execution, with the error cell."""
    return output.with_suffix(".failed.ipynb")


def lock_file(output: Path) -> Path:
    """Locked by the process that executes the notebook."""
    return output.with_name(f".{output.name}.lock")
