"""What an emulated robot's surroundings let one see, for any program of this machine: the truth, and the whole scene.

A real cell has no truth, and its cameras have wires of their own.
"""

import time

import numpy as np

from drivers.device import sensed
from drivers.shared import Publisher, room
from drivers.twin.body import Body
from drivers.twin.world import TRUTH

TRUTHS, SCENES = 20, 10
"""Milliseconds between two rows of truth, and two scenes that a camera may draw."""


def address(host: str, stream: str) -> str:
    """Where the robot at ``host`` publishes its ``truth`` or its ``scene``, for ``drivers.shared``."""
    return f"emulated-franka/{host}/{stream}"


class Shown:
    """Publishes the surroundings of the robot at ``host``; its owner calls ``show`` every millisecond.

    Rows are stamped on the host's clock. That the arm has collided is told in the millisecond in which it does, for the
    robot brakes within a few, and who drove it stops to look.
    """

    def __init__(self, host: str, body: Body) -> None:
        self._body = body
        scene = sensed(("qpos", "<f8", (body.model.nq,)))
        self._truth = Publisher("truth", TRUTH, room(TRUTH, 1000 / TRUTHS))
        self._scene = Publisher("scene", scene, room(scene, 1000 / SCENES))
        self._touching: set[int] = set()
        self._told, self._collided = 0, False
        self._truth.serve(address(host, "truth"))
        self._scene.serve(address(host, "scene"))

    def show(self, clock: int) -> None:
        """Publish what is due at the robot's millisecond ``clock``."""
        now, body = time.monotonic_ns(), self._body
        self._touching |= body.touching()
        collided = body.collided(self._touching)
        if clock % TRUTHS == 0 or (collided and not self._collided):
            seen = body.truth(self._touching)
            self._truth.push(np.array([(now, now, self._told, *seen)], TRUTH))
            self._told, self._collided = self._told + 1, collided
            self._touching.clear()
        if clock % SCENES == 0:
            self._scene.push(np.array([(now, now, clock // SCENES, body.data.qpos)], self._scene.dtype))

    def close(self) -> None:
        self._truth.close()
        self._scene.close()
