"""Claims about counts: where in a table they hold. No p-value: arithmetic and costs are not a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from svitt.ledger.evaluate_rule import Outcomes, evaluate
from svitt.ledger.revisions import CountTable

State = Literal["holds", "fails", "mixed", "not run"]


@dataclass(frozen=True)
class Counted:
    """One cell: its place on the axes, its value in every record, and whether the claim holds there.

    mixed: in some records only.
    """

    place: tuple[str, ...]
    values: tuple[float, ...]
    state: State

    @property
    def mean(self) -> float:
        """Over the records."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class CountedTable:
    table: CountTable
    cells: tuple[Counted, ...]


def counted(table: CountTable, outcomes: Sequence[Outcomes]) -> CountedTable:
    """The table of one claim on the raw outcomes of its records; a cell whose outcomes no record has was not
    run (attention matrices that would not fit in memory, say)."""
    cells = []
    for cell in table.cells():
        contrast = cell.contrast
        terms = [*contrast.terms, *contrast.divided_by]
        needed = {t.outcome for t in terms} | {t.over for t in terms if t.over}
        if not all(needed <= set(found) for found in outcomes) or not outcomes:
            cells.append(Counted(cell.place, (), "not run"))
            continue
        values = tuple(evaluate(contrast, found) for found in outcomes)
        cells.append(Counted(cell.place, values, _state(values, table.holds)))
    return CountedTable(table, tuple(cells))


def _state(values: Sequence[float], holds: tuple[float | None, float | None]) -> State:
    low, high = holds
    inside = [(low is None or v >= low) and (high is None or v <= high) for v in values]
    return "holds" if all(inside) else "mixed" if any(inside) else "fails"


def sentence(tables: Sequence[CountedTable]) -> str:
    """Where the claim holds and where not, one clause per row of a table."""
    said = []
    for made in tables:
        axis, places = list(made.table.axes.items())[-1]
        rows: dict[tuple[str, ...], list[Counted]] = {}
        for cell in made.cells:
            rows.setdefault(cell.place[:-1], []).append(cell)
        for row, cells in rows.items():
            about = ", ".join(word.replace("_", " ") for word in row)
            parts = [
                f"{words} {_where(found, places, axis)} ({_range(found)})"
                for words, state in (("holds", "holds"), ("not", "fails"), ("in some runs only", "mixed"))
                if (found := [cell for cell in cells if cell.state == state])
            ]
            if parts:
                said.append(made.table.what + (f" ({about})" if about else "") + ": " + ", ".join(parts))
    return "; ".join(said)


def _where(cells: Sequence[Counted], places: Sequence[str], axis: str) -> str:
    """ "from 8 to 96 frames", "at 4 and 8 frames", "for seconds"."""
    named = [cell.place[-1] for cell in cells]
    if not named[0].isdigit():
        return "for " + " and ".join(named)
    first, last = places.index(named[0]), places.index(named[-1])
    if len(named) > 2 and last - first == len(named) - 1:
        return f"from {named[0]} to {named[-1]} {axis}"
    return f"at {' and '.join(named)} {axis}"


def _range(cells: Sequence[Counted]) -> str:
    values = [cell.mean for cell in cells]
    low, high = (f"{value:.2f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
