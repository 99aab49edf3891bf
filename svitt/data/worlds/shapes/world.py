"""A procedural video-text world: real MP4 files, captions with a dial from static to temporal, and the
ground truth of what is where.

One named object (or several) of 6 colours and 4 shapes on one of 4 textured backgrounds does one of six
things; neutral distractors may move too. Dials of ``WorldSpec`` make it harder: names with texture and size,
up to 1,152 of them, brief events, distractors that stand out, a camera that shakes. Every clip is a pure
function of (seed, split, index): making 10 clips or 10,000 gives the same files for the same numbers.

A world's folder holds ``manifest.json`` and, for every clip, ``<split>/<index>.mp4`` and ``.npz``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svitt.config import require
from svitt.data.worlds import base, making, manifest
from svitt.data.worlds.files import Frames
from svitt.data.worlds.shapes.files import clip_facts, clip_names, make_clips, read_truth
from svitt.data.worlds.shapes.grammar import CaptionKind, Mover, Scene
from svitt.data.worlds.shapes.render import ClipTruth, render
from svitt.data.worlds.shapes.scene import SPLITS, WorldSpec, clip_parameters
from svitt.errors import AnnotationError

__all__ = [
    "SHAPES", "SPLITS", "ClipRecord", "Split", "World", "WorldSpec",
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


Split = base.Split[ClipRecord]
World = base.World[WorldSpec, ClipRecord]


def make_world(spec: WorldSpec, out: str | Path, workers: int = 2, progress: bool = True) -> World:
    """Makes the world in the folder ``out``, or what is missing of it, and returns it checked.

    workers: processes; 1 or less works in this one. Interrupted, the same call goes on where it stopped.

    Errors: AnnotationError when ``out`` cannot be written, holds something else or a world of other
    parameters, or a damaged file; nothing that is there is overwritten.
    """
    return making.make(SHAPES, spec, out, workers, progress)


def load_world(path: str | Path, check: str = "full", progress: bool = False) -> World:
    """Reads a world and verifies that its manifest and files agree.

    check: "full": every file is there with its recorded SHA-256, no other clip is, and what is drawn and
    said of each is made anew and compared (about .7 ms a clip); "size": only the sizes of files.

    Errors: AnnotationError naming the first file or entry that disagrees and the way out.
    """
    return manifest.load(SHAPES, path, check, progress)


def _records(spec: WorldSpec, place: base.Place, facts: Mapping[str, Any]) -> list[ClipRecord]:
    scene = Scene(tuple(Mover(*m) for m in facts["movers"]), facts["background"])
    for kind, caption in facts["captions"].items():
        if caption != scene.caption(kind):
            raise AnnotationError(
                f"{place.folder / manifest.MANIFEST}: clip {place.name}: the {kind} caption {caption!r} does "
                f"not fit its attributes ({scene.caption(kind)!r}); restore the manifest or make the world "
                "anew"
            )
    threshold, parameters = facts["caption_threshold"], facts["parameters"]
    video, truth = place.path("video"), place.path("truth")
    return [ClipRecord(place.split, place.index, video, truth, scene, threshold, parameters)]


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


SHAPES = base.WorldKind(
    name="shapes",
    spec=WorldSpec,
    splits=SPLITS,
    names=clip_names,
    make=make_clips,
    facts=clip_facts,
    clips=_records,
    verify=assert_disjoint,
    shares={"validation": 8, "test": 4, "heldout": 8},
    options=(
        base.Option("size", "size", "frame side in pixels"),
        base.Option("frames", "num_frames", "frames a clip"),
        base.Option("movers", "num_movers", "named objects a clip"),
        base.Option("clutter", "clutter", "distractors a clip"),
        base.Option("object-size", "object_size", "side, as a share of the frame's"),
        base.Option("colours", "num_colours", "of names, up to 12"),
        base.Option("shapes", "num_shapes", "of names, up to 8"),
        base.Option("textures", "num_textures", "of names, up to 6"),
        base.Option("sizes", "num_sizes", "of names, up to 2"),
        base.Option("distractor-contrast", "distractor_contrast", "0 (grey) to 1 (black and white)"),
        base.Option("camera-jitter", "camera_jitter", "of every frame, in frame sides"),
    ),
)
