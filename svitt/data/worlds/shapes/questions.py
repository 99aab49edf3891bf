"""Questions about clips of the procedural world: what, where, which way, how many, what came first.

Every kind is balanced by the world's own draw: what is asked for is drawn independently of what the question
tells, so a model that reads questions alone is at the chance of the kind. "Which way" and "what came first"
cannot be told from one frame. The last is asked of clips cut together from two, one object in each half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.data.worlds.shapes.grammar import BACKGROUNDS, PLAIN_NAMES, Mover, Names, Scene
from svitt.data.worlds.shapes.grammar import all_nouns as world_nouns
from svitt.data.worlds.shapes.grammar import vocabulary as world_vocabulary

KINDS: tuple[str, ...] = ("what", "where", "which way", "how many", "what came first")
TEMPORAL: tuple[str, ...] = ("which way", "what came first")
WAYS: dict[str, str] = {f"moves {way}": way for way in ("left", "right", "up", "down")}
COUNTS: tuple[str, ...] = ("one", "two")
_WORDS = ("what", "is", "the", "thing", "where", "which", "way", "does", "go", "how", "many", "things", "are")
_MORE = ("there", "comes", "first", "or", *COUNTS)


@dataclass(frozen=True)
class Question:
    """A question of one of the KINDS about a clip, and its answer."""

    kind: str
    text: str
    answer: str


def vocabulary(names: Names = PLAIN_NAMES) -> tuple[str, ...]:
    """Every word of captions, questions and answers, in a world of these names."""
    return tuple(sorted({*world_vocabulary(names), *_WORDS, *_MORE}))


def answers(names: Names = PLAIN_NAMES) -> list[str]:
    """The answer list: everything that may be an answer to any question."""
    shapes = names.words()[1]
    return [*shapes, *BACKGROUNDS, *WAYS.values(), *COUNTS, *world_nouns(names)]


def chance(kind: str, names: Names = PLAIN_NAMES) -> float:
    """Accuracy of an answer drawn among those that the question leaves open, two where it names them."""
    require(kind in KINDS, "kind", kind, ", ".join(KINDS))
    open_answers = {"what": names.shapes, "where": len(BACKGROUNDS), "which way": len(WAYS)}
    return 1 / open_answers.get(kind, 2)


def ask(scene: Scene, kind: str, rng: np.random.Generator) -> Question | None:
    """A question of ``kind``, not "what came first", about a clip; None where it has no answer there.

    Errors: ConfigError for another kind.
    """
    require(kind in KINDS[:-1], "kind", kind, ", ".join(KINDS[:-1]))
    if kind == "how many":
        return Question(kind, "how many things are there", COUNTS[len(scene.movers) - 1])
    mover = scene.movers[int(rng.integers(len(scene.movers)))]
    if kind == "what":
        return Question(kind, f"what is the {mover.colour} thing", mover.shape)
    if kind == "where":
        # Not the shape too: a colour and a shape miss one background, the held-out one.
        return Question(kind, f"where is the {mover.colour} thing", scene.background)
    if mover.verb not in WAYS:
        return None
    return Question(kind, f"which way does the {mover.noun} go", WAYS[mover.verb])


def ask_first(first: Mover, second: Mover, rng: np.random.Generator) -> Question:
    """What comes first in a clip that shows one object and then another; the question names both in an order
    that tells nothing. Errors: ConfigError where both are called the same."""
    names = [mover.noun for mover in (first, second)]
    require(names[0] != names[1], "second", names[1], "an object of another name than the first")
    shown = names if rng.random() < 0.5 else names[::-1]
    return Question(KINDS[-1], f"what comes first the {shown[0]} or the {shown[1]}", names[0])


def cut_together(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Two clips one after the other at twice their speed: (..., F, H, W, C) twice -> the same shape.

    Every second frame of each, drawn symmetrically about the middle, so that the cut played backwards is the
    cut of the reversed clips. Errors: ConfigError for clips of different shapes or an uneven half.
    """
    require(first.shape == second.shape, "second", second.shape, f"the first's shape {first.shape}")
    frames = first.shape[-4]
    require(frames % 4 == 0, "frames", frames, "multiples of 4")
    quarter = frames // 4
    chosen = np.concatenate([np.arange(quarter) * 2, frames - 1 - np.arange(quarter)[::-1] * 2])
    return np.concatenate([first[..., chosen, :, :, :], second[..., chosen, :, :, :]], axis=-4)


def couples(scenes: Sequence[Scene], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(P, 2): clips of one object to be cut together, every clip in at most one couple, colours apart.

    Errors: ConfigError for fewer than two clips.
    """
    require(len(scenes) >= 2, "scenes", len(scenes), "two clips or more")
    order = rng.permutation(len(scenes))
    found = [
        (a, b)
        for a, b in zip(order[::2], order[1::2], strict=False)
        if scenes[a].movers[0].colour != scenes[b].movers[0].colour
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 2)
