"""Known answers (scipy, statsmodels, published examples) and simulated error rates and power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from svitt.ledger import statistics as st

# Student (1908), "The probable error of a mean": extra hours of sleep with two drugs, ten patients.
SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_interval_and_p_of_students_sleep_data() -> None:
    interval = st.paired_t_interval(SLEEP_2 - SLEEP_1)
    # R: t.test(extra ~ group, data = sleep, paired = TRUE): t = 4.0621, p = 0.002833, 0.7001142 to 2.4598858
    assert (interval.mean, interval.low, interval.high) == pytest.approx((1.58, 0.7001142, 2.4598858))
    assert interval.n == 10
    assert float(st.t_test(SLEEP_2 - SLEEP_1)) == pytest.approx(0.002833, abs=5e-7)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0])
def test_t_test_equals_scipy(alternative: st.Alternative, margin: float) -> None:
    expected = stats.ttest_rel(SLEEP_2, SLEEP_1 + margin, alternative=alternative).pvalue
    assert float(st.t_test(SLEEP_2 - SLEEP_1, margin, alternative)) == pytest.approx(expected)


def test_interval_equals_statsmodels_at_another_level() -> None:
    interval = st.paired_t_interval(SLEEP_1, level=0.9)
    assert (interval.low, interval.high) == pytest.approx(DescrStatsW(SLEEP_1).tconfint_mean(alpha=0.1))


def test_tost_and_noninferiority_equal_statsmodels() -> None:
    p, lower, upper = ttost_paired(SLEEP_2, SLEEP_1, -1.0, 3.0)
    difference = SLEEP_2 - SLEEP_1
    assert float(st.tost(difference, -1.0, 3.0)) == pytest.approx(p)
    assert float(st.t_test(difference, 3.0, "less")) == pytest.approx(upper[1])
    assert float(st.noninferiority(difference, 1.0)) == pytest.approx(lower[1])


def test_a_margin_is_beaten_exactly_when_the_interval_lies_beyond_it() -> None:
    interval = st.paired_t_interval(SLEEP_2 - SLEEP_1)
    for step in (-1e-6, 1e-6):
        p = float(st.two_sided(st.t_test(SLEEP_2 - SLEEP_1, interval.low + step, "greater")))
        assert (p < 0.05) == (step < 0)
        p = float(st.two_sided(st.tost(SLEEP_2 - SLEEP_1, -5.0, interval.high + step)))
        assert (p < 0.05) == (step > 0)


def test_without_spread_the_answer_is_certain() -> None:
    same = [0.1 + 0.2] * 5
    interval = st.paired_t_interval(same)
    assert interval.low == interval.high == interval.mean and interval.sd == 0
    assert float(st.t_test(same, 0.0, "greater")) == 0
    assert float(st.t_test(same, 0.5, "greater")) == 1
    assert float(st.t_test(same, interval.mean)) == 1
    assert float(st.tost(same, -1, 1)) == 0
    assert st.smallest_detectable_effect(0.0, 5) == st.smallest_detectable_margin(0.0, 5) == 0


@pytest.mark.parametrize("bad", [[1.0], 1.0, [1.0, float("nan")]])
def test_too_few_or_broken_differences_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"at least 2 paired differences|NaN"):
        st.t_test(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("sd", "n", "power"), [(0.05, 5, 0.8), (1.3, 8, 0.9), (0.02, 30, 0.8)])
def test_smallest_detectable_effect_equals_statsmodels(sd: float, n: int, power: float) -> None:
    expected = TTestPower().solve_power(nobs=n, alpha=0.05, power=power) * sd
    assert st.smallest_detectable_effect(sd, n, power=power) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("cv", "n", "theta0", "expected"),
    # R package PowerTOST, 2x2 crossover: power.TOST(CV, n, theta0), sampleN.TOST(CV = 0.3) -> n 40, 0.815845
    [(0.25, 24, 0.95, 0.7391155), (0.3, 40, 0.95, 0.815845)],
)
def test_tost_power_equals_powertost(cv: float, n: int, theta0: float, expected: float) -> None:
    error = np.sqrt(np.log(1 + cv**2)) * np.sqrt(2 / n)
    got = st.tost_power(np.log(0.8), np.log(1.25), np.log(theta0), float(error), n - 2, 0.05)
    assert got == pytest.approx(expected, abs=1e-5)


def test_holm_equals_statsmodels_and_unmeasured_claims_only_cost() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": 1.0}
    expected = multipletests(list(p.values()), method="holm")[1]
    assert list(st.holm(p).values()) == pytest.approx(list(expected))
    assert list(st.holm(p)) == list(p)
    measured = st.holm({**p, "e": 0.002})
    assert all(measured[name] <= value for name, value in st.holm(p).items())
    with pytest.raises(ValueError, match=r"'a' is 1\.2"):
        st.holm({"a": 1.2})


def simulate(mean: float, sd: float, n: int, seed: int, runs: int = 20_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, (runs, n))


def assert_rate(hits: np.ndarray, rate: float) -> None:
    """Within four standard errors of the stated rate."""
    error = (rate * (1 - rate) / hits.size) ** 0.5
    assert abs(hits.mean() - rate) < 4 * error, (hits.mean(), rate, error)


def test_simulated_nulls_are_rejected_at_the_stated_rate() -> None:
    data = simulate(0.1, 0.05, 5, seed=1)
    assert_rate(st.t_test(data, 0.1) < 0.05, 0.05)
    assert_rate(st.two_sided(st.t_test(data, 0.1, "greater")) < 0.05, 0.025)
    # At the edge of a wide margin one of the two one-sided tests decides.
    edge = simulate(-0.2, 0.05, 5, seed=2)
    assert_rate(st.two_sided(st.tost(edge, -0.2, 0.2)) < 0.05, 0.025)
    assert_rate(st.two_sided(st.noninferiority(edge, 0.2)) < 0.05, 0.025)


def test_the_interval_covers_at_the_stated_rate() -> None:
    rows = simulate(0.3, 1.0, 5, seed=3, runs=2_000)
    intervals = [st.paired_t_interval(row) for row in rows]
    assert_rate(np.array([i.low < 0.3 < i.high for i in intervals]), 0.95)


def test_simulated_effects_are_found_with_the_stated_power() -> None:
    sd, n = 0.05, 5
    effect = st.smallest_detectable_effect(sd, n)
    assert_rate(st.t_test(simulate(effect, sd, n, seed=4)) < 0.05, 0.8)
    margin = st.smallest_detectable_margin(sd, n)
    shown = st.two_sided(st.tost(simulate(0.0, sd, n, seed=5), -margin, margin)) < 0.05
    assert_rate(shown, 0.8)


def test_holm_keeps_the_family_error_rate() -> None:
    p = st.t_test(np.random.default_rng(6).normal(0, 1, (2_000, 8, 5)))
    false = [min(st.holm({str(i): float(v) for i, v in enumerate(row)}).values()) < 0.05 for row in p]
    assert_rate(np.array(false), 1 - (1 - 0.05 / 8) ** 8)


def test_bootstrap_is_seeded_and_equals_the_binomial_spread() -> None:
    clips = np.repeat([1.0, 0.0], [300, 200])
    low, high = st.bootstrap_interval(clips, seed=0)
    assert (low, high) == st.bootstrap_interval(clips, seed=0)
    assert (low, high) != st.bootstrap_interval(clips, seed=1)
    half = 1.96 * (0.6 * 0.4 / 500) ** 0.5
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.005)
    assert st.bootstrap_interval(np.stack([clips, clips]), seed=0) == (low, high)  # draws share their clips


def test_clustered_bootstrap_is_wider_when_a_video_decides_its_clips() -> None:
    rng = np.random.default_rng(0)
    videos = np.repeat(np.arange(40), 10)
    clips = np.repeat(rng.integers(0, 2, 40), 10).astype(float)
    low, high = st.bootstrap_interval(clips, seed=0, clusters=videos)
    plain_low, plain_high = st.bootstrap_interval(clips, seed=0)
    assert (high - low) / (plain_high - plain_low) == pytest.approx(10**0.5, rel=0.1)
    with pytest.raises(ValueError, match="one cluster id a clip"):
        st.bootstrap_interval(clips, seed=0, clusters=videos[:-1])
