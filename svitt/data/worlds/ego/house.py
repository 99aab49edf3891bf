"""A house of BabyAI's rooms, and the chores that BabyAI's own bot does in it.

BabyAI's levels hold few closings and unlockings (1% of the moments of BossLevel). Here chores are drawn so
that all six verbs come up: carrying a thing to another room, unlocking a door with its key, visiting a room;
and a door that was passed is sometimes closed behind. MiniGrid's ``BabyAIBot`` walks, clears its way, picks
up and puts down; what it does next is decided here.

Needs ``minigrid`` (the extra ``worlds``). Source: Chevalier-Boisvert et al. 2019, arXiv:1810.08272.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from minigrid.core.mission import MissionSpace
from minigrid.core.roomgrid import RoomGrid
from minigrid.core.world_object import Ball, Box, Door, Key, WorldObj
from minigrid.utils.baby_ai_bot import (
    BabyAIBot,
    CloseSubgoal,
    DropSubgoal,
    GoNextToSubgoal,
    OpenSubgoal,
    PickupSubgoal,
    Subgoal,
)

from svitt.data.worlds.ego.grammar import COLOURS, noun_number
from svitt.data.worlds.ego.moments import CLOSED, LOCKED, OPEN, GameState
from svitt.data.worlds.ego.spec import COLUMNS, ROWS, SIDE, room_at

Cell = tuple[int, int]
_STEPS: tuple[Cell, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: MiniGrid's order
_ROOMS = COLUMNS * ROWS
_THINGS = 12  # balls and boxes
# Set once, on seeds that no shipped world has, so that no verb is rare. Chances: that a door is locked, that
# a lock is seen to, that a thing is carried, that it stays in its room, that a door is shut behind.
_LOCKED, _UNLOCK, _CARRY, _STAY, _SHUT = 0.65, 0.8, 0.6, 0.7, 0.75
_STROLLS = 4  # at most so many walks about the room between chores


class House(RoomGrid):
    """3 x 2 rooms joined by five doors, some locked; the key of a locked door lies where it can be reached.

    draw: what all is drawn from. doors: one per passage, each of its own colour.
    """

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw = draw
        self.doors: list[Door] = []
        self.passages: list[tuple[int, int]] = []  # the two rooms that each door joins
        self.instrs = None  # BabyAI would have a mission here
        mission = MissionSpace(mission_func=lambda: "do chores")
        super().__init__(SIDE, ROWS, COLUMNS, max_steps=10**6, mission_space=mission)

    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.mission = "do chores"
        self.doors, self.passages = [], []
        start = int(self.draw.integers(_ROOMS))
        reached, keys = [start], []
        colours = self.draw.permutation(COLOURS)
        while len(reached) < _ROOMS:  # a random tree, grown from the room of the agent
            here, side = int(self.draw.choice(reached)), int(self.draw.integers(4))
            column, row = here % COLUMNS, here // COLUMNS
            neighbour = self.get_room(column, row).neighbors[side]
            there = None if neighbour is None else room_at(neighbour.top[0] + 1, neighbour.top[1] + 1)
            if there is None or there in reached:
                continue
            locked = self.draw.random() < _LOCKED
            colour = str(colours[len(self.doors)])
            door, _ = self.add_door(column, row, side, colour, locked)
            if locked:
                keys.append((Key(colour), here))
            self.doors.append(door)
            self.passages.append((here, there))
            reached.append(there)
        for key, room in keys:
            self.put(key, room)
        for _ in range(_THINGS):
            kind = (Ball, Box)[int(self.draw.integers(2))]
            self.put(kind(str(self.draw.choice(COLOURS))), int(self.draw.integers(_ROOMS)))
        self.agent_pos = self.free_cell(start)
        self.agent_dir = int(self.draw.integers(4))

    def room_at(self, cell: Cell) -> int | None:
        """Number of the room that holds a cell; None for walls and doors."""
        return room_at(int(cell[0]), int(cell[1]))

    def free_cell(self, room: int) -> Cell:
        """An empty cell of a room, drawn; not beside a door, where a thing would be in the way."""
        left, top = room % COLUMNS * (SIDE - 1), room // COLUMNS * (SIDE - 1)
        inside = range(1, SIDE - 1)
        doors = {door.cur_pos for door in self.doors}
        cells = [
            (left + x, top + y)
            for y in inside
            for x in inside
            if self.grid.get(left + x, top + y) is None
            and not any((left + x + dx, top + y + dy) in doors for dx, dy in _STEPS)
        ]
        return cells[int(self.draw.integers(len(cells)))]

    def put(self, thing: WorldObj, room: int) -> None:
        """Places a thing in a room, on a cell that is drawn."""
        self.put_obj(thing, *self.free_cell(room))

    def things(self) -> list[WorldObj]:
        """What lies on the floors, row by row."""
        return [cell for cell in self.grid.grid if cell is not None and cell.can_pickup()]

    def state(self) -> GameState:
        """The state of the game now."""
        at = (int(self.agent_pos[0]), int(self.agent_pos[1]))
        held = self.carrying
        return GameState(
            None if held is None else noun_number(held.color, held.type),
            tuple(OPEN if d.is_open else LOCKED if d.is_locked else CLOSED for d in self.doors),
            self.room_at(at),
            next((n for n, door in enumerate(self.doors) if door.cur_pos == at), None),
        )


class Resident(BabyAIBot):
    """BabyAI's bot, which knows its house and is given chores, not a mission."""

    def __init__(self, house: House) -> None:
        self.stack: list[Subgoal] = []
        super().__init__(house)
        self.house = house
        self.vis_mask[:] = True
        self._room = house.room_at(house.agent_pos)
        self._legs = self._chores()

    def _process_instr(self, instr: Any) -> None:
        """The base class would plan a mission; there is none."""

    def next_action(self) -> int:
        """The action to take now; the one before is taken to have been done."""
        action = self.replan()
        while not self.stack:  # a leg is done: the next one, last things first. Its top is always a walk.
            self.stack = list(reversed(next(self._legs)))
            action = self.replan()
        return int(action)

    def _here(self) -> int:
        """The room of the agent; on a threshold the one that it came from."""
        room = self.house.room_at(self.house.agent_pos)
        self._room = self._room if room is None else room
        assert self._room is not None
        return self._room

    def _go(self, cell: Cell) -> Subgoal:
        return GoNextToSubgoal(self, (int(cell[0]), int(cell[1])))

    def _chores(self) -> Iterator[list[Subgoal]]:
        draw, house = self.house.draw, self.house
        while True:
            for _ in range(int(draw.integers(_STROLLS + 1))):
                yield [self._go(house.free_cell(self._here()))]
            doors = self._ready_locks()
            if doors and draw.random() < _UNLOCK:
                yield from self._unlock(doors[int(draw.integers(len(doors)))])
                continue
            open_to = self._reachable()
            # The key of a locked door is not carried off: it might be shut away.
            locked = {door.color for door in house.doors if door.is_locked}
            things = [t for t in house.things() if not (t.type == "key" and t.color in locked)]
            things = [t for t in things if house.room_at(t.cur_pos) in open_to]
            if things and draw.random() < _CARRY:
                thing = things[int(draw.integers(len(things)))]
                yield from self._fetch(thing)
                if draw.random() >= _STAY:
                    yield from self._walk(self._other_room())
                yield [self._go(house.free_cell(self._here())), DropSubgoal(self)]
            else:
                yield from self._walk(self._other_room())
                yield [self._go(house.free_cell(self._here()))]

    def _reachable(self) -> dict[int, list[int]]:
        """Rooms that can be reached without a key: the doors on the way, in their order."""
        ways: dict[int, list[int]] = {self._here(): []}
        for room in (queue := [self._here()]):
            for number, pair in enumerate(self.house.passages):
                if room in pair and not self.house.doors[number].is_locked:
                    there = pair[1 - pair.index(room)]
                    if there not in ways:
                        ways[there] = [*ways[room], number]
                        queue.append(there)
        return ways

    def _other_room(self) -> int:
        """A reachable room, drawn; this one only if there is no other."""
        others = [room for room in self._reachable() if room != self._here()] or [self._here()]
        return others[int(self.house.draw.integers(len(others)))]

    def _key(self, door: Door) -> WorldObj | None:
        keys = [t for t in self.house.things() if t.type == "key" and t.color == door.color]
        return keys[0] if keys else None

    def _ready_locks(self) -> list[int]:
        """Locked doors that can be reached, and their keys as well."""
        rooms, ready = self._reachable(), []
        for number, door in enumerate(self.house.doors):
            key = self._key(door) if door.is_locked else None
            beside = any(room in rooms for room in self.house.passages[number])
            if key is not None and beside and self.house.room_at(key.cur_pos) in rooms:
                ready.append(number)
        return ready

    def _unlock(self, number: int) -> Iterator[list[Subgoal]]:
        door, pair = self.house.doors[number], self.house.passages[number]
        key = self._key(door)
        assert key is not None
        yield from self._fetch(key)
        yield from self._walk(next(room for room in pair if room in self._reachable()))
        yield [self._go(door.cur_pos), OpenSubgoal(self)]  # and puts the key down
        yield from self._walk(pair[1 - pair.index(self._here())])

    def _fetch(self, thing: WorldObj) -> Iterator[list[Subgoal]]:
        room = self.house.room_at(thing.cur_pos)
        assert room is not None
        yield from self._walk(room)
        yield [self._go(thing.cur_pos), PickupSubgoal(self)]

    def _walk(self, room: int) -> Iterator[list[Subgoal]]:
        """Legs to a room, through every door on the way."""
        for number in self._reachable()[room]:
            door, pair = self.house.doors[number], self.house.passages[number]
            here = self._here()
            there = pair[1 - pair.index(here)]
            x, y = door.cur_pos
            inside = next((dx, dy) for dx, dy in _STEPS if self.house.room_at((x + dx, y + dy)) == there)
            leg = [] if door.is_open else [self._go(door.cur_pos), OpenSubgoal(self)]
            leg.append(self._go((x + 2 * inside[0], y + 2 * inside[1])))
            if self.house.draw.random() < _SHUT:
                leg += [self._go(door.cur_pos), CloseSubgoal(self)]
            yield leg
