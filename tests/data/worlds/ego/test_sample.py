"""The sample that stands in the repository: sound, small, and read like Ego4D's own files."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from svitt import cli
from svitt.data.annotations.egoclip import load_egoclip
from svitt.data.annotations.egomcq import load_egomcq
from svitt.data.video.decode import read_clip
from svitt.data.video.sampling import Sampling
from svitt.data.worlds.ego.grammar import VERBS
from svitt.data.worlds.ego.ideal import action_of
from svitt.data.worlds.ego.spec import CHUNKS, MOST_MOMENTS
from svitt.data.worlds.ego.truth import HAND
from svitt.data.worlds.ego.world import World, chunked_videos, load_world
from svitt.data.worlds.registry import kinds
from svitt.data.worlds.registry import load_world as load_any
from svitt.errors import AnnotationError, ConfigError


def test_it_is_small_and_has_enough_clips(sample: World) -> None:
    size = sum(path.stat().st_size for path in sample.folder.rglob("*") if path.is_file())
    assert size < 1_200_000
    assert sum(map(len, sample.splits.values())) >= 40
    assert "ego" in kinds()
    assert load_any(sample.folder).digest == sample.digest


def test_videos_have_frames_and_moments_enough_of_every_verb(sample: World) -> None:
    moments = Counter(record.clip.video_uid for record in sample)
    assert all(5 <= count <= MOST_MOMENTS for count in moments.values())
    assert all(record.num_frames >= 100 for record in sample)
    verbs = Counter(VERBS[record.moment.action.verb] for record in sample)
    assert min(verbs[verb] for verb in VERBS) >= 8  # whether they are balanced, test_making says


def test_one_reader_reads_it_and_finds_what_the_world_says(sample: World) -> None:
    for split in sample.splits:
        found = load_egoclip(sample.folder / split / "egoclip.csv")
        assert found.skipped == ()
        assert found.clips == tuple(record.clip for record in sample.split(split))
        for record in sample.split(split):
            assert action_of(record.clip) == record.moment.action
            assert record.clip.clip_start <= record.clip.narration_time <= record.clip.clip_end
            assert record.caption_at(0) == record.caption_at(1) == record.clip.clip_text
    with pytest.raises(ConfigError, match="dial"):
        sample.split("test")[0].caption_at(2)


def test_its_clips_are_no_retrieval_pairs(
    sample: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clip is a part of a file here: a list of files and captions would be wrong."""
    out = str(tmp_path / "c.json")
    options = ["--dir", str(sample.folder), "--split", "test", "--dial", "1", "--out", out]
    assert cli.main(["world", "captions", *options]) != 0
    assert "several clips are parts of one file; they are in" in capsys.readouterr().err


def test_questions_have_one_right_answer(sample: World) -> None:
    found = load_egomcq(sample.folder / "test" / "egomcq.json")
    assert (found.skipped, found.mislabelled, found.crowded) == ((), (), ())
    kinds = Counter(question.kind for question in found.questions)
    assert kinds["inter_video"] >= 8 and kinds["intra_video"] >= 8
    moments: dict[str, list[tuple[float, object]]] = {}
    for record in sample.split("test"):
        at = moments.setdefault(record.clip.video_uid, [])
        at.append((record.clip.narration_time, record.moment.action))
    for question in found.questions:
        assert question.query == question.choices[question.answer]
        actions = [action_of(clip) for clip in question.choices]
        assert len(set(actions)) == 5
        for place, clip in enumerate(question.choices):
            inside = {a for t, a in moments[clip.video_uid] if clip.clip_start <= t <= clip.clip_end}
            assert (actions[question.answer] in inside) == (place == question.answer)


def test_clips_decode_across_chunks(sample: World) -> None:
    """Against reading all chunks of a video and counting through."""
    seconds, fps = sample.spec.chunk_seconds, sample.spec.fps
    videos, crossing = chunked_videos(sample, "test"), 0
    for record in sample.split("test"):
        clip = record.clip
        assert record.path == videos.path(clip.video_uid, int(clip.clip_start // seconds))
        if int(clip.clip_start // seconds) == int(clip.clip_end // seconds):
            continue
        crossing += 1
        chunks = []
        for number in range(CHUNKS):
            length = min(seconds * fps, record.num_frames - number * seconds * fps)
            chunks.append(read_clip(videos.path(clip.video_uid, number), range(length)))
        whole = np.concatenate(chunks)
        first, last = round(clip.clip_start * fps), round(clip.clip_end * fps)
        assert np.array_equal(videos.of_clip(clip, Sampling(last - first)), whole[first:last])
    assert crossing >= 3


def test_the_truth_says_where_the_object_is(sample: World) -> None:
    tile = sample.spec.tile
    for record in sample.split("validation"):
        truth, moment = record.truth(), record.moment
        verb = VERBS[moment.action.verb]
        before, after = truth.cell_of(moment, moment.frame - 1), truth.cell_of(moment, moment.frame)
        front = (HAND[0] - 1, HAND[1])
        if verb == "enter":
            assert (before, after) == (HAND, None)
            continue
        assert (before, after) == {"pick up": (front, HAND), "put down": (HAND, front)}.get(
            verb, (front, front)
        )
        assert truth.box_of(moment, moment.frame - 1, tile) == (
            before[1] * tile, before[0] * tile, before[1] * tile + tile, before[0] * tile + tile,
        )  # fmt: skip


def test_edited_or_lost_annotations_are_found(sample: World, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sample.folder, tmp_path / "copy"))
    path = folder / "test" / "egomcq.json"
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"answer": 1', b'"answer": 2', 1))
    load_world(folder, check="size")
    with pytest.raises(AnnotationError, match=r"test/egomcq.json: not what its clips give"):
        load_world(folder)
    path.unlink()
    with pytest.raises(AnnotationError, match=r"test/egomcq.json: missing"):
        load_world(folder)
    path.write_bytes(sound)
    load_world(folder)
    uid = sample.split("test")[0].clip.video_uid
    (folder / "test" / uid / "1.mp4").unlink()
    with pytest.raises(AnnotationError, match=rf"test/{uid}/1.mp4: in the manifest, but not in the folder"):
        load_world(folder)
