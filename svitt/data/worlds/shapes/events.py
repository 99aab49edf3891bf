"""Brief and slow events: what happens over a whole clip, or in a moment of it.

A slow event is a clip of the world as it is. A brief one rests at the clip's middle frame, and for a moment
the object goes where it would have gone and comes back: "jumps left", "swells". Both are made of the frames
of the same decoded file. A brief event played backwards is itself, so its direction has to be *seen*, not
ordered: who samples few frames misses it. Captions say what happens and not to what ("something jumps
left"): where they also name the object, a model learns the names first and the events hardly at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.data.worlds.shapes.grammar import VERBS, Scene
from svitt.data.worlds.shapes.grammar import vocabulary as world_vocabulary
from svitt.data.worlds.shapes.scene import log_uniform

# Slow verb -> the verb of the brief event.
BRIEF: dict[str, str] = {
    "moves left": "jumps left",
    "moves right": "jumps right",
    "moves up": "jumps up",
    "moves down": "jumps down",
    "grows": "swells",
    "shrinks": "dips",
}
EVENTS: tuple[str, ...] = (*VERBS, *BRIEF.values())
assert tuple(BRIEF) == VERBS

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Event:
    """What happens in a clip. verb: one of EVENTS. frames: (F,) of the file, in the order in which they are
    shown."""

    verb: str
    frames: npt.NDArray[np.int64]

    @property
    def brief(self) -> bool:
        """Whether it is over in a moment."""
        return self.verb in BRIEF.values()


def vocabulary() -> tuple[str, ...]:
    """Every word of the world's captions and of these."""
    return tuple(sorted({*world_vocabulary(), *(word for verb in EVENTS for word in verb.split())}))


def brief_frames(total: int, length: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(total,) frames of a brief event of ``length`` frames at a random moment, the rest at the middle.

    Out and back: the frames of the event go to the clip's last and return, so the furthest is shown once.
    Errors: ConfigError for an even length, or one that leaves no rest.
    """
    require(length >= 1 and length % 2 == 1, "length", length, "odd integers from 1")
    require(length < total, "length", length, f"at most {total - 1}, so that there is a rest")
    middle = (total - 1) // 2
    out = np.linspace(middle, total - 1, length // 2 + 2).round().astype(np.int64)[1:]
    moment = np.concatenate([out, out[-2::-1]])
    start = int(rng.integers(total - length + 1))
    frames = np.full(total, middle, dtype=np.int64)
    frames[start : start + length] = moment
    return frames


def brief_length(shortest: int, longest: int, rng: np.random.Generator) -> int:
    """A log-uniform odd length for ``brief_frames``, from ``shortest`` to ``longest``, both odd.

    Errors: ConfigError for an even bound or an empty range.
    """
    for name, bound in (("shortest", shortest), ("longest", longest)):
        require(bound % 2 == 1, name, bound, "odd integers from 1")
    return 2 * log_uniform((shortest + 1) // 2, (longest + 1) // 2, rng) - 1


def event_of(scene: Scene, total: int, length: int, brief: bool, rng: np.random.Generator) -> Event:
    """The event of a clip of one named object, slow or brief."""
    verb = scene.movers[0].verb
    if not brief:
        return Event(verb, np.arange(total))
    return Event(BRIEF[verb], brief_frames(total, length, rng))


def event_caption(verb: str) -> str:
    """E.g. "something jumps left". Errors: ConfigError for a verb that is no event."""
    require(verb in EVENTS, "verb", verb, ", ".join(EVENTS))
    return f"something {verb}"


def event_choices(brief: bool) -> tuple[str, ...]:
    """The captions of all events of one kind, in the order of VERBS: six, of which one is right."""
    return tuple(event_caption(BRIEF[verb] if brief else verb) for verb in VERBS)


def shown(clips: Frames, events: list[Event]) -> Frames:
    """uint8 (N, F, H, W, C) -> the same shape, each clip as its event shows it."""
    require(len(clips) == len(events), "events", len(events), f"one for each of {len(clips)} clips")
    order = np.stack([event.frames for event in events])
    return clips[np.arange(len(clips))[:, None], order]
