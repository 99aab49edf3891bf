"""Raw outcomes (a rank or a choice a clip, a learning curve) as deterministic compressed JSON.

Each array becomes its shape, its dtype and its values in row-major order. Equal arrays give equal bytes, and
the hash is taken before compression, so that it does not depend on the zlib at hand.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from svitt.errors import RecordError

Array = NDArray[Any]


class Outcome(BaseModel):
    """Shape and numpy dtype of one array of raw outcomes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: list[int]
    dtype: str


def outcomes_path(path: Path) -> Path:
    """The file of raw outcomes beside the record at ``path``."""
    return path.with_name(path.name.removesuffix(".json") + ".outcomes.json.gz")


def canonical(data: Any) -> bytes:
    """One text for equal data: sorted keys, no blanks, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _plain_list(array: Array) -> list[Any]:
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        # The shortest decimals that read back to the same float16/float32: a third of the size.
        return [float(str(v)) for v in array.ravel()]
    return list(array.ravel().tolist())


def encode(outcomes: Mapping[str, ArrayLike]) -> tuple[bytes, dict[str, Outcome]]:
    """Canonical bytes of the arrays, and the shape and dtype of each.

    Errors: RecordError for an array that is not of finite numbers, truth values or texts.
    """
    data: dict[str, Any] = {}
    shapes: dict[str, Outcome] = {}
    for name in sorted(outcomes):
        array = np.asarray(outcomes[name])
        if array.dtype.kind not in "biufU":
            raise RecordError(f"outcome {name!r} has dtype {array.dtype}; record numbers, choices or texts")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RecordError(f"outcome {name!r} holds NaN or infinity; record finite numbers")
        dtype = array.dtype.newbyteorder("=").str.lstrip("<>|=")
        shapes[name] = Outcome(shape=list(array.shape), dtype=dtype)
        data[name] = {"shape": list(array.shape), "dtype": dtype, "values": _plain_list(array)}
    return canonical(data), shapes


def write_atomically(path: Path, data: bytes) -> None:
    """Atomic: a reader sees the old file or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def compress(encoded: bytes) -> bytes:
    """gzip without a time stamp."""
    return gzip.compress(encoded, compresslevel=9, mtime=0)


def decode(compressed: bytes) -> tuple[str, dict[str, Array]]:
    """(SHA-256 of the canonical bytes, the arrays).

    Errors: ValueError when the bytes are no such file.
    """
    try:
        encoded = gzip.decompress(compressed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    arrays = {
        name: np.array(entry["values"], dtype=entry["dtype"]).reshape(entry["shape"])
        for name, entry in json.loads(encoded).items()
    }
    return hashlib.sha256(encoded).hexdigest(), arrays
