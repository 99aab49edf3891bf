"""Evaluates a verdict rule on raw outcomes: contrasts a seed, intervals, p-values, power. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from svitt.errors import RecordError
from svitt.ledger import statistics
from svitt.ledger.rules import Contrast, Guard, Part, Rule, Term, Test
from svitt.ledger.statistics import Interval, Side
from svitt.records.arrays import Array

RESAMPLES = 4000


@dataclass(frozen=True)
class PartResult:
    """per_seed: the contrast of each seed; interval: None for one seed; p_for, p_against: two-sided
    convention of ``statistics``, of the claim's side and of the other."""

    part: Part
    per_seed: tuple[float, ...]
    interval: Interval | None
    p_for: float
    p_against: float


@dataclass(frozen=True)
class GuardResult:
    guard: Guard
    interval: Interval | None
    met: bool


@dataclass(frozen=True)
class Measurement:
    """A rule evaluated on its records, before the correction for the number of claims."""

    parts: tuple[PartResult, ...]
    guards: tuple[GuardResult, ...]

    @property
    def p_for(self) -> float:
        """All parts must hold (intersection-union): the largest p."""
        return max(part.p_for for part in self.parts)

    @property
    def p_against(self) -> float:
        """One part that fails is enough (union-intersection): Bonferroni over the parts."""
        return min(1.0, len(self.parts) * min(part.p_against for part in self.parts))


Outcomes = Mapping[str, Array]


def _measure(term: Term, outcomes: Outcomes, index: Mapping[int, NDArray[np.int64]]) -> float:
    for name in (term.outcome, term.over):
        if name is not None and name not in outcomes:
            raise RecordError(f"outcome {name!r} is not recorded; the rule reads it, so record it")
    data = np.asarray(outcomes[term.outcome], dtype=np.float64)
    if data.size == 0:
        raise RecordError(f"outcome {term.outcome!r} is empty; the rule reads it, so record it")
    if term.per_clip and data.ndim and data.shape[-1] in index:
        data = data[..., index[data.shape[-1]]]
    if term.reduce in ("mean", "auc"):
        return float(data.mean())
    if term.reduce == "median":
        return float(np.median(data))
    if term.reduce == "value":
        if data.size != 1:
            raise RecordError(
                f"outcome {term.outcome!r} has shape {data.shape}; reduce: value takes one number"
            )
        return float(data.item())
    if term.over is not None:
        over = np.asarray(outcomes[term.over], dtype=np.float64)
        return float(np.polyfit(np.log(over.ravel()), np.log(data.ravel()), 1)[0])
    if data.min() < 1:
        raise RecordError(f"outcome {term.outcome!r} holds rank {data.min():g}; ranks count from 1")
    return float((data <= int(term.reduce.removeprefix("recall@"))).mean())


def evaluate(
    contrast: Contrast, outcomes: Outcomes, index: Mapping[int, NDArray[np.int64]] | None = None
) -> float:
    """The contrast of one seed. index: number of clips -> the clips of one bootstrap draw.

    Errors: RecordError when an outcome is missing, empty or not what its reduction takes.
    """
    index = index or {}
    total = contrast.constant + sum(t.coefficient * _measure(t, outcomes, index) for t in contrast.terms)
    if contrast.divided_by:
        total /= sum(t.coefficient * _measure(t, outcomes, index) for t in contrast.divided_by)
    return total


def p_values(test: Test, p: Callable[[float, Side], float]) -> tuple[float, float]:
    """(p_for, p_against) from ``p(bound, side)``, the one-sided p of "the contrast is on that side"."""
    bound = test.bound
    if test.kind == "equivalence":
        inside = max(p(-bound, "greater"), p(bound, "less"))
        outside = min(p(-bound, "less"), p(bound, "greater"))
    else:
        other: Side = "less" if test.direction == "greater" else "greater"
        inside, outside = p(bound, test.direction), p(bound, other)
    return min(1.0, 2 * inside), min(1.0, 2 * outside)


def _over_seeds(part: Part, per_seed: Sequence[float]) -> PartResult:
    if len(per_seed) < 2:
        return PartResult(part, tuple(per_seed), None, 1.0, 1.0)
    p_for, p_against = p_values(
        part.test, lambda bound, side: float(statistics.t_test(per_seed, bound, side))
    )
    return PartResult(part, tuple(per_seed), statistics.paired_t_interval(per_seed), p_for, p_against)


def measure(rule: Rule, outcomes: Sequence[Outcomes]) -> Measurement:
    """Evaluates the rule on one set of raw outcomes a seed, the seed being the replicate."""
    parts = [_over_seeds(p, [evaluate(p.contrast, seed) for seed in outcomes]) for p in rule.all_of]
    guards = []
    for guard in rule.guards:
        values = [evaluate(guard.contrast, seed) for seed in outcomes]
        interval = statistics.paired_t_interval(values) if len(values) > 1 else None
        guards.append(GuardResult(guard, interval, interval is not None and _inside(interval, guard)))
    return Measurement(tuple(parts), tuple(guards))


def _inside(interval: Interval, guard: Guard) -> bool:
    low, high = guard.within
    return (low is None or interval.low > low) and (high is None or interval.high < high)


def _tail(drawn: NDArray[np.float64], bound: float, side: Side) -> float:
    """Share of the draws on the other side; never 0, as a bootstrap of B draws cannot show less than 1/B."""
    against = drawn <= bound if side == "greater" else drawn >= bound
    return float(1 + against.sum()) / (len(drawn) + 1)


def measure_over_clips(rule: Rule, outcomes: Outcomes) -> Measurement:
    """Evaluates the rule on one run, the clip (or the cluster named by the rule) being the replicate.

    Percentile bootstrap, all terms drawn on the same clips. It speaks of this model on such clips; a new
    training run may differ.
    """
    contrasts = list(rule.contrasts())
    terms = [term for c in contrasts for term in (*c.terms, *c.divided_by) if term.per_clip]
    shapes = {np.shape(outcomes[term.outcome]) for term in terms if term.outcome in outcomes}
    lengths = sorted({shape[-1] for shape in shapes if shape})
    if rule.clusters is not None and rule.clusters not in outcomes:
        raise RecordError(
            f"outcome {rule.clusters!r} is not recorded; the rule draws clips by it, so record it"
        )
    clusters = None if rule.clusters is None else outcomes[rule.clusters]
    if clusters is not None and lengths != [len(clusters)]:
        raise RecordError(
            f"outcome {rule.clusters!r} names the cluster of {len(clusters)} clips, but the rule's outcomes "
            f"have {lengths} clips; record one cluster a clip"
        )
    draws = [statistics.resampled_indices(n, 0, RESAMPLES, clusters) for n in lengths]
    drawn = np.empty((len(contrasts), RESAMPLES))
    for i in range(RESAMPLES):
        index = {n: next(draw) for n, draw in zip(lengths, draws, strict=True)}
        drawn[:, i] = [evaluate(contrast, outcomes, index) for contrast in contrasts]
    bars = [_bar(evaluate(c, outcomes), values) for c, values in zip(contrasts, drawn, strict=True)]
    parts = [
        PartResult(part, (bar.mean,), bar, *p_values(part.test, partial(_tail, values)))
        for part, bar, values in zip(rule.all_of, bars, drawn, strict=False)
    ]
    guards = [
        GuardResult(guard, bar, _inside(bar, guard))
        for guard, bar in zip(rule.guards, bars[len(rule.all_of) :], strict=True)
    ]
    return Measurement(tuple(parts), tuple(guards))


def _bar(mean: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(mean, float(low), float(high), float(drawn.std()), 1)


def detectable(result: PartResult, alpha: float) -> float | None:
    """Smallest effect (beyond the margin; for equivalence, the smallest margin) seen with power 0.8."""
    if result.interval is None or result.interval.n < 2:
        return None
    sd, n = result.interval.sd, result.interval.n
    if result.part.test.kind == "equivalence":
        return statistics.smallest_detectable_margin(sd, n, alpha)
    return statistics.smallest_detectable_effect(sd, n, alpha)
