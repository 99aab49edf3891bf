"""Whether random access by decord takes less time than a decode from the start by PyAV; frames are the same."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from svitt.data.video.timeline import Timeline

# Microseconds, rough: to decode a frame, and a million pixels; to seek first, and once more (two threads are
# stopped and started, and what they decoded ahead is lost); to list a frame when a file is opened. decord's
# share is to decode all frames as a multiple of what PyAV takes. By ``svitt.data.video.throughput``.
_FRAME, _MEGAPIXEL, _SEEK, _SEEK_AGAIN, _LISTED, _DECORD_SHARE = 25.0, 1200.0, 400.0, 1200.0, 4.0, 1.4


def random_access_pays(timeline: Timeline, numbers: Sequence[int]) -> bool:
    """Whether decord reads these frames (ascending) of a file that it is proven for with less work than PyAV.

    PyAV decodes from the start to the last of them; decord, in each group of pictures that holds one, from
    its key frame to the last of them there. An estimate, on which nothing but the time depends.
    """
    assert timeline.num_frames is not None
    sequential = numbers[-1] + 1
    if len(numbers) * _DECORD_SHARE >= sequential:
        return False
    decoded = groups = 0
    at, end = -1, 0  # what was read last, and the key frame after it
    for number in numbers:
        if number >= end:
            place = bisect.bisect(timeline.keys, number)
            groups += 1
            at = timeline.keys[place - 1] - 1
            end = timeline.keys[place] if place < len(timeline.keys) else timeline.num_frames
        decoded += number - at
        at = number
    frame = _FRAME + _MEGAPIXEL * timeline.pixels / 1e6
    extra = _SEEK + _SEEK_AGAIN * (groups - 1) + _LISTED * timeline.num_frames
    return decoded * _DECORD_SHARE * frame + extra < sequential * frame
