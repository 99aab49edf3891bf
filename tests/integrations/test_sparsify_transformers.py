"""``svitt.sparsify`` on vision towers of transformers, against their layers called one by one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import svitt
from svitt.errors import ConfigError
from svitt.layers.token_pruning import num_kept

LAYERS = (0, 1)
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
# Class, configuration, tokens in front, norm before the layers, norm behind them (None: the model has none).
MODELS: dict[str, tuple[str, str, dict[str, Any], int, str | None, str | None]] = {
    "vit": ("ViTModel", "ViTConfig", {}, 1, None, "layernorm"),
    "deit": ("DeiTModel", "DeiTConfig", {}, 2, None, "layernorm"),
    "dinov2": ("Dinov2Model", "Dinov2Config", {"mlp_ratio": 2}, 1, None, "layernorm"),
    "dinov2 with registers": (
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersConfig",
        {"mlp_ratio": 2, "num_register_tokens": 3},
        4,
        None,
        "layernorm",
    ),
    "clip": ("CLIPVisionModel", "CLIPVisionConfig", {}, 1, "pre_layrnorm", None),
    "siglip": ("SiglipVisionModel", "SiglipVisionConfig", {}, 0, None, "post_layernorm"),
    "videomae": (
        "VideoMAEModel",
        "VideoMAEConfig",
        {"num_frames": 4, "tubelet_size": 2, "use_mean_pooling": False},
        0,
        None,
        "layernorm",
    ),
    "x-clip": ("XCLIPVisionModel", "XCLIPVisionConfig", {"num_frames": 2}, 1, "pre_layernorm", None),
}


def dense(name: str, attention: str = "sdpa", **changes: Any) -> Any:
    cls, config, more, *_ = MODELS[name]
    made = getattr(transformers, config)(**{**SIZES, **more, **changes})
    made._attn_implementation = attention
    return drawn(getattr(transformers, cls)(made))


def drawn(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.25, generator=generator)
    return model.eval()


def pixels(name: str) -> Tensor:
    shape = (2, 4, 3, 32, 32) if name == "videomae" else (4, 3, 32, 32)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def layers_of(model: Any) -> Any:
    if hasattr(model, "layers"):
        return model.layers
    return model.encoder.layer if hasattr(model.encoder, "layer") else model.encoder.layers


def one_by_one(name: str, selection: str, numbers: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Last state before the final norm and the kept numbers. With eager attention, whose rows it reads;
    "random" takes the numbers that it is given."""
    _, _, _, prefix, before, _ = MODELS[name]
    model = dense(name, "eager")
    video = name == "videomae"
    x = model.embeddings(pixels(name), *((None,) if video else ()))
    x = x if before is None else getattr(model, before)(x)
    seen: list[Tensor] = []
    kept: list[Tensor] = []
    for number, layer in enumerate(layers_of(model)):
        hooks = [
            part.register_forward_hook(lambda _, args, out: seen.append(out[1]))
            for key, part in layer.named_modules()
            if key in ("attention", "self_attn") and not video
        ]
        seen.clear()
        x = layer(x) if video else layer(x, None)
        for hook in hooks:
            hook.remove()
        if number not in LAYERS:
            continue
        patches = x[:, prefix:]
        if selection == "random":
            place = (kept[-1][:, :, None] == numbers[number][:, None]).nonzero()[:, 1] if kept else numbers[0]
            index = place.view(len(x), -1)
        else:
            if prefix:
                scores = seen[0][:, :, 0, prefix : prefix + patches.shape[1]].mean(dim=1)
            else:
                head, normed = model.head, model.post_layernorm(patches)
                _, scores = head.attention(head.probe.expand(len(x), -1, -1), normed, normed)
                scores = scores[:, 0]
            count = num_kept(patches.shape[1], 0.5)
            index = scores.topk(count).indices.sort(dim=1).values
        kept.append(kept[-1].gather(1, index) if kept else index)
        patches = patches.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :prefix], patches], dim=1)
    return x, kept


@pytest.mark.parametrize("name", MODELS)
def test_rate_1_is_the_model_and_costs_as_much(name: str) -> None:
    model = dense(name)
    selection = "random" if name == "videomae" else "cls"
    sparse = svitt.sparsify(model, 1.0, LAYERS, selection)
    flops = []
    for part in (model, sparse):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            part(pixels(name))
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0
    with torch.no_grad():
        a, b = model(pixels(name)), sparse(pixels(name))
    assert torch.equal(a.last_hidden_state, b.last_hidden_state)
    assert getattr(a, "pooler_output", None) is None or torch.equal(a.pooler_output, b.pooler_output)


@pytest.mark.parametrize("name", MODELS)
def test_half_the_tokens_equals_the_layers_one_by_one(name: str) -> None:
    _, _, _, prefix, _, behind = MODELS[name]
    selection = "random" if name == "videomae" else "cls"
    model = dense(name)
    sparse = svitt.sparsify(model, 0.5, LAYERS, selection)
    with torch.no_grad():
        out = sparse(pixels(name))
        kept = sparse.token_pruning.kept
        x, expected = one_by_one(name, selection, kept)
        x = x if behind is None else getattr(model, behind)(x)
    patches = 32 if name == "videomae" else 16
    assert [k.shape[1] for k in kept] == [patches // 2, patches // 4]
    assert [k.tolist() for k in kept] == [k.tolist() for k in expected]
    assert out.last_hidden_state.shape[1] == prefix + patches // 4
    assert torch.allclose(out.last_hidden_state, x, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_merging_keeps_a_place_for_every_patch(name: str) -> None:
    _, _, _, prefix, _, _ = MODELS[name]
    sparse = svitt.sparsify(dense(name), 0.5, LAYERS, "merge")
    with torch.no_grad():
        state = sparse(pixels(name)).last_hidden_state
        assert state.shape == dense(name)(pixels(name)).last_hidden_state.shape
    patches = state.shape[1] - prefix
    for sample in state:
        assert len(sample[prefix:].unique(dim=0)) == patches // 4


@pytest.mark.parametrize("name", ["vit", "x-clip"])
def test_gradients_flow_with_and_without_checkpointing(name: str) -> None:
    model = svitt.sparsify(dense(name), 0.5, LAYERS).train()
    twin = copy.deepcopy(model)
    twin.gradient_checkpointing_enable()
    states = [part(pixels(name)).last_hidden_state for part in (model, twin)]
    assert torch.equal(*states)
    for state in states:
        state.square().sum().backward()
    found = 0
    for (parameter, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        if a.grad is not None:
            assert b.grad is not None, parameter
            assert torch.allclose(a.grad, b.grad, rtol=1e-5), parameter
            found += 1
    assert found > 20


def test_merging_with_checkpointing_is_refused() -> None:
    model = svitt.sparsify(dense("vit"), 0.5, LAYERS, "merge").train()
    model.gradient_checkpointing_enable()
    with pytest.raises(ConfigError, match=r"'merge' .*gradient_checkpointing_disable"):
        model(pixels("vit"))
    model = svitt.sparsify(model, 0.5, LAYERS)
    with pytest.raises(ConfigError, match=r"an attention mask .*gradient_checkpointing_disable"):
        model(pixels("vit"), attention_mask=torch.ones(4, 17, dtype=torch.long).triu())


def test_a_mask_follows_the_tokens() -> None:
    """What a mask hides is dropped: what is left is as in the dense model under the same mask."""
    g = torch.Generator().manual_seed(3)
    scores = torch.rand(4, 16, generator=g)
    kept = scores.topk(8).indices.sort(dim=1).values
    mask = torch.ones(4, 17, dtype=torch.long)
    mask[:, 1:] = torch.zeros(4, 16, dtype=torch.long).scatter(1, kept, 1)
    model = dense("vit")
    sparse = svitt.sparsify(model, 0.5, (0,), "given", token_scores=scores)
    with torch.no_grad():
        expected = model(pixels("vit"), attention_mask=mask).last_hidden_state
        out = sparse(pixels("vit"), attention_mask=mask).last_hidden_state
    rows = torch.cat([torch.zeros(4, 1, dtype=torch.long), kept + 1], dim=1)
    assert torch.allclose(out, expected.gather(1, rows[:, :, None].expand(-1, -1, 16)), atol=1e-5)
    assert not torch.allclose(out, sparse(pixels("vit")).last_hidden_state, atol=1e-3)


@pytest.mark.parametrize("name", ["vit", "clip"])
def test_compiled_equals_eager(name: str) -> None:
    torch._dynamo.reset()
    sparse = svitt.sparsify(dense(name), 0.5, LAYERS)
    compiled: Any = torch.compile(copy.deepcopy(sparse), backend="aot_eager")
    for batch in (4, 3):
        with torch.no_grad():
            expected = sparse(pixels(name)[:batch]).last_hidden_state
            assert torch.allclose(compiled(pixels(name)[:batch]).last_hidden_state, expected, atol=1e-5)
    torch._dynamo.reset()


def test_a_copy_is_independent_and_unsparsify_gives_the_model_back() -> None:
    model = dense("vit")
    x = pixels("vit")
    with torch.no_grad():
        before = model(x).last_hidden_state
        sparse = svitt.sparsify(model, 0.5, LAYERS)
        assert list(sparse.state_dict()) == list(model.state_dict())
        twin = copy.deepcopy(sparse)
        expected = sparse(x).last_hidden_state
        assert torch.equal(twin(x).last_hidden_state, expected)
        assert torch.equal(model(x).last_hidden_state, before)
        assert torch.equal(svitt.unsparsify(sparse)(x).last_hidden_state, before)
        assert torch.equal(twin(x).last_hidden_state, expected)
        assert svitt.sparsify(model, 0.5, LAYERS, inplace=True) is model
        assert torch.equal(model(x).last_hidden_state, expected)


def test_a_copy_scores_by_its_own_pooling_head_and_is_saved(tmp_path: Path) -> None:
    sparse = svitt.sparsify(dense("siglip"), 0.5, LAYERS)
    twin = copy.deepcopy(sparse)
    with torch.no_grad():
        twin.head.probe.mul_(-1)
        for part in (sparse, twin):
            part(pixels("siglip"))
    assert not torch.equal(sparse.token_pruning.kept[0], twin.token_pruning.kept[0])
    torch.save(sparse, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    with torch.no_grad():
        states = [part(pixels("siglip")).last_hidden_state for part in (sparse, loaded)]
    assert torch.equal(*states)


def test_models_around_a_tower() -> None:
    """A head that takes any number of tokens works; one that lays them out as a map is refused."""
    config = transformers.ViTConfig(**SIZES, num_labels=3)
    classifier = drawn(transformers.ViTForImageClassification(config))
    sparse = svitt.sparsify(classifier, 0.5, LAYERS)
    with torch.no_grad():
        logits = sparse(pixels("vit")).logits
        state = svitt.sparsify(classifier.vit, 0.5, LAYERS)(pixels("vit")).last_hidden_state
        assert torch.allclose(logits, classifier.classifier(state[:, 0]), atol=1e-5)
    assert len(sparse.token_pruning.kept) == 2
    heads: list[Any] = [
        transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**SIZES)),
        transformers.SiglipForImageClassification(transformers.SiglipConfig(vision_config=SIZES)),
        transformers.Dinov2ForImageClassification(transformers.Dinov2Config(**SIZES)),
        transformers.VideoMAEForVideoClassification(transformers.VideoMAEConfig(**SIZES, num_frames=4)),
    ]
    for head in heads:
        video = "VideoMAE" in type(head).__name__
        x = pixels("videomae" if video else "vit")
        selection = "random" if video else "cls"
        with torch.no_grad():
            dense_out, *others = [
                svitt.sparsify(drawn(head), rate, LAYERS, selection)(x)[0] for rate in (1.0, 0.5)
            ]
            assert torch.equal(dense_out, head(x)[0])
        assert others[0].shape == dense_out.shape and not torch.allclose(others[0], dense_out, atol=1e-4)
    maps = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**SIZES, encoder_stride=8))
    backbone = transformers.Dinov2Backbone(transformers.Dinov2Config(**SIZES))
    # X-CLIP averages patches over frames by their place.
    video_text = transformers.XCLIPModel(
        transformers.XCLIPConfig(vision_config={**SIZES, "num_frames": 2}, text_config=small_text())
    )
    for other in (
        maps,
        backbone,
        video_text,
        transformers.BertModel(transformers.BertConfig(**small_text())),
    ):
        with pytest.raises(ConfigError, match=f"cannot sparsify {type(other).__name__}; .*ViTModel"):
            svitt.sparsify(other, 0.5, LAYERS)


def small_text() -> dict[str, int]:
    return {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}


def test_what_cannot_score_or_be_seen_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a CLS token or attention pooling"):
        svitt.sparsify(dense("videomae"), 0.5, LAYERS)
    with pytest.raises(ConfigError, match=r"fused attention.*'eager'.*attn_implementation='sdpa'"):
        svitt.sparsify(dense("vit", "eager"), 0.5, LAYERS)
    with pytest.raises(ConfigError, match="layers 0 to 2"):
        svitt.sparsify(dense("vit"), 0.5, (3,))
