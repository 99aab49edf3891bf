"""Verdict rules as data; ``measure.py`` evaluates them.

A rule is one or more tests (all must hold) on contrasts: linear combinations, or ratios of two, of measures
of the raw outcomes, evaluated once a seed. Guards are conditions without which the contrast means nothing (a
baseline that beats chance, a model that never learnt); one that is not shown makes the verdict inconclusive.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from svitt.records.arrays import canonical

# Part of every rule's hash: raised when the evaluation in measure.py changes its meaning.
SEMANTICS = 1
Unit = Literal["points", "share", "ratio", "exponent"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(_Data):
    """coefficient x measure of one outcome.

    reduce: mean or median of all values; recall@k, the share of ranks (from 1) up to k; value, the one number
    recorded; auc, the mean over the evaluations of a learning curve; slope, the least-squares slope of
    log(outcome) on log(over).
    """

    outcome: str
    reduce: str = "mean"
    coefficient: float = 1.0
    over: str | None = None

    @field_validator("reduce")
    @classmethod
    def _known(cls, reduce: str) -> str:
        if reduce not in ("mean", "median", "value", "auc", "slope") and not re.fullmatch(
            r"recall@[1-9]\d*", reduce
        ):
            raise ValueError(f"{reduce!r}; allowed: mean, median, value, auc, slope, recall@K")
        return reduce

    @model_validator(mode="after")
    def _slope_needs_over(self) -> Term:
        if (self.reduce == "slope") != (self.over is not None):
            raise ValueError("`over` names the abscissa of reduce: slope, and belongs to it only")
        return self

    @property
    def per_clip(self) -> bool:
        """Whether the last axis counts clips, which a bootstrap may draw anew."""
        return self.reduce in ("mean", "median") or self.reduce.startswith("recall@")


class Contrast(_Data):
    """Sum of terms plus constant, divided by the sum of ``divided_by`` where that is given.

    unit: points (differences of shares, x 100), share (a level, in percent), ratio or exponent; for display.
    """

    name: str
    terms: tuple[Term, ...] = Field(min_length=1)
    divided_by: tuple[Term, ...] = ()
    constant: float = 0.0
    unit: Unit = "points"

    def filled(self, words: Mapping[str, str]) -> Contrast:
        """With ``{name}`` in its outcomes and its own name replaced by a word."""
        parts = {
            part: tuple(
                term.model_copy(
                    update={
                        "outcome": term.outcome.format(**words),
                        "over": None if term.over is None else term.over.format(**words),
                    }
                )
                for term in getattr(self, part)
            )
            for part in ("terms", "divided_by")
        }
        return self.model_copy(update={**parts, "name": self.name.format(**words)})


class Test(_Data):
    """superiority: the contrast is beyond ``margin``; noninferiority: not worse than 0 by ``margin``;
    equivalence: within +- ``margin``; share: in more than ``share`` of the seeds it is above ``margin`` (for
    outcomes that cluster, as where some seeds never learn). direction: the side on which the claim lies."""

    __test__ = False  # not a test class of pytest

    kind: Literal["superiority", "noninferiority", "equivalence", "share"]
    margin: float = 0.0
    direction: Literal["greater", "less"] = "greater"
    share: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _margin(self) -> Test:
        if self.kind in ("noninferiority", "equivalence") and self.margin <= 0:
            raise ValueError(f"{self.kind} needs a margin above 0, given {self.margin}")
        return self

    @property
    def bound(self) -> float:
        """The value of the contrast that separates the verdicts (equivalence: the upper one)."""
        sign = 1 if self.direction == "greater" else -1
        return -sign * self.margin if self.kind == "noninferiority" else self.margin


class Part(_Data):
    contrast: Contrast
    test: Test


class Guard(_Data):
    """Met when the 95% interval of the contrast lies within (low, high); None is open.

    each: cells in which it must be met, each standing for ``{cell}`` in the names of the outcomes.
    """

    contrast: Contrast
    within: tuple[float | None, float | None]
    each: tuple[str, ...] = ()

    def cells(self) -> Iterator[tuple[str, Contrast]]:
        """Each cell with its contrast; one without a name where there are no cells."""
        if not self.each:
            yield "", self.contrast
        for cell in self.each:
            yield cell, self.contrast.filled({"cell": cell})


def _decisive(data: Any) -> Any:
    """``data`` without the keys that only say what is meant."""
    if isinstance(data, dict):
        return {k: _decisive(v) for k, v in data.items() if k not in ("why", "reading", "name", "unit")}
    return [_decisive(item) for item in data] if isinstance(data, list) else data


class Rule(_Data):
    """What is judged, on how many seeds (0 to seeds - 1), at which scales.

    why: the reasons for the margins. reading: what a supported verdict means, and what it does not. Prose,
    names and units decide nothing and stay out of the hash.
    """

    all_of: tuple[Part, ...] = Field(min_length=1)
    guards: tuple[Guard, ...] = ()
    seeds: int = Field(default=5, ge=2)
    scales: tuple[str, ...] = ("cpu", "gpu")
    clusters: str | None = None
    why: str = ""
    reading: str = ""

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over everything that decides."""
        data = _decisive(self.model_dump(mode="json", exclude_defaults=True))
        return hashlib.sha256(canonical([SEMANTICS, data])).hexdigest()[:16]

    def contrasts(self) -> Iterator[Contrast]:
        yield from (part.contrast for part in self.all_of)
        yield from (contrast for guard in self.guards for _, contrast in guard.cells())

    def outcomes(self) -> set[str]:
        """Names of the raw outcomes the rule reads."""
        terms = [term for c in self.contrasts() for term in (*c.terms, *c.divided_by)]
        names = {term.outcome for term in terms} | {term.over for term in terms if term.over}
        return names | ({self.clusters} if self.clusters else set())
