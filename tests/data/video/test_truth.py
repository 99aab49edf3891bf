"""Every way of asking for frames gives those of a sequential decode, bit by bit, whatever the encoding."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from svitt.data.video.decode import decord_available, probe, read_clip
from svitt.data.video.readers import DecordError, DecordReader, PyAVReader
from svitt.data.video.sampling import Sampling
from svitt.data.video.timeline import find_timeline
from svitt.errors import VideoDecodeError
from tests.data.video.encodings import PROVEN, SIZE, UNPROVEN, Encoding, numbered_frame, numbers

ALL = [*PROVEN, *UNPROVEN]
NAMES = [encoding.name for encoding in ALL]
# Cut where pictures refer to some that are gone: what is shown first is up to the decoder.
DAMAGED = {"cut_open_at_key.mp4", "hevc_cut.mp4"}


def sequential(path: Path) -> np.ndarray:
    """All frames from first to last: the slow reference."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = list(container.decode(stream))
    times = [frame.pts for frame in frames]
    if path.suffix != ".avi":  # which has no times of showing
        assert times == sorted(times)
    return np.stack([np.rot90(f.to_ndarray(format="rgb24"), round(f.rotation / 90)) for f in frames])


def orders(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "forwards": np.arange(count),
        "backwards": np.arange(count)[::-1],
        "shuffled": rng.permutation(count),
        "some": np.sort(rng.choice(count, count // 5, replace=False)),
        "repeated": rng.integers(0, count, 12),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encodings")


@pytest.mark.parametrize("encoding", ALL, ids=NAMES)
def test_frames_are_those_of_a_sequential_decode(encoding: Encoding, folder: Path) -> None:
    path = encoding.write(folder)
    truth = sequential(path)
    count = len(truth)
    if encoding.shown is not None:
        assert count == len(encoding.shown)
    assert probe(path).num_frames == count
    for name, order in orders(count).items():
        assert np.array_equal(read_clip(path, order), truth[order]), name
    for index in orders(count)["some"]:
        assert np.array_equal(read_clip(path, [index])[0], truth[index]), index
    eight = Sampling(8).indices(count, 15.0)
    assert np.array_equal(read_clip(path, Sampling(8)), truth[eight])
    if encoding.rotation is None and encoding.name not in DAMAGED:
        assert numbers(truth) == encoding.expected


@pytest.mark.parametrize("encoding", ALL, ids=NAMES)
def test_decord_is_used_where_it_is_proven_and_nowhere_else(
    encoding: Encoding, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encoding.write(folder)
    timeline = find_timeline(path)
    assert timeline is not None
    assert (timeline.doubt is None) == (encoding in PROVEN), timeline.doubt
    if not decord_available():
        pytest.skip("decord has no wheel for this machine")
    used: list[type] = []
    for reader in (DecordReader, PyAVReader):
        read = reader.read

        def noted(self, indices, read=read):  # type: ignore[no-untyped-def]
            used.append(type(self))
            return read(self, indices)

        monkeypatch.setattr(reader, "read", noted)
    read_clip(path, [3, 1])
    assert used == [DecordReader if encoding in PROVEN else PyAVReader]
    if encoding in UNPROVEN:
        with pytest.raises(VideoDecodeError, match=f"{path.name}: decord: not proven .*try backend='auto'"):
            read_clip(path, [3, 1], backend="decord")


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Notes every pass of PyAV over the frames of a file."""
    passes: list[Path] = []
    decode = PyAVReader._decode

    def noted(self):  # type: ignore[no-untyped-def]
        passes.append(self._path)
        yield from decode(self)

    monkeypatch.setattr(PyAVReader, "_decode", noted)
    return passes


@pytest.mark.parametrize("name", ["hidden.webm", "cut.mp4", "mpeg4.avi", "interlaced.mp4"])
def test_clips_with_hidden_frames_are_decoded_once(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next(encoding for encoding in ALL if encoding.name == name).write(folder)
    truth = sequential(path)
    wanted = Sampling(8).indices(len(truth), 15.0)
    passes = count_passes(monkeypatch)
    assert np.array_equal(read_clip(path, Sampling(8)), truth[wanted])
    assert len(passes) == 1
    # More than can be kept in memory while they are counted.
    if find_timeline(path).num_frames is None:  # type: ignore[union-attr]
        monkeypatch.setattr("svitt.data.video.readers._KEPT_BYTES", 20 * 64 * 64)
        assert np.array_equal(read_clip(path, Sampling(8)), truth[wanted])
        assert len(passes) == 3


def test_a_video_whose_size_changes_is_named(folder: Path) -> None:
    parts = [Encoding(f"{size}.ts", options={"g": "5"}, size=(size, 64), frames=10) for size in (64, 96)]
    both = folder / "both.ts"
    both.write_bytes(b"".join(part.write(folder).read_bytes() for part in parts))
    with pytest.raises(VideoDecodeError, match=r"both.ts: the size changes by frame 15"):
        read_clip(both, [2, 15])


def test_a_lost_frame_is_not_replaced_by_another(folder: Path) -> None:
    path = PROVEN[0].write(folder)
    with av.open(str(path)) as container:
        place, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size > 0][33]
    content = bytearray(path.read_bytes())
    content[place + 6 : place + size] = np.random.default_rng(0).bytes(size - 6)
    damaged = folder / "damaged.mp4"
    damaged.write_bytes(content)
    assert len(sequential(damaged)) == 69
    with pytest.raises(VideoDecodeError, match=r"damaged.mp4: frame 69 cannot be decoded: 69 of 70 frames"):
        read_clip(damaged, range(70))


def test_a_codec_without_decoder_is_named(folder: Path) -> None:
    path = PROVEN[0].write(folder)
    unknown = folder / "unknown.mp4"
    unknown.write_bytes(path.read_bytes().replace(b"avc1\x00", b"zzz9\x00"))
    with pytest.raises(VideoDecodeError, match=r"unknown.mp4: this build of PyAV has no decoder"):
        probe(unknown)


def test_of_several_video_streams_it_is_one(folder: Path) -> None:
    path = folder / "two_streams.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=15, options=PROVEN[0].options) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for number in range(40):
            for stream, shift in zip(streams, (0, 100), strict=True):
                frame = av.VideoFrame.from_ndarray(numbered_frame(number + shift), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    frames = read_clip(path, range(40))
    assert numbers(frames) in (list(range(40)), list(range(100, 140)))
    assert np.array_equal(frames, read_clip(path, range(40), backend="pyav"))
    assert find_timeline(path).doubt == "several video streams"  # type: ignore[union-attr]


def test_more_key_frames_than_the_index_keeps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Encoding("keys.mkv", options={"g": "1"}, frames=12).write(folder)
    assert find_timeline(path).doubt is None  # type: ignore[union-attr]
    monkeypatch.setattr("svitt.data.video.timeline._MOST_KEYS", 11)
    assert find_timeline(path).doubt == "more key frames than its index keeps"  # type: ignore[union-attr]
    assert np.array_equal(read_clip(path, [7, 2]), sequential(path)[[7, 2]])


def test_a_random_sampling_is_drawn_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self, indices):  # type: ignore[no-untyped-def]
        raise DecordError("made to fail")

    path = PROVEN[0].write(folder)
    a, b = np.random.default_rng(3), np.random.default_rng(3)
    frames = read_clip(path, Sampling(4, "random"), generator=a)
    monkeypatch.setattr(DecordReader, "read", fail)
    assert np.array_equal(read_clip(path, Sampling(4, "random"), generator=b), frames)
    assert a.random() == b.random()


@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_without_decord_the_frames_are_the_same(
    backend: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svitt.data.video.decode.decord_available", lambda: False)
    path = PROVEN[0].write(folder)
    assert np.array_equal(read_clip(path, [57, 58, 3], backend=backend), sequential(path)[[57, 58, 3]])  # type: ignore[arg-type]
