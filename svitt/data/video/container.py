"""What a video file's container says of itself: whether it is complete, whether its pictures may be turned.

Decoders read the first part of a truncated file without a word and report fewer frames, so a half
downloaded clip looks like a short one. The container's own lengths tell: MP4/MOV boxes (ISO/IEC
14496-12 section 4.2), Matroska/WebM elements (RFC 8794 sections 4 to 6) and AVI chunks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

_EBML_HEADER = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_TRACKS = b"\x16\x54\xae\x6b"
_CLUSTER = b"\x1f\x43\xb6\x75"
# Yaw, pitch or roll of a projection, and its size: a number of 4 or 8 bytes.
_TURNED = re.compile(
    rb"\x76[\x73-\x75](?:[\x84\x88]|\x40[\x04\x08]|[\x01\x02\x04\x08\x10\x20]\x00+[\x04\x08])"
)
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"pdin"}


def missing_bytes(path: Path) -> int:
    """How many bytes the container announces beyond the end of the file; 0 where it is complete.

    Also 0 for containers that announce no length (a live stream) and for unknown formats: those are
    left to the decoder.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _BOXES:
            return max(0, _mp4_end(file, size) - size)
        if head[:4] == _EBML_HEADER:
            return max(0, _matroska_end(file) - size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return max(0, 8 + int.from_bytes(head[4:8], "little") - size)
    return 0


def matroska_may_turn(path: Path, look_at: int = 1 << 16) -> bool:
    """Whether a Matroska file may hold metadata that turns its pictures (RFC 9559 section 5.1.4.1.28.41).

    No parser: bytes that look like it, anywhere before the first cluster, count, and so does a header that
    does not end, tracks included, within ``look_at`` bytes.
    """
    with path.open("rb") as file:
        head, cluster, _ = file.read(look_at).partition(_CLUSTER)
    return not cluster or _TRACKS not in head or _TURNED.search(head) is not None


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Announced end of the last top-level box that starts inside the file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 0:  # to the end of the file
            return size
        if length == 1:  # 64-bit length after the type
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # not a box: trailing bytes, which decoders skip
            return size
        at += length
    return at


def _matroska_end(file: BinaryIO) -> int:
    """Announced end of the segment; 0 where its length is unknown."""
    file.seek(len(_EBML_HEADER))
    header = _element_length(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _element_length(file)
    return 0 if length is None else file.tell() + length


def _element_length(file: BinaryIO) -> int | None:
    """A variable-length integer of EBML at the file's position; None for "unknown" or a short file."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = int.from_bytes(bytes([first[0] - (1 << (8 - width))]) + rest, "big")
    return None if value == (1 << (7 * width)) - 1 else value
