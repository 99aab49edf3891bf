"""The fast kernel against the masked-dense oracle: values and all gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svitt.errors import ConfigError
from svitt.layers import _edge_kernel as edge_chunks
from svitt.layers import edge_crossover
from svitt.layers.edge_sparse_attention import Backend, edge_attention
from svitt.layers.edges import EdgePattern, draw_blocks, full_edges, num_blocks
from svitt.layers.relative_position import RelativePosition, code_offset, position_codes, table_rows


def make_case(
    grid: tuple[int, int, int] = (2, 3, 4),
    batch: int = 2,
    heads: int = 2,
    dim: int = 4,
    block_size: int = 5,
    window: int = 3,
    num_random: int = 1,
    drop: int = 0,
    padding: bool = False,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> tuple[list[Tensor], EdgePattern, RelativePosition | None]:
    """q, k, v (and the bias table) with gradients; ``drop`` tokens pruned, others in every sample."""
    g = torch.Generator().manual_seed(seed)
    codes = position_codes(grid)
    kept = len(codes) - drop
    if drop:
        codes = torch.stack(
            [codes[torch.randperm(len(codes), generator=g)[:kept].sort().values] for _ in range(batch)]
        )
    pattern = EdgePattern(
        draw_blocks(num_blocks(kept, block_size), window, num_random, g), block_size, padding
    )
    tensors = [torch.randn(batch, heads, 1 + kept, dim, generator=g, dtype=dtype) for _ in "qkv"]
    if bias:
        tensors.append(torch.randn(table_rows(grid), heads, generator=g, dtype=dtype))
    for tensor in tensors:
        tensor.requires_grad_()
    return tensors, pattern, RelativePosition(tensors[3], codes, code_offset(grid)) if bias else None


def run(case: tuple[list[Tensor], EdgePattern, RelativePosition | None], backend: Backend) -> list[Tensor]:
    """Output, CLS row, and the gradients of a random function of both, the same in every dtype."""
    tensors, pattern, position = case
    out, row = edge_attention(*tensors[:3], pattern, position, backend=backend)
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=g).bfloat16().to(x.dtype) for x in (out, row)]
    loss = sum((x * w).sum() for x, w in zip((out, row), weights, strict=True))
    assert isinstance(loss, Tensor)
    return [out, row, *torch.autograd.grad(loss, tensors)]


def largest_difference(case: Any, backends: tuple[Backend, ...] = ("chunked", "masked")) -> float:
    oracle = run(case, "oracle")
    pairs = [pair for backend in backends for pair in zip(run(case, backend), oracle, strict=True)]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    dim=st.sampled_from([1, 4, 8]),
    block_size=st.integers(1, 9),
    window=st.sampled_from([0, 1, 3, 5]),
    num_random=st.integers(0, 4),
    share=st.floats(0, 0.7),
    padding=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_equals_the_oracle_in_values_and_gradients(
    share: float, grid: tuple[int, int, int], **sizes: Any
) -> None:
    drop = int(share * grid[0] * grid[1] * grid[2])
    assert largest_difference(make_case(grid, drop=drop, **sizes)) < 1e-9


@settings(max_examples=15, deadline=None)
@given(
    window=st.sampled_from([1, 3, 5]),
    drop=st.integers(0, 10),
    padding=st.booleans(),
    seed=st.integers(0, 999),
)
def test_equals_the_oracle_in_float32(**sizes: Any) -> None:
    assert largest_difference(make_case(dim=16, dtype=torch.float32, **sizes)) < 1e-5


@pytest.mark.parametrize("group", [1, 210, 500, 2000])
@pytest.mark.parametrize("chunk", [1, 60, 1000])
@pytest.mark.parametrize("padding", [False, True])
def test_the_cut_in_pieces_changes_nothing(
    group: int, chunk: int, padding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_chunks, "CPU_GROUP", group)
    monkeypatch.setattr(edge_chunks, "CPU_CHUNK", chunk)
    for drop in (0, 3):
        assert largest_difference(make_case(batch=5, heads=4, drop=drop, padding=padding)) < 1e-9


def test_gradients_by_finite_differences() -> None:
    tensors, pattern, position = make_case((1, 2, 3), batch=1, block_size=2, window=1)
    assert position is not None

    def function(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        return edge_attention(q, k, v, pattern, RelativePosition(table, position.codes, position.offset))

    assert torch.autograd.gradcheck(function, tensors)


def test_a_block_named_twice_is_counted_twice_as_in_the_release() -> None:
    tensors, _, position = make_case()
    twice = EdgePattern(torch.tensor([[0, 0], [1, 3], [2, 2], [3, 0], [4, 1]]), 5)
    assert largest_difference((tensors, twice, position)) < 1e-9


@pytest.mark.parametrize("tokens", [(1, 1, 1), (2, 3, 4), (4, 4, 4)])
def test_the_full_pattern_is_scaled_dot_product_attention(tokens: tuple[int, int, int]) -> None:
    (q, k, v, _), _, position = make_case(tokens, dim=8)
    assert position is not None
    count = q.shape[2] - 1
    for bias, attention in ((position, position.dense()), (None, None)):
        out, row = edge_attention(q, k, v, full_edges(count, 5), bias)
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=attention)
        assert float((out - expected).detach().abs().max()) < 1e-12
        assert torch.allclose(row.sum(-1), torch.ones_like(row[..., 0]))


def test_tokens_outside_the_pattern_have_no_influence() -> None:
    (q, k, v), pattern, _ = make_case((1, 1, 12), bias=False, block_size=4, window=1, num_random=0)
    out, _ = edge_attention(q, k, v, pattern)
    with torch.no_grad():
        v[:, :, 9:] += 5  # the third block
        k[:, :, 9:] -= 5
    changed = (edge_attention(q, k, v, pattern)[0] - out).abs().amax(dim=(0, 1, 3)) > 1e-6
    assert changed.tolist() == [True] + [False] * 8 + [True] * 4


@pytest.mark.parametrize("tokens", [1, 7, 97, 20_000])
def test_any_number_of_tokens(tokens: int) -> None:
    (q, k, v, table), pattern, position = make_case(
        (1, 1, tokens), batch=1, heads=1, dim=8, block_size=56, dtype=torch.float32
    )
    out, row = edge_attention(q, k, v, pattern, position)
    out.square().sum().backward()
    grads = [x.grad for x in (q, k, v, table)]
    assert all(x is not None and bool(torch.isfinite(x).all()) for x in (out, row, *grads))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 4e-2)])
def test_half_precision_stays_in_its_dtype_and_near_float32(dtype: torch.dtype, tolerance: float) -> None:
    tensors, pattern, position = make_case((2, 4, 4), dim=16, dtype=torch.float32, block_size=6)
    exact = run((tensors, pattern, position), "oracle")
    assert position is not None
    halves = [x.detach().to(dtype).requires_grad_() for x in tensors[:3]] + [tensors[3]]
    made = run((halves, pattern, position), "chunked")
    assert [x.dtype for x in made] == [dtype, torch.float32, dtype, dtype, dtype, torch.float32]
    for a, b in zip(made, exact, strict=True):
        assert float((a.float() - b).detach().abs().max()) < tolerance * max(
            1.0, float(b.detach().abs().max())
        )


def sdpa(q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: Any) -> Tensor:
    """PyTorch's attention under a float32 mask; attended zero keys are one more key at the end."""
    n = q.shape[2]
    mask = pattern.counts(n - 1).float().log()
    mask = mask if position is None else mask + position.dense()
    if pattern.attend_padding:
        count = F.pad(pattern.key_rows(n - 1)[2].sum(1)[torch.arange(n - 1) // pattern.block_size], (1, 0))
        to_cls = 0 if position is None else position.table[-2][:, None, None]
        column = (count.float().log()[:, None] + to_cls).expand(*mask.shape[:-1], 1)
        mask, k, v = torch.cat([mask, column], dim=-1), F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@pytest.mark.parametrize("backend", ["chunked", "masked"])
@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [1, 3, 10])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_errs_no_more_than_pytorchs_attention(
    dtype: torch.dtype, scale: float, bias: bool, padding: bool, backend: Backend
) -> None:
    made, pattern, position = make_case(
        (3, 8, 8), dim=64, block_size=20, drop=7, bias=bias, padding=padding, dtype=torch.float32
    )
    halves = [(scale * x.detach()).to(dtype) for x in made[:3]] + [x.detach() for x in made[3:]]
    upstream = torch.randn(halves[0].shape, generator=torch.Generator().manual_seed(2)).to(dtype)

    def results(attention: Any, kind: torch.dtype | None = None) -> list[Tensor]:
        inputs = [x.to(x.dtype if kind is None else kind).requires_grad_() for x in map(torch.clone, halves)]
        there = None if position is None else RelativePosition(inputs[3], position.codes, position.offset)
        out, row = attention(*inputs[:3], pattern, there)
        return [x.detach() for x in (out, *torch.autograd.grad(out, inputs, upstream.to(out.dtype)), row)]

    def errors(made: list[Tensor]) -> list[float]:
        return [float((a - b).norm() / b.norm()) for a, b in zip(made, exact, strict=True)]

    exact = results(lambda *x: edge_attention(*x, backend="oracle"), torch.float64)
    *ours, row = errors(results(lambda *x: edge_attention(*x, backend=backend)))
    theirs = results(lambda *x: (sdpa(*x), exact[-1]))
    bias_alone = None if position is None else replace(position, table=halves[3])
    theirs[0] = sdpa(*halves[:3], pattern, bias_alone)  # without gradients the fused kernel does it
    assert row < 1e-5  # of CLS, which ranks tokens: in float32
    # 1e-6: the gradient of the table is in float32 in both.
    assert all(a <= 1.3 * b + 1e-6 for a, b in zip(ours, errors(theirs), strict=False)), (
        ours,
        errors(theirs),
    )


def test_autocast_leaves_float32_inputs_exact() -> None:
    tensors, pattern, position = make_case(dtype=torch.float32)
    plain = run((tensors, pattern, position), "chunked")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run((tensors, pattern, position), "chunked")
    assert all(torch.equal(a, b) for a, b in zip(plain, inside, strict=True))


def test_the_operator_passes_pytorchs_own_checks() -> None:
    tensors, pattern, position = make_case((1, 2, 3), batch=1, block_size=2, window=1)
    assert position is not None
    q, k, v, table = tensors
    args = (q, k, v, table, position.codes, pattern.blocks, pattern.block_size, position.offset, False)
    torch.library.opcheck(torch.ops.svitt.edge_attention.default, args)


@pytest.mark.parametrize("backend", ["masked", "chunked"])
def test_auto_takes_the_cheaper_way(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(dtype=torch.float32)
    free, dear = ((price,) + (0.0,) * 7 for price in (0.0, 1.0))
    prices = (free, (*dear, 0.0, 0.0)) if backend == "masked" else (dear, (*free, 0.0, 0.0))
    monkeypatch.setattr(edge_crossover, "COSTS", {("cpu", torch.float32, True, True): prices})
    assert all(torch.equal(a, b) for a, b in zip(run(case, "auto"), run(case, backend), strict=True))


def test_an_unknown_backend_is_refused() -> None:
    (q, k, v, _), pattern, position = make_case()
    with pytest.raises(ConfigError, match=r"backend = 'chunkd' .*did you mean 'chunked'"):
        edge_attention(q, k, v, pattern, position, backend="chunkd")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_the_oracle() -> None:
    tensors, pattern, position = make_case((4, 6, 6), dim=16, block_size=8, drop=7)
    assert position is not None
    moved = [x.detach().cuda().requires_grad_() for x in tensors]
    there = RelativePosition(moved[3], position.codes.cuda(), position.offset)
    for a, b in zip(
        run((moved, pattern, there), "auto"), run((tensors, pattern, position), "oracle"), strict=True
    ):
        assert float((a.cpu() - b).detach().abs().max()) < 1e-9
