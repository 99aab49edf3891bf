"""What measures a record: from the name of a record set to its experiment, without importing any."""

from __future__ import annotations

import importlib

from svitt.errors import ConfigError


def chapter_package(record_set: str) -> str:
    """The package of a record set: 04_node_sparsity_movers -> svitt.experiments.ch04_node_sparsity.

    Errors: ConfigError where no chapter lists it among its EXPERIMENTS.
    """
    parts = record_set.split("_")
    for end in range(len(parts), 1, -1):
        name = f"svitt.experiments.ch{'_'.join(parts[:end])}"
        try:
            package = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        if record_set in package.EXPERIMENTS:
            return name
    raise ConfigError(f"no chapter below svitt.experiments lists {record_set!r} among its EXPERIMENTS")


def entry_point(record_set: str, scale: str = "") -> str:
    """The definition, or the module, that determines a record's numbers, e.g.
    ``svitt.experiments.ch01_frame_shuffle.experiment:measure``.

    A scale may have one of its own, listed as ``record_set/scale``. Errors: as ``chapter_package``.
    """
    package = chapter_package(record_set)
    experiments: dict[str, str] = importlib.import_module(package).EXPERIMENTS
    return f"{package}.{experiments.get(f'{record_set}/{scale}', experiments[record_set])}"


def experiment_module(record_set: str) -> str:
    """The module that measures a record set: svitt.experiments.ch01_frame_shuffle.experiment."""
    return entry_point(record_set).partition(":")[0]
