"""Weights from timm, transformers and the release's key names; errors that name the tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from svitt.errors import CheckpointError
from svitt.models.checkpoints.image_models import config_like, convert_names, encoder_like, load_encoder
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from tests.models.plain_release import random_weights

SIZES = {"dim": 12, "mlp_dim": 20, "patch_size": 4, "image_size": 12, "frames": 2, "layers": 2, "heads": 3}
CONFIG = VideoEncoderConfig(
    image_size=12, patch_size=4, num_frames=2, width=12, depth=2, num_heads=3, mlp_ratio=20 / 12
)


def randomise(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def release_weights() -> dict[str, Tensor]:
    return random_weights(SIZES, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("beit_base_patch16_224", {}),
        ("beit_base_patch16_224", {"use_shared_rel_pos_bias": True, "use_rel_pos_bias": False}),
        ("beit_base_patch16_224", {"use_abs_pos_emb": True, "use_rel_pos_bias": False}),
        ("vit_small_patch16_224", {}),
        ("vit_small_patch16_224", {"global_pool": "avg", "init_values": 0.1}),
        ("deit_tiny_patch16_224", {}),
    ],
)
def test_timm_models_become_encoders_with_the_same_features(name: str, changes: dict[str, Any]) -> None:
    model: Any = randomise(
        timm.create_model(name, depth=2, embed_dim=24, num_heads=2, img_size=64, **changes)
    )
    image = torch.randn(2, 3, 64, 64)
    made = encoder_like(model).eval()(image)
    assert torch.allclose(
        made.pooled, model.forward_head(model.forward_features(image), pre_logits=True), atol=1e-5
    )
    # More frames and another resolution: positions are fitted, the rest stays.
    video = encoder_like(model, num_frames=3, image_size=96)
    assert video(torch.randn(1, 3, 3, 96, 96)).tokens.shape == (1, 1 + 3 * 36, 24)
    if "use_abs_pos_emb" not in changes and "vit" not in name:
        # An image in a clip of equal frames: the inflated bias is that of the image, so frames agree.
        frames = encoder_like(model, num_frames=3).eval()(image[:, None].expand(-1, 3, -1, -1, -1)).tokens
        first, second = frames[:, 1:17], frames[:, 17:33]
        assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_relative_position_bias": True},
        {"use_shared_relative_position_bias": True},
        {"use_absolute_position_embeddings": True},
    ],
)
@pytest.mark.parametrize("mean", [True, False])
def test_transformers_beit(settings: dict[str, Any], mean: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BeitConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16,
        patch_size=4, use_mean_pooling=mean, **settings,
    )  # fmt: skip
    model = randomise(transformers.BeitModel(config))
    image = torch.randn(2, 3, 16, 16)
    made = encoder_like(model).eval()(image)
    assert torch.allclose(made.pooled, model(image).pooler_output, atol=1e-5)


def test_the_key_names_of_a_whole_released_checkpoint(tmp_path: Path) -> None:
    weights = release_weights()
    whole = {f"vision_encoder.{name}": value for name, value in weights.items()}
    whole |= {"vision_layernorm.weight": torch.full((12,), 2.0), "vision_layernorm.bias": torch.ones(12)}
    whole |= {"text_encoder.embeddings.x": torch.zeros(1), "temp": torch.zeros(1)}
    save_file(whole, tmp_path / "a.safetensors")
    torch.save({"model": whole}, tmp_path / "b.pth")
    for path in (tmp_path / "a.safetensors", tmp_path / "b.pth"):
        encoder = VideoEncoder(CONFIG)
        load_encoder(encoder, path)
        state = encoder.state_dict()
        old = "encoder.layer.1.attention.attention"
        assert torch.equal(state["blocks.1.attn.qkv.weight"][12:24], weights[f"{old}.key.weight"])
        assert torch.equal(state["blocks.1.attn.v_bias"], weights[f"{old}.value.bias"])
        assert torch.equal(state["blocks.0.gamma_2"], weights["encoder.layer.0.lambda_2"])
        assert torch.equal(state["norm.weight"], whole["vision_layernorm.weight"])


def test_its_own_state_dict_loads_unchanged(tmp_path: Path) -> None:
    for config in (CONFIG, VideoEncoderConfig(**{**vars(CONFIG), "position": "absolute", "stem": "conv"})):
        first, second = (VideoEncoder(config, torch.Generator().manual_seed(s)) for s in (1, 2))
        torch.save(first.state_dict(), tmp_path / "own.pt")
        load_encoder(second, tmp_path / "own.pt")
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_first_tensor_that_differs_is_named_with_both_shapes() -> None:
    weights = release_weights()
    key = "encoder.layer.1.output.dense.weight"
    cases: list[tuple[dict[str, Tensor], str]] = [
        (
            {**weights, key: torch.zeros(12, 19)},
            r"'blocks.1.mlp.fc2.weight' has shape \(12, 19\), the model \(12, 20\)",
        ),
        (
            {k: v for k, v in weights.items() if k != key},
            r"no tensor for 'blocks.1.mlp.fc2.weight' of shape \(12, 20\)",
        ),
        (
            {**weights, "encoder.layer.2.lambda_1": torch.zeros(12)},
            r"'blocks.2.gamma_1' of shape \(12,\) has no place",
        ),
    ]
    for state, message in cases:
        encoder = VideoEncoder(CONFIG)
        before = {k: v.clone() for k, v in encoder.state_dict().items()}
        with pytest.raises(CheckpointError, match=message):
            load_encoder(encoder, state)
        assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    table = "encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table"
    with pytest.raises(CheckpointError, match=r"relative_position_bias_table of shape \(9, 3\) fits neither"):
        load_encoder(VideoEncoder(CONFIG), {**weights, table: torch.zeros(9, 3)})


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "text.safetensors").write_text("no checkpoint")
    torch.save({"model": {"step": 3}}, tmp_path / "other.pt")
    for name, message in [
        ("none.pt", "no such file"),
        ("text.pt", "cannot be read"),
        ("text.safetensors", "cannot be read"),
        ("other.pt", "no state dict"),
    ]:
        with pytest.raises(CheckpointError, match=f"{name}: .*{message}"):
            load_encoder(VideoEncoder(CONFIG), tmp_path / name)


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="Linear is not a ViT or BEiT"):
        config_like(nn.Linear(2, 2))
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", depth=1, embed_dim=24, num_heads=2)
    with pytest.raises(CheckpointError):
        encoder_like(distilled)


def test_a_key_bias_is_dropped_because_softmax_does_not_see_it() -> None:
    state = {"blocks.0.attn.qkv.weight": torch.zeros(6, 2), "blocks.0.attn.qkv.bias": torch.arange(6.0)}
    made = convert_names(state)
    assert made["blocks.0.attn.q_bias"].tolist() == [0, 1]
    assert made["blocks.0.attn.v_bias"].tolist() == [4, 5]
    names = ("qkv.weight", "q_bias", "v_bias")
    assert set(made) == {f"blocks.0.attn.{name}" for name in names}
