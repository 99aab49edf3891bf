"""Relations of two objects: what the words mean on the drawn clips."""

from __future__ import annotations

import numpy as np
import pytest

from svitt.data.text import build_tokenizer, encode
from svitt.data.worlds.shapes.grammar import Mover, Scene
from svitt.data.worlds.shapes.relations import (
    APART,
    MIN_CHANGE,
    REVERSED_RELATION,
    TOGETHER,
    distance,
    other_colours,
    other_verbs,
    relation,
    relation_caption,
    swapped_clauses,
    vocabulary,
)
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import ConfigError

SPEC = WorldSpec(5, num_movers=2, clutter=0)
CLIPS = [clip_parameters(SPEC, "test", i) for i in range(300)]
SCENE = Scene((Mover("red", "ring", "moves left"), Mover("blue", "bar", "grows")), "sand")


def test_backwards_every_clip_has_the_other_relation() -> None:
    for clip in CLIPS:
        what, backwards = relation(clip), relation(clip.reversed())
        assert backwards == (None if what is None else REVERSED_RELATION[what])


def test_both_relations_are_as_frequent_and_most_clips_have_one() -> None:
    told = [relation(clip) for clip in CLIPS]
    assert 0.4 < told.count(TOGETHER) / (told.count(TOGETHER) + told.count(APART)) < 0.6
    assert told.count(None) < 0.7 * len(told)


def test_the_relation_is_what_the_boxes_show() -> None:
    for index in range(20):
        what = relation(CLIPS[index])
        if what is None:
            continue
        _, truth = render_clip(SPEC, "test", index)
        centres = (truth.boxes[:2, :, :2] + truth.boxes[:2, :, 2:]) / 2
        apart = np.linalg.norm(centres[0] - centres[1], axis=-1)
        assert (apart[-1] - apart[0] > 0) == (what == APART)
        assert abs(apart[-1] - apart[0]) > 0.9 * MIN_CHANGE * SPEC.size


def test_what_one_object_does_does_not_tell() -> None:
    by_verb: dict[str, list[bool]] = {}
    for clip in (clip_parameters(SPEC, "train", i) for i in range(1500)):
        what = relation(clip)
        if what is not None:
            by_verb.setdefault(clip.scene.movers[0].verb, []).append(what == APART)
    assert all(0.35 < np.mean(values) < 0.65 for values in by_verb.values())


def test_distance_is_between_centres_over_the_clip() -> None:
    first, second = CLIPS[0].movers
    middle = np.hypot(first.x - second.x, first.y - second.y)
    assert distance(first, second, 0.0) == pytest.approx(middle)
    assert distance(first, first, 0.3) == 0


def test_captions_and_their_words() -> None:
    assert relation_caption(SCENE, TOGETHER) == "a red ring and a blue bar come together on sand"
    tokenizer = build_tokenizer(vocabulary())
    ids, mask = encode(tokenizer, [relation_caption(SCENE, w) for w in REVERSED_RELATION], 16)
    assert int((ids == tokenizer.token_to_id("[UNK]")).sum()) == 0 and int(mask.sum(1).max()) < 16
    with pytest.raises(ConfigError, match="come together"):
        relation_caption(SCENE, "meet")


def test_swapped_clauses_and_others() -> None:
    swapped = swapped_clauses(SCENE)
    assert swapped is not None
    assert swapped.caption("mixed") == "a red ring grows and a blue bar moves left on sand"
    assert swapped_clauses(SCENE.with_verb("grows", 0)) is None
    assert set(other_colours(SCENE)) == {"green", "yellow", "purple", "white"}
    assert "grows" not in other_verbs("grows") and len(other_verbs("grows")) == 5


def test_one_object_has_no_relation() -> None:
    with pytest.raises(ConfigError, match="two named objects"):
        relation(clip_parameters(WorldSpec(5), "test", 0))
