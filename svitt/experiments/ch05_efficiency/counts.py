"""What chapter 5 shows without measuring: where FLOPs go, what follows from them, one tiny layer."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from svitt.experiments.ch05_efficiency.experiment import COUNTED_ARMS, counted_attention, counted_cost
from svitt.layers.attention import SelfAttention
from svitt.layers.edges import EdgeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from svitt.profiling.cases import EncoderKind

ARM_NAMES = {
    "dense": "dense, no bias",
    "dense_bias": "dense with bias",
    "edges": "edges",
    "nodes": "nodes",
    "sparse": "edges + nodes",
    "flex": "FlexAttention",
}
PART_NAMES = {"attention": "one attention layer", "encoder": "whole encoder"}


def tiny_layer(seed: int = 0, frames: int = 8, side: int = 8) -> tuple[SelfAttention, Tensor, EdgeSparsity]:
    """One attention layer of width 64, tokens (1, 1+K, 64) for it, and edges of the papers' proportions."""
    config = VideoEncoderConfig(
        image_size=8 * side, patch_size=8, num_frames=frames, width=64, depth=1, num_heads=2, init_std=0.2,
        position="absolute",
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    layer = VideoEncoder(config, generator).blocks[0].attn
    assert isinstance(layer, SelfAttention)
    tokens = torch.randn(1, 1 + frames * side * side, 64, generator=generator)
    return layer.eval(), tokens, EdgeSparsity(1, 3, 16)


def where_flops_go(frames: Sequence[int], arms: Sequence[EncoderKind] = COUNTED_ARMS) -> pd.DataFrame:
    """Forward FLOPs of ViT-B/16 by arm, frames and part ("linear layers", "attention")."""
    rows = []
    for arm in arms:
        for count in frames:
            cost = counted_cost(arm, count)
            rows += [
                (arm, count, cost.layers[0].tokens, name, flops)
                for name, flops in (("linear layers", cost.linear), ("attention", cost.attention))
            ]
    return pd.DataFrame(rows, columns=["arm", "frames", "tokens", "part", "flops"])


def free_attention(frames: Sequence[int]) -> pd.DataFrame:
    """What edge sparsity can reach at most: the dense encoder against its linear layers alone; and
    attention's share of the FLOPs, dense and with edges + nodes."""
    rows = []
    for count in frames:
        dense = counted_cost("dense", count)
        share = dense.attention / dense.total
        sparse = counted_cost("sparse", count)
        left = sparse.attention / sparse.total
        bound = dense.total / dense.linear
        rows.append((count, dense.layers[0].tokens, f"{share:.0%}", bound, f"{left:.0%}"))
    columns = ["frames", "tokens", "attention's share, dense", "bound", "attention's share, edges + nodes"]
    return pd.DataFrame(rows, columns=columns).round(2)


def longest_clip(arm: EncoderKind, budget: int, longest: int = 1000) -> int:
    """Frames of the longest clip that ``arm`` encodes within ``budget`` FLOPs; 0 where none is."""
    low, high = 0, longest + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if counted_cost(arm, middle).total <= budget else (low, middle)
    return low


def context_at_equal_flops(frames: Sequence[int]) -> pd.DataFrame:
    """For each length of a dense clip: the longest clip that each sparse arm encodes for the same FLOPs."""
    rows = []
    for count in frames:
        budget = counted_cost("dense", count).total
        found = [longest_clip(arm, budget) for arm in COUNTED_ARMS[1:]]
        rows.append((count, *found, found[-1] / count))
    columns = ["dense frames", *(ARM_NAMES[arm] for arm in COUNTED_ARMS[1:]), "edges + nodes, times longer"]
    return pd.DataFrame(rows, columns=columns).round(2)


def shortest_clip_reaching(factor: float, longest: int = 400) -> pd.DataFrame:
    """The first length at which a FLOP ratio reaches ``factor``; "never" above ``longest``."""
    lengths = range(1, longest + 1)
    rows = []
    for name, arms in (("attention", ("edges",)), ("encoder", COUNTED_ARMS[1:])):
        for arm in arms:
            ratios = (
                counted_attention("dense", n) / counted_attention("edges", n)
                if name == "attention"
                else counted_cost("dense", n).total / counted_cost(arm, n).total
                for n in lengths
            )
            first = next((n for n, ratio in zip(lengths, ratios, strict=True) if ratio >= factor), None)
            rows.append((PART_NAMES[name], ARM_NAMES[arm], "never" if first is None else str(first)))
    return pd.DataFrame(rows, columns=["what", "sparsity", f"frames from which it is {factor:g}x"])
