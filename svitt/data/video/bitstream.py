"""What the bytes of a compressed video prove without decoding it.

Facts that a container does not tell, or tells wrongly: whether a key frame cuts the stream in two, how many
frames a packet shows, whether pictures can be interlaced, what their pixels are. Sources: H.264, ITU-T H.264
sections 7.3.1 and 7.3.2.1.1; HEVC, ITU-T H.265 section 7.3.1; both in MP4 and Matroska, ISO/IEC 14496-15
sections 5.3.3 and 8.3.3; VP8, RFC 6386 section 9.1; VP9, its specification, section 6.2 and annex B.

Codecs go by libavcodec's names. ``header`` is the stream's header outside the packets ("extradata").
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class _Units:
    """Kinds of the units of a stream (NAL units): pictures, pictures that nothing refers across, header."""

    pictures: range
    restarts: frozenset[int]
    sequence_header: int


@dataclass(frozen=True)
class Facts:
    """progressive: whether interlaced pictures are excluded. pixels: pixel format, full range or not; None
    where only decoding tells. matrix: number of the colour matrix (ITU-T H.273), 2 for an unspecified one."""

    progressive: bool
    pixels: str | None = None
    matrix: int = 2


_UNITS = {
    "h264": _Units(range(1, 6), frozenset({5}), 7),
    "hevc": _Units(range(32), frozenset({19, 20}), 33),
}
# Profiles whose sequence header also tells of chroma, bit depth and scaling lists.
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


def restarts(codec: str, packet: bytes, header: bytes) -> bool:
    """Whether decoding can start at this packet, with nothing after it that refers to what came before.

    A frame marked "key" need not be such a one: the I frames of open groups and the first frames of an intra
    refresh are marked too. False where that cannot be told, and where the packet brings another header.
    """
    if codec == "vp8":
        return not packet[0] & 1
    if codec == "vp9":
        first = _vp9_frames(packet)[0]
        return not _vp9_bit(first, 2) and not _vp9_bit(first, 1)  # no repeat, and a key frame
    if codec == "av1":  # what containers mark is a key frame that is shown (AV1 in ISOBMFF, section 2.4)
        return True
    if codec not in _UNITS:
        return False
    units = _UNITS[codec]
    for unit in _nal_units(packet, _length_size(codec, header)):
        kind = _kind(codec, unit)
        if kind == units.sequence_header and unit not in header:
            return False
        if kind in units.pictures:
            return kind in units.restarts
    return False


def frames_shown(codec: str, packet: bytes) -> int | None:
    """How many frames a packet shows, 0 for a hidden reference of VP8; None where only decoding tells."""
    if codec == "vp8":
        return packet[0] >> 4 & 1
    if codec == "vp9":
        return sum(_vp9_bit(frame, 2) or _vp9_bit(frame, 0) for frame in _vp9_frames(packet))
    # One picture a packet, or one temporal unit, which shows one frame (AV1 specification, section 7.5).
    return 1 if codec in _UNITS or codec == "av1" else None


@functools.lru_cache(maxsize=256)  # the clips of a collection have few headers between them
def picture_facts(codec: str, header: bytes) -> Facts:
    """What the stream's header says of its pictures; Facts.progressive is False where it does not tell."""
    if codec not in _UNITS:
        return Facts(codec in ("vp8", "vp9", "av1"), "yuv420p" if codec == "vp8" else None)
    try:
        found = {
            _FACTS[codec](unit.replace(b"\x00\x00\x03", b"\x00\x00"))
            for unit in _header_units(codec, header)
            if unit and _kind(codec, unit) == _UNITS[codec].sequence_header
        }
    except (ValueError, IndexError):  # a header that ends too early proves nothing
        found = set()
    return found.pop() if len(found) == 1 else Facts(False)


def _kind(codec: str, unit: bytes) -> int:
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def _length_size(codec: str, header: bytes) -> int:
    """Bytes of the length before each unit; 0 where start codes part the units (MPEG-TS)."""
    at = 4 if codec == "h264" else 21
    return (header[at] & 3) + 1 if header[:1] == b"\x01" and len(header) > at else 0


def _nal_units(packet: bytes, length_size: int) -> Iterator[bytes]:
    """The units of a packet that are not empty."""
    if length_size == 0:
        yield from filter(None, (unit.rstrip(b"\x00") for unit in packet.split(b"\x00\x00\x01")[1:]))
        return
    at = 0
    while at + length_size < len(packet):
        start = at + length_size
        at = start + int.from_bytes(packet[at:start], "big")
        if at > start:
            yield packet[start:at]


def _header_units(codec: str, header: bytes) -> Iterator[bytes]:
    """The units of a header: parted by start codes, or in arrays, each with its length in two bytes."""
    if _length_size(codec, header) == 0:
        yield from _nal_units(header, 0)
        return
    # Of H.264 the first array, a count in five bits; the second holds no sequence headers.
    at, arrays = (5, 1) if codec == "h264" else (23, header[22])
    for _ in range(arrays):
        count = header[at] & 31 if codec == "h264" else int.from_bytes(header[at + 1 : at + 3], "big")
        at += 1 if codec == "h264" else 3
        for _ in range(count):
            length = int.from_bytes(header[at : at + 2], "big")
            yield header[at + 2 : at + 2 + length]
            at += 2 + length


class _Bits:
    """Reads a header from its first bit. Errors: ValueError at its end."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def fixed(self, width: int) -> int:
        """The next ``width`` bits as a number; 0 for none."""
        self._at += width
        if self._at > len(self._bits):
            raise ValueError("the header ends too early")
        return int("0" + self._bits[self._at - width : self._at], 2)

    def exponential(self) -> int:
        """An Exp-Golomb number (section 9.1); for a signed one, its code number."""
        zeros = self._bits.index("1", self._at) - self._at
        self._at += zeros
        return self.fixed(zeros + 1) - 1

    def skip_exponential(self, count: int) -> None:
        for _ in range(count):
            self.exponential()


def _h264_facts(unit: bytes) -> Facts:
    """From a sequence header, its fields in the order of sections 7.3.2.1.1 and E.1.1."""
    bits = _Bits(unit[1:])
    chroma, depths = 1, 0
    profile = bits.fixed(8)
    bits.fixed(16)  # constraints, level
    bits.exponential()  # number of this header
    if profile in _HIGH_PROFILES:
        chroma = bits.exponential()
        bits.fixed(chroma == 3)
        depths = bits.exponential() + bits.exponential()
        bits.fixed(1)
        if bits.fixed(1):  # scaling lists: not read, so nothing is proven
            return Facts(False)
    bits.exponential()  # width of frame numbers
    order = bits.exponential()
    if order == 0:
        bits.exponential()
    elif order == 1:
        bits.fixed(1)
        bits.skip_exponential(2)
        bits.skip_exponential(bits.exponential())
    bits.exponential()  # reference frames
    bits.fixed(1)
    bits.skip_exponential(2)  # size
    progressive = bits.fixed(1) == 1
    bits.fixed(1 if progressive else 2)
    if bits.fixed(1):  # cropping
        bits.skip_exponential(4)
    matrix = 2
    if bits.fixed(1):  # usability information
        if bits.fixed(1) and bits.fixed(8) == 255:  # shape of pixels
            bits.fixed(32)
        if bits.fixed(1):  # overscan
            bits.fixed(1)
        if bits.fixed(1):
            bits.fixed(4)  # video format, range
            if bits.fixed(1):
                bits.fixed(16)  # primaries, transfer
                matrix = bits.fixed(8)
    return Facts(progressive, "yuv420p" if chroma == 1 and depths == 0 else f"chroma {chroma}", matrix)


def _hevc_facts(unit: bytes) -> Facts:
    """``general_progressive_source_flag`` without its interlaced twin (section 7.3.3)."""
    return Facts(unit[8] >> 6 == 0b10)


_FACTS = {"h264": _h264_facts, "hevc": _hevc_facts}


def _vp9_frames(packet: bytes) -> list[bytes]:
    """The frames of a superframe, or the only one."""
    mark = packet[-1]
    count, width = (mark & 7) + 1, (mark >> 3 & 3) + 1
    index = packet[-2 - count * width :]
    if mark >> 5 != 0b110 or index[0] != mark or len(index) != 2 + count * width:
        return [packet]
    frames, at = [], 0
    for k in range(count):
        size = int.from_bytes(index[1 + k * width : 1 + (k + 1) * width], "little")
        frames.append(packet[at : at + size])
        at += size
    return [frame for frame in frames if frame] or [packet]


def _vp9_bit(frame: bytes, place: int) -> int:
    """show_existing_frame (2), frame_type (1, 0 for a key frame) or show_frame (0)."""
    return frame[0] >> (place if frame[0] & 48 == 48 else place + 1) & 1  # profile 3 has one bit before them
