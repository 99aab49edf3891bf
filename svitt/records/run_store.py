"""The run store: training runs addressed by what determines them.

Same kind, configuration, seed and code: same folder, so chapters share trained models, a killed run
goes on from its last checkpoint and a finished one is never trained again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from svitt.atomic import write_atomically
from svitt.errors import ConfigError, RecordError
from svitt.records.code_hash import code_hash
from svitt.records.provenance import computing_threads

DIGESTS = "digests.json"

__all__ = ["Run", "RunStore", "code_hash", "plain_data", "write_json"]


def plain_data(value: Any, where: str = "config") -> Any:
    """``value`` as JSON types. Errors: ConfigError naming the key that is not plain data."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where}: key {key!r} is not a string; a run's configuration is JSON")
        return {key: plain_data(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise ConfigError(
        f"{where} = {value!r} is not plain data; allowed: finite numbers, strings, true/false, null, lists, "
        "mappings (svitt.config.to_dict makes them of a dataclass)"
    )


def write_json(path: Path, data: Any) -> None:
    """Writes ``path`` whole or not at all."""
    text = json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is damaged ({error}); delete its folder and run again") from error
    if not isinstance(data, dict):
        raise RecordError(f"{path} holds no JSON object; delete its folder and run again")
    return data


class Run:
    """One run's folder. Entering it takes the run's lock, so that two processes never train the same
    run: the second waits, then finds it finished. A finished run is read without a lock.

    A run opened twice in one process without leaving the first would wait for itself: do not nest.
    """

    def __init__(self, path: Path, lock: Path, key: Mapping[str, Any]) -> None:
        self.path = path
        self.key = dict(key)
        self.lock_path = lock
        self._lock: FileLock | None = None

    @property
    def finished(self) -> bool:
        """Whether ``finish`` was called."""
        return (self.path / "summary.json").is_file()

    @property
    def summary(self) -> dict[str, Any]:
        """What ``finish`` was given. Errors: RecordError when unfinished or damaged."""
        if not self.finished:
            raise RecordError(f"{self.path} is not finished; run it again, it goes on from its checkpoint")
        return _read_json(self.path / "summary.json")

    @property
    def running(self) -> bool:
        """Whether a process holds the run now."""
        if not self.lock_path.exists():
            return False
        try:
            with FileLock(self.lock_path, timeout=0):
                return False
        except Timeout:
            return True

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Marks the run finished. summary: plain data, e.g. final metrics, seconds, FLOPs."""
        if self._lock is None:
            raise RecordError(
                f"{self.path}: finish() belongs inside `with store.open(...) as run`, on an unfinished run"
            )
        plain = plain_data(summary, "summary")
        write_json(self.path / DIGESTS, self._digests())
        write_json(self.path / "summary.json", plain)

    def _digests(self) -> dict[str, str]:
        """SHA-256 of the weights in the folder, brought to the disk first."""
        found: dict[str, str] = {}
        for path in sorted(self.path.glob("*.safetensors")):
            with path.open("rb+") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
        return found

    def _verify(self) -> None:
        """Errors: RecordError where the weights of a finished run are not those it was finished with."""
        kept = _read_json(self.path / DIGESTS) if (self.path / DIGESTS).is_file() else None
        if kept != self._digests():
            raise RecordError(
                f"{self.path}: its weights are not those it was finished with; delete the folder, run again"
            )

    def __enter__(self) -> Run:
        if not self.finished:
            self._acquire()
        if self.finished:  # from the start, or by the process we waited for
            self._release()
        try:
            self._prepare()
            if self.finished:
                self._verify()
        except BaseException:
            self._release()
            raise
        return self

    def _acquire(self) -> None:
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for the process that is training {self.path.name}", file=sys.stderr, flush=True)
            lock.acquire()
        self._lock = lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _prepare(self) -> None:
        path = self.path / "config.json"
        if self._lock is not None and not path.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(path, self.key)
        elif not path.exists() or _read_json(path) != self.key:
            raise RecordError(
                f"{path} does not hold the configuration its folder is named after; "
                "it was edited: delete the folder and run again"
            )


class RunStore:
    """The runs below ``root``: one folder each, ``<kind>-<12 hexadecimal digits>``, with
    ``config.json`` (kind, config, seed, code), whatever the run keeps there (checkpoints, logs) and,
    once finished, ``summary.json``."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def open(self, kind: str, config: Mapping[str, Any], seed: int, code: str) -> Run:
        """The run of this content; use it as a context manager.

        kind: lower-case name of what is trained. config: plain data. The number of computing threads is part
        of the key, since it changes the last bits of weights. code: ``code_hash(entry)[0]``.
        Errors: ConfigError naming a key that is not plain data; RecordError on an edited folder.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", kind):
            raise ConfigError(f"kind = {kind!r}; allowed: lower-case letters, digits and _, a letter first")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"seed = {seed!r}; allowed: integers from 0")
        key: dict[str, Any] = {"kind": kind, "config": plain_data(config), "seed": seed, "code": code}
        if (threads := computing_threads()) is not None:
            key["threads"] = threads
        text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
        name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return Run(self.root / name, self._lock_file(name), key)

    def list(self) -> Iterator[Run]:
        """All runs, by name."""
        for file in sorted(self.root.glob("*-????????????/config.json")):
            yield Run(file.parent, self._lock_file(file.parent.name), _read_json(file))

    def find(self, name: str) -> Run:
        """The one run whose folder name starts with ``name``. Errors: ConfigError."""
        found = [run for run in self.list() if run.path.name.startswith(name)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            raise ConfigError(
                f"{what} in {self.root} with a name that starts with {name!r}; see `svitt runs list`"
            )
        return found[0]

    def remove(self, run: Run) -> None:
        """Deletes a run's folder. Errors: RecordError when a process holds the run."""
        run.lock_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(run.lock_path, timeout=0):
                shutil.rmtree(run.path)
        except Timeout:
            raise RecordError(f"{run.path} is being trained by another process; stop that first") from None

    def _lock_file(self, name: str) -> Path:
        return self.root / ".locks" / f"{name}.lock"


def last_change(run: Run) -> datetime:
    """When anything in the run's folder was last written."""
    times = [file.stat().st_mtime for file in run.path.rglob("*")]
    return datetime.fromtimestamp(max(times, default=run.path.stat().st_mtime), tz=UTC)


def size_mib(run: Run) -> float:
    """Size of the run's folder in MiB."""
    return sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file()) / 2**20
