"""Collects what an experiment finds: summary numbers and raw arrays, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass
class Found:
    """Summary numbers and raw arrays, by name."""

    values: dict[str, float | int | str] = field(default_factory=dict)
    outcomes: dict[str, Array] = field(default_factory=dict)

    def keep(self, name: str, array: Array, *, digits: int | None = None, summary: bool = True) -> None:
        """Keeps an array, to so many decimals, and the mean of the whole of it; of an array named ``rank`` or
        ``.../rank``, R@1 under ``R@1`` in its place."""
        self.outcomes[name] = array if digits is None else array.round(digits)
        if not summary:
            return
        head, _, last = name.rpartition("/")
        if last == "rank":
            self.values[f"{head}/R@1" if head else "R@1"] = float((array <= 1).mean())
        else:
            self.values[name] = float(array.mean())

    def keep_all(self, name: str, arrays: Mapping[str, Array]) -> None:
        """``keep`` for each, under ``<name>/<its name>``."""
        for kind, array in arrays.items():
            self.keep(f"{name}/{kind}", array)

    def keep_draws(self, name: str, draws: Sequence[Mapping[str, Array]]) -> None:
        """``keep_all`` of the same arrays found in several draws, (draws, ...) each."""
        self.keep_all(name, {kind: np.stack([draw[kind] for draw in draws]) for kind in draws[0]})
