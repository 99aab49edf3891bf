"""Frames of a time interval of a long video that is kept in chunks, one file per so many seconds.

Ego4D's videos last hours and are cut: EgoVLP keeps ``{uid}/{number}.mp4``, number = second // 600; LaViLa
``{uid}.mp4/{first second}.mp4``, of 300 s. A clip may begin in one chunk and end in the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from svitt.config import require
from svitt.data.video.decode import VideoInfo, probe, read_clip
from svitt.data.video.readers import Frames
from svitt.data.video.sampling import Sampling
from svitt.errors import VideoDecodeError

Naming = Literal["number", "second"]


@dataclass(frozen=True)
class ChunkLayout:
    """How chunks are named. seconds: of a chunk, whole. naming: "number", ``{uid}/{k}.mp4`` for the k-th from
    0, or "second", ``{uid}.mp4/{first second}.mp4``."""

    seconds: int = 600
    naming: Naming = "number"

    def __post_init__(self) -> None:
        require(self.seconds >= 1, "seconds", self.seconds, "integers from 1")
        require(self.naming in get_args(Naming), "naming", self.naming, ", ".join(get_args(Naming)))

    def name(self, uid: str, number: int) -> str:
        """Of the number-th chunk of a video, relative to the videos' folder."""
        if self.naming == "number":
            return f"{uid}/{number}.mp4"
        return f"{uid}.mp4/{number * self.seconds}.mp4"


EGOVLP = ChunkLayout(600, "number")
LAVILA = ChunkLayout(300, "second")


def clip_frames(start: float, end: float, fps: float) -> tuple[int, int]:
    """Number in the whole video of a clip's first frame, and how many it has: those from round(start fps) up
    to round(end fps), that one excluded; one at least."""
    first = round(start * fps)
    return first, max(1, round(end * fps) - first)


class ChunkedVideos:
    """The chunked videos below a folder. Looks at every chunk once and remembers its length and rate."""

    def __init__(self, root: str | Path, layout: ChunkLayout = EGOVLP, tolerance: float = 1.0) -> None:
        """tolerance: seconds that a chunk may lack at its end (cutting loses frames, and narrations end
        after videos do); its last frame stands in there."""
        self.root, self.layout, self.tolerance = Path(root), layout, tolerance
        self._known: dict[Path, VideoInfo] = {}

    def path(self, uid: str, number: int) -> Path:
        """The file of a chunk."""
        return self.root / self.layout.name(uid, number)

    def read(
        self,
        uid: str,
        start: float,
        end: float,
        sampling: Sampling,
        generator: np.random.Generator | None = None,
        duration: float | None = None,
    ) -> Frames:
        """Frames of the clip from ``start`` to ``end``, in seconds of the whole video.

        ``sampling`` chooses among the clip's frames (``clip_frames``) as among those of a video. fps is that
        of the first chunk. generator: for "random". duration: of the whole video in seconds, where known; in
        a clip that ends after it the video's last frame stands in.

        Returns uint8 (T, H, W, 3). Errors: VideoDecodeError naming the clip and a chunk that is missing,
        damaged, of another rate or size, or too short; ConfigError for an interval that is none.
        """
        require(0 <= start <= end, "clip", (start, end), "0 <= start <= end")
        clip = f"clip of {uid} from {start:g} to {end:g} s"
        fps = self._info(uid, int(start // self.layout.seconds), clip).fps
        if fps <= 0:
            raise VideoDecodeError(f"{clip}: {self.path(uid, 0)}: frame rate unknown; make the chunk again")
        first, total = clip_frames(start, end, fps)
        wanted = first + sampling.indices(total, fps, generator)
        if duration is not None:
            wanted = np.minimum(wanted, max(0, round(duration * fps) - 1))
        # Number of the first frame of chunk k: where k chunks of so many seconds end.
        begins = np.array([round(k * self.layout.seconds * fps) for k in range(self._after(end, fps))])
        chunks = np.searchsorted(begins, wanted, side="right") - 1
        parts = [
            self._part(uid, int(number), wanted[chunks == number] - begins[number], fps, clip)
            for number in np.unique(chunks)
        ]
        if len({part.shape[1:] for part in parts}) > 1:
            raise VideoDecodeError(f"{clip}: its chunks have frames of different sizes; make them again")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _after(self, end: float, fps: float) -> int:
        """A number above that of every chunk that a clip may reach."""
        return int((end + 1 / fps) // self.layout.seconds) + 2

    def _part(self, uid: str, number: int, local: np.ndarray, fps: float, clip: str) -> Frames:
        """Frames of one chunk, by their numbers in it; those just after its end are its last."""
        info = self._info(uid, number, clip)
        if abs(info.fps - fps) > 0.01 * fps:
            raise VideoDecodeError(
                f"{clip}: {self.path(uid, number)} has {info.fps:g} frames per second, another chunk "
                f"{fps:g}; make the chunks of one rate"
            )
        over = int(local.max()) + 1 - info.num_frames
        if over > max(1.0, self.tolerance * fps):
            raise VideoDecodeError(
                f"{clip}: {self.path(uid, number)} ends {over / fps:.1f} s before it (it has "
                f"{info.num_frames} frames); copy or make the chunk again, or leave the clip out"
            )
        return read_clip(self.path(uid, number), np.minimum(local, info.num_frames - 1))

    def _info(self, uid: str, number: int, clip: str) -> VideoInfo:
        path = self.path(uid, number)
        if path not in self._known:
            if not path.is_file():
                raise VideoDecodeError(
                    f"{clip}: chunk {path} is missing; copy or make it, or check the layout "
                    f"({self.layout.seconds} s a chunk, named by {self.layout.naming})"
                )
            self._known[path] = probe(path)
        return self._known[path]
