"""Stages of growing clips and sparsity: what is allowed, what it costs, what is carried over."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from svitt.errors import ConfigError
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from svitt.profiling.cost import encoder_cost
from svitt.training.curriculum import (
    Curriculum,
    Stage,
    carried,
    direct,
    temporal_sparse_expansion,
)
from svitt.training.trainer import TrainConfig, learning_rate_factor

BASE = tiny_video_config(4)
RELATIVE = VideoEncoderConfig(16, 8, 4, 16, 2, 2, position="relative_3d", layer_scale=None)
EDGES = EdgeSparsity(1, 3, 4)
GROWING = temporal_sparse_expansion((4, 8, 16), (1.0, 0.7, 0.5), (40, 20, 10), EDGES, prune_layers=(0, 1))
RECIPE = TrainConfig(70, warmup_steps=8)


def step_flops(config: VideoEncoderConfig, batch_size: int) -> int:
    return encoder_cost(config, config.num_frames, batch_size).training


@pytest.mark.parametrize(
    ("stages", "match"),
    [
        ((), "one stage"),
        ((Stage(8, 1), Stage(4, 1)), r"num_frames = \[8, 4\]"),
        ((Stage(4, 1, 0.5), Stage(8, 1, 0.7)), r"keep_rate = \[0.5, 0.7\]"),
    ],
)
def test_schedules_that_shrink_frames_or_grow_tokens(stages: tuple[Stage, ...], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Curriculum(stages)


def test_stages_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="leave a stage of no steps out"):
        Stage(4, 0)
    with pytest.raises(ConfigError, match="keep_rate"):
        Stage(4, 1, 0.0)
    with pytest.raises(ConfigError, match="give each stage one"):
        temporal_sparse_expansion((4, 8), (0.7,), (1, 1))
    with pytest.raises(ConfigError, match="rewarmed, continued"):
        Curriculum((Stage(4, 1),), schedule="cold")  # type: ignore[arg-type]


def test_the_papers_preset() -> None:
    paper = temporal_sparse_expansion()
    first, second = (paper.encoder(VideoEncoderConfig(), i) for i in (0, 1))
    assert first.num_frames == 4 and first.nodes == NodeSparsity(0.7, (3, 6, 9))
    assert second.num_frames == 8 and second.nodes == NodeSparsity(0.6, (3, 6, 9))
    assert first.edges == second.edges == EdgeSparsity(1, 3, 56)


def test_a_stage_without_pruning_has_none() -> None:
    assert GROWING.encoder(BASE, 0).nodes is None
    assert GROWING.encoder(BASE, 2).nodes == NodeSparsity(0.5, (0, 1))
    assert Curriculum((Stage(4, 1, image_size=64),)).encoder(BASE, 0).grid == (4, 8, 8)


@pytest.mark.parametrize("dense", [False, True])
def test_direct_training_costs_the_same(dense: bool) -> None:
    last = replace(GROWING.stages[-1], edges=None, keep_rate=1.0) if dense else None
    at_once = direct(GROWING, BASE, step_flops, last)
    step = step_flops(at_once.encoder(BASE, 0), 64)
    assert len(at_once.stages) == 1 and at_once.stages[0].num_frames == 16
    assert abs(at_once.flops(BASE, step_flops) - GROWING.flops(BASE, step_flops)) <= step / 2
    short = direct(GROWING, BASE, step_flops, replace(GROWING.stages[0], steps=1))
    assert short.stages[0].steps > at_once.stages[0].steps


def test_a_budget_below_one_step() -> None:
    small = Curriculum((Stage(1, 1, batch_size=1),))
    with pytest.raises(ConfigError, match="budget"):
        direct(small, BASE, step_flops, Stage(16, 1, batch_size=64))


def test_rewarmed_stages_begin_at_the_full_rate() -> None:
    for i, stage in enumerate(GROWING.stages):
        made = GROWING.training(i, RECIPE)
        assert made.learning_rate == RECIPE.learning_rate and made.steps == stage.steps
        assert 1 <= made.warmup_steps <= max(1, stage.steps // 4)


@pytest.mark.parametrize("schedule", ["rewarmed", "continued"])
def test_a_stage_may_have_a_rate_of_its_own(schedule: str) -> None:
    own = replace(GROWING.stages[0], learning_rate=RECIPE.learning_rate / 10)
    made = replace(GROWING, stages=(own, *GROWING.stages[1:]), schedule=schedule)
    assert made.training(0, RECIPE).learning_rate == pytest.approx(RECIPE.learning_rate / 10)
    assert made.training(1, RECIPE) == replace(GROWING, schedule=schedule).training(1, RECIPE)
    with pytest.raises(ConfigError, match="learning_rate"):
        replace(own, learning_rate=0.0)


def test_a_continued_rate_has_no_jump() -> None:
    once = replace(GROWING, schedule="continued")
    recipes = [once.training(i, RECIPE) for i in range(3)]
    for before, after in pairwise(recipes):
        end = before.learning_rate * learning_rate_factor(before.steps, before)
        start = after.learning_rate * learning_rate_factor(0, after)
        assert start == pytest.approx(end)
    last = recipes[-1]
    assert last.learning_rate * learning_rate_factor(last.steps, last) == pytest.approx(0)
    assert [r.warmup_steps for r in recipes] == [8, 0, 0]


@pytest.mark.parametrize("carry", ["linear", "nearest"])
@pytest.mark.parametrize("base", [BASE, RELATIVE], ids=["absolute", "relative"])
def test_weights_go_on_in_a_longer_sparser_encoder(base: VideoEncoderConfig, carry: str) -> None:
    curriculum = temporal_sparse_expansion((4, 8), (1.0, 0.5), (1, 1), EDGES, prune_layers=(0,))
    source, target = (curriculum.encoder(base, i) for i in (0, 1))
    model = VideoEncoder(source, torch.Generator().manual_seed(1))
    longer = VideoEncoder(target, torch.Generator().manual_seed(2))
    longer.load_state_dict(carried(model.state_dict(), source, target, carry))  # type: ignore[arg-type]
    kept = [name for name in model.state_dict() if "position" not in name and name != "pos_embed"]
    assert all(torch.equal(model.state_dict()[name], longer.state_dict()[name]) for name in kept)
    clips = torch.randn(2, 8, 3, base.image_size, base.image_size)
    assert torch.isfinite(longer.eval()(clips).pooled).all()


def test_nearest_positions_are_those_of_the_nearest_frame() -> None:
    longer = replace(BASE, num_frames=8)
    state = VideoEncoder(BASE).state_dict()
    made = carried(state, BASE, longer, "nearest")["pos_embed"].unflatten(1, (8, 16))
    old = state["pos_embed"].unflatten(1, (4, 16))
    assert torch.equal(made, old.repeat_interleave(2, dim=1))
    linear = carried(state, BASE, longer, "linear")["pos_embed"].unflatten(1, (8, 16))
    assert torch.allclose(linear[:, 1], 0.75 * old[:, 0] + 0.25 * old[:, 1], atol=1e-6)


def test_a_prefix_and_other_models_weights() -> None:
    source, target = BASE, replace(BASE, num_frames=8)
    state = VideoEncoder(source).state_dict()
    named = {f"video_encoder.{name}": value for name, value in state.items()} | {"scale": torch.ones(1)}
    made = carried(named, source, target, prefix="video_encoder.")
    assert made["video_encoder.pos_embed"].shape[1] == 128 and torch.equal(made["scale"], torch.ones(1))
    with pytest.raises(ConfigError, match="may differ between stages"):
        carried(state, source, replace(target, depth=4))
