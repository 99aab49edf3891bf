"""``svitt book``: runs every chapter at a scale and builds that edition of the site.

The chapters are executed as staged copies, with their worlds, runs and results below ``_build/work``, so
the checkout stays as it is. First the grid of chapters and seeds, then each chapter once more for the
page, which reads what the grid recorded (a scale with one seed needs one execution). Trained models are
kept between calls; the execution for the page is always made anew.

``svitt book --refresh CHAPTER...`` executes committed chapters in place instead, from recorded results.
Exit status: 0, 1 when a chapter or the build failed, 2 when the call is wrong, 130 or 143 interrupted.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nbformat

from svitt.batch.batch import Outcome, describe, run_batch, terminable
from svitt.batch.grid import Chapter, Job, build_grid, check_parameters, parse_seeds
from svitt.commands.chapters import load_chapters
from svitt.commands.edition import (
    build_site,
    clean_notebook,
    replace_notebook,
    require_book_tools,
    stage_book,
)
from svitt.errors import ConfigError
from svitt.records.provenance import require_clean
from svitt.records.workspace import Workspace, is_project, project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--scale", default="smoke", help="smoke, cpu, gpu or paper (smoke)")
    parser.add_argument("--seeds", help="0-4, 0,2 or 3 (default: the seeds of the chapters' scale)")
    parser.add_argument("--jobs", type=int, default=2, metavar="J", help="executions at a time (2)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (cpu)")
    parser.add_argument("--stage", metavar="DIR", help="where the copies are made (_build/stage)")
    parser.add_argument(
        "--refresh",
        nargs="+",
        metavar="CHAPTER",
        help="execute these committed chapters in place, from recorded results, and build nothing",
    )


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    root = project_root()
    if not is_project(root):
        raise ConfigError(f"{root} is no checkout of the project; run the command inside one")
    require_book_tools()
    with terminable():
        return _refresh(root, args) if args.refresh else _book(root, args)


def _book(root: Path, args: argparse.Namespace) -> int:
    began = time.monotonic()
    stage = Path(args.stage).absolute() if args.stage else root / "_build" / "stage"
    out_dir = root / "_build" / "work" / args.scale
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    sources = load_chapters(root / "book", ["all"])
    build_grid(sources, args.scale, seeds, args.device, str(out_dir))  # refuses before anything is copied
    require_clean(args.scale, root)
    workspace = Workspace.open(out_dir)
    staged = stage_book(root, stage)
    chapters = [replace(chapter, path=staged / chapter.path.name) for chapter in sources]
    grid = build_grid(chapters, args.scale, seeds, args.device, str(out_dir))
    outcomes = _run_grid(grid, chapters, workspace, args.jobs)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        print("\n".join(map(describe, failed)))
        return 1
    for outcome in outcomes:
        if outcome.job.display:
            shutil.copyfile(outcome.notebook, outcome.job.chapter.path)
    build_began = time.monotonic()
    html = root / "_build" / "html"
    built = build_site(stage, workspace.results, html)
    steps = {o.job.label: o.seconds for o in outcomes if o.status == "finished"}
    steps["build of the site"] = time.monotonic() - build_began
    longest = sorted(steps.items(), key=lambda step: -step[1])[:3]
    print(f"{time.monotonic() - began:.0f} s; longest: " + ", ".join(f"{n} {s:.0f} s" for n, s in longest))
    print(html / "index.html" if built else f"the build failed (see above); its sources: {stage}")
    return 0 if built else 1


def _run_grid(
    grid: Sequence[Job], chapters: Sequence[Chapter], workspace: Workspace, processes: int
) -> list[Outcome]:
    """The grid, where a chapter has several seeds, and then each chapter for its page."""
    seeds = {c.name: [job for job in grid if job.chapter.name == c.name] for c in chapters}
    first = [job for jobs in seeds.values() if len(jobs) > 1 for job in jobs]
    outcomes = run_batch(first, workspace, processes) if first else []
    if any(outcome.status == "failed" for outcome in outcomes):
        return outcomes
    pages = [replace(jobs[0], display=True) for jobs in seeds.values()]
    return outcomes + run_batch(pages, workspace, processes)


def _refresh(root: Path, args: argparse.Namespace) -> int:
    chapters = load_chapters(root / "book", args.refresh)
    build_grid(chapters, args.scale, None, args.device, "")
    workspace = Workspace.open()
    jobs = []
    for chapter in chapters:
        defaults = check_parameters(chapter.path)
        if defaults["scale"] != args.scale:
            raise ConfigError(
                f"{chapter.path}: its parameters cell says scale = {defaults['scale']!r}, not "
                f"{args.scale!r}; a committed page shows the scale it names: edit the cell or give --scale"
            )
        job = Job(chapter, **defaults, display=True)
        for seed in chapter.scales[args.scale]:
            if not replace(job, seed=seed).record(workspace).is_file():
                raise ConfigError(
                    f"{chapter.name}: no result of seed {seed} at scale {args.scale!r} in "
                    f"{workspace.results}; record it with: svitt run {chapter.name} --scale {args.scale}"
                )
        jobs.append(job)
    outcomes = run_batch(jobs, workspace, args.jobs)
    for outcome in outcomes:
        if outcome.status == "failed":
            print(describe(outcome))
        else:
            notebook = nbformat.read(outcome.notebook, as_version=4)
            replace_notebook(outcome.job.chapter.path, clean_notebook(notebook))
            print(f"refreshed {outcome.job.chapter.path}")
    return int(any(outcome.status == "failed" for outcome in outcomes))
