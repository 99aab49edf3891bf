"""Accuracy on EgoMCQ: both kinds under their names, ties wrong, intervals over whole videos."""

from __future__ import annotations

import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.evaluation.multiple_choice import Accuracy, score_multiple_choice
from svitt.ledger.statistics import bootstrap_interval

INTER, INTRA = "inter_video", "intra_video"


def test_by_kind_and_a_tie_is_wrong() -> None:
    scores = np.array([[0.9, 0.1, 0, 0, 0], [0.2, 0.2, 0, 0, 0], [0, 0, 0, 0, 1.0], [1.0, 0, 0, 0, 0.5]])
    found = score_multiple_choice(scores, np.array([0, 0, 4, 4]), [INTER, INTER, INTRA, INTER], list("aabc"))
    assert found.right.tolist() == [True, False, True, False]
    assert found.accuracy() == {INTER: pytest.approx(1 / 3), INTRA: 1.0}
    assert score_multiple_choice(scores[:1], np.array([0]), [INTRA], ["a"]).accuracy() == {INTRA: 1.0}
    assert score_multiple_choice(
        np.zeros((50, 5)), np.arange(50) % 5, [INTER] * 50, ["a"] * 50
    ).accuracy() == {INTER: 0.0}


def test_intervals_are_over_videos() -> None:
    """Ten questions each of 12 videos, all right or all wrong: as uncertain as 12 outcomes, not as 120."""
    videos = np.repeat([f"v{n}" for n in range(12)], 10)
    right = np.repeat(np.arange(12) % 3 > 0, 10)
    scores = np.zeros((120, 5))
    scores[np.arange(120), np.where(right, 2, 3)] = 1
    found = score_multiple_choice(scores, np.full(120, 2), [INTRA] * 120, list(videos))

    def over_videos(outcomes, clusters):  # type: ignore[no-untyped-def]
        return bootstrap_interval(outcomes, 0, clusters=clusters)

    whole = found.intervals(over_videos)[INTRA]
    each = found.intervals(lambda outcomes, clusters: bootstrap_interval(outcomes, 0))[INTRA]
    assert isinstance(whole, Accuracy)
    assert (whole.accuracy, whole.num_questions, whole.num_videos) == (pytest.approx(2 / 3), 120, 12)
    assert whole.low < whole.accuracy < whole.high
    assert whole.high - whole.low > 2 * (each.high - each.low)


def test_wrong_calls() -> None:
    scores = np.zeros((2, 5))
    answers = np.array([0, 1])
    with pytest.raises(ConfigError, match="kinds = 1 "):
        score_multiple_choice(scores, answers, [INTER], ["a", "b"])
    with pytest.raises(ConfigError, match="videos = 3 "):
        score_multiple_choice(scores, answers, [INTER] * 2, ["a", "b", "c"])
    with pytest.raises(ConfigError, match=r"kinds = \['intra'\].*inter_video, intra_video"):
        score_multiple_choice(scores, answers, ["intra", INTER], ["a", "b"])
    with pytest.raises(ConfigError, match=r"answers = \[5\]"):
        score_multiple_choice(scores, np.array([0, 5]), [INTER] * 2, ["a", "b"])
    with pytest.raises(ConfigError, match="NaN"):
        score_multiple_choice(scores * np.nan, answers, [INTER] * 2, ["a", "b"])
