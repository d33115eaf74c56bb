"""The bytes of the Franka Control Interface (version 10) and of the hand's own (version 3).

All numbers are little-endian and packed. Matrices are column by column. Poses are in metres and radians, forces in
newtons, torques in newton metres.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

ROBOT_PORT, HAND_PORT = 1337, 1338
ROBOT_VERSION, HAND_VERSION = 10, 3

STATE = np.dtype(
    [
        ("message_id", "<u8"),
        *((name, "<f4", (16,)) for name in ("O_T_EE", "O_T_EE_d", "F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE")),
        *(("m_ee", "<f4"), ("I_ee", "<f4", (9,)), ("F_x_Cee", "<f4", (3,))),
        *(("m_load", "<f4"), ("I_load", "<f4", (9,)), ("F_x_Cload", "<f4", (3,))),
        *((name, "<f4", (2,)) for name in ("elbow", "elbow_d")),
        *((name, "<f4", (7,)) for name in ("tau_J", "tau_J_d", "dtau_J", "q", "q_d", "dq", "dq_d", "ddq_d")),
        *(("joint_contact", "<f4", (7,)), ("cartesian_contact", "<f4", (6,))),
        *(("joint_collision", "<f4", (7,)), ("cartesian_collision", "<f4", (6,))),
        ("tau_ext_hat_filtered", "<f4", (7,)),
        *((name, "<f4", (6,)) for name in ("O_F_ext_hat_K", "K_F_ext_hat_K", "O_dP_EE_d")),
        ("O_ddP_O", "<f4", (3,)),
        *((name, "<f4", (2,)) for name in ("elbow_c", "delbow_c", "ddelbow_c")),
        *(("O_T_EE_c", "<f4", (16,)), ("O_dP_EE_c", "<f4", (6,)), ("O_ddP_EE_c", "<f4", (6,))),
        *(("theta", "<f4", (7,)), ("dtheta", "<f4", (7,))),
        *(("accelerometer_top", "<f4", (18,)), ("accelerometer_bottom", "<f4", (18,))),
        *(("motion_generator_mode", "u1"), ("controller_mode", "u1")),
        *(("errors", "u1", (41,)), ("reflex_reason", "u1", (41,))),
        *(("robot_mode", "u1"), ("success_rate", "<f4")),
    ]
)
"""What the robot says every millisecond, 1377 bytes. ``message_id`` is its clock, in milliseconds."""

COMMAND = np.dtype(
    [
        ("message_id", "<u8"),
        *(("q_c", "<f8", (7,)), ("dq_c", "<f8", (7,)), ("O_T_EE_c", "<f8", (16,)), ("O_dP_EE_c", "<f8", (6,))),
        *(("elbow_c", "<f8", (2,)), ("valid_elbow", "?"), ("motion_finished", "?")),
        *(("tau_J_d", "<f8", (7,)), ("torque_finished", "?")),
    ]
)
"""What the client answers to every state while it moves the arm, 371 bytes; it repeats the state's ``message_id``."""

HAND_STATE = struct.Struct("<Idd?H")
"""message id, width, largest width (m), something is grasped, temperature (°C)."""

MOVE = struct.Struct("<II48x?7d")
"""controller, motion generator, (path and goal deviations,) asynchronous, largest joint speeds."""


class Request(IntEnum):
    """What a client asks over TCP."""

    CONNECT = 0
    MOVE = 1
    STOP_MOVE = 2
    SET_COLLISION_BEHAVIOR = 3
    SET_JOINT_IMPEDANCE = 4
    SET_CARTESIAN_IMPEDANCE = 5
    SET_GUIDING_MODE = 6
    SET_EE_TO_K = 7
    SET_NE_TO_EE = 8
    SET_LOAD = 9
    AUTOMATIC_ERROR_RECOVERY = 10
    GET_ROBOT_MODEL = 11


class HandRequest(IntEnum):
    """What a client asks of the hand."""

    CONNECT = 0
    HOMING = 1
    GRASP = 2
    MOVE = 3
    STOP = 4


class Mode(IntEnum):
    """What the robot is doing."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5
    RECOVERING = 6


class Controller(IntEnum):
    """Who computes torques; ``OTHER`` while nobody moves the arm."""

    JOINT_IMPEDANCE = 0
    CARTESIAN_IMPEDANCE = 1
    EXTERNAL = 2
    OTHER = 3


class Generator(IntEnum):
    """What a client's commands mean. A state says 0 for none, else this plus one."""

    JOINT_POSITION = 0
    JOINT_VELOCITY = 1
    CARTESIAN_POSITION = 2
    CARTESIAN_VELOCITY = 3
    NONE = 4


class MoveStatus(IntEnum):
    """How a move stands. A move that starts is answered twice: when it starts and when it ends."""

    SUCCESS = 0
    STARTED = 1
    PREEMPTED = 2
    NOT_POSSIBLE = 5
    INVALID = 7
    REFLEX = 8
    USER_STOP = 9
    INPUT_ERROR = 10
    ABORTED = 11


OK, NOT_POSSIBLE, INVALID = 0, 1, 2
"""Statuses of requests that set something."""

RECOVERY_MANUAL, RECOVERY_USER_STOP = 3, 5
"""Why a recovery is refused: a person must first move the arm, or release the user stop."""

HAND_OK, HAND_FAILED, HAND_UNSUCCESSFUL, HAND_ABORTED = 0, 1, 2, 3

ERRORS = (
    *("joint_position_limits_violation", "cartesian_position_limits_violation", "self_collision_avoidance_violation"),
    *("joint_velocity_violation", "cartesian_velocity_violation", "force_control_safety_violation"),
    *("joint_reflex", "cartesian_reflex", "max_goal_pose_deviation_violation", "max_path_pose_deviation_violation"),
    *("cartesian_velocity_profile_safety_violation", "joint_position_motion_generator_start_pose_invalid"),
    *("joint_motion_generator_position_limits_violation", "joint_motion_generator_velocity_limits_violation"),
    *("joint_motion_generator_velocity_discontinuity", "joint_motion_generator_acceleration_discontinuity"),
    "cartesian_position_motion_generator_start_pose_invalid",
    "cartesian_motion_generator_elbow_limit_violation",
    "cartesian_motion_generator_velocity_limits_violation",
    "cartesian_motion_generator_velocity_discontinuity",
    "cartesian_motion_generator_acceleration_discontinuity",
    "cartesian_motion_generator_elbow_sign_inconsistent",
    "cartesian_motion_generator_start_elbow_invalid",
    "force_controller_desired_force_tolerance_violation",
    *("start_elbow_sign_inconsistent", "communication_constraints_violation", "power_limit_violation"),
    "cartesian_motion_generator_joint_position_limits_violation",
    "cartesian_motion_generator_joint_velocity_limits_violation",
    "cartesian_motion_generator_joint_velocity_discontinuity",
    "cartesian_motion_generator_joint_acceleration_discontinuity",
    *("cartesian_position_motion_generator_invalid_frame", "controller_torque_discontinuity"),
    *("joint_p2p_insufficient_torque_for_planning", "tau_j_range_violation", "instability_detected"),
    *("joint_move_in_wrong_direction", "cartesian_spline_motion_generator_violation"),
    "joint_via_motion_generator_planning_joint_limit_violation",
    *("base_acceleration_initialization_timeout", "base_acceleration_invalid_reading"),
)
"""Names of the robot's errors, in the order of the flags in its state (read back from libfranka 0.21.2)."""


@dataclass(eq=False)
class Connection:
    """One client on TCP: whole requests in, replies out. Nothing here waits for the client."""

    socket: socket.socket
    header: struct.Struct
    states: tuple[str, int] | None = None
    """Where this client wants the states sent, once it has connected properly."""

    _buffer: bytearray = field(default_factory=bytearray)

    def requests(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield what has arrived: request, its number, its content.

        Raises:
            ConnectionError: the client is gone.
        """
        try:
            while True:
                received = self.socket.recv(65536)
                if not received:
                    raise ConnectionError("the client closed the connection")
                self._buffer += received
        except BlockingIOError:
            pass
        while len(self._buffer) >= self.header.size:
            request, number, size = self.header.unpack_from(self._buffer)
            if len(self._buffer) < size:
                break
            content = bytes(self._buffer[self.header.size : size])
            del self._buffer[: max(size, self.header.size)]
            yield request, number, content

    def reply(self, request: int, number: int, content: bytes) -> None:
        """Answer a request.

        Raises:
            ConnectionError: the client is gone, or does not read its answers.
        """
        try:
            self.socket.sendall(self.header.pack(request, number, self.header.size + len(content)) + content)
        except BlockingIOError as error:
            raise ConnectionError("the client does not read its answers") from error

    def close(self) -> None:
        self.socket.close()


ROBOT_HEADER, HAND_HEADER = struct.Struct("<III"), struct.Struct("<HII")
"""request, its number, bytes in all (this header included)."""

VERSIONS = struct.Struct("<HH")
"""A connecting client's version and the UDP port that it wants states on."""


class Door:
    """Where clients come in: one at a time. Another one is turned away at once, so that it does not wait for ever."""

    def __init__(self, host: str, port: int, header: struct.Struct) -> None:
        self._header = header
        self._listener = socket.create_server((host, port), backlog=4)
        self._listener.setblocking(False)
        self.states = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.states.bind((host, 0))
        self.states.setblocking(False)
        self.guest: Connection | None = None

    def admit(self) -> bool:
        """Let the next client in, if there is one; say whether somebody new is here."""
        try:
            arrived, _ = self._listener.accept()
        except BlockingIOError:
            return False
        if self.guest is not None:
            arrived.close()
            return False
        arrived.setblocking(False)
        arrived.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.guest = Connection(arrived, self._header)
        return True

    def dismiss(self) -> None:
        """Close the connection of the client that is here."""
        if self.guest is not None:
            self.guest.close()
            self.guest = None

    def send(self, state: bytes) -> None:
        """Send a state to the client that is here; one that does not fit is lost, as on any UDP line."""
        if self.guest is not None and self.guest.states is not None:
            try:
                self.states.sendto(state, self.guest.states)
            except OSError:  # its port is closed: what a client no longer reads is lost on the line
                return

    def close(self) -> None:
        self.dismiss()
        self._listener.close()
        self.states.close()


def welcome(guest: Connection, number: int, content: bytes, version: int, status: str) -> bool:
    """Answer a client's connect request; say whether it speaks our version. ``status`` is how its answer is packed."""
    theirs, port = VERSIONS.unpack(content)
    fits = bool(theirs == version)
    guest.reply(0, number, struct.pack(f"<{status}H", 0 if fits else 1, version))
    if fits:
        guest.states = (guest.socket.getpeername()[0], port)
    return fits


def flags(*names: str) -> Any:
    """Error flags, as a state holds them."""
    return np.isin(ERRORS, names).astype("u1")
