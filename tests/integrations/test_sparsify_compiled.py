"""Compiled equals eager: ``sparsify``, the video encoder and edge-sparse attention under torch.compile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import svitt
from svitt.layers.edge_sparse_attention import edge_attention
from svitt.layers.edges import EdgeSparsity, draw_edges
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def vit(depth: int = 3) -> nn.Module:
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", depth=depth, embed_dim=8, num_heads=2, img_size=64, num_classes=5, mlp_ratio=1
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return model.eval()


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(batch))


def sparse(selection: str, layers: tuple[int, ...] = (0, 1)) -> Any:
    return svitt.sparsify(vit(1 + len(layers)), 0.6, layers, selection)


def same(model: Any, compiled: Any, batch: int) -> None:
    """Values and kept tokens of one batch, twice: a second call runs what the first one compiled."""
    expected, kept = model(images(batch)), model.token_pruning.kept
    assert len(kept) > 0
    for _ in range(2):
        out = compiled(images(batch))
        assert torch.allclose(out, expected, atol=1e-5)
        assert [x.tolist() for x in compiled.token_pruning.kept] == [x.tolist() for x in kept]


def same_gradients(model: nn.Module, twin: nn.Module) -> None:
    """All of them, to a part in 10,000 of the largest: some are nothing but rounding."""
    found = 0
    largest = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        if a.grad is None:  # a compiled graph gives zeros to what it does not use
            assert b.grad is None or not bool(b.grad.any()), name
            continue
        assert b.grad is not None, name
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-4 * largest), name
        found += 1
    assert found > 20


@pytest.mark.parametrize(
    ("selection", "layers"),
    [("cls", (0, 1)), ("cls", (0, 1, 2)), ("lowest", (0, 1)), ("random", (0, 1, 2)), ("merge", (0, 1))],
)
def test_equal_for_two_batch_sizes(selection: str, layers: tuple[int, ...]) -> None:
    model = sparse(selection, layers)
    compiled: Any = torch.compile(sparse(selection, layers), backend="aot_eager")
    for batch in (2, 3):
        same(model, compiled, batch)


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["cls", "random", "merge"])
def test_equal_by_inductor(selection: str) -> None:
    model = sparse(selection)
    compiled: Any = torch.compile(sparse(selection))
    for batch in (2, 3):
        same(model, compiled, batch)


@pytest.mark.parametrize("compiled_first", [True, False])
def test_one_model_compiled_and_eager_in_either_order(compiled_first: bool) -> None:
    expected = sparse("cls")(images(2))
    model = sparse("cls")
    compiled: Any = torch.compile(model, backend="aot_eager")
    calls = [compiled, model, compiled] if compiled_first else [model, compiled, model]
    for call in calls:
        assert torch.allclose(call(images(2)), expected, atol=1e-5)
        assert [x.shape[1] for x in model.token_pruning.kept] == [10, 6]


def test_sparsified_in_place_behind_the_back_of_a_compiled_model() -> None:
    model = vit()
    compiled = torch.compile(model, backend="aot_eager")
    dense = compiled(images(2))
    assert torch.allclose(dense, vit()(images(2)), atol=1e-5)
    svitt.sparsify(model, 0.6, (0, 1), inplace=True)
    assert torch.allclose(compiled(images(2)), sparse("cls")(images(2)), atol=1e-5)
    svitt.unsparsify(model)
    assert torch.allclose(compiled(images(2)), dense, atol=1e-5)


@pytest.mark.parametrize("selection", ["cls", "merge"])
def test_one_graph_unless_it_draws(selection: str) -> None:
    model = sparse(selection)
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(images(2)), model(images(2)), atol=1e-5)


@pytest.mark.parametrize("selection", ["cls", "merge"])
def test_a_graph_break_in_any_block_changes_nothing(selection: str) -> None:
    """No state of the pruning is lost or stale where the graph breaks, inside and outside of attention."""
    model = sparse(selection)
    broken = copy.deepcopy(model)
    for block in broken.blocks:
        block.mlp.register_forward_hook(lambda *_: torch._dynamo.graph_break())
        block.attn.register_forward_hook(lambda *_: torch._dynamo.graph_break())
        block.register_forward_pre_hook(lambda *_: torch._dynamo.graph_break())
    compiled: Any = torch.compile(broken, backend="aot_eager")
    for batch in (2, 3):
        same(model, compiled, batch)


@pytest.mark.parametrize(
    ("selection", "checkpointing"), [("cls", False), ("cls", True), ("random", False), ("merge", True)]
)
def test_equal_in_training(selection: str, checkpointing: bool) -> None:
    model = sparse(selection).train()
    twin = copy.deepcopy(model)
    twin.set_grad_checkpointing(checkpointing)
    compiled: Any = torch.compile(twin, backend="aot_eager")
    for batch in (2, 3):
        model.zero_grad()
        twin.zero_grad()
        expected, out = model(images(batch)), compiled(images(batch))
        assert torch.allclose(out, expected, atol=1e-5)
        expected.square().sum().backward()
        out.square().sum().backward()
        same_gradients(model, twin)


@pytest.mark.parametrize(
    ("selection", "layers", "backend"),
    [
        ("cls", (0, 1, 2), "aot_eager"),
        ("lowest", (0, 1), "aot_eager"),
        ("random", (0, 1), "aot_eager"),
        pytest.param("cls", (0,), "inductor", marks=pytest.mark.slow),
    ],
)
def test_the_video_encoder(selection: str, layers: tuple[int, ...], backend: str) -> None:
    """Kept tokens, values and gradients, for two batch sizes."""
    nodes = NodeSparsity(0.6, layers, selection)
    config = VideoEncoderConfig(16, 4, 2, 8, 1 + len(layers), 2, nodes=nodes, init_std=0.2)
    model = VideoEncoder(config).eval()
    twin = copy.deepcopy(model)
    compiled: Any = torch.compile(twin, backend=backend)
    for batch in (2, 3):
        clips = torch.randn(batch, 2, 3, 16, 16, generator=torch.Generator().manual_seed(batch))
        expected, out = model(clips), compiled(clips)
        assert torch.allclose(out.pooled, expected.pooled, atol=1e-4)
        assert [x.tolist() for x in out.kept] == [x.tolist() for x in expected.kept]
        for part, made in ((model, expected), (twin, out)):
            part.zero_grad()
            made.pooled.square().sum().backward()
        same_gradients(model, twin)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_edge_sparse_attention(backend: str) -> None:
    """Values and gradients, for two batch sizes."""
    edges = EdgeSparsity(num_local_blocks=1, num_random_blocks=1, block_size=4)
    pattern = draw_edges(edges, 16, torch.Generator().manual_seed(0))

    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, row = edge_attention(2 * q, k, v, pattern)
        return out.square().sum() + row.square().sum()

    compiled = torch.compile(loss, backend=backend)
    for batch in (2, 3):
        inputs = torch.randn(3, batch, 2, 17, 8, generator=torch.Generator().manual_seed(batch))
        eager_inputs = [x.clone().requires_grad_() for x in inputs]
        made_inputs = [x.clone().requires_grad_() for x in inputs]
        expected, out = loss(*eager_inputs), compiled(*made_inputs)
        assert torch.allclose(out, expected, rtol=1e-5)
        expected.backward()
        out.backward()
        for a, b in zip(eager_inputs, made_inputs, strict=True):
            assert a.grad is not None and b.grad is not None
            assert torch.allclose(a.grad, b.grad, atol=1e-4)
