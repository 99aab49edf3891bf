"""The sample world of the repository, which needs no game to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from svitt.data.worlds.ego.world import World, load_world

SAMPLE = Path(__file__).resolve().parents[4] / "data" / "samples" / "ego"


@pytest.fixture(scope="session")
def sample() -> World:
    return load_world(SAMPLE)
