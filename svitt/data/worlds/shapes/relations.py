"""Relations between the two named objects of a clip, told by a caption: do they come together or apart?

Where the objects are in one frame does not tell, nor does what either of them does alone: it takes both
and their order in time. Played backwards, the clip has the other relation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from svitt.config import require
from svitt.data.worlds.shapes.grammar import COLOURS, VERBS, Scene
from svitt.data.worlds.shapes.grammar import vocabulary as world_vocabulary
from svitt.data.worlds.shapes.scene import Body, ClipParameters

TOGETHER, APART = "come together", "drift apart"
REVERSED_RELATION: dict[str, str] = {TOGETHER: APART, APART: TOGETHER}
# Of the frame side: a smaller change of the distance is no relation that one could see.
MIN_CHANGE = 0.15


def vocabulary() -> tuple[str, ...]:
    """Every word of the world's captions and of these."""
    return tuple(sorted({*world_vocabulary(), *TOGETHER.split(), *APART.split()}))


def distance(first: Body, second: Body, when: float) -> float:
    """Between the centres, in frame sides; ``when`` from -.5 (first frame) to .5 (last)."""
    x = first.x - second.x + (first.dx - second.dx) * when
    y = first.y - second.y + (first.dy - second.dy) * when
    return math.hypot(x, y)


def relation(parameters: ClipParameters) -> str | None:
    """What the first two named objects do, or None where their distance changes too little.

    Errors: ConfigError for a clip of one named object.
    """
    count = len(parameters.movers)
    require(count >= 2, "movers", count, "two named objects or more")
    first, second = parameters.movers[:2]
    change = distance(first, second, 0.5) - distance(first, second, -0.5)
    if abs(change) < MIN_CHANGE:
        return None
    return APART if change > 0 else TOGETHER


def relation_caption(scene: Scene, relation: str) -> str:
    """E.g. "a red ring and a blue bar come together on sand"."""
    require(relation in REVERSED_RELATION, "relation", relation, ", ".join(REVERSED_RELATION))
    first, second = scene.movers[:2]
    return f"{first.phrase} and {second.phrase} {relation} on {scene.background}"


def swapped_clauses(scene: Scene, kind: str = "mixed") -> Scene | None:
    """The scene in which the first two objects do what the other does; None where both do the same."""
    first, second = scene.movers[:2]
    if first.verb == second.verb:
        return None
    return scene.with_verb(second.verb, 0).with_verb(first.verb, 1)


def other_colours(scene: Scene) -> Sequence[str]:
    """The colours that no named object has."""
    used = {mover.colour for mover in scene.movers}
    return [colour for colour in COLOURS if colour not in used]


def other_verbs(verb: str) -> Sequence[str]:
    """All verbs but one."""
    return [other for other in VERBS if other != verb]
