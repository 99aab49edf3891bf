"""Pictures of an episode: frames and, from the same camera, which pixel is arm, handled object or rest.

One OpenGL context a process serves the models of all tasks: with a context each, MuJoCo on OSMesa draws wrong
colours from the second on, and the segmentation is read from colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.data.worlds.files import Frames
from svitt.data.worlds.robot.meshes import coarsen
from svitt.data.worlds.robot.scene import Camera
from svitt.data.worlds.robot.simulate import State, environment, labels

Mask = npt.NDArray[np.uint8]
REST, ARM, OBJECT = 0, 1, 2
_LARGEST = 480  # pixels a side that the context has room for
_GEOMS = 200  # a scene has some 35
_CELL = 0.256  # metres per pixel of a frame's side: 4 mm at 64 pixels, a fifth of a pixel where the arm is


@dataclass(frozen=True)
class Stage:
    """A task's model, ready to be drawn at one size."""

    env: Any
    size: int
    context: Any
    scene: Any
    option: Any
    labels: Mask

    def pose(self, state: State) -> None:
        """Puts the model into a state."""
        import mujoco

        data = self.env.data
        data.qpos[:], data.qvel[:] = state.qpos, state.qvel
        data.mocap_pos[:], data.mocap_quat[:] = state.mocap_pos, state.mocap_quat
        mujoco.mj_forward(self.env.model, data)

    def look(self, camera: Camera) -> None:
        """Fills the scene with what a camera sees of the model's state."""
        import mujoco

        eye = mujoco.MjvCamera()
        if camera.name:
            eye.type = mujoco.mjtCamera.mjCAMERA_FIXED
            eye.fixedcamid = self.env.model.camera(camera.name).id
        else:
            eye.azimuth, eye.elevation, eye.distance = camera.azimuth, camera.elevation, camera.distance
            eye.lookat[:] = camera.look_at
        every = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.env.model, self.env.data, self.option, None, eye, every, self.scene)

    def frame(self) -> Frames:
        """The picture of the scene, (H, W, 3)."""
        return self._draw(as_segments=False)

    def mask(self) -> Mask:
        """The scene's pixels by what they belong to, (H, W): REST, ARM or OBJECT."""
        import mujoco

        colours = self._draw(as_segments=True).astype(np.int64) @ (1, 256, 65536)
        kinds = np.zeros(self.scene.ngeom + 1, np.uint8)  # colour 0 is the background
        for geom in self.scene.geoms[: self.scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                kinds[geom.segid + 1] = self.labels[geom.objid]
        found: Mask = kinds[colours]
        return found

    def _draw(self, as_segments: bool) -> Frames:
        import mujoco

        self.scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = as_segments
        self.scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = as_segments
        whole = mujoco.MjrRect(0, 0, self.size, self.size)
        picture = np.empty((self.size, self.size, 3), np.uint8)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self.context)
        mujoco.mjr_render(whole, self.scene, self.context)
        mujoco.mjr_readPixels(picture, None, whole, self.context)
        return picture[::-1]  # OpenGL counts rows from below


@lru_cache(maxsize=4)  # some 70 MB each, .15 s to make
def stage(task: str, size: int, coarse: bool = True) -> Stage:
    """The stage of a task, kept for the next episode of it. coarse: the robot's meshes are as fine as the
    frame shows; otherwise as they are, which takes twice as long."""
    import mujoco

    _context()
    env = environment(task)
    model = env.model
    # Without antialiasing (which would mix the colours of segments), shadows and mirrors: 4 ms instead of 76.
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0
    kinds = labels(model)
    if coarse:
        meshes = set(model.geom_dataid[(kinds == ARM) & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)])
        coarsen(model, sorted(meshes), _CELL / size)
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    scene = mujoco.MjvScene(model, maxgeom=_GEOMS)
    scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
    scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
    option = mujoco.MjvOption()
    option.sitegroup[:] = 0  # goals and other marks that no camera would see
    return Stage(env, size, context, scene, option, kinds)


@cache
def _context() -> Any:
    from mujoco.gl_context import GLContext

    context = GLContext(_LARGEST, _LARGEST)
    context.make_current()
    return context


def drawn_by() -> str:
    """What draws here, in a word: "llvmpipe" for Mesa's software, whether through EGL or OSMesa (the same
    pixels), or a maker of GPUs."""
    from OpenGL import GL

    _context()
    return str(GL.glGetString(GL.GL_RENDERER).decode().split()[0])
