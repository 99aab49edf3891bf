"""Playing and drawing, in a process of its own with the variables of its renderer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from svitt.data.worlds.robot.grammar import Action

ROOT = Path(__file__).resolve().parents[4]


def run(program: str, renderer: dict[str, str]) -> Any:
    """What a program prints as JSON in its last line."""
    environment = {**os.environ, **renderer, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


PLAYED = """
import json
import numpy as np
from svitt.data.worlds.robot import simulate
from svitt.data.worlds.robot.files import film
from svitt.data.worlds.robot.render import stage
from svitt.data.worlds.robot.scene import Camera, RobotSpec, episode_parameters

spec, found = RobotSpec(seed=1), {}
indices = [i for i in range(56) if episode_parameters(spec, "train", i).task == "plate-slide"]
before = np.random.get_state()[1].tolist()
first = film(spec, "train", episode_parameters(spec, "train", indices[0]), "x")
film(spec, "train", episode_parameters(spec, "train", indices[1]), "x")
again = film(spec, "train", episode_parameters(spec, "train", indices[0]), "x")
found["same"] = all(np.array_equal(a, b) for a, b in ((first[0], again[0]), (first[1].masks, again[1].masks)))
found["global"] = np.random.get_state()[1].tolist() == before

# The fast path against its reference: coarse meshes against the robot's own.
camera = Camera("", 250.0, -35.0, 1.1)
shots = {}
for coarse in (True, False):
    set_ = stage("plate-slide", 64, coarse)
    episode = simulate.play(set_.env, "plate-slide", np.random.default_rng(0))
    set_.pose(episode.states[30])
    set_.look(camera)
    triangles = int(set_.env.model.mesh_facenum.sum())
    shots[coarse] = set_.frame().astype(int), set_.mask(), episode.states[-1].qpos, triangles
found["pixels"] = float(np.abs(shots[True][0] - shots[False][0]).mean())
found["masks"] = float((shots[True][1] != shots[False][1]).mean())
found["played alike"] = bool(np.array_equal(shots[True][2], shots[False][2]))
found["triangles"] = shots[True][3], shots[False][3]

# A policy that does nothing fails every attempt.
from metaworld.policies import ENV_POLICY_MAP
class Idle:
    def get_action(self, observation):
        return np.zeros(4)
ENV_POLICY_MAP["plate-slide-v3"] = Idle
simulate.STEPS, simulate.ATTEMPTS = 20, 3
try:
    film(spec, "train", episode_parameters(spec, "train", indices[0]), "w: train/7")
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def test_playing_and_drawing(renderer: dict[str, str]) -> None:
    found = run(PLAYED, renderer)
    assert found["same"], "an episode depends on those before it"
    assert found["global"], "numpy's global random numbers were used"
    assert found["played alike"] and found["pixels"] < 1 and found["masks"] < 0.005
    assert found["triangles"][0] < 0.6 * found["triangles"][1]
    assert found["error"].startswith(
        "AnnotationError: w: train/7: the scripted policy of plate-slide failed in 3 of 3"
    )


LABELLED = """
import json
from svitt.data.worlds.robot.grammar import TASKS
from svitt.data.worlds.robot.simulate import environment, labels
found = {}
for task in TASKS:
    model = environment(task).model
    kinds = labels(model)
    names = [
        model.body(b).name or model.body(model.body_parentid[b]).name + "'s part" for b in model.geom_bodyid
    ]
    found[task] = {k: sorted({n for n, kind in zip(names, kinds) if kind == k}) for k in (1, 2)}
print(json.dumps(found))
"""
# What a caption names -> the bodies of Meta-World's models that it names, read off by eye.
BODIES = {
    "drawer": ["drawer_link"],
    "door": ["door_link"],
    "window": ["windowb_a"],
    "faucet": ["faucet_link2"],
    "safe": ["lock_link"],
    "plate": ["puck_channel's part"],
    "handle": ["handle_link"],
    "side handle": ["handle_link"],
    "mug": ["mug"],
    "thermos": ["object's part", "stick's part"],
    "ring": ["asmbly_peg"],
    "block": ["obj"],
}


@pytest.mark.slow
def test_the_handled_object_is_what_the_caption_names(renderer: dict[str, str]) -> None:
    found = run(LABELLED, renderer)
    for task, kinds in found.items():
        assert {"right_hand", "right_l0", "rightclaw"} <= set(kinds["1"])
        thing = Action.of_task(task).pair.object
        wanted = BODIES[thing] if thing != "peg" else ["peg" if task == "peg-insert-side" else "plug"]
        assert kinds["2"] == wanted, task
