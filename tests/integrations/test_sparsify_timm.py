"""``svitt.sparsify`` over vision transformers of timm, against the dense model with dropped tokens masked.

The reference keeps all tokens to the end and hides dropped ones from attention; it reads the rows that score
them off the unfused softmax. It knows nothing of how sparsify works.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import svitt
from svitt.errors import ConfigError
from svitt.layers.token_pruning import num_kept

SMALL = {"embed_dim": 16, "num_heads": 2, "depth": 3, "img_size": 64, "patch_size": 16, "num_classes": 5}
LAYERS = (0, 1)

# What each is there for.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {},
    "vit_base_patch16_clip_quickgelu_224": {},  # norm before the blocks
    "vit_base_patch16_siglip_224": {},  # no CLS, attention pooling
    "vit_base_patch16_siglip_gap_224": {},  # no CLS, mean pooling
    "vit_so150m_patch16_reg4_map_256": {},  # registers and attention pooling
    "vit_base_patch16_reg4_gap_256": {},  # registers, no CLS
    "vit_base_patch14_reg4_dinov2": {},  # CLS and registers
    "vit_intern300m_patch14_448": {},
    "vit_base_patch16_rpn_224": {},  # norm behind attention
    "vit_base_patch16_xp_224": {},  # parallel attention and MLP
    "vit_small_patch16_36x1_224": {},
    "vit_dpwee_patch16_reg1_gap_256": {"class_token": True, "global_pool": "token"},  # differential attention
    "vit_small_patch16_18x2_224": {},  # two attentions a block
    "flexivit_small": {},
    "deit_tiny_distilled_patch16_224": {},
    "deit3_small_patch16_224": {},
    "beit_base_patch16_224": {},
    "beitv2_base_patch16_224": {"use_shared_rel_pos_bias": True},
    "eva02_tiny_patch14_224": {"ref_feat_shape": None},
    "eva02_base_patch16_clip_224": {"ref_feat_shape": None},
    "vit_small_patch16_dinov3": {},
    "vit_small_plus_patch16_dinov3": {},
    "vit_base_patch16_rope_mixed_224": {},  # positions per layer and head
    "vit_base_patch16_rope_reg1_gap_256": {},
    "vit_pe_core_tiny_patch16_384": {},
    "vit_pe_spatial_tiny_patch16_512": {},
    "vit_base_patch16_sapiens2": {"num_kv_heads": 1},  # grouped queries
    "vit_small_patch16_lingbot": {},
    "eva_giant_patch14_224": {},
    "vit_relpos_base_patch16_224": {},
    "naflexvit_base_patch16_gap": {},
    "samvit_base_patch16_224": {},
    "cait_xxs24_224": {},
    "swin_tiny_patch4_window7_224": {},
}
# Refused by their class; by selection "cls"; by a block with more than one attention.
OTHER = {
    "vit_relpos_base_patch16_224",
    "naflexvit_base_patch16_gap",
    "samvit_base_patch16_224",
    "cait_xxs24_224",
    "swin_tiny_patch4_window7_224",
}
NO_CLS = {
    "vit_base_patch16_rpn_224",
    "vit_base_patch16_siglip_gap_224",
    "vit_base_patch16_reg4_gap_256",
    "vit_base_patch16_rope_reg1_gap_256",
}
TWO = {"vit_dpwee_patch16_reg1_gap_256", "vit_small_patch16_18x2_224"}
POOLED = {"vit_base_patch16_siglip_224", "vit_so150m_patch16_reg4_map_256"}
KNOWN = [name for name in ARCHITECTURES if name not in OTHER]
SCORED = [name for name in KNOWN if name not in NO_CLS | TWO]


def dense(name: str) -> Any:
    model: nn.Module = timm.create_model(name, **SMALL, **ARCHITECTURES[name])
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.25, generator=generator)
    return model.eval()


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))


class Reference:
    """A dense copy with unfused attention; dropped tokens get minus infinity as keys."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model)
        self.prefix = model.num_prefix_tokens
        self.beit = type(model).__name__ == "Beit"
        self.rows: list[Tensor] = []
        for part in self.model.modules():
            if hasattr(part, "fused_attn"):
                part.fused_attn = False
            if hasattr(part, "attn_drop"):
                part.attn_drop.register_forward_hook(lambda _, args, out: self.rows.append(args[0]))

    def embedded(self, x: Tensor) -> tuple[Tensor, Any]:
        model = self.model
        if self.beit:
            x = model.patch_embed(x)
            x = torch.cat([model.cls_token.expand(len(x), -1, -1), x], dim=1)
            x = x if model.pos_embed is None else x + model.pos_embed
            return x, None if model.rel_pos_bias is None else model.rel_pos_bias()
        if hasattr(model, "rope"):
            x, rope = model._pos_embed(model.patch_embed(x))
            return model.norm_pre(x), rope
        return model.norm_pre(model._pos_embed(model.patch_embed(x))), None

    def block(self, number: int, x: Tensor, side: Any, mask: Tensor) -> Tensor:
        block = self.model.blocks[number]
        if self.beit:
            out: Tensor = block(x, shared_rel_pos_bias=mask if side is None else mask + side)
        elif hasattr(self.model, "rope"):
            rope = side[number] if getattr(self.model, "rope_mixed", False) else side
            out = block(x, rope=rope, attn_mask=mask)
        else:
            out = block(x, attn_mask=mask)
        return out

    def states(self, x: Tensor, choose: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """After every block all tokens, and which patches are alive in it: (B, P+N, D), (B, N)."""
        x, side = self.embedded(x)
        alive = torch.ones(len(x), x.shape[1] - self.prefix, dtype=torch.bool)
        for number in range(len(self.model.blocks)):
            everyone = torch.cat([torch.ones(len(x), self.prefix, dtype=torch.bool), alive], dim=1)
            mask = torch.zeros(len(x), 1, 1, x.shape[1]).masked_fill(~everyone[:, None, None], float("-inf"))
            self.rows = []
            before = x
            x = self.block(number, x, side, mask.expand(-1, -1, x.shape[1], -1))
            # What is dropped stays as it was, as "the features that it had last".
            x = torch.where(everyone[:, :, None], x, before)
            yield x, alive
            if number in LAYERS:
                alive = choose(number, x, alive)

    def by_attention(self, number: int, x: Tensor, alive: Tensor) -> Tensor:
        """Half of those alive, by the CLS row of the softmax or by the pooling head."""
        if self.model.cls_token is not None:
            scores = self.rows[0][:, :, 0, self.prefix :].mean(dim=1)
        else:
            pool = self.model.attn_pool
            patches = self.model.norm(x)[:, self.prefix :]
            heads = pool.num_heads
            q = pool.q(pool.latent)[0, 0].view(heads, -1)
            k = pool.kv(patches)[..., : pool.kv.out_features // 2].unflatten(-1, (heads, -1))
            scores = torch.einsum("hd,bnhd->bhn", q, k) * q.shape[1] ** -0.5
            scores = scores.masked_fill(~alive[:, None], float("-inf")).softmax(-1).mean(dim=1)
        scores = scores.masked_fill(~alive, -1)
        best = scores.topk(num_kept(int(alive[0].sum()), 0.5)).indices
        return torch.zeros_like(alive).scatter(1, best, True)


def alive_to_numbers(alive: Tensor) -> Tensor:
    return alive.nonzero()[:, 1].view(len(alive), -1)


@pytest.mark.parametrize("name", KNOWN)
def test_rate_1_is_the_model(name: str) -> None:
    model = dense(name)
    selection = "random" if name in NO_CLS else "cls"
    assert torch.equal(svitt.sparsify(model, 1.0, LAYERS, selection)(images()), model(images()))


@pytest.mark.parametrize("name", SCORED)
def test_half_the_tokens_equals_the_masked_model(name: str) -> None:
    """Kept tokens, features, logits, the gradient of the images, and whole maps of every layer."""
    model = dense(name)
    reference = Reference(model)
    sparse = svitt.sparsify(model, 0.5, LAYERS)
    x, x_reference = images().requires_grad_(), images().requires_grad_()
    states = list(reference.states(x_reference, reference.by_attention))
    tokens, out = sparse.forward_features(x), sparse(x)
    kept = sparse.token_pruning.kept
    assert [y.shape for y in kept] == [(2, 8), (2, 4)]
    assert [y.tolist() for y in kept] == [alive_to_numbers(states[i][1]).tolist() for i in (1, 2)]

    last, alive = states[-1]
    numbers = torch.cat(
        [torch.arange(reference.prefix).expand(2, -1), alive_to_numbers(alive) + reference.prefix], dim=1
    )
    expected = model.norm(last.gather(1, numbers[:, :, None].expand(-1, -1, last.shape[2])))
    assert torch.allclose(tokens, expected, atol=1e-4)
    logits = model.forward_head(expected)
    assert torch.allclose(out, logits, atol=1e-4)
    out.square().sum().backward()
    logits.square().sum().backward()
    assert x.grad is not None and x_reference.grad is not None
    assert torch.allclose(x.grad, x_reference.grad, rtol=1e-3, atol=1e-3 * float(x.grad.abs().max()))

    final, maps = sparse.forward_intermediates(images())
    assert torch.allclose(final, expected, atol=1e-4)
    for i, (whole, _) in enumerate(states):
        as_map = whole[:, reference.prefix :].transpose(1, 2).unflatten(2, (4, 4))
        assert torch.allclose(maps[i], as_map, atol=1e-4), i


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in SCORED])
def test_random_tokens_equal_the_masked_model_where_attention_does_not_score(name: str) -> None:
    model = dense(name)
    needs = "2 times" if name in TWO else r"needs a CLS token or attention pooling.*random"
    with pytest.raises(ConfigError, match=needs):
        # A model without CLS is refused at once, one with two attentions in a block when they run.
        svitt.sparsify(model, 0.5, LAYERS)(images())
    sparse = svitt.sparsify(model, 0.5, LAYERS, "random")
    tokens = sparse.forward_features(images())
    kept = sparse.token_pruning.kept
    assert [y.shape for y in kept] == [(2, 8), (2, 4)]
    reference = Reference(model)

    def choose(number: int, x: Tensor, alive: Tensor) -> Tensor:
        return torch.zeros_like(alive).scatter(1, kept[number], True)

    last, _ = list(reference.states(images(), choose))[-1]
    patches = last[:, reference.prefix :].gather(1, kept[-1][:, :, None].expand(-1, -1, last.shape[2]))
    expected = model.norm(torch.cat([last[:, : reference.prefix], patches], dim=1))
    assert torch.allclose(tokens, expected, atol=1e-4)


@pytest.mark.parametrize("name", sorted(OTHER))
def test_other_architectures_are_refused_by_name(name: str) -> None:
    model = timm.create_model(name)
    with pytest.raises(ConfigError, match=f"cannot sparsify {type(model).__name__}; supported are"):
        svitt.sparsify(model, 0.5, LAYERS)
