"""The training loop: a killed run goes on where its last checkpoint stands and ends the same."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svitt.errors import CheckpointError, ConfigError
from svitt.training.checkpoint import newest
from svitt.training.trainer import TrainConfig, TrainingLog, learning_rate_factor, train

CONFIG = TrainConfig(steps=40, warmup_steps=5, checkpoint_every=10)

SCRIPT = """
import sys, os, signal, torch
from pathlib import Path
from tests.training.test_trainer import CONFIG, batch_at, loss_of, model
from svitt.training.trainer import train
kill_at = int(sys.argv[2])
def batches(step):
    if step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch_at(step)
trained = train(model(), batches, loss_of, CONFIG, Path(sys.argv[1]), progress=False)
torch.save(trained.state_dict(), Path(sys.argv[1]) / "final.pt")
"""


def model() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.GELU(), torch.nn.Linear(8, 1))


def batch_at(step: int) -> dict[str, torch.Tensor]:
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
    return {"x": x, "y": x.sum(1, keepdim=True)}


def loss_of(net: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (net(batch["x"]) - batch["y"]).square().mean()


def run_until(folder: Path, kill_at: int) -> int:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", SCRIPT, str(folder), str(kill_at)]
    return subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}).returncode


@pytest.mark.slow
def test_a_killed_run_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = train(model(), batch_at, loss_of, CONFIG, tmp_path / "unbroken", progress=False)
    kill_at = int(torch.randint(11, 39, (1,), generator=torch.Generator().manual_seed(os.getpid())))
    broken = tmp_path / "broken"
    assert run_until(broken, kill_at) == -signal.SIGKILL
    found = newest(broken)
    assert found is not None and found[1] == kill_at // 10 * 10
    assert run_until(broken, -1) == 0
    entries = TrainingLog(broken / "log.jsonl").read()
    resumed = next(i for i, entry in enumerate(entries) if entry.get("event") == "resume")
    assert [entry["step"] for entry in entries[resumed + 1 :]] == list(range(found[1], CONFIG.steps))
    final = torch.load(broken / "final.pt", weights_only=True)
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(weight, final[name]), name
    losses = [TrainingLog(tmp_path / name / "log.jsonl").losses() for name in ("unbroken", "broken")]
    assert losses[0] == losses[1]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(model(), batch_at, loss_of, CONFIG, tmp_path, progress=False)
    found = newest(tmp_path)
    assert found is not None
    (found[0] / "optimizer.bin").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=found[0].name):
        train(model(), batch_at, loss_of, CONFIG, tmp_path, progress=False)


def test_the_loss_falls() -> None:
    factor = [learning_rate_factor(step, CONFIG) for step in range(CONFIG.steps)]
    assert factor[0] == pytest.approx(0.2) and factor[4] == factor[5] == 1.0
    assert factor[-1] < 0.01 and all(a >= b for a, b in itertools.pairwise(factor[5:]))


def test_a_run_of_no_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="steps = 0"):
        TrainConfig(steps=0)


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step 0"):
        train(
            model(),
            batch_at,
            lambda net, batch: loss_of(net, batch) * torch.nan,
            CONFIG,
            tmp_path,
            progress=False,
        )
