"""The frame-order probe on models whose answer is known."""

import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.evaluation.frame_order import ORDERS, ProbeTexts, order_indices, probe, reorder

CLIPS, FRAMES = 400, 4


def test_orders_do_what_they_say() -> None:
    rng = np.random.default_rng(0)
    clips = np.arange(FRAMES)[None, :, None].repeat(CLIPS, 0)
    assert (reorder(clips, "none", rng) == clips).all()
    assert (reorder(clips, "reverse", rng) == clips[:, ::-1]).all()
    shuffled = reorder(clips, "shuffle", rng)
    assert (np.sort(shuffled, axis=1) == clips).all()
    assert len(np.unique(shuffled[..., 0], axis=0)) == 24  # every clip draws its own permutation
    frozen = reorder(clips, "freeze", rng)
    assert (frozen == frozen[:, :1]).all() and len(np.unique(frozen)) == FRAMES


def test_an_unknown_order_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'reverse'"):
        order_indices("reversed", 1, 2, np.random.default_rng(0))


def planted(uses_time: bool) -> dict[str, float]:
    """Clips that rise or fall; a model that sees the slope, or only the mean."""
    rng = np.random.default_rng(1)
    verb = rng.integers(0, 2, CLIPS)
    ramp = np.linspace(-1, 1, FRAMES)
    clips = np.where(verb[:, None] == 0, ramp, -ramp) + rng.normal(0, 0.05, (CLIPS, FRAMES))

    def encode(batch: np.ndarray) -> np.ndarray:
        slope = batch @ ramp if uses_time else batch.mean(axis=1)
        return np.stack([slope, -slope], axis=1)

    texts = np.eye(2)
    correct = verb[:, None] == np.arange(2)
    outcome = probe(
        encode,
        clips,
        ProbeTexts(texts, np.ones_like(correct), correct, np.tile(texts, (CLIPS, 1, 1)), verb, 1 - verb),
        seed=0,
    )
    assert outcome["shuffle"].rank.shape == (8, CLIPS) and outcome["none"].rank.shape == (1, CLIPS)
    return {order: float(outcome[order].flip.mean()) for order in ORDERS}  # type: ignore[union-attr]


def test_a_model_of_time_is_found_out() -> None:
    flip = planted(uses_time=True)
    assert flip["none"] == 1 and flip["reverse"] == 0
    assert abs(flip["shuffle"] - 0.5) < 0.05


def test_a_bag_of_frames_is_found_out() -> None:
    flip = planted(uses_time=False)
    assert flip["none"] == flip["reverse"] == flip["shuffle"]
    assert abs(flip["none"] - 0.5) < 0.1


def test_the_same_seed_draws_the_same_orders() -> None:
    draws = [order_indices("shuffle", 5, 6, np.random.default_rng(s)) for s in (3, 3, 4)]
    assert (draws[0] == draws[1]).all() and not (draws[0] == draws[2]).all()
