"""``svitt run``: chapters over a grid of seeds, in parallel, resumable.

A chapter is executed as a notebook; with ``--record-only``, or where a further record set of a chapter is
named (``07_curriculum_tuning``), its experiment alone is measured and recorded, without notebook and kernel.
``--changes`` does the same with a reader's own settings, whose record stands apart and is never judged.

Exit status: 0 when every job is finished, 1 when some failed (their notebooks are kept with the error),
2 when the call is wrong (nothing was started), 130 or 143 when interrupted.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from svitt.batch.batch import Outcome, command_line, describe, is_finished, run_batch, terminable
from svitt.batch.grid import Job, build_grid, parse_seeds, parse_shard, seconds
from svitt.commands.chapters import further_set, jobs_without_notebooks, load_chapters
from svitt.commands.trained import trained_as_asked
from svitt.config import require
from svitt.errors import RecordError
from svitt.experiments.base import checked_device, current_record, settings_of
from svitt.experiments.own_settings import changed_settings
from svitt.records.archive import pack
from svitt.records.attempts import Attempt, append
from svitt.records.code_hash import code_hash
from svitt.records.entry_points import entry_point, experiment_module
from svitt.records.provenance import SMOKE, git_state, is_committed, require_clean
from svitt.records.record import read_record, read_records, retire_record
from svitt.records.workspace import Workspace, project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "chapters",
        nargs="+",
        metavar="CHAPTER",
        help="01, 01_frame_shuffle, a record set such as 04_node_sparsity_movers, or all",
    )
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
    parser.add_argument(
        "--record-only", action="store_true", help="measure and record, without notebook and kernel"
    )
    parser.add_argument(
        "--captured",
        action="store_true",
        help="with --record-only: repeat training steps from a CUDA graph (on a CPU they stay plain)",
    )
    parser.add_argument(
        "--stack",
        action="store_true",
        help="with --record-only: train all seeds of a model as one (chapter 01)",
    )
    parser.add_argument(
        "--time-limit",
        metavar="8m",
        help="end after 90s, 8m or 2h: what is finished is kept, the same command goes on",
    )
    parser.add_argument("--archive", metavar="FILE", help="keep all results in one .tar.gz, renewed per seed")
    parser.add_argument(
        "--changes",
        default="",
        metavar="'NAME=VALUE, ...'",
        help="your own settings, e.g. 'steps=50, model.width=32': recorded apart, never judged",
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
    limit = seconds(args.time_limit)
    checked_device(args.device)  # before a kernel starts
    for name in ("jobs", "threads"):  # and before a record is given up
        require(getattr(args, name) >= 1, name, getattr(args, name), "integers from 1")
    book = root / "book"
    with_notebooks, alone = _wanted(args, book)
    jobs = build_grid(load_chapters(book, with_notebooks), args.scale, seeds, args.device, out_dir)
    jobs += jobs_without_notebooks(book, alone, args.scale, seeds, args.device, out_dir, args.changes)
    jobs = jobs[shard[0] - 1 :: shard[1]]
    workspace = Workspace.open(out_dir)
    jobs = trained_as_asked(jobs, args, workspace)
    require(args.rerun or not args.replace, "--replace", args.replace, "together with --rerun")
    if args.print_commands:
        print("".join(f"{command_line(job)}\n" for job in jobs if not _finished(job, workspace)), end="")
        return 0
    scale = SMOKE if args.changes else args.scale
    if args.rerun:
        require_clean(scale, root)
        _retire(jobs, workspace, args.replace, root)
    todo = [job for job in jobs if not _finished(job, workspace)]
    if todo:
        require_clean(scale, root)
    recorded = {job for job in jobs if all(path.is_file() for path in job.records(workspace))}
    for line in prices(jobs, workspace, root / "data" / "results"):
        print(line)
    archive = Path(args.archive).expanduser().absolute() if args.archive else None

    def kept(outcome: Outcome | None = None) -> None:
        if archive is not None:
            pack(workspace.results, root, archive)

    kept()
    with terminable():
        outcomes = run_batch(todo, workspace, args.jobs, args.threads, bool(todo), limit, kept)
    for outcome in outcomes:
        if outcome.status == "failed":
            print(describe(outcome))
    unfinished = sum(outcome.status == "unfinished" for outcome in outcomes)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    measured = sum(o.job not in recorded and o.status == "finished" for o in outcomes)
    read = len(jobs) - measured - failed - unfinished
    late = f", {unfinished} not finished in {args.time_limit}" if unfinished else ""
    print(f"{read} read from the record, {measured} measured, {failed} failed{late}")
    for job in jobs if args.changes and not failed + unfinished else []:
        print(_beside(job, workspace, root / "data" / "results"))
    return 1 if failed else 0


def _wanted(args: argparse.Namespace, book: Path) -> tuple[list[str], list[str]]:
    """What is executed as notebooks, and what is measured alone."""
    if args.record_only or args.changes:
        return [], args.chapters
    alone = [want for want in args.chapters if further_set(book, want) is not None]
    return [want for want in args.chapters if want not in alone], alone


def _finished(job: Job, workspace: Workspace) -> bool:
    """Whether there is nothing to do. Errors: RecordError where what is measured alone is there and stale."""
    if not job.chapter.record_set:
        return is_finished(job, workspace)
    name = job.chapter.record_set
    experiment = importlib.import_module(experiment_module(name))
    settings = settings_of(experiment, job.scale)
    settings = changed_settings(settings, job.changes) if job.changes else settings
    code, scale = code_hash(entry_point(name)), job.kept_as or job.scale
    return current_record(experiment, settings, scale, job.seed, workspace, code) is not None


def _beside(job: Job, workspace: Workspace, committed: Path) -> str:
    """The values of a reader's own settings beside those of the committed scale, mean over its seeds."""
    own = read_record(job.record(workspace)).values
    records = read_records(committed, job.scale, job.chapter.name)
    lines = [f"{job.label} ({job.changes}); beside it scale {job.scale}, {len(records)} recorded seeds"]
    for name, value in own.items():
        values = [v for record in records if isinstance(v := record.values.get(name), int | float)]
        mean = f"{sum(values) / len(values):.4g}" if values else "-"
        lines.append(
            f"  {name:<40} {value if isinstance(value, str) else format(value, '.4g'):>12} {mean:>12}"
        )
    return "\n".join(lines)


def _fresh(folder: str) -> str:
    """A workspace in which nothing is recorded yet. Errors: ConfigError."""
    results = Path(folder).expanduser() / "results"
    require(not any(results.glob("*/*/*.json")), "--fresh", folder, "a folder without recorded results")
    return folder


def _retire(jobs: Sequence[Job], workspace: Workspace, replace: bool, root: Path) -> None:
    """Takes the records of the jobs away, each with a line in attempts.jsonl.

    Errors: RecordError where one is committed and ``replace`` is not given; none is taken away then.
    """
    every = dict.fromkeys(path for job in jobs for path in job.records(workspace))
    paths = [path for path in every if path.is_file()]
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
    """One line per record set: what is read from the record, and what will be measured at what price, as
    recorded in the workspace or in the committed results."""
    lines = []
    for name in dict.fromkeys(job.chapter.name for job in jobs):
        here = [job for job in jobs if job.chapter.name == name]
        paths = dict.fromkeys(path for job in here for path in job.records(workspace))
        sets: dict[str, list[Path]] = {}
        for path in paths:
            sets.setdefault(path.parent.name, []).append(path)
        lines += [_price(found, here[0].scale, workspace, committed) for found in sets.values()]
    return lines


def _price(paths: Sequence[Path], scale: str, workspace: Workspace, committed: Path) -> str:
    name, kept_as = paths[0].parent.name, paths[0].parent.parent.name
    missing = [path for path in paths if not path.is_file()]
    text = f"{name}, scale {kept_as}: {len(paths) - len(missing)} seeds read from the record"
    if missing:
        known = read_records(workspace.results, scale, name) or read_records(committed, scale, name)
        each = max((record.cpu_seconds for record in known), default=None)
        price = "price unknown" if each is None else f"about {len(missing) * each / 60:.0f} CPU minutes"
        text += f", {len(missing)} to measure ({price})"
    return text
