"""Chapter 7's experiment at the size of seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from svitt.experiments import base
from svitt.experiments.ch07_curriculum import experiment as curriculum
from svitt.experiments.ch07_curriculum import tuning as curriculum_tuning
from svitt.experiments.ch07_curriculum.harness import bench_of, run, step_flops
from svitt.experiments.ch07_curriculum.page import tuning_table
from svitt.experiments.ch07_curriculum.scales import SCALES
from svitt.experiments.ch07_curriculum.settings import Settings
from svitt.experiments.shared.space_time_settings import Settings as Events
from svitt.records.workspace import Workspace
from tests.experiments.tiny import assert_rules_read, measured

TINY = Settings((0,), Events((0,), 32, 10, batch_size=8, warmup_steps=1), (6, 12))


@pytest.fixture(scope="module")
def found(out_dir: str) -> base.Recorded:
    return measured(curriculum, TINY, out_dir)


def test_the_rules_read_what_is_recorded(found: base.Recorded, out_dir: str) -> None:
    assert_rules_read(found, out_dir, "expansion", "overfit")


def test_every_cell_is_measured(found: base.Recorded) -> None:
    o = found.outcomes
    for kind in ("expansion", "direct"):
        assert o[f"{kind}/correct"].shape == (2, 3, 10) and o[f"{kind}/train_flops"].shape == (2, 3)
        assert (o[f"{kind}/train_flops"][1] > 1.5 * o[f"{kind}/train_flops"][0]).all()
        assert len(o[f"{kind}/loss"]) == len(o[f"{kind}/loss_steps"]) and np.isfinite(o[f"{kind}/loss"]).all()
    assert o["expansion/stages"][:, 0].tolist() == [4, 8, 16] and len(o["direct/stages"]) == 1
    assert (np.diff(o["expansion/stages"][:, 1] / (4 * o["expansion/stages"][:, 0])) < 0).all()
    assert (o["sparse/longest/correct"] == o["direct/correct"][1, 1]).all()
    assert (o["dense/shortest/correct"] == o["short/correct"][1]).all()
    for variant in ("lengthen", "sparsify", "sparse/middle", "dense/middle"):
        assert o[f"{variant}/correct"].shape == (10,) and o[f"{variant}/cpu_seconds"] > 0
    assert (o["direct/cpu_seconds"] > 0).all()
    assert float(o["chance"]) == pytest.approx(1 / 6)


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_all_variants_cost_the_same(name: str) -> None:
    s = SCALES[name]
    first = s.base()
    for budget in range(len(s.budgets)):
        wanted = s.budget(budget, step_flops)
        for rate in s.keep_rates:
            for kind in ("expansion", "direct"):
                made = s.curriculum(kind, s.lengths[-1], rate, True, budget, step_flops)
                assert made.flops(first, step_flops) == pytest.approx(wanted, rel=0.02), (kind, rate)
        for length in (s.lengths[0], s.lengths[-1]):
            made = s.curriculum("direct", length, 1.0, False, budget, step_flops)
            assert made.flops(first, step_flops) == pytest.approx(wanted, rel=0.02)


def test_the_keep_rate_falls_to_the_final_one() -> None:
    made = SCALES["cpu"].curriculum("expansion", 16, 0.5, True, 1, step_flops)
    assert [stage.keep_rate for stage in made.stages] == [1.0, 0.75, 0.5]
    assert [stage.num_frames for stage in made.stages] == [4, 8, 16]
    dense = SCALES["cpu"].curriculum("expansion", 16, 1.0, False, 1, step_flops)
    assert all(stage.keep_rate == 1 and stage.edges is None for stage in dense.stages)


def test_one_of_the_two_may_grow_alone() -> None:
    s = SCALES["cpu"]
    longer, sparser = (s.curriculum(kind, 16, 0.5, True, 1, step_flops) for kind in ("lengthen", "sparsify"))
    assert [(stage.num_frames, stage.keep_rate) for stage in longer.stages] == [(4, 0.5), (8, 0.5), (16, 0.5)]
    assert [(t.num_frames, t.keep_rate) for t in sparser.stages] == [(16, 1.0), (16, 0.75), (16, 0.5)]
    wanted = s.budget(1, step_flops)
    for made in (longer, sparser):
        assert made.flops(s.base(), step_flops) == pytest.approx(wanted, rel=0.02)


def test_stages_see_their_clips_in_different_orders(out_dir: str, found: base.Recorded) -> None:
    bench = bench_of(TINY, 0, "cpu", Workspace.open(out_dir))
    stage = TINY.stage(4, 1.0, False)
    one, again, other = bench.batches(0, stage)(0), bench.batches(0, stage)(0), bench.batches(1, stage)(0)
    assert torch.equal(one["ids"], again["ids"]) and not torch.equal(one["ids"], other["ids"])


def test_a_step_of_every_stage_of_the_gpu_preset(out_dir: str) -> None:
    s = SCALES["gpu"]
    events = replace(s.events, num_train=2, num_test=2, batch_size=2, warmup_steps=1, mixed_precision="no")
    small = replace(s, events=events, budgets=(1, 1))
    whole = small.curriculum("expansion", small.lengths[-1], 0.5, True, 0, step_flops)
    one = replace(whole, stages=tuple(replace(stage, steps=1) for stage in whole.stages))
    trained = run(bench_of(small, 0, "cpu", Workspace.open(out_dir)), one, 5e-4, "preset")
    assert len(trained.losses) == 3 and trained.correct.shape == (2,)


def test_tuning_looks_at_validation_clips_alone(out_dir: str) -> None:
    tiny = curriculum_tuning.Settings(
        (1000,), replace(TINY, events=replace(TINY.events, num_test=12)), (3e-3,)
    )
    found = measured(curriculum_tuning, tiny, out_dir, 1000)
    trials = {variant: len(tiny.trials(variant)) for variant in curriculum_tuning.VARIANTS}
    assert trials == {"direct": 1, "dense_direct": 1, "expansion": 4}
    right = [array for name, array in found.outcomes.items() if name.endswith("/correct")]
    assert len(right) == 6 and all(
        array.shape == (6,) for array in right
    )  # 6 validation clips, 12 of the test
    table = tuning_table([found])
    assert list(table.columns) == ["direct, sparse", "direct, dense", "sparse expansion"]
    assert table.loc["rate continued", "direct, dense"] == ""


def test_the_last_stage_may_cost_more() -> None:
    s = replace(SCALES["cpu"], shares=(1, 1, 4))
    made = s.curriculum("expansion", 16, 0.5, True, 1, step_flops)
    costs = [
        replace(made, stages=(stage,)).flops(s.base(), step_flops) / s.budget(1, step_flops)
        for stage in made.stages
    ]
    assert costs == pytest.approx([1 / 6, 1 / 6, 4 / 6], abs=0.01)
