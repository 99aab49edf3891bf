"""Questions about the procedural world: right, balanced, and not to be told from the question alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from svitt.data.worlds.shapes import questions as wq
from svitt.data.worlds.shapes.grammar import Mover, Scene
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec
from svitt.errors import ConfigError

SCENE = Scene((Mover("red", "ring", "moves left"), Mover("blue", "bar", "grows")), "sand")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scenes(count: int, movers: int = 2) -> list[Scene]:
    spec = WorldSpec(3, num_movers=movers)
    return [clip_parameters(spec, "train", i).scene for i in range(count)]


def test_answers_of_a_known_scene() -> None:
    known = {
        "what is the red thing": "ring",
        "what is the blue thing": "bar",
        "where is the red thing": "sand",
        "where is the blue thing": "sand",
        "which way does the red ring go": "left",
        "how many things are there": "two",
    }
    for kind in wq.KINDS[:4]:
        for seed in range(8):
            question = wq.ask(SCENE, kind, rng(seed))
            if question is not None:
                assert known[question.text] == question.answer
    assert wq.ask(Scene(SCENE.movers[:1], "sand"), "how many", rng()) == wq.Question(
        "how many", "how many things are there", "one"
    )


def test_what_neither_moves_nor_is_named_is_not_asked() -> None:
    still = Scene((Mover("blue", "bar", "shrinks"),), "sand")
    assert wq.ask(still, "which way", rng()) is None
    with pytest.raises(ConfigError, match="what came first"):
        wq.ask(SCENE, "what came first", rng())


def test_every_answer_is_in_the_list_once_and_every_word_in_the_vocabulary() -> None:
    listed = wq.answers()
    assert len(listed) == len(set(listed)) == 4 + 4 + 4 + 2 + 24
    words = set(wq.vocabulary())
    for scene in scenes(60):
        asked = [wq.ask(scene, kind, rng(1)) for kind in wq.KINDS[:4]]
        first = wq.ask_first(scene.movers[0], scene.movers[1], rng(2))
        for question in [*asked, first]:
            if question is not None:
                assert question.answer in listed
                assert set(question.text.split()) | set(question.answer.split()) <= words


@pytest.mark.parametrize("kind", ["what", "where", "which way", "what came first"])
def test_the_best_guess_from_the_question_alone_is_at_chance(kind: str) -> None:
    """The likeliest answer to each question text, counted on one half, is right on the other as often as
    chance says: within three standard errors above it."""
    draw = rng(4)
    halves: list[list[wq.Question]] = [[], []]
    for i, scene in enumerate(scenes(6000)):
        if kind == "what came first":
            made = wq.ask_first(scene.movers[0], scene.movers[1], draw)
        else:
            found = wq.ask(scene, kind, draw)
            if found is None:
                continue
            made = found
        halves[i % 2].append(made)
    counted: dict[str, Counter[str]] = {}
    for question in halves[0]:
        counted.setdefault(question.text, Counter())[question.answer] += 1
    right = [
        counted[q.text].most_common(1)[0][0] == q.answer if q.text in counted else False for q in halves[1]
    ]
    level = wq.chance(kind)
    assert np.mean(right) < level + 3 * np.sqrt(level * (1 - level) / len(right))


def test_what_came_first_names_both_in_either_order() -> None:
    a, b = SCENE.movers
    texts = {wq.ask_first(a, b, rng(seed)).text for seed in range(20)}
    assert texts == {
        "what comes first the red ring or the blue bar",
        "what comes first the blue bar or the red ring",
    }
    assert {wq.ask_first(a, b, rng(seed)).answer for seed in range(20)} == {"red ring"}
    with pytest.raises(ConfigError, match="red ring"):
        wq.ask_first(a, a, rng())


def test_a_cut_played_backwards_is_the_cut_of_the_reversed_clips() -> None:
    draw = rng(5)
    a, b = (draw.integers(0, 256, (3, 16, 2, 2, 3), dtype=np.uint8) for _ in range(2))
    cut = wq.cut_together(a, b)
    assert cut.shape == a.shape
    assert all((cut[:, i] == a[:, f]).all() for i, f in enumerate([0, 2, 4, 6, 9, 11, 13, 15]))
    assert (cut[:, ::-1] == wq.cut_together(b[:, ::-1], a[:, ::-1])).all()
    with pytest.raises(ConfigError, match="multiples of 4"):
        wq.cut_together(a[:, :6], b[:, :6])
    with pytest.raises(ConfigError, match="second"):
        wq.cut_together(a, b[:2])


def test_couples_share_no_clip_and_no_colour() -> None:
    ones = scenes(80, movers=1)
    found = wq.couples(ones, rng(6))
    assert len(found) > 20
    assert len(set(found.ravel().tolist())) == found.size
    assert all(ones[a].movers[0].colour != ones[b].movers[0].colour for a, b in found)
    with pytest.raises(ConfigError, match="two clips"):
        wq.couples(ones[:1], rng())


def test_chance_levels() -> None:
    assert [wq.chance(kind) for kind in wq.KINDS] == [0.25, 0.25, 0.25, 0.5, 0.5]
    with pytest.raises(ConfigError, match="which way"):
        wq.chance("why")
