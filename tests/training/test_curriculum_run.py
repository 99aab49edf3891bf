"""Training stage by stage: weights go on, interruptions cost nothing, foreign folders are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from svitt.errors import CheckpointError
from svitt.layers.edges import EdgeSparsity
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from svitt.training.curriculum import Curriculum, Stage, temporal_sparse_expansion
from svitt.training.curriculum_run import stage_folder, train_stages
from svitt.training.trainer import TrainConfig

BASE = VideoEncoderConfig(8, 4, 2, 8, 2, 2, stem="patch", position="absolute", layer_scale=None)
GROWING = temporal_sparse_expansion(
    (2, 4), (1.0, 0.5), (4, 3), EdgeSparsity(1, 1, 2), batch_size=2, prune_layers=(0,)
)
RECIPE = TrainConfig(7, 2, 1e-2, warmup_steps=1, checkpoint_every=1)


class Encoder(nn.Module):
    def __init__(self, config: VideoEncoderConfig) -> None:
        super().__init__()
        self.video_encoder = VideoEncoder(config, torch.Generator().manual_seed(0))

    def forward(self, clips: Tensor) -> Tensor:
        pooled: Tensor = self.video_encoder(clips).pooled
        return pooled


def batches_of(number: int, stage: Stage) -> Callable[[int], dict[str, Tensor]]:
    def batch(step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(100 * number + step)
        return {"clips": torch.randn(stage.batch_size, stage.num_frames, 3, 8, 8, generator=generator)}

    return batch


def loss_of(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    out: Tensor = model(batch["clips"])
    return (out - 1).square().mean()


def trained(
    folder: Path, curriculum: Curriculum = GROWING, loss: Callable[..., Tensor] = loss_of
) -> dict[str, Tensor]:
    model = train_stages(
        curriculum, BASE, RECIPE, model_of=Encoder, batches_of=batches_of, loss_of=loss, folder=folder,
        progress=False,
    )  # fmt: skip
    return model.state_dict()


def test_the_weights_of_a_stage_are_where_the_next_begins(tmp_path: Path) -> None:
    seen: list[tuple[int, Tensor]] = []

    def watched(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        weight = model.get_parameter("video_encoder.blocks.1.attn.proj.weight")
        seen.append((batch["clips"].shape[1], weight.detach().clone()))
        return loss_of(model, batch)

    state = trained(tmp_path, loss=watched)
    assert [frames for frames, _ in seen] == [2] * 4 + [4] * 3
    after = seen[4][1]  # as the second stage finds them
    assert not torch.equal(after, seen[3][1])
    assert state["video_encoder.pos_embed"].shape[1] == 4 * 4
    kept = load_file(stage_folder(tmp_path, 0) / "model.safetensors")
    assert torch.equal(kept["video_encoder.blocks.1.attn.proj.weight"], after)


def test_an_interrupted_curriculum_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    calls = 0

    def breaking(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:  # in the middle of the second stage
            raise KeyboardInterrupt
        return loss_of(model, batch)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", loss=breaking)
    again = trained(tmp_path / "broken")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_finished_curriculum_is_found(tmp_path: Path) -> None:
    first = trained(tmp_path)

    def never(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        raise AssertionError("trained again")

    again = trained(tmp_path, loss=never)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_checkpoint_of_another_stage_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    other = replace(GROWING, stages=(GROWING.stages[0], replace(GROWING.stages[1], keep_rate=0.7)))
    with pytest.raises(CheckpointError, match=r"stage-01: holds another stage \(its encoder differs\)"):
        trained(tmp_path, other)
    longer = replace(GROWING, stages=(replace(GROWING.stages[0], steps=5), GROWING.stages[1]))
    with pytest.raises(CheckpointError, match=r"stage-00.*training"):
        trained(tmp_path, longer)
