"""Where a number comes from: package versions, hardware, commit, and whether the tree was clean.

Torch is never imported here (versions come from the installed metadata), so that reading the ledger stays
fast; the name of a GPU is passed in by the caller who holds it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from svitt.errors import RecordError
from svitt.records.revision import read_revision

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "timm",
    "transformers",
    "tokenizers",
    "accelerate",
    "av",
    "decord",
)
# What determines a number. The notebooks are left out: they are executed in place and hold no computation
# of their own, which lives in svitt.experiments.
DETERMINES_NUMBERS = ("svitt", "data/claims.yaml", "requirements.txt", "pyproject.toml")
COMMIT_VARIABLE = "SVITT_COMMIT"
SMOKE = "smoke"  # the scale that proves that a chapter runs, and is never judged


class Hardware(BaseModel):
    """The machine a record was computed on. memory_gib: physical memory in GiB; gpu: its name or None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    cpu: str
    cores: int
    memory_gib: float
    gpu: str | None = None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.processor() or platform.machine() or "unknown"


def environment(gpu: str | None = None) -> tuple[dict[str, str], Hardware]:
    """Versions of Python and of the packages that can change a number, and the hardware.

    gpu: the device name as the caller's framework reports it; None for a CPU run. A package that is not
    installed (decord has no wheel for every platform) is left out.
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    hardware = Hardware(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=cores,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=gpu,
    )
    return versions, hardware


def computing_threads() -> int | None:
    """Threads that torch computes with, which change the last bits of a number; None where it is not loaded.

    It is asked, never imported: reading the ledger must not wait for it.
    """
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def _git(root: Path, *args: str) -> str | None:
    """Standard output of a read-only git command in ``root``; None when git or the checkout is absent."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def changed_files(root: Path) -> list[str] | None:
    """Changed or untracked files under DETERMINES_NUMBERS; None outside a checkout and outside a bundle."""
    if not (_git(root, "ls-files", "svitt/__init__.py") or "").strip():
        # no repository, or a copy of the project inside another one
        revision = read_revision(root)
        return None if revision is None else revision.changed(root)
    status = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *DETERMINES_NUMBERS)
    return None if status is None else [line[3:] for line in status.splitlines()]


def knows_commit(root: Path, commit: str) -> bool:
    """Whether the repository at ``root`` has the commit."""
    known = re.fullmatch(r"[0-9a-f]{40}", commit) is not None
    return known and _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def is_committed(path: Path) -> bool:
    """Whether git keeps the file: a result that others may have quoted."""
    return bool((_git(path.parent, "ls-files", "--", path.name) or "").strip())


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout at ``root``.

    In a bundle (``svitt bundle``) its file REVISION says both. In any other exported tree the commit may be
    stated in the environment variable SVITT_COMMIT; ``dirty`` is then None, and only the code hash of a
    record tells what ran.
    """
    changed = changed_files(root)
    if changed is None:
        return os.environ.get(COMMIT_VARIABLE) or None, None
    commit = _git(root, "rev-parse", "HEAD")
    revision = read_revision(root)
    if revision is not None and not (_git(root, "ls-files", "svitt/__init__.py") or "").strip():
        commit = revision.commit
    return (commit.strip() if commit else None), bool(changed)


def require_clean(scale: str, root: Path) -> None:
    """Refuses to record at any scale but smoke from a tree whose numbers could not be traced.

    Errors: RecordError when a file that determines a number is changed or untracked, or when there is no
    commit to name.
    """
    if scale == SMOKE:
        return
    changed = changed_files(root)
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise RecordError(
            f"scale {scale!r} records only from a clean tree, and these files differ from the commit: "
            f"{shown}; commit them first (or run at scale 'smoke')"
        )
    if git_state(root)[0] is None:
        raise RecordError(
            f"scale {scale!r} records only from a known commit, and {root} is no git checkout with one; run "
            f"from a checkout, or state the exported commit in the environment variable {COMMIT_VARIABLE}"
        )
