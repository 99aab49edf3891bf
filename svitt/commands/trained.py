"""``svitt run --captured``: jobs whose models are not trained plainly."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from svitt.batch.grid import Job
from svitt.config import require
from svitt.records.provenance import SMOKE
from svitt.records.record import read_records
from svitt.records.training import PLAIN, Training, one_way_of_training
from svitt.records.workspace import Workspace


def trained_as_asked(jobs: Sequence[Job], args: argparse.Namespace, workspace: Workspace) -> list[Job]:
    """The jobs, their models trained as the call's options say.

    Errors: ConfigError for an option without ``--record-only``; RecordError where other seeds of a record set
    are recorded with models that were trained in another way.
    """
    training = Training(step="captured" if args.captured else "plain")
    if training == PLAIN:
        return list(jobs)
    require(args.record_only or bool(args.changes), "--captured", True, "together with --record-only")
    made = [replace(job, training=training) for job in jobs]
    if not args.rerun:
        require_one_way(made, workspace)
    return made


def require_one_way(jobs: Sequence[Job], workspace: Workspace) -> None:
    """Errors: RecordError where a record beside theirs was trained in another way."""
    for job in jobs:
        scale = job.kept_as or job.scale
        if scale != SMOKE and not job.changes:
            recorded = read_records(workspace.results, scale, job.chapter.name)
            one_way_of_training({record.seed: record.training for record in recorded}, [job.training])
