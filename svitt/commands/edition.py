"""Editions of the book: staged copies of its sources, the build of the site, cleaned notebooks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from svitt.atomic import replacing
from svitt.errors import ConfigError

MARKER = ".svitt-stage"
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "_build")
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
# What an execution adds that says when and where it ran, not what it found.
EXECUTION_KEYS = [
    "metadata.papermill",
    "metadata.svitt",
    "metadata.language_info.version",
    "cell.metadata.papermill",
    "cell.metadata.execution",
]


def require_book_tools() -> None:
    """Errors: ConfigError when the packages that build the book are not installed."""
    for module in ("jupyter_book", "nbstripout"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"{module} is not installed; pip install 'svitt[book]', or use the environment of `make book`"
            )


def stage_book(root: Path, stage: Path, banner: str = "") -> Path:
    """Copies what a build of the book needs to ``stage``, an earlier stage there being replaced.

    ``data/results`` is not copied: an edition is told which results it shows. banner: stands on every page,
    to say that this is not the committed edition. Returns the staged ``book`` folder. Errors: ConfigError
    when ``stage`` holds something else, or the checkout is not whole.
    """
    for name in ("_config.yml", "_toc.yml", "book", "data"):
        if not (root / name).exists():
            raise ConfigError(f"no {name} in {root}; run the command inside a whole checkout")
    if stage.exists():
        if not stage.is_dir() or (any(stage.iterdir()) and not (stage / MARKER).exists()):
            raise ConfigError(f"stage = {stage} holds something else; give an empty or a new folder")
        shutil.rmtree(stage)
    stage.mkdir(parents=True)
    (stage / MARKER).touch()
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(root / name, stage / name)
    if banner:
        _announce(stage / "_config.yml", banner)
    shutil.copytree(root / "book", stage / "book", symlinks=True, ignore=LEFT_OUT)
    shutil.copytree(root / "data", stage / "data", ignore=LEFT_OUT)
    shutil.rmtree(stage / "data" / "results", ignore_errors=True)
    return stage / "book"


def _announce(config: Path, banner: str) -> None:
    """The theme's announcement, above every page."""
    data = yaml.safe_load(config.read_text(encoding="utf-8"))
    sphinx = data.setdefault("sphinx", {}).setdefault("config", {})
    sphinx.setdefault("html_theme_options", {})["announcement"] = banner
    config.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")


def build_site(stage: Path, results: Path, html: Path, machine: Path | None = None) -> bool:
    """Builds the site of ``stage`` with the results of ``results``, every warning an error, and puts it
    at ``html``. machine: what ran on this machine, for the panel that shows it. Returns whether it succeeded;
    otherwise ``html`` stays as it was."""
    # Jupyter Book has no __main__; its console script may not be on the PATH of this interpreter.
    program = "from jupyter_book.cli.main import main; main()"
    flags = ["--all", "-n", "-W", "--keep-going", "--path-output", str(stage)]
    done = subprocess.run(
        [sys.executable, "-c", program, "build", str(stage / "book"), *flags],
        cwd=stage,
        env=os.environ
        | {"SVITT_RESULTS": str(results)}
        | ({} if machine is None else {"SVITT_MACHINE": str(machine)}),
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode != 0:
        return False
    shutil.rmtree(html, ignore_errors=True)
    html.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(stage / "_build" / "html", html)
    return True


def clean_notebook(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An executed notebook as it is committed: outputs, counts and widget state are kept, traces of
    the execution (times, paths, versions) go."""
    import nbstripout

    strip = nbstripout.strip_output
    cleaned = strip(notebook, keep_output=True, keep_count=True, keep_id=True, extra_keys=EXECUTION_KEYS)
    for cell in cleaned.cells:
        if cell.metadata.get("tags") == []:
            del cell.metadata["tags"]
    cleaned.metadata["kernelspec"] = dict(KERNELSPEC)
    return cleaned


def replace_notebook(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Writes a notebook whole or not at all."""
    with replacing(path) as part:
        nbformat.write(notebook, part)
