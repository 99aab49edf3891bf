"""``svitt bundle``: everything that a machine without network, git and Jupyter needs to record results.

Code of a clean commit with its REVISION, the few wheels that a bare PyTorch image lacks, the worlds' samples,
and ``run.sh``, whose results come back as one archive for ``svitt collect``.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from svitt.config import require
from svitt.errors import ConfigError, RecordError
from svitt.records.provenance import git_state, require_clean
from svitt.records.revision import write_revision
from svitt.records.workspace import project_root

# What recording needs; the notebooks name the chapters.
TREE = ("svitt", "book", "data/claims.yaml", "data/samples", "pyproject.toml", "requirements.txt", "LICENSE")
LEFT_OUT = re.compile(r"book/(?!\d\d_\w+\.ipynb$)")
WHEELS = (
    "accelerate",
    "annotated-types", "av", "filelock", "psutil", "pydantic", "pydantic_core", "typing-inspection",
    "typing_extensions",
)  # fmt: skip
PLATFORMS = ("manylinux_2_28", "manylinux2014", "manylinux_2_17")
MOST_BYTES = 45 * 2**20  # of the wheels
RUN = """#!/usr/bin/env bash
# Measures and records here what `svitt run` is told, without network, git and Jupyter.
#
#   bash run.sh all --scale smoke            # proves that it runs here
#   bash run.sh all --scale cpu --seeds 5-14 --device cuda --jobs 12 --time-limit 8m
#
# Needs Python @PYTHON@ with torch, timm, transformers and pandas ($PYTHON names another one). Worlds, runs
# and results go to $SVITT_OUT (out/ beside this script), the results also to results.tar.gz there, renewed
# after every seed: file it at home with `svitt collect results.tar.gz`. The same command goes on where it
# stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
out=${SVITT_OUT:-$here/out}
if [ ! -d "$here/lib" ]; then
  rm -rf "$here/lib.part"
  "$python" -m pip install -q --no-index --no-deps --target "$here/lib.part" "$here"/wheels/*.whl
  mv "$here/lib.part" "$here/lib"
fi
export PYTHONPATH="$here:$here/lib" PYTHONDONTWRITEBYTECODE=1
cd "$here"
exec "$python" -m svitt run "$@" --record-only --out "$out" --archive "$out/results.tar.gz"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--python", default="3.12", help="of the machine that will run it (3.12)")
    parser.add_argument("--machine", default="x86_64", help="x86_64 or aarch64")
    parser.add_argument("--out", required=True, metavar="DIR", help="a folder that is not there yet")


def call(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    require(bool(re.fullmatch(r"3\.1[1-9]", args.python)), "--python", args.python, "3.11 to 3.19")
    require(args.machine in ("x86_64", "aarch64"), "--machine", args.machine, "x86_64 or aarch64")
    out = Path(args.out).expanduser().absolute()
    require(not out.exists(), "--out", args.out, "a folder that is not there yet")
    folder = make_bundle(project_root(), out, args.python, args.machine)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    print(f"{folder}: {size:.0f} MiB; copy it, then there: bash {folder.name}/run.sh all --scale smoke")
    return 0


def make_bundle(root: Path, out: Path, python: str = "3.12", machine: str = "x86_64") -> Path:
    """Makes the bundle of the commit at ``root`` in the new folder ``out``; returns it.

    Errors: RecordError for a tree that differs from its commit or is none; ConfigError where a wheel cannot
    be had.
    """
    require_clean("bundle", root)
    commit = git_state(root)[0]
    assert commit is not None
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _add_tree(root, commit, part)
        _add_wheels(root, part / "wheels", python, machine)
        (part / "run.sh").write_text(RUN.replace("@PYTHON@", python))
        write_revision(part, commit)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _add_tree(root: Path, commit: str, part: Path) -> None:
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-tree", "-r", "--name-only", commit, "--", *TREE],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.splitlines() if not LEFT_OUT.match(name)]
    packed = subprocess.run(
        ["git", "-C", str(root), "archive", "--format=tar", commit, *names], capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(part, filter="data")


def _add_wheels(root: Path, folder: Path, python: str, machine: str) -> None:
    locked = dict(
        line.split("==", 1) for line in (root / "requirements.txt").read_text().splitlines() if "==" in line
    )
    lock = {name.lower().replace("-", "_"): version for name, version in locked.items()}
    wanted = [f"{name}=={lock[name.lower().replace('-', '_')]}" for name in WHEELS]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", python, "-d", str(folder)]
    for platform in PLATFORMS:
        command += ["--platform", f"{platform}_{machine}"]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ConfigError(
            f"the wheels for Python {python} cannot be had: {last[0]}; pip needs its index once"
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MOST_BYTES:
        raise RecordError(f"the wheels have {size / 2**20:.0f} MiB, more than {MOST_BYTES // 2**20}")
