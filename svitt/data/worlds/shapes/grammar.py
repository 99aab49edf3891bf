"""The words of the procedural world: what can be in a clip and how its captions are put together.

Three kinds of caption for one clip:

- ``static``    "a red ring on sand"
- ``temporal``  "something moves left"
- ``mixed``     "a red ring moves left on sand"

Verbs come in pairs that are each other's time reversal.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from svitt.config import added, require
from svitt.data.worlds.shapes.names import MORE_COLOURS, MORE_SHAPES, SIZES, TEXTURES, noun

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
ALL_COLOURS: dict[str, tuple[int, int, int]] = {**COLOURS, **MORE_COLOURS}
ALL_SHAPES: tuple[str, ...] = (*SHAPES, *MORE_SHAPES)
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
    """A named object: its colour, shape and what it does; texture and size where there are several."""

    colour: str
    shape: str
    verb: str
    texture: str = added("plain")
    size: str = added("large")

    @property
    def noun(self) -> str:
        """What it is called, e.g. "red ring" or "small striped red ring"."""
        return noun(self.colour, self.shape, self.texture, self.size)

    @property
    def phrase(self) -> str:
        """With its article, e.g. "a red ring" or "an orange bar"."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def looks(self) -> tuple[str, str, str, str]:
        """(colour, shape, texture, size)."""
        return self.colour, self.shape, self.texture, self.size

    def listed(self) -> list[str]:
        """As a manifest lists it: ``Mover(*m.listed()) == m``. Texture and size only where one is said."""
        more = [self.texture, self.size]
        return [self.colour, self.shape, self.verb, *(more if more != ["plain", "large"] else [])]


@dataclass(frozen=True)
class Scene:
    """What a caption can tell of a clip: the named objects, in the caption's order, and the background."""

    movers: tuple[Mover, ...]
    background: str

    def __post_init__(self) -> None:
        require(len(self.movers) >= 1, "movers", self.movers, "one named object or more")
        require(self.background in BACKGROUNDS, "background", self.background, ", ".join(BACKGROUNDS))
        for mover in self.movers:
            require(mover.colour in ALL_COLOURS, "colour", mover.colour, ", ".join(ALL_COLOURS))
            require(mover.shape in ALL_SHAPES, "shape", mover.shape, ", ".join(ALL_SHAPES))
            require(mover.texture in TEXTURES, "texture", mover.texture, ", ".join(TEXTURES))
            require(mover.size in SIZES, "size", mover.size, ", ".join(SIZES))
            require(mover.verb in VERBS, "verb", mover.verb, ", ".join(VERBS))

    def caption(self, kind: CaptionKind) -> str:
        """The caption of one kind; clauses of several objects are joined by "and"."""
        require(kind in get_args(CaptionKind), "kind", kind, ", ".join(get_args(CaptionKind)))
        if kind == "temporal":
            return " and ".join(f"something {m.verb}" for m in self.movers)
        verb = {"static": "", "mixed": " {}"}[kind]
        clauses = [f"{m.phrase}{verb.format(m.verb)}" for m in self.movers]
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


@dataclass(frozen=True)
class Names:
    """How many words of each kind the names of a world have, the first of ALL_COLOURS and so on.

    Errors: ConfigError for a number that there is not.
    """

    colours: int = len(COLOURS)
    shapes: int = len(SHAPES)
    textures: int = 1
    sizes: int = 1

    def __post_init__(self) -> None:
        kinds = {"colours": ALL_COLOURS, "shapes": ALL_SHAPES, "textures": TEXTURES, "sizes": SIZES}
        for kind, known in kinds.items():
            count = getattr(self, kind)
            require(1 <= count <= len(known), f"num_{kind}", count, f"1 to {len(known)}")

    @property
    def count(self) -> int:
        """Distinct names."""
        return self.colours * self.shapes * self.textures * self.sizes

    def words(self) -> tuple[tuple[str, ...], ...]:
        """Those of each kind: colours, shapes, textures, sizes."""
        kinds = (tuple(ALL_COLOURS), ALL_SHAPES, TEXTURES, tuple(SIZES))
        counts = (self.colours, self.shapes, self.textures, self.sizes)
        return tuple(known[:count] for known, count in zip(kinds, counts, strict=True))


# The world without textures and sizes: 24 names.
PLAIN_NAMES = Names()


def vocabulary(names: Names = PLAIN_NAMES) -> tuple[str, ...]:
    """Every word that a caption can hold, sorted."""
    colours, shapes, textures, sizes = names.words()
    said = (*textures[1:], *sizes[1:])
    articles = {Mover(colour, SHAPES[0], VERBS[0]).phrase.split()[0] for colour in colours}
    phrases = (*colours, *shapes, *said, *BACKGROUNDS, *VERBS, *articles, "and", "on", "something")
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def all_nouns(names: Names = PLAIN_NAMES) -> list[str]:
    """Everything that an object can be called, colour by colour and shape by shape."""
    return [noun(*looks) for looks in itertools.product(*names.words())]


def held_out(
    colour: str,
    shape: str,
    background: str,
    texture: str = "plain",
    size: str = "large",
    names: Names = PLAIN_NAMES,
) -> bool:
    """Whether a combination belongs to the held-out split alone.

    A Latin square over (shape, background), moved on by one for each colour: a quarter of the
    combinations, in which every value, and nearly every pair of values, is still seen in training. Where
    names have textures or sizes, a quarter of the *names*, which training shows on no background.
    """
    c, s, b = tuple(ALL_COLOURS).index(colour), ALL_SHAPES.index(shape), BACKGROUNDS.index(background)
    if names.textures * names.sizes > 1:
        return (c + s + TEXTURES.index(texture) + tuple(SIZES).index(size)) % 4 == 0
    return (c + s + b) % len(BACKGROUNDS) == 0


def combinations(held: bool) -> list[tuple[str, str, str]]:
    """(colour, shape, background) of the held-out split, or of all the others."""
    return [(c, s, b) for c in COLOURS for s in SHAPES for b in BACKGROUNDS if held_out(c, s, b) == held]


@cache
def all_combinations(names: Names, held: bool) -> tuple[tuple[str, str, str, str, str], ...]:
    """(colour, shape, background, texture, size) of the held-out split of a world, or of all the others; of
    the world of default names, those of ``combinations`` in the same order."""
    colours, shapes, textures, sizes = names.words()
    each = itertools.product(colours, shapes, BACKGROUNDS, textures, sizes)
    return tuple(combination for combination in each if held_out(*combination, names) == held)
