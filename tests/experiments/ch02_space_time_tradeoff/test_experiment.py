"""Chapter 2's experiment at the size of seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from svitt.experiments import base
from svitt.experiments.ch02_space_time_tradeoff import experiment as space_time_tradeoff
from svitt.experiments.ch02_space_time_tradeoff.experiment import (
    encoder,
    events_of,
    events_spec,
    shape_choices,
    tradeoff_spec,
    trained,
    training_flops,
)
from svitt.experiments.ch02_space_time_tradeoff.settings import SCALES
from svitt.experiments.shared.space_time_settings import Settings, Variant
from svitt.experiments.shared.tiny_models import dual_encoder_config, world_data
from svitt.records.workspace import Workspace
from svitt.training.batches import one_stage
from tests.experiments.tiny import assert_rules_read, measured

TINY = Settings((0,), 40, 20, 2, other_widths=(32,), batch_size=8, warmup_steps=1)


@pytest.fixture(scope="module")
def run(out_dir: str) -> base.Recorded:
    return measured(space_time_tradeoff, TINY, out_dir)


def test_the_rules_read_what_is_recorded(run: base.Recorded, out_dir: str) -> None:
    assert_rules_read(run, out_dir, "tradeoff", "diminishing")


def test_variants_and_widths_are_measured_alike(run: base.Recorded) -> None:
    extremes = {"frames", "resolution"}
    for head, variants in {"": extremes | {"middle", "single_frame"}, "width32/": extremes}.items():
        for measure in ("temporal", "spatial"):
            found = {name for name in run.outcomes if name.endswith(f"/{measure}/correct")}
            assert {f"{head}{variant}/{measure}/correct" for variant in variants} <= found
            assert all(run.outcomes[name].shape == (20,) for name in found)
    assert "width32/middle/temporal/correct" not in run.outcomes
    for length in TINY.lengths:
        assert run.outcomes[f"frames/{length}/correct"].shape == (20,)
    assert run.outcomes["event_brief"].tolist() == [0, 1] * 10
    share = [float(run.record.values[f"{kind}/8"]) for kind in ("brief", "slow", "frames")[:2]]
    assert np.mean(share) == pytest.approx(float(run.record.values["frames/8/correct"]))


@pytest.mark.parametrize("name", list(SCALES))
def test_variants_cost_the_same(name: str) -> None:
    settings = SCALES[name]
    flops = {variant: training_flops(encoder(settings, a, settings.width), settings)
             for variant, a in settings.variants().items()}  # fmt: skip
    assert flops["frames"] == flops["resolution"] == flops["middle"]
    longest = max(variant.num_frames for variant in settings.variants().values())
    assert longest <= settings.clip_frames and max(settings.lengths) <= settings.event_clip


def test_shapes_differ_in_nothing_else(out_dir: str) -> None:
    split = world_data(tradeoff_spec(TINY, 0), Workspace.open(out_dir), 16).world.split("test")
    for record in split:
        choices = shape_choices(record)
        assert len(set(choices)) == 4 and record.caption("static") in choices


def test_events_alternate_and_are_the_seeds_own(out_dir: str) -> None:
    data = world_data(events_spec(TINY, 0), Workspace.open(out_dir), TINY.event_size)
    events = events_of(TINY, data, "test", 0)
    assert [event.brief for event in events] == [False, True] * 10
    again, other = events_of(TINY, data, "test", 0), events_of(TINY, data, "test", 1)
    assert all((a.frames == b.frames).all() for a, b in zip(events, again, strict=True))
    assert any((a.frames != b.frames).any() for a, b in zip(events, other, strict=True))


def test_the_gpu_preset_trains_a_step(out_dir: str) -> None:
    preset = replace(
        SCALES["gpu"], num_train=4, num_test=2, steps=1, batch_size=2, warmup_steps=1, mixed_precision="no"
    )
    workspace, variant = Workspace.open(out_dir), Variant(*preset.frames)
    data = world_data(tradeoff_spec(preset, 0), workspace, variant.size)
    config = dual_encoder_config(encoder(preset, variant, preset.width), data)
    captions = data.world.split("train").captions(1.0)
    batches = one_stage(
        data.clips("train"), captions, data.tokenizer, variant.num_frames, 2, 0, max_shift=None
    )
    model = trained(
        "tradeoff_frames", config, batches, preset, {"gpu": True}, workspace, preset.learning_rate
    )
    assert model.config.video.grid == (64, 2, 2) and model.config.video.width == 256
