"""Two named objects a clip: the worlds, captions and models that chapters 3, 4 and 6 share.

A clip is told by what each object does ("a red ring moves left and a blue bar moves up on sand") or,
where that is clear, by what they do to each other ("... come together on sand"). Models meet clips of one
object first and wrong captions all along; without the first the verbs stayed near chance on a tuning seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer
from torch import nn

from svitt.config import to_dict
from svitt.data.text import build_tokenizer
from svitt.data.worlds.shapes.grammar import REVERSED_VERB, Scene
from svitt.data.worlds.shapes.relations import (
    REVERSED_RELATION,
    other_verbs,
    relation,
    relation_caption,
    swapped_clauses,
    vocabulary,
)
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import Split, WorldSpec
from svitt.experiments.shared.edge_patterns import Pattern, masks
from svitt.experiments.shared.tiny_models import (
    WorldData,
    tiny_video_config,
    world_data,
)
from svitt.experiments.shared.train_once import train_once
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.masked_attention import with_masks
from svitt.models.text_encoder import TextConfig
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.batches import Batches, CaptionedClips
from svitt.training.contrastive import staged_loss
from svitt.training.trainer import TrainConfig, train

MAX_LENGTH = 16
WRONG = 2  # wrong captions a clip and step
_OPTIONS = 6  # sets of wrong captions a clip, of which a step draws one


@dataclass(frozen=True)
class TwoObjectSettings:
    """A scale of the two-object models.

    num_train, num_easy: clips of two objects and of one; easy_share: of the steps, on the latter.
    num_test: clips of two objects; half as many for validation. The rest as in chapter 1.
    """

    num_train: int = 6000
    num_easy: int = 3000
    num_test: int = 1000
    steps: int = 2400
    easy_share: float = 0.3
    clutter: int = 2
    object_size: float = 0.28
    image_size: int = 32
    num_frames: int = 4
    width: int = 64
    depth: int = 3
    num_heads: int = 2
    text_depth: int = 2
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    mixed_precision: Literal["no", "bf16"] = "no"


@dataclass(frozen=True)
class TwoObjectData:
    """The worlds of one seed: two named objects a clip, and one."""

    two: WorldData
    one: WorldData
    tokenizer: Tokenizer


def two_movers(settings: TwoObjectSettings, seed: int) -> WorldSpec:
    """The world of two named objects; no held-out split."""
    return WorldSpec(
        seed, settings.num_train, settings.num_test // 2, settings.num_test, 0,
        num_movers=2, clutter=settings.clutter, object_size=settings.object_size,
    )  # fmt: skip


def two_object_data(settings: TwoObjectSettings, seed: int, workspace: Workspace) -> TwoObjectData:
    """Both worlds, made or found."""
    spec = two_movers(settings, seed)
    easy = replace(spec, num_train=settings.num_easy, num_validation=0, num_test=0, num_movers=1)
    two, one = (world_data(s, workspace, settings.image_size) for s in (spec, easy))
    return TwoObjectData(two, one, build_tokenizer(vocabulary()))


def relations(spec: WorldSpec, split: Split) -> list[str | None]:
    """What the two objects of every clip do to each other; None where it is not clear."""
    return [relation(clip_parameters(spec, split.name, record.index)) for record in split]


def wrong_verbs(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Two captions that are wrong about what the objects do: one verb changed, half of the time to its
    reversal; the clauses swapped, or both verbs reversed where that changes nothing."""
    mover = int(rng.integers(len(scene.movers)))
    verb = scene.movers[mover].verb
    other = REVERSED_VERB[verb] if rng.random() < 0.5 else str(rng.choice(other_verbs(verb)))
    swapped = swapped_clauses(scene) if len(scene.movers) > 1 else None
    second = scene.reversed() if swapped is None else swapped
    return scene.with_verb(other, mover).caption("mixed"), second.caption("mixed")


def captioned(data: WorldData, split: str, seed: int, with_relations: bool) -> CaptionedClips:
    """The clips of a split with a caption each and sets of wrong ones. Every second clip whose relation
    is clear is told by it."""
    part = data.world.split(split)
    told = relations(data.world.spec, part) if with_relations else [None] * len(part)
    captions: list[str] = []
    wrong: list[list[Sequence[str]]] = []
    for record, what in zip(part, told, strict=True):
        rng = np.random.default_rng([seed, 5, record.index])
        if what is not None and record.caption_threshold < 0.5:
            captions.append(relation_caption(record.scene, what))
            opposite = relation_caption(record.scene, REVERSED_RELATION[what])
            wrong.append([(opposite, wrong_verbs(record.scene, rng)[0]) for _ in range(_OPTIONS)])
        else:
            captions.append(record.caption("mixed"))
            wrong.append([wrong_verbs(record.scene, rng) for _ in range(_OPTIONS)])
    return CaptionedClips(data.clips(split), captions, wrong)


def video_config(settings: TwoObjectSettings, **changes: Any) -> VideoEncoderConfig:
    """The video encoder of a scale."""
    sizes = {"image_size": settings.image_size, "width": settings.width, "depth": settings.depth}
    return tiny_video_config(settings.num_frames, num_heads=settings.num_heads, **{**sizes, **changes})


def model_config(
    settings: TwoObjectSettings, data: TwoObjectData, video: VideoEncoderConfig
) -> DualEncoderConfig:
    """The dual encoder of a scale around a video encoder."""
    text = TextConfig(
        data.tokenizer.get_vocab_size(), settings.width, settings.text_depth, settings.num_heads,
        max_length=MAX_LENGTH,
    )  # fmt: skip
    return DualEncoderConfig(video, text, embed_dim=settings.width)


def with_pattern(model: DualEncoder, pattern: Pattern) -> DualEncoder:
    """A copy of ``model`` whose video encoder attends along ``pattern``."""
    made = DualEncoder(model.config)
    made.load_state_dict(model.state_dict())
    video = model.config.video
    made.video_encoder = with_masks(model.video_encoder, masks(pattern, video.grid, video.depth))
    return made.eval()


def trained_two_object_model(
    settings: TwoObjectSettings,
    data: TwoObjectData,
    seed: int,
    device: str,
    workspace: Workspace,
    pattern: Pattern | None = None,
) -> DualEncoder:
    """The dual encoder of this seed, dense or trained along ``pattern``; found if it was trained before.

    All patterns start from the same weights and see the same batches.
    """
    video = video_config(settings)
    model = DualEncoder(model_config(settings, data, video), seed)
    if pattern is not None:
        model = with_pattern(model, pattern)
    config = {
        "settings": to_dict(settings),
        "pattern": None if pattern is None else to_dict(pattern),
    }

    def trained(folder: Path) -> nn.Module:
        batches = staged_batches(settings, data, seed, device)
        title, step = f"two objects {seed}", workspace.training.step
        return train(
            model, batches, staged_loss, recipe(settings), folder, device=device, title=title, kind=step
        )

    code = code_hash(f"{__name__}:trained_two_object_model").hash
    return train_once(
        "two_objects", config, seed, device, workspace,
        code=code, steps=settings.steps, model=model, train=trained,
    )[0]  # fmt: skip


def staged_batches(settings: TwoObjectSettings, data: TwoObjectData, seed: int, device: str) -> Batches:
    """Clips of one object first, then of two."""
    easy_until = round(settings.easy_share * settings.steps)
    stages = [(0, captioned(data.one, "train", seed, False))] if easy_until else []
    stages.append((easy_until, captioned(data.two, "train", seed, True)))
    return Batches(stages, data.tokenizer, settings.num_frames, settings.batch_size, seed, MAX_LENGTH, device)


def recipe(settings: TwoObjectSettings) -> TrainConfig:
    """How the models of a scale are trained."""
    return TrainConfig(
        settings.steps, settings.batch_size, settings.learning_rate,
        warmup_steps=settings.warmup_steps, mixed_precision=settings.mixed_precision,
    )  # fmt: skip
