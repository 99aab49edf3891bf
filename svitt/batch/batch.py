"""Runs a grid of chapter executions, several at a time, resumable.

Each job is one papermill execution in a process of its own, with one computing thread, so that
results do not depend on how many jobs run at once. A job is finished when its executed notebook is
there under the key of ``grid.Job``; a re-run does what is missing, changed or failed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

import psutil
from filelock import FileLock, Timeout
from tqdm import tqdm

from svitt.batch.files import executed_key, failed_file, lock_file, part_file
from svitt.batch.grid import Job
from svitt.config import require
from svitt.records.workspace import Workspace

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
POLL_SECONDS = 0.1
STOP_SECONDS = 5.0
FULL = 4 * 2**20  # bytes free; with less no notebook can be written


@dataclass(frozen=True)
class Outcome:
    """What became of a job. notebook: the executed notebook, ``.failed.ipynb`` with the error cell when
    it failed (the log when it died before writing one). seconds: wall time of this call's execution."""

    job: Job
    status: Literal["reused", "finished", "failed", "unfinished"]
    seconds: float
    notebook: Path
    error: str = ""


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen[str]
    started: float


def is_finished(job: Job, workspace: Workspace) -> bool:
    """Whether the job's executed notebook, and the result it recorded, are there and current."""
    if job.chapter.record_set:  # whoever asks has looked whether the record is current
        return False
    return executed_key(job.notebook(workspace), job.records(workspace)) == job.key()


def command_line(job: Job) -> str:
    """The shell command that runs this one job."""
    words = ["svitt", "run", job.chapter.name, "--scale", job.scale, "--seeds", str(job.seed)]
    words += ["--device", job.device]
    words += ["--record-only", *job.training.words] if job.chapter.record_set else []
    words += ["--changes", job.changes] if job.changes else []
    return shlex.join(words + (["--out", job.out_dir] if job.out_dir else []))


def run_batch(
    jobs: Sequence[Job],
    workspace: Workspace,
    processes: int = 1,
    threads: int = 1,
    progress: bool = True,
    time_limit: float | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Runs the jobs, at most ``processes`` at a time; one failing does not stop the others.

    Returns the outcomes in the order of ``jobs``. threads: computing threads of each process; numbers
    can differ in the last digits between thread counts, so recorded results use 1. On an exception
    (Ctrl-C) the started processes are ended first. time_limit: seconds after which no job is started and
    those that run are ended; their status is "unfinished". on_outcome: called for every job that came to its
    end. Errors: ConfigError for processes or threads < 1, or a time limit that is none.
    """
    require(processes >= 1, "jobs", processes, "integers from 1")
    require(threads >= 1, "threads", threads, "integers from 1")
    require(time_limit is None or time_limit > 0, "time limit", time_limit, "seconds, more than 0")
    deadline = None if time_limit is None else time.monotonic() + time_limit
    outcomes: dict[Job, Outcome] = {}
    for job in jobs:
        if not job.display and is_finished(job, workspace):
            outcomes[job] = Outcome(job, "reused", 0.0, job.notebook(workspace))
    waiting = [job for job in jobs if job not in outcomes]
    running: list[_Running] = []
    bar = tqdm(total=len(jobs), initial=len(outcomes), unit="job", disable=not progress)
    try:
        with bar:
            while (waiting or running) and not (deadline and time.monotonic() > deadline):
                while waiting and len(running) < processes:
                    running.append(_start(waiting.pop(0), workspace, threads, processes))
                _show(bar, running)
                for item in [item for item in running if item.process.poll() is not None]:
                    running.remove(item)
                    outcome = outcomes[item.job] = _collect(item, workspace)
                    bar.update()
                    if on_outcome is not None:
                        on_outcome(outcome)
                    if progress:
                        bar.write(describe(outcome), file=sys.stderr)
                time.sleep(POLL_SECONDS)
    finally:
        _stop(running, workspace)
    left = {job: Outcome(job, "unfinished", 0.0, job.notebook(workspace)) for job in jobs}
    return [outcomes.get(job, left[job]) for job in jobs]


def describe(outcome: Outcome) -> str:
    """One line about a job that ran."""
    if outcome.status == "failed":
        return f"FAILED {outcome.job.label}: {outcome.error}; see {outcome.notebook}"
    return f"{outcome.status} {outcome.job.label} in {outcome.seconds:.0f} s"


def _show(bar: tqdm[NoReturn], running: Sequence[_Running]) -> None:
    """Names what is running: every second on a terminal, every minute in a log."""
    every = 1 if sys.stderr.isatty() else 60
    now = time.monotonic()
    if not bar.disable and time.time() - bar.last_print_t >= every:
        text = "; ".join(f"{item.job.label} ({now - item.started:.0f} s)" for item in running)
        bar.set_postfix_str(text, refresh=False)
        bar.refresh()
        bar.last_print_t = time.time()


def _start(job: Job, workspace: Workspace, threads: int, sharing: int) -> _Running:
    output = job.notebook(workspace)
    output.parent.mkdir(parents=True, exist_ok=True)
    program, task = ("svitt.commands.measure", _measuring(job)) if job.chapter.record_set else (
        "svitt.batch.execute", _executing(job, workspace)
    )  # fmt: skip
    task["parent"] = os.getpid()
    environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
    if job.device.startswith("cuda"):
        environment["SVITT_GPU_SHARE"] = str(sharing)  # see svitt.experiments.gpu_share
    environment |= {"TOKENIZERS_PARALLELISM": "false", "TQDM_MININTERVAL": "5"}
    with output.with_suffix(".log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", program],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for the batch, which ends its processes
        )
    assert process.stdin is not None
    # A process that died before it read its task is reported by its exit status.
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        json.dump(task, stream)
    return _Running(job, process, time.monotonic())


def _executing(job: Job, workspace: Workspace) -> dict[str, Any]:
    """The task of ``svitt.batch.execute``."""
    return {
        "source": str(job.chapter.path),
        "cwd": str(job.chapter.path.parent),
        "output": str(job.notebook(workspace)),
        "records": [str(path) for path in job.records(workspace)],
        "parameters": job.parameters,
        "key": job.key(),
        "force": job.display,
    }


def _measuring(job: Job) -> dict[str, Any]:
    """The task of ``svitt.commands.measure``."""
    about = {"changes": job.changes, "training": job.training.model_dump(mode="json")}
    return {"record_set": job.chapter.name, **about, **job.parameters}


def _collect(item: _Running, workspace: Workspace) -> Outcome:
    output = item.job.notebook(workspace)
    seconds = time.monotonic() - item.started
    if item.process.returncode == 0:
        made = item.job.record(workspace) if item.job.chapter.record_set else output
        return Outcome(item.job, "finished", seconds, made)
    if item.job.chapter.record_set:
        log = output.with_suffix(".log")
        return Outcome(item.job, "failed", seconds, log, _last_line(log, item.process.returncode))
    failed = failed_file(output)
    with _no_other(output) as alone:
        if alone and part_file(output).exists():  # it died without a word
            part_file(output).replace(failed)
    kept = failed if failed.exists() else output.with_suffix(".log")
    return Outcome(item.job, "failed", seconds, kept, _error(failed, item.process.returncode))


@contextlib.contextmanager
def _no_other(output: Path) -> Iterator[bool]:
    """Whether no process, ours or another batch's, is executing the notebook; none starts meanwhile."""
    try:
        with FileLock(lock_file(output), timeout=0):
            yield True
    except Timeout:
        yield False


def _error(notebook: Path, returncode: int) -> str:
    """The error of a failed notebook's error cell in one line; where that cannot be read, of its log."""
    if notebook.exists():
        try:
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        except (
            ValueError,
            KeyError,
            TypeError,
        ):  # torn: its process was killed while it wrote, or the disk is full
            return _from_log(notebook) or "its notebook is torn"
        for cell in cells:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    return f"{output['ename']}: {output['evalue']}".splitlines()[0]
    elif said := _from_log(notebook):
        return said
    if returncode < 0:
        return f"its process was ended by {signal.Signals(-returncode).name}"
    return f"its process ended with status {returncode}"


def _last_line(log: Path, returncode: int) -> str:
    """The error of a measurement: the last line it wrote, or how it ended."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    said = [line.strip() for line in lines if line.strip()]
    if returncode < 0:
        return f"its process was ended by {signal.Signals(-returncode).name}"
    return said[-1] if said else f"its process ended with status {returncode}"


def _from_log(failed: Path) -> str:
    """ "no space left on the disk ..." where the log says so; "" where it does not."""
    log = failed.with_name(failed.name.replace(".failed.ipynb", ".log"))
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    free = psutil.disk_usage(str(failed.parent)).free
    if os.strerror(errno.ENOSPC) in text or free < FULL:
        return (
            f"no space left on the disk of {failed.parent} ({free // 2**20} MiB free); make room, run again"
        )
    return ""


def _stop(running: Sequence[_Running], workspace: Workspace) -> None:
    """Ends the started processes and everything they started; their unfinished notebooks go."""
    found: list[psutil.Process] = []
    for item in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(item.process.pid)
            found += [*process.children(recursive=True), process]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(found, timeout=STOP_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for item in running:
        item.process.wait()
        with _no_other(item.job.notebook(workspace)) as alone:
            if alone:
                part_file(item.job.notebook(workspace)).unlink(missing_ok=True)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM ends the program like Ctrl-C does, through the ``finally`` blocks, with the
    usual exit status 143."""

    def stop(number: int, frame: FrameType | None) -> None:
        print("svitt: terminated; the same command goes on where this one stopped", file=sys.stderr)
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
