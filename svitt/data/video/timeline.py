"""How many frames a video shows and when, and whether random access can be relied on for it.

Found without decoding, from the packets' times and the bytes of the key frames. Random access takes the n-th
time for that of the n-th frame shown, and decodes from the key frame before it. decord takes the n-th packet
for the n-th frame shown, seeks to a key frame by its time and counts frames on from there; where one of these
steps fails it returns other frames without a word. The proof is the one that decord needs, which PyAV, who
finds frames by their times, shares. What is not proven here is decoded from its start instead.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from svitt.data.video.bitstream import Facts, frames_shown, picture_facts, restarts
from svitt.data.video.container import matroska_may_turn
from svitt.errors import VideoDecodeError

# Pixel formats and colour matrices (numbers of ITU-T H.273: BT.709, unspecified, FCC, BT.470BG, SMPTE 170M,
# SMPTE 240M, BT.2020) on which decord 0.6 and PyAV were measured to agree bit by bit, at even sizes.
_SHARED_FORMATS = frozenset({"yuv420p", "yuvj420p"})
_SHARED_MATRICES = frozenset({1, 2, 4, 5, 6, 7, 9})
_SHARED_CODECS = frozenset({"h264", "hevc", "vp8", "vp9"})
# libavformat thins out the index of a Matroska file beyond some 40 000 key frames, and seeks elsewhere then.
_MOST_KEYS = 30_000


@dataclass(frozen=True)
class Timeline:
    """num_frames: frames shown; None where only decoding tells. fps: mean rate per second, 0 if unknown.
    keys: the packets that hold key frames. doubt: why random access is not proven to give the true frames;
    None where it is. times: of the frames shown, ascending, in units of the stream; () where there is doubt.
    """

    num_frames: int | None
    fps: float
    keys: tuple[int, ...]
    doubt: str | None
    times: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Packets:
    """Of a stream, in the order of decoding. times, decoded_at: when each is shown and decoded, in units of
    the stream; shown: frames that each shows, 0 also where an edit list hides it; all int, or None if
    unknown. keys: numbers of key frames. starts: whether decoding can start at the first packet; restart: at
    every key frame. damaged: whether some are marked so."""

    times: list[Any]
    decoded_at: list[Any]
    shown: list[Any]
    keys: list[int]
    starts: bool
    restart: bool
    damaged: bool


def find_timeline(path: Path) -> Timeline | None:
    """The timeline of a file's best video stream; None without one. Errors: av.error.FFmpegError;
    VideoDecodeError for pictures that no decoder here can read."""
    # No codec may be opened: libavformat would decode a frame, which takes longer than all that is done here.
    with av.open(str(path), options={"codec_whitelist": "none"}, metadata_errors="replace") as container:
        stream = container.streams.best("video")
        if stream is None:
            return None
        if stream.codec_context is None:
            raise VideoDecodeError(f"{path}: this build of PyAV has no decoder for its pictures")
        codec, header = stream.codec.canonical_name, stream.codec_context.extradata or b""
        facts = picture_facts(codec, header)
        packets = _read(container, stream, codec, header)
        doubt = (
            (None if codec in _SHARED_CODECS else f"its codec is {codec}")
            or _doubt_of_order(packets)
            or _doubt_of_container(path, container, packets)
            or _doubt_of_pixels(path, stream, facts)
        )
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        # Fields may come in packets of their own, and of several streams the decoder may take another.
        counted = facts.progressive and len(container.streams.video) == 1
        times = () if doubt else tuple(sorted(packets.times))
        return Timeline(_count(packets) if counted else None, fps, tuple(packets.keys), doubt, times)


def _read(container: Any, stream: Any, codec: str, header: bytes) -> _Packets:
    packets: list[tuple[Any, Any, int | None]] = []
    keys: list[int] = []
    starts, restart, damaged = False, True, False
    look_inside = codec in ("vp8", "vp9")
    shown = frames_shown(codec, b"") if not look_inside else None
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        if packet.is_keyframe:
            keys.append(len(packets))
            restart = restart and restarts(codec, bytes(packet), header)
            starts = starts or (len(packets) == 0 and restart)
        if look_inside:
            shown = frames_shown(codec, bytes(packet))
        packets.append((packet.pts, packet.dts, 0 if packet.is_discard else shown))
        damaged = damaged or packet.is_corrupt
    times, decoded_at, shows = map(list, zip(*packets, strict=True)) if packets else ([], [], [])
    return _Packets(times, decoded_at, shows, keys, starts, restart, damaged)


def _count(packets: _Packets) -> int | None:
    """Frames shown, where every one of them can be decoded from what the file holds; else None."""
    if packets.damaged or not packets.starts or None in packets.shown or None in packets.times:
        return None
    if min(packets.times) < packets.times[0]:  # shown before the first key frame: refers to what is not there
        return None
    times = [time for time, shown in zip(packets.times, packets.shown, strict=True) if shown]
    return sum(packets.shown) if len(set(times)) == len(times) else None


def _doubt_of_order(packets: _Packets) -> str | None:
    """Why decord may give another frame."""
    if packets.damaged:
        return "some of its frames are marked as damaged"
    if any(shown != 1 for shown in packets.shown):
        return f"counts {len(packets.shown)} frames, some of which are never shown"
    if None in packets.times or len(set(packets.times)) < len(packets.times):
        return "not every frame has a time of its own"
    if not (packets.starts and packets.restart):
        return "open groups of pictures: a key frame does not cut the stream in two"
    if all(map(operator.lt, packets.times, packets.times[1:])):  # shown in the order of decoding
        return None
    times = np.array(packets.times)
    latest, soonest = np.maximum.accumulate(times), np.minimum.accumulate(times[::-1])[::-1]
    keys = np.array(packets.keys)
    if (soonest[keys] < times[keys]).any() or (latest[keys[1:] - 1] >= times[keys[1:]]).any():
        return "open groups of pictures: a frame is shown before the key frame that precedes it"
    return None


def _doubt_of_container(path: Path, container: Any, packets: _Packets) -> str | None:
    """Why decord may seek to another key frame, or overlook how pictures are turned."""
    name = container.format.name
    if len(container.streams.video) > 1:
        return "several video streams"
    if "matroska" in name:
        if len(packets.keys) > _MOST_KEYS:
            return "more key frames than its index keeps"
        return "metadata may turn its pictures" if matroska_may_turn(path) else None
    if "mp4" in name:
        # decord seeks by the time a key frame is shown, libavformat by the time one is decoded.
        shown = [packets.times[key] for key in packets.keys[:-1]]
        decoded = [packets.decoded_at[key] for key in packets.keys[1:]]
        close = None in decoded or any(a >= b for a, b in zip(shown, decoded, strict=True))
        return "key frames too close to each other" if close else None
    return f"its container is {name}"


def _doubt_of_pixels(path: Path, stream: Any, facts: Facts) -> str | None:
    """Why decord may give other pixels for the same frame."""
    if not facts.progressive:
        return "may be interlaced"
    pixels, matrix = facts.pixels, facts.matrix
    context = stream.codec_context
    if context.width % 2 or context.height % 2:
        return f"odd size, {context.width} x {context.height}"
    if pixels is None:
        with av.open(str(path), metadata_errors="replace") as container:
            context = container.streams.best("video").codec_context
            pixels, matrix = context.pix_fmt, context.colorspace
    if pixels not in _SHARED_FORMATS or matrix not in _SHARED_MATRICES:
        return f"pixel format {pixels}, colour matrix {matrix}"
    return None
