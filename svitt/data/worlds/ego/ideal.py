"""The best that can be scored on the questions of an egocentric world, and what needs no video at all.

The ideal observer reads, in the frames that a model is shown, every cell and every door, knows where the
agent stands, and remembers what it saw: it answers from the ground truth of those frames alone. The blind
observer sees no frame: it knows the narration, when each clip's moment is in its video and how long the clip
is, and from the training clips how often what is narrated happens when. A score between the two was earned
by looking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from svitt.data.annotations.egoclip import EgoClip
from svitt.data.annotations.egomcq import EgoQuestion
from svitt.data.video.chunks import clip_frames
from svitt.data.video.sampling import sample_indices
from svitt.data.worlds.ego.grammar import NOUNS, VERBS, Action
from svitt.data.worlds.ego.moments import CLOSED, LOCKED, OPEN
from svitt.data.worlds.ego.spec import room_at
from svitt.data.worlds.ego.truth import COLOUR_OF, HAND, SHAPE_OF, EpisodeTruth

Scores = npt.NDArray[np.float64]
_CHANGES = {"open": (CLOSED, OPEN), "close": (OPEN, CLOSED), "unlock": (LOCKED, OPEN)}
_BINS = 10


def ideal_answer(
    question: EgoQuestion, truths: Mapping[str, EpisodeTruth], fps: int, num_frames: int
) -> Scores:
    """Scores (5,) of the choices: 2 where the shown frames prove the queried action, and 1 where they show
    its object.

    truths: by uid. num_frames: frames shown of every clip, the middles of as many equal parts.
    """
    action = action_of(question.query)
    return np.array([_evidence(action, clip, truths, fps, num_frames) for clip in question.choices])


def action_of(clip: EgoClip) -> Action:
    """What a clip of this world is about, from its tags."""
    return Action(clip.tag_verb[0], clip.tag_noun[0])


def _evidence(
    action: Action, clip: EgoClip, truths: Mapping[str, EpisodeTruth], fps: int, num_frames: int
) -> float:
    truth = truths[clip.video_uid]
    first, total = clip_frames(clip.clip_start, clip.clip_end, fps)
    shown = np.minimum(first + sample_indices(num_frames, total), len(truth.views) - 1).tolist()
    return 2.0 * is_shown(action, truth, shown) + any(_in_view(action.noun, truth, t) for t in shown)


def is_shown(action: Action, truth: EpisodeTruth, frames: Sequence[int]) -> bool:
    """Whether these frames (ascending), and nothing besides, prove that an action happens among them."""
    verb = VERBS[action.verb]
    if verb in ("pick up", "put down"):
        held = [_held(truth, t) == action.noun for t in frames]
        change = (False, True) if verb == "pick up" else (True, False)
        return change in pairwise(held)
    doors = [number for number, (_, _, noun) in enumerate(truth.doors.tolist()) if noun == action.noun]
    if verb == "enter":
        return any(_passes(truth, door, frames) for door in doors)
    return any(_CHANGES[verb] in _states(truth, door, frames) for door in doors)


def _held(truth: EpisodeTruth, frame: int) -> int | None:
    """Noun of what the hand holds in a frame."""
    return _noun(*truth.views[frame][HAND][:2].tolist())


def _noun(shape: int, colour: int) -> int | None:
    return NOUNS.index(f"{COLOUR_OF[colour]} {SHAPE_OF[shape]}") if shape in SHAPE_OF else None


def _in_view(noun: int, truth: EpisodeTruth, frame: int) -> bool:
    kinds = truth.views[frame][..., :2].reshape(-1, 2).tolist()
    return any(_noun(shape, colour) == noun for shape, colour in kinds)


def _states(truth: EpisodeTruth, door: int, frames: Sequence[int]) -> set[tuple[int, int]]:
    """Pairs of states that a door is seen in, one after the other; it is open when stood upon."""
    seen: list[int] = []
    for t in frames:
        on_it = truth.agent[t, :2].tolist() == truth.doors[door, :2].tolist()
        state = OPEN if on_it else truth.door_states(t).get(door)
        if state is not None:
            seen.append(state)
    return set(pairwise(seen))


def _passes(truth: EpisodeTruth, door: int, frames: Sequence[int]) -> bool:
    """Whether the agent is on one side of a door, and then in the room on its other side."""
    x, y = truth.doors[door, :2].tolist()
    sides = {room_at(x + dx, y + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))} - {None}
    rooms = [room for t in frames if (room := room_at(*truth.agent[t, :2].tolist())) is not None]
    return any(a != b and {a, b} == sides for a, b in pairwise(rooms))


@dataclass(frozen=True)
class BlindObserver:
    """What training clips tell without a frame: how often each action is narrated, by tenth of the video and
    by length of the clip in tenths of a second."""

    when: Mapping[tuple[int, int], int]
    length: Mapping[tuple[int, int], int]
    actions: Mapping[int, int]

    @classmethod
    def of(cls, clips: Sequence[EgoClip]) -> BlindObserver:
        """From the clips of a training split."""
        verbs = [action_of(clip).verb for clip in clips]
        when = Counter((verb, _when(clip)) for verb, clip in zip(verbs, clips, strict=True))
        length = Counter((verb, _length(clip)) for verb, clip in zip(verbs, clips, strict=True))
        return cls(when, length, Counter(verbs))

    def answer(self, question: EgoQuestion) -> Scores:
        """Log odds (5,) of the narrated verb in each choice, from its time in the video and its length."""
        verb = action_of(question.query).verb
        return np.array(
            [self._odds(self.when, verb, _when(c)) + self._odds(self.length, verb, _length(c))
             for c in question.choices]
        )  # fmt: skip

    def _odds(self, counts: Mapping[tuple[int, int], int], verb: int, place: int) -> float:
        """log P(place | verb) / P(place | another verb), one added to every count."""
        mine, all_mine = counts.get((verb, place), 0), self.actions.get(verb, 0)
        others = sum(counts.get((v, place), 0) for v in self.actions if v != verb)
        all_others = sum(n for v, n in self.actions.items() if v != verb)
        return float(np.log((mine + 1) / (all_mine + _BINS)) - np.log((others + 1) / (all_others + _BINS)))


def blind_answer(question: EgoQuestion, observer: BlindObserver) -> Scores:
    """Scores (5,) of the choices for one that sees no frame."""
    return observer.answer(question)


def _when(clip: EgoClip) -> int:
    return min(_BINS - 1, int(_BINS * clip.narration_time / clip.video_dur))


def _length(clip: EgoClip) -> int:
    return int(10 * (clip.clip_end - clip.clip_start))
