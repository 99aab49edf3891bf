"""What the fusion layers of chapter 6 are trained on: tokens of a frozen video encoder, captions, questions.

The encoder is the one that a variant of ``sparse_training`` has learnt. Its tokens are kept, so that a fusion
model costs little; every clip is seen in a few views (frames drawn anew, the picture shifted).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from svitt.data.text import build_tokenizer
from svitt.data.transforms import MAX_SHIFT, normalise, sample_frames, shift_clips
from svitt.data.worlds.shapes.questions import KINDS, Question, ask, ask_first, couples, cut_together
from svitt.data.worlds.shapes.questions import vocabulary as question_vocabulary
from svitt.data.worlds.shapes.relations import vocabulary as relation_vocabulary
from svitt.data.worlds.shapes.world import WorldSpec
from svitt.experiments.shared.tiny_models import WorldData, world_data
from svitt.experiments.shared.two_object_world import TwoObjectSettings, two_movers
from svitt.models.dual_encoder import DualEncoder
from svitt.models.video_encoder import VideoFeatures
from svitt.records.workspace import Workspace

Clips = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]
Shown = Literal["clip", "single_frame"]


def fusion_tokenizer() -> Tokenizer:
    """One token for every word of captions, relations, questions and answers."""
    return build_tokenizer({*relation_vocabulary(), *question_vocabulary()})


@dataclass(frozen=True)
class Asked:
    """Clips of one part with questions. clips: uint8 (N, F, H, W, C). questions: of clip ``clip[i]``."""

    clips: Clips
    questions: tuple[Question, ...]
    clip: npt.NDArray[np.int64]

    def of_kind(self, kind: str) -> npt.NDArray[np.int64]:
        """Numbers of the questions of one kind."""
        return np.array([i for i, q in enumerate(self.questions) if q.kind == kind], dtype=np.int64)


def single_object_spec(settings: TwoObjectSettings, seed: int) -> WorldSpec:
    """The world of one object whose test and validation clips are asked about."""
    half = settings.num_test // 2
    spec = two_movers(settings, seed)
    return replace(spec, num_train=0, num_validation=half // 2, num_test=half, num_movers=1)


def asked(two: WorldData, one: WorldData, split: str, seed: int) -> Asked:
    """Questions about all clips of a split: of two objects, of one, and cut together from two of one.

    Every clip of two objects is asked what, where, which way (of a moving object) and how many; of one, how
    many; every cut, what came first. "How many" has as many clips of two as of one.
    """
    pairs, ones = two.world.split(split), one.world.split(split)
    rng = np.random.default_rng([seed, 6, ("train", "validation", "test").index(split)])
    questions: list[Question] = []
    clip: list[int] = []
    for i, record in enumerate(pairs):
        kinds = KINDS[:3] if i >= len(ones) else KINDS[:4]
        made = [ask(record.scene, kind, rng) for kind in kinds]
        found = [question for question in made if question is not None]
        questions += found
        clip += [i] * len(found)
    for i, record in enumerate(ones[: min(len(ones), len(pairs))]):
        question = ask(record.scene, "how many", rng)
        assert question is not None
        questions.append(question)
        clip.append(len(pairs) + i)
    scenes = [record.scene for record in ones]
    chosen = couples(scenes, rng)
    frames = one.clips(split)
    cuts = cut_together(frames[chosen[:, 0]], frames[chosen[:, 1]])
    for i, (a, b) in enumerate(chosen):
        questions.append(ask_first(scenes[a].movers[0], scenes[b].movers[0], rng))
        clip.append(len(pairs) + len(ones) + i)
    return Asked(np.concatenate([two.clips(split), frames, cuts]), tuple(questions), np.array(clip))


def seen(features: VideoFeatures) -> torch.Tensor:
    """The tokens that fusion reads, (B, 1+K, D): CLS of the last layer, patches as they enter it.

    The contrastive loss reads CLS alone, so nothing ever trained what the last layer makes of the patches.
    features: with their hidden states.
    """
    assert features.hidden_states is not None
    patches = features.hidden_states[-2][:, 1:]
    return torch.cat([features.tokens[:, :1], F.layer_norm(patches, patches.shape[-1:])], dim=1)


@torch.no_grad()
def tokens(model: DualEncoder, clips: Clips, device: str, batch_size: int = 250) -> torch.Tensor:
    """uint8 (N, T, H, W, C) -> ``seen`` of the frozen video encoder (N, 1+K, D), float16 on the CPU."""
    parts = []
    for start in range(0, len(clips), batch_size):
        shown = normalise(clips[start : start + batch_size]).to(device)
        features = model.video_encoder(shown, return_hidden_states=True)
        parts.append(seen(features).half().cpu())
    return torch.cat(parts)


def views(
    model: DualEncoder, clips: Clips, count: int, seed: int, device: str, shown: Shown = "clip"
) -> torch.Tensor:
    """(count, N, 1+K, D): tokens of several views of every training clip."""
    made = []
    for view in range(count):
        rng = np.random.default_rng([seed, 7, view])
        frames = frames_shown(clips, model.config.video.num_frames, rng, shown)
        made.append(tokens(model, shift_clips(frames, MAX_SHIFT, rng), device))
    return torch.stack(made)


def frames_shown(clips: Clips, num_frames: int, rng: np.random.Generator, shown: Shown) -> Clips:
    """The frames that a model sees, (N, T, H, W, C): one drawn from each interval, or a single one, drawn
    from the whole clip and repeated."""
    if shown == "clip":
        return sample_frames(clips, num_frames, rng)
    drawn = rng.integers(clips.shape[1], size=len(clips))
    return np.repeat(clips[np.arange(len(clips)), drawn][:, None], num_frames, axis=1)


def single_objects(settings: TwoObjectSettings, seed: int, workspace: Workspace) -> WorldData:
    """The world of ``single_object_spec``, made or found."""
    return world_data(single_object_spec(settings, seed), workspace, settings.image_size)
