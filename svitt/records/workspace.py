"""Where runs, worlds and results are kept."""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import svitt
from svitt.errors import ConfigError
from svitt.records.training import PLAIN, Training


def is_project(folder: Path) -> bool:
    """Whether ``folder`` is a checkout of this project: its pyproject.toml names ``svitt``."""
    file = folder / "pyproject.toml"
    if not file.is_file():
        return False
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError:  # another project's broken file above us is not ours to report
        return False
    project = data.get("project")
    return isinstance(project, dict) and project.get("name") == "svitt"


def project_root(start: Path | None = None) -> Path:
    """The nearest checkout above ``start`` (default: the current folder), else above the installed
    package, else ``start`` itself."""
    here = (start or Path.cwd()).resolve()
    package = Path(svitt.__file__).resolve().parent
    for folder in (here, *here.parents, *package.parents):
        if is_project(folder):
            return folder
    return here


@dataclass(frozen=True)
class Workspace:
    """The three folders that a run writes to, and how it trains.

    runs: content-addressed training runs and executed notebooks (never committed).
    worlds: procedural videos (never committed).
    results: recorded results, ``<results>/<scale>/<chapter>/seed<k>.json``.
    training: of models that are not found trained; part of their key among the runs.
    """

    runs: Path
    worlds: Path
    results: Path
    training: Training = PLAIN

    @classmethod
    def open(cls, out_dir: str | Path = "") -> Workspace:
        """The workspace of ``out_dir``, its folders created.

        Empty: the checkout's own places, ``runs/``, ``worlds/`` and ``data/results/``; otherwise
        ``<out_dir>/{runs,worlds,results}``. Errors: ConfigError when it cannot be written.
        """
        if str(out_dir) == "":
            base = project_root()
            places = cls(base / "runs", base / "worlds", base / "data" / "results")
        else:
            base = Path(out_dir).expanduser().absolute()
            places = cls(base / "runs", base / "worlds", base / "results")
        for folder in (places.runs, places.worlds, places.results):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                raise ConfigError(
                    f"out_dir = {str(out_dir)!r}: cannot write to {folder} ({error.strerror}); "
                    "give a folder you may write to, with --out DIR or the parameter out_dir"
                ) from error
        return places
