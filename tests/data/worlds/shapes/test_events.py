"""Brief and slow events: where they are, what they show, what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from svitt.data.worlds.shapes import events as we
from svitt.data.worlds.shapes.grammar import VERBS, Mover, Scene
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip
from svitt.errors import ConfigError

SCENE = Scene((Mover("red", "ring", "moves left"),), "sand")


def test_a_brief_event_rests_goes_out_and_comes_back() -> None:
    for seed in range(30):
        frames = we.brief_frames(32, 3, np.random.default_rng(seed))
        moving = np.flatnonzero(frames != 15)
        assert frames[moving].tolist() == [23, 31, 23] and (np.diff(moving) == 1).all()
        assert (frames == 15).sum() == 29
    starts = {
        int(np.flatnonzero(we.brief_frames(32, 3, np.random.default_rng(s)) != 15)[0]) for s in range(400)
    }
    assert starts == set(range(30))


@pytest.mark.parametrize(("total", "length"), [(32, 2), (32, 0), (3, 3)])
def test_lengths_that_cannot_be(total: int, length: int) -> None:
    with pytest.raises(ConfigError, match="length"):
        we.brief_frames(total, length, np.random.default_rng(0))


def test_a_brief_event_is_seen_in_its_moment_alone() -> None:
    """The object's centre, from the ground truth: at rest in the middle, displaced along the verb's axis."""
    spec = WorldSpec(5, num_frames=32)
    for index in range(12):
        scene = clip_parameters(spec, "train", index).scene
        boxes = render_clip(spec, "train", index)[1].boxes[0]
        event = we.event_of(scene, 32, 3, True, np.random.default_rng(index))
        shown = boxes[event.frames]
        centre = np.stack([shown[:, [0, 2]].mean(1), shown[:, [1, 3]].mean(1)], axis=1)
        peak = centre[event.frames == 31][0] - centre[event.frames == 15][0]
        verb = scene.movers[0].verb
        axis = {"moves left": (0, -1), "moves right": (0, 1), "moves up": (1, -1), "moves down": (1, 1)}
        if verb in axis:
            which, sign = axis[verb]
            assert sign * peak[which] > 5 and abs(peak[1 - which]) < 1e-3
        assert event.brief and event.verb == we.BRIEF[verb]


def test_slow_events_are_the_clip() -> None:
    event = we.event_of(SCENE, 32, 3, False, np.random.default_rng(0))
    assert event.frames.tolist() == list(range(32)) and event.verb == "moves left" and not event.brief


def test_captions_and_choices() -> None:
    assert we.event_caption("jumps left") == "something jumps left"
    for brief in (False, True):
        choices = we.event_choices(brief)
        verb = we.BRIEF["moves left"] if brief else "moves left"
        assert len(set(choices)) == 6
        assert choices[VERBS.index("moves left")] == we.event_caption(verb)
        assert {word for text in choices for word in text.split()} <= set(we.vocabulary())
    assert set(we.event_choices(True)).isdisjoint(we.event_choices(False))
    with pytest.raises(ConfigError, match="sings"):
        we.event_caption("sings")


def test_clips_are_shown_as_their_events() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 2, 2, 3), dtype=np.uint8)
    events = [
        we.Event("moves left", np.arange(8)),
        we.Event("jumps left", np.array([3, 3, 7, 3, 3, 3, 3, 3])),
    ]
    found = we.shown(clips, events)
    assert (found[0] == clips[0]).all() and (found[1, 2] == clips[1, 7]).all()
    assert (found[1, [0, 1, 3, 4, 5, 6, 7]] == clips[1, 3]).all()
    with pytest.raises(ConfigError, match="events"):
        we.shown(clips, events[:1])


def test_brief_lengths_are_odd_and_log_uniform() -> None:
    rng = np.random.default_rng(0)
    drawn = [we.brief_length(1, 13, rng) for _ in range(3000)]
    assert set(drawn) == {1, 3, 5, 7, 9, 11, 13}
    shares = [np.mean([low <= (n + 1) // 2 < 2 * low for n in drawn]) for low in (1, 2, 4)]
    assert np.abs(np.array(shares) - 1 / 3).max() < 0.03  # 1; 3 and 5; 7 to 13
    assert we.brief_frames(16, we.brief_length(5, 5, rng), rng).shape == (16,)
    for wrong in ((2, 5), (5, 6), (7, 5)):
        with pytest.raises(ConfigError):
            we.brief_length(*wrong, rng)
