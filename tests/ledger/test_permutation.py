"""Sign-flip tests, the false discovery rate and the seeds needed: known answers, error rates, power."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from svitt.ledger.permutation import (
    benjamini_hochberg,
    coverage_after_selection,
    seeds_needed,
    seeds_needed_within,
    share_test,
    sign_flip,
)


def slow(differences: list[float], bound: float, side: str) -> float:
    """Every pattern of signs, written out."""
    data = [(x - bound) * (1 if side == "greater" else -1) for x in differences]
    sums = [
        sum(s * x for s, x in zip(signs, data, strict=True))
        for signs in itertools.product((1, -1), repeat=len(data))
    ]
    return sum(s >= sum(data) - 1e-9 for s in sums) / len(sums)


@pytest.mark.parametrize("side", ["greater", "less"])
def test_all_patterns_of_signs_are_counted(side: str) -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 9):
        data = rng.normal(0.2, 1, n).round(2)
        assert sign_flip(data, 0.1, side) == pytest.approx(slow(list(data), 0.1, side))  # type: ignore[arg-type]


def test_known_values() -> None:
    assert sign_flip([1, 2, 3, 4, 5], 0, "greater") == 1 / 32
    assert sign_flip([1, 2, 3, 4, 5], 0, "less") == 1
    assert sign_flip([0, 0, 0], 0, "greater") == 1  # every sum is tied with the one found
    assert sign_flip([0.1] * 10, 0, "greater") == 1 / 1024
    assert sign_flip([[1, 1], [1, -1]], 0, "greater").tolist() == [0.25, 0.75]
    assert share_test([1, 1, 1, 1, 0], 0.5, 0.5, "greater") == pytest.approx(6 / 32)
    assert share_test([1, 1, 1, 1, 0], 0.5, 0.5, "less") == pytest.approx(31 / 32)


@pytest.mark.parametrize("wrong", [[], [np.nan], list(range(21))])
def test_what_cannot_be_tested_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError):
        sign_flip(wrong, 0, "greater")


def test_benjamini_hochberg_agrees_with_statsmodels_and_ties_stay_ties() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        p = {f"c{i}": float(v) for i, v in enumerate(rng.uniform(0, 1, 12).round(1))}
        expected = multipletests(list(p.values()), method="fdr_bh")[1]
        assert list(benjamini_hochberg(p).values()) == pytest.approx(list(expected))
    tied = benjamini_hochberg({"a": 0.01, "b": 0.04, "c": 0.04})
    assert tied["b"] == tied["c"] == pytest.approx(0.04)
    assert coverage_after_selection({"a": 0.01, "b": 0.2, "c": 0.3, "d": 0.01}) == pytest.approx(0.975)
    assert coverage_after_selection({}) == pytest.approx(0.95)


# Seeds that are learnt or not: most differences near 0, a share of them far away.
def clustered(rng: np.random.Generator, runs: int, n: int, shift: float) -> np.ndarray:
    """Symmetric about ``shift``: two clusters on either side of it, and a little noise."""
    side = rng.choice([-1.0, 1.0], (runs, n))
    return shift + 0.3 * side * (rng.random((runs, n)) < 0.4) + rng.normal(0, 0.01, (runs, n))


@pytest.mark.parametrize("kind", ["normal", "clustered"])
@pytest.mark.parametrize("n", [5, 10])
def test_false_alarms_stay_below_the_stated_rate(kind: str, n: int) -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(0, 0.1, (4000, n)) if kind == "normal" else clustered(rng, 4000, n, 0.0)
    p = sign_flip(data, 0.0, "greater")
    for level in (0.025, 0.05, 0.1):
        assert (p <= level).mean() <= level + 2.5 * (level / 4000) ** 0.5


def test_the_share_of_seeds_holds_its_rate_where_seeds_fail() -> None:
    """Half of the seeds fail: a mean of such differences is no symmetric thing, their share is."""
    rng = np.random.default_rng(3)
    learnt = (rng.random((4000, 10)) < 0.5).astype(float)
    p = np.array([share_test(row, 0.5, 0.5, "greater") for row in learnt])
    assert 0.005 < (p <= 0.05).mean() <= 0.05
    power = np.array([share_test(row, 0.5, 0.5, "greater") for row in (rng.random((2000, 10)) < 0.95) * 1.0])
    assert (power <= 0.05).mean() > 0.9


def test_power_is_close_to_that_of_the_t_test() -> None:
    rng = np.random.default_rng(4)
    n, effect = 10, 1.0
    found = (2 * sign_flip(rng.normal(effect, 1, (3000, n)), 0.0, "greater") <= 0.05).mean()
    assert found == pytest.approx(TTestPower().power(effect, n, 0.05), abs=0.05)


def test_false_discoveries_stay_below_their_rate_over_a_family() -> None:
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(200):
        means = np.where(np.arange(12) < 6, 0.0, 1.5)
        data = rng.normal(means[:, None], 1, (12, 10))
        two = np.minimum(1, 2 * np.minimum(sign_flip(data, 0, "greater"), sign_flip(data, 0, "less")))
        adjusted = benjamini_hochberg({str(i): float(v) for i, v in enumerate(two)})
        found = [int(k) for k, v in adjusted.items() if v < 0.05]
        shares.append(sum(i < 6 for i in found) / max(1, len(found)))
    assert np.mean(shares) <= 0.05


def test_seeds_needed() -> None:
    needed = seeds_needed(0.5, 1.0)
    assert needed is not None
    solved = TTestPower().solve_power(effect_size=0.5, alpha=0.05, power=0.8)
    assert needed == int(np.ceil(solved))
    assert seeds_needed(0.0, 1.0) is None and seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(0.001, 1.0) is None
    few, many = seeds_needed_within(0.5, 0.2), seeds_needed_within(0.05, 0.2)
    assert few is not None and many is not None and few < many
