"""``svitt runs``: list, show or clean the stored training runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from svitt.errors import ConfigError
from svitt.records.code_hash import current_codes
from svitt.records.run_store import Run, RunStore, last_change, size_mib
from svitt.records.workspace import Workspace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="one line a run")
    show = actions.add_parser("show", help="a run's configuration and summary")
    show.add_argument("name", help="folder name of a run, or its beginning")
    clean = actions.add_parser("clean", help="delete runs; only says which, unless --yes is given")
    which = clean.add_mutually_exclusive_group(required=True)
    which.add_argument("--unfinished", action="store_true", help="runs that were never finished")
    which.add_argument("--stale", action="store_true", help="runs of code that has changed since")
    which.add_argument("--all", action="store_true", help="every run")
    clean.add_argument("--yes", action="store_true", help="delete them")
    for sub in (listing, show, clean):
        sub.add_argument("--out", default="", metavar="DIR", help="workspace (default: the checkout's own)")


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    store = RunStore(Workspace.open(args.out).runs)
    action: Callable[[RunStore, argparse.Namespace], int] = {"list": _list, "show": _show, "clean": _clean}[
        args.action
    ]
    return action(store, args)


def _state(run: Run, current: set[str]) -> str:
    if run.running:
        return "running"
    state = "finished" if run.finished else "unfinished"
    return state if run.key["code"] in current else f"{state}, stale"


def _line(run: Run, current: set[str]) -> str:
    when = last_change(run).astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"{run.path.name:<36} {_state(run, current):<18} seed {run.key['seed']:<5} "
        f"{size_mib(run):>8.1f} MiB  {when}"
    )


def _list(store: RunStore, args: argparse.Namespace) -> int:
    current = set(current_codes().values())
    runs = list(store.list())
    for run in runs:
        print(_line(run, current))
    print(f"{len(runs)} runs in {store.root}")
    return 0


def _show(store: RunStore, args: argparse.Namespace) -> int:
    run = store.find(args.name)
    print(_line(run, set(current_codes().values())))
    print(json.dumps(run.key, indent=2, sort_keys=True))
    if run.finished:
        print(json.dumps(run.summary, indent=2, sort_keys=True))
    for file in sorted(run.path.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size / 2**20:>10.2f} MiB  {file.relative_to(run.path)}")
    return 0


def _clean(store: RunStore, args: argparse.Namespace) -> int:
    current = set(current_codes().values())
    chosen = []
    for run in store.list():
        stale = run.key["code"] not in current
        if args.all or (args.unfinished and not run.finished) or (args.stale and stale):
            chosen.append(run)
    if args.yes:
        held = [run.path.name for run in chosen if run.running]
        if held:
            raise ConfigError(f"{', '.join(held)}: being trained now; stop that process first")
    for run in chosen:
        print(_line(run, current))
        if args.yes:
            store.remove(run)
    done = "deleted" if args.yes else "would be deleted; add --yes to delete them"
    print(f"{len(chosen)} runs {done}")
    return 0
