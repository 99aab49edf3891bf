"""More relations of named objects: who is next to whom (three objects or more), and who passes whom.

Like those of ``world_relations`` they take both objects; "next to" is a matter of place over the whole clip
and stays the same played backwards, so does "pass".
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from svitt.config import require
from svitt.data.worlds.shapes.grammar import Scene
from svitt.data.worlds.shapes.grammar import vocabulary as world_vocabulary
from svitt.data.worlds.shapes.relations import distance
from svitt.data.worlds.shapes.scene import ClipParameters

Pair = tuple[int, int]
# The nearest pair must be this much nearer than the second nearest, on average over the clip.
MIN_RATIO = 1.3
# Of the frame side: how far apart along an axis two objects are, before and after one has passed the other.
MIN_GAP = 0.1
_WHEN = np.linspace(-0.5, 0.5, 9)


def vocabulary() -> tuple[str, ...]:
    """Every word of the world's captions and of these."""
    return tuple(sorted({*world_vocabulary(), "next", "to", "pass", "each", "other"}))


def mean_distance(parameters: ClipParameters, pair: Pair) -> float:
    """Between the centres of two named objects, mean over the clip, in frame sides."""
    first, second = (parameters.movers[i] for i in pair)
    return float(np.mean([distance(first, second, float(when)) for when in _WHEN]))


def nearest_pair(parameters: ClipParameters) -> Pair | None:
    """The two named objects that are nearest to each other over the clip, by their numbers, or None where
    another pair is nearly as near. Errors: ConfigError for fewer than three named objects."""
    count = len(parameters.movers)
    require(count >= 3, "movers", count, "three named objects or more")
    pairs = sorted(
        (mean_distance(parameters, pair), pair) for pair in itertools.combinations(range(count), 2)
    )
    (nearest, pair), (second, _) = pairs[:2]
    return pair if second >= MIN_RATIO * max(nearest, 1e-9) else None


def passes(parameters: ClipParameters) -> bool | None:
    """Whether the first two named objects change their order along an axis: True, False where they keep it
    on both axes, None where that is not clear. Errors: ConfigError for fewer than two named objects."""
    count = len(parameters.movers)
    require(count >= 2, "movers", count, "two named objects or more")
    first, second = parameters.movers[:2]
    gaps = {
        "x": (first.x - second.x, first.dx - second.dx),
        "y": (first.y - second.y, first.dy - second.dy),
    }
    orders: list[bool | None] = []
    for middle, change in gaps.values():
        begin, end = middle - change / 2, middle + change / 2
        if abs(begin) >= MIN_GAP and abs(end) >= MIN_GAP:
            orders.append(math.copysign(1, begin) != math.copysign(1, end))
        else:
            orders.append(None)
    if True in orders:
        return True
    return None if None in orders else False


def neighbour_caption(scene: Scene, pair: Pair) -> str:
    """E.g. "a red ring next to a blue bar on sand"."""
    require(
        len(set(pair)) == 2 and max(pair) < len(scene.movers), "pair", pair, "two different named objects"
    )
    first, second = (scene.movers[i] for i in pair)
    return f"{first.phrase} next to {second.phrase} on {scene.background}"


def neighbour_choices(scene: Scene) -> dict[Pair, str]:
    """The caption of every pair, for a choice whose chance level is one over their number."""
    return {
        pair: neighbour_caption(scene, pair) for pair in itertools.combinations(range(len(scene.movers)), 2)
    }


def passing_caption(scene: Scene) -> str:
    """E.g. "a red ring and a blue bar pass each other on sand"."""
    first, second = scene.movers[:2]
    return f"{first.phrase} and {second.phrase} pass each other on {scene.background}"
