"""Raw outcomes (a rank or a choice a clip, a learning curve) as deterministic compressed JSON.

Each array becomes its shape, its dtype and its values in row-major order. Equal arrays give equal bytes, and
the hash is taken before compression, so that it does not depend on the zlib at hand.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from svitt.errors import RecordError

Array = NDArray[Any]
_DTYPE = re.compile(r"(b)(1)|([iu])([1248])|(f)([248])|(U)([1-9]\d{0,3})")
MOST_BYTES = 256 * 2**20  # of the arrays of one record, unpacked


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


def compress(encoded: bytes) -> bytes:
    """gzip without a time stamp."""
    return gzip.compress(encoded, compresslevel=9, mtime=0)


def strict_json(data: bytes) -> Any:
    """The JSON in ``data``. Errors: ValueError where it is none, or a key stands twice in an object (a reader
    would silently take the last)."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            twice = next(key for key in made if sum(key == other for other, _ in pairs) > 1)
            raise ValueError(f"the key {twice!r} stands twice")
        return made

    try:
        return json.loads(data, object_pairs_hook=once)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def decode(compressed: bytes, declared: Mapping[str, Outcome] | None = None) -> tuple[str, dict[str, Array]]:
    """(SHA-256 of the canonical bytes, the arrays).

    declared: name -> shape and dtype that the record states; nothing larger is unpacked. Errors: ValueError
    when the bytes are no such file, before anything of the size they claim is allocated.
    """
    encoded = _unpacked(compressed, _most_bytes(declared))
    data = strict_json(encoded)
    if not isinstance(data, dict):
        raise ValueError(f"holds {type(data).__name__}, not arrays by name")
    if declared is not None and data.keys() != declared.keys():
        raise ValueError("holds other arrays than the record states")
    arrays = {name: _array(name, entry) for name, entry in data.items()}
    for name, outcome in (declared or {}).items():
        array = arrays[name]
        if list(array.shape) != outcome.shape or array.dtype != np.dtype(outcome.dtype):
            raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, not what the record states")
    return hashlib.sha256(encoded).hexdigest(), arrays


def _most_bytes(declared: Mapping[str, Outcome] | None) -> int:
    """An upper bound for the JSON of such arrays. Errors: ValueError for a shape or type that is none."""
    if declared is None:
        return MOST_BYTES
    total = 2
    for name, outcome in declared.items():
        kind, size = _dtype(name, outcome.dtype)
        count = _count(name, outcome.shape)
        each = 6 * size + 3 if kind == "U" else 32
        total += 200 + 6 * len(name) + 24 * len(outcome.shape) + count * each
    if total > MOST_BYTES:
        raise ValueError(f"its record states arrays of up to {total} bytes; at most {MOST_BYTES} are read")
    return total


def _unpacked(compressed: bytes, most: int) -> bytes:
    unpack = zlib.decompressobj(wbits=31)
    try:
        data = unpack.decompress(compressed, most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(data) > most:
        raise ValueError(f"unpacks to more than the {most} bytes that its arrays can take")
    if not unpack.eof or unpack.unused_data:
        raise ValueError("ends early, or goes on after its end")
    return data


def _dtype(name: str, dtype: object) -> tuple[str, int]:
    """(kind, size). Errors: ValueError for a type that outcomes do not have."""
    found = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    if found is None:
        raise ValueError(f"array {name!r} has dtype {dtype!r}; expected b1, i1-i8, u1-u8, f2-f8 or U<n>")
    kind, size = (part for part in found.groups() if part is not None)
    return kind, int(size)


def _count(name: str, shape: object) -> int:
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n <= MOST_BYTES for n in shape):
        raise ValueError(f"array {name!r} has shape {shape!r}; expected a list of whole numbers")
    return math.prod(shape)


def _array(name: str, entry: object) -> Array:
    if not isinstance(entry, dict) or entry.keys() != {"shape", "dtype", "values"}:
        raise ValueError(f"array {name!r} does not consist of shape, dtype and values")
    (kind, size), count, values = _dtype(name, entry["dtype"]), _count(name, entry["shape"]), entry["values"]
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"array {name!r} of shape {entry['shape']} does not have that many values")
    allowed: tuple[type, ...] = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float), "U": (str,)}[kind]
    if not all(type(value) in allowed for value in values):
        raise ValueError(f"array {name!r} of dtype {entry['dtype']} holds a value of another type")
    if kind == "f" and not all(map(math.isfinite, values)):
        raise ValueError(f"array {name!r} holds NaN or infinity")
    if kind == "U" and any(len(value) > size for value in values):
        raise ValueError(f"array {name!r} holds a longer text than its dtype {entry['dtype']}")
    try:
        return np.array(values, dtype=entry["dtype"]).reshape(entry["shape"])
    except OverflowError as error:
        raise ValueError(f"array {name!r} of dtype {entry['dtype']}: {error}") from error
