"""``python -m svitt.commands.bench_decode [FILES]``: ``read_clip`` against plain decord, side by side.

Plain decord opens the file, reads the same frames on one thread and copies them out; it proves nothing.
Neither keeps anything of a file for the next reading. Without files, small H.264 clips with closed groups of
pictures are made: those whose fixed cost shows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from svitt.data.video.decode import decord_available, probe, read_clip
from svitt.data.video.readers import Frames
from svitt.data.video.sampling import sample_indices
from svitt.data.worlds.shapes.files import encode_mp4
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import ConfigError, VideoDecodeError
from svitt.profiling.benchmark import Clock, Timing, interleave

SAMPLED = 8
# width, height, frames, frames of a group of pictures
CLIPS = ((160, 120, 90, 30), (320, 240, 90, 30), (320, 240, 300, 30), (640, 360, 90, 30))


@dataclass(frozen=True)
class Comparison:
    """clip: its name; frames: how many are read; seconds of each way a reading; agree: bit by bit."""

    clip: str
    frames: int
    decord: Timing
    read_clip: Timing
    agree: bool

    @property
    def ratio(self) -> float:
        """Throughput of ``read_clip`` as a share of plain decord's."""
        return self.decord.median / self.read_clip.median


def plain_decord(path: Path, indices: Sequence[int]) -> Frames:
    """Frames (T, H, W, 3) as decord gives them, on one thread, proven or not."""
    import decord

    frames: Frames = decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy()
    return frames


def compare(path: Path, indices: Sequence[int], repeats: int, clock: Clock = "cpu") -> Comparison:
    """Times both ways to the same frames of a file, A B A B."""
    ways: dict[str, Callable[[], Any]] = {
        "decord": lambda: plain_decord(path, indices),
        "read_clip": lambda: read_clip(path, indices),
    }
    agree = np.array_equal(ways["decord"](), ways["read_clip"]())
    timings = interleave(ways, repeats, clock=clock)
    return Comparison(path.name, len(indices), timings["decord"], timings["read_clip"], agree)


def world_clip(folder: Path) -> Path:
    """A clip as the made worlds have them: 64 x 64, 16 frames, every one a key frame."""
    spec = WorldSpec(1, 0, 0, 1, 0)
    path = folder / "world_64x64_16.mp4"
    path.write_bytes(encode_mp4(render_clip(spec, "test", 0)[0], spec.fps))
    return path


def moving_clip(folder: Path, width: int, height: int, frames: int, group: int) -> Path:
    """Coarse noise that moves, in H.264 with closed groups of pictures and B frames, as MP4."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height // 8 + 20, width // 8 + 80, 3), dtype=np.uint8)
    canvas: npt.NDArray[np.uint8] = noise.repeat(8, axis=0).repeat(8, axis=1)
    path = folder / f"{width}x{height}_{frames}_group{group}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": str(group), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(frames):
            y, x = number // 3, 2 * number
            picture = np.ascontiguousarray(canvas[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 1 where frames differ or a file cannot be read by decord."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="videos (default: small ones, made for it)")
    parser.add_argument("--repeats", type=int, default=21, help="readings each way (21)")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="CPU time or wall")
    options = parser.parse_args(arguments)
    if not decord_available():
        raise ConfigError("decord is not installed: there is nothing to compare with")
    failed = False
    print("| clip | frames read | decord | read_clip | throughput |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        paths = options.files or [world_clip(folder), *(moving_clip(folder, *clip) for clip in CLIPS)]
        for path in paths:
            try:
                total = probe(path).num_frames
                for indices in (sample_indices(SAMPLED, total).tolist(), [total // 2], list(range(total))):
                    row = compare(path, indices, options.repeats, options.clock)
                    failed = failed or not row.agree
                    note = "" if row.agree else ", and decord gives other frames"
                    print(f"| {row.clip} | {row.frames} of {total} | {row.decord} | {row.read_clip} "
                          f"| {row.ratio:.2f}{note} |", flush=True)  # fmt: skip
            except (VideoDecodeError, RuntimeError) as error:
                failed = True
                print(f"| {path.name} | | | | {error} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
