"""Edge-sparse attention, and whole encoders, against dense ``scaled_dot_product_attention`` without bias.

The dense baseline is the fastest dense attention PyTorch has; a bias would make it slower. The sparse
side has the 3-D relative position bias of SViTT, its gradient included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from svitt.config import EdgeSparsity, NodeSparsity, VideoEncoderConfig
from svitt.layers.edges import fixed_edges
from svitt.layers.position import RelativePosition, code_offset, position_codes, table_rows
from svitt.layers.sparse_attention import attention_flops, edge_attention
from svitt.models.video_encoder import VideoEncoder
from svitt.profiling.benchmark import Clock, as_json, interleave, matmul_peak


@dataclass(frozen=True)
class BenchSettings:
    """Sizes of ViT-B/16 by default; ``clock`` as in ``interleave``."""

    batch: int = 1
    heads: int = 12
    head_dim: int = 64
    side: int = 14
    edges: EdgeSparsity = field(default_factory=EdgeSparsity)
    nodes: NodeSparsity = field(default_factory=NodeSparsity)
    depth: int = 12
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    repeats: int = 5
    clock: Clock = "wall"
    seed: int = 0


Progress = Callable[[str], object]


def bench_attention(frames: int, s: BenchSettings, progress: Progress = lambda name: None) -> dict[str, Any]:
    """Forward, and forward with backward, of one attention at ``frames`` x side x side tokens.

    Returns times, the ratio dense / sparse of time and of FLOPs, the share of the FLOP ratio that the
    time ratio realises, and both sides' fraction of the machine's matmul peak.
    """
    g = torch.Generator().manual_seed(s.seed)
    grid = (frames, s.side, s.side)
    tokens = frames * s.side * s.side
    # The layout of an encoder: query, key and value are views of one projection.
    packed = torch.randn(s.batch, tokens + 1, 3, s.heads, s.head_dim, generator=g).to(s.device, s.dtype)
    q, k, v = (x.detach().requires_grad_() for x in packed.permute(2, 0, 3, 1, 4).unbind(0))
    upstream = (
        torch.randn(s.batch, tokens + 1, s.heads, s.head_dim, generator=g)
        .to(s.device, s.dtype)
        .transpose(1, 2)
    )
    table = torch.randn(table_rows(grid), s.heads, generator=g).to(s.device).requires_grad_()
    position = RelativePosition(table, position_codes(grid, device=torch.device(s.device)), code_offset(grid))
    pattern = fixed_edges(s.edges, 0, tokens)

    def dense() -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    def sparse() -> torch.Tensor:
        return edge_attention(q, k, v, pattern, position)[0]

    def forward(function: Callable[[], torch.Tensor]) -> None:
        with torch.no_grad():
            function()

    alternatives = {
        "dense_forward": lambda: forward(dense),
        "sparse_forward": lambda: forward(sparse),
        "dense_training": lambda: torch.autograd.grad(dense(), (q, k, v), upstream),
        "sparse_training": lambda: torch.autograd.grad(sparse(), (q, k, v, table), upstream),
    }
    timings = interleave(alternatives, s.repeats, device=s.device, clock=s.clock, progress=progress)
    peak = matmul_peak(s.device, s.dtype, s.clock)
    flops = {
        "dense": attention_flops(q.shape, tokens + 1),
        "sparse": attention_flops(q.shape, 1 + pattern.blocks.shape[1] * pattern.block_size),
    }
    row: dict[str, Any] = {
        "frames": frames,
        "tokens": tokens + 1,
        "flop_ratio": flops["dense"] / flops["sparse"],
    }
    for phase, factor in (("forward", 1.0), ("training", 3.5)):
        one, other = timings[f"dense_{phase}"], timings[f"sparse_{phase}"]
        row[f"{phase}_ratio"] = one.median / other.median
        row[f"{phase}_realised"] = row[f"{phase}_ratio"] / row["flop_ratio"]
        for name, timing in (("dense", one), ("sparse", other)):
            row[f"{name}_{phase}_of_peak"] = factor * flops[name] / timing.median / peak
    return row | {"matmul_peak": peak, "seconds": as_json(timings)}


def bench_encoder(frames: int, s: BenchSettings, progress: Progress = lambda name: None) -> dict[str, Any]:
    """Forward of whole encoders: dense without bias, dense edges, edges and nodes; times and FLOPs."""
    sizes = VideoEncoderConfig(
        image_size=16 * s.side,
        num_frames=frames,
        width=s.heads * s.head_dim,
        depth=s.depth,
        num_heads=s.heads,
    )
    configs = {
        "dense": replace(sizes, position="absolute"),
        "edges": replace(sizes, edges=s.edges),
        "edges_nodes": replace(sizes, edges=s.edges, nodes=s.nodes),
    }
    clips = torch.randn(
        s.batch, frames, 3, 16 * s.side, 16 * s.side, generator=torch.Generator().manual_seed(s.seed)
    )
    clips = clips.to(s.device, s.dtype)
    models = {name: VideoEncoder(c).eval().to(s.device, s.dtype) for name, c in configs.items()}

    def run(model: VideoEncoder) -> None:
        with torch.no_grad():
            model(clips)

    flops = {}
    for name, model in models.items():
        with FlopCounterMode(display=False) as counter:
            run(model)
        flops[name] = counter.get_total_flops()
    alternatives = {name: (lambda m=model: run(m)) for name, model in models.items()}
    timings = interleave(alternatives, s.repeats, 1, s.device, s.clock, progress)
    peak = matmul_peak(s.device, s.dtype, s.clock)
    row: dict[str, Any] = {"frames": frames, "tokens": frames * s.side**2 + 1}
    row["dense_of_peak"] = flops["dense"] / timings["dense"].median / peak
    for name in ("edges", "edges_nodes"):
        row[f"{name}_ratio"] = timings["dense"].median / timings[name].median
        row[f"{name}_flop_ratio"] = flops["dense"] / flops[name]
        row[f"{name}_realised"] = row[f"{name}_ratio"] / row[f"{name}_flop_ratio"]
    return row | {"matmul_peak": peak, "flops": flops, "seconds": as_json(timings)}
