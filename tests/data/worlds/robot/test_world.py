"""A robot world: clips of what was played, the same backwards, resumed without loss, damage named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from svitt import cli
from svitt.data.datasets import open_cache
from svitt.data.video.decode import probe, read_clip
from svitt.data.worlds import registry
from svitt.data.worlds.base import Split
from svitt.data.worlds.robot import gl
from svitt.data.worlds.robot.render import ARM, OBJECT, REST
from svitt.data.worlds.robot.world import (
    RobotClip,
    World,
    assert_apart,
    failed_attempts,
    load_world,
    make_world,
)
from svitt.errors import AnnotationError, ConfigError
from tests.data.worlds.robot.conftest import SPEC


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


@pytest.fixture
def folder(made: World, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(made.folder, tmp_path / "copy"))


def pairs(world: World) -> list[tuple[RobotClip, RobotClip]]:
    clips = list(world)
    return list(zip(clips[::2], clips[1::2], strict=True))


def test_backwards_clips_are_the_reversed_frames_under_the_caption_of_the_undoing(made: World) -> None:
    assert [len(split) for split in made.splits.values()] == [6, 0, 2, 2]
    for clip, back in pairs(made):
        assert (clip.backwards, back.backwards) == (False, True)
        assert (clip.split, clip.index, clip.parameters) == (back.split, back.index, back.parameters)
        frames, reverse = (read_clip(c.path, range(16)) for c in (clip, back))
        for t in range(16):
            assert np.array_equal(reverse[t], frames[15 - t])
        assert not np.array_equal(frames, reverse)  # something happens
        assert back.action == clip.action.reversed()
        assert (clip.caption(), back.caption()) == clip.action.flip_choices()
        assert clip.caption_at(0) == back.caption_at(0) == clip.caption("static")
        assert clip.caption_at(1) == clip.caption("mixed") != back.caption_at(1)
        assert clip.has_verb_at(0.5) == back.has_verb_at(0.5)
        assert np.array_equal(back.truth().masks, clip.truth().masks[::-1])


def test_clips_are_small_videos_with_masks_of_what_is_seen(made: World) -> None:
    for clip, _ in pairs(made):
        info = probe(clip.path)
        assert (info.num_frames, info.fps, info.height, info.width) == (16, 8.0, 64, 64)
        truth = clip.truth()
        assert truth.masks.shape == (16, 64, 64) and set(np.unique(truth.masks)) <= {REST, ARM, OBJECT}
        assert ((truth.masks == ARM).mean(axis=(1, 2)) > 0.02).all()
        assert ((truth.masks == OBJECT).sum(axis=(1, 2)) >= 4).mean() >= 0.4
        assert (np.diff(truth.steps) > 0).all() and truth.success + 9 == truth.steps[-1]
        # The arm is red where the mask says so.
        red = read_clip(clip.path, range(16)).astype(int)
        arm, rest = (red[truth.masks == kind].mean(axis=0) for kind in (ARM, REST))
        assert arm[0] - arm[1] > 40 > rest[0] - rest[1]


def test_two_workers_make_the_same_files_as_one_also_of_a_larger_world(made: World, tmp_path: Path) -> None:
    larger = dataclasses.replace(SPEC, num_train=4, num_validation=1)
    world = make_world(larger, tmp_path / "w", workers=2, progress=False)
    ours, theirs = contents(made.folder), contents(world.folder)
    files = [name for name in ours if name.endswith((".mp4", ".npz"))]
    assert len(files) == 3 * 5
    assert [name for name in files if ours[name] != theirs[name]] == []
    assert world.digest != made.digest


def test_an_interrupted_making_loses_and_doubles_nothing(made: World, folder: Path) -> None:
    """As a kill leaves it: one episode journalled, one written but not journalled, one half written."""
    lines = json.loads((folder / "manifest.json").read_text())["clips"]
    first = [json.dumps(lines[0][role]) for role in ("video", "backwards", "truth")]
    (folder / "journal.jsonl").write_text("\n".join(first) + '\n["train/00001.m')
    (folder / "manifest.json").unlink()
    (folder / "train/00002.mp4").rename(folder / "train/.00002.mp4.1-1.part")
    (folder / "train/00002.npz").unlink()
    shutil.rmtree(folder / "viewpoints")
    with pytest.raises(AnnotationError, match="its making was interrupted"):
        load_world(folder)
    again = make_world(SPEC, folder, workers=1, progress=False)
    assert again.digest == made.digest
    assert contents(folder) == contents(made.folder)


def test_failed_attempts_are_counted(made: World) -> None:
    assert {task: kept for task, (_, kept) in failed_attempts(made).items()} == {
        clip.action.task: 1 for clip, _ in pairs(made)
    }
    more = [dataclasses.replace(clip, attempts=3) for clip in made.split("train")]
    world = dataclasses.replace(made, splits={"train": Split("train", more)})
    assert all(failed == 2 for failed, _ in failed_attempts(world).values())


def test_splits_are_kept_apart(made: World) -> None:
    clip = made.split("train")[0]
    twin = dataclasses.replace(made.split("test")[0], parameters=clip.parameters)
    with pytest.raises(AnnotationError, match="are the same episode"):
        assert_apart(dataclasses.replace(made, splits={**made.splits, "test": Split("test", [twin])}))
    seen = dataclasses.replace(made.split("viewpoints")[0], camera=clip.camera)
    with pytest.raises(AnnotationError, match="outside the viewpoints split's"):
        assert_apart(
            dataclasses.replace(made, splits={**made.splits, "viewpoints": Split("viewpoints", [seen])})
        )


def test_damage_is_named(folder: Path, made: World) -> None:
    truth = folder / "test/00000.npz"
    sound = truth.read_bytes()
    truth.write_bytes(sound[:-100])
    with pytest.raises(AnnotationError, match=r"test/00000.npz: truncated: .* delete it and make"):
        load_world(folder)
    with pytest.raises(AnnotationError, match=r"test/00000.npz: not a ground-truth file"):
        dataclasses.replace(made.split("test")[0], truth_path=truth).truth()
    np.savez_compressed(truth, masks=np.zeros((2, 2)), steps=0, attempts=1, views=1, success=1, made_by="")
    with pytest.raises(AnnotationError, match=r"masks float64 \(2, 2\), expected uint8"):
        dataclasses.replace(made.split("test")[0], truth_path=truth).truth()
    truth.write_bytes(sound)

    manifest = folder / "manifest.json"
    written = manifest.read_text()
    for old, new, named in (
        ("the robot ", "the robbt ", r"captions .* do not fit its task"),
        ('"success": ', '"success": 1', r"edited \(success\)"),
        ('"attempts": ', '"attempts": 1', r"edited \(attempts\)"),
        ('"azimuth": ', '"azimuth": 1', "edited|stands at"),
    ):
        manifest.write_text(written.replace(old, new, 1))
        with pytest.raises(AnnotationError, match=named):
            load_world(folder)
    manifest.write_text(written)
    assert load_world(folder).digest == made.digest


def test_an_experiment_takes_it_by_name_and_caches_it_like_any_other(made: World, folder: Path) -> None:
    spec = registry.spec_for("robot", **{f.name: getattr(SPEC, f.name) for f in dataclasses.fields(SPEC)})
    assert spec == SPEC
    world = registry.make_world(spec, folder, progress=False)
    assert registry.load_world(folder).digest == world.digest == made.digest
    cache = open_cache(world, "test", 32, workers=1, progress=False)
    assert cache.frames.shape == (2, 16, 32, 32, 3)
    assert np.array_equal(cache.frames[0], cache.frames[1][::-1])


def test_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options of the kind, on a world that is there already."""
    options = ["--clips", "3", "--seed", "4", "--validation", "0", "--test", "1", "--viewpoints", "1"]
    make = ["world", "make", "--kind", "robot", "--out", str(folder), *options]
    assert cli.main(make) == 0
    assert "train 6, validation 0, test 2, viewpoints 2 clips" in (said := capsys.readouterr().out)
    assert "attempts failed and were left out" in said
    assert cli.main([*make, "--wrist"]) == 2
    assert "other parameters (different: wrist)" in capsys.readouterr().err
    assert cli.main([*make, "--clutter", "2"]) == 2
    assert "--clutter: a robot world has no such option; it has " in capsys.readouterr().err
    assert cli.main(["world", "check", "--dir", str(folder)]) == 0
    captions = [
        "world",
        "captions",
        "--dir",
        str(folder),
        "--split",
        "test",
        "--out",
        str(tmp_path / "c.json"),
    ]
    assert cli.main([*captions, "--relation", "next"]) == 2
    assert "is no world of shapes" in capsys.readouterr().err
    assert cli.main([*captions, "--dial", "1"]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    clips = load_world(folder).split("test")
    assert written == [{"video": f"test/{clip.path.name}", "caption": clip.caption()} for clip in clips]


def test_without_a_package_or_opengl_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = ["world", "make", "--kind", "robot", "--clips", "1", "--out"]
    monkeypatch.setattr(gl.importlib.util, "find_spec", lambda name: None if name == "metaworld" else name)
    assert cli.main([*make, str(tmp_path / "a")]) == 2
    assert "metaworld, not installed here: pip install 'svitt[worlds]'" in capsys.readouterr().err
    monkeypatch.setattr(gl, "PACKAGES", ())
    monkeypatch.setattr(gl, "works", lambda variables: False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    assert cli.main([*make, str(tmp_path / "b")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no OpenGL" in line and "tried: egl, osmesa" in line and "apt install libosmesa6" in line


def test_the_first_backend_that_works_is_taken_and_a_named_one_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gl, "PACKAGES", ())
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    for working in gl.BACKENDS:
        monkeypatch.setattr(gl, "works", lambda variables, w=working: variables["MUJOCO_GL"] == w)
        assert gl.environment()["MUJOCO_GL"] == working
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(ConfigError, match=r"tried: egl\).*unset MUJOCO_GL"):
        gl.environment()


def test_a_backend_that_ends_its_process_does_not_work(renderer: dict[str, str]) -> None:
    assert not gl.works(gl.variables_of("no such backend"))
    assert gl.works(renderer)


def test_from_the_wrist(made: World, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, num_train=1, num_test=0, wrist=True)
    world = make_world(spec, tmp_path / "w", workers=1, progress=False)
    clip, held = world.split("train")[0], world.split("viewpoints")[0]
    assert (clip.camera.name, held.camera.name) == ("gripperPOV", "behindGripper")
    same = made.split("train")[0]
    assert clip.action == same.action and np.array_equal(clip.truth().steps, same.truth().steps)
    assert not np.array_equal(read_clip(clip.path, range(16)), read_clip(same.path, range(16)))
    assert (clip.truth().masks == ARM).any()
