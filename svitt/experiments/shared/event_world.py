"""Clips in which an event happens, brief or slow, and how a model is asked for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from svitt.data.worlds.shapes.events import Event, event_caption, event_choices, event_of
from svitt.data.worlds.shapes.grammar import VERBS
from svitt.data.worlds.shapes.world import WorldSpec
from svitt.evaluation.metrics import choose
from svitt.experiments.shared.space_time_settings import Settings
from svitt.experiments.shared.tiny_models import (
    WorldData,
    embed_clips,
    embed_texts,
)
from svitt.models.dual_encoder import DualEncoder

Clips = npt.NDArray[np.uint8]


def events_spec(settings: Settings, seed: int) -> WorldSpec:
    """Longer clips of one named object; without distractors that move, an event is all that happens."""
    return WorldSpec(
        seed, settings.num_train, settings.num_test // 2, settings.num_test, 0,
        num_frames=settings.event_clip, clutter=settings.event_clutter,
    )  # fmt: skip


def events_of(settings: Settings, data: WorldData, split: str, seed: int) -> list[Event]:
    """What happens in every clip of a split: brief in every second one."""
    part, total = data.world.split(split), data.world.spec.num_frames
    return [
        event_of(record.scene, total, settings.event_length, record.index % 2 == 1,
                 np.random.default_rng([seed, 10, record.index]))
        for record in part
    ]  # fmt: skip


def right_events(
    model: DualEncoder, clips: Clips, events: Sequence[Event], words: Tokenizer, device: str
) -> npt.NDArray[np.int8]:
    """(N,): whether the model finds the event of each clip among the six of its kind. clips: as shown,
    (N, T, H, W, C)."""
    texts = [text for brief in (False, True) for text in event_choices(brief)]
    embedded = embed_texts(model, texts, words, device).reshape(2, len(VERBS), -1)
    kind = np.array([int(event.brief) for event in events])
    true = np.array([event_choices(event.brief).index(event_caption(event.verb)) for event in events])
    seen = embed_clips(model, clips, device)
    return choose(np.einsum("nd,nkd->nk", seen, embedded[kind]), true).astype(np.int8)
