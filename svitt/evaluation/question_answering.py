"""Question answering and multiple choice: exact string match, missing is wrong, ties are wrong."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.errors import AnnotationError
from svitt.evaluation.metrics import Bools, choose

Floats = npt.NDArray[np.floating[Any]]


def answer_list(answers: Sequence[str], where: str = "answer list") -> list[str]:
    """An answer list without repetitions: an answer that stands twice could be taken twice, so its first
    place counts. Errors: AnnotationError for an empty list or an entry that is no text."""
    if not answers:
        raise AnnotationError(f"{where}: empty; give one answer at least")
    for number, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer.strip():
            raise AnnotationError(f"{where}: entry {number} is {answer!r}; expected a text")
    return list(dict.fromkeys(answers))


def answer_weights(answers: Sequence[str]) -> dict[str, float]:
    """The distinct answers to one training question, each with its frequency / number of answers."""
    return {answer: answers.count(answer) / len(answers) for answer in dict.fromkeys(answers)}


@dataclass(frozen=True)
class AnswerScore:
    """correct: question -> whether its prediction is right. missing: questions without a prediction (wrong).
    unanswered: questions whose annotation has no answer; they are in no denominator."""

    correct: dict[Hashable, bool]
    missing: tuple[Hashable, ...]
    unanswered: tuple[Hashable, ...]

    @property
    def accuracy(self) -> float:
        """Share of the questions with an answer that were answered rightly; NaN without any."""
        return float(np.mean(list(self.correct.values()))) if self.correct else float("nan")

    def by(self, kinds: Mapping[Hashable, str]) -> dict[str, float]:
        """Accuracy by kind of question. Errors: AnnotationError for a question without a kind."""
        groups: dict[str, list[bool]] = {}
        for question, right in self.correct.items():
            if question not in kinds:
                raise AnnotationError(f"question {question!r} has no kind; give one for every question")
            groups.setdefault(kinds[question], []).append(right)
        return {kind: float(np.mean(found)) for kind, found in sorted(groups.items())}


def score_answers(
    predictions: Mapping[Hashable, str], answers: Mapping[Hashable, str | Sequence[str] | None]
) -> AnswerScore:
    """Exact match of predictions with answers, question by question.

    answers: a text, several that are all right, or None where the annotation has none.
    Errors: AnnotationError for a prediction to a question that was not asked.
    """
    unknown = [question for question in predictions if question not in answers]
    if unknown:
        raise AnnotationError(
            f"prediction for question {unknown[0]!r}, which is not among the {len(answers)} asked"
        )
    correct: dict[Hashable, bool] = {}
    missing, unanswered = [], []
    for question, answer in answers.items():
        if answer is None or answer == "" or answer == []:
            unanswered.append(question)
            continue
        right = {answer} if isinstance(answer, str) else set(answer)
        if question not in predictions:
            missing.append(question)
        correct[question] = predictions.get(question) in right
    return AnswerScore(correct, tuple(missing), tuple(unanswered))


def score_choices(
    scores: Floats, answers: npt.NDArray[np.integer[Any]], kinds: Sequence[str] | None = None
) -> tuple[Bools, dict[str, float]]:
    """Multiple choice: the answer's score must be above all others'.

    scores (Q, options); answers (Q,), from 0. kinds: of the questions, e.g. "inter_video", "intra_video".
    Returns (Q,) bool and the accuracy by kind ("all" beside them).
    Errors: ConfigError for an answer that is no option, or kinds of another number.
    """
    options = scores.shape[1]
    inside = bool(((answers >= 0) & (answers < options)).all())
    require(
        inside, "answers", answers[(answers < 0) | (answers >= options)][:3].tolist(), f"0 to {options - 1}"
    )
    right = choose(scores, answers)
    accuracy = {"all": float(right.mean())}
    if kinds is not None:
        require(len(kinds) == len(right), "kinds", len(kinds), f"one for each of {len(right)} questions")
        names = np.array(kinds)
        accuracy |= {str(kind): float(right[names == kind].mean()) for kind in sorted(set(kinds))}
    return right, accuracy
