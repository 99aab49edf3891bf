"""The settings of chapter 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from svitt.experiments.shared.space_time_settings import Settings as Events
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.layers.edges import EdgeSparsity
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.training.curriculum import Carry, Curriculum, Schedule, Stage, StepFlops, direct

# How a training gets to its final length and sparsity: at once; both grow in stages; only the clips grow,
# sparse from the start; only the sparsity grows, on long clips from the start.
Kind = Literal["direct", "expansion", "lengthen", "sparsify"]


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    events: world, sizes and recipe of the clips with events (chapter 2). budgets: of training, in steps of
    the dense encoder on the shortest clips. lengths: frames of the stages; shares: of the FLOPs that each of
    them gets. keep_rates: final ones, at each pruning layer; block_size, num_random_blocks: of the sparse
    edges. schedule, carry: how a stage begins. direct_rate, dense_rate, staged_rate: learning rates of direct
    training, sparse and dense, and of training in stages.
    """

    seeds: tuple[int, ...]
    events: Events = field(default_factory=lambda: Events((0,), num_train=1000))
    budgets: tuple[int, int] = (800, 1600)
    lengths: tuple[int, ...] = (4, 8, 16)
    shares: tuple[float, ...] = (1, 1, 1)
    keep_rates: tuple[float, float, float] = (0.7, 0.5, 0.3)
    prune_layers: tuple[int, ...] = (0, 1)
    block_size: int = 4
    num_random_blocks: int = 3
    schedule: Schedule = "rewarmed"
    carry: Carry = "linear"
    direct_rate: float = 1e-3
    dense_rate: float = 1e-3
    staged_rate: float = 1e-3

    def rate(self, kind: Kind, sparse: bool) -> float:
        """The learning rate of a variant."""
        if kind != "direct":
            return self.staged_rate
        return self.direct_rate if sparse else self.dense_rate

    def base(self) -> VideoEncoderConfig:
        """The dense encoder of the shortest clips."""
        e = self.events
        return tiny_video_config(
            self.lengths[0], image_size=e.event_size, width=e.width, depth=e.depth, num_heads=e.width // 32
        )

    def stage(self, length: int, keep_rate: float, sparse: bool, steps: int = 1) -> Stage:
        """Clips of ``length`` frames, dense or sparse."""
        edges = EdgeSparsity(1, self.num_random_blocks, self.block_size) if sparse else None
        rate = keep_rate if sparse else 1.0
        return Stage(length, steps, rate, edges, batch_size=self.events.batch_size)

    def budget(self, number: int, step_flops: StepFlops) -> int:
        """FLOPs of one of the budgets."""
        return self.budgets[number] * step_flops(self.base(), self.events.batch_size)

    def curriculum(
        self, kind: Kind, length: int, keep_rate: float, sparse: bool, number: int, step_flops: StepFlops
    ) -> Curriculum:
        """What is trained at a budget, up to clips of ``length`` frames and down to ``keep_rate``."""
        if kind == "direct":
            whole = self._stages([(self.lengths[0], 1.0)], False, (self.budgets[number],))
            return direct(whole, self.base(), step_flops, self.stage(length, keep_rate, sparse))
        grown = [n for n in self.lengths if n <= length]
        rates = [1 - (1 - keep_rate) * i / max(1, len(grown) - 1) for i in range(len(grown))]
        every = {
            "expansion": list(zip(grown, rates, strict=True)),
            "lengthen": [(n, keep_rate) for n in grown],
            "sparsify": [(length, rate) for rate in rates],
        }[kind]
        unit = self.budget(number, step_flops) / sum(self.shares[: len(every)])
        costs = [self._stages([one], sparse).flops(self.base(), step_flops) for one in every]
        steps = [max(1, round(unit * n / cost)) for n, cost in zip(self.shares, costs, strict=False)]
        return self._stages(every, sparse, steps)

    def _stages(
        self, stages: Sequence[tuple[int, float]], sparse: bool, steps: Sequence[int] = (1,)
    ) -> Curriculum:
        made = (self.stage(n, rate, sparse, count) for (n, rate), count in zip(stages, steps, strict=True))
        return Curriculum(tuple(made), self.prune_layers, self.schedule, self.carry)


# What the trials on tuning seeds start from.
UNTUNED: Mapping[str, Settings] = {
    "smoke": Settings((0,), Events((0,), 200, 60, batch_size=32, warmup_steps=2), (12, 24)),
    "cpu": Settings((0, 1, 2, 3, 4)),
    "gpu": Settings(
        tuple(range(8)),
        Events((0,), 5000, 2000, width=256, depth=8, event_clip=64, event_size=32, event_length=5,
               batch_size=256, warmup_steps=200, mixed_precision="bf16"),
        (4000, 12000), (8, 16, 32), prune_layers=(1, 3, 5), block_size=16,
        direct_rate=5e-4, dense_rate=5e-4, staged_rate=5e-4,
    ),
}  # fmt: skip
