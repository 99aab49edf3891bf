"""Growing clips and sparsity together: *temporal sparse expansion* (SViTT section 3.4).

A curriculum is a list of stages. From one to the next the clip gets longer and the encoder sparser, and the
weights go on; what depends on the number of frames, the positions, is interpolated over time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from svitt.config import require
from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity
from svitt.layers.relative_position import Grid, resize_embedding, resize_table
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.training.trainer import TrainConfig

Schedule = Literal["rewarmed", "continued"]
Carry = Literal["linear", "nearest"]
# (encoder, clips a batch) -> FLOPs of one training step, e.g. from ``svitt.profiling.cost.encoder_cost``.
StepFlops = Callable[[VideoEncoderConfig, int], int]


@dataclass(frozen=True)
class Stage:
    """One stage. num_frames: of a clip. steps, batch_size: of its training. keep_rate: of the patch tokens at
    each pruning layer, 1 for none. edges: None is dense. image_size: pixels; None is the encoder's own.
    learning_rate: the highest of the stage; None is that of the whole training."""

    num_frames: int
    steps: int
    keep_rate: float = 1.0
    edges: EdgeSparsity | None = None
    image_size: int | None = None
    batch_size: int = 64
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        require(self.num_frames >= 1, "num_frames", self.num_frames, "integers from 1")
        require(self.steps >= 1, "steps", self.steps, "integers from 1; leave a stage of no steps out")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "integers from 1")
        require(0 < self.keep_rate <= 1, "keep_rate", self.keep_rate, "0 < keep_rate <= 1")
        size = self.image_size
        require(size is None or size >= 1, "image_size", size, "integers from 1, or None")
        rate = self.learning_rate
        require(rate is None or rate > 0, "learning_rate", rate, "numbers above 0, or None")


@dataclass(frozen=True)
class Curriculum:
    """Stages in order, and how each begins.

    prune_layers: layers (from 0) after which a stage with keep_rate below 1 prunes. schedule: "rewarmed",
    every stage warms up to the full rate and falls to 0; "continued", the rate falls once, over all stages.
    carry: how positions are carried to more frames, "linear" or "nearest" over time.
    Errors: ConfigError for no stage, frames that shrink, a keep rate that grows.
    """

    stages: tuple[Stage, ...]
    prune_layers: tuple[int, ...] = (3, 6, 9)
    schedule: Schedule = "rewarmed"
    carry: Carry = "linear"

    def __post_init__(self) -> None:
        require(len(self.stages) >= 1, "stages", self.stages, "one stage or more")
        require(self.schedule in get_args(Schedule), "schedule", self.schedule, ", ".join(get_args(Schedule)))
        require(self.carry in get_args(Carry), "carry", self.carry, ", ".join(get_args(Carry)))
        frames = [stage.num_frames for stage in self.stages]
        require(
            frames == sorted(frames), "num_frames", frames, "frames that never shrink from stage to stage"
        )
        rates = [stage.keep_rate for stage in self.stages]
        falling = rates == sorted(rates, reverse=True)
        require(falling, "keep_rate", rates, "keep rates that never grow from stage to stage")

    def encoder(self, base: VideoEncoderConfig, number: int) -> VideoEncoderConfig:
        """The configuration of the encoder in a stage; ``base`` gives everything else."""
        stage = self.stages[number]
        nodes = None if stage.keep_rate == 1 else NodeSparsity(stage.keep_rate, self.prune_layers)
        size = base.image_size if stage.image_size is None else stage.image_size
        return replace(base, num_frames=stage.num_frames, image_size=size, edges=stage.edges, nodes=nodes)

    def training(self, number: int, recipe: TrainConfig) -> TrainConfig:
        """The training configuration of a stage; ``recipe`` is that of a whole training at once."""
        stage = self.stages[number]
        rate = recipe.learning_rate if stage.learning_rate is None else stage.learning_rate
        made = replace(recipe, steps=stage.steps, batch_size=stage.batch_size, learning_rate=rate)
        if self.schedule == "rewarmed":
            return replace(made, warmup_steps=min(recipe.warmup_steps, max(1, stage.steps // 4)))
        done = sum(s.steps for s in self.stages[:number])
        total = sum(s.steps for s in self.stages)
        begins, ends = 1 - done / total, 1 - (done + stage.steps) / total
        return replace(
            made,
            learning_rate=rate * begins,
            final_rate=max(ends, recipe.final_rate) / begins,
            warmup_steps=recipe.warmup_steps if number == 0 else 0,
        )

    def flops(self, base: VideoEncoderConfig, step_flops: StepFlops) -> int:
        """Training FLOPs of the video encoder over all stages."""
        return sum(
            stage.steps * step_flops(self.encoder(base, i), stage.batch_size)
            for i, stage in enumerate(self.stages)
        )


def temporal_sparse_expansion(
    frames: Sequence[int] = (4, 8),
    keep_rates: Sequence[float] = (0.7, 0.6),
    steps: Sequence[int] = (1000, 1000),
    edges: EdgeSparsity | None = None,
    *,
    batch_size: int = 64,
    prune_layers: tuple[int, ...] = (3, 6, 9),
) -> Curriculum:
    """The paper's preset: 4 frames keeping .7, then 8 keeping .6; one local and three random blocks of 56
    tokens throughout (the released commands). edges: other blocks.
    Errors: ConfigError for lists of different lengths."""
    edges = EdgeSparsity() if edges is None else edges
    if not len(frames) == len(keep_rates) == len(steps):
        raise ConfigError(
            f"{len(frames)} frames, {len(keep_rates)} keep rates, {len(steps)} steps; give each stage one"
        )
    made = [
        Stage(t, n, rate, edges, batch_size=batch_size)
        for t, rate, n in zip(frames, keep_rates, steps, strict=True)
    ]
    return Curriculum(tuple(made), prune_layers)


def direct(
    of: Curriculum, base: VideoEncoderConfig, step_flops: StepFlops, last: Stage | None = None
) -> Curriculum:
    """One stage at the final length and sparsity that costs as many training FLOPs as ``of``.

    last: another stage than the final one of ``of``, e.g. dense or short; its steps are set. The steps are
    rounded, so the cost differs by half a step at most.
    Errors: ConfigError where the budget does not buy one step.
    """
    last = of.stages[-1] if last is None else last
    one = replace(of, stages=(replace(last, steps=1),))
    steps = round(of.flops(base, step_flops) / one.flops(base, step_flops))
    require(steps >= 1, "steps", steps, "a budget of one step of the last stage or more")
    return replace(of, stages=(replace(last, steps=steps),))


def carried(
    state: Mapping[str, Tensor],
    source: VideoEncoderConfig,
    target: VideoEncoderConfig,
    carry: Carry = "linear",
    prefix: str = "",
) -> dict[str, Tensor]:
    """Weights of an encoder of ``source``, ready for one of ``target``: positions resized, the rest as it is.

    prefix: of the encoder's names in ``state``, e.g. "video_encoder.". Relative bias tables go over time by
    nearest neighbours, as in the release, whatever ``carry``; absolute embeddings as it says.
    Errors: ConfigError for encoders that differ in more than length, resolution and sparsity.
    """
    same = replace(
        target, num_frames=source.num_frames, image_size=source.image_size,
        edges=source.edges, nodes=source.nodes,
    )  # fmt: skip
    if same != source:
        raise ConfigError(
            f"weights of {source} cannot go on in {target}; only num_frames, image_size, edges and nodes may "
            "differ between stages"
        )
    made = dict(state)
    for name, value in state.items():
        if not name.startswith(prefix):
            continue
        if name.endswith("relative_position_bias_table"):
            made[name] = resize_table(value, source.grid, target.grid)
        elif name == f"{prefix}pos_embed":
            made[name] = _resized(value, source.grid, target.grid, carry)
    return made


def _resized(embedding: Tensor, source: Grid, target: Grid, carry: Carry) -> Tensor:
    if carry == "linear" or source[0] == target[0]:
        return resize_embedding(embedding, source, target)
    middle = (source[0], *target[1:])
    x = resize_embedding(embedding, source, middle).unflatten(1, middle)  # (1, T, h, w, D)
    times = F.interpolate(torch.arange(source[0]).float()[None, None], size=target[0], mode="nearest")
    return x[:, times[0, 0].long()].flatten(1, 3)
