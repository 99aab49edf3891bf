"""A verdict of the first edition's rules, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from svitt.ledger.evaluate_rule import Measurement
from svitt.ledger.verdict_words import Verdict
from svitt.records.record import Record


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
