"""Costs of one attention layer: counts that are known, measurements that behave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from svitt.experiments.ch03_edge_sparsity.costs import VARIANTS, CostSettings, attention_costs, exponent, step

SMALL = CostSettings((2, 4, 8), 1, heads=2, head_dim=16, side=8)


def test_exponents_of_known_curves() -> None:
    tokens = np.array([10.0, 20.0, 80.0])
    assert exponent(tokens, 3 * tokens**2) == pytest.approx(2)
    assert exponent(tokens, np.full(3, 7.0)) == pytest.approx(0)


def test_outcomes_and_counted_flops() -> None:
    found = attention_costs(SMALL, 0, "cpu")
    assert found["tokens"].tolist() == [129, 257, 513]
    for variant in VARIANTS:
        for what in ("flops", "seconds", "bytes"):
            assert (
                found[f"{variant}/attention_{what}"].shape == (3,)
                and (found[f"{variant}/attention_{what}"] > 0).all()
            )
    for variant in ("dense", "sparse"):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            step(SMALL, variant, 4, 0, "cpu")()
        assert found[f"{variant}/attention_flops"][1] == counter.get_total_flops()
    assert exponent(found["tokens"], found["dense/attention_flops"]) == pytest.approx(2, abs=0.01)
    assert found["dense/attention_bytes"][-1] > 4 * 2 * 513**2  # one matrix of scores at least


def test_the_variants_that_should_agree_do() -> None:
    dense, fused = (step(SMALL, variant, 2, 0, "cpu")() for variant in ("dense", "fused"))
    assert isinstance(dense, torch.Tensor) and isinstance(fused, torch.Tensor)
    assert torch.allclose(dense, fused, atol=1e-5)
