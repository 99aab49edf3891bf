"""Worlds and trained dual encoders that chapters share, each made once and found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from svitt.config import to_dict
from svitt.data.datasets import ClipCache, open_cache
from svitt.data.text import build_tokenizer, encode
from svitt.data.transforms import normalise
from svitt.data.worlds.shapes.world import World, WorldSpec, make_world
from svitt.experiments.shared.train_once import train_once
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.batches import Batches, one_stage
from svitt.training.contrastive import contrastive_loss
from svitt.training.trainer import TrainConfig, train


@dataclass(frozen=True)
class WorldData:
    """A made world and its decoded clips at ``size`` pixels a side."""

    world: World
    size: int

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """One token a word of the world's captions."""
        return build_tokenizer(self.world.spec.vocabulary())

    def cache(self, split: str) -> ClipCache:
        """The decoded clips of a split, uint8 (N, F, size, size, 3)."""
        return open_cache(self.world, split, self.size)

    def clips(self, split: str) -> npt.NDArray[np.uint8]:
        """The same in memory."""
        return np.array(self.cache(split).frames)


def world_data(spec: WorldSpec, workspace: Workspace, size: int = 32) -> WorldData:
    """The world of ``spec`` in the workspace, made or completed now if need be."""
    key = hashlib.sha256(json.dumps(to_dict(spec), sort_keys=True).encode()).hexdigest()[:10]
    return WorldData(make_world(spec, workspace.worlds / f"world-{spec.seed}-{key}"), size)


def tiny_video_config(num_frames: int, **changes: Any) -> VideoEncoderConfig:
    """The video encoder that learns from scratch on two cores: 139k parameters, 64 tokens at 4 frames.

    A convolution stem and cosine-initialised positions are essential at this size: with a linear patch
    embedding or small random positions it does not learn what depends on time. position_scale 1 was chosen
    among .5, 1 and 2 on tuning seed 1000.
    """
    sizes = {"image_size": 32, "patch_size": 8, "width": 64, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}
    small = {"stem": "conv", "position": "absolute", "position_scale": 1.0, "layer_scale": None}
    init = {"norm_eps": 1e-6, "init_std": None, "pooling": "cls"}
    return VideoEncoderConfig(num_frames=num_frames, **{**sizes, **small, **init, **changes})


def dual_encoder_config(video: VideoEncoderConfig, data: WorldData, **changes: Any) -> DualEncoderConfig:
    """A dual encoder whose text side fits the world's vocabulary."""
    text = TextConfig(data.tokenizer.get_vocab_size(), width=video.width, num_heads=video.num_heads)
    return DualEncoderConfig(video, text, embed_dim=video.width, **changes)


@dataclass(frozen=True)
class DualTraining:
    """How one dual encoder is trained on a world's training clips.

    kind: the run folder's name. clip_frames: drawn from each clip. key: what else determines ``captions``
    (the dial, for one).
    """

    data: WorldData
    model_config: DualEncoderConfig
    train_config: TrainConfig
    captions: Sequence[str]
    kind: str
    clip_frames: int
    key: Mapping[str, Any]
    seed: int

    def config(self) -> dict[str, Any]:
        """What determines the weights beside seed and device."""
        return {
            "world": to_dict(self.data.world.spec),
            "size": self.data.size,
            "model": to_dict(self.model_config),
            "train": to_dict(self.train_config),
            "clip_frames": self.clip_frames,
            **self.key,
        }

    def batches(self, device: str) -> Batches:
        """The batches of the training."""
        return one_stage(
            self.data.clips("train"),
            self.captions,
            self.data.tokenizer,
            self.clip_frames,
            self.train_config.batch_size,
            self.seed,
            max_length=self.model_config.text.max_length,
            device=device,
        )


def trained_dual_encoder(how: DualTraining, device: str, workspace: Workspace) -> DualEncoder:
    """The dual encoder trained so. A run of the same configuration, seed and code is loaded, an interrupted
    one goes on from its last checkpoint."""
    model, recipe = DualEncoder(how.model_config, how.seed), how.train_config

    def trained(folder: Path) -> nn.Module:
        title, step = f"{how.kind} {how.seed}", workspace.training.step
        batches = how.batches(device)
        return train(model, batches, contrastive_loss, recipe, folder, device=device, title=title, kind=step)

    return train_once(
        how.kind, how.config(), how.seed, device, workspace,
        code=dual_training_code(), steps=recipe.steps, model=model, train=trained,
    )[0]  # fmt: skip


def dual_training_code() -> str:
    """The hash that the runs of ``trained_dual_encoder`` are found by."""
    return code_hash(f"{__name__}:trained_dual_encoder").hash


def load_weights(model: DualEncoder, path: Path) -> DualEncoder:
    """``model`` with the weights of the safetensors file ``path``, in evaluation mode."""
    model.load_state_dict(load_file(path))
    return model.eval()


@torch.no_grad()
def embed_clips(
    model: DualEncoder, clips: npt.NDArray[np.uint8], device: str, batch_size: int = 250
) -> npt.NDArray[np.float32]:
    """uint8 (N, T, H, W, C) -> (N, D) normalised embeddings."""
    parts = [
        model.encode_video(normalise(clips[i : i + batch_size]).to(device)).float().cpu().numpy()
        for i in range(0, len(clips), batch_size)
    ]
    return np.concatenate(parts)


@torch.no_grad()
def embed_texts(
    model: DualEncoder, texts: Sequence[str], tokenizer: Tokenizer, device: str
) -> npt.NDArray[np.float32]:
    """N texts -> (N, D) normalised embeddings."""
    ids, mask = encode(tokenizer, texts, model.config.text.max_length)
    return model.encode_text(ids.to(device), mask.to(device)).float().cpu().numpy()
