"""Features kept by content: what was encoded once, by the same weights from the same input, is read back.

A second evaluation with other re-ranking settings encodes nothing again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.atomic import write_atomically
from svitt.errors import CheckpointError

Arrays = dict[str, npt.NDArray[Any]]
_CHUNK = 1 << 20


def digest(*parts: object) -> str:
    """SHA-256 over parts: bytes, arrays (with shape and type), files (a ``Path``: the content), JSON."""
    total = hashlib.sha256()
    for part in parts:
        total.update(_digest(part))
    return total.hexdigest()


def _digest(part: object) -> bytes:
    """Of one part, marked with its kind, so that no two kinds can be confused."""
    one = hashlib.sha256()
    if isinstance(part, Path):
        one.update(b"file")
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                one.update(chunk)
    elif isinstance(part, np.ndarray):
        one.update(f"array {part.dtype.str} {part.shape}".encode())
        one.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, bytes):
        one.update(b"bytes" + part)
    else:
        one.update(b"json" + json.dumps(part, sort_keys=True).encode())
    return one.digest()


@dataclass(frozen=True)
class FeatureCache:
    """Named arrays in files of ``folder``, found by a digest of everything that determines them."""

    folder: Path

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / f"{key}.npz"

    def get(self, key: str, make: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> Arrays:
        """The arrays of ``key``, made now and kept if they are not there. Written at one stroke.

        Errors: CheckpointError for a damaged file.
        """
        path = self.path(key)
        if path.is_file():
            try:
                with np.load(path) as data:
                    return {name: data[name] for name in data.files}
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise CheckpointError(
                    f"{path}: damaged features ({error}); delete it: it is made again"
                ) from error
        made = {name: np.asarray(array) for name, array in make().items()}
        content = io.BytesIO()
        np.savez(content, **made)  # type: ignore[arg-type]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
        return made
