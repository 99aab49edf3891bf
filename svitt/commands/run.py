"""``svitt run``: chapters over a grid of seeds, in parallel, resumable.

Exit status: 0 when every job is finished, 1 when some failed (their notebooks are kept with the error),
2 when the call is wrong (nothing was started), 130 or 143 when interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from svitt.batch.batch import command_line, describe, is_finished, run_batch, terminable
from svitt.batch.grid import Job, build_grid, parse_seeds, parse_shard
from svitt.commands.chapters import load_chapters
from svitt.config import require
from svitt.errors import RecordError
from svitt.experiments.base import checked_device
from svitt.records.attempts import Attempt, append
from svitt.records.provenance import git_state, is_committed, require_clean
from svitt.records.record import read_records, retire_record
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
    parser.add_argument("--fresh", default="", metavar="DIR", help="measure anew, in the new workspace DIR")
    parser.add_argument(
        "--rerun", action="store_true", help="measure again what is recorded (a committed record: --replace)"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="with --rerun: give up committed records, which attempts.jsonl then says",
    )
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="only the I-th of N parts of the grid")
    parser.add_argument(
        "--print-commands",
        action="store_true",
        help="run nothing; print one command per unfinished job, for a job array of any scheduler",
    )


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    root = project_root()
    out = _fresh(args.fresh) if args.fresh else args.out
    out_dir = str(Path(out).expanduser().absolute()) if out else ""
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    shard = parse_shard(args.shard)
    checked_device(args.device)  # before a kernel starts
    chapters = load_chapters(root / "book", args.chapters)
    jobs = build_grid(chapters, args.scale, seeds, args.device, out_dir, shard)
    workspace = Workspace.open(out_dir)
    if args.print_commands:
        for job in jobs:
            if not is_finished(job, workspace):
                print(command_line(job))
        return 0
    require(args.rerun or not args.replace, "--replace", args.replace, "together with --rerun")
    if args.rerun:
        require_clean(args.scale, root)
        _retire(jobs, workspace, args.replace, root)
    if not all(is_finished(job, workspace) for job in jobs):
        require_clean(args.scale, root)
    recorded = {job for job in jobs if job.record(workspace).is_file()}
    for line in prices(jobs, workspace, root / "data" / "results"):
        print(line)
    with terminable():
        outcomes = run_batch(jobs, workspace, args.jobs, args.threads)
    for outcome in outcomes:
        if outcome.status == "failed":
            print(describe(outcome))
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    read = sum(o.status == "reused" or (o.job in recorded and o.status == "finished") for o in outcomes)
    print(f"{read} read from the record, {len(outcomes) - read - failed} measured, {failed} failed")
    return 1 if failed else 0


def _fresh(folder: str) -> str:
    """A workspace in which nothing is recorded yet. Errors: ConfigError."""
    results = Path(folder).expanduser() / "results"
    require(not any(results.glob("*/*/*.json")), "--fresh", folder, "a folder without recorded results")
    return folder


def _retire(jobs: Sequence[Job], workspace: Workspace, replace: bool, root: Path) -> None:
    """Takes the records of the jobs away, each with a line in attempts.jsonl.

    Errors: RecordError where one is committed and ``replace`` is not given; none is taken away then.
    """
    paths = [path for job in jobs if (path := job.record(workspace)).is_file()]
    committed = [path for path in paths if is_committed(path)]
    if committed and not replace:
        raise RecordError(
            f"{committed[0]} (and {len(committed) - 1} more) are committed results; add --replace to give "
            "them up, or measure beside them: --fresh DIR, then svitt claims --against DIR"
        )
    for path in paths:
        old = retire_record(path)
        note = f"record {old.content_sha256[:16]} of commit {old.commit}"
        append(
            workspace.results,
            Attempt(
                id=old.content_sha256[:12],
                event="replaced",
                record_set=old.chapter,
                scale=old.scale,
                seed=old.seed,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                commit=git_state(root)[0],
                code_hash=old.code_hash,
                reason=note,
            ),
        )


def prices(jobs: Sequence[Job], workspace: Workspace, committed: Path) -> list[str]:
    """One line per chapter: what is read from the record, and what will be measured at what price, as
    recorded in the workspace or in the committed results."""
    lines = []
    for name in dict.fromkeys(job.chapter.name for job in jobs):
        here = [job for job in jobs if job.chapter.name == name]
        missing = [job for job in here if not job.record(workspace).is_file()]
        text = f"{name}, scale {here[0].scale}: {len(here) - len(missing)} seeds read from the record"
        if missing:
            known = read_records(workspace.results, here[0].scale, name)
            known = known or read_records(committed, here[0].scale, name)
            each = max((record.cpu_seconds for record in known), default=None)
            price = "price unknown" if each is None else f"about {len(missing) * each / 60:.0f} CPU minutes"
            text += f", {len(missing)} to measure ({price})"
        lines.append(text)
    return lines
