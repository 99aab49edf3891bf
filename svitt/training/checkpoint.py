"""Checkpoints of an interrupted training: written whole or not at all, the newest one found again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from accelerate import Accelerator

from svitt.errors import CheckpointError

PREFIX, DIGESTS = "step-", "digests.json"


def save(accelerator: Accelerator, folder: Path, step: int) -> Path:
    """Saves weights, optimizer, schedule and random states after ``step`` steps; older ones go.

    The folder is renamed into place, so a kill in the middle leaves the previous checkpoint valid.
    """
    target = folder / f"{PREFIX}{step:07d}"
    part = folder / f".part-{target.name}"
    shutil.rmtree(part, ignore_errors=True)
    accelerator.save_state(str(part))
    _write_digests(part)
    part.rename(target)
    for old in folder.glob(f"{PREFIX}*"):
        if old != target:
            shutil.rmtree(old)
    return target


def newest(folder: Path) -> tuple[Path, int] | None:
    """The newest checkpoint below ``folder`` and its step, or None."""
    found = sorted(folder.glob(f"{PREFIX}*"))
    return (found[-1], int(found[-1].name.removeprefix(PREFIX))) if found else None


def _write_digests(folder: Path) -> None:
    """Brings the files to the disk and keeps the SHA-256 of each."""
    digests: dict[str, str] = {}
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        with path.open("rb+") as file:
            digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    (folder / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def _check_digests(folder: Path) -> None:
    """Errors: CheckpointError for a file that is not what was saved."""
    try:
        digests: dict[str, str] = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        wrong = [name for name, sha256 in digests.items() if _sha256(folder / name) != sha256]
    except (OSError, ValueError, AttributeError) as error:
        wrong = [str(error)]
    if wrong:
        raise CheckpointError(
            f"checkpoint {folder} is damaged ({', '.join(wrong)}); delete that folder to train from the start"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(accelerator: Accelerator, path: Path) -> None:
    """Restores what ``save`` saved. Errors: CheckpointError naming the folder if it is damaged."""
    _check_digests(path)
    try:
        accelerator.load_state(str(path))
    except Exception as error:  # damaged bytes can raise anything
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error}); delete that folder to train from the start"
        ) from error
