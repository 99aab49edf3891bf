"""What simulating takes: the packages, and an OpenGL; without them these tests skip, in CI they fail."""

from __future__ import annotations

import os

import pytest

from svitt.data.worlds.robot import gl
from svitt.data.worlds.robot.world import RobotSpec, World, make_world
from svitt.errors import ConfigError

SPEC = RobotSpec(seed=4, num_train=3, num_validation=0, num_test=1, num_viewpoints=1)


@pytest.fixture(scope="session")
def renderer() -> dict[str, str]:
    """The variables to render with here."""
    try:
        return gl.environment()
    except ConfigError as error:
        if os.environ.get("SVITT_REQUIRE_BROWSER") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def made(renderer: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> World:
    """A few episodes, made once, by one worker."""
    return make_world(SPEC, tmp_path_factory.mktemp("robot") / "w", workers=1, progress=False)
