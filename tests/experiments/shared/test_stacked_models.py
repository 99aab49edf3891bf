"""Chapter 1's models trained as stacks: found by each seed's measurement, never completed by others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from svitt.errors import ConfigError, RecordError
from svitt.experiments import base
from svitt.experiments.ch01_frame_shuffle import experiment
from svitt.experiments.shared import one_object_model, stacked_models
from svitt.experiments.shared.one_object_model import SCALES, VARIANTS, world_spec
from svitt.experiments.shared.tiny_models import world_data
from svitt.records.run_store import RunStore
from svitt.records.training import Training
from svitt.records.workspace import Workspace
from tests.experiments.tiny import with_scale

SEEDS = (0, 1)
TINY = replace(
    SCALES["smoke"], num_train=24, num_test=8, steps_mixed=3, steps_static=3, steps_baseline=3, image_size=16,
    width=16, depth=1, batch_size=8, pool_size=4, warmup_steps=1, draws=1,
)  # fmt: skip
STACK = Training(stacked=SEEDS, code=base.stack_code(experiment))


def ensure(seed: int, out: Path, training: Training) -> base.Recorded:
    tiny = with_scale(experiment, TINY)
    base.ensure(tiny, "smoke", seed, "cpu", str(out), training=training)
    found = {run.record.seed: run for run in base.recorded(tiny, "smoke", str(out))}
    return found[seed]


@pytest.mark.slow
def test_seeds_of_a_stack_are_measured_as_if_each_were_trained_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(*args: Any, **options: Any) -> Any:
        calls.append(options["title"])
        return train(*args, **options)

    train = stacked_models.train
    monkeypatch.setattr(stacked_models, "train", noted)
    stacked = [ensure(seed, tmp_path, STACK) for seed in SEEDS]
    assert calls == [f"frame_order_{name}, 2 seeds" for name in VARIANTS]  # once for both seeds
    runs = list(RunStore(tmp_path / "runs").list())
    assert len(runs) == len(VARIANTS) * len(SEEDS) and all(run.finished for run in runs)
    assert all(run.key["config"]["training"]["stacked"] == [0, 1] for run in runs)
    for run in stacked:
        assert run.record.training == STACK
        assert run.record.command.endswith("--seeds 0,1 --record-only --stack")
        assert run.record.cpu_seconds > 0
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "worlds").symlink_to(tmp_path / "worlds")
    alone = ensure(0, tmp_path / "alone", Training())
    assert alone.record.training is None
    (tmp_path / "captured").mkdir()
    (tmp_path / "captured" / "worlds").symlink_to(tmp_path / "worlds")
    captured = ensure(0, tmp_path / "captured", Training(step="captured"))
    assert captured.record.training == Training(step="captured")
    assert captured.record.outcomes_sha256 == alone.record.outcomes_sha256  # plain steps, on a CPU
    for name, value in alone.outcomes.items():
        other = stacked[0].outcomes[name]
        if value.dtype.kind == "f":  # recorded with three or four digits
            np.testing.assert_allclose(value, other, atol=2e-3)
        else:  # choices and ranks; two clips that are all but equal may change places
            assert (value != other).mean() <= 0.1, name


def test_a_stack_is_of_the_seeds_of_its_workspace(tmp_path: Path) -> None:
    workspace = replace(Workspace.open(tmp_path), training=STACK)
    data = world_data(world_spec(TINY, 0), workspace, TINY.image_size)
    how = one_object_model.variant_training("mixed", TINY, data, 0)
    with pytest.raises(ConfigError, match=r"a stack of seeds \(0,\) in a workspace of \(0, 1\)"):
        stacked_models.train_stack([how], "cpu", workspace)
    other = one_object_model.variant_training("static", TINY, data, 1)
    with pytest.raises(ConfigError, match="one kind of model"):
        stacked_models.train_stack([how, other], "cpu", workspace)


def test_a_record_of_another_stacking_code_is_stale(tmp_path: Path) -> None:
    class Toy:
        CHAPTER, TIMED = experiment.CHAPTER, ()
        SCALES = MappingProxyType({"cpu": TINY})

        @staticmethod
        def measure(*args: object) -> base.Measurement:
            return base.Measurement({"one": 1}, {"x": np.arange(3)})

        @staticmethod
        def stack(settings: Any, seeds: Any, device: str, workspace: Workspace) -> dict[int, float]:
            return dict.fromkeys(seeds, 7.0)

    old = STACK.model_copy(update={"code": "0" * 16})
    code = base.code_hash(base.entry_point(Toy.CHAPTER))
    record, _ = base.ensure(_at_smoke(Toy), "smoke", 0, out_dir=str(tmp_path), training=old)
    assert record.cpu_seconds >= 7.0  # its part of the stack, whoever trained that
    path = tmp_path / "results" / "smoke" / Toy.CHAPTER / "seed0.json"
    moved = tmp_path / "results" / "cpu" / Toy.CHAPTER / "seed0.json"
    base.write_record(tmp_path / "results", record.model_copy(update={"scale": "cpu"}), {"x": np.arange(3)})
    assert path.is_file() and moved.is_file()
    with pytest.raises(RecordError, match="the code changed that trained its models as a stack"):
        base.current_record(Toy, TINY, "cpu", 0, Workspace.open(tmp_path), code)


def _at_smoke(toy: Any) -> Any:
    return type("Smoke", (toy,), {"SCALES": {"smoke": TINY}})


def test_an_experiment_without_stacks_says_so() -> None:
    from svitt.experiments.ch05_efficiency import experiment as efficiency

    with pytest.raises(ConfigError, match="05_efficiency has no models that are trained as a stack"):
        base.stack_of(efficiency)
