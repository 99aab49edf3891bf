"""Exact sign-flip tests of per-seed differences, the false discovery rate, the seeds that power would take.

Under the null hypothesis the differences are symmetric about the bound, so every pattern of their signs is as
likely as the one that was found (Fisher 1935). No normal distribution is assumed: seeds may fail in clusters.
Samples stand in the last axis; leading axes are further data sets (used by the simulations in the tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from svitt.ledger.statistics import Side, t_test_power, tost_power

Floats = NDArray[np.float64]
MOST_SEEDS = 20  # 2^20 patterns of signs


def sign_flip(differences: ArrayLike, bound: float, side: Side) -> Floats:
    """One-sided p of H0 "symmetric about ``bound``" against "on that side": shape (..., n) -> (...).

    The share of the 2^n patterns of signs whose sum is at least as large as the one found; equal sums count.
    Errors: ValueError for no or more than 20 differences, or one that is not finite.
    """
    data = np.asarray(differences, dtype=np.float64) - bound
    if data.ndim == 0 or not 1 <= data.shape[-1] <= MOST_SEEDS:
        raise ValueError(f"a sign-flip test takes 1 to {MOST_SEEDS} differences, given shape {data.shape}")
    if not np.isfinite(data).all():
        raise ValueError("the differences hold NaN or infinity")
    if side == "less":
        data = -data
    sums = np.zeros((*data.shape[:-1], 1))
    for i in range(data.shape[-1]):
        one = data[..., i : i + 1]
        sums = np.concatenate([sums + one, sums - one], axis=-1)
    # Sums that are equal on paper may differ in their last digits.
    slack = 1e-9 * np.abs(data).sum(axis=-1, keepdims=True)
    found = data.sum(axis=-1, keepdims=True)
    return np.asarray((sums >= found - slack).mean(axis=-1), dtype=np.float64)


def share_test(differences: ArrayLike, threshold: float, share: float, side: Side) -> float:
    """One-sided exact binomial p for the share of seeds whose difference is above ``threshold``: of H0 "it is
    ``share``" against "it is more" (greater) or "less". For outcomes that cluster: learnt, or not."""
    data = np.asarray(differences, dtype=np.float64)
    count = int((data > threshold).sum())
    if side == "greater":
        return float(stats.binom.sf(count - 1, data.size, share))
    return float(stats.binom.cdf(count, data.size, share))


def benjamini_hochberg(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values for a false discovery rate (Benjamini and Hochberg 1995); equal p stay equal."""
    for name, value in p.items():
        if not 0 <= value <= 1:
            raise ValueError(f"p-value of {name!r} is {value}; expected 0 to 1")
    ordered = sorted(p.values())
    count = len(ordered)
    # The smallest count / rank x p at or above a value; a tied value has its last rank.
    adjusted: dict[float, float] = {}
    smallest = 1.0
    for rank in range(count, 0, -1):
        smallest = min(smallest, ordered[rank - 1] * count / rank)
        adjusted[ordered[rank - 1]] = smallest
    return {name: adjusted[value] for name, value in p.items()}


def coverage_after_selection(adjusted: Mapping[str, float], rate: float = 0.05) -> float:
    """Level of intervals that hold their share over the claims found significant (Benjamini and Yekutieli
    2005): 1 - rate x significant / all."""
    found = sum(value < rate for value in adjusted.values())
    return 1 - rate * max(found, 1) / max(len(adjusted), 1)


def seeds_needed(
    distance: float, sd: float, alpha: float = 0.05, power: float = 0.8, most: int = 1000
) -> int | None:
    """Seeds with which a true mean at ``distance`` from the bound would be found with that power (two-sided
    t-test, which is close to the sign-flip test); None where more than ``most`` are needed."""
    if distance == 0:
        return None
    if sd == 0:
        return 2
    return _first(lambda n: t_test_power(abs(distance), sd, n, alpha) >= power, most)


def seeds_needed_within(
    margin: float, sd: float, alpha: float = 0.05, power: float = 0.8, most: int = 1000
) -> int | None:
    """Seeds with which a true difference of 0 would be shown to lie within +- ``margin``."""
    if sd == 0:
        return 2
    return _first(lambda n: tost_power(-margin, margin, 0.0, sd / n**0.5, n - 1, alpha / 2) >= power, most)


def _first(enough: Callable[[int], bool], most: int) -> int | None:
    """The smallest n from 2 for which ``enough`` holds, which it does for all larger ones."""
    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if low > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= most else None
