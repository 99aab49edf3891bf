"""What is narrated of a moment: verbs and nouns with their tags, and synonyms for the words.

A tag stands for a meaning, as in EgoClip's taxonomy ("take, pick, grab" is one verb); which of its synonyms
a narration has is drawn. A coloured object is one noun, so that two clips share a tag only if they are about
the same kind of thing. Unlocking has two nouns, the door and its key.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svitt.config import require

COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
SHAPES = ("ball", "box", "key", "door")
NOUNS = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)
VERBS = ("pick up", "put down", "open", "close", "unlock", "enter")

_VERB_WORDS: dict[str, tuple[str, ...]] = {
    "pick up": ("picks up", "takes", "grabs"),
    "put down": ("puts down", "drops", "sets down"),
    "open": ("opens", "pulls open", "swings open"),
    "close": ("closes", "shuts", "pushes shut"),
    "unlock": ("unlocks", "undoes the lock of", "turns the lock of"),
    "enter": ("goes through", "walks through", "passes through"),
}
_SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "ball": ("ball", "sphere", "globe"),
    "box": ("box", "crate", "case"),
    "key": ("key", "latchkey", "passkey"),
    "door": ("door", "gate", "doorway"),
}
_COLOUR_WORDS: dict[str, tuple[str, ...]] = {"grey": ("grey", "gray"), "purple": ("purple", "violet")}


@dataclass(frozen=True)
class Action:
    """A verb and the object it is done to: numbers in VERBS and NOUNS."""

    verb: int
    noun: int

    def __post_init__(self) -> None:
        require(0 <= self.verb < len(VERBS), "verb", self.verb, f"0 to {len(VERBS) - 1}")
        require(0 <= self.noun < len(NOUNS), "noun", self.noun, f"0 to {len(NOUNS) - 1}")
        is_door, takes_door = self.shape == "door", VERBS[self.verb] not in ("pick up", "put down")
        require(is_door == takes_door, "noun", NOUNS[self.noun], f"what one can {VERBS[self.verb]}")

    @property
    def colour(self) -> str:
        """Of the object."""
        return COLOURS[self.noun % len(COLOURS)]

    @property
    def shape(self) -> str:
        """Of the object, one of SHAPES."""
        return SHAPES[self.noun // len(COLOURS)]

    @property
    def nouns(self) -> tuple[int, ...]:
        """The noun tags: the object; in unlocking, also the key of its colour."""
        if VERBS[self.verb] != "unlock":
            return (self.noun,)
        return (self.noun, noun_number(self.colour, "key"))


def noun_number(colour: str, shape: str) -> int:
    """The tag of a coloured object. Errors: ConfigError for one that the world does not have."""
    name = f"{colour} {shape}"
    require(name in NOUNS, "noun", name, f"a colour ({', '.join(COLOURS)}) and one of {', '.join(SHAPES)}")
    return NOUNS.index(name)


def narrate(action: Action, generator: np.random.Generator) -> str:
    """A narration in Ego4D's manner, e.g. "#C C takes the red ball" ("#C C": the wearer of the camera)."""

    def one_of(words: tuple[str, ...]) -> str:
        return words[int(generator.integers(len(words)))]

    verb = one_of(_VERB_WORDS[VERBS[action.verb]])
    colour = one_of(_COLOUR_WORDS.get(action.colour, (action.colour,)))
    text = f"#C C {verb} the {colour} {one_of(_SHAPE_WORDS[action.shape])}"
    if VERBS[action.verb] == "unlock":
        text += f" with the {colour} {one_of(_SHAPE_WORDS['key'])}"
    return text
