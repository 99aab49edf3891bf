"""Who is next to whom, and who passes whom: what the words mean on the drawn clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from svitt.cli import main
from svitt.data.text import build_tokenizer, encode
from svitt.data.worlds.shapes.neighbours import (
    MIN_RATIO,
    mean_distance,
    nearest_pair,
    neighbour_caption,
    neighbour_choices,
    passes,
    passing_caption,
    vocabulary,
)
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import ConfigError

SPEC = WorldSpec(6, num_movers=3, clutter=0, object_size=0.2)
CLIPS = [clip_parameters(SPEC, "test", i) for i in range(200)]


def centres(index: int) -> np.ndarray:
    """(objects, T, 2) in frame sides, from the ground truth of the drawn clip."""
    boxes = render_clip(SPEC, "test", index)[1].boxes[:3]
    return (boxes[..., :2] + boxes[..., 2:]) / 2 / SPEC.size


def test_the_nearest_pair_is_what_the_boxes_show() -> None:
    seen = 0
    for index in range(40):
        pair = nearest_pair(CLIPS[index])
        if pair is None:
            continue
        seen += 1
        c = centres(index)
        apart = {p: np.linalg.norm(c[p[0]] - c[p[1]], axis=1).mean() for p in ((0, 1), (0, 2), (1, 2))}
        assert min(apart, key=lambda p: apart[p]) == pair
        assert sorted(apart.values())[1] > 0.95 * MIN_RATIO * apart[pair]
    assert seen > 10


def test_backwards_and_mirrored_neighbours_stay_neighbours() -> None:
    for clip in CLIPS[:50]:
        assert nearest_pair(clip.reversed()) == nearest_pair(clip)
        assert passes(clip.reversed()) == passes(clip)


def test_every_pair_is_as_likely() -> None:
    pairs = [nearest_pair(clip) for clip in (clip_parameters(SPEC, "train", i) for i in range(900))]
    clear = [pair for pair in pairs if pair is not None]
    shares = [clear.count(pair) / len(clear) for pair in ((0, 1), (0, 2), (1, 2))]
    assert len(clear) > 450 and all(0.25 < share < 0.42 for share in shares), shares


def test_passing_is_a_change_of_order_in_the_picture() -> None:
    found = {True: 0, False: 0}
    for index in range(120):
        what = passes(CLIPS[index])
        if what is None:
            continue
        found[what] += 1
        c = centres(index)
        swapped = np.sign(c[0, 0] - c[1, 0]) != np.sign(c[0, -1] - c[1, -1])
        assert bool(swapped.any()) == what
    assert min(found.values()) > 5, found


def test_distance_of_two_objects_at_rest() -> None:
    clip = CLIPS[0]
    still = tuple(replace(m, dx=0.0, dy=0.0, x=0.2 + 0.3 * i, y=0.5) for i, m in enumerate(clip.movers))
    assert mean_distance(replace(clip, movers=still), (0, 2)) == pytest.approx(0.6)
    assert nearest_pair(replace(clip, movers=still)) is None  # two pairs are equally near
    assert passes(replace(clip, movers=still)) is None  # they stand at one height


def test_captions_and_choices() -> None:
    scene = CLIPS[0].scene
    choices = neighbour_choices(scene)
    assert list(choices) == [(0, 1), (0, 2), (1, 2)] and len(set(choices.values())) == 3
    assert neighbour_caption(scene, (2, 0)).startswith(f"a {scene.movers[2].colour} ")
    tokenizer = build_tokenizer(vocabulary())
    ids, _ = encode(tokenizer, [*choices.values(), passing_caption(scene)], 18)
    assert int((ids == tokenizer.token_to_id("[UNK]")).sum()) == 0


def test_too_few_objects_are_refused() -> None:
    one, two = (clip_parameters(WorldSpec(6, num_movers=n), "test", 0) for n in (1, 2))
    with pytest.raises(ConfigError, match="three named objects"):
        nearest_pair(two)
    with pytest.raises(ConfigError, match="two named objects"):
        passes(one)
    with pytest.raises(ConfigError, match="two different"):
        neighbour_caption(two.scene, (1, 1))


def test_captions_of_relations_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = str(tmp_path / "world")
    make = [
        "world",
        "make",
        "--out",
        world,
        "--clips",
        "20",
        "--test",
        "30",
        "--movers",
        "3",
        "--workers",
        "1",
    ]
    assert main(make) == 0
    words = {"approach": ("come together", "drift apart"), "next": ("next to",), "pass": ("pass each other",)}
    for kind, expected in words.items():
        out = tmp_path / f"{kind}.json"
        options = ["--dir", world, "--split", "test", "--relation", kind, "--out", str(out)]
        assert main(["world", "captions", *options]) == 0
        records = json.loads(out.read_text())
        assert 3 < len(records) < 30
        assert all(any(word in r["caption"] for word in expected) for r in records)
        assert f"{30 - len(records)} clips not clear" in capsys.readouterr().out
    one = str(tmp_path / "one")
    assert main(["world", "make", "--out", one, "--clips", "8", "--test", "2", "--workers", "1"]) == 0
    options = ["--dir", one, "--split", "test", "--relation", "next", "--out", str(tmp_path / "x.json")]
    assert main(["world", "captions", *options]) == 2
    assert "three named objects" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
