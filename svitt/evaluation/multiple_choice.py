"""Accuracy on EgoMCQ, by kind of question: ``inter_video`` and ``intra_video``. A tie is wrong.

The two names are swapped in several published programs; here they come from the questions' videos
(``svitt.data.annotations.egomcq``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.evaluation.metrics import Bools, choose

KINDS = ("inter_video", "intra_video")
Floats = npt.NDArray[np.floating[Any]]
# (outcomes, clusters) -> (low, high); e.g. svitt.ledger.statistics.bootstrap_interval with its seed given.
Interval = Callable[[Bools, npt.NDArray[np.str_]], tuple[float, float]]


@dataclass(frozen=True)
class Accuracy:
    """Share of n questions answered rightly, NaN without any, and its limits."""

    accuracy: float
    low: float
    high: float
    num_questions: int
    num_videos: int


@dataclass(frozen=True)
class ChoiceScores:
    """right: (Q,) bool, question by question. kinds: (Q,), of KINDS. videos: (Q,), of the query."""

    right: Bools
    kinds: npt.NDArray[np.str_]
    videos: npt.NDArray[np.str_]

    def accuracy(self) -> dict[str, float]:
        """By kind; a kind without questions is left out."""
        return {kind: float(self.right[self.kinds == kind].mean()) for kind in KINDS if kind in self.kinds}

    def intervals(self, interval: Interval) -> dict[str, Accuracy]:
        """By kind, with limits over whole videos: the questions of one video are not independent.

        interval: from outcomes and the video of each, e.g.
        ``lambda right, videos: bootstrap_interval(right, seed, clusters=videos)``.
        """
        found = {}
        for kind, accuracy in self.accuracy().items():
            mine = self.kinds == kind
            low, high = interval(self.right[mine], self.videos[mine])
            found[kind] = Accuracy(accuracy, low, high, int(mine.sum()), len(set(self.videos[mine])))
        return found


def score_multiple_choice(
    scores: Floats, answers: npt.NDArray[np.integer[Any]], kinds: Sequence[str], videos: Sequence[str]
) -> ChoiceScores:
    """Scores (Q, choices) against the places (Q,) of the right ones; kinds and videos: one per question.

    Errors: ConfigError for another number of answers, kinds or videos, a kind that is none of KINDS, an
    answer that is no place, or a score that is not a number.
    """
    for name, values in (("answers", answers), ("kinds", kinds), ("videos", videos)):
        require(len(values) == len(scores), name, len(values), f"one for each of {len(scores)} questions")
    unknown = sorted(set(kinds) - set(KINDS))
    require(not unknown, "kinds", unknown, ", ".join(KINDS))
    outside = answers[(answers < 0) | (answers >= scores.shape[1])]
    require(not len(outside), "answers", outside[:3].tolist(), f"0 to {scores.shape[1] - 1}")
    return ChoiceScores(choose(scores, answers), np.array(kinds), np.array(videos))
