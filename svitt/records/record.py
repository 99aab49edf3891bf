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

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from svitt.errors import RecordError
from svitt.records.arrays import (
    Array,
    Outcome,
    canonical,
    compress,
    decode,
    encode,
    outcomes_path,
    write_atomically,
)
from svitt.records.code_hash import Code
from svitt.records.provenance import Hardware, environment, git_state, peak_memory_mib, require_clean

__all__ = [
    "Outcome",
    "Record",
    "environment",
    "git_state",
    "make_record",
    "peak_memory_mib",
    "read_outcomes",
    "read_record",
    "read_records",
    "record_path",
    "require_clean",
    "write_record",
]

SCHEMA_VERSION = 2  # 1: a hash of the modules that an experiment imports stood in the graph's place
_NAME = re.compile(r"seed(0|[1-9]\d*)\.json")


class Restamped(BaseModel):
    """The hash of a record's first edition: over whole modules, and the commit at which it was found current
    and the hash of the graph took its place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_hash: str
    modules: dict[str, str]
    commit: str


class Replayed(BaseModel):
    """A refactoring vouched for: at ``commit`` everything in ``compared`` was measured by its code and by
    that of ``against``, where the record was current under ``code_hash``, and was equal bit for bit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_hash: str
    against: str
    commit: str
    compared: tuple[str, ...]
    created: str
    processor: str


class Record(BaseModel):
    """What one chapter found with one seed at one scale, and where the numbers come from.

    parameters: the scale's settings as plain data. values: summary numbers shown in the chapter.
    outcomes: the arrays stored beside. code_hash: of the graph of definitions that determine the numbers,
    which are listed in ``<results>/code/<code_hash>.json``. restamped: what vouched for it before, where the
    record is older than that hash. replays: refactorings since that were shown to change no number.
    rule_hashes: claim id -> hash of the rule the record was made under. commit, dirty: state of the tree.
    created: ISO 8601, UTC. cpu_seconds, wall_seconds, peak_memory_mib: cost of the computation. command:
    repeats the record. content_sha256: of this record without that field.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(default=SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    chapter: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    scale: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    seed: int = Field(ge=0)
    parameters: dict[str, JsonValue]
    values: dict[str, int | float | str]
    outcomes: dict[str, Outcome] = {}
    outcomes_sha256: str = ""
    code_hash: str
    restamped: Restamped | None = None
    replays: tuple[Replayed, ...] = ()
    rule_hashes: dict[str, str]
    commit: str | None
    dirty: bool | None
    created: str
    versions: dict[str, str]
    hardware: Hardware
    cpu_seconds: float = Field(ge=0)
    wall_seconds: float = Field(ge=0)
    peak_memory_mib: float = Field(ge=0)
    command: str
    content_sha256: str = ""

    @field_validator("values", mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """numpy scalars -> Python numbers; NaN and infinity are refused (JSON has none)."""
        if not isinstance(values, Mapping):
            return values
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
        for key, value in plain.items():
            if isinstance(value, bool):
                raise ValueError(f"{key} is a truth value; record a number or a text")
            if isinstance(value, float) and not np.isfinite(value):
                raise ValueError(f"{key} = {value} is not finite")
        return plain


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
) -> Record:
    """A Record with commit, versions, hardware, time and memory of this process filled in.

    code: what ``code_hash`` returned for the experiment's ``measure``. peak_memory: MiB; None takes this
    process's.
    """
    commit, dirty = git_state(root)
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
            commit=commit,
            dirty=dirty,
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


def write_record(results: Path, record: Record, outcomes: Mapping[str, ArrayLike]) -> Path:
    """Writes the record and its raw outcomes; returns the path of the JSON.

    outcomes: name -> array of any shape (numbers, truth values or texts; finite). Equal outcomes give equal
    bytes. Errors: RecordError for an outcome that cannot be stored.
    """
    encoded, shapes = encode(outcomes)
    data = record.model_copy(
        update={"outcomes": shapes, "outcomes_sha256": hashlib.sha256(encoded).hexdigest()}
    ).model_dump(mode="json")
    path = record_path(results, record.scale, record.chapter, record.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The old JSON goes first: a kill in between leaves a missing record, not one beside foreign outcomes.
    path.unlink(missing_ok=True)
    write_atomically(outcomes_path(path), compress(encoded))
    write_atomically(path, signed(data))
    return path


def signed(data: Mapping[str, Any]) -> bytes:
    """The file of a record: its data with the SHA-256 of its content."""
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
        data = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is not JSON ({error}); {_way_out(path)}") from error
    try:
        record = Record.model_validate(data)
    except ValidationError as error:
        raise RecordError(
            f"{path} does not follow schema {SCHEMA_VERSION}: {_reasons(error)}; {_way_out(path)}"
        ) from error
    if record.content_sha256 != _content_sha256(data):
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
        sha256, arrays = decode(beside.read_bytes())
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
