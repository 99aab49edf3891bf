"""Checkpoints of an interrupted training: written whole or not at all, the newest one found again."""

from __future__ import annotations

import shutil
from pathlib import Path

from accelerate import Accelerator

from svitt.errors import CheckpointError

PREFIX = "step-"


def save(accelerator: Accelerator, folder: Path, step: int) -> Path:
    """Saves weights, optimizer, schedule and random states after ``step`` steps; older ones go.

    The folder is renamed into place, so a kill in the middle leaves the previous checkpoint valid.
    """
    target = folder / f"{PREFIX}{step:07d}"
    part = folder / f".part-{target.name}"
    shutil.rmtree(part, ignore_errors=True)
    accelerator.save_state(str(part))
    part.rename(target)
    for old in folder.glob(f"{PREFIX}*"):
        if old != target:
            shutil.rmtree(old)
    return target


def newest(folder: Path) -> tuple[Path, int] | None:
    """The newest checkpoint below ``folder`` and its step, or None."""
    found = sorted(folder.glob(f"{PREFIX}*"))
    return (found[-1], int(found[-1].name.removeprefix(PREFIX))) if found else None


def load(accelerator: Accelerator, path: Path) -> None:
    """Restores what ``save`` saved. Errors: CheckpointError naming the folder if it is damaged."""
    try:
        accelerator.load_state(str(path))
    except Exception as error:  # damaged bytes can raise anything
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error}); delete that folder to train from the start"
        ) from error
