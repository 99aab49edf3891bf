"""The timeline of a plain MP4 file from its tables alone: the fast way to what ``find_timeline`` finds.

libavformat takes some 0.2 ms to open a small file and 2 us a packet, a good part of the time that it takes to
decode a short clip. Of the commonest kind of file the tables say it all (ISO/IEC 14496-12 chapter 8, 14496-15
section 5): one H.264 track, in one piece, with one edit at most that hides nothing. A file with anything else
in it, however harmless, sound too, is left to ``find_timeline``, and so is every file for which decord is not
proven: nothing is guessed here, and no fault is reported.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from svitt.data.video.bitstream import Facts, picture_facts
from svitt.data.video.boxes import BOX, FileBytes, NotPlainError, Span, boxes_in, children, need, table, u32
from svitt.data.video.timeline import Timeline, shares_pixels

_ENTRY = struct.Struct(">I4s6xH16xHH14x32sH2x")  # size, kind, data reference, width, height, name, depth
_EDIT = struct.Struct(">I4sIIIiI")
_LARGEST_TABLES = 1 << 26
_LARGEST = (1 << 31) - 1  # a number of libavformat's
_LATEST = 1 << 28  # beyond it libavformat takes an offset for an error

_TOP = frozenset({b"ftyp", b"free", b"skip", b"wide", b"mdat", b"moov"})
_MOVIE = frozenset({b"mvhd", b"trak", b"udta", b"iods"})
_TRACK = frozenset({b"tkhd", b"edts", b"mdia"})
_MEDIA = frozenset({b"mdhd", b"hdlr", b"minf"})
_INFORMATION = frozenset({b"vmhd", b"dinf", b"stbl"})
_TABLES = frozenset({b"stsd", b"stts", b"ctts", b"stss", b"stsz", b"stsc", b"stco"})
_DESCRIPTION = frozenset({b"avcC", b"pasp", b"btrt", b"colr"})
_UNTURNED = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_IN_THIS_FILE = struct.pack(">I4sIII4sI", 28, b"dref", 0, 1, 12, b"url ", 1)
# Names of a coder by which libavformat takes the track for another codec.
_OTHER_CODERS = (b"Planar Y'CbCr", b"Sorenson")


def plain_timeline(path: Path) -> Timeline | None:
    """What ``find_timeline`` finds of a plain MP4 file that decord is proven for; None for any other path."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return None
        with path.open("rb", buffering=0) as file:
            return _timeline(FileBytes(file, found.st_size))
    except (NotPlainError, OSError, struct.error):
        return None


def _timeline(file: FileBytes) -> Timeline:
    data = _movie(file)
    track, media, movie_scale = _video_track(data)
    scale = u32(data, media[b"mdhd"], 12, 24)
    need(0 < scale <= _LARGEST and movie_scale <= _LARGEST)
    information = boxes_in(data, media[b"minf"], _INFORMATION)
    need(data[slice(*information[b"dinf"])] == _IN_THIS_FILE)
    tables = boxes_in(data, information[b"stbl"], _TABLES)
    header, pixels = _description(data, tables[b"stsd"])

    sizes = table(data, tables[b"stsz"], 12)
    count = len(sizes)
    need(count > 0 and u32(data, tables[b"stsz"], 4) == 0 and min(sizes) > 0)
    keys = tuple(n - 1 for n in table(data, tables[b"stss"], 8)) if b"stss" in tables else tuple(range(count))
    need(len(keys) > 0 and keys[0] == 0 and keys[-1] < count and _ascends(keys))

    first, latest, total = _order(data, tables, keys, count)
    if b"edts" in track:
        _nothing_hidden(data, track[b"edts"], first, latest, scale, movie_scale)
    width = (header[4] & 3) + 1
    places = _places(data, tables, sizes, file.size)
    for key in keys:
        _restarts(file, places[key], places[key] + sizes[key], width)

    shared = math.gcd(scale * count, total)
    need(max(scale * count, total) // shared <= _LARGEST)
    return Timeline(count, scale * count / total, keys, pixels, None)


def _is_whole(header: bytes) -> bool:
    """Whether one sequence header and one or more picture headers fill it, but for four bytes of a profile."""
    if len(header) < 8 or header[0] != 1 or header[5] & 31 != 1:
        return False
    at = 8 + int.from_bytes(header[6:8], "big")
    if at >= len(header) or header[at] == 0:
        return False
    count, at = header[at], at + 1
    for _ in range(count):
        at += 2 + int.from_bytes(header[at : at + 2], "big")
    return len(header) - at in (0, 4)


@functools.lru_cache(maxsize=256)  # the clips of a collection have few headers between them
def _facts(header: bytes) -> Facts:
    return picture_facts("h264", header)


def _movie(file: FileBytes) -> bytes:
    """What the only "moov" box holds, of a file that its boxes fill to the last byte."""
    at, found = 0, None
    while at < file.size:
        length, kind = BOX.unpack(file.read(at, 8))
        need(length >= 8 and kind in _TOP and (at > 0 or kind == b"ftyp"))
        if at == 0:
            need(file.read(8, 4) != b"qt  ")  # QuickTime has rules of its own
        elif kind == b"moov":
            need(found is None and length <= _LARGEST_TABLES and at + length <= file.size)
            found = file.read(at + 8, length - 8)
        at += length
    if found is None or at != file.size:
        raise NotPlainError
    return found


def _video_track(data: bytes) -> tuple[dict[bytes, Span], dict[bytes, Span], int]:
    """The only track, its media, and the units per second of the movie."""
    scale = 0
    found = None
    for kind, span in children(data, (0, len(data)), _MOVIE):
        if kind == b"mvhd":
            need(scale == 0 and data[span[0] + 36 : span[0] + 72] == _UNTURNED)
            scale = u32(data, span, 12, 100)
        elif kind == b"trak":
            need(found is None)
            track = boxes_in(data, span, _TRACK)
            media = boxes_in(data, track[b"mdia"], _MEDIA)
            start = media[b"hdlr"][0]
            need(data[start + 8 : start + 12] == b"vide")
            found = track, media
    if found is None or scale == 0:
        raise NotPlainError
    start = found[0][b"tkhd"][0]
    u32(data, found[0][b"tkhd"], 0, 84)
    need(data[start + 40 : start + 76] == _UNTURNED)
    return *found, scale


def _description(data: bytes, span: Span) -> tuple[bytes, int]:
    """The H.264 header of the only sample entry, and the pixels of a frame."""
    start, end = span
    need(u32(data, span, 4) == 1)
    size, kind, reference, width, height, name, depth = _ENTRY.unpack_from(data, start + 8)
    need(size == end - start - 8 and kind == b"avc1" and reference == 1 and depth == 24)
    need(width > 0 and height > 0 and width % 2 == 0 and height % 2 == 0)
    need(not any(other in name for other in _OTHER_CODERS))
    boxes = boxes_in(data, (start + 8 + _ENTRY.size, end), _DESCRIPTION)
    header = data[slice(*boxes[b"avcC"])]
    need(_is_whole(header))
    facts = _facts(header)
    need(facts.progressive and shares_pixels(facts.pixels, facts.matrix))
    if b"colr" in boxes:  # the same colours as the header's, or none of its own
        colours = data[slice(*boxes[b"colr"])]
        need(colours[:4] == b"nclx" and len(colours) == 11 and colours[10] == 0)
        need(facts.matrix == int.from_bytes(colours[8:10], "big"))
    return header, width * height


def _ascends(numbers: Sequence[int]) -> bool:
    return all(map(operator.lt, numbers, itertools.islice(numbers, 1, None)))


def _order(data: bytes, tables: dict[bytes, Span], keys: tuple[int, ...], count: int) -> tuple[int, int, int]:
    """First and last time of showing and the length, where every group of pictures is closed and seeking by
    the time of decoding finds its key frame (see ``timeline``)."""
    runs = table(data, tables[b"stts"], 8, 2)
    counts, lengths = runs[::2], runs[1::2]
    need(sum(counts) == count and min(runs) > 0)
    total = sum(map(operator.mul, counts, lengths))
    need(total <= _LARGEST)
    if b"ctts" not in tables:  # shown in the order of decoding
        return 0, total - lengths[-1], total
    decoded = [0, *itertools.accumulate(_repeated(counts, lengths))]
    runs = table(data, tables[b"ctts"], 8, 2)
    counts, offsets = runs[::2], runs[1::2]
    need(sum(counts) == count and min(counts) > 0 and max(offsets) < _LATEST)
    shown = list(map(operator.add, decoded, _repeated(counts, offsets)))
    need(len(set(shown)) == count)
    latest = -1
    for key, after in zip(keys, (*keys[1:], count), strict=True):
        group = shown[key:after]
        need(latest < group[0] == min(group) and (after == count or group[0] < decoded[after]))
        latest = max(group)
    return shown[0], latest, total


def _repeated(counts: Sequence[int], numbers: Sequence[int]) -> Iterator[int]:
    return itertools.chain.from_iterable(map(itertools.repeat, numbers, counts))


def _nothing_hidden(data: bytes, span: Span, first: int, latest: int, scale: int, movie_scale: int) -> None:
    """Of an edit list: one edit, at normal speed, from the first frame to the last."""
    need(span[1] - span[0] == _EDIT.size)
    _, kind, version, edits, duration, start, speed = _EDIT.unpack_from(data, span[0])
    need(kind == b"elst" and version == 0 and edits == 1 and speed == 1 << 16 and start == first)
    need(latest - first < duration * scale // movie_scale)


def _places(data: bytes, tables: dict[bytes, Span], sizes: Sequence[int], end: int) -> list[int]:
    """Where each frame begins in the file; all of them end before ``end``."""
    chunks = table(data, tables[b"stco"], 8)
    runs = table(data, tables[b"stsc"], 8, 3)  # first chunk, frames a chunk, sample entry
    firsts = runs[::3]
    need(len(firsts) > 0 and firsts[0] == 1 and _ascends(firsts) and set(runs[2::3]) == {1})
    need(firsts[-1] <= len(chunks) and sum(runs[1::3]) <= len(sizes) and min(runs) > 0)
    ends = *firsts[1:], len(chunks) + 1
    found: list[int] = []
    for first, last, frames in zip(firsts, ends, runs[1::3], strict=True):
        for at in chunks[first - 1 : last - 1]:
            within = sizes[len(found) : len(found) + frames]
            *places, after = itertools.accumulate(within, initial=at)
            need(len(within) == frames and after <= end)
            found += places
    need(len(found) == len(sizes))
    return found


def _restarts(file: FileBytes, at: int, end: int, width: int) -> None:
    """Needs a packet to hold a picture that nothing refers across, and no header (see ``bitstream.restarts``);
    ``width`` bytes of length precede each unit."""
    restarts = False
    while at < end:
        start = file.read(at, width + 1)
        length, kind = int.from_bytes(start[:width], "big"), start[width] & 31
        need(
            length > 0 and (kind == 5 or (kind in (6, 9) and not restarts))
        )  # notes and delimiters before it
        restarts = restarts or kind == 5
        at += width + length
    need(restarts and at == end)
