"""``svitt run``: chapters over a grid of seeds, in parallel, resumable.

Exit status: 0 when every job is finished, 1 when some failed (their notebooks are kept with the error),
2 when the call is wrong (nothing was started), 130 or 143 when interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from svitt.batch.batch import command_line, describe, is_finished, run_batch, terminable
from svitt.batch.grid import build_grid, parse_seeds, parse_shard
from svitt.commands.chapters import load_chapters
from svitt.records.provenance import require_clean
from svitt.records.workspace import Workspace, project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("chapters", nargs="+", metavar="CHAPTER", help="01, 01_frame_shuffle, ... or all")
    parser.add_argument("--scale", required=True, help="smoke, cpu, gpu or paper")
    parser.add_argument("--seeds", help="0-4, 0,2 or 3 (default: the seeds of the chapter's scale)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="executions at a time")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="computing threads each (1)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (cpu)")
    parser.add_argument("--out", default="", metavar="DIR", help="workspace (default: the checkout's own)")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the I-th of N parts of the grid")
    parser.add_argument(
        "--print-commands",
        action="store_true",
        help="run nothing; print one command per unfinished job, for a job array of any scheduler",
    )


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    root = project_root()
    out_dir = str(Path(args.out).expanduser().absolute()) if args.out else ""
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    shard = parse_shard(args.shard)
    chapters = load_chapters(root / "book", args.chapters)
    jobs = build_grid(chapters, args.scale, seeds, args.device, out_dir, shard)
    workspace = Workspace.open(out_dir)
    if args.print_commands:
        for job in jobs:
            if not is_finished(job, workspace):
                print(command_line(job))
        return 0
    if not all(is_finished(job, workspace) for job in jobs):
        require_clean(args.scale, root)
    with terminable():
        outcomes = run_batch(jobs, workspace, args.jobs, args.threads)
    count = {s: sum(o.status == s for o in outcomes) for s in ("finished", "reused", "failed")}
    for outcome in outcomes:
        if outcome.status == "failed":
            print(describe(outcome))
    print(f"{count['finished']} finished, {count['reused']} finished before, {count['failed']} failed")
    return 1 if count["failed"] else 0
