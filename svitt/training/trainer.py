"""The training loop, on Hugging Face Accelerate: checkpoints, exact resumption, a log, a progress bar.

The batch of a step is a function of the step number, so a run that is killed and started again sees
the batches that an unbroken run would have seen.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from svitt.config import require
from svitt.training import checkpoint
from svitt.training.captured_step import CapturedStep, StepKind, rate_on_device
from svitt.training.stack import Stack


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    learning_rate: peak of a linear warm-up followed by a cosine to ``final_rate`` x peak.
    checkpoint_every: steps between checkpoints from which a killed run goes on.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    warmup_steps: int = 100
    final_rate: float = 0.0
    clip_norm: float = 1.0
    checkpoint_every: int = 100
    mixed_precision: Literal["no", "bf16"] = "no"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "integers from 1")
        require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "integers from 0")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.mixed_precision in ("no", "bf16"), "mixed_precision", self.mixed_precision, "no, bf16")


Batch = Mapping[str, Any]
LOG = "log.jsonl"


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up to 1, then a cosine to ``final_rate`` at the last step."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    span = max(1, config.steps - config.warmup_steps)
    cosine = (1 + math.cos(math.pi * min(1.0, (step - config.warmup_steps) / span))) / 2
    return config.final_rate + (1 - config.final_rate) * cosine


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices only: vectors, scalars and biases are left out, as in the release. In a stack
    they have a dimension more."""
    trained = [p for p in model.parameters() if p.requires_grad]
    vector = 2 if isinstance(model, Stack) else 1
    return [
        {"params": [p for p in trained if p.ndim > vector], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= vector], "weight_decay": 0.0},
    ]


class TrainingLog:
    """Append-only JSON lines: an ``event`` line whenever a run begins or goes on, then one a step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All entries; of a step that ran twice, after a kill, both."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def losses(self) -> dict[int, float]:
        """Loss by step (from 0), the last value where a step ran twice."""
        return {entry["step"]: entry["loss"] for entry in self.read() if "loss" in entry}


def train(
    model: nn.Module,
    batch_at: Callable[[int], Batch],
    loss_of: Callable[[nn.Module, Batch], Tensor],
    config: TrainConfig,
    folder: Path,
    *,
    device: str = "cpu",
    progress: bool = True,
    title: str = "train",
    kind: StepKind = "plain",
) -> nn.Module:
    """Trains ``model`` in place and returns it in evaluation mode, on ``device``.

    batch_at: step -> batch, a pure function of the step. loss_of: (model, batch) -> scalar loss.
    folder: holds the log and the checkpoints; a checkpoint found there is gone on from. kind: "captured"
    repeats the step from a CUDA graph (on a CPU it is the plain step); ``loss_of`` must then compute on the
    device alone, without a generator of its own. The gradients of a ``Stack`` are clipped model by model.

    Errors: ConfigError for an unknown kind; FloatingPointError for a loss that is no number.
    """
    require(kind in get_args(StepKind), "kind", kind, ", ".join(get_args(StepKind)))
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=config.mixed_precision)
    graph = kind == "captured" and accelerator.device.type == "cuda"
    groups = parameter_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, capturable=graph)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
    prepared, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    log, first = TrainingLog(folder / LOG), 0
    if (found := checkpoint.newest(folder)) is not None:
        checkpoint.load(accelerator, found[0])
        first = found[1]
    if graph:
        rate_on_device(optimizer, accelerator.device)
    log.write({"event": "resume" if first else "begin", "step": first})
    prepared.train()

    def update(batch: Batch) -> Tensor:
        loss = loss_of(prepared, batch)
        accelerator.backward(loss)
        if isinstance(model, Stack):
            model.clip_gradients(config.clip_norm)
        else:
            accelerator.clip_grad_norm_(prepared.parameters(), config.clip_norm)
        optimizer.step()
        return loss

    take = CapturedStep(update, optimizer.zero_grad, accelerator.device)
    bar = tqdm(
        range(first, config.steps), initial=first, total=config.steps, desc=title, disable=not progress
    )

    def note(entry: dict[str, Any]) -> None:
        value = entry["loss"].item()
        log.write(entry | {"loss": value})
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss of step {entry['step']} in {folder} is {value}; lower the learning rate"
            )
        if entry["step"] % 20 == 0:
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)

    unread: list[dict[str, Any]] = []
    for step in bar:
        began = time.process_time()
        batch = batch_at(step)
        if kind == "captured":
            loss = take(batch)
        else:
            loss = update(batch).detach()
            optimizer.zero_grad()
        schedule.step()
        rate = config.learning_rate * learning_rate_factor(step, config)
        seconds = time.process_time() - began
        unread.append({"step": step, "loss": loss, "rate": rate, "cpu_seconds": seconds})
        kept = (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps
        # A GPU is asked for the next step before the loss of this one is waited for.
        while len(unread) > (1 if graph and not kept else 0):
            note(unread.pop(0))
        if kept:
            checkpoint.save(accelerator, folder, step + 1)
    unwrapped: nn.Module = accelerator.unwrap_model(prepared)
    accelerator.free_memory()
    return unwrapped.eval()
