"""Retrieval and multiple-choice metrics over score matrices; numpy only, never optimistic about ties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svitt.errors import ConfigError

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


def best_rank(scores: Floats, correct: Bools) -> npt.NDArray[np.int64]:
    """Rank (from 1) of the best correct item of every row; wrong items that tie with it count as better.

    scores: (Q, K). correct: (Q, K) bool with at least one true a row. Returns (Q,) int64.
    Errors: ConfigError if the shapes differ, a row has no correct item or a score is not a number.
    """
    if scores.shape != correct.shape or scores.ndim != 2:
        raise ConfigError(f"scores {scores.shape} and correct {correct.shape} must be equal (Q, K) shapes")
    if not correct.any(axis=1).all():
        row = int(np.flatnonzero(~correct.any(axis=1))[0])
        raise ConfigError(f"row {row} of `correct` marks no correct item; drop the row or mark one")
    if np.isnan(scores).any():
        raise ConfigError("scores hold NaN; a rank among them has no meaning")
    best = np.where(correct, scores, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((scores >= best) & ~correct).sum(axis=1).astype(np.int64)


def recall_at(ranks: Ints, k: int) -> float:
    """Share of ranks (from 1) that are at most k, between 0 and 1."""
    return float(np.mean(np.asarray(ranks) <= k))


def rank_summary(ranks: Ints, prefix: str) -> dict[str, float]:
    """R@1, R@5, R@10 in percent, median and mean rank, under ``prefix/``."""
    summary = {f"{prefix}/R@{k}": 100 * recall_at(ranks, k) for k in (1, 5, 10)}
    return summary | {f"{prefix}/MedR": float(np.median(ranks)), f"{prefix}/MeanR": float(np.mean(ranks))}


def retrieval_metrics(scores: Floats, video_to_text: Bools | None = None) -> dict[str, float]:
    """Both directions of retrieval and ``mean_recall``, the mean of the six recalls (percent).

    scores: (videos, texts). video_to_text: (videos, texts) bool, several correct allowed; None means
    one-to-one. Errors: ConfigError as ``best_rank``, or a one-to-one matrix that is not square.
    """
    if video_to_text is None:
        if scores.shape[0] != scores.shape[1]:
            raise ConfigError(f"scores {scores.shape} are not square: pass video_to_text")
        video_to_text = np.eye(len(scores), dtype=bool)
    result = rank_summary(best_rank(scores, video_to_text), "video_to_text")
    result |= rank_summary(best_rank(scores.T, video_to_text.T), "text_to_video")
    recalls = [value for key, value in result.items() if "/R@" in key]
    return result | {"mean_recall": float(np.mean(recalls))}


def choose(scores: Floats, answers: Ints) -> Bools:
    """Multiple choice: is the answer's score strictly above all other options'? A tie is wrong.

    scores: (Q, options). answers: (Q,) index of the correct option. Returns (Q,) bool.
    """
    correct = np.zeros(scores.shape, dtype=bool)
    correct[np.arange(len(scores)), answers] = True
    return best_rank(scores, correct) == 1
