"""What the frames of an episode show, beside the video: numpy alone, no game needed to read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svitt.data.worlds.ego.grammar import Action
from svitt.data.worlds.ego.moments import Moment
from svitt.data.worlds.files import npz, read_arrays
from svitt.errors import AnnotationError, ConfigError

VIEW = 7  # cells of the view, each way
HAND = (6, 3)  # row and column of the cell that the agent stands on, which shows what it carries
Views = npt.NDArray[np.uint8]
Cell = tuple[int, int]
_RIGHT_OF = ((0, 1), (-1, 0), (0, -1), (1, 0))  # per direction, unit vectors
_AHEAD_OF = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class EpisodeTruth:
    """views: uint8 (T, 7, 7, 3), by row and column of the view: type, colour and state of what is seen there,
    in MiniGrid's numbers (0: not seen; doors: 0 open, 1 closed, 2 locked). agent: int16 (T, 3), cell x, y and
    direction (0 right, 1 down, 2 left, 3 up). doors: int16 (D, 3), cell x, y and noun. moments: in time."""

    views: Views
    agent: npt.NDArray[np.int16]
    doors: npt.NDArray[np.int16]
    moments: tuple[Moment, ...]

    def cell_of(self, moment: Moment, frame: int) -> Cell | None:
        """Row and column, in the view of a frame, of the object of a moment; None outside of the view.

        A thing that is picked up lies in front before and is in the hand after; put down, the reverse.
        """
        if moment.door is not None:
            x, y, _ = (int(value) for value in self.doors[moment.door])
            return view_cell(self.agent[frame], (x, y))
        held = (frame >= moment.frame) == (moment.action.verb == 0)
        return HAND if held else (HAND[0] - 1, HAND[1])

    def box_of(self, moment: Moment, frame: int, tile: int) -> tuple[int, int, int, int] | None:
        """``cell_of`` in pixels: left, top, right, bottom, the last two excluded."""
        cell = self.cell_of(moment, frame)
        if cell is None:
            return None
        return cell[1] * tile, cell[0] * tile, (cell[1] + 1) * tile, (cell[0] + 1) * tile

    def door_states(self, frame: int) -> dict[int, int]:
        """State of every door that a frame shows; not of the one that the agent stands on."""
        states = {}
        for number, (x, y, _) in enumerate(self.doors.tolist()):
            cell = view_cell(self.agent[frame], (x, y))
            if cell is not None and cell != HAND and self.views[frame][cell][0] == DOOR:
                states[number] = int(self.views[frame][cell][2])
        return states


DOOR = 4  # of minigrid.core.constants.OBJECT_TO_IDX
# (type, colour) of MiniGrid -> (shape, colour) here.
SHAPE_OF = {4: "door", 5: "key", 6: "ball", 7: "box"}
COLOUR_OF = {0: "red", 1: "green", 2: "blue", 3: "purple", 4: "yellow", 5: "grey"}


def view_cell(agent: npt.NDArray[np.int16], cell: Cell) -> Cell | None:
    """Row and column of a cell of the house in the agent's view; None where it is not within it."""
    x, y, direction = (int(value) for value in agent)
    away = cell[0] - x, cell[1] - y
    ahead = away[0] * _AHEAD_OF[direction][0] + away[1] * _AHEAD_OF[direction][1]
    right = away[0] * _RIGHT_OF[direction][0] + away[1] * _RIGHT_OF[direction][1]
    row, column = HAND[0] - ahead, HAND[1] + right
    return (row, column) if 0 <= row < VIEW and 0 <= column < VIEW else None


def encode_truth(truth: EpisodeTruth) -> bytes:
    """As a compressed NPZ file; moments as int16 (M, 4): frame, verb, noun, door (-1 without)."""
    rows = [(m.frame, m.action.verb, m.action.noun, -1 if m.door is None else m.door) for m in truth.moments]
    moments = np.array(rows, np.int16).reshape(-1, 4)
    return npz(views=truth.views, agent=truth.agent, doors=truth.doors, moments=moments)


def read_truth(path: Path) -> EpisodeTruth:
    """Reads it back. Errors: AnnotationError naming the file."""
    views, agent, doors, moments = read_arrays(path, "views", "agent", "doors", "moments")
    try:
        found = tuple(
            Moment(frame, Action(verb, noun), None if door < 0 else door)
            for frame, verb, noun, door in moments.tolist()
        )
    except (ConfigError, ValueError) as error:
        raise AnnotationError(f"{path}: no moments of an episode ({error}); make the world anew") from error
    return EpisodeTruth(views, agent, doors, found)
