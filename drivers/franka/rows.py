"""What a Franka says of itself: the layout of its rows, and how a state becomes one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.device import Rows, row_type, sensed

ARM = sensed(
    ("q", "<f8", (7,)),
    ("dq", "<f8", (7,)),
    ("tau", "<f8", (7,)),
    ("tool", "<f8", (7,)),
    ("width", "<f8"),
    ("q_target", "<f8", (7,)),
    ("tool_target", "<f8", (7,)),
    ("width_target", "<f8"),
    ("success_rate", "<f8"),
    ("mode", "u1"),
    ("tau_ext", "<f8", (7,)),
    ("force", "<f8", (6,)),
)
"""As the twin's arm, and what only hardware knows: the share of commands that arrived in time, the robot's mode
(1 idle, 2 moving, 3 guided, 4 reflex, 5 user stop), the torques and the wrench in the base frame that the arm exerts on
its surroundings. ``seq`` is the robot's own time in milliseconds, so ``t - seq * 10**6`` is the offset of its clock."""

ACTION = row_type(("q", "<f8", (7,)), ("width", "<f8"))


def pose(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a pose (4, 4) as x y z qw qx qy qz, in the half of the sphere around a tool that points down."""
    turn = matrix[:3, :3]
    # Each row is the quaternion times one of its own numbers; the longest is the one that is safe to normalise.
    xx, yy, zz = np.diag(turn)
    (_, xy, xz), (yx, _, yz), (zx, zy, _) = turn
    rows = np.array(
        [
            [1 + xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz],
        ]
    )
    best = rows[np.argmax(np.diag(rows))]
    best /= np.linalg.norm(best)
    return np.concatenate([matrix[:3, 3], best if best[1] >= 0 else -best])


def row(t: int, received: int, state: Any, rest: tuple[Any, ...]) -> Rows:
    """Return a state as a row; ``rest`` is width, q_target, tool_target and width_target, which it does not know."""
    width, q_target, tool_target, width_target = rest
    rows = np.empty(1, ARM)
    rows[0] = (
        *(t, received, state.time.to_msec()),
        *(state.q, state.dq, state.tau_J, pose(state.O_T_EE.matrix), width),
        *(q_target, tool_target, width_target),
        *(state.control_command_success_rate, int(state.robot_mode)),
        *(state.tau_ext_hat_filtered, np.ravel(state.O_F_ext_hat_K)),
    )
    return rows
