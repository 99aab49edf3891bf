"""Numbers of several seeds as text, the same in every table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.ledger.statistics import paired_t_interval


def percent(values: Sequence[float] | npt.NDArray[Any]) -> str:
    """Mean (and SD) in percent, as text."""
    array = 100 * np.asarray(values, dtype=float)
    return f"{array.mean():.1f}" + (f" ± {array.std(ddof=1):.1f}" if len(array) > 1 else "")


def interval(values: Sequence[float] | npt.NDArray[Any], unit: float = 100.0) -> str:
    """Mean and 95% t-interval, in points, as text."""
    array = unit * np.asarray(values, dtype=float)
    if len(array) < 2:
        return f"{array.mean():+.1f}"
    found = paired_t_interval(array)
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
