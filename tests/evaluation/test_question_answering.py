"""Answers and choices: exact match, what is missing, lists of any length."""

from __future__ import annotations

import math

import numpy as np
import pytest

from svitt.errors import AnnotationError, ConfigError
from svitt.evaluation.question_answering import answer_list, answer_weights, score_answers, score_choices


def test_answer_lists() -> None:
    assert answer_list(["man", "woman", "man"]) == ["man", "woman"]
    assert answer_list(["man"]) == ["man"]
    with pytest.raises(AnnotationError, match=r"answers\.json: empty"):
        answer_list([], "answers.json")
    with pytest.raises(AnnotationError, match="entry 1 is ''"):
        answer_list(["man", ""])


def test_weights_of_training_answers() -> None:
    assert answer_weights(["a", "b", "a", "a"]) == {"a": 0.75, "b": 0.25}


def test_a_missing_prediction_is_wrong_and_a_missing_answer_is_no_question() -> None:
    score = score_answers(
        {1: "man", 2: "dog", 5: "x"}, {1: "man", 2: ["cat", "dog"], 3: "man", 4: "sun", 5: None}
    )
    assert score.correct == {1: True, 2: True, 3: False, 4: False}
    assert score.accuracy == 0.5 and score.missing == (3, 4) and score.unanswered == (5,)
    assert score.by({1: "who", 2: "what", 3: "who", 4: "what"}) == {"what": 0.5, "who": 0.5}
    assert score_answers({1: "Man"}, {1: "man"}).accuracy == 0
    assert math.isnan(score_answers({}, {1: None}).accuracy)
    with pytest.raises(AnnotationError, match="question 9"):
        score_answers({9: "man"}, {1: "man"})
    with pytest.raises(AnnotationError, match="no kind"):
        score.by({})


def test_choices_by_kind_and_ties() -> None:
    scores = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.0], [0.3, 0.2, 0.1]])
    right, accuracy = score_choices(
        scores, np.array([1, 0, 0]), ["inter_video", "intra_video", "intra_video"]
    )
    assert right.tolist() == [True, False, True]
    assert accuracy == {"all": pytest.approx(2 / 3), "inter_video": 1.0, "intra_video": 0.5}
    with pytest.raises(ConfigError, match="0 to 2"):
        score_choices(scores, np.array([1, 0, 3]))
    with pytest.raises(ConfigError, match="kinds"):
        score_choices(scores, np.array([1, 0, 0]), ["inter_video"])
