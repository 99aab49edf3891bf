"""The ideal observer of the shapes world: what the frames shown of a clip tell, from their ground truth.

It sees colour, texture, size and place in any frame, for named objects are never hidden; the shape it reads
from the mask, what an object does from its boxes. Frames whose order is not known, or a single one of unknown
time, tell no direction: time is symmetric in this world (``scene.py``), so both are equally likely, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.data.worlds.ideal import Beliefs, of_captions
from svitt.data.worlds.shapes.grammar import REVERSED_VERB, SHAPES, VERBS, Scene
from svitt.data.worlds.shapes.questions import WAYS, Question
from svitt.data.worlds.shapes.render import ClipTruth, covered
from svitt.data.worlds.shapes.scene import EXTENT

# Axis of a change -> the verb that makes it smaller and the one that makes it larger.
_AXES = (("moves left", "moves right"), ("moves up", "moves down"), ("shrinks", "grows"))
_LEAST = 1e-3  # of the frame side, or of the side's logarithm: a smaller change is rounding


@dataclass(frozen=True)
class Seen:
    """The frames of a clip that are shown, T of them, as they are shown.

    truth: theirs. in_order: whether they are known to be in the order of time. camera: (T, 2) how far the
    picture was moved in each, (right, down) in pixels, which the background shows; None where it rests.
    """

    truth: ClipTruth
    in_order: bool = True
    camera: npt.NDArray[np.int64] | None = None


def shown(
    truth: ClipTruth,
    frames: Sequence[int],
    in_order: bool = True,
    camera: npt.NDArray[np.int64] | None = None,
) -> Seen:
    """What is seen where these frames of a clip are shown. camera: of all its frames, as in ``Seen``."""
    chosen = list(frames)
    part = ClipTruth(truth.masks[chosen], truth.boxes[:, chosen])
    return Seen(part, in_order, None if camera is None else camera[chosen])


def verbs(seen: Seen, mover: int = 0) -> dict[str, float]:
    """How likely a named object does what, summing to 1; all verbs alike where no change is seen."""
    boxes, size = seen.truth.boxes[mover].astype(np.float64), seen.truth.masks.shape[1]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    if seen.camera is not None:
        centres = centres - seen.camera
    log_side = np.log((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) / 2
    course = np.column_stack([centres / size, log_side])
    spread = np.ptp(course, axis=0)
    axis = int(spread.argmax())
    if spread[axis] < _LEAST:
        return dict.fromkeys(VERBS, 1 / len(VERBS))
    smaller, larger = _AXES[axis]
    if not seen.in_order:
        return {smaller: 0.5, larger: 0.5}
    return {larger if course[-1, axis] > course[0, axis] else smaller: 1.0}


def shape(seen: Seen, mover: int = 0, known: Sequence[str] = SHAPES) -> str:
    """Of these shapes the one that fits best the mask of the frame that shows most of the object
    (intersection over union, at the place and the area of its box)."""
    masks = seen.truth.masks == mover + 1
    extent = (seen.truth.boxes[mover, :, 2:] - seen.truth.boxes[mover, :, :2]).astype(np.float64)
    frame = int((masks.sum((1, 2)) / extent.prod(axis=1)).argmax())
    mask, area = masks[frame], float(extent[frame].prod())
    left, top, right, bottom = seen.truth.boxes[mover, frame]
    places = np.arange(len(mask), dtype=np.float32) + 0.5
    dx, dy = places - (left + right) / 2, places - (top + bottom) / 2
    fits = []
    for each in known:
        width, height = EXTENT[each]
        side = math.sqrt(area / (width * height))
        drawn = covered(each, dx, dy, (side * width / 2, side * height / 2)) > 0.5
        fits.append((drawn & mask).sum() / max(1, (drawn | mask).sum()))
    return known[int(np.argmax(fits))]


def beliefs(scene: Scene, seen: Seen, dial: float = 1.0) -> Beliefs:
    """Beliefs about the caption of a clip of one named object. scene: for what any frame shows, colours and
    place; its verb is not read. dial: as the captions were made with."""
    require(len(scene.movers) == 1, "movers", len(scene.movers), "one named object")
    with_verbs = {
        scene.with_verb(verb).caption("mixed"): likely for verb, likely in verbs(seen).items() if likely > 0
    }
    return of_captions(with_verbs, scene.caption("static"), dial)


def answer(question: Question, scene: Scene, seen: Seen, known: Sequence[str] = SHAPES) -> dict[str, float]:
    """How likely each answer to "what", "where" or "which way" is, of a clip and a question about it.

    Errors: ConfigError for a question of another kind or of an object that is not there.
    """
    named = [m.noun if question.kind == "which way" else f"{m.colour} thing" for m in scene.movers]
    asked = [number for number, name in enumerate(named) if f"the {name}" in question.text]
    require(len(asked) == 1, "question", question.text, "of kind what, where or which way, about this clip")
    if question.kind == "what":
        return {shape(seen, asked[0], known): 1.0}
    if question.kind == "where":
        return {scene.background: 1.0}
    require(question.kind == "which way", "kind", question.kind, "what, where, which way")
    ways = {WAYS[verb]: likely for verb, likely in verbs(seen, asked[0]).items() if verb in WAYS}
    return {way: likely / sum(ways.values()) for way, likely in ways.items()}


assert {verb for pair in _AXES for verb in pair} == set(REVERSED_VERB)
