"""``svitt search``: the model that comes with the book finds what is in real MP4 files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from svitt.cli import main
from svitt.commands import search as module
from svitt.commands.search import as_input, default_checkpoint, find_videos
from svitt.data.datasets import downscale
from svitt.data.transforms import normalise
from svitt.data.video import readers
from svitt.data.video.decode import read_clip
from svitt.data.video.timeline import find_timeline
from svitt.data.worlds.shapes.files import encode_mp4
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import ConfigError
from svitt.models.checkpoints.io import load_model

SPEC = WorldSpec(77, 0, 0, 40, 0)  # a seed that no model was trained or tested on
CLIPS = 40


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for index in range(CLIPS):
        path = folder / f"part{index % 2}" / f"{index:02d}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_mp4(render_clip(SPEC, "test", index)[0], SPEC.fps))
    return folder


def run(videos: Path, tmp_path: Path, text: str, *more: str) -> int:
    return main(["search", text, "--videos", str(videos), "--cache", str(tmp_path / "cache"), *more])


def test_captions_find_their_clips(videos: Path, tmp_path: Path) -> None:
    found = []
    for index in range(12):
        out = tmp_path / f"{index}.json"
        caption = clip_parameters(SPEC, "test", index).scene.caption("mixed")
        assert run(videos, tmp_path, caption, "--json", str(out)) == 0
        ranking = json.loads(out.read_text())
        assert len(ranking["hits"]) == CLIPS and ranking["unreadable"] == {}
        names = [Path(hit["video"]).name for hit in ranking["hits"]]
        found.append(names.index(f"{index:02d}.mp4"))
    assert np.mean([place == 0 for place in found]) > 0.5, found  # 1 in 40 by chance


def test_videos_are_encoded_once(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, tmp_path, "a red ring moves left on sand", "--top", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].split()[0] == "1"

    def never(*args: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(module, "embed_video", never)
    assert run(videos, tmp_path, "a blue bar grows on water") == 0


def test_unreadable_files_are_listed_and_the_rest_is_ranked(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    shutil.copy(videos / "part0" / "00.mp4", folder / "good.mp4")
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.webm").write_bytes(b"")
    (folder / "notes.txt").write_text("not looked at")
    out = tmp_path / "r.json"
    assert run(folder, tmp_path, "a red ring", "--json", str(out), "--sheet", str(tmp_path / "s.png")) == 1
    ranking = json.loads(out.read_text())
    assert [Path(hit["video"]).name for hit in ranking["hits"]] == ["good.mp4"]
    assert sorted(Path(path).name for path in ranking["unreadable"]) == ["empty.webm", "text.mp4"]
    assert "not read" in capsys.readouterr().err
    assert min(Image.open(tmp_path / "s.png").size) > 100


def test_a_renamed_copy_is_known_and_other_content_is_not(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    shutil.copy(videos / "part0" / "00.mp4", folder / "a.mp4")
    assert run(folder, tmp_path, "a red ring") == 0
    (folder / "a.mp4").rename(folder / "b.mp4")
    assert run(folder, tmp_path, "a red ring") == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    shutil.copy(videos / "part0" / "02.mp4", folder / "b.mp4")
    assert run(folder, tmp_path, "a red ring") == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_frames_are_shown_as_in_training() -> None:
    frames = render_clip(SPEC, "test", 0)[0][:4]
    assert torch.allclose(as_input(frames, 32)[0], normalise(downscale(frames, 32)), atol=0.01)
    assert as_input(np.zeros((2, 90, 161, 3), np.uint8), 32).shape == (1, 2, 3, 32, 32)
    small = np.zeros((2, 32, 32, 3), np.uint8)
    assert torch.equal(as_input(small, 32)[0], normalise(small))


def test_the_model_comes_with_the_book_and_is_small() -> None:
    saved = load_model(default_checkpoint())
    assert saved.tokenizer is not None and {"command", "code", "caption"} <= set(saved.card)
    size = sum(path.stat().st_size for path in default_checkpoint().iterdir())
    assert size < 1_000_000


def test_words_and_folders_that_do_not_work(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, tmp_path, "zebra !") == 2
    assert "no word of it is known" in capsys.readouterr().err
    assert run(videos, tmp_path, "") == 2
    assert run(videos, tmp_path, "a red zebra") == 0
    assert "never met: zebra" in capsys.readouterr().err
    assert run(videos, tmp_path, "a red ring", "--top", "0") == 2
    assert run(videos, tmp_path, "a red ring", "--checkpoint", str(tmp_path)) == 2
    assert "config.json" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    for folder in (tmp_path / "none", tmp_path / "missing"):
        with pytest.raises(ConfigError, match=r"no video|no such folder"):
            find_videos(folder)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_a_video_is_decoded_once(
    name: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = videos / "part0" / "00.mp4"
    folder = tmp_path / "some"
    folder.mkdir()
    if name == "clip.avi":  # only decoding tells how many frames it has
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=8, options={"b": "2M"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for frame in read_clip(clip, range(16)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        assert find_timeline(folder / name).num_frames is None  # type: ignore[union-attr]
    else:
        shutil.copy(clip, folder / name)
    opened: list[Path] = []
    real = readers._opened

    def noted(path: Path):  # type: ignore[no-untyped-def]
        opened.append(path)
        return real(path)

    monkeypatch.setattr(readers, "_opened", noted)
    out = tmp_path / "r.json"
    assert run(folder, tmp_path, "a red ring", "--json", str(out)) == 0
    assert opened == [folder / name]
    assert json.loads(out.read_text())["hits"][0]["frames"] == [1, 5, 9, 13]
