"""``svitt bench step``: every way takes the steps of a training, and the table is per model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from svitt.cli import main
from svitt.commands import bench_step
from svitt.commands.bench_step import StepSettings, alternatives, batches_of, model_of, steps_of
from svitt.training.contrastive import contrastive_loss

SMALL = StepSettings(batch=4, width=8, depth=1, num_clips=8, repeats=2, clock="cpu")


def test_all_ways_of_a_cpu_train_and_a_stack_counts_per_model() -> None:
    made = alternatives(SMALL)
    assert {name: size for name, (size, _) in made.items()} == {
        "plain": 1, "device_batches": 1, "stack_4": 4, "stack_8": 8,
    }  # fmt: skip
    turns: list[str] = []
    rows = bench_step.bench_step(made, SMALL, turns.append)
    assert turns == [*made] * 3  # in turn, a warm-up first
    for row in rows:
        assert row["seconds_per_model"] == row["seconds"]["median"] / row["models"] > 0
        assert row["ratio"] == rows[0]["seconds_per_model"] / row["seconds_per_model"]
    losses = [float(made["plain"][1]()) for _ in range(30)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0]


def test_ways_take_the_same_steps() -> None:
    plain, there = (
        steps_of(model_of(SMALL, 0), batches_of(SMALL, 0, place), contrastive_loss)
        for place in ("host", "device")
    )
    assert [float(plain()) for _ in "123"] == [float(there()) for _ in "123"]  # type: ignore[arg-type]


def test_the_command_says_the_price_and_writes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = partial(StepSettings, width=8, depth=1, num_clips=8)
    monkeypatch.setattr(bench_step, "StepSettings", small)
    call = ["bench", "step", "--batch", "4", "--repeats", "1", "--clock", "cpu"]
    assert main([*call, "--price"]) == 0
    assert capsys.readouterr().out.startswith("price: about ")
    out = tmp_path / "step.json"
    assert main([*call, "--json", str(out)]) == 0
    assert "stack_8" in capsys.readouterr().out
    table = json.loads(out.read_text())
    assert table["settings"]["batch"] == 4 and [row["models"] for row in table["rows"]] == [1, 1, 4, 8]
    assert main([*call, "--dtype", "bfloat16"]) == 2
    assert "--dtype = 'bfloat16'" in capsys.readouterr().err
