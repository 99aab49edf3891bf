"""The words of the procedural world: what can be in a clip and how its captions are put together.

Three kinds of caption for one clip:

- ``static``    "a red ring on sand"
- ``temporal``  "something moves left"
- ``mixed``     "a red ring moves left on sand"

Verbs come in pairs that are each other's time reversal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from svitt.config import require

CaptionKind = Literal["static", "temporal", "mixed"]

# Word -> RGB. Six colours far apart, also after chroma subsampling.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "green": (30, 190, 60),
    "blue": (40, 70, 225),
    "yellow": (240, 220, 40),
    "purple": (165, 45, 195),
    "white": (245, 245, 245),
}
# Shapes that can still be told apart at 32 pixels a frame.
SHAPES: tuple[str, ...] = ("square", "ring", "bar", "pole")
BACKGROUNDS: tuple[str, ...] = ("sand", "grass", "water", "brick")
# Verb -> the verb of the same clip played backwards.
REVERSED_VERB: dict[str, str] = {
    "moves left": "moves right",
    "moves right": "moves left",
    "moves up": "moves down",
    "moves down": "moves up",
    "grows": "shrinks",
    "shrinks": "grows",
}
VERBS: tuple[str, ...] = tuple(REVERSED_VERB)
# Verb -> the verb of the same clip seen in a mirror (left and right swapped).
MIRRORED_VERB: dict[str, str] = {
    **{verb: verb for verb in VERBS},
    "moves left": "moves right",
    "moves right": "moves left",
}


@dataclass(frozen=True)
class Mover:
    """A named object: its colour, shape and what it does."""

    colour: str
    shape: str
    verb: str


@dataclass(frozen=True)
class Scene:
    """What a caption can tell of a clip: the named objects, in the caption's order, and the background."""

    movers: tuple[Mover, ...]
    background: str

    def __post_init__(self) -> None:
        require(len(self.movers) >= 1, "movers", self.movers, "one named object or more")
        require(self.background in BACKGROUNDS, "background", self.background, ", ".join(BACKGROUNDS))
        for mover in self.movers:
            require(mover.colour in COLOURS, "colour", mover.colour, ", ".join(COLOURS))
            require(mover.shape in SHAPES, "shape", mover.shape, ", ".join(SHAPES))
            require(mover.verb in VERBS, "verb", mover.verb, ", ".join(VERBS))

    def caption(self, kind: CaptionKind) -> str:
        """The caption of one kind; clauses of several objects are joined by "and"."""
        require(kind in get_args(CaptionKind), "kind", kind, ", ".join(get_args(CaptionKind)))
        if kind == "temporal":
            return " and ".join(f"something {m.verb}" for m in self.movers)
        verb = {"static": "", "mixed": " {}"}[kind]
        clauses = [f"a {m.colour} {m.shape}{verb.format(m.verb)}" for m in self.movers]
        return f"{' and '.join(clauses)} on {self.background}"

    def reversed(self) -> Scene:
        """The scene of the clip played backwards."""
        return self._with_verbs(REVERSED_VERB)

    def mirrored(self) -> Scene:
        """The scene of the clip flipped left to right."""
        return self._with_verbs(MIRRORED_VERB)

    def with_verb(self, verb: str, mover: int = 0) -> Scene:
        """The same scene with one object doing something else."""
        movers = list(self.movers)
        movers[mover] = replace(movers[mover], verb=verb)
        return replace(self, movers=tuple(movers))

    def verb_choices(self, kind: CaptionKind = "mixed", mover: int = 0) -> tuple[str, ...]:
        """Captions that differ in one object's verb alone, in the order of VERBS; the true one is at
        ``VERBS.index(scene.movers[mover].verb)``."""
        return tuple(self.with_verb(verb, mover).caption(kind) for verb in VERBS)

    def flip_choices(self, kind: CaptionKind = "mixed") -> tuple[str, str]:
        """The caption and that of the time-reversed clip: for the choice whose chance level is 1/2."""
        return self.caption(kind), self.reversed().caption(kind)

    def _with_verbs(self, table: dict[str, str]) -> Scene:
        return replace(self, movers=tuple(replace(m, verb=table[m.verb]) for m in self.movers))


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption can hold, sorted."""
    phrases = (*COLOURS, *SHAPES, *BACKGROUNDS, *VERBS, "a", "and", "on", "something")
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def held_out(colour: str, shape: str, background: str) -> bool:
    """Whether a combination belongs to the held-out split alone.

    A Latin square over (shape, background), moved on by one for each colour: a quarter of the
    combinations, in which every value, and nearly every pair of values, is still seen in training.
    """
    c, s, b = tuple(COLOURS).index(colour), SHAPES.index(shape), BACKGROUNDS.index(background)
    return (c + s + b) % len(BACKGROUNDS) == 0


def combinations(held: bool) -> list[tuple[str, str, str]]:
    """(colour, shape, background) of the held-out split, or of all the others."""
    return [(c, s, b) for c in COLOURS for s in SHAPES for b in BACKGROUNDS if held_out(c, s, b) == held]
