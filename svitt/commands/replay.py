"""``svitt replay COMMIT``: show that a refactoring since COMMIT changed no number, and say so in the records.

At COMMIT the records must be current. Both codes measure every stale record set at scale smoke, and the
cheap ones once more at their own scale, one seed; what is not a measured time or memory must agree bit for
bit. Exit status: 0 when all agree (the records are then current), 1 when something differs (nothing is
written).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from svitt.batch.batch import THREAD_VARIABLES
from svitt.errors import RecordError
from svitt.ledger.check import record_files, write_snapshot
from svitt.ledger.claims import claims_file, load_claims
from svitt.ledger.verdicts import ledger
from svitt.records.arrays import decode
from svitt.records.code_graph import Package
from svitt.records.code_hash import Code, code_hash
from svitt.records.code_list import code_path
from svitt.records.entry_points import entry_point, experiment_module
from svitt.records.provenance import environment, git_state, require_clean
from svitt.records.record import Record, Replayed, read_outcomes, read_record
from svitt.records.replay import Measured, differences, stamp
from svitt.records.workspace import project_root

# Runs in either tree: measures one seed and keeps values and outcomes, without a record.
PROGRAM = """
import importlib, json, sys
from pathlib import Path

def main():
    import torch
    from svitt.records.arrays import compress, encode
    from svitt.records.workspace import Workspace
    torch.set_num_threads(1)
    name, scale, seed, out, found_in = sys.argv[1:]
    module = importlib.import_module(name)
    found = module.measure(module.SCALES[scale], int(seed), "cpu", Workspace.open(out))
    values = {k: v.item() if hasattr(v, "item") else v for k, v in found.values.items()}
    Path(found_in + ".json").write_text(json.dumps(values))
    Path(found_in + ".gz").write_bytes(compress(encode(found.outcomes)[0]))

if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class Stale:
    """A record set that is stale: its records, and the code that measures it now."""

    name: str
    scale: str
    records: tuple[tuple[Path, Record], ...]
    code: Code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("commit", help="at which the records are current, e.g. HEAD~3")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        metavar="M",
        help="also replay, at their own scale, one seed of record sets that took at most M CPU minutes (10)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what is stale and what would run")


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    root = project_root()
    results = root / "data" / "results"
    require_clean("cpu", root)
    stale = stale_sets(results)
    if not stale:
        print("no record is stale: nothing to replay")
        return 0
    jobs = planned(stale, args.minutes)
    for each in stale:
        print(f"stale: {each.name}, scale {each.scale}, {len(each.records)} seeds")
    cost = sum(each.records[0][1].cpu_seconds for each, scale, _ in jobs if scale != "smoke") / 60
    print(f"{len(jobs)} measurements; beside those at smoke {cost:.0f} CPU minutes, twice where one differs")
    if args.dry_run:
        return 0
    with tempfile.TemporaryDirectory() as folder, old_tree(root, args.commit, Path(folder)) as old:
        _require_current_there(stale, old, args.commit)
        wrong = list(_compared(jobs, old, root, Path(folder)))
    for line in wrong:
        print(line)
    if wrong:
        return 1
    _stamp_all(stale, jobs, results, root, args.commit)
    rows = ledger(load_claims(claims_file(root)), results)
    print(f"every outcome agrees; wrote {write_snapshot(rows, results)}")
    return 0


def stale_sets(results: Path) -> list[Stale]:
    """The record sets with a record that is not of the code now."""
    sets: dict[tuple[str, str], list[tuple[Path, Record]]] = {}
    for path in record_files(results):
        record = read_record(path)
        sets.setdefault((record.chapter, record.scale), []).append((path, record))
    found = []
    for (name, scale), records in sorted(sets.items()):
        code = code_hash(entry_point(name, scale))
        if any(record.code_hash != code.hash for _, record in records):
            found.append(Stale(name, scale, tuple(records), code))
    return found


def planned(stale: Sequence[Stale], minutes: float) -> list[tuple[Stale, str, int]]:
    """(set, scale, seed) to measure: all at smoke, the cheap ones also at their own scale."""
    jobs: list[tuple[Stale, str, int]] = []
    for each in stale:
        module = importlib.import_module(experiment_module(each.name))
        jobs.append((each, "smoke", module.SCALES["smoke"].seeds[0]))
        first = each.records[0][1]
        if each.scale != "smoke" and first.cpu_seconds <= 60 * minutes:
            jobs.append((each, each.scale, first.seed))
    return jobs


@contextmanager
def old_tree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """A checkout of ``commit`` below ``folder``. Errors: RecordError where git cannot make it."""
    tree = folder / "before"
    git = ["git", "-C", str(root), "worktree"]
    add = [*git, "add", "--detach", str(tree), commit]
    done = subprocess.run(add, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RecordError(f"cannot check out {commit!r}: {done.stderr.strip()}; name a commit that is here")
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


def _require_current_there(stale: Sequence[Stale], tree: Path, commit: str) -> None:
    package = Package(tree)
    for each in stale:
        before = code_hash(entry_point(each.name, each.scale), package).hash
        for path, record in each.records:
            if record.code_hash not in (before, each.code.hash):
                raise RecordError(f"{path} is not current at {commit}, so that commit vouches for nothing")


def _compared(jobs: Sequence[tuple[Stale, str, int]], old: Path, new: Path, folder: Path) -> Iterator[str]:
    """One line per measurement that differs; two measurements run at a time."""
    with ThreadPoolExecutor(2) as pool:

        def start(job: tuple[Stale, str, int], tree: Path) -> Future[Measured]:
            each, scale, seed = job
            out = folder / ("now" if tree == new else "then") / scale
            return pool.submit(measured, tree, experiment_module(each.name), scale, seed, out)

        running = []
        for job in jobs:
            trees = (new, old) if job[1] == "smoke" else (new,)
            running.append((job, [start(job, tree) for tree in trees]))
        for (each, scale, seed), futures in tqdm(running, unit="measurement"):
            timed = importlib.import_module(experiment_module(each.name)).TIMED
            now = futures[0].result()
            if scale == each.scale and not differences(_recorded(each, seed), now, timed):
                continue  # equal to the record itself, which says more than the code before could
            if len(futures) == 1:
                futures.append(start((each, scale, seed), old))
            found = differences(futures[1].result(), now, timed)
            if found:
                more = f" and {len(found) - 5} more" if len(found) > 5 else ""
                yield f"{each.name}, scale {scale}, seed {seed} differs: {', '.join(found[:5])}{more}"


def _recorded(each: Stale, seed: int) -> Measured:
    path, record = next(item for item in each.records if item[1].seed == seed)
    return Measured(record.values, read_outcomes(path))


def measured(tree: Path, module: str, scale: str, seed: int, out: Path) -> Measured:
    """What the code of ``tree`` finds, in a process of its own with one thread; worlds and trained models
    stay in ``out`` for the next. Errors: RecordError with the end of its output."""
    out.mkdir(parents=True, exist_ok=True)
    found_in = out / f"{module}-{seed}"
    program = out / f"{module}.program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
    environment |= {"PYTHONPATH": str(tree), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, str(program), module, scale, str(seed), str(out), str(found_in)],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RecordError(f"{module} at {scale} in {tree}: {done.stderr[-2000:]}")
    values = json.loads(found_in.with_name(f"{found_in.name}.json").read_text(encoding="utf-8"))
    return Measured(values, decode(found_in.with_name(f"{found_in.name}.gz").read_bytes())[1])


def _stamp_all(
    stale: Sequence[Stale], jobs: Sequence[tuple[Stale, str, int]], results: Path, root: Path, commit: str
) -> None:
    against = _full(root, commit)
    here, _ = git_state(root)
    assert here is not None
    processor = environment()[1].cpu
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for each in stale:
        compared = tuple(f"{scale} seed {seed}" for s, scale, seed in jobs if s is each)
        for path, record in each.records:
            if record.code_hash != each.code.hash:
                replayed = Replayed(
                    code_hash=record.code_hash,
                    against=against,
                    commit=here,
                    compared=compared,
                    created=now,
                    processor=processor,
                )
                stamp(results, path, record, each.code, replayed)
    used = {code_path(results, read_record(path).code_hash) for path in record_files(results)}
    for unused in set((results / "code").glob("*.json")) - used:
        unused.unlink()


def _full(root: Path, commit: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), "rev-parse", commit], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
