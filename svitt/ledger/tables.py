"""A claim's rule and what was measured, as a table for a chapter."""

from __future__ import annotations

import pandas as pd

from svitt.ledger.claims import claims_file, find_claim, load_claims
from svitt.ledger.format import (
    effect_text,
    first_edition_text,
    interval_text,
    number,
    requirement_text,
    seeds_text,
)
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row, ledger
from svitt.records.workspace import Workspace, project_root

COLUMNS = ("part of the rule", "needed", "measured (95% interval)", "holds")


def judged(claim_id: str, scale: str, out_dir: str = "") -> Row:
    """The claim's row of the ledger as the records of one scale give it, in the workspace ``out_dir``."""
    claims = load_claims(claims_file(project_root()))
    find_claim(claims, claim_id)
    rows = ledger(claims, Workspace.open(out_dir).results, scale=scale)
    return next(row for row in rows if row.claim.id == claim_id)


def verdict_text(row: Row) -> str:
    """The verdict in one line that begins with what it rests on: "scale cpu, seeds 0-4: shuffle: passed"."""
    now, first = row.present, row.mechanism
    if now.scale is None:
        return f"{row.claim.id}: {now.verdict}"
    seeds = [record.seed for record in now.records]
    words = f"scale {now.scale}, seed{'s' if len(seeds) > 1 else ''} {seeds_text(seeds)}: {row.claim.id}: "
    words += str(now.verdict)
    if now.verdict in (Verdict.TOO_SMALL, Verdict.NOT_MEASURED):
        return words
    if now.reason:
        words += f" ({now.reason})"
    if first_text := first_edition_text(row):
        words += f"; first edition: {first_text}, p = {first.p_adjusted:.2g} after Holm"
    return words


def rule_table(row: Row) -> pd.DataFrame:
    """One row a part of the rule: what is compared, what it needs, what was measured, whether it holds.

    A part holds when its own test does at level .05, before the correction for the number of claims; a
    guard holds when its interval lies inside its bounds. One seed alone holds nothing.
    """
    measured = row.mechanism.measurement
    rows: list[tuple[str, str, str, str]] = []
    for part in () if measured is None else measured.parts:
        needs = requirement_text(part.part.contrast, part.part.test)
        holds = "" if part.interval is None else ("yes" if part.p_for < 0.05 else "no")
        rows.append((part.part.contrast.name, needs, effect_text(part), holds))
    for guard in () if measured is None else measured.guards:
        unit, (low, high) = guard.guard.contrast.unit, guard.guard.within
        ends = ["" if end is None else number(end, unit) for end in (low, high)]
        needs = (
            f"above {ends[0]}" if high is None else f"below {ends[1]}" if low is None else " to ".join(ends)
        )
        found = "one seed" if guard.interval is None else interval_text(guard.interval, unit)
        holds = "" if guard.interval is None else ("yes" if guard.met else "no")
        rows.append((guard.guard.contrast.name, needs, found, holds))
    return pd.DataFrame(rows, columns=list(COLUMNS))
