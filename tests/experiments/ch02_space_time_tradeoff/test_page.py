"""Chapter 2's tables from outcomes whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from svitt.config import to_dict
from svitt.experiments.base import Recorded
from svitt.experiments.ch02_space_time_tradeoff import page as report
from svitt.experiments.ch02_space_time_tradeoff.settings import SCALES

SETTINGS = SCALES["cpu"]
# Right out of ten by (width's head, variant, measure); a seed adds itself to the temporal measure.
RIGHT = {
    ("", "resolution"): (5, 10),
    ("", "middle"): (7, 9),
    ("", "frames"): (8, 4),
    ("width32/", "resolution"): (5, 6),
    ("width32/", "frames"): (6, 3),
    ("width96/", "resolution"): (5, 10),
    ("width96/", "frames"): (8, 9),
}


def answers(right: int) -> npt.NDArray[np.int8]:
    """Ten answers, the first ``right`` of them right."""
    return (np.arange(10) < right).astype(np.int8)


def made(seed: int) -> Recorded:
    outcomes: dict[str, npt.NDArray[np.int8]] = {"event_brief": np.arange(10, dtype=np.int8) % 2}
    for (head, arm), (temporal, spatial) in RIGHT.items():
        extra = seed if arm == "frames" else 0
        outcomes[f"{head}{arm}/temporal/correct"] = answers(temporal + extra)
        outcomes[f"{head}{arm}/spatial/correct"] = answers(spatial)
        outcomes[f"{head}{arm}/train_flops"] = np.array(1, dtype=np.int8)
    for length, right in zip(SETTINGS.lengths, (2, 4, 6, 6), strict=True):
        outcomes[f"frames/{length}/correct"] = answers(right)
    record = SimpleNamespace(seed=seed, parameters=to_dict(SETTINGS))
    return cast("Recorded", SimpleNamespace(record=record, outcomes=outcomes))


RUNS = [made(0), made(1), made(2)]


def test_every_width_has_the_variants_that_were_trained() -> None:
    table = report.tradeoff(RUNS)
    arms = table.groupby("width").arm.unique()
    assert list(arms[64]) == ["1 x 64 px", "4 x 32 px", "16 x 16 px"]
    assert list(arms[32]) == list(arms[96]) == ["1 x 64 px", "16 x 16 px"]
    chosen = table[(table.width == 64) & (table.arm == "16 x 16 px") & (table.measure == "temporal")]
    assert chosen.value.tolist() == pytest.approx([0.8, 0.9, 1.0])


def test_the_interaction_is_the_difference_of_two_gains() -> None:
    table = report.interactions(RUNS)
    assert list(table.index) == [32, 64, 96]
    # Temporal gains of 30, 40 and 50 points, a spatial one of -60: SD 10, t(2) = 4.303.
    assert table.loc[64, "which way (temporal)"] == "+40.0 [+15.2, +64.8]"
    assert table.loc[64, "which shape (spatial)"] == "-60.0 [-60.0, -60.0]"
    assert table.loc[64, "difference"] == "+100.0 [+75.2, +124.8]"
    assert table.loc[96, "which shape (spatial)"] == "-10.0 [-10.0, -10.0]"


def test_the_middle_is_compared_with_the_better_end_of_every_seed() -> None:
    row = report.balance(RUNS).iloc[0]
    assert row["which way (temporal)"].startswith("-20.0 [")
    assert row["which shape (spatial)"] == "-10.0 [-10.0, -10.0]"
    # Means of both measures: middle .8; better ends .75, .75 and .75 (one frame) against .6 to .7.
    assert row["mean of both"] == "+5.0 [+5.0, +5.0]"


def test_doublings_by_kind_of_event() -> None:
    table = report.doublings(RUNS)
    assert list(table.index) == ["all", "slow", "brief"]
    assert table.loc["all", "2 frames"] == "20.0 ± 0.0"
    assert table.loc["all", "2 to 4"] == "+20.0 [+20.0, +20.0]"
    assert table.loc["all", "8 to 16"] == "+0.0 [+0.0, +0.0]"
    lengths = report.lengths(RUNS[:1]).set_index(["events", "frames"]).value
    # The first six are right: three even ones (slow) and three odd ones (brief).
    assert lengths["slow", 16] == lengths["brief", 16] == pytest.approx(0.6)


def test_variants_cost_the_same_in_the_table() -> None:
    table = report.budgets("cpu")
    assert set(table.tokens) == {64} and table["MFLOPs a clip"].nunique() == 1


def test_clips_are_shown_as_the_variants_see_them() -> None:
    views = report.arm_views("smoke", 0, 1)
    assert [view.frames.shape for view in views.values()] == [
        (1, 64, 64, 3), (4, 32, 32, 3), (16, 16, 16, 3),
    ]  # fmt: skip
    assert views["16 x 16 px"].numbers == sorted(views["16 x 16 px"].numbers)
    brief, slow = report.event_view("smoke", 0, 1), report.event_view("smoke", 0, 2)
    assert brief.event.brief and not slow.event.brief
    assert brief.frames.shape == (32, 16, 16, 3) and brief.caption.startswith("something ")
    assert report.sampled("smoke", 0, 1, 32) == list(range(32))


def test_a_clip_is_told_as_right_or_wrong() -> None:
    table = report.arm_results(RUNS[0], 7)
    assert table.loc["16 x 16 px", "which way (temporal)"] == "right"
    assert table.loc["16 x 16 px", "which shape (spatial)"] == "wrong"


def test_only_several_frames_know_a_direction() -> None:
    views = list(report.arm_views("smoke", 0, 1).values())
    one, *more = (report.reversal_moves(view.frames) for view in views)
    assert one == 0 and all(moved > 0 for moved in more)
