"""What a named object can look like beyond colour and shape as they are: more of both, texture and size.

12 colours x 8 shapes x 6 textures x 2 sizes are 1,152 names. The words come in a fixed order, and a world
uses the first few of each kind; the first six colours and four shapes, plain and large, are the world without
these dials. All patterns are the same in a mirror, so that a mirrored clip keeps its caption.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Word -> RGB: as far from the first six, from each other and from the distractors' greys as there was room.
MORE_COLOURS: dict[str, tuple[int, int, int]] = {
    "orange": (240, 130, 20),
    "cyan": (40, 210, 225),
    "rose": (250, 130, 180),
    "black": (20, 20, 20),
    "navy": (20, 25, 125),
    "mint": (160, 245, 185),
}
MORE_SHAPES: tuple[str, ...] = ("cross", "tee", "frame", "arch")
# The first of each is not said: "a red ring" is plain and large.
TEXTURES: tuple[str, ...] = ("plain", "striped", "belted", "capped", "checked", "rimmed")
# Word -> side, as a multiple of the world's ``object_size``.
SIZES: dict[str, float] = {"large": 1.0, "small": 0.6}

# Rectangles of unit half sides (left, top, right, bottom) whose union is the shape.
_PARTS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "cross": ((-1, -1 / 3, 1, 1 / 3), (-1 / 3, -1, 1 / 3, 1)),
    "tee": ((-1, -1, 1, -1 / 3), (-1 / 3, -1, 1 / 3, 1)),
    "frame": ((-1, -1, 1, -0.5), (-1, 0.5, 1, 1), (-1, -1, -0.5, 1), (0.5, -1, 1, 1)),
    "arch": ((-1, -1, 1, -0.4), (-1, -1, -0.4, 1), (0.4, -1, 1, 1)),
}


def cover(shape: str, dx: Floats, dy: Floats, half: tuple[float, float]) -> Floats:
    """The share of each pixel that one of MORE_SHAPES covers, (H, W).

    dx (W,), dy (H,): of pixel centres from the object's centre, signed; half: its half width and height, all
    in pixels.
    """
    parts = [
        _overlap(dy, top * half[1], bottom * half[1])[:, None]
        * _overlap(dx, left * half[0], right * half[0])[None, :]
        for left, top, right, bottom in _PARTS[shape]
    ]
    return np.maximum.reduce(parts)


def _overlap(places: Floats, first: float, last: float) -> Floats:
    """How much of each pixel of an axis lies between two places."""
    low, high = np.maximum(places - 0.5, first), np.minimum(places + 0.5, last)
    return (high - low).clip(0, 1).astype(np.float32)


def second_tone(texture: str, dx: Floats, dy: Floats, half: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Where a texture, not the plain one, shows the object's second tone, (H, W); arguments as of
    ``cover``."""
    u, v = np.meshgrid(np.abs(dx) / half[0], dy / half[1])
    middle, upper = u < 0.4, v < 0
    return {
        "striped": middle,
        "belted": np.abs(v) < 0.4,
        "capped": upper,
        "checked": middle ^ upper,
        "rimmed": np.maximum(u, np.abs(v)) > 0.6,
    }[texture]


def second_colour(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """The second tone of a textured object: darker, or, of a dark colour, lighter."""
    luminance = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    towards = 0 if luminance >= 100 else 255
    red, green, blue = (round(0.35 * value + 0.65 * towards) for value in rgb)
    return red, green, blue


def noun(colour: str, shape: str, texture: str, size: str) -> str:
    """E.g. "small striped red ring"; what is the first of its kind is not said."""
    said = (*((size,) if size != "large" else ()), *((texture,) if texture != "plain" else ()))
    return " ".join((*said, colour, shape))
