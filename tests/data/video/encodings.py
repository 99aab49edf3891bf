"""Small videos in the encodings that readers get wrong. Every frame carries its number, as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.codec.codec
import numpy as np
import pytest

SIZE = 64  # SVT-AV1 takes no less
BITS = 8


def numbered_frame(number: int, width: int = SIZE, height: int = SIZE) -> np.ndarray:
    """uint8 (height, width, 3): the number in eight vertical bars above, something that moves below."""
    frame = np.full((height, width, 3), 40, np.uint8)
    for bit in range(BITS):
        frame[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 215 * (number >> bit & 1) + 20
    x = number * 3 % (width - 16)
    frame[height // 2 + 8 : height - 8, x : x + 16] = [220, 60, 30 + number]
    return frame


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers that frames of ``numbered_frame`` show."""
    height, width = frames.shape[1:3]
    rows = frames[:, height // 8 : height // 2 - height // 8].mean(axis=(1, 3))
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return [int(sum(int(row[x] > 128) << bit for bit, x in enumerate(middles))) for row in rows]


@dataclass(frozen=True)
class Encoding:
    """How to write a video. name: of the file. force_keys: frames forced to be key frames. times: of the
    frames, in frames of the rate. writer: options of the container. change: makes another file of it."""

    name: str
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    frames: int = 70
    size: tuple[int, int] = (SIZE, SIZE)
    pixel_format: str = "yuv420p"
    force_keys: Sequence[int] = ()
    times: Sequence[int] | None = None
    writer: dict[str, str] = field(default_factory=dict)
    rotation: int | None = None
    change: Callable[[Path, Path], None] | None = None
    shown: Sequence[int] | None = None

    @property
    def expected(self) -> list[int]:
        """Numbers of the frames that are shown."""
        return list(self.shown if self.shown is not None else range(self.frames))

    def write(self, folder: Path) -> Path:
        try:
            av.codec.codec.Codec(self.codec, "w")
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"this build of PyAV has no encoder {self.codec}")
        path = folder / self.name
        width, height = self.size
        with av.open(str(path), "w", options=self.writer) as container:
            stream = container.add_stream(self.codec, rate=15, options=self.options)
            stream.width, stream.height, stream.pix_fmt = width, height, self.pixel_format
            if self.rotation is not None:
                stream.set_display_rotation(self.rotation)
            for number in range(self.frames):
                frame = av.VideoFrame.from_ndarray(numbered_frame(number, width, height), format="rgb24")
                frame.pts = number if self.times is None else self.times[number]
                frame.time_base = Fraction(1, 15)
                if number in self.force_keys:
                    frame.pict_type = 1
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        if self.change is not None:
            changed = folder / f"changed_{self.name}"
            self.change(path, changed)
            return changed
        return path


def packets(container, stream) -> Iterator:  # type: ignore[no-untyped-def]
    return (packet for packet in container.demux(stream) if packet.size > 0)


def cut(key: int, later: int = 0) -> Callable[[Path, Path], None]:
    """Copies the stream from key frame number ``key`` on, to be shown from ``later`` frames after it; those
    before are in the file, and an edit list hides them."""

    def change(source: Path, target: Path) -> None:
        with av.open(str(source)) as before, av.open(str(target), "w") as after:
            stream = before.streams.video[0]
            copy = after.add_stream_from_template(stream)
            all_packets = list(packets(before, stream))
            first = [number for number, packet in enumerate(all_packets) if packet.is_keyframe][key]
            times = sorted(packet.pts for packet in all_packets)
            start = all_packets[first].pts + later * (times[1] - times[0])
            for packet in all_packets[first:]:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
                after.mux(packet)

    return change


def halve_edit(source: Path, target: Path) -> None:
    """Halves the length of the only entry of an MP4's edit list (ISO/IEC 14496-12 section 8.6.6)."""
    content = bytearray(source.read_bytes())
    at = content.index(b"elst") + 12
    length = int.from_bytes(content[at : at + 4], "big")
    content[at : at + 4] = (length // 2).to_bytes(4, "big")
    target.write_bytes(content)


def hide(*numbers: int) -> Callable[[Path, Path], None]:
    """Clears show_frame (RFC 6386 section 9.1) of frames of VP8, as of its alternative references."""

    def change(source: Path, target: Path) -> None:
        with av.open(str(source)) as before, av.open(str(target), "w") as after:
            stream = before.streams.video[0]
            copy = after.add_stream_from_template(stream)
            for number, packet in enumerate(packets(before, stream)):
                content = bytearray(bytes(packet))
                content[0] &= 0xEF if number in numbers else 0xFF
                changed = av.Packet(bytes(content))
                changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                changed.is_keyframe, changed.stream = packet.is_keyframe, copy
                after.mux(changed)

    return change


def x264(**parameters: object) -> dict[str, str]:
    return {"x264-params": ":".join(f"{key.replace('_', '-')}={value}" for key, value in parameters.items())}


def x265(**parameters: object) -> dict[str, str]:
    named = {"log_level": "none", **parameters}
    return {"x265-params": ":".join(f"{key.replace('_', '-')}={value}" for key, value in named.items())}


CLOSED = x264(open_gop=0, keyint=20, bframes=3)
OPEN = x264(open_gop=1, keyint=20, bframes=3)
VARIABLE = np.cumsum(np.random.default_rng(1).integers(1, 9, 70)).tolist()
WEBM = {"g": "20", "deadline": "realtime", "cpu-used": "8"}

# Of which decord's random access gives the frames of a sequential decode, and is proven to.
PROVEN = [
    Encoding("closed.mp4", options=CLOSED),
    Encoding("closed.mkv", options=CLOSED),
    Encoding("closed.mov", options=CLOSED),
    Encoding("defaults.mp4"),
    Encoding("every_frame_a_key.mp4", options={"g": "1"}),
    Encoding("no_b_frames.mp4", options=x264(keyint=12, bframes=0)),
    Encoding("pyramid.mp4", options=x264(keyint=25, bframes=5, b_pyramid="normal", b_adapt=0)),
    Encoding("fragments.mp4", options=CLOSED, writer={"movflags": "frag_keyframe+empty_moov"}),
    Encoding("variable_rate.mp4", options=CLOSED, times=VARIABLE),
    Encoding("variable_rate.mkv", options=CLOSED, times=VARIABLE),
    Encoding("starts_late.mp4", options=CLOSED, times=range(150, 220)),
    Encoding("starts_late.mkv", options=CLOSED, times=range(150, 220)),
    Encoding("turned.mp4", options=CLOSED, rotation=90),
    Encoding("upside_down.mov", options=CLOSED, rotation=180),
    Encoding("full_range.mp4", options=x264(keyint=20, fullrange="on", colormatrix="bt709")),
    Encoding("other_width.mp4", options=CLOSED, size=(98, 50)),
    Encoding("cut_at_key.mp4", options=CLOSED, change=cut(1), shown=range(20, 70)),
    Encoding("hevc_closed.mp4", "libx265", x265(open_gop=0, keyint=20)),
    Encoding("hevc_closed.mkv", "libx265", x265(open_gop=0, keyint=20)),
    Encoding("vp8.webm", "libvpx", WEBM),
    Encoding("vp9.webm", "libvpx-vp9", WEBM),
    Encoding("vp9_references.webm", "libvpx-vp9", {"g": "30", "lag-in-frames": "16", "auto-alt-ref": "1"}),
]

# Of which it does not, or is not proven to.
UNPROVEN = [
    Encoding("open.mp4", options=OPEN),
    Encoding("open.mkv", options=OPEN),
    Encoding("open.mov", options=OPEN),
    Encoding("hevc_defaults.mp4", "libx265", x265(keyint=20)),
    Encoding("hevc_defaults.mkv", "libx265", x265(keyint=20)),
    Encoding("hevc_10_bit.mp4", "libx265", x265(keyint=20), pixel_format="yuv420p10le"),
    Encoding("10_bit.mp4", options=CLOSED, pixel_format="yuv420p10le"),
    Encoding("full_chroma.mkv", options=CLOSED, pixel_format="yuv444p"),
    Encoding("interlaced.mp4", options=x264(interlaced=1, keyint=20)),
    Encoding("interlaced.mkv", options=x264(bff=1, keyint=20)),
    Encoding("refresh.mp4", options={**x264(intra_refresh=1, keyint=20), "bf": "0"}),
    Encoding("cut.mp4", options=CLOSED, change=cut(1, 8), shown=range(28, 70)),
    Encoding("cut_defaults.mp4", change=cut(0, 30), shown=range(30, 70)),
    Encoding("cut_open.mp4", options=OPEN, change=cut(1, 8), shown=range(28, 70)),
    Encoding("cut_open_at_key.mp4", options=OPEN, change=cut(1)),
    Encoding("cut_short.mp4", options=CLOSED, change=halve_edit, shown=range(35)),
    Encoding("hevc_cut.mp4", "libx265", x265(keyint=20), change=cut(1)),
    Encoding("closed.ts", options=CLOSED),
    Encoding("open.ts", options=OPEN),
    Encoding("hevc.ts", "libx265", x265(keyint=20)),
    Encoding("mpeg2.ts", "mpeg2video", {"bf": "2", "b": "2M"}),
    Encoding("mpeg4.mp4", "mpeg4", {"bf": "2", "b": "2M"}),
    Encoding("mpeg4.avi", "mpeg4", {"bf": "2", "b": "2M"}),
    Encoding("mpeg4.mkv", "mpeg4", {"b": "2M"}),
    Encoding("odd.avi", "mpeg4", {"b": "2M"}, size=(81, 63)),
    Encoding("closed.avi", options=CLOSED),
    Encoding("closed.flv", options=CLOSED),
    Encoding("odd.webm", "libvpx", WEBM, size=(81, 63)),
    Encoding("turned.mkv", options=CLOSED, rotation=90),
    Encoding("upside_down.mkv", options=CLOSED, rotation=180),
    Encoding("keys_side_by_side.mp4", options={**CLOSED, "forced-idr": "1"}, force_keys=(30, 31, 32, 50, 52)),
    Encoding(
        "hidden.webm",
        "libvpx",
        WEBM,
        change=hide(7, 25, 26),
        shown=[*range(7), *range(8, 25), *range(27, 70)],
    ),
    Encoding("av1.mp4", "libsvtav1", {"preset": "12", "g": "20"}),
    Encoding("motion.avi", "mjpeg", pixel_format="yuvj420p"),
]
