"""A vocabulary of a thousand names: distinct in words, and told apart in the pixels of the video."""

from __future__ import annotations

import itertools
from functools import cache
from io import BytesIO

import av
import numpy as np
import numpy.typing as npt
import pytest

from svitt.data.worlds.files import encode_mp4
from svitt.data.worlds.shapes.grammar import (
    ALL_COLOURS,
    BACKGROUNDS,
    PLAIN_NAMES,
    Mover,
    Names,
    Scene,
    all_combinations,
    all_nouns,
    combinations,
    held_out,
    vocabulary,
)
from svitt.data.worlds.shapes.names import SIZES, TEXTURES, cover, second_colour
from svitt.data.worlds.shapes.render import _background, _paint, _trajectory, render
from svitt.data.worlds.shapes.scene import (
    EXTENT,
    SPLITS,
    Body,
    ClipParameters,
    WorldSpec,
    clip_parameters,
)
from svitt.errors import ConfigError

RICH = Names(12, 8, 6, 2)
SPEC = WorldSpec(seed=4, num_colours=12, num_shapes=8, num_textures=6, num_sizes=2, clutter=0)
Looks = tuple[str, str, str, str]


def picture(looks: Looks, size: int, background: str = "grass", x: float = 0.5) -> npt.NDArray[np.float32]:
    """A still object in the middle of a frame, (H, W, 3)."""
    colour, shape, texture, scale = looks
    rgb = ALL_COLOURS[colour]
    second = None if texture == "plain" else second_colour(rgb)
    body = Body(shape, rgb, x, 0.5, 0.28 * SIZES[scale], texture=texture, second_rgb=second)
    scene = Scene((Mover(colour, shape, "grows", texture, scale),), background)
    return render(ClipParameters(scene, (body,), (), 0, 0.0), 2, size)[0][0].astype(np.float32)


def test_over_a_thousand_names_all_different() -> None:
    nouns = all_nouns(RICH)
    assert RICH.count == len(nouns) == len(set(nouns)) == 1152
    assert {"red ring", "small red ring", "striped red ring", "small checked mint arch"} <= set(nouns)
    assert {word for noun in nouns for word in noun.split()} <= set(vocabulary(RICH))
    assert set(vocabulary()) < set(vocabulary(RICH))
    assert PLAIN_NAMES.count == 24 and WorldSpec().vocabulary() == vocabulary()


@pytest.mark.parametrize(("size", "least"), [(64, 70), (32, 30)])
def test_any_two_names_differ_visibly_in_some_pixel(size: int, least: int) -> None:
    """By so much of 255 where they differ most; at 32 pixels some differ in one pixel only."""
    middle = slice(size // 4, -size // 4)
    every = [picture(looks, size)[middle, middle] for looks in looks_of(RICH)]
    flat = np.stack(every).reshape(len(every), -1)
    squares = (flat**2).sum(1)
    distance = squares[:, None] + squares - 2 * flat @ flat.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.sort(np.argsort(distance, axis=1)[:, :8], axis=1)
    most = np.abs(flat[:, None] - flat[nearest]).max(axis=2)
    assert most.min() >= least


def looks_of(names: Names) -> list[Looks]:
    return [(c, s, t, z) for c, s, t, z in itertools.product(*names.words())]


@cache
def frame(index: int) -> npt.NDArray[np.float32]:
    """The middle frame of a test clip of SPEC after H.264, (H, W, 3)."""
    content = encode_mp4(render(clip_parameters(SPEC, "test", index), 16, 64)[0], 8)
    with av.open(BytesIO(content)) as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    return decoded[8].astype(np.float32)


def read(index: int) -> tuple[Looks, Looks, Looks]:
    """What a reader who knows where the object is takes it for, in the frame of 64 pixels and in one of 32,
    and what it is. The name whose picture, painted there, is nearest to the decoded one."""
    drawn = clip_parameters(SPEC, "test", index)
    body, true = drawn.movers[0], drawn.scene.movers[0]
    x, y, side = (float(values[8]) for values in _trajectory(body, 16, 64))
    left, top = (2 * int(max(0.0, place - 0.75 * side - 2) / 2) for place in (x, y))
    right, bottom = (2 * int(min(64.0, place + 0.75 * side + 3) / 2) for place in (x, y))
    empty = _background(drawn, np.zeros((1, 2), np.int64), 64)[0, top:bottom, left:right]
    names = [looks for looks in looks_of(RICH) if looks[3] == true.size]
    pictures = np.stack([painted(empty, looks, (x - left, y - top), side) for looks in names])
    seen = frame(index)[top:bottom, left:right]
    found = [
        names[int(((known - now) ** 2).sum((1, 2, 3)).argmin())]
        for known, now in ((pictures, seen), (halved(pictures), halved(seen)))
    ]
    return found[0], found[1], true.looks


def painted(
    empty: npt.NDArray[np.float32], looks: Looks, centre: tuple[float, float], side: float
) -> npt.NDArray[np.float32]:
    """A background with an object of these looks on it."""
    colour, shape, texture, _ = looks
    second = None if texture == "plain" else second_colour(ALL_COLOURS[colour])
    body = Body(shape, ALL_COLOURS[colour], 0, 0, 0, texture=texture, second_rgb=second)
    made, mask = empty.copy(), np.zeros(empty.shape[:2], np.uint8)
    half = (side * EXTENT[shape][0] / 2, side * EXTENT[shape][1] / 2)
    _paint(made, mask, body, 1, centre, half)
    return made


def halved(pictures: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(..., H, W, 3) at half the resolution."""
    height, width = pictures.shape[-3] // 2, pictures.shape[-2] // 2
    return pictures.reshape(*pictures.shape[:-3], height, 2, width, 2, 3).mean((-4, -2))


def test_a_reader_who_knows_the_place_reads_every_name_after_h264_at_64_and_at_32_pixels() -> None:
    for index in range(24):
        at_64, at_32, true = read(index)
        assert at_64 == true and at_32 == true


def test_sizes_do_not_meet_at_the_middle_of_a_clip() -> None:
    sides = {size: [] for size in SIZES}
    for index in range(400):
        p = clip_parameters(SPEC, "train", index)
        sides[p.scene.movers[0].size].append(p.movers[0].side / SPEC.object_size)
    assert max(sides["small"]) < 0.7 < 0.85 <= min(sides["large"])


def test_looks_are_the_same_in_a_mirror() -> None:
    for looks in looks_of(RICH):
        if looks[0] == "red" and looks[3] == "large":
            drawn = picture(looks, 64, "water")[20:44]
            still = picture(("red", looks[1], "plain", "large"), 64, "water")[20:44]
            changed = np.abs(drawn - still).sum(2) > 60
            assert np.array_equal(changed, changed[:, ::-1]), looks
            assert changed.any() == (looks[2] != "plain"), looks


def test_held_out_names_are_on_no_background_of_training_and_no_pair_of_words_is_new_in_them() -> None:
    seen, held = all_combinations(RICH, False), all_combinations(RICH, True)
    assert len(seen) == 3 * len(held) == 864 * 4
    names = [{(c, s, t, z) for c, s, _, t, z in each} for each in (seen, held)]
    assert not names[0] & names[1] and len(names[1]) == 288
    for one, other in itertools.combinations(range(5), 2):
        assert {(c[one], c[other]) for c in held} <= {(c[one], c[other]) for c in seen}
    for split in SPLITS:
        for index in range(60):
            scene = clip_parameters(SPEC, split, index).scene
            m = scene.movers[0]
            held_now = held_out(m.colour, m.shape, scene.background, m.texture, m.size, RICH)
            assert held_now == (split == "heldout") and m.looks in names[split == "heldout"]


@pytest.mark.parametrize("names", [PLAIN_NAMES, Names(8, 6), Names(6, 4, 1, 2), Names(3, 2, 3, 1), RICH])
def test_no_combination_is_in_both_parts(names: Names) -> None:
    parts = [set(all_combinations(names, held)) for held in (False, True)]
    assert not parts[0] & parts[1] and parts[1]
    assert len(parts[0] | parts[1]) == names.count * len(BACKGROUNDS)
    if names == PLAIN_NAMES:
        for held in (False, True):
            expected = [(*combination, "plain", "large") for combination in combinations(held)]
            assert list(all_combinations(names, held)) == expected


def test_several_objects_with_rich_names() -> None:
    spec = WorldSpec(num_movers=3, num_colours=12, num_shapes=8, num_textures=6, num_sizes=2)
    for index in range(20):
        p = clip_parameters(spec, "heldout", index)
        assert len({m.colour for m in p.scene.movers}) == 3
        assert all(
            held_out(m.colour, m.shape, p.scene.background, m.texture, m.size, RICH) for m in p.scene.movers
        )
        assert [body.texture for body in p.movers] == [m.texture for m in p.scene.movers]


def test_a_manifest_can_list_a_mover_and_read_it_back() -> None:
    plain, rich = Mover("red", "ring", "grows"), Mover("mint", "tee", "grows", "rimmed", "small")
    assert plain.listed() == ["red", "ring", "grows"]
    assert rich.listed() == ["mint", "tee", "grows", "rimmed", "small"]
    assert [Mover(*m.listed()) for m in (plain, rich)] == [plain, rich]
    assert Scene((rich,), "sand").caption("mixed") == "a small rimmed mint tee grows on sand"
    assert Scene((rich,), "sand").caption("temporal") == "something grows"
    orange = Scene((Mover("orange", "bar", "grows"),), "sand")
    assert orange.caption("static") == "an orange bar on sand"


def test_every_word_of_every_caption_is_in_the_vocabulary() -> None:
    told = [clip_parameters(SPEC, "train", index).scene for index in range(1500)]
    words = {word for scene in told for word in f"{scene.caption('mixed')} something".split()}
    assert words == set(SPEC.vocabulary()) - {"and"}


def test_shapes_cover_what_they_should() -> None:
    places = np.arange(-9, 10, dtype=np.float32)
    areas = {shape: cover(shape, places, places, (9.5, 9.5)).sum() / 19**2 for shape in ("cross", "tee")}
    assert areas == pytest.approx({"cross": 5 / 9, "tee": 5 / 9}, abs=0.01)
    assert cover("frame", places, places, (9.5, 9.5)).sum() / 19**2 == pytest.approx(0.75, abs=0.01)
    arch = cover("arch", places, places, (9.5, 9.5))
    assert arch[0].min() == 1 and arch[-1, 9] == 0 and arch[-1, 0] == 1


@pytest.mark.parametrize(
    "values", [{"num_colours": 13}, {"num_shapes": 0}, {"num_textures": 7}, {"num_sizes": 3}]
)
def test_more_words_than_there_are_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        WorldSpec(**values)  # type: ignore[arg-type]


def test_unknown_looks_are_refused() -> None:
    with pytest.raises(ConfigError, match="texture"):
        Scene((Mover("red", "ring", "grows", "woolly"),), "sand")
    with pytest.raises(ConfigError, match="size"):
        Scene((Mover("red", "ring", "grows", TEXTURES[0], "huge"),), "sand")
