"""Every experiment of every chapter is one: it has what ``svitt run``, replay and the ledger ask of it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import get_type_hints

import pytest

from svitt.experiments.base import Experiment, Measurement
from svitt.records.entry_points import entry_point, experiment_module
from tests.smoke import record_sets


@pytest.mark.parametrize("record_set", record_sets())
def test_every_record_set_has_an_experiment(record_set: str) -> None:
    experiment: Experiment = importlib.import_module(experiment_module(record_set))
    assert record_set == experiment.CHAPTER
    assert entry_point(record_set).endswith(":measure")
    assert {"smoke", "cpu", "gpu"} <= set(experiment.SCALES)
    for settings in experiment.SCALES.values():
        assert dataclasses.is_dataclass(settings) and settings.__dataclass_params__.frozen
        assert settings.seeds and all(isinstance(seed, int) and seed >= 0 for seed in settings.seeds)
    assert len(experiment.SCALES["smoke"].seeds) <= 2
    assert all(isinstance(pattern, str) for pattern in experiment.TIMED)
    assert list(inspect.signature(experiment.measure).parameters) == [
        "settings",
        "seed",
        "device",
        "workspace",
    ]
    assert get_type_hints(experiment.measure)["return"] is Measurement
