"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from svitt.batch.batch import THREAD_VARIABLES
from tests.smoke import record_sets

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def smoke_workspace(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A workspace in which every record set was measured at scale smoke, watched; made once for all workers.

    See ``tests.smoke`` for what it holds.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "smoke"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            _measure_all(folder)
            (folder / "done").touch()
    return folder


def _measure_all(folder: Path) -> None:
    # A shell may name the kernels of OpenBLAS (OPENBLAS_CORETYPE), which changes last bits; the golden files
    # are of those that it finds by itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment |= dict.fromkeys(THREAD_VARIABLES, "1") | {"TQDM_DISABLE": "1"}
    # Chapter 1's models serve chapter 4, so one after the other is not slower than two at a time.
    for name in record_sets():
        command = [sys.executable, "-m", "tests.smoke", name, str(folder)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == 0, f"{name} at scale smoke:\n{done.stderr[-4000:]}"
