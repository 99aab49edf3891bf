"""Which records the rules in force judge: the confirmatory seeds of a revision, the records of a count."""

from __future__ import annotations

from svitt.ledger.claims import Claim
from svitt.ledger.judgement import Judgement
from svitt.ledger.present import Present, judge_control, judge_count, judge_test
from svitt.ledger.results import Results
from svitt.ledger.revisions import Revision
from svitt.ledger.verdict_words import Verdict
from svitt.records.provenance import SMOKE
from svitt.records.record import Record


def present_of(claim: Claim, first: Judgement, results: Results, only: str | None) -> Present:
    """What is said of a claim before the correction over the family. first: the first edition's verdict.

    only: judge the records of this scale alone.
    """
    rule = claim.mechanism
    if rule is None:
        return Present(claim.kind, Verdict.NOT_MEASURED, first.reason)
    if claim.kind == "test" and claim.revision is not None:
        scale, records = _confirmatory(claim, claim.revision, results, only)
        if scale is not None:
            outcomes = [results.outcomes(record) for record in records]
            revision = claim.revision
            made = results.measured(records, lambda: judge_test(claim, revision, scale, records, outcomes))
            return made or Present(claim.kind, Verdict.NOT_MEASURED, "the records cannot be read")
    if first.scale is None or first.verdict == Verdict.NOT_MEASURED:
        return Present(claim.kind, Verdict.NOT_MEASURED, first.reason)
    if first.scale == SMOKE:
        return Present(claim.kind, Verdict.TOO_SMALL, "scale smoke", scale=SMOKE, records=first.records)
    return _on_first_records(claim, first, results)


def _on_first_records(claim: Claim, first: Judgement, results: Results) -> Present:
    rule, scale, records = claim.mechanism, first.scale, list(first.records)
    assert rule is not None and scale is not None
    if first.measurement is None:  # the rule is not the one they were recorded under
        return Present(claim.kind, Verdict.INCONCLUSIVE, first.reason, scale=scale, records=first.records)
    outcomes = [results.outcomes(record) for record in records]
    unreadable = Present(claim.kind, Verdict.NOT_MEASURED, "the records cannot be read")
    if claim.kind == "count":
        return results.measured(records, lambda: judge_count(claim, scale, records, outcomes)) or unreadable
    if claim.kind == "control" and len(records) > 1:
        made = results.measured(records, lambda: judge_control(claim, rule, scale, records, outcomes))
        return made or unreadable
    text = "no seeds of a rule of this edition are recorded; those shown ran under the first edition's rule"
    return Present(claim.kind, Verdict.EXPLORATORY, text, scale=scale, records=tuple(records))


def _confirmatory(
    claim: Claim, revision: Revision, results: Results, only: str | None
) -> tuple[str | None, list[Record]]:
    """The records of the revision's seeds: of the largest scale that has all of them, else that has any."""
    found: dict[str, list[Record]] = {}
    for scale in revision.rule.scales:
        if only in (None, scale):
            records = results.records(scale, claim.chapter)
            here = [
                r for r in records
                if r.rule_hashes.get(claim.id) == revision.hash and r.seed in revision.seeds
            ]  # fmt: skip
            if here:
                found[scale] = here
    for scale in reversed(revision.rule.scales):
        if len(found.get(scale, [])) == len(revision.seeds):
            return scale, found[scale]
    largest = next((scale for scale in reversed(revision.rule.scales) if scale in found), None)
    return largest, [] if largest is None else found[largest]
