"""Second edition of the rules: kinds, named confirmatory seeds, revisions, instruments, count tables."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from svitt.ledger.rules import Contrast, Rule
from svitt.records.arrays import canonical

# test: a question of learning or behaviour, judged over seeds. count: arithmetic or a measured cost, no p.
# control: shows that an instrument works.
Kind = Literal["test", "count", "control"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Data):
    """One figure about an instrument and the file it was read from (relative to the project)."""

    value: float | dict[str, float]
    source: str
    note: str = ""


class Instrument(_Data):
    """What was known of the instrument before its confirmatory seeds ran.

    ideal_observer, blind_observer: the primary contrast for a perfect and for a blind reader of the clips.
    floor, ceiling: how far the variants are from chance and from 1, on tuning seeds. null_variant: the
    contrast of a variant with itself under another initialisation. tuning: the record of the tuning.
    """

    ideal_observer: Finding
    blind_observer: Finding
    floor: Finding
    ceiling: Finding
    null_variant: Finding
    tuning: Finding

    def findings(self) -> Mapping[str, Finding]:
        """By name."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Revision(_Data):
    """A later rule of a claim. seeds: its confirmatory seeds, by name. reason: why the rule changed."""

    number: int = Field(ge=2)
    date: date
    reason: str = Field(min_length=20)
    seeds: tuple[int, ...] = Field(min_length=2)
    rule: Rule
    instrument: Instrument

    @model_validator(mode="after")
    def _seeds_are_distinct(self) -> Revision:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} name one twice")
        return self

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over everything that decides: the rule and its seeds."""
        text = canonical([2, self.rule.hash, sorted(self.seeds)])
        return hashlib.sha256(text).hexdigest()[:16]


class Cell(_Data):
    """One cell of a table of counts: where it stands, and the contrast it holds."""

    place: tuple[str, ...]
    contrast: Contrast


class CountTable(_Data):
    """Counts over a grid: a contrast with ``{axis}`` in its outcome names for every combination of the axes.

    holds: the bounds within which the claim holds in a cell, each open where null. what: what is counted, in
    words. pairs: further names that go with the values of the last axis (twice the frames, say).
    """

    what: str
    axes: dict[str, tuple[str, ...]] = Field(min_length=1)
    contrast: Contrast
    holds: tuple[float | None, float | None]
    pairs: dict[str, tuple[str, ...]] = {}

    def cells(self) -> Iterator[Cell]:
        """Every combination of the axes."""
        names = list(self.axes)
        for place in itertools.product(*self.axes.values()):
            words = dict(zip(names, place, strict=True))
            at = self.axes[names[-1]].index(place[-1])
            words |= {name: values[at] for name, values in self.pairs.items()}
            yield Cell(place=place, contrast=self.contrast.filled(words))

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over everything that decides."""
        data = self.model_dump(mode="json", exclude={"what"})
        return hashlib.sha256(canonical(["count", data])).hexdigest()[:16]
