"""The dual encoder: normalised embeddings, seeds as arguments, order-blind as a bag of frames."""

import pytest
import torch

from svitt.errors import ConfigError
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig
from svitt.models.video_encoder import VideoEncoderConfig

SIZES = {
    "image_size": 16, "patch_size": 8, "width": 16, "depth": 2, "num_heads": 2, "stem": "conv",
    "position": "absolute", "init_std": None, "layer_scale": None, "pooling": "cls",
}  # fmt: skip


def make(frames: str = "joint", seed: int = 0, num_frames: int = 4) -> DualEncoder:
    video = VideoEncoderConfig(num_frames=1 if frames == "bag" else num_frames, **SIZES)
    config = DualEncoderConfig(video, TextConfig(20, width=16), embed_dim=8, frames=frames)
    return DualEncoder(config, seed).eval()


CLIPS = torch.randn(3, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def test_embeddings_are_normalised_and_padding_is_not_read() -> None:
    model = make()
    video, text, scale = model(CLIPS, IDS, MASK)
    assert video.shape == (3, 8) and text.shape == (2, 8)
    assert torch.allclose(video.norm(dim=1), torch.ones(3)) and torch.allclose(
        text.norm(dim=1), torch.ones(2)
    )
    assert scale.item() == pytest.approx(10)
    other = IDS.clone()
    other[1, 3] = 9
    assert torch.allclose(model.encode_text(other, MASK), text, atol=1e-6)


def test_only_the_joint_encoder_sees_order() -> None:
    with torch.no_grad():
        for frames, blind in (("joint", False), ("bag", True)):
            model = make(frames)
            change = (model.encode_video(CLIPS) - model.encode_video(CLIPS.flip(1))).abs().max().item()
            assert (change < 1e-6) == blind, (frames, change)


def test_the_seed_decides_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = make(seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = make(seed=1).state_dict(), make(seed=2).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["video_projection.weight"], other["video_projection.weight"])
    name = "text_encoder.bert.embeddings.word_embeddings.weight"
    assert not torch.equal(one[name], other[name])


def test_a_bag_needs_an_encoder_of_one_frame() -> None:
    video = VideoEncoderConfig(num_frames=4, **SIZES)
    with pytest.raises(ConfigError, match=r"video\.num_frames = 4"):
        DualEncoderConfig(video, TextConfig(20), frames="bag")


def test_the_scale_is_bounded() -> None:
    model = make()
    with torch.no_grad():
        model.log_scale.fill_(100.0)
    assert model.scale.item() == pytest.approx(100)
