"""Draws the clips of the procedural world: parameters in, frames and ground truth out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.data.worlds.files import Frames
from svitt.data.worlds.shapes.names import MORE_SHAPES, cover, second_tone
from svitt.data.worlds.shapes.scene import EXTENT, Body, ClipParameters

Floats = npt.NDArray[np.float32]

_RING_WIDTH = 0.3  # of the ring's outer diameter
# Background -> base colour.
_BASE: dict[str, tuple[int, int, int]] = {
    "sand": (194, 172, 122),
    "grass": (82, 120, 62),
    "water": (72, 112, 146),
    "brick": (142, 84, 70),
}


@dataclass(frozen=True)
class ClipTruth:
    """What is where, named objects first, then distractors; n objects in all.

    masks: (T, H, W) uint8, 0 background, k + 1 where object k is what is seen.
    boxes: (n, T, 4) float32, left, top, right, bottom in pixels, clipped to the frame.
    """

    masks: npt.NDArray[np.uint8]
    boxes: Floats


def render(parameters: ClipParameters, num_frames: int, size: int) -> tuple[Frames, ClipTruth]:
    """Frames (T, H, W, 3) uint8 and the ground truth of a clip.

    ``render(p.reversed(), ...)`` gives exactly the frames of ``render(p, ...)`` in reverse order.
    Errors: ConfigError for another number of frames than that of clips whose events or camera go by frames.
    """
    fixed = parameters.num_frames
    require(fixed in (0, num_frames), "num_frames", num_frames, f"{fixed}, as the clip was drawn")
    shifts = np.rint(np.array(parameters.camera or [(0.0, 0.0)] * num_frames) * size).astype(np.int64)
    frames = _background(parameters, shifts, size)
    masks = np.zeros((num_frames, size, size), np.uint8)
    bodies = (*parameters.movers, *parameters.distractors)
    boxes = np.zeros((len(bodies), num_frames, 4), np.float32)
    # Back to front: the named objects are drawn last and never hidden by clutter.
    for k in reversed(range(len(bodies))):
        x, y, side = _trajectory(bodies[k], num_frames, size)
        if parameters.camera:
            x, y = (place + shift.astype(np.float32) for place, shift in zip((x, y), shifts.T, strict=True))
        half = np.stack([side * EXTENT[bodies[k].shape][0] / 2, side * EXTENT[bodies[k].shape][1] / 2])
        boxes[k] = np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], axis=1).clip(0, size)
        for t in range(num_frames):
            _paint(frames[t], masks[t], bodies[k], k + 1, (x[t], y[t]), (half[0, t], half[1, t]))
    return np.rint(frames).astype(np.uint8), ClipTruth(masks, boxes)


def _background(parameters: ClipParameters, shifts: npt.NDArray[np.int64], size: int) -> Floats:
    """(T, H, W, 3) without objects, moved by the camera's shifts (T, 2), (right, down) in pixels."""
    margin = int(np.abs(shifts).max())
    texture = _texture(parameters.scene.background, parameters.texture_seed, size, margin)
    places = [(margin - down, margin - right) for right, down in shifts]
    return np.stack([texture[top : top + size, left : left + size] for top, left in places])


def _trajectory(body: Body, num_frames: int, size: int) -> tuple[Floats, Floats, Floats]:
    """Centre x, y and side for every frame, in pixels; each (T,)."""
    first, length = body.event or (0, num_frames)
    # Integer numerators, so that frame t and frame T - 1 - t get exactly opposite weights.
    done = (2 * (np.arange(num_frames) - first) - (length - 1)).clip(1 - length, length - 1)
    weight = done / (2 * (length - 1))
    x, y = (body.x + body.dx * weight) * size, (body.y + body.dy * weight) * size
    side = body.side * np.exp(body.log_growth * weight) * size
    return x.astype(np.float32), y.astype(np.float32), side.astype(np.float32)


def _paint(
    frame: Floats,
    mask: npt.NDArray[np.uint8],
    body: Body,
    label: int,
    centre: tuple[float, float],
    half: tuple[float, float],
) -> None:
    """Blends one object into a frame (H, W, 3) and its label into a mask (H, W), in place."""
    size = len(mask)
    left, right = max(0, int(centre[0] - half[0]) - 1), min(size, int(centre[0] + half[0]) + 2)
    top, bottom = max(0, int(centre[1] - half[1]) - 1), min(size, int(centre[1] + half[1]) + 2)
    # Distances of pixel centres from the object's centre.
    dx = np.arange(left, right, dtype=np.float32) + 0.5 - centre[0]
    dy = np.arange(top, bottom, dtype=np.float32) + 0.5 - centre[1]
    seen = covered(body.shape, dx, dy, half)
    patch = frame[top:bottom, left:right]
    colour = np.array(body.rgb, np.float32)
    if body.second_rgb is not None:
        second = second_tone(body.texture, dx, dy, half)[..., None]
        colour = np.where(second, np.array(body.second_rgb, np.float32), colour)
    patch += seen[..., None] * (colour - patch)
    mask[top:bottom, left:right][seen > 0.5] = label


def covered(shape: str, dx: Floats, dy: Floats, half: tuple[float, float]) -> Floats:
    """The share of each pixel that a shape covers, (H, W).

    dx (W,), dy (H,): of pixel centres from the object's centre; half: its half width and height; in pixels.
    """
    if shape in MORE_SHAPES:
        return cover(shape, dx, dy, half)
    dx, dy = np.abs(dx), np.abs(dy)
    if shape == "ring":
        distance = np.sqrt(dx[None, :] ** 2 + dy[:, None] ** 2)
        inner = half[0] * (1 - 2 * _RING_WIDTH)
        return (half[0] + 0.5 - distance).clip(0, 1) * (distance - inner + 0.5).clip(0, 1)
    # Share of each pixel that the rectangle covers, so that fractions of a pixel of motion show.
    return (half[1] + 0.5 - dy).clip(0, 1)[:, None] * (half[0] + 0.5 - dx).clip(0, 1)[None, :]


def _texture(background: str, seed: int, frame_size: int, margin: int) -> Floats:
    """A textured background, the same in every frame of a clip, (S, S, 3) with S = frame_size + 2 margin."""
    rng = np.random.default_rng(seed)
    unit, size = frame_size / 64, frame_size + 2 * margin
    y, x = np.mgrid[:size, :size].astype(np.float32) / unit
    phase = rng.uniform(0, 1, 2)
    if background == "sand":  # speckle
        light = rng.normal(0, 8, (size, size))
    elif background == "grass":  # upright blades
        light = rng.normal(0, 10, (1, size)) + rng.normal(0, 4, (size, size))
    elif background == "water":  # level waves
        swell = np.sin(2 * np.pi * (x / 64 + phase[1]))
        light = 12 * np.sin(2 * np.pi * (y / 9 + phase[0]) + 1.5 * swell)
    else:  # brick: joints every 8 pixels, every second row moved by half a brick
        row = np.floor(y / 8 + phase[0])
        upright = np.floor(x + 16 * phase[1] + 8 * (row % 2)) % 16 == 0
        level = np.floor(y + 8 * phase[0]) % 8 == 0
        light = np.where(upright | level, 34.0, 0.0) + rng.normal(0, 3, (size, size))
    base = np.array(_BASE[background], np.float32)
    return (base + light[..., None]).clip(0, 255).astype(np.float32)
