"""What the commands know of the chapters: their notebooks, scales and code."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from svitt.batch.grid import Chapter, chapter_names, select_chapters
from svitt.errors import ConfigError
from svitt.records.code_hash import code_hash
from svitt.records.entry_points import entry_point, experiment_module


def load_chapters(book: Path, wanted: Iterable[str]) -> list[Chapter]:
    """The chapters of ``book`` that ``wanted`` names (``all`` for every one).

    Notebook ``NN_name`` belongs to the package ``svitt.experiments.chNN_name``, whose experiment's ``SCALES``
    maps the name of a scale to its settings, with ``seeds`` among them. Errors: ConfigError.
    """
    chapters = []
    for name in select_chapters(chapter_names(book), wanted):
        module = experiment_module(name)
        code = code_hash(entry_point(name)).hash
        scales = getattr(importlib.import_module(module), "SCALES", None)
        if not scales:
            raise ConfigError(f"{module} names no SCALES; chapter {name} cannot run without")
        seeds = {scale: tuple(settings.seeds) for scale, settings in scales.items()}
        chapters.append(Chapter(book / f"{name}.ipynb", code, seeds))
    return chapters
