"""Dual encoders trained dense, with sparse edges, with sparse nodes, and with both, all else equal.

The worlds, captions, batches and recipe are those of ``two_object_world``; the variants start from the same
weights. Weights are kept at some points on the way as well, for curves of accuracy against training FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from svitt.atomic import replacing
from svitt.config import to_dict
from svitt.experiments.shared.tiny_models import load_weights
from svitt.experiments.shared.train_once import train_once
from svitt.experiments.shared.two_object_world import (
    MAX_LENGTH,
    WRONG,
    TwoObjectData,
    TwoObjectSettings,
    model_config,
    recipe,
    staged_batches,
    video_config,
)
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.dual_encoder import DualEncoder
from svitt.profiling.cost import encoder_cost
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.contrastive import staged_loss
from svitt.training.trainer import train

# Variant -> (sparse edges, sparse nodes).
VARIANTS: Mapping[str, tuple[bool, bool]] = {
    "dense": (False, False),
    "edges": (True, False),
    "nodes": (False, True),
    "both": (True, True),
}


@dataclass(frozen=True)
class SparseSettings:
    """What is sparse in the variants, and when weights are kept.

    block_size, num_local_blocks, num_random_blocks: of the edges; keep_rate, prune_layers: of the nodes
    (SViTT section 4.1: one local and three random blocks, .7 kept three times in 12 layers). snapshots:
    shares of the training, below 1, after which weights are kept.
    """

    block_size: int = 4
    num_local_blocks: int = 1
    num_random_blocks: int = 3
    keep_rate: float = 0.7
    prune_layers: tuple[int, ...] = (0, 1)
    snapshots: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9)

    def of(self, variant: str, seed: int) -> dict[str, Any]:
        """Changes of the video encoder's configuration that make it the encoder of ``variant``."""
        edges, nodes = VARIANTS[variant]
        made: dict[str, Any] = {}
        if edges:
            made["edges"] = EdgeSparsity(
                self.num_local_blocks, self.num_random_blocks, self.block_size, seed=seed
            )
        if nodes:
            made["nodes"] = NodeSparsity(self.keep_rate, self.prune_layers)
        return made


def snapshot_name(step: int) -> str:
    """The file of the weights after ``step`` steps."""
    return f"after-{step:07d}.safetensors"


@dataclass(frozen=True)
class Snapshots:
    """Batches that also write the model's weights on the way: before step n, after n updates.

    A function of the step as the batches are, so an interrupted training writes the same files.
    """

    batches: Callable[[int], Any]
    model: nn.Module
    steps: Sequence[int]
    folder: Path

    def __call__(self, step: int) -> Any:
        if step in self.steps:
            with replacing(self.folder / snapshot_name(step)) as part:
                save_file(self.model.state_dict(), part)
        return self.batches(step)


@dataclass(frozen=True)
class TrainedVariant:
    """A trained dual encoder and where its weights on the way are."""

    model: DualEncoder
    folder: Path
    settings: TwoObjectSettings
    sparse: SparseSettings

    def steps(self) -> list[int]:
        """Of the weights that were kept, the end last."""
        return [*snapshot_steps(self.settings, self.sparse), self.settings.steps]

    def after(self, step: int) -> DualEncoder:
        """The model after ``step`` steps, one of ``steps()``."""
        if step == self.settings.steps:
            return self.model
        made = DualEncoder(self.model.config)
        return load_weights(made, self.folder / snapshot_name(step))


def snapshot_steps(settings: TwoObjectSettings, sparse: SparseSettings) -> list[int]:
    """Steps before the end at which weights are kept."""
    steps = {round(share * settings.steps) for share in sparse.snapshots}
    return sorted(steps - {0, settings.steps})


def trained_variant(
    variant: str,
    settings: TwoObjectSettings,
    sparse: SparseSettings,
    data: TwoObjectData,
    seed: int,
    device: str,
    workspace: Workspace,
) -> TrainedVariant:
    """The dual encoder of a variant and seed, trained now or found."""
    video = video_config(settings, **sparse.of(variant, seed))
    model = DualEncoder(model_config(settings, data, video), seed)
    config = {
        "settings": to_dict(settings),
        "video": to_dict(video),
        "snapshots": list(sparse.snapshots),
    }

    def trained(folder: Path) -> nn.Module:
        batches = staged_batches(settings, data, seed, device)
        kept = Snapshots(batches, model, snapshot_steps(settings, sparse), folder)
        title, step = f"{variant} {seed}", workspace.training.step
        return train(
            model, kept, staged_loss, recipe(settings), folder, device=device, title=title, kind=step
        )

    code = code_hash(f"{__name__}:trained_variant").hash
    found, run = train_once(
        "sparse_training", config, seed, device, workspace,
        code=code, steps=settings.steps, model=model, train=trained,
    )  # fmt: skip
    return TrainedVariant(found, run.path, settings, sparse)


def training_flops(model: DualEncoder, settings: TwoObjectSettings, steps: int) -> int:
    """FLOPs of ``steps`` training steps: video encoder by the cost model, text encoder counted, three times
    its forward pass."""
    batch = settings.batch_size
    video = encoder_cost(model.config.video, settings.num_frames, batch).training
    ids = torch.zeros(batch * (1 + WRONG), MAX_LENGTH, dtype=torch.long)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.cpu().encode_text(ids, torch.ones_like(ids))
    return steps * (round(video) + 3 * int(counter.get_total_flops()))
