"""Chapter 6's explorer of text-to-video search with the model that comes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svitt.data.datasets import downscale
from svitt.data.transforms import sample_frames
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import CheckpointError
from svitt.experiments.shared.tiny_models import embed_clips, embed_texts
from svitt.models.checkpoints.io import load_model
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import project_root

# A world that no model of the book was trained on or tuned on.
UNSEEN = WorldSpec(7_000_077, num_train=0, num_validation=0, num_test=300, num_heldout=0, num_movers=2)


@dataclass(frozen=True)
class Hit:
    """A clip found: its caption, the frames (T, H, W, 3) that the model saw, the cosine similarity."""

    caption: str
    frames: npt.NDArray[np.uint8]
    score: float


def checkpoint() -> Path:
    """The committed model: two named objects, seed 0 of chapter 3."""
    return project_root() / "data" / "checkpoints" / "two_objects"


def searched(queries: Sequence[str], top: int = 3, count: int = UNSEEN.num_test) -> dict[str, list[Hit]]:
    """The best ``top`` of the first ``count`` clips of a world never seen, for every query.

    Clips are drawn in memory, before H.264. Errors: CheckpointError for a checkpoint without tokenizer.
    """
    saved = load_model(checkpoint(), "cpu")
    if saved.tokenizer is None or not isinstance(saved.model, DualEncoder):
        raise CheckpointError(f"{checkpoint()}: expected a dual encoder with its tokenizer")
    video = saved.model.config.video
    rng = np.random.default_rng(UNSEEN.seed)
    clips = []
    for index in range(count):
        shown = sample_frames(render_clip(UNSEEN, "test", index)[0][None], video.num_frames, rng)[0]
        clips.append(downscale(shown, video.image_size))
    texts = embed_texts(saved.model, list(queries), saved.tokenizer, "cpu")
    scores = texts @ embed_clips(saved.model, np.stack(clips), "cpu").T
    found = {}
    for query, row in zip(queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        found[query] = [Hit(caption_of(int(i)), clips[i], float(row[i])) for i in best]
    return found


def caption_of(index: int) -> str:
    """What the clip shows."""
    return clip_parameters(UNSEEN, "test", index).scene.caption("mixed")
