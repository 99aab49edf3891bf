"""bfloat16 on the CPU: its own chunks against those of every dtype, and the mode of its products."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from svitt.layers import _edge_bfloat16, _edge_chunked
from svitt.layers._edge_kernel import bfloat16_operands
from svitt.layers.edge_sparse_attention import edge_attention
from svitt.layers.edges import EdgePattern, EdgeSparsity, draw_edges
from svitt.layers.relative_position import table_rows

backends: Any = torch.backends
matmul = backends.mkldnn.matmul


def make_case(tokens: int = 60, padding: bool = False, dim: int = 32) -> tuple[list[Tensor], EdgePattern]:
    """q, k, v and the gradient of the output in bfloat16; blocks of 16, some rows of which hold none."""
    g = torch.Generator().manual_seed(0)
    pattern = draw_edges(EdgeSparsity(3, 1, 16, attend_padding=padding), tokens, g)
    return [torch.randn(2, 3, 1 + tokens, dim, generator=g).bfloat16() for _ in range(4)], pattern


@pytest.fixture
def settings() -> Iterator[None]:
    """Takes back what a test sets."""
    yield
    matmul.fp32_precision = backends.fp32_precision = "none"


@pytest.mark.parametrize("tokens", [1, 60, 64])
@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("scale", [1, 10])
def test_its_chunks_are_those_of_every_dtype_but_for_rounding(
    tokens: int, padding: bool, scale: float
) -> None:
    (q, k, v, grad), pattern = make_case(tokens, padding)
    q = q * scale
    args = (None, None, pattern.blocks, 16, 0, padding)
    out, sums = _edge_bfloat16.forward(q, k, v, *args)
    slow = _edge_chunked.forward(q, k, v, *args)
    grads = _edge_bfloat16.backward(grad, sums, q, k, v, pattern.blocks, 16, padding)[:3]
    slow_grads = _edge_chunked.backward(grad, q, k, v, *args)[:3]
    for a, b in zip((out, *grads), (slow, *slow_grads), strict=True):
        a, b = a[:, :, 1:].float(), b[:, :, 1:].float()
        assert float((a - b).norm()) <= 4e-3 * float(b.norm()) + 1e-6


def test_the_sums_are_minus_the_logarithms_of_the_sums_of_exponentials() -> None:
    (q, k, v, _), pattern = make_case()
    _, sums = _edge_bfloat16.forward(q, k, v, None, None, pattern.blocks, 16, 0, False)
    mask = pattern.mask(60)[1:].double().log()
    scores = q[:, :, 1:].double() @ k.double().transpose(-2, -1) * 32**-0.5 + mask
    assert torch.allclose(sums.double(), -scores.logsumexp(-1) / torch.tensor(2.0).log(), atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_the_operator_passes_pytorchs_own_checks(bias: bool) -> None:
    (q, k, v, _), pattern = make_case(8, dim=8)
    grid = (1, 2, 4)
    table = torch.randn(table_rows(grid), 3, requires_grad=True) if bias else None
    codes = torch.arange(8) if bias else None
    inputs = [x.requires_grad_() for x in (q, k, v)]
    args = (*inputs, table, codes, pattern.blocks, 16, 10, False)
    torch.library.opcheck(torch.ops.svitt.edge_attention.default, args)


def test_products_of_widened_operands_lose_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 64, 64, generator=g).bfloat16().float() for _ in "ab")
    with bfloat16_operands():
        made = torch.bmm(a, b)
    assert float((made - a.double() @ b.double()).abs().max()) < 1e-4


@pytest.mark.parametrize("mine", ["none", "ieee", "bf16"])
@pytest.mark.parametrize("all_backends", ["none", "ieee"])
def test_the_mode_is_taken_back(mine: str, all_backends: str, settings: None) -> None:
    backends.fp32_precision, matmul.fp32_precision = all_backends, mine
    before = matmul.fp32_precision
    (q, k, v, grad), pattern = make_case()
    q.requires_grad_()
    edge_attention(q, k, v, pattern, backend="chunked")[0].backward(grad)
    assert matmul.fp32_precision == before
    with pytest.raises(ZeroDivisionError), bfloat16_operands():
        assert matmul.fp32_precision == "bf16"
        _ = 1 / 0
    assert matmul.fp32_precision == before
    if mine == "none":
        backends.fp32_precision = "tf32"  # is followed as before
        assert matmul.fp32_precision == "tf32"


def test_threads_take_the_mode_back_too() -> None:
    (q, k, v, _), pattern = make_case(200)
    before = matmul.fp32_precision

    def run(_: int) -> Tensor:
        return edge_attention(q, k, v, pattern, backend="chunked")[0]

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(run, range(40)))
    assert matmul.fp32_precision == before
    assert all(torch.equal(x, made[0]) for x in made)
