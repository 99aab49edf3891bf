"""Numbers for prose, from the records: ``tradeoff.effect``, ``02_space_time_tradeoff:frames/16/correct``.

So that a number in a text cannot part from the record it speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from svitt.config import nearest
from svitt.errors import ConfigError
from svitt.ledger.format import number
from svitt.ledger.verdicts import Row
from svitt.records.provenance import SMOKE
from svitt.records.record import Record

# Of a claim's part: what can be asked for.
PARTS = ("effect", "low", "high", "detectable", "p")


def measured_text(expression: str, rows: Iterable[Row], records: Sequence[Record]) -> str:
    """The number that an expression stands for, in its unit.

    ``<claim>.<what>`` or ``<claim>.<what>.<part, from 1>``: effect, low, high (of the 95% interval),
    detectable (the effect that would have been found 8 times in 10) or p (after correction) of a rule.
    ``<record set>:<value>``, then optionally ``|percent``, ``|points`` or a format such as ``|.2f``: the mean
    of a recorded value over the seeds of the largest scale. A number of scale smoke says so. Errors:
    ConfigError for an unknown name.
    """
    name, _, form = expression.partition("|")
    if ":" in name:
        return _value(name.strip(), form.strip(), records)
    return _of_claim(name.strip(), {row.claim.id: row for row in rows})


def _of_claim(name: str, rows: Mapping[str, Row]) -> str:
    claim, what, part = (*name.split("."), "1", "1")[:3] if name.count(".") else (name, "", "1")
    if claim not in rows:
        raise ConfigError(f"unknown claim {claim!r}; {nearest(claim, rows)}")
    if what not in PARTS:
        raise ConfigError(f"{name!r}: {nearest(what, PARTS)}")
    judged = rows[claim].mechanism
    if judged.measurement is None:
        raise ConfigError(f"{name!r}: nothing is recorded of this claim")
    parts = judged.measurement.parts
    if not re.fullmatch(r"[1-9]", part) or int(part) > len(parts):
        raise ConfigError(f"{name!r}: the rule has {len(parts)} parts")
    found = parts[int(part) - 1]
    unit, interval = found.part.contrast.unit, found.interval
    if what == "p":
        text = f"{judged.p_adjusted:.2g}"
    elif what == "detectable":
        seen = judged.detectable[int(part) - 1] if judged.detectable else None
        if seen is None:
            raise ConfigError(f"{name!r}: nothing can be said of it")
        whole = seen if found.part.test.kind == "equivalence" else abs(found.part.test.bound) + seen
        text = f"{100 * whole:.0f}" if unit in ("points", "share") else f"{whole:.2g}"
    elif interval is None:
        text = number(found.per_seed[0], unit)
    else:
        text = number({"effect": interval.mean, "low": interval.low, "high": interval.high}[what], unit)
    return text + (f" [{SMOKE}]" if judged.scale == SMOKE else "")


def _value(name: str, form: str, records: Sequence[Record]) -> str:
    record_set, _, key = name.partition(":")
    here = [record for record in records if record.chapter == record_set]
    if not here:
        raise ConfigError(
            f"no records of {record_set!r}; {nearest(record_set, {r.chapter for r in records})}"
        )
    scale = next((s for s in ("gpu", "cpu") if any(r.scale == s for r in here)), SMOKE)
    values = [record.values.get(key) for record in here if record.scale == scale]
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) != len(values) or not numbers:
        known = {k for record in here for k in record.values}
        raise ConfigError(f"{record_set} records no number {key!r} in every seed; {nearest(key, known)}")
    mean = sum(numbers) / len(numbers)
    if form in ("points", "percent"):
        text = f"{100 * mean:.1f}" + ("%" if form == "percent" else "")
    else:
        text = format(mean, form or ".3g")
    return text + (f" [{SMOKE}]" if scale == SMOKE else "")
