"""Moments of an episode, found from the state of the game before and after every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from svitt.data.worlds.ego.grammar import VERBS, Action

OPEN, CLOSED, LOCKED = 0, 1, 2  # states of a door, in MiniGrid's numbers


@dataclass(frozen=True)
class GameState:
    """carried: noun of what is in the hand, or None. doors: states, one per door of the house. room: number
    of the room that the agent stands in, None on a door's threshold. threshold: number of the door stood
    on, or None."""

    carried: int | None
    doors: tuple[int, ...]
    room: int | None
    threshold: int | None


@dataclass(frozen=True)
class Moment:
    """frame: the first one that shows what has happened. door: its number in the house, None for things."""

    frame: int
    action: Action
    door: int | None = None


def find_moments(states: Sequence[GameState], door_nouns: Sequence[int]) -> list[Moment]:
    """All moments of an episode, in time; states[t] is that of frame t.

    Entered is a room, through a door, when the agent stands in another one than before; turning back on the
    threshold is no moment. door_nouns: noun of every door.
    """
    moments = []
    last_room, last_door = states[0].room, states[0].threshold

    def add(frame: int, verb: str, noun: int, door: int | None = None) -> None:
        moments.append(Moment(frame, Action(VERBS.index(verb), noun), door))

    for frame, (before, after) in enumerate(pairwise(states), start=1):
        if before.carried != after.carried:
            if before.carried is not None:
                add(frame, "put down", before.carried)
            if after.carried is not None:
                add(frame, "pick up", after.carried)
        for door, (was, now) in enumerate(zip(before.doors, after.doors, strict=True)):
            if was != now:
                verb = "close" if now == CLOSED else "unlock" if was == LOCKED else "open"
                add(frame, verb, door_nouns[door], door)
        if after.threshold is not None:
            last_door = after.threshold
        if after.room is not None and after.room != last_room:
            if last_room is not None and last_door is not None:
                add(frame, "enter", door_nouns[last_door], last_door)
            last_room = after.room
    return moments
