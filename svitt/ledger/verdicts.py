"""Verdicts: a pure function of the claims and the files under ``data/results``.

Every claim has two, ``mechanism`` (the procedural world; the seed is the replicate) and ``source_setting``
(records of scale ``paper``; the clips of one run are the replicate). p-values are corrected by Holm over all
claims that have a rule; a claim without results enters with p = 1, so that adding results never weakens what
stands already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from svitt.errors import RecordError
from svitt.ledger.claims import PAPER_SCALE, Claim
from svitt.ledger.evaluate_rule import Measurement, detectable, measure, measure_over_clips
from svitt.ledger.judgement import Judgement
from svitt.ledger.present import Present, corrected
from svitt.ledger.present_rows import present_of
from svitt.ledger.results import Results
from svitt.ledger.rules import Rule
from svitt.ledger.statistics import holm
from svitt.ledger.verdict_words import Verdict
from svitt.records.provenance import SMOKE
from svitt.records.record import Record

ALPHA = 0.05


@dataclass(frozen=True)
class Row:
    """A claim with what is said of it: ``present``, by the rules in force; ``mechanism``, the verdict of the
    first edition's rule, recomputed; ``source_setting``, in the source's own setting."""

    claim: Claim
    mechanism: Judgement
    source_setting: Judgement
    present: Present


def _chosen(claim: Claim, rule: Rule, results: Results, only: str | None) -> tuple[str | None, list[Record]]:
    """The scale that is judged and its records: the largest with all seeds, else the largest with any."""
    found: dict[str, list[Record]] = {}
    later = {revision.hash for revision in claim.revisions}
    for scale in (*rule.scales, SMOKE):
        if only not in (None, scale):
            continue
        records = results.records(scale, claim.chapter)
        measured = [r for r in records if r.rule_hashes.get(claim.id, "") not in {"", *later}]
        if measured:
            found[scale] = [r for r in measured if r.seed < rule.seeds] or measured[:1]
    for scale in reversed(rule.scales):
        if len(found.get(scale, [])) == rule.seeds:
            return scale, found[scale]
    for scale in (*reversed(rule.scales), SMOKE):
        if scale in found:
            return scale, found[scale]
    return None, []


def _mechanism(claim: Claim, results: Results, only: str | None) -> Judgement:
    rule = claim.mechanism
    if rule is None:
        return Judgement(Verdict.NOT_MEASURED, f"only with the source's data: {claim.source_setting.needs}")
    scale, records = _chosen(claim, rule, results, only)
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
    claims: Iterable[Claim],
    path: Path,
    on_error: Callable[[RecordError], None] | None = None,
    scale: str | None = None,
) -> list[Row]:
    """What is said of every claim, from the results below ``path``.

    on_error: see ``Results``. scale: judge the records of this scale alone (default: of the largest scale
    whose seeds are all there). Errors: RecordError for a file that cannot be read, or a record that lacks an
    outcome its rule reads.
    """
    claims, results = list(claims), Results(path, on_error)
    mechanism = {claim.id: _mechanism(claim, results, scale) for claim in claims}
    source = {claim.id: _source_setting(claim, results) for claim in claims}
    mechanism |= _corrected({c.id: mechanism[c.id] for c in claims if c.mechanism is not None})
    source |= _corrected({c.id: source[c.id] for c in claims if c.source_setting.rule is not None})
    now = corrected({c.id: present_of(c, mechanism[c.id], results, scale) for c in claims})
    return [Row(claim, mechanism[claim.id], source[claim.id], now[claim.id]) for claim in claims]
