"""Making the files of a world of any kind, resumably and by several workers."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm.auto import tqdm

from svitt.atomic import write_atomically
from svitt.data.workers import serve
from svitt.data.worlds.base import AnySpec, C, S, Task, World, WorldKind
from svitt.data.worlds.files import FileEntry, append_journal, check_file, read_journal, remove_parts
from svitt.data.worlds.manifest import JOURNAL, LOCK, MANIFEST, claim, listed_files, load, manifest_bytes
from svitt.errors import AnnotationError


def make(kind: WorldKind[S, C], spec: S, out: str | Path, workers: int, progress: bool) -> World[S, C]:
    """Makes the world in the folder ``out``, or what is missing of it, and returns it checked.

    workers: processes; 1 or less works in this one where the kind allows it. Interrupted, the same call goes
    on where it stopped.

    Errors: AnnotationError when ``out`` cannot be written, holds something else or a world of other
    parameters, or a damaged file; nothing that is there is overwritten.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK):
            _make_locked(kind, spec, folder, workers, progress)
    except OSError as error:
        raise AnnotationError(
            f"{folder}: cannot make a world here: {error.strerror or error} ({error.filename}); "
            "choose a folder that you can write to, with room for it"
        ) from error
    return load(kind, folder, progress=progress)


def _make_locked(
    kind: WorldKind[Any, Any], spec: AnySpec, folder: Path, workers: int, progress: bool
) -> None:
    claim(kind, spec, folder)
    remove_parts(folder)
    finished = (folder / MANIFEST).exists()
    entries = listed_files(kind, folder) if finished else read_journal(folder / JOURNAL)
    present = {name for name in entries if (folder / name).exists()}
    for name in present:
        check_file(folder, entries[name])
    tasks = []
    for split in kind.splits:
        (folder / split).mkdir(exist_ok=True)
        names = (kind.names(split, i).values() for i in range(spec.count(split)))
        missing = [i for i, files in enumerate(names) if not present.issuperset(files)]
        tasks += [
            Task(str(folder), spec, split, missing[i : i + kind.chunk])
            for i in range(0, len(missing), kind.chunk)
        ]
    for made in _run(kind, tasks, workers, progress):
        for entry in made:
            if entries.setdefault(entry.name, entry) != entry:
                raise AnnotationError(
                    f"{folder / entry.name}: made anew, it differs from the manifest (another version of the "
                    f"encoder?); make the world in another folder"
                )
        if not finished:
            append_journal(folder / JOURNAL, made)
    if not finished:
        write_atomically(folder / MANIFEST, manifest_bytes(kind, spec, folder, entries))
    (folder / JOURNAL).unlink(missing_ok=True)


def _run(
    kind: WorldKind[Any, Any], tasks: list[Task], workers: int, progress: bool
) -> Iterator[list[FileEntry]]:
    """Yields the files made, task by task."""
    if not tasks:
        return
    environment = kind.environment()
    total = sum(len(task.indices) for task in tasks)
    with tqdm(total=total, desc="making clips", unit="clip", disable=not progress) as bar:
        if kind.in_process and (workers <= 1 or len(tasks) <= 1):
            for task in tasks:
                yield kind.make(task)
                bar.update(len(task.indices))
            return
        # Spawned, not forked: safe where the parent has threads (PyTorch, a notebook).
        context = multiprocessing.get_context("spawn")
        count = max(1, min(workers, len(tasks)))
        with ProcessPoolExecutor(count, context, _begin, (os.getpid(), environment)) as pool:
            futures = {pool.submit(kind.make, task): len(task.indices) for task in tasks}
            try:
                for future in as_completed(futures):
                    yield future.result()
                    bar.update(futures[future])
            finally:
                pool.shutdown(cancel_futures=True)


def _begin(parent: int, environment: dict[str, str]) -> None:
    """A worker's first act: its variables, before any library reads them; then it serves."""
    os.environ.update(environment)
    serve(parent)
