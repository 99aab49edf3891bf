"""``svitt probe --record``: what a real model did becomes a record of the claim about real models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svitt.errors import RecordError
from svitt.evaluation.feature_cache import digest
from svitt.evaluation.metrics import recall_at
from svitt.ledger.claims import PAPER_SCALE, claims_file, load_claims, rule_hashes
from svitt.records.code_hash import code_hash
from svitt.records.code_list import write_code
from svitt.records.entry_points import entry_point
from svitt.records.record import make_record, record_path, require_clean, write_record
from svitt.records.workspace import Workspace, project_root

CHAPTER = "01_frame_shuffle"


def checked_place(args: argparse.Namespace) -> Path:
    """Where the record goes. Errors: RecordError where one is there already, or with uncommitted changes."""
    require_clean(PAPER_SCALE, project_root())
    path = record_path(Workspace.open(args.out).results, PAPER_SCALE, CHAPTER, args.seed)
    if path.exists():
        raise RecordError(
            f"{path}: recorded already; delete it to probe anew, or give a --seed other than {args.seed}"
        )
    return path


def write(
    args: argparse.Namespace,
    ranks: Mapping[str, npt.NDArray[np.int64]],
    failed: int,
    cpu_seconds: float,
    wall_seconds: float,
) -> Path:
    """Records ``real/<order>/rank``, (draws, V), at scale ``paper``; names of files, never their places."""
    root = project_root()
    outcomes = {f"real/{order}/rank": array.astype(np.int32) for order, array in ranks.items()}
    values: dict[str, float | int | str] = {
        f"{order}/R@1": float(recall_at(array, 1)) for order, array in ranks.items()
    }
    model = Path(args.model)
    parameters = {
        "model": model.name if model.exists() else args.model,
        "annotations": args.annotations.name,
        "annotations_sha256": digest(args.annotations),
        "frames": args.frames,
        "draws": args.draws,
    }
    code = code_hash(entry_point(CHAPTER, PAPER_SCALE))
    record = make_record(
        CHAPTER,
        PAPER_SCALE,
        args.seed,
        parameters=parameters,
        values=values | {"videos": ranks["none"].shape[1], "not_read": failed},
        code=code,
        rule_hashes=rule_hashes(load_claims(claims_file(root)), CHAPTER, PAPER_SCALE, outcomes),
        root=root,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        command=f"svitt probe --model {parameters['model']} --annotations {parameters['annotations']} "
        f"--videos DIR --frames {args.frames} --draws {args.draws} --seed {args.seed} --record",
    )
    results = Workspace.open(args.out).results
    write_code(results, code)
    write_record(results, record, outcomes)
    return record_path(results, PAPER_SCALE, CHAPTER, args.seed)
