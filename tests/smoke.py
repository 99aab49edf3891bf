"""One record set at scale smoke, measured while watching which definitions of the package run.

    python -m tests.smoke RECORD_SET OUT_DIR

records the result in the workspace OUT_DIR, as a chapter does, and writes ``<OUT_DIR>/ran/<set>.json``: the
labels of the functions and classes of svitt of which a line was executed. Worker processes are not watched.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path

import coverage
import torch

import svitt
from svitt.experiments import base
from svitt.records.entry_points import experiment_module

PACKAGE = Path(svitt.__file__).resolve().parent


def record_sets() -> tuple[str, ...]:
    """Every record set of every chapter."""
    names: list[str] = []
    for package in sorted((PACKAGE / "experiments").glob("ch[0-9][0-9]_*")):
        experiments = importlib.import_module(f"svitt.experiments.{package.name}").EXPERIMENTS
        names += [name for name in experiments if "/" not in name]
    return tuple(names)


def ran(file: Path, lines: set[int]) -> set[str]:
    """The top-level functions and classes of a module in whose bodies a line was executed."""
    module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        # A class body and a `def` line run when the module is imported; what counts is inside functions.
        functions = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]
        inside = {n for f in functions for n in range(f.body[0].lineno, (f.end_lineno or 0) + 1)}
        if inside & lines:
            found.add(f"{module}.{node.name}")
    return found


def main() -> int:
    name, out_dir = sys.argv[1:]
    torch.set_num_threads(1)
    experiment = importlib.import_module(experiment_module(name))
    watch = coverage.Coverage(data_file=None, source=[str(PACKAGE)], concurrency="thread")
    measure = experiment.measure

    def watched(*args: object) -> object:
        watch.start()
        try:
            return measure(*args)
        finally:
            watch.stop()

    experiment.measure = watched
    base.ensure(experiment, "smoke", experiment.SCALES["smoke"].seeds[0], out_dir=out_dir)
    data = watch.get_data()
    labels = sorted(set().union(*(ran(Path(f), set(data.lines(f) or [])) for f in data.measured_files())))
    file = Path(out_dir) / "ran" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(labels))
    return 0


if __name__ == "__main__":
    sys.exit(main())
