"""What can be scored by looking, and by not looking."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from svitt.data.annotations.egomcq import EgoQuestion
from svitt.data.worlds.ego.grammar import VERBS
from svitt.data.worlds.ego.ideal import BlindObserver, action_of, blind_answer, ideal_answer, is_shown
from svitt.data.worlds.ego.truth import EpisodeTruth
from svitt.data.worlds.ego.world import World, questions_of
from svitt.evaluation.multiple_choice import ChoiceScores, score_multiple_choice


@pytest.fixture(scope="module")
def questions(sample: World) -> list[EgoQuestion]:
    return questions_of(sample, "test")


@pytest.fixture(scope="module")
def truths(sample: World) -> dict[str, EpisodeTruth]:
    return {record.clip.video_uid: record.truth() for record in sample.split("test")}


def score(questions: list[EgoQuestion], scores: list[np.ndarray]) -> ChoiceScores:
    return score_multiple_choice(
        np.stack(scores),
        np.array([question.answer for question in questions]),
        [question.kind for question in questions],
        [question.query.video_uid for question in questions],
    )


def test_four_frames_prove_every_answer(
    sample: World, questions: list[EgoQuestion], truths: dict[str, EpisodeTruth]
) -> None:
    four = score(questions, [ideal_answer(q, truths, sample.spec.fps, 4) for q in questions])
    assert four.accuracy() == {"inter_video": 1.0, "intra_video": 1.0}
    one = score(questions, [ideal_answer(q, truths, sample.spec.fps, 1) for q in questions])
    assert one.accuracy()["intra_video"] < 0.6  # a change is not seen in one frame


def test_only_the_frames_shown_count(sample: World) -> None:
    for record in sample.split("test"):
        truth, moment = record.truth(), record.moment
        action, frame = moment.action, moment.frame
        ahead = 1 + (VERBS[action.verb] == "enter")  # before the threshold
        assert is_shown(action, truth, [frame - ahead, frame])
        assert not is_shown(action, truth, [frame - ahead])
        assert not is_shown(action, truth, [frame, frame])
        backwards = is_shown(action, truth, [frame, frame - ahead])
        assert backwards == (VERBS[action.verb] == "enter")  # it is symmetric; the others are not


def test_the_blind_observer_needs_no_frame_and_gains_little(
    sample: World, questions: list[EgoQuestion]
) -> None:
    observer = BlindObserver.of([record.clip for record in sample.split("train")])
    found = score(questions, [blind_answer(q, observer) for q in questions])
    assert max(found.accuracy().values()) < 0.7
    # It sees neither texts nor tags of the choices.
    hidden = [
        dataclasses.replace(
            q,
            choices=tuple(dataclasses.replace(c, clip_text="?", tag_verb=(), tag_noun=()) for c in q.choices),
        )
        for q in questions
    ]
    for question, blind in zip(questions, hidden, strict=True):
        assert np.array_equal(blind_answer(question, observer), blind_answer(blind, observer))


def test_the_blind_observer_learns_when_things_happen(questions: list[EgoQuestion]) -> None:
    """Of training clips in which the queried verb always comes late, the latest choice is its answer."""
    question = questions[0]
    verb = question.query.tag_verb
    late = [dataclasses.replace(question.query, narration_time=0.99 * question.query.video_dur)] * 20
    early = dataclasses.replace(question.query, tag_verb=(verb[0] ^ 1,), narration_time=0.0)
    assert action_of(early).verb != verb[0]
    observer = BlindObserver.of([*late, *[early] * 20])
    choices = tuple(
        dataclasses.replace(question.query, narration_time=share * question.query.video_dur)
        for share in (0.0, 0.02, 0.04, 0.98, 0.06)
    )
    assert int(np.argmax(blind_answer(dataclasses.replace(question, choices=choices), observer))) == 3
