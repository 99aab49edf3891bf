"""What the operator does on a device: no value comes back to the host and nothing is copied there, so that no
layer waits and a CUDA graph can hold it. Shown on fake CUDA tensors, which have shapes and no values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from svitt.layers import _edge_kernel, edge_sparse_attention
from svitt.layers.edge_sparse_attention import Backend, edge_attention
from svitt.layers.edges import EdgePattern, EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from tests.layers.test_edge_sparse_attention import make_case, run


class NoHost(TorchDispatchMode):
    """Refuses what needs a value on the host, has a shape that depends on values, or crosses devices."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        assert not any(f"aten::{x}" in name for x in self.NAMES), name
        assert name != "aten::repeat_interleave.Tensor", name
        out = func(*args, **(kwargs or {}))
        devices = {
            x.device.type for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor) and x.dim()
        }
        assert len(devices) <= 1, (name, devices)
        return out


def fake_case(mode: FakeTensorMode, **sizes: Any) -> tuple[Any, ...]:
    """The arguments of the operator as fake CUDA tensors."""
    tensors, pattern, position = make_case(**sizes)
    bias = (None, None) if position is None else (position.table, position.codes)
    offset = 0 if position is None else position.offset
    with mode:
        q, k, v, table, codes, blocks = (
            None if x is None else torch.empty(x.shape, dtype=x.dtype, device="cuda")
            for x in (*tensors[:3], *bias, pattern.blocks)
        )
    return q, k, v, table, codes, blocks, pattern.block_size, offset, pattern.attend_padding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("chunk", [60, _edge_kernel.CUDA_CHUNK])
def test_nothing_on_a_device_needs_the_host(
    dtype: torch.dtype, bias: bool, padding: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_edge_kernel, "CUDA_CHUNK", chunk)
    monkeypatch.setattr(edge_sparse_attention, "is_fused", lambda q, size: False)
    mode = FakeTensorMode()
    args = fake_case(mode, dtype=dtype, bias=bias, padding=padding, drop=3)
    with mode, NoHost():
        out, row, lse = edge_sparse_attention._edge_attention._init_fn(*args)
        grads = edge_sparse_attention._edge_attention_backward._init_fn(out, row, None, lse, *args)
    assert [x.dtype for x in (out, row)] == [dtype, torch.float32]
    assert [x.device.type for x in grads] == ["cuda"] * 4
    assert grads[0].shape == grads[1].shape == grads[2].shape == out.shape


class Launch:
    """Stands for a kernel: takes every launch, as on a device that is asked and not waited for."""

    def __getitem__(self, grid: tuple[int, int]) -> Any:
        return lambda *args, **kwargs: None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_nor_does_anything_around_the_fused_kernels(
    dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from svitt.layers import _edge_triton

    for name in ("forward_kernel", "query_gradient_kernel", "key_gradient_kernel"):
        monkeypatch.setattr(_edge_triton, name, Launch())
    mode = FakeTensorMode()
    args = fake_case(mode, dtype=dtype, bias=bias, drop=3)
    with mode, NoHost():
        out, row, lse = edge_sparse_attention._edge_attention._init_fn(*args)
        assert lse.shape == row[:, :, 1:].shape
        grads = edge_sparse_attention._edge_attention_backward._init_fn(out, row, out, lse, *args)
    assert [x.device.type for x in grads] == ["cuda"] * 4
    assert grads[3].shape == (args[3].shape if bias else (0,))


def test_the_refusal_refuses() -> None:
    with FakeTensorMode():
        x = torch.ones(3, device="cuda")
        for what in (lambda: x.nonzero(), lambda: x.sum().item(), lambda: x.cpu(), lambda: x.tolist()):
            with pytest.raises(AssertionError), NoHost():
                what()


@pytest.mark.parametrize("padding", [False, True])
def test_the_device_plan_computes_the_same(padding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch for devices, on the CPU: masks that are applied unseen change nothing."""
    case = make_case(batch=3, heads=2, drop=3, padding=padding)
    monkeypatch.setattr(_edge_kernel, "looks_at_values", lambda device: False)
    for chunk in (60, 10**6):
        monkeypatch.setattr(_edge_kernel, "CUDA_CHUNK", chunk)
        for a, b in zip(run(case, "chunked"), run(case, "oracle"), strict=True):
            assert float((a - b).detach().abs().max()) < 1e-9


def test_a_pattern_goes_to_a_device_once() -> None:
    (q, k, v, _), pattern, _ = make_case()
    edge_attention(q, k, v, pattern, backend="masked")
    first = pattern.log_counts(q.shape[2] - 1, q.device, q.dtype)
    edge_attention(q, k, v, pattern, backend="masked")
    assert pattern.log_counts(q.shape[2] - 1, q.device, q.dtype) is first
    assert pattern.on(torch.device("meta")) is pattern.on(torch.device("meta"))


def test_an_encoder_that_knows_the_length_asks_the_host_for_nothing() -> None:
    edges = EdgeSparsity(block_size=4, num_random_blocks=1, neighbourhood=(1, 2, 2))
    nodes = NodeSparsity(0.5, (0, 1))
    config = VideoEncoderConfig(32, 8, 2, 16, 3, 2, edges=edges, nodes=nodes)
    encoder, clips = VideoEncoder(config).eval(), torch.randn(2, 2, 3, 32, 32)
    first = encoder(clips).pooled
    patterns = encoder._patterns(32, None)
    with NoHost():
        second = encoder(clips).pooled
    assert torch.equal(first, second)
    assert all(a is b for a, b in zip(patterns, encoder._patterns(32, None), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["chunked", "auto"])
@pytest.mark.parametrize("bias", [False, True])
def test_compiled_equals_eager_in_values_and_gradients(backend: Backend, bias: bool) -> None:
    """By inductor, without a break in the graph; the second length is compiled for any length."""

    def function(
        q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: Any
    ) -> tuple[Tensor, Tensor]:
        out, row = edge_attention(2 * q, k, v, pattern, position, backend=backend)
        return out.sin(), row

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True)
    for grid in ((2, 3, 4), (3, 4, 5)):
        tensors, pattern, position = make_case(grid, dim=16, dtype=torch.float32, bias=bias)
        results = []
        for attention in (function, compiled):
            out, row = attention(*tensors[:3], pattern, position)
            loss = out.square().sum() + (row * torch.arange(row.shape[-1])).sum()
            results.append([out, row, *torch.autograd.grad(loss, tensors)])
        for a, b in zip(*results, strict=True):
            assert float((a - b).detach().abs().max()) <= 1e-5 * float(b.detach().abs().max())
