"""What a record holds, and what vouches for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from svitt.records.arrays import Outcome
from svitt.records.provenance import Hardware
from svitt.records.training import Training

SCHEMA_VERSION = 2  # 1: a hash of the modules that an experiment imports stood in the graph's place


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
    record is older than that hash. replays: refactorings since that were shown to change no number. threads:
    computing threads of the process (None: not recorded then; they were 1). training: how models were trained
    where that is not plain; the key is there only then.
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
    threads: int | None = Field(default=None, ge=1)
    training: Training | None = None
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
