"""Files written whole or not at all: a reader, or the next start after a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, hidden and ending in ``.part``.

    What the block writes there takes the place of ``path`` at one stroke when the block ends, once it is on
    the disk. An error leaves ``path`` as it was and nothing beside it; a killed process leaves the part.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_pattern(path: Path) -> str:
    """The pattern (``Path.glob``) of what killed writers of ``path`` leave beside it."""
    return f".{path.name}.*.part"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file, or replaces it, at one stroke."""
    with replacing(path) as part:
        part.write_bytes(content)
