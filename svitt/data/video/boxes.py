"""Boxes of an MP4 file (ISO/IEC 14496-12 section 4.2), read strictly: the unexpected is a NotPlainError.

A span is the first byte of what a box holds, and its end.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import BinaryIO

Span = tuple[int, int]

BOX = struct.Struct(">I4s")
# What is read at once of a file; small files are read by it whole.
_HEAD = 1 << 16


class NotPlainError(Exception):
    """The file is not of the plain kind; it may be fine all the same."""


def need(condition: bool) -> None:
    """Errors: NotPlainError where the condition does not hold."""
    if not condition:
        raise NotPlainError


class FileBytes:
    """Bytes by their place in a file, of which the first are read at once."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self._file = file
        self._head = file.read(_HEAD)

    def read(self, at: int, length: int) -> bytes:
        """Errors: NotPlainError where the file ends before."""
        if at + length <= len(self._head):
            return self._head[at : at + length]
        self._file.seek(at)
        found = self._file.read(length)
        need(len(found) == length)
        return found


def children(data: bytes, span: Span, allowed: frozenset[bytes]) -> list[tuple[bytes, Span]]:
    """Kinds and spans of the boxes that fill a span, all of ``allowed`` kinds."""
    at, end = span
    found = []
    while at < end:
        length, kind = BOX.unpack_from(data, at)
        need(length >= 8 and kind in allowed)
        found.append((kind, (at + 8, at + length)))
        at += length
    need(at == end)
    return found


def boxes_in(data: bytes, span: Span, allowed: frozenset[bytes]) -> dict[bytes, Span]:
    """The boxes in a span, one of a kind; a missing one is a NotPlainError on access."""
    listed = children(data, span, allowed)
    found = _Boxes(listed)
    need(len(found) == len(listed))
    return found


class _Boxes(dict[bytes, Span]):
    def __missing__(self, key: bytes) -> Span:
        raise NotPlainError


def u32(data: bytes, span: Span, offset: int, length: int = 0) -> int:
    """A number of a box of version 0, whose content is ``length`` bytes long if that is given."""
    start, end = span
    need(data[start : start + 1] == b"\x00" and offset + 4 <= end - start)
    need(length in (0, end - start))
    return int.from_bytes(data[start + offset : start + offset + 4], "big")


def table(data: bytes, span: Span, offset: int, columns: int = 1) -> array[int]:
    """A table of 32-bit numbers after ``offset`` bytes, the last four their count, row by row."""
    u32(data, span, offset - 4, offset + 4 * columns * u32(data, span, offset - 4))
    found = array("I", data[span[0] + offset : span[1]])
    if sys.byteorder == "little":
        found.byteswap()
    return found
