"""The second edition's judgement of every claim: by kind, on named confirmatory seeds.

test: sign-flip p of the per-seed differences, a false discovery rate of 5% over all tests whose confirmatory
seeds are complete, both directions. Inconclusive always says why: the instrument (a condition that is not
shown), noise, or small (shown smaller than the margin). count: where in its table the claim holds.
control: passed or failed. The first edition's verdicts (t-test, Holm) are recomputed in ``verdicts`` and stay
readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from svitt.ledger import statistics
from svitt.ledger.claims import Claim
from svitt.ledger.counts import CountedTable, counted, sentence
from svitt.ledger.evaluate_rule import Outcomes, evaluate, p_values
from svitt.ledger.permutation import (
    benjamini_hochberg,
    coverage_after_selection,
    seeds_needed,
    seeds_needed_within,
    share_test,
    sign_flip,
)
from svitt.ledger.revisions import Kind, Revision
from svitt.ledger.rules import Guard, Part, Rule, Test
from svitt.ledger.statistics import Interval
from svitt.ledger.verdict_words import Verdict
from svitt.records.record import Record

FALSE_DISCOVERIES = 0.05
Shown = Literal["shown", "shown false", "open"]
Cause = Literal["", "instrument", "noise", "small"]


@dataclass(frozen=True)
class PartNow:
    """One test of a rule. p_for, p_against: two-sided convention, of the claim's side and of the other side
    of no effect; p_small: of "shown smaller than the margin"."""

    part: Part
    per_seed: tuple[float, ...]
    interval: Interval
    p_for: float
    p_against: float
    p_small: float

    @property
    def effect_size(self) -> float | None:
        """Cohen's d of the paired differences; None without spread."""
        return None if self.interval.sd == 0 else self.interval.mean / self.interval.sd


@dataclass(frozen=True)
class GuardNow:
    """A condition in one cell (cell "" where it has none)."""

    guard: Guard
    cell: str
    interval: Interval
    state: Shown


@dataclass(frozen=True)
class Present:
    """What the second edition says of a claim. level: of ``adjusted``, the intervals after selection."""

    kind: Kind
    verdict: Verdict
    reason: str = ""
    cause: Cause = ""
    scale: str | None = None
    records: tuple[Record, ...] = ()
    parts: tuple[PartNow, ...] = ()
    guards: tuple[GuardNow, ...] = ()
    tables: tuple[CountedTable, ...] = ()
    p: float = 1.0
    p_adjusted: float = 1.0
    level: float = 0.95
    adjusted: tuple[Interval, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)


def _one_sided(test: Test, values: Sequence[float], bound: float, side: statistics.Side) -> float:
    if test.kind == "share":
        return share_test(values, test.margin, test.share, side)
    return float(sign_flip(values, bound, side))


def part_now(part: Part, per_seed: Sequence[float]) -> PartNow:
    """One test on the confirmatory seeds."""
    test = part.test
    p = partial(_one_sided, test, per_seed)
    p_for, p_against = p_values(test, p)
    p_small = 1.0
    if test.kind == "superiority" and test.margin:
        # Beyond the margin is the claim; below it but not below 0 is neither for the claim nor against it.
        other: statistics.Side = "less" if test.direction == "greater" else "greater"
        p_small, p_against = p_against, min(1.0, 2 * p(0.0, other))
    interval = statistics.paired_t_interval(per_seed)
    return PartNow(part, tuple(per_seed), interval, p_for, p_against, p_small)


def guard_state(interval: Interval, guard: Guard) -> Shown:
    """shown: the interval is inside the bounds; shown false: it is outside; open: neither."""
    low, high = guard.within
    if (low is not None and interval.high <= low) or (high is not None and interval.low >= high):
        return "shown false"
    inside = (low is None or interval.low > low) and (high is None or interval.high < high)
    return "shown" if inside else "open"


def guards_now(rule: Rule, outcomes: Sequence[Outcomes]) -> tuple[GuardNow, ...]:
    """Every condition of a rule in every cell."""
    found = []
    for guard in rule.guards:
        for cell, contrast in guard.cells():
            interval = statistics.paired_t_interval([evaluate(contrast, one) for one in outcomes])
            found.append(GuardNow(guard, cell, interval, guard_state(interval, guard)))
    return tuple(found)


def judge_test(
    claim: Claim, revision: Revision, scale: str, records: Sequence[Record], outcomes: Sequence[Outcomes]
) -> Present:
    """A test on its confirmatory seeds, before the correction over the family."""
    missing = sorted(set(revision.seeds) - {record.seed for record in records})
    made = Present(claim.kind, Verdict.INCONCLUSIVE, scale=scale, records=tuple(records))
    if missing:
        text = f"seeds {', '.join(map(str, missing))} of {len(revision.seeds)} are not recorded"
        return replace(made, verdict=Verdict.EXPLORATORY, reason=text)
    rule = revision.rule
    parts = tuple(part_now(p, [evaluate(p.contrast, one) for one in outcomes]) for p in rule.all_of)
    p_for = max(part.p_for for part in parts)
    p_against = min(1.0, len(parts) * min(part.p_against for part in parts))
    return replace(made, parts=parts, guards=guards_now(rule, outcomes), p=min(p_for, p_against))


def judge_count(claim: Claim, scale: str, records: Sequence[Record], outcomes: Sequence[Outcomes]) -> Present:
    """A count: its table, and in words where the claim holds."""
    tables = tuple(counted(table, outcomes) for table in claim.counts)
    return Present(
        claim.kind, Verdict.COUNTED, sentence(tables), scale=scale, records=tuple(records), tables=tables
    )


def judge_control(
    claim: Claim, rule: Rule, scale: str, records: Sequence[Record], outcomes: Sequence[Outcomes]
) -> Present:
    """A control passes where every part lies beyond its bound and every condition is shown, each by its 95%
    interval."""
    parts = tuple(part_now(p, [evaluate(p.contrast, one) for one in outcomes]) for p in rule.all_of)
    guards = guards_now(rule, outcomes)
    wrong = [part.part.contrast.name for part in parts if not _beyond(part)]
    wrong += [guard.guard.contrast.name for guard in guards if guard.state != "shown"]
    return Present(
        claim.kind,
        Verdict.FAILED if wrong else Verdict.PASSED,
        "not shown: " + "; ".join(wrong) if wrong else "",
        scale=scale,
        records=tuple(records),
        parts=parts,
        guards=guards,
    )


def _beyond(part: PartNow) -> bool:
    test, interval = part.part.test, part.interval
    if test.kind == "equivalence":
        return -test.bound < interval.low and interval.high < test.bound
    return interval.low > test.bound if test.direction == "greater" else interval.high < test.bound


def corrected(judged: Mapping[str, Present]) -> dict[str, Present]:
    """The verdicts of the tests: the false discovery rate over all whose confirmatory seeds are complete."""
    family = {name: each.p for name, each in judged.items() if each.parts and each.kind == "test"}
    adjusted = benjamini_hochberg(family)
    level = coverage_after_selection(adjusted, FALSE_DISCOVERIES)
    return {
        name: _decided(each, adjusted[name], level) if name in family else each
        for name, each in judged.items()
    }


def _decided(each: Present, adjusted: float, level: float) -> Present:
    wide = tuple(statistics.paired_t_interval(part.per_seed, level) for part in each.parts)
    made = replace(each, p_adjusted=adjusted, level=level, adjusted=wide)
    unmet = [guard for guard in each.guards if guard.state != "shown"]
    if unmet:
        names = (f"{g.guard.contrast.name}{f', {g.cell}' if g.cell else ''} ({g.state})" for g in unmet)
        return replace(made, cause="instrument", reason="instrument: " + "; ".join(names))
    p_for = max(part.p_for for part in each.parts)
    if adjusted < FALSE_DISCOVERIES:
        supported = p_for == each.p
        return replace(made, verdict=Verdict.SUPPORTED if supported else Verdict.CONTRADICTED)
    small = [part for part in each.parts if part.p_small < FALSE_DISCOVERIES]
    if small:
        names = (part.part.contrast.name for part in small)
        return replace(
            made, cause="small", reason="small: shown smaller than the margin: " + "; ".join(names)
        )
    return replace(made, cause="noise", reason="noise: " + _seeds_text(each.parts))


def _seeds_text(parts: Sequence[PartNow]) -> str:
    said = []
    for part in parts:
        test, sd = part.part.test, part.interval.sd
        if test.kind == "equivalence":
            needed = seeds_needed_within(test.margin, sd)
        else:
            needed = seeds_needed(part.interval.mean - test.bound, sd)
        said.append("more than 1000 seeds" if needed is None else f"{needed} seeds")
    return f"power .8 would take {', '.join(said)} at this spread"
