"""The words of the robot world: what is done to what, how it is undone, and how that is said.

The tasks of Meta-World (Yu et al. 2019) hold 14 pairs that undo each other. A clip of one task shown
backwards is a clip of the other one: "the robot opens the drawer", "the robot closes the drawer". Both
have the same frames, so that only their order tells which caption is true.

Three kinds of caption for one clip:

- ``static``    "the robot by the mug and the machine"
- ``temporal``  "the robot pushes something to something"
- ``mixed``     "the robot pushes the mug to the machine"
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from svitt.config import nearest, require
from svitt.errors import AnnotationError

CaptionKind = Literal["static", "temporal", "mixed"]


@dataclass(frozen=True)
class Pair:
    """Two tasks that undo each other. do, undo: what the robot does in each, with a place for the object and,
    where there is one, for what it is brought to or taken from; tasks: Meta-World's names of both."""

    object: str
    place: str
    do: str
    undo: str
    tasks: tuple[str, str]


PAIRS: tuple[Pair, ...] = (
    Pair("drawer", "", "opens {}", "closes {}", ("drawer-open", "drawer-close")),
    Pair("door", "", "opens {}", "closes {}", ("door-open", "door-close")),
    Pair("window", "", "opens {}", "closes {}", ("window-open", "window-close")),
    Pair("faucet", "", "opens {}", "closes {}", ("faucet-open", "faucet-close")),
    Pair("safe", "", "locks {}", "unlocks {}", ("door-lock", "door-unlock")),
    Pair("plate", "net", "slides {} into {}", "slides {} out of {}", ("plate-slide", "plate-slide-back")),
    Pair(
        "plate",
        "side net",
        "slides {} into {}",
        "slides {} out of {}",
        ("plate-slide-side", "plate-slide-back-side"),
    ),
    Pair("handle", "", "presses {} down", "pulls {} up", ("handle-press", "handle-pull")),
    Pair("side handle", "", "presses {} down", "pulls {} up", ("handle-press-side", "handle-pull-side")),
    Pair("mug", "machine", "pushes {} to {}", "pulls {} from {}", ("coffee-push", "coffee-pull")),
    Pair("thermos", "stick", "pushes {} with {}", "pulls {} with {}", ("stick-push", "stick-pull")),
    Pair("peg", "hole", "inserts {} into {}", "pulls {} out of {}", ("peg-insert-side", "peg-unplug-side")),
    Pair("ring", "pin", "puts {} on {}", "takes {} off {}", ("assembly", "disassemble")),
    Pair("block", "", "pushes {} away", "pushes {} back", ("push", "push-back")),
)
# Meta-World's name of a task -> its pair and whether it is the one that undoes.
_PLACES = {task: (pair, back == 1) for pair in PAIRS for back, task in enumerate(pair.tasks)}
TASKS: tuple[str, ...] = tuple(_PLACES)


@dataclass(frozen=True)
class Action:
    """What is seen in a clip: one of the PAIRS, done or undone."""

    pair: Pair
    undone: bool

    @classmethod
    def of_task(cls, task: str) -> Action:
        """What a task of Meta-World shows. Errors: ConfigError for a task outside the pairs."""
        require(task in _PLACES, "task", task, ", ".join(TASKS))
        return cls(*_PLACES[task])

    @property
    def task(self) -> str:
        """The task whose policy acts so, by Meta-World's name."""
        return self.pair.tasks[self.undone]

    @property
    def verb(self) -> str:
        """Without the nouns, e.g. "slides out of"."""
        return " ".join(self._phrase.replace("{}", "").split())

    def reversed(self) -> Action:
        """The action of the clip played backwards."""
        return Action(self.pair, not self.undone)

    def caption(self, kind: CaptionKind) -> str:
        """The caption of one kind."""
        require(kind in get_args(CaptionKind), "kind", kind, ", ".join(get_args(CaptionKind)))
        nouns = [f"the {noun}" for noun in (self.pair.object, self.pair.place) if noun]
        if kind == "static":
            return f"the robot by {' and '.join(nouns)}"
        named = nouns if kind == "mixed" else ["something"] * len(nouns)
        return f"the robot {self._phrase.format(*named)}"

    def flip_choices(self, kind: CaptionKind = "mixed") -> tuple[str, str]:
        """The caption and that of the time-reversed clip: for the choice whose chance level is 1/2."""
        return self.caption(kind), self.reversed().caption(kind)

    @property
    def _phrase(self) -> str:
        return self.pair.undo if self.undone else self.pair.do


ACTIONS: tuple[Action, ...] = tuple(Action.of_task(task) for task in TASKS)
OBJECTS: tuple[str, ...] = tuple(dict.fromkeys(pair.object for pair in PAIRS))
VERBS: tuple[str, ...] = tuple(dict.fromkeys(action.verb for action in ACTIONS))


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption can hold, sorted."""
    return tuple(sorted({word for sentence in _sentences() for word in sentence.split()}))


@dataclass(frozen=True)
class Reading:
    """What a sentence says; None where it does not: of the object and the place, or of the verb."""

    verb: str | None
    object: str | None
    place: str | None


def read(sentence: str) -> Reading:
    """What a caption of any kind says. Errors: AnnotationError for a word or sentence outside the grammar."""
    found = _sentences().get(sentence)
    if found is not None:
        return found
    known = vocabulary()
    for word in sentence.split():
        if word not in known:
            raise AnnotationError(
                f"{sentence!r}: {word!r} is no word of the robot world's captions; {nearest(word, known)}"
            )
    raise AnnotationError(
        f"{sentence!r}: no caption of the robot world, though its words are known; "
        f"{nearest(sentence, _sentences())}"
    )


@cache
def _sentences() -> dict[str, Reading]:
    """All captions and what they say."""
    found: dict[str, Reading] = {}
    for action in ACTIONS:
        pair = action.pair
        found[action.caption("static")] = Reading(None, pair.object, pair.place)
        found[action.caption("temporal")] = Reading(action.verb, None, None)
        found[action.caption("mixed")] = Reading(action.verb, pair.object, pair.place)
    return found
