"""Recorded results: one schema-checked JSON a chapter, scale and seed, raw outcomes compressed beside it.

Layout: ``<results>/<scale>/<chapter>/seed<k>.json`` and ``seed<k>.outcomes.json.gz``. The JSON carries the
SHA-256 of its own content and of the outcomes, so that an edited file is found when it is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from pydantic import ValidationError

from svitt.atomic import write_atomically
from svitt.errors import RecordError
from svitt.records.arrays import (
    Array,
    Outcome,
    canonical,
    compress,
    decode,
    encode,
    outcomes_path,
    strict_json,
)
from svitt.records.code_hash import Code
from svitt.records.model import SCHEMA_VERSION, Record, Replayed, Restamped
from svitt.records.provenance import (
    environment,
    git_state,
    is_committed,
    peak_memory_mib,
    require_clean,
)
from svitt.records.training import PLAIN, Training

__all__ = [
    "Outcome",
    "Record",
    "Replayed",
    "Restamped",
    "environment",
    "git_state",
    "make_record",
    "peak_memory_mib",
    "read_outcomes",
    "read_record",
    "read_records",
    "record_path",
    "require_clean",
    "retire_record",
    "write_record",
]

_NAME = re.compile(r"seed(0|[1-9]\d*)\.json")


def make_record(
    chapter: str,
    scale: str,
    seed: int,
    *,
    parameters: Mapping[str, Any],
    values: Mapping[str, float | int | str],
    code: Code,
    rule_hashes: Mapping[str, str],
    root: Path,
    cpu_seconds: float,
    wall_seconds: float,
    command: str,
    peak_memory: float | None = None,
    gpu: str | None = None,
    threads: int | None = None,
    training: Training = PLAIN,
    commit: tuple[str | None, bool | None] | None = None,
) -> Record:
    """A Record with commit, versions, hardware, time and memory of this process filled in.

    code: what ``code_hash`` returned for the experiment's ``measure``. peak_memory: MiB; None takes this
    process's. commit: state of the tree (commit, dirty) before measuring. Errors: RecordError where it is
    another one now: nobody could say which code made the numbers.
    """
    now = git_state(root)
    if commit is not None and commit != now:
        raise RecordError(
            f"{chapter}, scale {scale}, seed {seed}: the tree changed while it was measured (commit "
            f"{commit[0]} before, {now[0]} now; changes before: {commit[1]}, now: {now[1]}); nothing is "
            "recorded, run it again and leave the tree alone meanwhile (or run from a clone)"
        )
    (commit_id, dirty) = now
    versions, hardware = environment(gpu)
    try:
        return Record(
            chapter=chapter,
            scale=scale,
            seed=seed,
            parameters=dict(parameters),
            values=dict(values),
            code_hash=code.hash,
            rule_hashes=dict(rule_hashes),
            commit=commit_id,
            dirty=dirty,
            threads=threads,
            training=None if training == PLAIN else training,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions,
            hardware=hardware,
            cpu_seconds=round(cpu_seconds, 2),
            wall_seconds=round(wall_seconds, 2),
            peak_memory_mib=round(peak_memory_mib() if peak_memory is None else peak_memory, 1),
            command=command,
        )
    except ValidationError as error:
        raise RecordError(f"record of {chapter}, scale {scale}, seed {seed}: {_reasons(error)}") from error


def record_path(results: Path, scale: str, chapter: str, seed: int) -> Path:
    """``<results>/<scale>/<chapter>/seed<k>.json``."""
    return results / scale / chapter / f"seed{seed}.json"


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc']) or 'record'}: {e['msg']}" for e in error.errors()
    )


def _content_sha256(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({k: v for k, v in data.items() if k != "content_sha256"})).hexdigest()


def write_record(
    results: Path, record: Record, outcomes: Mapping[str, ArrayLike], *, distinct: bool = False
) -> Path:
    """Writes the record and its raw outcomes; returns the path of the JSON.

    outcomes: name -> array of any shape (numbers, truth values or texts; finite). Equal outcomes give equal
    bytes. distinct: refuse outcomes that another seed has to the last bit. Errors: RecordError for that, for
    an outcome that cannot be stored, and where a committed record would be overwritten.
    """
    encoded, shapes = encode(outcomes)
    sha256 = hashlib.sha256(encoded).hexdigest()
    data = record.model_copy(update={"outcomes": shapes, "outcomes_sha256": sha256}).model_dump(mode="json")
    path = record_path(results, record.scale, record.chapter, record.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and is_committed(path):
        raise RecordError(
            f"{path} is committed and is not overwritten; svitt run {record.chapter} --scale {record.scale} "
            f"--seeds {record.seed} --rerun --replace gives it up and says so in attempts.jsonl"
        )
    for other in read_records(results, record.scale, record.chapter) if distinct else []:
        if other.seed != record.seed and other.outcomes_sha256 == sha256 and shapes:
            raise RecordError(
                f"{path}: every outcome equals that of seed {other.seed}; a seed that changes nothing is no "
                "replicate: see that the experiment uses its seed"
            )
    # The old JSON goes first: a kill in between leaves a missing record, not one beside foreign outcomes.
    path.unlink(missing_ok=True)
    write_atomically(outcomes_path(path), compress(encoded))
    write_atomically(path, signed(data))
    return path


def retire_record(path: Path) -> Record:
    """Takes a record and its outcomes away, to be measured again; returns what it was."""
    record = read_record(path)
    path.unlink()
    outcomes_path(path).unlink(missing_ok=True)
    return record


def signed(data: Mapping[str, Any]) -> bytes:
    """The file of a record: its data with the SHA-256 of its content. Plain training is not written down."""
    data = {key: value for key, value in data.items() if key != "training" or value is not None}
    whole = {**data, "content_sha256": _content_sha256(data)}
    return json.dumps(whole, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _way_out(path: Path) -> str:
    return f"restore {path} from git, or delete it and run the chapter again"


def read_record(path: Path) -> Record:
    """The record at ``path``.

    Errors: RecordError when the file is missing, has another schema, was edited, or stands in the wrong
    place. The raw outcomes are checked by ``read_outcomes``.
    """
    if not path.is_file():
        raise RecordError(f"{path} is missing; run the chapter at that scale and seed to make it")
    try:
        data = strict_json(path.read_bytes())
    except ValueError as error:
        raise RecordError(f"{path} is not JSON ({error}); {_way_out(path)}") from error
    try:
        record = Record.model_validate(data)
    except ValidationError as error:
        raise RecordError(
            f"{path} does not follow schema {SCHEMA_VERSION}: {_reasons(error)}; {_way_out(path)}"
        ) from error
    try:
        content = _content_sha256(data)
    except ValueError as error:
        raise RecordError(f"{path} holds NaN or infinity; {_way_out(path)}") from error
    if record.content_sha256 != content:
        raise RecordError(f"{path} was edited: its content does not match its SHA-256; {_way_out(path)}")
    absolute = path.absolute()
    place = record_path(absolute.parents[2], record.scale, record.chapter, record.seed)
    if place != absolute:
        raise RecordError(
            f"{path} holds scale {record.scale}, chapter {record.chapter}, seed {record.seed}, which belongs "
            f"at {place}; move it there or delete it"
        )
    return record


def read_outcomes(path: Path) -> dict[str, Array]:
    """The raw outcomes of the record at ``path`` (the JSON's), name -> array.

    Errors: RecordError when the outcomes are missing, damaged or not those the record was written with.
    """
    record, beside = read_record(path), outcomes_path(path)
    if not beside.is_file():
        raise RecordError(f"{beside}, the raw outcomes of {path.name}, is missing; {_way_out(beside)}")
    try:
        sha256, arrays = decode(beside.read_bytes(), record.outcomes)
    except ValueError as error:
        raise RecordError(f"{beside} is damaged ({error}); {_way_out(beside)}") from error
    if sha256 != record.outcomes_sha256:
        raise RecordError(
            f"{beside} was edited: its content does not match the SHA-256 in {path.name}; {_way_out(beside)}"
        )
    return arrays


def read_records(results: Path, scale: str, chapter: str) -> list[Record]:
    """All recorded seeds of a chapter at a scale, sorted by seed; empty when none is recorded.

    Errors: RecordError as ``read_record``, and for a file whose name is not that of a record.
    """
    folder = results / scale / chapter
    paths = sorted(folder.glob("*.json"))
    for path in paths:
        if not _NAME.fullmatch(path.name):
            raise RecordError(f"{path} is not named seed<k>.json; rename or delete it")
    return sorted((read_record(path) for path in paths), key=lambda record: record.seed)
