"""Attention along any edges against the layers it stands in for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from svitt.errors import ConfigError
from svitt.layers.attention import SelfAttention
from svitt.layers.edges import EdgeSparsity, fixed_edges
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.masked_attention import edge_density, masked_parameters, with_masks
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig

CONFIG = VideoEncoderConfig(image_size=16, patch_size=4, num_frames=2, width=16, depth=2, num_heads=2)
TOKENS = 32


def encoder(**changes: object) -> VideoEncoder:
    made = VideoEncoder(replace(CONFIG, **changes), torch.Generator().manual_seed(3)).eval()  # type: ignore[arg-type]
    for parameter in made.parameters():  # so that no term is a zero of the initialisation
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    return made


def clips() -> torch.Tensor:
    return torch.randn(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("position", ["relative_3d", "absolute"])
def test_all_edges_are_dense_attention(position: str) -> None:
    dense = encoder(position=position)
    masked = with_masks(dense, [torch.ones(1 + TOKENS, 1 + TOKENS, dtype=torch.bool)] * 2)
    assert torch.allclose(masked(clips()).tokens, dense(clips()).tokens, atol=1e-5)


@pytest.mark.parametrize("position", ["relative_3d", "absolute"])
def test_block_edges_are_the_kernel_with_its_gradients_and_cls_row(position: str) -> None:
    edges = EdgeSparsity(1, 2, block_size=4, seed=1)
    sparse = encoder(position=position, edges=edges)
    masks = [fixed_edges(edges, layer, TOKENS).mask(TOKENS) for layer in range(2)]
    masked = with_masks(sparse, masks)
    out = [model(clips(), return_attention=True) for model in (sparse, masked)]
    assert torch.allclose(out[0].tokens, out[1].tokens, atol=1e-5)
    for ours, theirs in zip(out[0].attention, out[1].attention, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    for result in out:
        result.pooled.square().sum().backward()
    pairs = zip(sparse.named_parameters(), masked.parameters(), strict=True)
    for (name, p), q in pairs:
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None and q.grad is not None:
            assert torch.allclose(p.grad, q.grad, atol=1e-4), name


def test_a_token_without_an_edge_to_another_does_not_hear_of_it() -> None:
    alone = torch.eye(1 + TOKENS, dtype=torch.bool)
    alone[0] = True
    model = with_masks(encoder(), [alone, alone])
    other = clips()
    other[:, :, :, :4, :4] += 1.0  # the first patch of each frame
    before, after = model(clips()).tokens, model(other).tokens
    changed = (before - after).abs().amax(dim=(0, 2)) > 1e-6
    assert changed.nonzero().flatten().tolist() == [0, 1, 17]  # CLS and that patch in both frames


def test_the_copy_has_its_own_weights_and_knows_its_edges() -> None:
    dense = encoder()
    mask = torch.eye(1 + TOKENS, dtype=torch.bool)
    made = with_masks(dense, [mask, torch.ones_like(mask)])
    assert [
        bool((m == n).all())
        for m, n in zip(masked_parameters(made), [mask, torch.ones_like(mask)], strict=True)
    ]
    assert edge_density(masked_parameters(made)) == pytest.approx((1 / 33 + 1) / 2)
    assert made.state_dict().keys() == dense.state_dict().keys()
    next(made.parameters()).data.zero_()
    assert float(next(dense.parameters()).detach().abs().sum()) > 0


def test_what_is_no_graph_of_these_tokens_is_refused() -> None:
    full = torch.ones(1 + TOKENS, 1 + TOKENS, dtype=torch.bool)
    with pytest.raises(ConfigError, match="masks"):
        with_masks(encoder(), [full])
    with pytest.raises(ConfigError, match="row 3 without an edge"):
        with_masks(encoder(), [full, full & (torch.arange(1 + TOKENS) != 3)[:, None]])
    with pytest.raises(ConfigError, match="bool"):
        with_masks(encoder(), [full.float(), full])
    with pytest.raises(ConfigError, match="nodes"):
        with_masks(encoder(nodes=NodeSparsity(0.5, (0,))), [full, full])
    with pytest.raises(ConfigError, match="tokens"):
        with_masks(encoder(), [full, full])(clips()[:, :1])
    with pytest.raises(ConfigError, match="pattern"):
        attention = with_masks(encoder(), [full, full]).blocks[0].attn
        assert isinstance(attention, SelfAttention)
        attention(torch.zeros(1, 33, 16), pattern=fixed_edges(EdgeSparsity(1, 0, 4), 0, TOKENS))
