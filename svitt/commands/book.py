"""``svitt book``: the committed evidence, rendered here; or the edition of another scale.

Without ``--scale`` every chapter is executed on this machine against the committed records, which it reads;
nothing is trained for the pages. Beside it every chapter runs at scale smoke, which proves that it runs here:
what that took and found stands in a panel of its own, never in the tables. With ``--scale`` the chapters show
the results of their own runs at that scale, below ``_build/work``, and every page says that it is not the
committed edition. The checkout stays as it is either way. Trained models are kept between calls; the
execution for the page is always made anew.

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
from typing import Any

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
from svitt.ledger.check import staleness
from svitt.records.provenance import SMOKE, environment, require_clean
from svitt.records.record import read_record, read_records, record_path
from svitt.records.run_store import write_json
from svitt.records.workspace import Workspace, is_project, project_root

EDITION = (
    "tables and figures are of runs made here, the text discusses the committed records. "
    "The committed edition: svitt book"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--scale", help="run the chapters at smoke, cpu or gpu (default: the committed edition)"
    )
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
        if args.refresh:
            return _refresh(root, args)
        return _committed(root, args) if args.scale is None else _book(root, args)


def _book(root: Path, args: argparse.Namespace) -> int:
    began = time.monotonic()
    stage = Path(args.stage).absolute() if args.stage else root / "_build" / "stage"
    out_dir = root / "_build" / "work" / args.scale
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    sources = load_chapters(root / "book", ["all"])
    build_grid(sources, args.scale, seeds, args.device, str(out_dir))  # refuses before anything is copied
    require_clean(args.scale, root)
    workspace = Workspace.open(out_dir)
    staged = stage_book(root, stage, f"{args.scale.capitalize()} edition: {EDITION}")
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


def _committed(root: Path, args: argparse.Namespace) -> int:
    """The committed evidence, rendered by executing every chapter against it; smoke runs in a panel."""
    began = time.monotonic()
    stage = Path(args.stage).absolute() if args.stage else root / "_build" / "stage"
    results, html = root / "data" / "results", root / "_build" / "html"
    sources = load_chapters(root / "book", ["all"])
    pages = [_page(chapter, root) for chapter in sources]
    _require_evidence(pages, results)
    smoke_dir = root / "_build" / "work" / "smoke"
    grid = build_grid(sources, SMOKE, None, args.device, str(smoke_dir))
    smoke = run_batch(grid, Workspace.open(smoke_dir), args.jobs)
    if _said_failed(smoke):
        return 1
    staged = stage_book(root, stage)
    out_dir = root / "_build" / "work" / "committed"
    shutil.rmtree(out_dir / "results", ignore_errors=True)
    shutil.copytree(results, out_dir / "results")
    shown = [
        replace(
            page, chapter=replace(page.chapter, path=staged / page.chapter.path.name), out_dir=str(out_dir)
        )
        for page in pages
    ]
    outcomes = run_batch(shown, Workspace.open(out_dir), args.jobs)
    if _said_failed(outcomes):
        return 1
    for outcome in outcomes:
        shutil.copyfile(outcome.notebook, outcome.job.chapter.path)
    machine = stage / "machine.json"
    write_json(machine, machine_report(smoke, smoke_dir / "results"))
    built = build_site(stage, results, html, machine)
    print(f"{time.monotonic() - began:.0f} s: the committed edition, and every chapter at scale smoke")
    print(html / "index.html" if built else f"the build failed (see above); its sources: {stage}")
    return 0 if built else 1


def _page(chapter: Chapter, root: Path) -> Job:
    """The execution of a committed chapter for its page: at the scale and seed that it names."""
    defaults = check_parameters(root / "book" / chapter.path.name)
    return Job(chapter, **defaults, display=True)


def _require_evidence(pages: Sequence[Job], results: Path) -> None:
    """Errors: ConfigError where a record that a page shows is missing or stale: to render the committed
    edition nothing is trained."""
    needed = [(page.scale, *pair) for page in pages for pair in _evidence(page)]
    for scale, name in dict.fromkeys((scale, name) for scale, name, _ in needed):
        seeds = [seed for at, of, seed in needed if (at, of) == (scale, name)]
        missing = [seed for seed in seeds if not record_path(results, scale, name, seed).is_file()]
        stale = staleness(read_records(results, scale, name), results)
        if missing or stale:
            what = (
                f"seeds {missing} are not recorded" if missing else f"changed: {', '.join(stale[name][:4])}"
            )
            raise ConfigError(
                f"{name}, scale {scale}: {what}; the committed edition needs current records. Record them "
                f"(svitt run {name} --scale {scale}), vouch for them (svitt replay), or build another "
                "edition (svitt book --scale smoke)"
            )


def _evidence(page: Job) -> list[tuple[str, int]]:
    """Every record that a chapter's page shows: (record set, seed), those of its further sets included."""
    chapter, scale = page.chapter, page.scale
    return list(dict.fromkeys(p for seed in chapter.scales[scale] for p in chapter.recorded(scale, seed)))


def _said_failed(outcomes: Sequence[Outcome]) -> bool:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        print("\n".join(map(describe, failed)))
    return bool(failed)


def machine_report(outcomes: Sequence[Outcome], results: Path) -> dict[str, Any]:
    """What the smoke runs took and found on this machine: plain data for the page's panel."""
    chapters = []
    for outcome in outcomes:
        name, seed = outcome.job.chapter.name, outcome.job.seed
        path = record_path(results, SMOKE, name, seed)
        if path.is_file():
            record = read_record(path)
            chapters.append(
                {
                    "chapter": name,
                    "seed": seed,
                    "seconds": round(record.wall_seconds, 1),
                    "memory_mib": record.peak_memory_mib,
                    "values": dict(sorted(record.values.items())[:3]),
                }
            )
    versions, hardware = environment()
    return {"chapters": chapters, "versions": versions, "hardware": hardware.model_dump(mode="json")}


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
    args.scale = args.scale or "cpu"
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
        for name, seed in _evidence(job):
            if not record_path(workspace.results, args.scale, name, seed).is_file():
                raise ConfigError(
                    f"{name}: no result of seed {seed} at scale {args.scale!r} in "
                    f"{workspace.results}; record it with: svitt run {name} --scale {args.scale}"
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
