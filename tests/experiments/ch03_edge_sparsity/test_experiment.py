"""Chapter 3's experiment at the size of seconds, and chapter 4's on the same two-object models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from svitt.data.datasets import downscale
from svitt.experiments import base
from svitt.experiments.ch03_edge_sparsity import experiment as edge_sparsity
from svitt.experiments.ch03_edge_sparsity import page as report
from svitt.experiments.ch03_edge_sparsity.costs import CostSettings
from svitt.experiments.ch03_edge_sparsity.experiment import SCALES, Settings
from svitt.experiments.ch04_node_sparsity import page_two_objects as movers_report
from svitt.experiments.ch04_node_sparsity import two_objects as node_sparsity_movers
from svitt.experiments.ch04_node_sparsity.harness import RULE_RATE
from svitt.experiments.shared.two_object_world import (
    TwoObjectSettings,
    trained_two_object_model,
    two_object_data,
    video_config,
)
from svitt.layers.edges import EdgeSparsity
from svitt.records.workspace import Workspace
from tests.experiments.tiny import assert_rules_read, measured, with_scale

COSTS = CostSettings((1, 2, 4), 1, heads=1, head_dim=8, side=4, edges=EdgeSparsity(1, 1, 4))
TINY = Settings(
    (0,),
    COSTS,
    TwoObjectSettings(40, 20, 20, 2, batch_size=8, warmup_steps=1),
    shares=(0.5,),
    draws=2,
    pool_size=10,
)
MOVERS = node_sparsity_movers.Settings(
    (0,), TINY, keep_rates=(0.5, 0.2), draws=2, clutter=(2, 5), num_clutter=10, num_worst=2
)
MEASURED = ("rank", "verb", "flip", "swap", "relation")


@pytest.fixture(scope="module")
def run(out_dir: str) -> base.Recorded:
    return measured(edge_sparsity, TINY, out_dir)


@pytest.fixture(scope="module")
def movers(out_dir: str) -> base.Recorded:
    return measured(node_sparsity_movers, MOVERS, out_dir)


def test_the_rules_read_what_is_recorded(run: base.Recorded, out_dir: str) -> None:
    assert_rules_read(run, out_dir, "quadratic", "edge-inference", "edge-global")


def test_variants_at_inference_and_trained(run: base.Recorded) -> None:
    for variant in ("dense", "sparse", "local", "tube", "random", "cls_only", "full_no_cls", "full@0.5"):
        draws = 2 if variant in ("sparse", "random", "full_no_cls", "full@0.5") else 1
        for what in MEASURED:
            assert run.outcomes[f"{variant}/{what}"].shape[0] == draws, (variant, what)
    for variant in TINY.trained:
        assert run.outcomes[f"trained/{variant}/rank"].shape == (1, 20)
        assert np.array_equal(
            run.outcomes[f"{variant}/correct"], run.outcomes[f"trained/{variant}/relation"][0]
        )
    # The dense variant is the same model both ways, so it scores alike.
    assert np.array_equal(run.outcomes["dense/rank"], run.outcomes["trained/dense/rank"])
    assert not np.array_equal(run.outcomes["sparse/rank"][0], run.outcomes["trained/full/rank"][0])


def test_compared_patterns_are_as_dense(run: base.Recorded) -> None:
    density = {
        name: float(run.outcomes[f"{name}/edge_density"]) for name in ("full", "local", "tube", "sparse")
    }
    assert len(set(density.values())) == 1 and 0.25 < density["full"] < 0.28
    assert run.record.values["local_no_cls/unreached"] == pytest.approx(48 / 63)
    assert run.record.values["cls_only/mean_hops"] == 2


def test_the_kernel_gives_what_the_matrix_gives(run: base.Recorded) -> None:
    assert 0 <= float(run.record.values["kernel_difference"]) < 1e-5


def test_a_second_replay_is_the_same(
    run: base.Recorded, out_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {k: v for k, v in run.outcomes.items() if k == "tokens" or "/attention_" in k}
    monkeypatch.setattr(edge_sparsity, "attention_costs", lambda *args: costs)  # measured, never the same
    (tmp_path / "runs").symlink_to(Workspace.open(out_dir).runs)
    (tmp_path / "worlds").symlink_to(Workspace.open(out_dir).worlds)
    assert base.ensure(with_scale(edge_sparsity, TINY), "smoke", 0, "cpu", str(tmp_path))[1]
    again = base.recorded(with_scale(edge_sparsity, TINY), "smoke", str(tmp_path))[0].outcomes
    for name, array in run.outcomes.items():
        assert np.array_equal(array, again[name]), name


def test_tables_of_the_chapter(run: base.Recorded) -> None:
    assert set(report.costs([run]).quantity) == {"FLOPs", "seconds", "bytes"}
    exponents = report.exponents([run])
    assert float(exponents.loc["dense, written down", "FLOPs"]) == pytest.approx(2, abs=0.02)
    assert float(report.exponents([run], 1).loc["sparse", "FLOPs"]) < 2
    assert report.hops([run]).loc["CLS only", "hops, with CLS"] == "2.00"
    curves = report.density_curves([run])
    assert set(curves.share) == {0.0, 0.5, 1.0} and set(curves.measure) == set(report.CHANCE)
    ends = curves[(curves.share == 1) & (curves.measure == "verb")]
    assert set(ends.value) == {float(run.outcomes["dense/verb"].mean())}
    table = report.at_equal_density([run])
    assert len(table) == 11 and "same place, CLS unread" in table.index
    assert list(report.trained_summary([run]).index) == [report.NAMES[variant] for variant in TINY.trained]


def test_two_runs_have_a_spread(run: base.Recorded) -> None:
    assert "±" in report.trained_summary([run, run]).iloc[0, 0]


def test_single_clips(run: base.Recorded) -> None:
    chosen = report.explorer_clips(run, 2, 2)
    assert chosen[:2] == [0, 1] and len(set(chosen)) == 4
    results = report.clip_results(run, 3)
    assert int(results.loc["dense", "rank"]) == run.outcomes["dense/rank"][0, 3]
    verb = run.outcomes["dense/verb"][0]
    assert results.loc["dense", "second object"] == ("right" if verb[20 + 3] else "wrong")


def test_the_shown_clip_is_what_the_model_sees(out_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(edge_sparsity.SCALES, "smoke", TINY)  # type: ignore[attr-defined]
    clip = report.shown_clip(0, 4, "smoke")
    data = two_object_data(TINY.model, 0, Workspace.open(out_dir))
    record = data.two.world.split("test")[4]
    assert clip.scene == record.scene
    assert np.array_equal(clip.frames, data.two.clips("test")[4][clip.numbers])
    assert clip.relation is None or " on " in clip.relation
    assert downscale(clip.frames, 32).shape == (4, 32, 32, 3)


def test_the_gpu_preset_trains_a_step(tmp_path: Path) -> None:
    """Its sizes, one step of two clips."""
    preset = replace(
        SCALES["gpu"].model,
        num_train=8, num_easy=4, num_test=4, steps=1, easy_share=0.0, batch_size=2, warmup_steps=1,
        mixed_precision="no",
    )  # fmt: skip
    workspace = Workspace.open(str(tmp_path))
    data = two_object_data(preset, 0, workspace)
    pattern = edge_sparsity.patterns(replace(SCALES["gpu"], model=preset), 0)["full"]
    model = trained_two_object_model(preset, data, 0, "cpu", workspace, pattern)
    assert video_config(preset).grid == (8, 8, 8) and model.config.video.width == 256


def test_every_scale_is_sound() -> None:
    for name, settings in SCALES.items():
        known = edge_sparsity.patterns(settings, 0)
        assert set(settings.trained) <= set(known) and settings.trained[0] == "dense", name
        assert {"dense", "full", "local", "tube", "cls_only"} <= set(settings.trained), name
        assert settings.model.num_test % settings.pool_size == 0, name
    for name, movers in node_sparsity_movers.SCALES.items():
        assert movers.model is SCALES[name] and RULE_RATE in movers.keep_rates, name
        assert max(movers.prune_layers) < movers.model.model.depth - 1, name


# Chapter 4 on the same models


def test_it_prunes_the_dense_model_of_chapter_3(
    run: base.Recorded, movers: base.Recorded, out_dir: str
) -> None:
    assert np.array_equal(movers.outcomes["dense/rank"], run.outcomes["dense/rank"])
    assert len(list(Path(Workspace.open(out_dir).runs).glob("two_objects-*"))) == len(TINY.trained)
    assert movers.outcomes["random/rank"].shape == (2, 20) and movers.outcomes["cls/rank"].shape == (1, 20)
    assert not np.array_equal(movers.outcomes["cls/verb"], movers.outcomes["lowest/verb"])


def test_shares_are_of_the_right_objects(movers: base.Recorded) -> None:
    values = movers.record.values
    for name in ("clip", "cls", "oracle"):
        parts = [float(values[f"kept_by/{name}/{what}_share"]) for what in ("first", "second")]
        assert float(values[f"kept_by/{name}/both_share"]) == pytest.approx(sum(parts), abs=1e-3)
    assert float(values["kept_by/oracle/both_share"]) > 2 * float(values["kept_by/clip/both_share"])
    as_made, few = (values[f"clutter{n}/kept_by/clip/distractor_share"] for n in (5, 2))
    assert float(as_made) > float(few) > 0


def test_tables_and_clips_of_two_objects(movers: base.Recorded) -> None:
    table = movers_report.tidy([movers])
    assert set(table.keep_rate) == {1.0, 0.5, 0.2}
    assert list(movers_report.cls_minus_random([movers]).index) == [0.5, 0.2]
    assert set(movers_report.shares([movers]).object) == set(movers_report.WHOSE.values())
    among = movers_report.clutter([movers])
    assert set(among.distractors) == {2, 5} and set(among.measure) == {"R@1", "verb", "both_share"}
    assert movers.outcomes["explorer/clips"][:3].tolist() == [0, 1, 2]
    choices = dict(movers_report.shown_tokens(movers, ("cls", "random"), (0.5, 0.2)))
    assert len(choices) == 5 * 2 * 2
    label = movers_report.explorer_labels(movers)[0]
    assert [len(k) for k in choices[label, "0.2", "cls"].kept.values()] == [13, 3]
