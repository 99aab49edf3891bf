"""What the commands know of the chapters: their notebooks, record sets, scales and code."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from svitt.batch.grid import Chapter, Job, build_grid, chapter_names, select_chapters
from svitt.errors import ConfigError
from svitt.experiments.base import settings_of
from svitt.experiments.own_settings import custom_scale
from svitt.records.code_hash import code_hash
from svitt.records.entry_points import chapter_package, entry_point, experiment_module


def load_chapters(book: Path, wanted: Iterable[str]) -> list[Chapter]:
    """The chapters of ``book`` that ``wanted`` names (``all`` for every one).

    Notebook ``NN_name`` belongs to the package ``svitt.experiments.chNN_name``, whose experiment's ``SCALES``
    maps the name of a scale to its settings, with ``seeds`` among them. Errors: ConfigError.
    """
    chapters = []
    for name in select_chapters(chapter_names(book), wanted):
        code = code_hash(entry_point(name)).hash
        path = book / f"{name}.ipynb"
        further = {
            other: _scales(other) for other in record_sets(name) if other != name and makes(path, other)
        }
        chapters.append(Chapter(path, code, _scales(name), further))
    return chapters


def record_sets(chapter: str) -> list[str]:
    """The record sets of a chapter, its own first; its notebook may not make all of them (``makes``)."""
    experiments = importlib.import_module(chapter_package(chapter)).EXPERIMENTS
    return sorted((name for name in experiments if "/" not in name), key=lambda name: (name != chapter, name))


def makes(notebook: Path, record_set: str) -> bool:
    """Whether a notebook imports the experiment of a record set, and so shows and makes it. One that does not
    can still be run by its name: it is measured before a page tells of it."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join(_python(cell) for cell in cells if cell["cell_type"] == "code")
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return experiment_module(record_set) in imported


def _python(cell: Mapping[str, Any]) -> str:
    """A cell's source without the lines that are IPython's own."""
    lines = "".join(cell["source"]).split("\n")
    return "\n".join(line for line in lines if not line.startswith(("%", "!")))


def further_set(book: Path, wanted: str) -> str | None:
    """The chapter that ``wanted`` is a further record set of; None where it is none."""
    for chapter in chapter_names(book):
        if wanted != chapter and wanted.startswith(chapter) and wanted in record_sets(chapter):
            return chapter
    return None


def measured_alone(chapter: Chapter, name: str) -> Chapter:
    """The record set ``name`` of a chapter, to be measured without the notebook."""
    return replace(
        chapter, code=code_hash(entry_point(name)).hash, scales=_scales(name), further={}, record_set=name
    )


def jobs_without_notebooks(
    book: Path,
    wanted: Sequence[str],
    scale: str,
    seeds: Sequence[int] | None,
    device: str,
    out_dir: str,
    changes: str = "",
) -> list[Job]:
    """One job per record set and seed of what ``wanted`` names: chapters with all their record sets, or
    single record sets.

    changes: a reader's own settings, for the record set named, or the chapter's own alone.
    Errors: ConfigError.
    """
    jobs: dict[tuple[str, int], Job] = {}
    for want in wanted:
        chapter_of_set = further_set(book, want)
        for chapter in load_chapters(book, [chapter_of_set or want]):
            base = measured_alone(chapter, want if chapter_of_set else chapter.name)
            for job in build_grid([base], scale, seeds, device, out_dir):
                only = chapter_of_set is not None or changes
                pairs = [(base.name, job.seed)] if only else chapter.recorded(scale, job.seed)
                for name, seed in pairs:
                    alone = base if name == base.name else measured_alone(chapter, name)
                    kept = _kept_as(name, scale, changes)
                    jobs[name, seed] = replace(job, chapter=alone, seed=seed, changes=changes, kept_as=kept)
    return list(jobs.values())


def _kept_as(record_set: str, scale: str, changes: str) -> str:
    if not changes:
        return ""
    experiment = importlib.import_module(experiment_module(record_set))
    return custom_scale(settings_of(experiment, scale), changes)


def _scales(record_set: str) -> dict[str, tuple[int, ...]]:
    module = experiment_module(record_set)
    scales = getattr(importlib.import_module(module), "SCALES", None)
    if not scales:
        raise ConfigError(f"{module} names no SCALES; {record_set} cannot run without")
    return {scale: tuple(settings.seeds) for scale, settings in scales.items()}
