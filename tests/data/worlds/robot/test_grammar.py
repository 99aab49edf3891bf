"""Captions of the robot world: every action has its undoing, and every sentence is read back."""

from __future__ import annotations

import pytest

from svitt.data.worlds.robot.grammar import ACTIONS, PAIRS, TASKS, VERBS, Action, Reading, read, vocabulary
from svitt.errors import AnnotationError, ConfigError


def test_fourteen_pairs_undo_each_other() -> None:
    assert len(PAIRS) == 14 and len(TASKS) == len(set(TASKS)) == len(ACTIONS) == 28
    for action in ACTIONS:
        back = action.reversed()
        assert back != action and back.reversed() == action and back.pair == action.pair
        assert {action.task, back.task} == set(action.pair.tasks)
        assert action.verb != back.verb
        assert Action.of_task(action.task) == action
    assert len({action.caption("mixed") for action in ACTIONS}) == 28


def test_captions() -> None:
    action = Action.of_task("coffee-push")
    assert action.caption("mixed") == "the robot pushes the mug to the machine"
    assert action.caption("temporal") == "the robot pushes something to something"
    assert action.caption("static") == "the robot by the mug and the machine"
    assert action.flip_choices()[1] == "the robot pulls the mug from the machine"
    assert Action.of_task("plate-slide-back-side").verb == "slides out of"


def test_static_captions_say_nothing_of_the_direction() -> None:
    for action in ACTIONS:
        assert action.caption("static") == action.reversed().caption("static")
        assert not set(action.caption("static").split()) & {verb.split()[0] for verb in VERBS}


def test_every_caption_is_read_back() -> None:
    for action in ACTIONS:
        pair = action.pair
        assert read(action.caption("mixed")) == Reading(action.verb, pair.object, pair.place)
        assert read(action.caption("static")) == Reading(None, pair.object, pair.place)
        assert read(action.caption("temporal")) == Reading(action.verb, None, None)
        assert set(action.caption("mixed").split()) <= set(vocabulary())


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("the robot opens the drawr", "'drawr' is no word .* did you mean 'drawer'"),
        ("the robot opens the ring", "no caption of the robot world, though its words are known"),
        ("", "no caption of the robot world"),
    ],
)
def test_other_sentences_are_refused(sentence: str, named: str) -> None:
    with pytest.raises(AnnotationError, match=named):
        read(sentence)


def test_an_unknown_task_or_kind() -> None:
    with pytest.raises(ConfigError, match="task = 'juggle'"):
        Action.of_task("juggle")
    with pytest.raises(ConfigError, match="kind = 'poetic'"):
        ACTIONS[0].caption("poetic")  # type: ignore[arg-type]
