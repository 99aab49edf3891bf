"""Keeping the top tokens: how many, which, in which order."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svitt.errors import ConfigError
from svitt.layers.token_pruning import keep_top_tokens, num_kept


@given(tokens=st.integers(1, 60), rate=st.floats(0.01, 1), prefix=st.integers(0, 2), seed=st.integers(0, 999))
def test_keeps_the_best_in_their_order_behind_the_prefix(
    tokens: int, rate: float, prefix: int, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3, prefix + tokens, 2, generator=g)
    scores = torch.randn(3, tokens, generator=g)
    kept, index = keep_top_tokens(x, scores, rate, prefix)
    count = math.ceil(rate * tokens)
    assert index.shape == (3, count)
    assert kept.shape == (3, prefix + count, 2)
    for i in range(3):
        best = sorted(range(tokens), key=lambda t: -float(scores[i, t]))[:count]
        assert index[i].tolist() == sorted(best)
        assert torch.equal(kept[i, prefix:], x[i, prefix:][index[i]])
        assert torch.equal(kept[i, :prefix], x[i, :prefix])


def test_rate_1_is_the_identity() -> None:
    x = torch.randn(2, 6, 3)
    kept, index = keep_top_tokens(x, torch.randn(2, 5), 1.0)
    assert torch.equal(kept, x)
    assert index.tolist() == [list(range(5))] * 2


def test_equal_scores_keep_the_earlier_token() -> None:
    assert keep_top_tokens(torch.zeros(1, 5, 1), torch.zeros(1, 4), 0.5)[1].tolist() == [[0, 1]]


def test_one_token_is_always_left() -> None:
    assert num_kept(1, 0.01) == 1
    assert num_kept(20_000, 0.01) == 200


@pytest.mark.parametrize("rate", [0, -0.1, 1.2, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"keep_rate = .* allowed: 0 < keep_rate <= 1"):
        num_kept(10, rate)


def test_gradients_reach_the_kept_tokens_only() -> None:
    x = torch.randn(1, 5, 2, requires_grad=True)
    kept, index = keep_top_tokens(x, torch.tensor([[0.0, 3.0, 1.0, 2.0]]), 0.5)
    kept.sum().backward()
    assert index.tolist() == [[1, 3]]
    assert x.grad is not None
    assert x.grad[0, :, 0].tolist() == [1, 0, 1, 0, 1]
