"""``selection = "merge"``: against a dense model in which merged patches are copies of one token.

With copies, plain attention is proportional attention (ToMe equation 1) and plain pooling weighs by size.
"""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import svitt
from svitt.errors import ConfigError
from tests.layers.test_token_merging import by_loops

LAYERS = (0, 1)


def dense(name: str, **changes: Any) -> Any:
    model: nn.Module = timm.create_model(
        name, depth=3, embed_dim=16, num_heads=2, img_size=64, patch_size=16, num_classes=5, **changes
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.25, generator=generator)
    return model.eval()


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def with_copies(
    model: Any, x: Tensor, rates: dict[int, int]
) -> tuple[Tensor, list[list[list[int]]], list[Tensor]]:
    """Tokens of all patches at the end, for every layer the first patches of the groups, and the states."""
    x = model.norm_pre(model._pos_embed(model.patch_embed(x)))
    prefix = model.num_prefix_tokens
    groups = [[[i] for i in range(x.shape[1] - prefix)] for _ in x]
    kept, states = [], []
    for number, block in enumerate(model.blocks):
        attention = block.attn
        k = attention.qkv(block.norm1(x)).chunk(3, dim=-1)[1].unflatten(-1, (attention.num_heads, -1))
        keys = attention.k_norm(k).mean(dim=2)[:, prefix:]
        x = block(x)
        states.append(x)
        if number in rates:
            rows = []
            for b in range(len(x)):
                firsts = [group[0] for group in groups[b]]
                pairs, left = by_loops(keys[b, firsts].detach(), len(firsts) - rates[number])
                for source, target in pairs:
                    groups[b][target] = groups[b][target] + groups[b][source]
                groups[b] = [groups[b][i] for i in left]
                row = x[b].clone()
                for group in groups[b]:
                    patches = [prefix + i for i in group]
                    row[patches] = x[b, patches].mean(dim=0)
                rows.append(row)
            x = torch.stack(rows)
            kept.append([[group[0] for group in groups[b]] for b in range(len(x))])
    return model.norm(x), kept, states


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "vit_base_patch16_siglip_224",  # attention pooling, no CLS
        "vit_base_patch16_siglip_gap_224",  # mean pooling
        "vit_base_patch14_reg4_dinov2",
    ],
)
def test_equals_the_model_with_copies(name: str) -> None:
    """Kept tokens, features of all patches, logits, gradients of the images, and whole maps."""
    model = dense(name)
    sparse = svitt.sparsify(model, 0.6, LAYERS, "merge")
    x, x_reference = images().requires_grad_(), images().requires_grad_()
    features, out = sparse.forward_features(x), sparse(x)
    expected, kept, states = with_copies(model, x_reference, {0: 10, 1: 6})
    assert [y.tolist() for y in sparse.token_pruning.kept] == kept
    assert torch.allclose(features, expected, atol=1e-4)
    logits = model.forward_head(expected)
    assert torch.allclose(out, logits, atol=1e-4)
    out.square().sum().backward()
    logits.square().sum().backward()
    assert x.grad is not None and x_reference.grad is not None
    assert torch.allclose(x.grad, x_reference.grad, rtol=1e-3, atol=1e-3 * float(x.grad.abs().max()))
    groups = sparse.token_pruning.groups
    assert groups.shape == (2, 16) and groups.max() == 5
    maps = sparse.forward_intermediates(images(), output_fmt="NLC", intermediates_only=True)
    for a, b in zip(maps, states, strict=True):
        assert torch.allclose(a, b[:, model.num_prefix_tokens :], atol=1e-4)


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "eva02_tiny_patch14_224"])
def test_a_merged_token_stands_where_the_token_stood_that_took_it_in(name: str) -> None:
    """Biases and rotary positions have no copies; all output is there and no patch weighs more than once."""
    changes = {"ref_feat_shape": None} if name.startswith("eva") else {}
    model = dense(name, **changes)
    sparse = svitt.sparsify(model, 0.5, LAYERS, "merge")
    features = sparse.forward_features(images())
    assert features.shape == (2, 17, 16)
    groups, kept = sparse.token_pruning.groups, sparse.token_pruning.kept[-1]
    for b in range(2):
        assert len(features[b, 1:].unique(dim=0)) == 4
        assert groups[b, kept[b]].tolist() == [0, 1, 2, 3]
        for i in range(16):
            assert torch.equal(features[b, 1 + i], features[b, 1 + kept[b, groups[b, i]]])


def test_rates_below_a_half_are_refused() -> None:
    model = dense("vit_tiny_patch16_224")
    with pytest.raises(ConfigError, match=r"keep_rate = 0.4 .*selection = 'merge'"):
        svitt.sparsify(model, 0.4, LAYERS, "merge")
    with pytest.raises(ConfigError, match="selection = 'merg' is unknown; did you mean 'merge'"):
        svitt.sparsify(model, 0.5, LAYERS, "merg")
