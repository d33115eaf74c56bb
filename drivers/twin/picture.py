"""Draw what a simulated camera sees, without a screen."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceLost
from drivers.twin.missing import explain


class Painter:
    """Draws scenes into pictures of one size. It starts at the first picture.

    A drawing context belongs to one thread, and whoever reads a camera may be any thread (the loop's, the
    screen's), so a painter has a thread of its own and everyone waits for it. The drawing is done by Mesa through
    EGL; ``MUJOCO_GL=osmesa`` draws through OSMesa instead, with the same result.
    """

    def __init__(self, model: Any, image: tuple[int, int], shadows: bool = False) -> None:
        self._model = model
        self._image = image
        self._shadows = shadows
        self._thread = ThreadPoolExecutor(1, "painter")
        self._brush: _Brush | None = None

    def draw(self, camera: str, scenes: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the pictures (n, height, width, 3) that ``camera`` sees of scenes (n, nq), joint by joint.

        Raises:
            DeviceLost: this machine lacks the libraries to draw with. The message names the Debian packages.
        """
        return self._thread.submit(self._draw, camera, scenes).result()

    def look(self, camera: str, scene: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return the picture (height, width, 3) of one scene, and how far each pixel is along the view, in metres.

        Raises:
            DeviceLost: this machine lacks the libraries to draw with.
        """
        return self._thread.submit(self._look, camera, scene).result()

    def close(self) -> None:
        """Stop drawing for good and free the memory."""
        self._thread.submit(self._put_away).result()
        self._thread.shutdown()

    def _look(self, camera: str, scene: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        far = np.empty(self._image, np.float32)
        picture = np.empty((*self._image, 3), np.uint8)
        self._held().draw(camera, scene, picture, far)
        return picture, far

    def _held(self) -> "_Brush":
        if self._brush is None:
            self._brush = _Brush(self._model, self._image, self._shadows)
        return self._brush

    def _draw(self, camera: str, scenes: NDArray[np.float64]) -> NDArray[np.uint8]:
        brush = self._held()
        pictures = np.empty((len(scenes), *self._image, 3), np.uint8)
        for scene, picture in zip(scenes, pictures, strict=True):
            brush.draw(camera, scene, picture)
        return pictures

    def _put_away(self) -> None:
        if self._brush is not None:
            self._brush.close()
            self._brush = None


class _Brush:
    """One drawing context, for the thread that makes it."""

    def __init__(self, model: Any, image: tuple[int, int], shadows: bool) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._context = _context(image)
        self._context.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [1, 1, 1, 0, 0, 0]
        self._rect = mujoco.MjrRect(0, 0, image[1], image[0])
        self._target = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._target)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def draw(
        self,
        camera: str,
        scene: NDArray[np.float64],
        picture: NDArray[np.uint8],
        far: NDArray[np.float32] | None = None,
    ) -> None:
        self._data.qpos[:] = scene
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._camera.fixedcamid = self._model.camera(camera).id
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._target)
        mujoco.mjr_readPixels(picture, far, self._rect, self._target)
        picture[:] = picture[::-1].copy()
        if far is not None:
            # What is read is 0 at the near plane, 1 at the far one, and even in one over the distance.
            extent, planes = self._model.stat.extent, self._model.vis.map
            near, last = planes.znear * extent, planes.zfar * extent
            far[:] = near * last / (last - far[::-1] * (last - near))

    def close(self) -> None:
        self._target.free()
        self._context.free()


def _context(image: tuple[int, int]) -> Any:
    """Open a drawing context that needs no screen.

    Raises:
        DeviceLost: a library is missing. The message names the Debian packages that bring it.
    """
    # Mesa's software renderer reads this when its context opens. By default it takes every core for pictures so
    # small that handing out the work costs more than doing it, and the control loop would wait for its turn.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    height, width = image
    try:
        if os.environ.get("MUJOCO_GL", "egl").lower() == "osmesa":
            from mujoco.osmesa import GLContext  # type: ignore[import-untyped]  # MuJoCo ships no type information
        else:
            from mujoco.egl import GLContext  # type: ignore[import-untyped]  # MuJoCo ships no type information
        context = GLContext.__new__(GLContext)
        vars(context)["_context"] = None  # else one that does not open complains when it is forgotten, too
        context.__init__(width, height)
        return context
    except (AttributeError, ImportError, RuntimeError, mujoco.FatalError) as error:
        raise DeviceLost(explain(str(error))) from error
