"""What is read from headers and first bytes: against what libavcodec finds by decoding, and by hand."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from svitt.data.video.bitstream import Facts, frames_shown, picture_facts, restarts
from tests.data.video.encodings import Encoding, x264, x265

# All that may stand before the colours.
SHAPE = x264(sar="40/33", overscan="show", videoformat="pal", colormatrix="smpte170m")


def header_of(path: Path) -> tuple[str, bytes]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec.canonical_name, stream.codec_context.extradata


@pytest.mark.parametrize(
    ("encoding", "facts"),
    [
        (Encoding("plain.mp4"), Facts(True, "yuv420p")),
        (Encoding("plain.ts"), Facts(True, "yuv420p")),
        (Encoding("baseline.mkv", options={"profile": "baseline"}), Facts(True, "yuv420p")),
        (Encoding("range.mp4", options=x264(fullrange="on", colormatrix="bt709")), Facts(True, "yuv420p", 1)),
        (Encoding("shape.mp4", options=SHAPE), Facts(True, "yuv420p", 6)),
        (Encoding("narrow.mp4", size=(98, 50), options=x264(colormatrix="YCgCo")), Facts(True, "yuv420p", 8)),
        (Encoding("fields.mp4", options=x264(interlaced=1)), Facts(False, "yuv420p")),
        (Encoding("deep.mp4", pixel_format="yuv420p10le"), Facts(True, "chroma 1")),
        (Encoding("full.mp4", pixel_format="yuv444p"), Facts(True, "chroma 3")),
        (Encoding("lists.mp4", options=x264(cqm="jvt", b_adapt=0)), None),
        (Encoding("hevc.mp4", "libx265", x265()), Facts(True)),
        (Encoding("hevc.ts", "libx265", x265()), Facts(True)),
        (Encoding("hevc_fields.mp4", "libx265", x265(interlace="tff")), Facts(False)),
    ],
    ids=lambda value: value.name if isinstance(value, Encoding) else "",
)  # fmt: skip
def test_facts_of_headers(encoding: Encoding, facts: Facts | None, tmp_path: Path) -> None:
    codec, header = header_of(encoding.write(tmp_path))
    found = picture_facts(codec, header)
    if facts is None:  # scaling lists may stand in either header
        assert found in (Facts(True, "yuv420p"), Facts(False))
    else:
        assert found == facts


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_header_that_ends_too_early_proves_nothing(codec: str, tmp_path: Path) -> None:
    options = x264() if codec == "libx264" else x265()
    name, header = header_of(Encoding("clip.mp4", codec, options).write(tmp_path))
    whole = picture_facts(name, header)
    assert whole.progressive
    for length in range(len(header)):
        assert picture_facts(name, header[:length]) in (whole, Facts(False))
    assert picture_facts(name, b"") == Facts(False)
    assert picture_facts("mpeg2video", header) == Facts(False)


def test_key_frames_of_open_groups_and_of_refresh_do_not_restart(tmp_path: Path) -> None:
    for options, expected in (
        (x264(open_gop=0, keyint=10), [True] * 7),
        (x264(open_gop=1, keyint=10, bframes=3), [True] + [False] * 6),
        ({**x264(intra_refresh=1, keyint=10), "bf": "0"}, [True] + [False] * 6),
    ):
        for name in ("clip.mp4", "clip.ts"):
            with av.open(str(Encoding(name, options=options).write(tmp_path))) as container:
                stream = container.streams.video[0]
                header = stream.codec_context.extradata
                keys = [
                    bytes(packet) for packet in container.demux(stream) if packet.is_keyframe and packet.size
                ]
            assert [restarts("h264", key, header) for key in keys] == expected


def test_vp8() -> None:
    # RFC 6386 section 9.1: bit 0 is 0 for a key frame, bit 4 is 1 for a frame that is shown.
    for first, key, shown in ((0x10, True, 1), (0x11, False, 1), (0x01, False, 0), (0x00, True, 0)):
        assert restarts("vp8", bytes([first, 0, 0]), b"") is key
        assert frames_shown("vp8", bytes([first, 0, 0])) == shown


def test_vp9_frames_and_superframes() -> None:
    # Two bits of marker, two of profile, then show_existing_frame, frame_type, show_frame, error resilience.
    key, inter, hidden, repeat = 0b10000010, 0b10000110, 0b10000100, 0b10001000
    for first, restart, shown in ((key, True, 1), (inter, False, 1), (hidden, False, 0), (repeat, False, 1)):
        assert restarts("vp9", bytes([first, 1, 2]), b"") is restart
        assert frames_shown("vp9", bytes([first, 1, 2])) == shown
    profile_3 = 0b10110001  # one reserved bit more: a key frame that is shown
    assert restarts("vp9", bytes([profile_3, 1, 2]), b"")
    assert frames_shown("vp9", bytes([profile_3, 1, 2])) == 1
    # Annex B: frames of 3 and 2 bytes, sizes of one byte, two frames.
    mark = 0b11000001
    superframe = bytes([hidden, 5, 5, inter, 5, mark, 3, 2, mark])
    assert frames_shown("vp9", superframe) == 1
    assert frames_shown("vp9", bytes([inter, 5, 5, inter, 5, mark, 3, 2, mark])) == 2
    assert frames_shown("vp9", bytes([inter, 5, 5, mark])) == 1  # ends like one, and is none


def test_how_many_frames_other_codecs_show_is_left_to_decoding() -> None:
    assert frames_shown("mpeg4", b"\x00") is None
    assert not restarts("mpeg4", b"\x00\x00\x01\xb6", b"")
