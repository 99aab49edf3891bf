"""Verdicts and provenance as words, shared by ``svitt claims`` and the ledger page."""

from __future__ import annotations

import re
from collections.abc import Iterable

from svitt.ledger.claims import Claim
from svitt.ledger.measure import PartResult
from svitt.ledger.record import Record
from svitt.ledger.rules import Contrast, Test, Unit
from svitt.ledger.verdicts import Judgement

_SUFFIX: dict[Unit, str] = {"points": " points", "ratio": "x", "exponent": ""}


def number(value: float, unit: Unit) -> str:
    """One value in its unit, without the unit's name: shares x 100, ratios unsigned."""
    if unit == "points":
        return f"{100 * value:+.1f}"
    return f"{value:.2f}" if unit == "ratio" else f"{value:+.2f}"


def effect_text(result: PartResult) -> str:
    """Mean and 95% interval, e.g. "+42.1 [+38.0, +46.2] points"; one seed alone has no interval."""
    unit = result.part.contrast.unit
    if result.interval is None:
        return f"{number(result.per_seed[0], unit)}{_SUFFIX[unit]} (one seed, no interval)"
    i = result.interval
    return f"{number(i.mean, unit)} [{number(i.low, unit)}, {number(i.high, unit)}]{_SUFFIX[unit]}"


def detectable_text(judgement: Judgement) -> str:
    """What the records could have shown, for an inconclusive verdict; "" where nothing can be said."""
    if judgement.measurement is None:
        return ""
    said = []
    for part, seen in zip(judgement.measurement.parts, judgement.detectable, strict=False):
        if seen is not None:
            kind = "a margin" if part.part.test.kind == "equivalence" else "an effect beyond the margin"
            unit = part.part.contrast.unit
            size = f"{100 * seen:.1f} points" if unit == "points" else f"{seen:.2g}{_SUFFIX[unit]}"
            said.append(f"{kind} of {size}")
    return f"could have seen {', '.join(said)} (power 0.8)" if said else ""


def requirement_text(contrast: Contrast, test: Test) -> str:
    """What must be shown, e.g. "above +10.0 points"."""
    bound, unit = number(test.bound, contrast.unit), contrast.unit
    if test.kind == "equivalence":
        return f"within +-{number(test.margin, unit).lstrip('+')}{_SUFFIX[unit]}"
    return f"{'above' if test.direction == 'greater' else 'below'} {bound}{_SUFFIX[unit]}"


def seeds_text(seeds: Iterable[int]) -> str:
    """0, 1, 2, 4 -> "0-2,4", the form that ``--seeds`` takes."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _joined(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))


def commit_text(records: Iterable[Record]) -> str:
    """Short commits, with "+ changes" for a dirty tree."""
    return _joined(
        "no commit" if r.commit is None else r.commit[:9] + (" + changes" if r.dirty else "") for r in records
    )


def hardware_text(records: Iterable[Record]) -> str:
    """The GPU where there was one, else the processor with its cores."""
    return _joined(r.hardware.gpu or f"{r.hardware.cpu}, {r.hardware.cores} cores" for r in records)


def command_text(claim: Claim, judgement: Judgement) -> str:
    """The command that repeats the judged records, or that would make them."""
    if judgement.records:
        seeds = seeds_text(judgement.seeds)
        return re.sub(r"--seeds \S+", f"--seeds {seeds}", judgement.records[0].command)
    rule = claim.mechanism
    if rule is None:
        return claim.source_setting.command
    return f"svitt run {claim.chapter} --scale {rule.scales[0]} --seeds {seeds_text(range(rule.seeds))}"
