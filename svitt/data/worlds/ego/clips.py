"""Clips and questions of the egocentric world, as Ego4D has them: EgoClip's intervals, EgoMCQ's choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from svitt.data.annotations.egoclip import EgoClip
from svitt.data.annotations.egomcq import CHOICES, TYPES, EgoQuestion, Kind
from svitt.data.video.chunks import clip_frames
from svitt.data.worlds.ego.grammar import Action, narrate
from svitt.data.worlds.ego.moments import Moment
from svitt.data.worlds.ego.spec import SPLITS, EgoSpec

# Streams of random numbers of a video; its episodes have the ones from 0.
_NARRATIONS, _QUESTIONS = 1_000_001, 1_000_002


@dataclass(frozen=True)
class Narrated:
    """A video: its uid, number of frames, moments in time, and the clip of each moment."""

    uid: str
    num_frames: int
    moments: tuple[Moment, ...]
    clips: tuple[EgoClip, ...]

    def shows(self, place: int, action: Action, fps: int) -> bool:
        """Whether an action happens anywhere in the clip at ``place``, its own moment or another."""
        clip = self.clips[place]
        first, total = clip_frames(clip.clip_start, clip.clip_end, fps)
        return any(m.action == action and first <= m.frame <= first + total for m in self.moments)


def narrations(spec: EgoSpec, split: str, index: int, moments: Sequence[Moment]) -> list[str]:
    """What is said of the moments of a video; drawn from the spec's seed, the split and the number."""
    draw = np.random.default_rng([spec.seed, SPLITS.index(split), index, _NARRATIONS])
    return [narrate(moment.action, draw) for moment in moments]


def narrated(
    spec: EgoSpec, uid: str, num_frames: int, moments: Sequence[Moment], texts: Sequence[str], number: int
) -> Narrated:
    """The clips of a video: each as long as the mean time between its moments (over clip_scale), with the
    moment in its middle, cut where the video begins and ends (Lin et al. 2022, section 3.1).

    number: clip_idx of the first.
    """
    duration = num_frames / spec.fps
    times = [moment.frame / spec.fps for moment in moments]
    between = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else duration
    half = between / spec.clip_scale / 2
    clips = tuple(
        EgoClip(
            clip_idx=number + place,
            video_uid=uid,
            video_dur=duration,
            narration_source="narration_pass_1",
            narration_ind=place,
            narration_time=time,
            clip_start=round(max(0.0, time - half), 6),
            clip_end=round(min(duration, time + half), 6),
            clip_text=text,
            tag_verb=(moment.action.verb,),
            tag_noun=moment.action.nouns,
        )
        for place, (time, moment, text) in enumerate(zip(times, moments, texts, strict=True))
    )
    return Narrated(uid, num_frames, tuple(moments), clips)


def questions(spec: EgoSpec, split: str, videos: Sequence[Narrated]) -> list[EgoQuestion]:
    """Up to ``spec.questions`` of either kind per video, a pure function of the videos of a split.

    The five clips differ in their (verb, noun), and the queried action happens in one of them only, also
    where clips overlap: an answer is right once. A video without enough different clips has no question of
    that kind.
    """
    found: list[EgoQuestion] = []
    for index, video in enumerate(videos):
        draw = np.random.default_rng([spec.seed, SPLITS.index(split), index, _QUESTIONS])
        for kind in TYPES:
            asked = 0
            for place in draw.permutation(len(video.clips)).tolist():
                if asked == spec.questions:
                    break
                candidates = _candidates(kind, videos, index, place, spec.fps, draw)
                others = _distinct(candidates, video.moments[place].action)
                if others is None:
                    continue
                choices = [video.clips[place], *others]
                order = draw.permutation(CHOICES).tolist()
                found.append(
                    EgoQuestion(
                        question_id=str(len(found)),
                        query=video.clips[place],
                        choices=tuple(choices[at] for at in order),
                        answer=order.index(0),
                        types=TYPES[kind],
                    )
                )
                asked += 1
    return found


def _candidates(
    kind: Kind, videos: Sequence[Narrated], index: int, place: int, fps: int, draw: np.random.Generator
) -> Iterator[tuple[EgoClip, Action]]:
    """Wrong clips for a question, in an order that is drawn: of this video, or one of each other video."""
    action = videos[index].moments[place].action
    if kind == "intra_video":
        video = videos[index]
        for at in draw.permutation(len(video.clips)).tolist():
            if not video.shows(at, action, fps):
                yield video.clips[at], video.moments[at].action
        return
    for other in draw.permutation(len(videos)).tolist():
        video = videos[other]
        at = int(draw.integers(len(video.clips)))
        if other != index and not video.shows(at, action, fps):
            yield video.clips[at], video.moments[at].action


def _distinct(candidates: Iterator[tuple[EgoClip, Action]], action: Action) -> list[EgoClip] | None:
    """The first wrong clips that differ in their actions; None if there are too few."""
    chosen: list[EgoClip] = []
    taken = {action}
    for clip, other in candidates:
        if other not in taken:
            chosen.append(clip)
            taken.add(other)
        if len(chosen) == CHOICES - 1:
            return chosen
    return None
