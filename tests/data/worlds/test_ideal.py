"""The ideal observers score what they must: all in order, half out of order, chance when blind."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest

from svitt.data.worlds import ideal
from svitt.data.worlds.shapes import questions, reader
from svitt.data.worlds.shapes.grammar import ALL_SHAPES, SHAPES, VERBS, Scene
from svitt.data.worlds.shapes.render import ClipTruth, render
from svitt.data.worlds.shapes.scene import ClipParameters, WorldSpec, clip_parameters
from svitt.errors import ConfigError

SPEC = WorldSpec(seed=21, clutter=1)
N, POOL = 120, 60


@pytest.fixture(scope="module")
def clips() -> list[tuple[ClipParameters, ClipTruth]]:
    drawn = [clip_parameters(SPEC, "heldout", index) for index in range(N)]
    return [(p, render(p, 16, 64)[1]) for p in drawn]


def frames_of(index: int, count: int) -> list[int]:
    """A random frame of each of ``count`` intervals."""
    rng = np.random.default_rng([3, index])
    edges = np.linspace(0, 16, count + 1).astype(int)
    return [int(rng.integers(low, high)) for low, high in pairwise(edges)]


def scores(
    clips: list[tuple[ClipParameters, ClipTruth]], count: int, in_order: bool, dial: float = 1.0
) -> dict[str, float]:
    """R@1, verb and flip choice of the ideal observer who is shown ``count`` frames."""
    scenes = [p.scene for p, _ in clips]
    believed = []
    for index, (p, truth) in enumerate(clips):
        frames = frames_of(index, count)
        order = frames if in_order else np.random.default_rng(index).permutation(frames).tolist()
        believed.append(reader.beliefs(p.scene, reader.shown(truth, order, in_order), dial))
    captions = [p.scene.caption("mixed" if p.caption_threshold < dial else "static") for p, _ in clips]
    flips = [scene.flip_choices() for scene in scenes]
    verbs = [scene.verb_choices() for scene in scenes]
    return {
        "R@1": ideal.hits(captions, believed, POOL).mean(),
        "flip": ideal.choices(flips, [0] * N, believed).mean(),
        "verb": ideal.choices(verbs, [VERBS.index(s.movers[0].verb) for s in scenes], believed).mean(),
    }


def test_in_order_the_ideal_observer_makes_no_mistake(clips: list[tuple[ClipParameters, ClipTruth]]) -> None:
    for count in (2, 4, 16):
        assert scores(clips, count, True) == {"R@1": 1.0, "flip": 1.0, "verb": 1.0}


def test_without_order_the_flip_choice_is_exactly_one_half(
    clips: list[tuple[ClipParameters, ClipTruth]],
) -> None:
    shuffled = scores(clips, 4, False)
    assert shuffled["flip"] == shuffled["verb"] == 0.5 < shuffled["R@1"] < 0.9


def test_a_single_frame_tells_neither_direction_nor_verb(
    clips: list[tuple[ClipParameters, ClipTruth]],
) -> None:
    for in_order in (True, False):
        single = scores(clips, 1, in_order)
        assert single["flip"] == 0.5 and single["verb"] == pytest.approx(1 / 6)
        assert single["R@1"] < scores(clips, 4, False)["R@1"]


def test_shuffling_hurts_an_ideal_reader_only_of_captions_that_need_time(
    clips: list[tuple[ClipParameters, ClipTruth]],
) -> None:
    drops = [
        scores(clips, 4, True, dial)["R@1"] - scores(clips, 4, False, dial)["R@1"] for dial in (0, 0.5, 1)
    ]
    assert drops[0] == 0 and scores(clips, 4, True, 0)["R@1"] == 1 and drops[2] > 0.1


@pytest.mark.parametrize(
    "dials",
    [
        {"event_frames": (3, 10)},
        {"camera_jitter": 0.08, "object_size": 0.2},
        {"num_colours": 12, "num_shapes": 8, "num_textures": 6, "num_sizes": 2},
    ],
    ids=["events", "camera", "names"],
)
def test_the_dials_leave_verb_and_shape_to_be_read(dials: dict[str, object]) -> None:
    spec = WorldSpec(seed=2, clutter=0, **dials)  # type: ignore[arg-type]
    known = ALL_SHAPES[: spec.num_shapes]
    for index in range(60):
        p = clip_parameters(spec, "test", index)
        truth = render(p, 16, 64)[1]
        camera = np.rint(np.array(p.camera) * 64).astype(np.int64) if p.camera else None
        verb = p.scene.movers[0].verb
        assert reader.verbs(reader.shown(truth, range(16), True, camera)) == {verb: 1.0}
        assert set(reader.verbs(reader.shown(truth, range(16), False, camera)).values()) == {0.5}
        assert reader.shape(reader.shown(truth, [8]), known=known) == p.scene.movers[0].shape


def test_where_no_shown_frame_lies_in_the_event_nothing_is_seen_of_it() -> None:
    p = clip_parameters(WorldSpec(seed=2, event_frames=(3, 3)), "test", 0)
    truth = render(p, 16, 64)[1]
    assert p.movers[0].event is not None
    first, length = p.movers[0].event
    before, after = list(range(first + 1)), list(range(first + length - 1, 16))
    for rest in (before, after):
        seen = reader.verbs(reader.shown(truth, rest))
        assert set(seen.values()) == {1 / 6} and set(seen) == set(VERBS)


def hidden(truth: ClipTruth) -> bool:
    """Whether the boxes of the first two objects meet in frames 0, 7 and 15."""
    first, second = truth.boxes[:2, [0, 7, 15]]
    apart = (first[:, :2] >= second[:, 2:]) | (second[:, :2] >= first[:, 2:])
    return bool((~apart.any(axis=1)).all())


def test_questions_about_two_objects_are_answered() -> None:
    spec, rng = WorldSpec(seed=5, num_movers=2), np.random.default_rng(0)
    asked = missed = 0
    for index in range(80):
        p = clip_parameters(spec, "train", index)
        truth = render(p, 16, 64)[1]
        for kind in ("what", "where", "which way"):
            question = questions.ask(p.scene, kind, rng)
            if question is None:
                continue
            seen = reader.answer(question, p.scene, reader.shown(truth, [0, 7, 15]))
            right = seen == {question.answer: 1.0}
            asked, missed = asked + 1, missed + (not right)
            # The other object may hide this one in every frame shown, and then not its shape alone.
            assert right or (kind == "what" and hidden(truth))
            loose = reader.answer(question, p.scene, reader.shown(truth, [0, 7, 15], in_order=False))
            assert loose[question.answer] == (0.5 if kind == "which way" else 1.0)
    assert asked > 180 and missed <= 2
    with pytest.raises(ConfigError, match="what, where or which way"):
        reader.answer(questions.Question("how many", "how many things are there", "two"), p.scene, None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Action:
    """As the robot world says what it shows."""

    verb: str
    undoing: str

    def caption(self, kind: Literal["static", "mixed"]) -> str:
        return "the robot by the drawer" if kind == "static" else f"the robot {self.verb} the drawer"

    def reversed(self) -> Action:
        return Action(self.undoing, self.verb)


def test_a_clip_and_its_undoing_are_told_apart_by_order_alone() -> None:
    told = [Action("opens", "closes"), Action("closes", "opens")]
    flips = [(a.caption("mixed"), a.reversed().caption("mixed")) for a in told]
    for in_order, expected in ((True, 1.0), (False, 0.5)):
        believed = [ideal.two_way(a, 1.0, in_order) for a in told]
        assert ideal.choices(flips, [0, 0], believed).tolist() == [expected] * 2
        assert ideal.hits([a.caption("mixed") for a in told], believed, 2).tolist() == [expected] * 2
    scene = scenes("test", 1)[0]
    assert ideal.two_way(scene, 1.0, False)(scene.reversed().caption("mixed")) == 0.5
    static = [ideal.two_way(a, 0.0, True) for a in told]
    assert ideal.hits([a.caption("static") for a in told], static, 2).tolist() == [1.0, 1.0]


def scenes(split: str, count: int) -> list[Scene]:
    return [clip_parameters(SPEC, split, index).scene for index in range(count)]


def test_the_blind_reader_is_at_chance_where_captions_are_balanced() -> None:
    train = scenes("train", 2000)
    both = [each.caption("mixed") for scene in train for each in (scene, scene.reversed())]
    reads = ideal.blind(both)
    held = scenes("heldout", N)
    flips = ideal.choices([s.flip_choices() for s in held], [0] * N, [reads] * N)
    assert (flips == 0.5).all()  # exactly: every verb is as frequent as its reversal
    drawn = ideal.blind([scene.caption("mixed") for scene in train])
    right = [VERBS.index(s.movers[0].verb) for s in held]
    assert abs(ideal.choices([s.verb_choices() for s in held], right, [drawn] * N).mean() - 1 / 6) < 0.1
    captions = [s.caption("mixed") for s in held]
    assert ideal.hits(captions, [drawn] * N, POOL).mean() < 3 / len(set(captions[:POOL]))


def test_the_blind_reader_finds_what_captions_give_away() -> None:
    told = ["a red ring moves left on sand"] * 9 + ["a red ring moves right on sand"]
    reads = ideal.blind(told)
    assert reads(told[0]) > reads(told[-1]) > reads("a red ring on water") > 0
    assert ideal.choices([(told[0], told[-1])], [0], [reads]).tolist() == [1.0]
    with pytest.raises(ConfigError, match="captions"):
        ideal.blind([])


def test_expectations_are_those_of_a_choice_among_equals() -> None:
    def flat(text: str) -> float:
        return 1.0

    captions = ["a", "b", "a", "c"]
    assert ideal.hits(captions, [flat] * 4, 4).tolist() == pytest.approx([1 / 3] * 4)
    assert ideal.hits(captions, [flat] * 4, 2).tolist() == [0.5] * 4
    assert ideal.choices([("x", "y", "z")], [1], [flat]).tolist() == pytest.approx([1 / 3])
    with pytest.raises(ConfigError, match="beliefs"):
        ideal.hits(captions, [flat], 4)
    with pytest.raises(ConfigError, match="dial"):
        ideal.of_captions({}, "a", 2.0)


def test_every_shape_is_read_from_its_mask(clips: list[tuple[ClipParameters, ClipTruth]]) -> None:
    found = {reader.shape(reader.shown(truth, [5])) for p, truth in clips}
    assert found == set(SHAPES)
    assert all(reader.shape(reader.shown(truth, [5])) == p.scene.movers[0].shape for p, truth in clips)
