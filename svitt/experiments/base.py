"""What every chapter's experiment shares: measure once, record with provenance, read all seeds back."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import psutil
import torch

from svitt.config import nearest, to_dict
from svitt.errors import ConfigError, RecordError
from svitt.experiments.gpu_share import share_of_memory
from svitt.experiments.own_settings import changed_settings, custom_scale, default_parameters
from svitt.ledger.claims import claims_file, load_claims, rule_hashes
from svitt.records.attempts import attempt, unfinished_seconds
from svitt.records.code_hash import Code, code_hash
from svitt.records.code_list import write_code
from svitt.records.currency import require_current
from svitt.records.entry_points import entry_point, experiment_module
from svitt.records.provenance import SMOKE, computing_threads, git_state
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
from svitt.records.training import PLAIN, Training, one_way_of_training
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
    # One that can train all seeds of a model as one stack has ``stack`` as well: (settings, seeds, device,
    # workspace) -> CPU seconds by seed; called again it finds them.
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
    experiment: Experiment,
    scale: str,
    seed: int,
    device: str = "cpu",
    out_dir: str = "",
    *,
    changes: str = "",
    training: Training = PLAIN,
) -> tuple[Record, bool]:
    """The record of ``experiment`` at ``scale`` and ``seed``, measured now if it is missing.

    out_dir: where worlds, runs and results go; empty means the checkout's own places. changes: own settings,
    e.g. ``"keep_rates=(0.3,), model.width=32"``; their record stands under the scale ``custom-<hash>``, which
    is never judged. training: how models that are not found are trained. Returns the record and whether it
    was measured in this call.

    Errors: ConfigError for an unknown scale or device, or changes that do not fit; RecordError where a record
    is there and stale (nothing is measured again without being asked), where a scale above smoke meets
    uncommitted changes, where the tree changes meanwhile, or where other seeds were trained in another way.
    """
    settings, asked = settings_of(experiment, scale), scale
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed = {seed!r} is out of range; allowed: integers from 0")
    hardware = checked_device(device)
    if changes:
        settings, scale = changed_settings(settings, changes), custom_scale(settings, changes)
    workspace = replace(Workspace.open(out_dir), training=training)
    code = code_hash(entry_point(experiment.CHAPTER))
    path = record_path(workspace.results, scale, experiment.CHAPTER, seed)
    found = current_record(experiment, settings, scale, seed, workspace, code)
    if found is not None:
        return found, False
    root = project_root()
    require_clean("smoke" if changes else scale, root)
    claims = load_claims(claims_file(root))
    before = git_state(root)
    about = {"record_set": experiment.CHAPTER, "scale": scale, "seed": seed, "commit": before[0]}
    about |= {"code_hash": code.hash, "device": device, "threads": computing_threads()}
    # What is never judged leaves no line: a reader's checkout stays as it is.
    judged = scale != SMOKE and not changes
    spent = 0.0
    if judged:
        others = read_records(workspace.results, scale, experiment.CHAPTER)
        one_way_of_training({other.seed: other.training for other in others}, [training])
        spent = unfinished_seconds(workspace.results, experiment.CHAPTER, scale, seed, code.hash)
    began, cpu = time.perf_counter(), _cpu_seconds()
    logged = attempt(workspace.results, _cpu_seconds, **about) if judged else contextlib.nullcontext()
    with logged:
        with share_of_memory(hardware):
            spent += _stack_share(experiment, settings, seed, device, workspace)
            measured: Measurement = experiment.measure(settings, seed, device, workspace)
        record = make_record(
            experiment.CHAPTER,
            scale,
            seed,
            parameters=to_dict(settings),
            values=measured.values,
            code=code,
            rule_hashes={} if changes else rule_hashes(claims, experiment.CHAPTER, scale, measured.outcomes),
            root=root,
            cpu_seconds=spent + _cpu_seconds() - cpu,
            wall_seconds=time.perf_counter() - began,
            command=_command(experiment.CHAPTER, asked, seed, device, changes, training),
            gpu=torch.cuda.get_device_name(hardware) if hardware.type == "cuda" else None,
            threads=computing_threads(),
            training=training,
            commit=before,
        )
        write_code(workspace.results, code)
        write_record(workspace.results, record, measured.outcomes, distinct=True)
    return read_record(path), True


def stack_of(experiment: Experiment) -> Callable[[Any, Sequence[int], str, Workspace], dict[int, float]]:
    """What trains the models of several seeds as one. Errors: ConfigError where the experiment has it not."""
    found = getattr(experiment, "stack", None)
    if found is None:
        raise ConfigError(
            f"--stack: {experiment.CHAPTER} has no models that are trained as a stack; leave it out, or use "
            "--captured or more --jobs"
        )
    made: Callable[[Any, Sequence[int], str, Workspace], dict[int, float]] = found
    return made


def stack_code(experiment: Experiment) -> str:
    """The hash of the code that stacks."""
    return code_hash(f"{experiment_module(experiment.CHAPTER)}:stack").hash


def _stack_share(
    experiment: Experiment, settings: Any, seed: int, device: str, workspace: Workspace
) -> float:
    """Trains the stack, or finds it; CPU seconds to be added to those of this process, which may have trained
    it for all seeds, or for none."""
    if not workspace.training.stacked:
        return 0.0
    before = _cpu_seconds()
    shares = stack_of(experiment)(settings, workspace.training.stacked, device, workspace)
    return shares[seed] - (_cpu_seconds() - before)


def current_record(
    experiment: Experiment, settings: Any, scale: str, seed: int, workspace: Workspace, code: Code
) -> Record | None:
    """The record that is there, if it is of this code and these settings. None where there is none, or, at
    scale smoke, a stale one: it costs seconds and decides nothing. Errors: RecordError for a stale one."""
    path = record_path(workspace.results, scale, experiment.CHAPTER, seed)
    if not path.exists():
        return None
    found, default = read_record(path), default_parameters(type(settings))
    try:
        require_current(found, path, workspace.results, code, to_dict(settings), default)
        stacked = found.training is not None and found.training.stacked
        if found.training and stacked and found.training.code != stack_code(experiment):
            raise RecordError(
                f"{path} is stale: the code changed that trained its models as a stack; to measure it again: "
                f"{found.command} --rerun"
            )
    except RecordError as error:
        if scale != SMOKE:
            raise
        print(f"measured again: {error}", file=sys.stderr)
        return None
    return found


def _command(record_set: str, scale: str, seed: int, device: str, changes: str, training: Training) -> str:
    seeds = ",".join(map(str, training.stacked or (seed,)))
    words = ["svitt", "run", record_set, "--scale", scale, "--seeds", seeds]
    words += ["--device", device] if device != "cpu" else []
    words += ["--changes", changes] if changes else []
    words += ["--record-only", *training.words] if training.words else []
    return shlex.join(words)


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
