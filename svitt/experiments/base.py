"""What every chapter's experiment shares: measure once, record with provenance, read all seeds back."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import psutil
import torch

from svitt.config import nearest, to_dict
from svitt.errors import ConfigError
from svitt.ledger.claims import claims_file, load_claims, rule_hashes
from svitt.records.code_hash import code_hash
from svitt.records.code_list import write_code
from svitt.records.entry_points import entry_point
from svitt.records.record import (
    Record,
    make_record,
    read_outcomes,
    read_record,
    read_records,
    record_path,
    require_clean,
    write_record,
)
from svitt.records.workspace import Workspace, project_root

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Measurement:
    """What one seed found. values: summary numbers. outcomes: raw arrays, by name."""

    values: Mapping[str, float | int | str]
    outcomes: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """One recorded seed: its record and its raw outcomes."""

    record: Record
    outcomes: dict[str, Array]


class Experiment(Protocol):
    """What a module must be to be an experiment; a chapter lists its experiments in ``EXPERIMENTS``.

    CHAPTER: the record set, the notebook's name without ``.ipynb`` or that and a word. SCALES: scale ->
    frozen dataclass of settings with a field ``seeds``. TIMED: patterns (``fnmatch``) of outcomes and values
    that are measured times or memory, and so differ from run to run.
    """

    @property
    def CHAPTER(self) -> str: ...
    @property
    def SCALES(self) -> Mapping[str, Any]: ...
    @property
    def TIMED(self) -> tuple[str, ...]: ...
    def measure(self, settings: Any, seed: int, device: str, workspace: Workspace, /) -> Measurement:
        """What one seed finds."""
        ...


def settings_of(experiment: Experiment, scale: str) -> Any:
    """The settings of ``scale``. Errors: ConfigError naming the nearest known scale."""
    scales: Mapping[str, Any] = experiment.SCALES
    if scale not in scales:
        raise ConfigError(f"unknown scale {scale!r} for {experiment.CHAPTER}; {nearest(scale, scales)}")
    return scales[scale]


def checked_device(device: str) -> torch.device:
    """``device`` if it can be used here. Errors: ConfigError naming the way out."""
    try:
        made = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device = {device!r} is unknown; allowed: cpu, cuda, cuda:N") from error
    if made.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device = {device!r}, but torch finds no CUDA device here; use device = 'cpu'")
    return made


def _cpu_seconds() -> float:
    """CPU seconds of this process and its finished children."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def ensure(
    experiment: Experiment, scale: str, seed: int, device: str = "cpu", out_dir: str = ""
) -> tuple[Record, bool]:
    """The record of ``experiment`` at ``scale`` and ``seed``, measured now if it is missing or stale.

    out_dir: where worlds, runs and results go; empty means the checkout's own places. Returns the
    record and whether it was measured in this call. Errors: ConfigError for an unknown scale or device,
    RecordError where a scale above smoke meets uncommitted changes.
    """
    settings = settings_of(experiment, scale)
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed = {seed!r} is out of range; allowed: integers from 0")
    hardware = checked_device(device)
    workspace = Workspace.open(out_dir)
    code = code_hash(entry_point(experiment.CHAPTER))
    path = record_path(workspace.results, scale, experiment.CHAPTER, seed)
    parameters = to_dict(settings)
    if path.exists():
        found = read_record(path)
        if found.code_hash == code.hash and found.parameters == parameters:
            return found, False
    root = project_root()
    require_clean(scale, root)
    claims = load_claims(claims_file(root))
    began, cpu = time.perf_counter(), _cpu_seconds()
    measured: Measurement = experiment.measure(settings, seed, device, workspace)
    record = make_record(
        experiment.CHAPTER,
        scale,
        seed,
        parameters=parameters,
        values=measured.values,
        code=code,
        rule_hashes=rule_hashes(claims, experiment.CHAPTER, scale, measured.outcomes),
        root=root,
        cpu_seconds=_cpu_seconds() - cpu,
        wall_seconds=time.perf_counter() - began,
        command=f"svitt run {experiment.CHAPTER} --scale {scale} --seeds {seed}"
        + (f" --device {device}" if device != "cpu" else ""),
        gpu=torch.cuda.get_device_name(hardware) if hardware.type == "cuda" else None,
    )
    write_code(workspace.results, code)
    write_record(workspace.results, record, measured.outcomes)
    return read_record(path), True


def recorded(experiment: Experiment, scale: str, out_dir: str = "") -> list[Recorded]:
    """All recorded seeds of ``experiment`` at ``scale``, by seed; says on stderr which are missing."""
    settings = settings_of(experiment, scale)
    results = Workspace.open(out_dir).results
    records = read_records(results, scale, experiment.CHAPTER)
    missing = sorted(set(settings.seeds) - {record.seed for record in records})
    if missing:
        print(f"{experiment.CHAPTER} at {scale}: seeds {missing} are not recorded yet", file=sys.stderr)
    return [
        Recorded(r, read_outcomes(record_path(results, scale, experiment.CHAPTER, r.seed))) for r in records
    ]


def flat(arrays: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Array]:
    """``{"none": {"rank": a}}`` -> ``{"prefix/none/rank": a}``, leaving out None."""
    return {
        f"{prefix}/{outer}/{inner}": np.asarray(value)
        for outer, group in arrays.items()
        for inner, value in group.items()
        if value is not None
    }
