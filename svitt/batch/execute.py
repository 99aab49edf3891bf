"""Executes one notebook: the process that ``svitt.batch.batch`` starts for each job.

It ends with its parent: when a batch is killed, nothing of it goes on in the background.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
from filelock import FileLock

from svitt.batch.files import executed_key, failed_file, lock_file, part_file
from svitt.batch.grid import check_parameters
from svitt.batch.parent import end_with_parent


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
