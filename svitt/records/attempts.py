"""Every attempt to measure a seed leaves a line: ``<results>/attempts.jsonl``.

A line is written when an attempt starts and one when it ends, under a lock and brought to the disk, so that
no attempt is lost to another process or to a kill; one without an end was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from svitt.errors import RecordError
from svitt.records.arrays import strict_json

Event = Literal["started", "finished", "failed", "interrupted", "replaced", "recorded"]


class Attempt(BaseModel):
    """One line. id: the same for the start and the end of an attempt. event: "recorded" stands for attempts
    of the time before this log, made from their records; "replaced" names the record that was given up.
    reason: the error, or what was replaced. cpu_seconds: spent by this attempt, at its end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    event: Event
    record_set: str
    scale: str
    seed: int = Field(ge=0)
    time: str
    commit: str | None = None
    code_hash: str
    device: str = "cpu"
    threads: int | None = None
    reason: str = ""
    cpu_seconds: float | None = None


def attempts_path(results: Path) -> Path:
    """``<results>/attempts.jsonl``."""
    return results / "attempts.jsonl"


def append(results: Path, attempt: Attempt) -> None:
    """Adds a line."""
    path = attempts_path(results)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(attempt.model_dump(mode="json", exclude_none=True), sort_keys=True) + "\n"
    with FileLock(path.with_name(".attempts.lock")), path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_attempts(results: Path) -> list[Attempt]:
    """All lines, in order. Errors: RecordError naming the line that is none."""
    path = attempts_path(results)
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(Attempt.model_validate(strict_json(line)))
        except (ValueError, ValidationError) as error:
            raise RecordError(f"{path}, line {number}: no attempt ({error}); restore it from git") from error
    return found


def unfinished_seconds(results: Path, record_set: str, scale: str, seed: int, code: str) -> float:
    """CPU seconds of earlier attempts of this seed and code that came to no record; those that were killed
    could not say."""
    return sum(
        a.cpu_seconds or 0.0
        for a in read_attempts(results)
        if (a.record_set, a.scale, a.seed, a.code_hash) == (record_set, scale, seed, code)
        and a.event in ("failed", "interrupted")
    )


@contextlib.contextmanager
def attempt(results: Path, cpu_clock: Callable[[], float], **about: Any) -> Iterator[None]:
    """Logs the start, and at the end whether it finished, failed or was interrupted.

    cpu_clock: () -> CPU seconds of this process. about: the fields of an Attempt but id, event and time.
    """
    name, began = uuid.uuid4().hex[:12], cpu_clock()

    def line(event: Event, **more: Any) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        append(results, Attempt(id=name, event=event, time=stamp, **about, **more))

    line("started")
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        spent = round(cpu_clock() - began, 2)
        line("interrupted" if stopped else "failed", reason=reason, cpu_seconds=spent)
        raise
    line("finished", cpu_seconds=round(cpu_clock() - began, 2))
