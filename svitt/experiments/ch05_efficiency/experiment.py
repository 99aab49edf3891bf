"""Chapter 5: what sparsity buys, in FLOPs, seconds and bytes. Claims ``efficiency`` and ``context``.

FLOPs are counted for ViT-B/16 at every scale, since counting costs nothing; time and memory are measured on
the scale's own sizes (ViT-B/16 from ``cpu`` on). Raw outcomes, with T frames:

- ``encoder/<arm>/<T>/flops`` (forward), ``.../training_flops``, ``attention/<arm>/<T>/flops`` (one layer);
- ``time/<part>/<arm>/<T>/<phase>``: seconds of every run, all arms of one part, T and phase in turn;
- ``memory/<part>/<arm>/<T>/<phase>``: bytes beside weights and inputs at the peak, in a fresh process;
- ``matmul_peak``: FLOP/s of square matrix products of the same type on the same threads.

part: "attention" or "encoder". arm: dense (no bias), dense_bias, edges, nodes, sparse (edges and nodes),
flex. phase: "forward" or "training", which is forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from svitt.experiments.base import Measurement
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.profiling.benchmark import Clock, interleave, matmul_peak, threads
from svitt.profiling.cases import (
    AttentionKind,
    BenchSettings,
    EncoderKind,
    Phase,
    Step,
    attention_inputs,
    attention_step,
    encoder_step,
    fresh_attention,
    fresh_encoder,
)
from svitt.profiling.cost import EncoderCost, attention_cost, encoder_cost
from svitt.profiling.memory import peak_memory
from svitt.records.workspace import Workspace

CHAPTER = "05_efficiency"
TIMED = ("time/*", "memory/*", "*/time_ratio", "matmul_peak")
Array = npt.NDArray[Any]
COUNTED_ARMS: tuple[EncoderKind, ...] = ("dense", "edges", "nodes", "sparse")
PHASES: tuple[Phase, ...] = ("forward", "training")


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    counted_frames: clips whose FLOPs are counted. heads to num_random_blocks: sizes of what is run.
    *_frames, *_repeats: clips that are timed and runs of each (encoder_repeats: one number a clip; fewer
    than three come without a warm-up). memory_frames: clips whose memory is measured; training_frames:
    also of an encoder's training step. bias_frames: the longest clip on which a bias is written down.
    flex: FlexAttention as a further arm. num_threads: of the CPU.
    """

    seeds: tuple[int, ...]
    attention_frames: tuple[int, ...]
    attention_repeats: int
    encoder_frames: tuple[int, ...]
    encoder_repeats: tuple[int, ...]
    memory_frames: tuple[int, ...]
    training_frames: tuple[int, ...]
    bias_frames: int
    counted_frames: tuple[int, ...] = (4, 8, 12, 16, 24, 32, 48, 64, 96)
    heads: int = 12
    head_dim: int = 64
    side: int = 14
    depth: int = 12
    num_local_blocks: int = 1
    num_random_blocks: int = 3
    block_size: int = 56
    keep_rate: float = 0.7
    dtype: Literal["float32", "bfloat16"] = "float32"
    clock: Clock = "cpu"
    flex: bool = False
    num_threads: int = 1


_ON_A_GPU = Settings(
    (0, 1, 2), (4, 8, 16, 32, 64, 96), 20, (4, 8, 16, 32, 64, 96), (20,) * 6,
    (8, 16, 32, 64, 96), (8, 16, 32), 32, dtype="bfloat16", clock="wall", flex=True,
)  # fmt: skip

SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,), (2, 4), 3, (2, 4), (3, 3), (4,), (), 8, heads=2, head_dim=16, side=8, block_size=16
    ),
    "cpu": Settings((0, 1, 2), (4, 8, 16, 32), 3, (4, 8, 16, 32), (3, 3, 2, 1), (8, 16), (8,), 16),
    "gpu": _ON_A_GPU,
    "paper": replace(_ON_A_GPU, seeds=(0,)),
}


def counted_config(arm: EncoderKind, frames: int) -> VideoEncoderConfig:
    """ViT-B/16; blocks of 56, 1 local and 3 random; keep rate .7 after layers 3, 6 and 9."""
    edges = EdgeSparsity() if arm in ("edges", "sparse") else None
    nodes = NodeSparsity() if arm in ("nodes", "sparse") else None
    return replace(VideoEncoderConfig(), num_frames=frames, edges=edges, nodes=nodes)


def counted_cost(arm: EncoderKind, frames: int) -> EncoderCost:
    """Forward FLOPs of that encoder."""
    return encoder_cost(counted_config(arm, frames))


def counted_attention(arm: EncoderKind, frames: int) -> int:
    """Forward FLOPs of one attention layer on a full clip; arms "dense" and "edges"."""
    c = counted_config(arm, frames)
    return attention_cost(frames * c.grid[1] * c.grid[2], c.width, c.edges)


def bench_settings(settings: Settings, seed: int, device: str) -> BenchSettings:
    """The sizes that are run."""
    return BenchSettings(
        heads=settings.heads,
        head_dim=settings.head_dim,
        side=settings.side,
        edges=EdgeSparsity(
            settings.num_local_blocks, settings.num_random_blocks, settings.block_size, seed=seed
        ),
        nodes=NodeSparsity(settings.keep_rate),
        depth=settings.depth,
        dtype=getattr(torch, settings.dtype),
        device=device,
        clock=settings.clock,
        seed=seed,
    )


def attention_arms(settings: Settings, frames: int, phase: Phase) -> list[AttentionKind]:
    """The arms that are run on a clip of ``frames``."""
    arms: list[AttentionKind] = ["dense", "edges"]
    arms += ["dense_bias"] if frames <= settings.bias_frames else []
    return arms + (["flex"] if settings.flex and phase == "forward" else [])


def encoder_arms(settings: Settings, frames: int) -> list[EncoderKind]:
    """As ``attention_arms``. A whole encoder with a bias is twice as dear, so it stops at half the length."""
    arms: list[EncoderKind] = ["dense", "edges", "sparse"]
    return arms + (["dense_bias"] if 2 * frames <= settings.bias_frames else [])


def counts(settings: Settings) -> dict[str, Array]:
    """All FLOPs, by outcome."""
    found: dict[str, Array] = {}
    for frames in settings.counted_frames:
        for arm in COUNTED_ARMS:
            cost = counted_cost(arm, frames)
            found[f"encoder/{arm}/{frames}/flops"] = np.array(cost.total)
            found[f"encoder/{arm}/{frames}/training_flops"] = np.array(cost.training)
        for arm in ("dense", "edges"):
            found[f"attention/{arm}/{frames}/flops"] = np.array(counted_attention(arm, frames))
    return found


def timed_cases(settings: Settings, s: BenchSettings) -> Iterator[tuple[str, int, int, dict[str, Step]]]:
    """(part, frames, repeats, outcome -> step), made one after the other; the steps of one take turns."""
    for frames in settings.attention_frames:
        inputs = attention_inputs(frames, s)
        steps = {
            f"time/attention/{arm}/{frames}/{phase}": attention_step(arm, phase, inputs)
            for phase in PHASES
            for arm in attention_arms(settings, frames, phase)
        }
        yield "attention", frames, settings.attention_repeats, steps
    for frames, repeats in zip(settings.encoder_frames, settings.encoder_repeats, strict=True):
        arms = encoder_arms(settings, frames)
        steps = {f"time/encoder/{a}/{frames}/forward": encoder_step(a, "forward", frames, s) for a in arms}
        yield "encoder", frames, repeats, steps


def times(settings: Settings, s: BenchSettings) -> dict[str, Array]:
    """Seconds of every run, by outcome."""
    found: dict[str, Array] = {}
    lengths = len(settings.attention_frames) + len(settings.encoder_frames)
    with tqdm(total=lengths, desc="time", unit="length", leave=False) as bar:
        for part, frames, repeats, steps in timed_cases(settings, s):
            bar.set_description(f"time of {part}, {frames} frames")
            warmup = 1 if repeats >= 3 else 0
            timings = interleave(steps, repeats, warmup, s.device, s.clock)
            found |= {name: np.array(timing.runs) for name, timing in timings.items()}
            bar.update()
    return found


def memories(settings: Settings, s: BenchSettings) -> dict[str, Array]:
    """Bytes at the peak, by outcome; a process each."""
    cases: list[tuple[str, Any, str, Phase, int]] = []
    for frames in settings.memory_frames:
        for phase in PHASES:
            arms = attention_arms(replace(settings, flex=False), frames, phase)
            cases += [("attention", fresh_attention, arm, phase, frames) for arm in arms]
        phases: tuple[Phase, ...] = PHASES if frames in settings.training_frames else ("forward",)
        cases += [
            ("encoder", fresh_encoder, arm, phase, frames)
            for phase in phases
            for arm in encoder_arms(settings, frames)
        ]
    found: dict[str, Array] = {}
    for part, build, arm, phase, frames in tqdm(cases, desc="memory", unit="process", leave=False):
        memory = peak_memory(build, arm, phase, frames, s, device=s.device, threads=settings.num_threads)
        found[f"memory/{part}/{arm}/{frames}/{phase}"] = np.array(memory.extra)
    return found


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Counts, times and measures one seed, which draws the edges, the weights and the inputs."""
    s = bench_settings(settings, seed, device)
    with threads(settings.num_threads):
        outcomes = counts(settings) | times(settings, s) | memories(settings, s)
        peak = matmul_peak(device, s.dtype, s.clock)
    outcomes["matmul_peak"] = np.array(peak)
    values: dict[str, float | int | str] = {"matmul_peak": peak, "threads": settings.num_threads}
    for frames in settings.counted_frames:
        cost = {arm: int(outcomes[f"encoder/{arm}/{frames}/flops"]) for arm in COUNTED_ARMS}
        for arm in COUNTED_ARMS[1:]:
            values[f"encoder/{arm}/{frames}/flop_ratio"] = cost["dense"] / cost[arm]
    for frames in settings.encoder_frames:
        dense = np.median(outcomes[f"time/encoder/dense/{frames}/forward"])
        sparse = np.median(outcomes[f"time/encoder/sparse/{frames}/forward"])
        values[f"encoder/sparse/{frames}/time_ratio"] = float(dense / sparse)
    return Measurement(values, outcomes)
