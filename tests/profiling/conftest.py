"""What tests of costs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from svitt.profiling.benchmark import threads


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny products lose a hundredfold by sharing threads on a busy machine."""
    with threads(1):
        yield
