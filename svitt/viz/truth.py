"""Ground truth drawn over frames: regions in colour, boxes as outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from svitt.config import require

Frames = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
# For those who see colours differently, too.
ORANGE: Colour = (222, 143, 5)
BLUE: Colour = (1, 115, 178)
GREEN: Colour = (2, 158, 115)


def tinted(
    frames: Frames, labels: npt.NDArray[np.integer], colours: Mapping[int, Colour], strength: float = 0.65
) -> Frames:
    """``frames`` (T, H, W, 3) in grey, coloured where ``labels`` (T, H, W) has a number of ``colours``.

    strength: how much of the colour is the label's; the rest is the frame's own brightness. Returns a copy.
    Errors: ConfigError for labels of another size.
    """
    sizes = (frames.shape[:3], labels.shape)
    require(sizes[0] == sizes[1], "shapes of frames and labels", sizes, "(T, H, W, 3) and (T, H, W)")
    grey = frames.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    drawn = grey * 0.8 + 40
    for label, colour in colours.items():
        here = (labels == label)[..., None]
        drawn = np.where(here, (1 - strength) * grey + strength * np.array(colour), drawn)
    return np.asarray(drawn.round().astype(np.uint8))


def outlined(frames: Frames, boxes: Sequence[Box | None], colour: Colour = ORANGE) -> Frames:
    """``frames`` (T, H, W, 3) with an outline of one pixel just inside a box (left, top, right, bottom; the
    last two excluded) per frame; None draws none. Returns a copy.

    Errors: ConfigError for another number of boxes, or one that leaves the frame.
    """
    require(len(boxes) == len(frames), "boxes", len(boxes), f"one for each of {len(frames)} frames")
    drawn = frames.copy()
    height, width = frames.shape[1:3]
    for frame, box in zip(drawn, boxes, strict=True):
        if box is None:
            continue
        left, top, right, bottom = box
        inside = 0 <= left < right <= width and 0 <= top < bottom <= height
        require(inside, "box", box, f"left, top, right, bottom within {width} x {height}")
        frame[top:bottom, [left, right - 1]] = colour
        frame[[top, bottom - 1], left:right] = colour
    return drawn
