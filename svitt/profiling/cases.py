"""What is timed and whose memory is measured: one attention layer, or a whole encoder, in several kinds.

- ``dense``: ``scaled_dot_product_attention`` without a bias, the fastest dense attention PyTorch has;
- ``dense_bias``: dense, with the 3-D relative position bias of every pair written down (what a BEiT does);
- ``edges``: edge-sparse, with that bias, its gradient included;
- ``sparse``: edges, and nodes pruned (encoders only);
- ``flex``: PyTorch's FlexAttention on the same edges and bias (one attention only, forward, CUDA).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from svitt.config import nearest, require
from svitt.layers.attention import dense_attention
from svitt.layers.edge_sparse_attention import edge_attention
from svitt.layers.edges import EdgePattern, EdgeSparsity, fixed_edges
from svitt.layers.relative_position import RelativePosition, code_offset, position_codes, table_rows
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.profiling.benchmark import Clock

AttentionKind = Literal["dense", "dense_bias", "edges", "flex"]
EncoderKind = Literal["dense", "dense_bias", "edges", "nodes", "sparse"]
Phase = Literal["forward", "training"]
Step = Callable[[], object]


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


@dataclass(frozen=True)
class AttentionInputs:
    """q, k, v and the gradient of the output, (B, h, 1+K, d); a bias table; the edges."""

    q: Tensor
    k: Tensor
    v: Tensor
    upstream: Tensor
    position: RelativePosition
    pattern: EdgePattern


def attention_inputs(frames: int, s: BenchSettings) -> AttentionInputs:
    """Normal inputs for frames x side x side tokens, from ``s.seed``."""
    g = torch.Generator().manual_seed(s.seed)
    grid = (frames, s.side, s.side)
    tokens = frames * s.side * s.side

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g).to(s.device, s.dtype)

    # The layout of an encoder: query, key and value are views of one projection.
    packed = normal(s.batch, tokens + 1, 3, s.heads, s.head_dim)
    q, k, v = (x.detach().requires_grad_() for x in packed.permute(2, 0, 3, 1, 4).unbind(0))
    upstream = normal(s.batch, tokens + 1, s.heads, s.head_dim).transpose(1, 2)
    table = torch.randn(table_rows(grid), s.heads, generator=g).to(s.device).requires_grad_()
    position = RelativePosition(table, position_codes(grid, device=torch.device(s.device)), code_offset(grid))
    return AttentionInputs(q, k, v, upstream, position, fixed_edges(s.edges, 0, tokens))


def attention_step(kind: AttentionKind, phase: Phase, x: AttentionInputs) -> Step:
    """One pass of an attention; "training" is forward and backward, to q, k, v and the bias table."""
    with_bias: Sequence[Tensor] = (x.q, x.k, x.v, x.position.table)
    functions: dict[str, tuple[Callable[[], Tensor], Sequence[Tensor]]] = {
        "dense": (lambda: F.scaled_dot_product_attention(x.q, x.k, x.v), with_bias[:3]),
        "dense_bias": (lambda: dense_attention(x.q, x.k, x.v, x.position.dense()), with_bias),
        "edges": (
            lambda: edge_attention(x.q, x.k, x.v, x.pattern, x.position, backend="chunked")[0],
            with_bias,
        ),
    }
    if kind == "flex":
        require(phase == "forward", "phase", phase, "forward, for FlexAttention")
        return partial(_without_gradients, flex_attention_step(x))
    require(kind in functions, "kind", kind, nearest(kind, [*functions, "flex"]))
    function, inputs = functions[kind]
    if phase == "forward":
        return partial(_without_gradients, function)
    return lambda: torch.autograd.grad(function(), inputs, x.upstream)


def _without_gradients(function: Callable[[], object]) -> object:
    with torch.no_grad():
        return function()


def flex_attention_step(x: AttentionInputs, compiled: bool = True) -> Callable[[], Tensor]:
    """FlexAttention with the edges as its block mask and the bias as its score function.

    Its own blocks are 128 tokens long, not those of the edges, so it computes more than the edges ask.
    """
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    n, device = x.q.shape[2], x.q.device
    q, k, v = (part.detach() for part in (x.q, x.k, x.v))
    mask = x.pattern.mask(n - 1).to(device)
    table, rows = x.position.table.detach(), x.position.table.shape[0]
    codes = F.pad(x.position.codes, (1, 0))

    def edge(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask[query, key]

    def bias(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        row = codes[query] - codes[key] + x.position.offset
        row = torch.where(query == 0, rows - 3, torch.where(key == 0, rows - 2, row))
        return score + table[torch.where((query == 0) & (key == 0), rows - 1, row), head]

    block_mask = create_block_mask(edge, None, None, n, n, device=str(device))
    function: Any = torch.compile(flex_attention) if compiled else flex_attention
    return lambda: function(q, k, v, score_mod=bias, block_mask=block_mask)


def encoder_config(kind: EncoderKind, frames: int, s: BenchSettings) -> VideoEncoderConfig:
    """The encoder of one kind; the unbiased dense one has absolute positions instead of the bias."""
    sizes = VideoEncoderConfig(
        image_size=16 * s.side,
        num_frames=frames,
        width=s.heads * s.head_dim,
        depth=s.depth,
        num_heads=s.heads,
    )
    configs = {
        "dense": replace(sizes, position="absolute"),
        "dense_bias": sizes,
        "edges": replace(sizes, edges=s.edges),
        "nodes": replace(sizes, position="absolute", nodes=s.nodes),
        "sparse": replace(sizes, edges=s.edges, nodes=s.nodes),
    }
    require(kind in configs, "kind", kind, nearest(kind, configs))
    return configs[kind]


def encoder_step(kind: EncoderKind, phase: Phase, frames: int, s: BenchSettings) -> Step:
    """One pass of a whole encoder; "training" is forward and backward to all weights, no optimiser."""
    # Here, so that measuring one attention in a fresh process need not import the models.
    from svitt.models.video_encoder import VideoEncoder

    generator = torch.Generator().manual_seed(s.seed)
    model = VideoEncoder(encoder_config(kind, frames, s), generator).to(s.device, s.dtype)
    size = 16 * s.side
    clips = torch.randn(s.batch, frames, 3, size, size, generator=generator).to(s.device, s.dtype)

    def training() -> None:
        model.zero_grad(set_to_none=True)
        model(clips).pooled.float().sum().backward()

    if phase == "training":
        return training
    model.eval()
    return lambda: _without_gradients(lambda: model(clips))


def fresh_attention(kind: AttentionKind, phase: Phase, frames: int, s: BenchSettings) -> Step:
    """``attention_step`` with its inputs, for a process of its own.

    A tiny pass comes first: the first one in a process loads libraries, which is no need of the attention.
    """
    attention_step(kind, phase, attention_inputs(1, replace(s, heads=1, head_dim=16, side=4)))()
    return attention_step(kind, phase, attention_inputs(frames, s))


def fresh_encoder(kind: EncoderKind, phase: Phase, frames: int, s: BenchSettings) -> Step:
    """``encoder_step`` for a process of its own, after a tiny pass."""
    encoder_step(kind, phase, 1, replace(s, heads=1, head_dim=16, side=4))()
    return encoder_step(kind, phase, frames, s)
