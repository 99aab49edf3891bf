"""Which OpenGL draws without a screen here: EGL (a driver with a GPU, or Mesa's) or OSMesa (software)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from svitt.errors import ConfigError

PACKAGES = ("metaworld", "mujoco", "packaging")
BACKENDS = ("egl", "osmesa")
_TRIAL = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(mujoco.MjData(model))
assert renderer.render().shape == (16, 16, 3)
"""
_SECONDS = 60


def environment() -> dict[str, str]:
    """The variables with which this machine renders; a backend that $MUJOCO_GL names is the only one tried.

    Errors: ConfigError, one line with what to install, where a package or every backend is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"a robot world is simulated with {', '.join(missing)}, not installed here: "
            "pip install 'svitt[worlds]'"
        )
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    tried = (asked,) if asked else BACKENDS
    for backend in tried:
        variables = variables_of(backend)
        if works(variables):
            return variables
    raise ConfigError(
        f"no OpenGL to render a robot world with (tried: {', '.join(tried)}); "
        "on Debian: apt install libosmesa6" + (", and unset MUJOCO_GL" if asked else "")
    )


def variables_of(backend: str) -> dict[str, str]:
    """What a process needs in its environment before it imports mujoco."""
    # One thread a process: workers share the machine, and 64 pixels do not pay for threads.
    return {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend, "LP_NUM_THREADS": "0"}


def works(variables: dict[str, str]) -> bool:
    """Whether one picture can be drawn so, tried in a process of its own: a wrong driver may end it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            env={**os.environ, **variables},
            capture_output=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
