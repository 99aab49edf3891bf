"""Making a world: the same files however it is made, resumed without loss, damage found and named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from svitt import cli
from svitt.data.datasets import open_cache
from svitt.data.video.decode import probe, read_clip
from svitt.data.worlds.shapes import world as shapes_world
from svitt.data.worlds.shapes.files import make_clips
from svitt.data.worlds.shapes.world import Split, World, assert_disjoint, load_world, make_world, render_clip
from svitt.errors import AnnotationError, VideoDecodeError
from tests.data.conftest import SPEC


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def test_clips_are_videos_of_what_was_drawn(made: World) -> None:
    assert [len(made.split(name)) for name in ("train", "validation", "test", "heldout")] == [6, 2, 3, 2]
    for record in made:
        frames, truth = render_clip(SPEC, record.split, record.index)
        info = probe(record.path)
        assert (info.num_frames, info.fps, info.height, info.width) == (16, 8.0, 64, 64)
        decoded = read_clip(record.path, range(16))
        assert np.abs(decoded.astype(int) - frames).mean() < 6
        assert np.array_equal(read_clip(record.path, range(16), backend="pyav"), decoded)
        assert np.array_equal(record.truth().masks, truth.masks)
        assert np.array_equal(record.truth().boxes, truth.boxes)
        assert record.caption("mixed").split()[1:3] == list(record.attributes[:2])
        assert record.verb in record.caption("temporal")
    split = made.split("train")
    assert split[1:3] == [split[1], split[2]]
    assert split.captions(0.0) == [r.caption("static") for r in split]


def test_the_same_files_in_parallel_and_from_a_larger_world(made: World, tmp_path: Path) -> None:
    larger = dataclasses.replace(SPEC, num_train=60)  # three tasks of clips: two processes
    world = make_world(larger, tmp_path / "larger", workers=2, progress=False)
    ours, theirs = contents(made.folder), contents(world.folder)
    clips = [name for name in ours if name.endswith((".mp4", ".npz"))]
    assert len(clips) == 2 * 13
    assert all(ours[name] == theirs[name] for name in clips)
    again = make_world(SPEC, tmp_path / "again", workers=1, progress=False)
    assert contents(again.folder) == ours
    assert again.digest == made.digest != world.digest


def test_an_interrupted_making_goes_on_where_it_stopped(
    made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[int]] = []

    def stop_at_third(task):  # type: ignore[no-untyped-def]
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(task[3])
        return make_clips(task)

    kind = shapes_world.SHAPES
    monkeypatch.setattr(shapes_world, "SHAPES", dataclasses.replace(kind, make=stop_at_third, chunk=2))
    out = tmp_path / "w"
    with pytest.raises(KeyboardInterrupt):
        make_world(SPEC, out, workers=1, progress=False)
    assert calls == [[0, 1], [2, 3]]
    with pytest.raises(AnnotationError, match="interrupted"):
        load_world(out)
    # As a kill would leave it: a half-written line and a half-written clip under its temporary name.
    with (out / "journal.jsonl").open("a") as file:
        file.write('["train/00004.mp4", 12')
    (out / "train" / ".00004.mp4.1.part").write_bytes(b"half")

    resumed: list[list[int]] = []

    def note(task):  # type: ignore[no-untyped-def]
        resumed.append(task[3])
        return make_clips(task)

    monkeypatch.setattr(shapes_world, "SHAPES", dataclasses.replace(kind, make=note, chunk=2))
    world = make_world(SPEC, out, workers=1, progress=False)
    assert resumed == [[4, 5], [0, 1], [0, 1], [2], [0, 1]]  # train from 4 on, then the other splits
    assert world.digest == made.digest
    resumed.clear()
    make_world(SPEC, out, workers=1, progress=False)
    assert resumed == []


def test_only_what_is_missing_is_made_again(folder: Path, made: World) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.mp4")}
    (folder / "train/00003.mp4").unlink()
    with pytest.raises(AnnotationError, match=r"train/00003.mp4: in the manifest, but not in the folder"):
        load_world(folder)
    assert make_world(SPEC, folder, workers=1, progress=False).digest == made.digest
    changed = [p.name for p, time in before.items() if p.stat().st_mtime_ns != time]
    assert changed == ["00003.mp4"]


def test_other_parameters_or_other_files_are_left_alone(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    other = dataclasses.replace(SPEC, seed=6, clutter=1)
    with pytest.raises(AnnotationError, match=r"other parameters \(different: seed, clutter\)"):
        make_world(other, folder, workers=1, progress=False)
    assert contents(folder) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(AnnotationError, match="neither empty nor a world"):
        make_world(SPEC, tmp_path / "mine", workers=1, progress=False)
    assert contents(tmp_path / "mine") == {"notes.txt": b"mine"}


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(AnnotationError, match="cannot make a world here"):
            make_world(SPEC, out, workers=1, progress=False)
    assert (tmp_path / "file").read_text() == "x"


def test_a_truncated_clip(folder: Path) -> None:
    path = folder / "test/00001.mp4"
    path.write_bytes(path.read_bytes()[:-500])
    before = contents(folder)
    with pytest.raises(AnnotationError, match=r"test/00001.mp4: truncated: .* delete it and make"):
        load_world(folder)
    with pytest.raises(AnnotationError, match="truncated"):
        make_world(SPEC, folder, workers=1, progress=False)
    with pytest.raises(VideoDecodeError, match=r"test/00001.mp4: truncated"):
        read_clip(path, [0])
    assert contents(folder) == before


def test_changed_content_is_found_by_the_full_check(folder: Path) -> None:
    path = folder / "test/00002.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    load_world(folder, check="size")
    with pytest.raises(AnnotationError, match=r"test/00002.npz: its SHA-256"):
        load_world(folder)
    # An experiment opens its world through here: damage at rest is never recorded as a result.
    with pytest.raises(AnnotationError, match=r"test/00002.npz: its SHA-256"):
        make_world(SPEC, folder, progress=False)


def test_one_bit_in_any_clip_is_found(folder: Path) -> None:
    for path in sorted(folder.glob("*/*.mp4")):
        sound = path.read_bytes()
        content = bytearray(sound)
        content[len(content) // 3] ^= 4
        path.write_bytes(content)
        with pytest.raises(AnnotationError, match=f"{path.name}: its SHA-256"):
            make_world(SPEC, folder, progress=False)
        path.write_bytes(sound)
    make_world(SPEC, folder, progress=False)


def test_an_edited_caption_threshold_or_object_is_found(folder: Path) -> None:
    def threshold(data: dict[str, Any]) -> None:
        data["clips"][3]["caption_threshold"] = 0.999

    rewrite(folder, threshold)
    with pytest.raises(AnnotationError, match=r"train/3: edited \(caption_threshold\)"):
        load_world(folder)


def test_a_flipped_bit_of_a_clip_cache_is_found_and_a_cache_without_digest_is_made_anew(folder: Path) -> None:
    world = load_world(folder)
    cache = open_cache(world, "train", 32, workers=1, progress=False)
    path, frames = cache.path, np.array(cache.frames)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match="is not what was decoded; delete it"):
        open_cache(world, "train", 32, workers=1, progress=False)
    path.with_suffix(".sha256").unlink()
    assert np.array_equal(open_cache(world, "train", 32, workers=1, progress=False).frames, frames)


def test_what_a_killed_process_left_half_written_goes(folder: Path) -> None:
    left = folder / "train" / ".00001.mp4.4711.part"
    left.write_bytes(b"half")
    make_world(SPEC, folder, progress=False)
    assert not left.exists()


ORPHANS = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from svitt.data.workers import serve

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), serve, (os.getpid(),))
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    time.sleep(60)
"""


def test_workers_end_with_the_process_they_work_for(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert gone and not alive


def test_a_clip_that_is_in_no_manifest(folder: Path) -> None:
    shutil.copy(folder / "train/00000.mp4", folder / "train/00099.mp4")
    with pytest.raises(AnnotationError, match=r"train/00099.mp4: not in the manifest"):
        load_world(folder)


def rewrite(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    manifest = folder / "manifest.json"
    data = json.loads(manifest.read_text())
    change(data)
    manifest.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda d: d["clips"][0]["captions"].update(mixed="a cat sleeps"),
            r"train/0: the mixed caption 'a cat",
        ),
        (lambda d: d["clips"][0]["movers"][0].__setitem__(0, "pink"), "pink"),
        (lambda d: d["clips"].pop(), "lists 12 clips, not the 13"),
        (lambda d: d["clips"][0]["video"].__setitem__(0, "../x.mp4"), "names other files"),
        (lambda d: d["spec"].update(seed=9), "spec.json and manifest.json disagree"),
        (lambda d: d["spec"].update(sizes=9), "unknown key"),
        (lambda d: d.update(format=99), "format 99"),
        (lambda d: d.pop("clips"), "damaged"),
    ],
)
def test_a_manifest_that_disagrees(folder: Path, change, named: str) -> None:  # type: ignore[no-untyped-def]
    rewrite(folder, change)
    with pytest.raises(AnnotationError, match=named):
        load_world(folder)


def test_a_manifest_that_is_no_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")
    with pytest.raises(AnnotationError, match=r"manifest.json: not a readable JSON"):
        load_world(folder)


def test_parameters_that_this_version_does_not_draw(folder: Path) -> None:
    rewrite(folder, lambda d: d["clips"][2].update(parameters="0" * 64))
    with pytest.raises(AnnotationError, match="train/2 was drawn from other parameters"):
        load_world(folder, check="full")


def test_disjointness_is_checked(made: World) -> None:
    train, held = made.split("train"), made.split("heldout")
    twice = {**made.splits, "test": Split("test", [train[0]])}
    with pytest.raises(AnnotationError, match="are the same clip"):
        assert_disjoint(dataclasses.replace(made, splits=twice))
    moved = dataclasses.replace(held[0], split="train", parameters="another")
    leaking = {**made.splits, "train": Split("train", [*train, moved])}
    with pytest.raises(AnnotationError, match="held-out split also in train"):
        assert_disjoint(dataclasses.replace(made, splits=leaking))


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "w"
    make = ["world", "make", "--out", str(out), "--clips", "8", "--seed", "2", "--workers", "1"]
    assert cli.main(make) == 0
    assert "train 8, validation 1, test 2, heldout 1 clips" in capsys.readouterr().out
    assert cli.main(["world", "check", "--dir", str(out)]) == 0
    assert "all 12 clips" in capsys.readouterr().out
    captions = tmp_path / "test.json"
    write = ["world", "captions", "--dir", str(out), "--split", "test", "--out", str(captions)]
    assert cli.main([*write, "--dial", "1"]) == 0
    written = json.loads(captions.read_text())
    assert written[1] == {"video": "test/00001.mp4", "caption": load_world(out).split("test")[1].caption()}
    assert cli.main([*write, "--dial", "0"]) == 2  # other content is not replaced
    assert json.loads(captions.read_text()) == written
    assert cli.main([*make, "--clutter", "3"]) == 2
    assert "other parameters (different: clutter)" in capsys.readouterr().err
    (out / "test/00000.mp4").write_bytes(b"x")
    assert cli.main(["world", "check", "--dir", str(out)]) == 2
    assert "test/00000.mp4: truncated" in capsys.readouterr().err


def test_an_unwritable_folder(made: World, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    # root may write into a locked folder, but nobody makes a folder in /proc.
    out = Path("/proc/svitt") if os.access(locked, os.W_OK) else locked / "w"
    if os.access(locked, os.W_OK) and not Path("/proc/self").exists():
        pytest.skip("this user may write anywhere, and there is no /proc")
    with pytest.raises(AnnotationError, match=f"{out}: cannot make a world here"):
        make_world(SPEC, out, workers=1, progress=False)
    with pytest.raises(AnnotationError, match=f"{out}: cannot keep decoded clips here"):
        open_cache(made, "test", folder=out, workers=1, progress=False)
