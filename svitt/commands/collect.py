"""``svitt collect``: file the records that a bundle made on another machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from svitt.ledger.claims import claims_file, load_claims
from svitt.ledger.collect import collect
from svitt.records.workspace import Workspace, project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("archive", help="the .tar.gz that run.sh (svitt run --archive) wrote")
    parser.add_argument("--out", default="", metavar="DIR", help="workspace (default: the checkout's own)")


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    root = project_root()
    claims = load_claims(claims_file(root))
    found = collect(Path(args.archive), Workspace.open(args.out).results, claims, root)
    for record in found.filed:
        device = record.hardware.gpu or record.hardware.cpu
        print(f"filed {record.scale}/{record.chapter} seed {record.seed}, made on {device}")
    print(f"{len(found.filed)} filed, {len(found.same)} were here already; next: svitt claims")
    return 0
