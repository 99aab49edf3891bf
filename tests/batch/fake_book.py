"""A small checkout with fake chapters, for the tests of the batch and of ``svitt book``."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from svitt.batch.grid import Chapter
from svitt.records.code_hash import Code

PARAMETERS = 'scale = "smoke"\nseed = 0\ndevice = "cpu"\nout_dir = ""'
# Notes that it ran; waits or fails where the test has put a file that says so.
WORK = """
import time
from pathlib import Path
from svitt.records.workspace import Workspace

places = Workspace.open(out_dir)
with (places.runs / "ran").open("a") as file:
    file.write(f"{seed}\\n")
while (places.runs / f"wait{seed}").exists():
    time.sleep(0.05)
if (places.runs / f"break{seed}").exists():
    raise ValueError(f"broken on purpose at seed {seed}")
"""
RECORD = """
import os
record = places.results / scale / "01_toy" / f"seed{seed}.json"
record.parent.mkdir(parents=True, exist_ok=True)
record.write_text("{}")
print(scale, seed, os.environ["OMP_NUM_THREADS"], Path.cwd().name)
"""


def write_chapter(book: Path, name: str = "01_toy", parameters: str = PARAMETERS, work: str = WORK) -> Path:
    """Writes a fake chapter; returns its path."""
    book.mkdir(parents=True, exist_ok=True)
    cells = [
        new_markdown_cell(f"# {name}\n\nA chapter.", id="title"),
        new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(work.strip(), id="work"),
        new_code_cell(RECORD.strip(), id="record"),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    path = book / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def toy_chapter(book: Path, code: str = "c0de", name: str = "01_toy") -> Chapter:
    """The fake chapter with scales smoke (seed 0) and cpu (seeds 0 and 1)."""
    return Chapter(write_chapter(book, name), code, {"smoke": (0,), "cpu": (0, 1)})


@dataclass(frozen=True)
class Settings:
    """A scale of a fake experiment."""

    seeds: tuple[int, ...]


def fake_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Path:
    """A folder taken for a checkout, with chapters 01_toy and 02_other (or ``names``); the current
    folder of the test. Returns it."""
    root = tmp_path / "checkout"
    for name in names or ("01_toy", "02_other"):
        write_chapter(root / "book", name)
        package = types.ModuleType(f"svitt.experiments.ch{name}")
        package.EXPERIMENTS = {name: "experiment:measure"}  # type: ignore[attr-defined]
        module = types.ModuleType(f"{package.__name__}.experiment")
        module.SCALES = {"smoke": Settings((0,)), "cpu": Settings((0, 1))}  # type: ignore[attr-defined]
        for made in (package, module):
            monkeypatch.setitem(sys.modules, made.__name__, made)
    (root / "pyproject.toml").write_text('[project]\nname = "svitt"\n')
    monkeypatch.setattr(
        "svitt.commands.chapters.code_hash", lambda entry: Code(f"hash of {entry}", entry, {})
    )
    monkeypatch.setenv("SVITT_COMMIT", "f" * 40)
    monkeypatch.chdir(root)
    return root
