"""Captions: what they say, how they turn around, and the choices made of them."""

from __future__ import annotations

import pytest

from svitt.data.worlds.shapes.grammar import MIRRORED_VERB, REVERSED_VERB, VERBS, Mover, Scene, vocabulary
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import ClipRecord, World, WorldSpec
from svitt.errors import ConfigError

ONE = Scene((Mover("red", "ring", "moves left"),), "sand")
TWO = Scene((Mover("red", "ring", "moves left"), Mover("blue", "bar", "grows")), "water")


def record(index: int) -> ClipRecord:
    from pathlib import Path

    p = clip_parameters(WorldSpec(seed=1), "test", index)
    return ClipRecord("test", index, Path("x.mp4"), Path("x.npz"), p.scene, p.caption_threshold, p.digest())


def test_captions_of_every_kind() -> None:
    assert ONE.caption("static") == "a red ring on sand"
    assert ONE.caption("temporal") == "something moves left"
    assert ONE.caption("mixed") == "a red ring moves left on sand"
    assert TWO.caption("static") == "a red ring and a blue bar on water"
    assert TWO.caption("temporal") == "something moves left and something grows"
    assert TWO.caption("mixed") == "a red ring moves left and a blue bar grows on water"


def test_turned_around() -> None:
    assert ONE.reversed().caption("mixed") == "a red ring moves right on sand"
    assert ONE.mirrored().caption("mixed") == "a red ring moves right on sand"
    assert TWO.reversed().caption("temporal") == "something moves right and something shrinks"
    assert TWO.mirrored().caption("temporal") == "something moves right and something grows"
    for table in (REVERSED_VERB, MIRRORED_VERB):
        assert {table[table[verb]] for verb in VERBS} == set(VERBS)
    assert all(REVERSED_VERB[verb] != verb for verb in VERBS)


def test_choices() -> None:
    choices = ONE.verb_choices()
    assert len(set(choices)) == len(VERBS) == 6
    assert choices[VERBS.index("moves left")] == ONE.caption("mixed")
    assert ONE.flip_choices() == ("a red ring moves left on sand", "a red ring moves right on sand")
    assert TWO.verb_choices("mixed", mover=1)[3] == "a red ring moves left and a blue bar moves down on water"


def test_every_word_of_every_caption_is_in_the_vocabulary() -> None:
    words = {
        word
        for movers in (1, 2)
        for i in range(300)
        for kind in ("static", "temporal", "mixed")
        for word in clip_parameters(WorldSpec(num_movers=movers), "train", i).scene.caption(kind).split()  # type: ignore[arg-type]
    }
    assert words == set(vocabulary())


def test_the_dial_goes_from_static_to_mixed() -> None:
    records = [record(i) for i in range(1000)]
    for r in records:
        assert r.caption_at(0) == r.caption("static")
        assert r.caption_at(1) == r.caption("mixed")
    shares = {dial: [r.has_verb_at(dial) for r in records] for dial in (0.25, 0.5, 0.75)}
    for dial, has in shares.items():
        assert abs(sum(has) / 1000 - dial) < 0.05
        assert [r.caption_at(dial) == r.caption("mixed") for r in records] == has
    assert all(b or not a for a, b in zip(shares[0.25], shares[0.5], strict=True))
    with pytest.raises(ConfigError, match=r"dial = 1\.5"):
        records[0].caption_at(1.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scene((Mover("pink", "ring", "grows"),), "sand"),
        lambda: Scene((Mover("red", "star", "grows"),), "sand"),
        lambda: Scene((Mover("red", "ring", "sings"),), "sand"),
        lambda: Scene((Mover("red", "ring", "grows"),), "snow"),
        lambda: Scene((), "sand"),
        lambda: ONE.caption("long"),  # type: ignore[arg-type]
        lambda: World.split(World(None, WorldSpec(), "", {}), "dev"),  # type: ignore[arg-type]
    ],
)
def test_unknown_words_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        make()
