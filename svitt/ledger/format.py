"""Verdicts and provenance as words, shared by ``svitt claims`` and the ledger page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from svitt.errors import ConfigError
from svitt.ledger.claims import Claim
from svitt.ledger.evaluate_rule import PartResult
from svitt.ledger.judgement import Judgement
from svitt.ledger.present import Present
from svitt.ledger.rules import Contrast, Test, Unit
from svitt.ledger.statistics import Interval
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row
from svitt.records.entry_points import chapter_package
from svitt.records.record import Record


def number(value: float, unit: Unit) -> str:
    """One value in its unit, e.g. +42.1 (points), 94.8%, 2.33x or +0.05 (exponent)."""
    if unit == "points":
        return f"{100 * value:+.1f}"
    if unit == "share":
        return f"{100 * value:.1f}%"
    return f"{value:.2f}x" if unit == "ratio" else f"{value:+.2f}"


def _named(text: str, unit: Unit) -> str:
    return f"{text} points" if unit == "points" else text


def interval_text(interval: Interval, unit: Unit) -> str:
    """Mean and 95% interval, e.g. "+42.1 [+38.0, +46.2] points"; a count that no seed changes has none."""
    mean = number(interval.mean, unit)
    if interval.sd == 0:
        return _named(mean, unit) + " (the same in every run)"
    return _named(f"{mean} [{number(interval.low, unit)}, {number(interval.high, unit)}]", unit)


def effect_text(result: PartResult) -> str:
    """The effect of one part of a rule; one seed alone has no interval."""
    unit = result.part.contrast.unit
    if result.interval is None:
        return f"{_named(number(result.per_seed[0], unit), unit)} (one seed, no interval)"
    return interval_text(result.interval, unit)


def detectable_text(judgement: Judgement) -> str:
    """What the records could have shown, for an inconclusive verdict; "" where nothing can be said."""
    if judgement.measurement is None:
        return ""
    said = []
    for part, seen in zip(judgement.measurement.parts, judgement.detectable, strict=False):
        if seen is not None:
            test, unit = part.part.test, part.part.contrast.unit
            whole = seen if test.kind == "equivalence" else abs(test.bound) + seen
            size = f"{100 * whole:.0f} points" if unit in ("points", "share") else f"{whole:.2g}"
            said.append(f"a margin of {size}" if test.kind == "equivalence" else f"an effect of {size}")
    return f"{', '.join(said)} would have been found 8 times in 10" if said else ""


def requirement_text(contrast: Contrast, test: Test) -> str:
    """What must be shown, e.g. "above +10.0 points"."""
    unit = contrast.unit
    if test.kind == "equivalence":
        return "within +-" + _named(number(test.margin, unit).lstrip("+"), unit)
    return ("above " if test.direction == "greater" else "below ") + _named(number(test.bound, unit), unit)


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
    """Short commits, e.g. "commit 8d3bd6a41", "+ changes" for a dirty tree."""
    return _joined(
        "no commit" if r.commit is None else f"commit {r.commit[:9]}" + (" + changes" if r.dirty else "")
        for r in records
    )


def hardware_text(records: Iterable[Record]) -> str:
    """The GPU where there was one, else the processor with its cores."""
    return _joined(r.hardware.gpu or f"{r.hardware.cpu}, {r.hardware.cores} cores" for r in records)


def made_on_text(record: Record) -> str:
    """The device of one record, its threads, and how its models were trained where that is not plain."""
    h, threads = record.hardware, record.threads or 1  # records without the key are of one thread
    place = f"GPU {h.gpu}" if h.gpu else f"CPU {h.cpu} ({h.cores} cores)"
    training = f", models trained in {record.training.text}" if record.training else ""
    return f"{place}, {threads} thread{'s' if threads > 1 else ''}{training}"


def shown_records_text(records: Iterable[Record], scale: str) -> str:
    """What a page shows and on which device it was made: one clause per device and way of training, with the
    record sets and seeds of each."""
    found: dict[str, dict[str, list[int]]] = {}
    for record in records:
        found.setdefault(made_on_text(record), {}).setdefault(record.chapter, []).append(record.seed)
    clauses = [
        f"{made_on}: "
        + ", ".join(f"{name} seeds {seeds_text(seeds)}" for name, seeds in sorted(sets.items()))
        for made_on, sets in found.items()
    ]
    if not clauses:
        return f"Nothing is recorded at scale {scale} in this edition."
    return f"The records of scale {scale} shown here were made on {'; on '.join(clauses)}."


def command_text(claim: Claim, judgement: Judgement) -> str:
    """The command that reads or repeats the judged records, or that would make them; "" where none can be run
    (a chapter that is not written, data that are not here)."""
    if judgement.records:
        seeds = seeds_text(judgement.seeds)
        return re.sub(r"--seeds \S+", f"--seeds {seeds}", judgement.records[0].command)
    rule = claim.mechanism
    if rule is None or not is_written(claim.chapter):
        return ""
    return f"svitt run {claim.chapter} --scale {rule.scales[0]} --seeds {seeds_text(range(rule.seeds))}"


def is_written(chapter: str) -> bool:
    """Whether the package has the experiment of a chapter."""
    try:
        chapter_package(chapter)
    except ConfigError:
        return False
    return True


def instead_text(claim: Claim) -> str:
    """What to say where there is no command."""
    if claim.mechanism is None:
        return f"needs {claim.source_setting.needs}"
    return f"planned: chapter {int(claim.chapter[:2])}"


def price_text(records: Sequence[Record]) -> str:
    """What measuring the records took: "about 42 CPU minutes, 1.1 GiB"."""
    minutes = sum(record.cpu_seconds for record in records) / 60
    memory = max(record.peak_memory_mib for record in records) / 1024
    return f"about {max(1, round(minutes)):,} CPU minutes, {memory:.1f} GiB"


def present_text(row: Row) -> str:
    """The verdict in force, with its reason: "inconclusive: noise: power .8 would take 24 seeds"."""
    now = row.present
    return f"{now.verdict}" + (f": {now.reason}" if now.reason else "")


def first_edition_text(row: Row) -> str:
    """What the first edition's rule said, where it judged anything; "" elsewhere."""
    first = row.mechanism
    if not first.records or first.verdict in (Verdict.TOO_SMALL, Verdict.NOT_MEASURED):
        return ""
    reason = first.reason
    if first.verdict == Verdict.INCONCLUSIVE and (seen := detectable_text(first)):
        reason = f"{reason}; {seen}" if reason else seen
    return f"{first.verdict}" + (f": {reason}" if reason else "")


def part_text(now: Present, index: int) -> str:
    """One test of a rule in force: interval, p and adjusted p, the interval after selection, effect size."""
    part = now.parts[index]
    unit = part.part.contrast.unit
    said = [interval_text(part.interval, unit)]
    if now.kind == "test":
        said.append(f"p = {now.p:.2g}, adjusted {now.p_adjusted:.2g}")
        if now.adjusted:
            said.append(f"at level {now.level:.3f}: {interval_text(now.adjusted[index], unit)}")
    if part.effect_size is not None:
        said.append(f"d = {part.effect_size:.1f}")
    return "; ".join(said)


def runs_text(judgement: Judgement) -> str:
    """Scale, seeds, p-values, commit and hardware of the judged records."""
    words = [f"scale {judgement.scale}", f"seeds {seeds_text(judgement.seeds)}"]
    # A count that no seed changes has p = 0: certain, and no p-value worth printing.
    if judgement.verdict not in (Verdict.TOO_SMALL, Verdict.NOT_MEASURED) and 0 < judgement.p < 1:
        words.append(f"p = {judgement.p:.2g}, after Holm {judgement.p_adjusted:.2g}")
    return ", ".join([*words, commit_text(judgement.records), hardware_text(judgement.records)])


def stale_text(modules: Sequence[str], shown: int = 4) -> str:
    """The modules that changed since the runs, the first few by name."""
    rest = f" and {len(modules) - shown} more" if len(modules) > shown else ""
    return f"changed since the runs: {', '.join(modules[:shown])}{rest}"
