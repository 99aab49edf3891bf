"""Sparse attention, and whole encoders, timed against dense ``scaled_dot_product_attention``.

The baseline of every ratio is dense attention without a bias, the fastest dense attention PyTorch has.
Beside it stands dense attention with the 3-D relative position bias of SViTT, which the sparse side has, its
gradient included, in two kinds: ``dense_bias``, made anew at every call, as a model in training must, and
``dense_bias_once``, written down before and constant, as a served model may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from svitt.profiling.benchmark import as_json, interleave, matmul_peak
from svitt.profiling.bias_once import attention_once_step
from svitt.profiling.cases import (
    AttentionInputs,
    AttentionKind,
    BenchSettings,
    Phase,
    Step,
    attention_inputs,
    attention_step,
    fresh_attention,
)
from svitt.profiling.cost import attention_cost, encoder_cost
from svitt.profiling.encoder_steps import BenchKind, config_of, encoder_steps, fresh_encoder_step
from svitt.profiling.memory import peak_memory

TimedAttention = AttentionKind | Literal["dense_bias_once"]
# The columns of a table and the kinds behind them; the first is the baseline.
ATTENTIONS: dict[str, TimedAttention] = {
    "dense": "dense",
    "dense_bias_once": "dense_bias_once",
    "dense_bias": "dense_bias",
    "sparse": "edges",
}
ENCODERS: dict[str, BenchKind] = {
    "dense": "dense",
    "dense_bias_once": "dense_bias_once",
    "dense_bias": "dense_bias",
    "edges": "edges",
    "edges_nodes": "sparse",
}
SPARSE_ENCODERS = ("edges", "edges_nodes")
BASELINES = {"": "dense", "_to_dense_bias": "dense_bias", "_to_dense_bias_once": "dense_bias_once"}
# Phases, and FLOPs of an attention's pass over those of its forward.
PHASES: tuple[tuple[Phase, float], ...] = (("forward", 1.0), ("training", 3.5))
Progress = Callable[[str], object]


def attention_flops_of(kind: TimedAttention, frames: int, s: BenchSettings) -> int:
    """Forward FLOPs of one attention of that kind."""
    tokens, width = frames * s.side * s.side, s.heads * s.head_dim
    return attention_cost(tokens, width, s.edges if kind == "edges" else None, s.batch)


def timed_attention(kind: TimedAttention, phase: Phase, inputs: AttentionInputs) -> Step:
    """One pass of any kind in ``ATTENTIONS``."""
    if kind == "dense_bias_once":
        return attention_once_step(phase, inputs)
    return attention_step(kind, phase, inputs)


def bench_attention(
    frames: int, s: BenchSettings, progress: Progress = lambda name: None, memory: bool = False
) -> dict[str, Any]:
    """Forward, and forward with backward, of one attention at ``frames`` x side x side tokens.

    Returns times, the ratio dense / sparse of time and of FLOPs, the share of the FLOP ratio that the
    time ratio realises, and all sides' fraction of the machine's matmul peak; with ``memory`` also the
    bytes that each pass needs beside its inputs, measured in fresh processes (a bias that was made once is
    an input, so it has none).
    """
    inputs = attention_inputs(frames, s)
    alternatives = {
        f"{name}_{phase}": timed_attention(kind, phase, inputs)
        for phase, _ in PHASES
        for name, kind in ATTENTIONS.items()
    }
    timings = interleave(alternatives, s.repeats, device=s.device, clock=s.clock, progress=progress)
    peak = matmul_peak(s.device, s.dtype, s.clock)
    flops = {name: attention_flops_of(kind, frames, s) for name, kind in ATTENTIONS.items()}
    row: dict[str, Any] = {
        "frames": frames,
        "tokens": frames * s.side * s.side + 1,
        "flop_ratio": flops["dense"] / flops["sparse"],
    }
    for phase, factor in PHASES:
        sparse = timings[f"sparse_{phase}"].median
        for suffix, baseline in BASELINES.items():
            row[f"{phase}_ratio{suffix}"] = timings[f"{baseline}_{phase}"].median / sparse
        row[f"{phase}_realised"] = row[f"{phase}_ratio"] / row["flop_ratio"]
        for name in ATTENTIONS:
            row[f"{name}_{phase}_of_peak"] = factor * flops[name] / timings[f"{name}_{phase}"].median / peak
    if memory:
        row["bytes"] = {
            f"{name}_{phase}": peak_memory(fresh_attention, kind, phase, frames, s, device=s.device).extra
            for phase, _ in PHASES
            for name, kind in ATTENTIONS.items()
            if kind != "dense_bias_once"
        }
    return row | {"matmul_peak": peak, "seconds": as_json(timings)}


def bench_encoder(
    frames: int,
    s: BenchSettings,
    progress: Progress = lambda name: None,
    memory: bool = False,
    training: bool = False,
) -> dict[str, Any]:
    """Whole encoders: dense without and with bias, edges, edges and nodes; times and FLOPs of a forward pass.

    training: also of a training step: forward, backward, optimiser. Columns of it have "training" in
    their names; its FLOPs are those of forward and backward. memory: bytes beside weights and inputs.
    """
    phases: tuple[Phase, ...] = ("forward", "training") if training else ("forward",)
    made = {name: encoder_steps(kind, frames, s) for name, kind in ENCODERS.items()}
    alternatives = {column(name, phase): made[name][phase] for phase in phases for name in ENCODERS}
    costs = {name: encoder_cost(config_of(kind, frames, s), batch=s.batch) for name, kind in ENCODERS.items()}
    flops = {name: cost.total for name, cost in costs.items()}
    if training:
        flops |= {column(name, "training"): cost.training for name, cost in costs.items()}
    timings = interleave(alternatives, s.repeats, 1, s.device, s.clock, progress)
    peak = matmul_peak(s.device, s.dtype, s.clock)
    row: dict[str, Any] = {"frames": frames, "tokens": frames * s.side**2 + 1}
    for phase in phases:
        dense = column("dense", phase)
        row[f"{dense}_of_peak"] = flops[dense] / timings[dense].median / peak
        for name in SPARSE_ENCODERS:
            own = column(name, phase)
            for suffix, baseline in BASELINES.items():
                row[f"{own}_ratio{suffix}"] = timings[column(baseline, phase)].median / timings[own].median
            row[f"{own}_flop_ratio"] = flops[dense] / flops[own]
            row[f"{own}_realised"] = row[f"{own}_ratio"] / row[f"{own}_flop_ratio"]
    if memory:
        made.clear()
        alternatives.clear()  # and with the steps their weights, before others are made
        row["bytes"] = {
            column(name, phase): peak_memory(
                fresh_encoder_step, kind, phase, frames, s, device=s.device
            ).extra
            for phase in phases
            for name, kind in ENCODERS.items()
        }
    return row | {"matmul_peak": peak, "flops": flops, "seconds": as_json(timings)}


def column(name: str, phase: str) -> str:
    """The name of an encoder's column; a forward pass, which older tables know alone, adds nothing."""
    return name if phase == "forward" else f"{name}_{phase}"
