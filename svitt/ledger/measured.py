"""Numbers for prose, from the records: ``tradeoff.effect``, ``02_space_time_tradeoff:slow/16|percent``.

So that a number in a text cannot part from the record it speaks of.

Of a claim: ``<claim>.<what>`` or ``<claim>.<what>.<part, from 1>``, where what is effect, low, high (of the
95% interval), detectable (the effect that would have been found 8 times in 10), p (after the correction) or
p_alone (before it), of the first edition's rule.

Of a record set: ``<set>:<value>``, with

- seeds: ``<set>@3`` or ``<set>@0-4``; without, the lowest recorded seed of the largest scale and all that
  were made under the same rules. All must have the same settings. The set ``all`` stands for every record;
- value: names of recorded values or raw outcomes (their mean), of ``cpu_seconds``, ``wall_seconds`` and
  ``peak_memory_mib``, and plain numbers, joined by + - * / between blanks, evaluated per seed from left to
  right. ``correct[1,0]`` is a part of an array of outcomes, ``correct where event_brief`` (or
  ``where not``) its clips of one kind;
- forms, each after a ``|``: first what is told of the seeds (mean, if nothing is said; min, max, sum, sd, low
  and high of the 95% interval; or ``above 0``, ``below 0``: "5 of 5"), then a unit (percent, points, minutes
  and hours of seconds, GiB of MiB), then a format such as ``+.1f``.

Of a benchmark: ``benchmarks/<file>:<frames>/<value>``, the same operators and forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from svitt.config import nearest
from svitt.errors import ConfigError
from svitt.ledger.format import number
from svitt.ledger.measured_values import NotRecordedError, value_text
from svitt.ledger.results import Results
from svitt.ledger.verdicts import Row
from svitt.records.provenance import SMOKE

__all__ = ["PARTS", "NotRecordedError", "measured_text"]

# Of a claim's part: what can be asked for.
PARTS = ("effect", "low", "high", "detectable", "p", "p_alone")


def measured_text(expression: str, rows: Iterable[Row], results: Results) -> str:
    """The number that an expression stands for (see the module), in its unit; one of scale smoke says so.

    Errors: ConfigError for an expression that cannot be read, with the nearest known name; NotRecordedError
    (a ConfigError) for a number that these results do not hold.
    """
    name, *forms = (part.strip() for part in expression.split("|"))
    if ":" in name:
        return value_text(name, forms, results)
    if forms:
        raise ConfigError(f"{expression!r}: a number of a claim has its own form; remove {forms[0]!r}")
    return _of_claim(name, {row.claim.id: row for row in rows})


def _of_claim(name: str, rows: Mapping[str, Row]) -> str:
    claim, what, part = (*name.split("."), "1", "1")[:3] if name.count(".") else (name, "", "1")
    if claim not in rows:
        raise ConfigError(f"unknown claim {claim!r}; {nearest(claim, rows)}")
    if what not in PARTS:
        raise ConfigError(f"{name!r}: {nearest(what, PARTS)}")
    judged = rows[claim].mechanism
    if judged.measurement is None:
        raise NotRecordedError(f"{name!r}: nothing is recorded of this claim")
    parts = judged.measurement.parts
    if not re.fullmatch(r"[1-9]", part) or int(part) > len(parts):
        raise ConfigError(f"{name!r}: the rule has {len(parts)} parts")
    found = parts[int(part) - 1]
    unit, interval = found.part.contrast.unit, found.interval
    if what in ("p", "p_alone"):
        p = judged.p_adjusted if what == "p" else min(found.p_for, found.p_against)
        text = f"{p:.2g}"
    elif what == "detectable":
        seen = judged.detectable[int(part) - 1] if judged.detectable else None
        if seen is None:
            raise NotRecordedError(f"{name!r}: nothing can be said of it")
        whole = seen if found.part.test.kind == "equivalence" else abs(found.part.test.bound) + seen
        text = f"{100 * whole:.0f}" if unit in ("points", "share") else f"{whole:.2g}"
    elif interval is None:
        text = number(found.per_seed[0], unit)
    else:
        text = number({"effect": interval.mean, "low": interval.low, "high": interval.high}[what], unit)
    return text + (f" [{SMOKE}]" if judged.scale == SMOKE else "")
