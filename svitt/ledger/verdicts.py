"""Verdicts: a pure function of the claims and the files under ``data/results``.

Every claim has two, ``mechanism`` (the procedural world; the seed is the replicate) and ``source_setting``
(records of scale ``paper``; the clips of one run are the replicate). p-values are corrected by Holm over all
claims that have a rule; a claim without results enters with p = 1, so that adding results never weakens what
stands already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from svitt.errors import RecordError
from svitt.ledger.claims import PAPER_SCALE, Claim
from svitt.ledger.evaluate_rule import Measurement, detectable, measure, measure_over_clips
from svitt.ledger.rules import Rule
from svitt.ledger.statistics import holm
from svitt.records.arrays import Array
from svitt.records.record import Record, read_outcomes, read_records, record_path

ALPHA = 0.05
SMOKE = "smoke"


class Verdict(StrEnum):
    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    TOO_SMALL = "too small to judge"


@dataclass(frozen=True)
class Judgement:
    """One verdict and what it rests on.

    detectable: the smallest effect beyond the margin (equivalence: the smallest margin) that these records
    could have shown with power 0.8, at the level that Holm asks of this claim; a list, one a part.
    """

    verdict: Verdict
    reason: str = ""
    scale: str | None = None
    records: tuple[Record, ...] = ()
    measurement: Measurement | None = None
    p: float = 1.0
    p_adjusted: float = 1.0
    detectable: tuple[float | None, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)


@dataclass(frozen=True)
class Row:
    """A claim with both verdicts."""

    claim: Claim
    mechanism: Judgement
    source_setting: Judgement


@dataclass
class Results:
    """Records and raw outcomes below ``path``, each file read once.

    on_error: called with a RecordError instead of raising it; the chapter then counts as not measured.
    """

    path: Path
    on_error: Callable[[RecordError], None] | None = None
    _records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    _outcomes: dict[Path, dict[str, Array]] = field(default_factory=dict)

    def records(self, scale: str, chapter: str) -> list[Record]:
        """All seeds of a chapter at a scale, their outcomes readable."""
        key = (scale, chapter)
        if key not in self._records:
            try:
                found = read_records(self.path, scale, chapter)
                for record in found:
                    path = record_path(self.path, scale, chapter, record.seed)
                    self._outcomes[path] = read_outcomes(path)
            except RecordError as error:
                if self.on_error is None:
                    raise
                self.on_error(error)
                found = []
            self._records[key] = found
        return self._records[key]

    def outcomes(self, record: Record) -> dict[str, Array]:
        """The raw outcomes of a record that ``records`` returned."""
        return self._outcomes[record_path(self.path, record.scale, record.chapter, record.seed)]

    def measured(self, records: list[Record], compute: Callable[[], Measurement]) -> Measurement | None:
        """``compute()``, its RecordError naming the folder; None when ``on_error`` took it."""
        try:
            return compute()
        except RecordError as error:
            folder = self.path / records[0].scale / records[0].chapter
            named = RecordError(f"{folder}: {error}")
            if self.on_error is None:
                raise named from error
            self.on_error(named)
            return None


def _chosen(claim: Claim, rule: Rule, results: Results) -> tuple[str | None, list[Record]]:
    """The scale that is judged and its records: the largest with all seeds, else the largest with any."""
    found: dict[str, list[Record]] = {}
    for scale in (*rule.scales, SMOKE):
        measured = [r for r in results.records(scale, claim.chapter) if claim.id in r.rule_hashes]
        if measured:
            found[scale] = [r for r in measured if r.seed < rule.seeds] or measured[:1]
    for scale in reversed(rule.scales):
        if len(found.get(scale, [])) == rule.seeds:
            return scale, found[scale]
    for scale in (*reversed(rule.scales), SMOKE):
        if scale in found:
            return scale, found[scale]
    return None, []


def _mechanism(claim: Claim, results: Results) -> Judgement:
    rule = claim.mechanism
    if rule is None:
        return Judgement(Verdict.NOT_MEASURED, f"only with the source's data: {claim.source_setting.needs}")
    scale, records = _chosen(claim, rule, results)
    if scale is None:
        return Judgement(Verdict.NOT_MEASURED)
    if reason := _rule_changed(claim, rule, records):
        return Judgement(Verdict.INCONCLUSIVE, reason, scale, tuple(records))
    measurement = results.measured(records, lambda: measure(rule, [results.outcomes(r) for r in records]))
    if measurement is None:
        return Judgement(Verdict.NOT_MEASURED, "the records cannot be read")
    if scale == SMOKE:
        return Judgement(Verdict.TOO_SMALL, "scale smoke", scale, tuple(records), measurement)
    missing = sorted(set(range(rule.seeds)) - {record.seed for record in records})
    if missing:
        reason = f"seeds {', '.join(map(str, missing))} of {rule.seeds} are not recorded"
    return _before_holm(scale, records, measurement, reason)


def _source_setting(claim: Claim, results: Results) -> Judgement:
    records = results.records(PAPER_SCALE, claim.chapter)
    rule = claim.source_setting.rule
    if rule is None:
        return Judgement(Verdict.NOT_MEASURED)
    measured = [record for record in records if claim.id in record.rule_hashes][:1]
    if not measured:
        return Judgement(Verdict.NOT_MEASURED)
    if reason := _rule_changed(claim, rule, measured):
        return Judgement(Verdict.INCONCLUSIVE, reason, PAPER_SCALE, tuple(measured))
    outcomes = results.outcomes(measured[0])
    measurement = results.measured(measured, lambda: measure_over_clips(rule, outcomes))
    if measurement is None:
        return Judgement(Verdict.NOT_MEASURED, "the records cannot be read")
    return _before_holm(PAPER_SCALE, measured, measurement, "")


def _rule_changed(claim: Claim, rule: Rule, records: list[Record]) -> str:
    """Results judged by a rule that was written after them would prove nothing."""
    seeds = [str(record.seed) for record in records if record.rule_hashes[claim.id] != rule.hash]
    return f"the rule changed after seeds {', '.join(seeds)} were recorded" if seeds else ""


def _before_holm(scale: str, records: list[Record], measurement: Measurement, reason: str) -> Judgement:
    """Inconclusive for a reason that no p-value cures (p stays 1), or with the p that Holm corrects."""
    unmet = [result for result in measurement.guards if not result.met]
    if not reason and unmet:
        reason = "not shown: " + "; ".join(result.guard.contrast.name for result in unmet)
    p = 1.0 if reason else min(measurement.p_for, measurement.p_against)
    return Judgement(Verdict.INCONCLUSIVE, reason, scale, tuple(records), measurement, p)


def _after_holm(judgement: Judgement, adjusted: float, level: float) -> Judgement:
    measured = judgement.measurement
    if measured is None or judgement.verdict != Verdict.INCONCLUSIVE:
        return judgement
    verdict, reason = Verdict.INCONCLUSIVE, judgement.reason
    if not reason:
        if adjusted < ALPHA:
            supported = measured.p_for <= measured.p_against
            verdict = Verdict.SUPPORTED if supported else Verdict.CONTRADICTED
        elif judgement.p < ALPHA:
            reason = "not significant after Holm's correction"
        else:
            reason = "the interval allows both"
    seen = tuple(detectable(part, level) for part in measured.parts)
    return Judgement(
        verdict, reason, judgement.scale, judgement.records, measured, judgement.p, adjusted, seen
    )


def _corrected(judgements: dict[str, Judgement]) -> dict[str, Judgement]:
    p = {name: judgement.p for name, judgement in judgements.items()}
    adjusted = holm(p)
    ranks = {name: i for i, name in enumerate(sorted(p, key=lambda key: (p[key], key)))}
    return {
        name: _after_holm(judgement, adjusted[name], ALPHA / (len(p) - ranks[name]))
        for name, judgement in judgements.items()
    }


def ledger(
    claims: Iterable[Claim], path: Path, on_error: Callable[[RecordError], None] | None = None
) -> list[Row]:
    """Both verdicts of every claim, from the results below ``path``.

    on_error: see ``Results``. Errors: RecordError for a file that cannot be read, or a record that lacks an
    outcome its rule reads.
    """
    claims, results = list(claims), Results(path, on_error)
    mechanism = {claim.id: _mechanism(claim, results) for claim in claims}
    source = {claim.id: _source_setting(claim, results) for claim in claims}
    mechanism |= _corrected({c.id: mechanism[c.id] for c in claims if c.mechanism is not None})
    source |= _corrected({c.id: source[c.id] for c in claims if c.source_setting.rule is not None})
    return [Row(claim, mechanism[claim.id], source[claim.id]) for claim in claims]
