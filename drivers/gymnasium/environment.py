"""What every environment of LeRobot's does, and pictures that are drawn when somebody looks at them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.twin.picture import Painter

type Said = Mapping[str, Any]
"""What an environment says after a step: ``pixels`` by camera, and ``agent_pos`` or ``robot_state``."""


class Environment(Protocol):
    """``gymnasium.Env``, as far as LeRobot asks for it."""

    def reset(self, *, seed: int | None = None) -> tuple[Said, dict[str, Any]]: ...
    def step(self, action: NDArray[np.float64], /) -> tuple[Said, float, bool, bool, dict[str, Any]]: ...
    def close(self) -> None: ...


class Pictures(Mapping[str, NDArray[np.uint8]]):
    """What cameras see of one moment, each drawn when it is asked for: half a second of steps may need one picture."""

    def __init__(self, painter: Painter, cameras: Sequence[str], scene: NDArray[np.float64]) -> None:
        """Remember how everything stood: ``scene``, joint by joint."""
        self._painter, self._cameras, self._scene = painter, cameras, scene.copy()

    def __getitem__(self, camera: str) -> NDArray[np.uint8]:
        if camera not in self._cameras:
            raise KeyError(camera)
        return np.asarray(self._painter.draw(camera, self._scene[None])[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)


def lighten(model: Any, image: tuple[int, int]) -> None:
    """Have a MuJoCo model drawn cheaply, before anybody draws it: no shadows, smooth edges or mirrors."""
    visual = model.vis
    visual.global_.offheight, visual.global_.offwidth = image
    visual.quality.shadowsize = visual.quality.offsamples = 0
    model.light_castshadow[:] = False
    model.mat_reflectance[:] = 0
