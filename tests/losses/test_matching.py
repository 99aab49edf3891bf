"""Matching and masked words: known values, probabilities, and the cases with nothing to draw."""

from __future__ import annotations

import math

import pytest
import torch

from svitt.losses.matching import (
    IGNORED,
    hard_negatives,
    mask_words,
    masked_words_loss,
    matching_loss,
    shared_positives,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_captions_or_equal_videos_are_positives() -> None:
    found = shared_positives(["a", "b", "a", "c"], [1, 2, 3, 2])
    expected = torch.eye(4, dtype=torch.bool)
    expected[0, 2] = expected[2, 0] = True  # one caption
    expected[1, 3] = expected[3, 1] = True  # one video
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="2 texts and 1 videos"):
        shared_positives(["a", "b"], [1])


def test_hard_negatives_follow_the_softmax_over_the_wrong_ones() -> None:
    similarity = torch.tensor([[9.0, 1.0, 0.0, 2.0]]).expand(4000, 4)
    positives = torch.tensor([[True, False, False, False]]).expand(4000, 4)
    index, there = hard_negatives(similarity, positives, generator())
    assert bool(there.all()) and 0 not in index.tolist()
    share = torch.bincount(index, minlength=4)[1:] / 4000
    assert torch.allclose(share, torch.tensor([1.0, 0.0, 2.0]).softmax(0), atol=0.03)
    again, _ = hard_negatives(similarity, positives, generator())
    assert torch.equal(index, again)


def test_a_row_of_positives_has_no_negative_and_extremes_are_drawn_from() -> None:
    similarity = torch.tensor([[0.0, 0.0], [100.0, -1000.0]])
    index, there = hard_negatives(similarity, torch.tensor([[True, True], [True, False]]), generator())
    assert there.tolist() == [False, True] and index.tolist() == [0, 1]


def test_matching_loss_is_the_mean_over_all_pairs() -> None:
    right, wrong = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(2)) + math.log(2)) / 3
    assert float(matching_loss(right, wrong)) == pytest.approx(expected)


def test_words_are_hidden_as_in_bert() -> None:
    ids = torch.randint(5, 50, (200, 50), generator=generator(1))
    ids[:, 0], ids[:, -1] = 2, 3
    mask = torch.ones_like(ids)
    mask[:, 40:] = 0
    hidden, labels = mask_words(ids, mask, 50, 4, (2, 3), 0.5, generator(2))
    asked = labels != IGNORED
    assert torch.equal(labels[asked], ids[asked]) and torch.equal(hidden[~asked], ids[~asked])
    assert not bool(asked[:, 0].any()) and not bool(asked[:, 40:].any())
    assert float(asked[:, 1:40].float().mean()) == pytest.approx(0.5, abs=0.02)
    masked = float((hidden[asked] == 4).float().mean())
    same = float((hidden[asked] == ids[asked]).float().mean())
    assert masked == pytest.approx(0.8, abs=0.02) and same == pytest.approx(0.1, abs=0.02)


def test_no_word_asked_is_no_loss_but_a_gradient() -> None:
    ids = torch.tensor([[2, 3]])
    _, labels = mask_words(ids, torch.ones_like(ids), 9, 4, (2, 3), 1.0, generator())
    logits = torch.zeros(1, 2, 9, requires_grad=True)
    loss = masked_words_loss(logits, labels)
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not bool(logits.grad.any())
    labels[0, 0] = 5
    assert float(masked_words_loss(torch.zeros(1, 2, 9), labels)) == pytest.approx(math.log(9))
    with pytest.raises(ValueError, match="probability"):
        mask_words(ids, ids, 9, 4, (), 1.5)
