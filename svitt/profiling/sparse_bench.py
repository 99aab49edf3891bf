"""Sparse attention, and whole encoders, timed against dense ``scaled_dot_product_attention``.

The baseline of every ratio is dense attention without a bias, the fastest dense attention PyTorch has.
Dense attention with the 3-D relative position bias of SViTT, which the sparse side has, its gradient
included, stands beside it: a bias of every pair is written down and makes dense attention slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from svitt.profiling.benchmark import as_json, interleave, matmul_peak
from svitt.profiling.cases import (
    AttentionKind,
    BenchSettings,
    EncoderKind,
    Phase,
    attention_inputs,
    attention_step,
    encoder_config,
    encoder_step,
    fresh_attention,
    fresh_encoder,
)
from svitt.profiling.cost import attention_cost, encoder_cost
from svitt.profiling.memory import peak_memory

# The columns of a table and the kinds behind them; the first is the baseline.
ATTENTIONS: dict[str, AttentionKind] = {"dense": "dense", "dense_bias": "dense_bias", "sparse": "edges"}
ENCODERS: dict[str, EncoderKind] = {
    "dense": "dense",
    "dense_bias": "dense_bias",
    "edges": "edges",
    "edges_nodes": "sparse",
}
PHASES: tuple[tuple[Phase, float], ...] = (("forward", 1.0), ("training", 3.5))
Progress = Callable[[str], object]


def bench_attention(
    frames: int, s: BenchSettings, progress: Progress = lambda name: None, memory: bool = False
) -> dict[str, Any]:
    """Forward, and forward with backward, of one attention at ``frames`` x side x side tokens.

    Returns times, the ratio dense / sparse of time and of FLOPs, the share of the FLOP ratio that the
    time ratio realises, and all sides' fraction of the machine's matmul peak; with ``memory`` also the
    bytes that each pass needs beside its inputs, measured in fresh processes.
    """
    inputs = attention_inputs(frames, s)
    alternatives = {
        f"{name}_{phase}": attention_step(kind, phase, inputs)
        for phase, _ in PHASES
        for name, kind in ATTENTIONS.items()
    }
    timings = interleave(alternatives, s.repeats, device=s.device, clock=s.clock, progress=progress)
    peak = matmul_peak(s.device, s.dtype, s.clock)
    tokens, width = frames * s.side * s.side, s.heads * s.head_dim
    flops = {
        name: attention_cost(tokens, width, s.edges if kind == "edges" else None, s.batch)
        for name, kind in ATTENTIONS.items()
    }
    row: dict[str, Any] = {
        "frames": frames,
        "tokens": tokens + 1,
        "flop_ratio": flops["dense"] / flops["sparse"],
    }
    for phase, factor in PHASES:
        base = timings[f"dense_{phase}"].median
        row[f"{phase}_ratio"] = base / timings[f"sparse_{phase}"].median
        row[f"{phase}_ratio_to_dense_bias"] = (
            timings[f"dense_bias_{phase}"].median / timings[f"sparse_{phase}"].median
        )
        row[f"{phase}_realised"] = row[f"{phase}_ratio"] / row["flop_ratio"]
        for name in ATTENTIONS:
            row[f"{name}_{phase}_of_peak"] = factor * flops[name] / timings[f"{name}_{phase}"].median / peak
    if memory:
        row["bytes"] = {
            f"{name}_{phase}": peak_memory(fresh_attention, kind, phase, frames, s, device=s.device).extra
            for phase, _ in PHASES
            for name, kind in ATTENTIONS.items()
        }
    return row | {"matmul_peak": peak, "seconds": as_json(timings)}


def bench_encoder(
    frames: int, s: BenchSettings, progress: Progress = lambda name: None, memory: bool = False
) -> dict[str, Any]:
    """Forward of whole encoders: dense without and with bias, edges, edges and nodes; times and FLOPs."""
    alternatives = {name: encoder_step(kind, "forward", frames, s) for name, kind in ENCODERS.items()}
    flops = {
        name: encoder_cost(encoder_config(kind, frames, s), batch=s.batch).total
        for name, kind in ENCODERS.items()
    }
    timings = interleave(alternatives, s.repeats, 1, s.device, s.clock, progress)
    peak = matmul_peak(s.device, s.dtype, s.clock)
    row: dict[str, Any] = {"frames": frames, "tokens": frames * s.side**2 + 1}
    row["dense_of_peak"] = flops["dense"] / timings["dense"].median / peak
    for name in ("edges", "edges_nodes"):
        row[f"{name}_ratio"] = timings["dense"].median / timings[name].median
        row[f"{name}_ratio_to_dense_bias"] = timings["dense_bias"].median / timings[name].median
        row[f"{name}_flop_ratio"] = flops["dense"] / flops[name]
        row[f"{name}_realised"] = row[f"{name}_ratio"] / row[f"{name}_flop_ratio"]
    if memory:
        row["bytes"] = {
            name: peak_memory(fresh_encoder, kind, "forward", frames, s, device=s.device).extra
            for name, kind in ENCODERS.items()
        }
    return row | {"matmul_peak": peak, "flops": flops, "seconds": as_json(timings)}
