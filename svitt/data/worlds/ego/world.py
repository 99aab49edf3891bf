"""An egocentric video-text world: an agent's own view of its chores, narrated, in the formats of Ego4D.

A world's folder holds ``manifest.json`` and, for every video, ``<split>/<uid>/<chunk>.mp4`` and
``<split>/<uid>.npz`` (what its frames show); per split ``egoclip.csv``, and ``egomcq.json`` where it is no
training split. Every video is a pure function of (seed, split, index). Making one needs ``minigrid``; reading
does not.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svitt.config import require
from svitt.data.annotations.egoclip import EgoClip, egoclip_bytes
from svitt.data.annotations.egomcq import EgoQuestion, egomcq_bytes
from svitt.data.video.chunks import ChunkedVideos, ChunkLayout
from svitt.data.worlds import base, making, manifest
from svitt.data.worlds.ego.clips import Narrated, narrated, narrations, questions
from svitt.data.worlds.ego.grammar import NOUNS, VERBS, Action
from svitt.data.worlds.ego.moments import Moment
from svitt.data.worlds.ego.spec import CHUNKS, SPLITS, EgoSpec
from svitt.data.worlds.ego.truth import EpisodeTruth, encode_truth, read_truth
from svitt.data.worlds.files import FileEntry, add_file, encode_mp4
from svitt.errors import AnnotationError

__all__ = ["EGO", "EgoRecord", "EgoSpec", "World", "chunked_videos", "load_world", "make_world"]


@dataclass(frozen=True)
class EgoRecord:
    """One narrated clip. index: of its video in the split; path: the chunk that it begins in; moment: what
    happens; parameters: digest of all that the video shows."""

    split: str
    index: int
    path: Path
    truth_path: Path
    clip: EgoClip
    moment: Moment
    num_frames: int
    parameters: str

    def caption_at(self, dial: float) -> str:
        """The narration: the same at every dial, as each tells what happens."""
        require(0 <= dial <= 1, "dial", dial, "0 to 1")
        return self.clip.clip_text

    def truth(self) -> EpisodeTruth:
        """What the frames of the whole video show."""
        return read_truth(self.truth_path)


World = base.World[EgoSpec, EgoRecord]


def make_world(spec: EgoSpec, out: str | Path, workers: int = 2, progress: bool = True) -> World:
    """Makes the world in the folder ``out``, or what is missing of it, and returns it checked
    (``making.make``)."""
    return making.make(EGO, spec, out, workers, progress)


def load_world(path: str | Path, check: str = "full", progress: bool = False) -> World:
    """Reads a world and verifies that its manifest and files agree (``manifest.load``)."""
    return manifest.load(EGO, path, check, progress)


def chunked_videos(world: World, split: str) -> ChunkedVideos:
    """The videos of a split, to read clips from. Errors: ConfigError for an unknown split."""
    require(split in SPLITS, "split", split, ", ".join(SPLITS))
    return ChunkedVideos(world.folder / split, ChunkLayout(world.spec.chunk_seconds, "number"))


def videos_of(world: World, split: str) -> list[Narrated]:
    """The videos of a split with their clips, by number."""
    found: dict[int, list[EgoRecord]] = {}
    for record in world.split(split):
        found.setdefault(record.index, []).append(record)
    return [
        Narrated(
            records[0].clip.video_uid,
            records[0].num_frames,
            tuple(record.moment for record in records),
            tuple(record.clip for record in records),
        )
        for records in found.values()
    ]


def questions_of(world: World, split: str) -> list[EgoQuestion]:
    """The questions that a split's ``egomcq.json`` holds."""
    return questions(world.spec, split, videos_of(world, split))


def _uid(split: str, index: int) -> str:
    return f"{split}-{index:05d}"


def _names(split: str, index: int) -> dict[str, str]:
    uid = _uid(split, index)
    return {f"chunk{k}": f"{split}/{uid}/{k}.mp4" for k in range(CHUNKS)} | {"truth": f"{split}/{uid}.npz"}


def _make(task: base.Task) -> list[FileEntry]:
    """Makes some videos; runs in a worker process."""
    from svitt.data.worlds.ego.episode import draw_frames, episode

    spec: EgoSpec = task.spec
    step, entries = spec.chunk_seconds * spec.fps, []
    for index in task.indices:
        truth = episode(spec, task.split, index)
        frames = draw_frames(truth.views, spec.tile)
        for role, name in _names(task.split, index).items():
            if role == "truth":
                content = encode_truth(truth)
            else:
                number = int(role.removeprefix("chunk"))
                content = encode_mp4(frames[number * step : (number + 1) * step], spec.fps)
            (Path(task.folder) / name).parent.mkdir(exist_ok=True)
            entries.append(add_file(Path(task.folder), name, content))
    return entries


def _facts(spec: EgoSpec, place: base.Place) -> dict[str, Any]:
    """What the manifest says of a video besides its files."""
    truth = read_truth(place.path("truth"))
    texts = narrations(spec, place.split, place.index, truth.moments)
    moments = [
        [m.frame, VERBS[m.action.verb], NOUNS[m.action.noun], -1 if m.door is None else m.door, text]
        for m, text in zip(truth.moments, texts, strict=True)
    ]
    drawn = b"".join(np.ascontiguousarray(a).tobytes() for a in (truth.views, truth.agent, truth.doors))
    return {
        "frames": len(truth.views),
        "moments": moments,
        "parameters": hashlib.sha256(drawn).hexdigest()[:32],
    }


def _records(spec: EgoSpec, place: base.Place, facts: Mapping[str, Any]) -> list[EgoRecord]:
    """The clips of a video; clip_idx is 1000 times its number, and on."""
    moments = [
        Moment(frame, Action(VERBS.index(verb), NOUNS.index(noun)), None if door < 0 else door)
        for frame, verb, noun, door, _ in facts["moments"]
    ]
    texts = [text for *_, text in facts["moments"]]
    uid = _uid(place.split, place.index)
    video = narrated(spec, uid, facts["frames"], moments, texts, place.index * 1000)
    records = []
    for moment, clip in zip(moments, video.clips, strict=True):
        path = place.path(f"chunk{int(clip.clip_start // spec.chunk_seconds)}")
        truth, digest = place.path("truth"), facts["parameters"]
        records.append(
            EgoRecord(place.split, place.index, path, truth, clip, moment, facts["frames"], digest)
        )
    return records


def _annotations(world: World) -> dict[str, bytes]:
    """The annotation files of every split, by name."""
    files = {}
    for split in SPLITS:
        files[f"{split}/egoclip.csv"] = egoclip_bytes(record.clip for record in world.split(split))
        if split != "train":
            files[f"{split}/egomcq.json"] = egomcq_bytes(questions_of(world, split))
    return files


def _verify(world: World) -> None:
    """That no two videos show the same, within a split or across splits. Errors: AnnotationError."""
    seen: dict[str, str] = {}
    for record in world:
        uid = record.clip.video_uid
        if seen.setdefault(record.parameters, uid) != uid:
            raise AnnotationError(
                f"{world.folder}: videos {seen[record.parameters]} and {uid} show the same; make the world "
                "anew with another seed"
            )


def _environment() -> dict[str, str]:
    """What the workers need: nothing but MiniGrid."""
    if importlib.util.find_spec("minigrid") is None:
        raise AnnotationError(
            "an egocentric world is made with minigrid, which is not installed; "
            "pip install 'svitt[worlds]', or use the sample in data/samples/ego"
        )
    return {"PYGAME_HIDE_SUPPORT_PROMPT": "1"}


EGO = base.WorldKind(
    name="ego",
    spec=EgoSpec,
    splits=SPLITS,
    names=_names,
    make=_make,
    facts=_facts,
    clips=_records,
    verify=_verify,
    annotations=_annotations,
    shares={"validation": 8, "test": 8},
    options=(
        base.Option("chunk-seconds", "chunk_seconds", "length of a video's files; a video has three"),
        base.Option("min-frames", "min_frames", "of a video, at least"),
        base.Option("min-moments", "min_moments", "of a video, at least"),
        base.Option("clip-scale", "clip_scale", "mean time between moments over the length of a clip"),
        base.Option("tile", "tile", "pixels of a cell of the view, of 7 x 7"),
        base.Option("questions", "questions", "of either kind per test video, at most"),
    ),
    environment=_environment,
    chunk=10,
)
