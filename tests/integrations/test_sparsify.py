"""``svitt.sparsify`` on unmodified timm models."""

from __future__ import annotations

import copy
import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import svitt
from svitt.errors import ConfigError
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.checkpoints.image_models import encoder_like

NAMES = ["vit_tiny_patch16_224", "deit_tiny_patch16_224", "beit_base_patch16_224"]


def image_model(name: str, **changes: Any) -> nn.Module:
    model: nn.Module = timm.create_model(
        name, depth=3, embed_dim=24, num_heads=2, img_size=64, num_classes=5, **changes
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [*NAMES, "deit_tiny_distilled_patch16_224"])
def test_rate_1_is_the_timm_model_and_less_is_not(name: str) -> None:
    model = image_model(name)
    before = model(images())
    assert svitt.sparsify(model, keep_rate=1.0, prune_layers=(0, 1), inplace=True) is model
    assert torch.equal(model(images()), before)
    svitt.sparsify(model, keep_rate=0.5, prune_layers=(0, 1), inplace=True)
    assert not torch.allclose(model(images()), before, atol=1e-4)
    assert [x.shape for x in model.token_pruning.kept] == [(2, 8), (2, 4)]
    svitt.unsparsify(model)
    assert torch.equal(model(images()), before)
    assert not hasattr(model, "token_pruning")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("selection", ["cls", "lowest"])
def test_the_same_tokens_and_features_as_the_video_encoder(name: str, selection: Any) -> None:
    model = image_model(name)
    ours = encoder_like(model, nodes=NodeSparsity(0.5, (0, 1), selection)).eval()(images())
    model = svitt.sparsify(model, 0.5, (0, 1), selection)
    features = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert torch.allclose(features, ours.pooled, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(model.token_pruning.kept, ours.kept, strict=True))


def test_a_bias_shared_by_all_layers_follows_the_tokens() -> None:
    model = image_model("beit_base_patch16_224", use_shared_rel_pos_bias=True, use_rel_pos_bias=False)
    ours = encoder_like(model, nodes=NodeSparsity(0.5, (0, 1))).eval()(images())
    model = svitt.sparsify(model, 0.5, (0, 1))
    features = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert torch.allclose(features, ours.pooled, atol=1e-5)


def test_selections_keep_different_tokens_and_random_follows_its_generator() -> None:
    model = image_model(NAMES[0])

    def kept(selection: Any, seed: int = 0) -> list[Any]:
        sparse = svitt.sparsify(model, 0.5, (1,), selection, generator=torch.Generator().manual_seed(seed))
        sparse(images())
        return sparse.token_pruning.kept[0].tolist()

    assert len({str(kept(x)) for x in ("cls", "lowest", "random")}) == 3
    assert kept("random", 3) == kept("random", 3) != kept("random", 4)


def test_calling_again_replaces_and_a_copy_is_independent() -> None:
    model = image_model(NAMES[2])
    svitt.sparsify(svitt.sparsify(model, 0.25, (0,), inplace=True), 0.5, (1,), inplace=True)
    model(images())
    assert [x.shape[1] for x in model.token_pruning.kept] == [8]
    twin = copy.deepcopy(model)
    expected = model(images())
    svitt.unsparsify(model)
    assert torch.equal(twin(images()), expected)
    assert not torch.allclose(model(images()), expected, atol=1e-4)


def test_gradients_flow_through_the_pruned_model() -> None:
    model = svitt.sparsify(image_model(NAMES[2]), 0.5, (0, 1)).train()
    model(images()).square().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_models_and_settings_that_cannot_work_are_refused() -> None:
    model = image_model(NAMES[0])
    for changes, message in [
        ({"keep_rate": 0}, "keep_rate = 0 "),
        ({"keep_rate": 1.2}, r"keep_rate = 1.2 .*0 < keep_rate <= 1"),
        ({"prune_layers": (3,)}, r"prune_layers = \(3,\) .*layers 0 to 2"),
        ({"prune_layers": (0,), "selection": "lowst"}, "selection = 'lowst' .*did you mean 'lowest'"),
        ({"prune_layers": (0,), "selection": "given"}, "selection = 'given' needs token_scores"),
    ]:
        with pytest.raises(ConfigError, match=message):
            svitt.sparsify(model, **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot sparsify ResNet; supported are the VisionTransformer"):
        svitt.sparsify(timm.create_model("resnet10t"))
    without = image_model(NAMES[0], class_token=False, global_pool="avg")
    with pytest.raises(ConfigError, match=r"needs a CLS token.*random"):
        svitt.sparsify(without, 0.5, (0,))
    assert svitt.sparsify(without, 0.5, (0,), "random")(images()).shape == (2, 5)
    with pytest.raises(ConfigError, match=r"torch.compile\(svitt.sparsify\(model\)\)"):
        svitt.sparsify(torch.compile(model), 0.5, (0,))  # type: ignore[type-var]
    model.blocks[1].attn.fused_attn = False
    with pytest.raises(ConfigError, match=r"blocks.1.attn .*fused_attn = True"):
        svitt.sparsify(model, 0.5, (0,))


def test_a_copy_unless_in_place() -> None:
    model = image_model(NAMES[2])
    before = model(images())
    sparse = svitt.sparsify(model, 0.5, (0,))
    assert sparse is not model
    assert torch.equal(model(images()), before)
    assert list(sparse.state_dict()) == list(model.state_dict())
    assert isinstance(sparse, type(model))
    assert svitt.sparsify(model, 0.5, (0,), inplace=True) is model
    assert torch.equal(model(images()), sparse(images()))
    first = (svitt.sparsify.__doc__ or "").splitlines()[0]
    assert "copy" in first and "inplace=True" in first


def test_a_sparsified_model_is_saved_and_loaded(tmp_path: Path) -> None:
    sparse = svitt.sparsify(image_model(NAMES[0]), 0.5, (0,), "random", torch.Generator().manual_seed(3))
    torch.save(sparse, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(loaded(images()), sparse(images()))


def test_the_worked_examples_print_what_they_say() -> None:
    from svitt.integrations import sparsify
    from svitt.layers import edge_sparse_attention as sparse_attention

    for module in (sparsify, sparse_attention):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


def test_importing_svitt_does_not_import_torch() -> None:
    code = (
        "import sys, svitt; assert 'torch' not in sys.modules; svitt.sparsify; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="sparsifi"):
        svitt.sparsifi  # noqa: B018
