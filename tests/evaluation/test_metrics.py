"""Known answers of the retrieval metrics, and their behaviour on ties and bad input."""

import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.evaluation.metrics import best_rank, choose, retrieval_metrics


def test_known_answer_one_to_one() -> None:
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.7, 0.2], [0.1, 0.6, 0.5]])
    result = retrieval_metrics(scores)
    assert result["video_to_text/R@1"] == pytest.approx(100 / 3)
    assert result["text_to_video/R@1"] == 100
    assert result["mean_recall"] == pytest.approx(88.89, abs=0.005)


def test_known_answer_several_correct_texts() -> None:
    scores = np.array([[0.9, 0.2, 0.8, 0.1], [0.3, 0.7, 0.6, 0.65]])
    correct = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=bool)
    result = retrieval_metrics(scores, correct)
    assert result["video_to_text/R@1"] == 50
    assert result["text_to_video/R@1"] == 50
    assert result["mean_recall"] == pytest.approx(83.33, abs=0.005)


def test_ties_never_score_above_chance() -> None:
    result = retrieval_metrics(np.zeros((20, 20)))
    for direction in ("video_to_text", "text_to_video"):
        assert result[f"{direction}/R@1"] <= 5
        assert result[f"{direction}/R@5"] <= 25
        assert result[f"{direction}/R@10"] <= 50


def test_a_tie_in_a_choice_is_wrong() -> None:
    scores = np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]])
    assert choose(scores, np.array([0, 0, 0])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("scores", "correct", "named"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2), dtype=bool), "shapes"),
        (np.zeros((2, 2)), np.array([[True, False], [False, False]]), "row 1"),
        (np.array([[np.nan, 0.0]]), np.array([[True, False]]), "NaN"),
    ],
)
def test_bad_input_is_named(scores: np.ndarray, correct: np.ndarray, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        best_rank(scores, correct)


def test_metrics_need_the_mapping_where_the_matrix_is_not_square() -> None:
    with pytest.raises(ConfigError, match="video_to_text"):
        retrieval_metrics(np.zeros((2, 3)))
