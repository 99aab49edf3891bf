"""The dials of the world: off, every byte is what it was before they came; on, time stays symmetric."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from svitt.config import from_dict, to_dict
from svitt.data.worlds.shapes.grammar import REVERSED_VERB, VERBS
from svitt.data.worlds.shapes.names import TEXTURES
from svitt.data.worlds.shapes.render import render
from svitt.data.worlds.shapes.scene import ClipParameters, WorldSpec, clip_parameters, log_uniform
from svitt.data.worlds.shapes.world import load_world, make_world
from svitt.errors import ConfigError

ALPHA = 1e-3  # of fixed seeds, as in test_scene.py
# As drawn before there were dials: parameters, frames, ground truth.
BEFORE: list[tuple[dict[str, Any], list[tuple[str, int, str, str, str]]]] = [
    (
        {"seed": 7},
        [
            ("train", 0, "824774c2b39df464", "47f06d8c7f346523", "8ffd7d217d68283a"),
            ("train", 41, "63b0d9474cc0f505", "b2029667efef8261", "6b8f031eafce52c6"),
            ("test", 3, "1829e706bfb6766b", "c6ead2f527dfbb53", "2989d35f3367854a"),
            ("heldout", 2, "cd2517cfd640181f", "222b298909d47359", "3040af653126ea54"),
        ],
    ),
    (
        {"seed": 3, "num_movers": 2, "clutter": 5, "object_size": 0.2, "num_frames": 32},
        [
            ("train", 0, "11e1dd4326cd4928", "c4666bd5530736f8", "63b40b0e6be8bcdd"),
            ("train", 41, "52999c06767fe8b1", "18d9487c9c54cb40", "057215f115e58364"),
            ("test", 3, "0ca5e74710a1bddd", "a40b8172128ab72d", "c9ab1b959db632d5"),
            ("heldout", 2, "42a64a49df195e3f", "869fb3672e4fe83d", "f361638b5e2a6c45"),
        ],
    ),
    (
        {"seed": 11, "num_movers": 3, "clutter": 0, "size": 32, "num_frames": 8},
        [
            ("train", 0, "bcb39cf2cedbe892", "49006dc24acc477f", "3009617da3f60567"),
            ("train", 41, "8b8d04eff49a6ece", "3741c60c400007eb", "f627fb5e05f619f4"),
            ("test", 3, "9d053bf33f4baca6", "2784371a3a6ef3cb", "4f22ecb6da0d41d1"),
            ("heldout", 2, "1918cbe5832524ea", "89aaf7b5f9d28873", "88ada88b3988d372"),
        ],
    ),
]
BRIEF = {"event_frames": (2, 12)}
SHAKY = {"camera_jitter": 0.08, "object_size": 0.2}
LOUD = {"distractor_contrast": 1.0, "clutter": 4}
NAMED = {"num_colours": 12, "num_shapes": 8, "num_textures": 6, "num_sizes": 2}
ALL = {**BRIEF, **SHAKY, **LOUD, **NAMED}
DIALS = {"events": BRIEF, "camera": SHAKY, "contrast": LOUD, "names": NAMED, "all": ALL}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize(("values", "clips"), BEFORE)
def test_without_dials_every_clip_is_what_it_was(
    values: dict[str, Any], clips: list[tuple[str, int, str, str, str]]
) -> None:
    spec = WorldSpec(**values)
    for split, index, parameters, frames, truth in clips:
        drawn = clip_parameters(spec, split, index)
        pictures, where = render(drawn, spec.num_frames, spec.size)
        assert drawn.digest()[:16] == parameters
        assert digest(pictures.tobytes()) == frames
        assert digest(where.masks.tobytes() + where.boxes.tobytes()) == truth


def test_without_dials_manifest_and_spec_are_what_they_were(tmp_path: Path) -> None:
    spec = WorldSpec(seed=5, num_train=2, num_validation=1, num_test=1, num_heldout=1)
    world = make_world(spec, tmp_path / "w", workers=1, progress=False)
    assert digest((world.folder / "spec.json").read_bytes()) == "ff2ce318ea7d2c45"
    # The manifest also lists the bytes of the files, which are those of the encoder's version.
    head, *lines = (world.folder / "manifest.json").read_text().splitlines()
    assert json.loads(head + "]}")["spec"] == {
        **{"seed": 5, "num_train": 2, "num_validation": 1, "num_test": 1, "num_heldout": 1, "size": 64},
        **{"num_frames": 16, "fps": 8, "num_movers": 1, "clutter": 2, "object_size": 0.28},
    }
    clips = [json.loads(line.rstrip(",")) for line in lines[:-1]]
    told = [{k: v for k, v in clip.items() if k not in ("video", "truth")} for clip in clips]
    assert digest(json.dumps(told).encode()) == "229a467c8dae0034"


def test_a_spec_written_before_the_dials_still_loads_and_one_with_dials_comes_back() -> None:
    old = {"seed": 5, "num_train": 6, "num_validation": 2, "num_test": 3, "num_heldout": 2, "size": 64}
    old |= {"num_frames": 16, "fps": 8, "num_movers": 1, "clutter": 2}
    spec = from_dict(WorldSpec, {**old, "object_size": 0.28})
    assert spec == WorldSpec(5, 6, 2, 3, 2) and to_dict(spec) == {**old, "object_size": 0.28}
    for values in DIALS.values():
        dialled = WorldSpec(**values)  # type: ignore[arg-type]
        written = json.loads(json.dumps(to_dict(dialled)))
        assert set(values) <= set(written) and from_dict(WorldSpec, written) == dialled


@pytest.mark.parametrize("values", DIALS.values(), ids=DIALS)
def test_the_reversed_clip_is_drawn_exactly_as_the_clip_played_backwards(values: dict[str, Any]) -> None:
    spec = WorldSpec(seed=1, num_movers=2, **values)
    for index in range(12):
        p = clip_parameters(spec, "train", index)
        (frames, truth), (back, back_truth) = render(p, 16, 64), render(p.reversed(), 16, 64)
        assert np.array_equal(back, frames[::-1])
        assert np.array_equal(back_truth.masks, truth.masks[::-1])
        assert np.array_equal(back_truth.boxes, truth.boxes[:, ::-1])
        assert p.reversed().reversed() == p != p.reversed()
        assert p.reversed().digest() != p.digest() == p.reversed().reversed().digest()


def drawn_with(values: dict[str, Any], count: int = 2400) -> list[ClipParameters]:
    spec = WorldSpec(seed=8, **values)
    return [clip_parameters(spec, "train", index) for index in range(count)]


def quantities(p: ClipParameters) -> list[float]:
    """Numbers of a clip that a reversal could change the distribution of."""
    m, d = p.movers[0], p.distractors[0]
    event = [float(n) for body in (m, d) for n in body.event or (0, 0)]
    camera = [n for shift in (p.camera[0], p.camera[3], p.camera[-1]) for n in shift] if p.camera else []
    places = [m.x, m.y, m.side, abs(m.dx), abs(m.dy), abs(m.log_growth), d.x, d.y, d.side, d.dx, d.dy]
    return [*places, *event, *camera, float(d.rgb[0]), float(TEXTURES.index(m.texture))]


@pytest.mark.parametrize("values", DIALS.values(), ids=DIALS)
def test_reversed_clips_are_as_likely_as_clips_of_the_reversed_verb(values: dict[str, Any]) -> None:
    drawn = drawn_with(values)
    for verb in ("moves left", "moves up", "grows"):
        forward = np.array([quantities(p) for p in drawn if p.scene.movers[0].verb == verb])
        opposite = [p for p in drawn if p.scene.movers[0].verb == REVERSED_VERB[verb]]
        backward = np.array([quantities(p.reversed()) for p in opposite])
        assert min(len(forward), len(backward)) > 300
        for a, b in zip(forward.T, backward.T, strict=True):
            assert len(np.unique(a)) == 1 or stats.ks_2samp(a, b).pvalue > ALPHA


@pytest.mark.parametrize("values", DIALS.values(), ids=DIALS)
def test_one_frame_at_a_random_time_does_not_tell_the_direction(values: dict[str, Any]) -> None:
    """A nearest-neighbour classifier on the boxes of one frame, trained on 900 clips of a pair of verbs."""
    rng = np.random.default_rng(0)
    spec = WorldSpec(seed=8, **values)
    seen, verbs = [], []
    for index in range(5400):
        p = clip_parameters(spec, "train", index)
        if p.scene.movers[0].verb not in ("moves left", "moves right"):
            continue
        seen.append(places_of(p, int(rng.integers(16))))
        verbs.append(p.scene.movers[0].verb == "moves left")
    places, left = np.array(seen), np.array(verbs)
    right = nearest_says(places[:900], left[:900], places[900:], left[900:])
    assert len(left) > 1600 and stats.binomtest(right, len(left) - 900).pvalue > ALPHA


def test_the_same_classifier_sees_a_frame_whose_time_is_known() -> None:
    """So it would see a leak: of the first frame of a clip alone it tells the direction."""
    drawn = [p for p in drawn_with({}, 5400) if p.scene.movers[0].verb in ("moves left", "moves right")]
    places = np.array([places_of(p, 0) for p in drawn])
    left = np.array([p.scene.movers[0].verb == "moves left" for p in drawn])
    right = nearest_says(places[:900], left[:900], places[900:], left[900:])
    assert right > 0.65 * (len(left) - 900)


def places_of(p: ClipParameters, t: int) -> list[float]:
    """Where the named object and a distractor are in frame ``t`` of 16, in frame sides."""
    found = []
    for body in (p.movers[0], p.distractors[0]):
        first, length = body.event or (0, 16)
        weight = float(np.clip((2 * (t - first) - (length - 1)) / (2 * (length - 1)), -0.5, 0.5))
        right, down = p.camera[t] if p.camera else (0.0, 0.0)
        found += [body.x + body.dx * weight + right, body.y + body.dy * weight + down, body.side]
    return found


def nearest_says(
    known: npt.NDArray[np.float64],
    answers: npt.NDArray[np.bool_],
    asked: npt.NDArray[np.float64],
    truth: npt.NDArray[np.bool_],
) -> int:
    """How many the majority of the 15 nearest gets right."""
    distance = ((asked[:, None] - known) ** 2).sum(2)
    nearest = np.argsort(distance, axis=1)[:, :15]
    return int(((answers[nearest].mean(1) > 0.5) == truth).sum())


def test_an_event_has_its_length_and_the_object_rests_before_and_after() -> None:
    spec = WorldSpec(seed=2, num_frames=32, event_frames=(3, 20), clutter=1)
    for index in range(40):
        p = clip_parameters(spec, "test", index)
        assert p.movers[0].event is not None
        first, length = p.movers[0].event
        assert 3 <= length <= 20 and first >= 0 and first + length <= 32
        box = render(p, 32, 64)[1].boxes[0]
        moves = (np.abs(np.diff(box, axis=0)) > 1e-4).any(axis=1)
        assert np.flatnonzero(moves).tolist() == list(range(first, first + length - 1))
        still = clip_parameters(dataclasses.replace(spec, event_frames=None), "test", index)
        whole = render(still, 32, 64)[1].boxes[0]
        assert np.array_equal(whole[[0, -1]], box[[0, -1]])  # the same way, in less time


def test_lengths_are_log_uniform() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([log_uniform(2, 15, rng) for _ in range(6000)])
    counts = [((drawn >= low) & (drawn < 2 * low)).sum() for low in (2, 4, 8)]
    assert set(drawn.tolist()) == set(range(2, 16)) and stats.chisquare(counts).pvalue > ALPHA
    assert {log_uniform(5, 5, rng) for _ in range(20)} == {5}


def test_the_other_numbers_of_a_clip_do_not_depend_on_its_event() -> None:
    for index in range(20):
        plain, brief = (clip_parameters(WorldSpec(seed=9, **v), "train", index) for v in ({}, BRIEF))  # type: ignore[arg-type]
        bodies = [dataclasses.replace(body, event=None) for body in (*brief.movers, *brief.distractors)]
        assert bodies == [*plain.movers, *plain.distractors]
        assert (brief.scene, brief.caption_threshold) == (plain.scene, plain.caption_threshold)


def test_the_camera_moves_the_whole_picture_and_no_object_out_of_it() -> None:
    spec = WorldSpec(seed=3, clutter=0, **SHAKY)  # type: ignore[arg-type]
    for index in range(10):
        p = clip_parameters(spec, "train", index)
        frames, truth = render(p, 16, 64)
        shifts = np.rint(np.array(p.camera) * 64).astype(int)
        assert 2 < np.abs(shifts).max() <= 6
        assert (truth.boxes[..., :2] > 0).all() and (truth.boxes[..., 2:] < 64).all()
        (right, down), (other_right, other_down) = shifts[4], shifts[5]
        # The background of frame 4, moved to where the camera puts it in frame 5, is that of frame 5.
        moved = np.roll(frames[4], (other_down - down, other_right - right), axis=(0, 1))[13:-13, 13:-13]
        masks = np.roll(truth.masks[4], (other_down - down, other_right - right), axis=(0, 1))
        free = (masks == 0)[13:-13, 13:-13] & (truth.masks[5] == 0)[13:-13, 13:-13]
        rims = np.abs(moved.astype(int) - frames[5][13:-13, 13:-13]).max(2)[free]
        assert np.mean(rims > 0) < 0.1  # an object's half covered rim pixels are all that differs
    far = np.array([clip_parameters(spec, "train", i).camera for i in range(300)])
    assert np.abs(far).max() <= 0.08 and stats.kstest(far.ravel(), "uniform", (-0.08, 0.16)).pvalue > ALPHA


def steepness(p: ClipParameters, kind: int) -> float:
    """Mean difference of neighbouring pixels inside of an object's box, in the middle frame."""
    frames, truth = render(p, 16, 64)
    left, top, right, bottom = truth.boxes[kind, 8].round().astype(int)
    inside = frames[8, top:bottom, left:right].astype(float)
    return float(np.abs(np.diff(inside, axis=0)).mean() + np.abs(np.diff(inside, axis=1)).mean()) / 2


def test_distractors_can_stand_out_more_than_what_is_named() -> None:
    ratios = []
    for contrast in (0.0, 0.5, 1.0):
        spec = WorldSpec(seed=6, clutter=1, distractor_contrast=contrast)
        drawn = [clip_parameters(spec, "train", index) for index in range(80)]
        named, other = (np.mean([steepness(p, kind) for p in drawn]) for kind in (0, 1))
        ratios.append(other / named)
        tones = {body.second_rgb for p in drawn for body in p.distractors}
        assert (tones == {None}) == (contrast == 0) and (tones == {(0, 0, 0)}) == (contrast == 1)
    assert ratios[0] < 1.1 and ratios == sorted(ratios) and ratios[2] > 2


def test_tokens_per_object_is_the_area_of_a_square_in_patches() -> None:
    for side in (0.1, 0.28):
        spec = WorldSpec(seed=1, object_size=side, clutter=0)
        drawn = [clip_parameters(spec, "train", index) for index in range(300)]
        squares = [p for p in drawn if p.movers[0].shape == "square" and p.movers[0].log_growth == 0]
        area = np.mean([(render(p, 2, 64)[1].masks == 1).mean() * 64**2 for p in squares])
        assert spec.tokens_per_object(8) == pytest.approx(area / 64, rel=0.06)
        assert spec.tokens_per_object(8, 32) == pytest.approx(spec.tokens_per_object(8) / 4)


@pytest.mark.parametrize(
    "values",
    [
        {"event_frames": (1, 4)},
        {"event_frames": (5, 4)},
        {"event_frames": (2, 17)},
        {"distractor_contrast": 1.5},
        {"camera_jitter": -0.1},
        {"camera_jitter": 0.1},
    ],
)
def test_a_dial_out_of_range_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        WorldSpec(**values)


def test_a_clip_whose_events_go_by_frames_is_not_drawn_at_another_number_of_frames() -> None:
    p = clip_parameters(WorldSpec(**BRIEF), "train", 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_frames = 8"):
        render(p, 8, 64)


def test_every_verb_is_as_likely_with_all_dials() -> None:
    verbs = [p.scene.movers[0].verb for p in drawn_with(ALL)]
    assert stats.chisquare([verbs.count(verb) for verb in VERBS]).pvalue > ALPHA


def test_a_world_with_every_dial_on_is_made_and_read_back(tmp_path: Path) -> None:
    dials = {"event_frames": (2, 12), "distractor_contrast": 0.8, "camera_jitter": 0.03}
    spec = WorldSpec(5, num_train=6, num_validation=1, num_test=3, num_heldout=3, **NAMED, **dials)
    world = make_world(spec, tmp_path / "rich", workers=1, progress=False)
    again = load_world(tmp_path / "rich", check="full")
    assert again.digest == world.digest and again.spec == spec
    said = {m.texture for clip in again for m in clip.scene.movers}
    assert said - {"plain"}, "not one texture in 13 clips"
    assert [clip.caption("mixed") for clip in again] == [clip.caption("mixed") for clip in world]
