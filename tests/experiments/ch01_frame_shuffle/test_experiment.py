"""Chapter 1's experiment: recorded once, replayed exactly, refused clearly."""

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from svitt.errors import ConfigError, RecordError
from svitt.experiments import base
from svitt.experiments.ch01_frame_shuffle import experiment as frame_shuffle
from svitt.experiments.ch01_frame_shuffle import page as report
from svitt.experiments.ch01_frame_shuffle.experiment import SCALES, VARIANTS, Settings
from svitt.experiments.shared.tiny_models import embed_clips, world_data
from svitt.ledger.tables import judged, rule_table, verdict_text
from svitt.records.record import record_path
from svitt.records.workspace import Workspace

TINY = Settings((0,), 40, 20, 3, 3, 3, batch_size=8, warmup_steps=1, pool_size=10, draws=2)


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    """The experiment with a scale ``smoke`` of seconds."""
    module = ModuleType(frame_shuffle.__name__)
    module.__dict__.update(vars(frame_shuffle), SCALES={"smoke": TINY})
    return module


@pytest.fixture(scope="module")
def out_dir(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("workspace"))
    record, measured = base.ensure(tiny, "smoke", 0, "cpu", folder)
    assert measured and record.seed == 0
    return folder


def test_two_replays_give_identical_outcomes(tiny: ModuleType, out_dir: str, tmp_path: Path) -> None:
    base.ensure(tiny, "smoke", 0, "cpu", str(tmp_path))
    first, second = (base.recorded(tiny, "smoke", folder)[0].outcomes for folder in (out_dir, str(tmp_path)))
    assert first.keys() == second.keys() and len(first) > 20
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name


def test_a_recorded_seed_is_not_measured_again(tiny: ModuleType, out_dir: str) -> None:
    assert base.ensure(tiny, "smoke", 0, "cpu", out_dir)[1] is False


def test_changed_settings_are_measured_again(tiny: ModuleType, out_dir: str, tmp_path: Path) -> None:
    base.ensure(tiny, "smoke", 0, "cpu", str(tmp_path))
    changed = ModuleType(tiny.__name__)
    changed.__dict__.update(vars(tiny), SCALES={"smoke": dataclasses.replace(TINY, draws=1)})
    assert base.ensure(changed, "smoke", 0, "cpu", str(tmp_path))[1] is True


def test_outcomes_have_the_shapes_that_the_rule_reads(tiny: ModuleType, out_dir: str) -> None:
    outcomes = base.recorded(tiny, "smoke", out_dir)[0].outcomes
    assert outcomes["mixed/none/rank"].shape == (1, 20) and outcomes["mixed/shuffle/flip"].shape == (2, 20)
    assert set(np.unique(outcomes["mixed/shuffle/flip"])) <= {0, 1}
    row = judged("shuffle", "smoke", out_dir)
    assert verdict_text(row) == "scale smoke, seed 0: shuffle: too small to judge"
    assert len(rule_table(row)) == 6


def test_the_static_variant_has_no_verb_to_choose(tiny: ModuleType, out_dir: str) -> None:
    outcomes = base.recorded(tiny, "smoke", out_dir)[0].outcomes
    assert "static/none/rank" in outcomes and "static/none/flip" not in outcomes
    table = report.tidy(base.recorded(tiny, "smoke", out_dir))
    assert set(table.arm) == set(VARIANTS) and table.value.between(0, 1).all()


def test_clips_of_the_explorer_are_picked_by_rule(tiny: ModuleType, out_dir: str) -> None:
    run = base.recorded(tiny, "smoke", out_dir)[0]
    picked = report.explorer_clips(run)
    assert picked[:3] == [0, 1, 2] and len(set(picked)) == 6
    scores = run.outcomes["mixed/none/verb_scores"]
    truth = report.true_verbs(run, len(scores))
    margin = [s[t] - np.delete(s, t).max() for s, t in zip(scores, truth, strict=True)]
    assert margin[picked[3]] == min(margin[3:])


@pytest.mark.parametrize(
    ("scale", "seed", "device", "named"),
    [
        ("smok", 0, "cpu", "'smoke'"),
        ("smoke", -1, "cpu", "seed = -1"),
        ("smoke", 0, "warp", "device = 'warp'"),
    ],
)
def test_bad_parameters_are_named(scale: str, seed: int, device: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        base.ensure(frame_shuffle, scale, seed, device, str(tmp_path))
    assert not any(tmp_path.iterdir())


def test_an_out_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="out_dir"):
        base.ensure(frame_shuffle, "smoke", 0, "cpu", str(file))
    assert file.read_text() == "mine"


def test_an_edited_record_is_refused_not_overwritten(tiny: ModuleType, tmp_path: Path) -> None:
    base.ensure(tiny, "smoke", 0, "cpu", str(tmp_path))
    path = record_path(Workspace.open(str(tmp_path)).results, "smoke", frame_shuffle.CHAPTER, 0)
    edited = path.read_text().replace('"test_clips": 20', '"test_clips": 21')
    path.write_text(edited)
    with pytest.raises(RecordError, match="edited"):
        base.ensure(tiny, "smoke", 0, "cpu", str(tmp_path))
    assert path.read_text() == edited


def test_every_scale_is_sound() -> None:
    for name, settings in SCALES.items():
        assert settings.num_test % settings.pool_size == 0, name
        assert settings.num_train >= settings.batch_size, name
    assert SCALES["cpu"].seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("variant", ["mixed", "bag_of_frames"])
def test_the_gpu_preset_trains_a_step(variant: str, tmp_path: Path) -> None:
    """Its sizes and frames, one step of two clips."""
    preset = dataclasses.replace(
        SCALES["gpu"],
        num_train=4, num_test=2, steps_mixed=1, steps_static=1, steps_baseline=1, batch_size=2,
        warmup_steps=1, mixed_precision="no",
    )  # fmt: skip
    workspace = Workspace.open(str(tmp_path))
    data = world_data(frame_shuffle.world_spec(preset, 0), workspace, preset.image_size)
    model = frame_shuffle.trained_variant(variant, preset, data, 0, "cpu", workspace)
    frames = 1 if variant == "bag_of_frames" else 16
    assert model.config.video.grid == (frames, 8, 8) and model.config.video.width == 256
    shown = data.clips("test")[:, :16]
    assert np.isfinite(embed_clips(model, shown, "cpu")).all()
