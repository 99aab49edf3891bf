"""Moments from states of the game that are written out by hand, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from svitt.data.worlds.ego.grammar import NOUNS, VERBS, Action, narrate, noun_number
from svitt.data.worlds.ego.moments import CLOSED, LOCKED, OPEN, GameState, Moment, find_moments
from svitt.errors import ConfigError

RED_BALL, BLUE_KEY = noun_number("red", "ball"), noun_number("blue", "key")
RED_DOOR, BLUE_DOOR = noun_number("red", "door"), noun_number("blue", "door")
DOORS = (RED_DOOR, BLUE_DOOR)


def state(carried=None, red=CLOSED, blue=LOCKED, room=0, threshold=None) -> GameState:  # type: ignore[no-untyped-def]
    return GameState(carried, (red, blue), room, threshold)


def told(*states: GameState) -> list[tuple[int, str, str, int | None]]:
    return [
        (m.frame, VERBS[m.action.verb], NOUNS[m.action.noun], m.door) for m in find_moments(states, DOORS)
    ]


def test_every_kind_of_moment() -> None:
    assert told(
        state(),
        state(RED_BALL),
        state(RED_BALL, red=OPEN),
        state(RED_BALL, red=OPEN, room=None, threshold=0),
        state(RED_BALL, red=OPEN, room=1),
        state(red=OPEN, room=1),
        state(red=CLOSED, room=1),
        state(BLUE_KEY, room=1),
        state(BLUE_KEY, blue=OPEN, room=1),
    ) == [
        (1, "pick up", "red ball", None),
        (2, "open", "red door", 0),
        (4, "enter", "red door", 0),
        (5, "put down", "red ball", None),
        (6, "close", "red door", 0),
        (7, "pick up", "blue key", None),
        (8, "unlock", "blue door", 1),
    ]


def test_no_moment() -> None:
    assert told(state(), state(), state()) == []
    assert told(state()) == []
    on_it = state(red=OPEN, room=None, threshold=0)
    assert told(state(red=OPEN), on_it, on_it, state(red=OPEN)) == []  # turned back on the threshold


def test_through_two_doors_and_back() -> None:
    a, b, c = (state(red=OPEN, blue=OPEN, room=room) for room in (0, 1, 2))
    red = state(red=OPEN, blue=OPEN, room=None, threshold=0)
    blue = state(red=OPEN, blue=OPEN, room=None, threshold=1)
    assert [(frame, noun) for frame, _, noun, _ in told(a, red, b, blue, c, blue, b, red, a)] == [
        (2, "red door"),
        (4, "blue door"),
        (6, "blue door"),
        (8, "red door"),
    ]
    assert [noun for _, _, noun, _ in told(red, b)] == []  # no room was left: it began on the threshold


def test_an_action_fits_its_object() -> None:
    for verb, noun in (("pick up", RED_DOOR), ("open", RED_BALL)):
        with pytest.raises(ConfigError, match=f"what one can {verb}"):
            Action(VERBS.index(verb), noun)
    with pytest.raises(ConfigError, match="pink ball"):
        noun_number("pink", "ball")
    actions = [
        (v, n) for v in range(6) for n in range(24) if (n >= 18) == (v not in (0, 1))
    ]  # every one that there is
    assert len({Action(v, n) for v, n in actions}) == 60


def test_tags_stay_and_words_change() -> None:
    unlock = Action(VERBS.index("unlock"), BLUE_DOOR)
    assert unlock.nouns == (BLUE_DOOR, BLUE_KEY)
    assert Moment(1, Action(0, RED_BALL)).action.nouns == (RED_BALL,)
    draw = np.random.default_rng(0)
    texts = {narrate(Action(0, noun_number("grey", "ball")), draw) for _ in range(300)}
    assert len(texts) == 3 * 2 * 3
    assert "#C C takes the gray sphere" in texts and all(text.startswith("#C C ") for text in texts)
    assert narrate(unlock, np.random.default_rng(1)) == narrate(unlock, np.random.default_rng(1))
    assert narrate(unlock, draw).count("blue") == 2


def test_no_text_stands_for_two_actions() -> None:
    """A reader of narrations alone can tell all 60 apart: no synonym is shared."""
    said: dict[str, Action] = {}
    for verb in range(6):
        for noun in range(18, 24) if verb > 1 else range(18):
            draw = np.random.default_rng(noun)
            for _ in range(60):
                text = narrate(Action(verb, noun), draw)
                assert said.setdefault(text, Action(verb, noun)) == Action(verb, noun), text
