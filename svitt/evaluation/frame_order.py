"""The frame-order probe: does a video-text model use time? (SViTT section 1, figure 1)

A model is shown each clip with its frames in order, reversed, shuffled, or with one frame repeated.
One that uses time changes its scores; one that treats the clip as a set of frames does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from svitt.config import nearest
from svitt.errors import ConfigError
from svitt.evaluation.metrics import best_rank, choose

Order = Literal["none", "reverse", "shuffle", "freeze"]
ORDERS: tuple[Order, ...] = get_args(Order)

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def order_indices(order: str, num_clips: int, num_frames: int, rng: np.random.Generator) -> Ints:
    """Frame indices (num_clips, num_frames) that put each clip into ``order``.

    none: as they are. reverse: last first. shuffle: every clip its own permutation. freeze: one
    random frame repeated. Errors: ConfigError for an unknown order.
    """
    if order not in ORDERS:
        raise ConfigError(f"unknown frame order {order!r}; {nearest(order, ORDERS)}")
    forward = np.tile(np.arange(num_frames), (num_clips, 1))
    if order == "reverse":
        return forward[:, ::-1].copy()
    if order == "shuffle":
        return rng.permuted(forward, axis=1)
    if order == "freeze":
        return np.repeat(rng.integers(0, num_frames, (num_clips, 1)), num_frames, axis=1)
    return forward


def reorder(clips: npt.NDArray[np.generic], order: str, rng: np.random.Generator) -> npt.NDArray[np.generic]:
    """``clips`` (B, T, ...) with the frames of each clip in ``order``; a copy."""
    indices = order_indices(order, clips.shape[0], clips.shape[1], rng)
    return clips[np.arange(len(clips))[:, None], indices]


@dataclass(frozen=True)
class ProbeTexts:
    """What the clips are compared with.

    pool: (P, D) embeddings of the distinct texts; pool_of: (N, P) bool, which texts stand in a clip's
    retrieval pool; correct: (N, P) bool, which are right. verbs: (N, V, D) the clip's caption under
    every verb, or None for captions without a verb; verb: (N,) index of the right one; reversed_verb:
    (N,) index of its time reversal.
    """

    pool: Floats
    pool_of: Bools
    correct: Bools
    verbs: Floats | None = None
    verb: Ints | None = None
    reversed_verb: Ints | None = None


@dataclass(frozen=True)
class ProbeOutcome:
    """Raw outcomes of one order. Arrays are (draws, N); draws is 1 for orders without chance.

    similarity: to the clip's own caption. rank: best rank (from 1) of a correct text in the pool.
    verb: right verb among all. flip: right verb against its time reversal. verb_scores: (draws, N, V).
    """

    similarity: Floats
    rank: Ints
    verb: Bools | None = None
    flip: Bools | None = None
    verb_scores: Floats | None = None


def score_order(video: Floats, texts: ProbeTexts) -> ProbeOutcome:
    """Outcomes, each (1, N), of video embeddings (N, D) against ``texts``."""
    scores = video @ texts.pool.T
    own = np.where(texts.correct, scores, -np.inf).max(axis=1)
    rank = best_rank(np.where(texts.pool_of, scores, -np.inf), texts.correct)
    if texts.verbs is None:
        return ProbeOutcome(own[None], rank[None])
    assert texts.verb is not None and texts.reversed_verb is not None
    verb_scores = np.einsum("nd,nvd->nv", video, texts.verbs)
    rows = np.arange(len(video))
    pair = np.stack([verb_scores[rows, texts.verb], verb_scores[rows, texts.reversed_verb]], axis=1)
    flip = choose(pair, np.zeros(len(rows), dtype=np.int64))
    verb = choose(verb_scores, texts.verb)
    return ProbeOutcome(own[None], rank[None], verb[None], flip[None], verb_scores[None])


def _stack(outcomes: Sequence[ProbeOutcome]) -> ProbeOutcome:
    def join(name: str) -> npt.NDArray[np.generic] | None:
        parts = [getattr(o, name) for o in outcomes]
        return None if parts[0] is None else np.concatenate(parts)

    names = ("similarity", "rank", "verb", "flip", "verb_scores")
    return ProbeOutcome(**{name: join(name) for name in names})  # type: ignore[arg-type]


def probe(
    encode_video: Callable[[npt.NDArray[np.generic]], Floats],
    clips: npt.NDArray[np.generic],
    texts: ProbeTexts,
    *,
    seed: int,
    draws: int = 8,
    orders: Sequence[str] = ORDERS,
) -> dict[str, ProbeOutcome]:
    """Runs the probe on any model.

    encode_video: (N, T, ...) clips -> (N, D) normalised embeddings. clips: (N, T, ...). draws: how
    often the random orders (shuffle, freeze) are drawn. Returns outcomes by order.
    """
    outcomes = {}
    for order in orders:
        repeats = draws if order in ("shuffle", "freeze") else 1
        parts = []
        for draw in range(repeats):
            rng = np.random.default_rng([seed, ORDERS.index(order) if order in ORDERS else 0, draw])
            parts.append(score_order(encode_video(reorder(clips, order, rng)), texts))
        outcomes[order] = _stack(parts)
    return outcomes
