"""Tests, intervals and power for per-seed paired differences. Pure functions on scipy.

Convention: every test is reported as a two-sided p-value, also where only one side is of interest (twice
the one-sided p), so that "p < 0.05" always agrees with "the 95% t-interval lies beyond the margin". An
equivalence test under this convention is two one-sided tests at 2.5% each, stricter than the usual 5% each.

Samples stand in the last axis; leading axes are further data sets (used by the simulations in the tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, optimize, stats
from scipy.special import ndtr

Alternative = Literal["two-sided", "greater", "less"]
Side = Literal["greater", "less"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Mean of n paired differences with its confidence limits; sd: their standard deviation."""

    mean: float
    low: float
    high: float
    sd: float
    n: int


def _summary(differences: ArrayLike) -> tuple[Floats, Floats, int]:
    """(means, standard deviations, n) over the last axis."""
    data = np.asarray(differences, dtype=np.float64)
    if data.ndim == 0 or data.shape[-1] < 2:
        raise ValueError(f"a t-test needs at least 2 paired differences, given shape {data.shape}")
    if not np.isfinite(data).all():
        raise ValueError("the differences hold NaN or infinity")
    sd = data.std(axis=-1, ddof=1)
    # Equal values leave a standard deviation of rounding size; a test on it would be noise.
    tiny = 8 * np.finfo(np.float64).eps * np.abs(data).max(axis=-1)
    return data.mean(axis=-1), np.where(sd <= tiny, 0.0, sd), data.shape[-1]


def paired_t_interval(differences: ArrayLike, level: float = 0.95) -> Interval:
    """t-interval of the mean of n paired differences, shape (n,), n >= 2."""
    mean, sd, n = _summary(differences)
    if mean.ndim:
        raise ValueError(f"expected one row of differences, given shape {np.shape(differences)}")
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * float(sd) / n**0.5
    return Interval(float(mean), float(mean) - half, float(mean) + half, float(sd), n)


def t_test(differences: ArrayLike, margin: float = 0.0, alternative: Alternative = "two-sided") -> Floats:
    """p-value of H0 "the mean is ``margin``" against the alternative; shape (..., n) -> (...).

    Without spread (a count that no seed changes) the answer is certain: 0 or 1.
    """
    mean, sd, n = _summary(differences)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean - margin) / (sd / n**0.5)
    t = np.where((sd == 0) & (mean == margin), 0.0, t)
    if alternative == "two-sided":
        p = 2 * stats.t.sf(np.abs(t), n - 1)
    elif alternative == "greater":
        p = stats.t.sf(t, n - 1)
    else:
        p = stats.t.cdf(t, n - 1)
    return np.asarray(np.where((sd == 0) & (mean == margin), 1.0, p), dtype=np.float64)


def tost(differences: ArrayLike, low: float, high: float) -> Floats:
    """Two one-sided tests (Schuirmann 1987): the larger p, of H0 "the mean is outside (low, high)"."""
    if not low < high:
        raise ValueError(f"the equivalence margins must be low < high, given {low} and {high}")
    return np.maximum(t_test(differences, low, "greater"), t_test(differences, high, "less"))


def noninferiority(differences: ArrayLike, margin: float) -> Floats:
    """One-sided p of H0 "the mean is ``margin`` or more below 0"; margin > 0."""
    if margin <= 0:
        raise ValueError(f"a non-inferiority margin is positive, given {margin}")
    return t_test(differences, -margin, "greater")


def two_sided(p_one_sided: ArrayLike) -> Floats:
    """The module's convention: twice the one-sided p, at most 1."""
    return np.minimum(1.0, 2 * np.asarray(p_one_sided, dtype=np.float64))


def _over_sd(inside: Callable[[float], float], df: int, upper: float = np.inf) -> float:
    """Mean of ``inside(s)`` over s, the estimated by the true standard deviation, chi-distributed."""
    end = min(upper, float(stats.chi.isf(1e-14, df)) / df**0.5)
    return float(
        integrate.quad(
            lambda s: inside(s) * float(stats.chi.pdf(s * df**0.5, df)) * df**0.5,
            0.0,
            end,
            limit=200,
            epsabs=1e-10,
        )[0]
    )


def t_test_power(effect: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """Power of the two-sided paired t-test to find a true mean of ``effect``.

    Integrated directly: scipy's noncentral t gives NaN far out in the tail.
    """
    critical = float(stats.t.ppf(1 - alpha / 2, n - 1))
    shift = effect / (sd / n**0.5)
    return _over_sd(lambda s: float(ndtr(shift - critical * s) + ndtr(-shift - critical * s)), n - 1)


def tost_power(low: float, high: float, effect: float, standard_error: float, df: int, alpha: float) -> float:
    """Power of two one-sided t-tests, each at level ``alpha``, when the true mean is ``effect``.

    Exact, by integration over the standard deviation (Phillips 1990).
    """
    critical = float(stats.t.ppf(1 - alpha, df))
    a, b = (low - effect) / standard_error, (high - effect) / standard_error
    widest = (b - a) / (2 * critical)  # above it the interval is wider than the margins
    return _over_sd(lambda s: float(ndtr(b - critical * s) - ndtr(a + critical * s)), df, widest)


def smallest_detectable_effect(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Distance from the margin that the two-sided paired t-test finds with the given power."""
    if sd == 0:
        return 0.0
    scale = sd / n**0.5
    found = optimize.brentq(lambda e: t_test_power(e * scale, sd, n, alpha) - power, 1e-9, 1e3, xtol=1e-9)
    return float(found) * scale


def smallest_detectable_margin(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest symmetric margin within which a true difference of 0 is shown with the given power.

    alpha: two-sided, so alpha / 2 for each of the two one-sided tests.
    """
    if sd == 0:
        return 0.0
    scale = sd / n**0.5
    found = optimize.brentq(
        lambda m: tost_power(-m, m, 0.0, 1.0, n - 1, alpha / 2) - power, 1e-3, 1e3, xtol=1e-9
    )
    return float(found) * scale


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (Holm 1979): name -> adjusted p over the whole family."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for i, name in enumerate(sorted(p, key=lambda key: (p[key], key))):
        if not 0 <= p[name] <= 1:
            raise ValueError(f"p-value of {name!r} is {p[name]}; expected 0 to 1")
        largest = max(largest, min(1.0, (len(p) - i) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


def resampled_indices(
    n: int, seed: int, resamples: int, clusters: ArrayLike | None = None
) -> Iterator[NDArray[np.int64]]:
    """Index arrays of the bootstrap over n clips; with ``clusters`` (one id a clip) over whole clusters."""
    rng = np.random.default_rng(seed)
    if clusters is None:
        for _ in range(resamples):
            yield rng.integers(n, size=n)
        return
    ids = np.asarray(clusters)
    if ids.shape != (n,):
        raise ValueError(f"expected one cluster id a clip, shape ({n},), given {ids.shape}")
    members = [np.flatnonzero(ids == cluster) for cluster in np.unique(ids)]
    for _ in range(resamples):
        yield np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])


def bootstrap_interval(
    outcomes: ArrayLike,
    seed: int,
    level: float = 0.95,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
) -> tuple[float, float]:
    """Percentile interval of the mean over clips (last axis) within one seed.

    It says how far the test clips determine a number, not how far a new training run would repeat it.
    """
    data: NDArray[Any] = np.asarray(outcomes, dtype=np.float64)
    flat = data.reshape(-1, data.shape[-1]).mean(axis=0)
    means = [flat[index].mean() for index in resampled_indices(len(flat), seed, resamples, clusters)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
