"""The fused attention and the readable one agree."""

from __future__ import annotations

import pytest
import torch

from svitt.layers.attention import (
    SelfAttention,
    cls_attention,
    dense_attention,
    masked_attention,
    reference_attention,
)
from svitt.layers.edges import full_edges
from svitt.layers.relative_position import RelativePosition, code_offset, position_codes, table_rows


@pytest.mark.parametrize("with_bias", [True, False])
def test_fused_reference_and_cls_row_agree(with_bias: bool) -> None:
    g = torch.Generator().manual_seed(0)
    grid = (2, 2, 3)
    q, k, v = (torch.randn(2, 3, 13, 4, generator=g, dtype=torch.float64) for _ in "qkv")
    table = torch.randn(table_rows(grid), 3, generator=g, dtype=torch.float64)
    position = RelativePosition(table, position_codes(grid), code_offset(grid)) if with_bias else None
    bias = None if position is None else position.dense()
    out, probabilities = reference_attention(q, k, v, bias)
    assert torch.allclose(dense_attention(q, k, v, bias), out, atol=1e-12)
    assert torch.allclose(cls_attention(q, k, position), probabilities[:, :, 0], atol=1e-12)


def test_the_module_is_the_same_dense_and_with_all_edges() -> None:
    grid, g = (2, 2, 3), torch.Generator().manual_seed(0)
    module = SelfAttention(8, 2, grid).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=g)
    x, codes = torch.randn(2, 13, 8, generator=g, dtype=torch.float64), position_codes(grid)
    dense, row = module(x, codes, need_cls=True)
    sparse, sparse_row = module(x, codes, full_edges(12, 5), need_cls=True)
    assert torch.allclose(dense, sparse, atol=1e-12)
    assert torch.allclose(row, sparse_row, atol=1e-12)
    with pytest.raises(ValueError, match="needs the codes"):
        module(x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_that_rank_tokens_are_in_float32(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = ((3 * torch.randn(2, 3, 13, 64, generator=g)).to(dtype) for _ in "qkv")
    exact = reference_attention(q.double(), k.double(), v.double())[1][:, :, 0]
    masked = masked_attention(q, k, v, torch.ones(13, 13, dtype=torch.bool), need_cls=True)[1]
    for row in (cls_attention(q, k), masked):
        assert row is not None
        assert row.dtype == torch.float32
        assert float((row - exact).abs().max()) < 1e-5
