"""Where a ViperX's tool is for given joints, and which joints bring it there."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OFFSETS = np.array(
    [
        [0.0, 0.0, 0.079],
        [0.0, 0.0, 0.04805],
        [0.05955, 0.0, 0.3],
        [0.2, 0.0, 0.0],
        [0.1, 0.0, 0.0],
        [0.069744, 0.0, 0.0],
    ]
)
"""From each joint to the next, with all angles zero, in metres; the first is measured from the arm's foot."""

AXES = (2, 1, 1, 0, 1, 0)
"""The axis each joint turns about: 0, 1, 2 for x, y, z."""

TIP = 0.1347
"""From the last joint's frame to the point between the finger tips, along x, in metres."""


@dataclass(frozen=True)
class Chain:
    """A ViperX 300 S; its tool is the point between the finger tips, and points along x.

    It keeps no memory, so any thread may use it. It knows nothing of what stands around the arm, nor of the arm
    itself: elbow and foot may collide.
    """

    low: tuple[float, ...]
    """Lowest joint angles, in radians."""
    high: tuple[float, ...]
    """Highest joint angles, in radians."""
    steps: int = 40
    """Most improvements tried per call."""
    damping: float = 1e-3
    """Keeps joint steps small where the arm is nearly singular, at the price of slower convergence. A step that leads
    away is taken back and tried smaller."""
    step: float = 0.3
    """Furthest any joint moves in one improvement, in radians."""
    near: float = 5e-5
    """The answer is good when the tool is this close, in metres and in radians."""

    def tool(self, q: Floats) -> Floats:
        """Return the tool's pose for joint angles ``q`` (6,), in radians: x y z (m), then qw qx qy qz."""
        at, turn, _, _ = _placed(q)
        return np.concatenate([at, _quaternion(turn)])

    def joints(self, near: Floats, tool: Floats) -> Floats:
        """Return joint angles (6,) that bring the tool to the pose ``tool`` (7,), searching from ``near`` (6,).

        Joint limits are kept. A pose out of reach gives the closest the search came.
        """
        q = best = np.clip(np.asarray(near, np.float64), self.low, self.high)
        want, closest, caution = _rotation(np.asarray(tool[3:], np.float64)), np.inf, 1.0
        jacobian = np.empty((6, 6))
        error: Floats = np.empty(6)
        for _ in range(self.steps):
            at, turn, anchors, axes = _placed(q)
            missed = np.concatenate([tool[:3] - at, _twist(want @ turn.T)])
            off = float(np.linalg.norm(missed))
            if off < closest:
                best, closest, error, caution = q, off, missed, max(1.0, caution / 10)
                arm = at - anchors
                jacobian[0] = axes[:, 1] * arm[:, 2] - axes[:, 2] * arm[:, 1]
                jacobian[1] = axes[:, 2] * arm[:, 0] - axes[:, 0] * arm[:, 2]
                jacobian[2] = axes[:, 0] * arm[:, 1] - axes[:, 1] * arm[:, 0]
                jacobian[3:] = axes.T
            else:
                caution *= 10
            if off < self.near:
                break
            damping = self.damping * min(1.0, closest * closest * 1e2 + 1e-3) * caution
            move = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + damping * np.eye(6), error)
            largest = float(np.abs(move).max())
            q = np.clip(best + move * min(1.0, self.step / max(largest, 1e-12)), self.low, self.high)
        return best

    @property
    def description(self) -> str:
        """As MJCF text: ``joint 0`` to ``joint 5`` and a site ``tool``, for other solvers; masses are made up."""
        body, ends = "", ""
        for i, (offset, axis) in enumerate(zip(OFFSETS, np.eye(3)[list(AXES)], strict=True)):
            body += f'<body pos="{_words(offset)}"><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>'
            body += f'<joint name="joint {i}" axis="{_words(axis)}" limited="true" '
            body += f'range="{self.low[i]} {self.high[i]}"/>'
            ends += "</body>"
        site = f'<site name="tool" pos="{TIP} 0 0"/>'
        return f'<mujoco><compiler angle="radian"/><worldbody>{body}{site}{ends}</worldbody></mujoco>'


def _words(numbers: Floats) -> str:
    return " ".join(map(str, numbers.tolist()))


def _placed(q: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The tool's point (3,) and rotation (3, 3), and the joints' anchors and axes (6, 3), all from the foot."""
    at, turn = np.zeros(3), np.eye(3)
    anchors, axes = np.empty((6, 3)), np.empty((6, 3))
    for i, axis in enumerate(AXES):
        at = at + turn @ OFFSETS[i]
        anchors[i], axes[i] = at, turn[:, axis]
        one, other = (axis + 1) % 3, (axis + 2) % 3
        cos, sin = math.cos(q[i]), math.sin(q[i])
        before = turn[:, one].copy()
        turn[:, one] = cos * before + sin * turn[:, other]
        turn[:, other] = cos * turn[:, other] - sin * before
    return at + turn[:, 0] * TIP, turn, anchors, axes


def _twist(turn: Floats) -> Floats:
    """A rotation as an axis times an angle (3,)."""
    w, *rest = _quaternion(turn)
    vector = np.array(rest)
    length = float(np.linalg.norm(vector))
    return vector * (2.0 if length < 1e-12 else 2 * np.arctan2(length, w) / length)


def _quaternion(turn: Floats) -> Floats:
    """A rotation as qw qx qy qz, qw not negative."""
    squares = np.array(
        [
            turn[0, 0] + turn[1, 1] + turn[2, 2],
            turn[0, 0] - turn[1, 1] - turn[2, 2],
            turn[1, 1] - turn[0, 0] - turn[2, 2],
            turn[2, 2] - turn[0, 0] - turn[1, 1],
        ]
    )
    i = int(squares.argmax())
    q = np.empty(4)
    q[i] = np.sqrt(1 + squares[i]) / 2
    if i == 0:
        q[1:] = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
    else:
        a, b, c = i - 1, i % 3, (i + 1) % 3
        q[0] = turn[c, b] - turn[b, c]
        q[1 + b], q[1 + c] = turn[b, a] + turn[a, b], turn[c, a] + turn[a, c]
    others = [k for k in range(4) if k != i]
    q[others] /= 4 * q[i]
    return q if q[0] >= 0 else -q


def _rotation(quaternion: Floats) -> Floats:
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
