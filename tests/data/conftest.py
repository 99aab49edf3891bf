"""One small world, made once, and a copy of it to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from svitt.data.worlds.shapes.world import World, WorldSpec, make_world

SPEC = WorldSpec(seed=5, num_train=6, num_validation=2, num_test=3, num_heldout=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(SPEC, tmp_path_factory.mktemp("world") / "w", workers=1, progress=False)


@pytest.fixture
def folder(made: World, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(made.folder, tmp_path / "copy"))
