"""The papers' ideas as layers and functions that need torch alone; one import serves.

    >>> import torch
    >>> from svitt.layers import EdgeSparsity, SelfAttention, fixed_edges, keep_top_tokens
    >>> x = torch.randn(2, 1 + 64, 32)  # one CLS token and 64 patch tokens
    >>> pattern = fixed_edges(EdgeSparsity(1, 1, block_size=16), layer=0, num_tokens=64)
    >>> out, cls_row = SelfAttention(32, num_heads=4)(x, pattern=pattern, need_cls=True)
    >>> tokens, kept = keep_top_tokens(x + out, cls_row[:, :, 1:].mean(dim=1), keep_rate=0.5)
    >>> tokens.shape, kept.shape
    (torch.Size([2, 33, 32]), torch.Size([2, 32]))

Edges (SViTT section 3.2), tokens (section 3.3), positions in space and time, and the transformer layer around
them. Shapes: B samples, h heads of d channels, N tokens with CLS first, K patch tokens.
"""

from svitt.layers.attention import (
    SelfAttention,
    cls_attention,
    dense_attention,
    masked_attention,
    reference_attention,
)
from svitt.layers.block import Block
from svitt.layers.drop_path import DropPath
from svitt.layers.edge_sparse_attention import edge_attention
from svitt.layers.edges import (
    EdgePattern,
    EdgeSparsity,
    draw_edges,
    fixed_edges,
    full_edges,
    neighbourhood_order,
    num_blocks,
)
from svitt.layers.mlp import Mlp
from svitt.layers.patch_embed import PatchEmbed
from svitt.layers.relative_position import (
    Grid,
    RelativePosition,
    code_offset,
    cosine_positions,
    infer_grid,
    position_codes,
    resize_embedding,
    resize_table,
    table_rows,
)
from svitt.layers.token_merging import (
    Matching,
    follow_groups,
    match_tokens,
    merge_tokens,
    unmerge_tokens,
)
from svitt.layers.token_pruning import (
    SCORES,
    Clues,
    NodeSparsity,
    TokenScore,
    find_score,
    keep_top_tokens,
    num_kept,
    token_score,
)

__all__ = [
    "SCORES",
    "Block",
    "Clues",
    "DropPath",
    "EdgePattern",
    "EdgeSparsity",
    "Grid",
    "Matching",
    "Mlp",
    "NodeSparsity",
    "PatchEmbed",
    "RelativePosition",
    "SelfAttention",
    "TokenScore",
    "cls_attention",
    "code_offset",
    "cosine_positions",
    "dense_attention",
    "draw_edges",
    "edge_attention",
    "find_score",
    "fixed_edges",
    "follow_groups",
    "full_edges",
    "infer_grid",
    "keep_top_tokens",
    "masked_attention",
    "match_tokens",
    "merge_tokens",
    "neighbourhood_order",
    "num_blocks",
    "num_kept",
    "position_codes",
    "reference_attention",
    "resize_embedding",
    "resize_table",
    "table_rows",
    "token_score",
    "unmerge_tokens",
]
