"""Every way of asking for frames gives those of a sequential decode, bit by bit, whatever the encoding."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from svitt.data.video import readers
from svitt.data.video.decode import decord_available, probe, read_clip, sample_clip
from svitt.data.video.readers import PyAVReader
from svitt.data.video.sampling import Sampling
from svitt.data.video.timeline import find_timeline
from svitt.errors import VideoDecodeError
from tests.data.video.encodings import CLOSED, PROVEN, SIZE, UNPROVEN, Encoding, numbered_frame, numbers

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
def test_random_access_is_used_where_it_is_proven_and_nowhere_else(
    encoding: Encoding, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encoding.write(folder)
    timeline = find_timeline(path)
    assert timeline is not None
    assert (timeline.doubt is None) == (encoding in PROVEN), timeline.doubt
    used: list[str] = []
    for name in ("_read_from_keys", "_read_from_start"):
        read = getattr(PyAVReader, name)

        def noted(self, numbers, name=name, read=read):  # type: ignore[no-untyped-def]
            used.append(name)
            return read(self, numbers)

        monkeypatch.setattr(PyAVReader, name, noted)
    for wanted in ([3, 1], [30], range(0, 30, 7)):
        read_clip(path, wanted)
        assert used == ["_read_from_keys" if encoding in PROVEN else "_read_from_start"]
        used.clear()


@pytest.mark.skipif(not decord_available(), reason="decord has no wheel for this machine")
@pytest.mark.parametrize("encoding", ALL, ids=NAMES)
def test_decord_gives_the_same_frames_where_it_is_proven_and_refuses_the_rest(
    encoding: Encoding, folder: Path
) -> None:
    path = encoding.write(folder)
    if encoding in UNPROVEN:
        with pytest.raises(VideoDecodeError, match=f"{path.name}: decord: not proven .*try backend='auto'"):
            read_clip(path, [3, 1], backend="decord")
        return
    truth = sequential(path)
    for name, order in orders(len(truth)).items():
        assert np.array_equal(read_clip(path, order, backend="decord"), truth[order]), name
    for index in orders(len(truth))["some"]:
        assert np.array_equal(read_clip(path, [index], backend="decord")[0], truth[index]), index


@pytest.mark.parametrize("encoding", PROVEN, ids=[encoding.name for encoding in PROVEN])
def test_times_are_those_of_the_frames(encoding: Encoding, folder: Path) -> None:
    path = encoding.write(folder)
    with av.open(str(path)) as container:
        times = tuple(frame.pts for frame in container.decode(video=0))
    assert find_timeline(path).times == times  # type: ignore[union-attr]


def test_a_group_that_holds_no_wanted_frame_is_not_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Encoding("groups.mp4", options=CLOSED, frames=200).write(folder)
    truth = sequential(path)
    seen: list[float] = []
    opened = readers._opened

    @contextlib.contextmanager
    def noted(path: Path):  # type: ignore[no-untyped-def]
        with opened(path) as (container, stream):

            class Noted:
                seek = staticmethod(container.seek)

                @staticmethod
                def decode(stream):  # type: ignore[no-untyped-def]
                    for frame in container.decode(stream):
                        seen.append(round(frame.time * 15))
                        yield frame

            yield Noted, stream

    monkeypatch.setattr(readers, "_opened", noted)
    assert np.array_equal(read_clip(path, [25, 26, 103, 185]), truth[[25, 26, 103, 185]])
    assert seen == [*range(20, 27), *range(100, 104), *range(180, 186)]


def test_where_a_seek_goes_astray_the_file_is_decoded_from_its_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = PROVEN[0].write(folder)
    truth = sequential(path)
    timeline = find_timeline(path)
    assert timeline is not None
    late = replace(timeline, times=tuple(time + 1 for time in timeline.times))
    for wrong in (late, replace(timeline, keys=(0, 30, 50))):  # frame 30 is none
        monkeypatch.setattr("svitt.data.video.decode.find_timeline", lambda path, wrong=wrong: wrong)
        assert np.array_equal(read_clip(path, [2, 35, 69]), truth[[2, 35, 69]])
    assert PyAVReader(path, late)._read_from_keys([2, 35]) is None


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
    for read in (read_clip, lambda *asked: sample_clip(*asked).frames):
        assert np.array_equal(read(path, Sampling(8)), truth[wanted])
        assert len(passes) == 1
        passes.clear()
    # More than can be kept in memory while they are counted.
    if find_timeline(path).num_frames is None:  # type: ignore[union-attr]
        monkeypatch.setattr("svitt.data.video.readers._KEPT_BYTES", 20 * 64 * 64)
        assert np.array_equal(read_clip(path, Sampling(8)), truth[wanted])
        assert len(passes) == 2


def test_a_video_whose_size_changes_is_named(folder: Path) -> None:
    parts = [Encoding(f"{size}.ts", options={"g": "5"}, size=(size, 64), frames=10) for size in (64, 96)]
    both = folder / "both.ts"
    both.write_bytes(b"".join(part.write(folder).read_bytes() for part in parts))
    with pytest.raises(VideoDecodeError, match=r"both.ts: the size changes by frame 15"):
        read_clip(both, [2, 15])


def test_a_lost_frame_is_not_replaced_by_another(folder: Path) -> None:
    path = PROVEN[0].write(folder)
    with av.open(str(path)) as container:
        place, size, time = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size > 0][33]
    content = bytearray(path.read_bytes())
    content[place + 6 : place + size] = np.random.default_rng(0).bytes(size - 6)
    damaged = folder / "damaged.mp4"
    damaged.write_bytes(content)
    assert len(sequential(damaged)) == 69
    with pytest.raises(VideoDecodeError, match=r"damaged.mp4: frame 69 cannot be decoded: 69 of 70 frames"):
        read_clip(damaged, range(70))
    number = find_timeline(path).times.index(time)  # type: ignore[union-attr]
    for wanted in ([number], [12, number, 45]):
        with pytest.raises(VideoDecodeError, match=f"damaged.mp4: frame {number} cannot be decoded: one of "):
            read_clip(damaged, wanted)
    whole = sequential(path)
    assert np.array_equal(read_clip(damaged, [12, 45]), whole[[12, 45]])  # of groups that are whole


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
    path = PROVEN[0].write(folder)
    a, b = np.random.default_rng(3), np.random.default_rng(3)
    clip = sample_clip(path, Sampling(4, "random"), generator=a)
    monkeypatch.setattr(PyAVReader, "_read_from_keys", lambda self, numbers: None)
    frames = read_clip(path, Sampling(4, "random"), generator=b)
    assert np.array_equal(clip.frames, frames)
    assert np.array_equal(frames, sequential(path)[clip.indices])
    assert a.random() == b.random()


def test_metadata_that_is_no_text_is_no_fault(folder: Path) -> None:
    path = PROVEN[0].write(folder)
    strange = folder / "strange.mp4"
    strange.write_bytes(path.read_bytes().replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert np.array_equal(read_clip(strange, [57, 3]), sequential(path)[[57, 3]])
