"""The world's drawing: symmetric in time, told apart by splits, and the truth it claims."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from svitt.data.worlds.shapes.files import encode_mp4
from svitt.data.worlds.shapes.grammar import BACKGROUNDS, COLOURS, SHAPES, VERBS, combinations, held_out
from svitt.data.worlds.shapes.render import render
from svitt.data.worlds.shapes.scene import SPLITS, ClipParameters, WorldSpec, clip_parameters
from svitt.errors import ConfigError

SPEC = WorldSpec(seed=7)
N = 3000
# All tests here are of fixed seeds: a p-value is a fixed number, not a chance to fail.
ALPHA = 1e-3


@pytest.fixture(scope="module")
def drawn() -> list[ClipParameters]:
    return [clip_parameters(SPEC, "train", i) for i in range(N)]


def quantities(p: ClipParameters) -> tuple[float, ...]:
    """Numbers of a clip that a reversal could change the distribution of."""
    m, d = p.movers[0], p.distractors[0]
    return (m.x, m.y, m.side, abs(m.dx), abs(m.dy), abs(m.log_growth), d.x, d.y, d.side, d.dx, d.dy)


@pytest.mark.parametrize("movers", [1, 2])
def test_a_reversed_clip_is_drawn_exactly_as_the_clip_of_the_reversed_verb(movers: int) -> None:
    spec = WorldSpec(seed=1, num_movers=movers)
    for index in range(30):
        p = clip_parameters(spec, "train", index)
        frames, truth = render(p, 16, 64)
        backwards, back_truth = render(p.reversed(), 16, 64)
        assert np.array_equal(backwards, frames[::-1])
        assert np.array_equal(back_truth.masks, truth.masks[::-1])
        assert np.array_equal(back_truth.boxes, truth.boxes[:, ::-1])
        assert p.reversed().reversed() == p
        assert p.reversed().scene == p.scene.reversed() != p.scene


@pytest.mark.parametrize(
    ("verb", "opposite"), [("moves left", "moves right"), ("moves up", "moves down"), ("grows", "shrinks")]
)
def test_reversed_clips_are_as_likely_as_clips_of_the_reversed_verb(
    drawn: list[ClipParameters], verb: str, opposite: str
) -> None:
    forward = np.array([quantities(p) for p in drawn if p.scene.movers[0].verb == verb])
    reverse = np.array([quantities(p.reversed()) for p in drawn if p.scene.movers[0].verb == opposite])
    assert min(len(forward), len(reverse)) > 400
    for a, b in zip(forward.T, reverse.T, strict=True):
        assert len(np.unique(a)) == 1 or stats.ks_2samp(a, b).pvalue > ALPHA
    words = [
        Counter((m.colour, m.shape) for p in drawn for m in p.scene.movers if m.verb == v)
        for v in (verb, opposite)
    ]
    table = np.array([[count[key] for key in sorted(set(words[0]) | set(words[1]))] for count in words])
    assert stats.chi2_contingency(table).pvalue > ALPHA


def test_a_frame_whose_time_is_not_known_does_not_tell_the_direction(drawn: list[ClipParameters]) -> None:
    rng = np.random.default_rng(0)
    for axis, (verb, opposite) in enumerate([("moves left", "moves right"), ("moves up", "moves down")]):
        places = []
        for v in (verb, opposite):
            bodies = [p.movers[0] for p in drawn if p.scene.movers[0].verb == v]
            weight = rng.uniform(-0.5, 0.5, len(bodies))
            middle = np.array([(b.x, b.y)[axis] for b in bodies])
            change = np.array([(b.dx, b.dy)[axis] for b in bodies])
            places.append(middle + change * weight)
        assert stats.ks_2samp(*places).pvalue > ALPHA


def test_the_codec_does_not_tell_the_direction_of_time() -> None:
    from io import BytesIO

    import av

    def decode(content: bytes) -> np.ndarray:
        with av.open(BytesIO(content)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    for index in range(5):
        frames, _ = render(clip_parameters(SPEC, "test", index), 16, 64)
        decoded = decode(encode_mp4(frames, 8))
        assert np.array_equal(decode(encode_mp4(frames[::-1], 8)), decoded[::-1])
        # The video shows what was drawn: bright saturated objects lose some colour at their rims.
        assert np.abs(decoded.astype(int) - frames).mean() < 6


def test_verbs_colours_shapes_and_backgrounds_are_even(drawn: list[ClipParameters]) -> None:
    scenes = [p.scene for p in drawn]
    for values, known in (
        ([s.movers[0].verb for s in scenes], VERBS),
        ([s.movers[0].colour for s in scenes], tuple(COLOURS)),
        ([s.movers[0].shape for s in scenes], SHAPES),
        ([s.background for s in scenes], BACKGROUNDS),
    ):
        counts = Counter(values)
        assert set(counts) == set(known)
        assert stats.chisquare([counts[k] for k in known]).pvalue > ALPHA
    moving = np.mean([d.dx != 0 or d.dy != 0 for p in drawn for d in p.distractors])
    assert 0.45 < moving < 0.55


def test_objects_stay_in_the_frame_and_are_what_the_masks_show() -> None:
    for index in range(40):
        p = clip_parameters(SPEC, "validation", index)
        frames, truth = render(p, 16, 64)
        assert frames.shape == (16, 64, 64, 3)
        assert truth.masks.shape == (16, 64, 64)
        assert truth.boxes.shape == (3, 16, 4)
        assert (truth.boxes[..., :2] > 0).all()
        assert (truth.boxes[..., 2:] < 64).all()
        colour = np.array(COLOURS[p.scene.movers[0].colour])
        for t in (0, 7, 15):
            rows, columns = np.nonzero(truth.masks[t] == 1)
            left, top, right, bottom = truth.boxes[0, t]
            # Pixel k covers [k, k + 1]: the seen mask reaches the box to within a pixel.
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(np.array(seen) - [left, top, right, bottom]).max() < 1.01
            assert np.abs(np.median(frames[t][rows, columns], axis=0) - colour).max() < 40


def test_the_verb_is_what_the_boxes_do() -> None:
    for index in range(60):
        p = clip_parameters(SPEC, "test", index)
        box = render(p, 16, 64)[1].boxes[0]
        centre = (box[:, :2] + box[:, 2:]) / 2
        side = (box[:, 2:] - box[:, :2]).prod(axis=1)
        change = (centre[-1] - centre[0]) / 64
        expected = {
            "moves left": change[0] < -0.25,
            "moves right": change[0] > 0.25,
            "moves up": change[1] < -0.25,
            "moves down": change[1] > 0.25,
            "grows": side[-1] > 2.5 * side[0],
            "shrinks": side[0] > 2.5 * side[-1],
        }
        assert [verb for verb, holds in expected.items() if holds] == [p.scene.movers[0].verb]


def test_a_clip_depends_on_seed_split_and_index_alone() -> None:
    small, large = WorldSpec(seed=3, num_train=2), WorldSpec(seed=3, num_train=5000, num_test=7)
    assert clip_parameters(small, "train", 1) == clip_parameters(large, "train", 1)
    digests = {
        clip_parameters(WorldSpec(seed=seed), split, index).digest()
        for seed in (3, 4)
        for split in SPLITS
        for index in (0, 1)
    }
    assert len(digests) == 16


def test_held_out_combinations_are_apart_and_no_word_is_new_in_them() -> None:
    seen, held = combinations(False), combinations(True)
    assert len(seen) == 72
    assert len(held) == 24
    assert not set(seen) & set(held)
    for position, known in enumerate((tuple(COLOURS), SHAPES, BACKGROUNDS)):
        assert {c[position] for c in seen} == {c[position] for c in held} == set(known)
    for pair in ((0, 1), (0, 2), (1, 2)):  # every pair of values is seen in training
        both = {tuple(c[i] for i in pair) for c in seen}
        assert both == {tuple(c[i] for i in pair) for c in seen + held}
    for split in SPLITS:
        for index in range(100):
            for movers in (1, 3):
                scene = clip_parameters(WorldSpec(seed=2, num_movers=movers), split, index).scene
                for m in scene.movers:
                    assert held_out(m.colour, m.shape, scene.background) == (split == "heldout")


def test_the_dials_of_difficulty_have_an_effect() -> None:
    p = clip_parameters(WorldSpec(num_movers=3, clutter=5), "train", 0)
    assert len(p.movers) == len(p.scene.movers) == 3
    assert len({m.colour for m in p.scene.movers}) == 3
    assert len(p.distractors) == 5
    sides = [
        np.mean([clip_parameters(WorldSpec(object_size=s), "train", i).movers[0].side for i in range(50)])
        for s in (0.1, 0.2)
    ]
    assert sides == pytest.approx([0.1, 0.2], rel=0.05)
    assert render(p, 5, 32)[0].shape == (5, 32, 32, 3)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1},
        {"num_test": -1},
        {"size": 63},
        {"num_frames": 1},
        {"fps": 0},
        {"num_movers": 0},
        {"num_movers": 7},
        {"clutter": -1},
        {"object_size": 0.5},
    ],
)
def test_a_spec_out_of_range_is_named(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        WorldSpec(**values)  # type: ignore[arg-type]


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ConfigError, match=r"split = 'dev'.*heldout"):
        clip_parameters(SPEC, "dev", 0)
