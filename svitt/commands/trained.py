"""``svitt run --captured`` and ``--stack``: jobs whose models are not trained plainly."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import replace

from svitt.batch.grid import Job
from svitt.config import require
from svitt.experiments.base import stack_code, stack_of
from svitt.records.entry_points import experiment_module
from svitt.records.provenance import SMOKE
from svitt.records.record import read_records
from svitt.records.training import PLAIN, Training, one_way_of_training
from svitt.records.workspace import Workspace


def trained_as_asked(jobs: Sequence[Job], args: argparse.Namespace, workspace: Workspace) -> list[Job]:
    """The jobs, their models trained as the call's options say.

    Errors: ConfigError for an option without ``--record-only``, or for a record set without a stack;
    RecordError where other seeds of a record set are recorded with models that were trained in another way.
    """
    for option in ("captured", "stack"):
        asked = getattr(args, option)
        require(args.record_only or not asked, f"--{option}", asked, "together with --record-only")
    for option, default in (("changes", ""), ("shard", "1/1"), ("print_commands", False)):
        given = getattr(args, option)
        require(given == default or not args.stack, f"--{option}", given, "not together with --stack")
    plain = Training(step="captured" if args.captured else "plain")
    made = [replace(job, training=_stacked(job, jobs, plain, workspace)) for job in jobs] if args.stack else [
        replace(job, training=plain) for job in jobs
    ]  # fmt: skip
    if not args.rerun and any(job.training != PLAIN for job in made):
        require_one_way(made, workspace)
    return made


def _stacked(job: Job, jobs: Sequence[Job], plain: Training, workspace: Workspace) -> Training:
    """A stack of the seeds asked for. Those recorded in another stack are read, and no part of it."""
    name = job.chapter.name
    experiment = importlib.import_module(experiment_module(name))
    stack_of(experiment)
    asked = tuple(sorted(other.seed for other in jobs if other.chapter.name == name))
    elsewhere = {
        record.seed
        for record in read_records(workspace.results, job.scale, name)
        if record.training is None or record.training.stacked != asked
    }
    seeds = tuple(seed for seed in asked if seed not in elsewhere) or asked
    return plain.model_copy(update={"stacked": seeds, "code": stack_code(experiment)})


def require_one_way(jobs: Sequence[Job], workspace: Workspace) -> None:
    """Errors: RecordError where a record beside theirs was trained in another way."""
    for job in jobs:
        scale = job.kept_as or job.scale
        if scale != SMOKE and not job.changes:
            recorded = read_records(workspace.results, scale, job.chapter.name)
            one_way_of_training({record.seed: record.training for record in recorded}, [job.training])
