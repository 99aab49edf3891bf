"""Executes one notebook: the process that ``svitt.batch.batch`` starts for each job.

It ends with its parent: when a batch is killed, nothing of it goes on in the background.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from filelock import FileLock

from svitt.batch.grid import check_parameters


def executed_key(notebook: Path, records: Sequence[Path]) -> str | None:
    """The key of the job that ``notebook`` is the finished execution of, None when there is none or
    a result it recorded is gone."""
    if not notebook.is_file():
        return None
    try:
        data = json.loads(notebook.read_text(encoding="utf-8"))
        state = data["metadata"].get("svitt", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        # Torn by a kill or a full disk: it is the finished execution of nothing, and is made anew.
        print(f"{notebook} is damaged and will be executed again", file=sys.stderr)
        return None
    if state.get("recorded") and not all(record.is_file() for record in records):
        return None
    key = state.get("key")
    return key if isinstance(key, str) else None


def part_file(output: Path) -> Path:
    """The notebook while it is being executed."""
    return output.with_suffix(".part.ipynb")


def failed_file(output: Path) -> Path:
    """The notebook of a failed execution, with the error cell."""
    return output.with_suffix(".failed.ipynb")


def lock_file(output: Path) -> Path:
    """Locked by the process that executes the notebook."""
    return output.with_name(f".{output.name}.lock")


def execute(task: dict[str, Any]) -> None:
    """Executes ``source`` with ``parameters`` and keeps the result as ``output``.

    task: source, cwd, output (paths), records (a list of them), parameters, key, force (execute even when
    ``output`` is already the execution of this key). The notebook is written to ``.part.ipynb``
    and renamed at the end, to ``.failed.ipynb`` on an error, which is raised as papermill raises it.
    """
    output, records = Path(task["output"]), [Path(record) for record in task["records"]]
    output.parent.mkdir(parents=True, exist_ok=True)
    part, failed = part_file(output), failed_file(output)
    # Another batch may be at the same job: wait for it, and use what it made.
    with FileLock(lock_file(output)):
        if not task["force"] and executed_key(output, records) == task["key"]:
            return
        for stale in (part, failed):
            stale.unlink(missing_ok=True)
        notebook = nbformat.read(task["source"], as_version=4)
        parameters = task["parameters"]
        same = parameters == check_parameters(Path(task["source"]))
        try:
            papermill.execute_notebook(
                notebook,
                part,
                parameters=None if same else parameters,  # no injected cell that repeats the defaults
                cwd=task["cwd"],
                kernel_name="python3",
                progress_bar=False,
                log_output=True,
            )
        except Exception:
            if part.exists():
                part.replace(failed)
            raise
        executed = nbformat.read(part, as_version=4)
        executed.metadata["papermill"]["parameters"] = parameters
        executed.metadata["svitt"] = {"key": task["key"], "recorded": all(r.is_file() for r in records)}
        nbformat.write(executed, part)
        part.replace(output)


def end_with_parent(parent: int, interval: float = 0.5) -> None:
    """Ends this process and all it started once ``parent`` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Reads the task as JSON from standard input."""
    task = json.load(sys.stdin)
    end_with_parent(task["parent"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        execute(task)
    except papermill.PapermillExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
