"""Damaged content, not only damaged files: a typed error, and nothing of the size it claims is allocated."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svitt.errors import RecordError
from svitt.records.arrays import canonical, compress, decode, outcomes_path, strict_json
from svitt.records.record import make_record, read_outcomes, read_record, write_record
from tests.records.codes import toy_code

OUTCOMES = {
    "rank": np.array([[1, 3, 2]], dtype=np.int16),
    "right": np.array([True, False]),
    "loss": np.array([0.5, 1.25], dtype=np.float32),
    "said": np.array(["left", "up"]),
}


def written(results: Path, seed: int = 0, outcomes: Any = None, **options: Any) -> Path:
    record = make_record(
        "01_frame_shuffle",
        "smoke",
        seed,
        parameters={},
        values={"x": 1},
        code=toy_code(Block="1"),
        rule_hashes={},
        root=results,
        cpu_seconds=1.0,
        wall_seconds=1.0,
        command="svitt run 01_frame_shuffle --scale smoke --seeds 0",
    )
    return write_record(results, record, OUTCOMES if outcomes is None else outcomes, **options)


def entry(shape: Any, dtype: Any, values: Any) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "values": values}


DAMAGED: dict[str, Any] = {
    "a list": [],
    "a text": "x",
    "null": None,
    "a number": 3,
    "no entry": {"rank": None},
    "no values": {"rank": {"shape": [3], "dtype": "i2"}},
    "unknown dtype": {"rank": entry([1], "complex64", [1])},
    "object dtype": {"rank": entry([1], "O", [1])},
    "no dtype": {"rank": entry([1], None, [1])},
    "texts of 1.6 GB each": {"rank": entry([1], "U400000000", ["x"])},
    "negative shape": {"rank": entry([-1], "i2", [1])},
    "a shape of texts": {"rank": entry(["3"], "i2", [1, 2, 3])},
    "a shape that is none": {"rank": entry(3, "i2", [1, 2, 3])},
    "an endless shape": {"rank": entry([2**20, 2**20, 2**20], "f8", [])},
    "too few values": {"rank": entry([4], "i2", [1, 2, 3])},
    "a text among numbers": {"rank": entry([2], "i2", [1, "2"])},
    "a float among integers": {"rank": entry([1], "i2", [1.5])},
    "a truth value among integers": {"rank": entry([1], "i2", [True])},
    "beyond its type": {"rank": entry([1], "i1", [300])},
    "a longer text": {"rank": entry([1], "U2", ["left"])},
    "values that are no list": {"rank": entry([1], "i2", {"0": 1})},
    "another key": {"rank": {**entry([1], "i2", [1]), "order": "F"}},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_outcomes_are_a_record_error(name: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    outcomes_path(path).write_bytes(compress(canonical(DAMAGED[name])))
    with pytest.raises(RecordError, match="is damaged"):
        read_outcomes(path)
    with pytest.raises(ValueError):
        decode(compress(canonical(DAMAGED[name])))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"{}", mtime=0)[:-3],
        gzip.compress(b"{}", mtime=0) + b"more",
        gzip.compress(b"{" * 100_000, mtime=0),
        gzip.compress(b'{"a": NaN}', mtime=0),
        gzip.compress(b'{"rank": 1, "rank": 2}', mtime=0),
    ],
)
def test_torn_bytes_are_a_record_error(data: bytes, tmp_path: Path) -> None:
    path = written(tmp_path)
    outcomes_path(path).write_bytes(data)
    with pytest.raises(RecordError, match="is damaged"):
        read_outcomes(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Some 300 kB that unpack to 300 MB: refused at the size that the record states, not after."""
    path = written(tmp_path)
    outcomes_path(path).write_bytes(gzip.compress(b" " * 300_000_000, compresslevel=1, mtime=0))
    with pytest.raises(RecordError, match="unpacks to more than the"):
        read_outcomes(path)


def test_not_a_number_cannot_hide(tmp_path: Path) -> None:
    path = written(tmp_path)
    text = gzip.decompress(outcomes_path(path).read_bytes()).decode().replace("1.25", "NaN")
    outcomes_path(path).write_bytes(gzip.compress(text.encode(), mtime=0))
    with pytest.raises(RecordError, match="NaN or infinity"):
        read_outcomes(path)


def test_flipped_bytes_never_come_out_raw(tmp_path: Path) -> None:
    path = written(tmp_path)
    rng = random.Random(0)
    for file in (path, outcomes_path(path)):
        sound = file.read_bytes()
        for _ in range(150):
            content = bytearray(sound)
            for _ in range(rng.randint(1, 3)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            file.write_bytes(content[: rng.randint(1, len(content))] if rng.random() < 0.3 else content)
            try:
                found = read_outcomes(path)
            except RecordError:
                continue
            assert all(np.array_equal(found[name], OUTCOMES[name]) for name in OUTCOMES)
        file.write_bytes(sound)


def test_mutated_outcomes_never_come_out_raw(tmp_path: Path) -> None:
    """Well-formed JSON with parts swapped for others."""
    path = written(tmp_path)
    sound = json.loads(gzip.decompress(outcomes_path(path).read_bytes()))
    rng = random.Random(1)
    wrong = [None, True, -1, 1.5, 10**30, "x", [], {}, [[]], "U9", "f8", [2, 2]]
    for _ in range(300):
        data = json.loads(json.dumps(sound))
        name = rng.choice(list(data))
        part = rng.choice(["shape", "dtype", "values", "all"])
        if part == "all":
            data[name] = rng.choice(wrong)
        else:
            data[name][part] = rng.choice(wrong)
        outcomes_path(path).write_bytes(compress(canonical(data)))
        with pytest.raises(RecordError):
            read_outcomes(path)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"seed": 0,', '"seed": 0,\n "seed": 0,'))
    with pytest.raises(RecordError, match="'seed' stands twice"):
        read_record(path)
    with pytest.raises(ValueError, match="stands twice"):
        strict_json(b'{"a": {"b": 1, "b": 1}}')


def test_a_record_with_nan_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"cpu_seconds": 1.0', '"cpu_seconds": NaN'))
    with pytest.raises(RecordError):
        read_record(path)


def test_two_seeds_with_equal_outcomes_are_refused_where_they_must_differ(tmp_path: Path) -> None:
    written(tmp_path, 0, distinct=True)
    with pytest.raises(RecordError, match="every outcome equals that of seed 0"):
        written(tmp_path, 1, distinct=True)
    written(tmp_path, 1, {**OUTCOMES, "right": np.array([True, True])}, distinct=True)
    assert sorted(p.name for p in tmp_path.rglob("seed*.json")) == ["seed0.json", "seed1.json"]
