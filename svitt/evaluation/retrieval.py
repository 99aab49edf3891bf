"""Retrieval in two looks, as in the release: embeddings first, then the matching head on the best k.

NumPy only; the matching head comes as a function of pairs. Rows are videos, columns are texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from svitt.config import require
from svitt.errors import ConfigError
from svitt.evaluation.metrics import Bools, best_rank, rank_summary

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Ensemble = Literal["mean", "max", "lse"]
# (video numbers (P,), text numbers (P,)) -> scores (P,), or (P, C) with one for each clip of the video.
Match = Callable[[Ints, Ints], Floats]
NOT_RERANKED = -100.0  # the release's score of what was not among the best k


def pool_clips(scores: Floats, how: Ensemble = "mean") -> Floats:
    """Scores (..., C) of the C clips of a video -> (...): mean, max, or log-sum-exp.

    Errors: ConfigError for another name.
    """
    require(how in get_args(Ensemble), "how", how, ", ".join(get_args(Ensemble)))
    if how == "max":
        return np.asarray(scores.max(axis=-1))
    if how == "mean":
        return np.asarray(scores.mean(axis=-1))
    top = scores.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(scores - top).sum(axis=-1)) + top[..., 0])


def dual_scores(video: Floats, text: Floats, how: Ensemble = "mean") -> Floats:
    """Similarities (V, T) of embeddings: video (V, D), or (V, C, D) with C clips a video; text (T, D)."""
    if video.ndim == 2:
        return np.asarray(video @ text.T)
    return pool_clips(np.einsum("vcd,td->vtc", video, text), how)


@dataclass(frozen=True)
class Reranked:
    """Both directions after the second look, (V, T) each: what was not among the best k of its row (video to
    text) or column (text to video) has NOT_RERANKED. pairs: how many pairs were looked at."""

    video_to_text: Floats
    text_to_video: Floats
    pairs: int

    def ranks(self, correct: Bools) -> dict[str, Ints]:
        """Best rank of a correct item, by direction. correct: (V, T) bool."""
        return {
            "video_to_text": best_rank(self.video_to_text, correct),
            "text_to_video": best_rank(self.text_to_video.T, correct.T),
        }

    def metrics(self, correct: Bools) -> dict[str, float]:
        """As ``retrieval_metrics``: R@1, R@5, R@10, median and mean rank of both directions, mean recall."""
        result: dict[str, float] = {}
        for direction, ranks in self.ranks(correct).items():
            result |= rank_summary(ranks, direction)
        recalls = [value for key, value in result.items() if "/R@" in key]
        return result | {"mean_recall": float(np.mean(recalls))}


def rerank(
    scores: Floats,
    match: Match,
    k: int = 128,
    *,
    batch_size: int = 256,
    how: Ensemble = "mean",
    progress: bool = True,
) -> Reranked:
    """Looks again at the best k texts of every video and the best k videos of every text.

    scores: (V, T) of the first look. k: clipped to what there is; of items that tie at the edge the earlier
    goes in. A pair wanted by both directions is matched once. how: over the clips of a video.
    Errors: ConfigError for k below 1, scores that are not a number, or a match that returns other shapes.
    """
    require(k >= 1, "k", k, "integers from 1")
    require(
        scores.ndim == 2 and scores.size > 0, "scores", scores.shape, "(videos, texts), one of each at least"
    )
    if np.isnan(scores).any():
        raise ConfigError("scores hold NaN; the best of them have no meaning")
    by_row = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    by_column = np.argsort(-scores, axis=0, kind="stable")[:k]
    in_row, in_column = np.zeros(scores.shape, bool), np.zeros(scores.shape, bool)
    np.put_along_axis(in_row, by_row, True, axis=1)
    np.put_along_axis(in_column, by_column, True, axis=0)
    videos, texts = (index.astype(np.int64) for index in np.nonzero(in_row | in_column))
    found = np.full(scores.shape, NOT_RERANKED, dtype=np.float64)
    starts = range(0, len(videos), batch_size)
    for start in tqdm(starts, desc="second look", unit="batch", disable=not progress, leave=False):
        part = slice(start, start + batch_size)
        matched = np.asarray(match(videos[part], texts[part]), dtype=np.float64)
        if matched.ndim not in (1, 2) or len(matched) != len(videos[part]):
            raise ConfigError(
                f"match returned shape {matched.shape} for {len(videos[part])} pairs; expected (pairs,) or "
                "(pairs, clips)"
            )
        found[videos[part], texts[part]] = pool_clips(matched, how) if matched.ndim == 2 else matched
    if np.isnan(found).any():
        raise ConfigError("match returned NaN; ranks among it have no meaning")
    return Reranked(
        np.where(in_row, found, NOT_RERANKED), np.where(in_column, found, NOT_RERANKED), len(videos)
    )
