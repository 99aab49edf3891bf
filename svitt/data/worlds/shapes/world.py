"""A procedural video-text world: real MP4 files, captions with a dial from static to temporal, and the
ground truth of what is where.

One named object (or several) of 6 colours and 4 shapes on one of 4 textured backgrounds does one of six
things; neutral distractors may move too. Every clip is a pure function of (seed, split, index): making
10 clips or 10,000 gives the same files for the same numbers.

A world's folder holds ``manifest.json`` and, for every clip, ``<split>/<index>.mp4`` and ``.npz``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from svitt.config import require
from svitt.data.worlds.shapes.files import read_truth
from svitt.data.worlds.shapes.grammar import CaptionKind, Scene
from svitt.data.worlds.shapes.make import load_entries, make_files
from svitt.data.worlds.shapes.render import ClipTruth, Frames, render
from svitt.data.worlds.shapes.scene import SPLITS, WorldSpec, clip_parameters
from svitt.errors import AnnotationError

__all__ = [
    "SPLITS", "ClipRecord", "Split", "World", "WorldSpec",
    "assert_disjoint", "load_world", "make_world", "render_clip",
]  # fmt: skip


@dataclass(frozen=True)
class ClipRecord:
    """One clip: its files, what can be said of it, and the digest of all that is drawn in it."""

    split: str
    index: int
    path: Path
    truth_path: Path
    scene: Scene
    caption_threshold: float
    parameters: str

    @property
    def verb(self) -> str:
        """What the (first) named object does, e.g. "moves left"."""
        return self.scene.movers[0].verb

    @property
    def attributes(self) -> tuple[str, str, str]:
        """(colour, shape, background) of the (first) named object."""
        mover = self.scene.movers[0]
        return mover.colour, mover.shape, self.scene.background

    def caption(self, kind: CaptionKind = "mixed") -> str:
        """A caption of one kind."""
        return self.scene.caption(kind)

    def caption_at(self, dial: float) -> str:
        """The caption at a dial in [0, 1], the share of clips whose caption carries the verb.

        Fixed for a clip: at 0 all captions are static, at 1 all are mixed, and a clip whose caption has
        the verb keeps it at every higher dial.
        """
        return self.scene.caption("mixed" if self.has_verb_at(dial) else "static")

    def has_verb_at(self, dial: float) -> bool:
        """Whether ``caption_at(dial)`` carries the verb."""
        require(0 <= dial <= 1, "dial", dial, "0 (static) to 1 (temporal)")
        return self.caption_threshold < dial

    def truth(self) -> ClipTruth:
        """Masks and boxes of everything in the clip."""
        return read_truth(self.truth_path)


class Split(Sequence[ClipRecord]):
    """The clips of one split, by index; a slice is a list."""

    def __init__(self, name: str, records: Sequence[ClipRecord]) -> None:
        self.name = name
        self._records = list(records)

    @overload
    def __getitem__(self, index: int) -> ClipRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ClipRecord]: ...
    def __getitem__(self, index: int | slice) -> ClipRecord | list[ClipRecord]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def captions(self, dial: float) -> list[str]:
        """One caption a clip, at a dial from 0 (static) to 1 (temporal)."""
        return [record.caption_at(dial) for record in self._records]


@dataclass(frozen=True)
class World:
    """A made world. digest: SHA-256 of its manifest, which lists the SHA-256 of every file."""

    folder: Path
    spec: WorldSpec
    digest: str
    splits: dict[str, Split]

    def split(self, name: str) -> Split:
        """ "train", "validation", "test" or "heldout". Errors: ConfigError for another name."""
        require(name in self.splits, "split", name, ", ".join(self.splits))
        return self.splits[name]

    def __iter__(self) -> Iterator[ClipRecord]:
        for split in self.splits.values():
            yield from split


def make_world(spec: WorldSpec, out: str | Path, workers: int = 2, progress: bool = True) -> World:
    """Makes the world in the folder ``out``, or what is missing of it, and returns it checked.

    workers: processes; 1 or less works in this one. Interrupted, the same call goes on where it stopped.

    Errors: AnnotationError when ``out`` cannot be written, holds something else or a world of other
    parameters, or a damaged file; nothing that is there is overwritten.
    """
    make_files(spec, Path(out), workers, progress)
    return load_world(out, progress=progress)


def load_world(path: str | Path, check: str = "full", progress: bool = False) -> World:
    """Reads a world and verifies that its manifest and files agree.

    check: "full": every file is there with its recorded SHA-256, no other clip is, and what is drawn and
    said of each is made anew and compared (about .7 ms a clip); "size": only the sizes of files.

    Errors: AnnotationError naming the first file or entry that disagrees and the way out.
    """
    require(check in ("size", "full"), "check", check, "size, full")
    folder = Path(path)
    spec, digest, clips = load_entries(folder, check == "full", progress)
    records: dict[str, list[ClipRecord]] = {split: [] for split in SPLITS}
    for clip in clips:
        video, truth = folder / clip.video.name, folder / clip.truth.name
        records[clip.split].append(
            ClipRecord(clip.split, clip.index, video, truth, clip.scene, clip.threshold, clip.parameters)
        )
    world = World(folder, spec, digest, {name: Split(name, records[name]) for name in SPLITS})
    assert_disjoint(world)
    return world


def assert_disjoint(world: World) -> None:
    """That no two clips are drawn alike, within a split or across splits, and that no combination of looks
    and background of the held-out split occurs in another. Errors: AnnotationError."""
    seen: dict[str, ClipRecord] = {}
    for record in world:
        if record.parameters in seen:
            twin = seen[record.parameters]
            raise AnnotationError(f"{record.path} and {twin.path} are the same clip; make the world anew")
        seen[record.parameters] = record
    combinations = {
        name: {(*m.looks, r.scene.background) for r in split for m in r.scene.movers}
        for name, split in world.splits.items()
    }
    for name in SPLITS[:-1]:
        shared = combinations[name] & combinations["heldout"]
        if shared:
            raise AnnotationError(
                f"{world.folder}: combinations of the held-out split also in {name}: {sorted(shared)}; "
                "make the world anew"
            )


def render_clip(spec: WorldSpec, split: str, index: int) -> tuple[Frames, ClipTruth]:
    """A clip in memory, before H.264: frames uint8 (T, H, W, 3) and its ground truth."""
    return render(clip_parameters(spec, split, index), spec.num_frames, spec.size)
