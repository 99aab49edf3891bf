"""Chapter 7's tables from outcomes whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from svitt.config import to_dict
from svitt.experiments.base import Recorded
from svitt.experiments.ch07_curriculum import page as report
from svitt.experiments.ch07_curriculum.scales import SCALES

SETTINGS = SCALES["cpu"]


def answers(right: Any) -> npt.NDArray[np.int8]:
    """Ten answers, the first ``right`` of them right, for every entry of ``right``."""
    return (np.arange(10) < np.asarray(right)[..., None]).astype(np.int8)


def arm(name: str, right: Any, seen: Any) -> dict[str, npt.NDArray[Any]]:
    shape = np.shape(right)
    return {
        f"{name}/correct": answers(right),
        f"{name}/train_correct": np.asarray(seen, dtype=float),
        f"{name}/train_flops": np.full(shape, 2e12),
        f"{name}/cpu_seconds": np.full(shape, 30.0),
    }


def made(seed: int) -> Recorded:
    outcomes: dict[str, npt.NDArray[Any]] = {"event_brief": np.arange(10) % 2}
    outcomes |= arm("expansion", [[5, 4, 3], [8 + seed, 7, 6]], np.full((2, 3), 0.9))
    outcomes |= arm("direct", [[4, 4, 4], [5, 5, 5]], np.full((2, 3), 0.8))
    outcomes |= arm("dense_expansion", [5, 7], [0.6, 0.7]) | arm("dense_direct", [2, 3], [0.6, 0.7])
    outcomes |= arm("short", [5, 6], [0.6, 0.7]) | arm("lengthen", 6, 0.6) | arm("sparsify", 5, 0.5)
    for place, sparse, dense in (("shortest", 5, 6), ("middle", 5, 5), ("longest", 5, 3 - seed)):
        outcomes |= arm(f"sparse/{place}", sparse, 0.8) | arm(f"dense/{place}", dense, 0.9)
    stages = [[4, 12, 12, 100], [8, 20, 17, 50], [16, 30, 17, 50]]
    outcomes |= {
        "expansion/stages": np.array(stages),
        "expansion/loss_steps": np.array([0, 99, 100, 150, 199]),
        "expansion/loss": np.array([4.0, 2.0, 3.0, 2.5, 2.0], dtype=np.float32),
    }
    record = SimpleNamespace(seed=seed, parameters=to_dict(SETTINGS))
    return cast("Recorded", SimpleNamespace(record=record, outcomes=outcomes))


RUNS = [made(0), made(1), made(2)]


def test_the_variants_stand_at_the_larger_budget_and_middle_keep_rate() -> None:
    table = report.arms(RUNS[:1]).set_index("trained")["right event"]
    assert list(table.index) == list(report.ARMS.values())
    assert table["both grow: sparse expansion"] == pytest.approx(0.7)
    assert table["long and sparse from the start"] == pytest.approx(0.5)
    assert table["long from the start, dense"] == pytest.approx(0.3)
    row = report.arm_table(RUNS).loc["both grow: sparse expansion"]
    assert (row.test, row.slow, row.brief) == ("70.0 ± 0.0", "80.0 ± 0.0", "60.0 ± 0.0")
    assert row.gap == "+20.0 [+20.0, +20.0]"
    assert (row.TFLOPs, row["CPU seconds"]) == ("2.00", "30")


def test_expansion_is_compared_cell_by_cell() -> None:
    cells = report.cells(RUNS)
    assert len(cells) == 3 * 2 * 3 * 2 and set(cells.trained) == {"expansion", "direct"}
    table = report.expansion_minus_direct(RUNS)
    assert list(table.index) == ["keep 0.7", "keep 0.5", "keep 0.3", "dense"]
    first, second = (f"budget {steps}" for steps in SETTINGS.budgets)
    # 30, 40 and 50 points: SD 10, t(2) = 4.303.
    assert table.loc["keep 0.7", second] == "+40.0 [+15.2, +64.8]"
    assert table.loc["keep 0.3", first] == "-10.0 [-10.0, -10.0]"
    assert table.loc["dense", second] == "+40.0 [+40.0, +40.0]"


def test_the_advantage_of_the_sparse_model_over_clip_lengths() -> None:
    table = report.sparse_minus_dense(RUNS)
    assert table.loc["test clips", "4 frames"] == "-10.0 [-10.0, -10.0]"
    assert table.loc["test clips", "16 frames"] == "+30.0 [+5.2, +54.8]"
    assert table.loc["gap to training clips", "8 frames"] == "-10.0 [-10.0, -10.0]"
    seen = report.by_length(RUNS[:1], "train_correct")
    assert set(seen[seen.trained == "dense"].value) == {0.9}


def test_a_loss_stands_where_its_cost_is_spent() -> None:
    table = report.losses(RUNS[0], "expansion")
    assert table.spent.tolist() == pytest.approx([0, 0.99 / 3, 1 / 3, 2 / 3, (2 + 49 / 50) / 3])
    assert table.loss.iloc[2] == pytest.approx(13.5 / 5)


def test_stages_grow_and_thin_out() -> None:
    table = report.stage_table("cpu")
    assert table.frames.tolist() == list(SETTINGS.lengths)
    assert (table["left at the end"] <= table.patches).all()
    assert table["left at the end"].iloc[0] == table.patches.iloc[0]
    densities = [report.stage_mask("cpu", "expansion", i).mean() for i in range(3)]
    assert densities[0] == 1 > densities[1] > densities[2]
    tokens = report.stage_tokens("cpu", "expansion", 2)
    assert tokens[0] == table.patches.iloc[2] and tokens == sorted(tokens, reverse=True)
