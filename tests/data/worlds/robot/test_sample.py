"""The sample of the robot world in ``data/``: whole, readable without a simulator, and what is made today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from svitt.data.video.decode import read_clip
from svitt.data.worlds.robot.grammar import TASKS
from svitt.data.worlds.robot.render import ARM, OBJECT
from svitt.data.worlds.robot.world import World, load_world

ROOT = Path(__file__).resolve().parents[4]
SAMPLE = ROOT / "data" / "samples" / "robot"


@pytest.fixture(scope="module")
def sample() -> World:
    return load_world(SAMPLE)


def test_it_shows_every_task_in_both_directions_and_is_small(sample: World) -> None:
    clips = list(sample)
    assert len(clips) >= 40
    assert Counter(clip.action.task for clip in sample.split("train")) == dict.fromkeys(TASKS, 2)
    assert sum(clip.backwards for clip in clips) == len(clips) / 2
    assert sum(p.stat().st_size for p in SAMPLE.rglob("*.*") if p.is_file()) < 1_500_000


def test_backwards_is_the_reverse_frame_by_frame(sample: World) -> None:
    clips = list(sample)
    for clip, back in zip(clips[::2], clips[1::2], strict=True):
        frames, reverse = (read_clip(c.path, range(16)) for c in (clip, back))
        assert all(np.array_equal(frames[t], reverse[15 - t]) for t in range(16))
        assert back.caption() == clip.action.reversed().caption("mixed") != clip.caption()


def test_the_handled_object_is_seen_in_most_frames_of_nearly_every_task(sample: World) -> None:
    seen = {}
    for clip in sample:
        masks = clip.truth().masks
        assert ((masks == ARM).sum(axis=(1, 2)) > 0).all()
        seen[clip.path] = ((masks == OBJECT).sum(axis=(1, 2)) >= 4).mean()
    shares = np.array(list(seen.values()))
    assert (shares >= 0.5).mean() >= 0.9 and shares.mean() >= 0.85


REMADE = """
import sys
import numpy as np
from svitt.data.worlds.robot.files import film
from svitt.data.worlds.robot.scene import episode_parameters
from svitt.data.worlds.robot.world import load_world
spec = load_world(sys.argv[1], check="size").spec
for split, index in (("train", 4), ("viewpoints", 1)):
    frames, truth = film(spec, split, episode_parameters(spec, split, index), "again")
    np.savez(f"{sys.argv[2]}/{split}-{index}.npz", frames=frames, masks=truth.masks, steps=truth.steps)
"""


def test_it_is_what_is_made_today(sample: World, renderer: dict[str, str], tmp_path: Path) -> None:
    made_by = sample.split("train")[0].truth().made_by
    if f"mujoco {version('mujoco')}, metaworld {version('metaworld')}" not in made_by:
        pytest.skip(f"made by {made_by}; other versions may play otherwise")
    environment = {**os.environ, **renderer, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", REMADE, str(SAMPLE), str(tmp_path)]
    subprocess.run(command, env=environment, check=True, timeout=300)
    for split, index in (("train", 4), ("viewpoints", 1)):
        clip = sample.split(split)[2 * index]
        with np.load(tmp_path / f"{split}-{index}.npz") as again:
            assert clip.truth().steps.tolist() == again["steps"].tolist()
            # Another driver may round otherwise; H.264 loses what it loses.
            assert (clip.truth().masks != again["masks"]).mean() < 0.01
            assert np.abs(read_clip(clip.path, range(16)).astype(int) - again["frames"]).mean() < 6


def test_reading_it_takes_no_simulator() -> None:
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"metaworld", "mujoco", "gymnasium", "OpenGL"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from svitt.data.worlds.registry import load_world
print(len(list(load_world(sys.argv[1]))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(SAMPLE)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    manifest = json.loads((SAMPLE / "manifest.json").read_text())
    assert int(done.stdout) == 2 * len(manifest["clips"])
