"""The emulated arm's controller: what it is asked, what it allows, and what it says, a millisecond at a time."""

from dataclasses import dataclass

import numpy as np

from drivers.device import Row
from drivers.emulators.fci import wire
from drivers.emulators.fci.model import (
    ACCELERATION_LIMIT,
    FLANGE_T_HAND,
    JERK_LIMIT,
    POSITION_HIGH,
    POSITION_LOW,
    SPEED_LIMIT,
    TOOL_ACCELERATION_LIMIT,
    TOOL_SPEED_LIMIT,
    TORQUE_LIMIT,
    TORQUE_STEP,
    Floats,
    Shape,
    between,
    steps,
)
from drivers.emulators.fci.plant import MILLISECOND, Plant
from drivers.emulators.fci.wire import Controller, Generator, Mode, MoveStatus, Request

LOSABLE = 20
"""Commands in a row that may be missing; at this many the robot gives up and brakes."""

STARTING = 1000
"""Milliseconds within which the first command of a move must come."""

BRAKING = 20.0
"""How fast every joint slows down when nobody moves it, in rad/s²."""

BEYOND = 0.005
"""How far a joint may be pushed beyond its limit, in radians, before the robot gives up."""

_JOINT_ERRORS = (
    *("joint_motion_generator_position_limits_violation", "joint_motion_generator_velocity_limits_violation"),
    *("joint_motion_generator_velocity_discontinuity", "joint_motion_generator_acceleration_discontinuity"),
)


@dataclass
class Move:
    """One move, from its request to its end."""

    number: int
    controller: Controller
    generator: Generator
    answered: bool = False
    """Whether the client has sent a first command."""

    lost: int = 0
    """Milliseconds since its last one."""


class Arm:
    """The controller, with the plant under it. Knows nothing of sockets.

    What it checks: joint positions, speeds, accelerations and jerks of commanded motions, tool speeds and
    accelerations, torques and their steps, missing commands, collisions above the thresholds that a client sets, and
    where the joints really are and how fast. What it does not: self-collision, power, and thresholds that differ
    while accelerating (it uses the nominal ones). Whatever it finds, the arm brakes and is held where it stops.
    """

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.shape = Shape()
        self.mode = Mode.IDLE
        self.move: Move | None = None
        self.ended: tuple[int, MoveStatus] | None = None
        """A move that is over, until its client has been told: its request's number and why."""

        self.clock = 0
        """The robot's time: milliseconds since it was switched on."""

        self.missing = 0
        """Commands that should have come and did not, since it was switched on."""

        self.state = np.zeros((), wire.STATE)
        self._contact, self._collision = np.full(13, np.inf), np.full(13, np.inf)
        self._received = np.zeros(100)
        self._rest(plant.q)
        self._introduce()

    def _introduce(self) -> None:
        """Fill in what a state says once and for all."""
        mass, centre, inertia = self.shape.hand
        state, none = self.state, np.eye(4).ravel()
        state["F_T_NE"] = state["F_T_EE"] = FLANGE_T_HAND.ravel("F")
        state["NE_T_EE"] = state["EE_T_K"] = none
        state["m_ee"], state["F_x_Cee"], state["I_ee"] = mass, centre, inertia.ravel()
        state["O_ddP_O"] = (0, 0, -9.81)

    def _rest(self, q: Floats, dq: Floats | None = None) -> None:
        """Take the joints as they are for what is wanted; from there they come to rest."""
        self.q_d: Floats = q.copy()
        self.dq_d: Floats = np.zeros(7) if dq is None else dq.copy()
        self.ddq_d: Floats = np.zeros(7)
        self.tau_d: Floats = np.zeros(7)
        self._commanded: tuple[Floats, Floats, Floats] = self.q_d, self.dq_d, self.ddq_d
        self.tool_c: Floats = self.shape.tool(self.q_d)
        self.twist_c: Floats = np.zeros(6)
        self.change_c: Floats = np.zeros(6)

    def begin(self, number: int, content: bytes) -> MoveStatus:
        """Start a move, if the robot is idle."""
        controller, generator, *_ = wire.MOVE.unpack(content)
        if self.mode is not Mode.IDLE or self.move is not None:
            return MoveStatus.NOT_POSSIBLE
        if controller > Controller.EXTERNAL or generator > Generator.NONE:
            return MoveStatus.INVALID
        self._rest(self.q_d if controller != Controller.EXTERNAL else self.plant.q)
        self.move, self.mode = Move(number, Controller(controller), Generator(generator)), Mode.MOVE
        self.state["reflex_reason"] = 0
        self._received[:] = 1
        return MoveStatus.STARTED

    def stop(self) -> None:
        """End the move, if there is one, because its client says so."""
        if self.move is not None:
            self._end(MoveStatus.PREEMPTED, Mode.IDLE)

    def recover(self) -> int:
        """Forget what went wrong and be idle again, if the robot can; return the answer's status."""
        if self.mode is Mode.USER_STOPPED:
            return wire.RECOVERY_USER_STOP
        if self.mode is not Mode.REFLEX:
            return wire.OK if self.mode is Mode.IDLE else wire.NOT_POSSIBLE
        if self._outside(self.plant.q):
            return wire.RECOVERY_MANUAL
        self.state["errors"], self.mode = 0, Mode.IDLE
        return wire.OK

    def set(self, request: Request, content: bytes) -> int:
        """Set what a request sets; return the answer's status."""
        if self.mode is not Mode.IDLE and request is not Request.SET_COLLISION_BEHAVIOR:
            return wire.NOT_POSSIBLE
        numbers = np.frombuffer(content, "<f8") if request is not Request.SET_GUIDING_MODE else np.zeros(0)
        if not np.isfinite(numbers).all():
            return wire.INVALID
        if request is Request.SET_COLLISION_BEHAVIOR:
            self._contact = np.concatenate([numbers[14:21], numbers[40:46]])
            self._collision = np.concatenate([numbers[21:28], numbers[46:52]])
        elif request is Request.SET_NE_TO_EE:
            self.shape.flange_T_tool = FLANGE_T_HAND @ numbers.reshape(4, 4).T
            self.state["NE_T_EE"], self.state["F_T_EE"] = numbers, self.shape.flange_T_tool.ravel("F")
            self._rest(self.q_d)
        elif request is Request.SET_EE_TO_K:
            self.state["EE_T_K"] = numbers
        elif request is Request.SET_LOAD:
            state = self.state
            state["m_load"], state["F_x_Cload"], state["I_load"] = numbers[0], numbers[1:4], numbers[4:13]
        return wire.OK

    def reflex(self, *errors: str) -> None:
        """Brake because of errors, named as in ``wire.ERRORS``."""
        flags = wire.flags(*errors)
        self.state["errors"] |= flags
        self.state["reflex_reason"] |= flags
        self._end(MoveStatus.REFLEX, Mode.REFLEX)

    def user_stop(self, pressed: bool) -> None:
        """Press the user stop, or release it."""
        if pressed:
            self._end(MoveStatus.USER_STOP, Mode.USER_STOPPED)
        elif self.mode is Mode.USER_STOPPED:
            self.mode = Mode.IDLE

    def guide(self, pressed: bool) -> None:
        """Press the button on the hand that lets a person lead the arm, or release it."""
        if pressed and self.mode in {Mode.IDLE, Mode.MOVE}:
            self._end(MoveStatus.ABORTED, Mode.GUIDING)
        elif not pressed and self.mode is Mode.GUIDING:
            self._end(MoveStatus.ABORTED, Mode.IDLE)

    def restart(self) -> None:
        """Be idle where the plant stands, as after switching off and on; the clock goes on."""
        self._end(MoveStatus.ABORTED, Mode.IDLE)
        self.state["errors"] = self.state["reflex_reason"] = 0

    def _end(self, status: MoveStatus, mode: Mode) -> None:
        if self.move is not None:
            self.ended, self.move = (self.move.number, status), None
        self.mode = mode
        if status is not MoveStatus.SUCCESS:
            self._rest(self.plant.q, self.plant.dq)

    def pass_time(self, command: Row | None) -> None:
        """Let a millisecond pass, given the client's newest command if one has come."""
        self.clock += 1
        if self.move is not None:
            self._obey(self.move, command)
        if self.mode is Mode.GUIDING:
            self.plant.exert(-2.0 * self.plant.dq)
            self._rest(self.plant.q, self.plant.dq)
        elif self.move is not None and self.move.answered and self.move.controller is Controller.EXTERNAL:
            self.plant.exert(self.tau_d)
            self.q_d, self.dq_d = self.plant.q, self.plant.dq
        else:
            if self.move is None:
                self._brake()
            self.plant.follow(self.q_d, self.dq_d, self.ddq_d)
        self._feel()
        self._say()

    def _brake(self) -> None:
        self.ddq_d = -np.clip(self.dq_d / MILLISECOND, -BRAKING, BRAKING)
        self.dq_d = self.dq_d + self.ddq_d * MILLISECOND
        self.q_d = np.clip(self.q_d + self.dq_d * MILLISECOND, POSITION_LOW, POSITION_HIGH)

    def _obey(self, move: Move, command: Row | None) -> None:
        self._received[self.clock % 100] = command is not None or not move.answered
        if command is None:
            move.lost += 1
            self.missing += move.answered
            if move.answered and move.controller is not Controller.EXTERNAL:
                self.dq_d = self.dq_d + self.ddq_d * MILLISECOND
                self.q_d = self.q_d + self.dq_d * MILLISECOND
            if move.lost >= (LOSABLE if move.answered else STARTING):
                self.reflex("communication_constraints_violation")
            return
        gap = (move.lost + 1) * MILLISECOND if move.answered else MILLISECOND
        first = not move.answered
        move.answered, move.lost = True, 0
        external = move.controller is Controller.EXTERNAL
        if command["torque_finished"] if external else command["motion_finished"]:
            self._end(MoveStatus.SUCCESS, Mode.IDLE)
        elif not all(
            np.isfinite(command[field]).all() for field in ("q_c", "dq_c", "O_T_EE_c", "O_dP_EE_c", "tau_J_d")
        ):
            self._end(MoveStatus.INPUT_ERROR, Mode.IDLE)
        elif wrong := self._torque(command, gap) if external else self._motion(move, command, gap, first):
            self.reflex(*wrong)

    def _torque(self, command: Row, gap: float) -> list[str]:
        """Take commanded torques; say what is wrong with them."""
        torque = np.array(command["tau_J_d"])
        step = np.abs(torque - self.tau_d).max()
        if not step <= TORQUE_STEP * gap / MILLISECOND * 1.001:
            return ["controller_torque_discontinuity"]
        if (np.abs(torque) > TORQUE_LIMIT).any():
            return ["tau_j_range_violation"]
        self.tau_d = torque
        return []

    def _motion(self, move: Move, command: Row, gap: float, first: bool) -> list[str]:
        """Take a commanded motion, ``gap`` seconds after the one before; say what is wrong with it."""
        q_before, dq_before, ddq_before = self._commanded
        if move.generator is Generator.JOINT_POSITION:
            q = np.array(command["q_c"])
            if first and not np.abs(q - q_before).max() <= BEYOND:
                return ["joint_position_motion_generator_start_pose_invalid"]
            dq = (q - q_before) / gap
        elif move.generator is Generator.JOINT_VELOCITY:
            dq = np.array(command["dq_c"])
            q = self.q_d + dq * MILLISECOND
        else:
            return self._tool_motion(move, command, gap)
        ddq = (dq - dq_before) / gap
        jerk = (ddq - ddq_before) / gap
        kept = (
            not self._outside(q, 0.0),
            (np.abs(dq) <= SPEED_LIMIT).all(),
            (np.abs(ddq) <= ACCELERATION_LIMIT * 1.001).all(),
            (np.abs(jerk) <= JERK_LIMIT * 1.1).all(),
        )
        self._commanded = self.q_d, self.dq_d, self.ddq_d = q, dq, ddq
        return [error for error, fine in zip(_JOINT_ERRORS, kept, strict=True) if not fine][:1]

    def _tool_motion(self, move: Move, command: Row, gap: float) -> list[str]:
        jacobian, here = self.shape.jacobian(self.q_d), self.shape.tool(self.q_d)
        if move.generator is Generator.CARTESIAN_POSITION:
            there = np.array(command["O_T_EE_c"]).reshape(4, 4).T
            twist, self.tool_c = between(self.tool_c, there) / gap, there
            dq = steps(jacobian, between(here, there)) / MILLISECOND
        else:
            twist, self.tool_c = np.array(command["O_dP_EE_c"]), here
            dq = steps(jacobian, twist)
        change = (twist - self.twist_c) / gap
        self.twist_c, self.change_c = twist, change
        if command["valid_elbow"]:
            aside = np.eye(7)[2] * (5.0 * (command["elbow_c"][0] - self.q_d[2]))
            dq = dq + aside - steps(jacobian, jacobian @ aside)
        q = self.q_d + dq * MILLISECOND
        if not np.linalg.norm(twist[:3]) <= TOOL_SPEED_LIMIT:
            return ["cartesian_motion_generator_velocity_limits_violation"]
        if not np.linalg.norm(change[:3]) <= TOOL_ACCELERATION_LIMIT * 1.1:
            return ["cartesian_motion_generator_velocity_discontinuity"]
        if self._outside(q, 0.0):
            return ["cartesian_motion_generator_joint_position_limits_violation"]
        if not (np.abs(dq) <= SPEED_LIMIT).all():
            return ["cartesian_motion_generator_joint_velocity_limits_violation"]
        self.q_d, self.dq_d, self.ddq_d = q, dq, (dq - self.dq_d) / gap
        return []

    @staticmethod
    def _outside(q: Floats, by: float = BEYOND) -> bool:
        return not ((q >= POSITION_LOW - by) & (q <= POSITION_HIGH + by)).all()

    def _feel(self) -> None:
        """Look at where the joints are, how fast, and what presses against the arm."""
        q, dq, felt = self.plant.q, self.plant.dq, self.plant.felt
        jacobian = self.shape.jacobian(q)
        self._wrench = np.linalg.solve(jacobian @ jacobian.T + 1e-6 * np.eye(6), jacobian @ felt)
        load = np.abs(np.concatenate([felt, self._wrench]))
        touched, hit = load > self._contact, load > self._collision
        self.state["joint_contact"], self.state["cartesian_contact"] = touched[:7], touched[7:]
        self.state["joint_collision"], self.state["cartesian_collision"] = hit[:7], hit[7:]
        if self.mode not in {Mode.MOVE, Mode.GUIDING}:
            return
        wrong = []
        if self._outside(q):
            wrong.append("joint_position_limits_violation")
        if (np.abs(dq) > SPEED_LIMIT).any():
            wrong.append("joint_velocity_violation")
        if self.mode is Mode.MOVE and hit.any():
            wrong.append("joint_reflex" if hit[:7].any() else "cartesian_reflex")
        if wrong:
            self.reflex(*wrong)

    def _say(self) -> None:
        """Fill in the state of this millisecond."""
        state, plant, move = self.state, self.plant, self.move
        q, dq = plant.q, plant.dq
        tool, wanted = self.shape.tool(q), self.shape.tool(self.q_d)
        if move is None or move.generator in {Generator.NONE, Generator.JOINT_POSITION, Generator.JOINT_VELOCITY}:
            self.tool_c = wanted
        state["message_id"], state["robot_mode"] = self.clock, self.mode
        state["O_T_EE"], state["O_T_EE_d"] = tool.ravel("F"), wanted.ravel("F")
        state["O_T_EE_c"], state["O_dP_EE_c"], state["O_ddP_EE_c"] = self.tool_c.ravel("F"), self.twist_c, self.change_c
        state["O_dP_EE_d"] = self.twist_c
        state["q"] = state["theta"] = q
        state["dq"] = state["dtheta"] = dq
        state["q_d"], state["dq_d"], state["ddq_d"] = self.q_d, self.dq_d, self.ddq_d
        state["elbow"] = state["elbow_d"] = state["elbow_c"] = (q[2], 1.0 if q[3] > 0 else -1.0)
        state["delbow_c"], state["ddelbow_c"] = (self.dq_d[2], 0.0), (self.ddq_d[2], 0.0)
        state["tau_J"], state["tau_J_d"] = plant.torque, self.tau_d
        state["tau_ext_hat_filtered"] = plant.felt
        state["O_F_ext_hat_K"] = self._wrench
        turn = tool[:3, :3].T
        state["K_F_ext_hat_K"] = np.concatenate([turn @ self._wrench[:3], turn @ self._wrench[3:]])
        state["motion_generator_mode"] = 0 if move is None else move.generator + 1
        state["controller_mode"] = Controller.OTHER if move is None else move.controller
        state["success_rate"] = 0.0 if move is None else self._received.mean()
