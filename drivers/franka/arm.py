"""The Franka as a device: its settings, and what a caller may do with it."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from drivers.device import DeviceLost, Kinematics, Row, Rows
from drivers.franka.link import Link
from drivers.franka.rows import ACTION, ARM
from drivers.franka.states import Floats
from drivers.kinematics import HIGH, LOW, Chain

Seven = tuple[float, float, float, float, float, float, float]
Six = tuple[float, float, float, float, float, float]
Three = tuple[float, float, float]

SLEW = 2.5
"""Most that a tracker may ask the torque of a joint to change in a millisecond, in Nm. The client's filter at 100 Hz
lets 0.386 of a change through, and the robot refuses 1 Nm: this makes it 0.965. Left at franky's own 1 Nm, torques are
so late when targets jump that the arm swings ever wider, until it breaks its speed limit."""

LIMITS = {"lower_joint_limits": np.array(LOW), "upper_joint_limits": np.array(HIGH), "max_delta_tau": SLEW}


@dataclass
class Franka:
    """A Franka Research 3 with its hand, moved by impedance towards joint targets that come at any rate.

    Set it up once: in Desk unlock the joints and activate FCI; connect this computer straight to the controller; set
    ``load`` to what is mounted beyond the hand. The states of every millisecond become rows; a target is reached
    evenly by its moment, on the robot's own clock. A reflex, the user stop or a lost connection ends in DeviceLost
    from ``read`` with a sentence that says what to do; nothing moves again before a person has called ``recover``.
    When this process dies or stalls, the robot misses its commands and brakes by itself.

    What it cannot do: it does not open brakes or FCI (Desk does), it does not plan around anything, it keeps no
    tool box (wrap it in a ``Guard``, as a station does), and it cannot force a stop while the process is stalled
    (the robot does). Connecting gives the control thread real-time priority, or says how the system would allow it.
    """

    name: str
    host: str
    """Address of the controller, e.g. "172.16.0.2"."""

    hand: bool = True
    """Whether a Franka hand is mounted. Without, widths are 0 and are not sent."""

    soft: Literal["joints", "tool"] = "joints"
    """Where the arm gives way: in its joints, or at its tool in the base frame, its elbow then being free.

    A tool is for targets that come evenly: where they jump, the free elbow may break its joints' speed limits.
    """

    tick_hz: float = 200.0
    """How often the reference is moved along between targets."""

    stiffness: Seven = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0)
    """Of the joints, in Nm/rad. Damping is critical."""

    tool_stiffness: tuple[float, float] = (2000.0, 80.0)
    """Of the tool, in N/m and Nm/rad, where it is the tool that gives way."""

    joint_velocity: Seven = (1.5, 1.5, 1.5, 1.5, 2.0, 2.0, 2.0)
    """Fastest that a reference moves, in rad/s; a target that asks for more is reached later."""

    joint_acceleration: Seven = (7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0)
    """Most that a reference speeds up or slows down on its way, in rad/s²; the FR3 itself refuses 10."""

    joint_jerk: Seven = (3500.0, 3500.0, 3500.0, 3500.0, 3500.0, 3500.0, 3500.0)
    """Of motions that franky plans, in rad/s³; the FR3 refuses 5000, franky's own default is more."""

    torque_threshold: Seven = (30.0, 30.0, 30.0, 30.0, 20.0, 20.0, 20.0)
    """External torques at which the arm takes it for a collision and brakes, in Nm."""

    force_threshold: Six = (40.0, 40.0, 40.0, 20.0, 20.0, 20.0)
    """External forces (N) and torques (Nm) at the tool at which it brakes."""

    load: float = 0.0
    """Mass beyond the hand, in kg."""

    load_centre: Three = (0.0, 0.0, 0.0)
    """Where that mass is, from the flange, in metres."""

    load_inertia: tuple[float, float, float, float, float, float, float, float, float] = (0.0,) * 9
    """Its inertia, column by column, in kg m²."""

    guiding_damping: Seven = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5)
    """What a person feels while leading the arm, in Nms/rad."""

    friction_coulomb: Seven = (0.3, 0.3, 0.3, 0.3, 0.2, 0.2, 0.1)
    """Friction that is taken off a person leading the arm, in Nm; too much, and the arm drifts."""

    friction_viscous: Seven = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """The share of it that grows with speed, in Nms/rad."""

    hand_speed: float = 0.1
    """Of the fingers, in m/s."""

    hand_force: float = 20.0
    """With which something is grasped, in N."""

    realtime: Literal["ignore", "enforce"] = "ignore"
    """Whether to refuse to run on a kernel that is not real-time."""

    silence: float = 1.0
    """Seconds without a state after which the connection counts as lost."""

    patience: float = 5.0
    """Seconds to wait for the robot to answer while connecting or recovering."""

    def __post_init__(self) -> None:
        if not 20 <= self.tick_hz <= 1000:
            raise ValueError(f"tick_hz must be between 20 and 1000, not {self.tick_hz}")
        self._link: Link | None = None

    @property
    def dtype(self) -> np.dtype[np.void]:
        return ARM

    @property
    def action(self) -> np.dtype[np.void]:
        return ACTION

    @cached_property
    def kinematics(self) -> Kinematics:
        return Chain()

    @property
    def clock_offset(self) -> int:
        """From the robot's clock to the host's, in nanoseconds, as estimated from the latest rows."""
        return self._entered().stamps.offset

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: rows after ``since`` have already been overwritten.
            DeviceLost: the robot does not obey any more. The message says what happened and what to do.
        """
        return self._entered().read(since)

    def command(self, target: Row) -> None:
        """Aim to be at ``target`` by ``target["t"]``, evenly; in the time since the command before, if that is past.

        Raises:
            DeviceLost: the robot does not obey any more.
        """
        self._entered().command(target)

    def hold(self) -> None:
        """Stop moving and stay. The fingers finish their move: what is held stays held."""
        if self._link is not None:
            self._link.hold()

    def rest(self) -> None:
        """Come to a stop and let the robot's own controller hold the arm, as before the first command.

        Raises:
            DeviceLost: the robot does not obey any more.
        """
        self._entered().rest()

    def recover(self) -> None:
        """Clear what stopped the robot, or connect anew. Only when a person has looked and says so.

        The arm stays where it is; the next command moves it.

        Raises:
            DeviceLost: that is not possible yet. The message says what to do.
        """
        self._entered().recover()

    def guide(self) -> None:
        """Let a person lead the arm by hand, from now until the next ``hold``, ``rest`` or command.

        The joints have no stiffness, gravity is compensated for ``load``, and friction in part. Its target is
        meanwhile where it is.

        Raises:
            DeviceLost: the robot does not obey any more.
        """
        self._entered().guide()

    def grip(self, width: float) -> None:
        """Send the fingers to ``width`` metres apart, and the arm nowhere: a person may be leading it.

        Raises:
            DeviceLost: the robot does not obey any more.
        """
        self._entered().grip(width)

    @contextmanager
    def guiding(self) -> Generator[None]:
        """``guide`` while the context lasts; afterwards the arm stays where it was left. A command ends it, too.

        Raises:
            DeviceLost: the robot does not obey any more.
        """
        self.guide()
        try:
            yield
        finally:
            self.hold()

    def __enter__(self) -> Self:
        self._link = Link(self)
        try:
            self._link.open()
        except BaseException:
            self._link = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            try:
                link.hold()
            finally:
                link.close(failing=kind is not None)

    def _entered(self) -> Link:
        if self._link is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._link

    def stiff(self, robot: Any) -> Any:
        """Start to track a reference, from where the arm is."""
        import franky

        period = 1 / self.tick_hz
        if self.soft == "joints":
            return franky.JointImpedanceTracker(robot, stiffness=np.array(self.stiffness), period=period, **LIMITS)
        linear, angular = self.tool_stiffness
        posture = franky.PostureTask(robot.current_joint_positions, 10.0)
        return franky.CartesianImpedanceTracker(
            robot,
            translational_stiffness=linear,
            rotational_stiffness=angular,
            posture_task=posture,
            period=period,
            **LIMITS,
        )

    def limp(self, robot: Any) -> Any:
        """Start to give way to a person, from where the arm is."""
        import franky

        friction = franky.FrictionCompensationParams(
            coulomb=list(self.friction_coulomb), viscous=list(self.friction_viscous)
        )
        return franky.JointImpedanceTracker(
            robot,
            stiffness=np.zeros(7),
            damping=np.array(self.guiding_damping),
            friction=friction,
            period=1 / self.tick_hz,
            **LIMITS,
        )

    def aim(self, tracker: Any, chain: Chain, q: Floats, dq: Floats) -> None:
        """Set the reference of what ``stiff`` started: joint angles (rad) and speeds (rad/s)."""
        if self.soft == "joints":
            tracker.set_target(q, dq)
            return
        import franky

        here, soon = chain.tool(q), chain.tool(q + dq * 1e-3)
        affine = franky.Affine(here[:3], here[[4, 5, 6, 3]])
        tracker.set_target(affine, franky.Twist(np.ascontiguousarray((soon - here)[:3] * 1e3), np.zeros(3)))
