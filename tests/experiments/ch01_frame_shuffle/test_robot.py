"""Chapter 1 in the robot world: on the sample that comes with the book, and what is asked of a clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from svitt.data.worlds import ideal
from svitt.data.worlds.robot.grammar import ACTIONS
from svitt.evaluation.frame_order import score_order
from svitt.experiments import base
from svitt.experiments.ch01_frame_shuffle import robot
from svitt.experiments.shared.tiny_models import dual_encoder_config, tiny_video_config
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace
from tests.experiments.tiny import measured


@pytest.fixture(scope="module")
def run(out_dir: str) -> base.Recorded:
    return measured(robot, robot.SCALES["smoke"], out_dir)


def test_every_variant_is_asked_in_every_order(run: base.Recorded) -> None:
    kinds = ("static_rank", "rank", "flip", "task", "pair")
    names = {
        f"{split}/{variant}/{order}/{kind}"
        for split in robot.SPLITS
        for variant in robot.VARIANTS
        for order in robot.ORDERS
        for kind in kinds
    }
    assert set(run.outcomes) == names
    assert run.outcomes["test/mixed/shuffle/flip"].shape == (2, 8)
    assert run.outcomes["viewpoints/mixed/none/rank"].shape == (1, 8)


def test_what_cannot_see_order_is_the_same_in_every_order(run: base.Recorded) -> None:
    for variant in ("bag_of_frames", "single_frame"):
        for kind in ("rank", "flip", "task"):
            ordered = run.outcomes[f"test/{variant}/none/{kind}"]
            assert (run.outcomes[f"test/{variant}/reverse/{kind}"] == ordered).all(), (variant, kind)


def test_a_clip_and_its_undoing_are_never_both_right_without_order(run: base.Recorded) -> None:
    """A bag of frames embeds both alike, and says the same of both: exactly one of the two is right, or, in a
    tie, none."""
    for variant in ("bag_of_frames",):
        flip = run.outcomes[f"test/{variant}/none/flip"][0].reshape(-1, 2)
        assert (flip.sum(axis=1) <= 1).all() and flip.sum() > 0


def test_the_questions_have_one_answer_and_the_ideal_observer_finds_it(out_dir: str) -> None:
    data = robot.robot_data(robot.SCALES["smoke"], 0, Workspace.open(out_dir))
    clips = list(data.world.split("test"))
    config = dual_encoder_config(tiny_video_config(4, width=32, depth=1), data)  # type: ignore[arg-type]
    model = DualEncoder(config, 0).eval()
    texts = robot.probe_texts(model, data, clips, "cpu")
    assert texts.verb is not None and texts.reversed_verb is not None
    assert (texts.correct.sum(axis=1) == 1).all() and (texts.verb != texts.reversed_verb).all()
    assert [ACTIONS[t] for t in texts.verb] == [clip.action for clip in clips]
    perfect = score_order(texts.pool[texts.verb], texts)  # a model that says the caption itself
    assert perfect.flip is not None and perfect.verb is not None
    assert perfect.flip.all() and perfect.verb.all() and (perfect.rank == 1).all()
    assert robot.right_pair(perfect, texts.verb).all()
    undone = score_order(texts.pool[texts.reversed_verb], texts)
    assert undone.flip is not None and not undone.flip.any() and robot.right_pair(undone, texts.verb).all()
    for in_order, wanted in ((True, 1.0), (False, 0.5)):
        beliefs = [ideal.two_way(clip.action, 1.0, in_order) for clip in clips]
        choices = [clip.action.flip_choices() for clip in clips]
        assert (ideal.choices(choices, [0] * len(clips), beliefs) == wanted).all()


def test_the_sample_is_read_and_never_written(out_dir: str) -> None:
    data = robot.robot_data(robot.SCALES["smoke"], 0, Workspace.open(out_dir))
    before = sorted(path.name for path in data.world.folder.rglob("*"))
    assert data.clips("test").shape == (8, 16, 32, 32, 3)
    assert sorted(path.name for path in data.world.folder.rglob("*")) == before
    assert torch.is_tensor(torch.from_numpy(data.clips("viewpoints")))
    assert np.array_equal(data.clips("test")[1], data.clips("test")[0][::-1]), "a clip and its undoing"
