"""Ways into a sparsified timm model other than ``forward``, its masks, checkpointing, and its cost."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import svitt
from svitt.errors import ConfigError

NAMES = ["vit_tiny_patch16_224", "beit_base_patch16_224", "vit_small_patch16_dinov3"]
LAYERS = (0, 1)
WIDTH, HEADS, TOKENS = 16, 2, 16


def dense(name: str = NAMES[0], **changes: Any) -> Any:
    model: nn.Module = timm.create_model(
        name, depth=3, embed_dim=WIDTH, num_heads=HEADS, img_size=64, patch_size=16, num_classes=5, **changes
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.25, generator=generator)
    return model.eval()


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_at_rate_1_every_entry_point_is_the_model(name: str) -> None:
    model = dense(name)
    sparse = svitt.sparsify(model, 1.0, LAYERS)
    options = {"indices": [0, 2], "norm": True, "return_prefix_tokens": True}
    final, pairs = sparse.forward_intermediates(images(), **options)
    expected, expected_pairs = model.forward_intermediates(images(), **options)
    assert torch.equal(final, expected)
    for (a, b), (c, d) in zip(pairs, expected_pairs, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)
    flat = sparse.forward_intermediates(images(), 2, output_fmt="NLC", intermediates_only=True)
    for a, b in zip(
        flat, model.forward_intermediates(images(), 2, output_fmt="NLC", intermediates_only=True), strict=True
    ):
        assert torch.equal(a, b)


def test_intermediate_layers_and_the_dictionary_of_a_vit() -> None:
    for rate in (1.0, 0.5):
        sparse = svitt.sparsify(dense(), rate, LAYERS)
        maps = sparse.get_intermediate_layers(images(), n=3, reshape=True, norm=True)
        assert [x.shape for x in maps] == [(2, WIDTH, 4, 4)] * 3
        made = sparse.forward_intermediates(images(), norm=True, output_dict=True, return_prefix_tokens=True)
        assert sorted(made) == ["image_features", "image_intermediates", "image_intermediates_prefix"]
        assert torch.equal(made["image_features"], sparse.forward_features(images()))
        for a, b in zip(maps, made["image_intermediates"], strict=True):
            assert torch.equal(a, b)
        if rate == 1:
            expected = dense().get_intermediate_layers(images(), n=3, reshape=True, norm=True)
            assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    # Behind the last pruning layer a patch that is gone keeps its features, one that is left does not.
    kept = sparse.token_pruning.kept[-1]
    flat = sparse.get_intermediate_layers(images(), n=2)
    same = (flat[0] == flat[1]).all(dim=-1)
    assert torch.equal(same, torch.ones_like(same).scatter(1, kept, False))


def test_layers_cut_off_behind_the_pruning_stay_right() -> None:
    sparse = svitt.sparsify(dense(), 0.5, LAYERS)
    [expected] = sparse.forward_intermediates(images(), [1], intermediates_only=True)
    sparse.prune_intermediate_layers([1])
    [cut] = sparse.forward_intermediates(images(), [1], intermediates_only=True)
    assert torch.equal(cut, expected)


@pytest.mark.parametrize("selection", ["cls", "random"])
@pytest.mark.parametrize("name", [NAMES[0], NAMES[2]])
@pytest.mark.parametrize("kind", ["float", "bool", "per sample", "keys"])
def test_a_mask_follows_the_tokens(name: str, kind: str, selection: str) -> None:
    model = dense(name)
    n = model.num_prefix_tokens + TOKENS
    g = torch.Generator().manual_seed(2)
    mask = torch.randn(n, n, generator=g)
    if kind == "bool":
        mask = mask > -0.5
    if kind == "per sample":
        mask = torch.randn(2, HEADS, n, n, generator=g)
    if kind == "keys":
        mask = torch.randn(2, 1, 1, n, generator=g)
    sparse = svitt.sparsify(model, 0.5, LAYERS, selection)
    out = sparse.forward_features(images(), attn_mask=mask)
    kept = sparse.token_pruning.kept
    # The same, block by block: the mask of the tokens left is cut out for every sample.
    x = model.patch_embed(images())
    x, rope = model._pos_embed(x) if hasattr(model, "rope") else (model._pos_embed(x), None)
    x = model.norm_pre(x)
    rows = torch.arange(n).expand(2, -1)
    full = mask.expand(2, HEADS, n, n) if kind == "bool" else mask.float().expand(2, HEADS, n, n)
    prefix = model.num_prefix_tokens
    for number, block in enumerate(model.blocks):
        cut = torch.stack([full[b][:, rows[b]][:, :, rows[b]] for b in range(2)])
        samples = []
        for b in range(2):
            extra = {} if rope is None else {"rope": rope[rows[b, prefix:] - prefix]}
            samples.append(block(x[b : b + 1], attn_mask=cut[b : b + 1], **extra))
        x = torch.cat(samples)
        if number in LAYERS:
            left = torch.cat([torch.arange(prefix).expand(2, -1), kept[number] + prefix], dim=1)
            place = (rows[:, :, None] == left[:, None]).nonzero()[:, 1].view(2, -1)
            x = x.gather(1, place[:, :, None].expand(-1, -1, WIDTH))
            rows = left
    assert torch.allclose(out, model.norm(x), atol=1e-4)


def test_a_causal_flag_is_refused_and_rate_1_takes_it() -> None:
    model = dense()
    with pytest.raises(ConfigError, match="token pruning takes no is_causal"):
        svitt.sparsify(model, 0.5, LAYERS)(images(), is_causal=True)
    expected = model(images(), is_causal=True)
    assert torch.equal(svitt.sparsify(model, 1.0, LAYERS)(images(), is_causal=True), expected)


@pytest.mark.parametrize("selection", ["cls", "random", "merge"])
@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_changes_neither_values_nor_gradients(name: str, selection: str) -> None:
    model = svitt.sparsify(dense(name), 0.5, LAYERS, selection).train()
    twin = copy.deepcopy(model)
    twin.set_grad_checkpointing()
    outs = [model(images()), twin(images())]
    assert torch.equal(*outs)
    maps = [m.forward_intermediates(images(), intermediates_only=True) for m in (model, twin)]
    for out, more in zip(outs, maps, strict=True):
        (out.square().sum() + sum(x.square().sum() for x in more)).backward()
    for (parameter, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        if a.grad is None:
            assert b.grad is None, parameter
        else:
            assert torch.allclose(a.grad, b.grad, rtol=1e-5), parameter


@pytest.mark.parametrize("selection", ["cls", "random", "merge"])
@pytest.mark.parametrize("name", NAMES)
def test_lower_precision(name: str, selection: str) -> None:
    """Under autocast and in bfloat16 throughout: biases, sizes and positions fit the queries."""
    model = svitt.sparsify(dense(name), 0.5, LAYERS, selection)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert bool(model(images()).isfinite().all())
    low = model.bfloat16()
    with torch.no_grad():
        out = low(images().bfloat16())
    assert out.dtype == torch.bfloat16 and bool(out.isfinite().all())
    assert [x.shape[1] for x in low.token_pruning.kept] == [8, 4]


def flops(call: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", NAMES)
def test_no_projection_is_computed_twice(name: str) -> None:
    """At rate 1 the cost is the model's; below, scores by CLS cost one query against the keys of a layer."""
    model = dense(name)
    assert flops(lambda: svitt.sparsify(model, 1.0, LAYERS)(images())) == flops(lambda: model(images()))
    scores = torch.rand(2, TOKENS, generator=torch.Generator().manual_seed(0))
    given = svitt.sparsify(model, 0.5, LAYERS, "given", token_scores=scores)
    more = flops(lambda: svitt.sparsify(model, 0.5, LAYERS)(images())) - flops(lambda: given(images()))
    prefix = model.num_prefix_tokens
    assert more == sum(2 * 2 * WIDTH * (prefix + tokens) for tokens in (16, 8))


def test_the_pooling_head_scores_by_its_keys_alone() -> None:
    model = dense("vit_base_patch16_siglip_224").requires_grad_(False)
    scores = torch.rand(2, TOKENS, generator=torch.Generator().manual_seed(0))
    given = svitt.sparsify(model, 0.5, LAYERS, "given", token_scores=scores)
    more = flops(lambda: svitt.sparsify(model, 0.5, LAYERS)(images())) - flops(lambda: given(images()))
    latents = 2 * WIDTH * WIDTH  # the query of the one latent
    assert more == sum(latents + 2 * 2 * tokens * (WIDTH * WIDTH + WIDTH) for tokens in (16, 8))


@pytest.mark.parametrize("name", NAMES)
def test_merging_costs_what_pruning_costs_but_for_its_choice(name: str) -> None:
    """At equal FLOPs: the same tokens in every block; matching costs one product of half by half keys."""
    model = dense(name)
    scores = torch.rand(2, TOKENS, generator=torch.Generator().manual_seed(0))
    given = svitt.sparsify(model, 0.5, LAYERS, "given", token_scores=scores)
    merging = svitt.sparsify(model, 0.5, LAYERS, "merge")
    more = flops(lambda: merging.forward_features(images())) - flops(lambda: given.forward_features(images()))
    assert more == sum(2 * 2 * (WIDTH // HEADS) * (tokens // 2) ** 2 for tokens in (16, 8))
