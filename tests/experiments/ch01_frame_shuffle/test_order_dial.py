"""The order dial at the size of seconds, and the share that is read off its curve."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from svitt.errors import ConfigError
from svitt.experiments.base import Recorded
from svitt.experiments.ch01_frame_shuffle import order_dial, order_dial_tuning, page_dial
from svitt.experiments.ch01_frame_shuffle.order_dial import ORDERS, SCALES, SPLITS, Settings
from tests.experiments.tiny import measured

TINY = Settings(
    (0,), 40, 20, 16, steps=2, shares=(0.0, 0.2, 1.0), batch_size=8, warmup_steps=1, pool_size=10, draws=2
)


@pytest.fixture(scope="module")
def run(out_dir: str) -> Recorded:
    return measured(order_dial, TINY, out_dir)


def test_every_variant_is_probed_on_captions_that_need_time(run: Recorded) -> None:
    names = ("share_0", "share_0.2", "share_1", "bag_of_frames", "single_frame")
    assert set(run.outcomes) == {
        f"{split}/{name}/{order}/{kind}"
        for split in SPLITS
        for name in names
        for order in ORDERS
        for kind in ("rank", "flip", "verb")
    }
    for split, clips in (("heldout", 16), ("test", 20)):
        for name in names:
            assert run.outcomes[f"{split}/{name}/none/rank"].shape == (1, clips)
            assert run.outcomes[f"{split}/{name}/reverse/flip"].shape == (1, clips)
            assert run.outcomes[f"{split}/{name}/shuffle/flip"].shape == (2, clips)
    ranks = run.outcomes["heldout/share_1/none/rank"]
    assert ranks.min() >= 1 and ranks.max() <= 10
    # Without order there is nothing that shuffling could change.
    for order in ("reverse", "shuffle"):
        bag = run.outcomes[f"heldout/bag_of_frames/{order}/rank"]
        assert (bag == run.outcomes["heldout/bag_of_frames/none/rank"]).all()
        single = run.outcomes[f"heldout/single_frame/{order}/rank"]
        assert (single == run.outcomes["heldout/single_frame/none/rank"]).all()


def test_models_differ_in_their_captions_alone(run: Recorded) -> None:
    assert not np.array_equal(run.outcomes["test/share_0/none/rank"], run.outcomes["test/share_1/none/rank"])


def test_the_curve_is_read_from_the_outcomes(run: Recorded) -> None:
    table = page_dial.curve([run])
    assert set(table.measure) == {"R@1", "drop", "reversed", "flip"} and len(table) == 3 * 4
    at = table.set_index(["share", "measure"]).value
    ranks = {order: run.outcomes[f"heldout/share_0.2/{order}/rank"] for order in ORDERS}
    assert at[0.2, "drop"] == pytest.approx((ranks["none"] <= 1).mean() - (ranks["shuffle"] <= 1).mean())
    assert at[0.2, "flip"] == pytest.approx(run.outcomes["heldout/share_0.2/none/flip"].mean())
    blind = page_dial.order_blind([run])
    assert list(blind.variant) == ["bag_of_frames", "single_frame"] and (blind["drop"] == 0).all()


def test_tuning_holds_the_trials_and_the_readers(out_dir: str) -> None:
    settings = order_dial_tuning.Settings(
        (100,), dataclasses.replace(TINY, shares=(0.2, 1.0)), twice=(0.2,), again=(1.0,)
    )
    found = measured(order_dial_tuning, settings, out_dir, seed=100).outcomes
    assert found["heldout/twice_share_0.2/none/rank"].shape == (1, 16)
    assert found["test/again_share_1/shuffle/flip"].shape == (2, 20)
    for one, other in (("twice_share_0.2", "share_0.2"), ("again_share_1", "share_1")):
        assert not np.array_equal(found[f"test/{one}/none/rank"], found[f"test/{other}/none/rank"])
    for split in SPLITS:
        assert (found[f"{split}/ideal/none/hit"] == 1).all() and (
            found[f"{split}/ideal/none/flip"] == 1
        ).all()
        assert (found[f"{split}/ideal/shuffle/flip"] == 0.5).all()
        assert (found[f"{split}/single_ideal/none/flip"] == 0.5).all()
        assert found[f"{split}/ideal/shuffle/hit"].mean() < 1
        assert found[f"{split}/blind/none/hit"].mean() < 0.5


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.5, 0.5, 1.0], 0.35),
        ([0.5, 0.75, 0.9, 1.0], 0.1),
        ([0.8, 0.9, 0.9, 1.0], 0.0),
        ([0.5, 0.8, 0.6, 0.9], 0.2 + 0.3 * 0.5),  # from where on it stays there
        ([0.5, 0.5, 0.6, 0.7], float("inf")),
    ],
)
def test_where_a_curve_reaches_its_level(values: list[float], expected: float) -> None:
    assert page_dial.crossing([0.0, 0.1, 0.2, 0.5], values, 0.75) == pytest.approx(expected)


def test_shares_must_rise() -> None:
    with pytest.raises(ConfigError, match="shares"):
        page_dial.crossing([0.2, 0.1], [0, 1], 0.5)


def test_the_share_has_an_interval_over_seeds_where_every_seed_reaches_it() -> None:
    rows = [
        (seed, share, "flip", value)
        for seed, top in ((5, 0.9), (6, 1.0), (7, 1.1))
        for share, value in ((0.0, 0.5), (1.0, top))
    ]
    table = pd.DataFrame(rows, columns=["seed", "share", "measure", "value"])
    found = page_dial.threshold(table)
    assert found.shares.tolist() == pytest.approx([0.625, 0.5, 0.25 / 0.6])
    assert found.interval is not None
    assert found.interval.low < np.mean(found.shares) == pytest.approx(found.interval.mean)
    table.loc[table.value == 0.9, "value"] = 0.7
    missed = page_dial.threshold(table)
    assert missed.interval is None and np.isinf(missed.shares[0])
    with pytest.raises(ConfigError, match="measure"):
        page_dial.threshold(table, "verb")


def test_every_scale_is_sound() -> None:
    for name, settings in SCALES.items():
        assert settings.num_test % settings.pool_size == settings.num_heldout % settings.pool_size == 0, name
        assert settings.num_train >= settings.batch_size and settings.shares[-1] == 1, name
        assert list(settings.shares) == sorted(set(settings.shares)) and len(settings.shares) == 6, name
    assert SCALES["cpu"].seeds == tuple(range(5, 15)) == SCALES["gpu"].seeds
    for name, tuning in order_dial_tuning.SCALES.items():
        assert set(tuning.twice) | set(tuning.again) <= set(tuning.dial.shares), name
        assert not set(tuning.seeds) & set(SCALES[name].seeds), name
