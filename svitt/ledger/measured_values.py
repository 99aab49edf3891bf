"""Expressions over recorded values: ``02_space_time_tradeoff@0-4:slow/16 - slow/2|max|points|+.1f``.

See ``svitt.ledger.measured`` for what can be written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from svitt.config import nearest
from svitt.errors import ConfigError, RecordError
from svitt.ledger.results import Results
from svitt.ledger.statistics import paired_t_interval
from svitt.records.arrays import Array
from svitt.records.provenance import SMOKE
from svitt.records.record import Record

ALL, BENCHMARKS = "all", "benchmarks/"
PRICES = ("cpu_seconds", "wall_seconds", "peak_memory_mib")
UNITS = {"percent": (100.0, "%", ".1f"), "points": (100.0, "", ".1f")}
UNITS |= {"minutes": (1 / 60, "", ".0f"), "hours": (1 / 3600, "", ".0f"), "GiB": (1 / 1024, "", ".1f")}
_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
_REDUCE: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda v: math.fsum(v) / len(v),
    "min": min,
    "max": max,
    "sum": math.fsum,
    "sd": lambda v: paired_t_interval(v).sd,
    "low": lambda v: paired_t_interval(v).low,
    "high": lambda v: paired_t_interval(v).high,
}
_NAME = re.compile(
    r"(?P<name>.+?)(?:\[(?P<index>\d+(?:,\d+)*)\])?(?: where (?P<negated>not )?(?P<mask>\S+))?"
)


class NotRecordedError(ConfigError):
    """A measured number is asked for that these records do not hold; others may."""


def value_text(name: str, forms: Sequence[str], results: Results) -> str:
    """The text of ``<record set>:<value>`` in its forms.

    Errors: NotRecordedError for what no record holds, ConfigError for what cannot be read at all.
    """
    read = _reader(forms)
    record_set, _, value = name.partition(":")
    if record_set.startswith(BENCHMARKS):
        scale, values = "", [_of_benchmark(record_set, value, results)]
    else:
        scale, records = _records(record_set, results)
        values = [_per_seed(value, record, results) for record in records]
    return read(values) + (f" [{SMOKE}]" if scale == SMOKE else "")


def _record_sets(results: Results, scale: str) -> list[str]:
    return sorted(path.name for path in (results.path / scale).glob("*") if path.is_dir())


def _records(name: str, results: Results) -> tuple[str, list[Record]]:
    """The largest recorded scale and its records: of the named seeds, or of those under the first rules."""
    record_set, _, seeds = name.partition("@")
    if seeds and not re.fullmatch(r"\d+(-\d+)?", seeds):
        raise ConfigError(f"{name!r}: seeds are written @3 or @0-4")
    known: set[str] = set()
    for scale in ("gpu", "cpu", SMOKE):
        sets = _record_sets(results, scale)
        known.update(sets)
        chosen = sets if record_set == ALL else [record_set]
        if records := [r for one in chosen if one in sets for r in results.records(scale, one)]:
            break
    else:
        raise NotRecordedError(f"no records of {record_set!r}; {nearest(record_set, known)}")
    if seeds and scale != SMOKE:
        first, _, last = seeds.partition("-")
        wanted = set(range(int(first), int(last or first) + 1))
        records = [record for record in records if record.seed in wanted]
        if {record.seed for record in records} != wanted:
            raise NotRecordedError(f"{name!r}: not all of these seeds are recorded at scale {scale}")
    elif record_set != ALL:
        # Fresh seeds of a revised rule do not change what is said of those before.
        records = [record for record in records if record.rule_hashes == records[0].rule_hashes]
    if record_set != ALL and len({json.dumps(r.parameters, sort_keys=True) for r in records}) > 1:
        raise ConfigError(
            f"{name!r}: the recorded seeds have different settings; name those that are meant, "
            f"e.g. {record_set}@0-4"
        )
    return scale, records


def _split(expression: str) -> Iterable[tuple[str, str]]:
    """Operators with their operands, from left to right; the first operator is +."""
    parts = re.split(r" ([-+*/]) ", expression.strip())
    return zip(["+", *parts[1::2]], parts[0::2], strict=True)


def _evaluated(expression: str, operand: Callable[[str], float]) -> float:
    total = 0.0
    for operator, name in _split(expression):
        value = operand(name.strip())
        if operator == "/" and value == 0:
            raise NotRecordedError(f"{expression!r}: {name!r} is 0, and nothing can be divided by it")
        total = _OPERATORS[operator](total, value)
    return total


def _per_seed(expression: str, record: Record, results: Results) -> float:
    outcomes = results.outcomes(record)
    return _evaluated(expression, lambda name: _operand(name, record, outcomes))


def _operand(text: str, record: Record, outcomes: Mapping[str, Array]) -> float:
    if re.fullmatch(r"\d*\.?\d+", text):
        return float(text)
    found = _NAME.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no name of a recorded value")
    name, index, mask = found["name"], found["index"], found["mask"]
    value = record.values.get(name, getattr(record, name) if name in PRICES else None)
    if index is None and mask is None and isinstance(value, int | float):
        return float(value)
    array = _numbers(name, record, outcomes)
    if index is not None:
        place = tuple(int(i) for i in index.split(","))
        if len(place) > array.ndim or any(i >= n for i, n in zip(place, array.shape, strict=False)):
            raise NotRecordedError(f"{text!r}: {name} has shape {array.shape}")
        array = array[place]
    if mask is not None:
        chosen = _numbers(mask, record, outcomes).astype(bool) != bool(found["negated"])
        if chosen.ndim != 1 or array.shape[-1:] != chosen.shape or not chosen.any():
            raise NotRecordedError(f"{text!r}: {mask} has shape {chosen.shape}, {name} {array.shape}")
        array = array[..., chosen]
    return float(array.mean())


def _numbers(name: str, record: Record, outcomes: Mapping[str, Array]) -> Array:
    if name not in outcomes or outcomes[name].dtype.kind not in "biuf":
        known = {*(k for k, v in record.values.items() if isinstance(v, int | float)), *outcomes, *PRICES}
        raise NotRecordedError(
            f"{record.scale}/{record.chapter}/seed{record.seed} holds no number {name!r}; "
            f"{nearest(name, known - {name})}"
        )
    return np.asarray(outcomes[name])


def _of_benchmark(record_set: str, expression: str, results: Results) -> float:
    path = results.path / f"{record_set}.json"
    if not path.is_file():
        known = {f"{BENCHMARKS}{p.stem}" for p in results.path.glob(f"{BENCHMARKS}*.json")}
        raise NotRecordedError(f"no file {path.name!r} of benchmarks; {nearest(record_set, known)}")
    try:
        rows = {str(row["frames"]): row for row in json.loads(path.read_bytes())["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is damaged ({error!r}); restore it from git") from error

    def operand(text: str) -> float:
        found: object = rows
        for key in text.split("/"):
            known = found if isinstance(found, dict) else {}
            if key not in known:
                raise NotRecordedError(f"{path.name} holds no {text!r}; {nearest(key, known)}")
            found = known[key]
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ConfigError(f"{path.name}: {text!r} is no number; name one within it")
        return float(found)

    return _evaluated(expression, operand)


def _reader(forms: Sequence[str]) -> Callable[[Sequence[float]], str]:
    """What makes one text of the seeds' numbers: what is told of them, their unit, their format."""
    left = list(forms)
    told = left.pop(0) if left and left[0].split(" ")[0] in (*_REDUCE, "above", "below") else "mean"
    if bound := re.fullmatch(r"(above|below) (-?\d*\.?\d+)", told):
        if left:
            raise ConfigError(f"{told!r} counts seeds; nothing may follow it, given {left[0]!r}")
        side, limit = 1 if bound[1] == "above" else -1, float(bound[2])
        return lambda values: f"{sum(side * (v - limit) > 0 for v in values)} of {len(values)}"
    if told not in _REDUCE:
        raise ConfigError(f"{told!r} lacks its number, as in 'above 0'")
    factor, sign, spec = UNITS[left.pop(0)] if left and left[0] in UNITS else (1.0, "", ".3g")
    spec = left.pop(0) if left else spec
    if left or not re.fullmatch(r"\+?,?(\.\d)?[fg]", spec):
        given = left[0] if left else spec
        raise ConfigError(f"form {given!r}; {nearest(given, [*_REDUCE, *UNITS, '.1f'])}")

    def read(values: Sequence[float]) -> str:
        if told in ("sd", "low", "high") and len(values) < 2:
            raise NotRecordedError(f"{told!r} takes two seeds or more; {len(values)} is recorded")
        text = format(factor * _REDUCE[told](values), spec)
        return (text.replace("-", "") if re.fullmatch(r"-[0.]+", text) else text) + sign

    return read
